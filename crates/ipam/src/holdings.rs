//! Who holds which address, and what of the pools that leaves: the state that decisions are made on.

mod reservations;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use objects::NodeName;
use pools::{Pool, Pools, Quota, QuotaReached};

use crate::applicant::{Applicant, Standing};
use crate::ledger::{Ledger, Origin, Vips};
use crate::reservations::Reservations;
use crate::reserved::Reserved;
use crate::tally::Tally;
use crate::vip::Vip;
use crate::{Assignment, Family, PoolName, Port, Reason, Refusal, Request, ServiceKey, Sharing, Usage};

/// All pools, what of them is in use, and by whom. It grants nothing by itself.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    pools: Pools,
    ledgers: BTreeMap<PoolName, Ledger>,
    vips: Vips,
    services: HashMap<ServiceKey, Holding>,
    tally: Tally,
    /// Addresses that are not given out.
    reserved: Reserved,
    pub(crate) reservations: Reservations,
}

/// What a service holds, with all that is needed to put it on the same addresses again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) assignment: Assignment,
    sharing: Sharing,
    ports: BTreeSet<Port>,
}

impl Holding {
    pub(crate) fn new(assignment: Assignment, request: &Request) -> Self {
        Self { assignment, sharing: request.sharing.clone(), ports: request.ports.clone() }
    }
}

impl Holdings {
    /// Replaces all pools. Services keep their addresses where [`Pools::pool_of`] says so; the others hold nothing any
    /// more and are returned, in order. Nobody is asked whether a pool is still for them: decide them anew.
    ///
    /// Costs as much as what has changed: a pool that is as it was keeps its ledger, and its services stay.
    pub(crate) fn set_pools(&mut self, pools: Pools) -> Vec<ServiceKey> {
        let changed = pools.changed_since(&self.pools);
        if changed.is_empty() {
            return Vec::new();
        }
        let reservations = self.withdraw_all();
        self.unreserve();
        // Nothing is reserved while ledgers are replaced.
        let reserved = std::mem::take(&mut self.reserved);
        let of_changed =
            |pools: &Pools, ip: &IpAddr| pools.listed_by(*ip).is_some_and(|name| changed.contains(name));
        let concerned = |Assignment { ips, pool }: &Assignment| {
            changed.contains(pool)
                || ips.iter().any(|ip| of_changed(&self.pools, ip) || of_changed(&pools, ip))
        };
        let keys = self.services.iter().filter(|(_, holding)| concerned(&holding.assignment));
        // In order, so that the same pool is found for those that share an address, whoever comes first.
        let keys: BTreeSet<ServiceKey> = keys.map(|(key, _)| key.clone()).collect();
        let services: Vec<_> =
            keys.into_iter().filter_map(|key| self.take_off(&key).map(|holding| (key, holding))).collect();
        self.pools = pools;
        for name in changed {
            match self.pools.get(&name) {
                Some(pool) => _ = self.ledgers.insert(name, Ledger::new(pool)),
                None => _ = self.ledgers.remove(&name),
            }
        }
        let mut displaced = Vec::new();
        for (key, mut holding) in services {
            let ips = &holding.assignment.ips;
            match self.pool_of(ips, Some(&holding.assignment.pool)).map(|pool| pool.name.clone()) {
                Some(pool) => {
                    holding.assignment.pool = pool;
                    self.hold(key, holding);
                }
                None => displaced.push(key),
            }
        }
        self.reserved = reserved;
        self.reserve();
        self.give_back(reservations);
        displaced
    }

    /// Replaces the addresses of nodes, which are never given out. Returns the services that hold one, in order: decide
    /// them anew.
    pub(crate) fn set_reserved(&mut self, nodes: BTreeMap<IpAddr, NodeName>) -> Vec<ServiceKey> {
        self.unreserve();
        let before = std::mem::replace(&mut self.reserved.nodes, nodes);
        self.reserve();
        let now = &self.reserved.nodes;
        let changed = before.keys().chain(now.keys()).filter(|ip| before.get(*ip) != now.get(*ip));
        let changed: BTreeSet<IpAddr> = changed.copied().collect();
        if !changed.is_empty() {
            self.reservations.touch_newcomers();
        }
        changed.into_iter().for_each(|ip| self.touch_reservations(ip));
        let nodes = &self.reserved.nodes;
        let holds_one = |holding: &Holding| holding.assignment.ips.iter().any(|ip| nodes.contains_key(ip));
        let holders = self.services.iter().filter(|(_, holding)| holds_one(holding));
        let mut holders: Vec<ServiceKey> = holders.map(|(key, _)| key.clone()).collect();
        holders.sort();
        holders
    }

