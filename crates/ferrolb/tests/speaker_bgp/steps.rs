//! What objects are changed one after the other, and what each of four sessions is told of by then.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{Bird, Cluster, DEADLINE, NAMESPACE, slice, wait};

/// The sessions of the router: `a` and `b` with the node `n1` and, within its AS, `i`; and `n` with the node `n2`, which is in
/// an AS of its own.
pub(crate) const SESSIONS: [&str; 4] = ["a", "b", "i", "n"];

/// What BIRD is configured with for them.
pub(crate) fn sessions() -> String {
    let session = |name: &str, local: &str, neighbor: &str| {
        format!(
            "protocol bgp {name} {{
               local {local}; neighbor {neighbor}; passive yes; error wait time 1, 1;
               ipv4 {{ import all; export none; }};
             }}\n"
        )
    };
    [
        session("a", "192.0.2.1 as 64513", "192.0.2.2 as 64512"),
        session("b", "192.0.2.11 as 64514", "192.0.2.4 as 64512"),
        session("i", "192.0.2.12 as 64512", "192.0.2.5 as 64512"),
        session("n", "192.0.2.1 as 64513", "192.0.2.3 as 64600"),
    ]
    .concat()
}

/// Whose speakers do what a step says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// MetalLB's too, which speak BGP by themselves.
    All,
    /// Those of MetalLB can't, or do only with FRR.
    FerroLb,
}

/// A change, and what routers are told of by then.
pub(crate) struct Step {
    what: &'static str,
    whose: Whose,
    change: fn(&Cluster),
    /// Prefixes with their attributes, and the sessions.
    told: &'static [(&'static str, &'static str)],
}

