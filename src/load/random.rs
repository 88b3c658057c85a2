//! Numbers that look random and follow from a seed: a run is repeated by its seed.

/// A stream of numbers (`SplitMix64`). Streams of one seed with different labels do not resemble each other.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream `label` of a seed.
    #[must_use]
    pub fn new(seed: u64, label: u64) -> Self {
        let mut random = Self(seed ^ mix(label.wrapping_add(0x9E37_79B9_7F4A_7C15)));
        random.number();
        random
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias is below 2^-32 for every bound that occurs here.
        u64::try_from((u128::from(self.number()) * u128::from(bound)) >> 64).unwrap_or_default()
    }

    /// An index below `bound`.
    pub fn index(&mut self, bound: u32) -> u32 {
        u32::try_from(self.below(bound.into())).unwrap_or_default()
    }

    /// A number from 0 up to, and without, 1.
    pub fn unit(&mut self) -> f64 {
        f64::from(u32::try_from(self.number() >> 32).unwrap_or_default()) / 4_294_967_296.0
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
