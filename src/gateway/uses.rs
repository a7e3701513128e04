//! What clients recently used a command id or an idempotency key for.
//!
//! An actor recognises its own commands for a day, also after a restart. Kept here, for a while and
//! in memory, is only what no actor can know: that the same name already stands for a wish to
//! another one of them.

use actors::runtime::Wished;
use protocol::{Code, Principal, Refused};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
};

/// How many names of one client are remembered to notice one that is used for two things.
const SEEN_MAX: usize = 64;
/// Of how many clients; those who were silent longest are forgotten first.
const SEEN_CLIENTS_MAX: usize = 16_384;
/// Recent names and what they stand for.
#[derive(Debug, Default)]
pub(crate) struct Uses(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    by_client: HashMap<Principal, Client>,
    /// Grows by one with each use.
    n_uses: u64,
    /// Who used a name when, oldest first.
    by_use: BTreeMap<u64, Principal>,
}

#[derive(Debug, Default)]
struct Client {
    used: u64,
    names: VecDeque<(u64, Wished)>,
}

/// What a name is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Nothing yet; this wish from now on.
    First,
    /// The same wish.
    Repeat,
    /// Another wish.
    Other,
}

impl Uses {
    /// Does what is wished unless its name already stands for something else.
    pub(crate) async fn once<T>(
        &self,
        by: Principal,
        name: &str,
        wish: Wished,
        doing: impl Future<Output = Result<T, Refused>>,
    ) -> Result<T, Refused> {
        let used = self.reserve(by, name, wish);
        if used == Use::Other {
            let message = "this command id or idempotency key was used for something else";
            return Err(Refused::new(Code::CommandIdReused, message));
        }
        let outcome = doing.await;
        if let Err(refused) = &outcome
            && used == Use::First
            // Unknown is the only refusal after which something may have happened.
            && refused.code != Code::Unavailable
        {
            self.free(by, name, wish);
        }
        outcome
    }

    /// Lets a name stand for this wish.
    fn reserve(&self, by: Principal, name: &str, wish: Wished) -> Use {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let client = seen.client(by);
        let name = digest_of(name);
        if let Some((_, first)) = client.names.iter().find(|(known, _)| *known == name) {
            return if *first == wish { Use::Repeat } else { Use::Other };
        }
        if client.names.len() >= SEEN_MAX {
            client.names.pop_front();
        }
        client.names.push_back((name, wish));
        Use::First
    }

    /// Nothing came of that wish: the name may stand for another.
    fn free(&self, by: Principal, name: &str, wish: Wished) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let freed = (digest_of(name), wish);
        seen.client(by).names.retain(|used| *used != freed);
    }
}

impl Seen {
    fn client(&mut self, by: Principal) -> &mut Client {
        if self.by_client.len() >= SEEN_CLIENTS_MAX
            && !self.by_client.contains_key(&by)
            && let Some((_, silent)) = self.by_use.pop_first()
        {
            self.by_client.remove(&silent);
        }
        self.n_uses += 1;
        let client = self.by_client.entry(by).or_default();
        self.by_use.remove(&client.used);
        client.used = self.n_uses;
        self.by_use.insert(client.used, by);
        client
    }
}

/// Two names of one client that have the same are its own misfortune.
fn digest_of(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
