//! A template of runs: deliveries that are brought together again and again, on some days, by the word of staff.
//!
//! ```text
//!  nobody has said it ── set ──► set ◄── resume ── paused          remove: nothing more is made of it
//!                                 │ ── pause ──────► ▲
//!                                 │
//!   some time before it is due    │                 too late: missed
//!                                 ▼
//!           day begun ── its orders are placed ── they are brought as a run ──────► settled: run
//!                              │                        │ no, or nobody: again ┐
//!                              │                        └──────────────────────┘
//!                              └── none could be: failed └── no more time ────────► settled: alone
//! ```
//!
//! When a day is due is a deadline like any other, so it is in the journal, and whoever has the template then begins it, once. What it
//! takes to place an order (prices, policies, whose zone is paused) no rules know: a day that has begun waits for a gateway to do that
//! (`gateway/templates.rs` of the process), and is told what came of it. What is made of a day is called by the template and the day
//! ([`Making::order_command`], [`Making::run_command`]), so whoever does it again, after a crash or on another node, does it to what is
//! there already. Nobody waits for it for ever: an order of it that no run brings goes on alone by its own deadline, and the day is
//! settled by this one.

use crate::{
    Claim, Context, Decider, Effect, Format, Kind, Listing, Refusal, Seen, ViewRow, reason,
};
use protocol::{
    CommandId, Date, OrderId, Principal, RunId, TemplateId, Timestamp, TokenId,
    template::{
        DayOutcome, NextDay, Placing, TemplateDay, TemplatePhase as Phase, TemplateTerms,
        TemplateView,
    },
    view::Mark,
    work::PaymentTiming,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

#[cfg(test)]
mod tests;

/// What it takes to know this kind of entity, and that an order is kept for a run.
pub const KNOWN: Format = Format(10);
/// Most templates at a time that are not removed.
pub const TEMPLATES_MAX: usize = 1_000;
/// Fewest and most deliveries of one; a run may have fewer.
pub const N_ORDERS: std::ops::RangeInclusive<usize> = 2..=20;
/// Most days that are excepted.
pub const EXCEPT_MAX: usize = 64;
/// Of how many days it is remembered what became of them.
pub const DAYS_MAX: usize = 31;
/// How often a run of one day may come to nothing.
pub const RUNS_MAX: u32 = 20;
/// The status of one of which days are to come, in lists…
pub const SET: &str = "set";
/// … of which one is being made…
pub const DUE: &str = "due";
/// … of which none is made for a while…
pub const PAUSED: &str = "paused";
/// … whose last day is over…
pub const OVER: &str = "over";
/// … and that was removed.
pub const REMOVED: &str = "removed";

/// How long before it is due a day is begun, in minutes.
const LEAD_MIN: std::ops::RangeInclusive<u16> = 1..=720;
/// How late a day is still begun that nobody was there to begin: afterwards its orders would be of no use.
const LATE_MAX: Duration = Duration::from_secs(30 * 60);
/// How long after it is due its orders are placed at most. A little later nobody may order for that time any more.
const PLACED_WITHIN: Duration = Duration::from_secs(9 * 60);
/// How long its orders wait for the nearest driver who brings all of them, before drivers are asked about each alone.
const WAIT: Duration = Duration::from_secs(2 * 60);
/// How much longer it is waited to see what becomes of a run that a driver is being asked about.
const ASKED_WITHIN: Duration = Duration::from_secs(5 * 60);
/// How many days are looked at to find the next one: in as many there is one, or none ever.
const LOOK_DAYS: usize = 7 * (EXCEPT_MAX + 2);
/// How far ahead the first day may be, in days.
const AHEAD_MAX_DAYS: u32 = 5 * 366;
/// How far clocks can be from UTC, in minutes.
const OFFSET_MAX_MIN: i32 = 14 * 60;
/// How long one stays in memory that nobody speaks to.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// What can be asked of a template. All of it needs format 10.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Command {
    /// This is what it says. For staff.
    Set {
        /** What. */
        terms: Box<TemplateTerms>,
        /** How many minutes the clocks it means are ahead of UTC. */
        utc_offset_min: i32,
        /** Which version it has, as far as the asker knows; 0: none, it is to be new. */
        expects: u32,
        /** Why. */
        reason: String,
        /** By which token. */
        with: Option<TokenId>,
    },
    /// No day of it is begun for a while. For staff.
    Pause {
        /** Which version it has, as far as the asker knows. */
        expects: u32,
        /** Why. */
        reason: String,
        /** By which token. */
        with: Option<TokenId>,
    },
    /// Its days are begun again, from the next one on. For staff.
    Resume {
        /** Which version it has, as far as the asker knows. */
        expects: u32,
        /** Why. */
        reason: String,
        /** By which token. */
        with: Option<TokenId>,
    },
    /// No day of it is begun any more. For staff.
    Remove {
        /** Which version it has, as far as the asker knows. */
        expects: u32,
        /** Why. */
        reason: String,
        /** By which token. */
        with: Option<TokenId>,
    },
    /// These orders of a day were placed, or cannot be. The platform says so.
    NoteOrders {
        /** Of which day. */
        day: Date,
        /** What became of which of them. */
        orders: Vec<PlacedOne>,
        /** Until when they wait to be brought as a run. */
        alone_from: Timestamp,
    },
    /// A run of them was planned, and its driver is asked. The platform says so.
    NoteRun {
        /** Of which day. */
        day: Date,
        /** How many came to nothing before it. */
        nth: u32,
        /** Which. */
        run: RunId,
    },
    /// It is known what became of that run. The platform says so.
    EndRun {
        /** Of which day. */
        day: Date,
        /** Which. */
        run: RunId,
        /** Does a driver bring it? */
        is_brought: bool,
        /** Why not. */
        why: String,
    },
    /// They cannot be brought as a run, however long they wait. The platform says so.
    GiveUp {
        /** Of which day. */
        day: Date,
        /** Why. */
        why: String,
    },
    /// A day is to be begun, or has no time left. The platform asks.
    Tick {},
}

