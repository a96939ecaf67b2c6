//! Echo packets (RFC 5880 section 6.4). What is in them is nobody's business but the sender's.

use std::num::NonZeroU32;

/// Octets that an echo packet has.
pub const LENGTH: usize = 16;

/// What is sent to the peer, to be sent back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// How this end calls the session.
    pub discriminator: NonZeroU32,
    /// Which echo packet of the session it is.
    pub sequence: u32,
    /// Known to this session alone, so that nobody can feign a working path without seeing its packets.
    pub token: u64,
}

impl Echo {
    /// Reads what came back. `None`: not one of ours.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
        let (words, _) = bytes.as_chunks::<4>();
        let [discriminator, sequence, high, low] = words else { return None };
        let word = |bytes: &[u8; 4]| u32::from_be_bytes(*bytes);
        Some(Self {
            discriminator: NonZeroU32::new(word(discriminator))?,
            sequence: word(sequence),
            token: u64::from(word(high)) << 32 | u64::from(word(low)),
        })
    }

    /// Writes it.
    pub fn emit(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..4].copy_from_slice(&self.discriminator.get().to_be_bytes());
        bytes[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[8..].copy_from_slice(&self.token.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_are_written_and_read() {
        let echo = Echo { discriminator: NonZeroU32::MIN, sequence: 2, token: u64::MAX - 3 };
        assert_eq!(Echo::parse(&echo.emit()), Some(echo));
        assert_eq!(Echo::parse(&echo.emit()[1..]), None);
        assert_eq!(Echo::parse(&[0; LENGTH]), None);
    }
}
