//! Whole runs against a server in memory: what each profile asks, and that every mistake of a server is found.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::fake::{Line, Mistake, Server, Trouble};
use super::population::UserChange;
use super::profile::{Job, Profile};
use super::progress::Progress;
use super::report::{Report, Verdict};
use super::run::{Outcome, Run, RunError, Settings};
use super::speech::Speech;
use super::target::Target;

fn settings(profile: Profile) -> Settings {
    Settings {
        targets: vec![Target::new("https://scim.example.com/acme/scim/v2", "token").unwrap()],
        profile,
        users: 4,
        groups: 2,
        memberships: 5,
        rate: None,
        populate_rate: None,
        duration: Duration::from_mins(1),
        populate_timeout: Duration::from_mins(1),
        concurrency: 1,
        seed: 7,
        prefix: "load".to_owned(),
        timeout: Duration::from_secs(5),
        max_requests: 30,
        compress: 1e9,
        max_backoff: Duration::from_millis(1),
        members_per_request: 3,
        keep: true,
        cleanup_only: false,
        allow_existing: false,
        ca: None,
        find_limit: None,
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

fn run(settings: &Settings, server: &Rc<RefCell<Server>>) -> Result<Outcome, RunError> {
    let progress = Progress::new(true);
    let start = Instant::now();
    let lanes = (0..settings.concurrency).map(|_| Line(Rc::clone(server))).collect();
    block_on(async { Run::new(settings, &progress, lanes, start).all(start).await })
}

/// What a run asks, one line a request.
fn asked(settings: &Settings) -> String {
    let server = Rc::new(RefCell::new(Server::default()));
    let outcome = run(settings, &server).unwrap();
    assert!(outcome.comparison.is_clean() && outcome.comparison.complete, "{:?}", outcome.comparison);
    assert_eq!(outcome.comparison.stale, 0, "{:?}", outcome.comparison);
    let log = std::mem::take(&mut server.borrow_mut().log);
    log.join("\n")
}

#[test]
fn okta_asks_as_its_documentation_says() {
    insta::assert_snapshot!(asked(&settings(Profile::Okta)));
}

#[test]
fn entra_asks_as_its_documentation_says() {
    insta::assert_snapshot!(asked(&settings(Profile::Entra)));
}

#[test]
fn onboarding_rush_creates_and_adds_one_by_one() {
    insta::assert_snapshot!(asked(&settings(Profile::OnboardingRush)));
}

#[test]
fn full_resync_reads_everything_and_patches_little() {
    insta::assert_snapshot!(asked(&settings(Profile::FullResync)));
}

#[test]
fn steady_mixes_reads_and_changes() {
    insta::assert_snapshot!(asked(&settings(Profile::Steady)));
}

#[test]
fn same_seed_asks_the_same_and_another_does_not() {
    let of = |seed| asked(&Settings { seed, ..settings(Profile::Steady) });
    assert_eq!(of(3), of(3));
    assert_ne!(of(3).replace("load-3", ""), of(4).replace("load-4", ""));
}

#[test]
fn what_was_made_is_removed_and_nothing_else() {
    let mut server = Server::default();
    server.users.push(json!({"id": "x1", "userName": "somebody"}));
    let server = Rc::new(RefCell::new(server));
    let wanted = Settings { keep: false, allow_existing: true, ..settings(Profile::OnboardingRush) };
    let outcome = run(&wanted, &server).unwrap();
    let cleanup = outcome.cleanup.unwrap();
    assert_eq!((cleanup.removed, cleanup.left), (6, 0));
    let server = server.borrow();
    assert_eq!(server.users.len() + server.groups.len(), 1);
}

#[test]
fn tenant_with_foreign_data_is_refused_before_anything_is_written() {
    let mut server = Server::default();
    server.groups.push(json!({"id": "g9", "displayName": "Everyone"}));
    let server = Rc::new(RefCell::new(server));
    let refused = run(&settings(Profile::Okta), &server).unwrap_err().to_string();
    insta::assert_snapshot!(refused, @r#"https://scim.example.com/acme/scim/v2 has data that no load run made ("Everyone" and maybe more): use a tenant of its own, or say --allow-existing to work beside it; names of this run begin with "load-""#);
    assert_eq!(server.borrow().writes, 0);
}

#[test]
fn what_an_earlier_run_left_is_taken_over() {
    let server = Rc::new(RefCell::new(Server::default()));
    run(&Settings { max_requests: 300, ..settings(Profile::Okta) }, &server).unwrap();
    let there = server.borrow().users.len();
    let again = run(&Settings { max_requests: 60, ..settings(Profile::Okta) }, &server).unwrap();
    assert!(again.comparison.is_clean(), "{:?}", again.comparison);
    assert_eq!(server.borrow().users.len(), there);
}

/// Replaces what differs from run to run.
fn still(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(still),
        Value::Object(fields) => {
            for (name, field) in fields {
                match name.as_str() {
                    "version" | "durationSeconds" | "startSeconds" | "share" | "requestsPerSecond"
                    | "cpuSeconds" | "cpuShare" | "timeline" | "distribution" => *field = json!("…"),
                    "latency" | "service" | "lateness" => {
                        for (_, figure) in field.as_object_mut().unwrap() {
                            *figure = json!("…");
                        }
                    }
                    _ => still(field),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn report_has_stable_fields() {
    let server = Rc::new(RefCell::new(Server { mistake: Some((3, Mistake::Lose)), ..Server::default() }));
    let wanted = settings(Profile::OnboardingRush);
    let outcome = run(&wanted, &server).unwrap();
    let report = Report::new(&wanted, &outcome, "2026-11-22T10:00:00Z".to_owned());
    assert_eq!(report.verdict, Verdict::Failed);
    let mut shown: Value = serde_json::from_str(&report.json()).unwrap();
    still(&mut shown);
    insta::assert_json_snapshot!(shown);
    let page = report.html();
    assert!(!page.contains("http://") && !page.contains("src="), "the page fetches nothing");
    assert!(page.contains("<svg"), "{page}");
}

/// Everybody is provisioned, put into groups and changed once; nothing that was done is done over.
fn each_once(speech: Speech, server: &Rc<RefCell<Server>>) -> Outcome {
    let wanted = Settings { members_per_request: 2, users: 6, memberships: 9, ..settings(Profile::Steady) };
    let progress = Progress::new(true);
    let start = Instant::now();
    block_on(async {
        let mut run = Run::new(&wanted, &progress, vec![Line(Rc::clone(server))], start);
        run.shared.speech.set(speech);
        let mut jobs: Vec<Job> = (0..6).map(Job::ProvisionUser).collect();
        jobs.extend((0..2).map(Job::ProvisionGroup));
        jobs.extend((0..2).map(Job::FillGroup));
        let change = UserChange { title: Some(1), family: Some(1), active: None };
        jobs.extend((0..5).map(|user| Job::UpdateUser(user, change)));
        jobs.push(Job::UpdateUser(5, UserChange { active: Some(false), ..UserChange::default() }));
        for job in jobs {
            run.sessions[0].perform(0, job).await;
        }
        run.patient();
        let there = run.read_back().await;
        let comparison = run.compare(0, there[0].as_ref());
        Outcome {
            providers: Vec::new(),
            shared: Rc::clone(&run.shared),
            comparison,
            cleanup: None,
            limit: None,
            is_cut_short: false,
            was_interrupted: false,
            elapsed: start.elapsed(),
            cpu: None,
        }
    })
}

fn speech() -> impl Strategy<Value = Speech> {
    prop_oneof![Just(Speech::Standard), Just(Speech::Okta), Just(Speech::Entra)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    #[test]
    fn one_mistake_of_a_server_is_always_found(
        speech in speech(),
        at in 0..24_usize,
        mistake in prop_oneof![Just(Mistake::Lose), Just(Mistake::Double), Just(Mistake::Corrupt)],
    ) {
        let server = Rc::new(RefCell::new(Server { mistake: Some((at, mistake)), ..Server::default() }));
        let outcome = each_once(speech, &server);
        let mistaken = server.borrow().mistaken;
        prop_assert!(outcome.comparison.complete);
        // Okta reads before it writes: what it then puts right was seen to be wrong.
        let found = !outcome.comparison.is_clean() || outcome.shared.stale_count.get() > 0;
        prop_assert_eq!(found, mistaken, "{:?} {:?}", outcome.comparison, server.borrow().log);
    }

    #[test]
    fn trouble_that_a_retry_cures_loses_nothing(
        speech in speech(),
        troubles in proptest::collection::vec((0..60_usize, prop_oneof![
            Just(Trouble::ErrorAfter),
            Just(Trouble::Unavailable),
            Just(Trouble::Throttled),
            Just(Trouble::CutAfter),
            Just(Trouble::CutBefore),
            Just(Trouble::Refused),
        ]), 0..8),
    ) {
        // Two in a row are cured too, and more than a client tries are not.
        let server = Rc::new(RefCell::new(Server { troubles, ..Server::default() }));
        let outcome = each_once(speech, &server);
        prop_assert!(outcome.comparison.complete && outcome.comparison.is_clean(), "{:?}", outcome.comparison);
        prop_assert_eq!(outcome.comparison.open + outcome.comparison.late, 0, "{:?}", outcome.comparison);
        let recorder = outcome.shared.recorder.borrow();
        prop_assert_eq!(recorder.given_up, 0, "{:?}", recorder.refusals);
        prop_assert_eq!(server.borrow().users.len(), 6);
        prop_assert_eq!(server.borrow().groups.len(), 2);
    }
}
