//! What the fuzz targets call: the controller without an API server.

use std::time::Instant;

use api::IPAddressPool;
use kubekit::Change;
use slim::{Namespace, Service};
use translation::{Rules, SharingScope};

use crate::entry::Seen;
use crate::index::{Index, List, Role, Written};

/// Takes in these pools and Services, writes what there is to write, and returns what there is to tell.
pub fn messages(pools: Vec<IPAddressPool>, services: &[Service]) -> Vec<String> {
    let mut messages = Vec::new();
    for sharing in [SharingScope::Cluster, SharingScope::Namespace] {
        let now = Instant::now();
        let rules = Rules { class: None, sharing };
        let mut index = Index::new(List::needed(false), now);
        index.set_role(Role::Leader, now);
        index.pools(Change::Reset(pools.clone()), now);
        index.namespaces(Change::Reset(vec![Namespace::default()]), now);
        index.nodes(Change::Reset(Vec::new()), now);
        index.reservations(Change::Reset(Vec::new()), now);
        let seen = services.iter().map(|service| Seen::read(service, &rules)).collect();
        index.services(Change::Reset(seen), now);
        index.settle_pools(now);
        index.decide(usize::MAX);
        while let Some(write) = index.next_write() {
            if let Some(assignment) = &write.assignment {
                assert!(matches!(assignment.ips[..], [_] | [_, _]), "{:?}", assignment.ips);
            }
            index.written(&write, Written::Failed(None), now);
        }
        messages.extend(std::iter::from_fn(|| index.next_notice()).map(|(_, notice)| notice.message));
    }
    messages
}
