//! What every message begins with, and how a stream of octets falls into messages (RFC 4271 section 4.1).

use crate::wire::notification::Notification;

/// Octets that a header has.
pub const HEADER: usize = 19;
/// The most octets that a message has.
pub const MOST: usize = 4096;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// OPEN
    Open,
    /// UPDATE
    Update,
    /// NOTIFICATION
    Notification,
    /// KEEPALIVE
    Keepalive,
    /// ROUTE-REFRESH
    RouteRefresh,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Update => 2,
            Self::Notification => 3,
            Self::Keepalive => 4,
            Self::RouteRefresh => 5,
        }
    }

    fn of(code: u8) -> Option<Self> {
        [Self::Open, Self::Update, Self::Notification, Self::Keepalive, Self::RouteRefresh]
            .into_iter()
            .find(|kind| kind.code() == code)
    }

    /// How short and how long such a message may be.
    fn lengths(self) -> (usize, usize) {
        match self {
            Self::Open => (29, MOST),
            Self::Update | Self::RouteRefresh => (23, MOST),
            Self::Notification => (21, MOST),
            Self::Keepalive => (HEADER, HEADER),
        }
    }
}

/// A message of this kind with what `body` writes into it, which is at most [`MOST`] less [`HEADER`] octets.
pub(crate) fn message(kind: Kind, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut message = vec![0xff; 16];
    message.extend([0, 0, kind.code()]);
    body(&mut message);
    debug_assert!(message.len() <= MOST, "{kind:?} of {} octets", message.len());
    let length = u16::try_from(message.len()).expect("a message has at most 4096 octets");
    message[16..18].copy_from_slice(&length.to_be_bytes());
    message
}

/// A KEEPALIVE.
pub fn keepalive() -> Vec<u8> {
    message(Kind::Keepalive, |_| {})
}

/// The kind and the length of the message that begins with `octets`. `None` as long as its header is not complete. What is
/// wrong is to be told the peer, and nothing after it makes sense.
fn parse(octets: &[u8]) -> Option<Result<(Kind, usize), Notification>> {
    let header = octets.get(..HEADER)?;
    if header[..16].iter().any(|&octet| octet != 0xff) {
        return Some(Err(Notification::new(Notification::NOT_SYNCHRONIZED)));
    }
    let length = u16::from_be_bytes([header[16], header[17]]);
    let bad_length = || Notification::new(Notification::BAD_LENGTH).with(&length.to_be_bytes());
    let length = usize::from(length);
    if !(HEADER..=MOST).contains(&length) {
        return Some(Err(bad_length()));
    }
    let Some(kind) = Kind::of(header[18]) else {
        return Some(Err(Notification::new(Notification::BAD_TYPE).with(&header[18..])));
    };
    let (least, most) = kind.lengths();
    Some(if (least..=most).contains(&length) { Ok((kind, length)) } else { Err(bad_length()) })
}

/// Puts messages together from octets as they arrive. It holds one message that is not complete, and no more.
#[derive(Debug, Default)]
pub struct Assembly {
    part: Vec<u8>,
}

impl Assembly {
    /// Takes as many of `octets` as belong to the next message, leaves the rest, and hands that message to `each` once it is
    /// complete. `None`: all octets are taken, and the message is not complete.
    pub fn next<T>(
        &mut self,
        octets: &mut &[u8],
        each: impl FnOnce(Kind, &[u8]) -> T,
    ) -> Option<Result<T, Notification>> {
        loop {
            let (wanted, kind) = match parse(&self.part) {
                Some(Ok((kind, length))) => (length, Some(kind)),
                Some(Err(error)) => return Some(Err(error)),
                None => (HEADER, None),
            };
            let missing = wanted - self.part.len();
            if let (0, Some(kind)) = (missing, kind) {
                let result = each(kind, &self.part[HEADER..]);
                self.part.clear();
                return Some(Ok(result));
            }
            if octets.is_empty() {
                return None;
            }
            let (taken, rest) = octets.split_at(missing.min(octets.len()));
            self.part.extend_from_slice(taken);
            *octets = rest;
        }
    }

    /// What there is of a message.
    pub(crate) fn part(&self) -> &[u8] {
        &self.part
    }

    /// With this part of a message. `None`: it is a whole one, or the beginning of none.
    pub(crate) fn with(part: &[u8]) -> Option<Self> {
        let (mut assembly, mut octets) = (Self::default(), part);
        assembly.next(&mut octets, |_, _| ()).is_none().then_some(assembly)
    }

    /// Forgets what there is of a message.
    pub fn clear(&mut self) {
        self.part.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(assembly: &mut Assembly, mut octets: &[u8]) -> Vec<Result<(Kind, Vec<u8>), Notification>> {
        std::iter::from_fn(|| assembly.next(&mut octets, |kind, body| (kind, body.to_vec()))).collect()
    }

    #[test]
    fn what_is_wrong_with_a_header_is_told() {
        let mut marker = keepalive();
        marker[3] = 0;
        let with = |at: usize, octet| {
            let mut message = keepalive();
            message[at] = octet;
            message
        };
        for (message, code, data) in [
            (marker, Notification::NOT_SYNCHRONIZED, vec![]),
            (with(17, 18), Notification::BAD_LENGTH, vec![0, 18]),
            (with(17, 20), Notification::BAD_LENGTH, vec![0, 20]),
            (with(16, 0x10), Notification::BAD_LENGTH, vec![0x10, 19]),
            (with(18, 1), Notification::BAD_LENGTH, vec![0, 19]),
            (with(18, 0), Notification::BAD_TYPE, vec![0]),
            (with(18, 6), Notification::BAD_TYPE, vec![6]),
        ] {
            let expected = Notification::new(code).with(&data);
            let mut octets = &message[..];
            let found = Assembly::default().next(&mut octets, |_, _| ());
            assert_eq!(found, Some(Err(expected)));
        }
    }

    proptest! {
        #[test]
        fn messages_are_the_same_however_the_octets_arrive(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 10..4077), 0..4),
            cuts in prop::collection::vec(1_usize..5000, 1..20),
        ) {
            let stream: Vec<u8> =
                bodies.iter().flat_map(|body| message(Kind::Open, |out| out.extend(body))).collect();
            let mut assembly = Assembly::default();
            let mut found = Vec::new();
            let mut rest = &stream[..];
            for cut in cuts.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (part, after) = rest.split_at(cut.min(rest.len()));
                found.extend(all(&mut assembly, part));
                prop_assert!(assembly.part.capacity() <= 2 * MOST);
                rest = after;
            }
            let expected: Vec<_> = bodies.into_iter().map(|body| Ok((Kind::Open, body))).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn no_octets_make_it_panic(octets in prop::collection::vec(any::<u8>(), 0..200), marked: bool) {
            let marker: &[u8] = if marked { &[0xff; 16] } else { &[] };
            let octets = [marker, &octets].concat();
            let mut octets = &octets[..];
            let mut assembly = Assembly::default();
            while let Some(Ok(())) = assembly.next(&mut octets, |_, _| ()) {}
        }
    }
}
