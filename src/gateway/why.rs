//! Why a job was offered as it was, and why a driver was not: told from journals, and from what rounds saw on
//! whatever node they were held.

use super::{
    Gate,
    front::Question,
    rest::{Answered, Caller, Named, id_of},
    translate::{forbidden, not_found},
};
use crate::auth::scope::Asker;
use actors::{
    EntityKey, Version,
    cluster::Incarnation,
    commit::UnreadableEvent,
    driver::Driver,
    journal::{JournalError, Recorded},
    told::{self, Told},
};
use axum::{Json, extract::State};
use futures_util::future::join_all;
use protocol::{
    Code, DriverId, JobId, OrderId, Point, Principal, Refused, RescueId, Timestamp,
    trace::{Chance, MatchTrace, Seen, WhyNoOffers, WhyNot},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// How long another node has to say what its rounds saw.
pub(super) const ASK_WITHIN: Duration = Duration::from_secs(1);
/// Most events of a job, the first ones, and of a driver, the last ones, that are read.
const EVENTS_MAX: u64 = 2_048;
/// Events that are read at once.
const PAGE_EVENTS: usize = 512;
/// How far back a driver is told why it was not offered anything.
const LOOK_BACK: Duration = Duration::from_secs(30 * 60);
/// Most jobs that a node tells a driver of…
const CHANCES_MAX: usize = 500;
/// … and that are told one by one.
const CHANCES_TOLD: usize = 20;

/// Whose chances, since when, and where it is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Whose {
    driver: DriverId,
    at: Option<Point>,
    since: Timestamp,
}

/// How a driver was looked for: what happened to the search, whom the order was offered and what came of it,
/// and what the last rounds saw of it: who was weighed, at what cost, who did not fit and why, and why nothing
/// was proposed. After a restart, what was kept of that with offers and with the end of the search. Staff only.
#[utoipa::path(
    get, path = "/v1/orders/{id}/match-trace", tag = "orders", security(("bearer" = [])),
    params(("id" = String, Path, description = "order-…")),
    responses(
        (status = 200, body = MatchTrace), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused)
    )
)]
pub(super) async fn trace_order(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
    Named(id): Named,
) -> Result<Json<MatchTrace>, Answered> {
    caller.staff()?;
    Ok(Json(gate.match_trace(JobId::Order(id_of::<OrderId>(&id)?), &caller.0).await?))
}

/// How a driver was looked for who helps. Staff only.
#[utoipa::path(
    get, path = "/v1/rescues/{id}/match-trace", tag = "rescues", security(("bearer" = [])),
    params(("id" = String, Path, description = "rescue-…")),
    responses(
        (status = 200, body = MatchTrace), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused)
    )
)]
pub(super) async fn trace_rescue(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
    Named(id): Named,
) -> Result<Json<MatchTrace>, Answered> {
    caller.staff()?;
    Ok(Json(gate.match_trace(JobId::Rescue(id_of::<RescueId>(&id)?), &caller.0).await?))
}

/// Why a driver gets no offers, or got so few in the last half hour: what keeps them away, and what rounds made
/// of it for the jobs around it. A driver is told of itself (`me`), but not which jobs they were; staff of
/// anyone.
#[utoipa::path(
    get, path = "/v1/drivers/{id}/why-no-offers", tag = "drivers", security(("bearer" = [])),
    params(("id" = String, Path, description = "driver-…, or `me`")),
    responses(
        (status = 200, body = WhyNoOffers), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused)
    )
)]
pub(super) async fn why_no_offers(
    State(gate): State<Arc<Gate>>,
    Caller(by): Caller,
    Named(id): Named,
) -> Result<Json<WhyNoOffers>, Answered> {
    Ok(Json(gate.why_no_offers(driver_named(&id, by.who)?, &by).await?))
}

