//! What the page shows of a look at the cluster.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ::pools::Pool;

use super::timeline::Entry;
use crate::cluster::Cluster;
use crate::commands::ips::{self, IpRow};
use crate::commands::nodes::{self, NodeRow};
use crate::commands::pools::PoolRow;
use crate::commands::status::{Summary, hearing};
use crate::look::Look;
use crate::programs::Part;
use crate::survey::{Health, Surveyed};

/// As many addresses of a pool are shown one by one.
const CELLS_OF_POOL: usize = 512;
/// And as many of all pools.
const CELLS: usize = 4096;

/// All that the page shows. Two that are equal make the same page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct View {
    /// The name of the cluster, as the user knows it.
    pub(super) cluster: String,
    /// Nothing before the first look.
    pub(super) seen: Option<Seen>,
    /// Why the last look told nothing; what is seen is then older.
    pub(super) trouble: Option<String>,
    /// The latest first.
    pub(super) timeline: Vec<Entry>,
    /// Why the timeline begins with this program.
    pub(super) no_history: Option<String>,
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) summary: Summary,
    /// How the speakers hear each other.
    pub(super) hearing: String,
    /// Where the controller that decides is.
    pub(super) leader_on: Option<String>,
    /// Whether all lists could be had.
    pub(super) complete: bool,
    pub(super) nodes: Vec<NodeView>,
    pub(super) pools: Vec<PoolView>,
    /// Those with a problem first.
    pub(super) services: Vec<Surveyed>,
}

/// A node, and the addresses that it announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeView {
    pub(super) row: NodeRow,
    pub(super) announced: Vec<Held>,
}

/// An address of a Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Held {
    pub(super) ip: IpAddr,
    /// As `namespace/name`.
    pub(super) service: String,
}

/// A pool, and its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PoolView {
    pub(super) row: PoolRow,
    /// The first of its addresses, and runs of free ones.
    pub(super) cells: Vec<IpRow>,
    /// How many more of these there are.
    pub(super) more: usize,
}

impl Seen {
    /// What a look has seen.
    pub(super) async fn of(cluster: &Cluster, look: &Look) -> Self {
        let summary = Summary::of(cluster, look).await;
        let leader = summary.leader.as_ref();
        let leader = leader.and_then(|pod| cluster.of_part(Part::Controller).find(|it| it.pod == **pod));
        let mut services = look.services.clone();
        services.sort_by_key(|service| (!service.is_problem(), service.health == Health::Announced));
        Self {
            leader_on: leader.and_then(|it| it.node.clone()),
            hearing: hearing(look),
            complete: look.failures.is_empty(),
            nodes: nodes(look),
            pools: pools(look, &summary.pools),
            services,
            summary,
        }
    }
}

fn nodes(look: &Look) -> Vec<NodeView> {
    let mut announced: BTreeMap<&str, Vec<Held>> = BTreeMap::new();
    for service in &look.services {
        for address in service.addresses.iter().filter(|it| it.health == Health::Announced) {
            for node in address.nodes() {
                announced.entry(node).or_default().push(Held { ip: address.ip, service: service.title() });
            }
        }
    }
    let view = |row: NodeRow| {
        let mut announced = announced.remove(&*row.node).unwrap_or_default();
        announced.sort();
        // Services may share one.
        announced.dedup_by_key(|held| held.ip);
        NodeView { row, announced }
    };
    nodes::rows(look).into_iter().map(view).collect()
}

fn pools(look: &Look, rows: &[PoolRow]) -> Vec<PoolView> {
    let in_force: BTreeMap<&str, &Pool> =
        look.allocation.pools().iter().map(|pool| (pool.name.as_str(), pool)).collect();
    let mut room = CELLS;
    let view = |row: &PoolRow| {
        let mut cells = in_force.get(&*row.name).map(|pool| ips::rows(look, pool)).unwrap_or_default();
        let shown = cells.len().min(CELLS_OF_POOL).min(room);
        let more = cells.len() - shown;
        cells.truncate(shown);
        room -= shown;
        PoolView { row: row.clone(), cells, more }
    };
    rows.iter().map(view).collect()
}
