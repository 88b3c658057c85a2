//! The audit log and change feed: what has a row and what has none, what a row says, and what readers are
//! promised while others write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use scim_operator::scim::resource::Load;
use scim_operator::store::audit::{Change, FeedError, From, MAX_MEMBER_IDS, MemberIds, Operation, Retention};
use scim_operator::store::{Command, Origin, Policy, Unit, Write};
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::fixture::{Tenant, alone, first, new_id};

const FOREVER: Retention = Retention { before: Timestamp::UNIX_EPOCH, max_entries: u64::MAX };

impl Tenant {
    /// The whole log.
    async fn audit_log(&self) -> Vec<Change> {
        self.log_after(0).await
    }

    async fn log_after(&self, after: u64) -> Vec<Change> {
        let (mut log, mut after) = (Vec::new(), after);
        loop {
            let read = self.store.changes(&self.key, From::After(after), 50).await.unwrap();
            after = read.next;
            log.extend(read.changes);
            if after == read.head {
                return log;
            }
        }
    }

    /// The rows that some work appends.
    async fn appended(&self, work: impl Future) -> Vec<Change> {
        let head = self.store.changes(&self.key, From::Oldest, 0).await.unwrap().head;
        work.await;
        self.log_after(head).await
    }

    async fn keeping_values(&self, command: Command) {
        let units = vec![alone(command)];
        let policy = Arc::new(Policy { audit_values: true, ..Policy::default() });
        let write = Write { units, max_errors: None, origin: Arc::default(), policy };
        self.store.write(&self.key, write).await.unwrap().remove(0).unwrap();
    }
}

fn brief(change: &Change) -> (Operation, &str, Option<u64>, Option<u64>, String) {
    let Change { operation, resource_id, version_before, version_after, attributes, .. } = change;
    (*operation, resource_id, *version_before, *version_after, attributes.join(" "))
}

fn ids(change: &Change) -> MemberIds {
    change.members.clone().unwrap().ids.unwrap()
}