const WEB_1: &str = "198.51.100.1/32";
const WEB_2: &str = "198.51.100.2/32";
const MAIL: &str = "203.0.113.5/32";
const EVERYBODY: &str = "a b i n";
const ALL: &[(&str, &str)] = &[(WEB_1, EVERYBODY), (WEB_2, EVERYBODY), (MAIL, EVERYBODY)];
const ALL_BY_N2: &[(&str, &str)] = &[(WEB_1, "n"), (WEB_2, "n"), (MAIL, "n")];
const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Each from what the one before has left. Two advertisements are called `first` and `second`; nodes are told apart by the
/// label `site`.
const STEPS: &[Step] = &[
    Step {
        what: "one advertisement is for everything",
        whose: Whose::All,
        change: |it| it.advertise("first", &json!({})),
        told: ALL,
    },
    Step {
        what: "a pool is selected by its labels",
        whose: Whose::All,
        change: |it| {
            let selectors = json!([{"matchLabels": {"tier": "gold"}}]);
            it.advertise("first", &json!({"ipAddressPoolSelectors": selectors}));
        },
        told: &[(WEB_1, EVERYBODY), (WEB_2, EVERYBODY)],
    },
    Step {
        what: "a pool is named, and there are communities",
        whose: Whose::All,
        change: |it| {
            let communities = json!(["seven", "64512:8"]);
            it.advertise("first", &json!({"ipAddressPools": ["two"], "communities": communities}));
        },
        told: &[("203.0.113.5/32 64512:7 64512:8", EVERYBODY)],
    },
    Step {
        what: "a name stands for another community",
        whose: Whose::All,
        change: |it| {
            let communities = json!([{"name": "seven", "value": "64512:9"}]);
            it.patch("Community", NAMESPACE, "names", &json!({"spec": {"communities": communities}}));
        },
        told: &[("203.0.113.5/32 64512:8 64512:9", EVERYBODY)],
    },
    Step {
        what: "a community is large",
        whose: Whose::FerroLb,
        change: |it| {
            let communities = json!(["large:64512:1:2", "64512:1"]);
            it.advertise("first", &json!({"ipAddressPools": ["two"], "communities": communities}));
        },
        told: &[("203.0.113.5/32 64512:1 large:64512:1:2", EVERYBODY)],
    },
    Step {
        what: "there is a local preference",
        whose: Whose::All,
        change: |it| it.advertise("first", &json!({"ipAddressPools": ["two"], "localPref": 150})),
        told: &[(MAIL, "a b n"), ("203.0.113.5/32 preference 150", "i")],
    },
    Step {
        what: "there is another local preference",
        whose: Whose::All,
        change: |it| it.advertise("first", &json!({"ipAddressPools": ["two"], "localPref": 160})),
        told: &[(MAIL, "a b n"), ("203.0.113.5/32 preference 160", "i")],
    },
    Step {
        what: "prefixes are aggregated",
        whose: Whose::All,
        change: |it| it.advertise("first", &json!({"ipAddressPools": ["one"], "aggregationLength": 26})),
        told: &[("198.51.100.0/26", EVERYBODY)],
    },
    Step {
        what: "the aggregate is smaller",
        whose: Whose::All,
        change: |it| it.advertise("first", &json!({"ipAddressPools": ["one"], "aggregationLength": 28})),
        told: &[("198.51.100.0/28", EVERYBODY)],
    },
    Step {
        what: "single addresses are announced beside their aggregate",
        whose: Whose::All,
        change: |it| {
            it.advertise("second", &json!({"ipAddressPools": ["one"], "communities": ["64512:32"]}));
        },
        told: &[
            ("198.51.100.0/28", EVERYBODY),
            ("198.51.100.1/32 64512:32", EVERYBODY),
            ("198.51.100.2/32 64512:32", EVERYBODY),
        ],
    },
    Step {
        what: "a pool that is a range from one address to another is aggregated",
        whose: Whose::All,
        change: |it| {
            it.delete("BGPAdvertisement", NAMESPACE, "second");
            it.advertise("first", &json!({"ipAddressPools": ["two"], "aggregationLength": 25}));
        },
        told: &[("203.0.113.0/25", EVERYBODY)],
    },
    Step {
        what: "only one peer is told",
        whose: Whose::All,
        change: |it| it.advertise("first", &json!({"peers": ["a"]})),
        told: &[(WEB_1, "a"), (WEB_2, "a"), (MAIL, "a")],
    },
    Step {
        what: "two advertisements are for different peers",
        whose: Whose::All,
        change: |it| {
            it.advertise("first", &json!({"ipAddressPools": ["one"], "peers": ["a"]}));
            it.advertise("second", &json!({"ipAddressPools": ["two"], "peers": ["b", "i"]}));
        },
        told: &[(WEB_1, "a"), (WEB_2, "a"), (MAIL, "b i")],
    },
    Step {
        what: "two advertisements are for different nodes",
        whose: Whose::All,
        change: |it| {
            it.advertise("first", &json!({"ipAddressPools": ["one"], "nodeSelectors": site("x")}));
            it.advertise("second", &json!({"ipAddressPools": ["two"], "nodeSelectors": site("y")}));
        },
        told: &[(WEB_1, "a b i"), (WEB_2, "a b i"), (MAIL, "n")],
    },
    Step {
        what: "two nodes announce one Service by different advertisements",
        whose: Whose::All,
        change: |it| {
            let communities = json!(["64512:2"]);
            it.advertise("second", &json!({"nodeSelectors": site("y"), "communities": communities}));
        },
        told: &[
            (WEB_1, "a b i"),
            (WEB_2, "a b i"),
            ("198.51.100.1/32 64512:2", "n"),
            ("198.51.100.2/32 64512:2", "n"),
            ("203.0.113.5/32 64512:2", "n"),
        ],
    },
    Step {
        what: "a node gets another label",
        whose: Whose::All,
        change: |it| it.label_node("n2", "site", &json!("x")),
        told: &[(WEB_1, EVERYBODY), (WEB_2, EVERYBODY)],
    },
    Step {
        what: "an advertisement is for other nodes",
        whose: Whose::All,
        change: |it| {
            it.advertise("second", &json!({"ipAddressPools": ["two"], "nodeSelectors": site("x")}));
        },
        told: ALL,
    },
    Step {
        what: "an advertisement is for no node any more",
        whose: Whose::All,
        change: |it| {
            it.advertise("second", &json!({"ipAddressPools": ["two"], "nodeSelectors": site("z")}));
        },
        told: &[(WEB_1, EVERYBODY), (WEB_2, EVERYBODY)],
    },
    Step {
        what: "a Service is selected",
        whose: Whose::All,
        change: |it| {
            it.delete("BGPAdvertisement", NAMESPACE, "second");
            it.label_node("n2", "site", &json!("y"));
            it.advertise("first", &json!({"serviceSelectors": app(&["web-1"])}));
        },
        told: &[(WEB_1, EVERYBODY)],
    },
    Step {
        what: "two Services are selected",
        whose: Whose::All,
        change: |it| it.advertise("first", &json!({"serviceSelectors": app(&["web-1", "mail"])})),
        told: &[(WEB_1, EVERYBODY), (MAIL, EVERYBODY)],
    },
    Step {
        what: "the selected Services of one pool",
        whose: Whose::All,
        change: |it| {
            let selectors = app(&["web-1", "mail"]);
            it.advertise("first", &json!({"ipAddressPools": ["one"], "serviceSelectors": selectors}));
        },
        told: &[(WEB_1, EVERYBODY)],
    },
    Step {
        what: "a Service gets the label that is selected",
        whose: Whose::All,
        change: |it| it.label_service("web-2", "mail"),
        told: &[(WEB_1, EVERYBODY), (WEB_2, EVERYBODY)],
    },
    Step {
        what: "a Service loses it",
        whose: Whose::All,
        change: |it| it.label_service("web-2", "web-2"),
        told: &[(WEB_1, EVERYBODY)],
    },
    Step {
        what: "different Services have different communities",
        whose: Whose::All,
        change: |it| {
            let with =
                |app: Value, community: &str| json!({"serviceSelectors": app, "communities": [community]});
            it.advertise("first", &with(app(&["web-1"]), "64512:1"));
            it.advertise("second", &with(app(&["web-2"]), "64512:2"));
        },
        told: &[("198.51.100.1/32 64512:1", EVERYBODY), ("198.51.100.2/32 64512:2", EVERYBODY)],
    },
    Step {
        what: "a Service has the communities of two advertisements",
        whose: Whose::FerroLb,
        change: |it| {
            it.advertise("first", &json!({"communities": ["64512:1", "64512:2"]}));
            let selectors = app(&["web-1"]);
            let communities = json!(["64512:2", "64512:3"]);
            it.advertise("second", &json!({"serviceSelectors": selectors, "communities": communities}));
        },
        told: &[
            ("198.51.100.1/32 64512:1 64512:2 64512:3", EVERYBODY),
            ("198.51.100.2/32 64512:1 64512:2", EVERYBODY),
            ("203.0.113.5/32 64512:1 64512:2", EVERYBODY),
        ],
    },
    Step {
        what: "a node has no network",
        whose: Whose::All,
        change: |it| {
            it.delete("BGPAdvertisement", NAMESPACE, "second");
            it.advertise("first", &json!({}));
            it.network_of_node("n1", "True");
        },
        told: ALL_BY_N2,
    },
    Step {
        what: "a node has its network again",
        whose: Whose::All,
        change: |it| it.network_of_node("n1", "False"),
        told: ALL,
    },
    Step {
        what: "a node is excluded",
        whose: Whose::All,
        change: |it| it.label_node("n1", EXCLUDE, &json!("")),
        told: ALL_BY_N2,
    },
    Step {
        what: "a node is excluded no more",
        whose: Whose::All,
        change: |it| it.label_node("n1", EXCLUDE, &Value::Null),
        told: ALL,
    },
    Step {
        what: "of two Services that share an address one has endpoints",
        whose: Whose::All,
        change: |it| {
            it.serve("web-3", "one", 81, &["198.51.100.1"]);
            it.delete("EndpointSlice", "default", "web-1-1");
        },
        told: ALL,
    },
    Step {
        what: "of two Services that share an address none has endpoints",
        whose: Whose::All,
        change: |it| it.delete("EndpointSlice", "default", "web-3-1"),
        told: &[(WEB_2, EVERYBODY), (MAIL, EVERYBODY)],
    },
    Step {
        what: "the other has endpoints",
        whose: Whose::All,
        change: |it| it.create("EndpointSlice", "default", &slice("web-1")),
        told: ALL,
    },
    Step {
        what: "a Service is served by its local endpoints only",
        whose: Whose::All,
        change: |it| {
            let policy = json!({"spec": {"externalTrafficPolicy": "Local"}});
            it.patch("Service", "default", "web-2", &policy);
        },
        told: &[(WEB_1, EVERYBODY), (WEB_2, "n"), (MAIL, EVERYBODY)],
    },
    Step {
        what: "a peer goes",
        whose: Whose::All,
        change: |it| it.delete("BGPPeer", NAMESPACE, "b"),
        told: &[(WEB_1, "a i n"), (WEB_2, "n"), (MAIL, "a i n")],
    },
    Step {
        what: "a peer comes",
        whose: Whose::All,
        change: |it| it.add_peer("b"),
        told: &[(WEB_1, EVERYBODY), (WEB_2, "n"), (MAIL, EVERYBODY)],
    },
];

