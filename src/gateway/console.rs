//! The dispatcher's console: what Vite made of `console/`, as part of the binary. Compressed once, when somebody first
//! asks for it.

use super::Gate;
use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::{MethodRouter, get},
};
use flate2::{Compression, write::GzEncoder};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    sync::Arc,
};
use tokio::{sync::OnceCell, task::spawn_blocking};

/// Name, content, and whether another content would have another name; as Vite lists what it made.
const FILES: &[(&str, &[u8], bool)] = include!("../../console/dist/files.rs");

/// Names stay the same while contents change: whoever has one asks whether it is still so.
const ASKS: &str = "no-cache";
/// Of what is called by its content there is no other.
const KEEPS: &str = "public, max-age=31536000, immutable";

pub(super) fn routes() -> Router<Arc<Gate>> {
    // Relative, so that a node may stand below another path. Browsers keep what stands behind the `#`.
    let there = || get(|| async { Redirect::temporary("console/") });
    let router = Router::new().route("/", there()).route("/console", there());
    FILES.iter().fold(router, |router, &(name, content, is_lasting)| {
        let path = if name == "index.html" { "" } else { name };
        let keeping = if is_lasting { KEEPS } else { ASKS };
        router.route(&format!("/console/{path}"), file(kind(name), content, keeping))
    })
}

/// What browsers are told that it is.
fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("css") => "text/css; charset=utf-8",
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some(_) | None => "application/octet-stream",
    }
}

fn file(
    kind: &'static str,
    content: &'static [u8],
    keeping: &'static str,
) -> MethodRouter<Arc<Gate>> {
    let served = Arc::new(OnceCell::new());
    get(move |asked: HeaderMap| {
        let served = Arc::clone(&served);
        async move {
            // A megabyte takes as long to compress as hundreds of commands take to be done: not where those are done.
            // Whoever asks meanwhile waits, and keeps no thread for that.
            let packing = || spawn_blocking(move || Served::new(kind, content, keeping));
            match served.get_or_try_init(packing).await {
                Ok(served) => served.answer(&asked),
                Err(_fell) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            }
        }
    })
}

/// A file as it is sent.
#[derive(Debug)]
struct Served {
    kind: &'static str,
    content: &'static [u8],
    /// The same, compressed; none if that could not be done.
    packed: Option<Bytes>,
    /// What it is, for whoever has it already.
    tag: HeaderValue,
    /// For how long whoever has it need not ask.
    keeping: &'static str,
}

impl Served {
    fn new(kind: &'static str, content: &'static [u8], keeping: &'static str) -> Self {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let tag = format!("W/\"{:016x}\"", hasher.finish());
        let tag = HeaderValue::from_str(&tag).expect("hexadecimal digits are fit for a header");
        Self { kind, content, packed: packed(content).ok(), tag, keeping }
    }

    fn answer(&self, asked: &HeaderMap) -> Response {
        let said = |name| asked.get(name).and_then(|it: &HeaderValue| it.to_str().ok());
        let tag = self.tag.to_str().unwrap_or_default();
        let is_known = said(header::IF_NONE_MATCH).is_some_and(|known| known.contains(tag));
        let about = [
            (header::CONTENT_TYPE, HeaderValue::from_static(self.kind)),
            (header::CACHE_CONTROL, HeaderValue::from_static(self.keeping)),
            (header::VARY, HeaderValue::from_static("accept-encoding")),
            (header::ETAG, self.tag.clone()),
        ];
        if is_known {
            return (StatusCode::NOT_MODIFIED, about).into_response();
        }
        match &self.packed {
            Some(packed) if said(header::ACCEPT_ENCODING).is_some_and(takes_gzip) => {
                (about, [(header::CONTENT_ENCODING, "gzip")], packed.clone()).into_response()
            }
            Some(_) | None => (about, self.content).into_response(),
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
        let served = Served::new("text/plain", b"what changes has another tag", ASKS);
        let mut asked = HeaderMap::new();
        assert_eq!(served.answer(&asked).status(), StatusCode::OK);
        asked.insert(header::IF_NONE_MATCH, served.tag.clone());
        assert_eq!(served.answer(&asked).status(), StatusCode::NOT_MODIFIED);
        let other = Served::new("text/plain", b"and is sent", ASKS);
        assert_eq!(other.answer(&asked).status(), StatusCode::OK);
    }

    #[test]
    fn browsers_know_what_each_file_is() {
        for (name, _, is_lasting) in FILES {
            assert_ne!(kind(name), "application/octet-stream", "{name}");
            assert!(!is_lasting || *name != "console.js", "nodes of two builds call it the same");
        }
    }
}
