//! Networks that are cut, in one direction or both, or lose some of what they carry.

use super::{How, Needs, Scenario, Stage};
use crate::{
    Outcome,
    fleet::network::{Cut, Far, Network},
};
use futures_util::future::{BoxFuture, FutureExt};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// How long a cluster may take to be calm once everybody is connected again.
const WELL: Duration = Duration::from_secs(100);
/// How long a cut lasts.
const CUT: Duration = Duration::from_secs(8);
/// Three nodes that can be cut off.
const APART: Needs = Needs { has_network: true, ..Needs::USUAL };

pub(super) const SCENARIOS: [Scenario; 6] = [
    Scenario {
        number: "8",
        fault: "one node is cut from the others, all of them reach Postgres",
        expected: "nobody is declared dead; what it has it keeps, or gives to those who hear each other",
        how: How::Run(APART, parted, WELL),
        is_quick: false,
    },
    Scenario {
        number: "9",
        fault: "one node is cut from Postgres only",
        expected: "it stops serving when its lease is over; the others take its shards; it exits when it hears",
        how: How::Run(APART, fenced, WELL),
        is_quick: true,
    },
    Scenario {
        number: "10",
        fault: "one node hears nobody, and is heard",
        expected: "as 8; nothing flaps",
        how: How::Run(APART, deaf, WELL),
        is_quick: false,
    },
    Scenario {
        number: "10b",
        fault: "one node is not heard, and hears",
        expected: "as 8; nothing flaps",
        how: How::Run(APART, mute, WELL),
        is_quick: false,
    },
    Scenario {
        number: "31",
        fault: "the connection a node listens to changes with dies silently; then another node is killed",
        expected: "it sees what has changed all the same, by looking",
        how: How::Run(APART, forgotten, WELL),
        is_quick: false,
    },
    Scenario {
        number: "32",
        fault: "a twentieth of what a node and NATS tell each other is lost",
        expected: "slower, and nothing else: TCP repeats, and puts in order",
        how: How::Run(APART, lossy, WELL),
        is_quick: false,
    },
];

fn network(stage: &Stage) -> Outcome<&Network> {
    stage.fleet.network.as_ref().ok_or_else(|| "this scenario needs a network".into())
}

async fn cut_from_others(stage: &mut Stage, how: Cut, lasting: Duration) -> Outcome {
    let n = stage.anyone(3);
    let (n_moves, n_dead) =
        (stage.fleet.database.n_moves().await?, stage.fleet.database.n_dead().await?);
    stage.broken_at = Instant::now();
    network(stage)?.cut(n, Far::Broker, how).await?;
    sleep(lasting).await;
    let stalls = stage.load.world.record.stalls(stage.broken_at, Instant::now());
    stage.note(format!("meanwhile: {stalls}"));
    network(stage)?.heal(n).await?;
    stage.recover(WELL).await?;
    let n_moves = stage.fleet.database.n_moves().await? - n_moves;
    stage.note(format!("{n_moves} shards moved"));
    let n_dead = stage.fleet.database.n_dead().await? - n_dead;
    stage.expect(n_dead == 0, format!("{n_dead} nodes were declared dead"));
    Ok(())
}

fn parted(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    cut_from_others(stage, Cut::Both, CUT).boxed()
}

fn deaf(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    cut_from_others(stage, Cut::Deaf, CUT).boxed()
}

fn mute(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    cut_from_others(stage, Cut::Mute, CUT).boxed()
}

fn lossy(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    cut_from_others(stage, Cut::Lossy(5), CUT * 2).boxed()
}

fn fenced(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    async move {
        let n = stage.anyone(3);
        let witness = (n + 1) % 3;
        let me = stage.fleet.incarnation(n).await?;
        stage.broken_at = Instant::now();
        network(stage)?.cut(n, Far::Database, Cut::Both).await?;
        let began = Instant::now();
        loop {
            let picture = stage.fleet.picture(witness).await?;
            if !picture.shards.iter().any(|it| it.owner == Some(me)) {
                break;
            }
            if began.elapsed() > Duration::from_secs(15) {
                return Err("the others do not take over".into());
            }
            sleep(Duration::from_millis(20)).await;
        }
        stage.note(format!("the others had everything after {} ms", began.elapsed().as_millis()));
        sleep(CUT.saturating_sub(began.elapsed())).await;
        let stalls = stage.load.world.record.stalls(stage.broken_at, Instant::now());
        stage.note(format!("meanwhile: {stalls}"));
        network(stage)?.heal(n).await?;
        let status = stage.fleet.nodes[n].ended(Duration::from_secs(20)).await?;
        stage.expect(!status.success(), "the node ended as if nothing had happened");
        stage.fleet.nodes[n].start()
    }
    .boxed()
}

fn forgotten(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    async move {
        let (n, other) = (0, 1);
        // In silence it asks whether the other end is still there.
        let port = "SELECT client_port::int8 FROM pg_stat_activity
            WHERE application_name LIKE 'outrider node-0 %' AND (query LIKE 'LISTEN%' OR query = 'SELECT 1')
            ORDER BY backend_start DESC LIMIT 1";
        let port = stage.fleet.database.number(port).await?;
        network(stage)?.cut_connection(n, port).await?;
        stage.broken_at = Instant::now();
        stage.fleet.nodes[other].kill().await?;
        let took = stage.fleet.well(Duration::from_secs(15)).await?;
        stage.note(format!("both others knew everything after {} ms", took.as_millis()));
        network(stage)?.heal(n).await?;
        stage.fleet.nodes[other].start()
    }
    .boxed()
}
