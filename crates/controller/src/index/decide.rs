//! Whose turn it is gets an answer: the part of the [`Index`] that decides.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipam::{Decision, Family, PoolName, Refusal, Request, ServiceKey};
use kubekit::events::Notice;
use objects::{Labels, NodeName};
use translation::{Claim, Origin, Unservable};

use crate::entry::{Entry, Goal, Writing};
use crate::index::{Index, Rank, Turn};

static NO_LABELS: Labels = Labels::new();

impl Index {
    /// Whether some Service is to be taken in, or decided anew and can be: not by pools that are known to be outdated.
    pub(crate) fn has_due(&self) -> bool {
        self.is_listing()
            || !self.has_pools_to_settle()
                && (self.is_hearing()
                    || !self.due.is_empty()
                    || self.freed
                    || self.has_reservations_to_settle())
    }

    /// Whether those who hold an address are not all heard yet, so that nobody knows what is in use.
    pub(crate) fn is_hearing(&self) -> bool {
        !self.unheard.is_empty()
    }

    /// Takes in what is left of a full list, then decides anew for those that are due, as many as `most` in all: between
    /// calls there is time for other things.
    pub(crate) fn decide(&mut self, most: usize) {
        let most = self.take_in_list(most);
        if self.has_pools_to_settle() {
            return;
        }
        for _ in 0..most {
            if let Some(key) = self.unheard.pop_front() {
                self.adopt(&key);
                self.make_due(&key);
                continue;
            }
            // Those who wait are asked when all holders are heard, and before anybody who is new.
            let holders_are_heard = self.due.first().is_none_or(|(rank, _)| *rank != Rank::Holder);
            if holders_are_heard && std::mem::take(&mut self.freed) {
                self.allocator.retry_reservations();
                let waiting: Vec<ServiceKey> = self.waiting.iter().map(|(_, key)| key.clone()).collect();
                waiting.iter().for_each(|key| self.make_due(key));
            }
            self.settle_reservations();
            let Some((_, (_, key))) = self.due.pop_first() else { return };
            self.decide_one(&key);
        }
    }

    /// The Service is to be decided anew when its turn comes.
    pub(super) fn make_due(&mut self, key: &ServiceKey) {
        let Some(entry) = self.services.get(key) else { return };
        let has = self.allocator.assignment(key).is_some() || !entry.observed.ips.is_empty();
        let rank = Rank::of(has, !entry.previous.is_empty());
        self.due.insert((rank, (entry.created, key.clone())));
    }

    /// Begins to decide: first everybody is heard who holds an address, the older first, so that of two that hold the
    /// same one the younger will have to look for another. Who is heard is due; nobody is decided before all are heard.
    pub(super) fn begin(&mut self) {
        self.allocator.set_pools(self.pools.in_force().clone());
        self.allocator.set_reserved(self.reserved());
        self.reservations.begin();
        for entry in self.services.values_mut() {
            // Another replica may have written it since.
            entry.previous.clone_from(&entry.observed.previous);
        }
        let (mut holders, mut others) = (Vec::new(), Vec::new());
        for (key, entry) in &self.services {
            if entry.observed.ips.is_empty() {
                others.push(key.clone());
            } else {
                holders.push((entry.created, key.clone()));
            }
        }
        holders.sort();
        self.unheard = holders.into_iter().map(|(_, key)| key).chain(others).collect();
    }

    /// The `IPAddressPool`s that Services of ours record, with the addresses that they have from each.
    pub(super) fn recorded_pools(&self) -> BTreeMap<PoolName, Vec<IpAddr>> {
        let mut recorded: BTreeMap<PoolName, Vec<IpAddr>> = BTreeMap::new();
        for entry in self.services.values().filter(|entry| matches!(entry.claim, Claim::Ours(_))) {
            let recorded_pool = entry.observed.pool.as_ref();
            if let Some(pool) = recorded_pool.filter(|_| entry.observed.origin == Origin::AddressPool) {
                recorded.entry(PoolName::new(pool.as_str())).or_default().extend(&entry.observed.ips);
            }
        }
        recorded
    }

    /// Which pools are in force has changed. Due are those whose pool or address that concerns, and those that wait.
    pub(super) fn pools_changed(&mut self) {
        self.bgp.pools_changed();
        let pools = self.pools.in_force();
        let changed = pools.changed_since(self.allocator.pools());
        let held: Vec<(ServiceKey, PoolName)> =
            self.allocator.holders().map(|(key, it)| (key.clone(), it.pool.clone())).collect();
        self.allocator.set_pools(pools.clone());
        for (key, pool) in held {
            if changed.contains(&pool) || self.allocator.assignment(&key).map(|it| &it.pool) != Some(&pool) {
                self.make_due(&key);
            }
        }
        // Who names a pool of nodes gets it only as long as no other has that name.
        self.nodes_changed();
        // What is being deleted keeps what it has, and has it again when its pool is back.
        let deleting = self.services.iter().filter(|(_, entry)| entry.deleting).map(|(key, _)| key.clone());
        deleting.collect::<Vec<_>>().iter().for_each(|key| self.make_due(key));
        self.freed = true;
    }

