//! `AddressReservation` objects, what they say, and what is to be said about each.

use std::collections::BTreeMap;

use api::{AddressReservation, AddressReservationStatus};
use ipam::{Assignment, Refusal, Reservation, ReservationKey};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kubekit::events::Notice;
use kubekit::{Change, Mirror};

use crate::acceptance::{Acceptance, Assessment};

/// What becomes of reservations, by namespace and name.
pub(crate) type Outcomes = BTreeMap<ReservationKey, Result<Assignment, Refusal>>;

/// All `AddressReservation` objects, and what was decided last.
#[derive(Debug, Default)]
pub(crate) struct ReservationObjects {
    mirror: Mirror<ReservationKey>,
    objects: BTreeMap<ReservationKey, Object>,
    /// What was decided of which version of what each says.
    decided: BTreeMap<ReservationKey, (Reservation, Result<Assignment, Refusal>)>,
    /// Whether they are to be decided anew.
    due: bool,
}

#[derive(Debug)]
struct Object {
    acceptance: Acceptance,
    created: Option<Timestamp>,
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
                Some(object) => self.put(key, &object),
                None => _ = self.objects.remove(&key),
            }
            self.due = true;
        }
    }

    /// Something has changed that they depend on.
    pub(crate) fn touch(&mut self) {
        self.due |= !self.objects.is_empty();
    }

    /// Somebody has given something up. That makes a difference where one is not in force, or says that another has its
    /// address.
    pub(crate) fn freed(&mut self) {
        let satisfied = |object: &Object| object.assessment == Some(Assessment::Accepted);
        self.due |= !self.objects.values().all(satisfied);
    }

    /// Whether they are to be decided anew.
    pub(crate) fn are_due(&self) -> bool {
        self.due
    }

    /// What is to be decided, the older first. From now on nothing is due.
    pub(crate) fn take_due(&mut self) -> Vec<Reservation> {
        self.due = false;
        let mut all: Vec<(Option<Timestamp>, &Reservation)> =
            self.objects.values().filter_map(|it| Some((it.created, it.said.as_ref().ok()?))).collect();
        all.sort_by(|(at, a), (then, b)| at.cmp(then).then_with(|| a.key.cmp(&b.key)));
        all.into_iter().map(|(_, reservation)| reservation.clone()).collect()
    }

    /// Takes in what was decided; `doubts` are about one that is in force. Those that have changed since the last time.
    pub(crate) fn decided(
        &mut self,
        outcomes: Outcomes,
        doubts: impl Fn(&ReservationKey, &Assignment) -> Vec<String>,
    ) -> Vec<ReservationKey> {
        let mut now = BTreeMap::new();
        for (key, object) in &mut self.objects {
            object.assessment = Some(match (&object.said, outcomes.get(key)) {
                (Err(faults), _) => Assessment::new(Some("Invalid"), faults.clone(), vec![]),
                (Ok(_), Some(Ok(assignment))) => Assessment::new(None, vec![], doubts(key, assignment)),
                (Ok(_), Some(Err(why))) => Assessment::new(Some(reason(why)), vec![why.to_string()], vec![]),
                // It has come since.
                (Ok(_), None) => continue,
            });
            if let (Ok(said), Some(outcome)) = (&object.said, outcomes.get(key)) {
                now.insert(key.clone(), (said.clone(), outcome.clone()));
            }
        }
        let before = std::mem::replace(&mut self.decided, now);
        let keys = before.keys().chain(self.decided.keys());
        keys.filter(|key| before.get(*key) != self.decided.get(*key)).cloned().collect()
    }

    /// Events that are due, and the objects that they are about.
    pub(crate) fn emit(&mut self) -> Vec<(ObjectReference, Notice)> {
        let emit = |object: &mut Object| {
            let notice = object.acceptance.emit(object.assessment.as_ref()?)?;
            Some((object.acceptance.reference.clone(), notice))
        };
        self.objects.values_mut().filter_map(emit).collect()
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
        self.due = false;
    }

    fn put(&mut self, key: ReservationKey, object: &AddressReservation) {
        let conditions = object.status.as_ref().map_or(&[][..], |status| &status.conditions);
        let mut acceptance = Acceptance::new(object, conditions);
        let said = object.read().map_err(|unreadable| {
            unreadable.into_iter().map(|it| format!("{}: {}", it.field, it.why)).collect()
        });
        if let Some(known) = self.objects.remove(&key) {
            let newer = std::mem::replace(&mut acceptance, known.acceptance);
            acceptance.update(newer);
        }
        let object = Object {
            acceptance,
            created: object.metadata.creation_timestamp.as_ref().map(|time| time.0),
            said,
            status: object.status.clone(),
            assessment: None,
        };
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
