//! Where things are, and how far apart.

use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use thiserror::Error;

/// Mean radius of the Earth in metres (IUGG).
const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// A position on the Earth (WGS 84), in degrees. Always finite and in range: a frame with any other
/// numbers does not decode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Point {
    /// Degrees north, −90 to 90.
    pub lat: f64,
    /// Degrees east, −180 to 180.
    pub lon: f64,
}

/// Numbers that are no position.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[error("coordinates out of range: latitude must be within ±90 and longitude within ±180")]
pub struct OutOfRange;

impl Point {
    /// A position, if the numbers are one.
    pub fn new(lat: f64, lon: f64) -> Result<Self, OutOfRange> {
        let is_on_earth = (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon);
        if is_on_earth { Ok(Self { lat, lon }) } else { Err(OutOfRange) }
    }

    /// Great-circle distance in metres (haversine).
    pub fn distance_m(self, other: Self) -> f64 {
        let (lat1, lat2) = (self.lat.to_radians(), other.lat.to_radians());
        let half_dlat = (lat2 - lat1) / 2.0;
        let half_dlon = (other.lon - self.lon).to_radians() / 2.0;
        let chord = half_dlat.sin().powi(2) + lat1.cos() * lat2.cos() * half_dlon.sin().powi(2);
        2.0 * EARTH_RADIUS_M * chord.sqrt().min(1.0).asin()
    }

    /// Initial bearing towards `other`, in degrees clockwise from north, 0 to 360.
    pub fn bearing_deg(self, other: Self) -> f64 {
        let (lat1, lat2) = (self.lat.to_radians(), other.lat.to_radians());
        let dlon = (other.lon - self.lon).to_radians();
        let y = dlon.sin() * lat2.cos();
        let x = lat1.cos() * lat2.sin() - lat1.sin() * lat2.cos() * dlon.cos();
        y.atan2(x).to_degrees().rem_euclid(360.0)
    }

    /// The point `fraction` (0 to 1) of the way to `other`; straight in degrees, good for city scale.
    pub fn towards(self, other: Self, fraction: f64) -> Self {
        Self {
            lat: self.lat + (other.lat - self.lat) * fraction,
            lon: self.lon + (other.lon - self.lon) * fraction,
        }
    }

    /// The point `east_m` metres east and `north_m` metres north; good for city scale.
    pub fn offset_m(self, east_m: f64, north_m: f64) -> Self {
        let lat = self.lat + (north_m / EARTH_RADIUS_M).to_degrees();
        let lon = self.lon + (east_m / (EARTH_RADIUS_M * self.lat.to_radians().cos())).to_degrees();
        Self { lat: lat.clamp(-90.0, 90.0), lon: lon.clamp(-180.0, 180.0) }
    }
}

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "Point", deny_unknown_fields)]
        struct Unchecked {
            lat: f64,
            lon: f64,
        }
        let Unchecked { lat, lon } = Unchecked::deserialize(deserializer)?;
        Self::new(lat, lon).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.5},{:.5}", self.lat, self.lon)
    }
}

/// A position a person can find.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Where.
    pub at: Point,
    /// What the rider calls it; at most 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl From<Point> for Place {
    fn from(at: Point) -> Self {
        Self { at, label: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };

    #[test]
    fn one_degree_of_latitude_is_111_km() {
        let north = Point { lat: KIGALI.lat + 1.0, ..KIGALI };
        assert!((KIGALI.distance_m(north) - 111_195.0).abs() < 10.0);
        assert!(KIGALI.bearing_deg(north).abs() < 1e-9);
    }

    #[test]
    fn numbers_that_are_no_position_do_not_decode() {
        for bad in [
            r#"{"lat":91,"lon":0}"#,
            r#"{"lat":0,"lon":-180.5}"#,
            r#"{"lat":0}"#,
            r#"{"lat":0,"lon":0,"alt":3}"#,
        ] {
            assert!(serde_json::from_str::<Point>(bad).is_err(), "{bad}");
        }
        assert_eq!(Point::new(f64::NAN, 0.0), Err(OutOfRange));
        assert_eq!(Point::new(0.0, f64::INFINITY), Err(OutOfRange));
    }

    proptest! {
        #[test]
        fn moving_by_metres_moves_by_that_many_metres(east in -5000.0..5000.0, north in -5000.0..5000.0) {
            let there = KIGALI.offset_m(east, north);
            let wanted = f64::hypot(east, north);
            prop_assert!((KIGALI.distance_m(there) - wanted).abs() < 1.0 + wanted * 1e-3);
        }
    }
}
