//! STUB
pub use crate::search::Sighting;
use serde::{Deserialize, Serialize};
/// What can be asked of a rescue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /** About its search. */
    Search(crate::search::Command),
}
