//! What FerroLB tells routers, change by change.

use tempfile::TempDir;

use crate::steps::{self, SESSIONS, Whose};
use crate::{Bird, Cluster, NAMESPACE, new_network, wait};

#[test]
#[ignore = "needs BIRD (bird2)"]
fn each_change_of_an_object_is_told_to_the_routers_that_it_concerns() {
    new_network();
    let folder = TempDir::new().unwrap();
    let cluster = Cluster::start();
    cluster.fill_for_steps();
    cluster.add_peers();
    let bird = Bird::with(&folder, &steps::sessions());
    let _speakers = ["n1", "n2"].map(|node| cluster.speaker_of(node, &folder, &format!("{node}.log"), &[]));
    steps::go_through(Whose::FerroLb, &cluster, &bird);

    // Whoever is told less is told that alone.
    cluster.advertise("second", &serde_json::json!({"communities": ["64512:2"], "peers": ["a"]}));
    wait("the community", || bird.table(&["a"]).contains_key("203.0.113.5/32 64512:2").then_some(()));
    let before = SESSIONS.map(|session| bird.withdrawn(session));
    let selectors = serde_json::json!([{"matchLabels": {"app": "web-1"}}]);
    cluster.advertise("first", &serde_json::json!({"serviceSelectors": selectors, "peers": ["b", "n"]}));
    cluster.delete("BGPAdvertisement", NAMESPACE, "second");
    wait("the withdrawals", || {
        let table = bird.table(&SESSIONS);
        (table.len() == 1 && table["198.51.100.1/32"] == ["b", "n"]).then_some(())
    });
    let withdrawn = SESSIONS.map(|session| bird.withdrawn(session));
    let [a, b, i, n] = std::array::from_fn(|at| withdrawn[at] - before[at]);
    assert_eq!((a, b, i, n), (2, 1, 2, 2));
}
