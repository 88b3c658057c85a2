//! Lists: order, pages, cursors, sorting and filters.

use std::sync::Arc;

use scim_operator::store::{Page, Query};
use serde_json::json;

use crate::backend::Backend;
use crate::fixture::{Tenant, alone, first, ids, new_id, sort};

/// Users `user000`, `user001`, ... in the order of their creation.
async fn users(acme: &Tenant, count: usize) -> Vec<String> {
    let made: Vec<_> = (0..count).map(|_| new_id()).collect();
    let units = made.iter().enumerate().map(|(number, id)| {
        let title = format!("title{}", number % 7);
        alone(acme.user_command(id, json!({"userName": format!("user{number:03}"), "title": title})))
    });
    assert!(acme.write(units.collect()).await.iter().all(Result::is_ok));
    made
}

pub(crate) async fn list_is_in_the_order_of_creation_by_type(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let ann = acme.named("zoe").await;
    let staff = acme.group("staff", &[]).await;
    let bob = acme.named("bob").await;
    assert_eq!(acme.find_users("").await, [ann.as_str(), &bob]);
    let types = vec![(Arc::clone(&acme.user), None), (Arc::clone(&acme.group), None)];
    let query = Query { types, ..acme.query(&acme.user, "", first(10)) };
    let listing = acme.list(&query).await;
    assert_eq!((listing.total, ids(&listing)), (3, vec![staff.clone(), ann.clone(), bob.clone()]));
    assert_eq!(acme.walk(&query, 1).await, [staff.as_str(), &ann, &bob]);
    let page = acme.list(&Query { page: Page::Index { start_index: 2, count: 1 }, ..query }).await;
    assert_eq!((page.total, ids(&page)), (3, vec![ann]));
}

pub(crate) async fn index_pages_are_right_while_resources_come_and_go(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let mut made = users(&acme, 40).await;
    let pages = async |made: &[String]| {
        for start in (0..made.len()).step_by(7) {
            let page = Page::Index { start_index: start as u64 + 1, count: 7 };
            let found = ids(&acme.list(&acme.query(&acme.user, "", page)).await);
            assert_eq!(found, made[start..made.len().min(start + 7)]);
        }
    };
    pages(&made).await;
    for gone in [30, 3, 0] {
        acme.run(acme.delete_command(&acme.user, &made.remove(gone))).await.unwrap();
        pages(&made).await;
        made.push(acme.named(&format!("new{gone}")).await);
        pages(&made).await;
    }
    // An id from before all others, as a resource has that is brought back.
    let first = "00000000-0000-7000-8000-000000000000".to_owned();
    Tenant::resource(acme.run(acme.user_command(&first, json!({"userName": "first"}))).await);
    made.insert(0, first);
    pages(&made).await;
}

pub(crate) async fn index_pages_have_their_edges(backend: &Backend) {
    let acme = Tenant::acme(backend);
    assert_eq!(acme.list(&acme.query(&acme.user, "", first(10))).await.total, 0);
    let made = users(&acme, 25).await;
    for filter in ["", "userName sw \"user\"", "nickName ne \"x\""] {
        for (start_index, count, range) in [
            (1, 10, 0..10),
            (11, 10, 10..20),
            (21, 10, 20..25),
            (25, 1, 24..25),
            (26, 10, 0..0),
            (900, 9, 0..0),
            (5, 0, 0..0),
        ] {
            let page = Page::Index { start_index, count };
            let listing = acme.list(&acme.query(&acme.user, filter, page)).await;
            assert_eq!(
                (listing.total, ids(&listing)),
                (25, made[range].to_vec()),
                "{filter} {start_index} {count}"
            );
            assert_eq!(listing.next, None);
        }
    }
    let far = Page::Index { start_index: u64::MAX, count: usize::MAX };
    assert_eq!(acme.list(&acme.query(&acme.user, "", far)).await.total, 25);
}

pub(crate) async fn cursor_walk_sees_each_resource_once(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let made = users(&acme, 25).await;
    for filter in ["", "userName sw \"USER\"", "nickName ne \"x\""] {
        let query = acme.query(&acme.user, filter, first(0));
        for count in [1, 5, 24, 25, 26] {
            assert_eq!(acme.walk(&query, count).await, made, "{filter} {count}");
        }
        let none = acme.list(&Query { page: Page::After { position: None, count: 0 }, ..query }).await;
        assert_eq!((none.total, none.resources.len(), none.next), (25, 0, None));
    }
}

