//! To come.

use super::Scenario;

pub(super) const SCENARIOS: [Scenario; 0] = [];
