//! A Postgres of one's own: started in a directory, reached by a socket in it, gone with who started it.
//!
//! For tests, and for people who want Postgres without administering it. It listens on no port, and
//! only who may enter the directory can reach it. Needs `initdb` and `postgres` on the path or where
//! Debian puts them, and `setpriv` (util-linux), which ties its life to ours.

use sqlx::{ConnectOptions, Connection, postgres::PgConnectOptions};
use std::{
    env,
    fs::{self, File, TryLockError},
    io,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use thiserror::Error;

/// The database everything is kept in.
const DATABASE: &str = "outrider";
/// The only role.
const ROLE: &str = "outrider";
/// The file whose lock says that a process uses the directory.
const LOCK: &str = "private.lock";
/// What the server has to say.
const LOG: &str = "postgres.log";
/// Where a server says which process it is.
const PID: &str = "postmaster.pid";
/// What it says when that is another one.
const TAKEN: &str = "lock file \"postmaster.pid\" already exists";
/// How long it may take to answer after it was started; recovering from a crash is part of it.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long one attempt to reach it may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
/// How long to breathe between two looks.
const BREATHER: Duration = Duration::from_millis(20);
/// The longest path a socket may have, as Linux limits it.
const SOCKET_PATH_MAX: usize = 107;
/// What differs from Postgres' own defaults, which are those of a small machine of long ago.
const SETTINGS: [&str; 13] = [
    "listen_addresses=",
    "max_connections=100",
    "shared_buffers=256MB",
    "max_wal_size=4GB",
    "min_wal_size=256MB",
    "checkpoint_timeout=15min",
    "wal_compression=on",
    "synchronous_commit=on",
    "logging_collector=off",
    // What has to reach the disk sets out soon and a little at a time: left to the system, it goes all at once after half a minute, and
    // a commit that comes meanwhile waits behind it.
    "backend_flush_after=1MB",
    "bgwriter_delay=20ms",
    "bgwriter_lru_maxpages=1000",
    "bgwriter_lru_multiplier=4",
];

/// A server that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct PrivatePostgres {
    programs: PathBuf,
    directory: PathBuf,
    user: Option<User>,
    more: Vec<String>,
    #[cfg_attr(not(test), expect(dead_code, reason = "holds its lock until it is dropped"))]
    lock: File,
}

/// Why there is no such server.
#[derive(Debug, Error)]
pub enum PrivateError {
    /// Not installed.
    #[error(
        "initdb and postgres (15 or newer) are neither on the path nor below /usr/lib/postgresql: install Postgres"
    )]
    Absent,
    /// We are root, which Postgres refuses to run as, and there is nobody else to be.
    #[error(
        "Postgres refuses to run as root, and there is no user called postgres to run it instead"
    )]
    NoUser,
    /// The socket's path would be too long.
    #[error("the path of a socket in {} would be longer than {SOCKET_PATH_MAX} bytes", .0.display())]
    LongPath(PathBuf),
    /// Another process runs a server there.
    #[error("another process runs the private Postgres in {}: stop it, or use another directory", .0.display())]
    InUse(PathBuf),
    /// A program said no.
    #[error("{program} failed: {said}")]
    Failed {
        /// Which.
        program: &'static str,
        /// Its last words.
        said: String,
    },
    /// The directory cannot be made, or a program not be run.
    #[error("cannot run a private Postgres in {}: {source}", .directory.display())]
    Directory {
        /// Where.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It runs, and does not answer.
    #[error("the private Postgres does not answer: {0}")]
    Silent(sqlx::Error),
}

/// How to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Disconnect everybody, write everything.
    Fast,
    /// As if the power had failed.
    Immediate,
}

impl Stop {
    fn mode(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Immediate => "immediate",
        }
    }
}

/// Whom root becomes to run it.
#[derive(Debug, Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

impl PrivatePostgres {
    /// Starts the server whose data are in `directory`, after making them if there are none.
    pub async fn start(directory: impl AsRef<Path>) -> Result<Self, PrivateError> {
        Self::start_with(directory, &[]).await
    }

