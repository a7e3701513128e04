//! A broker for one test.

use super::Settings;
use std::{
    env, fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

/// Names the program, if it is not on the path.
const PROGRAM: &str = "OUTRIDER_TEST_NATS_SERVER";
/// Names a broker that tests may share, so that not every test starts its own.
const SHARED: &str = "OUTRIDER_TEST_NATS";
/// How long it may take to answer after it was started.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// How long to breathe between two looks.
const BREATHER: Duration = Duration::from_millis(10);

/// A broker, and its process if it is the test's own. Goes when it is dropped.
#[derive(Debug)]
pub struct TestNats {
    url: String,
    own: Option<(Child, u16, Vec<String>)>,
}

impl TestNats {
    /// The one that `OUTRIDER_TEST_NATS` names, or else one of its own.
    ///
    /// # Panics
    /// When there is neither: a test that cannot run has failed.
    pub async fn start() -> Self {
        match env::var(SHARED) {
            Ok(url) => Self { url, own: None },
            Err(_) => Self::start_own(&[]).await,
        }
    }

    /// One of its own, with more arguments (`--user`), which the test may stop.
    ///
    /// # Panics
    /// When there is no `nats-server`, neither where `OUTRIDER_TEST_NATS_SERVER` says nor on the path.
    pub async fn start_own(more: &[&str]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = free.local_addr().expect("it has a port").port();
        drop(free);
        let more: Vec<_> = more.iter().map(|it| (*it).to_owned()).collect();
        let server = serve(port, &more).await;
        Self { url: format!("nats://127.0.0.1:{port}"), own: Some((server, port, more)) }
    }

    /// How to reach it.
    pub fn settings(&self) -> Settings {
        Settings { url: self.url.clone(), ..Settings::default() }
    }

    /// Ends it at once.
    ///
    /// # Panics
    /// When it is not the test's own.
    pub fn stop(&mut self) {
        let (server, ..) = self.own.as_mut().expect("the test's own");
        server.kill().expect("it runs");
        server.wait().expect("it ends");
    }

    /// Starts it again, where it was.
    ///
    /// # Panics
    /// When it is not the test's own.
    pub async fn start_again(&mut self) {
        let (server, port, more) = self.own.as_mut().expect("the test's own");
        *server = serve(*port, more).await;
    }
}

impl Drop for TestNats {
    fn drop(&mut self) {
        if let Some((server, ..)) = &mut self.own {
            server.kill().ok();
            server.wait().ok();
        }
    }
}

async fn serve(port: u16, more: &[String]) -> Child {
    let program = env::var_os(PROGRAM).map_or_else(|| PathBuf::from("nats-server"), PathBuf::from);
    // From another directory, a path that is not absolute would mean something else.
    let program = fs::canonicalize(&program).unwrap_or(program);
    let server = Command::new(&program)
        .args(["--addr", "127.0.0.1", "--port", &port.to_string()])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{} (see {PROGRAM}): {error}", program.display()));
    let reached = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            sleep(BREATHER).await;
        }
    };
    timeout(START_PATIENCE, reached).await.expect("the broker answers in time");
    server
}
