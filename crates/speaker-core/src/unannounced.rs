//! Services that nobody announces: their owners are told why, each by one speaker.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use placement::{Assignment, Placement, ServiceKey};
use timers::Timers;

use crate::output::Notice;

/// So long nobody must have announced it: until endpoints serve and speakers are there, a new Service or a cluster
/// that starts needs no more.
const PATIENCE: Duration = Duration::from_secs(5);
/// After it was told so often, it must have been unannounced for twice as long each time,
const OFTEN: u32 = 3;
/// and no longer than that.
const LONGEST: Duration = Duration::from_mins(5);
/// How often it was told is forgotten after so long.
const FORGOTTEN: Duration = Duration::from_mins(10);

/// Which Services nobody announces, and what their owners were told.
#[derive(Debug, Default)]
pub(crate) struct Unannounced {
    /// When it is time to tell, for those where that lies ahead.
    due: Timers<ServiceKey>,
    /// What there was to tell last, by whichever speaker.
    told: BTreeMap<ServiceKey, String>,
    /// How often there was something to tell, and when last.
    tellings: BTreeMap<ServiceKey, (u32, Instant)>,
}

impl Unannounced {
    /// What becomes of these Services was worked out again.
    pub(crate) fn review(
        &mut self,
        services: impl IntoIterator<Item = ServiceKey>,
        placement: &Placement,
        now: Instant,
    ) {
        for service in services {
            if placement.assignments(&service).all(|(_, outcome)| outcome.is_ok()) {
                self.due.cancel(&service);
                self.told.remove(&service);
                if placement.assignments(&service).next().is_none() {
                    self.tellings.remove(&service);
                }
            } else if !self.due.contains(&service) {
                let patience = self.patience(&service, now);
                self.due.set(service, now + patience);
            }
        }
    }

    /// What is to be told by now that is news. It counts as told: every speaker comes to the same, and one of them speaks.
    ///
    /// While this node may be `cut_off`, what depends on which nodes live waits: others may well announce it.
    pub(crate) fn poll(
        &mut self,
        placement: &Placement,
        cut_off: bool,
        now: Instant,
    ) -> Vec<(ServiceKey, Notice)> {
        let mut notices = Vec::new();
        while let Some(service) = self.due.pop(now) {
            let depends_on_nodes = |(_, outcome): (IpAddr, &Result<Assignment, placement::Unannounced>)| {
                !matches!(outcome, Ok(_) | Err(placement::Unannounced::Unadvertised(_)))
            };
            if cut_off && placement.assignments(&service).any(depends_on_nodes) {
                self.due.set(service, now + PATIENCE);
                continue;
            }
            let Some(message) = message(placement, &service) else { continue };
            if self.told.get(&service) != Some(&message) {
                self.told.insert(service.clone(), message.clone());
                let often = self.often(&service, now) + 1;
                self.tellings.insert(service.clone(), (often, now));
                notices.push((service, Notice::warning("notAnnounced", message)));
            }
        }
        notices
    }

    fn patience(&self, service: &ServiceKey, now: Instant) -> Duration {
        let doublings = self.often(service, now).saturating_sub(OFTEN).min(16);
        (PATIENCE * 2_u32.pow(doublings)).min(LONGEST)
    }

    fn often(&self, service: &ServiceKey, now: Instant) -> u32 {
        let lately = self.tellings.get(service).filter(|(_, last)| now < *last + FORGOTTEN);
        lately.map_or(0, |(often, _)| *often)
    }

    /// The Services of which some address is not announced, as far as that is known.
    pub(crate) fn services(&self) -> BTreeSet<&ServiceKey> {
        self.due.keys().chain(self.told.keys()).collect()
    }

    /// When the next is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due.first()
    }
}

/// Which addresses of a Service are not announced, and why; `None` where all are.
fn message(placement: &Placement, service: &ServiceKey) -> Option<String> {
    let mut vips_by_reason: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for (vip, outcome) in placement.assignments(service) {
        if outcome.is_err()
            && let Some(reason) = placement.reason(service, vip)
        {
            vips_by_reason.entry(reason).or_default().push(vip);
        }
    }
    let sentence = |(reason, vips): (String, Vec<IpAddr>)| {
        let are = if vips.len() == 1 { "is" } else { "are" };
        let vips: Vec<_> = vips.iter().map(ToString::to_string).collect();
        format!("{} {are} not announced: {reason}", vips.join(" and "))
    };
    let sentences: Vec<_> = vips_by_reason.into_iter().map(sentence).collect();
    (!sentences.is_empty()).then(|| sentences.join("; "))
}
