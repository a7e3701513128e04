//! Starts a region when something is first listed in it, and its successor when it falls.

use super::{
    World,
    area::Area,
    live::{Call, Region},
};
use crate::listing::RegionId;
use ractor::{
    Actor, ActorId, ActorProcessingErr, ActorRef, ActorRuntime, RpcReplyPort, SpawnErr,
    SupervisionEvent,
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tracing::{error, warn};

/// A region that falls again before it has matched this often waits before it starts again.
const N_TICKS_HEALTHY: u64 = 10;
/// How long it waits, for each time it fell.
const BREATHER: Duration = Duration::from_millis(250);
/// At most this many times as long.
const N_BREATHERS_MAX: u32 = 20;

/// Supervises all regions of a node.
pub(super) struct Keeper;

/// What the keeper is told. There are never more orders under way than regions, and callers of `tick`.
#[derive(Debug)]
pub(super) enum Order {
    /// The area needs its actor.
    Wake(Arc<Area>),
    /// Who is awake, in the order of their cells?
    Roll(RpcReplyPort<Vec<(RegionId, ActorRef<Call>)>>),
}

pub(super) struct Roll {
    world: Arc<World>,
    awake: HashMap<ActorId, Awake>,
}

struct Awake {
    area: Arc<Area>,
    actor: ActorRef<Call>,
    /// How often the area had matched when this actor started.
    n_ticks_before: u64,
    /// How often its predecessors fell in a row.
    n_falls: u32,
}

impl Actor for Keeper {
    type Msg = Order;
    type State = Roll;
    type Arguments = Arc<World>;

    async fn pre_start(
        &self,
        _myself: ActorRef<Order>,
        world: Arc<World>,
    ) -> Result<Roll, ActorProcessingErr> {
        Ok(Roll { world, awake: HashMap::new() })
    }

    async fn handle(
        &self,
        myself: ActorRef<Order>,
        order: Order,
        roll: &mut Roll,
    ) -> Result<(), ActorProcessingErr> {
        match order {
            Order::Wake(area) => roll.wake(&myself, area, 0),
            Order::Roll(reply) => {
                let mut awake: Vec<&Awake> = roll.awake.values().collect();
                awake.sort_by_key(|it| it.area.region);
                // Whoever asked may have gone away.
                let awake = awake.iter().map(|it| (it.area.region, it.actor.clone()));
                reply.send(awake.collect()).ok();
            }
        }
        Ok(())
    }

    /// ractor's default stops the parent when any child stops; here a child stopping is routine.
    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Order>,
        event: SupervisionEvent,
        roll: &mut Roll,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(gone, error) => {
                if let Some(fallen) = roll.awake.remove(&gone.get_id()) {
                    let region = fallen.area.region;
                    warn!(%region, %error, "region fell");
                    roll.succeed(&myself, fallen);
                }
            }
            SupervisionEvent::ActorTerminated(gone, ..) => {
                roll.awake.remove(&gone.get_id());
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => (),
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        myself: ActorRef<Order>,
        _roll: &mut Roll,
    ) -> Result<(), ActorProcessingErr> {
        myself.stop_children(None);
        Ok(())
    }
}

impl Roll {
    fn wake(&mut self, myself: &ActorRef<Order>, area: Arc<Area>, n_falls: u32) {
        match self.spawn(myself, area.clone(), n_falls) {
            Ok(actor) => {
                let n_ticks_before = area.stats().n_ticks;
                let awake = Awake { area, actor, n_ticks_before, n_falls };
                self.awake.insert(awake.actor.get_id(), awake);
            }
            Err(error) => error!(region = %area.region, %error, "region did not start"),
        }
    }

    /// Unnamed: ractor frees a name late, and a quick successor could find its own name taken.
    fn spawn(
        &self,
        myself: &ActorRef<Order>,
        area: Arc<Area>,
        n_falls: u32,
    ) -> Result<ActorRef<Call>, SpawnErr> {
        // The first successor starts at once; one that keeps falling must not keep a core busy.
        let rest = BREATHER * n_falls.saturating_sub(1).min(N_BREATHERS_MAX);
        let region = Region { world: self.world.clone(), area, rest };
        let (actor, _started) =
            ActorRuntime::spawn_linked_instant(None, region, (), myself.get_cell())?;
        Ok(actor)
    }

    fn succeed(&mut self, myself: &ActorRef<Order>, fallen: Awake) {
        fallen.area.record(|stats| {
            stats.n_falls += 1;
            (stats.n_drivers, stats.n_searches, stats.n_held) = (0, 0, 0);
        });
        let was_healthy = fallen.area.stats().n_ticks >= fallen.n_ticks_before + N_TICKS_HEALTHY;
        let n_falls = if was_healthy { 1 } else { fallen.n_falls + 1 };
        self.wake(myself, fallen.area, n_falls);
    }
}
