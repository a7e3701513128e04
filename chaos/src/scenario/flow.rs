//! What moves: hand-overs that are cut short, nodes that come and go, clocks, repeats, broken rows.

use super::{How, Needs, Scenario, Stage, outage::nothing_moved};
use crate::{
    Outcome,
    load::{order, phone::Phone},
};
use futures_util::future::{BoxFuture, FutureExt, join_all};
use protocol::{
    Code, CommandId, OrderId, Point, Principal, RiderId, frame,
    work::{OrderAction, Wish},
};
use rand::Rng;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// How long a cluster may take to be calm afterwards.
const WELL: Duration = Duration::from_secs(100);
/// Two nodes, and one that may come.
const GROWING: Needs = Needs { n_nodes: 2, n_spare: 1, ..Needs::USUAL };
/// Nodes whose clocks may differ from the signer's: when a token is good is between those two.
const TRUSTING: Needs = Needs { settings: &[("AUTH__LEEWAY", "15m")], ..Needs::USUAL };
/// Where libfaketime is, as Debian has it.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
/// How many sessions hang on one gateway.
const N_SESSIONS: usize = 400;

pub(super) const SCENARIOS: [Scenario; 11] = [
    Scenario {
        number: "13",
        fault: "the source is killed in the middle of hand-overs",
        expected: "what was not handed over is taken like anything of the dead; never two owners",
        how: How::Run(GROWING, source_killed, WELL),
        is_quick: true,
    },
    Scenario {
        number: "14",
        fault: "the target is killed in the middle of hand-overs",
        expected: "what it had been given is taken by the others",
        how: How::Run(GROWING, target_killed, WELL),
        is_quick: false,
    },
    Scenario {
        number: "15",
        fault: "one node's clock is four minutes fast, another's four minutes slow",
        expected: "nothing: leases are told by monotonic clocks, and the fence by none",
        how: How::Run(TRUSTING, skewed_4, WELL),
        is_quick: false,
    },
    Scenario {
        number: "15b",
        fault: "one node's clock is ten minutes fast, another's ten minutes slow",
        expected: "as 15; but a node refuses command ids that it takes to be more than five minutes from the future",
        how: How::Run(TRUSTING, skewed_10, WELL),
        is_quick: false,
    },
    Scenario {
        number: "16",
        fault: "one node's clocks run at half, another's at twice the speed",
        expected: "whoever counts too slowly is fenced; nothing is lost",
        how: How::Run(Needs::USUAL, drifting, WELL),
        is_quick: false,
    },
    Scenario {
        number: "22",
        fault: "connections to Postgres break again and again, after a statement was sent and before its answer",
        expected: "a new epoch decides what has happened; a repeat hears it",
        how: How::Run(Needs::USUAL, doubted, WELL),
        is_quick: true,
    },
    Scenario {
        number: "24",
        fault: "the same command reaches all gateways at once",
        expected: "it is applied once, and all hear the same answer",
        how: How::Run(Needs::USUAL, repeated, WELL),
        is_quick: true,
    },
    Scenario {
        number: "27",
        fault: "an event of one order cannot be read any more, and its owner is killed",
        expected: "that order is refused; everybody else is served; well again when the row is",
        how: How::Run(Needs::USUAL, poisoned, WELL),
        is_quick: false,
    },
    Scenario {
        number: "30",
        fault: "a gateway with 400 sessions is killed",
        expected: "all are connected elsewhere within seconds; actors go on",
        how: How::Run(Needs::USUAL, deserted, WELL),
        is_quick: false,
    },
    Scenario {
        number: "33",
        fault: "a node joins and leaves every 2 s, for 20 s",
        expected: "hardly anything moves: a newcomer is given nothing before it has stayed",
        how: How::Run(Needs { settings: &[("CLUSTER__SETTLE", "5s")], ..GROWING }, flapping, WELL),
        is_quick: false,
    },
    Scenario {
        number: "34",
        fault: "all nodes are killed at once, and all start at once",
        expected: "each shard has one owner, and everybody is served within 10 s",
        how: How::Run(Needs::USUAL, cold, WELL),
        is_quick: true,
    },
];