fn site(name: &str) -> Value {
    json!([{"matchLabels": {"site": name}}])
}

fn app(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"matchLabels": {"app": name}})).collect()
}

/// Makes the changes of the steps that are for all, or of all, and waits each time until routers are told what they should be.
pub(crate) fn go_through(whose: Whose, cluster: &Cluster, bird: &Bird) {
    for step in STEPS.iter().filter(|step| whose == Whose::FerroLb || step.whose == Whose::All) {
        (step.change)(cluster);
        let expected: BTreeMap<String, Vec<String>> = step
            .told
            .iter()
            .map(|(route, sessions)| ((*route).to_owned(), sessions.split(' ').map(str::to_owned).collect()))
            .collect();
        let met = lab::wait_until(step.what, DEADLINE, || {
            let told = bird.table(&SESSIONS);
            anyhow::ensure!(told == expected, "routers are told {told:#?} instead of {expected:#?}");
            Ok(())
        });
        met.unwrap();
    }
    // Nothing of this ends a session, but that it has no peer.
    assert_eq!(SESSIONS.map(|session| bird.times_up(session)), [1, 2, 1, 1]);
}

impl Cluster {
    /// Two nodes, and three Services with endpoints and addresses of two pools.
    pub(crate) fn fill_for_steps(&self) {
        self.create("Namespace", "", &json!({"metadata": {"name": NAMESPACE}}));
        for (node, labels, address) in [
            ("n1", json!({"zone": "a", "site": "x"}), "192.0.2.2"),
            ("n2", json!({"zone": "b", "site": "y"}), "192.0.2.3"),
        ] {
            self.create("Node", "", &json!({"metadata": {"name": node, "labels": labels}}));
            let addresses = json!([{"type": "InternalIP", "address": address}]);
            self.patch_status("Node", "", node, &json!({"status": {"addresses": addresses}}));
        }
        for (kind, name, labels, spec) in [
            ("IPAddressPool", "one", json!({"tier": "gold"}), json!({"addresses": ["198.51.100.0/24"]})),
            ("IPAddressPool", "two", json!({}), json!({"addresses": ["203.0.113.0-203.0.113.127"]})),
            (
                "Community",
                "names",
                json!({}),
                json!({"communities": [{"name": "seven", "value": "64512:7"}]}),
            ),
        ] {
            let object = json!({"metadata": {"name": name, "labels": labels}, "spec": spec});
            wait("the kind to be served", || self.try_create(kind, NAMESPACE, &object).ok());
        }
        for (name, pool, address) in [
            ("web-1", "one", "198.51.100.1"),
            ("web-2", "one", "198.51.100.2"),
            ("mail", "two", "203.0.113.5"),
        ] {
            self.serve(name, pool, 80, &[address]);
        }
    }

