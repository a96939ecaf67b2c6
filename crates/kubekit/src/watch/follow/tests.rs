use std::collections::VecDeque;

use serde_json::{Value, json};

use kube::{Api, ResourceExt};
use slim::Namespace;

use super::*;
use crate::fake::{self, Asked, Log};
use crate::watch::Source;

fn namespace(name: &str, version: u64) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "resourceVersion": version.to_string()}})
}

fn list(version: u64, items: &[Value]) -> Value {
    json!({
        "apiVersion": "v1", "kind": "NamespaceList",
        "metadata": {"resourceVersion": version.to_string()}, "items": items,
    })
}

fn event(kind: &str, object: Value) -> Value {
    json!({"type": kind, "object": object})
}

/// Follows namespaces by their names.
struct Followed {
    follower: Follower,
    names: Names,
}

#[derive(Default)]
struct Names(Vec<String>);

impl Reader for Names {
    fn read(&mut self, object: &str) -> serde_json::Result<Version> {
        let namespace: Namespace = serde_json::from_str(object)?;
        self.0.push(namespace.name_any());
        Ok(Version::of(&namespace))
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

impl Followed {
    async fn next(&mut self) -> String {
        let happened = self.follower.next(&mut self.names).await;
        let sign = match happened {
            Happened::Restored => return "restored".to_owned(),
            Happened::Reset => "=",
            Happened::Apply => "+",
            Happened::Delete => "-",
        };
        format!("{sign} {}", std::mem::take(&mut self.names.0).join(" "))
    }

    async fn next_few(&mut self, count: usize) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.next().await);
        }
        all
    }
}

/// An API server that gives these answers to lists and these to watches, one after the other, and the last for ever.
/// A watch ends after what it says.
fn server(lists: Vec<(u16, Value)>, watches: Vec<(u16, Vec<Value>)>) -> (Followed, Log) {
    fn next<T: Clone>(answers: &mut VecDeque<T>) -> T {
        if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0].clone() }
    }
    let (mut lists, mut watches) = (VecDeque::from(lists), VecDeque::from(watches));
    let (client, log) = fake::api_of_text(move |asked| {
        if asked.is_watch() {
            let (code, lines) = next(&mut watches);
            (code, lines.iter().map(|line| format!("{line}\n")).collect())
        } else {
            let (code, list) = next(&mut lists);
            (code, list.to_string())
        }
    });
    let source = Source::from(Api::<Namespace>::all(client));
    (Followed { follower: source.follower(), names: Names::default() }, log)
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_may_be_absent_has_no_objects_until_there_is_one() {
    let missing =
        |code: u16| (code, json!({"kind": "Status", "status": "Failure", "code": code, "message": "no"}));
    for code in [404, 403] {
        let lists = vec![missing(code), missing(code), (200, list(10, &[namespace("a", 3)])), missing(403)];
        let (mut followed, _) = server(lists, vec![(410, vec![])]);
        followed.follower.absence = Absence::Empty;
        let reachability = Reachability::default();
        followed.follower.reachability = Some(reachability.clone());
        assert_eq!(followed.next_few(2).await, ["= ", "= a"]);
        assert!(followed.follower.reachable);
        let lost = timeout(Duration::from_mins(1), followed.next()).await;
        assert!(lost.is_err() && !followed.follower.reachable, "a right that is taken away is no empty list");
    }
}

fn lists(asked: &Asked) -> bool {
    !asked.is_watch()
}

#[tokio::test(start_paused = true)]
async fn a_list_is_followed_by_what_happens_after_it() {
    let gone = namespace("a", 12);
    let watch = vec![
        event("ADDED", namespace("b", 11)),
        event("DELETED", gone),
        event("MODIFIED", namespace("b", 13)),
    ];
    let (mut followed, log) = server(vec![(200, list(10, &[namespace("a", 3)]))], vec![(200, watch)]);
    let changes = followed.next_few(4).await;
    assert_eq!(changes, ["= a", "+ b", "- a", "+ b"]);
    assert!(log.all()[1].query.contains("resourceVersion=10"), "{:?}", log.all());
}

#[tokio::test(start_paused = true)]
async fn with_each_change_it_is_known_up_to_where_everything_is_and_how_new_the_newest_object() {
    let bookmark = event("BOOKMARK", namespace("", 20));
    let watch = vec![event("DELETED", namespace("a", 12)), bookmark, event("ADDED", namespace("c", 25))];
    let first = list(10, &[namespace("a", 3), namespace("b", 7)]);
    let restored = (200, list(8, &[namespace("b", 7)]));
    let (mut followed, _) = server(vec![(200, first), restored], vec![(200, watch), (200, vec![])]);
    let mut known = Vec::new();
    for _ in 0..5 {
        known.push((followed.next().await, followed.follower.known()));
    }
    let known_of = |complete, newest| Known { complete, newest };
    let expected = [
        ("= a b", known_of(10, 7)),
        ("- a", known_of(12, 12)),
        ("+ c", known_of(25, 25)),
        ("restored", known_of(8, 7)),
        ("= b", known_of(8, 7)),
    ];
    assert_eq!(known, expected.map(|(said, known)| (said.to_owned(), known)));
}

