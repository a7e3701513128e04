//! Bytes that one node sends to another.
#![no_main]

#[path = "../letters.rs"]
mod letters;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| letters::hold(bytes));
