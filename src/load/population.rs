//! Who is provisioned: users and groups whose names, attributes and memberships follow from the seed.
//!
//! Every tenant has people of the same names, so that one tenant's data in another's answer has something to collide
//! with; their attributes differ by tenant, so that such an answer is seen.

use serde_json::{Value, json};

use super::random::Random;

/// Schema URN of a user, RFC 7643 section 4.1.
pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// Schema URN of a group, RFC 7643 section 4.2.
pub const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

const GIVEN: [&str; 16] = [
    "Ada",
    "Amal",
    "Barbara",
    "Chidi",
    "Dorothy",
    "Edsger",
    "Fatima",
    "Grace",
    "Haruki",
    "Ines",
    "Jürgen",
    "Katherine",
    "Liu",
    "Mária",
    "Noor",
    "Søren",
];
const FAMILY: [&str; 16] = [
    "Abara", "Berners", "Church", "Dijkstra", "Eriksen", "Franklin", "García", "Hopper", "Ito", "Johnson",
    "Kowalska", "Lovelace", "Müller", "Nakamura", "O'Neil", "Perlman",
];
const TITLES: [&str; 8] =
    ["Accountant", "Analyst", "Architect", "Engineer", "Manager", "Nurse", "Planner", "Translator"];

/// What can change of a user. Values are numbered: the attributes follow from the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserRecord {
    /// Which family name.
    pub family: u16,
    /// Which title.
    pub title: u16,
    /// Whether the account may be used.
    pub active: bool,
}

impl UserRecord {
    /// A user as first provisioned.
    pub const NEW: Self = Self { family: 0, title: 0, active: true };
}

/// What a request changes of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UserChange {
    /// The family name becomes this.
    pub family: Option<u16>,
    /// The title becomes this.
    pub title: Option<u16>,
    /// The account is enabled or disabled.
    pub active: Option<bool>,
}

impl UserChange {
    /// Everything of a record.
    #[must_use]
    pub fn to(record: UserRecord) -> Self {
        Self { family: Some(record.family), title: Some(record.title), active: Some(record.active) }
    }

    /// The record after the change.
    #[must_use]
    pub fn apply(self, record: UserRecord) -> UserRecord {
        UserRecord {
            family: self.family.unwrap_or(record.family),
            title: self.title.unwrap_or(record.title),
            active: self.active.unwrap_or(record.active),
        }
    }
}

/// The people and groups of every tenant.
#[derive(Debug, Clone)]
pub struct Population {
    prefix: String,
    seed: u64,
    /// Users in each tenant.
    pub users: u32,
    /// Groups in each tenant.
    pub groups: u32,
    memberships: u64,
    harmonic: f64,
}

impl Population {
    /// `memberships` are all of a tenant; sizes of groups fall with their number, as 1, 1/2, 1/3, ….
    #[must_use]
    pub fn new(prefix: &str, seed: u64, users: u32, groups: u32, memberships: u64) -> Self {
        let harmonic = (1..=groups).map(|rank| 1.0 / f64::from(rank)).sum();
        Self { prefix: prefix.to_owned(), seed, users, groups, memberships, harmonic }
    }

