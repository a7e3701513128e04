//! STUB
use protocol::JobId;
use protocol::view::WorkKind;
use serde::{Deserialize, Serialize};
/// What can be asked of a rider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Command {
    /// A job was opened for them.
    OpenJob {
        /** Which. */
        job: JobId,
        /** What. */
        work: WorkKind,
    },
    /// It is over.
    CloseJob {
        /** Which. */
        job: JobId,
    },
}
