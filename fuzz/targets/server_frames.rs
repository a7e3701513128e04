//! Bytes that a gateway, or somebody in its place, sends to a client.
#![no_main]

#[path = "../frames.rs"]
mod frames;

use protocol::frame::ServerFrame;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| frames::hold::<ServerFrame>(bytes));
