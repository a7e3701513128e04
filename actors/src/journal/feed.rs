//! The event feed: what has been committed, shard by shard, for whoever follows the journal.

use super::{Journal, JournalError, Recorded, SharedJournal};
use crate::EntityKey;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::{Stream, stream};
use protocol::{CommandId, SHARDS, ShardId};
use std::{collections::VecDeque, fmt, ops::RangeInclusive, str::FromStr, time::Duration};
use thiserror::Error;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;

/// An event in the log of its shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedEvent {
    /// Whose log.
    pub shard: ShardId,
    /// Its number there: 1, 2, 3 …
    pub seq: u64,
    /// The ownership that wrote it.
    pub epoch: u64,
    /// To whom it happened.
    pub entity: EntityKey,
    /// The command it answered, unless the entity asked itself.
    pub command: Option<CommandId>,
    /// What, when, and the version it led to.
    pub recorded: Recorded,
}

/// How far a consumer of the feed has come. As text it is opaque and at most
/// [`FeedCursor::TEXT_MAX`] characters long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedCursor {
    /// The first shard it follows.
    first: u16,
    /// For that shard and those after it, the number of the last event seen; 0 for none.
    seen: Vec<u64>,
    /// Whose turn it is to be read first, counted from `first`.
    turn: u16,
}

/// Text that is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a cursor of this feed")]
pub struct ParseCursorError;

/// The layout of the text; another one gets another number.
const LAYOUT: u8 = 1;
/// What a number of 64 bits takes at most, seven bits to a byte.
const NUMBER_MAX: usize = 10;

impl FeedCursor {
    /// The longest text there is.
    pub const TEXT_MAX: usize = ((1 + 3 * 2 + SHARDS as usize * NUMBER_MAX) * 4).div_ceil(3);

    /// The beginning of every shard.
    pub fn start() -> Self {
        Self { first: 0, seen: vec![0; usize::from(SHARDS)], turn: 0 }
    }

    /// The beginning of some shards, of which there must be one at least.
    pub fn of(shards: RangeInclusive<u16>) -> Option<Self> {
        let (first, last) = shards.into_inner();
        (first <= last && last < SHARDS).then(|| Self {
            first,
            seen: vec![0; usize::from(last - first) + 1],
            turn: 0,
        })
    }

    /// The shards it follows.
    pub fn shards(&self) -> RangeInclusive<u16> {
        self.first..=self.first + (self.seen.len() - 1) as u16
    }

    /// The number of the last event seen of each shard it follows, beginning with whose turn it is.
    pub fn turns(&self) -> impl Iterator<Item = (ShardId, u64)> {
        let numbers = (self.first..).map(ShardId).zip(self.seen.iter().copied());
        let turn = usize::from(self.turn);
        numbers.clone().skip(turn).chain(numbers.take(turn))
    }

    /// The number of the last event seen of a shard; none if it does not follow that one.
    pub fn seen(&self, shard: ShardId) -> Option<u64> {
        self.seen.get(self.place(shard)?).copied()
    }

    /// Passes an event. One of a shard it does not follow, or passed before, changes nothing.
    pub fn pass(&mut self, event: &FeedEvent) {
        let Some(place) = self.place(event.shard) else { return };
        let n_shards = self.seen.len();
        if let Some(seen) = self.seen.get_mut(place)
            && *seen < event.seq
        {
            *seen = event.seq;
            self.turn = ((place + 1) % n_shards) as u16;
        }
    }

    fn place(&self, shard: ShardId) -> Option<usize> {
        shard.0.checked_sub(self.first).map(usize::from)
    }
}

impl Default for FeedCursor {
    fn default() -> Self {
        Self::start()
    }
}

/// How often a journal is asked when nothing says that it has grown.
const POLL: Duration = Duration::from_millis(500);
/// How many events a follower reads at once.
const N_PAGE: usize = 256;

/// Reads a page as [`Journal::feed`] does, and waits up to `patience` for there to be one. Commits
/// through this handle wake it; those of others are found by asking twice a second.
pub async fn page(
    journal: &dyn Journal,
    cursor: &FeedCursor,
    limit: usize,
    patience: Duration,
) -> Result<Vec<FeedEvent>, JournalError> {
    let end = Instant::now() + patience;
    let mut watch = journal.watch();
    let mut is_told = true;
    loop {
        // Before reading, so that what is committed meanwhile wakes.
        watch.mark_unchanged();
        let events = journal.feed(cursor.clone(), limit).await?;
        if !events.is_empty() || Instant::now() >= end {
            return Ok(events);
        }
        let poll = sleep_until(end.min(Instant::now() + POLL));
        tokio::select! {
            grown = watch.changed(), if is_told => is_told = grown.is_ok(),
            () = poll => {}
        }
    }
}

