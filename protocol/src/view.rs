//! What people are shown of the platform's state.

use crate::{
    DriverId, DriverStatus, Fare, FulfilmentStatus, IncidentId, IncidentStatus, JobId,
    MemberStatus, Money, OfferId, OfferStatus, OrderId, OrderStatus, PartnerId, Place, Point,
    Principal, RescueId, RescueStatus, RiderId, RunId, RunStatus, Timestamp, ZoneId,
    work::{
        Alternative, CheckItem, IncidentKind, Issue, Needs, OfferPolicy, OrderKind, Priority,
        Vehicle, VehicleKind,
    },
};
use serde::{Deserialize, Serialize};

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(it: &bool) -> bool {
    !*it
}

/// An order as its rider, its driver and dispatchers see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrderView {
    /// Which.
    pub id: OrderId,
    /// How many events made it so; grows by one with each.
    pub version: u64,
    /// What is moved.
    pub kind: OrderKind,
    /// Where it is in its life.
    pub status: OrderStatus,
    /// Where the merchant's side is.
    pub fulfilment: FulfilmentStatus,
    /// Whose.
    pub rider: RiderId,
    /// Who performs it.
    pub driver: Option<DriverId>,
    /// Pickup first.
    pub stops: Vec<Place>,
    /// How many stops are done, pickup included.
    pub stops_done: u8,
    /// What it costs.
    pub fare: Fare,
    /// Given by the rider on top.
    pub tip: Option<Money>,
    /// How its driver is found.
    pub policy: OfferPolicy,
    /// Does a dispatcher let nobody be asked for a while?
    #[serde(default, skip_serializing_if = "is_false")]
    pub held: bool,
    /// The zone of its pickup is paused, so nobody is asked meanwhile, and the time stands still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<ZonePause>,
    /// What it comes before, where there are too few drivers.
    #[serde(default, skip_serializing_if = "Priority::is_normal")]
    pub priority: Priority,
    /// Whose drivers it is kept to, if it is; those of others are not asked, or not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<PartnerId>,
    /// Is it kept to them only at first, and for everybody later?
    #[serde(default, skip_serializing_if = "is_false")]
    pub fleet_first: bool,
    /// Offers that are still open.
    pub offers: Vec<OfferView>,
    /// Why it ended, if it ended badly.
    pub reason: Option<String>,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// When its status last changed.
    pub changed_at: Timestamp,
    /// When it should start, if not at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<Timestamp>,
    /// What it would cost from now on; its rider is asked whether that is all right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_asked: Option<Fare>,
    /// The order it goes on for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<OrderId>,
    /// The order that goes on for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub followed_by: Option<OrderId>,
    /// The run it is brought with, if it is, or waits to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// When its vehicle is expected, as was last counted; not shown to drivers. Another one does not make it another
    /// version. Absent while none is under way, and while that may go elsewhere first and nobody knows where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta: Option<Etas>,
    /// Where it is in the queue, as was last counted, while it waits for a driver; shown to its rider and staff only.
    /// Another one does not make it another version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queued>,
    /// The code the rider tells the driver; shown to the rider only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The hub by which it goes, if it does: its second stop. Until it is left there its driver brings it there, and afterwards on from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<HubStay>,
}

impl OrderView {
    /// Where whoever brings it now fetches it: at its hub, once it was left there.
    pub fn pickup(&self) -> Option<&Place> {
        let is_past_hub = self.hub.is_some_and(|hub| hub.left_at.is_some());
        self.stops.get(usize::from(is_past_hub))
    }
}

/// That goods change vehicles at a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HubStay {
    /// Until when they stay there, if that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// When they were left there; absent as long as they are on the way there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_at: Option<Timestamp>,
    /// Who left them there; other drivers are not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<DriverId>,
}

/// How long something is expected to take, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Eta {
    /// As likely more as less.
    pub s: u32,
    /// One time in ten it takes less.
    pub low_s: u32,
    /// One time in ten it takes more.
    pub high_s: u32,
}

impl Eta {
    /// Is it another one by more than anybody lets pass: by half a minute, and by a tenth?
    pub fn differs(self, other: Self) -> bool {
        let apart_s = self.s.abs_diff(other.s);
        apart_s > 30 && apart_s > self.s / 10
    }

