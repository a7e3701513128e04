//! Does what other nodes ask: reads what they write, in their order, and answers.

use super::{
    Answer, Ask, BREATHER, Hosted, Repeats, Seat, System, Wished, by_kind,
    home::by_mailbox,
    membership::{Membership, Place},
    publisher::{Interest, Published, Retell},
    remote::encoded,
    shard::Instruction,
    watchers::{Follower, Wants},
};
use crate::{
    EntityKey, Format, Refusal, Tell,
    cluster::{
        Incarnation,
        arbiter::{Head, Standing},
        envelope::{
            self, Bundle, Envelope, ListedBytes, Notice, PublishedBytes, Reply, Request, SightBytes,
        },
        transport::Incoming,
    },
    driver::Driver,
    incident::Incident,
    listing::RegionId,
    order::Order,
    rescue::Rescue,
    revocation::Revocation,
    rider::Rider,
    rule::Rule,
    run::Run,
    template::Template,
    zone::Zone,
};
use futures_util::{future::join_all, poll};
use protocol::{CommandId, Identifier, Principal, ShardId};
use std::{borrow::Cow, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};
use tracing::warn;

/// How long a request waits for a shard that is moving here, before its sender is told to ask again.
const PARKED_MAX: Duration = Duration::from_millis(500);
/// How often another node hears how much it was told, where it was told something.
const STILL_EVERY: Duration = Duration::from_secs(5);
/// How often it hears of everything it follows here. A million clients follow what says nothing for hours.
const STILL_ALL_EVERY: Duration = Duration::from_secs(20);
/// How long another node is told what boards show after it last asked.
const BOARD_LEASE: Duration = Duration::from_secs(15);
/// How often it is told.
const BOARD_EVERY: Duration = Duration::from_millis(250);
/// Most publications in one envelope.
const BOARD_PAGE: usize = 1_000;
/// How often what others left behind is tidied up.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// Reads what other nodes write, for ever.
pub(super) async fn run(system: System, mut incoming: mpsc::Receiver<Incoming>) {
    let Some(membership) = system.membership() else { return };
    while let Some(incoming) = incoming.recv().await {
        match incoming {
            Incoming::Unheard(who) => {
                membership.state().unheard.insert(who, Instant::now());
                membership.note_silent();
                membership.post.unheard(who);
                membership.look.notify_one();
            }
            Incoming::Message(bytes) => match envelope::decode::<Bundle>(&bytes) {
                Some(bundle) if bundle.format <= Format::READS => {
                    membership.heard(bundle.from);
                    for envelope in bundle.envelopes {
                        open(&system, membership, bundle.from, envelope).await;
                    }
                }
                Some(_) | None => {
                    warn!(bytes = bytes.len(), "a message that this build cannot read");
                    metrics::counter!("outrider_cluster_unreadable_total").increment(1);
                }
            },
        }
    }
}

async fn open(system: &System, membership: &Membership, from: Incarnation, envelope: Envelope) {
    match envelope {
        Envelope::Request { call, shard, epoch, patience_ms, body } => {
            let Some(request) = envelope::decode::<Request>(&body) else {
                metrics::counter!("outrider_cluster_unreadable_total").increment(1);
                return membership.post.reply(system, from, call, &Reply::NeedsNewer);
            };
            let asked = Asked {
                from,
                call,
                shard,
                epoch,
                until: Instant::now() + Duration::from_millis(patience_ms),
            };
            let mut answering = Box::pin(answer(system.clone(), asked, request));
            // Begun here, so that what one node asks of an entity reaches it in the order it was asked.
            if poll!(answering.as_mut()).is_pending() {
                system.spawn(answering);
            }
        }
        Envelope::Reply { call, body } => {
            let reply = envelope::decode(&body).unwrap_or(Reply::NeedsNewer);
            membership.post.answered(call, reply);
        }
        Envelope::Notice { body } => match envelope::decode(&body) {
            Some(notice) => take(system, membership, from, notice),
            None => metrics::counter!("outrider_cluster_unreadable_total").increment(1),
        },
    }
}

