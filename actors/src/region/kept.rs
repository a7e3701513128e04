//! What is kept of a region for whoever matches there next, on this node or another.
//!
//! ```text
//!  begins to match ──asks──► journal ──answer──► with a later tick: goes on from it, adds what it has seen meanwhile
//!  matches ── every few minutes what it has learned, every 30 s its lines if they moved ──► journal
//!  is closed, or handed over ── all of it, once more ──► journal
//! ```
//!
//! Its first tick waits for nothing: who looks for a driver is served as well by a region that knows nothing yet, and a journal
//! that is out of reach keeps nobody waiting. Nothing is kept before what was kept is known, so that nobody overwrites weeks with
//! minutes, and as long as that cannot be read a node says so; what was learned of another router is kept beside what is learned of this
//! one until that is as much; and all of it only by the owner of the region's shard, as the journal knows it.

use super::{World, area::Area};
use crate::{
    Format, format,
    journal::{CommitError, JournalError, Shelf},
    listing::RegionId,
};
use futures_util::future::try_join;
use matching::{
    Region as Known,
    rank::Stood,
    region::{Lines, Lore},
};
use protocol::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::oneshot::{self, error::TryRecvError},
    task::JoinHandle,
    time::timeout,
};
use tracing::{debug, info, warn};

/// How often lines are kept that have moved. Who stands in line for hours should not lose its place.
const LINES_EVERY: Duration = Duration::from_secs(30);
/// How long after a read that failed it is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// How often a node says that something cannot be read, whatever the number of its regions.
const SAY_EVERY: Duration = Duration::from_secs(600);
/// How long a region that is closed or handed over waits for what it keeps.
const PATIENCE: Duration = Duration::from_secs(2);
/// Shards there are, for the share of a period that each is put off.
const SHARDS: u32 = protocol::SHARDS as u32;

/// What is kept of a region, each by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, strum::Display)]
#[strum(serialize_all = "snake_case")]
pub enum Kept {
    /// [`Lore`]: how ways go, and how much is usually asked.
    Lore,
    /// [`Lines`]: who stands in line at its ranks.
    Lines,
}

impl Kept {
    /// Where it is kept.
    pub fn shelf(self, region: RegionId) -> Shelf {
        Shelf { shard: region.shard(), name: format!("{region}/{self}") }
    }
}

/// When a node last said something that all its regions would say; 0: never. The first time it is said at once, then rarely.
#[derive(Debug, Default)]
pub(super) struct Rarely(AtomicU64);

impl Rarely {
    fn is_time(&self, now: Timestamp) -> bool {
        let last = self.0.load(Ordering::Relaxed);
        let is_time = last == 0 || now.since(Timestamp(last)) >= SAY_EVERY;
        // Of those that come at once, one.
        let (order, now) = (Ordering::Relaxed, now.0.max(1));
        is_time && self.0.compare_exchange(last, now, order, order).is_ok()
    }
}

/// What was found, as it was kept.
type Found = (Option<Vec<u8>>, Option<Vec<u8>>);

/// How far a region is with what was kept of it.
#[derive(Debug)]
enum Recall {
    /// Another node matches in it, or this one has just begun to.
    Foreign,
    Asked(oneshot::Receiver<Result<Found, JournalError>>),
    /// It could not be read, and is asked for again then.
    Again(Timestamp),
    /// It goes on from it.
    Known,
}

/// What a region does about what is kept of it.
#[derive(Debug)]
pub(super) struct Keeping {
    recall: Recall,
    lore_due: Timestamp,
    lines_due: Timestamp,
    /// Who was in line when lines were last kept…
    lines: Vec<(String, Vec<Stood>)>,
    /// …and whether that was written.
    are_lines_written: Arc<AtomicBool>,
    /// What is being written.
    under_way: [Option<JoinHandle<()>>; 2],
}

