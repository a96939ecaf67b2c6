//! Keys, and the outer form of a datagram.
//!
//! ```text
//! octets   0        1        2..6     6..22    22..30
//!        +--------+--------+--------+--------+---------+-----------------+----------+
//!        | version| form   | key id | boot   | counter | payload         | tag (16) |
//!        +--------+--------+--------+--------+---------+-----------------+----------+
//!        '--------------- in the clear ----------------'---- sealed -----'
//! ```
//!
//! Integers are big-endian. Form 1 is sealed with ChaCha20-Poly1305 (RFC 8439); form 0 has neither seal nor tag
//! and a key id of zero. The key is derived by HKDF-SHA256 (RFC 5869) from the shared secret with the sender's
//! boot id as salt, the nonce is the sender's counter, which grows with every frame to anybody: so no nonce
//! is used twice with one key, and nothing must be remembered over a restart. What is in the clear and the name of
//! the receiver are authenticated with it: a frame for one member is of no use with another.

use std::collections::BTreeMap;
use std::fmt;

use objects::NodeName;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use ring::hmac;

use crate::Refusal;

const VERSION: u8 = 1;
const OPEN: u8 = 0;
const SEALED: u8 = 1;
const HEADER: usize = 30;
const TAG: usize = 16;
/// What a frame takes more than its payload, in bytes.
pub(crate) const OVERHEAD: usize = HEADER + TAG;
/// Derived keys that are kept. Each is of somebody who knew a secret, so restarts alone fill this.
const CACHED: usize = 1024;

/// Tells one start of a process from another. Also the salt of its keys, so it must never repeat: draw all
/// bits at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct BootId(pub u128);

/// A shared secret that frames are sealed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    id: KeyId,
    secret: Vec<u8>,
}

type KeyId = [u8; 4];

/// Shows that somebody knows a [`Key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Proof(pub [u8; 32]);

/// A secret is no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret of {0} bytes is too short: at least {min} are needed", min = Key::MIN)]
pub struct KeyError(usize);

impl Key {
    /// The least length of a secret, in bytes.
    pub const MIN: usize = 16;

    /// The key made of `secret`: any bytes, text or not, that nobody can guess. Everything else is derived
    /// from them, so they need not be of a certain length or form.
    pub fn new(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < Self::MIN {
            return Err(KeyError(secret.len()));
        }
        let mut id = KeyId::default();
        expand(&Salt::new(HKDF_SHA256, &[]).extract(secret), b"ferrolb gossip key id", &mut id);
        Ok(Self { id, secret: secret.to_vec() })
    }

    /// What only somebody who knows the secret can say to `challenge`, which nobody was asked before (HMAC-SHA256, RFC 2104).
    /// `purpose` keeps what is said for one end from being of use for another.
    pub fn prove(&self, purpose: &str, challenge: &[u8]) -> Proof {
        let key = self.proving(purpose);
        let tag = hmac::sign(&key, challenge);
        Proof(tag.as_ref().try_into().expect("a tag of SHA-256 has 32 bytes"))
    }

    /// Whether that was said by somebody who knows the secret. It takes as long whether or not it was.
    pub fn proves(&self, purpose: &str, challenge: &[u8], proof: &Proof) -> bool {
        hmac::verify(&self.proving(purpose), challenge, &proof.0).is_ok()
    }

    fn proving(&self, purpose: &str) -> hmac::Key {
        let mut key = [0; 32];
        expand(&Salt::new(HKDF_SHA256, b"ferrolb proof").extract(&self.secret), purpose.as_bytes(), &mut key);
        hmac::Key::new(hmac::HMAC_SHA256, &key)
    }

    fn derive(&self, boot: BootId) -> LessSafeKey {
        let mut key = [0; 32];
        let prk = Salt::new(HKDF_SHA256, &boot.0.to_be_bytes()).extract(&self.secret);
        expand(&prk, b"ferrolb gossip frames", &mut key);
        LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key).expect("the key is of the right length"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:08x})", u32::from_be_bytes(self.id))
    }
}

/// The keys in use: the first seals, all open. Without any, frames are not sealed.
pub type Keys = Vec<Key>;