/// How a request came.
#[derive(Debug, Clone, Copy)]
struct Asked {
    from: Incarnation,
    call: u64,
    shard: ShardId,
    epoch: u64,
    until: Instant,
}

async fn answer(system: System, asked: Asked, request: Request) {
    let Some(membership) = system.membership() else { return };
    let Asked { from, shard, .. } = asked;
    let reply = match request {
        Request::Prepare => system.may_adopt(shard),
        Request::Adopt { epoch, .. } => system.given(shard, epoch, from).await,
        Request::Release(entity) => match asked.is_served_here(&system).await {
            Ok(()) => {
                system.release_here(entity);
                Reply::Fine
            }
            Err(elsewhere) => elsewhere,
        },
        Request::Front(question) => system.answer_front(question).await,
        Request::See(sights) => see(&system, sights).await,
        Request::Ask { tell, by, id, wish } => ask(&system, asked, *tell, by, id, wish).await,
        Request::Read(entity) => {
            by_kind!(entity.kind, D => read::<D>(&system, asked, entity).await)
        }
        Request::Watch { entity, stream, changes_only, is_patient } => {
            let wants = if changes_only { Wants::Changes } else { Wants::Everything };
            membership.forwarding.begin(from, stream, is_patient);
            let reply =
                by_kind!(entity.kind, D => watch::<D>(&system, asked, entity, stream, wants).await);
            if !matches!(reply, Reply::State(Ok(_))) {
                membership.forwarding.end(from, stream);
            }
            reply
        }
    };
    membership.post.reply(&system, from, asked.call, &reply);
}

async fn ask(
    system: &System,
    asked: Asked,
    tell: Tell,
    by: Principal,
    id: CommandId,
    wish: Option<Wished>,
) -> Reply {
    let answered = match tell {
        Tell::Order { to, command } => {
            ask_of::<Order>(system, asked, to, Ask { command, by, id }, wish).await
        }
        Tell::Rescue { to, command } => {
            ask_of::<Rescue>(system, asked, to, Ask { command, by, id }, wish).await
        }
        Tell::Driver { to, command } => {
            ask_of::<Driver>(system, asked, to, Ask { command, by, id }, wish).await
        }
        Tell::Rider { to, command } => {
            ask_of::<Rider>(system, asked, to, Ask { command, by, id }, wish).await
        }
        Tell::Revocation { to, command } => {
            ask_of::<Revocation>(system, asked, to, Ask { command, by, id }, wish).await
        }
        Tell::Incident { to, command } => {
            ask_of::<Incident>(system, asked, to, Ask { command, by, id }, wish).await
        }
        Tell::Zone { to, command } => {
            ask_of::<Zone>(system, asked, to, Ask { command, by, id }, wish).await
        }
        Tell::Run { to, command } => {
            ask_of::<Run>(system, asked, to, Ask { command, by, id }, wish).await
        }
        Tell::Rule { to, command } => {
            ask_of::<Rule>(system, asked, to, Ask { command, by, id }, wish).await
        }
        Tell::Template { to, command } => {
            ask_of::<Template>(system, asked, to, Ask { command, by, id }, wish).await
        }
    };
    answered.map_or_else(|elsewhere| elsewhere, Reply::Answered)
}

