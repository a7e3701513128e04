//! What holds of any bytes at all: they are read or refused, and what was read can be written and read again.

use protocol::codec::Codec;
use serde::{Serialize, de::DeserializeOwned};

/// Reads a frame as a gateway does, in both codecs.
pub(crate) fn hold<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    for codec in [Codec::MsgPack, Codec::Json] {
        let Ok(frame) = codec.decode::<T>(bytes) else { continue };
        let written = codec.encode(&frame).expect("what was read can be written");
        let again = codec.decode_unbounded::<T>(&written).expect("what was written can be read");
        // Bytes, because a number that is none is not equal to itself.
        let rewritten = codec.encode(&again).expect("what was read can be written");
        assert_eq!(written, rewritten, "{codec:?}: it does not say the same");
    }
}
