//! How a driver was looked for, told afterwards: what rounds saw, who was asked, and what came of it.

use crate::{DriverId, JobId, OfferId, OfferStatus, Timestamp, rule::RuleMark, view::Eta};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Why a driver is not offered a job, or cannot be given it. Where several are true, one is told.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumCount,
    strum::EnumIter,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum WhyNot {
    /// It may not work: suspended, or in need of help itself.
    Blocked,
    /// It does not work.
    OffDuty,
    /// It rests.
    OnBreak,
    /// It finishes what it has, and leaves.
    Leaving,
    /// It was not heard of for too long.
    Unreachable,
    /// Nobody knows where it is, or has for too long not heard.
    NoPosition,
    /// It has this job already, or an offer of it.
    HasIt,
    /// It is being moved from one job to another.
    ChangingJobs,
    /// It has as many open offers as it may.
    HasOffer,
    /// It has no room for that work.
    NoRoom,
    /// Nobody performs their own job.
    SamePerson,
    /// The job is for one driver only, and this is another one.
    NotTheOne,
    /// Its vehicle is not of a kind that is needed.
    Vehicle,
    /// It cannot carry that much.
    Capacity,
    /// Something is needed that it cannot do or has not got.
    Skill,
    /// It had the job or an offer of it, and gave it up, declined it, or let it pass.
    Excluded,
    /// It and the rider are kept apart.
    PairBlocked,
    /// It is on its way somewhere, and the job does not lead there.
    Destination,
    /// It is further away than drivers are looked for.
    TooFar,
    /// Others would come sooner, or cost less.
    Outranked,
    /// Another job was given to it.
    Taken,
    /// It was chosen, and held back: a better pair may turn up.
    Held,
    /// The job has lost as many drivers as it may.
    TooManyDrivers,
    /// The zone of the job's pickup is paused.
    ZonePaused,
    /// The job is kept to the drivers of one fleet, and this driver is none of them.
    OtherFleet,
    /// The drivers of one fleet are asked first, and this driver, who is none of them, only if they do not take it.
    OtherFleetFirst,
    /// What is brought must stay cold, and it cannot keep it so.
    ColdChain,
    /// It has not got a certificate that is needed.
    Certificate,
    /// The rider asked for a driver of another gender.
    Gender,
    /// The job begins or ends where it has no permit to drive.
    Permit,
    /// It would have worked for longer than it may before the job is done, or has already, and must rest.
    Hours,
    /// What it must carry has to be pushed up a ramp, and it has neither that nor a lift gate.
    Ramp,
    /// What it must carry is too heavy for a ramp, and it has no lift gate.
    LiftGate,
    /// What it must carry has to be tied down, and it has nothing to do that with.
    TieDowns,
    /// Its brand demands shifts, and it is in none, nor do staff let it work outside of them.
    OutsideShift,
}

impl WhyNot {
    /// Does it say that the driver, or what it drives, is not what the job needs or the law asks for?
    pub fn is_of_fit(self) -> bool {
        matches!(
            self,
            Self::Vehicle
                | Self::Capacity
                | Self::Skill
                | Self::ColdChain
                | Self::Certificate
                | Self::Gender
                | Self::Permit
                | Self::Hours
                | Self::Ramp
                | Self::LiftGate
                | Self::TieDowns
        )
    }

    /// The nearest reason that builds of format 4 know.
    #[must_use]
    pub fn as_known_before(self) -> Self {
        if matches!(self, Self::ColdChain | Self::Certificate | Self::Gender | Self::Permit) {
            return Self::Skill;
        }
        if self == Self::Hours { Self::OffDuty } else { self.as_known_before_features() }
    }

    /// The nearest reason that builds of format 8 know.
    #[must_use]
    pub fn as_known_before_features(self) -> Self {
        if matches!(self, Self::Ramp | Self::LiftGate | Self::TieDowns) {
            return Self::Skill;
        }
        self
    }

