//! Messages of DNS as they are used here (RFC 1035 section 4.1, RFC 6762 section 18).
//!
//! ```text
//! +----+-------+---------+---------+-------------+-------------+
//! | ID | flags | QDCOUNT | ANCOUNT |   NSCOUNT   |   ARCOUNT   |   two octets each
//! +----+-------+---------+---------+-------------+-------------+
//! | questions  | answers           | authorities | additionals |
//! +------------+-------------------+-------------+-------------+
//! ```

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::Name;

pub(crate) const A: u16 = 1;
pub(crate) const AAAA: u16 = 28;
pub(crate) const NSEC: u16 = 47;
pub(crate) const ANY: u16 = 255;
/// The class of the Internet.
pub(crate) const IN: u16 = 1;
/// In a question: the answer may come by unicast. In a record: what was known of the name and type before is wrong.
const TOP_BIT: u16 = 0x8000;

const RESPONSE: u16 = 0x8000;
const AUTHORITATIVE: u16 = 0x0400;
const TRUNCATED: u16 = 0x0200;
const OPCODE_AND_RCODE: u16 = 0x780f;
/// The most octets of a name.
const NAME: usize = 255;

/// What somebody has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// Of meaning for legacy queries only.
    pub id: u16,
    /// Whether it answers.
    pub is_response: bool,
    /// More known answers follow.
    pub is_truncated: bool,
    /// What is asked.
    pub questions: Vec<Question>,
    /// Answers; in a query, those that are known.
    pub answers: Vec<Record<'a>>,
    /// In a query, the records that are probed for.
    pub authorities: Vec<Record<'a>>,
    /// What may be wanted next.
    pub additionals: Vec<Record<'a>>,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The name, if it is one that a Service could have.
    pub name: Option<Name>,
    /// The name as it was written, in full.
    wire: Vec<u8>,
    /// The type that is wanted.
    pub kind: u16,
    /// The class that is wanted.
    pub class: u16,
    /// Whether the answer may come by unicast.
    pub unicast: bool,
}

/// A record of somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// The name, if it is one that a Service could have.
    pub name: Option<Name>,
    /// Its type.
    pub kind: u16,
    /// Its class.
    pub class: u16,
    /// For how many seconds it holds; 0: no longer.
    pub ttl: u32,
    /// Its data as they are on the wire.
    pub data: &'a [u8],
}

/// The data of one of our records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Data {
    /// An address.
    Address(IpAddr),
    /// Which kinds of addresses the name has, and that there is nothing else (RFC 6762 section 6.1).
    Only {
        /// IPv4.
        v4: bool,
        /// IPv6.
        v6: bool,
    },
}

/// One of our records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnRecord {
    pub(crate) name: Name,
    pub(crate) data: Data,
    pub(crate) ttl: u32,
    pub(crate) flush: bool,
}

/// Why a message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// It ends too early.
    #[error("it ends too early")]
    Truncated,
    /// A name is longer than names may be, or goes round in circles.
    #[error("a name that cannot be read")]
    Name,
    /// It is neither a query nor an answer without an error (RFC 6762 section 18.3 and 18.11).
    #[error("an operation that Multicast DNS does not have")]
    Operation,
}

impl<'a> Message<'a> {
    /// Reads a message.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader { bytes, at: 0 };
        let (id, flags) = (reader.half()?, reader.half()?);
        if flags & OPCODE_AND_RCODE != 0 {
            return Err(Malformed::Operation);
        }
        let [questions, answers, authorities, additionals] =
            [reader.half()?, reader.half()?, reader.half()?, reader.half()?];
        Ok(Self {
            id,
            is_response: flags & RESPONSE != 0,
            is_truncated: flags & TRUNCATED != 0,
            questions: (0..questions).map(|_| reader.question()).collect::<Result<_, _>>()?,
            answers: (0..answers).map(|_| reader.record()).collect::<Result<_, _>>()?,
            authorities: (0..authorities).map(|_| reader.record()).collect::<Result<_, _>>()?,
            additionals: (0..additionals).map(|_| reader.record()).collect::<Result<_, _>>()?,
        })
    }
}

impl Question {
    /// Whether it asks for the Internet, or for any class.
    pub(crate) fn is_of_the_internet(&self) -> bool {
        matches!(self.class, IN | ANY)
    }
}

