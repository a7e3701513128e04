//! The word that a token, or all tokens of a principal so far, are good no longer.
//!
//! ```text
//! nobody has said it ── revoke ──► in force ── lapse, by itself ──► lapsed
//!                                   ▲  │ revoke: it holds for more     │
//!                                   └──┴──────────── revoke ◄──────────┘
//! ```
//!
//! One of these for each token and one for each principal, so that saying it again moves the one there is. Nodes
//! keep what is in force in memory, and read it from the list when they start: see the gateway.

use crate::{
    Claim, Context, Decider, Effect, Format, Kind, Listing, Refusal, Seen, ViewRow, reason,
};
use protocol::{Principal, RevocationId, Timestamp, TokenId, view::Mark};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

#[cfg(test)]
mod tests;

/// Longest a token may be good for, and with it a revocation.
pub const LASTS_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// The status of one that holds, in lists.
pub const IN_FORCE: &str = "in_force";
/// The status of one that nobody needs any more, in lists.
pub const LAPSED: &str = "lapsed";
/// How long one stays in memory that nobody speaks to.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// What it takes to know this kind of entity.
const REVOKED: Format = Format(2);

/// What is not good any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// This token.
    Token(TokenId),
    /// Every token that was issued to them until then.
    Principal(Principal),
}

impl Target {
    /// Under which id that is said.
    pub fn id(self) -> RevocationId {
        match self {
            Self::Token(TokenId(token)) => RevocationId(token),
            // Staff have no id of their own: their role has this one.
            Self::Principal(who) => {
                RevocationId(Uuid::from_u128(xxh3_128(format!("tokens of {who}").as_bytes())))
            }
        }
    }
}

/// What can be asked of a revocation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Command {
    /// From now on this is not good any more. For admins, and for whoever says it of what is their own.
    Revoke {
        /** What. */
        target: Target,
        /** Whose token that is, where the asker has shown it. */
        whose: Option<Principal>,
        /** Tokens issued until then are meant; later ones are not. */
        issued_until: Timestamp,
        /** When the last of them has expired anyway. */
        lapses_at: Timestamp,
        /** Why, for whoever reads it later. */
        reason: String,
    },
    /// What it is about has expired. The platform asks.
    Lapse,
}

/// What has happened to a revocation.
#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Event {
    /// It holds. Needs format 2, as all of them.
    Revoked {
        /** When. */
        at: Timestamp,
        /** For what. */
        target: Target,
        /** Issued until when. */
        issued_until: Timestamp,
        /** For how long. */
        lapses_at: Timestamp,
        /** Who said it. */
        by: Principal,
        /** Why. */
        reason: String,
    },
    /// What it was about has expired.
    Lapsed {
        /** When. */
        at: Timestamp,
    },
}

/// What nodes must know of one that is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// What is not good any more.
    pub target: Target,
    /// Issued until when.
    pub issued_until: Timestamp,
    /// From when on nobody needs to know.
    pub lapses_at: Timestamp,
}

/// A revocation, as far as its rules care.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Revocation {
    /// What it is about; none before anybody has said it.
    said: Option<Said>,
    is_lapsed: bool,
    /// When something last happened to it.
    changed_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Said {
    in_force: InForce,
    by: Principal,
    reason: String,
}

impl Revocation {
    /// What nodes must know of it, while it holds.
    pub fn in_force(&self) -> Option<InForce> {
        self.said.as_ref().filter(|_| !self.is_lapsed).map(|said| said.in_force)
    }
}

impl InForce {
    /// The same as a row of a list says it; none, if that is another kind of row.
    pub fn of_row(row: &ViewRow) -> Option<Self> {
        serde_json::from_value(row.body.get("in_force")?.clone()).ok()
    }

    /// Does it say all that `other`, about the same, would?
    fn covers(&self, other: &Self) -> bool {
        self.issued_until >= other.issued_until && self.lapses_at >= other.lapses_at
    }
}

/// May `by` say it of that? Nobody else logs somebody out.
fn may_revoke(by: Principal, target: Target, whose: Option<Principal>) -> bool {
    match (by, target) {
        (Principal::Admin, _) => true,
        // Whoever shares a name with others says it of the one token they hold.
        (by, Target::Principal(who)) => by == who && !by.is_staff(),
        (by, Target::Token(_)) => whose == Some(by),
    }
}

impl Decider for Revocation {
    const KIND: Kind = Kind::Revocation;
    type Id = RevocationId;
    type Command = Command;
    type Event = Event;
    type Sighting = ();
    type Soft = ();

