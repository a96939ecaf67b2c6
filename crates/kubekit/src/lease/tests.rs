use std::sync::{Arc, Mutex};

use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::fake::{self, Log, refusal};

/// A Lease in an API server, which a test can change, and whether it is refused.
#[derive(Debug, Default)]
struct World {
    lease: Option<(u64, String)>,
    next_version: u64,
    refuse: Option<u16>,
}

impl World {
    fn json(&self) -> Option<Value> {
        let (version, holder) = self.lease.as_ref()?;
        Some(json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "l", "namespace": "ns", "resourceVersion": version.to_string()},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 2},
        }))
    }

    fn write(&mut self) -> (u16, Value) {
        self.next_version += 1;
        self.lease = Some((self.next_version, "me".to_owned()));
        (200, self.json().unwrap())
    }
}

/// Takes part in an election of that API server, whose watches end at once.
fn start(world: World) -> (Leadership, Readiness, Arc<Mutex<World>>, Log) {
    let world = Arc::new(Mutex::new(world));
    let shared = Arc::clone(&world);
    let known = Mutex::new(0);
    let (client, log) = fake::api(move |asked| {
        let mut world = shared.lock().unwrap();
        if let Some(code) = world.refuse {
            return refusal(code, "Forbidden", "leases.coordination.k8s.io is forbidden");
        }
        let mut known = known.lock().unwrap();
        match asked.method {
            // It ends as a connection does that is broken off.
            Method::GET if asked.is_watch() => (500, json!({})),
            Method::GET => {
                *known = world.lease.as_ref().map_or(0, |(version, _)| *version);
                let items: Vec<Value> = world.json().into_iter().collect();
                (
                    200,
                    json!({"metadata": {"resourceVersion": world.next_version.to_string()}, "items": items}),
                )
            }
            Method::POST if world.lease.is_some() => refusal(409, "AlreadyExists", "it exists"),
            Method::PUT if world.lease.is_none() => refusal(404, "NotFound", "no such lease"),
            Method::PUT if world.lease.as_ref().is_some_and(|(version, _)| *version != *known) => {
                refusal(409, "Conflict", "changed")
            }
            _ => {
                let written = world.write();
                *known = world.next_version;
                written
            }
        }
    });
    let election = Election {
        namespace: "ns".to_owned(),
        name: "l".to_owned(),
        me: "me".to_owned(),
        owner: None,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        timing: Timing::default(),
    };
    let readiness = Readiness::waiting_for([]);
    (
        election.start(client, Writes::default(), readiness.clone(), &Watchdog::default()),
        readiness,
        world,
        log,
    )
}

/// Far longer than anything takes: reached only when it will never happen.
const DEADLINE: Duration = Duration::from_mins(1);

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {DEADLINE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_leader_goes_on_leading_in_a_cluster_whose_versions_have_gone_back() {
    let restored: [Option<(u64, &str)>; 3] = [None, Some((7, "gone for long")), Some((8, "me"))];
    for lease in restored {
        let world = World { next_version: 1000, ..World::default() };
        let (leadership, readiness, world, _) = start(world);
        let leads = leadership.leads();
        until("the first Lease", || leads.leads(Instant::now())).await;
        {
            let mut world = world.lock().unwrap();
            (world.lease, world.next_version) = (lease.map(|(version, who)| (version, who.to_owned())), 10);
        }
        let ours = || {
            world.lock().unwrap().lease.as_ref().is_some_and(|(version, who)| *version > 10 && who == "me")
        };
        until("a Lease in the restored cluster", || ours() && leads.leads(Instant::now())).await;
        assert!(readiness.is_ready());
    }
}

#[tokio::test]
async fn without_a_right_on_leases_it_is_not_ready_and_asks_rarely_until_it_has_the_right() {
    let (leadership, readiness, world, log) = start(World { refuse: Some(403), ..World::default() });
    until("the refusal", || !readiness.is_ready()).await;
    let asked = log.count(|asked| asked.method == Method::GET);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(log.count(|asked| asked.method == Method::GET) - asked < 8, "{:?}", log.all());
    assert!(!leadership.leads().leads(Instant::now()));
    world.lock().unwrap().refuse = None;
    until("the right to lead", || leadership.leads().leads(Instant::now())).await;
    assert!(readiness.is_ready());
}
