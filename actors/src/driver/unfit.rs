//! What speaks against giving a driver a job, told to those who ask.

use super::{Driver, Duty, Link, Wants, ms};
use matching::{cost, fit};
use protocol::{
    JobId, PartnerId, RunId, Timestamp,
    trace::WhyNot,
    view::{Offer, WorkKind},
    work::Needs,
};

/// What a job asks of its driver.
#[derive(Debug, Clone, Copy)]
pub struct Asks<'a> {
    /// What it does to the driver's slots.
    pub work: WorkKind,
    /// What must be brought.
    pub needs: &'a Needs,
    /// Whose drivers it is kept to, if it is.
    pub fleet: Option<PartnerId>,
    /// Is it kept to them only at first?
    pub fleet_first: bool,
    /// Where it begins and ends.
    pub way: fit::Way,
}

impl Driver {
    /// What keeps every offer away from it; nothing, if it only takes a job.
    pub fn why_no_offers(&self, now: Timestamp) -> Vec<WhyNot> {
        let is_full = self.room_for(WorkKind::Delivery).is_none() && !self.is_nearly_free();
        let is_shown = self.soft.shown().is_some();
        let n_leases_max = usize::from(self.policy.parallel_offers);
        let reasons = [
            (is_full, WhyNot::NoRoom),
            (self.leases.len() >= n_leases_max, WhyNot::HasOffer),
            (self.duty != Duty::Off && !is_shown, WhyNot::NoPosition),
        ];
        self.unfit_for_any(now).chain(those(reasons)).collect()
    }

    /// What speaks against giving it that job; nothing, if it could take it at once.
    pub fn against(
        &self,
        job: JobId,
        asks: &Asks,
        now: Timestamp,
        costs: &cost::Settings,
    ) -> Vec<WhyNot> {
        // An offer of the same job makes way.
        let n_leases = self.leases.iter().filter(|lease| lease.offer.job != job).count();
        let has_lease = n_leases >= usize::from(self.policy.parallel_offers);
        let reasons = [
            (self.job(job).is_some(), WhyNot::HasIt),
            (has_lease, WhyNot::HasOffer),
            (self.room_soon(asks.work).is_none(), WhyNot::NoRoom),
        ];
        self.unfit_for_any(now)
            .chain(those(reasons))
            .chain(self.unfit_for(job, asks, now, costs))
            .collect()
    }

    /// What speaks against giving it so many deliveries more, which weigh so much together, whatever speaks against each of
    /// them: to bring them with that run, if it is on one.
    pub fn against_together(&self, n: usize, weight_g: u32, run: Option<RunId>) -> Vec<WhyNot> {
        let is_too_heavy = !self.can_load(WorkKind::Delivery, weight_g, run);
        let reasons = [(self.n_rooms() < n, WhyNot::NoRoom), (is_too_heavy, WhyNot::Capacity)];
        those(reasons).collect()
    }

    /// What keeps it from being told what it may claim from the feed.
    pub fn why_no_claims(&self, now: Timestamp) -> Vec<WhyNot> {
        let is_nowhere = self.duty != Duty::Off && self.soft.position().is_none();
        self.unfit_to_claim(now).chain(those([(is_nowhere, WhyNot::NoPosition)])).collect()
    }

    /// What speaks against its claiming that job from the feed; nothing, if it could have it at once. Unlike an offer, a claim needs
    /// room now, and other offers make way for it.
    pub fn against_claim(
        &self,
        job: JobId,
        asks: &Asks,
        now: Timestamp,
        costs: &cost::Settings,
    ) -> Vec<WhyNot> {
        let reasons = [
            (self.job(job).is_some(), WhyNot::HasIt),
            (self.room_for(asks.work).is_none(), WhyNot::NoRoom),
        ];
        self.unfit_to_claim(now)
            .chain(those(reasons))
            .chain(self.unfit_for(job, asks, now, costs))
            .collect()
    }