    fn decide(
        &self,
        command: &Command,
        context: &Context<RevocationId>,
    ) -> Result<Vec<Event>, Refusal> {
        let (at, by) = (context.now, context.by);
        match command {
            Command::Revoke { target, whose, issued_until, lapses_at, reason } => {
                if !may_revoke(by, *target, *whose) {
                    let asker = by.role();
                    return Err(Refusal::NotYours(format!("not for a {asker} to revoke")));
                }
                if target.id() != context.id {
                    return Err(Refusal::invalid("target", "it is said under another id"));
                }
                reason::check(reason)?;
                if *lapses_at <= at {
                    return Err(Refusal::TooLate("what it is about has expired".to_owned()));
                }
                if *lapses_at > at + LASTS_MAX {
                    return Err(Refusal::invalid("lapses_at", "a year away at most"));
                }
                let before = self.said.as_ref().map(|said| said.in_force);
                let asked =
                    InForce { target: *target, issued_until: *issued_until, lapses_at: *lapses_at };
                if self.in_force().is_some_and(|it| it.covers(&asked)) {
                    return Ok(Vec::new());
                }
                // What was said once is not taken back by saying it again.
                let until = before.map_or(*issued_until, |it| it.issued_until.max(*issued_until));
                let lapses_at = before.map_or(*lapses_at, |it| it.lapses_at.max(*lapses_at));
                let reason = reason.clone();
                let target = *target;
                Ok(vec![Event::Revoked { at, target, issued_until: until, lapses_at, by, reason }])
            }
            Command::Lapse => {
                if by != Principal::System {
                    return Err(Refusal::NotYours("it lapses by itself".to_owned()));
                }
                match self.in_force() {
                    None => Ok(Vec::new()),
                    Some(it) if it.lapses_at > at => Err(Refusal::TooEarly {
                        what: "its tokens have not expired".to_owned(),
                        remaining_ms: it.lapses_at.0 - at.0,
                    }),
                    Some(_) => Ok(vec![Event::Lapsed { at }]),
                }
            }
        }
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Revoked { at, target, issued_until, lapses_at, by, reason } => {
                let in_force =
                    InForce { target: *target, issued_until: *issued_until, lapses_at: *lapses_at };
                self.said = Some(Said { in_force, by: *by, reason: reason.clone() });
                (self.is_lapsed, self.changed_at) = (false, *at);
            }
            Event::Lapsed { at } => (self.is_lapsed, self.changed_at) = (true, *at),
        }
    }

    fn effects(&self, _id: RevocationId, _event: &Event) -> Vec<Effect> {
        Vec::new()
    }

    fn deadline(&self) -> Option<(Timestamp, Command)> {
        self.in_force().map(|it| (it.lapses_at, Command::Lapse))
    }

    fn claims(&self, _id: RevocationId) -> Vec<Claim> {
        Vec::new()
    }

    fn listing(&self, _id: RevocationId) -> Option<Listing> {
        None
    }

    fn view(&self, _id: RevocationId) -> Option<ViewRow> {
        let said = self.said.as_ref()?;
        let (rider, driver) = match said.in_force.target {
            Target::Principal(Principal::Rider(id)) => (Some(id), None),
            Target::Principal(Principal::Driver(id)) => (None, Some(id)),
            Target::Principal(_) | Target::Token(_) => (None, None),
        };
        Some(ViewRow {
            status: if self.is_lapsed { LAPSED } else { IN_FORCE }.to_owned(),
            rider,
            driver,
            at: self.changed_at,
            body: serde_json::json!({
                "in_force": said.in_force, "by": said.by, "reason": said.reason,
            }),
        })
    }

    fn mark(&self, _id: RevocationId) -> Option<Mark> {
        None
    }

    fn see(&mut self, _sighting: &(), _context: &Context<RevocationId>) -> Seen<Command> {
        Seen::default()
    }

    fn soft(&self) {}

    fn recall(&mut self, (): ()) {}

    fn idle_max(&self) -> Option<Duration> {
        Some(IDLE_MAX)
    }

    fn command_name(command: &Command) -> &'static str {
        command.into()
    }

    fn event_name(event: &Event) -> &'static str {
        event.into()
    }

    fn event_format(_event: &Event) -> Format {
        REVOKED
    }

    fn command_format(_command: &Command) -> Format {
        REVOKED
    }
}
