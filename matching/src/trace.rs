//! What a round saw of each search, for those who ask afterwards why it came out as it did.
//!
//! A round tells little of each search, however many drivers are around it, and all of it in three lists:
//! it is made every second, and hardly anybody asks.

use crate::ruling::Ruling;
use protocol::{
    JobId, Point,
    trace::{Model, Unfit, Verdict, Weighed, WhyNot},
    view::WorkKind,
};
use std::{collections::HashSet, ops::Range, sync::Arc};
use strum::EnumCount;

/// How often each reason was one, in the order of [`WhyNot`].
pub type Tally = [u16; WhyNot::COUNT];

/// What a round saw of its searches.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Traces {
    traces: Vec<Trace>,
    weighed: Vec<Weighed>,
    unfit: Vec<Unfit>,
}

/// What a round saw of one search.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Of which job.
    pub job: JobId,
    /// What kind of work it is.
    pub work: WorkKind,
    /// Where its rider waits.
    pub pickup: Point,
    /// Which round of the search it was.
    pub round: u32,
    /// How far away drivers were looked for, in metres.
    pub radius_m: u32,
    /// What came of it.
    pub verdict: Verdict,
    /// How many drivers were weighed.
    pub n_weighed: u32,
    /// How many drivers did not fit, by reason.
    pub tally: Tally,
    /// Under which rule, if one was in force for it.
    pub ruling: Option<Arc<Ruling>>,
    /// What knew better how long ways take, if anything did.
    pub model: Option<Model>,
    weighed: Range<u32>,
    unfit: Range<u32>,
}

/// One search as it is told, before its drivers are.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) job: JobId,
    pub(crate) work: WorkKind,
    pub(crate) pickup: Point,
    pub(crate) round: u32,
    pub(crate) radius_m: u32,
    pub(crate) verdict: Verdict,
    pub(crate) n_weighed: u32,
    pub(crate) tally: Tally,
    pub(crate) ruling: Option<Arc<Ruling>>,
    pub(crate) model: Option<Model>,
}

impl Traces {
    /// With room for so many searches, and for so many drivers of each.
    pub(crate) fn with_room(n_searches: usize, n_told: usize) -> Self {
        Self {
            traces: Vec::with_capacity(n_searches),
            weighed: Vec::with_capacity(n_searches * (n_told + 1)),
            unfit: Vec::new(),
        }
    }

    pub(crate) fn push(
        &mut self,
        told: Told,
        weighed: impl Iterator<Item = Weighed>,
        unfit: impl Iterator<Item = Unfit>,
    ) {
        let starts = (self.weighed.len() as u32, self.unfit.len() as u32);
        self.weighed.extend(weighed);
        self.unfit.extend(unfit);
        let Told { job, work, pickup, round, radius_m, verdict, n_weighed, tally, ruling, model } =
            told;
        self.traces.push(Trace {
            job,
            work,
            pickup,
            round,
            radius_m,
            verdict,
            n_weighed,
            tally,
            ruling,
            model,
            weighed: starts.0..self.weighed.len() as u32,
            unfit: starts.1..self.unfit.len() as u32,
        });
    }

    /// Without what was seen of these searches.
    pub fn forget(&mut self, jobs: &HashSet<JobId>) {
        self.traces.retain(|it| !jobs.contains(&it.job));
    }

    /// Adds what another part of the same round saw.
    pub(crate) fn add(&mut self, other: Self) {
        let (n_weighed, n_unfit) = (self.weighed.len() as u32, self.unfit.len() as u32);
        self.weighed.extend(other.weighed);
        self.unfit.extend(other.unfit);
        let moved = |range: Range<u32>, by: u32| range.start + by..range.end + by;
        self.traces.extend(other.traces.into_iter().map(|it| Trace {
            weighed: moved(it.weighed, n_weighed),
            unfit: moved(it.unfit, n_unfit),
            ..it
        }));
    }

