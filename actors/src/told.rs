//! What journals say, afterwards, of how a driver was looked for and what a driver was offered.

use crate::{
    commit::UnreadableEvent,
    driver::{self, Break, Leave},
    format,
    journal::Recorded,
    order,
    policy::JobPolicy,
    rescue,
    search::{self, Account},
};
use protocol::{
    JobId, OfferId, OfferStatus, Point, Principal, Timestamp,
    rule::RuleMark,
    trace::{Made, Offered, Seen, Spell, Step, WhyNot},
    view::WorkKind,
};
use std::collections::BTreeMap;

/// What a job's journal says of its search.
#[derive(Debug, Default)]
pub struct Told {
    /// Where its driver is to come to, as it was asked.
    pub pickup: Option<Point>,
    /// What happened to it, oldest first.
    pub steps: Vec<Step>,
    /// Whom it was offered, oldest first.
    pub offers: Vec<Offered>,
    /// What rounds saw, as far as it was written down, oldest first.
    pub rounds: Vec<Seen>,
    /// The rule whose word is in how it is offered, if there was one.
    pub rule: Option<RuleMark>,
}

/// What a job's journal says of its search: what happened to it, whom it was offered, and what rounds saw before.
pub fn search(job: JobId, recorded: &[Recorded]) -> Result<Told, UnreadableEvent> {
    let mut telling = Telling::default();
    for Recorded { at, event, .. } in recorded {
        match job {
            JobId::Order(_) => telling.order(*at, &format::decode(&event.bytes)?.0),
            JobId::Rescue(_) => telling.rescue(*at, &format::decode(&event.bytes)?.0),
        }
    }
    Ok(telling.told)
}

/// A search as far as it has been told.
#[derive(Debug, Default)]
struct Telling {
    policy: Option<JobPolicy>,
    radius_m: Option<u32>,
    told: Told,
}

impl Telling {
    fn order(&mut self, at: Timestamp, event: &order::Event) {
        use order::Event as E;
        let what = event.name();
        if let E::Placed { placement, .. } = event {
            self.policy = Some(placement.policy);
            self.told.rule = placement.rule.as_deref().copied();
            self.told.pickup = placement.stops.first().map(|it| it.at);
        } else if let E::Search(event) = event {
            self.search(at, event);
        } else if let E::DriverChosen { driver, by, reason, bypassed, .. } = event {
            let (driver, bypassed) = (Some(*driver), bypassed.clone());
            self.told.steps.push(Step { driver, bypassed, ..step(at, what).by(*by, reason) });
        } else if let E::PrioritySet { priority, by, reason, .. } = event {
            let what = format!("{what}: {priority}");
            self.told.steps.push(step(at, &what).by(*by, reason));
        } else if let E::DriverGone { driver, by, reason, .. } = event {
            self.told.steps.push(Step { driver: Some(*driver), ..step(at, what).by(*by, reason) });
        } else if let E::Assigned(by) | E::CustodyPassed(by) = event {
            self.told.steps.push(Step { driver: Some(by.driver), ..step(at, what) });
        } else if let E::DispatchFailed { .. } | E::NoDriverFound { .. } = event {
            self.told.steps.push(step(at, what));
        } else if let E::Cancelled { by, reason, .. } = event {
            self.told.steps.push(step(at, what).by(*by, reason));
        }
    }

