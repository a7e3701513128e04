//! The city as the console draws it.

use super::{City, RoadClass};
use protocol::Point;
use serde_json::{Value, json};

impl City {
    /// Roads, water, parks and names as JSON, lines as `[lon, lat]` pairs of five decimals (a metre).
    pub fn to_json(&self) -> Value {
        let roads: Vec<Value> = self
            .roads
            .iter()
            .map(|road| {
                let class = match road.class {
                    RoadClass::Arterial => "arterial",
                    RoadClass::Collector => "collector",
                    RoadClass::Street => "street",
                };
                let mut drawn = json!({ "class": class, "line": line(&road.line) });
                if let Some(name) = &road.name {
                    drawn["name"] = json!(name);
                }
                drawn
            })
            .collect();
        let places: Vec<Value> = self
            .places
            .iter()
            .map(|place| json!({ "name": place.name, "at": pair(place.at) }))
            .collect();
        json!({
            "name": self.name,
            "center": { "lat": rounded(self.center.lat), "lon": rounded(self.center.lon) },
            "bounds": {
                "south": rounded(self.south_west.lat),
                "west": rounded(self.south_west.lon),
                "north": rounded(self.north_east.lat),
                "east": rounded(self.north_east.lon),
            },
            "roads": roads,
            "water": self.water.iter().map(|outline| line(outline)).collect::<Vec<_>>(),
            "parks": self.parks.iter().map(|outline| line(outline)).collect::<Vec<_>>(),
            "places": places,
        })
    }
}

fn rounded(degrees: f64) -> f64 {
    (degrees * 1e5).round() / 1e5
}

fn pair(at: Point) -> [f64; 2] {
    [rounded(at.lon), rounded(at.lat)]
}

fn line(points: &[Point]) -> Vec<[f64; 2]> {
    points.iter().copied().map(pair).collect()
}