/// The driver somebody means: a driver itself, staff anyone.
pub(super) fn driver_named(id: &str, by: Principal) -> Result<DriverId, Refused> {
    match (id, by) {
        ("me", Principal::Driver(me)) => Ok(me),
        ("me", _) => Err(forbidden("only a driver is one")),
        (id, Principal::Driver(me)) if id_of::<DriverId>(id)? == me => Ok(me),
        (id, by) if by.is_staff() => id_of(id),
        (id, _) => Err(not_found(id)),
    }
}

/// What a driver is told speaks against it. Whoever asked for a driver of another gender is no business of drivers.
pub(super) fn as_told(why: WhyNot) -> WhyNot {
    if why == WhyNot::Gender { WhyNot::Skill } else { why }
}

/// The same of a job, and that is not where they wait.
fn discreet(chance: &mut Chance) {
    let Some(why) = chance.why else { return };
    let told = as_told(why);
    if told != why {
        (chance.why, chance.distance_m) = (Some(told), None);
    }
}

impl Gate {
    async fn match_trace(&self, job: JobId, by: &Asker) -> Result<MatchTrace, Refused> {
        self.check_sight(job.into(), by).await?;
        let recorded = self.events(job.into(), Version(0)).await?;
        if recorded.is_empty() {
            return Err(not_found(&job.to_string()));
        }
        let Told { pickup, steps, offers, rounds: kept, rule } =
            told::search(job, &recorded).map_err(unreadable)?;
        let here = self.rounds(job);
        let (there, silent) = self.elsewhere::<Vec<Seen>>(&Question::Rounds(job)).await;
        let rounds = together(there.into_iter().flatten().chain(here).collect(), kept);
        let known_since = self.known_around(pickup).await;
        Ok(MatchTrace { job, steps, offers, rounds, known_since, silent, rule })
    }

    async fn why_no_offers(&self, id: DriverId, by: &Asker) -> Result<WhyNoOffers, Refused> {
        self.check_sight(id.into(), by).await?;
        let (version, driver) = self.system.read::<Driver>(id).await?;
        if version == Version(0) {
            return Err(not_found(&id.to_string()));
        }
        let now = self.system.now();
        let since = now - LOOK_BACK;
        let after = Version(version.0.saturating_sub(EVENTS_MAX));
        let recorded = self.events(id.into(), after).await?;
        let (spells, offers) =
            told::driver(&recorded, since, driver.deliveries_max()).map_err(unreadable)?;
        let whose = Whose { driver: id, at: driver.position(), since };
        let here = self.chances(whose);
        let (there, silent) =
            self.elsewhere::<Vec<(JobId, Chance)>>(&Question::Chances(whose)).await;
        let known_since = self.known_around(whose.at).await.map(|it| it.max(since));
        let mut all = latest(there.into_iter().flatten().chain(here));
        if !by.who.is_staff() {
            all.iter_mut().for_each(|(_, chance)| discreet(chance));
        }
        let mut why: BTreeMap<WhyNot, u32> = BTreeMap::new();
        for reason in all.iter().filter_map(|(_, chance)| chance.why) {
            *why.entry(reason).or_default() += 1;
        }
        let n_proposed = all.iter().filter(|(_, chance)| chance.why.is_none()).count();
        let mut told = Vec::new();
        for (job, chance) in all.iter().take(CHANCES_TOLD) {
            // Which job it was is told to whoever may look at it.
            let is_told = by.who.is_staff() && self.check_sight((*job).into(), by).await.is_ok();
            told.push(Chance { job: is_told.then_some(*job), ..*chance });
        }
        Ok(WhyNoOffers {
            driver: id,
            since,
            now: driver.why_no_offers(now),
            ungranted: driver.ungranted(now),
            spells,
            offers,
            known_since,
            n_jobs: all.len() as u32,
            n_proposed: n_proposed as u32,
            why,
            chances: told,
            silent,
        })
    }

