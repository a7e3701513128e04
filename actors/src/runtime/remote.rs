//! Asks for what lives on other nodes, as if it lived here.
//!
//! Nobody has to know where an entity is: whoever asks finds its [`Seat`], asks there, and asks again
//! where it is then, should it have moved meanwhile. The command's id makes that harmless.

use super::{
    AWAY, AWAY_AFTER, Answer, Ask, Hosted, Repeats, System,
    admission::RETRY_AFTER_MS,
    key,
    membership::{Membership, Place},
    post::Outcome,
    verdict::Curious,
    watchers::{Sender, Update, Updates, Wants, Watching},
};
use crate::{
    Card, Decider, EntityKey, Listing, Refusal, Version,
    cluster::{
        Incarnation,
        arbiter::Head,
        envelope::{
            self, ListedBytes, Notice, Reply, Request, SightBytes, StateBytes, UpdateBytes,
        },
    },
    listing::RegionId,
};
use protocol::ShardId;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long one try may take, for the message or its answer may have been lost. A second try while
/// the first one is still at work is answered together with it.
const TRY_MAX: Duration = Duration::from_secs(2);

/// How long a sighting waits for a shard that is moving.
const MOVING_MAX: Duration = Duration::from_secs(1);

/// Where an entity lives at this moment.
#[derive(Debug, Clone, Copy)]
pub(super) enum Seat {
    /// On this node.
    Here,
    /// On that one.
    There(At),
}

/// Another node's shard.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub(super) owner: Incarnation,
    pub(super) shard: ShardId,
    pub(super) epoch: u64,
}

/// What asking another node once came to: none, if it has to be asked again, there or elsewhere.
type Heard<T> = Result<Option<T>, Refusal>;

impl System {
    /// Finds out where a shard is served. Waits while it is moving, and for a moment while this node
    /// cannot be sure that what it has is still its own.
    pub(super) async fn seat(&self, shard: ShardId, until: Instant) -> Result<Seat, Refusal> {
        let Some(membership) = self.membership() else { return Ok(Seat::Here) };
        let mut doubtful_until = None;
        loop {
            let changed = membership.custody.changes();
            let until = match membership.place(shard) {
                Place::Here => return Ok(Seat::Here),
                Place::There(owner, epoch) => return Ok(Seat::There(At { owner, shard, epoch })),
                Place::Soon => until,
                Place::Doubtful => {
                    let end = *doubtful_until.get_or_insert(Instant::now() + AWAY_AFTER);
                    if Instant::now() >= end {
                        return Err(AWAY);
                    }
                    end.min(until)
                }
            };
            if Instant::now() >= until {
                return Err(Refusal::Unavailable);
            }
            membership.custody.wait(shard, until, changed).await?;
        }
    }

    pub(super) async fn ask_there<D: Hosted>(
        &self,
        at: At,
        to: D::Id,
        ask: &Ask<D::Command>,
        repeats: Repeats,
        until: Instant,
    ) -> Heard<Answer> {
        let Ask { command, by, id } = ask.clone();
        // There, whatever is never repeated is told apart by its id like all else.
        let wish = match repeats {
            Repeats::ById(wish) => wish,
            Repeats::Never => None,
        };
        let request = Request::Ask { tell: Box::new(D::tell(to, command)), by, id, wish };
        let began = Instant::now();
        let heard = self.hear_from(at, &request, until).await?;
        metrics::histogram!("outrider_cluster_ask_seconds").record(began.elapsed());
        match heard {
            Some(Reply::Answered(answer)) => Ok(Some(answer)),
            Some(_) | None => Ok(None),
        }
    }

    /// Whether it was done; if not, ask again.
    pub(super) async fn release_there(
        &self,
        at: At,
        entity: EntityKey,
        until: Instant,
    ) -> Result<bool, Refusal> {
        let heard = self.hear_from(at, &Request::Release(entity), until).await?;
        Ok(matches!(heard, Some(Reply::Fine)))
    }

    pub(super) async fn read_there<D: Hosted>(
        &self,
        at: At,
        id: D::Id,
        until: Instant,
    ) -> Heard<Result<(Version, Arc<D>), Refusal>> {
        match self.hear_from(at, &Request::Read(key::<D>(id)), until).await? {
            Some(Reply::State(state)) => Ok(Some(state.and_then(|it| decoded(&it)))),
            Some(_) | None => Ok(None),
        }
    }