    /// The same, counted from so many seconds later.
    #[must_use]
    pub fn after(self, s: u32) -> Self {
        Self {
            s: self.s.saturating_sub(s),
            low_s: self.low_s.saturating_sub(s),
            high_s: self.high_s.saturating_sub(s),
        }
    }
}

/// When the vehicle of a job is expected, as it was counted at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Etas {
    /// When that was: everything is counted from then.
    pub at: Timestamp,
    /// Until it is at the pickup, or where help is needed; absent once it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pickup: Option<Eta>,
    /// Until it is at the next stop, if that is neither the pickup nor the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Eta>,
    /// Until it is at the last stop, without what is waited on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrival: Option<Eta>,
}

impl Etas {
    /// Does `now` say something new to whoever knows this, and looks at a clock?
    pub fn differs(&self, now: &Self) -> bool {
        let later_s = self.age_s(now.at);
        let differs = |was: Option<Eta>, now: Option<Eta>| match (was, now) {
            (Some(was), Some(now)) => was.after(later_s).differs(now),
            (None, None) => false,
            (Some(_), None) | (None, Some(_)) => true,
        };
        // That it goes to another stop now is said by another version.
        let is_later =
            self.next.zip(now.next).is_some_and(|(was, now)| differs(Some(was), Some(now)));
        is_later || differs(self.pickup, now.pickup) || differs(self.arrival, now.arrival)
    }

    /// So many seconds have gone by until then since it was counted.
    pub fn age_s(&self, now: Timestamp) -> u32 {
        u32::try_from(now.ms_since(self.at) / 1_000).unwrap_or(u32::MAX)
    }
}

/// Where somebody is among those who wait for a driver around there, as it was counted at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Queued {
    /// When that was.
    pub at: Timestamp,
    /// Which of them, from 1. Who is nearer to a driver may be served before.
    pub position: u32,
    /// How many wait.
    pub n_waiting: u32,
    /// How long the driver takes who would come if one had to be chosen then; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta: Option<Eta>,
}

/// Why nothing begins in a zone for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ZonePause {
    /// Which.
    pub zone: ZoneId,
    /// Since when.
    pub since: Timestamp,
    /// Until when, unless it is resumed before; until it is resumed, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why, in words that riders are shown.
    pub reason: String,
}

impl ZonePause {
    /// Does it still last?
    pub fn lasts(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// One offer, as its order sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OfferView {
    /// Which.
    pub id: OfferId,
    /// Made to whom.
    pub driver: DriverId,
    /// Where it is.
    pub status: OfferStatus,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

/// A rescue as its requester, its driver and dispatchers see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RescueView {
    /// Which.
    pub id: RescueId,
    /// How many events made it so.
    pub version: u64,
    /// What is wrong.
    pub issue: Issue,
    /// Where it is in its life.
    pub status: RescueStatus,
    /// Whose.
    pub rider: RiderId,
    /// Who helps.
    pub driver: Option<DriverId>,
    /// Who was there first and stayed.
    pub attached: Option<DriverId>,
    /// Where the vehicle is.
    pub at: Place,
    /// Where it goes.
    pub dropoff: Option<Place>,
    /// What it costs.
    pub fare: Fare,
    /// What whoever helps must bring; shown to its rider and staff only.
    #[serde(default, skip_serializing_if = "Needs::is_empty")]
    pub needs: Needs,
    /// Does a dispatcher let nobody be asked for a while?
    #[serde(default, skip_serializing_if = "is_false")]
    pub held: bool,
    /// What it comes before, where there are too few drivers.
    #[serde(default, skip_serializing_if = "Priority::is_normal")]
    pub priority: Priority,
    /// Whose drivers it is kept to, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<PartnerId>,
    /// Offers that are still open.
    pub offers: Vec<OfferView>,
    /// Why it ended, or how it was solved.
    pub outcome: Option<String>,
    /// Who may help instead, nearest first, if nobody of ours serves the place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<Alternative>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When its status last changed.
    pub changed_at: Timestamp,
    /// When whoever helps is expected, as was last counted; not shown to them. Another one does not make it another
    /// version. Absent while nobody is under way, and while they may go elsewhere first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta: Option<Etas>,
    /// Where it is in the queue, as was last counted, while it waits for a driver; shown to its rider and staff only.
    /// Another one does not make it another version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queued>,
}

/// A driver as itself and dispatchers see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DriverView {
    /// Which.
    pub id: DriverId,
    /// How many events made it so.
    pub version: u64,
    /// Whether it can be given work.
    pub status: DriverStatus,
    /// Why it may not work, if it may not.
    pub blocked: Option<String>,
    /// With what it works.
    pub vehicle: Option<Vehicle>,
    /// What it is busy with.
    pub jobs: Vec<JobId>,
    /// What it has been offered and not answered.
    pub offers: Vec<Offer>,
    /// Where it last was.
    pub position: Option<Position>,
    /// Whose fleet it drives for, if it does for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<PartnerId>,
    /// Where it had better wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<Hint>,
    /// Which run it is on, if it brings several deliveries as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Skills that staff vouch for, also those for which they did until a while ago.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
    /// Skills that it says it has, and that do not count: nobody vouches for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ungranted: Vec<String>,
    /// What it has made of its offers so far.
    #[serde(default, skip_serializing_if = "Rates::are_of_nothing")]
    pub rates: Rates,
    /// The shift that is under way, or is next, as of when it was last heard of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift: Option<Shift>,
    /// To how many of its shifts it did not come.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub n_shift_no_shows: u32,
    /// Has its device said too often of late that it is where it cannot be? Shown to staff only.
    #[serde(default, skip_serializing_if = "is_false")]
    pub doubted: bool,
    /// When it must rest, or until when, once it has worked for long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<Rest>,
}

