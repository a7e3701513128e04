//! What holds of any bytes from another node: they are read or not, and what was read is written the same.

use actors::cluster::envelope::{Bundle, Envelope, Notice, Reply, Request, decode, encode};
use serde::{Serialize, de::DeserializeOwned};

/// As a node reads a bundle, and what is in its envelopes.
pub(crate) fn hold(bytes: &[u8]) {
    if let Some(bundle) = again::<Bundle>(bytes) {
        for envelope in &bundle.envelopes {
            match envelope {
                Envelope::Request { body, .. } => drop(again::<Request>(body)),
                Envelope::Reply { body, .. } => drop(again::<Reply>(body)),
                Envelope::Notice { body } => drop(again::<Notice>(body)),
            }
        }
    }
    drop((again::<Request>(bytes), again::<Reply>(bytes), again::<Notice>(bytes)));
}

fn again<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let read = decode::<T>(bytes)?;
    let written = encode(&read);
    let again = decode::<T>(&written).expect("what was written can be read");
    // Bytes, because a number that is none is not equal to itself.
    assert_eq!(written, encode(&again), "it does not say the same");
    Some(read)
}
