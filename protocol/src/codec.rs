//! Frames as bytes: MessagePack for phones, JSON for people and browsers.

use crate::frame::{FRAME_BYTES_MAX, FRAME_DEPTH_MAX, SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

/// How frames are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Binary messages.
    MsgPack,
    /// Text messages.
    Json,
}

/// Bytes that are no frame.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// More than [`FRAME_BYTES_MAX`].
    #[error("frame of {bytes} bytes is larger than {FRAME_BYTES_MAX}")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// Not MessagePack, or not the frame that was expected.
    #[error("not a frame: {0}")]
    MsgPack(#[from] rmp_serde::decode::Error),
    /// Not JSON, or not the frame that was expected.
    #[error("not a frame: {0}")]
    Json(#[from] serde_json::Error),
    /// A frame, and then something else.
    #[error("something comes after the frame")]
    Trailing,
}

/// A value that cannot be written, such as a map with keys that are no text.
#[derive(Debug, Error)]
#[error("cannot be encoded: {0}")]
pub struct EncodeError(String);

impl Codec {
    /// The codec of a WebSocket subprotocol.
    pub fn of_subprotocol(name: &str) -> Option<Self> {
        match name {
            SUBPROTOCOL_MSGPACK => Some(Self::MsgPack),
            SUBPROTOCOL_JSON => Some(Self::Json),
            _ => None,
        }
    }

    /// The WebSocket subprotocol of this codec.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Self::MsgPack => SUBPROTOCOL_MSGPACK,
            Self::Json => SUBPROTOCOL_JSON,
        }
    }

    /// Writes a frame.
    pub fn encode<T: Serialize>(self, frame: &T) -> Result<Vec<u8>, EncodeError> {
        match self {
            Self::MsgPack => {
                rmp_serde::to_vec_named(frame).map_err(|error| EncodeError(error.to_string()))
            }
            Self::Json => serde_json::to_vec(frame).map_err(|error| EncodeError(error.to_string())),
        }
    }

    /// Reads a frame: all of `bytes`, no larger than [`FRAME_BYTES_MAX`], no deeper than
    /// [`FRAME_DEPTH_MAX`] (JSON: 128).
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, DecodeError> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(DecodeError::TooLarge { bytes: bytes.len() });
        }
        self.decode_unbounded(bytes)
    }

    /// Reads a frame of any size, from a server one trusts.
    pub fn decode_unbounded<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, DecodeError> {
        match self {
            Self::MsgPack => {
                // From where they lie: a reader of streams would copy each name of a field before it is looked at.
                let mut decoder = rmp_serde::Deserializer::from_read_ref(bytes);
                decoder.set_max_depth(FRAME_DEPTH_MAX);
                let frame = T::deserialize(&mut decoder)?;
                // Whatever came next, it would begin with a marker.
                match bool::deserialize(&mut decoder) {
                    Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(frame),
                    Ok(_) | Err(_) => Err(DecodeError::Trailing),
                }
            }
            Self::Json => Ok(serde_json::from_slice(bytes)?),
        }
    }
}