    /// The addresses of nodes have changed. Due are those that hold one, and those that wait.
    pub(super) fn reserved_changed(&mut self) {
        let holders = self.allocator.set_reserved(self.reserved());
        holders.iter().for_each(|key| self.make_due(key));
        self.freed = true;
    }

    /// The addresses of nodes, each with the first node that has it.
    pub(super) fn reserved(&self) -> BTreeMap<IpAddr, NodeName> {
        translation::reserved(&self.node_ips)
    }

    /// What a Service has it has, if it may, and gets nothing else. Whether that frees something for others.
    fn adopt(&mut self, key: &ServiceKey) -> bool {
        let Some(entry) = self.services.get(key) else { return false };
        let request = match &entry.claim {
            Claim::Ours(request) => match self.node_pool_of(key, request) {
                Some(pool) => return self.adopt_nodes(key, &request.clone(), &pool),
                None => request,
            },
            Claim::OtherClass => return self.allocator.set_elsewhere(key, entry.observed.ips.clone()),
            Claim::Unservable(_) | Claim::OtherType => return false,
        };
        let labels = self.namespace_labels.get(&*key.namespace).unwrap_or(&NO_LABELS);
        self.allocator.adopt(key, labels, request, &entry.record())
    }

    fn decide_one(&mut self, key: &ServiceKey) {
        let Some(entry) = self.services.get(key) else { return };
        let turn = (entry.created, key.clone());
        self.waiting.remove(&turn);
        if entry.claim != Claim::OtherClass {
            self.freed |= self.allocator.set_elsewhere(key, []);
        }
        let notice = match &entry.claim {
            Claim::Ours(_) | Claim::Unservable(_) if entry.deleting => {
                self.freed |= self.adopt(key);
                self.aim(key, Goal::Whatever);
                None
            }
            Claim::Ours(request) => {
                let request = request.clone();
                self.assign(&turn, &request)
            }
            Claim::Unservable(why) => {
                let notice = unservable_notice(why);
                self.freed |= self.release(key);
                self.aim(key, Goal::Nothing);
                Some(notice)
            }
            Claim::OtherType | Claim::OtherClass => {
                let left_behind = left_behind(entry);
                let held = self.release(key);
                self.freed |= held;
                if let Some(entry) = self.services.get_mut(key) {
                    entry.previous.clear();
                }
                let clear = held || left_behind;
                self.aim(key, if clear { Goal::Nothing } else { Goal::Whatever });
                if !clear {
                    self.freed |= self.adopt(key);
                }
                None
            }
        };
        let Some(entry) = self.services.get_mut(key) else { return };
        if entry.refusal.as_ref() != notice.as_ref().map(|notice| &notice.message) {
            entry.refusal = notice.as_ref().map(|notice| notice.message.clone());
            self.notices.extend(notice.map(|notice| (entry.reference(key), notice)));
        }
        if entry.is_off() {
            self.warn(key);
        }
        self.enqueue(key);
    }

    /// The Service holds nothing from now on. Whether it held something.
    fn release(&mut self, key: &ServiceKey) -> bool {
        let [addresses, ports] = [self.allocator.release(key).is_some(), self.node_pools.release(key)];
        addresses || ports
    }

    /// Decides for a Service of ours. Returns why it has not all that it wants, if so.
    fn assign(&mut self, turn: &Turn, request: &Request) -> Option<Notice> {
        let (_, key) = turn;
        if let Some(pool) = self.node_pool_of(key, request) {
            return self.assign_nodes(turn, request, pool);
        }
        self.freed |= self.node_pools.release(key);
        let entry = self.services.get_mut(key)?;
        let record = entry.record();
        let quietly = entry.paused.is_some();
        if is_invalid(&record.ips) && !quietly {
            self.notices.push_back((entry.reference(key), invalid_status_notice(&record.ips)));
        }
        let labels = self.namespace_labels.get(&*key.namespace).unwrap_or(&NO_LABELS);
        let held = self.allocator.assignment(key).map(|held| held.ips.clone()).unwrap_or_default();
        let decision = self.allocator.assign(key, labels, request, &record, &entry.previous);
        self.freed |= decision.freed;
        if let Some(lost) = decision.lost.as_ref().filter(|_| !quietly) {
            self.notices.push_back((entry.reference(key), lost_notice(key, lost)));
        }
        let recorded = if record.pool.is_some() { &record.ips[..] } else { &[] };
        let had = held.iter().chain(recorded).chain(&entry.previous).copied();
        entry.previous = missing(request, decision.outcome.as_ref().map_or(&[][..], |it| &it.ips), had);
        if decision.waits() {
            self.waiting.insert(turn.clone());
        }
        let notice = refusal_notice(key, &decision);
        self.aim(key, decision.outcome.map_or(Goal::Nothing, Goal::Have));
        notice
    }