async fn ask_of<D: Hosted>(
    system: &System,
    asked: Asked,
    to: D::Id,
    ask: Ask<D::Command>,
    wish: Option<Wished>,
) -> Result<Answer, Reply> {
    loop {
        asked.is_served_here(system).await?;
        match system.ask_here::<D>(to, &ask, Repeats::ById(wish), asked.until).await {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => tokio::time::sleep(BREATHER).await,
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
}

async fn read<D: Hosted>(system: &System, asked: Asked, entity: EntityKey) -> Reply {
    loop {
        if let Err(elsewhere) = asked.is_served_here(system).await {
            return elsewhere;
        }
        let id = D::Id::from_uuid(entity.id);
        let read = match system.read_here::<D>(id, asked.until).await {
            Ok(Some(read)) => read,
            Ok(None) => {
                tokio::time::sleep(BREATHER).await;
                continue;
            }
            Err(refusal) => Err(refusal),
        };
        return Reply::State(read.map(|(version, state)| encoded(version, &*state)));
    }
}

/// Answers with the state; what becomes of it is told by whoever knows first: the entity itself. Waits for a shard that is
/// moving here for as long as whoever asks waits for the answer: crowds follow what is new here, and would only ask again.
async fn watch<D: Hosted>(
    system: &System,
    asked: Asked,
    entity: EntityKey,
    stream: u64,
    wants: Wants,
) -> Reply {
    loop {
        if let Err(elsewhere) = asked.is_served_here_by(system, asked.until).await {
            return elsewhere;
        }
        let follower = Follower::There { to: asked.from, stream, wants };
        match system.follow_here::<D>(D::Id::from_uuid(entity.id), follower, asked.until).await {
            Ok(Some((version, state))) => return Reply::State(Ok(encoded(version, &*state))),
            Ok(None) => tokio::time::sleep(BREATHER).await,
            Err(refusal) => return Reply::State(Err(refusal)),
        }
    }
}

impl Asked {
    /// Is its shard served here, or soon? If not: what to answer.
    async fn is_served_here(&self, system: &System) -> Result<(), Reply> {
        self.is_served_here_by(system, self.until.min(Instant::now() + PARKED_MAX)).await
    }

    async fn is_served_here_by(&self, system: &System, until: Instant) -> Result<(), Reply> {
        let Some(membership) = system.membership() else { return Err(Reply::Later) };
        match system.seat(self.shard, until).await {
            Ok(Seat::Here) if self.epoch > system.epoch(self.shard) => {
                // The sender knows of a newer owner than us.
                membership.look.notify_one();
                Err(Reply::Later)
            }
            Ok(Seat::Here) => Ok(()),
            Ok(Seat::There(_)) => {
                metrics::counter!("outrider_cluster_moved_total").increment(1);
                let route = membership.routes.get(self.shard);
                Err(Reply::Moved { owner: route.owner, epoch: route.epoch })
            }
            Err(_) => Err(Reply::Later),
        }
    }
}

/// Lets entities see what was seen elsewhere; says which of it was rubbish.
async fn see(system: &System, sights: Vec<SightBytes>) -> Reply {
    let seen =
        sights.iter().map(|sight| by_kind!(sight.entity.kind, D => seen_by::<D>(system, sight)));
    // They come hundreds at a time, and what the other node says next must not wait for what all of them lead to.
    let seen = join_all(by_mailbox(|| seen.collect::<Vec<_>>())).await;
    let refused = (0..).zip(seen).filter_map(|(place, seen)| Some((place, seen.err()?)));
    Reply::Seen(refused.collect())
}

fn seen_by<D: Hosted>(
    system: &System,
    sight: &SightBytes,
) -> futures_util::future::BoxFuture<'static, Result<(), Refusal>> {
    // Whoever moved away is seen again with the next position. Nothing is passed on twice.
    let sighting = (system.place(sight.entity.shard()) == Place::Here)
        .then(|| envelope::decode::<D::Sighting>(&sight.bytes))
        .flatten();
    match sighting {
        Some(sighting) => {
            Box::pin(system.see_and_tell::<D>(D::Id::from_uuid(sight.entity.id), sighting))
        }
        None => Box::pin(std::future::ready(Ok(()))),
    }
}

/// Takes in what another node says without being asked.
fn take(system: &System, membership: &Membership, from: Incarnation, notice: Notice) {
    match notice {
        Notice::Update { stream, n, update } => {
            if membership.post.updated(stream, n, update) {
                let end = Notice::End { stream, by_watcher: true };
                membership.post.notify(system, from, &end).ok();
            }
        }
        Notice::End { stream, by_watcher: true } => {
            membership.forwarding.end(from, stream);
        }
        Notice::End { stream, by_watcher: false } => membership.post.unfollow(stream),
        Notice::Followed(streams) => {
            for (stream, n) in streams {
                if membership.post.still(from, stream, n) {
                    let end = Notice::End { stream, by_watcher: true };
                    membership.post.notify(system, from, &end).ok();
                }
            }
        }
        Notice::Listed(listed) => {
            listed.into_iter().for_each(|it| listed_by(system, membership, from, &it));
        }
        Notice::RegionUp(region) => {
            if let Some(region) = region_of(region) {
                system.relist_region(region);
            }
        }
        Notice::Published(published) => {
            for PublishedBytes { entity, at, mark, events } in published {
                let events = events.into_iter().map(Cow::Owned).collect();
                system.0.publisher.pass_on(Published { entity, at, mark, events });
            }
        }
        Notice::BoardWanted => show_board(system, membership, from),
        Notice::BoardBegun => {
            let is_shown = membership.state().boards.contains_key(&from);
            show_board(system, membership, from);
            if is_shown {
                system.to_all_shards(&Instruction::Republish(Retell::Everywhere));
            }
        }
        Notice::Warm(warm) => system.arrived(*warm),
        Notice::Knock => {
            // Whatever comes shows that somebody is there. This says nothing else, and every build knows it.
            membership.post.notify(system, from, &Notice::Followed(Vec::new())).ok();
        }
    }
}

fn region_of(cell: u64) -> Option<RegionId> {
    h3o::CellIndex::try_from(cell).ok().map(RegionId)
}

fn listed_by(system: &System, membership: &Membership, from: Incarnation, listed: &ListedBytes) {
    let shard = listed.entity.shard();
    let known = membership.routes.get(shard).epoch;
    let Some(region) = region_of(listed.region) else { return };
    if listed.epoch < known {
        return;
    }
    if listed.epoch > known {
        // First, or what follows would be forgotten together with what its former owner said.
        system.learn(&[Head { shard, owner: Some(from), epoch: listed.epoch }]);
    }
    system.regions().list_in(region, listed.entity, listed.card.as_ref());
}

/// Tells another node what boards show, for a while.
fn show_board(system: &System, membership: &Membership, to: Incarnation) {
    let until = Instant::now() + BOARD_LEASE;
    if membership.state().boards.insert(to, until).is_some() {
        return;
    }
    let mut published = system.0.publisher.subscribe(Interest::Own);
    system.to_all_shards(&Instruction::Republish(Retell::Everywhere));
    let system = system.clone();
    system.clone().spawn(async move {
        let Some(membership) = system.membership() else { return };
        let mut every = tokio::time::interval(BOARD_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let mut page = Vec::new();
            while let Ok(Published { entity, at, mark, events }) = published.try_recv() {
                let events = events.into_iter().map(Cow::into_owned).collect();
                page.push(PublishedBytes { entity, at, mark, events });
                if page.len() >= BOARD_PAGE {
                    let full = Notice::Published(std::mem::take(&mut page));
                    membership.post.notify(&system, to, &full).ok();
                }
            }
            if !page.is_empty() {
                membership.post.notify(&system, to, &Notice::Published(page)).ok();
            }
            // Cut off for being slow, it begins anew when it is asked for again.
            let mut state = membership.state();
            let is_over = state.boards.get(&to).is_none_or(|until| *until < Instant::now());
            if is_over || published.is_closed() {
                state.boards.remove(&to);
                return;
            }
        }
    });
}

/// Tidies up what other nodes left behind, for ever.
pub(super) async fn tend(system: System) {
    let Some(membership) = system.membership() else { return };
    let mut still_at = Instant::now() + STILL_EVERY;
    let mut all_at = Instant::now() + STILL_ALL_EVERY;
    loop {
        tokio::time::sleep(TEND_EVERY).await;
        let picture = membership.picture.load_full();
        let is_gone = |who: &Incarnation| {
            picture.members.get(who).is_none_or(|it| it.standing == Standing::Dead)
        };
        membership.forwarding.retain(|who| !is_gone(&who));
        let now = Instant::now();
        if still_at <= now {
            still_at = now + STILL_EVERY;
            let all = all_at <= now;
            if all {
                all_at = now + STILL_ALL_EVERY;
            }
            membership.forwarding.pages(all, |to, page| {
                membership.post.notify(&system, to, &Notice::Followed(page)).ok();
            });
            membership.post.sweep();
        }
        let mut state = membership.state();
        state.boards.retain(|who, _| !is_gone(who));
    }
}