pub(crate) async fn each_change_has_its_row(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let urn = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let id = new_id();
    let body = json!({"userName": "ann", "name": {"givenName": "Ann", "familyName": "Lee"},
        "emails": [{"value": "ann@example.com"}], urn: {"department": "D", "manager": {"value": "m"}}});
    let origin = Origin {
        actor: "token".into(),
        client: Some("2001:db8::7".parse().unwrap()),
        request_id: "request-1".into(),
    };
    let start = Timestamp::now().as_millisecond();
    let units = vec![alone(acme.user_command(&id, body.clone()))];
    let write = Write { units, max_errors: None, origin: Arc::new(origin.clone()), policy: Arc::default() };
    acme.store.write(&acme.key, write).await.unwrap().remove(0).unwrap();

    let patch = json!([{"op": "replace", "path": "name.familyName", "value": "Li"},
        {"op": "add", "path": "active", "value": true},
        {"op": "remove", "path": format!("{urn}:manager")}]);
    acme.patch_user(&id, patch).await.unwrap();
    acme.run(acme.put_command(&acme.user, &id, json!({"userName": "ann"}))).await.unwrap();
    acme.run(acme.delete_command(&acme.user, &id)).await.unwrap();

    let log = acme.audit_log().await;
    let id = id.as_str();
    let created =
        format!("userName name.familyName name.givenName emails {urn}:department {urn}:manager.value");
    let replaced = format!("name.familyName name.givenName active emails {urn}:department");
    assert_eq!(
        log.iter().map(brief).collect::<Vec<_>>(),
        [
            (Operation::Create, id, None, Some(1), created),
            (Operation::Patch, id, Some(1), Some(2), format!("name.familyName active {urn}:manager.value")),
            (Operation::Replace, id, Some(2), Some(3), replaced),
            (Operation::Delete, id, Some(3), None, String::new()),
        ]
    );
    assert_eq!(log.iter().map(|change| change.sequence).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(log.is_sorted_by_key(|change| change.time) && log[0].time.as_millisecond() >= start);
    assert!(log.iter().all(|change| change.resource_type == "User" && change.values.is_none()));
    let Change { actor, client, request_id, .. } = log[0].clone();
    assert_eq!(Origin { actor, client, request_id }, origin);
}

pub(crate) async fn what_changes_nothing_has_no_row(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let ann = acme.named("ann").await;
    let group = acme.group("staff", &[&ann]).await;
    let appended = acme.appended(async {
        acme.run(acme.put_command(&acme.user, &ann, json!({"userName": "ann"}))).await.unwrap();
        acme.patch_user(&ann, json!([{"op": "replace", "path": "userName", "value": "ann"}])).await.unwrap();
        let again = json!([{"op": "add", "path": "members", "value": [{"value": ann}]}]);
        acme.patch_group(&group, again).await.unwrap();
        acme.run(acme.user_command(&new_id(), json!({"userName": "ANN"}))).await.unwrap_err();
        acme.run(acme.delete_command(&acme.user, "nobody")).await.unwrap_err();
        // Refused after the first command was applied.
        let commands = vec![
            acme.user_command(&new_id(), json!({"userName": "bob"})),
            acme.delete_command(&acme.user, "nobody"),
        ];
        acme.write(vec![Unit { commands, requires: Vec::new() }]).await.remove(0).unwrap_err();
    });
    assert_eq!(appended.await, []);
    acme.named("bob").await;
    assert_eq!(acme.audit_log().await.last().unwrap().sequence, 3, "what was refused took no sequence");
}

pub(crate) async fn password_is_named_and_has_no_value(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let ann = new_id();
    let body = json!({"userName": "ann", "password": "correct horse"});
    acme.keeping_values(acme.user_command(&ann, body.clone())).await;
    let patch = json!([{"op": "replace", "path": "password", "value": "battery staple"}]);
    acme.keeping_values(acme.patch_command(&acme.user, &ann, patch)).await;
    acme.keeping_values(acme.put_command(&acme.user, &ann, body)).await;

    let log = acme.audit_log().await;
    let ann = ann.as_str();
    assert_eq!(
        log.iter().map(brief).collect::<Vec<_>>(),
        [
            (Operation::Create, ann, None, Some(1), "userName password".into()),
            (Operation::Patch, ann, Some(1), Some(1), "password".into()),
            (Operation::Replace, ann, Some(1), Some(1), "password".into()),
        ]
    );
    let text = serde_json::to_string(&log).unwrap();
    assert!(!text.contains("horse") && !text.contains("staple"), "{text}");
}

pub(crate) async fn values_are_kept_where_they_are_asked_for(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let ann = new_id();
    let emails = json!([{"value": "ann@example.com", "type": "work"}]);
    acme.keeping_values(acme.user_command(&ann, json!({"userName": "ann", "emails": emails}))).await;
    let patch = json!([{"op": "replace", "path": "userName", "value": "bob"},
        {"op": "remove", "path": "emails"}, {"op": "add", "path": "externalId", "value": "7"}]);
    acme.keeping_values(acme.patch_command(&acme.user, &ann, patch)).await;
    acme.keeping_values(acme.delete_command(&acme.user, &ann)).await;

    let values: Vec<Value> =
        acme.audit_log().await.into_iter().map(|change| json!(change)["values"].clone()).collect();
    assert_eq!(
        values,
        [
            json!({"userName": {"old": null, "new": "ann"}, "emails": {"old": null, "new": emails}}),
            json!({"userName": {"old": "ann", "new": "bob"}, "emails": {"old": emails, "new": null},
                "externalId": {"old": null, "new": "7"}}),
            json!({"userName": {"old": "bob", "new": null}, "externalId": {"old": "7", "new": null}}),
        ]
    );
}

pub(crate) async fn members_that_come_and_go_are_named(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let (ann, bob, cid) = (acme.named("ann").await, acme.named("bob").await, acme.named("cid").await);
    let group = acme.group("staff", &[&ann]).await;
    let made = acme.audit_log().await.pop().unwrap();
    assert_eq!(
        brief(&made),
        (Operation::Create, group.as_str(), None, Some(1), "displayName members".into())
    );
    assert_eq!(ids(&made), MemberIds { added: vec![ann.clone()], removed: vec![] });

    let patch = json!([{"op": "add", "path": "members", "value": [{"value": bob}, {"value": cid}]},
        {"op": "remove", "path": format!("members[value eq \"{ann}\"]")},
        {"op": "remove", "path": format!("members[value eq \"{cid}\"]")}]);
    let rows = acme.appended(acme.patch_group(&group, patch)).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(brief(&rows[0]), (Operation::Patch, group.as_str(), Some(1), Some(2), "members".into()));
    assert_eq!(ids(&rows[0]), MemberIds { added: vec![bob.clone()], removed: vec![ann.clone()] });

    let body = json!({"displayName": "crew", "members": [{"value": cid}]});
    let rows = acme.appended(acme.run(acme.put_command(&acme.group, &group, body))).await;
    assert_eq!(rows[0].attributes, ["displayName", "members"]);
    assert_eq!(ids(&rows[0]), MemberIds { added: vec![cid.clone()], removed: vec![bob.clone()] });

    let rows = acme.appended(acme.run(acme.delete_command(&acme.group, &group))).await;
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].version_after, &rows[0].members), (None, &None));
}

