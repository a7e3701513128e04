//! A session without its socket: what is needed to go on where it was, on this node or another.
//!
//! Nothing happens in it. What becomes of its client's world meanwhile is found out when it goes on: whatever
//! it followed is followed again, and what has a newer version since is said, or is expected otherwise.

use super::{
    Flow, Session,
    alarms::{Alarm, Alarms},
    following::LAST_WORD,
    pace::Way,
    pushes::{KEPT_MAX, Pushes},
    regional::Regional,
    replay::{Replay, Said},
};
use crate::{
    auth::{Identity, Print, scope::Scope},
    gateway::{
        follow::{Follow, Opened, Wants, Watched},
        presence::Others,
        prospect::Told,
        translate::News,
    },
};
use actors::{EntityKey, listing::RegionId};
use axum::extract::ws::Message;
use protocol::{
    JobId, OfferId, PartnerId, Principal, Timestamp, TokenId,
    codec::Codec,
    frame::{Push, Viewport},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::Instant;

/// What is left of a session that was cut off.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Suspended {
    pub(crate) principal: Principal,
    /// Of which part of the map it was told.
    #[serde(default)]
    scope: Scope,
    /// Whose drivers it might have asked before others.
    #[serde(default)]
    fleet: Option<Box<PartnerId>>,
    /// The token it lived by.
    #[serde(default)]
    token: Option<TokenId>,
    #[serde(default)]
    issued_at: Timestamp,
    /// By what that is recognised, and until when it is good; as long as it waits on the node where it was.
    #[serde(skip)]
    recognised_by: Option<(Print, Timestamp)>,
    /// Its client was to go on somewhere, and could not: everything was told anew.
    #[serde(default)]
    is_anew: bool,
    /// Its client knows of it.
    #[serde(default)]
    pub(crate) is_welcomed: bool,
    subprotocol: String,
    replay: (u64, u64, Vec<(u64, Said)>),
    last_push: u64,
    pushes: Vec<(u64, Push)>,
    offers: Vec<(OfferId, JobId)>,
    accepting: Vec<(OfferId, JobId)>,
    jobs: Vec<JobId>,
    follows: Vec<Followed>,
    wants_board: bool,
    /// Regions, in display form.
    #[serde(default)]
    regions: Vec<String>,
    #[serde(default)]
    viewport: Option<Viewport>,
    /// Incidents it was told of, and how often each had been escalated.
    #[serde(default)]
    alarms: Vec<Alarm>,
    #[serde(default)]
    way: Way,
}

/// Something it followed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Followed {
    key: EntityKey,
    wants: Wants,
    /// The version its client was last shown.
    shown: Option<u64>,
    /// The version of which it knows what happened.
    known: Option<u64>,
    /// Only its last word was waited for.
    is_leaving: bool,
    /// Who else has part in it, and whether its client was told that they can be reached.
    #[serde(default)]
    others: Vec<(Principal, bool)>,
    /// What it was told to expect that no version says; in a box, for few were told anything.
    #[serde(default)]
    told: Option<Box<Told>>,
    /// The way to it, as long as it waits on the node where it was.
    #[serde(skip)]
    at_hand: AtHand,
}

/// A way that is kept to somebody who does nothing, so that thousands who come back at once need not ask for it.
/// There is one of it: a copy has none.
#[derive(Debug, Default)]
struct AtHand(Option<Box<dyn Watched>>);

impl Clone for AtHand {
    fn clone(&self) -> Self {
        Self(None)
    }
}

/// About how much memory a way takes that is kept, and the state at its end.
const AT_HAND_BYTES: usize = 512;

impl Session {
    /// What is left of it. It is over.
    pub(super) fn suspend(&mut self, identity: &Identity) -> Suspended {
        let (last_push, pushes) = std::mem::take(&mut self.pushes).pack();
        let way = self.way();
        Suspended {
            principal: identity.principal,
            scope: identity.scope.clone(),
            fleet: identity.fleet.clone(),
            token: identity.token,
            issued_at: identity.issued_at,
            recognised_by: Some((identity.print, identity.expires_at)),
            is_anew: self.is_anew,
            is_welcomed: self.is_welcomed,
            subprotocol: self.socket.codec().subprotocol().to_owned(),
            replay: std::mem::take(&mut self.replay).pack(),
            last_push,
            pushes,
            offers: std::mem::take(&mut self.offers),
            accepting: std::mem::take(&mut self.accepting),
            jobs: std::mem::take(&mut self.jobs),
            follows: std::mem::take(&mut self.follows).into_iter().map(Followed::of).collect(),
            wants_board: self.wants_board,
            regions: self.regions.iter().map(|it| it.region().to_string()).collect(),
            viewport: self.overview.take().map(|it| it.viewport()),
            alarms: self.alarms.take().map_or_else(Vec::new, |it| it.told()),
            way,
        }
    }

