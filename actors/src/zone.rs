//! A zone, in which nothing begins while staff have paused it, and whose multiplier is written down where it matters.
//!
//! ```text
//! open ── pause ──► paused ── resume, or lapse by itself ──► open
//!                    │  ▲ pause: this is what holds
//!                    └──┘
//!  region ── counts ──► multiplier ── by a step that matters, and not too often ──► Surged
//!     ▲────────────── Standing: what was written down, for whoever matches there next
//!  staff ── set, for a while ──► this is it, whatever is counted ── lifted, or over by itself ──► as counted
//! ```
//!
//! A zone is one cell of the H3 grid, of about 1,800 km² down to 0.1 km² (resolutions 4 to 9), so that nobody has
//! to draw one before it can be paused. They may lie in each other; a place is in all that cover it. What is paused is
//! known in memory on every node ([`Zones`]): regions let searches there stand still, gateways refuse what is new.
//!
//! Where drivers are scarce is counted by regions each minute, in memory. What becomes of a multiplier is written down when it has
//! moved by [`SURGE_STEP`], or is as usual again, and of one zone once in [`SURGE_EVERY`] at most: so a city with a hundred busy
//! zones writes twenty rows a minute at most. While it is unusual it is said again now and then, and lapses by itself if it is not.
//! Where staff have set it, what is counted goes on being counted, and is written down again when that is over.

use crate::{
    Claim, Context, Decider, Effect, Format, Kind, Listing, Refusal, Seen, ViewRow, reason,
    search::ZONED,
};
use arc_swap::ArcSwap;
use h3o::{CellIndex, LatLng, Resolution};
use matching::surge::{Cause, Count, FRESH, MOST, STALE, USUAL};
use protocol::{
    Point, Principal, Timestamp, ZoneId,
    view::{Mark, ZonePause},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeSet, HashMap},
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

#[cfg(test)]
mod tests;

/// How large zones may be: H3 resolutions, of which 4 is the largest cell.
pub const RESOLUTIONS: RangeInclusive<u8> = 4..=9;
/// Longest that a pause with an end may last.
pub const LASTS_MAX: Duration = Duration::from_secs(31 * 24 * 3600);
/// The status of one that is paused, in lists, whatever its multiplier is: that is in the row as well.
pub const PAUSED: &str = "paused";
/// The status of one that is not paused, and whose multiplier is more than usual, or set by staff.
pub const SCARCE: &str = "scarce";
/// The status of one that was either, and is not any more.
pub const OPEN: &str = "open";
/// By how much a multiplier must have moved since it was last written down, in percent; or be as usual again.
pub const SURGE_STEP: u32 = 20;
/// How long after that, at least.
pub const SURGE_EVERY: Duration = Duration::from_secs(5 * 60);
/// What it takes to know of multipliers.
pub const SURGED: Format = Format(6);
/// What it takes to know that staff set them.
pub const SET: Format = Format(7);
/// Longest that one stays as staff set it, unless they say so again.
pub const SET_MAX: Duration = Duration::from_secs(24 * 3600);
/// How large the zones are that have multipliers: as a resolution of H3.
const COUNTED: Resolution = Resolution::Seven;
/// How long one stays in memory that nobody speaks to.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// What can be asked of a zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Command {
    /// Nothing begins there for a while. For staff.
    Pause {
        /** Why. */
        reason: String,
        /** Until when; until it is resumed, if absent. */
        until: Option<Timestamp>,
    },
    /// It goes on. For staff.
    Resume {
        /** Why. */
        reason: String,
    },
    /// Its time is over. The platform asks.
    Lapse {},
    /// Its multiplier is another one. Its region asks, as the platform. Needs format 6.
    Surge {
        /** What it is now, in percent. */
        percent: u32,
        /** What was counted. */
        count: Count,
        /** How many requests there are for each free driver. */
        ratio: f64,
        /** What it follows. */
        cause: Cause,
    },
    /// Its multiplier is this one for a while, whatever is counted. For staff. Said again, this is what holds. Needs format 7.
    SetSurge {
        /** In percent. */
        percent: u32,
        /** Why. */
        reason: String,
        /** Until when. */
        until: Timestamp,
    },
    /// Its multiplier follows what is counted again. For staff. Needs format 7.
    LiftSurge {
        /** Why. */
        reason: String,
    },
}

