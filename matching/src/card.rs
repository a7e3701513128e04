//! What is known of drivers and of jobs that look for one, and who is proposed to whom.

use crate::{batch::Batch, ruling::Ruling};
use protocol::{
    DriverId, JobId, OrderId, PartnerId, Point, RiderId, Timestamp, ZoneId,
    view::WorkKind,
    work::{Needs, OfferPolicy, Priority, Vehicle},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A driver who can be offered work. One who cannot is not listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriverCard {
    /// Who.
    pub id: DriverId,
    /// Where; moves only with the cell, or every two seconds.
    pub at: Point,
    /// When it was there.
    pub seen_at: Timestamp,
    /// With what.
    pub vehicle: Arc<Vehicle>,
    /// Is it free of all work? Only then can it take a ride or a rescue.
    pub is_free: bool,
    /// Does it have room for a delivery?
    pub has_delivery_slot: bool,
    /// Is it about to end a ride? Then it can take one more job after it.
    pub is_nearly_free: bool,
    /// Does it bring something, with nothing left to fetch? Then it ends that before it begins anything else. While it has
    /// something to fetch it may fetch more on the way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_bringing: bool,
    /// It wants only jobs that lead there.
    pub destination: Option<Point>,
    /// Since when it has had nothing to do; says nothing while it is not free.
    pub idle_since: Timestamp,
    /// Mean rating in hundredths of a star; 500 if unrated.
    pub rating: u16,
    /// Where and when all that it does will have ended, if that is known: a ride that is nearly over, or deliveries that are
    /// no run.
    #[serde(default)]
    pub ending: Option<Ending>,
    /// Whose fleet it drives for, if it does for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<PartnerId>,
    /// Would it be told of a better place to wait?
    #[serde(default)]
    pub takes_hints: bool,
    /// For how many deliveries it has room; none, as far as a node knows that is older than runs.
    #[serde(default)]
    pub n_slots: u8,
    /// How heavy all the deliveries are that it has, in grams; nothing, as far as a node knows that does not add them up.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub load_g: u32,
    /// What else speaks for it or against it.
    #[serde(default = "Standing::of_a_stranger")]
    pub standing: Standing,
    /// How its last way to a pickup went, if it has had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came: Option<Arc<Came>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// What speaks for a driver or against it, beside where it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// How many of a hundred offers it takes.
    pub acceptance: u8,
    /// How experienced it is, from 0 to [`Standing::LEVEL_MAX`].
    pub level: u8,
    /// How many percent of its time on duty it has had something to do.
    pub busy_percent: u8,
    /// Where it heads, in degrees clockwise from north; none while it stands.
    pub heading_deg: Option<u16>,
    /// When it must have ended what it does: it has then worked for as long as it may.
    pub until: Option<Timestamp>,
    /// When it is asked no more: its shift is over then. What it has by then it ends.
    pub asked_until: Option<Timestamp>,
}

impl Standing {
    /// As experienced as one can be.
    pub const LEVEL_MAX: u8 = 5;

    /// Of whom nothing is known: as of somebody who has not driven yet, so that nobody gains by being listed by a node
    /// that does not say.
    pub fn of_a_stranger() -> Self {
        Self { acceptance: 90, level: 0, ..Self::default() }
    }
}

impl Default for Standing {
    /// Nothing speaks against it.
    fn default() -> Self {
        Self {
            acceptance: 100,
            level: Self::LEVEL_MAX,
            busy_percent: 0,
            heading_deg: None,
            until: None,
            asked_until: None,
        }
    }
}

/// How a way to a pickup went.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Came {
    /// Where from.
    pub from: Point,
    /// Where to.
    pub to: Point,
    /// When it set out.
    pub left_at: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u32,
}

/// Where and when a driver will have ended what it does now.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    /// Where.
    pub at: Point,
    /// When, as far as one can tell.
    pub due: Timestamp,
}