impl Keeping {
    /// Of a region that has just started.
    pub(super) fn new() -> Self {
        Self {
            recall: Recall::Foreign,
            lore_due: Timestamp::default(),
            lines_due: Timestamp::default(),
            lines: Vec::new(),
            are_lines_written: Arc::new(AtomicBool::new(true)),
            under_way: [None, None],
        }
    }

    /// Asks for what was kept where this node begins to match, and goes on from it once it is there. Has the region just
    /// learned something by it?
    pub(super) fn recall(
        &mut self,
        world: &World,
        area: &Area,
        known: &mut Known,
        now: Timestamp,
    ) -> bool {
        if !world.keeps() || !world.surroundings.is_ours(area.region) {
            self.recall = Recall::Foreign;
            return false;
        }
        match &mut self.recall {
            Recall::Foreign => {
                // What it has learned beside the one that matched here, that one has learned, too.
                known.forget_lore(now);
                self.recall = Recall::Asked(ask(world, area.region));
            }
            Recall::Again(at) if *at <= now => {
                self.recall = Recall::Asked(ask(world, area.region));
            }
            Recall::Asked(answer) => match answer.try_recv() {
                Ok(Ok(found)) => return self.resume(world, area, known, now, found),
                Ok(Err(error)) => {
                    debug!(region = %area.region, %error, "what was kept cannot be read yet");
                    if world.unread.is_time(now) {
                        warn!(%error, "what was kept of regions cannot be read: until then nothing is kept");
                    }
                    self.recall = Recall::Again(now + AGAIN_AFTER);
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Closed) => self.recall = Recall::Again(now + AGAIN_AFTER),
            },
            Recall::Again(_) | Recall::Known => {}
        }
        false
    }

    /// Takes in what was found. Was something learned?
    fn resume(
        &mut self,
        world: &World,
        area: &Area,
        known: &mut Known,
        now: Timestamp,
        (lore, lines): Found,
    ) -> bool {
        let region = area.region;
        let lore = decode::<Lore>(region, Kept::Lore, lore.as_deref());
        if let Some(lore) = &lore {
            let is_whole = known.resume(lore, &*world.router, now, world.here_since(region));
            let (age, n_places) = (now.since(lore.at), known.ways().n_places());
            info!(%region, ?age, n_places, is_whole, "goes on from what it had learned");
        }
        if let Some(lines) = decode::<Lines>(region, Kept::Lines, lines.as_deref()) {
            known.resume_lines(&lines, now);
            self.lines = lines.ranks;
        }
        self.recall = Recall::Known;
        // Many regions start at once, and need not all keep at once for ever.
        let share = f64::from(u32::from(region.shard().0) + 1) / f64::from(SHARDS);
        self.lore_due = now + world.keep_every().mul_f64(share);
        self.lines_due = now + LINES_EVERY.min(world.keep_every());
        lore.is_some()
    }

    /// Keeps what is due. Nobody waits for it.
    pub(super) fn keep(&mut self, world: &World, area: &Area, known: &mut Known, now: Timestamp) {
        if !self.may_keep(world, area) {
            return;
        }
        let is_lore_due = now >= self.lore_due;
        if is_lore_due {
            self.lore_due = now + world.keep_every();
            let lore = encode(&known.lore(&*world.router, now, false));
            if !self.write(world, area.region, Kept::Lore, lore) {
                self.lore_due = now + AGAIN_AFTER;
            }
        }
        if !is_lore_due && now < self.lines_due {
            return;
        }
        self.lines_due = now + LINES_EVERY.min(world.keep_every());
        let lines = known.kept_lines(now);
        // Lines that nobody joins or leaves are kept now and then: of old ones nothing is believed.
        let is_due = lines.ranks != self.lines
            || !self.are_lines_written.load(Ordering::Acquire)
            || (is_lore_due && !lines.ranks.is_empty());
        if is_due {
            self.write_lines(world, area.region, lines);
        }
    }