/// What is said of a driver's rest once it has worked for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Rest {
    /// Has it worked as long as it may? It takes nothing new then, and may not work again before it has rested.
    pub must: bool,
    /// When it must, if it works on until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Until when it must; absent while it ends what it has. Once that is past it has rested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// A span in which a driver is to be on duty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Shift {
    /// From when on.
    pub start: Timestamp,
    /// Until when, exclusive: 24 hours after the start at most.
    pub end: Timestamp,
    /// Where it is to be, a cell of the H3 grid of resolution 4 to 9, if that is said. It is told, and not looked after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneId>,
}

/// Did a driver come to a shift?
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, strum::Display,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Turnout {
    /// It still may.
    #[default]
    Awaited,
    /// It was on duty in time.
    Came,
    /// It was not: a no-show, also if it came later.
    Missed,
    /// It was not, and could not: it was blocked.
    Excused,
}

/// A shift of a driver, and whether it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ShiftView {
    /// From when on.
    pub start: Timestamp,
    /// Until when, exclusive.
    pub end: Timestamp,
    /// Where it is to be, if that is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneId>,
    /// By when it must have come so as not to miss it.
    pub due: Timestamp,
    /// Did it?
    pub turnout: Turnout,
}

/// What staff let a driver do who is in none of its shifts: work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OffShift {
    /// Until when.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

/// The shifts that staff gave a driver, and what came of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ShiftsView {
    /// How often they were given anew: who gives others says so (`If-Match`). 0: it never had any.
    pub version: u32,
    /// Does the brand of this node demand one of whoever wants to be on duty?
    pub demanded: bool,
    /// Until when it may be on duty without a gap, as far as shifts and staff say; absent if it may not now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub works_until: Option<Timestamp>,
    /// Those that are not over, in order.
    pub shifts: Vec<ShiftView>,
    /// What staff let it do outside of them, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off_shift: Option<OffShift>,
    /// To how many it did not come so far.
    pub n_shift_no_shows: u32,
}

/// A skill of a driver's that staff vouch for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Grant {
    /// Which.
    pub skill: String,
    /// Until when; until they do no more, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What a driver has made of the offers it was ever made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Rates {
    /// How many there were.
    pub made: u32,
    /// Of these, taken.
    pub accepted: u32,
    /// Of these, declined.
    pub declined: u32,
    /// Of these, not answered.
    pub ignored: u32,
    /// How many of a hundred it takes, as that counts where several drivers would do: of one of whom little is known it is near 90.
    pub acceptance_percent: u8,
    /// How many it has declined or not answered since it last took one, or began or went on with its shift.
    pub in_a_row: u8,
}

impl Rates {
    /// Is there nothing to tell?
    pub fn are_of_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// A better place to wait for work. Nobody must go there.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Hint {
    /// Where.
    pub to: Point,
    /// Until when that is worth anything.
    pub until: Timestamp,
}

