//! Postgres, NATS and their disks go away and come back.

use super::{How, Needs, Scenario, Stage};
use crate::{
    Outcome,
    database::{Database, execute},
    fleet::{free_address, mortal},
};
use futures_util::future::{BoxFuture, FutureExt};
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// How long a cluster may take to be calm once everything runs again.
const WELL: Duration = Duration::from_secs(100);
/// How long after Postgres is back somebody must hear a yes.
const FIRST_YES_MAX: Duration = Duration::from_secs(2);
/// How large the disk is that fills up.
const DISK_MIB: u32 = 192;

pub(super) const SCENARIOS: [Scenario; 6] = [
    Scenario {
        number: "5",
        fault: "Postgres crashes and stays away for 6 s",
        expected: "no shard changes its owner, no node ends, callers hear `busy`; a yes within 2 s of its return",
        how: How::Run(Needs::USUAL, crashed_6, WELL),
        is_quick: true,
    },
    Scenario {
        number: "5b",
        fault: "Postgres crashes and stays away for 30 s",
        expected: "as 5",
        how: How::Run(Needs::USUAL, crashed_30, WELL),
        is_quick: false,
    },
    Scenario {
        number: "20",
        fault: "Postgres is slow: every commit takes half a second longer",
        expected: "no lease is lost, nobody is declared dead; batches grow, or callers hear `busy`",
        how: How::Run(Needs::USUAL, slowed, WELL),
        is_quick: false,
    },
    Scenario {
        number: "29",
        fault: "the disk of Postgres' tables is full",
        expected: "writes are refused and nothing is acknowledged; well again when there is room",
        how: How::Run(Needs { disk_mib: Some(DISK_MIB), ..Needs::USUAL }, filled, WELL),
        is_quick: false,
    },
    Scenario {
        number: "36",
        fault: "a pooler in transaction mode stands in front of Postgres",
        expected: "a node refuses to start behind it, and says why",
        how: How::Run(Needs { n_nodes: 2, n_spare: 1, ..Needs::USUAL }, pooled, WELL),
        is_quick: true,
    },
    Scenario {
        number: "nats",
        fault: "NATS is killed and stays away for 5 s",
        expected: "no shard changes its owner; what a node has itself it goes on serving",
        how: How::Run(Needs::USUAL, unheard, WELL),
        is_quick: true,
    },
];

fn crashed_6(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    crashed(stage, Duration::from_secs(6)).boxed()
}

fn crashed_30(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    crashed(stage, Duration::from_secs(30)).boxed()
}

async fn crashed(stage: &mut Stage, away: Duration) -> Outcome {
    let (n_moves, n_dead) =
        (stage.fleet.database.n_moves().await?, stage.fleet.database.n_dead().await?);
    stage.broken_at = Instant::now();
    stage.fleet.database.crash().await?;
    sleep(away).await;
    stage.fleet.database.start_again().await?;
    let (back, before) = (Instant::now(), stage.load.world.record.counts().0);
    while stage.load.world.record.counts().0 == before {
        if back.elapsed() > WELL {
            return Err(format!("nobody heard a yes for {WELL:?}").into());
        }
        sleep(Duration::from_millis(5)).await;
    }
    let first_yes = back.elapsed();
    stage.note(format!("the first yes came {} ms after its return", first_yes.as_millis()));
    stage.expect(first_yes < FIRST_YES_MAX, format!("the first yes took {first_yes:?}"));
    stage.recover(WELL).await?;
    let last = stage.load.world.record.last_of(back).as_millis();
    stage.note(format!("the last of those who waited was answered {last} ms after its return"));
    nothing_moved(stage, n_moves, n_dead).await
}

/// Notes if a shard has changed its owner, or anybody was declared dead, since there were so many.
pub(super) async fn nothing_moved(stage: &mut Stage, n_moves: i64, n_dead: i64) -> Outcome {
    let n_moves = stage.fleet.database.n_moves().await? - n_moves;
    let n_dead = stage.fleet.database.n_dead().await? - n_dead;
    stage.expect(n_moves == 0, format!("{n_moves} shards changed their owner"));
    stage.expect(n_dead == 0, format!("{n_dead} nodes were declared dead"));
    for n in 0..stage.fleet.nodes.len() {
        let is_missing = stage.fleet.nodes[n].pid().is_some() && !stage.fleet.nodes[n].is_running();
        stage.expect(!is_missing, format!("node {n} has ended"));
    }
    Ok(())
}

fn slowed(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    async move {
        let (n_moves, n_dead) =
            (stage.fleet.database.n_moves().await?, stage.fleet.database.n_dead().await?);
        let slow = "CREATE FUNCTION chaos_slow() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END $$;
            SET lock_timeout = '5s';
            CREATE TRIGGER chaos_slow AFTER INSERT ON events FOR EACH STATEMENT
                EXECUTE FUNCTION chaos_slow()";
        stage.broken_at = Instant::now();
        stage.fleet.database.execute(slow).await?;
        sleep(Duration::from_secs(12)).await;
        let stalls = stage.load.world.record.stalls(stage.broken_at, Instant::now());
        stage.note(format!("while it was slow: {stalls}"));
        let quick = "DROP TRIGGER chaos_slow ON events; DROP FUNCTION chaos_slow()";
        stage.fleet.database.execute(quick).await?;
        nothing_moved(stage, n_moves, n_dead).await
    }
    .boxed()
}