    /// Is there nothing to tell?
    pub fn is_empty(&self) -> bool {
        self.traces.is_empty()
    }

    /// Each search, with the first of those who were weighed for it, cheapest first, and the first of
    /// those who did not fit.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Trace, &[Weighed], &[Unfit])> {
        self.traces.iter().map(|trace| {
            let weighed = trace.weighed.start as usize..trace.weighed.end as usize;
            let unfit = trace.unfit.start as usize..trace.unfit.end as usize;
            (trace, &self.weighed[weighed], &self.unfit[unfit])
        })
    }
}

/// Who did not fit, as rounds come across them.
#[derive(Debug, Default)]
pub(crate) struct Misfits {
    /// How many of each search are told by name.
    n_told: usize,
    named: Vec<(u32, WhyNot)>,
    spans: Vec<Range<u32>>,
    tallies: Vec<Tally>,
    /// Per driver: for which search it was last noted (from 1), since it may be come across twice.
    noted_for: Vec<u32>,
    current: u32,
}

impl Misfits {
    /// For so many searches among so many drivers; for none, if nobody is told anything.
    pub(crate) fn new(n_told: u8, n_searches: usize, n_drivers: usize) -> Self {
        if n_told == 0 {
            return Self::default();
        }
        Self {
            n_told: n_told.into(),
            named: Vec::new(),
            spans: vec![0..0; n_searches],
            tallies: vec![[0; WhyNot::COUNT]; n_searches],
            noted_for: vec![0; n_drivers],
            current: 0,
        }
    }

    /// What is noted from now on is about this search.
    pub(crate) fn begin(&mut self, search: usize) {
        self.current = search as u32 + 1;
        if let Some(span) = self.spans.get_mut(search) {
            let start = self.named.len() as u32;
            *span = start..start;
        }
    }

    /// Whatever comes now has been noted before.
    pub(crate) fn end(&mut self) {
        self.current = 0;
    }

    pub(crate) fn note(&mut self, driver: u32, why: WhyNot) {
        let Some(search) = (self.current as usize).checked_sub(1) else { return };
        let Some(noted_for) = self.noted_for.get_mut(driver as usize) else { return };
        if std::mem::replace(noted_for, self.current) == self.current {
            return;
        }
        let n = &mut self.tallies[search][why as usize];
        *n = n.saturating_add(1);
        let span = &mut self.spans[search];
        if span.len() < self.n_told {
            self.named.push((driver, why));
            span.end += 1;
        }
    }

    /// Who did not fit a search: the first of them, and how many by reason.
    pub(crate) fn of(&self, search: usize) -> (&[(u32, WhyNot)], Tally) {
        match self.spans.get(search) {
            Some(span) => {
                let named = &self.named[span.start as usize..span.end as usize];
                (named, self.tallies[search])
            }
            None => (&[], [0; WhyNot::COUNT]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_come_across_twice_is_noted_once() {
        let mut misfits = Misfits::new(2, 2, 9);
        misfits.begin(0);
        for driver in [3, 4, 3, 5, 4] {
            misfits.note(driver, WhyNot::Skill);
        }
        misfits.begin(1);
        misfits.note(3, WhyNot::NoRoom);
        misfits.end();
        misfits.note(8, WhyNot::NoRoom);
        let (named, tally) = misfits.of(0);
        assert_eq!(named, [(3, WhyNot::Skill), (4, WhyNot::Skill)]);
        assert_eq!(tally[WhyNot::Skill as usize], 3);
        let (named, tally) = misfits.of(1);
        assert_eq!(named, [(3, WhyNot::NoRoom)]);
        assert_eq!(tally[WhyNot::NoRoom as usize], 1);
    }

    #[test]
    fn nothing_is_noted_where_nothing_is_told() {
        let mut misfits = Misfits::new(0, 1, 1);
        misfits.begin(0);
        misfits.note(0, WhyNot::NoRoom);
        assert_eq!(misfits.of(0), (&[][..], [0; WhyNot::COUNT]));
    }
}
