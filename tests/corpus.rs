//! Every input that fuzzing found worth keeping, read once more. `fuzz/README.md` says how more are found.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "../fuzz/frames.rs"]
mod frames;
#[path = "../fuzz/letters.rs"]
mod letters;

use protocol::frame::{ClientFrame, ServerFrame};
use std::{fs, path::Path};

fn replay(target: &str, read: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut n_read = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        // Which one it was is in no panic of its own.
        let whole = std::panic::catch_unwind(|| read(&bytes));
        assert!(whole.is_ok(), "{}", path.display());
        n_read += 1;
    }
    assert!(n_read >= 20, "{target}: {n_read} inputs are no corpus");
}

#[test]
fn frames_of_clients_are_read_or_refused() {
    replay("client_frames", frames::hold::<ClientFrame>);
}

#[test]
fn frames_of_servers_are_read_or_refused() {
    replay("server_frames", frames::hold::<ServerFrame>);
}

#[test]
fn letters_of_nodes_are_read_or_refused() {
    replay("letters", letters::hold);
}
