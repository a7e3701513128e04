//! Finding a driver: rounds, offers and who may win, shared by orders and rescues.
//!
//! A [`Search`] is a part of a job's state, not an entity. The job asks it what a command means,
//! journals its events among its own, and folds them back in:
//!
//! ```text
//!  region ── Propose ──► Search ── OfferMade ──► driver (ReserveOffer)
//!  driver ── OfferAccepted ──► Search ── Outcome::Won ──► job (Assigned)
//!  timer  ── Tick ──► Search ── TierOpened | OfferClosed | Outcome::Exhausted ──► job
//! ```
//!
//! One that waits for a run (`run.rs`) is asked about by nobody else meanwhile, but its clock runs on: what it loses by
//! that, it never loses for long.
//!
//! It survives its own end: a job that loses its driver opens the same search again, and whoever
//! was excluded stays excluded. It then has all of its time again; how long somebody has waited counts from when it was
//! opened first.

mod account;
mod words;

pub use account::Account;
pub use words::{
    Brings, CONTROLLED, Candidate, Command, Event, FEATURES, FLEETS, FLEETS_FIRST, Side, Sighting,
    ZONED,
};

use crate::{
    Claim, Effect, Format, Refusal, SearchCard, Tell,
    driver::{self, Wants},
    policy::JobPolicy,
};
use matching::fit::{all_missing, is_of_other_fleet};
use protocol::{
    DriverId, JobId, Money, OfferId, OfferStatus, PartnerId, Place, Point, Principal, RiderId,
    RunId, Timestamp,
    trace::WhyNot,
    view::{Offer, OfferView, WorkKind, ZonePause},
    work::{Needs, OfferPolicy, Priority},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How many drivers who could not be reserved, or did not answer, are left in peace for a while: more than are usually asked
/// before a search ends.
const RESTING_MAX: usize = 64;
/// How long one who did not answer is left in peace, and until the next tier: others who fit are asked meanwhile, and a
/// search does not end beside a driver who only looked away.
const REST: Duration = Duration::from_secs(30);
/// How many offers may be made per attempt that reaches a driver, so that a search among drivers who
/// can never be reserved ends.
const REFUSED_PER_ATTEMPT_MAX: u32 = 4;
/// How many ended offers are remembered, so that a late answer is told how its offer ended.
const ENDED_MAX: usize = 64;

/// How often drivers may not want it with others, before it is left to itself.
const RUNS_MAX: u8 = 2;

/// For how long a search believes that its zone is paused without being told again: nobody waits for ever for a word
/// that was lost.
const PAUSE_MAX: Duration = Duration::from_secs(240);

/// In place of a slot: the job begins when the one its driver is on has ended.
pub const NEXT_SLOT: u8 = u8::MAX;

/// What surrounds a question to a search.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Whose search it is.
    pub job: JobId,
    /// Who waits; never offered to the same person as a driver.
    pub rider: RiderId,
    /// The job's rules, pinned when it was placed.
    pub policy: &'a JobPolicy,
    /// What must be brought.
    pub needs: &'a Needs,
    /// Whom the job has, if it has a driver.
    pub assignment: Option<&'a Assignment>,
    /// When.
    pub now: Timestamp,
}

/// Whom a dispatcher chose for a job.
#[derive(Debug, Clone, Copy)]
pub struct Chosen<'a> {
    /// Whom.
    pub driver: DriverId,
    /// Does the dispatcher insist?
    pub force: bool,
    /// Why.
    pub reason: &'a str,
    /// What speaks against it, as far as that is known outside the job.
    pub against: &'a [WhyNot],
}

/// What a search answers to a dispatcher.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// To be journaled in order; nothing, if the driver has been chosen already.
    pub events: Vec<Event>,
    /// What spoke against it, and was overruled.
    pub bypassed: Vec<WhyNot>,
}

/// What a search answers: what happens to it, and what that means for the job.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// To be journaled first, in order.
    pub events: Vec<Event>,
    /// What the job must do about it, if anything.
    pub outcome: Option<Outcome>,
}

/// How a search can end by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The job has this driver. The search has closed itself.
    Won(Assignment),
    /// Nobody (more) can be asked, and no offer is open. The job appends [`Event::Closed`] or
    /// [`Event::FeedOpened`].
    Exhausted,
}

/// A driver bound to a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Who.
    pub driver: DriverId,
    /// By which offer; none if it was claimed from the feed or handed over.
    pub offer: Option<OfferId>,
    /// Which slots of the vehicle it fills.
    pub slots: Vec<u8>,
    /// Since when.
    pub at: Timestamp,
}

impl Assignment {
    /// The keys that no other job may hold while this one has the driver.
    pub fn claims(&self) -> impl Iterator<Item = Claim> {
        self.slots.iter().map(|slot| Claim::slot(self.driver, *slot))
    }

    /// Does the driver still finish another job first?
    pub fn is_next(&self) -> bool {
        self.slots == [NEXT_SLOT]
    }

    /// Tells the driver that the job is theirs.
    pub fn commit(&self, job: JobId) -> Effect {
        tell_driver(self.driver, driver::Command::CommitJob { job }).into()
    }

    /// Tells the driver that the job is over, or someone else's.
    pub fn end(&self, job: JobId, reason: &str) -> Effect {
        let reason = reason.to_owned();
        tell_driver(self.driver, driver::Command::EndJob { job, reason }).into()
    }
}

/// What an offer says about the job.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// Which job.
    pub job: JobId,
    /// What it is.
    pub work: WorkKind,
    /// Where it starts.
    pub pickup: &'a Place,
    /// Where it ends, if known.
    pub dropoff: Option<&'a Place>,
    /// What the rider pays.
    pub fare: Money,
    /// What must be brought.
    pub needs: &'a Needs,
}

/// The search of one job, over all its rounds and drivers. `Default` has not begun.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Search {
    phase: Phase,
    /// When it was opened first, however often it has been since; zero before that. A build that does not know of it
    /// forgets it, and then whoever waits has waited since it was opened last.
    #[serde(skip_serializing_if = "is_never")]
    first_opened_at: Timestamp,
    round: u32,
    n_offers: u32,
    n_offers_at_opening: u32,
    n_refused: u32,
    open: Vec<OpenOffer>,
    ended: Vec<(OfferId, OfferStatus)>,
    excluded: Vec<DriverId>,
    /// Who could not be reserved, or did not answer. A build that does not know of it forgets it, as this one does what such a one
    /// wrote, and then they may be asked again at once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    at_rest: Vec<Resting>,
    /// Whom its rider is kept apart from.
    #[serde(skip_serializing_if = "<[DriverId]>::is_empty")]
    barred: Box<[DriverId]>,
    /// Whose drivers it is kept to, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    fleet: Option<Box<PartnerId>>,
    /// They only come first: once some tiers are over, or they have been asked enough, or its time is over, it is everybody's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    fleet_first: bool,
    /// Why it stands still, if its zone is why.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<Box<Paused>>,
    /// The run it waits for, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    joined: Option<Box<Joined>>,
    /// How many runs it waited for came to nothing, for their drivers did not want them, since it was opened.
    #[serde(skip_serializing_if = "is_zero")]
    n_runs: u8,
    /// In its last tier it asks those again who were silent: that nobody answers then takes no attempt from those who may come.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    asks_again: bool,
    /// Up to which round its journal says what rounds saw of it. A build that does not know of it forgets it, and then something is
    /// told twice.
    #[serde(skip_serializing_if = "is_nothing")]
    told: u32,
    /// How many of the last things that happened to it were only that a tier opened. A build that does not know of it forgets it, and
    /// then whoever looked at it before one did looks again.
    #[serde(skip_serializing_if = "is_nothing")]
    n_widened: u8,
    /// It is the platform that holds it, to have it brought with others.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_kept: bool,
}

