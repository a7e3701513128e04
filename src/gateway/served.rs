//! What is the same for whoever asks, as long as this process lives. Compressed once, when somebody first asks for it.

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use flate2::{Compression, write::GzEncoder};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    sync::Arc,
};
use tokio::{sync::OnceCell, task::spawn_blocking};

/// Names stay the same while contents change: whoever has one asks whether it is still so.
pub(crate) const ASKS: &str = "no-cache";
/// Of what is called by its content there is no other.
pub(super) const KEEPS: &str = "public, max-age=31536000, immutable";

/// What is sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// What browsers are told that it is.
    pub(crate) kind: &'static str,
    pub(crate) content: Bytes,
    /// For how long whoever has it need not ask again.
    pub(crate) keeping: &'static str,
    /// What whoever has it asks for next: where a line is slow, browsers win by asking before they have read it.
    pub(crate) next: Option<HeaderValue>,
}

/// Sends it to whoever asks.
pub(crate) fn served<S: Clone + Send + Sync + 'static>(sent: Sent) -> MethodRouter<S> {
    let served = Arc::new(OnceCell::new());
    get(move |asked: HeaderMap| {
        let (sent, served) = (sent.clone(), Arc::clone(&served));
        async move {
            // A megabyte takes as long to compress as hundreds of commands take to be done: not where those are done.
            // Whoever asks meanwhile waits, and keeps no thread for that.
            let packing = || spawn_blocking(move || Served::new(sent));
            match served.get_or_try_init(packing).await {
                Ok(served) => served.answer(&asked),
                Err(_fell) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            }
        }
    })
}

/// The same, as it goes out.
#[derive(Debug)]
struct Served {
    sent: Sent,
    /// Its content, compressed; none if that could not be done.
    packed: Option<Bytes>,
    /// What it is, for whoever has it already.
    tag: HeaderValue,
}

impl Served {
    fn new(sent: Sent) -> Self {
        let mut hasher = DefaultHasher::new();
        sent.content.hash(&mut hasher);
        let tag = format!("W/\"{:016x}\"", hasher.finish());
        let tag = HeaderValue::from_str(&tag).expect("hexadecimal digits are fit for a header");
        Self { packed: packed(&sent.content).ok(), tag, sent }
    }

    fn answer(&self, asked: &HeaderMap) -> Response {
        let said = |name| asked.get(name).and_then(|it: &HeaderValue| it.to_str().ok());
        let tag = self.tag.to_str().unwrap_or_default();
        let is_known = said(header::IF_NONE_MATCH).is_some_and(|known| known.contains(tag));
        let mut about = HeaderMap::from_iter([
            (header::CONTENT_TYPE, HeaderValue::from_static(self.sent.kind)),
            (header::CACHE_CONTROL, HeaderValue::from_static(self.sent.keeping)),
            (header::VARY, HeaderValue::from_static("accept-encoding")),
            (header::ETAG, self.tag.clone()),
        ]);
        if let Some(next) = &self.sent.next {
            about.insert(header::LINK, next.clone());
        }
        if is_known {
            return (StatusCode::NOT_MODIFIED, about).into_response();
        }
        match &self.packed {
            Some(packed) if said(header::ACCEPT_ENCODING).is_some_and(takes_gzip) => {
                (about, [(header::CONTENT_ENCODING, "gzip")], packed.clone()).into_response()
            }
            Some(_) | None => (about, self.sent.content.clone()).into_response(),
        }
    }
}

fn packed(content: &[u8]) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    Ok(encoder.finish()?.into())
}

/// Does an `Accept-Encoding` list gzip, and not only to refuse it?
fn takes_gzip(accepted: &str) -> bool {
    accepted.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let is_refused = parts.any(|it| matches!(it, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        is_gzip && !is_refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content: &'static str) -> Served {
        let content = Bytes::from_static(content.as_bytes());
        Served::new(Sent { kind: "text/plain", content, keeping: ASKS, next: None })
    }

    #[test]
    fn gzip_is_taken_by_whoever_lists_it_without_refusing_it() {
        for accepted in ["gzip", "br, gzip;q=0.8", "deflate,GZIP ; q=1"] {
            assert!(takes_gzip(accepted), "{accepted}");
        }
        for accepted in ["", "br", "gzip;q=0", "x-gzip", "identity, gzip; q=0.0"] {
            assert!(!takes_gzip(accepted), "{accepted}");
        }
    }

    #[test]
    fn what_is_known_is_not_sent_again() {
        let served = text("what changes has another tag");
        let mut asked = HeaderMap::new();
        assert_eq!(served.answer(&asked).status(), StatusCode::OK);
        asked.insert(header::IF_NONE_MATCH, served.tag.clone());
        assert_eq!(served.answer(&asked).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(text("and is sent").answer(&asked).status(), StatusCode::OK);
    }
}
