//! The archive of tiles that a node serves to consoles, piece by piece.

use crate::{node::Node, rest::assert_refused};

#[tokio::test]
async fn an_archive_is_sent_by_pieces_and_to_nobody_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("city.pmtiles");
    // Its header says that it is of version 3, of vector tiles, and nothing else; then come eight megabytes.
    let mut archive = vec![0; 8 << 20];
    archive[..8].copy_from_slice(b"PMTiles\x03");
    archive[99] = 1;
    std::fs::write(&file, &archive).unwrap();
    let node = Node::with(&[("MAP__ARCHIVE", file.to_str().unwrap())]);
    let http = reqwest::Client::new();
    let ask = |range: &str| {
        let asked = http.get(node.url("/console/basemap.pmtiles"));
        if range.is_empty() { asked } else { asked.header("range", range) }
    };
    let piece = ask("bytes=0-6").send().await.unwrap();
    assert_eq!((piece.status().as_u16(), piece.text().await.unwrap().as_str()), (206, "PMTiles"));
    for range in ["", "bytes=0-", "bytes=-7", "bytes=0-1,3-4", "bytes=0-4194304", "rubbish"] {
        assert_refused(ask(range).send().await.unwrap(), 416, "invalid").await;
    }
    let whole = http.head(node.url("/console/basemap.pmtiles")).send().await.unwrap();
    assert!(whole.status().is_success());
    let posted = http.post(node.url("/console/basemap.pmtiles")).send().await.unwrap();
    assert_refused(posted, 405, "invalid").await;
}