/// A small disk in memory; gone when it is dropped, and when nobody uses it any more.
#[derive(Debug)]
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// Mounts one of so many MiB at `path`, for the server's user. Needs root.
    pub(crate) fn mount(path: &Path, mib: u32) -> Outcome<Self> {
        fs::create_dir_all(path)?;
        let options = format!("size={mib}m,mode=0777");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "chaos"]).arg(path);
        let output = mount.output()?;
        match output.status.success() {
            true => Ok(Self(path.to_path_buf())),
            false => Err(format!("mount: {}", String::from_utf8_lossy(&output.stderr)).into()),
        }
    }

    /// Leaves no room on it until the file is removed.
    fn fill(&self) -> Outcome<PathBuf> {
        let path = self.0.join("filler");
        let zeros = vec![0_u8; 1 << 20];
        let mut file = fs::File::create(&path)?;
        // Until the disk says no.
        while std::io::Write::write_all(&mut file, &zeros).is_ok() {}
        Ok(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").args(["--lazy"]).arg(&self.0).output());
    }
}

fn filled(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    async move {
        let (n_moves, n_dead) =
            (stage.fleet.database.n_moves().await?, stage.fleet.database.n_dead().await?);
        stage.broken_at = Instant::now();
        let disk = stage.fleet.disk.as_ref().ok_or("this scenario needs a disk")?;
        let filler = disk.fill()?;
        // What has room in pages that are there already is still written.
        let mut n_acked = stage.load.world.record.counts().0;
        let began = Instant::now();
        loop {
            sleep(Duration::from_secs(1)).await;
            let now = stage.load.world.record.counts().0;
            if now == n_acked {
                break;
            }
            n_acked = now;
            if began.elapsed() > Duration::from_secs(30) {
                stage.note("the disk had room for half a minute of commits");
                break;
            }
        }
        sleep(Duration::from_secs(4)).await;
        let (n_now, n_refused, _) = stage.load.world.record.counts();
        stage.note(format!(
            "{} acknowledged, {n_refused} refused while it was full",
            n_now - n_acked
        ));
        fs::remove_file(filler)?;
        stage.recover(WELL).await?;
        nothing_moved(stage, n_moves, n_dead).await
    }
    .boxed()
}

fn pooled(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    async move {
        let (directory, socket) = (stage.fleet.directory.path().join("pooler"), free_address()?);
        let SocketAddr::V4(address) = socket else { return Err("the loopback is IPv4".into()) };
        fs::create_dir_all(&directory)?;
        let server = stage.fleet.database.directory().display().to_string();
        let users = directory.join("users");
        fs::write(&users, "\"outrider\" \"\"\n")?;
        let settings = format!(
            "[databases]\noutrider = host={server} port=5432 user=outrider dbname=outrider\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\n\
             auth_type = any\nauth_file = {}\npool_mode = transaction\nlogfile = {}\n\
             ignore_startup_parameters = extra_float_digits,options\n",
            address.port(),
            users.display(),
            directory.join("log").display(),
        );
        let file = directory.join("pgbouncer.ini");
        fs::write(&file, settings)?;
        // It does not run as root either.
        let open = Command::new("chmod").args(["-R", "a+rwX"]).arg(&directory).status()?;
        stage.expect(open.success(), "the pooler's directory stays closed");
        let mut pooler = mortal(Path::new("pgbouncer"));
        let is_root = fs::metadata(stage.fleet.database.directory().join("data"))
            .map(|it| std::os::unix::fs::MetadataExt::uid(&it) != 0)?;
        if is_root {
            pooler.args(["--user", "postgres"]);
        }
        let mut pooler = pooler.arg(&file).spawn()?;
        let began = Instant::now();
        while tokio::net::TcpStream::connect(address).await.is_err() {
            if began.elapsed() > Duration::from_secs(10) {
                return Err("the pooler does not answer".into());
            }
            sleep(Duration::from_millis(50)).await;
        }
        stage.broken_at = Instant::now();
        let url = Database::url_at("127.0.0.1", address.port());
        let third = &mut stage.fleet.nodes[2];
        third.start_with(&[("OUTRIDER_JOURNAL__URL", url)])?;
        let ended = third.ended(Duration::from_secs(20)).await;
        third.kill().await?;
        let log = third.log();
        let last = log.lines().last().unwrap_or_default().to_owned();
        pooler.kill().await?;
        stage.expect(ended.is_ok_and(|it| !it.success()), "the node started behind a pooler");
        stage.expect(log.contains("pooler"), format!("it does not say why: {last}"));
        stage.note(format!("it said: {last}"));
        Ok(())
    }
    .boxed()
}

fn unheard(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    async move {
        let (n_moves, n_dead) =
            (stage.fleet.database.n_moves().await?, stage.fleet.database.n_dead().await?);
        stage.broken_at = Instant::now();
        stage.fleet.broker.kill().await?;
        sleep(Duration::from_secs(5)).await;
        let stalls = stage.load.world.record.stalls(stage.broken_at, Instant::now());
        stage.note(format!("while it was away: {stalls}"));
        stage.fleet.broker.start_again().await?;
        stage.recover(WELL).await?;
        nothing_moved(stage, n_moves, n_dead).await
    }
    .boxed()
}

/// Puts the tables of the database on a disk of their own. Nobody may be connected.
pub(crate) async fn move_tables(database: &Database, disk: &Path) -> Outcome {
    let place = disk.join("tables");
    fs::create_dir_all(&place)?;
    let data = database.directory().join("data");
    let owner = fs::metadata(data)?;
    let (uid, gid) = {
        use std::os::unix::fs::MetadataExt;
        (owner.uid(), owner.gid())
    };
    std::os::unix::fs::chown(&place, Some(uid), Some(gid))?;
    let mut session = database.elsewhere().await?;
    let sql = format!("CREATE TABLESPACE small LOCATION '{}'", place.display());
    execute(&mut session, &sql).await?;
    execute(&mut session, "ALTER DATABASE outrider SET TABLESPACE small").await
}
