//! Days of the calendar and times of the day, as people say them: of no place, so whoever hears one must know whose clocks are meant.

use crate::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, str::FromStr};
use thiserror::Error;

/// How long a day is, in milliseconds; as far as Unix is concerned none is longer.
const DAY_MS: i64 = 86_400_000;
/// How long a minute is, in milliseconds.
const MINUTE_MS: i64 = 60_000;
/// Minutes of a day.
const DAY_MIN: u16 = 1_440;
/// The last year there is.
const YEAR_MAX: u32 = 2_199;

/// A day of the calendar: `2026-11-30`. From 1970 to 2199.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    /// Since the first of January 1970.
    days: u32,
}

/// A time of the day, to the minute: `06:30`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay {
    minute: u16,
}

/// A day of the week.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::EnumIter,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// Text that is no day, or no time of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not {wanted}")]
pub struct NoDate {
    /// What was wanted.
    wanted: &'static str,
}

const NO_DATE: NoDate = NoDate { wanted: "a day such as 2026-11-30" };
const NO_TIME: NoDate = NoDate { wanted: "a time of the day such as 06:30" };

impl Date {
    /// The day with these numbers, if there is one.
    pub fn new(year: u32, month: u32, day: u32) -> Option<Self> {
        if !(1_970..=YEAR_MAX).contains(&year) || !(1..=12).contains(&month) || day == 0 {
            return None;
        }
        let date = Self { days: days_until(year, month, day) };
        // The 31st of a month that has none would be a day of the next one.
        (date.numbers() == (year, month, day)).then_some(date)
    }

    /// The day it is then, where clocks are so many minutes ahead of UTC.
    pub fn at(then: Timestamp, utc_offset_min: i32) -> Self {
        let local_ms = clamped(then).saturating_add(i64::from(utc_offset_min) * MINUTE_MS);
        let days = u32::try_from(local_ms.div_euclid(DAY_MS)).unwrap_or(0);
        Self { days: days.min(days_until(YEAR_MAX, 12, 31)) }
    }

    /// When it is this time on this day, where clocks are so many minutes ahead of UTC.
    pub fn moment(self, time: TimeOfDay, utc_offset_min: i32) -> Timestamp {
        let minutes = i64::from(time.minute) - i64::from(utc_offset_min);
        let ms = i64::from(self.days) * DAY_MS + minutes * MINUTE_MS;
        Timestamp(u64::try_from(ms).unwrap_or(0))
    }

    /// Which day of the week it is.
    pub fn weekday(self) -> Weekday {
        // The first of all was a Thursday.
        match self.days % 7 {
            0 => Weekday::Thursday,
            1 => Weekday::Friday,
            2 => Weekday::Saturday,
            3 => Weekday::Sunday,
            4 => Weekday::Monday,
            5 => Weekday::Tuesday,
            _ => Weekday::Wednesday,
        }
    }

    /// The day after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self { days: self.days.saturating_add(1) }
    }

    /// How many days there were before it, since the first of January 1970.
    pub fn days(self) -> u32 {
        self.days
    }

    /// Its year, month and day.
    fn numbers(self) -> (u32, u32, u32) {
        // The year begins in March here, so that a leap day is its last; 400 of them repeat.
        let days = self.days + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        (year + era * 400 + u32::from(month <= 2), month, day)
    }
}

/// The days before this one; of a day that its month has not, of the one that would follow.
fn days_until(year: u32, month: u32, day: u32) -> u32 {
    let year = year - u32::from(month <= 2);
    let (era, year) = (year / 400, year % 400);
    let month = if month > 2 { month - 3 } else { month + 9 };
    let day = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year * 365 + year / 4 - year / 100 + day - 719_468
}

fn clamped(then: Timestamp) -> i64 {
    i64::try_from(then.0).unwrap_or(i64::MAX)
}

impl TimeOfDay {
    /// So many minutes after midnight, if the day has as many.
    pub fn new(minute: u16) -> Option<Self> {
        (minute < DAY_MIN).then_some(Self { minute })
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.numbers();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minute / 60, self.minute % 60)
    }
}

impl FromStr for Date {
    type Err = NoDate;

    fn from_str(text: &str) -> Result<Self, NoDate> {
        let [year, month, day] = numbers(text, '-', [4, 2, 2]).ok_or(NO_DATE)?;
        Self::new(year, month, day).ok_or(NO_DATE)
    }
}

impl FromStr for TimeOfDay {
    type Err = NoDate;