#[tokio::test(start_paused = true)]
async fn after_a_watch_was_broken_off_a_short_list_is_believed_though_its_version_is_older() {
    let restored = list(7, &[namespace("a", 3)]);
    let (mut followed, log) = server(
        vec![(200, list(10, &[namespace("a", 3), namespace("b", 9)])), (200, restored)],
        vec![(200, vec![]), (200, vec![event("ADDED", namespace("c", 8))])],
    );
    let changes = followed.next_few(4).await;
    assert_eq!(changes, ["= a b", "restored", "= a", "+ c"]);
    let watched: Vec<bool> =
        log.all().iter().map(|asked| asked.query.contains("resourceVersion=7")).collect();
    assert_eq!(watched.last(), Some(&true), "{:?}", log.all());
    assert!(
        log.all().iter().filter(|asked| lists(asked)).all(|asked| !asked.query.contains("resourceVersion="))
    );
}

#[tokio::test(start_paused = true)]
async fn a_version_that_the_api_server_does_not_have_yet_leads_to_a_list() {
    for code in [400, 410, 504] {
        let (_, refused) = fake::refusal(code, "Timeout", "Too large resource version: 10, current: 7");
        let (mut followed, _) = server(
            vec![(200, list(10, &[namespace("a", 9)])), (200, list(7, &[]))],
            vec![(code, vec![refused]), (200, vec![event("ADDED", namespace("c", 8))])],
        );
        let changes = followed.next_few(4).await;
        assert_eq!(changes, ["= a", "restored", "= ", "+ c"], "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_within_a_watch_leads_to_a_list() {
    for code in [410, 500] {
        let (_, status) = fake::refusal(code, "Expired", "too old resource version");
        let watch = vec![event("ADDED", namespace("b", 11)), event("ERROR", status)];
        let (mut followed, _) = server(
            vec![(200, list(10, &[])), (200, list(12, &[namespace("c", 12)]))],
            vec![(200, watch), (200, vec![event("ADDED", namespace("d", 13))])],
        );
        let changes = followed.next_few(4).await;
        assert_eq!(changes, ["= ", "+ b", "= c", "+ d"], "{code}");
    }
}

/// A list of two pages, of which the second is this.
fn long(version: u64, items: &[Value]) -> [(u16, Value); 2] {
    let mut first = list(version, &[]);
    first["metadata"]["continue"] = "more".into();
    [(200, first), (200, list(version, items))]
}

#[tokio::test(start_paused = true)]
async fn a_long_list_is_taken_again_at_once_only_if_its_version_is_older() {
    let look = (200, list(7, &[]));
    let answers = [&long(10, &[namespace("a", 9)])[..], &[look], &long(7, &[namespace("b", 6)])].concat();
    let (mut followed, log) =
        server(answers, vec![(200, vec![]), (200, vec![event("ADDED", namespace("c", 8))])]);
    let start = tokio::time::Instant::now();
    let changes = followed.next_few(4).await;
    assert_eq!(changes, ["= a", "restored", "= b", "+ c"]);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(log.count(|asked| asked.query.contains("limit=1&") || asked.query.ends_with("limit=1")), 1);
}

#[tokio::test]
async fn a_watch_of_a_long_list_goes_on_where_it_was_broken_off() {
    let look = (200, list(10, &[]));
    let answers = [&long(10, &[namespace("a", 9)])[..], &[look]].concat();
    let (mut followed, log) =
        server(answers, vec![(200, vec![]), (200, vec![event("ADDED", namespace("c", 11))])]);
    assert_eq!([followed.next().await, followed.next().await], ["= a", "+ c"]);
    assert!(followed.follower.relist.is_some(), "versions may have caught up, so it is listed again later");
    assert_eq!(log.count(lists), 3);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_ends_every_watch_at_once_is_not_flooded() {
    let (mut followed, log) = server(vec![(200, list(10, &[]))], vec![(200, vec![])]);
    let minute = timeout(Duration::from_mins(1), async {
        loop {
            followed.next().await;
        }
    });
    assert!(minute.await.is_err());
    assert!((10..60).contains(&log.count(lists)), "{} lists", log.count(lists));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_fails_is_tried_again_and_comes_whole() {
    let page = long(10, &[namespace("b", 9)]);
    let answers = [&page[..1], &[fake::refusal(500, "InternalError", "oops")], &page[..]].concat();
    let (mut followed, _) = server(answers, vec![(200, vec![])]);
    assert_eq!(followed.next().await, "= b");
    assert!(followed.follower.reachable);
}