impl DriverCard {
    /// The `n`th driver of a test or a seeded simulation: seen just now, with nothing to do since, and nothing speaks
    /// against it.
    pub fn nth(n: u64, vehicle: Arc<Vehicle>, at: Point, now: Timestamp) -> Self {
        Self {
            id: DriverId::nth(n),
            at,
            seen_at: now,
            vehicle,
            is_free: true,
            has_delivery_slot: true,
            is_nearly_free: false,
            is_bringing: false,
            destination: None,
            idle_since: now,
            rating: 500,
            ending: None,
            fleet: None,
            takes_hints: false,
            n_slots: 0,
            load_g: 0,
            standing: Standing::default(),
            came: None,
        }
    }

    /// Where the next job would find it, and from when on.
    ///
    /// Of deliveries nobody says which is first, so whoever has one of them to fetch still can be at another pickup as soon
    /// as its way takes: what is fetched at one place, or on the way, goes to one courier. Once it has left with all it has
    /// to bring, that comes first, and the next pickup is as far as it is from where that ends. How a run is driven is
    /// planned, and where something more fits in is found by the plan; its driver is as far as it is.
    pub fn start(&self) -> (Point, Timestamp) {
        let ends_first = self.is_nearly_free || self.is_bringing;
        match self.ending {
            Some(ending) if ends_first && !self.is_free => (ending.at, ending.due),
            Some(_) | None => (self.at, self.seen_at),
        }
    }
}

/// A job that looks for a driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchCard {
    /// Which.
    pub job: JobId,
    /// What taking it does to a driver's slots.
    pub work: WorkKind,
    /// Who waits; never offered to the same person as a driver.
    pub rider: RiderId,
    /// Where they wait.
    pub pickup: Point,
    /// Where they want to go, if that is known.
    pub dropoff: Option<Point>,
    /// What the driver must bring.
    pub needs: Needs,
    /// How to choose.
    pub policy: OfferPolicy,
    /// When the first round opened: its age drives the hold.
    pub opened_at: Timestamp,
    /// The round that proposals answer; grows when the search changes.
    pub round: u32,
    /// No driver further away than this, in metres.
    pub radius_m: u32,
    /// How many more drivers may be offered it at once.
    pub n_wanted: u8,
    /// Drivers not to propose: they declined, cancelled, or hold an offer.
    pub excluded: Vec<DriverId>,
    /// The only driver to propose, for `direct`.
    pub only: Option<DriverId>,
    /// What it comes before.
    #[serde(default)]
    pub priority: Priority,
    /// Whose drivers it is kept to, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<PartnerId>,
    /// Is it kept to them only at first?
    #[serde(default)]
    pub fleet_first: bool,
    /// What it knows of its zone being paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// It may be brought with others, if it may, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    /// Under what it is matched in the round that is held now, where a rule is in force for it. Its region says so each time.
    #[serde(skip)]
    pub ruling: Option<Arc<Ruling>>,
}

impl SearchCard {
    /// The `n`th search of a test or a seeded simulation: for a ride that has just been asked for, one driver after the
    /// other is, within ten kilometres.
    pub fn nth(n: u64, pickup: Point, now: Timestamp) -> Self {
        Self {
            job: JobId::Order(OrderId::nth(n)),
            work: WorkKind::Ride,
            rider: RiderId::nth(n),
            pickup,
            dropoff: None,
            needs: Needs::default(),
            policy: OfferPolicy::Sequential,
            opened_at: now,
            round: 1,
            radius_m: 10_000,
            n_wanted: 1,
            excluded: Vec::new(),
            only: None,
            priority: Priority::Normal,
            fleet: None,
            fleet_first: false,
            paused: None,
            batch: None,
            ruling: None,
        }
    }
}

/// What keeps a search from asking anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Which zone.
    pub zone: ZoneId,
    /// Until when, at most.
    pub until: Option<Timestamp>,
    /// From when on it must be told that it is still so; never, if it goes on by itself when the pause ends.
    pub stale_at: Option<Timestamp>,
}

/// A driver proposed for a job.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Who.
    pub driver: DriverId,
    /// To the pickup, in seconds.
    pub eta_s: u32,
    /// To the pickup, in metres.
    pub distance_m: u32,
    /// What the pair costs, in milliseconds of travel.
    #[serde(default)]
    pub cost_ms: u32,
}