    /// A service that others serve has these addresses from now on. Whether another one is there for others now.
    pub(crate) fn set_elsewhere(&mut self, key: &ServiceKey, ips: BTreeSet<IpAddr>) -> bool {
        let concerned = self.reserved.ips_of(key).union(&ips).copied().collect::<Vec<_>>();
        let before = concerned.iter().map(|ip| self.reserved.contains(ip)).collect::<Vec<_>>();
        self.reserved.set_elsewhere(key, ips);
        concerned.iter().for_each(|ip| self.touch_reservations(*ip));
        let mut freed = false;
        for (ip, before) in concerned.into_iter().zip(before).filter(|(ip, _)| !self.vips.contains_key(ip)) {
            let Some(ledger) = ledger_of(&self.pools, &mut self.ledgers, ip) else { continue };
            match (before, self.reserved.contains(&ip)) {
                (false, true) => ledger.reserve(ip),
                (true, false) => {
                    ledger.unreserve(ip);
                    freed = true;
                }
                (true, true) | (false, false) => {}
            }
        }
        freed
    }

    fn unreserve(&mut self) {
        for ip in self.reserved.ips().filter(|ip| !self.vips.contains_key(ip)) {
            if let Some(ledger) = ledger_of(&self.pools, &mut self.ledgers, ip) {
                ledger.unreserve(ip);
            }
        }
    }

    fn reserve(&mut self) {
        for ip in self.reserved.ips().filter(|ip| !self.vips.contains_key(ip)) {
            if let Some(ledger) = ledger_of(&self.pools, &mut self.ledgers, ip) {
                ledger.reserve(ip);
            }
        }
    }

    pub(crate) fn pools(&self) -> &Pools {
        &self.pools
    }

    /// What a service holds.
    pub(crate) fn get(&self, key: &ServiceKey) -> Option<&Holding> {
        self.services.get(key)
    }