    fn rescue(&mut self, at: Timestamp, event: &rescue::Event) {
        use rescue::Event as E;
        let what: &'static str = event.into();
        match event {
            E::Requested { request, .. } => {
                self.policy = Some(request.policy);
                self.told.rule = request.rule.as_deref().copied();
                self.told.pickup = Some(request.at.at);
            }
            E::Search(event) => self.search(at, event),
            E::Accepted { assignment, .. } => {
                self.told.steps.push(Step { driver: Some(assignment.driver), ..step(at, what) });
            }
            E::DriverChosen { driver, by, reason, bypassed, .. } => {
                let (driver, bypassed) = (Some(*driver), bypassed.clone());
                self.told.steps.push(Step { driver, bypassed, ..step(at, what).by(*by, reason) });
            }
            E::PrioritySet { priority, by, reason, .. } => {
                let what = format!("{what}: {priority}");
                self.told.steps.push(step(at, &what).by(*by, reason));
            }
            E::DriverReleased { driver, reason, by: Some(by), .. } => {
                self.told
                    .steps
                    .push(Step { driver: Some(*driver), ..step(at, what).by(*by, reason) });
            }
            E::DriverReleased { driver, reason, by: None, .. }
            | E::Detached { driver, reason, .. } => {
                let reason = Some(reason.clone());
                self.told.steps.push(Step { driver: Some(*driver), reason, ..step(at, what) });
            }
            E::Ended { status, outcome, .. } => {
                let reason = Some(outcome.clone());
                self.told.steps.push(Step { reason, ..step(at, status.into()) });
            }
            E::Triaged { needs, .. } | E::Escalated { needs, .. } => {
                let reason = Some(needs.to_string());
                self.told.steps.push(Step { reason, ..step(at, what) });
            }
            E::EscalationFailed { .. } => self.told.steps.push(step(at, what)),
            E::Located { .. }
            | E::IncidentOpened { .. }
            | E::Departed { .. }
            | E::Arrived { .. }
            | E::AssistStarted { .. }
            | E::LoadStarted { .. }
            | E::FixReported { .. }
            | E::FixDenied { .. }
            | E::Contacted { .. }
            | E::Unloaded { .. }
            | E::SlaAtRisk { .. }
            | E::SlaBreached { .. }
            | E::Rated { .. } => {}
        }
    }

    fn search(&mut self, at: Timestamp, event: &search::Event) {
        use search::Event as E;
        self.told.rounds.extend(event.account().into_iter().flat_map(Account::rounds));
        match event {
            E::Opened { until, .. } => {
                self.radius_m = self.tier_m(0);
                self.step(at, event, Some(*until));
            }
            E::TierOpened { tier, .. } => {
                self.radius_m = self.tier_m(*tier);
                self.step(at, event, None);
            }
            E::FeedOpened { until, .. } => {
                self.radius_m = None;
                self.step(at, event, Some(*until));
            }
            E::Excluded { driver } => {
                let step = Step { driver: Some(*driver), ..step(at, event.name()) };
                self.told.steps.push(step);
            }
            E::Closed { .. } | E::Barred { .. } => self.step(at, event, None),
            E::Paused { pause, .. } => {
                let reason = Some(format!("{}: {}", pause.zone, pause.reason));
                self.told.steps.push(Step { reason, until: pause.until, ..step(at, event.name()) });
            }
            E::Unpaused { .. } => self.step(at, event, None),
            E::JoinedRun { run, driver, until, .. } => {
                let (driver, until, reason) = (Some(*driver), Some(*until), Some(run.to_string()));
                self.told.steps.push(Step { driver, until, reason, ..step(at, event.name()) });
            }
            E::LeftRun { run, status, .. } => {
                let reason = Some(format!("{run}: {status}"));
                self.told.steps.push(Step { reason, ..step(at, event.name()) });
            }
            E::FleetSet { fleet, by, reason, first, .. } => {
                let what = match fleet {
                    Some(fleet) if *first => format!("{}: {fleet}, at first", event.name()),
                    Some(fleet) => format!("{}: {fleet}", event.name()),
                    None => event.name().to_owned(),
                };
                self.told.steps.push(step(at, &what).by(*by, reason));
            }
            E::Held { by, reason, .. } | E::Resumed { by, reason, .. } => {
                self.told.steps.push(step(at, event.name()).by(*by, reason));
            }
            E::OfferMade {
                offer,
                driver,
                eta_s,
                expires_at,
                consent,
                force,
                distance_m,
                cost_ms,
                seen: _,
            } => self.told.offers.push(Offered {
                id: *offer,
                driver: *driver,
                radius_m: self.radius_m.filter(|_| distance_m.is_some()),
                eta_s: *eta_s,
                distance_m: *distance_m,
                cost_ms: *cost_ms,
                asked: *consent,
                forced: *force,
                made_at: at,
                expires_at: *expires_at,
                seen_at: None,
                driver_yes_at: None,
                rider_yes_at: None,
                ended_at: None,
                outcome: None,
                refused: None,
            }),
            E::OfferSeen { offer } => {
                self.about(*offer, |it| it.seen_at = it.seen_at.or(Some(at)));
            }
            E::OfferConfirmed { offer, by, expires_at, .. } => self.about(*offer, |it| {
                match by {
                    search::Side::Driver => it.driver_yes_at = Some(at),
                    search::Side::Rider => it.rider_yes_at = Some(at),
                }
                it.expires_at = *expires_at;
            }),
            E::OfferRefused { offer, why } => self.about(*offer, |it| {
                (it.ended_at, it.outcome) = (Some(at), Some(OfferStatus::Withdrawn));
                it.refused = Some(why.clone().unwrap_or_else(|| "not said".to_owned()));
            }),
            E::OfferClosed { offer, status, .. } => self.about(*offer, |it| {
                (it.ended_at, it.outcome) = (Some(at), Some(*status));
            }),
        }
    }