/// Several deliveries that one driver brings together, as that driver and dispatchers see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunView {
    /// Which.
    pub id: RunId,
    /// How many events made it so.
    pub version: u64,
    /// Where it is in its life.
    pub status: RunStatus,
    /// Who is asked to bring it, or does.
    pub driver: DriverId,
    /// What is brought, in the order in which it joined.
    pub orders: Vec<RunOrder>,
    /// What is still to be done, in the order in which it should be.
    pub stops: Vec<RunStop>,
    /// What all of it pays.
    pub fare: Option<Money>,
    /// How much less is driven than if each were brought alone, in percent, when it was planned.
    pub saving_percent: u8,
    /// Why it ended, if it ended badly, or why it was last changed; shown to staff only.
    pub reason: Option<String>,
    /// When it was planned.
    pub planned_at: Timestamp,
    /// When something last happened to it.
    pub changed_at: Timestamp,
}

/// One order of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunOrder {
    /// Which.
    pub order: OrderId,
    /// Where it is.
    pub status: MemberStatus,
    /// What its rider pays; none before it has joined.
    pub fare: Option<Money>,
}

/// Where a run has something to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunStop {
    /// For which order.
    pub order: OrderId,
    /// What.
    pub what: StopKind,
    /// Where.
    pub at: Place,
    /// When, as it was planned.
    pub due: Timestamp,
}

/// What is done where a run stops.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, strum::Display,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum StopKind {
    /// Something is fetched.
    Pickup,
    /// Something is handed over.
    Dropoff,
}

/// How a driver stands to the fence around a place where it has something to do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, strum::Display,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Crossing {
    /// It has come in.
    Entered,
    /// It has been inside for two minutes.
    Dwelt,
    /// It has gone out again, and well beyond the fence.
    Exited,
}

/// A run as its driver is offered it: all of it, or nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunOffer {
    /// Which.
    pub run: RunId,
    /// What each order pays. Only those that the driver does not have yet.
    pub orders: Vec<RunPay>,
    /// Everything that would then be to be done, in order.
    pub stops: Vec<RunStop>,
}

/// What an order of a run pays.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunPay {
    /// Which.
    pub order: OrderId,
    /// How much its rider pays.
    pub fare: Money,
}

/// A rider as itself and dispatchers see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RiderView {
    /// Which.
    pub id: RiderId,
    /// How many events made it so.
    pub version: u64,
    /// What is being done for it.
    pub jobs: Vec<JobId>,
}

/// An incident as whoever raised it and staff see it. The other side of the job sees nothing of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IncidentView {
    /// Which.
    pub id: IncidentId,
    /// How many events made it so.
    pub version: u64,
    /// What it is.
    pub kind: IncidentKind,
    /// It is a drill.
    pub mock: bool,
    /// Where it is in its life.
    pub status: IncidentStatus,
    /// Who raised it.
    pub raised_by: Principal,
    /// What they were busy with.
    pub job: Option<JobId>,
    /// Where they last said that they are.
    pub position: Option<Position>,
    /// When it was raised.
    pub opened_at: Timestamp,
    /// When something last happened to it.
    pub changed_at: Timestamp,
    /// Does it call for somebody? From when it is raised, and again from each escalation, until it is acked.
    pub calling: bool,
    /// How often it has been escalated.
    pub escalations: u8,
    /// When somebody last took it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acked_at: Option<Timestamp>,
    /// Who helps, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub responders: Vec<String>,
    /// Who else has part in the job; shown to staff only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Principal>,
    /// What was asked and answered; shown to staff only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checklist: Vec<CheckView>,
    /// What staff wrote last, on escalating or resolving it; shown to staff only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One answered question of an incident's checklist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CheckView {
    /// Which.
    pub item: CheckItem,
    /// Yes or no.
    pub answer: bool,
}

/// An offer as its driver sees it: enough to decide on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Offer {
    /// Which.
    pub id: OfferId,
    /// Of what.
    pub job: JobId,
    /// What the job is.
    pub work: WorkKind,
    /// Where it starts.
    pub pickup: Place,
    /// Where it ends, if known.
    pub dropoff: Option<Place>,
    /// What the rider pays.
    pub fare: Money,
    /// How long it takes to get to the pickup, in seconds.
    pub eta_s: u32,
    /// When it ends by itself (server clock).
    pub expires_at: Timestamp,
    /// Several deliveries as one, if it is that: what stands above is of the first, but the fare, which is of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Box<RunOffer>>,
    /// Does it begin only when what the driver does now has ended?
    #[serde(default, skip_serializing_if = "is_false")]
    pub next: bool,
}