    /// May a dispatcher who says why overrule it? What would only be refused later, or harm somebody, may not
    /// be.
    pub fn may_be_overruled(self) -> bool {
        match self {
            Self::OnBreak
            | Self::Leaving
            | Self::NoPosition
            | Self::HasOffer
            | Self::NoRoom
            | Self::NotTheOne
            | Self::Vehicle
            | Self::Capacity
            | Self::Skill
            | Self::Excluded
            | Self::Destination
            | Self::TooFar
            | Self::Outranked
            | Self::Taken
            | Self::Held
            | Self::TooManyDrivers
            | Self::ZonePaused
            | Self::OtherFleet
            | Self::OtherFleetFirst
            | Self::Ramp
            | Self::LiftGate
            | Self::TieDowns
            | Self::OutsideShift => true,
            Self::Blocked
            | Self::OffDuty
            | Self::Unreachable
            | Self::HasIt
            | Self::ChangingJobs
            | Self::PairBlocked
            | Self::SamePerson
            | Self::ColdChain
            | Self::Certificate
            | Self::Gender
            | Self::Permit
            | Self::Hours => false,
        }
    }
}

/// Why a delivery is not brought with others. Where several are true, the first of these is told. Reasons are added, never
/// changed or reused.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumIter,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum WhyAlone {
    /// It is not fetched at one place and brought to one other.
    OtherKind,
    /// It has a driver, or is over.
    Taken,
    /// It is in a run, or waits for one.
    InRun,
    /// Nobody is looked for yet, or it is in the feed.
    NotLooking,
    /// A dispatcher holds it.
    Held,
    /// The zone of its pickup is paused.
    ZonePaused,
    /// Somebody is asked about it alone.
    Offered,
    /// Its brand, its urgency or how its driver is chosen keep it alone, or drivers did not want it with others.
    NotBatched,
    /// It is for one driver only.
    NotTheOne,
    /// Its search ends before a driver could have answered.
    NoTime,
    /// Nothing else waits that may be brought with others.
    NobodyElse,
    /// It is fetched too far away from the others.
    PickupsApart,
    /// It is brought too far away from the others.
    DropoffsApart,
    /// It is ready too long before or after the others.
    TimesApart,
    /// As many as may be are together already.
    Full,
    /// No driver who fits has room and is near.
    NoDriver,
    /// In no order of stops is everything there in time, by a driver who may work for so long and can carry it.
    Late,
    /// Too little would be saved.
    NoSaving,
    /// It, its run or its driver said no when they were asked.
    Refused,
}

/// What a round made of one job.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::VariantNames,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Verdict {
    /// Drivers were proposed for it.
    Proposed,
    /// The best pair takes too long for how long the request has waited: a better one may turn up.
    HeldTooFar,
    /// The best driver is still busy for too long to be bound already.
    HeldBusy,
    /// Those who fit were given to other jobs.
    Outbid,
    /// Nobody who fits was in reach.
    Nobody,
    /// The zone of its pickup is paused: nobody was looked for.
    ZonePaused,
}

/// What became of a driver whom a round weighed for a job.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::VariantNames,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Fate {
    /// Proposed for this job.
    Proposed,
    /// Chosen for this job, and held back.
    Held,
    /// Given to another job.
    Taken,
    /// Left over: another driver was better.
    Spare,
}

/// A driver whom a round weighed for a job, and what it would have cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Weighed {
    /// Who.
    pub driver: DriverId,
    /// What became of it.
    pub fate: Fate,
    /// To the pickup, in metres as the crow flies.
    pub distance_m: u32,
    /// The whole cost, in milliseconds of travel: the sum of what follows.
    pub cost_ms: u32,
    /// The way to the pickup.
    pub travel_ms: u32,
    /// How long it is still busy with something else.
    pub busy_ms: u32,
    /// When it would be at the pickup, in seconds, if that is one time in ten sooner than…
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub low_s: u16,
    /// … and one in ten later. Nothing of older nodes.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub high_s: u16,
    /// What it costs beside the way.
    #[serde(flatten)]
    pub parts: Parts,
}

/// What a driver costs beside the way to the pickup, in milliseconds of travel, by what for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Parts {
    /// Less the longer it has been idle.
    pub idle_ms: u32,
    /// More the lower it is rated.
    pub rating_ms: u32,
    /// More the less experienced it is.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub level_ms: u32,
    /// More the more offers it declines.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refusal_ms: u32,
    /// More for a vehicle that is larger than must be.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub excess_ms: u32,
    /// More the more of its time it has had something to do.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fairness_ms: u32,
    /// More the further it must turn.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub turn_ms: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_nothing(n: &u16) -> bool {
    *n == 0
}

