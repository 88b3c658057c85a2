//! Bytes of a fixed number, written as lowercase hexadecimal digits.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes such as a digest's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hex<const N: usize>(pub [u8; N]);

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl<const N: usize> fmt::Debug for Hex<N> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let mut bytes = [0; N];
        let mut digits = text.bytes().map(digit);
        let wrong = || de::Error::custom(format!("expected {} hexadecimal digits", 2 * N));
        for byte in &mut bytes {
            let (Some(Some(high)), Some(Some(low))) = (digits.next(), digits.next()) else {
                return Err(wrong());
            };
            *byte = high << 4 | low;
        }
        match digits.next() {
            None => Ok(Self(bytes)),
            Some(_) => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_they_were_written() {
        let bytes = Hex([0x00, 0x7f, 0xff]);
        let text = serde_json::to_string(&bytes).unwrap();
        assert_eq!(text, r#""007fff""#);
        assert_eq!(serde_json::from_str::<Hex<3>>(&text).unwrap(), bytes);
        for wrong in ["\"\"", "\"007f\"", "\"007fff0\"", "\"007ffg\"", "\"00ä7ff\"", "3"] {
            assert!(serde_json::from_str::<Hex<3>>(wrong).is_err(), "{wrong}");
        }
    }
}