impl Record<'_> {
    /// The address that it says its name has.
    pub fn address(&self) -> Option<IpAddr> {
        match (self.class, self.kind) {
            (IN, A) => <[u8; 4]>::try_from(self.data).ok().map(|octets| Ipv4Addr::from(octets).into()),
            (IN, AAAA) => <[u8; 16]>::try_from(self.data).ok().map(|octets| Ipv6Addr::from(octets).into()),
            _ => None,
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(length).ok_or(Malformed::Truncated)?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed::Truncated)?;
        self.at = end;
        Ok(taken)
    }

    fn half(&mut self) -> Result<u16, Malformed> {
        let octets = self.take(2)?;
        Ok(u16::from_be_bytes([octets[0], octets[1]]))
    }

    fn word(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from(self.half()?) << 16 | u32::from(self.half()?))
    }

    /// A name in full. What points elsewhere points before where it stands, and each before the last, so it ends.
    fn name(&mut self) -> Result<Vec<u8>, Malformed> {
        let mut name = Vec::new();
        let (mut at, mut before, mut end) = (self.at, self.at, None);
        loop {
            let length = *self.bytes.get(at).ok_or(Malformed::Truncated)?;
            match length {
                0 => {
                    name.push(0);
                    self.at = end.unwrap_or(at + 1);
                    return Ok(name);
                }
                1..=63 => {
                    let next = at + 1 + usize::from(length);
                    name.extend_from_slice(self.bytes.get(at..next).ok_or(Malformed::Truncated)?);
                    if name.len() >= NAME {
                        return Err(Malformed::Name);
                    }
                    at = next;
                }
                0xc0.. => {
                    let low = *self.bytes.get(at + 1).ok_or(Malformed::Truncated)?;
                    let target = usize::from(length & 0x3f) << 8 | usize::from(low);
                    if target >= before {
                        return Err(Malformed::Name);
                    }
                    end.get_or_insert(at + 2);
                    (at, before) = (target, target);
                }
                64..0xc0 => return Err(Malformed::Name),
            }
        }
    }

    fn question(&mut self) -> Result<Question, Malformed> {
        let wire = self.name()?;
        let (kind, class) = (self.half()?, self.half()?);
        let name = Name::of_wire(&wire);
        Ok(Question { name, wire, kind, class: class & !TOP_BIT, unicast: class & TOP_BIT != 0 })
    }

    fn record(&mut self) -> Result<Record<'a>, Malformed> {
        let name = Name::of_wire(&self.name()?);
        let (kind, class, ttl, length) = (self.half()?, self.half()?, self.word()?, self.half()?);
        Ok(Record { name, kind, class: class & !TOP_BIT, ttl, data: self.take(usize::from(length))? })
    }
}

/// Writes a message.
#[derive(Debug)]
struct Writer {
    bytes: Vec<u8>,
    /// Where names begin.
    names: BTreeMap<Name, u16>,
}

/// An answer for all. Ours have the id 0, and questions are not repeated (RFC 6762 section 6).
pub(crate) fn response(answers: &[OwnRecord], additionals: &[OwnRecord]) -> Vec<u8> {
    let counts = [0, answers.len(), 0, additionals.len()];
    let mut writer = Writer::new(0, RESPONSE | AUTHORITATIVE, counts);
    answers.iter().chain(additionals).for_each(|record| writer.record(record));
    writer.bytes
}

/// An answer for a resolver that knows no Multicast DNS: with its id and its questions (RFC 6762 section 6.7).
pub(crate) fn legacy_response(to: &Message<'_>, answers: &[OwnRecord]) -> Vec<u8> {
    let mut writer = Writer::new(to.id, RESPONSE | AUTHORITATIVE, [to.questions.len(), answers.len(), 0, 0]);
    for question in &to.questions {
        let at = writer.bytes.len();
        if let (Some(name), Ok(at)) = (&question.name, u16::try_from(at)) {
            writer.names.entry(name.clone()).or_insert(at);
        }
        writer.bytes.extend_from_slice(&question.wire);
        writer.halves(&[question.kind, question.class]);
    }
    answers.iter().for_each(|record| writer.record(record));
    writer.bytes
}

/// A probe for each name and its records (RFC 6762 section 8.1).
pub(crate) fn probe(names: &[(Name, Vec<OwnRecord>)]) -> Vec<u8> {
    let records = || names.iter().flat_map(|(_, records)| records);
    let mut writer = Writer::new(0, 0, [names.len(), 0, records().count(), 0]);
    for (name, _) in names {
        writer.name(name);
        writer.halves(&[ANY, IN]);
    }
    records().for_each(|record| writer.record(record));
    writer.bytes
}

/// The data of a record as they are compared, and written where no name is in them.
pub(crate) fn octets(ip: IpAddr) -> (u16, Vec<u8>) {
    match ip {
        IpAddr::V4(v4) => (A, v4.octets().to_vec()),
        IpAddr::V6(v6) => (AAAA, v6.octets().to_vec()),
    }
}

impl Writer {
    fn new(id: u16, flags: u16, counts: [usize; 4]) -> Self {
        let mut writer = Self { bytes: Vec::with_capacity(512), names: BTreeMap::new() };
        writer.halves(&[id, flags]);
        counts.iter().for_each(|count| {
            writer.halves(&[u16::try_from(*count).expect("a message of 9000 octets has fewer parts")]);
        });
        writer
    }

