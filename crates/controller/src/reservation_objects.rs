//! `AddressReservation` objects, what they say, and what is to be said about each.

use std::collections::{BTreeMap, BTreeSet};

use api::{AddressReservation, AddressReservationStatus};
use ipam::{Assignment, Refusal, Reservation, ReservationKey};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kubekit::events::Notice;
use kubekit::{Change, Mirror};

use crate::acceptance::{Acceptance, Assessment};

/// All `AddressReservation` objects, and what was decided last.
#[derive(Debug, Default)]
pub(crate) struct ReservationObjects {
    mirror: Mirror<ReservationKey>,
    objects: BTreeMap<ReservationKey, Object>,
    /// What was decided of which version of what each says.
    decided: BTreeMap<ReservationKey, (Reservation, Result<Assignment, Refusal>)>,
    /// Those that have come, changed or gone since the last time.
    changed: BTreeSet<ReservationKey>,
}

#[derive(Debug)]
struct Object {
    acceptance: Acceptance,
    /// What it says, or what of it cannot be read.
    said: Result<Reservation, Vec<String>>,
    /// What its status says.
    status: Option<AddressReservationStatus>,
    /// Nothing until it is decided.
    assessment: Option<Assessment>,
}

impl ReservationObjects {
    /// Takes in a change.
    pub(crate) fn change(&mut self, change: Change<AddressReservation>) {
        for (key, object) in self.mirror.update(change, AddressReservation::key) {
            match object {
                Some(object) => self.put(key.clone(), &object),
                None => _ = self.objects.remove(&key),
            }
            self.changed.insert(key);
        }
    }

    /// Somebody begins to decide, who knows none of them.
    pub(crate) fn begin(&mut self) {
        self.changed.extend(self.objects.keys().cloned());
    }

    /// Whether some have come, changed or gone.
    pub(crate) fn have_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Those that have come, changed or gone, with what they say now: nothing where that cannot be read. From now on none
    /// has.
    pub(crate) fn take_changed(&mut self) -> BTreeMap<ReservationKey, Option<Reservation>> {
        let said = |key: &ReservationKey| self.objects.get(key)?.said.as_ref().ok().cloned();
        std::mem::take(&mut self.changed).into_iter().map(|key| (key.clone(), said(&key))).collect()
    }

    /// Takes in what was decided of one; `doubts` are about one that is in force. Whether that is something else than the
    /// last time.
    pub(crate) fn decided(
        &mut self,
        key: &ReservationKey,
        outcome: Result<Assignment, Refusal>,
        doubts: Vec<String>,
    ) -> bool {
        let Some(Object { said: Ok(said), assessment, .. }) = self.objects.get_mut(key) else { return false };
        *assessment = Some(match &outcome {
            Ok(_) => Assessment::new(None, vec![], doubts),
            Err(why) => Assessment::new(Some(reason(why)), vec![why.to_string()], vec![]),
        });
        let now = (said.clone(), outcome);
        if self.decided.get(key) == Some(&now) {
            return false;
        }
        self.decided.insert(key.clone(), now);
        true
    }

    /// There is nothing to be decided of one, which is gone or cannot be read. Whether that is something else than the last
    /// time.
    pub(crate) fn undecided(&mut self, key: &ReservationKey) -> bool {
        if let Some(Object { said: Err(faults), assessment, .. }) = self.objects.get_mut(key) {
            *assessment = Some(Assessment::new(Some("Invalid"), faults.clone(), vec![]));
        }
        self.decided.remove(key).is_some()
    }

    /// The event about one that is due, and the object that it is about.
    pub(crate) fn emit(&mut self, key: &ReservationKey) -> Option<(ObjectReference, Notice)> {
        let object = self.objects.get_mut(key)?;
        let notice = object.acceptance.emit(object.assessment.as_ref()?)?;
        Some((object.acceptance.reference.clone(), notice))
    }

    /// Objects whose status does not say what it should, and what that is.
    pub(crate) fn outdated(&self, now: Timestamp) -> Vec<(ObjectReference, AddressReservationStatus)> {
        let outdated = |(key, object): (&ReservationKey, &Object)| {
            let (condition, _) = object.acceptance.condition(object.assessment.as_ref()?, now);
            let (addresses, pool) = self.reserved(key, object);
            let status = AddressReservationStatus { addresses, pool, conditions: vec![condition] };
            (object.status.as_ref() != Some(&status)).then(|| (object.acceptance.reference.clone(), status))
        };
        self.objects.iter().filter_map(outdated).collect()
    }

    /// The addresses that it has, and their pool. What was chosen once stands there also while it is not in force.
    fn reserved(&self, key: &ReservationKey, object: &Object) -> (Vec<String>, Option<String>) {
        match self.decided.get(key) {
            Some((_, Ok(Assignment { ips, pool }))) => {
                (ips.iter().map(ToString::to_string).collect(), Some(pool.as_str().to_owned()))
            }
            Some((Reservation { wanted: ipam::Wanted::AnyOf { .. }, .. }, Err(_))) => {
                let status = object.status.clone().unwrap_or_default();
                (status.addresses, status.pool)
            }
            Some((Reservation { wanted: ipam::Wanted::Addresses(_), .. }, Err(_))) | None => (vec![], None),
        }
    }

    /// From now on somebody else decides.
    pub(crate) fn forget_decisions(&mut self) {
        self.decided.clear();
        self.objects.values_mut().for_each(|object| object.assessment = None);
    }

    fn put(&mut self, key: ReservationKey, object: &AddressReservation) {
        let conditions = object.status.as_ref().map_or(&[][..], |status| &status.conditions);
        let mut acceptance = Acceptance::new(object, conditions);
        let said = object.read().map_err(|unreadable| {
            unreadable.into_iter().map(|it| format!("{}: {}", it.field, it.why)).collect()
        });
        let mut assessment = None;
        if let Some(known) = self.objects.remove(&key) {
            // What follows from what it says is decided again where that has changed.
            assessment = known.assessment.filter(|_| known.said == said);
            let newer = std::mem::replace(&mut acceptance, known.acceptance);
            acceptance.update(newer);
        }
        let object = Object { acceptance, said, status: object.status.clone(), assessment };
        self.objects.insert(key, object);
    }
}

/// Why it is not in force, in one word.
fn reason(why: &Refusal) -> &'static str {
    match why {
        Refusal::NotInAnyPool(_) | Refusal::NotInForce { .. } | Refusal::NodeAddress { .. } => "NotInAnyPool",
        Refusal::UnknownPool(_) | Refusal::NoPools => "UnknownPool",
        Refusal::NotAdmitted(..) => "NotAdmitted",
        Refusal::Reserved { .. } => "Reserved",
        Refusal::HeldElsewhere(_) | Refusal::OtherClass(_) | Refusal::Taken(_) => "InUse",
        Refusal::NothingLeft(unsuitable) => match unsuitable.first().map(|it| &it.reason) {
            Some(ipam::Reason::QuotaReached(_)) => "QuotaReached",
            _ => "NoAddress",
        },
        Refusal::OtherPool { .. }
        | Refusal::WrongFamilies { .. }
        | Refusal::UnknownReservation(_)
        | Refusal::ReservationNotInForce(_)
        | Refusal::ReservationPending(_)
        | Refusal::ReservationForOthers(_)
        | Refusal::Unreadable(_) => "NotInForce",
    }
}
