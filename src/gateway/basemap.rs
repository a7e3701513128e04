//! Real streets for dispatchers' maps: an archive of tiles that the node itself serves, piece by piece, or a style that
//! browsers fetch from somebody else, who is then named in their policy. Without either nobody but the node is asked.

use super::Gate;
use crate::settings::MapSettings;
use axum::{
    Json, Router,
    extract::Request,
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, get_service},
};
use protocol::{Code, Point, Refused};
use serde::Serialize;
use std::{
    fs::File,
    io::{self, ErrorKind, Read},
    path::{Path, PathBuf},
    sync::Arc,
};
use thiserror::Error;
use tower_http::{services::ServeFile, set_header::SetResponseHeaderLayer};

/// How an archive begins.
const HEADER_BYTES: usize = 127;
type Header = [u8; HEADER_BYTES];
/// "PMTiles", and the version.
const MAGIC: &[u8; 8] = b"PMTiles\x03";
/// How the directories and metadata are compressed, and how the tiles are.
const COMPRESSIONS: [usize; 2] = [97, 98];
/// Not known, not at all, or by gzip: what a browser undoes. Brotli (3) and Zstandard (4) it does not.
const FOR_BROWSERS: [u8; 3] = [0, 1, 2];
/// What a tile is: 1 is a vector tile (MVT).
const TILE_TYPE: usize = 99;
const MVT: u8 = 1;
/// What it shows first, in ten-millionths of a degree.
const CENTER_LON: usize = 119;
const CENTER_LAT: usize = 123;

/// The largest piece of an archive that is sent at once, in bytes: a tile, or a directory of tiles, is hardly ever a quarter of it.
const PIECE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What there is to draw beneath the marks.
#[derive(Debug)]
pub(super) struct Basemap {
    source: Option<Source>,
    archive: PathBuf,
    origins: Vec<String>,
}

/// What a console is told of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    Archive { center: Point },
    Style(String),
}

/// An archive that cannot be served.
#[derive(Debug, Error)]
pub(crate) enum ArchiveError {
    /// It is not there, or not ours to read.
    #[error("cannot be read: {0}")]
    Unread(#[from] io::Error),
    /// It is something else.
    #[error("is no PMTiles archive of version 3")]
    Foreign,
    /// It holds pictures, or nothing known.
    #[error("holds no vector tiles (MVT)")]
    Pictures,
    /// No browser could read it.
    #[error("is compressed as browsers do not know it: by gzip, or not at all")]
    Compressed,
}

impl Basemap {
    /// Looks whether what is set can be served.
    ///
    /// # Errors
    /// The archive is not there, or no archive of vector tiles.
    pub(super) fn open(settings: &MapSettings) -> Result<Self, ArchiveError> {
        let MapSettings { archive, style_url, .. } = settings;
        let source = if !archive.as_os_str().is_empty() {
            Some(Source::Archive { center: read_header(archive)? })
        } else if !style_url.is_empty() {
            Some(Source::Style(style_url.clone()))
        } else {
            None
        };
        Ok(Self { source, archive: archive.clone(), origins: settings.origins() })
    }

    /// What consoles are told of it, and the archive, if there is one, by ranges of its bytes.
    pub(super) fn routes(&self) -> Router<Arc<Gate>> {
        let told = Json(self.source.clone());
        let router = Router::new().route("/console/basemap.json", get(move || async move { told }));
        let router = match &self.source {
            Some(Source::Archive { .. }) => {
                let archive = get_service(ServeFile::new(&self.archive));
                let archive = archive.route_layer(middleware::from_fn(by_pieces));
                router.route("/console/basemap.pmtiles", archive)
            }
            Some(Source::Style(_)) | None => router,
        };
        // As all that the console is made of: whoever has it asks whether it is still so.
        let asks = HeaderValue::from_static("no-cache");
        router.route_layer(SetResponseHeaderLayer::overriding(header::CACHE_CONTROL, asks))
    }

    /// What a page of ours may do in a browser: ask this node, and where its streets come from.
    pub(super) fn policy(&self) -> HeaderValue {
        let others: String = self.origins.iter().map(|it| format!(" {it}")).collect();
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:{others}; \
             connect-src 'self'{others}; font-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        );
        HeaderValue::from_str(&policy).expect("origins that were checked are fit for a header")
    }
}

/// Sends nobody all of it: an archive may be of gigabytes, and those who read them slowly would keep others out.
async fn by_pieces(request: Request, next: Next) -> Response {
    let range = request.headers().get(header::RANGE).and_then(|it| it.to_str().ok());
    let is_piece = range.and_then(piece_bytes).is_some_and(|n| n <= PIECE_BYTES_MAX);
    if request.method() == Method::HEAD || is_piece {
        return next.run(request).await;
    }
    let message = format!("ask for a range of at most {PIECE_BYTES_MAX} bytes");
    let refused = Refused::new(Code::Invalid, message);
    (StatusCode::RANGE_NOT_SATISFIABLE, Json(refused)).into_response()
}