    /// What rounds of this node saw of a job.
    pub(super) fn rounds(&self, job: JobId) -> Vec<Seen> {
        self.system.regions().rounds_of(job)
    }

    /// What rounds of this node made of a driver.
    pub(super) fn chances(&self, Whose { driver, at, since }: Whose) -> Vec<(JobId, Chance)> {
        let mut chances = self.system.regions().chances_of(driver, at, since);
        chances.truncate(CHANCES_MAX);
        chances
    }

    /// Since when what rounds saw around a place is known here, if some are held here.
    pub(super) fn known_since(&self, at: Point) -> Option<Timestamp> {
        self.system.regions().known_since(at)
    }

    /// The same of all nodes that hold rounds there. None if no node says so, or one does not answer: it may be the one.
    async fn known_around(&self, at: Option<Point>) -> Option<Timestamp> {
        let at = at?;
        let question = Question::KnownSince(at);
        let (there, silent) = self.elsewhere::<Option<Timestamp>>(&question).await;
        if !silent.is_empty() {
            return None;
        }
        there.into_iter().flatten().chain(self.known_since(at)).max()
    }

    /// What the other nodes answer, and the names of those that do not.
    pub(super) async fn elsewhere<T: DeserializeOwned>(
        &self,
        question: &Question,
    ) -> (Vec<T>, Vec<String>) {
        let others = self.system.others().into_iter();
        let asked =
            others.map(|who| async move { (who, self.ask::<T>(who, question, ASK_WITHIN).await) });
        let names = self.node_names();
        let name = |who: Incarnation| names.get(&who).cloned().unwrap_or_else(|| who.to_string());
        let (mut answers, mut silent) = (Vec::new(), Vec::new());
        for (who, answer) in join_all(asked).await {
            match answer {
                Some(answer) => answers.push(answer),
                None => silent.push(name(who)),
            }
        }
        (answers, silent)
    }

    /// Events of an entity after a version, oldest first.
    async fn events(&self, key: EntityKey, after: Version) -> Result<Vec<Recorded>, Refused> {
        let mut all = Vec::new();
        let mut at = after;
        while at.0 - after.0 < EVENTS_MAX {
            let page = self.system.journal().history(key, at, PAGE_EVENTS).await.map_err(away)?;
            let is_last = page.len() < PAGE_EVENTS;
            at = page.last().map_or(at, |it| it.version);
            all.extend(page);
            if is_last {
                break;
            }
        }
        Ok(all)
    }
}

/// What nodes remember of rounds, and what was kept of those that they do not, oldest first. Of a round that both tell, memory
/// has more.
fn together(mut remembered: Vec<Seen>, kept: Vec<Seen>) -> Vec<Seen> {
    let known: HashSet<_> = remembered.iter().map(|it| (it.round, it.from)).collect();
    remembered.extend(kept.into_iter().filter(|it| !known.contains(&(it.round, it.from))));
    remembered.sort_by_key(|it| (it.from, it.at));
    remembered
}

/// Of each job what was said last, newest first: two nodes may have looked at it, one after the other.
fn latest(chances: impl Iterator<Item = (JobId, Chance)>) -> Vec<(JobId, Chance)> {
    let mut by_job: HashMap<JobId, Chance> = HashMap::new();
    for (job, chance) in chances {
        let known = by_job.entry(job).or_insert(chance);
        if known.at < chance.at {
            *known = chance;
        }
    }
    let mut all: Vec<_> = by_job.into_iter().collect();
    all.sort_unstable_by_key(|(job, chance)| (Reverse(chance.at), *job));
    all
}

fn away(error: JournalError) -> Refused {
    tracing::warn!(%error, "a history could not be read");
    super::unavailable()
}

fn unreadable(error: UnreadableEvent) -> Refused {
    tracing::error!(%error, "a history that cannot be read");
    Refused::new(Code::Internal, "a fault of ours")
}

#[cfg(test)]
mod tests;
