//! What can be asked of a driver, what can be seen of it, and what can happen to it.

use super::{Break, Leave, Slots};
use crate::policy::DriverPolicy;
use protocol::{
    JobId, OfferId, OfferStatus, OrderId, PartnerId, Point, Principal, RescueId, Timestamp,
    view::{Offer, Position, Shift, WorkKind},
    work::{DutyWish, Needs, Vehicle},
};
use serde::{Deserialize, Serialize};

/// What can be asked of a driver.
#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Command {
    /// Start, stop or pause work.
    SetDuty {
        /** Which. */
        duty: DutyWish,
        /** With what, when starting. */
        vehicle: Option<Vehicle>,
        /** The rules from now on. */
        policy: DriverPolicy,
    },
    /// A job asks the driver to consider it, or, without consent, to take it.
    ReserveOffer {
        /** The terms. */
        offer: Offer,
        /** Must the driver say yes? */
        consent: bool,
        /** Even if the driver is full or resting (dispatcher). */
        force: bool,
        /** How heavy each of its jobs is, in grams; what is missing weighs nothing. */
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        weights_g: Vec<u32>,
        /** What its jobs ask of the driver: nothing, as far as a node knows that is older. */
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        wants: Vec<Wants>,
    },
    /// The offer is taken back.
    WithdrawOffer {
        /** Which. */
        offer: OfferId,
        /** How it ended. */
        status: OfferStatus,
    },
    /// The driver's device shows the offer.
    SeeOffer {
        /** Which. */
        offer: OfferId,
    },
    /// The driver says yes.
    AcceptOffer {
        /** Which. */
        offer: OfferId,
    },
    /// The driver says no.
    DeclineOffer {
        /** Which. */
        offer: OfferId,
    },
    /// The driver wants a job from the feed.
    ClaimJob {
        /** Which. */
        job: JobId,
        /** What it does to the slots. */
        work: WorkKind,
        /** How heavy it is, in grams. */
        #[serde(default, skip_serializing_if = "is_zero")]
        weight_g: u32,
    },
    /// The driver gives back a job that was assigned without asking.
    RejectJob {
        /** Which. */
        job: JobId,
    },
    /// The job is the driver's.
    CommitJob {
        /** Which. */
        job: JobId,
    },
    /// The job is not the driver's after all.
    AbortJob {
        /** Which. */
        job: JobId,
        /** By which offer it was wanted; none, if it was claimed from the feed. */
        #[serde(default)]
        offer: Option<OfferId>,
        /** Why. */
        reason: String,
    },
    /// None of what was wanted by this offer of a run is the driver's after all. Needs format 5.
    AbortRun {
        /** By which. */
        offer: OfferId,
        /** Why. */
        reason: String,
    },
    /// The job is over, or someone else's.
    EndJob {
        /** Which. */
        job: JobId,
        /** Why. */
        reason: String,
    },
    /// The job cannot be taken from the driver: the answer to a refused `DriverLost`.
    KeepJob {
        /** Which. */
        job: JobId,
    },
    /// What the rider thought of a job.
    RecordRating {
        /** Of which. */
        job: JobId,
        /** 1 to 5. */
        stars: u8,
    },
    /// The driver wants only jobs that lead there; any, if absent.
    SetDestination {
        /** Where. */
        to: Option<Point>,
    },
    /// Needs help itself, and can do nothing until that has come.
    Strand {
        /** What brings it. */
        rescue: RescueId,
    },
    /// The help has come, or will not.
    Unstrand {
        /** Which. */
        rescue: RescueId,
    },
    /// A region knows a better place to wait. Needs format 4.
    Hint {
        /** Where. */
        to: Point,
    },
    /// Drives for this partner, or for none. Needs format 4.
    SetFleet {
        /** Whose fleet. */
        fleet: Option<PartnerId>,
        /** Why. */
        reason: String,
    },
    /// Staff vouch for a skill. Needs format 8.
    GrantSkill {
        /** Which. */
        skill: String,
        /** Why. */
        reason: String,
        /** Until when, if not until it is revoked. */
        until: Option<Timestamp>,
    },
    /// They do no more. Needs format 8.
    RevokeSkill {
        /** Which. */
        skill: String,
        /** Why. */
        reason: String,
    },
    /// Staff say when it is to work: in these shifts, and in no others. Needs format 10.
    SetShifts {
        /** How often they were said before, as far as the asker knows. */
        expects: u32,
        /** Which. */
        shifts: Vec<Shift>,
        /** How long after its start one may come to each, in seconds. */
        grace_s: u16,
        /** Why. */
        reason: String,
    },
    /// Staff let it work outside of them. Needs format 10.
    AllowOffShift {
        /** Until when. */
        until: Timestamp,
        /** Why. */
        reason: String,
    },
    /// They do no more. Needs format 10.
    RevokeOffShift {
        /** Why. */
        reason: String,
    },
    /// Staff have something to tell it. Needs format 4.
    Message {
        /** About which job. */
        job: Option<JobId>,
        /** What. */
        text: String,
    },
    /// May not work.
    Suspend {
        /** Why. */
        reason: String,
        /** Also from the jobs it has? */
        reassign: bool,
    },
    /// May work again.
    Reinstate {},
    /// The deadline has come.
    Tick {},
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// What a job asks of the driver it is reserved for: it was chosen for what it brought when it was listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wants {
    /// What must be brought.
    #[serde(default)]
    pub needs: Needs,
    /// Whose drivers it is kept to, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<PartnerId>,
    /// Is it kept to them only at first?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fleet_first: bool,
}