    fn step(&mut self, at: Timestamp, event: &search::Event, until: Option<Timestamp>) {
        let is_wider =
            matches!(event, search::Event::Opened { .. } | search::Event::TierOpened { .. });
        let radius_m = self.radius_m.filter(|_| is_wider);
        self.told.steps.push(Step { radius_m, until, ..step(at, event.name()) });
    }

    fn about(&mut self, offer: OfferId, change: impl FnOnce(&mut Offered)) {
        self.told.offers.iter_mut().rev().find(|it| it.id == offer).map(change);
    }

    fn tier_m(&self, tier: u8) -> Option<u32> {
        let tiers_m = self.policy.as_ref()?.tiers_m;
        Some(tiers_m[usize::from(tier).min(tiers_m.len() - 1)])
    }
}

fn step(at: Timestamp, what: &str) -> Step {
    Step {
        at,
        what: what.to_owned(),
        by: None,
        driver: None,
        reason: None,
        bypassed: Vec::new(),
        radius_m: None,
        until: None,
    }
}

/// What people did is told with who they were, and why.
trait ByWhom {
    fn by(self, by: Principal, reason: &str) -> Self;
}

impl ByWhom for Step {
    fn by(self, by: Principal, reason: &str) -> Self {
        let reason = (!reason.is_empty()).then(|| reason.to_owned());
        Self { by: Some(by.to_string()), reason, ..self }
    }
}

/// What the end of a driver's journal says since then: when it could be offered nothing, and what it was
/// offered. Of what came before it nothing is known.
pub fn driver(
    recorded: &[Recorded],
    since: Timestamp,
    deliveries_max: u8,
) -> Result<(Vec<Spell>, Vec<Made>), UnreadableEvent> {
    let mut shift = Shift { n_slots: deliveries_max.max(1), ..Shift::default() };
    for Recorded { at, event, .. } in recorded {
        shift.hear(*at, &format::decode(&event.bytes)?.0);
    }
    let mut spells = shift.over;
    spells.extend(shift.open.into_iter().map(|(why, from)| Spell { from, until: None, why }));
    spells.retain(|it| it.until.is_none_or(|until| until >= since));
    spells.sort_by_key(|it| (it.from, it.why));
    let mut offers = shift.offers;
    offers.retain(|it| it.ended_at.is_none_or(|at| at >= since));
    Ok((spells, offers))
}

/// A driver's shift as far as it has been told.
#[derive(Debug, Default)]
struct Shift {
    n_slots: u8,
    /// What lasts, and since when.
    open: BTreeMap<WhyNot, Option<Timestamp>>,
    over: Vec<Spell>,
    offers: Vec<Made>,
    /// Offers that wait for an answer.
    leases: Vec<(OfferId, JobId, WorkKind)>,
    jobs: Vec<(JobId, WorkKind)>,
}

