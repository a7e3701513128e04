//! Who is listed in which region, so that only those are asked when a region has forgotten them: of all who
//! are awake, few are listed, and shards move hundreds at a time.

use super::{Hosted, System, by_kind, shard::Instruction};
use crate::{
    EntityKey,
    listing::{Listing, RegionId},
};
use protocol::ShardSet;
use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use uuid::Uuid;

/// How long it may take until entities list themselves where regions are now.
const RELIST_AFTER: Duration = Duration::from_millis(100);

/// The entities of this node that are listed, by region.
#[derive(Debug, Default)]
pub(super) struct Enrolled(Mutex<HashMap<RegionId, HashMap<EntityKey, u32>>>);

impl Enrolled {
    /// Takes note that an entity is listed in a region, until what comes back is dropped: whatever becomes
    /// of the entity, its place is given up.
    fn enrol(self: &Arc<Self>, region: RegionId, entity: EntityKey) -> Enrolment {
        // Counted: an entity that fell may give its place up after its successor has taken it.
        *self.lock().entry(region).or_default().entry(entity).or_default() += 1;
        Enrolment { among: Arc::clone(self), region, entity }
    }

    /// Everybody who is listed in a region that `fits`.
    fn all(&self, mut fits: impl FnMut(RegionId) -> bool) -> Vec<EntityKey> {
        let by_region = self.lock();
        let regions = by_region.iter().filter(|(region, _)| fits(**region));
        regions.flat_map(|(_, entities)| entities.keys().copied()).collect()
    }

    /// Everybody who is listed in one region.
    fn of(&self, region: RegionId) -> Vec<EntityKey> {
        self.lock().get(&region).map(|it| it.keys().copied().collect()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RegionId, HashMap<EntityKey, u32>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An entity's place among those who are listed.
#[derive(Debug)]
struct Enrolment {
    among: Arc<Enrolled>,
    region: RegionId,
    entity: EntityKey,
}

impl Drop for Enrolment {
    fn drop(&mut self) {
        let mut by_region = self.among.lock();
        let Some(entities) = by_region.get_mut(&self.region) else { return };
        if let Some(n) = entities.get_mut(&self.entity) {
            *n -= 1;
            if *n == 0 {
                entities.remove(&self.entity);
            }
        }
        if entities.is_empty() {
            by_region.remove(&self.region);
        }
    }
}

/// What regions were last told of an entity.
#[derive(Debug)]
pub(super) struct Listed {
    listing: Listing,
    enrolment: Enrolment,
}

impl Listed {
    /// Tells regions what changed, if anything did.
    pub(super) fn follow(
        listed: &mut Option<Box<Self>>,
        system: &System,
        entity: EntityKey,
        new: Option<Listing>,
    ) {
        if new.as_ref() == listed.as_ref().map(|it| &it.listing) {
            return;
        }
        let Some(new) = new else {
            let gone = listed.take();
            return system.list(entity, gone.as_ref().map(|it| &it.listing), None);
        };
        // Before regions are told: one that forgets it a moment later must find it.
        let enrol = || system.0.enrolled.enrol(new.region, entity);
        let Some(listed) = listed else {
            let enrolment = enrol();
            system.list(entity, None, Some(&new));
            *listed = Some(Box::new(Self { listing: new, enrolment }));
            return;
        };
        if listed.enrolment.region != new.region {
            listed.enrolment = enrol();
        }
        let old = mem::replace(&mut listed.listing, new);
        system.list(entity, Some(&old), Some(&listed.listing));
    }

    /// Tells regions once more: some may have forgotten it.
    pub(super) fn repeat(&self, system: &System) {
        system.list(self.enrolment.entity, None, Some(&self.listing));
    }
}

impl System {
    /// Lets those who are listed in a region tell it again.
    pub(super) fn relist_region(&self, region: RegionId) {
        self.ask_to_relist(self.0.enrolled.of(region));
    }

    /// The same for all whose regions, or those who look at their rosters, are on other nodes now.
    ///
    /// Shards move hundreds at a time: so not at once, but once for all that move within a moment.
    pub(super) fn relist(&self, moved: &ShardSet) {
        let Some(membership) = self.membership() else { return };
        let is_asked = {
            let mut state = membership.state();
            let is_asked = state.relisting.is_some();
            let all = state.relisting.get_or_insert_default();
            for shard in moved.iter() {
                all.insert(shard);
            }
            is_asked
        };
        if is_asked {
            return;
        }
        let system = self.clone();
        self.spawn(async move {
            tokio::time::sleep(RELIST_AFTER).await;
            let moved = system.membership().and_then(|it| it.state().relisting.take());
            let rings = system.regions().rings();
            let has_moved = |it: RegionId| moved.is_some_and(|moved| moved.contains(it.shard()));
            let is_near = |it: RegionId| it.disk(rings).any(has_moved);
            system.ask_to_relist(system.0.enrolled.all(is_near));
        });
    }

    fn ask_to_relist(&self, entities: Vec<EntityKey>) {
        let mut by_shard: BTreeMap<_, Vec<Uuid>> = BTreeMap::new();
        for entity in entities {
            by_shard.entry((entity.shard(), entity.kind)).or_default().push(entity.id);
        }
        for ((shard, kind), mut ids) in by_shard {
            ids.sort_unstable();
            let relist = Instruction::Relist(ids.into());
            by_kind!(kind, D => D::shards(self).order(shard, &relist));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{DriverId, OrderId, Point};

    #[test]
    fn a_region_asks_for_those_who_are_listed_in_it_and_for_nobody_else() {
        let among = Arc::<Enrolled>::default();
        let here = RegionId::at(Point { lat: -1.95, lon: 30.06 });
        let there = RegionId::at(Point { lat: 6.5, lon: 3.4 });
        let (driver, order) = (EntityKey::from(DriverId::nth(1)), EntityKey::from(OrderId::nth(2)));
        let first = among.enrol(here, driver);
        let other = among.enrol(there, order);
        assert_eq!(among.of(here), [driver]);
        assert_eq!(among.all(|region| region == there), [order]);
        // Its successor was faster than its end.
        let successor = among.enrol(here, driver);
        drop(first);
        assert_eq!(among.of(here), [driver]);
        drop((successor, other));
        assert!(among.lock().is_empty(), "nobody's place is kept");
    }
}