    pub(super) async fn watch_there<D: Hosted>(
        &self,
        at: At,
        id: D::Id,
        wants: Wants,
        is_again: bool,
        until: Instant,
    ) -> Heard<Watching<D>> {
        let Some(membership) = self.membership() else { return Ok(None) };
        let Some(_turn) = membership.post.turn(self, at.owner, is_again, until).await else {
            metrics::counter!("outrider_busy_total", "bound" => "follow").increment(1);
            return Err(Refusal::Busy { retry_after_ms: RETRY_AFTER_MS });
        };
        // It may have been long in coming.
        if !membership.should_answer(at) {
            return Ok(None);
        }
        let entity = key::<D>(id);
        let (mut to, updates) = Updates::channel(self.0.settings.watch_queue_max);
        let stream =
            membership.post.follow(at.owner, entity, move |update| pass_on::<D>(&mut to, &update));
        let changes_only = wants == Wants::Changes;
        let request = Request::Watch { entity, stream, changes_only, is_patient: true };
        let heard = self.hear_from(at, &request, until).await;
        let state = match heard {
            Ok(Some(Reply::State(Ok(state)))) => decoded(&state),
            Ok(Some(Reply::State(Err(refusal)))) | Err(refusal) => Err(refusal),
            Ok(Some(_) | None) => {
                membership.post.unfollow(stream);
                return Ok(None);
            }
        };
        match state {
            Ok((version, state)) => Ok(Some(Watching { version, state, updates })),
            Err(refusal) => {
                membership.post.unfollow(stream);
                Err(refusal)
            }
        }
    }

    /// Asks another node once.
    async fn hear_from(&self, at: At, request: &Request, until: Instant) -> Heard<Reply> {
        let Some(membership) = self.membership() else { return Ok(None) };
        let At { owner, shard, epoch } = at;
        let until = until.min(Instant::now() + TRY_MAX);
        match membership.post.call(self, owner, shard, epoch, request, until).await {
            Outcome::Reply(Reply::Moved { owner, epoch }) => {
                self.learn(&[Head { shard, owner, epoch }]);
                Ok(None)
            }
            Outcome::Reply(Reply::Later) => {
                // One without shards takes nothing that is nobody's, and what moves calls it: many of them would only ask the
                // arbiter what it cannot know yet.
                if membership.card.weight > 0 {
                    membership.look.notify_one();
                }
                Ok(None)
            }
            // An older build cannot do it; it gives its shards to newer ones by and by.
            Outcome::Reply(Reply::NeedsNewer) => Err(Refusal::Unavailable),
            Outcome::Reply(reply) => Ok(Some(reply)),
            Outcome::Lost => Ok(None),
            Outcome::Full => {
                metrics::counter!("outrider_busy_total", "bound" => "link").increment(1);
                Err(Refusal::Busy { retry_after_ms: RETRY_AFTER_MS })
            }
        }
    }

    pub(super) fn show_there<D: Hosted>(
        &self,
        owner: Incarnation,
        id: D::Id,
        sighting: &D::Sighting,
        curious: Option<Curious>,
    ) {
        let Some(membership) = self.membership() else { return };
        let sight = SightBytes { entity: key::<D>(id), bytes: envelope::encode(sighting) };
        membership.post.show(self, owner, sight, D::topic(sighting), curious);
    }

    /// Lets an entity see something once its shard has moved: what comes meanwhile need not come again. Of
    /// two that wait, it takes in the newer one in any order.
    pub(super) fn show_soon<D: Hosted>(
        &self,
        id: D::Id,
        sighting: D::Sighting,
        curious: Option<Curious>,
    ) {
        let system = self.clone();
        self.spawn(async move {
            let until = Instant::now() + MOVING_MAX;
            if system.seat(key::<D>(id).shard(), until).await.is_ok() {
                system.show::<D>(id, sighting, curious);
            }
        });
    }

    /// Tells every node that matches in a listing's region, or in one beside it.
    pub(super) fn list_there(
        &self,
        membership: &Membership,
        entity: EntityKey,
        old: Option<&Listing>,
        new: Option<&Listing>,
    ) {
        // In this order, so that a driver who crosses a border is never nowhere.
        if let Some(new) = new {
            self.put(membership, new.region, entity, Some(&new.card));
        }
        if let Some(old) = old.filter(|old| new.is_none_or(|new| new.region != old.region)) {
            self.put(membership, old.region, entity, None);
        }
    }