impl Shift {
    fn hear(&mut self, at: Timestamp, event: &driver::Event) {
        use driver::Event as E;
        match event {
            E::WentOn { .. } | E::Resumed { .. } => {
                use WhyNot::{Hours, Leaving, OffDuty, OnBreak, OutsideShift};
                for why in [OffDuty, OnBreak, Leaving, OutsideShift, Hours] {
                    self.ends(why, at);
                }
            }
            E::WentOff { why, .. } => {
                self.leaves_as(*why, at);
                for why in [WhyNot::OnBreak, WhyNot::Leaving, WhyNot::Unreachable] {
                    self.ends(why, at);
                }
                self.begins(WhyNot::OffDuty, at);
            }
            E::BreakStarted { why, .. } => {
                self.begins(WhyNot::OnBreak, at);
                // Until it works again, as it may once it has rested.
                if *why == Break::Fatigue {
                    self.begins(WhyNot::Hours, at);
                }
            }
            E::Draining { why, .. } => {
                self.leaves_as(*why, at);
                self.ends(WhyNot::OnBreak, at);
                self.begins(WhyNot::Leaving, at);
            }
            E::WentStale { .. } | E::WentLost { .. } => self.begins(WhyNot::Unreachable, at),
            E::Recovered { .. } => self.ends(WhyNot::Unreachable, at),
            E::Suspended { .. } | E::Stranded { .. } => self.begins(WhyNot::Blocked, at),
            E::Reinstated { .. } | E::Unstranded { .. } => self.ends(WhyNot::Blocked, at),
            E::OfferReserved { offer, .. } => {
                self.leases.push((offer.id, offer.job, offer.work));
                self.offers.push(Made {
                    id: offer.id,
                    job: offer.job,
                    at,
                    ended_at: None,
                    outcome: None,
                });
                self.begins(WhyNot::HasOffer, at);
            }
            E::OfferDeclined { offer, .. } => self.answered(*offer, OfferStatus::Declined, at),
            E::OfferDropped { offer, .. } => self.answered(*offer, OfferStatus::Withdrawn, at),
            E::OfferEnded { offer, status, .. } => self.answered(*offer, *status, at),
            E::OfferAccepted { offer, .. } => {
                let taken = self.leases.iter().find(|(id, ..)| id == offer);
                self.jobs.extend(taken.map(|(_, job, work)| (*job, *work)));
                self.answered(*offer, OfferStatus::Accepting, at);
                self.counts_room(at);
            }
            E::RunAccepted { offer, slots, .. } => {
                let jobs = slots.iter().map(|(order, _)| ((*order).into(), WorkKind::Delivery));
                self.jobs.extend(jobs);
                self.answered(*offer, OfferStatus::Accepting, at);
                self.counts_room(at);
            }
            E::JobClaimed { job, work, .. } => {
                self.jobs.push((*job, *work));
                self.counts_room(at);
            }
            E::JobCommitted { job, .. } => self.settles(*job, OfferStatus::Accepted),
            E::JobAborted { job, .. } => {
                self.settles(*job, OfferStatus::Lost);
                self.leaves(*job, at);
            }
            E::JobEnded { job, .. } => self.leaves(*job, at),
            E::OfferSeen { .. }
            | E::OfferPromised { .. }
            | E::JobAsked { .. }
            | E::NextStarted { .. }
            | E::DestinationSet { .. }
            | E::JobLeft { .. }
            | E::JobKept { .. }
            | E::Hinted { .. }
            | E::FleetSet { .. }
            | E::SkillGranted { .. }
            | E::SkillRevoked { .. }
            | E::ShiftsSet { .. }
            | E::ShiftMissed { .. }
            | E::OffShiftAllowed { .. }
            | E::OffShiftRevoked { .. }
            | E::UnwantedTold { .. }
            | E::HoursTold { .. }
            | E::Messaged { .. }
            | E::Rated { .. } => {}
        }
    }

    /// It leaves: until it works again nothing can be offered, where that is because its shift is over.
    fn leaves_as(&mut self, why: Leave, at: Timestamp) {
        if why == Leave::ShiftOver {
            self.begins(WhyNot::OutsideShift, at);
        }
    }

    fn begins(&mut self, why: WhyNot, at: Timestamp) {
        self.open.entry(why).or_insert(Some(at));
    }

    fn ends(&mut self, why: WhyNot, at: Timestamp) {
        if let Some(from) = self.open.remove(&why) {
            self.over.push(Spell { from, until: Some(at), why });
        }
    }

    fn answered(&mut self, offer: OfferId, status: OfferStatus, at: Timestamp) {
        self.leases.retain(|(id, ..)| *id != offer);
        if self.leases.is_empty() {
            self.ends(WhyNot::HasOffer, at);
        }
        if let Some(made) = self.offers.iter_mut().rev().find(|it| it.id == offer) {
            (made.ended_at, made.outcome) = (Some(at), Some(status));
        }
    }

    /// The job has judged.
    fn settles(&mut self, job: JobId, status: OfferStatus) {
        let is_meant = |it: &&mut Made| it.job == job && it.outcome == Some(OfferStatus::Accepting);
        if let Some(made) = self.offers.iter_mut().rev().find(is_meant) {
            made.outcome = Some(status);
        }
    }

    fn leaves(&mut self, job: JobId, at: Timestamp) {
        self.jobs.retain(|(it, _)| *it != job);
        self.counts_room(at);
    }

    fn counts_room(&mut self, at: Timestamp) {
        let is_full = self.jobs.len() >= usize::from(self.n_slots)
            || self.jobs.iter().any(|(_, work)| *work != WorkKind::Delivery);
        match is_full {
            true => self.begins(WhyNot::NoRoom, at),
            false => self.ends(WhyNot::NoRoom, at),
        }
    }
}

#[cfg(test)]
mod tests;
