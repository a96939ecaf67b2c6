//! Differences that are known and wanted, each with the reason why.

/// One of them.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) what: &'static str,
    pub(crate) why: &'static str,
    pub(crate) how: How,
}

/// How a comparison deals with it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum How {
    /// No scenario leads there.
    Avoided,
    /// Both are made alike before they are compared.
    Levelled,
    /// Found, counted and passed over.
    Recognised,
}

/// All of them.
pub(crate) const WANTED: &[Wanted] = &[
    Wanted {
        what: "pools of equal rank are tried by name",
        why: "MetalLB's choice among them is random",
        how: How::Avoided,
    },
    Wanted {
        what: "of several Services that could have the same address, the oldest gets it",
        why: "MetalLB's choice among them is random",
        how: How::Recognised,
    },
    Wanted {
        what: "whatever becomes free wakes those who wait for it",
        why: "MetalLB does not look when a Service moves or gives up a shared port",
        how: How::Recognised,
    },
    Wanted {
        what: "a Service that has lost an address through no wish of its own gets the same one again",
        why: "whoever points at it need not be told of another when a pool is made again or families change; MetalLB gives the lowest that is free",
        how: How::Recognised,
    },
    Wanted {
        what: "the address of a family that is not concerned stays when the other one comes or goes",
        why: "MetalLB looks for both anew and may give a lower one",
        how: How::Recognised,
    },
    Wanted {
        what: "a Service that is being deleted gets no address, and keeps what it has until it is gone",
        why: "MetalLB gives it what the living wait for",
        how: How::Recognised,
    },
    Wanted {
        what: "the annotation ferrolb.io/previous-ips is there on a Service that has lost an address",
        why: "a controller that is restarted has to know what to give back; MetalLB keeps no such record",
        how: How::Levelled,
    },
    Wanted {
        what: "a wrong address that somebody writes into a status is said to be taken away, whatever the number of addresses",
        why: "MetalLB drops a list with one address too few or too many silently",
        how: How::Levelled,
    },
    Wanted {
        what: "of a pool that is made again at once, events of Services may tell",
        why: "whether either controller sees that it was away depends on the moment",
        how: How::Levelled,
    },
    Wanted {
        what: "pools have a condition that says what of them is in force",
        why: "MetalLB's have none",
        how: How::Levelled,
    },
    Wanted {
        what: "priorities below zero come first, in their order",
        why: "MetalLB's order of them depends on the order in which it meets the pools, which is random",
        how: How::Avoided,
    },
    Wanted {
        what: "of a pool that overlaps another, what nobody else lists is in force",
        why: "MetalLB refuses the whole configuration, and goes on with the last one, until the older pool is gone",
        how: How::Recognised,
    },
    Wanted {
        what: "IPv4 comes before IPv6 in the status",
        why: "MetalLB's order changes from one pass to the next",
        how: How::Levelled,
    },
    Wanted {
        what: "a bad object disables itself only",
        why: "one stops all of MetalLB's configuration",
        how: How::Avoided,
    },
    Wanted {
        what: "namespaceSelectors that match no namespace admit nobody",
        why: "MetalLB takes them for no restriction",
        how: How::Avoided,
    },
    Wanted {
        what: "a Service that leaves the class is cleared",
        why: "MetalLB forgets about it and its address",
        how: How::Avoided,
    },
    Wanted {
        what: "an address in the status of a Service of another class is given to nobody",
        why: "MetalLB does not look at such Services, and two have the same address",
        how: How::Avoided,
    },
    Wanted {
        what: "with policy Local, Services share an address only in one namespace",
        why: "their endpoints are never the same; MetalLB compares the selectors only",
        how: How::Avoided,
    },
    Wanted { what: "without any pool an event says so", why: "MetalLB is silent", how: How::Avoided },
    Wanted {
        what: "events come once for a change",
        why: "MetalLB repeats them on every pass",
        how: How::Levelled,
    },
    Wanted {
        what: "a Service that has one address, asks for that one and prefers two loses it where its pool has the other family at all",
        why: "MetalLB takes it away only once it could add a second one, which depends on others",
        how: How::Avoided,
    },
    Wanted {
        what: "of a request that cannot be read, and is of no avail, one event tells",
        why: "MetalLB tells twice, as LoadBalancerFailed and as AllocationFailed",
        how: How::Levelled,
    },
    Wanted {
        what: "a deprecated annotation is mentioned wherever it is",
        why: "MetalLB mentions it only when it finds something to write",
        how: How::Levelled,
    },
    Wanted {
        what: "counters of huge and of avoided addresses are right",
        why: "MetalLB's overflow, or count less than none",
        how: How::Avoided,
    },
];
