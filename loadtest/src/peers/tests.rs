use super::{
    dialect::{Dialect, Heard},
    figures::{Spread, median, quantile},
    fleet::spot,
    program::preset,
    spent::nanoseconds,
};
use protocol::{Point, Timestamp};
use std::{path::Path, process::Command};
use tokio_tungstenite::tungstenite::Message;

const HERE: Point = Point { lat: -1.9, lon: 30.0 };

#[test]
fn a_median_is_the_middle_and_a_quantile_is_one_of_what_was_measured() {
    assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(Vec::new()), 0.0);
    let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
    assert_eq!(quantile(hundred.clone(), 0.5), 50.0);
    assert_eq!(quantile(hundred.clone(), 0.99), 99.0);
    assert_eq!(quantile(hundred.clone(), 1.0), 100.0);
    assert_eq!(Spread::of(&hundred), Spread { median: 51.0, least: 1.0, most: 100.0 });
}

#[test]
fn time_on_a_processor_is_the_first_number() {
    assert_eq!(nanoseconds("340269 2801653 3\n"), 340_269);
    assert_eq!(nanoseconds(""), 0, "a thread that has ended");
}

#[test]
fn the_usual_stack_is_spoken_to_in_its_own_words() {
    let said = Dialect::SocketIo.position(HERE, Timestamp(7));
    let expected = r#"42["position",{"accuracy_m":5,"lat":-1.9,"lon":30.0,"sampled_at":7}]"#;
    assert_eq!(said, Message::text(expected));
    let heard =
        Dialect::SocketIo.hear(&Message::text(r#"42["offer",{"order":"order-1","lat":1}]"#));
    let yes = vec![Message::text(r#"42["accept",{"order":"order-1"}]"#)];
    assert_eq!(heard, Heard::Offer { order: "order-1".to_owned(), yes });
    let heard = Dialect::SocketIo.hear(&Message::text("2"));
    assert_eq!(heard, Heard::Sign(Message::text("3")), "a ping wants an answer");
    assert_eq!(Dialect::SocketIo.hear(&Message::text("42[]")), Heard::Other);
}

#[test]
fn every_position_is_shown_to_the_region() {
    let preset: toml::Table = preset().parse().unwrap();
    assert_eq!(preset["driver"]["relist_ms"].as_integer(), Some(0));
}

#[test]
fn drivers_are_spread_over_the_city_and_never_two_at_one_place() {
    let mut all: Vec<_> =
        (0..1_000).map(spot).map(|it| (it.lat.to_bits(), it.lon.to_bits())).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 1_000);
}

/// The peers need Node only where they are measured.
#[test]
fn the_peers_program_parses_where_there_is_node() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    let Ok(checked) = Command::new("node").arg("--check").arg(dir.join("dispatch.mjs")).output()
    else {
        return;
    };
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