/// What has happened to a zone. All of it needs format 4, and what is of multipliers format 6.
#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Event {
    /// Nothing begins there from now on.
    #[strum(serialize = "zone_paused")]
    Paused {
        /** When. */
        at: Timestamp,
        /** Who said it. */
        by: Principal,
        /** Why. */
        reason: String,
        /** Until when. */
        until: Option<Timestamp>,
    },
    /// It goes on.
    #[strum(serialize = "zone_resumed")]
    Resumed {
        /** When. */
        at: Timestamp,
        /** Who said it. */
        by: Principal,
        /** Why. */
        reason: String,
    },
    /// The time of the pause was over.
    #[strum(serialize = "zone_pause_lapsed")]
    Lapsed {
        /** When. */
        at: Timestamp,
    },
    /// Its multiplier has moved by a step that matters, or staff say what it is. Needs format 6.
    #[strum(serialize = "zone_surged")]
    Surged {
        /** When. */
        at: Timestamp,
        /** Who said it: the platform, where it follows what is counted. */
        by: Principal,
        /** What was last written down, in percent. */
        from_percent: u32,
        /** What it is, in percent. */
        to_percent: u32,
        /** How many requests there were for each free driver… */
        ratio: f64,
        /** … of what was counted. */
        count: Count,
        /** What it follows. */
        cause: Cause,
        /** Why, where staff say what it is. Needs format 7. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /** How long it stays so, where staff say what it is. Needs format 7. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
}

/// A zone, as far as its rules care.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Zone {
    pause: Option<Pause>,
    /// How much has happened to it; nothing before anybody has paused it.
    nth: u32,
    /// When something last happened to it.
    changed_at: Timestamp,
    /// Its multiplier as it was counted, if that was ever written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    surge: Option<Multiplier>,
    /// What it is instead, if staff say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    set: Option<Box<ByStaff>>,
}

/// A multiplier as staff set it, whatever is counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByStaff {
    /// In percent.
    pub percent: u32,
    /// When they said so.
    pub at: Timestamp,
    /// How long it stays so.
    pub until: Timestamp,
    /// Who.
    pub by: Principal,
    /// Why.
    pub reason: String,
}

impl ByStaff {
    /// Does it still last?
    fn lasts(&self, now: Timestamp) -> bool {
        now < self.until
    }
}

/// A multiplier as it was written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Multiplier {
    /// In percent.
    pub percent: u32,
    /// When.
    pub at: Timestamp,
}

impl Multiplier {
    /// Is one that is `percent` now to be written down, after this one?
    pub fn is_material(before: Option<Self>, percent: u32, now: Timestamp) -> bool {
        let Some(before) = before else { return percent.abs_diff(USUAL) >= SURGE_STEP };
        let age = now.since(before.at);
        let is_over = percent == USUAL && before.is_unusual();
        let is_far = percent.abs_diff(before.percent) >= SURGE_STEP || is_over;
        let is_to_be_said_again = percent != USUAL && before.is_unusual() && age >= FRESH;
        (is_far && age >= SURGE_EVERY) || is_to_be_said_again
    }

    fn is_unusual(&self) -> bool {
        self.percent != USUAL
    }

    /// When it lapses, if nobody says it again.
    fn lapses_at(&self) -> Option<Timestamp> {
        self.is_unusual().then(|| self.at + STALE)
    }

    /// What it is then, if nobody has said it again: one that has lapsed is as usual, whether or not that is written down yet.
    fn as_of(self, now: Timestamp) -> Self {
        match self.lapses_at() {
            Some(then) if then <= now => Self { percent: USUAL, at: then },
            Some(_) | None => self,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Pause {
    since: Timestamp,
    until: Option<Timestamp>,
    by: Principal,
    reason: String,
}

impl Zone {
    /// What nodes must know of it.
    pub fn standing(&self, id: ZoneId) -> Standing {
        let pause = self.pause.as_ref().map(|it| ZonePause {
            zone: id,
            since: it.since,
            until: it.until,
            reason: it.reason.clone(),
        });
        let set = self.set.as_deref().cloned();
        Standing { nth: self.nth, pause, surge: self.surge, set, changed_at: self.changed_at }
    }

    fn is_set(&self, asked: &Command) -> bool {
        let Command::SetSurge { percent, reason, until } = asked else { return false };
        self.set
            .as_ref()
            .is_some_and(|it| (it.percent, &it.reason, it.until) == (*percent, reason, *until))
    }

    /// What is written down of what was counted, then.
    fn counted(&self, now: Timestamp) -> u32 {
        self.surge.map_or(USUAL, |it| it.as_of(now).percent)
    }

    /// It follows what is counted again; nothing, if it does already.
    fn lift(&self, at: Timestamp, by: Principal, reason: Option<&str>) -> Option<Event> {
        self.set.as_ref().map(|set| Event::Surged {
            at,
            by,
            from_percent: set.percent,
            to_percent: self.counted(at),
            ratio: 0.0,
            count: Count::default(),
            cause: Cause::Lifted,
            reason: reason.map(str::to_owned),
            until: None,
        })
    }

    fn has_pause(&self, asked: &Command) -> bool {
        let Command::Pause { reason, until } = asked else { return false };
        self.pause.as_ref().is_some_and(|it| (&it.reason, &it.until) == (reason, until))
    }
}

/// The cell of a zone, if it is one that can be paused.
pub fn cell_of(id: ZoneId) -> Option<CellIndex> {
    let cell = CellIndex::try_from(id.cell()?).ok()?;
    RESOLUTIONS.contains(&u8::from(cell.resolution())).then_some(cell)
}

/// The zones a place is in, the largest first.
pub fn zones_at(at: Point) -> impl Iterator<Item = ZoneId> {
    let at = LatLng::new(at.lat, at.lon).expect("a Point is finite");
    let resolutions = RESOLUTIONS.filter_map(|it| Resolution::try_from(it).ok());
    resolutions.map(move |it| ZoneId::of_cell(at.to_cell(it).into()))
}

/// The zone of about five square kilometres that a place is in: where demand is counted.
pub fn neighbourhood(at: Point) -> ZoneId {
    let at = LatLng::new(at.lat, at.lon).expect("a Point is finite");
    ZoneId::of_cell(at.to_cell(COUNTED).into())
}

/// The middle of a zone, if it is one.
pub fn middle_of(id: ZoneId) -> Option<Point> {
    let middle = LatLng::from(cell_of(id)?);
    Some(Point { lat: middle.lat(), lon: middle.lng() })
}

/// The corners of a zone, in order, if it is one.
pub fn outline_of(id: ZoneId) -> Option<Vec<Point>> {
    let corner = |it: &LatLng| Point { lat: it.lat(), lon: it.lng() };
    Some(cell_of(id)?.boundary().iter().map(corner).collect())
}

fn staff_only(by: Principal) -> Result<(), Refusal> {
    match by {
        Principal::Dispatcher | Principal::Admin => Ok(()),
        Principal::Rider(_) | Principal::Driver(_) | Principal::Merchant(_) | Principal::System => {
            Err(Refusal::NotYours("this is for staff".to_owned()))
        }
    }
}

/// Refuses an end that has been, or is further away than may be, which `at_most` says in words.
fn check_end(
    until: Timestamp,
    now: Timestamp,
    lasts_max: Duration,
    at_most: &str,
) -> Result<(), Refusal> {
    if until <= now {
        return Err(Refusal::invalid("until", "in the past"));
    }
    if until > now + lasts_max {
        return Err(Refusal::invalid("until", at_most));
    }
    Ok(())
}

impl Decider for Zone {
    const KIND: Kind = Kind::Zone;
    type Id = ZoneId;
    type Command = Command;
    type Event = Event;
    type Sighting = ();
    type Soft = ();

    fn decide(&self, command: &Command, context: &Context<ZoneId>) -> Result<Vec<Event>, Refusal> {
        let (at, by) = (context.now, context.by);
        match command {
            Command::Pause { reason, until } => {
                staff_only(by)?;
                cell_of(context.id).ok_or_else(|| Refusal::Unknown("zone".to_owned()))?;
                reason::check(reason)?;
                if self.has_pause(command) {
                    return Ok(Vec::new());
                }
                let check = |until| check_end(until, at, LASTS_MAX, "a month away at most");
                until.map_or(Ok(()), check)?;
                Ok(vec![Event::Paused { at, by, reason: reason.clone(), until: *until }])
            }
            Command::Resume { reason } => {
                staff_only(by)?;
                reason::check(reason)?;
                let resumed = Event::Resumed { at, by, reason: reason.clone() };
                Ok(self.pause.iter().map(|_| resumed.clone()).collect())
            }
            Command::Lapse {} => {
                if by != Principal::System {
                    return Err(Refusal::NotYours("it lapses by itself".to_owned()));
                }
                // One that was prolonged meanwhile goes on.
                let is_over = |it: &&Pause| it.until.is_some_and(|until| until <= at);
                let pause = self.pause.iter().filter(is_over).map(|_| Event::Lapsed { at });
                if let Some(set) = &self.set {
                    let lifted = self.lift(at, by, None).filter(|_| !set.lasts(at));
                    return Ok(pause.chain(lifted).collect());
                }
                let is_stale = |it: &&Multiplier| it.lapses_at().is_some_and(|then| then <= at);
                let surge = self.surge.iter().filter(is_stale).map(|it| Event::Surged {
                    at,
                    by,
                    from_percent: it.percent,
                    to_percent: USUAL,
                    ratio: 0.0,
                    count: Count::default(),
                    cause: Cause::Lapsed,
                    reason: None,
                    until: None,
                });
                Ok(pause.chain(surge).collect())
            }
            Command::Surge { percent, count, ratio, cause } => {
                if by != Principal::System {
                    return Err(Refusal::NotYours("it follows what is counted".to_owned()));
                }
                cell_of(context.id).ok_or_else(|| Refusal::Unknown("zone".to_owned()))?;
                if !(USUAL..=MOST).contains(percent) {
                    return Err(Refusal::invalid("percent", "100 to 1,000"));
                }
                // While nodes are replaced it waits: regions say it again. So it does while staff say what it is.
                let may_follow = SURGED <= context.writes && self.set.is_none();
                if !may_follow || !Multiplier::is_material(self.surge, *percent, at) {
                    return Ok(Vec::new());
                }
                Ok(vec![Event::Surged {
                    at,
                    by,
                    from_percent: self.surge.map_or(USUAL, |it| it.percent),
                    to_percent: *percent,
                    ratio: *ratio,
                    count: *count,
                    cause: *cause,
                    reason: None,
                    until: None,
                }])
            }
            Command::SetSurge { percent, reason, until } => {
                staff_only(by)?;
                let cell =
                    cell_of(context.id).ok_or_else(|| Refusal::Unknown("zone".to_owned()))?;
                if cell.resolution() != COUNTED {
                    return Err(Refusal::invalid("id", "only zones of resolution 7 have one"));
                }
                reason::check(reason)?;
                if !(USUAL..=MOST).contains(percent) {
                    return Err(Refusal::invalid("percent", "100 to 1,000"));
                }
                if self.is_set(command) {
                    return Ok(Vec::new());
                }
                check_end(*until, at, SET_MAX, "a day away at most")?;
                let set = self.set.as_ref().map(|it| it.percent);
                Ok(vec![Event::Surged {
                    at,
                    by,
                    from_percent: set.unwrap_or_else(|| self.counted(at)),
                    to_percent: *percent,
                    ratio: 0.0,
                    count: Count::default(),
                    cause: Cause::Set,
                    reason: Some(reason.clone()),
                    until: Some(*until),
                }])
            }
            Command::LiftSurge { reason } => {
                staff_only(by)?;
                reason::check(reason)?;
                Ok(self.lift(at, by, Some(reason)).into_iter().collect())
            }
        }
    }

    fn evolve(&mut self, event: &Event) {
        self.nth = self.nth.saturating_add(1);
        match event {
            Event::Paused { at, by, reason, until } => {
                // Said in other words, it has been so since the first.
                let since = self.pause.as_ref().map_or(*at, |it| it.since);
                let (by, reason, until) = (*by, reason.clone(), *until);
                self.pause = Some(Pause { since, until, by, reason });
                self.changed_at = *at;
            }
            Event::Resumed { at, .. } | Event::Lapsed { at } => {
                self.pause = None;
                self.changed_at = *at;
            }
            Event::Surged { at, by, to_percent, cause, reason, until, .. } => {
                let (percent, at) = (*to_percent, *at);
                match cause {
                    Cause::Set => {
                        let (until, by) = (until.unwrap_or(at), *by);
                        let reason = reason.clone().unwrap_or_default();
                        self.set = Some(Box::new(ByStaff { percent, at, until, by, reason }));
                    }
                    Cause::Lifted => {
                        self.set = None;
                        // What was counted before may have lapsed meanwhile, without a word of its own.
                        self.surge = self.surge.map(|it| it.as_of(at));
                    }
                    Cause::Counted | Cause::Restored | Cause::Lapsed => {
                        self.surge = Some(Multiplier { percent, at });
                    }
                }
                self.changed_at = at;
            }
        }
    }

    fn effects(&self, _id: ZoneId, _event: &Event) -> Vec<Effect> {
        Vec::new()
    }

    fn deadline(&self) -> Option<(Timestamp, Command)> {
        let pause = self.pause.as_ref().and_then(|it| it.until);
        let surge = match &self.set {
            Some(set) => Some(set.until),
            None => self.surge.and_then(|it| it.lapses_at()),
        };
        Some((pause.into_iter().chain(surge).min()?, Command::Lapse {}))
    }

    fn claims(&self, _id: ZoneId) -> Vec<Claim> {
        Vec::new()
    }

    fn listing(&self, _id: ZoneId) -> Option<Listing> {
        None
    }

    fn view(&self, id: ZoneId) -> Option<ViewRow> {
        (self.nth > 0).then(|| {
            let Standing { nth, pause, surge, set, .. } = self.standing(id);
            let is_scarce = set.is_some() || surge.is_some_and(|it| it.is_unusual());
            let status = if pause.is_some() {
                PAUSED
            } else if is_scarce {
                SCARCE
            } else {
                OPEN
            };
            ViewRow {
                status: status.to_owned(),
                rider: None,
                driver: None,
                at: self.changed_at,
                body: serde_json::json!({
                    "nth": nth, "pause": pause, "by": self.pause.as_ref().map(|it| it.by), "surge": surge,
                    "set": set,
                }),
            }
        })
    }

    fn mark(&self, _id: ZoneId) -> Option<Mark> {
        None
    }

    fn see(&mut self, _sighting: &(), _context: &Context<ZoneId>) -> Seen<Command> {
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

    fn event_format(event: &Event) -> Format {
        match event {
            Event::Paused { .. } | Event::Resumed { .. } | Event::Lapsed { .. } => ZONED,
            Event::Surged { cause: Cause::Set | Cause::Lifted, .. } => SET,
            Event::Surged { .. } => SURGED,
        }
    }

    fn command_format(command: &Command) -> Format {
        match command {
            Command::Pause { .. } | Command::Resume { .. } | Command::Lapse {} => ZONED,
            Command::Surge { .. } => SURGED,
            Command::SetSurge { .. } | Command::LiftSurge { .. } => SET,
        }
    }
}

/// What a node knows of a zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// How much had happened to it: what is known of a later moment is not undone by what is told of an earlier one.
    pub nth: u32,
    /// Why nothing begins there, if that is so.
    pub pause: Option<ZonePause>,
    /// Its multiplier as it was counted, if that was ever written down.
    #[serde(default)]
    pub surge: Option<Multiplier>,
    /// What it is instead, if staff say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<ByStaff>,
    /// When something last happened to it; nodes of an older build do not say.
    #[serde(default)]
    pub changed_at: Timestamp,
}

impl Standing {
    /// The same as a row of a list says it; none, if that is another kind of row.
    pub fn of_row(row: &ViewRow) -> Option<Self> {
        let nth = serde_json::from_value(row.body.get("nth")?.clone()).ok()?;
        let pause = serde_json::from_value(row.body.get("pause")?.clone()).ok()?;
        // Rows of an older build say nothing of it.
        let surge = row.body.get("surge").cloned().unwrap_or_default();
        let surge = serde_json::from_value(surge).ok()?;
        let set = row.body.get("set").cloned().unwrap_or_default();
        let set = serde_json::from_value(set).ok()?;
        Some(Self { nth, pause, surge, set, changed_at: row.at })
    }

    /// What its multiplier is as staff set it, if that still lasts.
    fn by_staff(&self, now: Timestamp) -> Option<&ByStaff> {
        self.set.as_ref().filter(|it| it.lasts(now))
    }

    /// Was it neither paused nor unusual then, and has nothing happened to it since?
    fn is_settled(&self, then: Timestamp) -> bool {
        let is_paused = self.pause.as_ref().is_some_and(|it| it.lasts(then));
        let is_unusual = self.surge.is_some_and(|it| it.as_of(then).is_unusual());
        self.changed_at < then && !is_paused && !is_unusual && self.by_staff(then).is_none()
    }
}

/// Which zones are paused, and which multipliers were written down, as far as this node knows.
#[derive(Debug, Default)]
pub struct Zones {
    /// Has anybody said what is paused?
    is_known: AtomicBool,
    known: Mutex<HashMap<ZoneId, Standing>>,
    paused: ArcSwap<Paused>,
}

/// The zones that are paused at some moment.
#[derive(Debug, Clone, Default)]
pub struct Paused {
    by_cell: HashMap<CellIndex, Arc<ZonePause>>,
    /// Of how large zones there are any.
    resolutions: BTreeSet<Resolution>,
}

impl Zones {
    /// Takes in what is known of zones; was any of it news?
    pub fn take_in(&self, all: impl IntoIterator<Item = (ZoneId, Standing)>) -> bool {
        // Never held across an await or a panic, so poison means nothing here.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut has_news = false;
        for (id, standing) in all {
            if known.get(&id).is_none_or(|it| it.nth < standing.nth) {
                known.insert(id, standing);
                has_news = true;
            }
        }
        self.is_known.store(true, Ordering::Release);
        if has_news {
            self.follow(&known);
        }
        has_news
    }

    /// Forgets zones of which nobody has had to know anything since then: there would be more of them every day.
    pub fn forget_settled(&self, then: Timestamp) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let n_before = known.len();
        known.retain(|_, it| !it.is_settled(then));
        if known.len() < n_before {
            self.follow(&known);
        }
    }

    /// Brings those that are paused in line with what is known.
    fn follow(&self, known: &HashMap<ZoneId, Standing>) {
        let pauses = known.values().filter_map(|it| it.pause.clone());
        self.paused.store(Arc::new(pauses.collect()));
    }

    /// A zone's multiplier as it was last written down: what staff set it to, while that lasts, or else what was counted.
    pub fn multiplier(&self, zone: ZoneId, now: Timestamp) -> Option<Multiplier> {
        let set = self.by_staff(zone, now).map(|it| Multiplier { percent: it.percent, at: it.at });
        set.or_else(|| self.counted(zone, now))
    }

    /// What staff set a zone's multiplier to, while that lasts.
    pub fn by_staff(&self, zone: ZoneId, now: Timestamp) -> Option<ByStaff> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&zone)?.by_staff(now).cloned()
    }

    /// What was last written down of what was counted in a zone, unless that has lapsed: then it is as usual.
    pub fn counted(&self, zone: ZoneId, now: Timestamp) -> Option<Multiplier> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Some(known.get(&zone)?.surge?.as_of(now))
    }

    /// The same of all zones of which anything was.
    pub fn all_counted(&self, now: Timestamp) -> Vec<(ZoneId, Multiplier)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let all = known.iter().filter_map(|(zone, it)| Some((*zone, it.surge?.as_of(now))));
        let mut all: Vec<_> = all.collect();
        all.sort_unstable_by_key(|(zone, _)| *zone);
        all
    }

    /// Has anybody said yet what is paused? Before that nobody goes on because nothing seems to be.
    pub fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Acquire)
    }

    /// Those that are paused.
    pub fn paused(&self) -> Arc<Paused> {
        self.paused.load_full()
    }
}

impl FromIterator<ZonePause> for Paused {
    fn from_iter<T: IntoIterator<Item = ZonePause>>(all: T) -> Self {
        let cells = all.into_iter().filter_map(|it| Some((cell_of(it.zone)?, Arc::new(it))));
        let by_cell: HashMap<_, _> = cells.collect();
        let resolutions = by_cell.keys().map(|cell| cell.resolution()).collect();
        Self { by_cell, resolutions }
    }
}

impl Paused {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_cell.len()
    }

    /// Is none?
    pub fn is_empty(&self) -> bool {
        self.by_cell.is_empty()
    }

    /// Why nothing begins in this very zone then.
    pub fn of(&self, zone: ZoneId, now: Timestamp) -> Option<&Arc<ZonePause>> {
        self.by_cell.get(&cell_of(zone)?).filter(|it| it.lasts(now))
    }

    /// Why nothing begins at a place then; of several reasons the one that lasts longest.
    pub fn at(&self, at: Point, now: Timestamp) -> Option<Arc<ZonePause>> {
        if self.is_empty() {
            return None;
        }
        let at = LatLng::new(at.lat, at.lon).expect("a Point is finite");
        let cells = self.resolutions.iter().map(|it| at.to_cell(*it));
        let pauses = cells.filter_map(|cell| self.by_cell.get(&cell));
        let lasting = pauses.filter(|it| it.lasts(now));
        // One without an end lasts longest, and of two such the larger zone's is told.
        let end = |it: &Arc<ZonePause>| it.until.unwrap_or(Timestamp(u64::MAX));
        lasting.max_by_key(|it| (end(it), it.zone)).cloned()
    }
}
