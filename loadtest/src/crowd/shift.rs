//! Shifts: who drives only at some hours comes when they begin, and leaves when they end.

use super::{send, world::World};
use std::{sync::Arc, time::Instant};
use tokio::time::sleep_until;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Seconds of a day.
const DAY_S: f64 = 86_400.0;

/// Some hours of every day, and who drives then. One that ends before it begins goes over midnight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// The second of the day at which it begins.
    pub from_s: f64,
    /// The second of the day at which it ends.
    pub until_s: f64,
    /// Of all drivers, how many drive then, 0 to 1.
    pub share: f64,
}

impl Shift {
    /// Is it on at this second, of whatever day?
    pub fn is_at(&self, second: f64) -> bool {
        (second - self.from_s).rem_euclid(DAY_S) < self.lasting_s()
    }

    /// How long it is.
    fn lasting_s(&self) -> f64 {
        let lasting_s = (self.until_s - self.from_s).rem_euclid(DAY_S);
        if lasting_s == 0.0 { DAY_S } else { lasting_s }
    }

    /// How much of it is left at this second; none of it, if it is not on.
    pub(super) fn left_s(&self, second: f64) -> f64 {
        (self.lasting_s() - (second - self.from_s).rem_euclid(DAY_S)).max(0.0)
    }

    /// When it begins within a run that starts at this second of the day and lasts so long: seconds after its start.
    fn begins(&self, starts_at_s: f64, lasting_s: f64) -> impl Iterator<Item = f64> {
        let first = (self.from_s - starts_at_s).rem_euclid(DAY_S);
        (0..)
            .map(move |day| first + f64::from(day) * DAY_S)
            .take_while(move |at_s| *at_s < lasting_s)
    }
}

/// The shift of the `n`th driver; none drives all day. Whatever the first drivers are, they are a fair sample.
pub(super) fn of(shifts: &[Shift], n: usize) -> Option<Shift> {
    // The golden section spreads numbers evenly, however many there are.
    let mut place = (n as f64 * 0.618_033_988_749_895 + 1e-9).fract();
    for shift in shifts {
        if place < shift.share {
            return Some(*shift);
        }
        place -= shift.share;
    }
    None
}

/// Sends drivers to work when their shifts begin.
pub(super) async fn relieve(
    world: &Arc<World>,
    drivers: &TaskTracker,
    home: &CancellationToken,
    began: Instant,
) {
    let options = &world.options;
    let lasting_s = options.lasting.as_secs_f64() * options.speed * options.compress;
    let mut all: Vec<(f64, usize)> = Vec::new();
    for n in (0..options.drivers).filter(|n| options.hand.holds(*n)) {
        let Some(shift) = of(&options.shifts, n) else { continue };
        // Whoever works when the run begins is there already.
        let begins = shift.begins(options.starts_at_s, lasting_s).filter(|at_s| *at_s > 0.0);
        all.extend(begins.map(|at_s| (at_s, n)));
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let pause_s = 1.0 / options.gather_per_s;
    let mut free_at = began;
    for (at_s, n) in all {
        // They do not all open their doors in the same moment.
        let at = (began + world.real_of_day(at_s)).max(free_at);
        free_at = at + std::time::Duration::from_secs_f64(pause_s);
        sleep_until(at.into()).await;
        send(world, drivers, home, n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const H: f64 = 3_600.0;
    const NIGHT: Shift = Shift { from_s: 22.0 * H, until_s: 6.0 * H, share: 0.25 };

    #[test]
    fn a_shift_may_go_over_midnight() {
        let at = [21.9, 22.0, 23.9, 24.1, 5.9, 6.0].map(|hour| NIGHT.is_at(hour * H));
        assert_eq!(at, [false, true, true, true, true, false]);
        assert_eq!((NIGHT.left_s(4.0 * H), NIGHT.left_s(12.0 * H)), (2.0 * H, 0.0));
    }

    #[test]
    fn it_begins_once_a_day() {
        let begins: Vec<f64> = NIGHT.begins(8.0 * H, 48.0 * H).collect();
        assert_eq!(begins, [14.0 * H, 38.0 * H]);
        assert_eq!(NIGHT.begins(8.0 * H, 13.0 * H).count(), 0);
    }

    #[test]
    fn drivers_have_shifts_as_their_shares_say() {
        let day = Shift { from_s: 6.0 * H, until_s: 14.0 * H, share: 0.5 };
        for n_drivers in [40, 1_000] {
            let n_in = |wanted: Option<Shift>| {
                (0..n_drivers).filter(|n| of(&[day, NIGHT], *n) == wanted).count() as f64
            };
            let shares =
                [n_in(Some(day)), n_in(Some(NIGHT)), n_in(None)].map(|n| n / n_drivers as f64);
            for (share, wanted) in shares.into_iter().zip([0.5, 0.25, 0.25]) {
                assert!((share - wanted).abs() < 0.06, "{shares:?} of {n_drivers}");
            }
        }
    }
}
