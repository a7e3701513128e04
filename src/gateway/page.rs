//! The dispatcher's page: plain files that are part of the binary.

use super::Gate;
use axum::{Router, http::header, response::IntoResponse, routing::get};
use std::sync::Arc;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! files {
    ($($kind:ident $name:literal),+ $(,)?) => {
        [$((concat!("/", $name), $kind, include_str!(concat!("../../page/", $name)))),+]
    };
}

/// Path, type and content.
const FILES: [(&str, &str, &str); 21] = files![
    CSS "app.css",
    JS "badge.js",
    JS "board.js",
    JS "camera.js",
    JS "describe.js",
    JS "dom.js",
    SVG "favicon.svg",
    JS "glyph.js",
    JS "ground.js",
    HTML "index.html",
    JS "inspector.js",
    JS "main.js",
    JS "map.js",
    JS "overview.js",
    JS "search.js",
    JS "sign_in.js",
    JS "socket.js",
    JS "sprites.js",
    JS "status.js",
    JS "ticker.js",
    JS "vehicles.js",
];

pub(super) fn routes() -> Router<Arc<Gate>> {
    let index = FILES.iter().find(|(path, ..)| *path == "/index.html");
    let (_, _, index) = index.copied().expect("the page has an index");
    let file = |kind: &'static str, content: &'static str| {
        get(move || async move {
            let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")];
            (headers, content).into_response()
        })
    };
    FILES
        .into_iter()
        .fold(Router::new(), |router, (path, kind, content)| {
            router.route(path, file(kind, content))
        })
        .route("/", file(HTML, index))
}
