//! Which tokens are good no longer, as far as this node knows: a set that only grows until its parts have lapsed.
//!
//! Nothing in here reads or writes a journal; `gateway/revocations.rs` fills it, and watches over how old it is.

use super::Identity;
use actors::revocation::{InForce, Target};
use protocol::{Code, Principal, Refused, Timestamp, TokenId};
use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};
use tokio::sync::watch;

/// What is revoked.
#[derive(Debug)]
pub(crate) struct Revoked {
    set: RwLock<Set>,
    /// Changes whenever something is added.
    changed: watch::Sender<()>,
    /// Most that others may add.
    n_max: usize,
}

#[derive(Debug, Default)]
struct Set {
    /// Until when each must be known.
    tokens: HashMap<TokenId, Timestamp>,
    principals: HashMap<Principal, Everything>,
    /// Whoever is believed before then is believed on what may be old news.
    doubtful_from: Option<Timestamp>,
}

/// All tokens of a principal so far.
#[derive(Debug, Clone, Copy)]
struct Everything {
    issued_until: Timestamp,
    lapses_at: Timestamp,
}

impl Revoked {
    /// Nothing, with room for so many.
    pub(crate) fn new(n_max: usize) -> Self {
        Self { set: RwLock::default(), changed: watch::Sender::new(()), n_max }
    }

    /// Takes in what is in force; says how much of it was news. What has lapsed by `now` is none.
    pub(crate) fn add(&self, all: &[InForce], now: Timestamp) -> usize {
        let n_new = {
            let mut set = self.write();
            all.iter().filter(|it| it.lapses_at > now && set.add(**it)).count()
        };
        if n_new > 0 {
            self.changed.send_replace(());
        }
        n_new
    }

    /// Forgets what has lapsed.
    pub(crate) fn forget_lapsed(&self, now: Timestamp) {
        let mut set = self.write();
        set.tokens.retain(|_, lapses_at| *lapses_at > now);
        set.principals.retain(|_, all| all.lapses_at > now);
        if set.tokens.is_empty() {
            set.tokens = HashMap::new();
        }
    }

    /// How many are known.
    pub(crate) fn len(&self) -> usize {
        let set = self.read();
        set.tokens.len() + set.principals.len()
    }

    /// Is there no room for more? What other nodes have let in is taken all the same.
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.n_max
    }

    /// Is this token good no longer?
    pub(crate) fn has(&self, identity: &Identity) -> bool {
        self.read().has(identity)
    }

    /// From then on nobody is believed any more, unless this is said again: what is known may be old by then.
    pub(crate) fn is_known_until(&self, doubtful_from: Timestamp) {
        self.write().doubtful_from = Some(doubtful_from);
    }

    /// A token that is believed otherwise: is it still?
    pub(super) fn check(&self, identity: &Identity, now: Timestamp) -> Result<(), Refused> {
        let set = self.read();
        if set.has(identity) {
            return Err(revoked());
        }
        match set.doubtful_from {
            Some(from) if from <= now => {
                let message = "this node cannot tell which tokens are revoked";
                Err(Refused::new(Code::Unavailable, message).retry_after_ms(1_000))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Returns once this token is good no longer.
    pub(crate) async fn until(&self, identity: &Identity) {
        let mut changed = self.changed.subscribe();
        while !self.has(identity) {
            if changed.changed().await.is_err() {
                // Never: this is its sender.
                return;
            }
        }
    }

    // Never held across an await or a panic, so poison means nothing here.
    fn read(&self) -> RwLockReadGuard<'_, Set> {
        self.set.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Set> {
        self.set.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Set {
    /// Was it news?
    fn add(&mut self, InForce { target, issued_until, lapses_at }: InForce) -> bool {
        match target {
            Target::Token(token) => {
                let known = self.tokens.insert(token, lapses_at);
                // Said twice, it must be known for the longer of both.
                if let Some(known) = known.filter(|it| *it > lapses_at) {
                    self.tokens.insert(token, known);
                }
                known.is_none()
            }
            Target::Principal(who) => match self.principals.get_mut(&who) {
                None => {
                    self.principals.insert(who, Everything { issued_until, lapses_at });
                    true
                }
                Some(known) => {
                    let is_news = issued_until > known.issued_until;
                    known.issued_until = known.issued_until.max(issued_until);
                    known.lapses_at = known.lapses_at.max(lapses_at);
                    is_news
                }
            },
        }
    }

    fn has(&self, identity: &Identity) -> bool {
        let is_named = identity.token.is_some_and(|token| self.tokens.contains_key(&token));
        is_named
            || self.principals.get(&identity.principal).is_some_and(|all| {
                // Tokens say the second: whatever was issued in the same one is meant, too.
                second(identity.issued_at) <= second(all.issued_until)
            })
    }
}

/// What whoever comes with a revoked token is told. Its signature was good: they know it already.
pub(crate) fn revoked() -> Refused {
    Refused::new(Code::Unauthenticated, "the token has been revoked")
}

fn second(at: Timestamp) -> u64 {
    at.0 / 1_000
}

#[cfg(test)]
mod tests;
