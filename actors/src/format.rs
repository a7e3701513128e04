//! Which build can read what another one wrote: events, snapshots, effects and what nodes tell each other.
//!
//! Values are MessagePack with named fields, which an older build would read by leaving out what it does
//! not know, and write again without it. So whatever needs a newer build says so in its first two bytes,
//! and an older one refuses it whole (a bundle of envelopes says it in a field of its own):
//!
//! ```text
//! format 1    <MessagePack>
//! format n    0xc1 n <MessagePack>        0xc1 begins no MessagePack
//! ```
//!
//! A format is introduced in two releases. The first reads it; the second writes it, and that only once
//! everyone alive can read it ([`Context::writes`]). A rule that has something new to say asks for that,
//! and says of each event which format it needs ([`Decider::event_format`]).
//!
//! [`Context::writes`]: crate::Context::writes
//! [`Decider::event_format`]: crate::Decider::event_format

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt;
use thiserror::Error;

/// Begins whatever is not of the first format: the one byte that begins no MessagePack.
const MARK: u8 = 0xc1;

/// What a build must know to read something. A greater one knows all that smaller ones know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Format(pub u8);

impl Format {
    /// What every build can read.
    pub const FIRST: Self = Self(1);
    /// The newest that this build reads…
    pub const READS: Self = if cfg!(feature = "next") { Self(12) } else { Self(11) };
    /// …and the newest that it writes, once everyone can read it.
    pub const WRITES: Self = if cfg!(feature = "next") { Self(12) } else { Self(11) };
    /// What it takes to know that a commit's answer may stand with its last event.
    pub const ANSWERS: Self = Self(6);
}

impl Default for Format {
    fn default() -> Self {
        Self::FIRST
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "format {}", self.0)
    }
}

/// Why bytes cannot be read.
#[derive(Debug, Error)]
pub enum Unreadable {
    /// A newer build wrote them. Reading the part that is known would lose the rest.
    #[error("it needs a build that reads {0}; this one reads up to {reads}", reads = Format::READS)]
    Newer(Format),
    /// They are not what they should be.
    #[error("not what was expected: {0}")]
    Rubbish(#[from] rmp_serde::decode::Error),
}

/// Writes something that needs `format` to be read whole.
pub fn encode<T: Serialize + ?Sized>(value: &T, format: Format) -> Vec<u8> {
    let mut bytes =
        if format > Format::FIRST { vec![MARK, format.0] } else { Vec::with_capacity(128) };
    rmp_serde::encode::write_named(&mut bytes, value).expect("plain data");
    bytes
}

/// Reads what [`encode`] wrote, and which format it needed.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, Format), Unreadable> {
    let (format, bytes) = match bytes {
        [MARK, format, bytes @ ..] => (Format(*format), bytes),
        bytes => (Format::FIRST, bytes),
    };
    if format > Format::READS {
        return Err(Unreadable::Newer(format));
    }
    Ok((rmp_serde::from_slice(bytes)?, format))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWER: Format = Format(Format::READS.0 + 1);

    #[test]
    fn the_first_format_is_bare_messagepack() {
        assert_eq!(encode(&"a", Format::FIRST), rmp_serde::to_vec_named(&"a").unwrap());
    }

    #[test]
    fn what_this_build_reads_says_which_format_it_was() {
        for format in 1..=Format::READS.0 {
            let read: (String, Format) = decode(&encode("a", Format(format))).unwrap();
            assert_eq!(read, ("a".to_owned(), Format(format)));
        }
    }

    #[test]
    fn what_is_newer_is_refused_whole() {
        let problem = decode::<String>(&encode("a", NEWER)).unwrap_err();
        assert!(matches!(problem, Unreadable::Newer(NEWER)), "{problem}");
    }

    #[test]
    fn rubbish_is_no_newer_format() {
        for bytes in [&[][..], &[MARK], &[MARK, 1], b"\x93\x01"] {
            let problem = decode::<String>(bytes).unwrap_err();
            assert!(matches!(problem, Unreadable::Rubbish(_)), "{bytes:?}: {problem}");
        }
    }
}
