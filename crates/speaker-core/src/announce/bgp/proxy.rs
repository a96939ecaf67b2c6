//! Whether kube-proxy passes traffic for a Service of policy Local to endpoints of this node.
//!
//! The API server calls an endpoint ready some time before the node forwards to it, after a reboot many seconds before. A
//! router that is told in between sends connections that nobody takes. So kube-proxy is asked, at the Service's
//! `healthCheckNodePort`, before a node announces its first endpoint; and again only after it had none. Where nobody answers,
//! something else does the work of kube-proxy, and is not waited for long.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use placement::ServiceKey;
use timers::Timers;

/// Who is there has answered by then: kube-proxy opens the port when it hears of the Service.
pub(super) const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// Who has answered that there is no endpoint hears of it by then, also in a large cluster.
const SERVES_WITHIN: Duration = Duration::from_secs(30);

/// What kube-proxy says of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyAnswer {
    /// It passes traffic to endpoints of this node, or nobody can be asked about this Service.
    Serves,
    /// Not yet.
    NotYet,
}

/// Whether kube-proxy is to be asked about a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// From now on, until it serves it.
    Begin,
    /// No longer.
    End,
}

/// What is asked for a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// It would be announced if kube-proxy served it.
    Answer,
    /// It is announced, by what is known.
    Nothing,
    /// What is known is of no account any more.
    Oblivion,
}

/// What is known of kube-proxy, by Service.
#[derive(Debug, Default)]
pub(crate) struct Proxy {
    served: BTreeSet<ServiceKey>,
    /// Since when it is asked.
    asked: BTreeMap<ServiceKey, Instant>,
    /// When it is not waited for any longer.
    due: Timers<ServiceKey>,
    /// Whether it is presumed to serve everything.
    presumed: bool,
}

impl Proxy {
    /// One that serves everything, for all that is known.
    pub(crate) fn presumed() -> Self {
        Self { presumed: true, ..Self::default() }
    }

    /// Whether it serves a Service, or has had its time.
    pub(crate) fn serves(&self, service: &ServiceKey) -> bool {
        self.presumed || self.served.contains(service)
    }

    /// The Services of which something is known, or asked.
    pub(crate) fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        self.served.iter().chain(self.asked.keys())
    }

    /// Whether it is being asked about anything.
    pub(crate) fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// This is needed for a Service. Whether it is to be asked; `None` if that stays.
    pub(crate) fn follow(&mut self, service: &ServiceKey, need: Need, now: Instant) -> Option<Asking> {
        match need {
            Need::Answer if self.asked.contains_key(service) => None,
            Need::Answer => {
                self.asked.insert(service.clone(), now);
                self.due.set(service.clone(), now + ANSWERS_WITHIN);
                Some(Asking::Begin)
            }
            Need::Nothing => None,
            Need::Oblivion => {
                self.served.remove(service);
                self.due.cancel(service);
                self.asked.remove(service).map(|_| Asking::End)
            }
        }
    }

    /// It has answered. Whether a Service may be announced now.
    pub(crate) fn answered(&mut self, service: &ServiceKey, answer: ProxyAnswer) -> bool {
        let Some(since) = self.asked.get(service) else { return false };
        match answer {
            ProxyAnswer::Serves => self.serve(service.clone()),
            ProxyAnswer::NotYet => self.due.set(service.clone(), *since + SERVES_WITHIN),
        }
        answer == ProxyAnswer::Serves
    }

    /// The Services for which it has had its time.
    pub(crate) fn poll(&mut self, now: Instant) -> BTreeSet<ServiceKey> {
        let overdue: BTreeSet<_> = std::iter::from_fn(|| self.due.pop(now)).collect();
        overdue.iter().cloned().for_each(|service| self.serve(service));
        overdue
    }

    /// When to call [`Self::poll`], if ever.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due.first()
    }

    fn serve(&mut self, service: ServiceKey) {
        self.due.cancel(&service);
        self.asked.remove(&service);
        self.served.insert(service);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kube_proxy_is_asked_once_and_again_after_all_endpoints_were_gone() {
        let (mut it, web, now) = (Proxy::default(), ServiceKey::new("prod", "web"), Instant::now());
        assert_eq!(it.follow(&web, Need::Answer, now), Some(Asking::Begin));
        assert_eq!(it.follow(&web, Need::Answer, now), None);
        assert!(it.is_asked() && !it.serves(&web));
        assert!(it.answered(&web, ProxyAnswer::Serves) && it.serves(&web));
        assert_eq!((it.follow(&web, Need::Nothing, now), it.deadline()), (None, None));
        assert_eq!(it.follow(&web, Need::Oblivion, now), None);
        assert!(!it.serves(&web) && !it.answered(&web, ProxyAnswer::Serves));
        assert_eq!(it.follow(&web, Need::Answer, now), Some(Asking::Begin));
        assert_eq!(it.follow(&web, Need::Oblivion, now), Some(Asking::End));
        assert!(!it.is_asked() && it.deadline().is_none());
    }

    #[test]
    fn who_answers_has_more_time_than_who_does_not() {
        let (mut it, now) = (Proxy::default(), Instant::now());
        let [silent, slow] = ["silent", "slow"].map(|name| ServiceKey::new("prod", name));
        it.follow(&silent, Need::Answer, now);
        it.follow(&slow, Need::Answer, now);
        assert!(!it.answered(&slow, ProxyAnswer::NotYet));
        assert!(it.poll(now).is_empty());
        assert_eq!(it.poll(now + ANSWERS_WITHIN), [silent.clone()].into());
        assert!(it.serves(&silent) && !it.serves(&slow));
        assert!(!it.answered(&slow, ProxyAnswer::NotYet), "its time does not begin anew");
        assert_eq!(it.deadline(), Some(now + SERVES_WITHIN));
        assert_eq!(it.poll(now + SERVES_WITHIN), [slow].into());
    }
}
