//! STUB

use crate::{Listing, listing::RegionId, search::Candidate};
use protocol::{JobId, Timestamp};

/// What regions ask of the rest of their node. None of it blocks.
pub trait Surroundings: std::fmt::Debug + Send + Sync + 'static {
    /// Proposes drivers, best first, for a round of a job's search. The job decides.
    fn propose(&self, job: JobId, round: u32, candidates: Vec<Candidate>);
    /// A region has started with an empty memory: whoever is listed there should list itself again.
    fn region_up(&self, region: RegionId);
    /// The node's clock.
    fn now(&self) -> Timestamp;
}

/// Keeps [`Listing`] used until the regions are written.
pub fn unused(_: &Listing) {}

/// STUB
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {}