    /// Makes the other end of each session a peer.
    pub(crate) fn add_peers(&self) {
        SESSIONS.into_iter().for_each(|session| self.add_peer(session));
    }

    /// Makes a Service with these addresses and an endpoint on `n2`.
    pub(crate) fn serve(&self, name: &str, pool: &str, port: u16, addresses: &[&str]) {
        let annotations =
            json!({"metallb.io/ip-allocated-from-pool": pool, "metallb.io/allow-shared-ip": "shared"});
        let metadata = json!({"name": name, "annotations": annotations, "labels": {"app": name}});
        let spec = json!({"type": "LoadBalancer", "ports": [{"port": port}]});
        self.create("Service", "default", &json!({"metadata": metadata, "spec": spec}));
        let ingress: Value = addresses.iter().map(|ip| json!({"ip": ip})).collect();
        self.patch_status(
            "Service",
            "default",
            name,
            &json!({"status": {"loadBalancer": {"ingress": ingress}}}),
        );
        self.create("EndpointSlice", "default", &slice(name));
    }

    /// Makes the peer that is the other end of a session.
    fn add_peer(&self, session: &str) {
        let (zone, source, own, address, asn) = match session {
            "a" => ("a", "192.0.2.2", 64_512, "192.0.2.1", 64_513),
            "b" => ("a", "192.0.2.4", 64_512, "192.0.2.11", 64_514),
            "i" => ("a", "192.0.2.5", 64_512, "192.0.2.12", 64_512),
            _ => ("b", "192.0.2.3", 64_600, "192.0.2.1", 64_513),
        };
        let spec = json!({
            "myASN": own, "peerASN": asn, "peerAddress": address, "sourceAddress": source,
            "nodeSelectors": [{"matchLabels": {"zone": zone}}],
        });
        self.create("BGPPeer", NAMESPACE, &json!({"metadata": {"name": session}, "spec": spec}));
    }