pub(crate) async fn many_members_are_counted(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let mut users = Vec::new();
    let mut units = Vec::new();
    for number in 0..=MAX_MEMBER_IDS {
        users.push(new_id());
        units.push(alone(acme.user_command(&users[number], json!({"userName": number.to_string()}))));
    }
    acme.write(units).await.into_iter().for_each(|result| drop(result.unwrap()));
    let all: Vec<&str> = users.iter().map(String::as_str).collect();
    let group = acme.group("all", &all).await;
    let made = acme.audit_log().await.pop().unwrap().members.unwrap();
    assert_eq!((made.added, made.removed, made.ids), (all.len() as u64, 0, None));
    let remove = json!([{"op": "remove", "path": format!("members[value eq \"{}\"]", all[0])}]);
    acme.patch_group(&group, remove).await.unwrap();
    let cleared = acme.appended(acme.patch_group(&group, json!([{"op": "remove", "path": "members"}]))).await;
    let cleared = cleared[0].members.clone().unwrap();
    assert_eq!((cleared.added, cleared.removed), (0, MAX_MEMBER_IDS as u64));
    assert_eq!(cleared.ids.unwrap().removed, all[1..]);
}

pub(crate) async fn groups_that_move_with_a_member_have_rows(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let ann = acme.named("ann").await;
    let mut groups = [acme.group("a", &[&ann]).await, acme.group("b", &[&ann]).await];
    groups.sort();
    let rename = json!([{"op": "replace", "path": "displayName", "value": "Ann"}]);
    let rows = acme.appended(acme.patch_user(&ann, rename)).await;
    let moved = |group: &str| {
        (Operation::MemberRenamed, group.to_owned(), Some(1), Some(2), "members.display".to_owned())
    };
    let brief_owned = |change: &Change| {
        let (operation, id, before, after, attributes) = brief(change);
        (operation, id.to_owned(), before, after, attributes)
    };
    let own = (Operation::Patch, ann.clone(), Some(1), Some(2), "displayName".to_owned());
    assert_eq!(rows.iter().map(brief_owned).collect::<Vec<_>>(), [moved(&groups[0]), moved(&groups[1]), own]);

    let rows = acme.appended(acme.run(acme.delete_command(&acme.user, &ann))).await;
    let left =
        |group: &str| (Operation::MemberDeleted, group.to_owned(), Some(2), Some(3), "members".to_owned());
    let own = (Operation::Delete, ann.clone(), Some(2), None, String::new());
    assert_eq!(rows.iter().map(brief_owned).collect::<Vec<_>>(), [left(&groups[0]), left(&groups[1]), own]);
    assert_eq!(ids(&rows[0]), MemberIds { added: vec![], removed: vec![ann] });
}

