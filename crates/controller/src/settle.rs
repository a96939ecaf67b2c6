//! Whose turn it is gets an answer: the part of the [`Index`] that decides.

use std::net::IpAddr;

use ipam::{Decision, Family, Refusal, Request, ServiceKey, Wish};
use kubekit::events::Notice;
use objects::Labels;

use crate::claim::{Claim, Unservable};
use crate::entry::{Entry, Goal};
use crate::index::{Index, Turn};

static NO_LABELS: Labels = Labels::new();

impl Index {
    /// Hears everybody who holds an address, the older first: of two that hold the same one, the younger
    /// will have to look for another.
    pub(crate) fn adopt_all(&mut self) {
        for (_, key) in self.turns() {
            let (entry, namespace) = (&self.services[&key], self.namespaces.get(&*key.namespace));
            if let Claim::Ours(request) = &entry.claim {
                self.allocator.adopt(&key, namespace.unwrap_or(&NO_LABELS), request, &entry.observed.ips);
            }
        }
    }

    /// Decides anew for everybody: first those who hold an address, then the others.
    pub(crate) fn settle_all(&mut self) {
        let (holding, waiting): (Vec<Turn>, Vec<Turn>) =
            self.turns().into_iter().partition(|(_, key)| self.allocator.assignment(key).is_some());
        for (_, key) in holding.into_iter().chain(waiting) {
            self.settle(&key);
        }
    }

    /// Decides anew for one Service.
    pub(crate) fn settle(&mut self, key: &ServiceKey) {
        let Some(entry) = self.services.get_mut(key) else { return };
        let turn = (entry.created, key.clone());
        self.waiting.remove(&turn);
        let complaint = match &entry.claim {
            Claim::Ours(request) => {
                if is_nonsense(entry.current()) {
                    self.notices.push_back((entry.reference(key), nonsense_notice(entry.current())));
                }
                let labels = self.namespaces.get(&*key.namespace).unwrap_or(&NO_LABELS);
                let decision = self.allocator.assign(key, labels, request, entry.current());
                self.freed |= decision.freed;
                if let Some(lost) = &decision.lost {
                    self.notices.push_back((entry.reference(key), lost_notice(key, lost)));
                }
                if decision.waits() {
                    self.waiting.insert(turn);
                }
                let complaint = complaint(key, request, &decision);
                entry.aim(decision.outcome.map_or(Goal::Nothing, Goal::Have));
                complaint
            }
            Claim::Unservable(why) => {
                let complaint = unservable_notice(why);
                self.freed |= self.allocator.release(key).is_some();
                entry.aim(Goal::Nothing);
                Some(complaint)
            }
            Claim::OtherType | Claim::OtherClass => {
                let held = self.allocator.release(key).is_some();
                self.freed |= held;
                entry.aim(if held || left_behind(entry) { Goal::Nothing } else { Goal::Whatever });
                None
            }
        };
        if entry.complaint.as_ref() != complaint.as_ref().map(|notice| &notice.message) {
            entry.complaint = complaint.as_ref().map(|notice| notice.message.clone());
            self.notices.extend(complaint.map(|notice| (entry.reference(key), notice)));
        }
        if entry.is_off() {
            self.remark(key);
        }
        self.enqueue(key);
    }

    /// Tells what there is to remark on a Service of ours and has not been told.
    pub(crate) fn remark(&mut self, key: &ServiceKey) {
        let Some(entry) = self.services.get_mut(key) else { return };
        if matches!(entry.claim, Claim::Ours(_) | Claim::Unservable(_)) {
            let about = entry.reference(key);
            let new = entry.remarks.iter().filter(|remark| !entry.told.contains(remark));
            self.notices.extend(new.map(|remark| (about.clone(), remark.notice())));
            entry.told.clone_from(&entry.remarks);
        }
    }

    fn turns(&self) -> Vec<Turn> {
        let mut turns: Vec<Turn> = self.services.iter().map(|(key, e)| (e.created, key.clone())).collect();
        turns.sort();
        turns
    }
}

/// Whether a Service that is not ours still bears what we gave it. Of another type, the annotation tells;
/// of another class, it may be that of a fellow load balancer, so only a clearing that has begun is ended.
fn left_behind(entry: &Entry) -> bool {
    match entry.claim {
        Claim::OtherType => entry.observed.pool.is_some(),
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
fn is_nonsense(ips: &[IpAddr]) -> bool {
    match ips {
        [] | [_] => false,
        [a, b] => Family::of(*a) == Family::of(*b),
        _ => true,
    }
}

fn nonsense_notice(ips: &[IpAddr]) -> Notice {
    let message =
        format!("the status has more than one address of a family, which somebody else wrote: {ips:?}");
    Notice::warning("nolbIPsIPFamily", message)
}

fn unservable_notice(why: &Unservable) -> Notice {
    let reason = match why {
        Unservable::OneFamily(_) => "not enough clusterips",
        Unservable::NoFamily | Unservable::BadAddress(_) => "AllocationFailed",
    };
    Notice::warning(reason, why.to_string())
}

/// What there is to complain about, if anything.
fn complaint(key: &ServiceKey, request: &Request, decision: &Decision) -> Option<Notice> {
    let Decision { outcome, lost: _, incomplete, freed: _ } = decision;
    match (outcome, &request.wish, incomplete) {
        (Err(why), _, _) => {
            Some(Notice::warning("AllocationFailed", format!("Failed to allocate IP for \"{key}\": {why}")))
        }
        (Ok(_), Wish::Unreadable { why, .. }, _) => {
            Some(Notice::warning("LoadBalancerFailed", format!("invalid requested loadbalancer IPs: {why}")))
        }
        (Ok(_), _, Some(why)) => Some(Notice::normal(
            "AdditionalAssignFailed",
            format!("cannot assign additional IP in PreferDualStack: {why}"),
        )),
        (Ok(_), _, None) => None,
    }
}
