//! What an operator hears of one session: a copy of each frame, as long as there is room for it.
//!
//! ```text
//!  session ── try_send ──► queue ──► decoded, without secrets ──► lines ──► server-sent events
//!     │ full: count                                            └─► another node, which asks for more and more
//!     ▼
//!  goes on
//! ```
//!
//! The session gives away what it has in its hands; whatever costs time is done by who listens.

use axum::extract::ws::Message;
use protocol::{
    Timestamp,
    codec::Codec,
    frame::{ClientFrame, ServerFrame},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use utoipa::ToSchema;

/// Most frames that wait for a slow listener. Beyond that, they are counted instead.
const WAITING_MAX: usize = 256;
/// Longest frame that is shown whole, in bytes of JSON.
const SHOWN_BYTES_MAX: usize = 32 * 1_024;
/// What stands where a secret was.
const MASK: &str = "***";

/// The session's end of it.
#[derive(Debug)]
pub(crate) struct Tap {
    to: mpsc::Sender<Tapped>,
    n_dropped: u64,
    until: Instant,
}

/// The listener's end.
#[derive(Debug)]
pub(crate) struct Tapping {
    from: mpsc::Receiver<Tapped>,
    until: Instant,
}

/// One frame.
#[derive(Debug)]
struct Tapped {
    at: Timestamp,
    /// How many there was no room for since the one before.
    n_dropped: u64,
    seen: Seen,
}

/// Which.
#[derive(Debug)]
pub(crate) enum Seen {
    /// From its client.
    Heard(Box<ClientFrame>),
    /// From its client, and no frame.
    Rubbish(String),
    /// To its client.
    Said(Codec, Message),
}

/// One frame as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Line {
    /// When the session had it in its hands.
    pub(crate) at: Timestamp,
    /// `in` from the client, `out` to it.
    pub(crate) way: Way,
    /// How many frames were left out just before it, because the listener was too slow.
    #[serde(default, skip_serializing_if = "is_none_of_them")]
    pub(crate) n_dropped: u64,
    /// The frame, without tokens, codes and proofs; text, where it could not be read.
    #[schema(value_type = Object)]
    pub(crate) frame: serde_json::Value,
}

/// To whom a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Way {
    /// From the client.
    In,
    /// To the client.
    Out,
}

/// Why a listener hears no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Over {
    /// Its time was over.
    Time,
    /// The session ended, or has moved on.
    Session,
    /// The node it is on does not answer any more.
    Lost,
    /// The listener's own token is good no longer.
    Unauthenticated,
    /// This node leaves.
    Draining,
}

impl Way {
    /// As it is written.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

impl Over {
    /// As it is written.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Session => "session",
            Self::Lost => "lost",
            Self::Unauthenticated => "unauthenticated",
            Self::Draining => "draining",
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_none_of_them(n: &u64) -> bool {
    *n == 0
}

/// Both ends, for so long.
pub(crate) fn tap(lasts: Duration) -> (Tap, Tapping) {
    let (to, from) = mpsc::channel(WAITING_MAX);
    let until = Instant::now() + lasts;
    (Tap { to, n_dropped: 0, until }, Tapping { from, until })
}

impl Tap {
    /// Does nobody listen any more?
    pub(crate) fn is_over(&self) -> bool {
        self.to.is_closed() || Instant::now() >= self.until
    }

    /// Passes on what is seen, or counts it. False, once nobody listens.
    pub(crate) fn pass(&mut self, at: Timestamp, seen: impl FnOnce() -> Seen) -> bool {
        if self.is_over() {
            return false;
        }
        match self.to.try_reserve() {
            Ok(place) => {
                let n_dropped = std::mem::take(&mut self.n_dropped);
                place.send(Tapped { at, n_dropped, seen: seen().without_token() });
                true
            }
            Err(mpsc::error::TrySendError::Full(())) => {
                self.n_dropped += 1;
                metrics::counter!("outrider_tap_dropped_total").increment(1);
                true
            }
            Err(mpsc::error::TrySendError::Closed(())) => false,
        }
    }
}

impl Seen {
    /// A token is never anywhere but where it is verified.
    fn without_token(mut self) -> Self {
        if let Self::Heard(frame) = &mut self
            && let ClientFrame::Identify { token, .. } = &mut **frame
        {
            MASK.clone_into(token);
        }
        self
    }
}

impl Tapping {
    /// The next frame, or why there is none.
    pub(crate) async fn next(&mut self) -> Result<Line, Over> {
        match timeout_at(self.until, self.from.recv()).await {
            Ok(Some(tapped)) => Ok(tapped.line()),
            Ok(None) if Instant::now() >= self.until => Err(Over::Time),
            Ok(None) => Err(Over::Session),
            Err(_elapsed) => Err(Over::Time),
        }
    }

    /// How many frames wait.
    pub(crate) fn n_waiting(&self) -> usize {
        self.from.len()
    }
}

impl Tapped {
    fn line(self) -> Line {
        let Self { at, n_dropped, seen } = self;
        let (way, frame) = match seen {
            Seen::Heard(frame) => (Way::In, serde_json::to_value(&frame)),
            Seen::Rubbish(why) => (Way::In, Ok(serde_json::json!({ "rubbish": why }))),
            Seen::Said(codec, message) => (Way::Out, shown(codec, &message)),
        };
        let mut frame = frame.unwrap_or_else(|error| unreadable(&error.to_string()));
        mask(&mut frame);
        let n_bytes = frame.to_string().len();
        if n_bytes > SHOWN_BYTES_MAX {
            frame = serde_json::json!({ "too_large": n_bytes });
        }
        Line { at, way, n_dropped, frame }
    }
}

fn shown(codec: Codec, message: &Message) -> Result<serde_json::Value, serde_json::Error> {
    let bytes = match message {
        Message::Text(text) => text.as_bytes(),
        Message::Binary(bytes) => bytes,
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => &[],
    };
    match codec.decode_unbounded::<ServerFrame>(bytes) {
        Ok(frame) => serde_json::to_value(frame),
        Err(error) => Ok(unreadable(&error.to_string())),
    }
}

fn unreadable(why: &str) -> serde_json::Value {
    serde_json::json!({ "unreadable": why })
}

/// Puts a mask on everything that lets somebody in, or proves something.
fn mask(value: &mut serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            // A refusal's code, and a line of a fare's, say what it is.
            let is_word = fields.contains_key("message") || fields.contains_key("amount");
            for (name, value) in fields {
                if is_secret(name) && !(is_word && name == "code") && !value.is_null() {
                    *value = Value::String(MASK.to_owned());
                } else {
                    mask(value);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(mask),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Does something of that name let somebody in, or prove something?
fn is_secret(name: &str) -> bool {
    matches!(name, "token" | "quote" | "code" | "codes" | "proofs" | "pin" | "otp")
        || name.ends_with("_code")
}

#[cfg(test)]
mod tests;
