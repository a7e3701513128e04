//! The dispatcher's console: what Vite made of `console/`, as part of the binary.

use super::{
    Gate,
    served::{ASKS, KEEPS, Sent, served},
};
use axum::{Router, body::Bytes, http::HeaderValue, response::Redirect, routing::get};
use std::{iter, sync::Arc};

/// Name, content, and whether another content would have another name; as Vite lists what it made.
const FILES: &[(&str, &[u8], bool)] = include!("../../console/dist/files.rs");

/// `early`: what its script asks for first of all beside what every node has, by paths from the root.
pub(super) fn routes(early: &[&str]) -> Router<Arc<Gate>> {
    // Relative, so that a node may stand below another path. Browsers keep what stands behind the `#`.
    let there = || get(|| async { Redirect::temporary("console/") });
    let router = Router::new().route("/", there()).route("/console", there());
    FILES.iter().fold(router, |router, &(name, content, is_lasting)| {
        let is_page = name == "index.html";
        let sent = Sent {
            kind: kind(name),
            content: Bytes::from_static(content),
            keeping: if is_lasting { KEEPS } else { ASKS },
            next: is_page.then(|| next(early)),
        };
        let path = if is_page { "" } else { name };
        router.route(&format!("/console/{path}"), served(sent))
    })
}

/// What the page's script asks for as soon as it is there. So browsers ask for it together with the script: a round trip
/// less. As `fetch` asks, or they would ask twice.
fn next(early: &[&str]) -> HeaderValue {
    let ours = iter::once("basemap.json".to_owned());
    let links: Vec<String> = ours
        .chain(early.iter().map(|path| format!("..{path}")))
        .map(|path| format!("<{path}>; rel=preload; as=fetch; crossorigin=anonymous"))
        .collect();
    HeaderValue::from_str(&links.join(", ")).expect("our own paths are fit for a header")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_know_what_each_file_is() {
        for (name, _, is_lasting) in FILES {
            assert_ne!(kind(name), "application/octet-stream", "{name}");
            assert!(!is_lasting || *name != "console.js", "nodes of two builds call it the same");
        }
    }

    #[test]
    fn what_the_script_asks_for_is_found_from_its_page() {
        let links = next(&["/city.json"]);
        let links: Vec<&str> = links.to_str().unwrap().split(", ").collect();
        assert!(links[0].starts_with("<basemap.json>;"), "{links:?}");
        assert!(links[1].starts_with("<../city.json>;"), "{links:?}");
    }
}
