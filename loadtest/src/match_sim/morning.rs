//! One morning as it is replayed: its requests, squeezed into the clock of the simulation, and its roads.

use super::SimError;
use crate::{
    city::City,
    trips::{self, Mix, Window},
};
use matching::router::{Roads, Router, Spot, Times};
use protocol::{Point, Timestamp};
use std::{path::Path, sync::Arc};

/// Somebody wants to go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    /// When they ask, in milliseconds.
    pub(super) at: Timestamp,
    /// Where.
    pub(super) pickup: Point,
    pub(super) from: Spot,
    pub(super) to: Spot,
}

/// One morning.
#[derive(Debug)]
pub(super) struct Morning {
    pub(super) name: String,
    pub(super) requests: Vec<Request>,
    pub(super) roads: Roads,
    pub(super) nodes: Vec<Point>,
}

impl Morning {
    /// Reads a table of trips and the roads of their hours. `rate` requests come every second: the clock
    /// runs that much faster, or slower, than it did on the day. Without it, it runs as it did.
    pub(super) fn read(
        trips: &Path,
        roads: &Path,
        window: Window,
        rate: Option<f64>,
        seed: u64,
    ) -> Result<Self, SimError> {
        let day = trips::day_of(trips)?;
        let rides = Mix { deliveries: 0.0, rescues: 0.0, merchants: 0.0 };
        let wishes = trips::read(trips, window, rides, seed)?;
        let name =
            trips.file_name().map_or_else(String::new, |it| it.to_string_lossy().into_owned());
        let (Some(first), Some(last)) = (wishes.first(), wishes.last()) else {
            return Err(SimError::NoTrips(name));
        };
        let natural = wishes.len() as f64 / (last.at_s - first.at_s).max(1.0);
        let squeeze = rate.map_or(1.0, |rate| rate / natural);
        let start_s = trips::start_of(trips, window)?;
        let at = |s: f64| Timestamp((s.max(0.0) / squeeze * 1_000.0) as u64);

        let mut graph = None;
        let (begin_h, end_h) =
            ((start_s / 3_600.0) as u64, ((start_s + last.at_s) / 3_600.0) as u64);
        // Rides that begin in the last hour end in the next.
        for hour in begin_h..=end_h + 1 {
            let city = City::load(roads, day, (hour % 24) as u8)?;
            let times = Arc::new(Times::new(city.n_nodes(), city.as_roads())?);
            let from = at(hour as f64 * 3_600.0 - start_s);
            match &mut graph {
                None => {
                    let nodes: Vec<Point> =
                        (0..city.n_nodes()).filter_map(|n| city.node(n)).collect();
                    graph = Some((Roads::new(nodes.clone(), times)?, nodes));
                }
                Some((roads, _)) => roads.add(from, times)?,
            }
        }
        let Some((roads, nodes)) = graph else { return Err(SimError::NoTrips(name)) };
        let requests = wishes.iter().map(|wish| Request {
            at: at(wish.at_s),
            pickup: wish.from,
            from: roads.spot(wish.from),
            to: roads.spot(wish.to),
        });
        let requests = requests.collect();
        Ok(Self { name, requests, roads, nodes })
    }
}