    /// Goes on where another session was, after its welcome.
    pub(super) fn go_on(&mut self, going: GoingOn) -> Flow {
        let GoingOn { mut was, missed } = going;
        let again_at = Instant::now() + self.gate.session.push_again;
        self.goes_the_way(was.way);
        let Some(missed) = missed else {
            // Everything is told anew, but not what has happened and is not to be seen any more.
            was.pushes.retain(|(_, push)| !is_told_anew(push));
            self.pushes = Pushes::unpack(was.last_push, was.pushes, Instant::now());
            return Ok(());
        };
        for message in missed {
            self.replay.said(Some(&message), self.room());
            self.socket.repeat(message);
        }
        self.pushes = Pushes::unpack(was.last_push, was.pushes, again_at);
        (self.offers, self.accepting, self.jobs) = (was.offers, was.accepting, was.jobs);
        self.alarms = Alarms::again(was.alarms);
        let mut ways = Vec::with_capacity(was.follows.len());
        for followed in was.follows {
            let (follow, way) = followed.again();
            ways.push((follow.key, way));
            self.follows.push(follow);
        }
        self.wants_board = was.wants_board;
        let regions = was.regions.iter().filter_map(|name| RegionId::parse(name));
        self.regions.extend(regions.map(Regional::new));
        if let Some(viewport) = was.viewport {
            self.look_at(viewport);
        }
        if self.wants_diffs() {
            self.feed();
        }
        self.attend();
        // Last, for it may come to an end in the middle: then all the rest is known.
        for (key, way) in ways {
            let kept = if way.is_some() { "kept" } else { "asked" };
            metrics::counter!("outrider_resumed_follows_total", "way" => kept).increment(1);
            match way {
                // What came by it meanwhile is heard next; should it have been lost, that too.
                Some(watch) => self.opened(key, Opened { watch, news: News::default() })?,
                None => self.open(key, Duration::ZERO),
            }
        }
        Ok(())
    }
}

/// A session that can go on, and what its client has missed.
#[derive(Debug)]
pub(super) struct GoingOn {
    was: Suspended,
    /// None, if not all of it can be said again.
    missed: Option<Vec<Message>>,
}

impl GoingOn {
    /// Does it go on where it was?
    pub(super) fn is_whole(&self) -> bool {
        self.missed.is_some()
    }
}

/// Is it pushed by itself to whoever comes for the first time?
fn is_told_anew(push: &Push) -> bool {
    match push {
        Push::Offer(_) | Push::Assigned { .. } | Push::Incident(_) => true,
        Push::OfferEnded { .. }
        | Push::Released { .. }
        | Push::ClaimLost { .. }
        | Push::IncidentHeeded { .. }
        | Push::Message(_) => false,
    }
}

impl Suspended {
    /// By which token it lived. Elsewhere nobody knows for how long.
    pub(crate) fn identity(&self) -> Identity {
        let Self { principal, token, issued_at, recognised_by, .. } = *self;
        let (print, expires_at) = recognised_by.unwrap_or_default();
        let (scope, fleet) = (self.scope.clone(), self.fleet.clone());
        Identity { principal, scope, fleet, token, issued_at, expires_at, print }
    }

    /// What a client that speaks `codec` and has heard so much goes on with: with all it missed, or with
    /// nothing but what would otherwise be lost. One that does not know of this session has not heard either
    /// that everything was told anew, and what was said of other regions than those of its token now is not said again.
    /// One that has acknowledged nothing for too long begins anew, with none of it.
    pub(super) fn for_client(
        mut self,
        codec: Codec,
        heard: Option<u64>,
        is_known: bool,
        scope: &Scope,
    ) -> GoingOn {
        let replay = Replay::unpack(std::mem::take(&mut self.replay));
        let is_same = self.subprotocol == codec.subprotocol() && self.scope == *scope;
        let heard = heard.filter(|_| is_same && (is_known || !self.is_anew));
        if self.pushes.len() > KEPT_MAX {
            self.pushes.clear();
            return GoingOn { missed: None, was: self };
        }
        GoingOn { missed: heard.and_then(|heard| replay.missed(heard)), was: self }
    }
}

impl Suspended {
    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        let of_each = |n, each| n * each;
        let (_, _, kept) = &self.replay;
        size_of::<Self>()
            + kept.iter().map(|(_, said)| size_of::<(u64, Said)>() + said.bytes()).sum::<usize>()
            // An offer has text of its own, as long as an address.
            + of_each(self.pushes.len(), size_of::<(u64, Push)>() + 128)
            + of_each(self.offers.len() + self.accepting.len(), size_of::<(OfferId, JobId)>())
            + of_each(self.jobs.len(), size_of::<JobId>())
            + of_each(self.follows.len(), size_of::<Followed>())
            + self.follows.iter().map(Followed::bytes).sum::<usize>()
            + self.regions.iter().map(String::len).sum::<usize>()
            + of_each(self.alarms.len(), size_of::<Alarm>())
    }
}

