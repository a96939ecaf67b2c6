use http::Method;
use k8s_openapi::api::core::v1::Node;

use super::*;
use crate::fake::{self, Asked, refusal};

#[test]
fn the_time_of_a_transition_makes_no_difference_and_the_rest_does() {
    let report = |result: &str, time: &str| {
        json!({"metadata": {"name": "a"}, "status": {"result": result, "conditions": [
            {"type": "valid", "status": "True", "lastTransitionTime": time},
        ]}})
    };
    assert_eq!(essence(&report("Valid", "now")), essence(&report("Valid", "then")));
    assert_ne!(essence(&report("Valid", "now")), essence(&report("Invalid", "now")));
    assert_eq!(essence(&json!({"metadata": {}})), Value::Null);
}

#[test]
fn a_field_that_is_no_longer_wanted_is_removed() {
    let (old, new) = (json!({"result": "Invalid", "errorSummary": "x"}), json!({"result": "Valid"}));
    assert_eq!(replacing(Some(&old), new), json!({"result": "Valid", "errorSummary": null}));
    assert_eq!(replacing(None, json!({"result": "Valid"})), json!({"result": "Valid"}));
}

/// A node serves as well as any other object with a status.
fn node(phase: &str) -> Node {
    serde_json::from_value(json!({"metadata": {"name": "r"}, "status": {"phase": phase}})).unwrap()
}

fn seen(phase: &str, version: u64) -> Node {
    let mut node = node(phase);
    node.metadata.resource_version = Some(version.to_string());
    node
}

/// A keeper that wants `phase` of the object, and has listed that there is none. Its API server makes what it is
/// asked to, or what `meddle` makes of it.
fn keeper(
    phase: &str,
    mut answer: impl FnMut(&Asked, u64) -> (u16, Value) + Send + 'static,
) -> (Keeper<Node>, fake::Log) {
    let mut version = 10;
    let (client, log) = fake::api(move |asked| {
        version += 10;
        answer(asked, version)
    });
    let mut keeper = Keeper::new(Api::all(client), Writes::default());
    keeper.observe(Change::Reset(vec![]), Instant::now());
    keeper.want(Some(BTreeMap::from([("r".to_owned(), node(phase))])));
    (keeper, log)
}

fn taken(phase: &str) -> impl FnMut(&Asked, u64) -> (u16, Value) + Send + 'static + use<> {
    let phase = phase.to_owned();
    move |_, version| (200, json!(seen(&phase, version)))
}

#[tokio::test]
async fn what_is_right_is_not_written_again_and_the_echo_of_an_older_write_is_no_news() {
    let (mut keeper, log) = keeper("wanted", taken("wanted"));
    keeper.write_next(Instant::now()).await;
    assert_eq!(
        log.all().iter().map(|asked| asked.method.clone()).collect::<Vec<_>>(),
        [Method::POST, Method::PATCH]
    );
    assert_eq!(keeper.next(), None);
    // First as it was made, without a status, then as it is.
    keeper.observe(Change::Apply(seen("", 20)), Instant::now());
    keeper.observe(Change::Apply(seen("wanted", 30)), Instant::now());
    keeper.write_next(Instant::now()).await;
    assert_eq!((log.all().len(), keeper.next()), (2, None));
    assert!(keeper.contests.is_empty());
}

#[tokio::test]
async fn whoever_keeps_changing_an_object_is_corrected_ever_more_rarely() {
    let (mut keeper, log) = keeper("wanted", taken("wanted"));
    keeper.write_next(Instant::now()).await;
    let start = Instant::now();
    let mut now = start;
    let end = start + Duration::from_mins(3);
    let mut version = 1000;
    while now < end {
        version += 1000;
        keeper.observe(Change::Apply(seen("other", version)), now);
        if keeper.pauses.get("r").is_none_or(|pause| pause.until <= now) {
            keeper.write_next(now).await;
        }
        now += Duration::from_millis(50);
    }
    let written = log.count(|asked| asked.method == Method::PATCH);
    assert!((6..20).contains(&written), "{written} writes in three minutes");
}

#[tokio::test]
async fn a_server_that_does_not_keep_what_it_is_told_is_not_told_without_end() {
    let (mut keeper, log) = keeper("wanted", taken("something else"));
    for _ in 0..1000 {
        keeper.write_next(Instant::now()).await;
    }
    assert!(log.all().len() < 12, "{} requests", log.all().len());
    assert!(keeper.next().is_some_and(|next| next > Instant::now()));
}

#[tokio::test]
async fn a_refused_object_waits_and_others_do_not() {
    let (mut keeper, log) = keeper("wanted", |asked, version| {
        if asked.path.ends_with("/bad/status") {
            return refusal(422, "Invalid", "status: too long");
        }
        (200, json!(seen("wanted", version)))
    });
    let objects = ["bad", "good"].map(|name| (name.to_owned(), node("wanted")));
    keeper.want(Some(BTreeMap::from(objects)));
    for _ in 0..10 {
        keeper.write_next(Instant::now()).await;
    }
    let writes = |name: &str| log.count(|asked| asked.path.ends_with(&format!("/{name}/status")));
    assert_eq!((writes("bad"), writes("good")), (1, 1));
    let pause = keeper.pauses["bad"];
    assert!(pause.until > Instant::now());
    keeper.pauses.insert("bad".to_owned(), Pause { until: pause.since + Duration::from_mins(5), ..pause });
    // Something else may be taken, so it is tried soon.
    keeper.want(Some(BTreeMap::from([("bad".to_owned(), node("short"))])));
    assert_eq!(keeper.pauses["bad"].until, pause.since + OTHERWISE);
}

#[tokio::test]
async fn objects_that_are_no_longer_wanted_are_deleted_and_one_that_is_gone_already_is_no_failure() {
    let (mut keeper, log) = keeper("wanted", |asked, version| match asked.method {
        Method::DELETE => refusal(404, "NotFound", "gone"),
        _ => (200, json!(seen("wanted", version))),
    });
    keeper.write_next(Instant::now()).await;
    keeper.want(Some(BTreeMap::new()));
    keeper.write_next(Instant::now()).await;
    assert_eq!(log.count(|asked| asked.method == Method::DELETE), 1);
    assert!(keeper.is_done());
}

#[tokio::test]
async fn a_list_is_believed_though_its_versions_are_older() {
    let (mut keeper, log) = keeper("wanted", taken("wanted"));
    keeper.write_next(Instant::now()).await;
    keeper.observe(Change::Reset(vec![seen("restored", 3)]), Instant::now());
    keeper.write_next(Instant::now()).await;
    assert_eq!(log.count(|asked| asked.method == Method::PATCH), 2);
}
