use http::Method;
use k8s_openapi::api::core::v1::Node;

use super::*;
use crate::fake::{self, Asked, refusal};

#[test]
fn the_time_of_a_transition_makes_no_difference_and_the_rest_does() {
    let report = |result: &str, time: &str| {
        Fingerprint::of(&json!({"metadata": {"name": "a"}, "status": {"result": result, "conditions": [
            {"type": "valid", "status": "True", "lastTransitionTime": time},
        ]}}))
    };
    assert_eq!(report("Valid", "now"), report("Valid", "then"));
    assert_ne!(report("Valid", "now"), report("Invalid", "now"));
    assert_ne!(report("Valid", "now"), Fingerprint::of(&json!({"metadata": {}})));
}

#[test]
fn a_status_is_written_as_a_whole_so_that_nothing_of_the_old_one_stays() {
    let expected = json!([{"op": "add", "path": "/status", "value": {"result": "Valid"}}]);
    let Patch::Json(patch) = replacing(&json!({"status": {"result": "Valid"}})) else {
        panic!("a JSON patch")
    };
    assert_eq!(json!(patch), expected);
}

#[tokio::test]
async fn what_is_said_before_it_is_taken_is_taken_once_and_the_latest() {
    let (wanted, receiver) = wanted();
    wanted.set("a".to_owned(), Some(1));
    wanted.set("b".to_owned(), Some(1));
    wanted.set("a".to_owned(), None);
    wanted.complete();
    receiver.changed().await;
    let each = [("a".to_owned(), None), ("b".to_owned(), Some(1))].into();
    assert_eq!(receiver.take(), Said { none: false, each, complete: true, ended: false });
    wanted.suspend();
    wanted.set("a".to_owned(), Some(2));
    wanted.none();
    wanted.set("b".to_owned(), Some(2));
    drop(wanted);
    receiver.changed().await;
    let each = [("b".to_owned(), Some(2))].into();
    assert_eq!(receiver.take(), Said { none: true, each, complete: false, ended: true });
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

type Render = fn(&str, &&'static str) -> Node;
type NodeKeeper = Keeper<Node, &'static str, Render>;

fn render(_: &str, phase: &&'static str) -> Node {
    node(phase)
}

/// That the objects of these names should be in these phases, and no others be there.
fn said<const N: usize>(each: [(&str, Option<&'static str>); N]) -> Said<&'static str> {
    let each = each.map(|(name, phase)| (name.to_owned(), phase));
    Said { none: false, each: each.into(), complete: true, ended: false }
}

/// A keeper that wants `phase` of the object, and has listed that there is none. Its API server makes what it is
/// asked to, or what `meddle` makes of it.
fn keeper(
    phase: &'static str,
    mut answer: impl FnMut(&Asked, u64) -> (u16, Value) + Send + 'static,
) -> (NodeKeeper, fake::Log) {
    let mut version = 10;
    let (client, log) = fake::api(move |asked| {
        version += 10;
        answer(asked, version)
    });
    let mut keeper = Keeper::new(Api::all(client), Writes::default(), render as Render);
    keeper.observe(Change::Reset(vec![]), Instant::now());
    keeper.want(said([("r", Some(phase))]));
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
    keeper.observe(Change::Apply(Seen::read(&seen("", 20))), Instant::now());
    keeper.observe(Change::Apply(Seen::read(&seen("wanted", 30))), Instant::now());
    keeper.write_next(Instant::now()).await;
    assert_eq!((log.all().len(), keeper.next()), (2, None));
    assert!(keeper.contests.is_empty());
}

#[tokio::test]
async fn echoes_of_what_came_before_a_deletion_of_ours_are_no_news() {
    let (mut keeper, log) = keeper("wanted", taken("wanted"));
    for (round, begin) in (0..8).zip((0..).step_by(30)) {
        keeper.write_next(Instant::now()).await;
        keeper.want(said([("r", None)]));
        keeper.write_next(Instant::now()).await;
        // As it was made, as it was written then, and that it is gone: some of it comes late.
        let echoes = [
            Change::Apply(Seen::read(&seen("", begin + 20))),
            Change::Apply(Seen::read(&seen("wanted", begin + 30))),
            Change::Delete(Seen::read(&seen("wanted", begin + 40))),
        ];
        for (number, echo) in echoes.into_iter().enumerate() {
            if number == round % 3 {
                keeper.want(said([("r", Some("wanted"))]));
                keeper.write_next(Instant::now()).await;
            }
            keeper.observe(echo, Instant::now());
            keeper.write_next(Instant::now()).await;
        }
        assert!(keeper.is_right("r") && keeper.next().is_none(), "round {round}");
    }
    assert!(keeper.contests.is_empty());
    let asked = |method| log.count(|asked| asked.method == method);
    assert_eq!([asked(Method::POST), asked(Method::PATCH), asked(Method::DELETE)], [9, 9, 8]);
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
        keeper.observe(Change::Apply(Seen::read(&seen("other", version))), now);
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
    keeper.want(said([("r", None), ("bad", Some("wanted")), ("good", Some("wanted"))]));
    for _ in 0..10 {
        keeper.write_next(Instant::now()).await;
    }
    let writes = |name: &str| log.count(|asked| asked.path.ends_with(&format!("/{name}/status")));
    assert_eq!((writes("bad"), writes("good")), (1, 1));
    let pause = keeper.pauses["bad"];
    assert!(pause.until > Instant::now());
    keeper.pauses.insert("bad".into(), Pause { until: pause.since + Duration::from_mins(5), ..pause });
    // Something else may be taken, so it is tried soon.
    keeper.want(said([("bad", Some("short"))]));
    assert_eq!(keeper.pauses["bad"].until, pause.since + OTHERWISE);
}

#[tokio::test]
async fn objects_that_are_no_longer_wanted_are_deleted_and_one_that_is_gone_already_is_no_failure() {
    let (mut keeper, log) = keeper("wanted", |asked, version| match asked.method {
        Method::DELETE => refusal(404, "NotFound", "gone"),
        _ => (200, json!(seen("wanted", version))),
    });
    keeper.write_next(Instant::now()).await;
    keeper.want(said([("r", None)]));
    keeper.write_next(Instant::now()).await;
    assert_eq!(log.count(|asked| asked.method == Method::DELETE), 1);
    assert!(keeper.is_done());
}

#[tokio::test]
async fn once_none_is_wanted_all_are_deleted_but_those_that_are_named_afterwards() {
    let (mut keeper, log) = keeper("wanted", taken("wanted"));
    keeper.want(said([("s", Some("wanted"))]));
    for _ in 0..2 {
        keeper.write_next(Instant::now()).await;
    }
    assert!(keeper.is_done());
    keeper.want(Said { none: true, ..said([("s", Some("wanted"))]) });
    for _ in 0..2 {
        keeper.write_next(Instant::now()).await;
    }
    let deleted = log.all().into_iter().filter(|asked| asked.method == Method::DELETE);
    assert_eq!(deleted.map(|asked| asked.path).collect::<Vec<_>>(), ["/api/v1/nodes/r"]);
    assert!(keeper.is_done());
}

#[tokio::test]
async fn a_list_is_believed_though_its_versions_are_older() {
    let (mut keeper, log) = keeper("wanted", taken("wanted"));
    keeper.write_next(Instant::now()).await;
    keeper.observe(Change::Reset(vec![Seen::read(&seen("restored", 3))]), Instant::now());
    keeper.write_next(Instant::now()).await;
    assert_eq!(log.count(|asked| asked.method == Method::PATCH), 2);
}

#[tokio::test]
async fn what_is_there_and_was_not_named_is_deleted_once_all_are_named() {
    let (client, log) = fake::api(|_| (200, json!({"metadata": {"name": "old"}})));
    let mut keeper = Keeper::new(Api::<Node>::all(client), Writes::default(), render as Render);
    keeper.observe(Change::Reset(vec![Seen::read(&seen("wanted", 3))]), Instant::now());
    keeper.want(Said { complete: false, ..said([]) });
    assert_eq!(keeper.next(), None, "it may be named yet");
    keeper.want(said([]));
    keeper.write_next(Instant::now()).await;
    assert_eq!(log.count(|asked| asked.method == Method::DELETE), 1);
    assert!(keeper.is_done());
    keeper.observe(Change::Delete(Seen::read(&seen("wanted", 4))), Instant::now());
    keeper.write_next(Instant::now()).await;
    assert!(keeper.is_done() && keeper.objects.is_empty());
}
