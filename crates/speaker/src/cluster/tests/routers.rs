//! What objects about BGP come to.

use ::bgp::config::PORT;
use ::bgp::session::Farewell;
use peering::{Secret, SecretState};

use super::*;

fn peer(name: &str, extra: &Value) -> Value {
    let mut spec = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.254"});
    spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    json!({"metadata": {"name": name}, "spec": spec})
}

fn peers_are(peers: &[Value]) -> Event {
    let seen = |value: &Value| SeenPeer::from(object::<api::BGPPeer>(value.clone()));
    Event::BgpPeers(ListChange::Reset(peers.iter().map(seen).collect()))
}

fn bgp_lists(peers: &[Value]) -> [Event; 4] {
    [
        Event::Communities(list([])),
        Event::BfdProfiles(list([])),
        Event::BgpAdvertisements(list([json!({"metadata": {"name": "ad"}})])),
        peers_are(peers),
    ]
}

/// In words, each session that is wanted with what is announced in it.
fn sessions(it: &Fixture) -> Vec<String> {
    match &*it.sessions.borrow() {
        WantedSessions::Sessions(sessions) => sessions
            .iter()
            .map(|(name, peering)| {
                let prefixes = peering.routes.keys().map(ToString::to_string).collect::<Vec<_>>();
                format!("{name} {} {}", peering.config.transport, prefixes.join(" "))
            })
            .collect(),
        WantedSessions::Nothing(farewell) => vec![format!("{farewell:?}")],
    }
}

#[tokio::test]
async fn a_session_is_wanted_once_its_routes_are_known_and_layer_2_goes_on_beside_it() {
    let mut it = complete();
    let mut seen = it.sessions.subscribe();
    for event in bgp_lists(&[peer("router", &json!({}))]) {
        assert!(!seen.has_changed().unwrap());
        assert_eq!(it.after(event), ["192.0.2.2"]);
    }
    seen.mark_unchanged();
    assert_eq!(sessions(&it), ["router 192.0.2.254 192.0.2.1/32 192.0.2.2/32"]);
    it.after(services([service("one", "192.0.2.1")]));
    assert_eq!(sessions(&it), ["router 192.0.2.254 192.0.2.1/32"]);
    it.after(peers_are(&[]));
    assert!(sessions(&it).is_empty());
}

#[tokio::test]
async fn what_a_change_does_not_concern_stays_the_same_in_memory() {
    let mut it = complete();
    let peers = [peer("a", &json!({})), peer("b", &json!({"peerAddress": "192.0.2.253"}))];
    bgp_lists(&peers).into_iter().for_each(|event| _ = it.after(event));
    let before = it.sessions.borrow().clone();
    let moved: api::BGPPeer = object(peer("b", &json!({"peerAddress": "192.0.2.252"})));
    it.after(Event::BgpPeers(ListChange::Apply(moved.into())));
    let (WantedSessions::Sessions(before), WantedSessions::Sessions(after)) =
        (before, it.sessions.borrow().clone())
    else {
        panic!("sessions are wanted")
    };
    assert!(Arc::ptr_eq(&before[&"a".into()].config, &after[&"a".into()].config));
    assert!(Arc::ptr_eq(&before[&"b".into()].routes, &after[&"b".into()].routes));
    assert!(before[&"b".into()].config != after[&"b".into()].config);
    assert_eq!(after[&"a".into()].config.port, PORT);
}

#[tokio::test]
async fn the_identifier_of_a_node_is_its_ipv4_address() {
    let mut it = complete();
    let addresses = ["2001:db8::1", "192.0.2.201"].map(|ip| json!({"type": "InternalIP", "address": ip}));
    let node = json!({"metadata": {"name": "n1"}, "status": {"addresses": addresses}});
    it.after(Event::Nodes(ListChange::Apply(object(node))));
    bgp_lists(&[peer("router", &json!({}))]).into_iter().for_each(|event| _ = it.after(event));
    let WantedSessions::Sessions(wanted) = it.sessions.borrow().clone() else {
        panic!("sessions are wanted")
    };
    assert_eq!(wanted[&"router".into()].config.router_id.to_string(), "192.0.2.201");
}

