//! Conditions: what holds of an object and what does not, with reasons from a closed list.
//!
//! `Accepted`, `Programmed` and `Ready` are as in the Gateway API and always there; `Reconciling` and `Stalled` are
//! those of kstatus and there only while they are true, so that `kubectl wait`, Argo CD and Flux tell the truth.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// What a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// The spec makes sense together with its neighbours, and is being carried out.
    Accepted,
    /// Every ready pod has reported that it runs this generation.
    Programmed,
    /// The summary: identity providers can push.
    Ready,
    /// The cluster is on its way to the spec.
    Reconciling,
    /// The cluster cannot get to the spec by itself: somebody must change something.
    Stalled,
}

impl ConditionType {
    /// All types, the summary last.
    pub const ALL: [Self; 5] =
        [Self::Reconciling, Self::Stalled, Self::Accepted, Self::Programmed, Self::Ready];

    /// What it says while it is true, for people.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Accepted => "The spec makes sense together with its neighbours, and is being carried out.",
            Self::Programmed => "Every ready pod has reported that it runs this generation.",
            Self::Ready => "The summary: identity providers can push.",
            Self::Reconciling => "The cluster is on its way to the spec.",
            Self::Stalled => "The cluster cannot get to the spec by itself: somebody must change something.",
        }
    }

    /// The name in `conditions[].type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Programmed => "Programmed",
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
        }
    }

    /// Whether it is there only while it is true, as kstatus wants it.
    #[must_use]
    pub fn is_only_there_while_true(self) -> bool {
        match self {
            Self::Accepted | Self::Programmed | Self::Ready => false,
            Self::Reconciling | Self::Stalled => true,
        }
    }
}

/// `conditions[].status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It cannot be known now.
    Unknown,
}

impl ConditionStatus {
    /// The name in `conditions[].status`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Why a condition is as it is. The list is closed: a program may match on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// All reasons, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The name in `conditions[].reason`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// What it means, for people.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),+).trim_ascii(),)+
                }
            }
        }
    };
}

reasons! {
    /// The spec makes sense and is being carried out.
    Accepted,
    /// Every ready pod runs the newest configuration.
    Programmed,
    /// Identity providers can push.
    Ready,
    /// The object was just seen, or a dependency of it changed, and the answer is not known yet.
    Pending,
    /// The spec cannot be carried out as it is written; the message names the field.
    InvalidSpec,
    /// The operator could not read the object: it was written for another version.
    Unreadable,
    /// Another, older endpoint has the host.
    HostTaken,
    /// Another, older tenant of the endpoint has the path.
    PathTaken,
    /// The tenant names an endpoint that is not there.
    EndpointNotFound,
    /// The endpoint is there, but is itself not accepted or not ready; its own conditions say why.
    EndpointNotReady,
    /// The endpoint does not take tenants from this namespace.
    NamespaceNotAllowed,
    /// The endpoint has its `spec.maxTenants` older tenants already.
    QuotaExceeded,
    /// A Secret that the spec names is not there, or lacks a key; the last good configuration serves on.
    SecretNotFound,
    /// A Secret that the spec names is there, and what it holds cannot be used; the last good configuration serves on.
    SecretInvalid,
    /// The tenant is suspended: its requests are answered with 503 and `Retry-After`.
    Suspended,
    /// The certificate is not there yet; cert-manager, or whoever keeps the Secret, has to make it.
    CertificateNotFound,
    /// The certificate cannot be used: it does not parse, does not fit its key, or is not for the host.
    CertificateInvalid,
    /// The certificate has expired.
    CertificateExpired,
    /// The certificate expires soon and has not been renewed.
    CertificateExpiring,
    /// A kind is missing in the cluster that the spec needs: the CRDs of cert-manager or of the Gateway API.
    KindNotInstalled,
    /// The API server refuses an object that the operator makes; the message has its words.
    ApplyRefused,
    /// An object of this name is there that the operator did not make, and it is left alone.
    NameTaken,
    /// Pods are being started or replaced.
    RollingOut,
    /// No pod is ready.
    NoReadyPods,
    /// Pods are not started, crash, or cannot be scheduled; the message says which and why.
    PodsFailing,
    /// No pod is ready, or none of those that are to replace others, as they cannot reach the database; the message has
    /// what it says. They go on trying.
    DatabaseUnavailable,
    /// Some ready pods still run an older configuration.
    ConfigurationPending,
    /// Some ready pods do not answer on their admin port, so that it is not known what they run.
    PodsUnreachable,
    /// The ingress controller or the Gateway has not taken the routes yet.
    RoutesPending,
    /// The load balancer has no address yet.
    AddressPending,
    /// The tenant's data is being purged before the object goes.
    Purging,
    /// The tenant's data cannot be purged now; the message says why.
    PurgeBlocked,
}