/// That a driver is left in peace: until then, and until the next tier.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Resting {
    driver: DriverId,
    until: Timestamp,
    /// It let an offer pass, so that a wider tier does not end its rest. Whoever only could not be asked is asked again with that.
    #[serde(default)]
    is_silent: bool,
}

/// That a search waits for a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Joined {
    run: RunId,
    driver: DriverId,
    until: Timestamp,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u8) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_never(at: &Timestamp) -> bool {
    *at == Timestamp::default()
}

fn is_nothing<N: Default + PartialEq>(n: &N) -> bool {
    *n == N::default()
}

/// That a search stands still because of its zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Paused {
    pause: ZonePause,
    /// It goes on by itself then.
    until: Timestamp,
}

impl Paused {
    /// As regions are told.
    fn card(&self) -> matching::Paused {
        let ZonePause { zone, until, .. } = self.pause;
        let stale_at = (until != Some(self.until)).then(|| self.until - PAUSE_MAX / 2);
        matching::Paused { zone, until, stale_at }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    #[default]
    Closed,
    Open {
        at: Timestamp,
        until: Timestamp,
        tier: u8,
        next_tier_at: Option<Timestamp>,
        only: Option<DriverId>,
    },
    Feed {
        until: Timestamp,
        /// It was for this driver alone before nobody was found for it, and stays so. A build that does not know of it opens it to all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<DriverId>,
    },
    /// What was left of it when a dispatcher, or its zone, stopped it.
    Held {
        opened_at: Timestamp,
        left_ms: u64,
        tier: u8,
        next_tier_ms: Option<u64>,
        only: Option<DriverId>,
        is_feed: bool,
    },
}

impl Phase {
    fn held(self, at: Timestamp) -> Self {
        let left_ms = |until: Timestamp| until.since(at).as_millis() as u64;
        match self {
            Self::Open { at: opened_at, until, tier, next_tier_at, only } => Self::Held {
                opened_at,
                left_ms: left_ms(until),
                tier,
                next_tier_ms: next_tier_at.map(left_ms),
                only,
                is_feed: false,
            },
            Self::Feed { until, only } => Self::Held {
                opened_at: at,
                left_ms: left_ms(until),
                tier: 0,
                next_tier_ms: None,
                only,
                is_feed: true,
            },
            Self::Held { .. } | Self::Closed => self,
        }
    }

    fn resumed(self, at: Timestamp) -> Self {
        let after = |ms: u64| at + Duration::from_millis(ms);
        match self {
            Self::Held { left_ms, only, is_feed: true, .. } => {
                Self::Feed { until: after(left_ms), only }
            }
            Self::Held { opened_at, left_ms, tier, next_tier_ms, only, is_feed: false } => {
                let (until, next_tier_at) = (after(left_ms), next_tier_ms.map(after));
                Self::Open { at: opened_at, until, tier, next_tier_at, only }
            }
            Self::Open { .. } | Self::Feed { .. } | Self::Closed => self,
        }
    }