/// Many writers and one reader that follows: it never sees a gap, and in the end knows every version.
pub(crate) async fn follower_sees_each_row_once_and_every_version(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let other = Tenant::of(backend, "identity/other");
    let shared = acme.group("shared", &[]).await;
    acme.named("taken").await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..6 {
        let (acme, other, shared) = (acme.clone(), other.clone(), shared.clone());
        writers.spawn(async move {
            for number in 0..25 {
                let ann = acme.named(&format!("{writer}-{number}")).await;
                let join = json!([{"op": "add", "path": "members", "value": [{"value": ann}]}]);
                acme.patch_group(&shared, join).await.unwrap();
                let name = json!([{"op": "replace", "path": "displayName", "value": "x"}]);
                acme.patch_user(&ann, name).await.unwrap();
                // Refused, which undoes the whole batch that it is in.
                acme.run(acme.user_command(&new_id(), json!({"userName": "taken"}))).await.unwrap_err();
                other.named(&format!("{writer}-{number}")).await;
                if number % 3 == 0 {
                    acme.run(acme.delete_command(&acme.user, &ann)).await.unwrap();
                }
                let head = acme.store.changes(&acme.key, From::Oldest, 0).await.unwrap().head;
                let rows = acme.log_after(head.saturating_sub(400)).await;
                let mine = rows.iter().any(|change| change.resource_id == ann);
                assert!(mine, "what is acknowledged is in the log");
            }
        });
    }
    let (mut versions, mut seen, mut members) = (BTreeMap::new(), 0, std::collections::BTreeSet::new());
    let mut done = false;
    loop {
        let read = acme.store.changes(&acme.key, From::After(seen), 7).await.unwrap();
        for change in read.changes {
            assert_eq!(change.sequence, seen + 1, "no gap, whether or not it would fill");
            seen = change.sequence;
            assert_eq!(versions.get(&change.resource_id).copied(), change.version_before, "{change:?}");
            if change.resource_id == shared && change.members.is_some() {
                let MemberIds { added, removed } = ids(&change);
                members.extend(added);
                for id in removed {
                    assert!(members.remove(&id), "{id} was no member");
                }
            }
            match change.version_after {
                Some(version) => versions.insert(change.resource_id, version),
                None => versions.remove(&change.resource_id),
            };
        }
        if done && seen == read.head {
            break;
        }
        if seen == read.head {
            done = writers.is_empty();
            tokio::time::sleep(Duration::from_millis(1)).await;
            while let Some(result) = writers.try_join_next() {
                result.unwrap();
            }
        }
    }
    let mut stored = BTreeMap::new();
    for kind in [&acme.user, &acme.group] {
        for id in crate::fixture::ids(&acme.list(&acme.query(kind, "", first(1000))).await) {
            let resource = acme.store.get(&acme.key, kind, &id, Load::ALL).await.unwrap().unwrap();
            stored.insert(id, resource.version);
        }
    }
    assert_eq!(versions, stored);
    let group = acme.store.get(&acme.key, &acme.group, &shared, Load::ALL).await.unwrap().unwrap();
    assert_eq!(
        crate::fixture::member_ids(&group).into_iter().collect::<std::collections::BTreeSet<_>>(),
        members
    );
    assert_eq!(other.audit_log().await.len(), 150, "each tenant has a log of its own");
}

