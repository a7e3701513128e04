//! Who else has part in a job that is followed, and whether they can be reached.
//!
//! Each session says of its jobs, now and then, that its client was heard of; whoever follows them notices when that
//! ends. Nothing is kept anywhere else: a node that dies takes nothing along, and of several devices each counts.

use protocol::Principal;
use std::time::Duration;
use tokio::time::Instant;

/// The others who have part in a job.
#[derive(Debug, Default)]
pub(crate) struct Others(Vec<Other>);

#[derive(Debug)]
struct Other {
    who: Principal,
    heard_at: Instant,
    /// What was told of them last.
    told: Option<bool>,
}

impl Others {
    /// These have part in it now. Whoever is new has some time to be heard of.
    pub(crate) fn are(&mut self, these: Vec<Principal>, now: Instant) {
        self.0.retain(|other| these.contains(&other.who));
        for who in these {
            if self.0.iter().all(|other| other.who != who) {
                self.0.push(Other { who, heard_at: now, told: None });
            }
        }
    }

    /// One of them was heard of; is that news?
    pub(crate) fn heard(&mut self, who: Principal, now: Instant) -> bool {
        let Some(other) = self.0.iter_mut().find(|other| other.who == who) else { return false };
        other.heard_at = now;
        other.told.replace(true) != Some(true)
    }

    /// Those who were not heard of for so long, if that is news.
    pub(crate) fn silent(&mut self, grace: Duration, now: Instant) -> Vec<Principal> {
        let is_silent = |it: &&mut Other| it.told != Some(false) && now >= it.heard_at + grace;
        let silent = self.0.iter_mut().filter(is_silent).map(|other| {
            other.told = Some(false);
            other.who
        });
        silent.collect()
    }

    /// When that may next be so.
    pub(crate) fn silent_at(&self, grace: Duration) -> Option<Instant> {
        let others = self.0.iter().filter(|other| other.told != Some(false));
        others.map(|other| other.heard_at + grace).min()
    }

    /// What was told of whom.
    pub(crate) fn told(&self) -> Vec<(Principal, bool)> {
        self.0.iter().filter_map(|other| Some((other.who, other.told?))).collect()
    }

    /// The same again. Whoever could be reached has some time to be heard of.
    pub(crate) fn again(told: Vec<(Principal, bool)>, now: Instant) -> Self {
        let other = |(who, told)| Other { who, heard_at: now, told: Some(told) };
        Self(told.into_iter().map(other).collect())
    }
}

/// Is it one person, who both rides and drives?
pub(crate) fn is_same_person(one: Principal, other: Principal) -> bool {
    match (one, other) {
        (Principal::Rider(rider), Principal::Driver(driver))
        | (Principal::Driver(driver), Principal::Rider(rider)) => rider.0 == driver.0,
        (_, _) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{DriverId, RiderId};

    const GRACE: Duration = Duration::from_secs(30);

    fn driver(n: u64) -> Principal {
        Principal::Driver(DriverId::nth(n))
    }

    #[test]
    fn it_is_told_when_it_is_known_and_when_it_changes() {
        let (mut others, now) = (Others::default(), Instant::now());
        let at = |s| now + Duration::from_secs(s);
        assert!(!others.heard(driver(1), now), "it has no part in it");
        assert_eq!(others.silent_at(GRACE), None);
        others.are(vec![driver(1)], now);
        assert_eq!(others.silent_at(GRACE), Some(at(30)));
        assert!(others.heard(driver(1), at(5)));
        assert!(!others.heard(driver(1), at(15)));
        // A tunnel.
        assert_eq!(others.silent(GRACE, at(44)), []);
        assert!(!others.heard(driver(1), at(44)), "it was never away");
        assert_eq!(others.silent_at(GRACE), Some(at(74)));
        assert_eq!(others.silent(GRACE, at(74)), [driver(1)]);
        assert_eq!(others.silent(GRACE, at(99)), [], "once");
        assert_eq!(others.silent_at(GRACE), None);
        assert!(others.heard(driver(1), at(100)));
        assert_eq!(others.told(), [(driver(1), true)]);
    }

    #[test]
    fn whoever_was_never_heard_of_cannot_be_reached_and_whoever_left_is_nobodys_business() {
        let (mut others, now) = (Others::default(), Instant::now());
        others.are(vec![driver(1), driver(2)], now);
        assert_eq!(others.told(), []);
        others.are(vec![driver(2), driver(3)], now + GRACE / 2);
        assert_eq!(others.silent(GRACE, now + GRACE), [driver(2)]);
        assert!(!others.heard(driver(1), now));
    }

    #[test]
    fn who_comes_back_knows_what_it_was_told() {
        let now = Instant::now();
        let mut others = Others::again(vec![(driver(1), true), (driver(2), false)], now);
        others.are(vec![driver(1), driver(2)], now);
        assert!(!others.heard(driver(1), now));
        assert!(others.heard(driver(2), now));
        assert_eq!(others.silent(GRACE, now + GRACE), [driver(1), driver(2)]);
    }

    #[test]
    fn one_person_may_have_two_roles() {
        let rider = |n| Principal::Rider(RiderId(DriverId::nth(n).0));
        assert!(is_same_person(rider(1), driver(1)));
        assert!(is_same_person(driver(1), rider(1)));
        assert!(is_same_person(driver(1), driver(1)));
        assert!(!is_same_person(rider(2), driver(1)));
        assert!(!is_same_person(driver(1), Principal::Dispatcher));
    }
}