pub(crate) async fn cursor_walk_goes_on_while_resources_come_and_go(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let made = users(&acme, 30).await;
    for sort in [None, sort("userName", false), sort("title", true)] {
        let query = Query { sort, ..acme.query(&acme.user, "", Page::After { position: None, count: 10 }) };
        let before = acme.walk(&query, 30).await;
        let page = acme.list(&query).await;
        // The last one of the page goes, and so does the next; new ones come.
        acme.run(acme.delete_command(&acme.user, &before[9])).await.unwrap();
        acme.run(acme.delete_command(&acme.user, &before[10])).await.unwrap();
        let new = acme.user(json!({"userName": "zzz", "title": "aaa"})).await;
        let next = acme.list(&Query { page: Page::After { position: page.next, count: 100 }, ..query }).await;
        let mut expected = before[11..].to_vec();
        expected.push(new.clone());
        assert_eq!(ids(&next), expected);
        // Put things back for the next order.
        acme.run(acme.delete_command(&acme.user, &new)).await.unwrap();
        for id in [&before[9], &before[10]] {
            let number = made.iter().position(|made| made == id).unwrap();
            let body =
                json!({"userName": format!("user{number:03}"), "title": format!("title{}", number % 7)});
            acme.run(acme.user_command(id, body)).await.unwrap();
        }
    }
}

pub(crate) async fn sort_puts_missing_values_last_and_first_when_descending(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let two = acme.user(json!({"userName": "b", "title": "TWO"})).await;
    let none = acme.named("c").await;
    let one = acme.user(json!({"userName": "A", "title": "one"})).await;
    let same = acme.user(json!({"userName": "d", "title": "One"})).await;
    // Times have milliseconds: what was made in one of them is in the order of its ids.
    let query = acme.query(&acme.user, "", first(10));
    for (by, descending, expected) in [
        ("title", false, [&one, &same, &two, &none]),
        ("title", true, [&none, &two, &one, &same]),
        ("userName", false, [&one, &two, &none, &same]),
        ("userName", true, [&same, &none, &two, &one]),
        ("meta.created", false, [&two, &none, &one, &same]),
        ("id", false, [&two, &none, &one, &same]),
    ] {
        let listing = acme.list(&Query { sort: sort(by, descending), ..query.clone() }).await;
        assert_eq!(ids(&listing).iter().collect::<Vec<_>>(), expected, "{by} {descending}");
        assert_eq!(listing.total, 4);
    }
    let staff = acme.group("staff", &[]).await;
    let types = vec![(Arc::clone(&acme.user), None), (Arc::clone(&acme.group), None)];
    let listing = acme.list(&Query { types, sort: sort("userName", false), ..query }).await;
    assert_eq!(ids(&listing), [one, two, none, same, staff]);
}

pub(crate) async fn sorted_cursor_walk_equals_one_sorted_page(backend: &Backend) {
    let acme = Tenant::acme(backend);
    users(&acme, 40).await;
    for by in ["userName", "title", "nickName", "meta.lastModified"] {
        for descending in [false, true] {
            for filter in ["", "userName co \"1\""] {
                let sort = sort(by, descending);
                let query = Query { sort, ..acme.query(&acme.user, filter, first(100)) };
                let whole = ids(&acme.list(&query).await);
                assert_eq!(acme.walk(&query, 7).await, whole, "{by} {descending} {filter}");
                let part =
                    acme.list(&Query { page: Page::Index { start_index: 6, count: 4 }, ..query }).await;
                assert_eq!(ids(&part), whole[5..9], "{by} {descending} {filter}");
            }
        }
    }
}

