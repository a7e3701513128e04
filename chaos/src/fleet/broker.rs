//! The broker between nodes, as a process that can be stopped and started.

use crate::Outcome;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, process::Child};

/// How long it may take to answer after it was started.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// A `nats-server`, gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Broker {
    program: PathBuf,
    address: SocketAddr,
    child: Child,
}

impl Broker {
    /// Starts one that listens at `address`.
    pub(crate) async fn start(program: &Path, address: SocketAddr) -> Outcome<Self> {
        let child = serve(program, address).await?;
        Ok(Self { program: program.to_path_buf(), address, child })
    }

    /// How nodes reach it.
    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Which process it is.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends it at once.
    pub(crate) async fn kill(&mut self) -> Outcome {
        Ok(self.child.kill().await?)
    }

    /// Starts it again, where it was.
    pub(crate) async fn start_again(&mut self) -> Outcome {
        self.child = serve(&self.program, self.address).await?;
        Ok(())
    }
}

async fn serve(program: &Path, address: SocketAddr) -> Outcome<Child> {
    let mut server = super::mortal(program);
    server.args(["--addr", &address.ip().to_string(), "--port", &address.port().to_string()]);
    server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = server.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
    let until = Instant::now() + START_PATIENCE;
    while TcpStream::connect(address).await.is_err() {
        if Instant::now() > until {
            return Err(format!("the broker does not answer at {address}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(child)
}
