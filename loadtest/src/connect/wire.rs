//! A phone's WebSocket as bytes: a handshake and small messages, without a buffer while nothing is said.
//!
//! A million of them must fit beside the nodes they talk to. tungstenite keeps about 1 KiB for each, which
//! is right for a node and a gigabyte here; what a node says is never masked nor in fragments, so that reading
//! it takes a few lines. The clients apps hold are tested elsewhere.

use protocol::{codec::Codec, frame::Resume};
use std::{net::SocketAddr, time::Duration};

/// Larger than the answer to any handshake.
const HEAD_BYTES_MAX: usize = 8 * 1_024;
/// Larger than any message of a node.
const MESSAGE_BYTES_MAX: u64 = 1_024 * 1_024;

/// What it speaks.
pub(super) const CODEC: Codec = Codec::MsgPack;

/// Bytes that no node says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// What became of a handshake.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Not all of it is here.
    NotYet,
    /// The socket is open; so many bytes said so.
    Open(usize),
    /// The node said no.
    Refused {
        status: u16,
        /** How long to wait, if it said so. */
        retry_after: Option<Duration>,
    },
}

/// A message of a node.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// A frame.
    Frame(&'a [u8]),
    /// To be answered with the same.
    Ping(&'a [u8]),
    /// Nothing that matters.
    Pong,
    /// The last, with a code.
    Close(Option<u16>),
}

/// Asks to open a socket, with a token as apps can that are no pages: a node need not read it as a frame, of whose
/// size its buffer would stay. The key is always the same: what it proves, that the other side is no cache, is
/// known here.
pub(super) fn handshake(to: SocketAddr, token: &str, resume: Option<Resume>) -> Vec<u8> {
    let subprotocol = CODEC.subprotocol();
    let query = resume.map(|Resume { session, heard }| format!("?session={session}&heard={heard}"));
    let query = query.unwrap_or_default();
    format!(
        "GET /v1/ws{query} HTTP/1.1\r\nHost: {to}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Authorization: Bearer {token}\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    )
    .into_bytes()
}

/// Reads the answer to a handshake.
pub(super) fn answer(bytes: &[u8]) -> Result<Answer, Broken> {
    const END: &[u8] = b"\r\n\r\n";
    let Some(end) = bytes.windows(END.len()).position(|it| it == END) else {
        return if bytes.len() > HEAD_BYTES_MAX { Err(Broken) } else { Ok(Answer::NotYet) };
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| Broken)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    match status.ok_or(Broken)? {
        101 => Ok(Answer::Open(end + END.len())),
        status => {
            let retry_after = lines.find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let is_it = name.eq_ignore_ascii_case("retry-after");
                is_it.then(|| value.trim().parse().ok().map(Duration::from_secs)).flatten()
            });
            Ok(Answer::Refused { status, retry_after })
        }
    }
}

/// Reads the first message in `bytes`, and how many bytes it is; nothing, if not all of it is here.
pub(super) fn message(bytes: &[u8]) -> Result<Option<(Message<'_>, usize)>, Broken> {
    const BINARY: u8 = 0x82;
    const CLOSE: u8 = 0x88;
    const PING: u8 = 0x89;
    const PONG: u8 = 0x8a;
    let (opcode, length, start) = match *bytes {
        [opcode, length @ ..=125, ..] => (opcode, u64::from(length), 2),
        [opcode, 126, a, b, ..] => (opcode, u64::from(u16::from_be_bytes([a, b])), 4),
        [opcode, 127, a, b, c, d, e, f, g, h, ..] => {
            (opcode, u64::from_be_bytes([a, b, c, d, e, f, g, h]), 10)
        }
        // A masked one begins with more than 127, and no node masks.
        [_, 128..=255, ..] => return Err(Broken),
        [] | [_] | [_, 126 | 127, ..] => return Ok(None),
    };
    if length > MESSAGE_BYTES_MAX {
        return Err(Broken);
    }
    let end = start + length as usize;
    let Some(payload) = bytes.get(start..end) else { return Ok(None) };
    let message = match opcode {
        BINARY => Message::Frame(payload),
        PING => Message::Ping(payload),
        PONG => Message::Pong,
        CLOSE => {
            let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            Message::Close(code)
        }
        _ => return Err(Broken),
    };
    Ok(Some((message, end)))
}