/// All events after `cursor`, for ever: each shard in order and without a gap. Who keeps a cursor
/// of its own and [passes](FeedCursor::pass) each event once it is done with it can die and come
/// back without missing one; those it was not done with come again.
///
/// Waits while the journal cannot be reached, and ends when what is there cannot be read.
pub fn follow(journal: SharedJournal, cursor: FeedCursor) -> impl Stream<Item = FeedEvent> + Send {
    const PATIENCE: Duration = Duration::from_secs(60);
    stream::unfold(
        (journal, cursor, VecDeque::new()),
        |(journal, mut cursor, mut read)| async move {
            loop {
                if let Some(event) = read.pop_front() {
                    cursor.pass(&event);
                    return Some((event, (journal, cursor, read)));
                }
                match page(&*journal, &cursor, N_PAGE, PATIENCE).await {
                    Ok(events) => read = events.into(),
                    Err(JournalError::Unavailable(_)) => sleep(POLL).await,
                    Err(error @ JournalError::Unreadable { .. }) => {
                        warn!(%error, "the feed ends");
                        return None;
                    }
                }
            }
        },
    )
}

/// Divides a page of `limit` events among shards: `waiting` has, for each, the last number seen and
/// its head, in the order of their turns. What comes back are the ranges to read, first and last
/// number included, in the order they belong on the page.
pub fn share(
    waiting: impl IntoIterator<Item = (ShardId, u64, u64)>,
    limit: usize,
) -> Vec<(ShardId, u64, u64)> {
    let mut waiting: Vec<_> =
        waiting.into_iter().filter(|(_, seen, head)| seen < head).take(limit).collect();
    let (mut left, mut n) = (limit as u64, waiting.len() as u64);
    // Whoever wants least is served first, so that what they leave goes to the others.
    let mut by_want: Vec<_> = (0..waiting.len()).collect();
    by_want.sort_by_key(|place| waiting[*place].2 - waiting[*place].1);
    for place in by_want {
        let (_, seen, head) = &mut waiting[place];
        *head = (*head).min(seen.saturating_add(left / n));
        left -= *head - *seen;
        n -= 1;
    }
    waiting.into_iter().map(|(shard, seen, head)| (shard, seen + 1, head)).collect()
}

impl fmt::Display for FeedCursor {
    /// Layout, shards, turn, then the numbers; of zeros in a row only how many there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![LAYOUT];
        for part in [self.first, self.seen.len() as u16, self.turn] {
            bytes.extend(part.to_be_bytes());
        }
        for run in self.seen.chunk_by(|a, b| *a == 0 && *b == 0) {
            push_number(&mut bytes, run[0]);
            if run[0] == 0 {
                push_number(&mut bytes, run.len() as u64);
            }
        }
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for FeedCursor {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Self, ParseCursorError> {
        if text.len() > Self::TEXT_MAX {
            return Err(ParseCursorError);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ParseCursorError)?;
        let cursor = Self::read(&bytes).ok_or(ParseCursorError)?;
        // What is read one way is written one way: no second spelling of the same cursor.
        if cursor.to_string() == text { Ok(cursor) } else { Err(ParseCursorError) }
    }
}

impl FeedCursor {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (layout, bytes) = bytes.split_first()?;
        let (first, bytes) = bytes.split_first_chunk()?;
        let (n_shards, bytes) = bytes.split_first_chunk()?;
        let (turn, mut bytes) = bytes.split_first_chunk()?;
        let [first, n_shards, turn] = [first, n_shards, turn].map(|part| u16::from_be_bytes(*part));
        let last = first.checked_add(n_shards.checked_sub(1)?)?;
        if *layout != LAYOUT || last >= SHARDS || turn >= n_shards {
            return None;
        }
        let mut seen = Vec::with_capacity(usize::from(n_shards));
        while seen.len() < usize::from(n_shards) {
            let number = pop_number(&mut bytes)?;
            let times = if number == 0 { pop_number(&mut bytes)? } else { 1 };
            if times == 0 || times > u64::from(n_shards) - seen.len() as u64 {
                return None;
            }
            seen.resize(seen.len() + times as usize, number);
        }
        bytes.is_empty().then_some(Self { first, seen, turn })
    }
}

/// Seven bits to a byte, the lowest first; all but the last byte have the eighth bit set.
fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn pop_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..).step_by(7).take(NUMBER_MAX) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if bits.leading_zeros() < shift {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests;
