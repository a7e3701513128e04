//! An echo on the gateway's own sockets, limits and all, for the cases of a conformance suite.
//!
//! Says its address on standard output, and runs until it is stopped.
#![expect(clippy::print_stdout, reason = "its address is what it is asked for")]

#[expect(dead_code, reason = "sessions use the rest of it")]
#[path = "../../src/gateway/socket.rs"]
mod socket;

use axum::{
    Router,
    extract::ws::{WebSocket, WebSocketUpgrade},
    routing::get,
};
use protocol::codec::Codec;
use socket::{Heard, Socket};
use std::{io, net::Ipv4Addr};
use tokio::net::TcpListener;

/// As many frames as the settings' default.
const QUEUE_MAX: usize = 256;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", listener.local_addr()?);
    let upgrade = async |web: WebSocketUpgrade| socket::bounded(web).on_upgrade(echo);
    axum::serve(listener, Router::new().route("/", get(upgrade))).await
}

/// Gives back every message, and ends as a session does.
async fn echo(web: WebSocket) {
    let mut socket = Socket::new(web, Codec::MsgPack, QUEUE_MAX);
    let code = loop {
        match socket.hear_as(|_codec, message| Heard::Frame(message)).await {
            Heard::Frame(message) => {
                if socket.say(message).is_err() {
                    break 1013;
                }
            }
            Heard::Sign | Heard::Written => {}
            Heard::TooLarge => break 1009,
            Heard::Broken(code) => break code,
            Heard::Rubbish(_) | Heard::Left | Heard::Gone => break 1000,
        }
    };
    socket.close(None, code).await;
}
