//! An echo on the gateway's own sockets, limits and all, for the cases of a conformance suite.
//!
//! Says its address on standard output, and runs until it is stopped.
#![expect(clippy::print_stdout, reason = "its address is what it is asked for")]

#[path = "../../src/gateway/connections.rs"]
mod connections;
#[path = "../../src/gateway/line.rs"]
mod line;
#[expect(dead_code, reason = "sessions use the rest of it")]
#[path = "../../src/gateway/socket.rs"]
mod socket;

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use line::{Handshake, Line};
use protocol::codec::Codec;
use socket::{Heard, Socket};
use std::{io, net::Ipv4Addr, time::Duration};
use tokio_util::sync::CancellationToken;

/// As many frames as the settings' default.
const QUEUE_MAX: usize = 256;
/// More connections than any case has, and longer than any takes.
const ALLOWED: connections::Allowed =
    connections::Allowed { n_max: 1_024, head_within: Duration::from_secs(10) };

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let listener = connections::listen((Ipv4Addr::LOCALHOST, 0).into())?;
    println!("{}", listener.local_addr()?);
    let router = Router::new().route("/", get(upgrade));
    connections::serve(listener, router, ALLOWED, CancellationToken::new()).await;
    Ok(())
}

async fn upgrade(mut request: Request) -> Response {
    let handshake = match Handshake::of(&mut request) {
        Ok(handshake) => handshake,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    let (response, opening) = handshake.answer(None);
    drop(tokio::spawn(async move {
        if let Some(line) = opening.await {
            echo(line).await;
        }
    }));
    response
}

/// Gives back every message, and ends as a session does. Between two messages it rests, as sessions do that are seldom
/// heard of: that, too, must break no case.
async fn echo(line: Line) {
    let mut socket = Socket::new(line, Codec::MsgPack, QUEUE_MAX);
    socket.may_rest(true);
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