/// Lets the third node come, and waits until shards move to it.
async fn moving(stage: &mut Stage) -> Outcome<usize> {
    stage.broken_at = Instant::now();
    stage.fleet.nodes[2].start()?;
    let began = Instant::now();
    loop {
        for n in 0..2 {
            let picture = stage.fleet.picture(n).await?;
            if !picture.moves.is_empty() {
                // Somewhere in the middle of them.
                let wait = Duration::from_millis(stage.dice.random_range(0..200));
                sleep(wait).await;
                return Ok(n);
            }
        }
        if began.elapsed() > WELL {
            return Err("nothing moves to the newcomer".into());
        }
        sleep(Duration::from_millis(5)).await;
    }
}

fn source_killed(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    async move {
        let source = moving(stage).await?;
        let n_moves = stage.fleet.database.n_moves().await?;
        stage.fleet.nodes[source].kill().await?;
        stage.note(format!("node {source} was killed after {n_moves} moves"));
        let took = stage.fleet.well(WELL).await?;
        stage.note(format!("all was well after {} ms", took.as_millis()));
        stage.fleet.nodes[source].start()
    }
    .boxed()
}

fn target_killed(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    async move {
        moving(stage).await?;
        let n_moves = stage.fleet.database.n_moves().await?;
        stage.fleet.nodes[2].kill().await?;
        stage.note(format!("the target was killed after {n_moves} moves"));
        let took = stage.fleet.well(WELL).await?;
        stage.note(format!("all was well after {} ms", took.as_millis()));
        stage.fleet.nodes[2].start()
    }
    .boxed()
}

