//! The audit: when everybody has finished, somebody reads anew what was acknowledged and has not been read since.
//!
//! A rider looks at its job once more before it puts the phone away. What was acknowledged to others after that, and
//! jobs that had not ended when the crowd went home, are read here: in a new session, as the rider whose job it is.

use super::{
    client::{Answer, Client, Mind, Out},
    rider::topic,
    world::World,
};
use crate::checker::Broken;
use protocol::{
    JobId, Principal, RiderId,
    frame::{ClientFrame, Push, ServerFrame},
};
use serde::{Deserialize, Serialize};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How many read at once.
const AT_ONCE: usize = 64;
/// How long an acknowledged change may take to be readable.
const VISIBLE_MAX: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 10 });
/// How long all of it may take; what is left then is said to be unread.
const ALL_MAX: Duration = Duration::from_secs(60);

/// What was read anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// Commands that were acknowledged.
    pub acked: u64,
    /// Jobs they made or changed.
    pub jobs: u64,
    /// Jobs of which somebody read everything that was acknowledged, after it was.
    pub confirmed: u64,
    /// Of those, the ones that had to be read anew in the end.
    pub reread: u64,
    /// Jobs of which a reader did not get what was acknowledged.
    pub missing: u64,
    /// Jobs that nobody could read in time.
    pub unread: u64,
}

impl Audit {
    /// Takes in another's.
    pub fn merge(&mut self, other: &Self) {
        let Self { acked, jobs, confirmed, reread, missing, unread } = other;
        self.acked += acked;
        self.jobs += jobs;
        self.confirmed += confirmed;
        self.reread += reread;
        self.missing += missing;
        self.unread += unread;
    }
}

/// Reads everything that nobody has read since it was acknowledged.
pub(super) async fn audit(world: &Arc<World>, home: &CancellationToken) {
    let unseen = world.unseen();
    let (readers, places) = (TaskTracker::new(), Arc::new(Semaphore::new(AT_ONCE)));
    for (n, (job, rider, wanted)) in unseen.into_iter().enumerate() {
        let (world, places, home) = (Arc::clone(world), Arc::clone(&places), home.clone());
        readers.spawn(async move {
            let Ok(_place) = places.acquire().await else { return };
            let auditor = Auditor {
                world: Arc::clone(&world),
                job,
                rider,
                wanted,
                until: None,
                is_done: false,
            };
            Client::new(world, auditor, n).live(home).await;
        });
    }
    readers.close();
    tokio::select! {
        () = readers.wait() => {}
        () = sleep(ALL_MAX) => tracing::warn!("not everything could be read in time"),
    }
}

struct Auditor {
    world: Arc<World>,
    job: JobId,
    rider: RiderId,
    wanted: u64,
    until: Option<Instant>,
    is_done: bool,
}

impl Auditor {
    fn saw(&mut self, job: JobId, version: u64) {
        if job == self.job && version >= self.wanted {
            self.world.audited(job, version);
            self.is_done = true;
        }
    }
}

impl Mind for Auditor {
    fn principal(&self) -> Principal {
        Principal::Rider(self.rider)
    }

    fn welcomed(&mut self, _resumed: bool, now: Instant, out: &mut Out) {
        self.until.get_or_insert(now + VISIBLE_MAX);
        out.frame(ClientFrame::Subscribe(topic(self.job)));
    }

    fn lost(&mut self, _now: Instant) {
        self.until = None;
    }

    fn pushed(&mut self, _push: Push, _now: Instant) {}

    #[expect(clippy::wildcard_enum_match_arm, reason = "one job is read, and nothing else")]
    fn hear(&mut self, frame: ServerFrame, _now: Instant, _out: &mut Out) {
        match frame {
            ServerFrame::Order(view) => self.saw(JobId::Order(view.id), view.version),
            ServerFrame::Rescue(view) => self.saw(JobId::Rescue(view.id), view.version),
            _ => {}
        }
    }

    fn answered(&mut self, _answer: Answer, _now: Instant, _out: &mut Out) {}

    fn wake(&mut self, now: Instant, _out: &mut Out) {
        if self.until.is_some_and(|until| now >= until) {
            let Self { job, wanted, .. } = self;
            let detail =
                format!("{job}: version {wanted} was acknowledged, and the audit did not read it");
            self.world.not_audited(Broken::AckedNotVisible, detail);
            self.is_done = true;
        }
    }

    fn wake_at(&self) -> Instant {
        self.until.unwrap_or_else(|| Instant::now() + VISIBLE_MAX)
    }

    fn is_done(&self) -> bool {
        self.is_done
    }
}