    fn halves(&mut self, halves: &[u16]) {
        halves.iter().for_each(|half| self.bytes.extend_from_slice(&half.to_be_bytes()));
    }

    /// A name, or where it stands already.
    fn name(&mut self, name: &Name) {
        if let Some(at) = self.names.get(name) {
            let pointer = 0xc000 | at;
            self.halves(&[pointer]);
            return;
        }
        // What stands further behind cannot be pointed at.
        if let Some(at) = u16::try_from(self.bytes.len()).ok().filter(|at| *at < 0x4000) {
            self.names.insert(name.clone(), at);
        }
        name.write(&mut self.bytes);
    }

    fn record(&mut self, OwnRecord { name, data, ttl, flush }: &OwnRecord) {
        let (kind, data) = match *data {
            Data::Address(ip) => octets(ip),
            Data::Only { v4, v6 } => {
                let mut octets = Vec::with_capacity(name.length() + 6);
                name.write(&mut octets);
                // One bit for each type, from the first; octets of zeros at the end are left out (RFC 4034 section 4.1.2).
                let first = if v4 { 0x80 >> A } else { 0 };
                let bits = if v6 { &[first, 0, 0, 0x80 >> (AAAA % 8)][..] } else { &[first][..] };
                octets.extend([0, u8::try_from(bits.len()).expect("there are four at most")]);
                octets.extend_from_slice(bits);
                (NSEC, octets)
            }
        };
        self.name(name);
        self.halves(&[kind, if *flush { IN | TOP_BIT } else { IN }]);
        self.bytes.extend_from_slice(&ttl.to_be_bytes());
        self.halves(&[u16::try_from(data.len()).expect("a name and six octets at most")]);
        self.bytes.extend_from_slice(&data);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name {
        Name::of_label(text).unwrap()
    }

    fn address(text: &str) -> OwnRecord {
        OwnRecord { name: name("web"), data: Data::Address(text.parse().unwrap()), ttl: 120, flush: true }
    }

    #[test]
    fn an_answer_is_written_as_the_rfc_has_it() {
        let only = OwnRecord { data: Data::Only { v4: true, v6: false }, ..address("192.0.2.1") };
        let bytes = response(&[address("192.0.2.1")], &[only]);
        let expected = [
            &[0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 1][..],
            b"\x03web\x05local\0\0\x01\x80\x01\0\0\0\x78\0\x04\xc0\0\x02\x01",
            b"\xc0\x0c\0\x2f\x80\x01\0\0\0\x78\0\x0e\x03web\x05local\0\0\x01\x40",
        ]
        .concat();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_name_with_ipv6_addresses_alone_says_so() {
        let data = Data::Only { v4: false, v6: true };
        let bytes = response(&[OwnRecord { data, ..address("192.0.2.1") }], &[]);
        assert_eq!(bytes[bytes.len() - 6..], [0, 4, 0, 0, 0, 8]);
    }

    #[test]
    fn a_probe_is_a_question_with_what_it_is_for() {
        let bytes = probe(&[(name("web"), vec![address("192.0.2.1"), address("2001:db8::1")])]);
        let read = Message::parse(&bytes).unwrap();
        assert!(!read.is_response);
        let [question] = &read.questions[..] else { panic!("{read:?}") };
        assert_eq!((question.name.clone(), question.kind, question.unicast), (Some(name("web")), ANY, false));
        let addresses: Vec<_> = read.authorities.iter().filter_map(Record::address).collect();
        assert_eq!(addresses, ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse::<IpAddr>().unwrap()));
    }

    #[test]
    fn a_record_that_nobody_knows_spoils_nothing() {
        let mut bytes = response(&[address("192.0.2.1"), address("192.0.2.2")], &[]);
        // The type of the first record.
        bytes[12 + 11 + 1] = 65;
        let read = Message::parse(&bytes).unwrap();
        let addresses: Vec<_> = read.answers.iter().map(Record::address).collect();
        assert_eq!(addresses, [None, Some("192.0.2.2".parse().unwrap())]);
    }

    #[test]
    fn names_that_go_round_in_circles_are_refused() {
        let header = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for name in [&b"\xc0\x0c"[..], b"\x03web\xc0\x0c", b"\xc0\x0e\xc0\x0c", b"\x40a\0", &[b'?'; 300]] {
            let message = [&header[..], name, &[0, 1, 0, 1]].concat();
            assert!(Message::parse(&message).is_err(), "{name:?}");
        }
    }

    #[test]
    fn what_is_no_query_or_answer_is_not_read() {
        for flags in [0x0800_u16, 0x8003] {
            let message = [&[0, 0][..], &flags.to_be_bytes(), &[0; 8]].concat();
            assert_eq!(Message::parse(&message), Err(Malformed::Operation));
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_read_panics(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            _ = Message::parse(&bytes);
        }
    }
}
