//! The law of the planner: whatever way a list takes, it answers what the evaluator says of every
//! resource.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use scim_operator::scim::representation;
use scim_operator::scim::resource::Resource;
use scim_operator::store::Query;
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::fixture::{BASE, Tenant, alone, first, ids, new_id, sort};

/// Values that collide: by case, by prefix, by being empty or strange.
const WORDS: [&str; 8] = ["ann", "ANN", "Anna", "bob", "b%b_", "é", "É", "İx"];

fn word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&WORDS[..])
}

fn user() -> impl Strategy<Value = Value> {
    let email = (word(), prop::sample::select(vec!["work", "home"]))
        .prop_map(|(value, kind)| json!({"value": value, "type": kind}));
    let emails = prop::collection::vec(email, 0..3);
    (
        word(),
        prop::option::of(word()),
        prop::option::of(word()),
        prop::option::of(word()),
        emails,
        any::<bool>(),
    )
        .prop_map(|(name, external, display, title, emails, active)| {
            json!({"userName": name, "externalId": external, "displayName": display, "title": title,
                   "emails": emails, "active": active})
        })
}

/// A filter on users; `X`, `G` and `T` stand for a user's id, a group's and a time.
fn filter() -> impl Strategy<Value = String> {
    let attribute = prop::sample::select(vec![
        "userName",
        "externalId",
        "displayName",
        "title",
        "emails.value",
        "emails.type",
        "emails",
        "id",
        "nickName",
    ]);
    let operator = prop::sample::select(vec!["eq", "ne", "sw", "co", "ew", "gt", "le"]);
    let ordered = prop::sample::select(vec!["eq", "ne", "gt", "ge", "lt", "le"]);
    let value =
        prop_oneof![4 => word().prop_map(str::to_owned), 1 => Just("X".to_owned()), 1 => Just(String::new())];
    let quoted = |text: String| Value::from(text).to_string();
    let leaf = prop_oneof![
        8 => (attribute.clone(), operator.clone(), value.clone())
            .prop_map(move |(attribute, operator, value)| format!("{attribute} {operator} {}", quoted(value))),
        1 => attribute.prop_map(|attribute| format!("{attribute} pr")),
        1 => (operator, value, any::<bool>()).prop_map(move |(operator, value, work)| {
            let kind = if work { "work" } else { "home" };
            format!("emails[value {operator} {} and type eq \"{kind}\"]", quoted(value))
        }),
        1 => prop::sample::select(vec!["groups.value eq \"G\"", "groups.type eq \"indirect\"", "groups pr", "active eq true"])
            .prop_map(str::to_owned),
        1 => (prop::sample::select(vec!["meta.created", "meta.lastModified"]), ordered)
            .prop_map(|(attribute, operator)| format!("{attribute} {operator} \"T\"")),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            2 => (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left}) and ({right})")),
            2 => (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left}) or ({right})")),
            1 => inner.prop_map(|inner| format!("not ({inner})")),
        ]
    })
}

async fn fill(acme: &Tenant, runner: &mut TestRunner) -> (Vec<Resource>, [String; 3]) {
    for _ in 0..60 {
        let body = user().new_tree(runner).unwrap().current();
        // A name that is taken is refused; the others are enough.
        acme.write(vec![alone(acme.user_command(&new_id(), body.clone()))]).await;
        let mut body = body;
        body["userName"] = new_id().into();
        acme.write(vec![alone(acme.user_command(&new_id(), body))]).await;
        tokio::time::sleep(std::time::Duration::from_micros(300)).await;
    }
    let users = acme.find_users("").await;
    let some: Vec<_> = users.iter().step_by(5).map(String::as_str).collect();
    let inner = acme.group("inner", &some[..4]).await;
    let group = acme.group("outer", &[&inner, some[5]]).await;
    let mut resources = Vec::new();
    for id in &users {
        resources.push(acme.get_user(id).await.unwrap());
    }
    let time = resources[resources.len() / 2].last_modified.to_string();
    (resources, [users[3].clone(), group, time])
}

pub(crate) async fn lists_equal_filters_in_memory(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let mut runner = TestRunner::default();
    let (resources, [user, group, time]) = fill(&acme, &mut runner).await;
    let values: Vec<_> =
        resources.iter().map(|resource| representation::to_value(resource.view(), BASE)).collect();
    for _ in 0..250 {
        let text = filter().new_tree(&mut runner).unwrap().current();
        let text = text.replace("\"X\"", &format!("\"{user}\""));
        let text = text.replace("\"G\"", &format!("\"{group}\"")).replace("\"T\"", &format!("\"{time}\""));
        let filter = acme.filter(&acme.user, &text);
        let matches = resources.iter().zip(&values).filter(|(_, value)| filter.matches(value));
        let expected: Vec<_> = matches.map(|(resource, _)| resource.id.clone()).collect();

        let query = acme.query(&acme.user, &text, first(1000));
        let listing = acme.list(&query).await;
        assert_eq!((ids(&listing), listing.total), (expected.clone(), expected.len() as u64), "{text}");
        assert_eq!(acme.walk(&query, 40).await, expected, "{text}");
        let mut sorted = ids(&acme.list(&Query { sort: sort("title", false), ..query }).await);
        sorted.sort();
        assert_eq!(sorted, expected, "{text}");
    }
}
