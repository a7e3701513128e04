//! What a session follows: entities whose changes it passes on, whatever their kind.

use super::{
    presence::{Others, is_same_person},
    prospect::{Prospect, Told},
    scope::says_within,
    session::Untold,
    translate::{self, News, Outlook, Shown, actor_view},
};
use crate::auth::scope::Scope;
use actors::{
    EntityKey, Kind, Refusal, Version,
    driver::Driver,
    format,
    incident::Incident,
    order::Order,
    rescue::Rescue,
    revocation::Revocation,
    rider::Rider,
    rule::Rule,
    run::Run,
    runtime::{System, Update, Watching},
    template::Template,
    zone::Zone,
};
use protocol::{
    DriverId, Identifier, IncidentId, JobId, OfferId, OfferStatus, OrderId, Principal, RescueId,
    RevocationId, RiderId, RuleId, RunId, TemplateId, ZoneId,
    changes::Changed,
    frame::{ActorView, ServerFrame},
    view::{Crossing, Etas},
};
use serde::{Deserialize, Serialize};
use std::{
    fmt::Debug,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;
use tracing::{debug, warn};

/// How long to wait before following again what was lost, if whoever has it should answer: at first, at most, at most if there was too
/// much to do for it to be followed, and at most if it could not be for any other reason. Else the wait is for somebody who
/// should ([`System::worth_another_try`]).
const REOPEN_AFTER: [Duration; 4] = [
    Duration::from_millis(20),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// So many tries in vain still count once it was followed after all.
const REOPENED_MAX: u32 = 8;

/// Most events of an entity that are read to find out what was missed of it.
const MISSED_MAX: u64 = 512;

/// How long the last word of a job that is over is waited for.
const LAST_WORD_MAX: Duration = Duration::from_secs(60);

/// One entity that a session follows, and for whom.
#[derive(Debug)]
pub(crate) struct Follow {
    pub(crate) key: EntityKey,
    pub(crate) wants: Wants,
    /// The way to it; none while it is being opened again.
    pub(crate) watch: Option<Box<dyn Watched>>,
    /// The version the client was last shown.
    pub(crate) shown: Option<u64>,
    /// The last version of which it is known how it came about.
    pub(crate) known: Option<u64>,
    /// The latest sighting that has not been passed on.
    pub(crate) sighted: Option<Box<ServerFrame>>,
    /// When the last one was.
    pub(crate) sighted_at: Option<Instant>,
    /// Whether its driver has come or gone, once it has. In a box: of most things followed nobody is told.
    pub(crate) near: Option<Box<Near>>,
    /// What is expected of it, if anything is.
    pub(crate) prospect: Option<Box<Prospect>>,
    /// Who else has part in it.
    pub(crate) others: Others,
    /// What may be told of it once it is known where it is, to whom that matters.
    pub(crate) untold: Option<Box<Untold>>,
    /// When it may be forgotten.
    leave_at: Option<Instant>,
    n_reopened: u32,
}

/// Whether the driver of a job has come to a stop, or has gone again: the latest counts, and is told if it is news.
#[derive(Debug, Default)]
pub(crate) struct Near {
    /// What is to be told, and of which driver.
    untold: Option<(Option<DriverId>, ServerFrame)>,
    /// When it was told last.
    told_at: Option<Instant>,
    /// And what; none once the job is another.
    told: Option<(u8, Crossing)>,
}

impl Near {
    /// The driver who has the job was seen so.
    pub(crate) fn sees(&mut self, driver: Option<DriverId>, frame: ServerFrame) {
        let is_told = self.told.is_some() && self.told == crossing(&frame);
        self.untold = Some((driver, frame)).filter(|_| !is_told);
    }

    /// When it may be told, if anything is to be.
    pub(crate) fn due_at(&self, now: Instant, every: Duration) -> Option<Instant> {
        self.untold.as_ref()?;
        Some(self.told_at.map_or(now, |at| at + every))
    }

    /// What is to be told now.
    pub(crate) fn next(&mut self, now: Instant, every: Duration) -> Option<ServerFrame> {
        self.due_at(now, every).filter(|due| *due <= now)?;
        let (_, frame) = self.untold.take()?;
        (self.told_at, self.told) = (Some(now), crossing(&frame));
        Some(frame)
    }

    /// Its job is another now, and perhaps another's: the same would be news.
    pub(crate) fn is_outdated(&mut self) {
        self.told = None;
    }

    /// It is this driver who has the job now, if anybody has: that another one came or went is nobody's business any more.
    fn is_of(&mut self, driver: Option<DriverId>) {
        self.untold = self.untold.take().filter(|(by, _)| *by == driver);
    }
}

/// Which stop was crossed, and how.
fn crossing(frame: &ServerFrame) -> Option<(u8, Crossing)> {
    let ServerFrame::Near { stop, crossing, .. } = frame else { return None };
    Some((*stop, *crossing))
}

/// Why a session follows an entity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wants {
    /// It is the session's own rider or driver, or one of their jobs.
    pub(crate) own: bool,
    /// The client asked for its views.
    pub(crate) topic: bool,
    /// The client asked for its whole state.
    pub(crate) actor: bool,
}

impl Wants {
    pub(crate) fn is_any(self) -> bool {
        self.own || self.topic || self.actor
    }

    pub(crate) fn views(self) -> bool {
        self.own || self.topic
    }
}

/// What became of a followed entity.
#[derive(Debug)]
pub(crate) enum Change {
    /// It has a new state.
    State {
        /** The names of the events that led to it. */
        events: Vec<String>,
        /** What they said that the state need not say. */
        news: News,
    },
    /// It was seen.
    Sighted(Option<ServerFrame>),
    /// The way to it is lost.
    Lost,
}

/// A watch of one entity, of any kind.
pub(crate) trait Watched: Debug + Send + Sync {
    /// What becomes of it next.
    fn poll_change(&mut self, cx: &mut Context<'_>, by: Principal, system: &System)
    -> Poll<Change>;

    /// How many events it has.
    fn version(&self) -> u64;

    /// What `by` is shown of it now; nothing if it may not know of it.
    fn frame(&self, by: Principal) -> Option<ServerFrame>;

    /// What is said of it as it is now, which is `whole`, to whom it was last `shown` in that version and who was `told`
    /// since to expect that: what changed since, or all of it.
    fn say(
        &mut self,
        whole: ServerFrame,
        by: Principal,
        shown: Option<u64>,
        told: Option<Told>,
    ) -> ServerFrame;

    /// What is expected of it, which is `whole`, to whom it was shown in that version: if it is news to whoever was `told` what
    /// was expected then. Only of a way on which nothing was said yet: on others, what was seen since is newer.
    fn renew(&mut self, whole: &ServerFrame, told: Told) -> Option<ServerFrame>;

    /// All of it.
    fn whole(&self, events: Vec<String>) -> ActorView;

    /// May it sleep, so that a sign of life would only keep it awake?
    fn may_sleep(&self) -> bool;

    /// Has `by` been told all that is to be told of it?
    fn has_had_its_say(&self, by: Principal) -> bool;

    /// How an offer ended, if it remembers.
    fn ended_offer(&self, offer: OfferId) -> Option<OfferStatus>;

    /// Who has part in it, as long as it goes on.
    fn parts(&self) -> Vec<Principal>;
}

#[derive(Debug)]
struct Watch<D: Shown> {
    id: D::Id,
    watching: Watching<D>,
    /// As it was said last. While nothing changes, that is the state that is watched, and no other.
    said: Option<(Version, Arc<D>)>,
    /// It was seen elsewhere since.
    is_moved: bool,
    /// When its vehicle is expected, as was last counted. In a box: of most things followed nothing is.
    etas: Option<Box<Etas>>,
    /// Nothing was said of it yet.
    is_new: bool,
}

impl<D: Shown> Watched for Watch<D> {
    fn poll_change(
        &mut self,
        cx: &mut Context<'_>,
        by: Principal,
        system: &System,
    ) -> Poll<Change> {
        let Watching { version, state, updates } = &mut self.watching;
        updates.poll_recv(cx).map(|update| match update {
            Some(Update::Changed { version: now, state: new, events }) => {
                (*version, *state) = (now, new);
                self.etas = state.etas().map(Box::new);
                let mut news = News::default();
                events.iter().for_each(|event| D::news(event, &mut news));
                let events = events.iter().map(|event| D::event_name(event).to_owned()).collect();
                Change::State { events, news }
            }
            Some(Update::Seen(sighting)) => {
                self.is_moved = true;
                if let Some(etas) = state.expected_by(&sighting) {
                    self.etas = etas.map(Box::new);
                }
                let outlook = Outlook { etas: self.etas.as_deref().copied(), now: system.now() };
                Change::Sighted(state.sighted(self.id, version.0, &sighting, by, outlook))
            }
            None => Change::Lost,
        })
    }

    fn version(&self) -> u64 {
        self.watching.version.0
    }

    fn frame(&self, by: Principal) -> Option<ServerFrame> {
        translate::shown(&*self.watching.state, self.id, self.watching.version, by)
    }

    fn say(
        &mut self,
        whole: ServerFrame,
        by: Principal,
        shown: Option<u64>,
        told: Option<Told>,
    ) -> ServerFrame {
        self.is_new = false;
        let now = (self.watching.version, Arc::clone(&self.watching.state));
        let was = self.said.replace(now).filter(|(version, _)| Some(version.0) == shown);
        let mut was =
            was.and_then(|(version, state)| translate::shown(&*state, self.id, version, by));
        if let (Some(view), Some(told)) = (&mut was, told) {
            // It has been told of what no state says.
            told.put_into(view);
        }
        let mut changed = was.and_then(|was| Changed::between(&was, &whole));
        let is_moved = std::mem::take(&mut self.is_moved);
        if let (Some(Changed::Driver(changes)), ServerFrame::Driver(view)) = (&mut changed, &whole)
            && is_moved
        {
            // It may be back where it was, of which the state says nothing.
            changes.position = Some(view.position);
        }
        changed.map_or(whole, ServerFrame::Changed)
    }

    fn renew(&mut self, whole: &ServerFrame, told: Told) -> Option<ServerFrame> {
        if std::mem::take(&mut self.is_new) { told.news(whole) } else { None }
    }

    fn whole(&self, events: Vec<String>) -> ActorView {
        actor_view(&*self.watching.state, self.id, self.watching.version, events)
    }

    fn may_sleep(&self) -> bool {
        self.watching.state.idle_max().is_some()
    }

    fn has_had_its_say(&self, by: Principal) -> bool {
        self.watching.state.is_over() || self.frame(by).is_none()
    }

    fn ended_offer(&self, offer: OfferId) -> Option<OfferStatus> {
        self.watching.state.ended_offer(offer)
    }

    fn parts(&self) -> Vec<Principal> {
        self.watching.state.parts(self.id)
    }
}

/// An entity that is followed from now on.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The way to it.
    pub(crate) watch: Box<dyn Watched>,
    /// What events have said since it was last followed.
    pub(crate) news: News,
}

/// Starts to follow an entity on behalf of `by`, once it is worth another try after that long. `known` is the last version of which it is known
/// how it came about; none, if that does not matter.
pub(crate) async fn open(
    system: System,
    key: EntityKey,
    by: Principal,
    after: Duration,
    known: Option<u64>,
) -> Result<Opened, Refusal> {
    let is_again = !after.is_zero();
    if is_again {
        system.worth_another_try(key, after).await;
    }
    match key.kind {
        Kind::Order => open_one::<Order>(&system, OrderId(key.id), by, known, is_again).await,
        Kind::Rescue => open_one::<Rescue>(&system, RescueId(key.id), by, known, is_again).await,
        Kind::Driver => open_one::<Driver>(&system, DriverId(key.id), by, known, is_again).await,
        Kind::Rider => open_one::<Rider>(&system, RiderId(key.id), by, known, is_again).await,
        Kind::Revocation => {
            open_one::<Revocation>(&system, RevocationId(key.id), by, known, is_again).await
        }
        Kind::Incident => {
            open_one::<Incident>(&system, IncidentId(key.id), by, known, is_again).await
        }
        Kind::Zone => open_one::<Zone>(&system, ZoneId(key.id), by, known, is_again).await,
        Kind::Run => open_one::<Run>(&system, RunId(key.id), by, known, is_again).await,
        Kind::Rule => open_one::<Rule>(&system, RuleId(key.id), by, known, is_again).await,
        Kind::Template => {
            open_one::<Template>(&system, TemplateId(key.id), by, known, is_again).await
        }
    }
}

async fn open_one<D: Shown>(
    system: &System,
    id: D::Id,
    by: Principal,
    known: Option<u64>,
    is_again: bool,
) -> Result<Opened, Refusal> {
    let watching = match D::is_sighted_by(by) {
        is_sighted if is_again => system.watch_again::<D>(id, is_sighted).await?,
        true => system.watch::<D>(id).await?,
        false => system.watch_changes::<D>(id).await?,
    };
    let now = watching.version.0;
    let news = match known {
        Some(known) if D::HAS_NEWS && known < now => missed::<D>(system, id, known, now).await?,
        Some(_) | None => News::default(),
    };
    let etas = watching.state.etas().map(Box::new);
    let watch = Box::new(Watch { id, watching, said: None, is_moved: false, is_new: true, etas });
    Ok(Opened { watch, news })
}

/// What happened between two versions, by the journal.
async fn missed<D: Shown>(
    system: &System,
    id: D::Id,
    known: u64,
    now: u64,
) -> Result<News, Refusal> {
    let key = EntityKey { kind: D::KIND, id: id.uuid() };
    // What is older than that, nobody waits for any more.
    let after = known.max(now.saturating_sub(MISSED_MAX));
    let missed = system.journal().history(key, Version(after), (now - after) as usize).await;
    let missed = missed.map_err(|error| {
        debug!(%key, %error, "what was missed cannot be read");
        Refusal::Unavailable
    })?;
    let events = missed.iter().map(|it| format::decode::<D::Event>(&it.event.bytes));
    let events: Vec<_> = events.collect::<Result<_, _>>().map_err(|error| {
        warn!(%key, %error, "what was missed cannot be understood");
        Refusal::Unavailable
    })?;
    let mut news = News::default();
    events.iter().for_each(|(event, _)| D::news(event, &mut news));
    Ok(news)
}

impl Follow {
    pub(crate) fn new(key: EntityKey) -> Self {
        Self {
            key,
            wants: Wants::default(),
            watch: None,
            shown: None,
            known: None,
            sighted: None,
            sighted_at: None,
            near: None,
            prospect: None,
            others: Others::default(),
            untold: None,
            leave_at: None,
            n_reopened: 0,
        }
    }

    /// It is open.
    pub(crate) fn opened(&mut self, watch: Box<dyn Watched>) {
        self.known = Some(watch.version());
        self.watch = Some(watch);
        self.n_reopened = self.n_reopened.min(REOPENED_MAX);
        self.forget_who_came();
    }

    /// It is lost, or could not be opened, and why: how long to wait at most before opening it again.
    pub(crate) fn lost(&mut self, why: Option<&Refusal>) -> Duration {
        let [first, lost_max, busy_max, failed_max] = REOPEN_AFTER;
        let was_open = self.watch.take().is_some();
        let most = match why {
            _ if was_open => lost_max,
            Some(Refusal::Busy { .. }) => busy_max,
            Some(_) | None => failed_max,
        };
        let wait = first.saturating_mul(1 << self.n_reopened.min(11)).min(most);
        self.n_reopened += 1;
        wait
    }

    /// It is wanted for something else than its last word, which would have been all.
    pub(crate) fn stay(&mut self) {
        if self.leave_at.take().is_some() {
            self.wants.own = false;
        }
    }

    /// It is not the client's own any more, and soon to be forgotten; or it is again, after all.
    pub(crate) fn leave(&mut self, at: Option<Instant>) {
        self.leave_at = at;
    }

    /// Is only its last word waited for?
    pub(crate) fn is_leaving(&self) -> bool {
        self.leave_at.is_some()
    }

    /// May it be forgotten? A job that is over still has its last word to say, however long the way to it
    /// has to be looked for.
    pub(crate) fn is_done(&self, by: Principal, now: Instant) -> bool {
        self.leave_at.is_some_and(|at| {
            let has_said_all = self.watch.as_ref().is_some_and(|it| it.has_had_its_say(by));
            now >= at + LAST_WORD_MAX || (now >= at && has_said_all)
        })
    }

    /// When to ask for that again, if nothing happens.
    pub(crate) fn done_at(&self, now: Instant) -> Option<Instant> {
        self.leave_at.map(|at| if now < at { at } else { at + LAST_WORD_MAX })
    }

    /// It works.
    pub(crate) fn is_well(&mut self) {
        self.n_reopened = 0;
        self.known = self.watch.as_ref().map(|watch| watch.version());
    }

    /// Has its client been shown what it is now? Only then does what changes of it mean anything.
    pub(crate) fn is_shown(&self) -> bool {
        self.shown.is_some() && self.shown == self.watch.as_ref().map(|watch| watch.version())
    }

    /// Does it say itself that it lies within these regions?
    pub(crate) fn says_within(&self, scope: &Scope) -> bool {
        let shown = self.watch.as_ref().and_then(|watch| watch.frame(Principal::Dispatcher));
        shown.is_some_and(|shown| says_within(scope, &shown))
    }

    /// Which job it is, if it is one.
    pub(crate) fn job(&self) -> Option<JobId> {
        match self.key.kind {
            Kind::Order => Some(JobId::Order(OrderId(self.key.id))),
            Kind::Rescue => Some(JobId::Rescue(RescueId(self.key.id))),
            Kind::Driver
            | Kind::Rider
            | Kind::Revocation
            | Kind::Incident
            | Kind::Zone
            | Kind::Run
            | Kind::Rule
            | Kind::Template => None,
        }
    }

    /// Who has it, if it is a job and anybody has.
    fn driver(&self) -> Option<DriverId> {
        let shown = self.watch.as_ref()?.frame(Principal::System)?;
        if let ServerFrame::Order(view) = &shown {
            return view.driver;
        }
        let ServerFrame::Rescue(view) = &shown else { return None };
        view.driver
    }

    /// Its driver has come to a stop, or has gone again; its client may be told.
    pub(crate) fn sees_near(&mut self, frame: ServerFrame) {
        let driver = self.driver();
        self.near.get_or_insert_default().sees(driver, frame);
    }

    /// Somebody else may have it now: what is not told yet of another driver's coming and going never is.
    pub(crate) fn forget_who_came(&mut self) {
        if self.near.as_ref().is_none_or(|near| near.untold.is_none()) {
            return;
        }
        let driver = self.driver();
        if let Some(near) = &mut self.near {
            near.is_of(driver);
        }
    }

    /// Something else is expected of it; its client may be told.
    pub(crate) fn expects(&mut self, changed: Changed) {
        if self.wants.views() && self.is_shown() {
            self.prospect.get_or_insert_default().sees(changed);
        }
    }

    /// Its client is told this by a view.
    pub(crate) fn tells(&mut self, told: Told) {
        if let Some(prospect) = &mut self.prospect {
            prospect.is_told(told);
        } else if told != Told::default() {
            self.prospect.get_or_insert_default().is_told(told);
        }
    }

    /// Looks who else has part in it now, if its client is shown it.
    pub(crate) fn look_for_others(&mut self, by: Principal) {
        let parts = self.watch.as_ref().filter(|_| self.is_shown()).map(|watch| watch.parts());
        let mut others = parts.unwrap_or_default();
        others.retain(|who| !is_same_person(*who, by));
        self.others.are(others, Instant::now());
    }

    /// Does it exist?
    pub(crate) fn exists(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| Version(watch.version()) > Version(0))
    }
}

/// The next change of any of them. Pends for ever when none is open.
pub(crate) fn poll_change(
    follows: &mut [Follow],
    cx: &mut Context<'_>,
    by: Principal,
    system: &System,
) -> Poll<(EntityKey, Change)> {
    for follow in follows.iter_mut() {
        if let Some(watch) = &mut follow.watch
            && let Poll::Ready(change) = watch.poll_change(cx, by, system)
        {
            return Poll::Ready((follow.key, change));
        }
    }
    Poll::Pending
}

#[cfg(test)]
mod tests;