    /// Gives an advertisement these fields and no others but the usual local preference: without it, MetalLB by itself tells 0
    /// instead.
    pub(crate) fn advertise(&self, name: &str, fields: &Value) {
        let mut fields = fields.clone();
        fields.as_object_mut().unwrap().entry("localPref").or_insert(json!(100));
        let known = [
            "ipAddressPools",
            "ipAddressPoolSelectors",
            "communities",
            "localPref",
            "aggregationLength",
            "peers",
            "nodeSelectors",
            "serviceSelectors",
        ];
        let spec: Value = known.into_iter().map(|it| (it.to_owned(), fields[it].clone())).collect();
        let exists = |it: &kube::api::DynamicObject| it.metadata.name.as_deref() == Some(name);
        if self.list("BGPAdvertisement", NAMESPACE).iter().any(exists) {
            self.patch("BGPAdvertisement", NAMESPACE, name, &json!({"spec": spec}));
        } else {
            let object = json!({"metadata": {"name": name}, "spec": fields});
            wait("the kind to be served", || self.try_create("BGPAdvertisement", NAMESPACE, &object).ok());
        }
    }

    fn label_node(&self, name: &str, label: &str, value: &Value) {
        self.patch("Node", "", name, &json!({"metadata": {"labels": {label: value}}}));
    }

    fn label_service(&self, name: &str, app: &str) {
        self.patch("Service", "default", name, &json!({"metadata": {"labels": {"app": app}}}));
    }

    fn network_of_node(&self, name: &str, unavailable: &str) {
        let conditions = json!([{"type": "NetworkUnavailable", "status": unavailable}]);
        self.patch_status("Node", "", name, &json!({"status": {"conditions": conditions}}));
    }
}