    fn aim(&mut self, key: &ServiceKey, goal: Goal) {
        if let Some(entry) = self.services.get_mut(key) {
            entry.aim(goal);
        }
    }

    /// Puts a Service in the queue for its status to be written, if that is off.
    pub(super) fn enqueue(&mut self, key: &ServiceKey) {
        let Some(entry) = self.services.get_mut(key) else { return };
        if !entry.is_off() || entry.writing != Writing::Idle {
            return;
        }
        entry.off_since.get_or_insert(self.now);
        match entry.paused.filter(|until| *until > self.now) {
            Some(until) => {
                entry.writing = Writing::Delayed;
                self.retries.insert((until, key.clone()));
            }
            None => {
                entry.writing = Writing::Queued;
                self.queue.push_back(key.clone());
            }
        }
    }

    /// Emits the warnings about a Service of ours that have not been emitted.
    pub(super) fn warn(&mut self, key: &ServiceKey) {
        let Some(entry) = self.services.get_mut(key) else { return };
        if matches!(entry.claim, Claim::Ours(_) | Claim::Unservable(_)) {
            let about = entry.reference(key);
            let new = entry.warnings.iter().filter(|warning| !entry.emitted.contains(warning));
            self.notices.extend(new.map(|warning| (about.clone(), warning.notice())));
            entry.emitted.clone_from(&entry.warnings);
        }
    }
}

/// What a Service had of the families that it needs and does not have now, one address of each, the latest first.
fn missing(request: &Request, has: &[IpAddr], had: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut missing: Vec<IpAddr> = Vec::new();
    for ip in had {
        let family = Family::of(ip);
        let there = |ips: &[IpAddr]| ips.iter().any(|ip| Family::of(*ip) == family);
        if request.families.need(family) && !there(has) && !there(&missing) {
            missing.push(ip);
        }
    }
    missing
}

/// Whether a Service that is not ours still bears what we gave it. Of another type, the annotations tell;
/// of another class, it may be that of a fellow load balancer, so only a clearing that has begun is ended.
fn left_behind(entry: &Entry) -> bool {
    match entry.claim {
        Claim::OtherType => entry.observed.pool.is_some() || !entry.observed.previous.is_empty(),
        Claim::OtherClass => entry.goal == Goal::Nothing && !entry.settled,
        Claim::Ours(_) | Claim::Unservable(_) => false,
    }
}

fn lost_notice(key: &ServiceKey, lost: &Refusal) -> Notice {
    let message =
        format!("current IP for \"{key}\" not allowed by config, will attempt for new IP assignment: {lost}");
    Notice::normal("ClearAssignment", message)
}

/// Whether no Service can have these addresses: more than two, or two of one family.
fn is_invalid(ips: &[IpAddr]) -> bool {
    match ips {
        [] | [_] => false,
        [a, b] => Family::of(*a) == Family::of(*b),
        _ => true,
    }
}

fn invalid_status_notice(ips: &[IpAddr]) -> Notice {
    let message =
        format!("the status has more than one address of a family, which somebody else wrote: {ips:?}");
    Notice::warning("nolbIPsIPFamily", message)
}

pub(super) fn overwritten_notice() -> Notice {
    let message = "somebody else keeps writing the status of this Service, so it is put right ever more slowly: find \
                   out who does (kubectl get service -o yaml --show-managed-fields), and turn that off or give the \
                   Service a spec.loadBalancerClass that only one of the two serves";
    Notice::warning("StatusOverwritten", message)
}

fn unservable_notice(why: &Unservable) -> Notice {
    let reason = match why {
        Unservable::OneFamily(_) => "not enough clusterips",
        Unservable::NoFamily | Unservable::BadAddress(_) => "AllocationFailed",
    };
    Notice::warning(reason, why.to_string())
}

/// Why a Service has not all that it wants, if so.
fn refusal_notice(key: &ServiceKey, decision: &Decision) -> Option<Notice> {
    let Decision { outcome, lost: _, denied, incomplete, freed: _ } = decision;
    match (outcome, denied, incomplete) {
        (Err(why), _, _) => {
            Some(Notice::warning("AllocationFailed", format!("Failed to allocate IP for \"{key}\": {why}")))
        }
        (Ok(_), Some(why), _) => {
            Some(Notice::warning("LoadBalancerFailed", format!("invalid requested loadbalancer IPs: {why}")))
        }
        (Ok(_), None, Some(why)) => Some(Notice::normal(
            "AdditionalAssignFailed",
            format!("cannot assign additional IP in PreferDualStack: {why}"),
        )),
        (Ok(_), None, None) => None,
    }
}
