//! Which versions entities have, as one connection has left them: who is known is not looked up again.
//!
//! Nobody else writes to a shard under our ownership of it, so what we wrote last is what there is, for
//! as long as that ownership and the connection last. Another connection may lead to another server,
//! which has not heard of everything: there, everybody is a stranger.

use crate::{Commit, EntityKey, Version};
use foldhash::HashMap;

/// How many are remembered at most: about four megabytes.
const N_MAX: usize = 65_536;

/// Versions, and the ownership they were seen under.
#[derive(Debug, Default)]
pub(super) struct Versions(HashMap<EntityKey, (u64, Version)>);

impl Versions {
    /// Does the commit's entity have the version it expects, for all that has happened under this epoch?
    pub(super) fn knows(&self, commit: &Commit, epoch: u64) -> bool {
        self.0.get(&commit.entity) == Some(&(epoch, commit.expected))
    }

    /// Notes a commit that was written.
    pub(super) fn wrote(&mut self, commit: &Commit, epoch: u64) {
        // Who commits again is soon known again.
        if self.0.len() >= N_MAX && !self.0.contains_key(&commit.entity) {
            self.0.clear();
        }
        self.0.insert(commit.entity, (epoch, commit.version()));
    }

    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::EncodedEvent;
    use protocol::{OrderId, Timestamp};

    fn commit(n: u64, expected: u64) -> Commit {
        let events = vec![EncodedEvent { name: "moved".into(), bytes: vec![] }];
        Commit { events, ..Commit::new(OrderId::nth(n).into(), Version(expected), Timestamp(1)) }
    }

    #[test]
    fn what_was_written_is_known_under_its_ownership_until_it_is_forgotten() {
        let mut versions = Versions::default();
        assert!(!versions.knows(&commit(1, 0), 7), "a stranger");
        versions.wrote(&commit(1, 0), 7);
        assert!(versions.knows(&commit(1, 1), 7));
        assert!(!versions.knows(&commit(1, 0), 7), "it has more by now");
        assert!(!versions.knows(&commit(1, 2), 7), "it has not so many");
        assert!(!versions.knows(&commit(1, 1), 8), "somebody may have written in between");
        assert!(!versions.knows(&commit(2, 1), 7), "another");
        versions.forget();
        assert!(!versions.knows(&commit(1, 1), 7));
    }

    #[test]
    fn there_is_an_end_to_how_many_are_remembered() {
        let mut versions = Versions::default();
        for n in 0..=N_MAX as u64 {
            versions.wrote(&commit(n, 0), 7);
        }
        assert_eq!(versions.0.len(), 1);
        assert!(versions.knows(&commit(N_MAX as u64, 1), 7), "the newest");
    }
}