async fn restart_with(stage: &mut Stage, n: usize, clock: &str, steady: &str) -> Outcome {
    if !std::path::Path::new(FAKETIME).exists() {
        return Err(format!("{FAKETIME} is missing: install faketime").into());
    }
    stage.fleet.nodes[n].signal("TERM").await?;
    stage.fleet.nodes[n].ended(Duration::from_secs(30)).await?;
    let environment = [
        ("LD_PRELOAD", FAKETIME.to_owned()),
        ("FAKETIME", clock.to_owned()),
        ("DONT_FAKE_MONOTONIC", steady.to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", steady.to_owned()),
    ];
    stage.fleet.nodes[n].start_with(&environment)
}

fn skewed_4(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    skewed(stage, "240s").boxed()
}

fn skewed_10(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    skewed(stage, "600s").boxed()
}

async fn skewed(stage: &mut Stage, by: &str) -> Outcome {
    stage.broken_at = Instant::now();
    restart_with(stage, 0, &format!("+{by}"), "1").await?;
    stage.fleet.well(WELL).await?;
    restart_with(stage, 1, &format!("-{by}"), "1").await?;
    stage.recover(WELL).await?;
    let (n_moves, n_dead) =
        (stage.fleet.database.n_moves().await?, stage.fleet.database.n_dead().await?);
    sleep(Duration::from_secs(5)).await;
    nothing_moved(stage, n_moves, n_dead).await?;
    // A repeat reaches any of them, and is as old or as new as its clock says.
    for n in 0..2 {
        restart_with(stage, n, "+0", "1").await?;
        stage.fleet.well(WELL).await?;
    }
    Ok(())
}

fn drifting(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    async move {
        stage.broken_at = Instant::now();
        restart_with(stage, 0, "+0 x2.0", "0").await?;
        stage.fleet.well(WELL).await?;
        restart_with(stage, 1, "+0 x0.5", "0").await?;
        stage.recover(WELL).await?;
        sleep(Duration::from_secs(5)).await;
        // The quick one is killed: the slow one must not serve on.
        stage.fleet.nodes[0].kill().await?;
        let took = stage.fleet.well(WELL).await?;
        stage.note(format!("all was well after {} ms", took.as_millis()));
        stage.fleet.nodes[0].start()
    }
    .boxed()
}

fn doubted(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    async move {
        stage.broken_at = Instant::now();
        let n_dead = stage.fleet.database.n_dead().await?;
        let mut n_broken = 0;
        // Sessions that write at this moment: some have committed, and cannot say so. Looked for where they are: a
        // commit is over sooner than a question from here is asked.
        let watching = "CREATE FUNCTION chaos_break() RETURNS bigint LANGUAGE plpgsql AS $$
            DECLARE
                n_broken bigint := 0;
                until CONSTANT timestamptz := clock_timestamp() + interval '1 s';
            BEGIN
                WHILE n_broken = 0 AND clock_timestamp() < until LOOP
                    PERFORM pg_sleep(0.001), pg_stat_clear_snapshot();
                    SELECT count(pg_terminate_backend(pid)) INTO n_broken FROM (
                        SELECT pid FROM pg_stat_activity
                        WHERE application_name LIKE 'outrider node-%' AND backend_xid IS NOT NULL
                            AND query NOT LIKE '%members%' LIMIT 1) one;
                END LOOP;
                RETURN n_broken;
            END $$";
        stage.fleet.database.execute(watching).await?;
        while stage.broken_at.elapsed() < Duration::from_secs(10) {
            n_broken += stage.fleet.database.number("SELECT chaos_break()").await?;
            let pause = stage.dice.random_range(20..150);
            sleep(Duration::from_millis(pause)).await;
        }
        stage.fleet.database.execute("DROP FUNCTION chaos_break()").await?;
        stage.note(format!("{n_broken} connections broke while they wrote"));
        stage.expect(n_broken > 10, format!("only {n_broken} connections broke"));
        stage.recover(WELL).await?;
        let n_dead = stage.fleet.database.n_dead().await? - n_dead;
        stage.expect(n_dead == 0, format!("{n_dead} nodes were declared dead"));
        Ok(())
    }
    .boxed()
}

fn repeated(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    async move {
        stage.broken_at = Instant::now();
        let me = Principal::Rider(RiderId::nth(900_001));
        let mut phones: Vec<Phone> = (0..6).map(|n| Phone::new(&stage.load.world, n, me)).collect();
        for round in 0..40 {
            let at = Point { lat: -1.9 + f64::from(round) * 0.05, lon: 30.0 };
            let place = Wish::PlaceOrder(Box::new(order(at)));
            let placed = ask_all(&mut phones, &place).await?;
            let id: OrderId = placed.actor.parse()?;
            let action = OrderAction::Cancel { reason: "twice".to_owned() };
            ask_all(&mut phones, &Wish::Order { id, action }).await?;
        }
        stage.note("80 commands through three gateways, twice each, at once: one answer each");
        Ok(())
    }
    .boxed()
}

/// Sends one command on all phones at once; everybody must hear the same yes.
async fn ask_all(phones: &mut [Phone], wish: &Wish) -> Outcome<frame::Done> {
    let id = CommandId::mint();
    let answers = join_all(phones.iter_mut().map(|phone| phone.ask(id, wish))).await;
    let mut heard = answers.into_iter().map(|(outcome, ..)| outcome);
    let first = heard.next().flatten().ok_or("nobody answered")?;
    if let Some(other) = heard.find(|it| it.as_ref() != Some(&first)) {
        return Err(format!("{first:?} and {other:?} to one command").into());
    }
    match first {
        frame::Outcome::Ok(done) => Ok(done),
        frame::Outcome::Refused(refused) => Err(refused.to_string().into()),
    }
}

fn poisoned(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    async move {
        stage.broken_at = Instant::now();
        let me = Principal::Rider(RiderId::nth(900_002));
        let mut phone = Phone::new(&stage.load.world, 0, me);
        let place = Wish::PlaceOrder(Box::new(order(Point { lat: -1.0, lon: 31.0 })));
        let (outcome, ..) = phone.ask(CommandId::mint(), &place).await;
        let Some(frame::Outcome::Ok(done)) = outcome else {
            return Err(format!("{outcome:?}").into());
        };
        let id: OrderId = done.actor.parse()?;
        let (uuid, poison) = (id.0, "SET session_replication_role = replica");
        stage
            .fleet
            .database
            .execute(&format!(
                "{poison}; CREATE TABLE chaos_kept AS SELECT * FROM events WHERE id = '{uuid}';
             CREATE TABLE chaos_snapshots AS SELECT * FROM snapshots WHERE id = '{uuid}';
             UPDATE events SET bytes = '\\x00' WHERE id = '{uuid}';
             DELETE FROM snapshots WHERE id = '{uuid}'"
            ))
            .await?;
        let shard = id.shard().0;
        let picture = stage.fleet.picture(0).await?;
        let owner = picture.shards.iter().find(|it| it.shard == shard).and_then(|it| it.owner);
        let mut victim = 0;
        for n in 0..3 {
            if Some(stage.fleet.incarnation(n).await?) == owner {
                victim = n;
            }
        }
        stage.fleet.nodes[victim].kill().await?;
        stage.fleet.well(Duration::from_secs(15)).await?;
        stage.load.everybody_answered(Duration::from_secs(30)).await?;
        let action = OrderAction::Cancel { reason: "is it there?".to_owned() };
        let cancel = Wish::Order { id, action };
        let mut codes = Vec::new();
        for _ in 0..6 {
            let (outcome, ..) =
                phone.try_ask(CommandId::mint(), &cancel, Duration::from_secs(3)).await;
            let code = match outcome {
                Some(frame::Outcome::Ok(_)) => return Err("a broken order said yes".into()),
                Some(frame::Outcome::Refused(refused)) => Some(refused.code),
                None => None,
            };
            codes.push(code);
        }
        stage.note(format!("the broken order said {codes:?}"));
        let is_aside = codes.contains(&Some(Code::Quarantined));
        stage.expect(is_aside, "the broken order was not set aside");
        stage.load.everybody_answered(Duration::from_secs(30)).await?;
        // The row is mended before anybody proves the journal sound.
        stage
            .fleet
            .database
            .execute(&format!(
                "{poison}; UPDATE events e SET bytes = k.bytes FROM chaos_kept k
                WHERE e.shard = k.shard AND e.seq = k.seq;
             INSERT INTO snapshots SELECT * FROM chaos_snapshots ON CONFLICT DO NOTHING;
             DROP TABLE chaos_kept, chaos_snapshots"
            ))
            .await?;
        stage.fleet.nodes[victim].start()
    }
    .boxed()
}

fn deserted(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    async move {
        let victim = 1;
        let phones = (0..N_SESSIONS).map(|n| {
            let me = Principal::Rider(RiderId::nth(800_000 + n as u64));
            // The nth client begins at the nth door.
            let mut phone = Phone::new(&stage.load.world, victim, me);
            async move {
                phone.connect().await;
                phone
            }
        });
        let mut phones = join_all(phones).await;
        stage.broken_at = Instant::now();
        stage.fleet.nodes[victim].kill().await?;
        let killed_at = Instant::now();
        let again = phones.iter_mut().map(|phone| async move {
            // A phone finds out, and comes back after a moment that differs.
            let jitter = Duration::from_millis(phone.dice.random_range(0..500));
            phone.rest(Duration::from_millis(100)).await;
            sleep(jitter).await;
            while !phone.connect().await {
                sleep(Duration::from_millis(50)).await;
            }
            killed_at.elapsed()
        });
        let last = join_all(again).await.into_iter().max().unwrap_or_default();
        stage.note(format!("{N_SESSIONS} sessions were back after {} ms", last.as_millis()));
        stage.expect(last < Duration::from_secs(10), format!("the last was back after {last:?}"));
        stage.fleet.nodes[victim].start()
    }
    .boxed()
}

fn flapping(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    async move {
        let n_before = stage.fleet.database.n_moves().await?;
        stage.broken_at = Instant::now();
        while stage.broken_at.elapsed() < Duration::from_secs(20) {
            stage.fleet.nodes[2].start()?;
            sleep(Duration::from_secs(2)).await;
            stage.fleet.nodes[2].signal("TERM").await?;
            stage.fleet.nodes[2].ended(Duration::from_secs(15)).await?;
        }
        let n_moves = stage.fleet.database.n_moves().await? - n_before;
        stage.note(format!("{n_moves} shards moved meanwhile"));
        stage.expect(n_moves < 100, format!("{n_moves} shards moved for a guest"));
        Ok(())
    }
    .boxed()
}

fn cold(stage: &mut Stage) -> BoxFuture<'_, Outcome> {
    async move {
        stage.broken_at = Instant::now();
        let killing = stage.fleet.nodes.iter_mut().map(|node| node.kill());
        for outcome in join_all(killing).await {
            outcome?;
        }
        let before = stage.load.world.record.counts().0;
        for node in &mut stage.fleet.nodes {
            node.start()?;
        }
        let began = Instant::now();
        while stage.load.world.record.counts().0 == before {
            if began.elapsed() > WELL {
                return Err("nobody is served".into());
            }
            sleep(Duration::from_millis(10)).await;
        }
        let first = began.elapsed();
        stage.note(format!("the first yes came after {} ms", first.as_millis()));
        stage.expect(first < Duration::from_secs(10), format!("the first yes took {first:?}"));
        Ok(())
    }
    .boxed()
}