#[tokio::test]
async fn a_password_is_waited_for_and_a_session_goes_on_until_another_is_known() {
    let mut it = complete();
    let with = |secret: &str| peer("router", &json!({"passwordSecret": {"name": secret}}));
    bgp_lists(&[with("a")]).into_iter().for_each(|event| _ = it.after(event));
    assert_eq!(*it.secrets.borrow(), ["a".into()].into());
    let invalid =
        |it: &Fixture| it.state.take().each.remove("speaker-n1").flatten().map(|state| state.error_summary);
    assert_eq!(invalid(&it).as_deref(), Some(""), "nothing is wrong yet");
    assert!(sessions(&it).is_empty());
    let secret = |name: &str, text: &str| {
        let secret = Secret::new("kubernetes.io/basic-auth", Some(text.as_bytes()));
        Event::Secret(name.into(), SecretState::Present(secret))
    };
    let password = |it: &Fixture| match &*it.sessions.borrow() {
        WantedSessions::Sessions(sessions) => {
            let config = &sessions.get(&"router".into())?.config;
            config.password.as_ref().map(|it| String::from_utf8(it.expose().to_vec()).unwrap())
        }
        WantedSessions::Nothing(_) => None,
    };
    it.after(secret("a", "first"));
    assert_eq!(password(&it).as_deref(), Some("first"));
    it.after(peers_are(&[with("b")]));
    assert_eq!(password(&it).as_deref(), Some("first"));
    assert_eq!(*it.secrets.borrow(), ["b".into()].into());
    it.after(secret("b", "second"));
    assert_eq!(password(&it).as_deref(), Some("second"));
    it.after(Event::Secret("b".into(), SecretState::Absent));
    assert_eq!(password(&it).as_deref(), Some("second"), "it goes on");
    assert!(invalid(&it).unwrap().contains("BGPPeer router: spec.passwordSecret: there is no Secret b"));
}

#[tokio::test]
async fn a_wrong_object_disables_itself_and_is_reported() {
    let mut it = complete();
    it.state.take();
    let peers = [peer("bad", &json!({"myASN": 0})), peer("good", &json!({}))];
    bgp_lists(&peers).into_iter().for_each(|event| _ = it.after(event));
    assert_eq!(sessions(&it), ["good 192.0.2.254 192.0.2.1/32 192.0.2.2/32"]);
    let summary = it.state.take().each.remove("speaker-n1").flatten().unwrap().error_summary;
    assert!(summary.starts_with("BGPPeer bad: spec.myASN: "), "{summary}");
}

#[tokio::test]
async fn every_service_that_is_announced_to_routers_is_reported_until_the_speaker_stops() {
    const ANNOUNCED: &str =
        "metallb_speaker_announced{service=\"default/one\",protocol=\"bgp\",node=\"n1\",ip=\"192.0.2.1\"} 1";
    let mut it = complete();
    assert!(!it.routed.take().complete, "no list of objects about BGP is known");
    let [communities, profiles, advertisements, peers] = bgp_lists(&[peer("router", &json!({}))]);
    for event in [communities, profiles, peers] {
        it.after(event);
    }
    assert!(!it.routed.take().complete);
    it.after(advertisements);
    let said = it.routed.take();
    assert!(said.complete);
    let names = ["one", "two"]
        .map(|name| crate::status::routed::name(&"n1".into(), &ServiceKey::new("default", name)));
    let peers: Arc<BTreeSet<::objects::BgpPeerName>> = Arc::new(["router".into()].into());
    let reported = |name| Some(Routed { service: ServiceKey::new("default", name), peers: peers.clone() });
    let [one, two] = names.clone();
    assert_eq!(said.each, [(one, reported("one")), (two, reported("two"))].into());
    assert!(it.shows(ANNOUNCED));
    it.after(services([service("two", "192.0.2.2")]));
    assert_eq!(it.routed.take().each, [(names[0].clone(), None)].into());
    assert!(!it.shows(ANNOUNCED));
    it.after(Event::Stop);
    let said = it.routed.take();
    assert!(said.none && said.each.is_empty() && said.ended);
}

#[tokio::test]
async fn kube_proxy_is_asked_before_a_first_local_endpoint_is_announced() {
    let mut it = complete();
    bgp_lists(&[peer("router", &json!({}))]).into_iter().for_each(|event| _ = it.after(event));
    let mut local = service("one", "192.0.2.1");
    local["spec"]["externalTrafficPolicy"] = json!("Local");
    local["spec"]["healthCheckNodePort"] = json!(30_123);
    it.after(services([local]));
    assert!(it.proxy_asked.borrow().is_empty(), "no endpoint is here");
    let mut here = slice("one");
    here["endpoints"][0]["nodeName"] = json!("n1");
    it.after(slices([here]));
    let key = ServiceKey::new("default", "one");
    assert_eq!(*it.proxy_asked.borrow(), [(key.clone(), NonZeroU16::new(30_123))].into());
    assert_eq!(sessions(&it), ["router 192.0.2.254 "]);
    it.after(Event::Proxy(key.clone(), ProxyAnswer::NotYet));
    assert_eq!(it.proxy_asked.borrow().len(), 1);
    it.after(Event::Proxy(key, ProxyAnswer::Serves));
    assert!(it.proxy_asked.borrow().is_empty());
    assert_eq!(sessions(&it), ["router 192.0.2.254 192.0.2.1/32"]);
}

#[tokio::test]
async fn once_every_session_is_to_end_none_is_asked_for_again() {
    let mut it = complete();
    bgp_lists(&[peer("router", &json!({}))]).into_iter().for_each(|event| _ = it.after(event));
    it.sessions.send_replace(WantedSessions::Nothing(Farewell::Leave));
    it.after(services([service("one", "192.0.2.1")]));
    assert_eq!(sessions(&it), ["Leave"]);
}
