//! [`Rejection`]: every reason for which a token is not accepted, and what each lets its sender know.
//!
//! Who shows no token of an issuer that the tenant trusts gets one answer, whatever was wrong and whether or not the
//! tenant exists. Only behind a good signature does the answer name the reason: its sender is known to the issuer.

/// Why a token was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// No compact JWS.
    Malformed,
    /// `alg` is none that is known, or none that this issuer may use.
    Algorithm,
    /// The header has an extension that is not understood.
    Critical,
    /// The token was made for something else: an ID token, a logout token.
    Type,
    /// `iss` is no issuer of the tenant.
    Issuer,
    /// The issuer publishes no key of that id for that algorithm.
    UnknownKey,
    /// The token names no key, and the issuer publishes several that fit.
    AmbiguousKey,
    /// The signature is not that of the key.
    Signature,
    /// It was good until `exp`.
    Expired,
    /// It is good from `nbf`.
    NotYetValid,
    /// It was made for another audience.
    Audience,
    /// A claim is missing or has the wrong type.
    Claims,
    /// A scope of `requiredScopes` is missing.
    RequiredScope,
    /// A claim of `requiredClaims` is missing or has another value.
    RequiredClaim,
    /// A token of our own whose client, or whose client's secret, is configured no more.
    Client,
    /// Nobody can tell: the issuer's keys could not be fetched.
    NoKeys,
}

impl Rejection {
    /// The label in metrics and logs.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Critical => "critical_header",
            Self::Type => "type",
            Self::Issuer => "issuer",
            Self::UnknownKey => "unknown_key",
            Self::AmbiguousKey => "ambiguous_key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Audience => "audience",
            Self::Claims => "claims",
            Self::RequiredScope => "required_scope",
            Self::RequiredClaim => "required_claim",
            Self::Client => "client",
            Self::NoKeys => "no_keys",
        }
    }

    /// What the sender is told, when it may know: what to do, and nothing of the token.
    #[must_use]
    pub fn advice(self) -> Option<&'static str> {
        match self {
            Self::Expired => Some("the token has expired; get a new one from its issuer"),
            Self::NotYetValid => {
                Some("the token is not valid yet; check the clocks of its issuer and of this server")
            }
            Self::Audience => Some(
                "the token was made for another audience; ask its issuer for one of the audiences that this tenant accepts",
            ),
            Self::Claims => {
                Some("the token lacks exp, aud or a subject, or one of its claims has the wrong type")
            }
            Self::RequiredScope => Some(
                "the token lacks a scope that this tenant requires; grant it to the client at the issuer",
            ),
            Self::RequiredClaim => Some(
                "a claim of the token does not have the value that this tenant requires; check which client asks for it",
            ),
            _ => None,
        }
    }

    /// What whoever reads the log is told to do.
    #[must_use]
    pub fn for_operators(self) -> &'static str {
        match self {
            Self::Malformed => "it is no signed JWT; opaque tokens of other issuers cannot be checked",
            Self::Algorithm => {
                "its algorithm is not among the issuer's `algorithms`, or is none or symmetric"
            }
            Self::Critical => "its header asks for an extension that is not supported",
            Self::Type => "it is not an access token: ID, refresh and logout tokens are refused",
            Self::Issuer => "its `iss` is none of the tenant's issuers, character by character",
            Self::UnknownKey => "the issuer publishes no such key",
            Self::AmbiguousKey => "it names no key and the issuer publishes several",
            Self::Signature => "its signature is wrong",
            Self::Expired => "it has expired",
            Self::NotYetValid => "it is not valid yet: compare clocks, or raise clockSkewSeconds",
            Self::Audience => "its `aud` has none of the issuer's `audiences`",
            Self::Claims => "a claim is missing or has the wrong type",
            Self::RequiredScope => "a scope of `requiredScopes` is missing",
            Self::RequiredClaim => "a claim of `requiredClaims` is missing or has another value",
            Self::Client => "the client or its secret is configured no more",
            Self::NoKeys => "the issuer's keys could not be fetched",
        }
    }
}