    /// The same, with more settings (`fsync=off`).
    pub async fn start_with(
        directory: impl AsRef<Path>,
        settings: &[&str],
    ) -> Result<Self, PrivateError> {
        let directory = directory.as_ref();
        let failed =
            |source| PrivateError::Directory { directory: directory.to_path_buf(), source };
        fs::create_dir_all(directory).map_err(failed)?;
        let directory = directory.canonicalize().map_err(failed)?;
        if directory.as_os_str().len() + "/.s.PGSQL.5432.lock".len() > SOCKET_PATH_MAX {
            return Err(PrivateError::LongPath(directory));
        }
        let is_root = fs::metadata("/proc/self").map_err(failed)?.uid() == 0;
        let lock = lock(&directory)?;
        let user = if is_root { Some(postgres_user().ok_or(PrivateError::NoUser)?) } else { None };
        let programs = programs().ok_or(PrivateError::Absent)?;
        let more = settings.iter().map(|it| (*it).to_owned()).collect();
        let server = Self { programs, directory, user, more, lock };
        server.make().await?;
        server.run().await?;
        server.make_database().await?;
        Ok(server)
    }

    /// How to reach it.
    pub fn options(&self) -> PgConnectOptions {
        options_in(&self.directory, DATABASE)
    }

    /// How to reach the one that another process runs in `directory`.
    pub fn options_in(directory: impl AsRef<Path>) -> PgConnectOptions {
        options_in(directory.as_ref(), DATABASE)
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        format!("postgresql:///{DATABASE}?host={}&user={ROLE}", self.directory.display())
    }

    /// Starts it again after [`PrivatePostgres::stop`].
    pub async fn start_again(&self) -> Result<(), PrivateError> {
        self.run().await
    }

    /// Stops it; its data stay.
    pub async fn stop(&self, how: Stop) -> Result<(), PrivateError> {
        let mut stopping = self.stopping(how);
        let output = self.blocking(move || stopping.output()).await?;
        check("pg_ctl", &output)
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    async fn make(&self) -> Result<(), PrivateError> {
        if self.data().join("PG_VERSION").exists() {
            return Ok(());
        }
        if let Some(User { uid, gid }) = self.user {
            chown(&self.directory, Some(uid), Some(gid)).map_err(|source| self.failed(source))?;
        }
        let mut initdb = self.command("initdb");
        initdb.arg("--pgdata").arg(self.data());
        initdb.args(["--username", ROLE, "--auth", "trust", "--encoding", "UTF8"]);
        initdb.args(["--locale", "C", "--no-sync"]);
        let output = self.blocking(move || initdb.output()).await?;
        check("initdb", &output)
    }

    /// Starts the server, if need be after the one of a process that was killed has stopped.
    async fn run(&self) -> Result<(), PrivateError> {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            match self.run_once(deadline).await {
                Err(PrivateError::Failed { .. })
                    if self.log().contains(TAKEN) && Instant::now() < deadline =>
                {
                    tokio::time::sleep(BREATHER).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Starts the server on a thread that waits for its end: the kernel tells a child of its
    /// parent's death when the *thread* that started it ends.
    async fn run_once(&self, deadline: Instant) -> Result<(), PrivateError> {
        // Two may write to it for a moment: each at its end, none over the other.
        let file = File::options().create(true).append(true).open(self.directory.join(LOG));
        let file = file.map_err(|source| self.failed(source))?;
        file.set_len(0).map_err(|source| self.failed(source))?;
        let mut server = self.command("postgres");
        server.arg("-D").arg(self.data()).arg("-k").arg(&self.directory);
        for setting in SETTINGS.into_iter().chain(self.more.iter().map(String::as_str)) {
            server.args(["-c", setting]);
        }
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        // Who interrupts us at a terminal does not mean the server: we still have to write to it.
        server.process_group(0);
        let (started, has_started) = mpsc::channel();
        let (ended, has_ended) = mpsc::channel();
        thread::spawn(move || match server.spawn() {
            Ok(mut child) => {
                started.send(Ok(child.id())).ok();
                let status = child.wait();
                ended.send(status).ok();
            }
            Err(error) => drop(started.send(Err(error))),
        });
        let outcome = self.blocking(move || has_started.recv().map_err(io::Error::other)).await?;
        let pid = outcome.map_err(|source| self.failed(source))?;

        loop {
            let options = options_in(&self.directory, "postgres").disable_statement_logging();
            // A server on its way out may accept and never answer.
            let connecting = tokio::time::timeout(CONNECT_PATIENCE, options.connect()).await;
            let error = match connecting.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
                Ok(connection) => {
                    drop(tokio::time::timeout(CONNECT_PATIENCE, connection.close()).await);
                    // What answers may be another one, on its way out.
                    if self.pid() == Some(pid) {
                        return Ok(());
                    }
                    sqlx::Error::Io(io::Error::other("another server answers"))
                }
                Err(error) => error,
            };
            if has_ended.try_recv().is_ok() {
                let said = self.log();
                let said = said.lines().rev().take(3).collect::<Vec<_>>().join(" / ");
                return Err(PrivateError::Failed { program: "postgres", said });
            }
            if Instant::now() > deadline {
                return Err(PrivateError::Silent(error));
            }
            tokio::time::sleep(BREATHER).await;
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join(LOG)).unwrap_or_default()
    }

    /// Which process the server is, as it says.
    fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.data().join(PID)).ok()?.lines().next()?.trim().parse().ok()
    }

    async fn make_database(&self) -> Result<(), PrivateError> {
        let silent = PrivateError::Silent;
        let mut connection =
            options_in(&self.directory, "postgres").connect().await.map_err(silent)?;
        let there: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
                .bind(DATABASE)
                .fetch_one(&mut connection)
                .await
                .map_err(silent)?;
        if !there {
            sqlx::raw_sql("CREATE DATABASE outrider")
                .execute(&mut connection)
                .await
                .map_err(silent)?;
        }
        connection.close().await.map_err(silent)
    }

    /// One of Postgres' programs, as who may run it, ended when we are.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "INT"]);
        if let Some(User { uid, gid }) = self.user {
            command.args(["--reuid", &uid.to_string(), "--regid", &gid.to_string()]);
            command.arg("--clear-groups");
        }
        command.arg(self.programs.join(program)).current_dir("/").env("LC_ALL", "C");
        command
    }

