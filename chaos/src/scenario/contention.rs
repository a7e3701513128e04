//! Everybody wants the same thing: locks, connections, processor time, one region.

use super::{How, Needs, Scenario, Stage, outage::nothing_moved};
use crate::{Outcome, database::execute};
use futures_util::future::{BoxFuture, FutureExt};
use sqlx::Connection;
use std::time::{Duration, Instant};
use tokio::{task::JoinSet, time::sleep};

/// How long a cluster may take to be calm afterwards.
const WELL: Duration = Duration::from_secs(100);
/// How long locks are held.
const HELD: Duration = Duration::from_secs(4);
/// A renewal of a lease may take a quarter of its length.
const RENEWAL_MAX_S: f64 = 0.5;

pub(super) const SCENARIOS: [Scenario; 7] = [
    Scenario {
        number: "4",
        fault: "an owner is frozen while a session of its own holds the locks of every shard and of its fences",
        expected: "whoever declares it dead ends its sessions: the steal waits for nobody",
        how: How::Run(Needs::USUAL, held_up, WELL),
        is_quick: false,
    },
    Scenario {
        number: "17",
        fault: "a hundred more nodes renew themselves, beside a transaction that keeps every old row; then one is killed",
        expected: "renewals stay far below a lease, nobody else is declared dead",
        how: How::Run(Needs::USUAL, crowded_out, WELL),
        is_quick: false,
    },
    Scenario {
        number: "18",
        fault: "a migration locks the heads of all shards, and all fences, for 4 s",
        expected: "commits wait, nobody is declared dead",
        how: How::Run(Needs::USUAL, locked, WELL),
        is_quick: true,
    },
    Scenario {
        number: "18b",
        fault: "a migration locks the list of members for 4 s, longer than a lease",
        expected: "everybody stops and goes on; nobody can accuse anybody meanwhile",
        how: How::Run(Needs::USUAL, locked_members, WELL),
        is_quick: false,
    },
    Scenario {
        number: "19",
        fault: "one node gets a tenth of its processor for 6 s",
        expected: "slow, and not declared dead: it renews its lease",
        how: How::Run(Needs::USUAL, throttled, WELL),
        is_quick: false,
    },
    Scenario {
        number: "21",
        fault: "every connection that reads waits for a lock",
        expected: "leases are renewed all the same; callers hear `busy`",
        how: How::Run(Needs::USUAL, exhausted, WELL),
        is_quick: false,
    },
    Scenario {
        number: "26",
        fault: "forty more riders order at one and the same spot, without a pause",
        expected: "nobody hears a failure; the others wait no longer than the processor makes them",
        how: How::Run(Needs::USUAL, hot, WELL),
        is_quick: false,
    },
];

async fn lock(stage: &mut Stage, what: &str) -> Outcome {
    let (n_moves, n_dead) =
        (stage.fleet.database.n_moves().await?, stage.fleet.database.n_dead().await?);
    stage.broken_at = Instant::now();
    let mut session = stage.fleet.database.session("migration").await?;
    execute(&mut session, &format!("BEGIN; LOCK TABLE {what} IN ACCESS EXCLUSIVE MODE")).await?;
    sleep(HELD).await;
    execute(&mut session, "ROLLBACK").await?;
    session.close().await?;
    let stalls = stage.load.world.record.stalls(stage.broken_at, Instant::now());
    stage.note(format!("meanwhile: {stalls}"));
    stage.recover(WELL).await?;
    nothing_moved(stage, n_moves, n_dead).await
}

fn locked(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    lock(stage, "heads, fences").boxed()
}

fn locked_members(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    lock(stage, "members").boxed()
}

fn exhausted(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    lock(stage, "snapshots").boxed()
}

fn held_up(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    async move {
        let n = stage.anyone(3);
        let me = stage.fleet.incarnation(n).await?;
        let name = format!("outrider {} {me}", stage.fleet.nodes[n].name);
        let mut session = stage.fleet.database.session(&name).await?;
        stage.broken_at = Instant::now();
        stage.fleet.nodes[n].signal("STOP").await?;
        let locking = format!(
            "BEGIN; SELECT count(*) FROM (SELECT FROM heads WHERE incarnation = {me} FOR UPDATE) locked;
             SELECT count(*) FROM (SELECT FROM fences WHERE incarnation = {me} FOR UPDATE) locked"
        );
        execute(&mut session, &locking).await?;
        let locked_at = Instant::now();
        let witness = (n + 1) % 3;
        loop {
            let picture = stage.fleet.picture(witness).await?;
            if !picture.shards.iter().any(|it| it.owner == Some(me)) {
                break;
            }
            if locked_at.elapsed() > Duration::from_secs(15) {
                return Err("the others wait for the locks of the dead".into());
            }
            sleep(Duration::from_millis(20)).await;
        }
        stage.note(format!("everything was taken after {} ms", locked_at.elapsed().as_millis()));
        let is_ended = session.ping().await.is_err();
        stage.expect(is_ended, "the session of the dead was not ended");
        stage.fleet.nodes[n].signal("CONT").await?;
        let status = stage.fleet.nodes[n].ended(Duration::from_secs(10)).await?;
        stage.expect(!status.success(), "the zombie ended as if nothing had happened");
        stage.fleet.nodes[n].start()
    }
    .boxed()
}

