//! What a session hears: frames, and the wishes in them.

use super::{
    BUSY_MS, Deed, End, Entering, Flow, Session, URGENT_MAX, close, lanes::Said, suspended::GoingOn,
};
use crate::{
    auth::{Identity, scope::Asker, unauthenticated},
    gateway::{
        limits::{Rate, rate_limited},
        socket::Heard,
        translate,
    },
};
use actors::{
    EntityKey, Refusal, Sight,
    driver::{Driver, Sighting},
    runtime::Objections,
};
use futures_util::FutureExt;
use protocol::{
    Code, CommandId, DriverId, OfferId, Principal, Refused,
    frame::{ClientFrame, Fix, Outcome, ServerFrame},
    work::{DriverAction, Wish},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tracing::debug;

/// A driver is told what is wrong with a position at most this often.
const POSITION_TOLD_EVERY: Duration = Duration::from_secs(1);

/// How fast one session may wish for something.
#[derive(Debug)]
pub(super) struct WishRates {
    ordinary: Rate,
    /// What somebody in danger wishes for, beside that.
    urgent: Rate,
}

impl Session {
    pub(super) fn heard(&mut self, heard: Heard<ClientFrame>) -> Flow {
        self.tap_heard(&heard);
        let frame = match heard {
            Heard::Written => return Ok(()),
            Heard::Left => return Err(End::left()),
            Heard::Gone => return Err(End::cut()),
            Heard::Broken(code) => {
                let refused = Refused::new(Code::Malformed, "no message of a WebSocket");
                return Err(End::because(code, refused));
            }
            Heard::TooLarge => {
                let refused = Refused::new(Code::TooLarge, "frame too large");
                self.refuse(refused.clone())?;
                return Err(End::because(close::TOO_LARGE, refused));
            }
            Heard::Sign => {
                self.is_heard();
                return match self.may_speak() {
                    Ok(()) => Ok(()),
                    Err(_) => self.strike(),
                };
            }
            Heard::Rubbish(why) => {
                self.is_heard();
                count_frame("rubbish");
                self.strike()?;
                return self.refuse(Refused::new(Code::Malformed, why));
            }
            Heard::Frame(frame) => frame,
        };
        self.is_heard();
        let is_urgent = self.is_let_past(&frame);
        if let Err(wait) = self.may_speak()
            && !is_urgent
        {
            count_frame("too_fast");
            self.strike()?;
            return match frame {
                // Every command has a result, this one too.
                ClientFrame::Command { id, .. } => {
                    self.answer(id, Outcome::Refused(rate_limited(wait)))
                }
                ClientFrame::Identify { .. }
                | ClientFrame::Heartbeat { .. }
                | ClientFrame::Position(_)
                | ClientFrame::Ack { .. }
                | ClientFrame::Subscribe(_)
                | ClientFrame::Unsubscribe(_) => self.refuse(rate_limited(wait)),
            };
        }
        match (self.who(), frame) {
            (None, ClientFrame::Identify { token, resume }) => {
                count_frame("identify");
                match self.gate.believe(&token, resume.as_ref()) {
                    Ok(identity) => {
                        self.entering = Some(Box::new(Entering { identity, resume }));
                        Ok(())
                    }
                    // Another token would not help where no token can be judged.
                    Err(refused) if refused.code == Code::Unavailable => {
                        Err(End::because(close::TRY_LATER, refused))
                    }
                    Err(refused) => Err(End::because(close::UNAUTHENTICATED, refused)),
                }
            }
            (None, ClientFrame::Command { id, .. }) => {
                self.strike()?;
                self.answer(id, Outcome::Refused(unauthenticated()))
            }
            (
                None,
                ClientFrame::Heartbeat { .. }
                | ClientFrame::Position(_)
                | ClientFrame::Ack { .. }
                | ClientFrame::Subscribe(_)
                | ClientFrame::Unsubscribe(_),
            ) => {
                self.strike()?;
                self.refuse(unauthenticated())
            }
            (Some(by), frame) => {
                if !std::mem::replace(&mut self.is_welcomed, true) {
                    self.gate.known.welcomed(self.id);
                }
                self.heard_from(by, frame, is_urgent)
            }
        }
    }

    pub(super) fn heard_from(
        &mut self,
        by: Principal,
        frame: ClientFrame,
        is_urgent: bool,
    ) -> Flow {
        match frame {
            ClientFrame::Identify { token, resume } => {
                count_frame("identify");
                if resume.is_some() {
                    self.strike()?;
                    let message = "a session goes on with its first word, or not at all";
                    return self.refuse(Refused::new(Code::Invalid, message));
                }
                self.identify_again(by, &token)
            }
            ClientFrame::Heartbeat { heard } => {
                count_frame("heartbeat");
                self.sign_of_life(by);
                if heard.is_some_and(|n| !self.replay.heard(n)) {
                    self.strike()?;
                    let message = "heard: there were not so many frames";
                    return self.refuse(Refused::new(Code::Invalid, message));
                }
                self.answer_heartbeat()
            }
            ClientFrame::Command { id, wish } => {
                count_frame("command");
                self.command(by, id, wish, is_urgent)
            }
            ClientFrame::Position(fix) => {
                self.gate.n_positions.increment(1);
                self.position(by, &fix)
            }
            ClientFrame::Ack { n } => {
                count_frame("ack");
                if let Some(offer) = self.pushes.acknowledge(n) {
                    self.see_offer(by, offer);
                }
                // There may be room for what had to wait.
                self.sound()
            }
            ClientFrame::Subscribe(topic) => {
                count_frame("subscribe");
                self.subscribe(by, topic)
            }
            ClientFrame::Unsubscribe(topic) => {
                count_frame("unsubscribe");
                self.unsubscribe(by, &topic);
                Ok(())
            }
        }
    }

    /// One more frame; or how long to wait. A client has one budget for all its sockets; staff have
    /// one for each, for a dispatcher's token does not say which dispatcher.
    pub(super) fn may_speak(&mut self) -> Result<(), Duration> {
        let Self { frames, gate, identity, .. } = self;
        let frames = frames.get_or_insert_with(|| match identity.as_ref().map(|it| it.principal) {
            Some(by) if !by.is_staff() => gate.limits.frames.of(&by),
            Some(_) | None => {
                let limits = &gate.session;
                Arc::new(Rate::new(limits.frames_per_s, limits.frames_burst))
            }
        });
        frames.check()
    }

    /// The same for a command.
    pub(super) fn may_wish(&mut self) -> Result<(), Duration> {
        if let Some(by) = self.one_person() {
            return self.gate.limits.commands.check(&by);
        }
        self.own_wishes().ordinary.check()
    }

    /// Is it a wish of somebody in danger, which no other limit holds up? There is a limit for these alone, which nobody in
    /// danger comes near; beyond it such a wish is one like any other, for whoever floods may call it danger.
    fn is_let_past(&mut self, frame: &ClientFrame) -> bool {
        let ClientFrame::Command { wish, .. } = frame else { return false };
        if !wish.is_urgent() || self.who().is_none() {
            return false;
        }
        match self.one_person() {
            Some(by) => self.gate.limits.urgent.check(&by).is_ok(),
            None => self.own_wishes().urgent.check().is_ok(),
        }
    }

    /// Its own limits of what is wished for.
    fn own_wishes(&mut self) -> &WishRates {
        let limits = &self.gate.session;
        self.wishes.get_or_insert_with(|| {
            Box::new(WishRates {
                ordinary: Rate::new(limits.commands_per_s, limits.commands_burst),
                urgent: Rate::new(limits.urgent_per_s, limits.urgent_burst),
            })
        })
    }

    /// Who speaks, if that names one client and not a role that many have.
    pub(super) fn one_person(&self) -> Option<Principal> {
        self.who().filter(|by| !by.is_staff())
    }

    /// Counts a frame that had to be refused. Now and then is an accident.
    pub(super) fn strike(&mut self) -> Flow {
        let strikes_max = self.gate.session.strikes_max;
        let strikes = self.strikes.get_or_insert_with(|| Box::new(Rate::new(1, strikes_max)));
        strikes.check().map_err(|wait| {
            let refused =
                Refused { message: "too many refused frames".into(), ..rate_limited(wait) };
            End::because(close::POLICY, refused)
        })
    }

    /// A newer token, so that a shift need not end with the old one. A token that is not believed costs
    /// nothing but a strike: the old one is still good.
    fn identify_again(&mut self, by: Principal, token: &str) -> Flow {
        match self.gate.keys.verify(token) {
            Ok(identity) if identity.principal == by => {
                let known = self.identity.clone().filter(|it| outlasts(it, &identity));
                let identity = known.unwrap_or(identity);
                self.gate.known.renewed(self.id, identity.clone());
                self.still_good(&identity)?;
                let was = self.scope();
                self.believe(identity, None)?;
                if was == self.scope() { Ok(()) } else { self.looks_elsewhere() }
            }
            Ok(_) => {
                self.strike()?;
                let message = "this socket speaks for somebody else: open another";
                self.refuse(Refused::new(Code::Forbidden, message))
            }
            Err(refused) => {
                self.strike()?;
                self.refuse(refused)
            }
        }
    }

    /// Was a token revoked after it was believed, and before those who revoke knew of this session by it?
    fn still_good(&mut self, identity: &Identity) -> Flow {
        match self.gate.keys.revoked().has(identity) {
            true => self.revoked(),
            false => Ok(()),
        }
    }

    /// Whoever it is may speak until its token expires.
    fn believe(&mut self, identity: Identity, resumed: Option<bool>) -> Flow {
        let Identity { principal, expires_at, .. } = identity;
        let regions = identity.scope.regions();
        let left = expires_at.since(self.gate.system.now());
        if self.identity.replace(identity).is_none() && !principal.is_staff() {
            // As nobody it had its own, which staff go on with.
            self.frames = None;
        }
        self.expires = Instant::now().checked_add(left);
        self.say(&ServerFrame::Welcome { principal, expires_at, resumed, regions })
    }

    /// Lets a client in, where it was if that is known. Nothing else is heard meanwhile.
    pub(super) async fn enter(&mut self, Entering { identity, resume }: Entering) -> Flow {
        let gate = Arc::clone(&self.gate);
        let principal = identity.principal;
        // Before the other one is taken: cut off now, its client is sent here.
        let (begun, called) = gate.known.open(self.id, identity.clone());
        (self.begun, self.called) = (Some(begun), Some(called));
        let going = match resume {
            Some(resume) => {
                let found = gate.known.find(&gate.system, resume, principal, self.id).await;
                // It was somebody else's, who should be out by now.
                let found = found.filter(|it| !gate.keys.revoked().has(&it.left.identity()));
                let codec = self.socket.codec();
                let scope = &identity.scope;
                let going = found.map(|it| it.left.for_client(codec, it.heard, it.is_known, scope));
                let outcome = match &going {
                    Some(going) if going.is_whole() => "resumed",
                    Some(_) => "too_late",
                    None => "unknown",
                };
                metrics::counter!("outrider_resumes_total", "outcome" => outcome).increment(1);
                going
            }
            None => None,
        };
        self.still_good(&identity)?;
        let resumed = going.as_ref().is_some_and(GoingOn::is_whole);
        self.is_anew = resume.is_some() && !resumed;
        self.believe(identity, Some(resumed))?;
        if let Some(going) = going {
            self.go_on(going)?;
        }
        match principal {
            Principal::Rider(id) => self.follow_own(id.into()),
            Principal::Driver(id) => self.follow_own(id.into()),
            Principal::Dispatcher | Principal::Admin => self.hear_of_incidents(),
            Principal::Merchant(_) | Principal::System => {}
        }
        Ok(())
    }

    /// Lets a driver's actor know that its client is there.
    pub(super) fn sign_of_life(&self, by: Principal) {
        let Principal::Driver(id) = by else { return };
        let follow = self.follows.iter().find(|follow| follow.key == id.into());
        // Nobody asks whether a driver who does not work is there, and to say so would keep its actor awake. Of one that
        // is not known yet, it is said once it is.
        let works = follow.and_then(|it| it.watch.as_ref()).is_some_and(|it| !it.may_sleep());
        if works {
            self.gate.system.see(Sight::Driver(id, Sighting::Heartbeat));
        }
    }

    pub(super) fn position(&mut self, by: Principal, fix: &Fix) -> Flow {
        let Principal::Driver(id) = by else {
            self.strike()?;
            return self.refuse(translate::forbidden("only drivers say where they are"));
        };
        let position = fix.position();
        match translate::check_position(&position, self.gate.system.now()) {
            Ok(()) => {
                if fix.mock {
                    // It goes no further than to whoever counts that. A node that does not know of it still hears that somebody is
                    // there.
                    self.sign_of_life(by);
                    self.pass_on(id, Sighting::MadeUp);
                } else {
                    self.pass_on(id, Sighting::At(position));
                }
                Ok(())
            }
            Err(refused) => {
                self.strike()?;
                self.refuse(refused)
            }
        }
    }

    pub(super) fn pass_on(&mut self, id: DriverId, sighting: Sighting) {
        let objections = self.objections.get_or_insert_with(|| {
            // It has not been asked yet whether there are any.
            self.bell.ring();
            Objections::default()
        });
        self.gate.system.see_or_object::<Driver>(id, sighting, objections);
    }

    /// Tells the client what is wrong with a position, now and then.
    pub(super) fn objected(&mut self, refusal: Refusal) -> Flow {
        let now = Instant::now();
        if now < self.tell_position_at {
            return Ok(());
        }
        self.tell_position_at = now + POSITION_TOLD_EVERY;
        self.refuse(refusal.into())
    }

    /// `is_urgent`: it has been let past what limits others.
    pub(super) fn command(
        &mut self,
        by: Principal,
        id: CommandId,
        wish: Wish,
        is_urgent: bool,
    ) -> Flow {
        if let Err(wait) = self.may_wish()
            && !is_urgent
        {
            self.strike()?;
            return self.answer(id, Outcome::Refused(rate_limited(wait)));
        }
        let inflight_max = self.gate.session.inflight_max;
        let inflight_max = if is_urgent { inflight_max + URGENT_MAX } else { inflight_max };
        if self.n_commands >= inflight_max {
            // So many calls for help are under way; it is not the next that brings it.
            if is_urgent {
                self.strike()?;
            }
            let busy = Refused::new(Code::Busy, "too many commands under way");
            return self.answer(id, Outcome::Refused(busy.retry_after_ms(BUSY_MS)));
        }
        self.n_commands += 1;
        // Whoever is in danger does not wait for what they asked before.
        let lane = translate::addressee(&wish, by).filter(|_| !wish.is_urgent());
        let said = Said { id, wish, at: Instant::now() };
        match lane {
            None => self.perform(by, said, lane),
            Some(to) => {
                if let Some(said) = self.lanes.enter(to, said) {
                    self.perform(by, said, lane);
                }
            }
        }
        Ok(())
    }

    /// Who asks for something on it.
    fn asker(&self, who: Principal) -> Asker {
        let fleet = self.identity.as_ref().and_then(|identity| identity.fleet.clone());
        Asker { who, scope: self.scope(), fleet }
    }

    fn perform(&mut self, who: Principal, said: Said, lane: Option<EntityKey>) {
        let Said { id, wish, at } = said;
        let gate = Arc::clone(&self.gate);
        let asker = self.asker(who);
        let creates = matches!(wish, Wish::PlaceOrder(_) | Wish::RequestRescue(_) | Wish::Sos(_));
        let perform = async move {
            match gate.perform(wish, asker, id, at.elapsed()).await {
                Ok((to, version)) => Deed::Answered {
                    id,
                    outcome: Outcome::Ok(translate::done(to, version)),
                    created: creates.then_some(to),
                    lane,
                },
                Err(refused) => {
                    Deed::Answered { id, outcome: Outcome::Refused(refused), created: None, lane }
                }
            }
        };
        self.doing.push(perform.boxed());
    }

    /// A command was answered: it is the turn of whoever waits behind it.
    pub(super) fn answered(&mut self, lane: Option<EntityKey>) {
        self.n_commands -= 1;
        let by = self.who();
        if let (Some(to), Some(by)) = (lane, by)
            && let Some(said) = self.lanes.leave(to)
        {
            self.perform(by, said, lane);
        }
    }

    pub(super) fn see_offer(&mut self, by: Principal, offer: OfferId) {
        let gate = Arc::clone(&self.gate);
        let asker = self.asker(by);
        let wish = Wish::Driver { id: None, action: DriverAction::SeeOffer { offer } };
        let perform = async move {
            // An offer that ended meanwhile needs no seeing.
            let seen = gate.perform(wish, asker, CommandId::mint(), Duration::ZERO).await;
            if let Err(refused) = seen {
                debug!(%refused, "offer not seen");
            }
            Deed::Seen
        };
        self.doing.push(perform.boxed());
    }

    pub(super) fn did(&mut self, deed: Deed) -> Flow {
        match deed {
            Deed::Answered { id, outcome, created, lane } => {
                self.answered(lane);
                self.answer(id, outcome)?;
                let by = self.who();
                let is_ones_own = matches!(by, Some(Principal::Rider(_) | Principal::Driver(_)));
                if let Some(key) = created.filter(|_| is_ones_own) {
                    self.follow_own(key);
                }
                Ok(())
            }
            Deed::Opened(key, Ok(opened)) => self.opened(key, opened),
            Deed::Opened(key, Err(refusal)) => {
                debug!(%key, %refusal, "cannot be followed now");
                // Unless it was opened another time.
                if self.follows.iter().any(|it| it.key == key && it.watch.is_none()) {
                    self.reopen(key, Some(&refusal));
                }
                Ok(())
            }
            Deed::Judged { key, scope, judged } => self.judged(key, &scope, judged),
            Deed::Fed(feed) => self.fed(feed),
            Deed::Alarmed(hearing) => self.alarmed(hearing),
            Deed::Seen => Ok(()),
        }
    }
}

/// Does a session go on with the token it has, although its client has sent `other`? One that was sent before and comes late
/// shortens nothing, and of two that are not of the same regions or fleet the one that was issued last counts.
pub(super) fn outlasts(known: &Identity, other: &Identity) -> bool {
    match (&known.scope, &known.fleet) == (&other.scope, &other.fleet) {
        true => known.expires_at > other.expires_at,
        false => known.issued_at > other.issued_at,
    }
}

fn count_frame(kind: &'static str) {
    metrics::counter!("outrider_frames_total", "kind" => kind).increment(1);
}