/// What became of one of the deliveries of a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedOne {
    /// Which, in the order of the template, from 0.
    pub nth: u8,
    /// What.
    pub placing: Placing,
}

/// What has happened to a template. All of it needs format 10.
#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Event {
    /// It says this from now on.
    #[strum(serialize = "template_set")]
    Set {
        /** When. */
        at: Timestamp,
        /** Who said so. */
        by: Principal,
        /** By which token. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        with: Option<TokenId>,
        /** What. */
        terms: Box<TemplateTerms>,
        /** How many minutes the clocks it means are ahead of UTC. */
        utc_offset_min: i32,
        /** Why. */
        reason: String,
    },
    /// No day of it is begun for a while.
    #[strum(serialize = "template_paused")]
    Paused {
        /** When. */
        at: Timestamp,
        /** Who said so. */
        by: Principal,
        /** By which token. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        with: Option<TokenId>,
        /** Why. */
        reason: String,
    },
    /// Its days are begun again.
    #[strum(serialize = "template_resumed")]
    Resumed {
        /** When. */
        at: Timestamp,
        /** Who said so. */
        by: Principal,
        /** By which token. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        with: Option<TokenId>,
        /** Why. */
        reason: String,
    },
    /// No day of it is begun any more.
    #[strum(serialize = "template_removed")]
    Removed {
        /** When. */
        at: Timestamp,
        /** Who said so. */
        by: Principal,
        /** By which token. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        with: Option<TokenId>,
        /** Why. */
        reason: String,
    },
    /// A day is made, as the template says it now.
    #[strum(serialize = "day_begun")]
    Begun {
        /** When. */
        at: Timestamp,
        /** Which. */
        day: Date,
        /** When its orders are to be fetched. */
        due: Timestamp,
    },
    /// A day was not made, for nobody was there to do it in time.
    #[strum(serialize = "day_missed")]
    Missed {
        /** When that was found. */
        at: Timestamp,
        /** Which. */
        day: Date,
        /** When its orders were to be fetched. */
        due: Timestamp,
    },
    /// Orders of a day were placed, or cannot be.
    #[strum(serialize = "day_orders_placed")]
    OrdersPlaced {
        /** When. */
        at: Timestamp,
        /** Of which day. */
        day: Date,
        /** What became of which of them. */
        orders: Vec<PlacedOne>,
        /** Until when they wait to be brought as a run. */
        alone_from: Timestamp,
    },
    /// A run of them was planned, and its driver is asked.
    #[strum(serialize = "day_run_planned")]
    RunPlanned {
        /** When. */
        at: Timestamp,
        /** Of which day. */
        day: Date,
        /** Which. */
        run: RunId,
    },
    /// That run came to nothing.
    #[strum(serialize = "day_run_failed")]
    RunFailed {
        /** When. */
        at: Timestamp,
        /** Of which day. */
        day: Date,
        /** Which. */
        run: RunId,
        /** Why. */
        reason: String,
    },
    /// There is nothing more to be done for a day.
    #[strum(serialize = "day_settled")]
    Settled {
        /** When. */
        at: Timestamp,
        /** Which. */
        day: Date,
        /** What became of it. */
        outcome: DayOutcome,
        /** Why, if it is not as it should be. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// A template, as far as its rules care.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// How often staff have said something of it: its version.
    nth: u32,
    said: Option<Box<Said>>,
    phase: Phase,
    /// When staff last said something of it.
    changed_at: Timestamp,
    /// When something last happened to it.
    moved_at: Timestamp,
    /// What was due by then is nobody's concern: it was not there, or paused, or said otherwise.
    since: Timestamp,
    /// The last day that was begun or missed: whatever else is said, no day is twice.
    last: Option<Date>,
    making: Option<Box<Making>>,
    /// What became of its days, the latest last.
    days: VecDeque<TemplateDay>,
}

/// What was last said of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Said {
    terms: TemplateTerms,
    utc_offset_min: i32,
    made_at: Timestamp,
    by: Principal,
    reason: String,
}

/// A day that is being made, as the template was when it was begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Making {
    /// Which.
    pub day: Date,
    /// When its orders are to be fetched.
    pub due: Timestamp,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// What is brought, and by whom.
    pub terms: TemplateTerms,
    /// What became of its deliveries, as far as that is known.
    pub orders: Vec<Option<Placing>>,
    /// Until when those wait of which it is known.
    #[serde(default)]
    waits: Timestamp,
    /// Until when they wait to be brought as a run, once all of it is known.
    pub alone_from: Option<Timestamp>,
    /// The run whose driver is asked.
    pub run: Option<RunId>,
    /// How many runs came to nothing…
    pub n_runs: u32,
    /// … and why the last one did.
    why: Option<String>,
}

impl Making {
    /// The command that places the `nth` of its orders: the same, whoever does it and however often.
    pub fn order_command(&self, of: TemplateId, nth: u8) -> CommandId {
        CommandId::of_effect(&self.name(of), 0, nth.into(), self.begun_at)
    }

    /// The command that plans its next run.
    pub fn run_command(&self, of: TemplateId) -> CommandId {
        CommandId::of_effect(&self.name(of), 1, self.n_runs, self.begun_at)
    }

    /// Tells it from all other days of all templates.
    fn name(&self, of: TemplateId) -> Vec<u8> {
        [of.0.as_bytes().as_slice(), &self.day.days().to_be_bytes()].concat()
    }

    /// Until when orders wait to be brought as a run that begin to look for a driver then: for whoever is to bring them until they are
    /// due, and for the nearest who can for two minutes.
    pub fn waits_until(&self, begin: Timestamp) -> Timestamp {
        let least = begin.max(self.begun_at) + WAIT;
        if self.terms.driver.is_some() { least.max(self.due) } else { least }
    }

    /// Is it so early that the last of its orders does not look for a driver yet? Who is to bring them may look for it when they are
    /// due, which says nothing of when they begin to look.
    pub fn is_early(&self, now: Timestamp) -> bool {
        self.terms.driver.is_none() && self.alone_from.is_some_and(|until| now + WAIT < until)
    }

    /// Those of its deliveries of which nothing is known yet, in the order of the template.
    pub fn unplaced(&self) -> impl Iterator<Item = u8> {
        self.orders.iter().zip(0..).filter(|(it, _)| it.is_none()).map(|(_, nth)| nth)
    }

    /// Its orders.
    pub fn placed(&self) -> Vec<OrderId> {
        let placed = |it: &Option<Placing>| match it {
            Some(Placing::Placed(order)) => Some(*order),
            Some(Placing::Refused(_)) | None => None,
        };
        self.orders.iter().filter_map(placed).collect()
    }

    /// When it is settled, whatever was said by then.
    fn ends_at(&self) -> Timestamp {
        match (self.alone_from, self.run) {
            (None, _) => self.due + PLACED_WITHIN,
            (Some(alone_from), None) => alone_from,
            (Some(alone_from), Some(_)) => alone_from + ASKED_WITHIN,
        }
    }

    /// That it is settled without a run, because of this or of what was known before.
    fn given_up(&self, why: &str, at: Timestamp) -> Event {
        let outcome = if self.placed().is_empty() { DayOutcome::Failed } else { DayOutcome::Alone };
        let reason = Some(self.why.clone().unwrap_or_else(|| why.to_owned()));
        Event::Settled { at, day: self.day, outcome, reason }
    }

    /// The same at its end.
    fn ended(&self, at: Timestamp) -> Event {
        self.given_up(
            match (self.alone_from, self.run) {
                (None, _) => "not all of its orders could be placed in time",
                (Some(_), None) => "nobody was found to bring all of it",
                (Some(_), Some(_)) => "its run was not decided in time",
            },
            at,
        )
    }

    fn shown(&self) -> TemplateDay {
        TemplateDay {
            day: self.day,
            due: self.due,
            outcome: None,
            orders: self.orders.clone(),
            run: self.run,
            why: self.why.clone(),
        }
    }
}

impl Template {
    /// What a gateway has to do something about, if there is such a thing.
    pub fn making(&self) -> Option<&Making> {
        self.making.as_deref()
    }

    /// What staff are shown of it, with its days or without; none before anybody has said it.
    pub fn shown(&self, id: TemplateId, has_days: bool) -> Option<TemplateView> {
        let said = self.said.as_deref()?;
        let making = self.making.iter().map(|it| it.shown());
        let days = making.chain(self.days.iter().rev().cloned());
        let next = self.next().filter(|_| self.phase == Phase::Set);
        Some(TemplateView {
            id,
            version: self.nth,
            status: self.status().to_owned(),
            phase: Some(self.phase),
            template: said.terms.clone(),
            utc_offset_min: said.utc_offset_min,
            next: next.map(|(day, due)| NextDay { day, placed_at: said.begins(due), due }),
            days: if has_days { days.collect() } else { Vec::new() },
            made_at: said.made_at,
            changed_at: self.changed_at,
            by: said.by.to_string(),
            reason: said.reason.clone(),
        })
    }

    fn status(&self) -> &'static str {
        match self.phase {
            _ if self.making.is_some() => DUE,
            Phase::Removed => REMOVED,
            Phase::Paused => PAUSED,
            Phase::Set if self.next().is_some() => SET,
            Phase::Set => OVER,
        }
    }

    /// Its next day, and when that is due; none, if there is none.
    fn next(&self) -> Option<(Date, Timestamp)> {
        let said = self.said.as_deref()?;
        next_day(&said.terms, said.utc_offset_min, self.since, self.last)
    }

    /// What must happen by now, before anything else: a day that has no time left is settled, and the next one begun or missed.
    fn due(&self, at: Timestamp) -> Option<Event> {
        if let Some(making) = &self.making {
            return (making.ends_at() <= at).then(|| making.ended(at));
        }
        let (day, due) = self.next().filter(|_| self.phase == Phase::Set)?;
        if at < self.said.as_deref()?.begins(due) {
            return None;
        }
        Some(match due + LATE_MAX < at {
            true => Event::Missed { at, day, due },
            // One that is a little late is to be fetched now.
            false => Event::Begun { at, day, due: due.max(at) },
        })
    }

    /// Refuses who speaks of another version than there is, or of one that was never said or is removed.
    fn check_version(&self, expects: u32) -> Result<(), Refusal> {
        if self.nth == 0 || self.phase == Phase::Removed {
            return Err(Refusal::Unknown("template".to_owned()));
        }
        if expects == self.nth {
            return Ok(());
        }
        Err(Refusal::TooLate(format!("it has version {} by now", self.nth)))
    }

    fn set(
        &self,
        terms: &TemplateTerms,
        utc_offset_min: i32,
        expects: u32,
        at: Timestamp,
    ) -> Result<bool, Refusal> {
        check(terms, utc_offset_min, at)?;
        let is_new = self.nth == 0 && expects == 0;
        let says = |it: &Said| it.terms == *terms && it.utc_offset_min == utc_offset_min;
        if self.phase != Phase::Removed && self.said.as_deref().is_some_and(says) {
            return Ok(false);
        }
        if !is_new {
            self.check_version(expects)?;
        }
        match next_day(terms, utc_offset_min, at, self.last) {
            Some(_) => Ok(true),
            None => Err(Refusal::invalid("until", "there is no such day any more")),
        }
    }

    /// The day that is being made, if it is this one: what is said of another comes too late.
    fn making_of(&self, day: Date) -> Option<&Making> {
        self.making().filter(|it| it.day == day)
    }

    fn note_orders(
        &self,
        day: Date,
        orders: &[PlacedOne],
        alone_from: Timestamp,
        at: Timestamp,
    ) -> Vec<Event> {
        let Some(making) = self.making_of(day) else { return Vec::new() };
        let is_news = |it: &&PlacedOne| making.unplaced().any(|nth| nth == it.nth);
        let orders: Vec<PlacedOne> = orders.iter().filter(is_news).cloned().collect();
        if orders.is_empty() {
            return Vec::new();
        }
        let mut events = vec![Event::OrdersPlaced { at, day, orders, alone_from }];
        let mut after = self.clone();
        events.iter().for_each(|event| after.evolve(event));
        let too_few = after.making().filter(|it| it.alone_from.is_some() && it.placed().len() < 2);
        events.extend(too_few.map(|it| it.given_up("its orders could not be placed", at)));
        events
    }

    fn note_run(
        &self,
        day: Date,
        nth: u32,
        run: RunId,
        at: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        match self.making_of(day) {
            Some(making) if making.run == Some(run) => Ok(Vec::new()),
            Some(making) if making.run.is_none() && making.n_runs == nth => {
                Ok(vec![Event::RunPlanned { at, day, run }])
            }
            Some(_) | None => Err(Refusal::TooLate("its orders are brought otherwise".to_owned())),
        }
    }

    fn end_run(
        &self,
        day: Date,
        run: RunId,
        is_brought: bool,
        why: &str,
        at: Timestamp,
    ) -> Vec<Event> {
        let Some(making) = self.making_of(day).filter(|it| it.run == Some(run)) else {
            return Vec::new();
        };
        if is_brought {
            return vec![Event::Settled { at, day, outcome: DayOutcome::Run, reason: None }];
        }
        let failed = Event::RunFailed { at, day, run, reason: why.to_owned() };
        let mut events = vec![failed];
        if making.n_runs + 1 >= RUNS_MAX {
            events.push(making.given_up(why, at));
        }
        events
    }
}

impl Said {
    /// When a day is begun that is due then.
    fn begins(&self, due: Timestamp) -> Timestamp {
        due - Duration::from_secs(u64::from(self.terms.lead_min) * 60)
    }
}

/// The first day that a template means which is due after `since` and later than `last`, and when; none, if there is none.
fn next_day(
    terms: &TemplateTerms,
    utc_offset_min: i32,
    since: Timestamp,
    last: Option<Date>,
) -> Option<(Date, Timestamp)> {
    let mut day = Date::at(since, utc_offset_min)
        .max(terms.from.unwrap_or_default())
        .max(last.map(Date::next).unwrap_or_default());
    for _ in 0..LOOK_DAYS {
        if terms.until.is_some_and(|until| until < day) {
            return None;
        }
        let due = day.moment(terms.at, utc_offset_min);
        let is_meant = terms.weekdays.contains(&day.weekday()) && !terms.except.contains(&day);
        if is_meant && since < due {
            return Some((day, due));
        }
        day = day.next();
    }
    None
}

fn staff_only(by: Principal) -> Result<(), Refusal> {
    match by {
        Principal::Dispatcher | Principal::Admin => Ok(()),
        Principal::Rider(_) | Principal::Driver(_) | Principal::Merchant(_) | Principal::System => {
            Err(Refusal::NotYours("this is for staff".to_owned()))
        }
    }
}

fn platform_only(by: Principal) -> Result<(), Refusal> {
    match by {
        Principal::System => Ok(()),
        Principal::Rider(_)
        | Principal::Driver(_)
        | Principal::Merchant(_)
        | Principal::Dispatcher
        | Principal::Admin => Err(Refusal::NotYours("the platform says so itself".to_owned())),
    }
}

/// Refuses terms that nobody can mean who says them then, and says which part of them.
pub fn check(terms: &TemplateTerms, utc_offset_min: i32, at: Timestamp) -> Result<(), Refusal> {
    let TemplateTerms { name, preset, orders, weekdays, lead_min, from, until, except, .. } = terms;
    reason::check_line("name", name)?;
    reason::check_line("preset", preset)?;
    let require = |is_so: bool, field: &str, problem: &str| match is_so {
        true => Ok(()),
        false => Err(Refusal::invalid(field, problem)),
    };
    require(N_ORDERS.contains(&orders.len()), "orders", "2 to 20")?;
    let is_paid_later = |it: PaymentTiming| it != PaymentTiming::Prepay;
    let are_paid_later = orders.iter().all(|it| is_paid_later(it.payment));
    require(are_paid_later, "orders.payment", "not in advance: nobody could every day")?;
    let is_cash = |it: &Option<i64>| it.is_none_or(|it| it > 0);
    let is_all_cash = orders.iter().all(|it| is_cash(&it.cash_on_delivery));
    require(is_all_cash, "orders.cash_on_delivery", "more than nothing")?;
    let n_weekdays = weekdays.iter().collect::<BTreeSet<_>>().len();
    let are_some = n_weekdays > 0 && n_weekdays == weekdays.len();
    require(are_some, "weekdays", "one at least, each once")?;
    require(LEAD_MIN.contains(lead_min), "lead_min", "1 to 720")?;
    let last = Date::at(at, 0).days().saturating_add(AHEAD_MAX_DAYS);
    let is_soon = from.is_none_or(|from| from.days() <= last);
    require(is_soon, "from", "within five years")?;
    let has_time = from.zip(*until).is_none_or(|(from, until)| from <= until);
    require(has_time, "until", "no earlier than `from`")?;
    require(except.len() <= EXCEPT_MAX, "except", "64 at most")?;
    let n_except = except.iter().collect::<BTreeSet<_>>().len();
    require(n_except == except.len(), "except", "each once")?;
    let is_offset = (-OFFSET_MAX_MIN..=OFFSET_MAX_MIN).contains(&utc_offset_min);
    require(is_offset, "utc_offset_min", "within 14 hours of UTC")
}

impl Decider for Template {
    const KIND: Kind = Kind::Template;
    type Id = TemplateId;
    type Command = Command;
    type Event = Event;
    type Sighting = ();
    type Soft = ();

    fn decide(
        &self,
        command: &Command,
        context: &Context<TemplateId>,
    ) -> Result<Vec<Event>, Refusal> {
        let (at, by) = (context.now, context.by);
        match command {
            Command::Set { terms, utc_offset_min, expects, reason, with } => {
                staff_only(by)?;
                reason::check(reason)?;
                if !self.set(terms, *utc_offset_min, *expects, at)? {
                    return Ok(Vec::new());
                }
                let (terms, utc_offset_min) = (terms.clone(), *utc_offset_min);
                let (reason, with) = (reason.clone(), *with);
                Ok(vec![Event::Set { at, by, with, terms, utc_offset_min, reason }])
            }
            Command::Pause { expects, reason, with } => {
                staff_only(by)?;
                reason::check(reason)?;
                if self.phase == Phase::Paused {
                    return Ok(Vec::new());
                }
                self.check_version(*expects)?;
                Ok(vec![Event::Paused { at, by, with: *with, reason: reason.clone() }])
            }
            Command::Resume { expects, reason, with } => {
                staff_only(by)?;
                reason::check(reason)?;
                if self.phase == Phase::Set && self.nth > 0 {
                    return Ok(Vec::new());
                }
                self.check_version(*expects)?;
                Ok(vec![Event::Resumed { at, by, with: *with, reason: reason.clone() }])
            }
            Command::Remove { expects, reason, with } => {
                staff_only(by)?;
                reason::check(reason)?;
                if self.phase == Phase::Removed {
                    return Ok(Vec::new());
                }
                self.check_version(*expects)?;
                Ok(vec![Event::Removed { at, by, with: *with, reason: reason.clone() }])
            }
            Command::NoteOrders { day, orders, alone_from } => {
                platform_only(by)?;
                Ok(self.note_orders(*day, orders, *alone_from, at))
            }
            Command::NoteRun { day, nth, run } => {
                platform_only(by)?;
                self.note_run(*day, *nth, *run, at)
            }
            Command::EndRun { day, run, is_brought, why } => {
                platform_only(by)?;
                Ok(self.end_run(*day, *run, *is_brought, why, at))
            }
            Command::GiveUp { day, why } => {
                platform_only(by)?;
                let waits = self.making_of(*day).filter(|it| it.run.is_none());
                Ok(waits.map(|it| it.given_up(why, at)).into_iter().collect())
            }
            Command::Tick {} => {
                platform_only(by)?;
                let (mut after, mut events) = (self.clone(), Vec::new());
                // Where nobody was there for long, more of them are missed with the next tick.
                while events.len() < DAYS_MAX
                    && let Some(event) = after.due(at)
                {
                    after.evolve(&event);
                    events.push(event);
                }
                Ok(events)
            }
        }
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Set { at, by, terms, utc_offset_min, reason, with: _ } => {
                let made_at = self.said.as_ref().map_or(*at, |it| it.made_at);
                let (terms, reason) = ((**terms).clone(), reason.clone());
                let utc_offset_min = *utc_offset_min;
                let said = Said { terms, utc_offset_min, made_at, by: *by, reason };
                self.said = Some(Box::new(said));
                self.since = *at;
                self.say(*by, None, *at);
            }
            Event::Paused { at, by, reason, with: _ } => {
                self.phase = Phase::Paused;
                self.say(*by, Some(reason), *at);
            }
            Event::Resumed { at, by, reason, with: _ } => {
                self.phase = Phase::Set;
                self.since = *at;
                self.say(*by, Some(reason), *at);
            }
            Event::Removed { at, by, reason, with: _ } => {
                self.phase = Phase::Removed;
                self.say(*by, Some(reason), *at);
            }
            Event::Begun { at, day, due } => {
                self.moved_at = *at;
                self.last = Some(*day);
                // A journal begins with `Set`; what begins before it is nothing.
                let Some(said) = &self.said else { return };
                self.making = Some(Box::new(Making {
                    day: *day,
                    due: *due,
                    begun_at: *at,
                    terms: said.terms.clone(),
                    orders: vec![None; said.terms.orders.len()],
                    waits: Timestamp::default(),
                    alone_from: None,
                    run: None,
                    n_runs: 0,
                    why: None,
                }));
            }
            Event::Missed { at, day, due } => {
                self.moved_at = *at;
                self.last = Some(*day);
                self.remember(TemplateDay {
                    day: *day,
                    due: *due,
                    outcome: Some(DayOutcome::Missed),
                    orders: Vec::new(),
                    run: None,
                    why: None,
                });
            }
            Event::OrdersPlaced { at, orders, alone_from, day: _ } => {
                self.moved_at = *at;
                let Some(making) = &mut self.making else { return };
                for PlacedOne { nth, placing } in orders {
                    if let Some(it) = making.orders.get_mut(usize::from(*nth)) {
                        *it = Some(placing.clone());
                    }
                }
                // Of what cannot be placed nothing waits, but the others do.
                making.waits = making.waits.max(*alone_from);
                if making.orders.iter().all(Option::is_some) {
                    making.alone_from = Some(making.waits);
                }
            }
            Event::RunPlanned { at, run, day: _ } => {
                self.moved_at = *at;
                if let Some(making) = &mut self.making {
                    making.run = Some(*run);
                }
            }
            Event::RunFailed { at, reason, day: _, run: _ } => {
                self.moved_at = *at;
                if let Some(making) = &mut self.making {
                    making.run = None;
                    making.n_runs += 1;
                    making.why = Some(reason.clone());
                }
            }
            Event::Settled { at, outcome, reason, day: _ } => {
                self.moved_at = *at;
                if let Some(making) = self.making.take() {
                    let (outcome, why) = (Some(*outcome), reason.clone());
                    self.remember(TemplateDay { outcome, why, ..making.shown() });
                }
            }
        }
    }

    fn effects(&self, _id: TemplateId, _event: &Event) -> Vec<Effect> {
        Vec::new()
    }

    fn deadline(&self) -> Option<(Timestamp, Command)> {
        if let Some(making) = &self.making {
            return Some((making.ends_at(), Command::Tick {}));
        }
        let (_, due) = self.next().filter(|_| self.phase == Phase::Set)?;
        Some((self.said.as_deref()?.begins(due), Command::Tick {}))
    }

    fn claims(&self, _id: TemplateId) -> Vec<Claim> {
        Vec::new()
    }

    fn listing(&self, _id: TemplateId) -> Option<Listing> {
        None
    }

    fn view(&self, id: TemplateId) -> Option<ViewRow> {
        let shown = self.shown(id, false)?;
        Some(ViewRow {
            status: shown.status.clone(),
            rider: None,
            driver: shown.template.driver,
            at: self.moved_at,
            body: serde_json::to_value(shown).expect("plain data"),
        })
    }

    fn mark(&self, _id: TemplateId) -> Option<Mark> {
        None
    }

    fn see(&mut self, _sighting: &(), _context: &Context<TemplateId>) -> Seen<Command> {
        Seen::default()
    }

    fn soft(&self) {}

    fn recall(&mut self, (): ()) {}

    fn idle_max(&self) -> Option<Duration> {
        Some(IDLE_MAX)
    }

    fn command_name(command: &Command) -> &'static str {
        command.into()
    }

    fn event_name(event: &Event) -> &'static str {
        event.into()
    }

    fn event_format(_event: &Event) -> Format {
        KNOWN
    }

    fn command_format(_command: &Command) -> Format {
        KNOWN
    }
}

impl Template {
    /// Staff have said something of it.
    fn say(&mut self, by: Principal, reason: Option<&String>, at: Timestamp) {
        self.nth = self.nth.saturating_add(1);
        (self.changed_at, self.moved_at) = (at, at);
        if let (Some(said), Some(reason)) = (&mut self.said, reason) {
            (said.by, said.reason) = (by, reason.clone());
        }
    }

    fn remember(&mut self, day: TemplateDay) {
        if self.days.len() >= DAYS_MAX {
            self.days.pop_front();
        }
        self.days.push_back(day);
    }
}
