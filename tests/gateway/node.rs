//! A node of one's own for each test.

use protocol::{DriverId, Principal, RiderId, ZoneId};
use std::{
    fs::{File, Permissions},
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_outrider");
/// Where a node writes that was told what to write.
const LOG: &str = "log";

/// A running node; it dies with the test.
pub(crate) struct Node {
    program: PathBuf,
    child: Child,
    dir: TempDir,
    settings: Vec<(String, String)>,
    pub(crate) address: String,
}

impl Node {
    /// One with the default settings.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// One with some settings changed: `("GATEWAY__SESSIONS_MAX", "1")`.
    pub(crate) fn with(settings: &[(&str, &str)]) -> Self {
        Self::of(Path::new(BINARY), settings)
    }

    /// One of another build.
    pub(crate) fn of(program: &Path, settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // A Postgres of its own does not run as root, and must be able to come in.
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let named = |(key, value): &(&str, &str)| (format!("OUTRIDER_{key}"), (*value).to_owned());
        let settings = settings.iter().map(named).collect::<Vec<_>>();
        let (child, address) = spawn(program, &dir, &settings);
        Self { program: program.to_owned(), child, dir, settings, address }
    }

    /// Kills it as a power cut would, and starts it again on the same address and journal.
    pub(crate) fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.settings.push(("OUTRIDER_GATEWAY__LISTEN".to_owned(), self.address.clone()));
        (self.child, self.address) = spawn(&self.program, &self.dir, &self.settings);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Where its sockets are opened, with something to say.
    pub(crate) fn websocket(&self, query: &str) -> String {
        format!("ws://{}/v1/ws?{query}", self.address)
    }

    /// The key its tokens are signed with, once it has run.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.dir.path().join("development-key.pem")
    }

    /// A token this node believes.
    pub(crate) fn token(&self, principal: Principal) -> String {
        self.token_for(principal, "12h")
    }

    /// One that it believes for so long.
    pub(crate) fn token_for(&self, principal: Principal, ttl: &str) -> String {
        let role = principal.role().to_string();
        self.minted(&["--role", &role, "--id", &principal.to_string(), "--ttl", ttl]).unwrap()
    }

    /// A dispatcher's that is of some regions.
    pub(crate) fn token_of(&self, regions: &[ZoneId]) -> String {
        let regions: Vec<String> = regions.iter().map(ZoneId::to_string).collect();
        let each = regions.iter().flat_map(|region| ["--region", region.as_str()]);
        let args: Vec<&str> = ["--role", "dispatcher"].into_iter().chain(each).collect();
        self.minted(&args).unwrap()
    }

    /// What `outrider token` prints, or what it has against that.
    pub(crate) fn minted(&self, args: &[&str]) -> Result<String, String> {
        let mut command = command(&self.program, self.dir.path());
        command.envs(self.settings.iter().cloned());
        let output = command.arg("token").args(args).output().unwrap();
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match output.status.success() {
            true => Ok(said(&output.stdout)),
            false => Err(said(&output.stderr)),
        }
    }

    /// Tells it to leave, as an operator does.
    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// What it has logged, if it was told what to log (`TELEMETRY__FILTER`).
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join(LOG)).unwrap()
    }

    /// How much memory it has, in bytes.
    pub(crate) fn rss_bytes(&self) -> usize {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib * 1_024
    }

    /// Waits until it has left; what it leaves behind is its directory.
    pub(crate) fn leave(mut self) -> TempDir {
        self.child.wait().unwrap();
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }

    pub(crate) fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have left by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(program: &Path, dir: &TempDir, settings: &[(String, String)]) -> (Child, String) {
    let mut command = command(program, dir.path());
    command.envs(settings.iter().cloned());
    if settings.iter().any(|(key, _)| key == "OUTRIDER_TELEMETRY__FILTER") {
        // Somebody wants to read it.
        command.stderr(File::create(dir.path().join(LOG)).unwrap());
    }
    let mut child = command.arg("serve").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line
        .trim()
        .strip_prefix("outrider is at http://")
        .and_then(|rest| rest.strip_suffix('/'))
        .unwrap_or_else(|| panic!("the node did not start: {line:?}"))
        .to_owned();
    (child, address)
}

/// The binary, with everything it needs to be told to leave other tests alone.
pub(crate) fn outrider(dir: &Path) -> Command {
    command(Path::new(BINARY), dir)
}

/// The build that comes after this one, which `./test` makes with the feature `next`.
pub(crate) fn next_build() -> PathBuf {
    let target = Path::new(BINARY).parent().and_then(Path::parent).unwrap();
    let next = target.join("next").join("outrider");
    assert!(next.exists(), "{} is missing: `./test next` makes it", next.display());
    next
}

pub(crate) fn command(program: &Path, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("OUTRIDER_JOURNAL__DIR", dir)
        .env("OUTRIDER_JOURNAL__KIND", "memory")
        // A heartbeat that is heard is an answer to one, unless a test is about how often they come.
        .env("OUTRIDER_GATEWAY__SESSION__HEARTBEAT_AT_REST_MAX", "0s")
        .env("OUTRIDER_GATEWAY__LISTEN", "127.0.0.1:0")
        .env("OUTRIDER_TELEMETRY__FILTER", "warn");
    command
}

pub(crate) fn rider(n: u64) -> Principal {
    Principal::Rider(RiderId::nth(n))
}

pub(crate) fn driver(n: u64) -> Principal {
    Principal::Driver(DriverId::nth(n))
}