/// FrameEncryption what is sent and opens what is received.
#[derive(Debug)]
pub(crate) struct FrameEncryption {
    name: NodeName,
    boot: BootId,
    counter: u64,
    keys: Keys,
    own: Option<LessSafeKey>,
    derived: BTreeMap<(KeyId, BootId), LessSafeKey>,
}

/// A datagram whose seal held.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) boot: BootId,
    pub(crate) counter: u64,
    pub(crate) payload: Vec<u8>,
}

impl FrameEncryption {
    /// For the process `boot` that listens to `name`.
    pub(crate) fn new(name: NodeName, boot: BootId, keys: Keys) -> Self {
        let mut encryption =
            Self { name, boot, counter: 0, keys: Vec::new(), own: None, derived: BTreeMap::new() };
        encryption.set_keys(keys);
        encryption
    }

    /// The counter goes on, so no nonce repeats when a key comes back.
    pub(crate) fn set_keys(&mut self, keys: Keys) {
        self.own = keys.first().map(|key| key.derive(self.boot));
        self.derived.clear();
        self.keys = keys;
    }

    /// The datagram with `payload` for `receiver`.
    pub(crate) fn seal(&mut self, receiver: &NodeName, payload: &[u8]) -> Vec<u8> {
        self.counter += 1;
        let mut frame = Vec::with_capacity(payload.len() + OVERHEAD);
        let (form, id) = self.keys.first().map_or((OPEN, KeyId::default()), |key| (SEALED, key.id));
        frame.extend([VERSION, form]);
        frame.extend(id);
        frame.extend(self.boot.0.to_be_bytes());
        frame.extend(self.counter.to_be_bytes());
        frame.extend(payload);
        if let Some(key) = &self.own {
            let (header, body) = frame.split_at_mut(HEADER);
            let tag = key
                .seal_in_place_separate_tag(nonce(self.counter), associated(header, receiver), body)
                .expect("frames are short");
            frame.extend(tag.as_ref());
        }
        frame
    }

    /// What is in a datagram that came for us.
    pub(crate) fn open(&mut self, frame: &[u8]) -> Result<Opened, Refusal> {
        let (header, body) = frame.split_at_checked(HEADER).ok_or(Refusal::Malformed)?;
        if header[0] != VERSION {
            return Err(Refusal::Version);
        }
        let id: KeyId = array(&header[2..6]);
        let boot = BootId(u128::from_be_bytes(array(&header[6..22])));
        let counter = u64::from_be_bytes(array(&header[22..30]));
        let payload = match (header[1], self.keys.is_empty()) {
            (OPEN, true) => body.to_vec(),
            (SEALED, false) => self.unseal(id, boot, counter, header, body)?,
            (OPEN, false) | (SEALED, true) => return Err(Refusal::UnknownKey),
            _ => return Err(Refusal::Malformed),
        };
        Ok(Opened { boot, counter, payload })
    }