/// How many bytes a range has; nothing, if it is several, or does not say where it begins and ends.
fn piece_bytes(range: &str) -> Option<u64> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    last.checked_sub(first)?.checked_add(1)
}

/// Where the map in this file begins.
fn read_header(archive: &Path) -> Result<Point, ArchiveError> {
    let mut header = [0; HEADER_BYTES];
    match File::open(archive)?.read_exact(&mut header) {
        Ok(()) => center_of(&header),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(ArchiveError::Foreign),
        Err(error) => Err(error.into()),
    }
}

fn center_of(header: &Header) -> Result<Point, ArchiveError> {
    if !header.starts_with(MAGIC) {
        return Err(ArchiveError::Foreign);
    }
    if header[TILE_TYPE] != MVT {
        return Err(ArchiveError::Pictures);
    }
    if COMPRESSIONS.iter().any(|at| !FOR_BROWSERS.contains(&header[*at])) {
        return Err(ArchiveError::Compressed);
    }
    let (lat, lon) = (degrees(header, CENTER_LAT), degrees(header, CENTER_LON));
    Point::new(lat, lon).map_err(|_out_of_range| ArchiveError::Foreign)
}

fn degrees(header: &Header, at: usize) -> f64 {
    let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
    f64::from(i32::from_le_bytes(bytes)) / 1e7
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive of vector tiles around Kigali, without any.
    fn archive() -> Header {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(MAGIC);
        (header[97], header[98], header[TILE_TYPE]) = (2, 2, MVT);
        header[CENTER_LON..][..4].copy_from_slice(&300_619_000_i32.to_le_bytes());
        header[CENTER_LAT..][..4].copy_from_slice(&(-19_441_000_i32).to_le_bytes());
        header
    }

    fn settings(archive: PathBuf, style_url: &str) -> MapSettings {
        MapSettings { archive, style_url: style_url.to_owned(), style_origins: Vec::new() }
    }

    #[test]
    fn an_archive_says_where_it_is() {
        assert_eq!(center_of(&archive()).unwrap(), Point { lat: -1.9441, lon: 30.0619 });
    }

    #[test]
    fn what_no_browser_could_draw_is_refused_in_words() {
        let refused = |at: usize, value: u8| {
            let mut header = archive();
            header[at] = value;
            center_of(&header).unwrap_err().to_string()
        };
        assert_eq!(refused(0, b'p'), "is no PMTiles archive of version 3");
        assert_eq!(refused(7, 2), "is no PMTiles archive of version 3");
        assert_eq!(refused(TILE_TYPE, 2), "holds no vector tiles (MVT)");
        for at in COMPRESSIONS {
            assert!(refused(at, 4).starts_with("is compressed"));
        }
    }

    #[test]
    fn a_file_is_read_and_one_that_is_none_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("city.pmtiles");
        std::fs::write(&file, archive()).unwrap();
        assert!(Basemap::open(&settings(file.clone(), "")).unwrap().source.is_some());
        std::fs::write(&file, "PMTiles").unwrap();
        let open = |file| Basemap::open(&settings(file, "")).unwrap_err();
        assert!(matches!(open(file), ArchiveError::Foreign));
        assert!(matches!(open(dir.path().join("none")), ArchiveError::Unread(_)));
        assert!(matches!(open(dir.path().to_owned()), ArchiveError::Unread(_)));
    }

    #[test]
    fn a_piece_says_where_it_begins_and_ends() {
        assert_eq!(piece_bytes("bytes=0-126"), Some(127));
        assert_eq!(piece_bytes("bytes=9-9"), Some(1));
        for range in ["bytes=9-", "bytes=-9", "bytes=9-8", "bytes=0-1,4-5", "0-9", "bytes=a-b"] {
            assert_eq!(piece_bytes(range), None, "{range}");
        }
        assert_eq!(piece_bytes(&format!("bytes=0-{}", u64::MAX)), None);
    }

    #[test]
    fn only_where_a_style_comes_from_is_added_to_the_policy() {
        let policy = |style: &str| {
            let basemap = Basemap::open(&settings(PathBuf::new(), style)).unwrap();
            basemap.policy().to_str().unwrap().to_owned()
        };
        assert!(!policy("").contains("http"));
        let policy = policy("https://maps.example.org:8443/style.json?key=1");
        assert!(policy.contains("connect-src 'self' https://maps.example.org:8443;"), "{policy}");
        assert!(policy.contains("script-src 'self';"), "{policy}");
    }

    #[test]
    fn what_consoles_are_told_is_as_they_read_it() {
        let told = |source: Option<Source>| serde_json::to_string(&source).unwrap();
        assert_eq!(told(None), "null");
        assert_eq!(told(Some(Source::Style("https://a/b".into()))), r#"{"style":"https://a/b"}"#);
        let archive = Source::Archive { center: Point { lat: -1.5, lon: 30.0 } };
        assert_eq!(told(Some(archive)), r#"{"archive":{"center":{"lat":-1.5,"lon":30.0}}}"#);
    }
}