/// Sets a condition, or takes it away when it is one that is there only while it is true.
///
/// The transition time moves only when the status does, so that it says since when something holds; a new reason or
/// message does not move it. Returns whether anything but time is different.
pub fn set(
    conditions: &mut Vec<Condition>,
    kind: ConditionType,
    status: impl Into<ConditionStatus>,
    reason: Reason,
    message: impl Into<String>,
    generation: Option<i64>,
    now: Timestamp,
) -> bool {
    let status = status.into();
    let at = conditions.iter().position(|condition| condition.type_ == kind.as_str());
    if kind.is_only_there_while_true() && status != ConditionStatus::True {
        return at.map(|at| conditions.remove(at)).is_some();
    }
    let mut new = Condition {
        type_: kind.as_str().to_owned(),
        status: status.as_str().to_owned(),
        reason: reason.as_str().to_owned(),
        message: message.into(),
        observed_generation: generation,
        last_transition_time: Time(now),
    };
    let Some(at) = at else {
        conditions.push(new);
        conditions.sort_by_key(|condition| order(&condition.type_));
        return true;
    };
    let old = &mut conditions[at];
    if old.status == new.status {
        new.last_transition_time = old.last_transition_time.clone();
    }
    let changed = *old != new;
    *old = new;
    changed
}

/// The condition of a type.
#[must_use]
pub fn get(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == kind.as_str())
}

/// The reference of conditions and their reasons, as Markdown.
#[must_use]
pub fn reference_markdown() -> String {
    let conditions = ConditionType::ALL.map(|kind| {
        let there = if kind.is_only_there_while_true() { " It is there only while it is true." } else { "" };
        format!("| `{}` | {}{there} |\n", kind.as_str(), kind.meaning())
    });
    let reasons =
        Reason::ALL.iter().map(|reason| format!("| `{}` | {} |\n", reason.as_str(), reason.meaning()));
    format!(
        "# Conditions\n\n\
         `kubectl describe` shows what holds of a `ScimEndpoint` or a `ScimTenant` as conditions, each with a reason \
         from the list below and a message that says what to do. This page is made from the code by `make generate`.\n\n\
         | condition | what it says |\n|---|---|\n{}\n| reason | what it means |\n|---|---|\n{}",
        conditions.concat(),
        reasons.collect::<String>(),
    )
}

/// The summary last, where `kubectl describe` is read from; what others put there after it.
fn order(kind: &str) -> usize {
    let all = ConditionType::ALL;
    all.iter().position(|known| known.as_str() == kind).unwrap_or(all.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let mut conditions = Vec::new();
        let mut ready = |status: bool, reason, message: &str, now| {
            let changed =
                set(&mut conditions, ConditionType::Ready, status, reason, message, Some(1), at(now));
            (changed, conditions[0].last_transition_time.0)
        };
        assert_eq!(ready(false, Reason::Pending, "wait", 1), (true, at(1)));
        assert_eq!(ready(false, Reason::Pending, "wait", 2), (false, at(1)));
        assert_eq!(ready(false, Reason::NoReadyPods, "0 of 1", 3), (true, at(1)));
        assert_eq!(ready(true, Reason::Ready, "", 4), (true, at(4)));
    }

    #[test]
    fn stalled_that_is_no_longer_true_is_taken_away() {
        let mut conditions = Vec::new();
        for kind in [ConditionType::Ready, ConditionType::Stalled] {
            set(&mut conditions, kind, true, Reason::ApplyRefused, "", None, at(1));
        }
        assert_eq!(conditions[0].type_, "Stalled");
        assert!(set(&mut conditions, ConditionType::Stalled, false, Reason::Ready, "", None, at(2)));
        assert!(get(&conditions, ConditionType::Stalled).is_none());
        assert!(!set(&mut conditions, ConditionType::Stalled, false, Reason::Ready, "", None, at(3)));
    }

    #[test]
    fn every_reason_says_what_it_means() {
        for reason in Reason::ALL {
            assert!(reason.meaning().ends_with('.'), "{}", reason.as_str());
        }
    }
}
