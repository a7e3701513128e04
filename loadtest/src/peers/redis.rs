//! Enough of Redis' protocol to send it many commands at once.

use super::{Fault, program};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpStream, tcp::ReadHalf},
};

/// The version of the server that is installed.
pub(super) async fn version() -> Result<String, Fault> {
    let said = program::said("redis-server", &["--version"], None).await?;
    let version = said.split_whitespace().find_map(|it| it.strip_prefix("v="));
    Ok(version.unwrap_or(&said).to_owned())
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection(TcpStream);

/// Commands that are sent together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    n: usize,
}

impl Batch {
    pub(super) fn push(&mut self, words: &[&str]) {
        self.bytes.extend(format!("*{}\r\n", words.len()).bytes());
        for word in words {
            self.bytes.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
        }
        self.n += 1;
    }
}

impl Connection {
    /// One that has been answered.
    pub(super) async fn open(address: SocketAddr) -> Result<Self, Fault> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut connection = Self(stream);
        let mut batch = Batch::default();
        batch.push(&["PING"]);
        connection.ask(&batch).await?;
        Ok(connection)
    }

    /// Sends all of them, and reads as many answers. Returns how many elements those had that were lists.
    pub(super) async fn ask(&mut self, batch: &Batch) -> Result<usize, Fault> {
        let (from, mut to) = self.0.split();
        // Both at once: who only writes would wait for who only answers.
        let (said, heard) = tokio::join!(to.write_all(&batch.bytes), answers(from, batch.n));
        said?;
        heard
    }
}

async fn answers(from: ReadHalf<'_>, n: usize) -> Result<usize, Fault> {
    let mut from = BufReader::new(from);
    let (mut left, mut n_elements, mut line) = (n, 0, String::new());
    while left > 0 {
        left -= 1;
        line.clear();
        if from.read_line(&mut line).await? == 0 {
            return Err("Redis closed the connection".into());
        }
        let (kind, rest) = line.trim_end().split_at(1);
        match kind {
            "-" => return Err(format!("Redis: {rest}").into()),
            "*" => {
                let n: usize = rest.parse()?;
                left += n;
                n_elements += n;
            }
            "$" => {
                let mut word = vec![0; rest.parse::<usize>()? + 2];
                from.read_exact(&mut word).await?;
            }
            _ => {}
        }
    }
    Ok(n_elements)
}