impl Weighed {
    /// When it would be at the pickup.
    pub fn eta(&self) -> Eta {
        let s = self.travel_ms.saturating_add(self.busy_ms).div_ceil(1_000);
        match self.high_s {
            // An older node does not say how sure it is.
            0 => Eta { s, low_s: s, high_s: s },
            high_s => Eta { s, low_s: self.low_s.into(), high_s: high_s.into() },
        }
    }

    /// When the best of these, cheapest first, would be there, unless another job has it.
    pub fn best(weighed: &[Self]) -> Option<Eta> {
        let is_left = |fate: Fate| match fate {
            Fate::Proposed | Fate::Held | Fate::Spare => true,
            Fate::Taken => false,
        };
        Some(weighed.iter().find(|it| is_left(it.fate))?.eta())
    }
}

impl Parts {
    /// How many there are.
    pub const COUNT: usize = 7;

    /// All of them together.
    // Rounds ask for it of every driver, from another crate.
    #[inline]
    pub fn sum_ms(mut self) -> u32 {
        self.each().into_iter().fold(0, |sum, it| sum.saturating_add(*it))
    }

    /// Each of them, in the order in which journals have them.
    #[inline]
    fn each(&mut self) -> [&mut u32; Self::COUNT] {
        let Self { idle_ms, rating_ms, level_ms, refusal_ms, excess_ms, fairness_ms, turn_ms } =
            self;
        [idle_ms, rating_ms, level_ms, refusal_ms, excess_ms, fairness_ms, turn_ms]
    }
}

/// In the order in which journals have them.
impl From<Parts> for [u32; Parts::COUNT] {
    fn from(mut parts: Parts) -> Self {
        parts.each().map(|it| *it)
    }
}

/// In the same order.
impl From<[u32; Self::COUNT]> for Parts {
    fn from(each_ms: [u32; Self::COUNT]) -> Self {
        let mut parts = Self::default();
        for (part, ms) in parts.each().into_iter().zip(each_ms) {
            *part = ms;
        }
        parts
    }
}

/// A driver in reach whom a round did not weigh, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Unfit {
    /// Who.
    pub driver: DriverId,
    /// Why not.
    pub why: WhyNot,
}

/// What rounds saw of one job: one of them, or several in a row that came to the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Seen {
    /// When the first of them was.
    pub from: Timestamp,
    /// When the last of them was, which is the one that is told.
    pub at: Timestamp,
    /// How many there were.
    pub n: u32,
    /// Which round of its search it was.
    pub round: u32,
    /// How far away drivers were looked for, in metres.
    pub radius_m: u32,
    /// What came of it.
    pub verdict: Verdict,
    /// How many drivers were weighed.
    pub n_weighed: u32,
    /// The first of them, cheapest first.
    pub weighed: Vec<Weighed>,
    /// How many drivers in reach did not fit, by the reason. Nobody further away than those who were
    /// weighed was looked at.
    pub n_unfit: BTreeMap<WhyNot, u32>,
    /// The first of them.
    pub unfit: Vec<Unfit>,
    /// The rule that was in force for it, if any was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleMark>,
    /// What knew better than the router how long ways take; absent where nothing did, because nothing had been learned yet or a
    /// rule said so, and where rounds are told in short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Model>,
}

impl Seen {
    /// When the driver would be there who would come if one had to be chosen then.
    pub fn eta(&self) -> Option<Eta> {
        Weighed::best(&self.weighed)
    }
}

/// What knew better than the router how long ways take, and what it made of one of them: the way of whoever was chosen, or of the
/// cheapest, if nobody was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Model {
    /// Which.
    pub name: ModelName,
    /// Which version of it.
    pub version: u32,
    /// How many ways it had learned of, as far as it counts.
    pub n_learned: u32,
    /// How long the router alone says that way takes, in milliseconds…
    pub router_ms: u32,
    /// … and how long it says itself: the `travel_ms` of that driver.
    pub model_ms: u32,
}

/// What may know better than the router how long ways take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::Display)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ModelName {
    /// What its region has learned of the ways that drivers took.
    LearnedWays,
}