#[cfg(test)]
impl Suspended {
    /// One that followed nothing and said nothing.
    pub(crate) fn nothing(principal: Principal) -> Self {
        Self {
            principal,
            scope: Scope::default(),
            fleet: None,
            token: None,
            issued_at: Timestamp::default(),
            recognised_by: None,
            is_anew: false,
            is_welcomed: false,
            subprotocol: Codec::Json.subprotocol().to_owned(),
            replay: (0, 0, Vec::new()),
            last_push: 0,
            pushes: Vec::new(),
            offers: Vec::new(),
            accepting: Vec::new(),
            jobs: Vec::new(),
            follows: Vec::new(),
            wants_board: false,
            regions: Vec::new(),
            viewport: None,
            alarms: Vec::new(),
            way: Way::default(),
        }
    }

    /// The same, with a frame of so many bytes that did not arrive.
    pub(crate) fn with_frame(mut self, bytes: usize) -> Self {
        self.replay.2.push((1, Said::Text("x".repeat(bytes))));
        self
    }
}

impl Followed {
    fn of(mut follow: Follow) -> Self {
        // Of whoever does something, or is on the way, more would come than is worth keeping, and it would be old.
        let way = follow.watch.take();
        let at_hand = AtHand(way.filter(|it| it.may_sleep() && it.parts().is_empty()));
        let told = follow.prospect.as_ref().map(|it| it.told());
        Self {
            at_hand,
            key: follow.key,
            wants: follow.wants,
            shown: follow.shown,
            known: follow.known,
            is_leaving: follow.is_leaving(),
            others: follow.others.told(),
            told: told.filter(|it| *it != Told::default()).map(Box::new),
        }
    }

    /// What it takes beside itself.
    fn bytes(&self) -> usize {
        let way = self.at_hand.0.as_ref().map_or(0, |_| AT_HAND_BYTES);
        let told = self.told.as_ref().map_or(0, |_| size_of::<Told>());
        size_of_val(self.others.as_slice()) + way + told
    }

    /// It is followed again, by the way that was kept, if one was.
    fn again(self) -> (Follow, Option<Box<dyn Watched>>) {
        let mut follow = Follow::new(self.key);
        follow.wants = self.wants;
        (follow.shown, follow.known) = (self.shown, self.known);
        follow.others = Others::again(self.others, Instant::now());
        if let Some(told) = self.told {
            follow.tells(*told);
        }
        if self.is_leaving {
            follow.leave(Some(Instant::now() + LAST_WORD));
        }
        (follow, self.at_hand.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{
        OrderId, RiderId,
        view::{Eta, Etas, Queued},
    };

    #[test]
    fn whoever_has_acknowledged_nothing_for_too_long_begins_anew_with_none_of_it() {
        let rider = Principal::Rider(RiderId::nth(1));
        let job = JobId::Order(OrderId::nth(1));
        let of = |n: u64| (n, Push::Released { job, reason: String::new() });
        let going = |n_pushes: usize| {
            let was = Suspended {
                pushes: (1..).map(of).take(n_pushes).collect(),
                ..Suspended::nothing(rider)
            };
            was.for_client(Codec::Json, Some(0), true, &Scope::default())
        };
        let all = going(KEPT_MAX);
        assert!(all.is_whole());
        assert_eq!(all.was.pushes.len(), KEPT_MAX);
        let none = going(KEPT_MAX + 1);
        assert!(!none.is_whole());
        assert!(none.was.pushes.is_empty());
    }

    #[test]
    fn what_its_client_was_told_to_expect_is_known_after_a_cut_also_on_another_node() {
        let eta = Eta { s: 300, low_s: 200, high_s: 500 };
        let etas = Etas { at: Timestamp(1_000), pickup: Some(eta), next: None, arrival: None };
        let place = Queued { at: Timestamp(1_000), position: 2, n_waiting: 3, eta: None };
        let told = Told { eta: Some(etas), queue: Some(place) };
        let mut follow = Follow::new(OrderId::nth(1).into());
        follow.tells(told);
        let followed = Followed::of(follow);
        let without = Followed::of(Follow::new(OrderId::nth(1).into()));
        assert_eq!(without.bytes(), 0, "who was told nothing pays for nothing");
        assert_eq!(followed.bytes(), size_of::<Told>());
        let crossed = rmp_serde::to_vec_named(&followed).expect("it crosses nodes");
        let crossed: Followed = rmp_serde::from_slice(&crossed).expect("it crossed");
        for followed in [followed, crossed] {
            let (follow, _) = followed.again();
            assert_eq!(follow.prospect.map(|it| it.told()), Some(told));
        }
    }
}
