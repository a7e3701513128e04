//! What a job costs, line by line, in whole minor units.

use crate::policy::Tariff;
use protocol::{Currency, Fare, FareLine, Timestamp};
use std::time::Duration;

#[cfg(test)]
mod tests;

/// Night lasts from ten in the evening …
const NIGHT_FROM_MIN: u16 = 22 * 60;
/// … until five in the morning.
const NIGHT_UNTIL_MIN: u16 = 5 * 60;
const MINUTES_PER_DAY: u16 = 24 * 60;
/// No fare is higher, whatever the tariff: sums of a few fares must still fit.
const TOTAL_MAX: i128 = 1 << 53;

/// Prices a journey of `distance_m` metres and `duration_s` seconds that starts at
/// `local_minute_of_day` (0 to 1439).
///
/// The lines sum to the total. A longer or slower journey never costs less, nothing is negative and
/// nothing overflows, whatever numbers the tariff holds: negative ones count as zero.
pub fn quote(
    tariff: &Tariff,
    currency: Currency,
    distance_m: u32,
    duration_s: u32,
    local_minute_of_day: u16,
) -> Fare {
    let minute = local_minute_of_day % MINUTES_PER_DAY;
    let is_night = !(NIGHT_UNTIL_MIN..NIGHT_FROM_MIN).contains(&minute);
    let night_percent = if is_night { tariff.night_percent } else { 0 };

    let mut bill = Bill { lines: Vec::with_capacity(7), total: 0 };
    bill.add("base", price(tariff.base));
    bill.add("distance", per(tariff.per_km, distance_m, 1_000));
    bill.add("time", per(tariff.per_min, duration_s, 60));
    bill.add("night", bill.total * i128::from(night_percent) / 100);
    bill.add("minimum", price(tariff.minimum) - bill.total);
    bill.add("tax", bill.total * i128::from(tariff.tax_bp) / 10_000);
    let step = price(tariff.round_to).max(1);
    bill.add("rounding", (step - bill.total % step) % step);
    Fare { currency, lines: bill.lines }
}

/// What waiting costs beyond the time that is free, by the second; never negative.
pub fn waiting(per_min: i64, waited: Duration, free: Duration) -> i64 {
    let charged_s = u32::try_from(waited.saturating_sub(free).as_secs()).unwrap_or(u32::MAX);
    let amount = per(per_min, charged_s, 60).min(TOTAL_MAX);
    i64::try_from(amount).expect("no charge is above TOTAL_MAX")
}

/// The minute of the day at a place whose clocks are `utc_offset_min` minutes ahead of UTC.
pub fn local_minute_of_day(at: Timestamp, utc_offset_min: i32) -> u16 {
    let minutes = i128::from(at.0 / 60_000) + i128::from(utc_offset_min);
    minutes.rem_euclid(i128::from(MINUTES_PER_DAY)) as u16
}

/// Lines and their sum so far.
struct Bill {
    lines: Vec<FareLine>,
    total: i128,
}

impl Bill {
    /// Appends a line, unless it is nothing.
    fn add(&mut self, code: &str, amount: i128) {
        let amount = amount.clamp(0, TOTAL_MAX - self.total);
        if amount > 0 {
            self.total += amount;
            let amount = i64::try_from(amount).expect("no fare is above TOTAL_MAX");
            self.lines.push(FareLine { code: code.to_owned(), amount });
        }
    }
}

fn price(amount: i64) -> i128 {
    i128::from(amount.max(0))
}

/// A price per `unit` for `n`, rounded half up.
fn per(amount: i64, n: u32, unit: i128) -> i128 {
    (price(amount) * i128::from(n) + unit / 2) / unit
}
