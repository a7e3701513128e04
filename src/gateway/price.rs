//! What a trip costs before anyone has driven it, and the promise that it will cost no more.

use crate::{
    auth::{KeyError, Keys},
    settings::EstimateSettings,
};
use actors::{fare, policy::Preset};
use aws_lc_rs::digest;
use protocol::{Fare, Place, Point, Principal, Refused, Timestamp, work::OrderKind};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Estimates and prices under one brand's tariffs.
#[derive(Debug, Clone)]
pub(crate) struct Prices {
    preset: Arc<Preset>,
    estimate: EstimateSettings,
    keys: Arc<Keys>,
}

/// How far and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Estimate {
    pub(crate) distance_m: u32,
    pub(crate) duration_s: u32,
}

/// What a price is asked for.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuoteRequest {
    /// What is moved.
    pub(crate) kind: OrderKind,
    /// Pickup first, last dropoff last; 2 to 20.
    pub(crate) stops: Vec<Place>,
    /// When it starts; now, if absent.
    #[serde(default)]
    pub(crate) start_at: Option<Timestamp>,
}

/// A price promise.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Quote {
    /// Give this as `quote` when placing the order.
    pub(crate) quote: String,
    /// Until when it holds.
    pub(crate) expires_at: Timestamp,
    /// What it will cost.
    pub(crate) fare: Fare,
    /// How far it is, in metres.
    pub(crate) distance_m: u32,
    /// How long it takes, in seconds.
    pub(crate) duration_s: u32,
}

impl Prices {
    pub(crate) fn new(preset: Arc<Preset>, estimate: EstimateSettings, keys: Arc<Keys>) -> Self {
        Self { preset, estimate, keys }
    }

    /// Along all of these, in order.
    pub(crate) fn estimate(&self, stops: &[Place]) -> Estimate {
        let straight_m: f64 = stops.windows(2).map(|leg| leg[0].at.distance_m(leg[1].at)).sum();
        self.along(straight_m)
    }

    /// From here to there, in seconds.
    pub(crate) fn eta_s(&self, from: Point, to: Point) -> u32 {
        self.along(from.distance_m(to)).duration_s
    }

    /// Is this further than anyone goes?
    pub(crate) fn is_too_far(&self, stops: &[Place]) -> bool {
        let limit_m = self.estimate.distance_km_max * 1_000.0;
        let straight_m: f64 = stops.windows(2).map(|leg| leg[0].at.distance_m(leg[1].at)).sum();
        straight_m > limit_m
    }

    fn along(&self, straight_m: f64) -> Estimate {
        let distance_m = straight_m * self.estimate.detour;
        let duration_s = distance_m / (self.estimate.speed_kmh / 3.6);
        // A float cast saturates, and no way on Earth has so many metres.
        Estimate { distance_m: distance_m.round() as u32, duration_s: duration_s.round() as u32 }
    }

    /// What an order costs that starts `at`.
    pub(crate) fn order(&self, kind: OrderKind, stops: &[Place], at: Timestamp) -> Fare {
        self.by_tariff(&self.preset.order(kind).tariff, self.estimate(stops), at)
    }

    /// What a rescue costs: the way to the dropoff, if there is one.
    pub(crate) fn rescue(&self, at: &Place, dropoff: Option<&Place>, now: Timestamp) -> Fare {
        let straight_m = dropoff.map_or(0.0, |dropoff| at.at.distance_m(dropoff.at));
        self.by_tariff(&self.preset.rescue.tariff, self.along(straight_m), now)
    }

    fn by_tariff(
        &self,
        tariff: &actors::policy::Tariff,
        estimate: Estimate,
        at: Timestamp,
    ) -> Fare {
        let minute = fare::local_minute_of_day(at, self.preset.utc_offset_min);
        let Estimate { distance_m, duration_s } = estimate;
        fare::quote(tariff, self.preset.currency, distance_m, duration_s, minute)
    }

    /// Promises a price to `principal`.
    pub(crate) fn promise(
        &self,
        request: &QuoteRequest,
        principal: Principal,
        now: Timestamp,
    ) -> Result<Quote, KeyError> {
        let QuoteRequest { kind, ref stops, start_at } = *request;
        let fare = self.order(kind, stops, start_at.unwrap_or(now));
        let Estimate { distance_m, duration_s } = self.estimate(stops);
        let trip = digest_of(kind, stops, start_at);
        let (quote, expires_at) = self.keys.promise(&fare, trip, principal, now)?;
        Ok(Quote { quote, expires_at, fare, distance_m, duration_s })
    }

    /// The price that was promised to `principal` for exactly this.
    pub(crate) fn promised(
        &self,
        quote: &str,
        kind: OrderKind,
        stops: &[Place],
        start_at: Option<Timestamp>,
        principal: Principal,
    ) -> Result<Fare, Refused> {
        self.keys.promised(quote, &digest_of(kind, stops, start_at), principal)
    }
}

/// What a price depends on, in few characters. Labels may still be corrected.
fn digest_of(kind: OrderKind, stops: &[Place], start_at: Option<Timestamp>) -> String {
    let mut text = format!("{kind}|{start_at:?}");
    for Place { at, .. } in stops {
        text.push_str(&format!("|{},{}", at.lat, at.lon));
    }
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