/// Writes a frame as a client must.
pub(super) fn say(payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    masked(0x82, payload, mask)
}

/// Writes the answer to a ping.
pub(super) fn pong(payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    masked(0x8a, payload, mask)
}

/// Writes a goodbye.
pub(super) fn goodbye(mask: [u8; 4]) -> Vec<u8> {
    const NORMAL: u16 = 1_000;
    masked(0x88, &NORMAL.to_be_bytes(), mask)
}

fn masked(opcode: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    const IS_MASKED: u8 = 0x80;
    let mut bytes = Vec::with_capacity(payload.len() + 14);
    bytes.push(opcode);
    match payload.len() {
        n @ ..=125 => bytes.push(IS_MASKED | n as u8),
        n @ ..=65_535 => {
            bytes.push(IS_MASKED | 126);
            bytes.extend((n as u16).to_be_bytes());
        }
        n => {
            bytes.push(IS_MASKED | 127);
            bytes.extend((n as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// What a frame is called, without reading the rest of it: MessagePack of a map with one key.
pub(super) fn name(frame: &[u8]) -> Option<&str> {
    let [0x81, length @ 0xa1..=0xbf, rest @ ..] = frame else { return None };
    std::str::from_utf8(rest.get(..usize::from(length & 0x1f))?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Timestamp, frame::ServerFrame};

    fn head(text: &str) -> Result<Answer, Broken> {
        answer(text.as_bytes())
    }

    #[test]
    fn a_handshake_is_answered_with_a_socket_or_a_reason() {
        let open = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n";
        assert_eq!(head(open), Ok(Answer::Open(open.len())));
        assert_eq!(head(&format!("{open}\u{2}")), Ok(Answer::Open(open.len())));
        assert_eq!(head(&open[..open.len() - 1]), Ok(Answer::NotYet));
        let refused = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\n\r\n{}";
        let two_s = Some(Duration::from_secs(2));
        assert_eq!(head(refused), Ok(Answer::Refused { status: 503, retry_after: two_s }));
        assert_eq!(head("SSH-2.0\r\n\r\n"), Err(Broken));
        assert_eq!(head(&"x".repeat(HEAD_BYTES_MAX + 1)), Err(Broken));
    }

    #[test]
    fn messages_of_every_length_are_read_once_they_are_there() {
        for length in [0_usize, 1, 125, 126, 65_535, 65_536] {
            let mut bytes = match length {
                ..=125 => vec![0x82, length as u8],
                126..=65_535 => [&[0x82, 126][..], &(length as u16).to_be_bytes()].concat(),
                _ => [&[0x82, 127][..], &(length as u64).to_be_bytes()].concat(),
            };
            bytes.extend(vec![7; length]);
            let n = bytes.len();
            assert_eq!(message(&bytes[..n - 1]), Ok(None), "{length}");
            bytes.push(0);
            assert_eq!(message(&bytes), Ok(Some((Message::Frame(&vec![7; length]), n))));
        }
        assert_eq!(message(&[0x88, 2, 0x0f, 0xa0]), Ok(Some((Message::Close(Some(4_000)), 4))));
        assert_eq!(message(&[0x89, 1, 9]), Ok(Some((Message::Ping(&[9]), 3))));
        for broken in [&[0x82, 0x81, 0][..], &[0x02, 0], &[0x82, 127, 1, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(message(broken), Err(Broken), "{broken:?}");
        }
    }

    #[test]
    fn what_is_said_is_masked() {
        assert_eq!(say(&[1, 2, 3, 4, 5], [1; 4]), [0x82, 0x85, 1, 1, 1, 1, 0, 3, 2, 5, 4]);
        assert_eq!(say(&[0; 200], [9; 4])[..4], [0x82, 0xfe, 0, 200]);
        assert_eq!(say(&[0; 70_000], [9; 4])[..2], [0x82, 0xff]);
    }

    #[test]
    fn a_frame_tells_its_name() {
        let frame = ServerFrame::Heartbeat { server_time: Timestamp(1), heartbeat_ms: None };
        assert_eq!(name(&CODEC.encode(&frame).unwrap()), Some("heartbeat"));
        assert_eq!(name(&[0x81, 0xa5, b'x']), None);
        assert_eq!(name(&[]), None);
    }
}
