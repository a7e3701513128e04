//! Nodes that die, freeze, leave and come back.

use super::{How, Needs, Scenario, Stage};
use crate::Outcome;
use futures_util::future::{BoxFuture, FutureExt};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// How long a cluster may take to be calm once everybody runs again.
const WELL: Duration = Duration::from_secs(100);
/// How long a node may take to leave by itself.
const LEAVING: Duration = Duration::from_secs(30);
/// How long a zombie may take to find out.
const ENDING: Duration = Duration::from_secs(10);

pub(super) const SCENARIOS: [Scenario; 4] = [
    Scenario {
        number: "1",
        fault: "an owner is killed (kill -9)",
        expected: "its shards are served elsewhere; a repeat hears the one answer; no stall over 3 s",
        how: How::Run(Needs::USUAL, killed, WELL),
        is_quick: true,
    },
    Scenario {
        number: "2",
        fault: "an owner is frozen for 5 s (SIGSTOP)",
        expected: "declared dead when its lease is over; it exits by itself when it wakes",
        how: How::Run(Needs::USUAL, frozen, WELL),
        is_quick: true,
    },
    Scenario {
        number: "11",
        fault: "all nodes are restarted, one after the other",
        expected: "nobody who repeats hears a failure; each shard moves twice at most for each restart",
        how: How::Run(Needs::USUAL, rolled, WELL),
        is_quick: true,
    },
    Scenario {
        number: "12",
        fault: "one node is told to leave (SIGTERM), then two of four at once",
        expected: "everything is handed over in time, and what is left is taken at once",
        how: How::Run(Needs { n_nodes: 4, ..Needs::USUAL }, dismissed, WELL),
        is_quick: false,
    },
];

/// The longest a command may take when a process dies.
const STALL_MAX_MS: f64 = 3_000.0;

fn killed(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    async move {
        let n = stage.anyone(3);
        stage.broken_at = Instant::now();
        stage.fleet.nodes[n].kill().await?;
        let took = stage.fleet.well(Duration::from_secs(15)).await?;
        stage.note(format!("all shards were served by the others after {} ms", took.as_millis()));
        stage.load.everybody_answered(Duration::from_secs(10)).await?;
        let stalls = stage.load.world.record.stalls(stage.broken_at, Instant::now());
        stage.note(format!("without it: {stalls}"));
        stage.expect(
            stalls.max_ms < STALL_MAX_MS,
            format!("a command took {:.0} ms", stalls.max_ms),
        );
        stage.fleet.nodes[n].start()
    }
    .boxed()
}

fn frozen(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    async move {
        let n = stage.anyone(3);
        stage.broken_at = Instant::now();
        stage.fleet.nodes[n].signal("STOP").await?;
        sleep(Duration::from_secs(5)).await;
        let stalls = stage.load.world.record.stalls(stage.broken_at, Instant::now());
        stage.note(format!("while it was frozen: {stalls}"));
        stage.fleet.nodes[n].signal("CONT").await?;
        let status = stage.fleet.nodes[n].ended(ENDING).await?;
        stage.expect(!status.success(), "the zombie ended as if nothing had happened");
        let n_said = stage.fleet.nodes[n].n_said("declared dead");
        stage.expect(n_said > 0, "the zombie did not say why it ended");
        stage.fleet.nodes[n].start()
    }
    .boxed()
}

fn rolled(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    async move {
        let n_before = stage.fleet.database.n_moves().await?;
        stage.broken_at = Instant::now();
        for n in 0..3 {
            stage.fleet.nodes[n].signal("TERM").await?;
            let status = stage.fleet.nodes[n].ended(LEAVING).await?;
            stage.expect(status.success(), format!("node {n} left badly: {status}"));
            stage.fleet.nodes[n].start()?;
            stage.fleet.ready(n, Duration::from_secs(30)).await?;
            stage.fleet.well(WELL).await?;
        }
        let n_moves = stage.fleet.database.n_moves().await? - n_before;
        // Away from whoever leaves, and back: a third of all shards, three times.
        stage.expect(n_moves <= 1_024 * 2 + 512, format!("shards moved {n_moves} times"));
        Ok(())
    }
    .boxed()
}

fn dismissed(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    async move {
        stage.broken_at = Instant::now();
        let began = Instant::now();
        stage.fleet.nodes[0].signal("TERM").await?;
        let status = stage.fleet.nodes[0].ended(LEAVING).await?;
        stage.note(format!("one left in {} ms", began.elapsed().as_millis()));
        stage.expect(status.success(), format!("it left badly: {status}"));
        stage.fleet.nodes[0].start()?;
        stage.fleet.well(WELL).await?;

        let began = Instant::now();
        stage.fleet.nodes[1].signal("TERM").await?;
        stage.fleet.nodes[2].signal("TERM").await?;
        for n in [1, 2] {
            let status = stage.fleet.nodes[n].ended(LEAVING).await?;
            stage.expect(status.success(), format!("node {n} left badly: {status}"));
        }
        stage.note(format!("two left in {} ms", began.elapsed().as_millis()));
        let took = stage.fleet.well(Duration::from_secs(5)).await?;
        stage.note(format!("what was left was taken within {} ms", took.as_millis()));
        stage.fleet.nodes[1].start()?;
        stage.fleet.nodes[2].start()
    }
    .boxed()
}
