use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::PostParams;

use super::*;
use crate::fake::{self, refusal};

fn error(code: u16) -> kube::Error {
    let status = Status::failure("words", "Reason").with_code(code);
    kube::Error::Api(Box::new(status))
}

fn label(intent: Intent, code: u16) -> &'static str {
    classify::<()>(intent, Ok(Err(error(code)))).label()
}

#[test]
fn every_answer_has_a_meaning() {
    assert_eq!(classify(Intent::Change, Ok(Ok(7))), Outcome::Done(7));
    assert_eq!(label(Intent::Create, 409), "conflict");
    assert_eq!((label(Intent::Change, 404), label(Intent::Create, 404)), ("gone", "refused"));
    for code in [400, 402, 403, 405, 406, 413, 415, 422, 451, 301] {
        assert_eq!(label(Intent::Change, code), "refused", "{code}");
    }
    for code in [401, 408, 410, 425, 429, 500, 502, 503, 504, 0, 100, 999] {
        assert_eq!(label(Intent::Change, code), "unavailable", "{code}");
    }
    let transport = kube::Error::Service("connection refused".into());
    assert_eq!(classify::<()>(Intent::Change, Ok(Err(transport))).label(), "unavailable");
    let unreadable = kube::Error::SerdeError(serde_json::from_str::<u8>("x").unwrap_err());
    assert_eq!(classify::<()>(Intent::Change, Ok(Err(unreadable))).label(), "refused");
}

#[test]
fn a_reason_is_the_same_where_only_the_words_differ() {
    let reason_of = |code, why: &str, words: &str| reason(&Status::failure(words, why).with_code(code));
    assert_eq!(reason_of(422, "Invalid", "version 1"), reason_of(422, "Invalid", "version 2"));
    assert_ne!(reason_of(422, "Invalid", "a"), reason_of(403, "Forbidden", "a"));
}

async fn create(writes: &Writes, api: &Api<Node>) -> Answer<Node> {
    let (parameters, node) = (PostParams::default(), Node::default());
    let request = api.create(&parameters, &node);
    writes.perform(&Object::new("Node", "", "n"), Intent::Create, Duration::from_secs(1), request).await
}

#[tokio::test]
async fn what_is_refused_is_counted_until_it_is_taken() {
    let mut left = 2;
    let (client, _) = fake::api(move |_| {
        if left > 0 {
            left -= 1;
            return refusal(403, "Forbidden", "nodes is forbidden");
        }
        (200, serde_json::json!({"metadata": {"name": "n"}}))
    });
    let (api, writes, mut registry) = (Api::all(client), Writes::default(), Registry::default());
    writes.register(&mut registry);
    let metrics = || {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    };
    for again in [Duration::from_millis(400), Duration::from_millis(900)] {
        let start = Instant::now();
        let Answer::Refused(failure) = create(&writes, &api).await else { panic!("not refused") };
        assert!(failure.is_forbidden() && failure.message.contains("nodes is forbidden"), "{failure:?}");
        assert!(failure.again > start + again, "{failure:?}");
    }
    assert!(metrics().contains(r#"ferrolb_api_objects_refused{kind="Node"} 1"#), "{}", metrics());
    assert!(matches!(create(&writes, &api).await, Answer::Done(_)));
    let text = metrics();
    assert!(text.contains(r#"ferrolb_api_writes_total{kind="Node",result="refused"} 2"#), "{text}");
    assert!(text.contains(r#"ferrolb_api_writes_total{kind="Node",result="done"} 1"#), "{text}");
    assert!(!text.contains("objects_refused{"), "{text}");
}

#[tokio::test]
async fn a_request_without_an_answer_ends_in_time() {
    let writes = Writes::default();
    let never = std::future::pending::<kube::Result<()>>();
    let object = Object::new("Node", "", "n");
    let answer = writes.perform(&object, Intent::Change, Duration::from_millis(10), never).await;
    let Answer::Unavailable(failure) = answer else { panic!("{answer:?}") };
    assert_eq!(failure.message, "no answer in time");
}
