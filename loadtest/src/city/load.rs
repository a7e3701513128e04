//! Roads from tables: nodes and edges with travel times, or links with coordinates at both ends.

use super::{City, Road, RoadClass, Street, generate::districts_of_nodes};
use crate::table::{self, Table};
use matching::router::{NoRoads, Roads, Straight, Times};
use protocol::Point;
use std::{collections::BTreeMap, path::Path, sync::Arc};
use thiserror::Error;

/// No street is driven faster than this, whatever a noisy table says, in metres per second.
const SPEED_MAX_MPS: f64 = 20.0;
/// Nor slower than this.
const SPEED_MIN_MPS: f64 = 1.5;

/// Roads that could not be read.
#[derive(Debug, Error)]
pub enum LoadError {
    /// A table could not be read.
    #[error(transparent)]
    Table(#[from] table::TableError),
    /// Nothing that looks like roads.
    #[error("no edges.csv.gz and no links_*.csv.gz in {0}")]
    NoRoads(String),
    /// Edges without a node.
    #[error("edge {0} ends at a node that does not exist")]
    NoNode(String),
    /// Roads of which no table can be made.
    #[error("no table of ways: {0}")]
    NoTable(#[from] NoRoads),
}

/// Days with a traffic of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Day {
    #[default]
    Weekday,
    Saturday,
    Sunday,
}

impl City {
    /// Reads the roads of a folder, at the traffic of an hour (0 to 23) of a day.
    ///
    /// Understands `nodes.csv.gz` + `edges.csv.gz` + `travel_s_weekday.csv.gz` (or `…_saturday`,
    /// `…_sunday`), or a single `links_*.csv.gz`.
    pub fn load(folder: &Path, day: Day, hour: u8) -> Result<Self, LoadError> {
        let (nodes, streets) = if folder.join("edges.csv.gz").exists() {
            nodes_and_edges(folder, day, hour)?
        } else {
            links(folder)?
        };
        let lines = streets
            .iter()
            .map(|street| {
                let line = [nodes[street.from as usize], nodes[street.to as usize]];
                let speed_mps = line[0].distance_m(line[1]) / street.seconds.max(0.5);
                let class = match speed_mps {
                    fast if fast > 9.0 => RoadClass::Arterial,
                    middling if middling > 6.0 => RoadClass::Collector,
                    _ => RoadClass::Street,
                };
                Road { class, name: None, line: line.to_vec() }
            })
            .collect();
        let name =
            folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let mut city = Self::assemble(&name, nodes, streets);
        city.roads = lines;
        city.places = districts_of_nodes(&city);
        Ok(city)
    }
}

/// Reads the roads of a folder as a node's regions can be given them: the quickest way between any two crossings, at the
/// traffic of an hour (0 to 23) of a weekday; what lies off these roads is reached as `straight` says. What is different at other hours, regions learn. Takes a second or two for
/// some thousands of crossings.
pub fn router(folder: &Path, hour: u8, straight: Straight) -> Result<Arc<Roads>, LoadError> {
    let city = City::load(folder, Day::Weekday, hour)?;
    let nodes: Vec<Point> = (0..city.n_nodes()).filter_map(|n| city.node(n)).collect();
    let times = Times::new(nodes.len(), city.as_roads())?;
    Ok(Arc::new(Roads::new(nodes, Arc::new(times))?.with_straight(straight)))
}

fn plausible_s(seconds: f64, length_m: f64) -> f64 {
    seconds.clamp(length_m / SPEED_MAX_MPS, length_m / SPEED_MIN_MPS).max(0.5)
}

fn nodes_and_edges(
    folder: &Path,
    day: Day,
    hour: u8,
) -> Result<(Vec<Point>, Vec<Street>), LoadError> {
    let mut numbers = BTreeMap::new();
    let mut nodes = Vec::new();
    for row in Table::open(&folder.join("nodes.csv.gz"))?.rows(["node", "lat", "lon"])? {
        let [node, lat, lon] = row?;
        numbers.insert(node, nodes.len() as u32);
        nodes.push(table::point(&lat, &lon)?);
    }
    let column = format!("h{:02}", hour % 24);
    let travel = Table::open(&folder.join(format!("travel_s_{day}.csv.gz")))?;
    let mut seconds = BTreeMap::new();
    for row in travel.rows(["edge", &column])? {
        let [edge, travel_s] = row?;
        seconds.insert(edge, table::number(&travel_s)?);
    }
    let mut streets = Vec::new();
    for row in Table::open(&folder.join("edges.csv.gz"))?.rows(["edge", "from_node", "to_node"])? {
        let [edge, from, to] = row?;
        let (Some(&from), Some(&to)) = (numbers.get(&from), numbers.get(&to)) else {
            return Err(LoadError::NoNode(edge));
        };
        let length_m = nodes[from as usize].distance_m(nodes[to as usize]);
        let travel_s = seconds.get(&edge).copied().unwrap_or(length_m / 7.0);
        streets.push(Street {
            from,
            to,
            seconds: plausible_s(travel_s, length_m),
            is_two_way: false,
            bends: Vec::new(),
        });
    }
    Ok((nodes, streets))
}

fn links(folder: &Path) -> Result<(Vec<Point>, Vec<Street>), LoadError> {
    let no_roads = || LoadError::NoRoads(folder.display().to_string());
    let file = std::fs::read_dir(folder)
        .map_err(|_| no_roads())?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name().is_some_and(|name| {
                let name = name.to_string_lossy();
                name.starts_with("links_") && name.ends_with(".csv.gz")
            })
        })
        .ok_or_else(no_roads)?;
    let travel_column = Table::open(&file)?.column_starting_with("travel_s")?;
    let columns = ["from_lat", "from_lon", "to_lat", "to_lon", "length_m", travel_column.as_str()];
    let mut numbers: BTreeMap<(String, String), u32> = BTreeMap::new();
    let mut nodes = Vec::new();
    let mut streets = Vec::new();
    for row in Table::open(&file)?.rows(columns)? {
        let [from_lat, from_lon, to_lat, to_lon, length_m, travel_s] = row?;
        let mut number = |lat: String, lon: String| -> Result<u32, LoadError> {
            let at = table::point(&lat, &lon)?;
            Ok(*numbers.entry((lat, lon)).or_insert_with(|| {
                nodes.push(at);
                nodes.len() as u32 - 1
            }))
        };
        let (from, to) = (number(from_lat, from_lon)?, number(to_lat, to_lon)?);
        let seconds = plausible_s(table::number(&travel_s)?, table::number(&length_m)?);
        streets.push(Street { from, to, seconds, is_two_way: false, bends: Vec::new() });
    }
    Ok((nodes, streets))
}
