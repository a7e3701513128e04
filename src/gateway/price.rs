//! What a trip costs before anyone has driven it, and the promise that it will cost no more.

use crate::{
    auth::{KeyError, Keys},
    settings::EstimateSettings,
};
use actors::{fare, policy::Preset};
use aws_lc_rs::digest;
use matching::router::{Leg, Router};
use protocol::{
    Fare, Place, Principal, Refused, Timestamp,
    work::{OrderKind, VehicleKind},
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use utoipa::ToSchema;

/// A price is quoted before anybody knows with what it is done: streets say how long a car takes.
const VEHICLE: VehicleKind = VehicleKind::Car;

/// Estimates and prices under one brand's tariffs.
#[derive(Debug, Clone)]
pub(crate) struct Prices {
    preset: Arc<Preset>,
    estimate: EstimateSettings,
    keys: Arc<Keys>,
    /// What knows streets, if anything does.
    streets: Option<Arc<dyn Router>>,
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
        Self { preset, estimate, keys, streets: None }
    }

    /// The same, by the streets that this router knows. What was learned of how ways really go is left aside: a price is to
    /// be the same whichever node is asked.
    #[must_use]
    pub(crate) fn by_streets(self, streets: Option<Arc<dyn Router>>) -> Self {
        Self { streets, ..self }
    }

    /// Along all of these, in order, for whoever leaves then: by the quickest streets, as likely as can be said where none
    /// lead there; by straight lines, made longer, where no streets are known.
    pub(crate) fn estimate(&self, stops: &[Place], leaving: Timestamp) -> Estimate {
        let Some(streets) = &self.streets else {
            let straight_m: f64 = stops.windows(2).map(|leg| leg[0].at.distance_m(leg[1].at)).sum();
            return self.along(straight_m);
        };
        let (mut distance_m, mut duration_ms) = (0.0_f64, 0_u32);
        for ends in stops.windows(2) {
            let straight_m = ends[0].at.distance_m(ends[1].at);
            let leg = Leg {
                from: streets.spot(ends[0].at),
                to: streets.spot(ends[1].at),
                distance_m: straight_m as f32,
                vehicle: VEHICLE,
                leaving: leaving + Duration::from_millis(duration_ms.into()),
            };
            distance_m +=
                streets.driven_m(&leg).map_or(straight_m * self.estimate.detour, f64::from);
            // The way, if one is known.
            duration_ms = duration_ms.saturating_add(streets.eta(&leg).ms);
        }
        Estimate {
            distance_m: distance_m.round() as u32,
            duration_s: (f64::from(duration_ms) / 1_000.0).round() as u32,
        }
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
        self.by_tariff(&self.preset.order(kind).tariff, self.estimate(stops, at), at)
    }

    /// What a rescue costs: the way to the dropoff, if there is one.
    pub(crate) fn rescue(&self, at: &Place, dropoff: Option<&Place>, now: Timestamp) -> Fare {
        let stops: Vec<Place> = std::iter::once(at).chain(dropoff).cloned().collect();
        self.by_tariff(&self.preset.rescue.tariff, self.estimate(&stops, now), now)
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
        let leaving = start_at.unwrap_or(now);
        let fare = self.order(kind, stops, leaving);
        let Estimate { distance_m, duration_s } = self.estimate(stops, leaving);
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

#[cfg(test)]
mod tests;