    fn unseal(
        &mut self,
        id: KeyId,
        boot: BootId,
        counter: u64,
        header: &[u8],
        body: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let mut body = body.to_vec();
        let fresh = match self.derived.get(&(id, boot)) {
            Some(_) => None,
            None => {
                let key = self.keys.iter().find(|key| key.id == id).ok_or(Refusal::UnknownKey)?;
                Some(key.derive(boot))
            }
        };
        let key = fresh.as_ref().unwrap_or_else(|| &self.derived[&(id, boot)]);
        let length = key
            .open_in_place(nonce(counter), associated(header, &self.name), &mut body)
            .map_err(|_broken| Refusal::BadSeal)?
            .len();
        body.truncate(length);
        if let Some(key) = fresh {
            // Only what held its seal is kept, so that others cannot push others out.
            if self.derived.len() >= CACHED {
                self.derived.clear();
            }
            self.derived.insert((id, boot), key);
        }
        Ok(body)
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn associated(header: &[u8], receiver: &NodeName) -> Aad<Vec<u8>> {
    Aad::from([header, receiver.as_str().as_bytes()].concat())
}

fn expand(prk: &Prk, purpose: &[u8], out: &mut [u8]) {
    struct Length(usize);
    impl ring::hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    prk.expand(&[purpose], Length(out.len()))
        .and_then(|okm| okm.fill(out))
        .expect("the length is within what HKDF gives");
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the slice is of that length")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(seed: u8) -> Key {
        Key::new(&[seed; 32]).unwrap()
    }

    fn with_keys(name: &str, boot: u128, keys: &[u8]) -> FrameEncryption {
        FrameEncryption::new(name.into(), BootId(boot), keys.iter().copied().map(key).collect())
    }

    #[test]
    fn who_knows_a_secret_can_prove_it_for_one_purpose_and_challenge() {
        let proof = key(1).prove("a", b"challenge");
        assert!(key(1).proves("a", b"challenge", &proof));
        for (seed, purpose, challenge) in [(2, "a", "challenge"), (1, "b", "challenge"), (1, "a", "another")]
        {
            assert!(!key(seed).proves(purpose, challenge.as_bytes(), &proof), "{seed} {purpose} {challenge}");
        }
        let Proof(mut broken) = proof;
        broken[31] ^= 1;
        assert!(!key(1).proves("a", b"challenge", &Proof(broken)));
    }

    #[test]
    fn the_receiver_opens_what_was_sealed_for_it() {
        let (mut a, mut b) = (with_keys("a", 7, &[1]), with_keys("b", 8, &[1]));
        for counter in 1..4 {
            let frame = a.seal(&"b".into(), b"hello");
            assert_eq!(frame.len(), 5 + OVERHEAD);
            assert!(!frame.windows(5).any(|window| window == b"hello"));
            let opened = b.open(&frame);
            assert_eq!(opened, Ok(Opened { boot: BootId(7), counter, payload: b"hello".into() }));
        }
    }

    #[test]
    fn another_receiver_opens_nothing() {
        let frame = with_keys("a", 7, &[1]).seal(&"b".into(), b"hello");
        assert_eq!(with_keys("c", 9, &[1]).open(&frame), Err(Refusal::BadSeal));
    }

    #[test]
    fn the_first_key_seals_and_every_key_opens() {
        let frame = with_keys("a", 7, &[1, 2]).seal(&"b".into(), b"hello");
        assert!(with_keys("b", 8, &[2, 1]).open(&frame).is_ok());
        assert_eq!(with_keys("b", 8, &[2]).open(&frame), Err(Refusal::UnknownKey));
    }

    #[test]
    fn a_key_that_is_withdrawn_opens_nothing_more() {
        let (mut a, mut b) = (with_keys("a", 7, &[1]), with_keys("b", 8, &[1, 2]));
        assert!(b.open(&a.seal(&"b".into(), b"hello")).is_ok());
        b.set_keys(vec![key(2)]);
        assert_eq!(b.open(&a.seal(&"b".into(), b"hello")), Err(Refusal::UnknownKey));
    }

    #[test]
    fn sealed_and_open_frames_do_not_mix() {
        let sealed = with_keys("a", 7, &[1]).seal(&"b".into(), b"hello");
        let open = with_keys("a", 7, &[]).seal(&"b".into(), b"hello");
        assert_eq!(with_keys("b", 8, &[]).open(&sealed), Err(Refusal::UnknownKey));
        assert_eq!(with_keys("b", 8, &[1]).open(&open), Err(Refusal::UnknownKey));
        assert!(with_keys("b", 8, &[]).open(&open).is_ok());
    }

    #[test]
    fn a_secret_is_any_bytes_but_not_a_few() {
        assert!(Key::new(b"15 bytes are few").is_ok());
        assert_eq!(
            Key::new(&[0; 15]).unwrap_err().to_string(),
            "a secret of 15 bytes is too short: at least 16 are needed"
        );
    }

    #[test]
    fn a_key_does_not_show_its_secret() {
        let shown = format!("{:?}", Key::new(b"swordfish swordfish").unwrap());
        assert!(shown.starts_with("Key(") && shown.len() == 13, "{shown}");
    }

    proptest! {
        #[test]
        fn no_single_change_goes_unnoticed(payload: Vec<u8>, at: prop::sample::Index, flip in 1u8..) {
            let mut frame = with_keys("a", 7, &[1]).seal(&"b".into(), &payload);
            let at = at.index(frame.len());
            frame[at] ^= flip;
            prop_assert!(with_keys("b", 8, &[1]).open(&frame).is_err());
        }

        #[test]
        fn arbitrary_bytes_are_refused(frame: Vec<u8>) {
            prop_assert!(with_keys("b", 8, &[1]).open(&frame).is_err());
        }
    }
}
