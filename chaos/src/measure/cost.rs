//! What commands cost: how many a second, and how much processor time, here and on another node.

use super::Spread;
use crate::{
    Outcome,
    fleet::{Fleet, Needs, Programs},
    load::{Load, MIDDLE, Size, order, phone::Phone},
};
use protocol::{
    CommandId, OrderId, Point, Principal, RiderId, frame,
    work::{OrderAction, Wish},
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// Linux counts processor time in hundredths of a second, whatever the machine.
const TICKS_PER_S: f64 = 100.0;
/// How long a measurement of cost lasts.
const LASTING: Duration = Duration::from_secs(10);
/// How long everybody warms up.
const WARM_UP: Duration = Duration::from_secs(3);
/// How many slices there are of each number of nodes.
const N_SLICES: usize = 3;
/// Places that are tried to find some on each node.
const N_PLACES: i32 = 60;
/// Commands of each sort of ask.
const N_ASKS: usize = 600;

/// The same work on so many nodes.
#[derive(Debug, Serialize)]
pub(super) struct Throughput {
    n_nodes: usize,
    /// Of each slice, in no order.
    commands_per_s: Vec<f64>,
    /// Processor time per command in microseconds, over all slices.
    cpu: Cpu,
}

/// Processor time in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Cpu {
    nodes: f64,
    postgres: f64,
    nats: f64,
}

/// Asking an entity on the node one is connected to, and on another.
#[derive(Debug, Serialize)]
pub(super) struct Asks {
    local_ms: Spread,
    remote_ms: Spread,
    local_cpu: Cpu,
    remote_cpu: Cpu,
}

pub(super) async fn throughput(programs: &Programs, n_nodes: usize) -> Outcome<Throughput> {
    let needs = Needs { n_nodes, ..Needs::USUAL };
    let fleet = Fleet::start(programs, needs).await?;
    let size = Size { n_riders: 96, think: Duration::ZERO, ..Size::USUAL };
    let mut load = Load::start(&fleet, size).await?;
    sleep(WARM_UP).await;
    let (before, began) = (cpu(&fleet)?, load.world.record.n_answered());
    let mut commands_per_s = Vec::new();
    for _ in 0..N_SLICES {
        let (n_before, at) = (load.world.record.n_answered(), Instant::now());
        sleep(LASTING).await;
        let n = load.world.record.n_answered() - n_before;
        commands_per_s.push(n as f64 / at.elapsed().as_secs_f64());
    }
    let n_commands = load.world.record.n_answered() - began;
    let cpu = cpu(&fleet)?.since(before).per(n_commands);
    load.stop().await?;
    Ok(Throughput { n_nodes, commands_per_s, cpu })
}

pub(super) async fn asks(programs: &Programs) -> Outcome<Asks> {
    let fleet = Fleet::start(programs, Needs::USUAL).await?;
    // Nobody else: one phone asks, one command at a time.
    let size = Size { n_riders: 0, n_drivers: 0, n_desks: 0, think: Duration::ZERO };
    let load = Load::start(&fleet, size).await?;
    let me = fleet.incarnation(0).await?;
    let owners: BTreeMap<u16, Option<u64>> =
        fleet.picture(0).await?.shards.iter().map(|it| (it.shard, it.owner)).collect();
    // The nth phone begins at the nth door.
    let mut phone = Phone::new(&load.world, 0, Principal::Rider(RiderId::nth(1)));
    let (mut local, mut remote) = (Vec::new(), Vec::new());
    for n in 0..N_PLACES {
        let at = MIDDLE.offset_m(f64::from(n % 8) * 30_000.0, f64::from(n / 8) * 30_000.0);
        let (id, _) = place_and_cancel(&mut phone, at).await?;
        let is_here = owners.get(&id.shard().0).copied().flatten() == Some(me);
        if is_here { local.push(at) } else { remote.push(at) }
    }
    let before = cpu(&fleet)?;
    let idle_from = Instant::now();
    sleep(LASTING).await;
    let idle = cpu(&fleet)?.since(before).times(1.0 / idle_from.elapsed().as_secs_f64());
    let (local_ms, local_cpu) = ask_at(&fleet, &mut phone, &local, idle).await?;
    let (remote_ms, remote_cpu) = ask_at(&fleet, &mut phone, &remote, idle).await?;
    Ok(Asks { local_ms, remote_ms, local_cpu, remote_cpu })
}

async fn ask_at(
    fleet: &Fleet,
    phone: &mut Phone,
    places: &[Point],
    idle: Cpu,
) -> Outcome<(Spread, Cpu)> {
    let mut times = Vec::new();
    let (before, began) = (cpu(fleet)?, Instant::now());
    for at in places.iter().cycle().take(N_ASKS / 2) {
        let (_, both) = place_and_cancel(phone, *at).await?;
        times.extend(both.map(|it| it.as_secs_f64() * 1_000.0));
    }
    let spent = cpu(fleet)?.since(before);
    let spent = spent.since(idle.times(began.elapsed().as_secs_f64()));
    Ok((Spread::of(times), spent.per(N_ASKS as u64)))
}

async fn place_and_cancel(phone: &mut Phone, at: Point) -> Outcome<(OrderId, [Duration; 2])> {
    let place = Wish::PlaceOrder(Box::new(order(at)));
    let (done, placing) = timed(phone, &place).await?;
    let id: OrderId = done.actor.parse()?;
    let action = OrderAction::Cancel { reason: "measured".to_owned() };
    let (_, cancelling) = timed(phone, &Wish::Order { id, action }).await?;
    Ok((id, [placing, cancelling]))
}

async fn timed(phone: &mut Phone, wish: &Wish) -> Outcome<(frame::Done, Duration)> {
    let (outcome, began, _) = phone.ask(CommandId::mint(), wish).await;
    match outcome {
        Some(frame::Outcome::Ok(done)) => Ok((done, began.elapsed())),
        other => Err(format!("{other:?}").into()),
    }
}

/// What everybody has used so far.
fn cpu(fleet: &Fleet) -> Outcome<Cpu> {
    let one = |pid: Option<u32>| pid.map(|pid| spent_us(pid, false)).unwrap_or_default();
    let nodes = fleet.nodes.iter().map(|node| one(node.pid())).sum();
    let postgres = fleet.database.pid().map(family_us).unwrap_or_default();
    Ok(Cpu { nodes, postgres, nats: one(fleet.broker.pid()) })
}

impl Cpu {
    fn since(self, before: Self) -> Self {
        Self {
            nodes: self.nodes - before.nodes,
            postgres: self.postgres - before.postgres,
            nats: self.nats - before.nats,
        }
    }

    fn times(self, factor: f64) -> Self {
        Self {
            nodes: self.nodes * factor,
            postgres: self.postgres * factor,
            nats: self.nats * factor,
        }
    }

    fn per(self, n: u64) -> Self {
        self.times(1.0 / n.max(1) as f64)
    }
}

/// What a process has used, in microseconds; with that of its children that have ended, or not.
fn spent_us(pid: u32, has_children: bool) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may hold anything but ends with the last parenthesis.
    let fields: Vec<&str> =
        text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let n_fields = if has_children { 4 } else { 2 };
    let ticks: f64 =
        fields.iter().skip(11).take(n_fields).filter_map(|it| it.parse::<f64>().ok()).sum();
    ticks / TICKS_PER_S * 1e6
}

/// What a server and the processes it has started have used.
fn family_us(pid: u32) -> f64 {
    let children =
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let living = children.split_whitespace().filter_map(|it| it.parse().ok());
    spent_us(pid, true) + living.map(|child| spent_us(child, true)).sum::<f64>()
}