pub(crate) async fn indexed_filters_find_what_they_name(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let emails =
        json!([{"value": "Ann@Example.com", "type": "work"}, {"value": "ann@home.example", "type": "home"}]);
    let ann = acme
        .user(json!({"userName": "Ann", "externalId": "X7", "displayName": "Ann A", "emails": emails}))
        .await;
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    let bob = acme
        .user(json!({"userName": "bob", "externalId": "x7", "displayName": "Bob B", "active": false}))
        .await;
    let staff = acme.group("Staff", &[&ann]).await;
    let outer = acme.group("outer", &[&staff, &bob]).await;
    let time = acme.get_user(&bob).await.unwrap().last_modified;
    let none: [&str; 0] = [];
    for (filter, expected) in [
        (format!("id eq \"{ann}\""), &[ann.as_str()][..]),
        (format!("id eq \"{}\"", ann.to_uppercase()), &none),
        (format!("id eq \"{staff}\""), &none),
        ("userName eq \"ANN\"".into(), &[&ann]),
        ("userName sw \"a\"".into(), &[&ann]),
        ("userName eq \"ann\" or userName eq \"BOB\"".into(), &[&ann, &bob]),
        ("userName eq \"ann\" and active eq false".into(), &none),
        ("userName eq \"bob\" and active eq false".into(), &[&bob]),
        ("userName eq \"bob\" and displayName eq \"bob b\"".into(), &[&bob]),
        ("displayName eq \"bob b\" and externalId eq \"x7\"".into(), &[&bob]),
        ("not (userName eq \"ann\")".into(), &[&bob]),
        ("externalId eq \"X7\"".into(), &[&ann]),
        ("emails.value eq \"ann@example.COM\"".into(), &[&ann]),
        ("emails.value sw \"ann@\"".into(), &[&ann]),
        ("emails[value eq \"ann@example.com\" and type eq \"work\"]".into(), &[&ann]),
        ("emails[value eq \"ann@example.com\" and type eq \"home\"]".into(), &none),
        ("emails[value eq \"ann@home.example\" or value eq \"x\"]".into(), &[&ann]),
        (format!("groups.value eq \"{staff}\""), &[&ann]),
        (format!("groups[value eq \"{outer}\"]"), &[&ann, &bob]),
        (format!("groups.value eq \"{outer}\" and userName sw \"b\""), &[&bob]),
        (format!("meta.lastModified ge \"{time}\""), &[&bob]),
        (format!("meta.lastModified lt \"{time}\""), &[&ann]),
        (format!("meta.lastModified eq \"{time}\""), &[&bob]),
        (format!("meta.created le \"{time}\""), &[&ann, &bob]),
        (format!("meta.created gt \"{time}\" or userName eq \"ann\""), &[&ann]),
        (format!("userName sw \"b\" and meta.created ge \"{time}\""), &[&bob]),
    ] {
        assert_eq!(acme.find_users(&filter).await, expected, "{filter}");
    }
    for (filter, expected) in [
        (format!("members.value eq \"{ann}\""), &[&staff][..]),
        (format!("members eq \"{staff}\""), &[&outer]),
        (format!("id eq \"{outer}\" and members eq \"{bob}\""), &[&outer]),
        (format!("id eq \"{staff}\" and members eq \"{bob}\""), &[]),
        (format!("displayName eq \"staff\" and members[value eq \"{ann}\"]"), &[&staff]),
        (format!("displayName eq \"STAFF\" or members.value eq \"{bob}\""), &[&staff, &outer]),
        ("members pr and members.display eq \"ann a\"".into(), &[&staff]),
    ] {
        assert_eq!(acme.find_groups(&filter).await.iter().collect::<Vec<_>>(), expected, "{filter}");
    }
}

pub(crate) async fn filters_across_types_add_up(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let ann = acme.user(json!({"userName": "ann", "displayName": "Core"})).await;
    acme.named("bob").await;
    let core = acme.group("core", &[&ann]).await;
    let other = acme.group("other", &[]).await;
    let types = |user: &str, group: &str| {
        vec![
            (Arc::clone(&acme.user), Some(acme.filter(&acme.user, user))),
            (Arc::clone(&acme.group), Some(acme.filter(&acme.group, group))),
        ]
    };
    let query = acme.query(&acme.user, "", first(10));
    let by_name = "displayName eq \"core\"";
    let listing = acme.list(&Query { types: types(by_name, by_name), ..query.clone() }).await;
    assert_eq!((listing.total, ids(&listing)), (2, vec![core.clone(), ann.clone()]));
    let mixed =
        Query { types: types("title pr or userName eq \"ann\"", "meta.resourceType eq \"Group\""), ..query };
    assert_eq!(acme.list(&mixed).await.total, 3);
    assert_eq!(acme.walk(&mixed, 2).await, [core, other, ann]);
}

pub(crate) async fn long_scan_gives_the_same_as_a_short_one(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let made = users(&acme, 2500).await;
    let listing = acme
        .list(&acme.query(&acme.user, "title eq \"title3\"", Page::Index { start_index: 3, count: 2 }))
        .await;
    assert_eq!((listing.total, ids(&listing)), (357, vec![made[17].clone(), made[24].clone()]));
    let all = acme.list(&acme.query(&acme.user, "", first(2500))).await;
    assert_eq!((all.total, ids(&all)), (2500, made.clone()));
    let end = acme.list(&acme.query(&acme.user, "", Page::Index { start_index: 2499, count: 10 })).await;
    assert_eq!(ids(&end), made[2498..]);
}