pub(crate) async fn rows_past_retention_go_and_readers_are_told(backend: &Backend) {
    let acme = Tenant::acme(backend);
    for number in 0..10 {
        acme.named(&number.to_string()).await;
    }
    let kept = acme.store.prune_changes(&acme.key, FOREVER).await.unwrap();
    assert_eq!((kept.removed, kept.entries, kept.more), (0, 10, false));

    let pruned = acme.store.prune_changes(&acme.key, Retention { max_entries: 4, ..FOREVER }).await.unwrap();
    assert_eq!((pruned.removed, pruned.entries, pruned.more), (6, 4, false));
    let read = acme.store.changes(&acme.key, From::Oldest, 100).await.unwrap();
    assert_eq!((read.changes[0].sequence, read.next, read.head), (7, 10, 10));
    assert_eq!(pruned.oldest, Some(read.changes[0].time));
    let error = acme.store.changes(&acme.key, From::After(5), 100).await.unwrap_err();
    assert!(matches!(error, FeedError::Pruned { after: 5, pruned: 6, head: 10 }), "{error:?}");
    assert_eq!(acme.log_after(6).await.len(), 4);
    let error = acme.store.changes(&acme.key, From::After(11), 100).await.unwrap_err();
    assert!(matches!(error, FeedError::Ahead { after: 11, head: 10 }), "{error:?}");

    let all = Retention { before: Timestamp::MAX, max_entries: u64::MAX };
    let pruned = acme.store.prune_changes(&acme.key, all).await.unwrap();
    assert_eq!((pruned.removed, pruned.entries, pruned.oldest), (4, 0, None));
    let empty = acme.store.changes(&acme.key, From::Oldest, 100).await.unwrap();
    assert_eq!((empty.changes.len(), empty.next, empty.head), (0, 10, 10));
    acme.named("after").await;
    assert_eq!(acme.log_after(10).await[0].sequence, 11);
}

pub(crate) async fn pruning_takes_small_steps(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let create = |number: usize| alone(acme.user_command(&new_id(), json!({"userName": number.to_string()})));
    acme.write((0..1500).map(create).collect()).await;
    let none = Retention { max_entries: 0, ..FOREVER };
    let first = acme.store.prune_changes(&acme.key, none).await.unwrap();
    assert!(first.more && first.removed < 1500, "{first:?}");
    let second = acme.store.prune_changes(&acme.key, none).await.unwrap();
    assert_eq!((first.removed + second.removed, second.entries, second.more), (1500, 0, false));
}

pub(crate) async fn log_is_read_from_a_time_on(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let mut times = Vec::new();
    for number in 0..5 {
        acme.named(&number.to_string()).await;
        tokio::time::sleep(Duration::from_millis(3)).await;
        times.push(acme.audit_log().await.pop().unwrap().time);
    }
    let from = async |time| acme.store.changes(&acme.key, From::Time(time), 100).await.unwrap().changes.len();
    assert_eq!(from(Timestamp::UNIX_EPOCH).await, 5);
    assert_eq!(from(times[2]).await, 3);
    assert_eq!(from(Timestamp::from_millisecond(times[2].as_millisecond() + 1).unwrap()).await, 2);
    assert_eq!(from(Timestamp::MAX).await, 0);
}

pub(crate) async fn log_of_a_purged_tenant_is_gone(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let empty = acme.store.changes(&acme.key, From::Oldest, 1).await.unwrap();
    assert_eq!((empty.changes.len(), empty.next, empty.head), (0, 0, 0));
    acme.named("ann").await;
    acme.named("bob").await;
    acme.store.set_purge_on_removal(&acme.key, true).await.unwrap();
    acme.store.purge_removed(&[], None).await.unwrap();
    let error = acme.store.changes(&acme.key, From::After(2), 1).await.unwrap_err();
    assert!(matches!(error, FeedError::Ahead { after: 2, head: 0 }), "{error:?}");
    acme.named("cid").await;
    assert_eq!(acme.audit_log().await.len(), 1);
}