    /// What the names of every run with this prefix begin with.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("{}-", self.prefix)
    }

    fn name(&self) -> String {
        format!("{}-{}", self.prefix, self.seed)
    }

    /// Whether a `userName` or a `displayName` of a group is of a run with this prefix and seed, of whatever size.
    #[must_use]
    pub fn is_ours(&self, name: &str) -> bool {
        let (ours, name) = (self.name().to_lowercase(), name.to_lowercase());
        name.strip_prefix(&ours).is_some_and(|rest| rest.starts_with("-u") || rest.starts_with("-g"))
    }

    /// The `userName`.
    #[must_use]
    pub fn user_name(&self, user: u32) -> String {
        format!("{}-u{user:06}@example.com", self.name())
    }

    /// The user of a `userName`, when it is one of this run. Its case does not matter, RFC 7643 section 4.1.1.
    #[must_use]
    pub fn user_of(&self, user_name: &str) -> Option<u32> {
        let lower = user_name.to_lowercase();
        let rest = lower.strip_prefix(&self.name().to_lowercase())?.strip_prefix("-u")?;
        let user = rest.strip_suffix("@example.com")?.parse().ok()?;
        (user < self.users).then_some(user)
    }

    /// The `externalId` of a user.
    #[must_use]
    pub fn user_external_id(&self, user: u32) -> String {
        format!("{}-x{user:06}", self.name())
    }

    /// The `displayName` of a group after it was renamed `revision` times.
    #[must_use]
    pub fn group_name(&self, group: u32, revision: u16) -> String {
        match revision {
            0 => format!("{}-g{group:05}", self.name()),
            _ => format!("{}-g{group:05}-r{revision}", self.name()),
        }
    }

    /// The group of a `displayName`, when it is one of this run.
    #[must_use]
    pub fn group_of(&self, display_name: &str) -> Option<u32> {
        let rest = display_name.strip_prefix(&self.name())?.strip_prefix("-g")?;
        let group = rest.split("-r").next()?.parse().ok()?;
        (group < self.groups).then_some(group)
    }

    /// The `externalId` of a group.
    #[must_use]
    pub fn group_external_id(&self, group: u32) -> String {
        format!("{}-y{group:05}", self.name())
    }

    fn pick(&self, of: u64, user: u32) -> u64 {
        Random::new(self.seed, of << 32 | u64::from(user)).number()
    }

    /// The given name, which never changes.
    #[must_use]
    pub fn given_name(&self, user: u32) -> &'static str {
        choose(&GIVEN, self.pick(1, user))
    }

    /// A family name.
    #[must_use]
    pub fn family_name(&self, user: u32, revision: u16) -> &'static str {
        choose(&FAMILY, self.pick(2, user).wrapping_add(revision.into()))
    }

    /// A title, which tells the tenant and the revision.
    #[must_use]
    pub fn title(&self, tenant: usize, user: u32, revision: u16) -> String {
        format!("{} {tenant}.{revision}", choose(&TITLES, self.pick(3, user).wrapping_add(revision.into())))
    }

    /// The `displayName` of a user.
    #[must_use]
    pub fn display_name(&self, user: u32) -> String {
        format!("{} {user:06}", self.given_name(user))
    }

    /// The first members of a group: distinct users, in the order in which they are added.
    #[must_use]
    pub fn members(&self, group: u32) -> Vec<u32> {
        if self.users == 0 || self.harmonic <= 0.0 {
            return Vec::new();
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a size is a rounded share"
        )]
        let size = (self.memberships as f64 / self.harmonic / f64::from(group + 1)).round() as u64;
        let size = u32::try_from(size.clamp(1, self.users.into())).unwrap_or(self.users);
        let mut random = Random::new(self.seed, 4 << 32 | u64::from(group));
        let start = random.index(self.users);
        // A step without a common divisor meets everybody once.
        let mut step = 1 + random.index(self.users);
        while gcd(step, self.users) != 1 {
            step += 1;
        }
        (0..size)
            .map(|k| {
                let at = (u64::from(start) + u64::from(k) * u64::from(step)) % u64::from(self.users);
                u32::try_from(at).unwrap_or_default()
            })
            .collect()
    }

    /// The attributes that a user must have, by path.
    #[must_use]
    pub fn user(&self, tenant: usize, user: u32, record: UserRecord) -> Vec<(&'static str, Value)> {
        vec![
            ("userName", json!(self.user_name(user))),
            ("externalId", json!(self.user_external_id(user))),
            ("name.givenName", json!(self.given_name(user))),
            ("name.familyName", json!(self.family_name(user, record.family))),
            ("displayName", json!(self.display_name(user))),
            ("title", json!(self.title(tenant, user, record.title))),
            ("emails[type eq \"work\"].value", json!(self.user_name(user))),
            ("active", json!(record.active)),
        ]
    }
}

fn choose<const N: usize>(words: &[&'static str; N], number: u64) -> &'static str {
    words[usize::try_from(number % N as u64).unwrap_or_default()]
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The value at one of the paths of [`Population::user`] in a resource.
#[must_use]
pub fn value_at<'a>(resource: &'a Value, path: &str) -> Option<&'a Value> {
    let found = match path.split_once('[') {
        Some((list, _)) => {
            let values = resource.get(list)?.as_array()?;
            // A server that keeps one email may drop its type.
            let work = values.iter().find(|value| value.get("type").and_then(Value::as_str) == Some("work"));
            work.or_else(|| values.first().filter(|_| values.len() == 1))?.get("value")
        }
        None => path.split('.').try_fold(resource, |value, name| value.get(name)),
    };
    found.filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_distinct_and_fall_in_number() {
        let population = Population::new("load", 7, 100, 10, 300);
        let sizes: Vec<usize> = (0..10)
            .map(|group| {
                let mut members = population.members(group);
                let size = members.len();
                members.sort_unstable();
                members.dedup();
                assert_eq!(members.len(), size);
                size
            })
            .collect();
        assert_eq!(sizes, [100, 51, 34, 26, 20, 17, 15, 13, 11, 10]);
    }

    #[test]
    fn names_are_read_back() {
        let population = Population::new("load", 7, 100, 10, 300);
        assert_eq!(population.user_of(&population.user_name(99).to_uppercase()), Some(99));
        assert_eq!(population.user_of(&population.user_name(100)), None);
        assert_eq!(population.user_of("load-71-u000001@example.com"), None);
        assert_eq!(population.group_of(&population.group_name(3, 12)), Some(3));
        assert_eq!(population.group_of("load-71-g00001"), None);
    }
}
