//! Skills that staff vouch for, and which of a driver's skills count.
//!
//! ```text
//! said with the vehicle   winch              certificate.hazmat   cold_chain
//! granted                                    certificate.hazmat                gender.female
//! counts                  winch              certificate.hazmat                gender.female
//! ```

use super::Driver;
use crate::Refusal;
use matching::fit;
use protocol::{Timestamp, view::Grant, work::Vehicle};
use std::sync::Arc;

/// How many skills of one driver staff vouch for at once.
pub(super) const GRANTS_MAX: usize = 32;
/// Longest name of a skill that is granted, in characters.
const SKILL_CHARS_MAX: usize = 64;

/// Refuses a name that no skill has which must be granted.
pub(super) fn check(skill: &str) -> Result<(), Refusal> {
    let is_said = (1..=SKILL_CHARS_MAX).contains(&skill.chars().count());
    if !is_said || !skill.chars().all(|it| it.is_ascii_graphic()) {
        let problem = format!("1 to {SKILL_CHARS_MAX} ASCII characters without spaces");
        return Err(Refusal::invalid("skill", problem));
    }
    if !fit::must_be_granted(skill) {
        return Err(Refusal::invalid("skill", "drivers say this of themselves"));
    }
    Ok(())
}

/// Does it still count then?
pub(super) fn lasts(grant: &Grant, now: Timestamp) -> bool {
    grant.until.is_none_or(|until| now < until)
}

impl Driver {
    /// What it brings then: its vehicle, with the skills that count.
    pub fn brings(&self, now: Timestamp) -> Option<Arc<Vehicle>> {
        let vehicle = self.vehicle.as_ref()?;
        let said = &vehicle.skills;
        let is_unsaid = |it: &&Grant| {
            lasts(it, now) && !fit::is_of_vehicle(&it.skill) && !said.contains(&it.skill)
        };
        let more = self.grants.iter().filter(is_unsaid);
        let counts = |skill: &&String| self.counts(skill, now);
        if said.iter().all(|skill| counts(&skill)) && more.clone().next().is_none() {
            return Some(Arc::clone(vehicle));
        }
        let skills = said.iter().filter(counts).chain(more.map(|it| &it.skill)).cloned().collect();
        Some(Arc::new(Vehicle { skills, ..**vehicle }))
    }

    /// Skills that it says it has, and that do not count then: nobody vouches for them.
    pub fn ungranted(&self, now: Timestamp) -> Vec<String> {
        let said = self.vehicle.iter().flat_map(|vehicle| &vehicle.skills);
        said.filter(|skill| !self.counts(skill, now)).cloned().collect()
    }

    /// Does a skill count then that it says it has? What its shift does not say was begun before anybody could vouch for it.
    fn counts(&self, skill: &str, now: Timestamp) -> bool {
        self.policy.self_declared != Some(false)
            || !fit::must_be_granted(skill)
            || self.grants.iter().any(|it| it.skill == skill && lasts(it, now))
    }

    /// Those that count then, but this one.
    pub(super) fn grants_beside<'s>(
        &'s self,
        skill: &'s str,
        now: Timestamp,
    ) -> impl Iterator<Item = &'s Grant> {
        self.grants.iter().filter(move |it| it.skill != skill && lasts(it, now))
    }

    /// When it was last heard of, or something happened to it: what it is shown is true of then.
    pub(super) fn known_at(&self) -> Timestamp {
        self.changed_at.max(self.soft.heard_at())
    }
}