impl Wants {
    /// Nothing, if any driver at all would do.
    pub fn of(needs: &Needs, fleet: Option<PartnerId>, fleet_first: bool) -> Option<Self> {
        let asks_much = *needs != Needs::default() || fleet.is_some();
        asks_much.then(|| Self { needs: needs.clone(), fleet, fleet_first })
    }
}

/// What is seen of a driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sighting {
    /// Its device is here. (Also a heartbeat.)
    At(Position),
    /// Its device is there, wherever that is.
    Heartbeat,
    /// The same, and knows that where it says it is was made up. Builds that do not know of it hear nothing.
    MadeUp,
    /// Its device has said too often that it is where it cannot be, or has not for a while. For those who follow it: it does nothing
    /// about it. Builds that do not know of it hear nothing.
    Doubted {
        /** Which of the two. */
        doubted: bool,
    },
}

/// What has happened to a driver.
#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Event {
    /// A shift began; it is run by this policy until it ends.
    WentOn {
        /** When. */
        at: Timestamp,
        /** With what. */
        vehicle: Vehicle,
        /** The rules of the shift. */
        policy: DriverPolicy,
    },
    /// Back from a break, no longer about to leave, or in another vehicle.
    Resumed {
        /** When. */
        at: Timestamp,
        /** With what from now on. */
        vehicle: Vehicle,
    },
    /// A break began.
    BreakStarted {
        /** When. */
        at: Timestamp,
        /** Whose idea it was. */
        why: Break,
    },
    /// Finishes what it has and takes nothing new.
    Draining {
        /** When. */
        at: Timestamp,
        /** Why. */
        why: Leave,
    },
    /// The shift ended.
    WentOff {
        /** When. */
        at: Timestamp,
        /** Why. */
        why: Leave,
    },
    /// An offer was laid before the driver.
    OfferReserved {
        /** When. */
        at: Timestamp,
        /** The terms. */
        offer: Offer,
        /** Must the driver say yes? */
        consent: bool,
        /** May it displace other work? */
        force: bool,
        /** How heavy each of its jobs is, in grams; what is missing weighs nothing. A build that does not know of it
        forgets it. */
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        weights_g: Vec<u32>,
    },
    /// The device showed it. Not written any more: the job keeps it.
    OfferSeen {
        /** When. */
        at: Timestamp,
        /** Which. */
        offer: OfferId,
    },
    /// The driver said no.
    OfferDeclined {
        /** When. */
        at: Timestamp,
        /** Which. */
        offer: OfferId,
    },
    /// The driver can no longer take it.
    OfferDropped {
        /** When. */
        at: Timestamp,
        /** Which. */
        offer: OfferId,
        /** Why. */
        reason: String,
    },
    /// It was taken back, or nobody answered it.
    OfferEnded {
        /** When. */
        at: Timestamp,
        /** Which. */
        offer: OfferId,
        /** How. */
        status: OfferStatus,
    },
    /// It will be taken as soon as the work in its way is gone.
    OfferPromised {
        /** When. */
        at: Timestamp,
        /** Which. */
        offer: OfferId,
    },
    /// The driver said yes, and its job is deciding.
    OfferAccepted {
        /** When. */
        at: Timestamp,
        /** Which. */
        offer: OfferId,
        /** The room kept for it. */
        slots: Slots,
    },
    /// The driver said yes to a run, and its orders are deciding, each for itself. Needs format 5.
    RunAccepted {
        /** When. */
        at: Timestamp,
        /** Which offer. */
        offer: OfferId,
        /** The slot kept for each order. */
        slots: Vec<(OrderId, u8)>,
    },
    /// The driver wants a job from the feed, and the job is deciding.
    JobClaimed {
        /** When. */
        at: Timestamp,
        /** Which. */
        job: JobId,
        /** What it is. */
        work: WorkKind,
        /** The room kept for it. */
        slots: Slots,
        /** How heavy it is, in grams. */
        #[serde(default, skip_serializing_if = "is_zero")]
        weight_g: u32,
    },
    /// The job has not decided for too long and was asked again.
    JobAsked {
        /** When. */
        at: Timestamp,
        /** Which. */
        job: JobId,
    },
    /// The job is the driver's.
    JobCommitted {
        /** When. */
        at: Timestamp,
        /** Which. */
        job: JobId,
    },
    /// The job that waited for the last one to end begins.
    NextStarted {
        /** When. */
        at: Timestamp,
        /** Which. */
        job: JobId,
        /** The room it takes from now on. */
        slots: Slots,
    },
    /// The driver wants only jobs that lead there; any, if absent.
    DestinationSet {
        /** When. */
        at: Timestamp,
        /** Where. */
        to: Option<Point>,
    },
    /// It went to someone else, or is over.
    JobAborted {
        /** When. */
        at: Timestamp,
        /** Which. */
        job: JobId,
        /** Why. */
        reason: String,
    },
    /// The driver is to be taken off the job; the job is deciding.
    JobLeft {
        /** When. */
        at: Timestamp,
        /** Which. */
        job: JobId,
        /** Why. */
        reason: String,
    },
    /// It cannot be taken off it.
    JobKept {
        /** When. */
        at: Timestamp,
        /** Which. */
        job: JobId,
    },
    /// The job is over, or someone else's.
    JobEnded {
        /** When. */
        at: Timestamp,
        /** Which. */
        job: JobId,
        /** Why. */
        reason: String,
    },
    /// Not heard of for too long.
    WentStale {
        /** When. */
        at: Timestamp,
    },
    /// Not heard of for so long that its jobs were told.
    WentLost {
        /** When. */
        at: Timestamp,
    },
    /// Heard of again.
    Recovered {
        /** When. */
        at: Timestamp,
    },
    /// Needs help itself.
    Stranded {
        /** When. */
        at: Timestamp,
        /** What brings it. */
        rescue: RescueId,
    },
    /// Needs none any more.
    Unstranded {
        /** When. */
        at: Timestamp,
    },
    /// May not work: at once, or when its jobs are over.
    Suspended {
        /** When. */
        at: Timestamp,
        /** Why. */
        reason: String,
        /** Also from the jobs it has? */
        reassign: bool,
    },
    /// May work again.
    Reinstated {
        /** When. */
        at: Timestamp,
    },
    /// It was told of a better place to wait. Needs format 4.
    Hinted {
        /** When. */
        at: Timestamp,
        /** Where. */
        to: Point,
        /** Until when that is worth anything. */
        until: Timestamp,
    },
    /// Drives for this partner, or for none. Needs format 4.
    FleetSet {
        /** When. */
        at: Timestamp,
        /** Whose fleet. */
        fleet: Option<PartnerId>,
        /** Who said it. */
        by: Principal,
        /** Why. */
        reason: String,
    },
    /// Staff vouch for a skill. Needs format 8.
    SkillGranted {
        /** When. */
        at: Timestamp,
        /** Which. */
        skill: String,
        /** Until when, if not until it is revoked. */
        until: Option<Timestamp>,
        /** Who said it. */
        by: Principal,
        /** Why. */
        reason: String,
    },
    /// They do no more. Needs format 8.
    SkillRevoked {
        /** When. */
        at: Timestamp,
        /** Which. */
        skill: String,
        /** Who said it. */
        by: Principal,
        /** Why. */
        reason: String,
    },
    /// Staff said when it is to work. Needs format 10.
    ShiftsSet {
        /** When. */
        at: Timestamp,
        /** In which shifts, in order. */
        shifts: Vec<Shift>,
        /** How long after its start one may come to each, in seconds. */
        grace_s: u16,
        /** Who said it. */
        by: Principal,
        /** Why. */
        reason: String,
    },
    /// It did not come to a shift in time. Needs format 10.
    ShiftMissed {
        /** When. */
        at: Timestamp,
        /** When that began… */
        start: Timestamp,
        /** … and when it ends. */
        end: Timestamp,
    },
    /// Staff let it work outside of its shifts. Needs format 10.
    OffShiftAllowed {
        /** When. */
        at: Timestamp,
        /** Until when. */
        until: Timestamp,
        /** Who said it. */
        by: Principal,
        /** Why. */
        reason: String,
    },
    /// They do no more. Needs format 10.
    OffShiftRevoked {
        /** When. */
        at: Timestamp,
        /** Who said it. */
        by: Principal,
        /** Why. */
        reason: String,
    },
    /// It was told that it takes no offers, and that it may rest. Needs format 8.
    UnwantedTold {
        /** When. */
        at: Timestamp,
        /** How many in a row. */
        n: u8,
    },
    /// It was told that it has worked for long, and may rest before it must. Needs format 11.
    HoursTold {
        /** When. */
        at: Timestamp,
        /** For how long, as far as that counts, in milliseconds. */
        worked_ms: u32,
        /** How much longer it may, if it goes on, in milliseconds. */
        left_ms: u32,
    },
    /// Staff had something to tell it. Needs format 4.
    Messaged {
        /** When. */
        at: Timestamp,
        /** About which job. */
        job: Option<JobId>,
        /** Who wrote it. */
        by: Principal,
        /** What. */
        text: String,
    },
    /// A job was rated.
    Rated {
        /** When. */
        at: Timestamp,
        /** Which. */
        job: JobId,
        /** 1 to 5. */
        stars: u8,
    },
}