    fn stopping(&self, how: Stop) -> Command {
        let mut stop = self.command("pg_ctl");
        stop.args(["stop", "--wait", "--mode", how.mode(), "--pgdata"]).arg(self.data());
        stop
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, PrivateError> {
        let outcome = tokio::task::spawn_blocking(work).await.map_err(io::Error::other);
        outcome.and_then(|outcome| outcome).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> PrivateError {
        PrivateError::Directory { directory: self.directory.clone(), source }
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        // Already stopped, or about to be by the kernel: either way nothing is left to do.
        self.stopping(Stop::Fast).output().ok();
    }
}

fn options_in(directory: &Path, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(directory)
        .port(5432)
        .username(ROLE)
        .database(database)
}

/// Makes the directory ours until the file is dropped.
fn lock(directory: &Path) -> Result<File, PrivateError> {
    let failed = |source| PrivateError::Directory { directory: directory.into(), source };
    let path = directory.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(path);
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(PrivateError::InUse(directory.into())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn check(program: &'static str, output: &Output) -> Result<(), PrivateError> {
    if output.status.success() {
        return Ok(());
    }
    let said = [&output.stderr[..], &output.stdout[..]].concat();
    let said = String::from_utf8_lossy(&said).trim().replace('\n', " / ");
    Err(PrivateError::Failed { program, said })
}

/// The directory of Postgres' programs: the path's, else the newest of Debian's.
fn programs() -> Option<PathBuf> {
    let is_complete = |it: &PathBuf| {
        ["initdb", "postgres", "pg_ctl"].iter().all(|program| it.join(program).exists())
    };
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).find(is_complete);
    let debians = || {
        let entries = fs::read_dir("/usr/lib/postgresql").ok()?;
        let version = |it: &PathBuf| it.file_name()?.to_str()?.parse::<u32>().ok();
        let newest = entries.flatten().map(|entry| entry.path()).max_by_key(version)?;
        Some(newest.join("bin")).filter(is_complete)
    };
    on_path.or_else(debians)
}

fn postgres_user() -> Option<User> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let mut fields = users.lines().find(|line| line.starts_with("postgres:"))?.split(':').skip(2);
    let uid = fields.next()?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(User { uid, gid })
}

#[cfg(test)]
mod tests;