    fn from_str(text: &str) -> Result<Self, NoDate> {
        let [hour, minute] = numbers(text, ':', [2, 2]).ok_or(NO_TIME)?;
        let is_one = hour < 24 && minute < 60;
        let minute = u16::try_from(hour * 60 + minute).ok().filter(|_| is_one);
        minute.and_then(Self::new).ok_or(NO_TIME)
    }
}

/// Numbers of as many digits each, and nothing else.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[u32; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(between);
    for (number, n_digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        let is_number = part.len() == n_digits && part.bytes().all(|it| it.is_ascii_digit());
        *number = part.parse().ok().filter(|_| is_number)?;
    }
    parts.next().is_none().then_some(numbers)
}

macro_rules! said_as_text {
    ($name:ident, $pattern:literal, $example:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::schema::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some($pattern))
                    .examples([$example])
                    .into()
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}
    };
}

said_as_text!(Date, "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "2026-11-30");
said_as_text!(TimeOfDay, "^[0-9]{2}:[0-9]{2}$", "06:30");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_day_is_said_as_people_say_it_and_nothing_else_is_one() {
        let day: Date = "2026-11-30".parse().unwrap();
        assert_eq!((day.to_string().as_str(), day.weekday()), ("2026-11-30", Weekday::Monday));
        assert_eq!(Date::default().to_string(), "1970-01-01");
        assert_eq!(Date::default().weekday(), Weekday::Thursday);
        assert_eq!("2028-02-29".parse::<Date>().unwrap().next().to_string(), "2028-03-01");
        let none = [
            "2026-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-04-31",
            "2026-4-30",
            "1969-12-31",
            "2200-01-01",
            "2026-11-30 ",
            "2026-11-30-1",
            "+026-11-30",
            "",
        ];
        for text in none {
            assert_eq!(text.parse::<Date>(), Err(NO_DATE), "{text}");
        }
    }

    #[test]
    fn a_time_of_the_day_is_one_that_clocks_show() {
        assert_eq!("06:30".parse::<TimeOfDay>().unwrap(), TimeOfDay::new(390).unwrap());
        assert_eq!(TimeOfDay::new(1_439).unwrap().to_string(), "23:59");
        assert_eq!(TimeOfDay::new(1_440), None);
        for text in ["24:00", "06:60", "6:30", "06:30:00", "06-30", "-1:30"] {
            assert_eq!(text.parse::<TimeOfDay>(), Err(NO_TIME), "{text}");
        }
    }

    #[test]
    fn a_moment_is_of_the_clocks_of_its_place() {
        let (day, six) = ("2026-11-30".parse::<Date>().unwrap(), TimeOfDay::new(360).unwrap());
        let in_utc = day.moment(six, 0);
        assert_eq!(in_utc, Timestamp(1_796_018_400_000));
        // Where clocks are ahead it is six earlier.
        assert_eq!(day.moment(six, 120).0, in_utc.0 - 2 * 3_600_000);
        assert_eq!(Date::at(Timestamp(in_utc.0 - 6 * 3_600_000 - 1), 0).next(), day);
        assert_eq!(Date::at(Timestamp(in_utc.0 - 6 * 3_600_000 - 1), 120), day);
        assert_eq!(Date::at(Timestamp(0), -60), Date::default(), "there is none before");
    }

    #[test]
    fn both_are_text_in_json_and_in_messagepack() {
        let both = ("2026-11-30".parse::<Date>().unwrap(), TimeOfDay::new(390).unwrap());
        assert_eq!(serde_json::to_string(&both).unwrap(), r#"["2026-11-30","06:30"]"#);
        let bytes = rmp_serde::to_vec_named(&both).unwrap();
        assert_eq!(rmp_serde::from_slice::<(Date, TimeOfDay)>(&bytes).unwrap(), both);
    }

    proptest! {
        #[test]
        fn each_day_follows_the_one_before_and_reads_back(days in 0_u32..84_005) {
            let day = Date { days };
            let (year, month, date) = day.numbers();
            prop_assert_eq!(Date::new(year, month, date), Some(day));
            prop_assert_eq!(day.to_string().parse(), Ok(day));
            let (next_year, next_month, next_date) = day.next().numbers();
            let goes_on = (next_year, next_month, next_date) == (year, month, date + 1);
            let begins = next_date == 1 && (next_year, next_month) > (year, month) && date >= 28;
            prop_assert!(goes_on || begins, "{} {}", day, day.next());
        }

        #[test]
        fn a_moment_is_of_its_day(
            days in 3_u32..80_000, minute in 0_u16..1_440, offset_min in -840_i32..=840
        ) {
            let (day, time) = (Date { days }, TimeOfDay { minute });
            prop_assert_eq!(Date::at(day.moment(time, offset_min), offset_min), day);
        }
    }
}
