//! Other programs: started on free ports of the loopback, and ended with whoever started them.

use super::{Fault, redis, spent};
use std::{
    collections::BTreeMap,
    env, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
    time::{sleep, timeout},
};

/// How long a program has to say where it listens.
const STARTS_WITHIN: Duration = Duration::from_secs(30);
/// A brand whose drivers are shown to their region with every position, and not only when they leave their
/// cell or every two seconds: Redis takes in every one as well.
pub(super) fn preset() -> String {
    const DRIVERS: &str = "[driver]\n";
    let usual = include_str!("../../../config/presets/safeboda.toml");
    usual.replacen(DRIVERS, &format!("{DRIVERS}relist_ms = 0\n"), 1)
}

/// A running program; it dies with this.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    address: SocketAddr,
    /// What it keeps.
    dir: TempDir,
}

impl Program {
    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it keeps is here.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// How long it has been on a processor.
    pub(super) fn spent(&self) -> io::Result<Duration> {
        let gone =
            || io::Error::new(io::ErrorKind::NotFound, "a program that was weighed has ended");
        spent::on_processor(self.child.id().ok_or_else(gone)?)
    }

    /// A node with a journal of its own. `tick_ms`: how often its regions match, if not as by default.
    pub(super) async fn outrider(program: &Path, tick_ms: Option<u32>) -> Result<Self, Fault> {
        let dir = tempfile::tempdir()?;
        let preset = dir.path().join("preset.toml");
        fs::write(&preset, self::preset())?;
        let mut command = Command::new(program);
        command
            .arg("serve")
            .env("OUTRIDER_GATEWAY__LISTEN", "127.0.0.1:0")
            .env("OUTRIDER_JOURNAL__DIR", dir.path().join("data"))
            .env("OUTRIDER_TELEMETRY__FILTER", "error")
            .env("OUTRIDER_PRESET__FILE", &preset)
            // One driver is asked after the other: what the peer does.
            .env("OUTRIDER_SIMULATION__POLICY", "sequential")
            .env("OUTRIDER_GATEWAY__SESSION__FRAMES_PER_S", "1000000")
            .env("OUTRIDER_GATEWAY__SESSION__FRAMES_BURST", "1000000");
        if let Some(tick_ms) = tick_ms {
            command.env("OUTRIDER_REGIONS__TICK_MS", tick_ms.to_string());
        }
        Self::start(command, dir, "outrider is at http://").await
    }

    /// A socket that reads, or one that answers: this program, once more.
    pub(super) async fn bare(is_echo: bool) -> Result<Self, Fault> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("bare");
        if is_echo {
            command.arg("--echo");
        }
        Self::start(command, tempfile::tempdir()?, "listening at ").await
    }

    /// Socket.IO on Node.
    pub(super) async fn socket_io(
        peers: &Path,
        redis: &Self,
        radius_m: u32,
    ) -> Result<Self, Fault> {
        let mut command = Command::new("node");
        command
            .arg("dispatch.mjs")
            .current_dir(peers)
            .env("NODE_ENV", "production")
            .env("REDIS_URL", format!("redis://{}", redis.address))
            .env("RADIUS_M", radius_m.to_string());
        Self::start(command, tempfile::tempdir()?, "listening at ").await
    }

    /// A Redis that keeps nothing.
    pub(super) async fn redis() -> Result<Self, Fault> {
        let dir = tempfile::tempdir()?;
        // It cannot be told to choose a port and to say which.
        let address = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let mut command = Command::new("redis-server");
        command.current_dir(dir.path()).args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.args(["--port", &address.port().to_string()]).stdout(Stdio::null());
        let child = spawn(command)?;
        let program = Self { child, address, dir };
        let answers = async {
            while redis::Connection::open(address).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(STARTS_WITHIN, answers).await.map_err(|_| "redis-server did not answer")?;
        Ok(program)
    }

    /// Starts what says on its first line where it listens.
    async fn start(mut command: Command, dir: TempDir, before: &str) -> Result<Self, Fault> {
        command.stdout(Stdio::piped());
        let name = command.as_std().get_program().to_string_lossy().into_owned();
        let mut child = spawn(command)?;
        let out = child.stdout.take().ok_or("a program without output")?;
        let mut line = String::new();
        timeout(STARTS_WITHIN, BufReader::new(out).read_line(&mut line))
            .await
            .map_err(|_| format!("{name} did not start within {STARTS_WITHIN:?}"))??;
        let address = line.trim().strip_prefix(before).map(|rest| rest.trim_end_matches('/'));
        let address = address.and_then(|it| it.parse().ok());
        let address = address.ok_or_else(|| format!("{name} did not start: it said {line:?}"))?;
        Ok(Self { child, address, dir })
    }
}

fn spawn(mut command: Command) -> Result<Child, Fault> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).kill_on_drop(true).spawn().map_err(|error| absent(&name, &error))
}

fn absent(name: &str, error: &io::Error) -> Fault {
    let how = match name {
        "redis-server" => " (Debian: apt-get install redis-server)",
        "node" | "npm" => " (20 or newer; Debian: apt-get install nodejs npm)",
        _ => "",
    };
    format!("{name} cannot be started{how}: {error}").into()
}

/// The node's program.
pub(super) fn outrider(given: Option<&Path>) -> Result<PathBuf, Fault> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => env::current_exe()?.with_file_name("outrider"),
    };
    if path.is_file() {
        return Ok(path);
    }
    let how = "build it (cargo build --release -p outrider), or say --outrider FILE";
    Err(format!("there is no {}: {how}", path.display()).into())
}

/// Installs what the peers need, exactly as their lock file says. Returns what that is, with versions.
pub(super) async fn install(peers: &Path) -> Result<BTreeMap<String, String>, Fault> {
    if !peers.join("package-lock.json").is_file() {
        return Err(format!("no peers in {}: say --peers DIR", peers.display()).into());
    }
    let npm = ["ci", "--no-audit", "--no-fund", "--silent"];
    said("npm", &npm, Some(peers)).await?;
    let lock: serde_json::Value =
        serde_json::from_slice(&fs::read(peers.join("package-lock.json"))?)?;
    let mut versions = BTreeMap::new();
    for name in ["socket.io", "engine.io", "ws", "redis"] {
        let version = &lock["packages"][format!("node_modules/{name}")]["version"];
        versions.insert(format!("npm {name}"), version.as_str().unwrap_or("?").to_owned());
    }
    versions.insert("node".to_owned(), said("node", &["--version"], None).await?);
    versions.insert("redis".to_owned(), redis::version().await?);
    Ok(versions)
}

/// What a program that ends by itself says.
pub(super) async fn said(name: &str, args: &[&str], dir: Option<&Path>) -> Result<String, Fault> {
    let mut command = Command::new(name);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    if let Some(dir) = dir {
        command.current_dir(dir);
    }
    let output = command.output().await.map_err(|error| absent(name, &error))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!("{name} {}: {} {why}", args.join(" "), output.status).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
