//! Where FerroLB and MetalLB part on purpose, and how a story goes on from there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::outcome::{Outcome, Served};

/// What of a step's differences is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parting {
    /// What FerroLB has given back, left with its Service or given early, and MetalLB has not.
    pub(crate) given_back: BTreeMap<String, Vec<IpAddr>>,
    /// Services that are being deleted: with FerroLB they have what they had.
    pub(crate) deleting: BTreeSet<String>,
    /// All others that differ. That must be a consequence.
    others: BTreeSet<String>,
}

/// What was before a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Since<'a> {
    /// What FerroLB had made of it.
    pub(crate) before: &'a Outcome,
    /// The Service that the step changed, if it did nothing else and left its families alone: that one keeps what it
    /// has only where MetalLB lets it, and may have nothing but what it had lost earlier.
    pub(crate) edited: Option<&'a str>,
    /// The pool that was there beside the one that it replaces, which overlaps it: FerroLB gave out at once what only
    /// the new one lists, MetalLB nothing of it before the old one went.
    pub(crate) early: Option<&'a str>,
}

impl Parting {
    /// Of these Services, which differ.
    pub(crate) fn new(
        Since { before, edited, early }: Since<'_>,
        ferrolb: &Outcome,
        metallb: &Outcome,
        services: Vec<&String>,
    ) -> Self {
        let mut parting = Self::default();
        let nothing = Served::default();
        let is_early = |before: &Served, ours: &Served, theirs: &Served| {
            let of_new = |served: &Served| early.is_some() && served.pool.as_deref() == early;
            before.ingress.is_empty() && of_new(ours) && of_new(theirs)
        };
        for name in services {
            let [before, ours, theirs] =
                [before, ferrolb, metallb].map(|outcome| outcome.services.get(name).unwrap_or(&nothing));
            let had = |ip| {
                if edited == Some(name.as_str()) { before.previous.contains(&ip) } else { before.had(ip) }
            };
            let has_back = |ip: IpAddr| had(ip) && theirs.ips().all(|other| other != ip);
            if ours.deleting && ours.ingress == before.ingress && theirs.ingress != ours.ingress {
                parting.deleting.insert(name.clone());
            } else if !ours.deleting && (ours.ips().any(has_back) || is_early(before, ours, theirs)) {
                parting.given_back.insert(name.clone(), ours.ips().collect());
            } else {
                parting.others.insert(name.clone());
            }
        }
        parting
    }

    /// Whether there is a reason for all of it.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.given_back.is_empty() || !self.deleting.is_empty()
    }

    /// All Services that differ.
    pub(crate) fn services(&self) -> impl Iterator<Item = String> {
        self.given_back.keys().chain(&self.deleting).chain(&self.others).cloned()
    }

    /// What MetalLB is to find when it starts afresh: what was given back. The others have nothing, so that it has to
    /// find for them what FerroLB has found.
    pub(crate) fn held(&self) -> BTreeMap<String, Vec<IpAddr>> {
        let others = self.others.iter().map(|name| (name.clone(), Vec::new()));
        self.given_back.clone().into_iter().chain(others).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Ingress;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn served(ips: &[&str]) -> Served {
        let ingress = ips.iter().map(|text| Ingress::Ip(ip(text))).collect();
        Served { ingress, ..Served::default() }
    }

    fn outcome(service: Served) -> Outcome {
        Outcome { services: BTreeMap::from([("a/s".to_owned(), service)]), ..Outcome::default() }
    }

    fn parting(before: Served, ferrolb: Served, metallb: Served) -> Parting {
        edited(None, before, ferrolb, metallb)
    }

    fn edited(edited: Option<&str>, before: Served, ferrolb: Served, metallb: Served) -> Parting {
        let before = &outcome(before);
        let since = Since { before, edited, early: None };
        Parting::new(since, &outcome(ferrolb), &outcome(metallb), vec![&"a/s".to_owned()])
    }

    #[test]
    fn what_waited_may_have_something_of_a_pool_that_replaces_another_before_that_one_goes() {
        let of = |pool: &str, ips: &[&str]| Served { pool: Some(pool.to_owned()), ..served(ips) };
        let parting = |before: Served, ours: Served, early| {
            let since = Since { before: &outcome(before), edited: None, early };
            let theirs = outcome(of("new", &["10.0.0.2"]));
            Parting::new(since, &outcome(ours), &theirs, vec![&"a/s".to_owned()])
        };
        let waits = || served(&[]);
        assert!(parting(waits(), of("new", &["10.0.1.1"]), Some("new")).is_wanted());
        assert!(!parting(waits(), of("new", &["10.0.1.1"]), None).is_wanted());
        assert!(!parting(waits(), of("other", &["10.2.0.1"]), Some("new")).is_wanted());
        assert!(!parting(of("old", &["10.0.0.9"]), of("new", &["10.0.1.1"]), Some("new")).is_wanted());
    }

    #[test]
    fn what_is_edited_does_not_stay_where_it_is_against_its_wish() {
        let had = || served(&["10.0.0.3"]);
        assert!(!edited(Some("a/s"), had(), had(), served(&["10.0.0.1"])).is_wanted());
        assert!(edited(Some("a/other"), had(), had(), served(&["10.0.0.1"])).is_wanted());
        let lost = Served { previous: vec![ip("10.0.0.3")], ..served(&[]) };
        assert!(edited(Some("a/s"), lost, had(), served(&["10.0.0.1"])).is_wanted());
    }

    #[test]
    fn an_address_that_a_service_had_may_be_given_back_and_no_other() {
        let lost = Served { previous: vec![ip("10.0.0.3")], ..served(&[]) };
        for had in [served(&["10.0.0.3"]), lost.clone()] {
            let parting = parting(had, served(&["10.0.0.3"]), served(&["10.0.0.1"]));
            assert!(parting.is_wanted());
            assert_eq!(parting.held(), BTreeMap::from([("a/s".to_owned(), vec![ip("10.0.0.3")])]));
        }
        assert!(!parting(lost.clone(), served(&["10.0.0.2"]), served(&["10.0.0.1"])).is_wanted());
        assert!(!parting(lost, served(&[]), served(&["10.0.0.1"])).is_wanted());
    }

    #[test]
    fn what_is_being_deleted_may_stay_as_it_is_and_not_get_anything() {
        let deleting = |ips: &[&str]| Served { deleting: true, ..served(ips) };
        let theirs = || deleting(&["10.0.0.1"]);
        assert!(parting(served(&[]), deleting(&[]), theirs()).is_wanted());
        assert!(parting(served(&["10.0.0.2"]), deleting(&["10.0.0.2"]), theirs()).is_wanted());
        assert!(!parting(served(&["10.0.0.2"]), deleting(&[]), theirs()).is_wanted());
        assert!(!parting(served(&[]), deleting(&["10.0.0.2"]), theirs()).is_wanted());
    }
}