    /// The services that hold something, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ServiceKey, &Holding)> {
        self.services.iter()
    }

    /// How full a pool is.
    pub(crate) fn usage(&self, pool: &PoolName, family: Family) -> Usage {
        self.ledgers.get(pool).map(|ledger| ledger.usage(family)).unwrap_or_default()
    }

    /// The service holds nothing from now on. Returns what it held.
    pub(crate) fn take_off(&mut self, key: &ServiceKey) -> Option<Holding> {
        let holding = self.services.remove(key)?;
        self.tally.remove(&holding.assignment.pool, &key.namespace, &holding.assignment.ips);
        for &ip in &holding.assignment.ips {
            self.touch_reservations(ip);
            let Some(vip) = self.vips.get_mut(&ip) else { continue };
            let owner = self.pools.owner(ip).map(|owner| &owner.name);
            let origin = if owner == Some(&vip.pool) { Origin::Listed } else { Origin::Extra };
            let ledger = self.ledgers.get_mut(&vip.pool).expect("an address is held from a pool");
            if !vip.remove(key) {
                ledger.vacate(ip, &holding.sharing, &holding.ports);
                continue;
            }
            ledger.release(ip, origin, &holding.sharing);
            if let (Origin::Extra, Some(owner)) = (origin, owner)
                && let Some(ledger) = self.ledgers.get_mut(owner)
            {
                ledger.return_lent(ip);
            }
            self.vips.remove(&ip);
            if self.reserved.contains(&ip)
                && let Some(ledger) = ledger_of(&self.pools, &mut self.ledgers, ip)
            {
                ledger.reserve(ip);
            }
        }
        Some(holding)
    }

    /// The service, which held nothing, holds this from now on: addresses that it may have, from a pool that there is.
    pub(crate) fn hold(&mut self, key: ServiceKey, holding: Holding) {
        let Holding { assignment: Assignment { ips, pool }, sharing, ports } = &holding;
        if let Some(pool) = self.pools.get(pool) {
            self.tally.add(pool, &key.namespace, ips);
            if pool.quota != Quota::Unlimited {
                self.reservations.touch_unrecorded();
            }
        }
        for &ip in ips {
            self.touch_reservations(ip);
            if let Some(vip) = self.vips.get_mut(&ip) {
                vip.insert(&key, ports);
                continue;
            }
            let owner = self.pools.owner(ip).map(|owner| &owner.name);
            let origin = if owner == Some(pool) { Origin::Listed } else { Origin::Extra };
            if self.reserved.contains(&ip)
                && let Some(ledger) = ledger_of(&self.pools, &mut self.ledgers, ip)
            {
                ledger.unreserve(ip);
            }
            let ledger = self.ledgers.get_mut(pool).expect("the pool was just found");
            ledger.hold(ip, origin, sharing);
            if let (Origin::Extra, Some(owner)) = (origin, owner)
                && let Some(ledger) = self.ledgers.get_mut(owner)
            {
                ledger.lend(ip);
            }
            self.vips.insert(ip, Vip::new(pool.clone(), sharing.clone(), &key, ports));
        }
        self.services.insert(key, holding);
    }

    /// The pool that a service with this record has these addresses from: that of those who have one of them already,
    /// for an address is never of two pools.
    pub(crate) fn pool_of(&self, ips: &[IpAddr], recorded: Option<&PoolName>) -> Option<&Pool> {
        let held = ips.iter().find_map(|ip| Some(&self.vips.get(ip)?.pool));
        self.pools.pool_of(ips, held.or(recorded))
    }

    /// Why no pool has these addresses.
    pub(crate) fn in_no_pool(&self, ips: &[IpAddr]) -> Refusal {
        let not_in_force = ips.iter().filter(|ip| self.pools.owner(**ip).is_none()).find_map(|ip| {
            let pool = self.pools.overlapping(*ip)?.name.clone();
            Some(Refusal::NotInForce { ip: *ip, pool })
        });
        not_in_force.unwrap_or_else(|| Refusal::NotInAnyPool(ips.to_vec()))
    }

    /// Whether a service may have an address, as far as nodes and other services are concerned.
    pub(crate) fn is_free_for(
        &self,
        applicant: &Applicant<'_>,
        ip: IpAddr,
        standing: Standing,
    ) -> Result<(), Refusal> {
        if let Some(node) = self.reserved.nodes.get(&ip) {
            return Err(Refusal::NodeAddress { ip, node: node.clone() });
        }
        if standing == Standing::Newcomer {
            if self.reserved.is_elsewhere(&ip) {
                return Err(Refusal::OtherClass(ip));
            }
            if let Some(by) = self.reserved.reservations.get(&ip)
                && !applicant.names(by)
            {
                let by = (by.namespace == applicant.key.namespace).then(|| by.clone());
                return Err(Refusal::Reserved { ip, by });
            }
        }
        match self.vips.get(&ip) {
            Some(vip) => {
                let Request { sharing, ports, .. } = applicant.request;
                Ok(vip.admits(ip, applicant.key, sharing, ports)?)
            }
            None => Ok(()),
        }
    }

    /// Whether the quota of a namespace allows it to have these addresses of a pool besides what it has.
    pub(crate) fn within_quota<'a>(
        &self,
        namespace: &str,
        pool: &Pool,
        ips: impl IntoIterator<Item = &'a IpAddr>,
    ) -> Result<(), QuotaReached> {
        self.tally.admits(pool, namespace, ips)
    }

    /// The next address of a family that a pool has for who shares it like this.
    pub(crate) fn next(
        &mut self,
        pool: &PoolName,
        family: Family,
        sharing: &Sharing,
        ports: &BTreeSet<Port>,
    ) -> Result<IpAddr, Reason> {
        let ledger = self.ledgers.get_mut(pool).expect("each pool has a ledger");
        ledger.candidate(family, sharing, ports, &self.vips, &self.reserved).ok_or_else(|| {
            let in_use = ledger.usage(family).in_use;
            self.pools
                .get(pool)
                .map_or(Reason::NoAddresses(family), |pool| Reason::nothing_in(pool, family, in_use))
        })
    }
}

/// The ledger of the pool that gives out an address.
fn ledger_of<'a>(
    pools: &Pools,
    ledgers: &'a mut BTreeMap<PoolName, Ledger>,
    ip: IpAddr,
) -> Option<&'a mut Ledger> {
    ledgers.get_mut(&pools.owner(ip)?.name)
}
