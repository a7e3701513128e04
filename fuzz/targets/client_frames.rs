//! Bytes that a stranger sends to a gateway.
#![no_main]

#[path = "../frames.rs"]
mod frames;

use protocol::frame::ClientFrame;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| frames::hold::<ClientFrame>(bytes));