    /// For whom alone it is, if it is.
    fn only(self) -> Option<DriverId> {
        match self {
            Self::Open { only, .. } | Self::Feed { only, .. } | Self::Held { only, .. } => only,
            Self::Closed => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OpenOffer {
    id: OfferId,
    driver: DriverId,
    status: OfferStatus,
    expires_at: Timestamp,
    consent: bool,
    slots: Vec<u8>,
}

impl Search {
    /// Begins, or begins anew: with asking, or with the feed where that is the policy.
    pub fn open(&self, only: Option<DriverId>, policy: &JobPolicy, now: Timestamp) -> Vec<Event> {
        if policy.offer == OfferPolicy::Feed && only.is_none() {
            return vec![feed(policy, now)];
        }
        let next_tier_at = next_tier(0, policy, now);
        vec![Event::Opened { at: now, until: now + ms(policy.search_ms), next_tier_at, only }]
    }

    /// Ends it: whatever is open is taken back. Nothing, if nothing was open.
    pub fn close(&self, now: Timestamp) -> Vec<Event> {
        let mut events = self.withdraw_all(now);
        if self.phase != Phase::Closed {
            events.push(Event::Closed { seen: None });
        }
        events
    }

    /// The run it waits for, if it does.
    pub fn run(&self) -> Option<RunId> {
        self.joined.as_ref().map(|joined| joined.run)
    }

    /// May it be brought with others? Not while somebody is asked about it alone, and not again and again, if drivers do not
    /// want it so.
    pub fn may_join(&self) -> bool {
        self.joined.is_none() && self.open.is_empty() && self.n_runs < RUNS_MAX
    }

    /// Up to which round its journal says what rounds saw of it.
    pub fn told(&self) -> u32 {
        self.told
    }

    /// How many of the last things that happened to it were only that it began to look further away: whoever gives it to somebody
    /// has no part in that.
    pub fn n_widened(&self) -> u8 {
        self.n_widened
    }

    /// Is it as it was in that round, but for how far away it looks?
    fn is_as_in(&self, round: u32) -> bool {
        (self.round.saturating_sub(self.n_widened.into())..=self.round).contains(&round)
    }

    /// When it gives up, while drivers are asked.
    pub fn until(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Open { until, .. } => Some(until),
            Phase::Feed { .. } | Phase::Held { .. } | Phase::Closed => None,
        }
    }

    /// Judges what a region or a driver says.
    ///
    /// [`Command::DriverLost`] is judged here as far as offers go; the job looks at its assignment.
    pub fn decide(&self, command: &Command, asked: &Asked) -> Result<Decision, Refusal> {
        match command {
            Command::Propose { round, candidates } => self.propose(*round, candidates, asked),
            Command::OfferRefused { offer, why } => {
                let why = why.clone();
                Ok(self.close_if_open(*offer, asked, |offer| Event::OfferRefused { offer, why }))
            }
            Command::OfferSeen { offer } => Ok(Decision::from(match self.offer(*offer) {
                Some(open) if open.status < OfferStatus::Seen => {
                    vec![Event::OfferSeen { offer: *offer }]
                }
                Some(_) | None => Vec::new(),
            })),
            Command::OfferAccepted { offer, driver, slots } => {
                self.accept(*offer, *driver, slots, asked)
            }
            Command::OfferDeclined { offer } => Ok(self.close_if_open(*offer, asked, |offer| {
                Event::OfferClosed { offer, status: OfferStatus::Declined, driver_knows: true }
            })),
            Command::Settle { .. } => Ok(Decision::from(Vec::new())),
            Command::Bar { drivers } => {
                Ok(self.unless_exhausted(self.bar(drivers, asked.now), asked))
            }
            Command::Pause { pause } => Ok(Decision::from(self.pause(pause, asked.now))),
            Command::Unpause {} => Ok(self.unpause(asked)),
            Command::JoinRun { run, driver, round, from: _, until } => {
                let joined = Joined { run: *run, driver: *driver, until: *until };
                self.join(joined, *round, asked)
            }
            Command::LeaveRun { run, status } => Ok(match self.run() {
                Some(joined) if joined == *run => {
                    let left = self.left_run(*status, true, asked.now);
                    self.unless_exhausted(left.into_iter().collect(), asked)
                }
                Some(_) | None => Decision::from(Vec::new()),
            }),
            Command::TakeByRun { run, offer, driver, slots } => {
                self.take(*run, *offer, *driver, slots, asked)
            }
            Command::Claim { driver, slots, fleet, brings } => {
                self.claim(*driver, slots, *fleet, brings.as_deref(), asked)
            }
            Command::DriverLost { driver, .. } => {
                match self.open.iter().find(|open| open.driver == *driver) {
                    Some(open) => {
                        Ok(self.close_if_open(open.id, asked, |offer| Event::OfferClosed {
                            offer,
                            status: OfferStatus::Declined,
                            driver_knows: true,
                        }))
                    }
                    None => Ok(Decision::from(Vec::new())),
                }
            }
        }
    }

    /// Two-sided: the rider wants this driver.
    pub fn confirm(&self, offer: OfferId, asked: &Asked) -> Result<Decision, Refusal> {
        let Some(open) = self.live(offer, asked)? else { return Ok(Decision::from(Vec::new())) };
        if asked.policy.offer != OfferPolicy::TwoSided {
            return Err(Refusal::NotEligible("drivers are not chosen by the rider here".into()));
        }
        match open.status {
            OfferStatus::DriverConfirmed => Ok(self.win(open, open.slots.clone(), asked)),
            OfferStatus::RiderConfirmed => Ok(Decision::from(Vec::new())),
            OfferStatus::Created
            | OfferStatus::Sent
            | OfferStatus::Delivered
            | OfferStatus::Seen
            | OfferStatus::Accepting
            | OfferStatus::Accepted
            | OfferStatus::Lost
            | OfferStatus::Declined
            | OfferStatus::Expired
            | OfferStatus::Withdrawn => {
                Ok(self.half_yes(offer, Side::Rider, Vec::new(), open.expires_at))
            }
        }
    }

    /// Two-sided: the rider does not want this driver.
    pub fn reject(&self, offer: OfferId, asked: &Asked) -> Result<Decision, Refusal> {
        if self.ended(offer) == Some(OfferStatus::Declined) {
            return Ok(Decision::from(Vec::new()));
        }
        self.live(offer, asked)?;
        Ok(self.close_if_open(offer, asked, |offer| Event::OfferClosed {
            offer,
            status: OfferStatus::Declined,
            driver_knows: false,
        }))
    }

    /// A dispatcher gives the job to a driver, without asking; all other offers are taken back. The
    /// driver's actor still has the last word: what is known of it may have changed.
    pub fn assign(&self, chosen: &Chosen, asked: &Asked) -> Result<Given, Refusal> {
        let Chosen { driver, force, reason, against } = *chosen;
        if self.open.iter().any(|open| open.driver == driver && !open.consent) {
            return Ok(Given { events: Vec::new(), bypassed: Vec::new() });
        }
        if force && reason.trim().is_empty() {
            return Err(Refusal::invalid("reason", "forcing needs one"));
        }
        let is_same_person = is_someone_else(driver, asked.rider).is_err();
        let known = [
            is_same_person.then_some(WhyNot::SamePerson),
            self.excluded.contains(&driver).then_some(WhyNot::Excluded),
            self.barred.contains(&driver).then_some(WhyNot::PairBlocked),
            self.paused.is_some().then_some(WhyNot::ZonePaused),
        ];
        let mut all: Vec<WhyNot> =
            known.into_iter().flatten().chain(against.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        let (bypassed, standing): (Vec<WhyNot>, Vec<WhyNot>) =
            all.into_iter().partition(|why| force && why.may_be_overruled());
        if !standing.is_empty() {
            return Err(Refusal::Unfit(standing));
        }
        let mut events = self.withdraw_all(asked.now);
        events.push(self.offer_to(driver, None, 0, false, force, asked));
        Ok(Given { events, bypassed })
    }

    /// Lets nobody be asked for a while: what is open is taken back, and what is held already waits for no run. Nothing, if that is
    /// so already.
    pub fn hold(&self, by: Principal, reason: &str, at: Timestamp) -> Vec<Event> {
        match self.phase {
            Phase::Open { .. } | Phase::Feed { .. } => {
                let mut events = self.withdraw_all(at);
                events.push(Event::Held { at, by, reason: reason.to_owned() });
                events
            }
            // From now on its zone alone does not let it go on.
            Phase::Held { .. } if self.paused.is_some() => {
                vec![Event::Held { at, by, reason: reason.to_owned() }]
            }
            // From now on it does not go on by itself.
            Phase::Held { .. } if self.is_kept && by != Principal::System => {
                let left = self.left_run(OfferStatus::Withdrawn, false, at);
                let held = Event::Held { at, by, reason: reason.to_owned() };
                left.into_iter().chain([held]).collect()
            }
            Phase::Held { .. } => {
                self.left_run(OfferStatus::Withdrawn, false, at).into_iter().collect()
            }
            Phase::Closed => Vec::new(),
        }
    }

    /// Goes on with what time was left, and with all attempts. Nothing, if it is not held.
    pub fn resume(&self, by: Principal, reason: &str, asked: &Asked) -> Result<Decision, Refusal> {
        if let Some(paused) = &self.paused {
            return Err(Refusal::ZonePaused(Box::new(paused.pause.clone())));
        }
        if !self.is_held() {
            return Ok(Decision::from(Vec::new()));
        }
        let resumed = Event::Resumed { at: asked.now, by, reason: reason.to_owned() };
        // Meanwhile the only one to ask may have been kept apart from the rider.
        Ok(self.unless_exhausted(vec![resumed], asked))
    }

    /// Keeps it to the drivers of one fleet, or frees it. Who is being asked may drive for another one, so all offers are
    /// taken back, but for what a dispatcher gave somebody. Nothing, if that is so already.
    pub fn keep_to(
        &self,
        fleet: Option<PartnerId>,
        by: Principal,
        reason: &str,
        asked: &Asked,
    ) -> Decision {
        if self.fleet() == fleet && !self.fleet_first {
            return Decision::from(Vec::new());
        }
        let is_other = self.fleet() != fleet;
        let mut events =
            if fleet.is_some() && is_other { self.withdraw_asked(asked.now) } else { Vec::new() };
        let (at, reason) = (asked.now, reason.to_owned());
        events.push(Event::FleetSet { at, fleet, by, reason, first: false });
        self.unless_exhausted(events, asked)
    }

    /// Whose drivers it is kept to, if it is.
    pub fn fleet(&self) -> Option<PartnerId> {
        self.fleet.as_deref().copied()
    }

    /// Is it kept to them only at first?
    pub fn is_kept_at_first(&self) -> bool {
        self.fleet_first
    }

    /// Lets everybody be asked where its own fleet only came first. Who is asked already goes on being asked.
    fn free(&self, at: Timestamp) -> Option<Event> {
        let reason = "its own fleet has been asked".to_owned();
        let by = Principal::System;
        self.fleet_first.then_some(Event::FleetSet { at, fleet: None, by, reason, first: false })
    }

    /// Stands still because of its zone; what is open is taken back. Only while drivers are asked: a job in the feed is
    /// not listed, and whom a dispatcher holds goes on by a dispatcher's word, though with no run either.
    fn pause(&self, pause: &ZonePause, at: Timestamp) -> Vec<Event> {
        if !pause.lasts(at) {
            return Vec::new();
        }
        match self.phase {
            Phase::Open { .. } => {}
            Phase::Held { .. } if self.paused.is_some() => {}
            Phase::Held { .. } => {
                return self.left_run(OfferStatus::Withdrawn, false, at).into_iter().collect();
            }
            Phase::Feed { .. } | Phase::Closed => return Vec::new(),
        }
        let until = at + PAUSE_MAX;
        let until = pause.until.map_or(until, |end| end.min(until));
        let paused = Paused { pause: pause.clone(), until };
        let is_fresh = |it: &Paused| it.card().stale_at.is_none_or(|stale_at| at < stale_at);
        if self.paused.as_deref().is_some_and(|it| it.pause == paused.pause && is_fresh(it)) {
            return Vec::new();
        }
        let mut events = self.withdraw_asked(at);
        events.push(Event::Paused { at, pause: paused.pause, until });
        events
    }

    /// Goes on with what time was left, and with all attempts. Nothing, if its zone is not what keeps it.
    fn unpause(&self, asked: &Asked) -> Decision {
        match self.paused {
            Some(_) => self.unless_exhausted(vec![Event::Unpaused { at: asked.now }], asked),
            None => Decision::from(Vec::new()),
        }
    }

    /// Does what is due: closes offers, opens tiers, gives up. Nothing, if nothing is.
    pub fn tick(&self, asked: &Asked) -> Decision {
        let now = asked.now;
        let mut events: Vec<Event> = self
            .open
            .iter()
            .filter(|open| open.expires_at <= now)
            .map(|open| Event::OfferClosed {
                offer: open.id,
                status: OfferStatus::Expired,
                // Its own timer tells a driver who has not answered; one who has said yes waits for us.
                driver_knows: open.status != OfferStatus::DriverConfirmed,
            })
            .collect();
        if self.joined.as_ref().is_some_and(|joined| joined.until <= now) {
            events.extend(self.left_run(OfferStatus::Expired, false, now));
        }
        // Whoever has just been found silent may have rested for long enough already, where this comes late.
        match self.after(&events).phase {
            Phase::Open { at, until, only, .. } if until <= now => {
                let is_left = |open: &&OpenOffer| now < open.expires_at;
                events.extend(self.open.iter().filter(is_left).map(OpenOffer::withdrawn));
                if self.joined.as_ref().is_some_and(|joined| now < joined.until) {
                    events.extend(self.left_run(OfferStatus::Withdrawn, false, now));
                }
                let Some(freed) = self.free(now) else {
                    return Decision { events, outcome: Some(Outcome::Exhausted) };
                };
                // Its own fleet alone had all the time there was: the others have as much. It keeps its place in the queue.
                let (until, next_tier_at) =
                    (now + ms(asked.policy.search_ms), next_tier(0, asked.policy, now));
                events.extend([freed, Event::Opened { at, until, next_tier_at, only }]);
            }
            Phase::Feed { until, .. } if until <= now => {
                return Decision { events, outcome: Some(Outcome::Exhausted) };
            }
            Phase::Open { next_tier_at: Some(at), .. } if at <= now => {
                let mut after = self.after(&events);
                // Where this comes late, there may be several whose rest is over, one after the other.
                while let Phase::Open { tier, next_tier_at: Some(at), .. } = after.phase
                    && at <= now
                {
                    // Beyond the last one it is the last one again, for those who rested.
                    let tier = (tier + 1).min(last_tier(asked.policy));
                    let next_tier_at = next_tier(tier, asked.policy, now);
                    let mut opened = vec![Event::TierOpened { tier, next_tier_at, seen: None }];
                    if tier >= fleet_tiers(asked.policy) {
                        opened.extend(after.free(now));
                    }
                    opened.iter().for_each(|event| after.evolve(event));
                    events.extend(opened);
                }
            }
            Phase::Held { .. } if self.paused.as_ref().is_some_and(|it| it.until <= now) => {
                events.push(Event::Unpaused { at: now });
            }
            Phase::Open { .. } | Phase::Feed { .. } | Phase::Held { .. } | Phase::Closed => {}
        }
        self.unless_exhausted(events, asked)
    }

    /// Folds a fact in.
    pub fn evolve(&mut self, event: &Event) {
        if event.account().is_some() {
            self.told = self.round;
        }
        self.round += 1;
        let is_only_wider = matches!(event, Event::TierOpened { .. });
        self.n_widened = if is_only_wider { self.n_widened.saturating_add(1) } else { 0 };
        match event {
            Event::Opened { at, until, next_tier_at, only } => {
                if is_never(&self.first_opened_at) {
                    self.first_opened_at = *at;
                }
                self.phase = Phase::Open {
                    at: *at,
                    until: *until,
                    tier: 0,
                    next_tier_at: *next_tier_at,
                    only: *only,
                };
                self.n_offers_at_opening = self.n_offers;
                self.n_refused = 0;
                self.n_runs = 0;
                self.asks_again = false;
                self.at_rest.clear();
                self.paused = None;
                self.is_kept = false;
            }
            Event::TierOpened { tier: wider, next_tier_at: then, .. } => {
                if let Phase::Open { tier, next_tier_at, .. } = &mut self.phase {
                    self.asks_again = *tier == *wider;
                    // It says not when it was, but it was not before it was due.
                    if let Some(at) = *next_tier_at {
                        self.at_rest.retain(|it| it.is_silent && it.until > at);
                    }
                    *tier = *wider;
                    *next_tier_at = then.or(self.at_rest.iter().map(|it| it.until).min());
                }
            }
            Event::FeedOpened { until, .. } => {
                // Who asked for one driver has not asked for all.
                self.phase = Phase::Feed { until: *until, only: self.phase.only() };
                self.paused = None;
                // Nobody is asked in a feed, so nobody is asked first.
                if self.fleet_first {
                    (self.fleet, self.fleet_first) = (None, false);
                }
            }
            Event::OfferMade { offer, driver, expires_at, consent, .. } => {
                self.n_offers += 1;
                self.open.push(OpenOffer {
                    id: *offer,
                    driver: *driver,
                    status: OfferStatus::Created,
                    expires_at: *expires_at,
                    consent: *consent,
                    slots: Vec::new(),
                });
            }
            Event::OfferRefused { offer, .. } => {
                self.n_refused += 1;
                if let Some(open) = self.end(*offer, OfferStatus::Withdrawn) {
                    // What kept it is over by then, as likely as not: another offer, most often.
                    self.rest(open.driver, open.expires_at, false);
                }
            }
            Event::OfferSeen { offer } => {
                if let Some(open) = self.open.iter_mut().find(|open| open.id == *offer) {
                    open.status = OfferStatus::Seen;
                }
            }
            Event::OfferConfirmed { offer, by, slots, expires_at } => {
                if let Some(open) = self.open.iter_mut().find(|open| open.id == *offer) {
                    open.status = match by {
                        Side::Driver => OfferStatus::DriverConfirmed,
                        Side::Rider => OfferStatus::RiderConfirmed,
                    };
                    open.slots.clone_from(slots);
                    open.expires_at = *expires_at;
                }
            }
            Event::OfferClosed { offer, status, .. } => {
                let Some(open) = self.end(*offer, *status) else { return };
                if *status == OfferStatus::Declined {
                    self.exclude(open.driver);
                }
                if *status == OfferStatus::Expired {
                    self.n_refused += u32::from(self.asks_again);
                    self.rest(open.driver, open.expires_at + REST, true);
                }
            }
            Event::Excluded { driver } => self.exclude(*driver),
            Event::FleetSet { fleet, first, .. } => {
                // That its own fleet did not take it uses up nothing of what the others may be asked.
                if self.fleet_first {
                    self.n_offers_at_opening = self.n_offers;
                    self.n_refused = 0;
                }
                (self.fleet, self.fleet_first) = (fleet.map(Box::new), *first);
            }
            Event::Barred { drivers } => self.barred = drivers.as_slice().into(),
            Event::Held { at, by, .. } => {
                self.phase = self.phase.held(*at);
                self.paused = None;
                self.is_kept = *by == Principal::System;
            }
            Event::Paused { at, pause, until } => {
                self.phase = self.phase.held(*at);
                self.paused = Some(Box::new(Paused { pause: pause.clone(), until: *until }));
            }
            Event::Resumed { at, .. } | Event::Unpaused { at } => {
                self.phase = self.phase.resumed(*at);
                self.n_offers_at_opening = self.n_offers;
                self.n_refused = 0;
                self.paused = None;
                self.is_kept = false;
                // Whoever rested while it stood still was woken by nothing.
                self.at_rest.clear();
            }
            Event::JoinedRun { run, driver, until, .. } => {
                let (run, driver, until) = (*run, *driver, *until);
                self.joined = Some(Box::new(Joined { run, driver, until }));
            }
            Event::LeftRun { at, status, .. } => {
                let Some(joined) = self.joined.take() else { return };
                // What came to nothing before anybody was asked is no reason to be left alone.
                let was_unwanted = matches!(status, OfferStatus::Declined | OfferStatus::Expired);
                self.n_runs = self.n_runs.saturating_add(was_unwanted.into());
                if *status == OfferStatus::Declined {
                    self.exclude(joined.driver);
                }
                if *status == OfferStatus::Expired {
                    self.rest(joined.driver, *at + REST, true);
                }
            }
            Event::Closed { .. } => {
                self.phase = Phase::Closed;
                self.paused = None;
            }
        }
    }

    /// What drivers must be told about `event`. `self` is the search before it.
    pub fn effects(&self, terms: &Terms, event: &Event) -> Option<Effect> {
        match event {
            Event::OfferMade { offer, driver, eta_s, expires_at, consent, force, .. } => {
                let refused = Command::OfferRefused { offer: *offer, why: None };
                let refused = Tell::job(terms.job, refused);
                let offer = Offer {
                    id: *offer,
                    job: terms.job,
                    work: terms.work,
                    pickup: terms.pickup.clone(),
                    dropoff: terms.dropoff.cloned(),
                    fare: terms.fare,
                    eta_s: *eta_s,
                    expires_at: *expires_at,
                    run: None,
                    next: false,
                };
                let reserve = driver::Command::ReserveOffer {
                    offer,
                    consent: *consent,
                    force: *force,
                    weights_g: Some(terms.needs.weight_g).filter(|it| *it > 0).into_iter().collect(),
                    wants: Wants::of(terms.needs, self.fleet(), self.fleet_first)
                        .into_iter()
                        .collect(),
                };
                Some(Effect::from(tell_driver(*driver, reserve)).if_refused(refused))
            }
            Event::OfferClosed { offer, status, driver_knows: false } => {
                let open = self.offer(*offer)?;
                // A driver who has said yes holds the job, not a mere offer of it.
                let command = if open.status == OfferStatus::DriverConfirmed {
                    let reason = format!("offer is {status}");
                    driver::Command::AbortJob { job: terms.job, offer: Some(*offer), reason }
                } else {
                    driver::Command::WithdrawOffer { offer: *offer, status: *status }
                };
                Some(tell_driver(open.driver, command).into())
            }
            Event::OfferClosed { driver_knows: true, .. }
            | Event::Opened { .. }
            | Event::TierOpened { .. }
            | Event::FeedOpened { .. }
            | Event::OfferRefused { .. }
            | Event::OfferSeen { .. }
            | Event::OfferConfirmed { .. }
            | Event::Excluded { .. }
            | Event::Barred { .. }
            | Event::FleetSet { .. }
            | Event::Held { .. }
            | Event::Resumed { .. }
            | Event::Paused { .. }
            | Event::Unpaused { .. }
            // What runs are told, the order says: they must know more of it.
            | Event::JoinedRun { .. }
            | Event::LeftRun { .. }
            | Event::Closed { .. } => None,
        }
    }

    /// When [`Search::tick`] next has something to do.
    pub fn deadline(&self) -> Option<Timestamp> {
        let of_phase = match self.phase {
            Phase::Held { .. } => self.paused.as_ref().map(|it| it.until),
            Phase::Closed => None,
            Phase::Open { until, next_tier_at, .. } => {
                Some(next_tier_at.unwrap_or(until).min(until))
            }
            Phase::Feed { until, .. } => Some(until),
        };
        let of_run = self.joined.as_ref().map(|joined| joined.until);
        self.open.iter().map(|open| open.expires_at).chain(of_phase).chain(of_run).min()
    }

    /// What the region should know while drivers are asked, or would be but for its zone; `None` otherwise. What a dispatcher holds it
    /// knows of while that waits for a run: whoever tells it that its zone is paused must know that there is somebody to tell.
    pub fn card(
        &self,
        job: JobId,
        work: WorkKind,
        rider: RiderId,
        pickup: Point,
        needs: &Needs,
        policy: &JobPolicy,
    ) -> Option<SearchCard> {
        let (at, tier, only) = match (self.phase, &self.paused) {
            (Phase::Open { at, tier, only, .. }, _) => (at, tier, only),
            (Phase::Held { opened_at, tier, only, is_feed: false, .. }, Some(_)) => {
                (opened_at, tier, only)
            }
            (Phase::Held { opened_at, tier, only, is_feed: false, .. }, None)
                if self.joined.is_some() =>
            {
                (opened_at, tier, only)
            }
            (Phase::Held { .. } | Phase::Feed { .. } | Phase::Closed, _) => return None,
        };
        let holding = self.open.iter().map(|open| open.driver);
        Some(SearchCard {
            job,
            work,
            rider,
            pickup,
            dropoff: None,
            needs: needs.clone(),
            policy: policy.offer,
            opened_at: if is_never(&self.first_opened_at) { at } else { self.first_opened_at },
            round: self.round,
            radius_m: match only {
                // A scanned code: the driver stands beside the rider.
                Some(_) if policy.offer == OfferPolicy::AutoAssign => policy.pickup_fence_m,
                Some(_) | None => policy.tiers_m[usize::from(tier).min(policy.tiers_m.len() - 1)],
            },
            n_wanted: if self.paused.is_some() { 0 } else { self.n_wanted(policy) },
            excluded: self.unwanted().chain(holding).collect(),
            only,
            priority: Priority::Normal,
            fleet: self.fleet(),
            fleet_first: self.fleet_first,
            paused: self.paused.as_ref().map(|it| it.card()),
            batch: None,
            ruling: None,
        })
    }

    /// The offers that are open, oldest first.
    pub fn offers(&self) -> impl ExactSizeIterator<Item = OfferView> {
        self.open.iter().map(|open| OfferView {
            id: open.id,
            driver: open.driver,
            status: open.status,
            expires_at: open.expires_at,
        })
    }

    /// Are drivers being asked, or free to claim it?
    pub fn is_open(&self) -> bool {
        self.phase != Phase::Closed
    }

    /// May drivers claim it?
    pub fn is_in_feed(&self) -> bool {
        match self.phase {
            Phase::Feed { .. } => true,
            Phase::Open { .. } | Phase::Held { .. } | Phase::Closed => false,
        }
    }

    /// Is it in the feed, and neither for another driver alone nor for everybody but this one?
    pub fn is_open_to(&self, driver: DriverId) -> bool {
        let is_for_another = self.phase.only().is_some_and(|only| only != driver);
        self.is_in_feed() && !is_for_another && !self.is_out_of_question(driver)
    }

    /// Until when a driver, who drives for that fleet, may claim it from the feed. What the driver brings is judged elsewhere.
    ///
    /// # Errors
    /// It may not: it is not in the feed, or not for this driver.
    pub fn claimable(
        &self,
        driver: DriverId,
        fleet: Option<PartnerId>,
        rider: RiderId,
        now: Timestamp,
    ) -> Result<Timestamp, Refusal> {
        let until = match self.phase {
            Phase::Feed { until, .. } => Some(until).filter(|until| now < *until),
            Phase::Open { .. } | Phase::Held { .. } | Phase::Closed => None,
        };
        let until = until.ok_or_else(|| Refusal::TooLate("it is not in the feed".into()))?;
        is_someone_else(driver, rider)?;
        if self.is_out_of_question(driver) {
            return Err(Refusal::NotEligible("it is not for you, or you gave it up".into()));
        }
        if !self.is_open_to(driver) {
            return Err(Refusal::NotEligible("it is for one driver alone".into()));
        }
        if is_of_other_fleet(self.fleet(), fleet) {
            return Err(Refusal::NotEligible("it is kept to another fleet".into()));
        }
        Ok(until)
    }

    /// Does a dispatcher let nobody be asked?
    pub fn is_held(&self) -> bool {
        match self.phase {
            Phase::Held { .. } => self.paused.is_none(),
            Phase::Open { .. } | Phase::Feed { .. } | Phase::Closed => false,
        }
    }

    /// Is it the platform that lets nobody be asked, to have it brought with others?
    pub fn is_kept(&self) -> bool {
        self.is_kept && self.is_held()
    }

    /// Was anybody ever looked for?
    pub fn has_begun(&self) -> bool {
        !is_never(&self.first_opened_at)
    }

    /// Why nobody is asked, if its zone is why.
    pub fn pause_of_zone(&self) -> Option<&ZonePause> {
        self.paused.as_ref().map(|it| &it.pause)
    }

    /// Is anybody asked about it alone?
    pub fn is_asking(&self) -> bool {
        !self.open.is_empty()
    }

    /// What regions would know of it if a dispatcher did not hold it; the same as they do, if none does.
    pub fn card_if_resumed(
        &self,
        job: JobId,
        work: WorkKind,
        rider: RiderId,
        pickup: Point,
        needs: &Needs,
        policy: &JobPolicy,
    ) -> Option<SearchCard> {
        let mut resumed = self.clone();
        if let Phase::Held { opened_at: at, tier, only, is_feed: false, .. } = self.phase
            && self.is_held()
        {
            let (until, next_tier_at) = (Timestamp(u64::MAX), None);
            resumed.phase = Phase::Open { at, until, tier, next_tier_at, only };
        }
        resumed.card(job, work, rider, pickup, needs, policy)
    }

    /// Does `driver` hold an open offer of it?
    pub fn is_offered_to(&self, driver: DriverId) -> bool {
        self.open.iter().any(|open| open.driver == driver)
    }

    /// Who is not to be offered it again.
    pub fn excluded(&self) -> &[DriverId] {
        &self.excluded
    }

    /// Is `driver` one who is never asked again?
    pub fn is_out_of_question(&self, driver: DriverId) -> bool {
        self.excluded.contains(&driver) || self.barred.contains(&driver)
    }

    /// Somebody is looked for who brings it another way: whoever is not in question for that one is in `excluded`, and nobody has
    /// waited for it yet. Whom its rider is kept apart from stays known.
    pub fn begin_anew(&mut self, excluded: &[DriverId]) {
        self.excluded = excluded.to_vec();
        self.first_opened_at = Timestamp::default();
    }

    /// Whom its rider is kept apart from.
    pub fn barred(&self) -> &[DriverId] {
        &self.barred
    }

    fn propose(
        &self,
        round: u32,
        candidates: &[Candidate],
        asked: &Asked,
    ) -> Result<Decision, Refusal> {
        let Phase::Open { only, until, .. } = self.phase else {
            return Err(Refusal::TooLate("nobody is being asked".into()));
        };
        if self.joined.is_some() {
            return Err(Refusal::TooLate("it waits for a run".into()));
        }
        if round != self.round || until <= asked.now {
            return Err(Refusal::TooLate(format!("round {round} is over")));
        }
        let consent = asked.policy.offer != OfferPolicy::AutoAssign;
        let (mut chosen, mut events) = (Vec::new(), Vec::new());
        for candidate in candidates {
            let is_wanted = only.is_none_or(|only| only == candidate.driver)
                && self.may_ask(candidate.driver, asked.rider)
                && !chosen.contains(&candidate.driver);
            if is_wanted && chosen.len() < self.n_wanted(asked.policy).into() {
                chosen.push(candidate.driver);
                let nth = events.len() as u32;
                let driver = candidate.driver;
                events.push(self.offer_to(driver, Some(candidate), nth, consent, false, asked));
            }
        }
        Ok(Decision::from(events))
    }

    fn accept(
        &self,
        offer: OfferId,
        driver: DriverId,
        slots: &[u8],
        asked: &Asked,
    ) -> Result<Decision, Refusal> {
        let Some(open) = self.live(offer, asked)? else { return Ok(Decision::from(Vec::new())) };
        if open.driver != driver {
            return Err(Refusal::NotYours("the offer was made to another driver".into()));
        }
        let rider_must_agree = asked.policy.offer == OfferPolicy::TwoSided
            && open.consent
            && open.status != OfferStatus::RiderConfirmed;
        if !rider_must_agree {
            return Ok(self.win(open, slots.to_vec(), asked));
        }
        if open.status == OfferStatus::DriverConfirmed {
            return Ok(Decision::from(Vec::new()));
        }
        let expires_at = self.expiry(asked.policy, asked.now);
        Ok(self.half_yes(offer, Side::Driver, slots.to_vec(), expires_at))
    }

    /// The first who may claim it has it. Whoever looked whether it may did so a moment before: what holds is what the driver brought
    /// as it said so, and what the job is now.
    fn claim(
        &self,
        driver: DriverId,
        slots: &[u8],
        fleet: Option<PartnerId>,
        brings: Option<&Brings>,
        asked: &Asked,
    ) -> Result<Decision, Refusal> {
        if asked.assignment.is_some_and(|it| it.driver == driver && it.offer.is_none()) {
            return Ok(Decision::from(Vec::new()));
        }
        self.claimable(driver, fleet, asked.rider, asked.now)?;
        let missing = brings.map(|it| all_missing(asked.needs, &it.vehicle, it.load_g));
        if let Some(missing) = missing.filter(|it| !it.is_empty()) {
            return Err(Refusal::Unfit(missing));
        }
        let mut events = self.withdraw_all(asked.now);
        events.push(Event::Closed { seen: None });
        let slots = slots.to_vec();
        let won = Assignment { driver, offer: None, slots, at: asked.now };
        Ok(Decision { events, outcome: Some(Outcome::Won(won)) })
    }

    /// The offer if it can still be answered; `None` if it is the one that won.
    fn live(&self, offer: OfferId, asked: &Asked) -> Result<Option<&OpenOffer>, Refusal> {
        if let Some(open) = self.offer(offer) {
            let is_over = open.expires_at <= asked.now;
            return if is_over {
                Err(Refusal::OfferGone(OfferStatus::Expired))
            } else {
                Ok(Some(open))
            };
        }
        match self.ended(offer) {
            Some(OfferStatus::Accepted) => {
                let is_current = asked.assignment.is_some_and(|it| it.offer == Some(offer));
                // It won once; since then the job has gone to someone else.
                if is_current { Ok(None) } else { Err(Refusal::OfferGone(OfferStatus::Lost)) }
            }
            Some(status) => Err(Refusal::OfferGone(status)),
            None => Err(Refusal::OfferGone(OfferStatus::Withdrawn)),
        }
    }

    fn win(&self, open: &OpenOffer, slots: Vec<u8>, asked: &Asked) -> Decision {
        let mut events = vec![Event::OfferClosed {
            offer: open.id,
            status: OfferStatus::Accepted,
            driver_knows: true,
        }];
        let others = self.open.iter().filter(|other| other.id != open.id);
        events.extend(others.map(OpenOffer::withdrawn));
        events.push(Event::Closed { seen: None });
        let won = Assignment { driver: open.driver, offer: Some(open.id), slots, at: asked.now };
        Decision { events, outcome: Some(Outcome::Won(won)) }
    }

    fn half_yes(
        &self,
        offer: OfferId,
        by: Side,
        slots: Vec<u8>,
        expires_at: Timestamp,
    ) -> Decision {
        Decision::from(vec![Event::OfferConfirmed { offer, by, slots, expires_at }])
    }

    /// An answer about an offer that is no longer open is "already so".
    fn close_if_open(
        &self,
        offer: OfferId,
        asked: &Asked,
        event: impl FnOnce(OfferId) -> Event,
    ) -> Decision {
        match self.offer(offer) {
            Some(_) => self.unless_exhausted(vec![event(offer)], asked),
            None => Decision::from(Vec::new()),
        }
    }

    fn unless_exhausted(&self, mut events: Vec<Event>, asked: &Asked) -> Decision {
        let mut after = self.after(&events);
        if after.is_exhausted(asked.policy) {
            // Its own fleet does not want it: the others have not been asked.
            if let Some(freed) = after.free(asked.now) {
                after.evolve(&freed);
                if !after.is_exhausted(asked.policy) {
                    events.push(freed);
                }
            }
        }
        let outcome = after.is_exhausted(asked.policy).then_some(Outcome::Exhausted);
        Decision { events, outcome }
    }

    fn after(&self, events: &[Event]) -> Self {
        let mut after = self.clone();
        events.iter().for_each(|event| after.evolve(event));
        after
    }

    fn is_exhausted(&self, policy: &JobPolicy) -> bool {
        let Phase::Open { only, .. } = self.phase else { return false };
        let has_lost_the_only = only.is_some_and(|only| self.is_out_of_question(only));
        self.open.is_empty() && (self.n_attempts_left(policy) == 0 || has_lost_the_only)
    }

    fn n_attempts_left(&self, policy: &JobPolicy) -> u32 {
        let n_made = self.n_offers - self.n_offers_at_opening;
        let n_reached = n_made.saturating_sub(self.n_refused);
        let n_made_max = policy.attempts_max.saturating_mul(REFUSED_PER_ATTEMPT_MAX);
        policy.attempts_max.saturating_sub(n_reached).min(n_made_max.saturating_sub(n_made))
    }

    fn n_wanted(&self, policy: &JobPolicy) -> u8 {
        let is_being_assigned = self.open.iter().any(|open| !open.consent);
        if is_being_assigned || self.joined.is_some() {
            return 0;
        }
        let n_at_once = match policy.offer {
            OfferPolicy::BroadcastFirstWins | OfferPolicy::TwoSided => policy.parallel_max,
            OfferPolicy::Sequential
            | OfferPolicy::BatchOptimal
            | OfferPolicy::AutoAssign
            | OfferPolicy::Direct
            | OfferPolicy::Feed => 1,
        };
        let n_left = u8::try_from(self.n_attempts_left(policy)).unwrap_or(u8::MAX);
        n_at_once.saturating_sub(self.open.len() as u8).min(n_left)
    }

    /// Who is not asked, for one reason or another.
    fn unwanted(&self) -> impl Iterator<Item = DriverId> {
        let resting = self.at_rest.iter().map(|it| &it.driver);
        self.excluded.iter().chain(resting).chain(self.barred.iter()).copied()
    }

    /// Whoever is kept apart from the rider does not keep an offer either.
    fn bar(&self, drivers: &[DriverId], now: Timestamp) -> Vec<Event> {
        if *self.barred == *drivers {
            return Vec::new();
        }
        let is_over = |open: &&OpenOffer| drivers.contains(&open.driver);
        let mut events: Vec<Event> =
            self.open.iter().filter(is_over).map(OpenOffer::withdrawn).collect();
        if self.joined.as_ref().is_some_and(|joined| drivers.contains(&joined.driver)) {
            events.extend(self.left_run(OfferStatus::Withdrawn, false, now));
        }
        events.push(Event::Barred { drivers: drivers.to_vec() });
        events
    }

    fn may_ask(&self, driver: DriverId, rider: RiderId) -> bool {
        is_someone_else(driver, rider).is_ok()
            && self.unwanted().all(|it| it != driver)
            && !self.is_offered_to(driver)
    }

    fn offer_to(
        &self,
        driver: DriverId,
        proposed: Option<&Candidate>,
        nth: u32,
        consent: bool,
        force: bool,
        asked: &Asked,
    ) -> Event {
        Event::OfferMade {
            offer: OfferId::of(asked.job, self.n_offers + nth),
            driver,
            eta_s: proposed.map_or(0, |it| it.eta_s),
            expires_at: self.expiry(asked.policy, asked.now),
            consent,
            force,
            distance_m: proposed.map(|it| it.distance_m),
            cost_ms: proposed.map(|it| it.cost_ms),
            seen: None,
        }
    }

    /// An offer made now ends with its time to live, or with the search.
    fn expiry(&self, policy: &JobPolicy, now: Timestamp) -> Timestamp {
        let until = match self.phase {
            Phase::Open { until, .. } | Phase::Feed { until, .. } => until,
            Phase::Held { .. } | Phase::Closed => now + Duration::MAX,
        };
        (now + ms(policy.offer_ttl_ms)).min(until)
    }

    /// Takes back what is open, and waits for no run.
    fn withdraw_all(&self, now: Timestamp) -> Vec<Event> {
        let offers = self.open.iter().map(OpenOffer::withdrawn);
        offers.chain(self.left_run(OfferStatus::Withdrawn, false, now)).collect()
    }

    /// Waits for its run no more; nothing, if it does not anyway.
    pub fn left_run(&self, status: OfferStatus, run_knows: bool, at: Timestamp) -> Option<Event> {
        self.run().map(|run| Event::LeftRun { at, run, status, run_knows })
    }

    /// Waits to be brought with others, if nobody is asked about it alone, and no longer than its own search lasts, unless that
    /// is held. That drivers further away are considered since it was looked at is no reason not to.
    fn join(
        &self,
        wanted: Joined,
        answers: Option<u32>,
        asked: &Asked,
    ) -> Result<Decision, Refusal> {
        if self.run() == Some(wanted.run) {
            return Ok(Decision::from(Vec::new()));
        }
        let not_eligible = |why: &str| Err(Refusal::NotEligible(why.to_owned()));
        let (only, until) = match self.phase {
            Phase::Open { only, until, .. } => (only, until),
            // What a dispatcher holds loses no time, and goes with a run by a dispatcher's word: no region knows of it.
            Phase::Held { only, is_feed: false, .. } if self.is_held() => (only, wanted.until),
            Phase::Held { .. } | Phase::Feed { .. } | Phase::Closed => {
                return Err(Refusal::TooLate("nobody is being asked".into()));
            }
        };
        if answers.is_some_and(|round| !self.is_as_in(round)) {
            return Err(Refusal::TooLate("its search has moved on".into()));
        }
        if until < wanted.until || wanted.until <= asked.now {
            return Err(Refusal::TooLate("its own search ends before".into()));
        }
        if self.joined.is_some() || !self.open.is_empty() {
            return not_eligible("it is being offered already");
        }
        let is_other = only.is_some_and(|only| only != wanted.driver);
        if is_other || !self.may_ask(wanted.driver, asked.rider) {
            return not_eligible("it is not for this driver");
        }
        let Joined { run, driver, until } = wanted;
        Ok(Decision::from(vec![Event::JoinedRun { at: asked.now, run, driver, until }]))
    }

    /// The run it waits for has its driver.
    fn take(
        &self,
        run: RunId,
        offer: OfferId,
        driver: DriverId,
        slots: &[u8],
        asked: &Asked,
    ) -> Result<Decision, Refusal> {
        let is_so = |it: &Assignment| it.driver == driver && it.offer == Some(offer);
        if asked.assignment.is_some_and(is_so) {
            return Ok(Decision::from(Vec::new()));
        }
        let waits = |joined: &Joined| joined.run == run && joined.driver == driver;
        match self.joined.as_deref().filter(|joined| waits(joined)) {
            None => Err(Refusal::OfferGone(OfferStatus::Withdrawn)),
            Some(joined) if joined.until <= asked.now => {
                Err(Refusal::OfferGone(OfferStatus::Expired))
            }
            Some(_) => {
                let left = self.left_run(OfferStatus::Accepted, true, asked.now);
                let events = left.into_iter().chain([Event::Closed { seen: None }]).collect();
                let (offer, slots, at) = (Some(offer), slots.to_vec(), asked.now);
                let won = Assignment { driver, offer, slots, at };
                Ok(Decision { events, outcome: Some(Outcome::Won(won)) })
            }
        }
    }

    /// Takes back what drivers are asked, but not what one is told: a dispatcher may have given it to them all the same.
    fn withdraw_asked(&self, now: Timestamp) -> Vec<Event> {
        let asked = self.open.iter().filter(|open| open.consent).map(OpenOffer::withdrawn);
        asked.chain(self.left_run(OfferStatus::Withdrawn, false, now)).collect()
    }

    fn offer(&self, id: OfferId) -> Option<&OpenOffer> {
        self.open.iter().find(|open| open.id == id)
    }

    fn ended(&self, id: OfferId) -> Option<OfferStatus> {
        self.ended.iter().find(|(offer, _)| *offer == id).map(|(_, status)| *status)
    }

    fn end(&mut self, offer: OfferId, status: OfferStatus) -> Option<OpenOffer> {
        let at = self.open.iter().position(|open| open.id == offer)?;
        if self.ended.len() == ENDED_MAX {
            self.ended.remove(0);
        }
        self.ended.push((offer, status));
        Some(self.open.remove(at))
    }

    fn exclude(&mut self, driver: DriverId) {
        if !self.excluded.contains(&driver) {
            self.excluded.push(driver);
        }
    }

    /// Leaves a driver in peace until then and until the next tier; where none is left, until then, or until whoever rests
    /// already has.
    fn rest(&mut self, driver: DriverId, until: Timestamp, is_silent: bool) {
        self.at_rest.retain(|it| it.driver != driver);
        if self.at_rest.len() == RESTING_MAX {
            // Whose rest is over first.
            self.at_rest.sort_by_key(|it| it.until);
            self.at_rest.remove(0);
        }
        self.at_rest.push(Resting { driver, until, is_silent });
        if let Phase::Open { next_tier_at: next_tier_at @ None, .. } = &mut self.phase {
            *next_tier_at = Some(until);
        }
    }
}

impl From<Vec<Event>> for Decision {
    fn from(events: Vec<Event>) -> Self {
        Self { events, outcome: None }
    }
}

impl OpenOffer {
    fn withdrawn(&self) -> Event {
        let status = match self.status == OfferStatus::DriverConfirmed {
            true => OfferStatus::Lost,
            false => OfferStatus::Withdrawn,
        };
        Event::OfferClosed { offer: self.id, status, driver_knows: false }
    }
}

/// Nobody performs their own job: a person has the same id as a rider and as a driver.
pub fn is_someone_else(driver: DriverId, rider: RiderId) -> Result<(), Refusal> {
    if driver.0 == rider.0 {
        return Err(Refusal::NotEligible("nobody performs their own job".into()));
    }
    Ok(())
}

/// What a build must know to read which reasons were overruled.
pub fn format_of(bypassed: &[WhyNot]) -> Format {
    let format = |why: &WhyNot| match why {
        WhyNot::ZonePaused => ZONED,
        WhyNot::OtherFleet => FLEETS,
        WhyNot::OtherFleetFirst => FLEETS_FIRST,
        WhyNot::Ramp | WhyNot::LiftGate | WhyNot::TieDowns => FEATURES,
        WhyNot::OutsideShift => driver::SHIFTS,
        WhyNot::Blocked
        | WhyNot::OffDuty
        | WhyNot::OnBreak
        | WhyNot::Leaving
        | WhyNot::Unreachable
        | WhyNot::NoPosition
        | WhyNot::HasIt
        | WhyNot::ChangingJobs
        | WhyNot::HasOffer
        | WhyNot::NoRoom
        | WhyNot::SamePerson
        | WhyNot::NotTheOne
        | WhyNot::Vehicle
        | WhyNot::Capacity
        | WhyNot::Skill
        | WhyNot::Excluded
        | WhyNot::PairBlocked
        | WhyNot::Destination
        | WhyNot::TooFar
        | WhyNot::Outranked
        | WhyNot::Taken
        | WhyNot::Held
        | WhyNot::TooManyDrivers => Format::FIRST,
        // Nobody may overrule these, so that no event has them. Answers do, once every node knows them (`against`, in
        // the gateway).
        WhyNot::ColdChain
        | WhyNot::Certificate
        | WhyNot::Gender
        | WhyNot::Permit
        | WhyNot::Hours => Format::FIRST,
    };
    bypassed.iter().map(format).max().unwrap_or(Format::FIRST)
}

/// Lets drivers claim a job that nobody is asked about any more.
pub fn feed(policy: &JobPolicy, now: Timestamp) -> Event {
    let until = now + ms(policy.feed_ms.max(policy.search_ms));
    Event::FeedOpened { at: now, until, seen: None }
}

fn next_tier(tier: u8, policy: &JobPolicy, now: Timestamp) -> Option<Timestamp> {
    (tier < last_tier(policy)).then(|| now + ms(policy.tier_ms))
}

/// In which tier everybody is asked, where a fleet comes first: in the last one at the latest.
fn fleet_tiers(policy: &JobPolicy) -> u8 {
    policy.fleet_tiers.min(last_tier(policy))
}

fn last_tier(policy: &JobPolicy) -> u8 {
    policy.tiers_m.len() as u8 - 1
}

fn tell_driver(to: DriverId, command: driver::Command) -> Tell {
    Tell::Driver { to, command }
}

fn ms(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}

#[cfg(test)]
mod tests;
