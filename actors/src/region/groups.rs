//! What of what waits in a region would be brought together, for whoever asks: as the region itself looks, with what it knows,
//! and nobody is told.
//!
//! ```text
//!  whoever asks ──► Regions::groups ──► the region: what it knows ──► matching::region::Batching, on a thread of its own
//! ```

use super::{Regions, live};
use crate::{DriverCard, SearchCard, listing::RegionId};
use matching::{
    batch::{Against, Assigned, Chosen, Engine, Leeway},
    region::{Batching, Groups},
};
use protocol::Point;
use ractor::RpcReplyPort;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A region that is so busy answers nobody who only asks.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// What staff want to have brought together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// What.
    pub cards: Vec<SearchCard>,
    /// By whom; whoever is best placed, if absent.
    pub driver: Option<DriverCard>,
    /// What of the rules they overrule.
    pub leeway: Leeway,
}

impl Regions {
    /// What would be brought together in a region now, of what is in these places, and why the rest is alone: of all that waits
    /// there, or of these deliveries. Why the rest is alone is found out only if it is asked. None, if it is matched elsewhere,
    /// or does not answer.
    pub async fn groups(
        &self,
        region: RegionId,
        of: Option<Vec<SearchCard>>,
        says_why: bool,
        contains: impl Fn(Point) -> bool,
    ) -> Option<Groups> {
        let batching = self.batching(region, live::Call::Look).await?.within(contains);
        let batching = match of {
            Some(cards) => batching.of_these(cards),
            None => batching,
        };
        let world = self.world.clone();
        let looking = tokio::task::spawn_blocking(move || {
            let super::Settings { batches, matching, .. } = &world.settings;
            batching.groups(says_why, batches, matching, &*world.router)
        });
        looking.await.ok()
    }

    /// Whether these may be brought together, by a driver who is in these places or the one who is named, and how. None as above.
    pub async fn chosen(
        &self,
        region: RegionId,
        choice: Choice,
        contains: impl Fn(Point) -> bool,
    ) -> Option<Result<Chosen, Vec<Against>>> {
        let Choice { cards, driver, leeway } = choice;
        // Beside one who is named nobody else counts.
        let ask = if driver.is_some() { live::Call::Ways } else { live::Call::Look };
        let batching = self.batching(region, ask).await?.within(contains).of_these(cards);
        let batching = match driver {
            Some(driver) => batching.by([driver]),
            None => batching,
        };
        let world = self.world.clone();
        let choosing = tokio::task::spawn_blocking(move || {
            let super::Settings { batches, matching, .. } = &world.settings;
            batching.chosen(leeway, batches, matching, &*world.router)
        });
        choosing.await.ok()
    }

    /// Which of these drivers brings which of these orders. None as above.
    pub async fn assigned(
        &self,
        region: RegionId,
        cards: Vec<SearchCard>,
        drivers: Vec<DriverCard>,
        engine: Engine,
    ) -> Option<Assigned> {
        let batching = self.batching(region, live::Call::Ways).await?;
        let batching = batching.of_these(cards).by(drivers);
        let world = self.world.clone();
        let assigning = tokio::task::spawn_blocking(move || {
            let super::Settings { batches, matching, .. } = &world.settings;
            batching.assign(engine, batches, matching, &*world.router)
        });
        assigning.await.ok()
    }

    /// What a look would be at; none, if the region is matched elsewhere, or does not answer.
    async fn batching(
        &self,
        region: RegionId,
        ask: fn(RpcReplyPort<Batching>) -> live::Call,
    ) -> Option<Batching> {
        if !self.world.surroundings.is_ours(region) {
            return None;
        }
        let awake = self.awake().await;
        let Some((_, actor)) = awake.into_iter().find(|(it, _)| *it == region) else {
            let middle = h3o::LatLng::from(region.0);
            let middle = Point { lat: middle.lat(), lon: middle.lng() };
            return Some(Batching::of_nobody(middle, self.world.surroundings.now()));
        };
        actor.call(ask, Some(TOLD_WITHIN)).await.ok()?.success_or(()).ok()
    }
}