fn crowded_out(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    async move {
        let n_dead = stage.fleet.database.n_dead().await?;
        // They count as dead, so that nobody gives them anything; the rows are as busy as any.
        let crowd = "INSERT INTO members (incarnation, node, card, reads, writes, standing)
            SELECT 1000000 + n, 'crowd-' || n, card, reads, writes, 'dead'
            FROM generate_series(1, 100) n, (SELECT * FROM members LIMIT 1) one";
        stage.broken_at = Instant::now();
        stage.fleet.database.execute(crowd).await?;
        let mut old = stage.fleet.database.session("report").await?;
        execute(&mut old, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM members")
            .await?;
        let mut renewing = JoinSet::new();
        for part in 0..4 {
            let mut session = stage.fleet.database.session("crowd").await?;
            renewing.spawn(async move {
                let renew = |n: usize| {
                    format!(
                        "UPDATE members SET renewals = renewals + 1, renewed_at = clock_timestamp()
                         WHERE incarnation = {}",
                        1_000_001 + part * 25 + n % 25
                    )
                };
                let mut every = tokio::time::interval(Duration::from_millis(16));
                for n in 0.. {
                    every.tick().await;
                    if execute(&mut session, &renew(n)).await.is_err() {
                        return;
                    }
                }
            });
        }
        sleep(Duration::from_secs(5)).await;
        stage.fleet.nodes[2].kill().await?;
        let took = stage.fleet.well(Duration::from_secs(15)).await?;
        stage.note(format!("everything was taken within {} ms", took.as_millis()));
        sleep(Duration::from_secs(3)).await;
        for n in 0..2 {
            let metrics = stage.fleet.metrics(n).await?;
            let renewal = quantile(&metrics, "outrider_cluster_renew_seconds", 0.99);
            stage.note(format!("node {n} renewed within {} s (p99)", renewal.unwrap_or(f64::NAN)));
            let is_quick = renewal.is_some_and(|it| it < RENEWAL_MAX_S);
            stage.expect(is_quick, format!("node {n} renewed within {renewal:?} s"));
        }
        renewing.abort_all();
        execute(&mut old, "ROLLBACK").await?;
        let n_dead = stage.fleet.database.n_dead().await? - n_dead;
        stage.expect(n_dead == 1, format!("{n_dead} nodes were declared dead"));
        stage.fleet.nodes[2].start()
    }
    .boxed()
}

/// Within how much a share of what a node has counted lies, as Prometheus is told: the first bucket that
/// holds so many.
fn quantile(metrics: &str, name: &str, share: f64) -> Option<f64> {
    let bucket = format!("{name}_bucket{{le=\"");
    let buckets: Vec<(f64, f64)> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix(&bucket)?.split_once("\"} "))
        .filter_map(|(within, n)| Some((within.parse().ok()?, n.parse().ok()?)))
        .collect();
    let (_, all) = buckets.last()?;
    buckets.iter().find(|(_, n)| *n >= share * all).map(|(within, _)| *within)
}

fn throttled(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    async move {
        let n = stage.anyone(3);
        let (n_moves, n_dead) =
            (stage.fleet.database.n_moves().await?, stage.fleet.database.n_dead().await?);
        stage.broken_at = Instant::now();
        while stage.broken_at.elapsed() < Duration::from_secs(6) {
            stage.fleet.nodes[n].signal("STOP").await?;
            sleep(Duration::from_millis(90)).await;
            stage.fleet.nodes[n].signal("CONT").await?;
            sleep(Duration::from_millis(10)).await;
        }
        let stalls = stage.load.world.record.stalls(stage.broken_at, Instant::now());
        stage.note(format!("meanwhile: {stalls}"));
        stage.recover(WELL).await?;
        nothing_moved(stage, n_moves, n_dead).await
    }
    .boxed()
}

fn hot(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    async move {
        let before = Instant::now();
        sleep(Duration::from_secs(3)).await;
        stage.broken_at = Instant::now();
        let calm = stage.load.world.record.stalls(before, stage.broken_at);
        let guests = stage.load.crowd(40);
        sleep(Duration::from_secs(8)).await;
        let record = &stage.load.world.record;
        let now = Instant::now();
        let others = record.stalls_of(stage.broken_at, now, |client| !guests.contains(&client));
        let crowd = record.stalls_of(stage.broken_at, now, |client| guests.contains(&client));
        stage.note(format!("the crowd: {crowd}"));
        stage.note(format!("the others: {others}"));
        let is_fair = others.p99_ms < (calm.p99_ms * 5.0).max(1_000.0);
        let (others, calm) = (others.p99_ms, calm.p99_ms);
        stage.expect(is_fair, format!("the others' p99 rose from {calm:.0} to {others:.0} ms"));
        Ok(())
    }
    .boxed()
}
