//! When a driver is to work: the shifts that staff give it, whether it came, and until when it may work outside of them.
//!
//! ```text
//! awaited ── on duty by `due` ──► came
//!    │  └─── off duty then ─────► missed, and counted, once
//!    └────── blocked then ──────► excused
//! ```
//!
//! Where the brand demands shifts, a driver goes on duty in one, or if staff let it, and works on as long as each ends in the
//! next. Then it takes nothing new, ends what it has, and goes off duty.

use super::{Driver, Duty};
use crate::{
    Refusal,
    policy::{DriverPolicy, Shifts},
    zone::cell_of,
};
use protocol::{
    Timestamp,
    view::{OffShift, Shift, ShiftView, ShiftsView, Turnout},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How many shifts of one driver are known at once.
pub(super) const SHIFTS_MAX: usize = 64;
/// How far ahead staff let a driver work outside of its shifts.
pub(super) const OFF_SHIFT_MAX: Duration = Duration::from_secs(24 * 3_600);
/// How long a shift lasts at most…
const LASTS_MAX: Duration = Duration::from_secs(24 * 3_600);
/// … how far ahead it begins…
const AHEAD_MAX: Duration = Duration::from_secs(60 * 24 * 3_600);
/// … and how long ago it may have begun when it is first said: what slow people and slow devices take.
const BEHIND_MAX: Duration = Duration::from_secs(10 * 60);

/// What was said of when a driver is to work, and what came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rota {
    /// How often it was said anew: its version.
    nth: u32,
    /// In order, and none overlaps another. What is over is forgotten when it is said anew.
    shifts: Box<[Planned]>,
    /// What staff let it do outside of them, also when that is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    off_shift: Option<OffShift>,
    /// To how many shifts it did not come.
    n_no_shows: u32,
}

/// A shift, and whether its driver came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Planned {
    shift: Shift,
    /// By when it must have come, if it lasts that long.
    due: Timestamp,
    turnout: Turnout,
}

impl Planned {
    /// By when it must have come: a short one is missed when it is over.
    fn due(&self) -> Timestamp {
        self.due.min(self.shift.end)
    }

    fn has_begun(&self, now: Timestamp) -> bool {
        self.shift.start <= now
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.shift.end <= now
    }

    fn is_awaited(&self) -> bool {
        self.turnout == Turnout::Awaited
    }
}

/// The same shifts in order, unless nobody can mean them. Of those in `known` it is known that they have begun.
pub(super) fn checked(
    shifts: &[Shift],
    known: Option<&Rota>,
    now: Timestamp,
) -> Result<Vec<Shift>, Refusal> {
    if shifts.len() > SHIFTS_MAX {
        return Err(Refusal::invalid("shifts", format!("{SHIFTS_MAX} at most")));
    }
    let refuse = |nth: usize, part: &str, problem: &str| {
        Err(Refusal::invalid(&format!("shifts[{nth}].{part}"), problem))
    };
    for (nth, shift) in shifts.iter().enumerate() {
        let is_known = known.is_some_and(|it| it.begins_one_at(shift.start));
        if shift.end <= shift.start {
            return refuse(nth, "end", "later than `start`");
        }
        if shift.end.since(shift.start) > LASTS_MAX {
            return refuse(nth, "end", "24 hours after `start` at most");
        }
        if shift.end <= now {
            return refuse(nth, "end", "is over");
        }
        if shift.start + BEHIND_MAX < now && !is_known {
            return refuse(nth, "start", "is past");
        }
        if shift.start > now + AHEAD_MAX {
            return refuse(nth, "start", "60 days from now at most");
        }
        if shift.zone.is_some_and(|zone| cell_of(zone).is_none()) {
            return refuse(nth, "zone", "a cell of the H3 grid of resolution 4 to 9");
        }
    }
    let mut in_order: Vec<(usize, Shift)> = shifts.iter().copied().enumerate().collect();
    in_order.sort_by_key(|(_, shift)| shift.start);
    let overlap = in_order.windows(2).find(|pair| pair[1].1.start < pair[0].1.end);
    match overlap {
        Some(pair) => refuse(pair[1].0, "start", "another one is not over by then"),
        None => Ok(in_order.into_iter().map(|(_, shift)| shift).collect()),
    }
}

impl Rota {
    pub(super) fn version(&self) -> u32 {
        self.nth
    }

    pub(super) fn n_no_shows(&self) -> u32 {
        self.n_no_shows
    }

    fn begins_one_at(&self, start: Timestamp) -> bool {
        self.shifts.iter().any(|it| it.shift.start == start)
    }

    /// Are these the shifts that are not over?
    pub(super) fn is_of(&self, shifts: &[Shift], now: Timestamp) -> bool {
        let to_come = self.shifts.iter().filter(|it| !it.is_over(now));
        to_come.map(|it| &it.shift).eq(shifts)
    }

    /// What staff let it do outside of its shifts, while they do.
    pub(super) fn off_shift(&self, now: Timestamp) -> Option<&OffShift> {
        self.off_shift.as_ref().filter(|it| now < it.until)
    }