impl Offer {
    /// What becomes the driver's who says yes.
    pub fn jobs(&self) -> impl Iterator<Item = JobId> {
        let all = self.run.iter().flat_map(|run| run.orders.iter().map(|it| it.order.into()));
        let alone = self.run.is_none().then_some(self.job);
        all.chain(alone)
    }
}

/// What a job is, as far as a driver's slots care.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, strum::Display,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum WorkKind {
    /// Moves a person; fills the vehicle.
    Ride,
    /// Moves goods; several fit.
    Delivery,
    /// Helps the stranded; fills the vehicle.
    Rescue,
}

/// Where a device was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Where.
    pub at: Point,
    /// When, by the device's clock.
    pub sampled_at: Timestamp,
    /// Degrees clockwise from north.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heading_deg: Option<f32>,
    /// Metres per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_mps: Option<f32>,
    /// Radius of the 68 % circle, in metres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_m: Option<f32>,
}

/// What staff, or the platform, have to say to a rider or a driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Message {
    /// About which job, if about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// One line, for people.
    pub text: String,
    /// Who wrote it.
    pub by: Principal,
    /// When.
    pub at: Timestamp,
    /// It is of offers that the driver does not take: so many in a row. It may rest instead (`set_duty`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_a_row: Option<u8>,
}

/// One moving or standing mark on the dispatcher's map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// A driver.
    Driver {
        /** Which. */
        id: DriverId,
        /** Where. */
        at: Point,
        /** Can it be given work? */
        status: DriverStatus,
        /** What it does. */
        jobs: Vec<JobId>,
        /** What it drives, if that is known. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vehicle: Option<VehicleKind>,
        /** Has its device said too often of late that it is where it cannot be? */
        #[serde(default, skip_serializing_if = "is_false")]
        doubted: bool,
        /** Has it worked for long, or as long as it may? */
        #[serde(default, skip_serializing_if = "is_false")]
        tired: bool,
    },
    /// An order.
    Order {
        /** Which. */
        id: OrderId,
        /** What is moved. */
        kind: OrderKind,
        /** Where it is in its life. */
        status: OrderStatus,
        /** From where. */
        pickup: Point,
        /** To where. */
        dropoff: Point,
        /** Who performs it. */
        driver: Option<DriverId>,
        /** What it comes before, where there are too few drivers. */
        #[serde(default, skip_serializing_if = "Priority::is_normal")]
        priority: Priority,
        /** Does a dispatcher let nobody be asked for a while? */
        #[serde(default, skip_serializing_if = "is_false")]
        held: bool,
        /** Since when somebody waits: when it was placed, or when it is to start; absent from older builds. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
        /** Until when it was promised to be done, if it was. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<Timestamp>,
    },
    /// A rescue.
    Rescue {
        /** Which. */
        id: RescueId,
        /** What is wrong. */
        issue: Issue,
        /** Where it is in its life. */
        status: RescueStatus,
        /** Where. */
        at: Point,
        /** Who helps. */
        driver: Option<DriverId>,
        /** What it comes before, where there are too few drivers. */
        #[serde(default, skip_serializing_if = "Priority::is_normal")]
        priority: Priority,
        /** Does a dispatcher let nobody be asked for a while? */
        #[serde(default, skip_serializing_if = "is_false")]
        held: bool,
        /** Since when somebody waits; absent from older builds. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
        /** Until when it was promised to be done, if it was. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<Timestamp>,
    },
}

/// Something that happened, as one line of the board's ticker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Happening {
    /// When.
    pub at: Timestamp,
    /// To whom: an id in display form.
    pub actor: String,
    /// What: the event's name.
    pub what: String,
}

/// How many of what, now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Counters {
    /// Drivers by status.
    pub drivers: std::collections::BTreeMap<DriverStatus, u32>,
    /// Rides by status, those that ended since the node started included.
    pub rides: std::collections::BTreeMap<OrderStatus, u32>,
    /// Deliveries and commerce orders by status, likewise.
    pub deliveries: std::collections::BTreeMap<OrderStatus, u32>,
    /// Rescues by status, likewise.
    pub rescues: std::collections::BTreeMap<RescueStatus, u32>,
}