    /// What speaks against this job, whatever else it does: its fleet, what it brings, and the law.
    fn unfit_for(
        &self,
        job: JobId,
        asks: &Asks,
        now: Timestamp,
        costs: &cost::Settings,
    ) -> impl Iterator<Item = WhyNot> {
        let Asks { work, needs, fleet, fleet_first, way } = *asks;
        let of_fleet = fit::of_other_fleet(fleet, fleet_first, self.fleet);
        let brings = self.brings(now);
        let vehicle = brings.as_deref();
        let load_g = self.load_g(Some(job));
        // All of it: who overrules it is to know what.
        let missing = vehicle.map(|vehicle| fit::all_missing(needs, vehicle, load_g));
        let at = self.soft.position().map_or(way.pickup, |position| position.at);
        // What makes way for it takes no time.
        let ending = self.ending(at, now).filter(|_| self.room_soon(work).is_some());
        let ends_first = self.is_nearly_free() || self.is_bringing(at);
        let start = ending.filter(|_| ends_first).map_or((at, now), |it| (it.at, it.due));
        let is_too_long = self.fatigue_due().zip(vehicle).is_some_and(|(until, vehicle)| {
            ending.is_some_and(|it| it.due > until)
                || !fit::ends_by(&way, start, vehicle.kind, until, &costs.straight())
        });
        let lacks_permit =
            vehicle.is_some_and(|vehicle| fit::lacks_permit(&costs.permits, &way, vehicle));
        let of_law = [(is_too_long, WhyNot::Hours), (lacks_permit, WhyNot::Permit)];
        of_fleet.into_iter().chain(missing.into_iter().flatten()).chain(those(of_law))
    }

    /// What speaks against an offer that was made for what it brought when it was listed, and for whom it drove then.
    pub(super) fn unfit_for_wants(
        &self,
        offer: &Offer,
        wants: &[Wants],
        now: Timestamp,
    ) -> Vec<WhyNot> {
        let Some(vehicle) = self.brings(now).filter(|_| !wants.is_empty()) else {
            return Vec::new();
        };
        // What of a run is on board at once the run has judged.
        let load_g = self.load_beside_g(offer.run.as_ref().map(|run| run.run));
        let against = |it: &Wants| {
            let of_fleet = fit::of_other_fleet(it.fleet, it.fleet_first, self.fleet);
            of_fleet.into_iter().chain(fit::all_missing(&it.needs, &vehicle, load_g))
        };
        let mut all: Vec<WhyNot> = wants.iter().flat_map(against).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What speaks against any job at all.
    fn unfit_for_any(&self, now: Timestamp) -> impl Iterator<Item = WhyNot> {
        let is_silent =
            self.link != Link::Live || now.since(self.soft.heard_at()) >= ms(self.policy.stale_ms);
        let is_changing = self.has_promised() || self.jobs.iter().any(|job| !job.is_current());
        let reasons = [
            (self.duty != Duty::Off && is_silent, WhyNot::Unreachable),
            (is_changing, WhyNot::ChangingJobs),
        ];
        self.unfit_to_work(now).chain(those(reasons))
    }

    /// What speaks against any claim from the feed, which is asked for by who is there.
    fn unfit_to_claim(&self, now: Timestamp) -> impl Iterator<Item = WhyNot> {
        self.unfit_to_work(now).chain(those([(self.has_promised(), WhyNot::ChangingJobs)]))
    }

    /// Why it takes no work.
    fn unfit_to_work(&self, now: Timestamp) -> impl Iterator<Item = WhyNot> {
        let duty = match self.duty {
            Duty::Off => Some(WhyNot::OffDuty),
            Duty::Break(_) => Some(WhyNot::OnBreak),
            Duty::Draining(_) => Some(WhyNot::Leaving),
            Duty::On => None,
        };
        let is_outside = self.is_outside_shift(&self.policy, now);
        let outside = is_outside.then_some(WhyNot::OutsideShift);
        // Of who is on duty it is said of each job.
        let left = self.rest_left(&self.policy, now).filter(|_| self.duty != Duty::On);
        let tired = left.map(|_| WhyNot::Hours);
        let blocked = self.blocked().map(|_| WhyNot::Blocked);
        blocked.into_iter().chain(duty).chain(outside).chain(tired)
    }

    /// Will it take something as soon as what is in its way is gone?
    fn has_promised(&self) -> bool {
        self.leases.iter().any(|lease| lease.is_promised)
    }
}

fn those<const N: usize>(reasons: [(bool, WhyNot); N]) -> impl Iterator<Item = WhyNot> {
    reasons.into_iter().filter(|(is_so, _)| *is_so).map(|(_, why)| why)
}