    /// Until when it may work without a gap who works then; none, if it may not.
    fn works_until(&self, from: Timestamp) -> Option<Timestamp> {
        let spans = || {
            let shifts = self.shifts.iter().map(|it| (it.shift.start, it.shift.end));
            shifts.chain(self.off_shift.iter().map(|it| (Timestamp::default(), it.until)))
        };
        let mut until = from;
        while let Some((_, end)) = spans().find(|(start, end)| *start <= until && until < *end) {
            until = end;
        }
        (until > from).then_some(until)
    }

    /// These are its shifts from now on. Whether it came to one that begins when it did before stays known.
    pub(super) fn set(&mut self, at: Timestamp, shifts: &[Shift], grace: Duration) {
        let known = std::mem::take(&mut self.shifts);
        let planned = |shift: &Shift| {
            let before = known.iter().find(|it| it.shift.start == shift.start);
            let due = before.map_or_else(|| shift.start.max(at) + grace, |it| it.due);
            let turnout = before.map_or(Turnout::Awaited, |it| it.turnout);
            Planned { shift: *shift, due, turnout }
        };
        self.shifts = shifts.iter().map(planned).collect();
        self.nth = self.nth.saturating_add(1);
        self.off_shift = self.off_shift.take().filter(|it| at < it.until);
    }

    pub(super) fn allow_off_shift(&mut self, off_shift: Option<OffShift>) {
        self.off_shift = off_shift;
    }

    /// It goes on duty: it has come to what is under way.
    pub(super) fn comes(&mut self, at: Timestamp) {
        self.settle(Turnout::Came, |it| it.has_begun(at) && !it.is_over(at));
    }

    /// It goes off duty: it had come to all that began meanwhile.
    pub(super) fn goes(&mut self, at: Timestamp) {
        self.settle(Turnout::Came, |it| it.has_begun(at));
    }

    /// It may work again: to what was due before it could not come.
    pub(super) fn excuse(&mut self, at: Timestamp) {
        self.settle(Turnout::Excused, |it| it.due() <= at);
    }

    /// It did not come to the one that began then.
    pub(super) fn miss(&mut self, start: Timestamp) {
        self.settle(Turnout::Missed, |it| it.shift.start == start);
        self.n_no_shows = self.n_no_shows.saturating_add(1);
    }

    fn settle(&mut self, turnout: Turnout, is_meant: impl Fn(&Planned) -> bool) {
        for it in self.shifts.iter_mut().filter(|it| it.is_awaited() && is_meant(it)) {
            it.turnout = turnout;
        }
    }
}

impl Driver {
    /// Does this policy demand a shift of who has none then, whom staff do not let work without one either?
    pub(super) fn is_outside_shift(&self, policy: &DriverPolicy, now: Timestamp) -> bool {
        policy.shifts == Shifts::Demanded && self.works_until(now).is_none()
    }

    fn works_until(&self, from: Timestamp) -> Option<Timestamp> {
        self.rota.as_ref()?.works_until(from)
    }

    /// When its time on duty is over, if it is by its shifts. Whoever works may do so when it last changed, or may not ever since.
    pub(super) fn shift_over_due(&self) -> Option<Timestamp> {
        let is_at_work = matches!(self.duty, Duty::On | Duty::Break(_));
        (is_at_work && self.policy.shifts == Shifts::Demanded)
            .then(|| self.works_until(self.changed_at).unwrap_or(self.changed_at))
    }

    /// When it will have missed a shift, if it does not come.
    pub(super) fn no_show_due(&self) -> Option<Timestamp> {
        self.awaited().map(Planned::due).min()
    }

    /// The shifts that it has missed, and that nobody has counted yet.
    pub(super) fn no_shows(&self, now: Timestamp) -> Vec<Shift> {
        self.awaited().filter(|it| it.due() <= now).map(|it| it.shift).collect()
    }

    /// Shifts to which it has not come, which it would miss: it is off duty and nothing keeps it from working.
    fn awaited(&self) -> impl Iterator<Item = &Planned> {
        let may_come = self.duty == Duty::Off && self.blocked().is_none();
        let rota = self.rota.as_ref().filter(|_| may_come);
        rota.into_iter().flat_map(|it| it.shifts.iter()).filter(|it| it.is_awaited())
    }

    /// The shift that is under way then, or is next.
    pub(super) fn shift(&self, now: Timestamp) -> Option<Shift> {
        let mut shifts = self.rota.as_ref()?.shifts.iter();
        shifts.find(|it| !it.is_over(now)).map(|it| it.shift)
    }

    /// Its shifts, as it and staff are told of them. Whether its brand demands them it knows only once it works.
    pub fn shifts_view(&self, demanded: bool, now: Timestamp) -> ShiftsView {
        let rota = self.rota.as_deref();
        let is_at_work = self.duty != Duty::Off;
        let shown = |it: &Planned| {
            let Shift { start, end, zone } = it.shift;
            let has_come = it.is_awaited() && is_at_work && it.has_begun(now);
            let turnout = if has_come { Turnout::Came } else { it.turnout };
            ShiftView { start, end, zone, due: it.due(), turnout }
        };
        let planned = rota.into_iter().flat_map(|it| it.shifts.iter());
        ShiftsView {
            version: rota.map_or(0, Rota::version),
            demanded,
            works_until: self.works_until(now),
            shifts: planned.filter(|it| !it.is_over(now)).map(shown).collect(),
            off_shift: rota.and_then(|it| it.off_shift(now)).cloned(),
            n_shift_no_shows: rota.map_or(0, Rota::n_no_shows),
        }
    }
}
