//! The ceiling: a WebSocket server that does nothing with what it reads, or sends it back.

use super::Fault;
use futures_util::{SinkExt, StreamExt};
use std::io::{self, Write};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{accept_async_with_config, tungstenite::protocol::WebSocketConfig};

/// What a node's sockets read at a time: the ceiling is of the same kind.
const READ_BUFFER_BYTES: usize = 512;

/// Serves whoever connects, until it is killed. Says where it listens on its first line.
pub(crate) async fn serve(is_echo: bool) -> Result<(), Fault> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(io::stdout().lock(), "listening at {}", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        drop(tokio::spawn(hear(stream, is_echo)));
    }
}

async fn hear(stream: TcpStream, is_echo: bool) {
    let config =
        WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES).write_buffer_size(0);
    let Ok(mut socket) = accept_async_with_config(stream, Some(config)).await else { return };
    while let Some(Ok(message)) = socket.next().await {
        if is_echo && message.is_binary() && socket.send(message).await.is_err() {
            return;
        }
    }
}