/// Something that happened to a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// What: the event's name.
    pub what: String,
    /// Who did it, if that was a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// About which driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<DriverId>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What spoke against it, and was overruled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bypassed: Vec<WhyNot>,
    /// How far away drivers are looked for from now on, in metres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub radius_m: Option<u32>,
    /// Until when, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// An offer, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Offered {
    /// Which.
    pub id: OfferId,
    /// To whom.
    pub driver: DriverId,
    /// How far away drivers were looked for, in metres.
    pub radius_m: Option<u32>,
    /// To the pickup, in seconds.
    pub eta_s: u32,
    /// To the pickup, in metres; absent where a person chose the driver.
    pub distance_m: Option<u32>,
    /// What the pair cost, in milliseconds of travel; absent where a person chose the driver.
    pub cost_ms: Option<u32>,
    /// Was the driver asked, or told?
    pub asked: bool,
    /// Did a dispatcher insist?
    pub forced: bool,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it ends by itself, or would have.
    pub expires_at: Timestamp,
    /// When the driver's device showed it.
    pub seen_at: Option<Timestamp>,
    /// Two-sided: when the driver said yes.
    pub driver_yes_at: Option<Timestamp>,
    /// Two-sided: when the rider said yes.
    pub rider_yes_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How; absent while it is open.
    pub outcome: Option<OfferStatus>,
    /// Why the driver could not be reserved, if that is how it ended.
    pub refused: Option<String>,
}

/// How a driver was looked for. Steps and offers are kept as long as the job is. What rounds saw is in the memory of the node
/// that held them; what the last few of them saw, in short, is kept with each offer and with the end of the search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MatchTrace {
    /// For which job.
    pub job: JobId,
    /// What happened to its search, oldest first.
    pub steps: Vec<Step>,
    /// Whom it was offered, oldest first.
    pub offers: Vec<Offered>,
    /// What rounds saw, oldest first. Of those that are kept in short there are the first few drivers only.
    pub rounds: Vec<Seen>,
    /// Since when all that rounds saw around its pickup is in memory where they are held; before that, what was kept of it is told.
    /// Absent if nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_since: Option<Timestamp>,
    /// Nodes that did not say in time what their rounds saw.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<String>,
    /// The rule by which it is offered, since it was placed, if there was one: its tiers, times and policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleMark>,
}

/// What rounds made of a driver for one job that looked for one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Chance {
    /// Which job; for staff only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// When a round last looked at both.
    pub at: Timestamp,
    /// Why it was not offered; absent if it was proposed.
    pub why: Option<WhyNot>,
    /// To the pickup, in metres, if that is known.
    pub distance_m: Option<u32>,
    /// What the driver would have cost, in milliseconds of travel, if it was weighed…
    pub cost_ms: Option<u32>,
    /// … and the best.
    pub best_cost_ms: Option<u32>,
}

/// A time in which a driver could be offered nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Spell {
    /// Since when; absent if that is longer ago than was looked.
    pub from: Option<Timestamp>,
    /// Until when; absent while it lasts.
    pub until: Option<Timestamp>,
    /// Why.
    pub why: WhyNot,
}

/// An offer that a driver was made, and what it made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Made {
    /// Which.
    pub id: OfferId,
    /// Of which job.
    pub job: JobId,
    /// When.
    pub at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How; absent while it is open.
    pub outcome: Option<OfferStatus>,
}

/// Why a driver gets no offers, or why it got so few.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WhyNoOffers {
    /// Who.
    pub driver: DriverId,
    /// Since when it was looked; half an hour ago.
    pub since: Timestamp,
    /// What keeps every offer away just now; nothing, if it only takes a job.
    pub now: Vec<WhyNot>,
    /// Skills that it says it has, and that do not count: nobody vouches for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ungranted: Vec<String>,
    /// When something did, oldest first.
    pub spells: Vec<Spell>,
    /// The offers it was made, oldest first.
    pub offers: Vec<Made>,
    /// Since when what rounds made of it is known: what is told of jobs is of then and later. Later than `since` where a node
    /// started, or took over, meanwhile; absent if where the driver is, or who holds rounds there, is not known: then it may be
    /// incomplete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_since: Option<Timestamp>,
    /// How many jobs rounds looked at that looked for a driver around it.
    pub n_jobs: u32,
    /// For how many of them it was proposed.
    pub n_proposed: u32,
    /// Why not for the others.
    pub why: BTreeMap<WhyNot, u32>,
    /// The latest of them, newest first.
    pub chances: Vec<Chance>,
    /// Nodes that did not say in time what their rounds saw.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<String>,
}