    fn put(
        &self,
        membership: &Membership,
        region: RegionId,
        entity: EntityKey,
        card: Option<&Card>,
    ) {
        for node in self.audience(membership, region) {
            if node == membership.me {
                self.regions().list_in(region, entity, card);
            } else {
                let epoch = self.epoch(entity.shard());
                let listed =
                    ListedBytes { region: region.0.into(), entity, epoch, card: card.cloned() };
                membership.post.list(self, node, listed);
            }
        }
    }

    /// Whoever matches in `region`, or in one that looks at its roster.
    fn audience(&self, membership: &Membership, region: RegionId) -> BTreeSet<Incarnation> {
        let routes = membership.routes.all();
        let around = region.disk(self.regions().rings());
        around.filter_map(|it| routes[usize::from(it.shard().0)].owner).collect()
    }

    /// Does this node match in a region, or in one that looks at its roster?
    pub(super) fn sees(&self, region: RegionId) -> bool {
        let Some(membership) = self.membership() else { return true };
        let routes = membership.routes.all();
        let is_ours = |it: RegionId| routes[usize::from(it.shard().0)].owner == Some(membership.me);
        region.disk(self.regions().rings()).any(is_ours)
    }

    /// A region of this node has forgotten everybody.
    pub(super) fn tell_region_up(&self, region: RegionId) {
        self.tell_others(&Notice::RegionUp(region.0.into()));
    }

    /// Lets other nodes tell the boards here what they show, for another fifteen seconds. Alone, boards
    /// show everything anyway.
    pub fn widen_boards(&self) {
        self.tell_others(&Notice::BoardWanted);
    }

    /// The same for a board that is new, or was not wanted for a while: other nodes tell it everything, even if
    /// they have told an earlier one.
    pub fn widen_new_board(&self) {
        self.tell_others(&Notice::BoardBegun);
        self.widen_boards();
    }

    fn tell_others(&self, notice: &Notice) {
        let Some(membership) = self.membership() else { return };
        for node in membership.others() {
            // A node that reads too slowly is told again, or is dead.
            membership.post.notify(self, node, notice).ok();
        }
    }
}

/// A state as it came from another node.
fn decoded<D: Hosted>(bytes: &StateBytes) -> Result<(Version, Arc<D>), Refusal> {
    state_of(bytes).map(|state| (bytes.version, Arc::new(state))).ok_or(Refusal::Unavailable)
}

fn state_of<D: Hosted>(bytes: &StateBytes) -> Option<D> {
    let mut state: D = envelope::decode(&bytes.durable)?;
    state.recall(envelope::decode(&bytes.soft)?);
    Some(state)
}

/// Hands a follower what came from another node; does it want more? A sighting that cannot be read is one that only
/// newer builds know, and the latest counts. Anything else that cannot be read ends the
/// following, and so does an update there is no room for: the follower begins anew.
fn pass_on<D: Hosted>(to: &mut Sender<D>, update: &UpdateBytes) -> bool {
    let update = match update {
        UpdateBytes::Still => return !to.is_closed(),
        UpdateBytes::Seen(bytes) => match envelope::decode(bytes) {
            Some(sighting) => Some(Update::Seen(sighting)),
            None => return !to.is_closed(),
        },
        UpdateBytes::Changed { state: bytes, events } => state_of(bytes).and_then(|state| {
            let events: Vec<D::Event> = envelope::decode(events)?;
            let (version, state) = (bytes.version, Arc::new(state));
            Some(Update::Changed { version, state, events: events.into() })
        }),
    };
    let Some(update) = update else { return false };
    let is_lossy = matches!(update, Update::Seen(_));
    match to.try_send(update) {
        Ok(()) => true,
        Err(error) => error.is_full() && is_lossy,
    }
}

/// An update as it goes to another node.
pub(super) fn update_bytes<D: Decider>(update: &Update<D>) -> UpdateBytes {
    match update {
        Update::Changed { version, state, events } => UpdateBytes::Changed {
            state: encoded(*version, &**state),
            events: envelope::encode(&**events),
        },
        Update::Seen(sighting) => UpdateBytes::Seen(envelope::encode(sighting)),
    }
}

/// A state as it goes to another node.
pub(super) fn encoded<D: Decider>(version: Version, state: &D) -> StateBytes {
    let (durable, soft) = (envelope::encode(state), envelope::encode(&state.soft()));
    StateBytes { version, durable, soft }
}