    /// Keeps all there is, and waits until it is written, but not for long: the region is being closed, or somebody else is
    /// about to match in it.
    pub(super) async fn keep_at_last(
        &mut self,
        world: &World,
        area: &Area,
        known: &mut Known,
        now: Timestamp,
        is_closed: bool,
    ) {
        if !self.may_keep(world, area) {
            return;
        }
        let lore = encode(&known.lore(&*world.router, now, is_closed));
        let lines = known.kept_lines(now);
        let written = async {
            // What is under way must not come behind it.
            self.settle().await;
            self.write(world, area.region, Kept::Lore, lore);
            if lines.ranks != self.lines || !lines.ranks.is_empty() {
                self.write_lines(world, area.region, lines);
            }
            self.settle().await;
        };
        if timeout(PATIENCE, written).await.is_err() {
            warn!(region = %area.region, "what it has learned was not kept in time");
        }
    }

    /// Does it know what was kept, and is it this node's to keep more?
    fn may_keep(&self, world: &World, area: &Area) -> bool {
        world.keeps()
            && matches!(self.recall, Recall::Known)
            && world.surroundings.is_ours(area.region)
    }

    /// Writes lines. If it cannot yet, they are as much news as they were.
    fn write_lines(&mut self, world: &World, region: RegionId, lines: Lines) {
        let bytes = encode(&lines);
        if self.write(world, region, Kept::Lines, bytes) {
            self.lines = lines.ranks;
        }
    }

    /// Writes, unless the last of the same is still being written. Has it begun?
    fn write(&mut self, world: &World, region: RegionId, what: Kept, bytes: Vec<u8>) -> bool {
        let under_way = &mut self.under_way[what as usize];
        if under_way.as_ref().is_some_and(|it| !it.is_finished()) {
            return false;
        }
        let is_written = (what == Kept::Lines).then(|| self.are_lines_written.clone());
        if let Some(it) = &is_written {
            it.store(false, Ordering::Release);
        }
        let n_bytes = bytes.len();
        let keeping = world.surroundings.keep(region, what, bytes);
        *under_way = Some(tokio::spawn(async move {
            match keeping.await {
                Ok(()) => {
                    debug!(%region, %what, n_bytes, "kept");
                    if let Some(it) = is_written {
                        it.store(true, Ordering::Release);
                    }
                }
                // Whoever has it now keeps what it knows.
                Err(error @ CommitError::Fenced { .. }) => {
                    debug!(%region, %what, %error, "not kept");
                }
                Err(error) => warn!(%region, %what, %error, "not kept"),
            }
        }));
        true
    }

    /// Waits for what is under way.
    async fn settle(&mut self) {
        for under_way in &mut self.under_way {
            if let Some(write) = under_way.take() {
                // One that fell has written nothing.
                write.await.ok();
            }
        }
    }
}

/// Reads what was kept of a region, apart from it.
fn ask(world: &World, region: RegionId) -> oneshot::Receiver<Result<Found, JournalError>> {
    let (tell, told) = oneshot::channel();
    let [lore, lines] = [Kept::Lore, Kept::Lines].map(|it| world.surroundings.kept(region, it));
    // Detached: it ends with the journal's answer. Whoever asked may have gone.
    drop(tokio::spawn(async move { drop(tell.send(try_join(lore, lines).await)) }));
    told
}

/// As it is kept. An older build leaves out what it does not know, and loses no more than that.
fn encode<T: Serialize>(what: &T) -> Vec<u8> {
    format::encode(what, Format::FIRST)
}

/// What was kept; nothing, if it cannot be read: it can be learned again.
fn decode<T: DeserializeOwned>(region: RegionId, what: Kept, bytes: Option<&[u8]>) -> Option<T> {
    match format::decode(bytes?) {
        Ok((kept, _)) => Some(kept),
        Err(error) => {
            warn!(%region, %what, %error, "what was kept cannot be read: learned anew");
            None
        }
    }
}

#[cfg(test)]
mod tests;
