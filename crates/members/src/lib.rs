//! Who is alive: the members of a group, found dead within a second, and never while they live.
//!
//! [`Members`] is one member. It is told what arrives and what time it is, and says what to send and what happened;
//! it has no socket and no clock. Everything that it does is explained here, once; the modules are the parts.
//!
//! ```text
//!              Heartbeat
//!    monitored ----------> +---------+ ------------> monitors        the ring, by hash of the name:
//!    (3 before us)         | Members |               (3 after us)    everybody has as many of both
//!                          +---------+
//!    everybody <-- Hello, Dead, Leave (directly), SWIM by foca (gossip) --> everybody
//! ```
//!
//! # Being heard
//!
//! All members stand on a ring, ordered by a hash of their names. Each sends a heartbeat in turn to the
//! three after it, its *monitors*, so that each of them hears one in every period. What this costs a node does
//! not depend on how many there are, nor on how many addresses they announce.
//!
//! Any frame is a sign of life. A monitor that has heard nothing of a monitored peer for some time asks: the peer itself,
//! the other monitors when they heard it last, and all of these to ask it on its behalf. So neither a lost frame nor a
//! broken path between two of them matters. Whoever remains silent is *declared dead*: gossip is told, and
//! everybody is told directly and twice. The other monitors, who are about to find the same, say so too, which
//! makes `confirmed_by` of [`Event::Lost`] and [`Event::Confirmed`].
//!
//! # Not being sure of oneself
//!
//! - Whoever is [called](Members::poll) late stood still, and could hear nobody: all monitored peers get their full time again.
//!   The same goes for whoever knows that its [link](Members::set_link) is down.
//! - Whoever hears nobody at all, not even an answer to its questions, is probably cut off. It acts on what it finds, for
//!   it may be the only one left on its side, but does not insist; and when it hears somebody again, it begins to
//!   judge anew.
//! - Whoever is told of the death of somebody that it has just heard itself tells that one, and waits for a moment: it may
//!   object.
//!
//! # Being wrong
//!
//! Membership is that of SWIM, by foca: a member *lives* under a generation, and death ends a life for good. Whoever learns
//! of its own death begins the next life and tells everybody: at once, but when it is told again and again, only a few
//! times while those who hear it wait for that. The others see the same process, by its [`BootId`],
//! in another life: [`Event::Returned`]. It may have answered for its addresses all the time, so it must announce them
//! afresh: [`Event::PresumedDead`]. Whoever is listed as a peer but is not alive is contacted for ever, several
//! times a second, so a partition that heals is noticed by both sides at once; whoever hears one that is held dead
//! answers by telling it so.
//!
//! foca also probes a random member each second. That catches what the monitors miss, such as four neighbours on
//! the ring that die together.
//!
//! # Coming and going
//!
//! A process introduces itself to everybody that is listed by a `Hello`. As soon as all have answered, or enough time has
//! passed, it is [settled](Members::settled); before, it should claim nothing. Until then, and for as long as it does not
//! know either what there is to take over, it only observes: nothing falls to it, nobody watches over it. Then it
//! [takes part](Members::take_part), by another life, and is a member. Two that meet when both take part already
//! did without each other, and what they announced may contradict: [`Event::Returned`]. `Hello` also carries the
//! [`Profile`] as far as it fits; the whole follows in parts (module `parts`), which are asked for whenever a frame
//! shows that an outdated one is known. Where the path from one to another is lost, its monitors relay its profile (module
//! `relays`).
//!
//! A [goodbye](Members::leave) is told to everybody directly, until each has confirmed. The others count the leaver no more
//! at once, [`Event::Leaving`], and confirm when they have taken over, while the leaver goes on answering: make before
//! break.
//!
//! One that is about to be replaced says so ([`Absence::Brief`]): it is no member meanwhile either, but
//! [away](Members::away), for at most ten seconds. Whoever takes over from it knows that its node still serves what
//! reaches it. Should anybody be lost or leave for good in that time, nobody is expected back any more: it may have
//! been one that stood in.
//!
//! # Being believed
//!
//! Datagrams are sealed (module `seal`) with a key made of a shared secret, for one receiver. Whether they are new is
//! found by a challenge and a window (module `session`): a recording of yesterday is worth nothing today. Payloads
//! are described in module `frame`. Whatever is refused is counted by reason, see [`Refusal`]. Nobody gets more than a
//! few answers before it has proved to be alive.
//!
//! A frame must come from where the cluster lists the name in it, or listed it last (module `places`); and what is for
//! somebody goes there. A process that moves is heard at its new address at once by those who knew it before.
//!
//! Generations are about the time by the wall clock. One that is a hundred years ahead is refused: nothing could come
//! after the greatest number there is, so whoever was declared dead under it could never object. Whoever is told of a
//! life of its own that it never led goes on beyond all that is believed of it when others say so: nobody can claim
//! the next of its lives before it begins.
//!
//! Who is not listed, and is known only by what others say, is asked, but is no member before it has answered; and each
//! may tell of a limited number of such (module `members::rumours`).
//!
//! What one compromised node can do, which has the secret and its own address:
//!
//! - In its own name, all that a member can: be counted while it does nothing, leave and return, and tell of itself what
//!   is not so, such as where it can announce.
//! - Of others, say that one is dead, as often as it likes. The one objects, the first times within a round trip and then
//!   three times in the time of a doubt (9 a second by `Default`), and goes on in another life, without having been missed
//!   by those who hear it. So it makes each of them tell everybody who it is by now that often, and hold that others may
//!   have taken over from it; whoever announces afresh by [`Event::PresumedDead`] or [`Event::Returned`] must limit that. Say that one is alive who is not: whoever is listed
//!   is believed to live by that until it is asked, which its monitors and the probes of SWIM do by themselves; it
//!   answers nothing, so it is found dead again, but a lie that is told for ever delays that.
//! - Name members that there are not: they are asked, count for nothing until they answer from where they are listed,
//!   and are no more than 64 at a time.
//! - Of those that it watches over, tell profiles that they never had ([`View::relayed`]). That counts with those
//!   that do not hear the one itself, and ends when they do. So whoever acts on it asks the LAN first, and a lie takes no
//!   address from one that answers; it can keep one who hears too little from taking an address over.
//! - Cost others some work: each frame must be opened, and what is asked is answered, mostly by one frame. When one was last
//!   heard is answered twice, after two frames to and from that one; a profile by its parts, eight at most. What it sends
//!   before it has proved to be alive gets 10 answers a second.
//!
//! What it cannot do by that alone: speak in the name of another, so end it by a goodbye, change what it tells of
//! itself, or answer questions for it; have it counted elsewhere than at its address; make a generation or a counter so
//! great that the one whose it is could not go on; bring back recordings; fill memory. All this supposes that the network
//! does not let it use the source address of another. Whoever can do that, and receive what is sent there, as a node can
//! that deceives a LAN by ARP, is to this module the one whose address it is. So is whoever holds the secret while a
//! process has no list yet, but then that process does nothing.
//!
//! # Presets
//!
//! | [`Preset`] | heartbeat each | doubt after | dead after | found by all within: median, longest | tolerates a stall of | packets/s and node |
//! |---|---|---|---|---|---|---|
//! | `Relaxed` | 250 ms | 1500 ms | 2000 ms | 2.1 s, 2.3 s | 1.5 s | 15 |
//! | `Default` | 100 ms | 350 ms | 550 ms | 0.6 s, 0.8 s | 300 ms | 33 |
//! | `Fast` | 50 ms | 150 ms | 230 ms | 0.27 s, 0.3 s | 80 ms | 63 |
//!
//! The tests hold these in simulation, the stalls with 2 % of frames lost and up to 20 ms of jitter. With 30 % lost
//! and nobody standing still, none of ten members was held dead in ten minutes, by any preset. A packet of the
//! steady state has about 75 bytes, and each node receives as many as it sends.

mod answers;
mod away;
mod config;
mod contact;
mod event;
#[cfg(test)]
mod fixtures;
mod frame;
mod goodbye;
mod identity;
mod io;
mod members;
mod monitor;
mod news;
mod other_keys;
mod parts;
mod peer;
mod places;
mod profile;
mod rebirths;
mod relays;
mod ring;
mod seal;
mod session;
mod settle;
mod swim;

pub use away::Absence;
pub use config::{Config, Preset, Timing};
pub use event::Event;
pub use io::{LinkState, Refusal, Transmit};
pub use members::Members;
pub use monitor::Counters;
pub use news::{News, Reporter, View};
pub use other_keys::OtherKeys;
pub use profile::{Profile, ProfileError};
pub use seal::{BootId, Key, KeyError, Keys, Proof};
