//! What every journal demands of a commit before it writes any of it.

use super::CommitError;
use crate::{Claim, Commit, EntityKey, Version};
use protocol::Currency;
use std::collections::HashMap;

/// What a journal holds so far, as far as a commit can clash with it.
pub(super) trait Known {
    /// How many events the entity has.
    fn version(&self, entity: EntityKey) -> Version;
    /// Who holds the key.
    fn holder(&self, claim: &Claim) -> Option<EntityKey>;
    /// Is there a fact with this key?
    fn is_posted(&self, key: &str) -> bool;
    /// What the account holds.
    fn balance(&self, account: &str, currency: Currency) -> i64;
}

/// May `commit` be written after all that is `known`?
pub(super) fn admit(commit: &Commit, known: &impl Known) -> Result<(), CommitError> {
    sound(commit)?;
    let actual = known.version(commit.entity);
    if actual != commit.expected {
        return Err(CommitError::Stale { actual });
    }
    for claim in &commit.claims_taken {
        match known.holder(claim) {
            Some(holder) if holder != commit.entity => {
                return Err(CommitError::ClaimTaken { claim: claim.clone(), holder });
            }
            Some(_) | None => {}
        }
    }
    match commit.postings.iter().find(|posting| known.is_posted(&posting.key)) {
        Some(posting) => Err(CommitError::Postings(format!("{} was posted before", posting.key))),
        None => funded(commit, known),
    }
}

/// Do its postings leave every account with enough, and with no more than can be counted?
fn funded(commit: &Commit, known: &impl Known) -> Result<(), CommitError> {
    let mut accounts = HashMap::new();
    for posting in &commit.postings {
        let account = (posting.account.as_str(), posting.currency);
        let (amount, floor) = accounts.entry(account).or_insert((0_i128, None));
        *amount += i128::from(posting.amount);
        *floor = posting.floor.max(*floor);
    }
    for ((account, currency), (amount, floor)) in accounts {
        let balance = known.balance(account, currency);
        let after = i64::try_from(i128::from(balance) + amount)
            .map_err(|_| CommitError::Postings(format!("{account} cannot hold that much")))?;
        if floor.is_some_and(|floor| after < floor) {
            return Err(CommitError::BelowFloor { account: account.to_owned(), balance });
        }
    }
    Ok(())
}

/// Does it make sense by itself?
pub(super) fn sound(commit: &Commit) -> Result<(), CommitError> {
    if commit.events.is_empty() && !commit.effects.is_empty() {
        return Err(CommitError::Unsound(format!("{} has effects of no event", commit.entity)));
    }
    if commit.postings.is_empty() {
        return Ok(());
    }
    let mut sums = HashMap::new();
    for posting in &commit.postings {
        // Wider than the amounts, so that no number of lines overflows it.
        *sums.entry(posting.currency).or_insert(0_i128) += i128::from(posting.amount);
    }
    match sums.into_iter().find(|(_, sum)| *sum != 0) {
        Some((currency, sum)) => {
            Err(CommitError::Postings(format!("they sum to {sum} {currency}, not to zero")))
        }
        None => Ok(()),
    }
}
