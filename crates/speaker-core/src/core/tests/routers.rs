//! Routers, beside all that is for layer 2.

use ::bgp::config::{AsNumbers, Asn, PeerAs, Transport};
use objects::text;
use peering::{Advertisement as BgpAdvertisement, Peer};

use super::*;
use crate::announce::bgp::BgpInput;

fn router() -> Input {
    let asn = |number: u32| Asn::try_from(number).expect("not 0");
    let asns = AsNumbers { own: asn(64_512), shown: None, peer: PeerAs::Is(asn(64_513)) };
    let transport = Transport::new(ip("192.0.2.254"), None).expect("one family");
    let peer = Peer::new("router".into(), transport, asns);
    Input::Bgp(BgpInput::Peers(list([("router".into(), Some(Ok(peer)))])))
}

fn objects() -> [Input; 4] {
    let advertisement = ("ad".into(), Some((Some(BgpAdvertisement::new("ad")), vec![])));
    [
        Input::Bgp(BgpInput::Communities(list([]))),
        Input::Bgp(BgpInput::Profiles(list([]))),
        Input::Bgp(BgpInput::Advertisements(list([advertisement]))),
        router(),
    ]
}

impl Fixture {
    /// What the router is told after these, each time that this is different.
    fn routes_after(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<String> {
        self.all(inputs);
        let routes = self.outputs.iter().filter_map(|output| match output {
            Output::BgpRoutes(_, routes) => Some(routes),
            _ => None,
        });
        routes.map(|routes| text::listed(routes.keys())).collect()
    }
}

#[test]
fn routers_are_told_without_anybody_being_heard_in_the_gossip() {
    let mut it = fixture();
    let [services, endpoints, nodes, pools, ..] = lists();
    assert_eq!(it.routes_after(objects()), [""; 0]);
    assert_eq!(it.routes_after([services, endpoints, nodes]), [""; 0]);
    assert_eq!(it.routes_after([pools]), ["192.0.2.1/32, 192.0.2.2/32"]);
    // And what changes meanwhile.
    assert_eq!(
        it.routes_after([Input::Services(one(ServiceKey::new("default", "one"), None))]),
        ["192.0.2.2/32"]
    );
    let (key, moved) = service("one", "192.0.2.3");
    assert_eq!(it.routes_after([Input::Services(one(key, moved))]), ["192.0.2.2/32, 192.0.2.3/32"]);
    let gone = SliceKey::new("default", "two-1");
    assert_eq!(it.routes_after([Input::Endpoints(one(gone, None))]), ["192.0.2.3/32"]);
    // Nothing is said again once everybody is heard.
    let [.., advertisements, peers, members] = lists();
    assert_eq!(it.routes_after([advertisements, peers, members]), [""; 0]);
}
