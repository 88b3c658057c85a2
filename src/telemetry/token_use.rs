//! When bearer tokens were last used and when they end, as gauges that are read from the tokens
//! themselves at each scrape: a token that is no longer configured has no series.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// The second of a token's last use, and nothing before the first.
#[derive(Debug, Default)]
pub struct LastUsed(AtomicI64);

impl LastUsed {
    /// Used last at this time, as far as is known.
    #[must_use]
    pub fn new(time: Option<Timestamp>) -> Self {
        Self(AtomicI64::new(time.map_or(0, Timestamp::as_second)))
    }

    /// Used now. Writes once a second at most: all cores share this line of memory.
    pub fn note(&self, now: Timestamp) {
        if self.0.load(Ordering::Relaxed) < now.as_second() {
            self.0.store(now.as_second(), Ordering::Relaxed);
        }
    }

    /// When.
    #[must_use]
    pub fn get(&self) -> Option<Timestamp> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            second => Timestamp::from_second(second).ok(),
        }
    }
}

/// One token, as it stands in metrics.
#[derive(Debug)]
pub struct TokenSeries {
    /// `NAMESPACE/NAME` of the tenant.
    pub tenant: Arc<str>,
    /// The token's name.
    pub token: Arc<str>,
    /// Its end, when it has one.
    pub expires_at: Option<Timestamp>,
    /// Its last use.
    pub last_used: Arc<LastUsed>,
}

/// The gauges of all tokens that are configured now.
#[derive(Debug, Clone, Default)]
pub struct TokenGauges(Arc<ArcSwap<Vec<TokenSeries>>>);

impl TokenGauges {
    /// These tokens are configured from now on.
    pub fn configured(&self, tokens: Vec<TokenSeries>) {
        self.0.store(Arc::new(tokens));
    }
}

impl Collector for TokenGauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let tokens = self.0.load();
        gauge(
            &mut encoder,
            "scim_token_last_used_timestamp_seconds",
            "When a bearer token was last used, in seconds since 1970; none before its first use",
            tokens.iter().map(|token| (token, token.last_used.get())),
        )?;
        gauge(
            &mut encoder,
            "scim_token_expiry_timestamp_seconds",
            "From when on a bearer token is refused, in seconds since 1970; none for a token without end",
            tokens.iter().map(|token| (token, token.expires_at)),
        )
    }
}

fn gauge<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl Iterator<Item = (&'a TokenSeries, Option<Timestamp>)>,
) -> Result<(), fmt::Error> {
    let mut encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (token, time) in series {
        let Some(time) = time else { continue };
        let labels = [("tenant", &*token.tenant), ("token", &*token.token)];
        ConstGauge::new(time.as_second()).encode(encoder.encode_family(&labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    use super::*;

    fn token(name: &str, expires_at: Option<i64>) -> TokenSeries {
        TokenSeries {
            tenant: "identity/acme".into(),
            token: name.into(),
            expires_at: expires_at.map(|second| Timestamp::from_second(second).unwrap()),
            last_used: Arc::default(),
        }
    }

    #[test]
    fn series_are_those_of_the_tokens_configured_now() {
        let (gauges, mut registry) = (TokenGauges::default(), Registry::default());
        registry.register_collector(Box::new(gauges.clone()));
        let encode = || {
            let mut out = String::new();
            text::encode(&mut out, &registry).unwrap();
            out.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(encode(), Vec::<String>::new());
        let (old, new) = (token("old", Some(2000)), token("new", None));
        old.last_used.note(Timestamp::from_second(1500).unwrap());
        old.last_used.note(Timestamp::from_second(1400).unwrap());
        gauges.configured(vec![old, new]);
        assert_eq!(
            encode(),
            [
                r#"scim_token_last_used_timestamp_seconds{tenant="identity/acme",token="old"} 1500"#,
                r#"scim_token_expiry_timestamp_seconds{tenant="identity/acme",token="old"} 2000"#,
            ]
        );
        gauges.configured(vec![token("new", None)]);
        assert_eq!(encode(), Vec::<String>::new());
    }
}
