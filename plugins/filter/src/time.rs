//! Times and durations, to the nanosecond.

use std::fmt;

/// Nanoseconds of a second.
const SECOND: i128 = 1_000_000_000;
/// 0001-01-01T00:00:00Z, in seconds since the Unix epoch.
const FIRST: i128 = -62_135_596_800;
/// 10000-01-01T00:00:00Z.
const AFTER_LAST: i128 = 253_402_300_800;
/// The longest duration, without its fraction of a second.
const LONGEST: i128 = 315_576_000_000;
/// Maximum number of digits that are read of a number.
const DIGITS_MAX: usize = 18;

/// A point in time, in nanoseconds since the Unix epoch; of the years 1 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(i128);

/// A duration in nanoseconds, of up to about 10,000 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(i128);

/// A part of a time or duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    FullYear,
    /// From 0, as the other parts of a date but [`Unit::Date`].
    Month,
    /// The day of the month, from 1.
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

impl Time {
    fn new(nanos: i128) -> Option<Self> {
        (FIRST * SECOND..AFTER_LAST * SECOND).contains(&nanos).then_some(Self(nanos))
    }

    pub fn of_seconds(seconds: i64) -> Option<Self> {
        Self::new(i128::from(seconds) * SECOND)
    }

    /// Rounds to microseconds, more than a double has of today's times.
    pub fn of_fraction(seconds: f64) -> Option<Self> {
        Self::new(((seconds * 1e6).round() as i128).checked_mul(SECOND / 1_000_000)?)
    }

    pub fn of_millis(millis: i64) -> Option<Self> {
        Self::new(i128::from(millis) * (SECOND / 1_000))
    }

    /// Parses RFC 3339, such as `2026-01-31T12:00:00.5+01:00`. A leap second, which ends the last
    /// day of a month in UTC, counts as the last nanosecond of that day: days have 86,400 seconds
    /// here, and it belongs to the day, month and year that it ends.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, rest) = text.split_at_checked(10)?;
        let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
        let rest = rest.strip_prefix(['T', 't'])?;
        let (clock, rest) = rest.split_at_checked(8)?;
        let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
        let last = days_in(year, month)?;
        if day < 1 || day > last || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (fraction, zone) = rest.split_at(end);
        let nanos = if fraction.is_empty() { 0 } else { fraction_of(fraction.strip_prefix('.')?, SECOND)? };
        let offset = match zone {
            "Z" | "z" => 0,
            zone => offset(zone.starts_with(['+', '-']).then_some(zone)?)?,
        };
        let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset;
        let after = i128::from(seconds) * SECOND;
        match second {
            60 if !begins_a_month(seconds) => None,
            60 => Self::new(after - 1),
            _ => Self::new(after + nanos),
        }
    }

    pub fn plus(self, span: Span) -> Option<Self> {
        Self::new(self.0 + span.0)
    }

    pub fn minus(self, span: Span) -> Option<Self> {
        Self::new(self.0 - span.0)
    }

    pub fn since(self, earlier: Self) -> Option<Span> {
        Span::new(self.0 - earlier.0)
    }

    /// Returns the seconds since the Unix epoch, without the fraction.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(SECOND) as i64
    }

    /// Returns a part of the date or of the time of day in a time zone.
    pub fn get(self, unit: Unit, zone: &str) -> Option<i64> {
        let seconds = self.seconds() + offset(zone)?;
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = date(days);
        Some(match unit {
            Unit::FullYear => year,
            Unit::Month => month - 1,
            Unit::Date => day,
            Unit::DayOfMonth => day - 1,
            // 1970-01-01 was a Thursday.
            Unit::DayOfWeek => (days + 4).rem_euclid(7),
            Unit::DayOfYear => days - days_since_epoch(year, 1, 1),
            Unit::Hours => second / 3_600,
            Unit::Minutes => second / 60 % 60,
            Unit::Seconds => second % 60,
            Unit::Milliseconds => (self.0.rem_euclid(SECOND) / 1_000_000) as i64,
        })
    }
}

impl Span {
    fn new(nanos: i128) -> Option<Self> {
        (nanos.abs() < (LONGEST + 1) * SECOND).then_some(Self(nanos))
    }

    /// Parses numbers with the units `h`, `m`, `s`, `ms`, `us` and `ns`, such as `1h30m` or
    /// `-1.5s`.
    pub fn parse(text: &str) -> Option<Self> {
        let (sign, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Some(Self(0));
        }
        let mut sum = 0;
        loop {
            let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
            let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
            let unit = match unit {
                "h" => 3_600 * SECOND,
                "m" => 60 * SECOND,
                "s" => SECOND,
                "ms" => SECOND / 1_000,
                "us" | "µs" | "μs" => SECOND / 1_000_000,
                "ns" => 1,
                _ => return None,
            };
            let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
            if whole.len() > DIGITS_MAX {
                return None;
            }
            sum += whole.parse::<i128>().ok()? * unit + fraction_of(fraction, unit)?;
            rest = after;
            if rest.is_empty() {
                return Self::new(sign * sum);
            }
        }
    }

    pub fn plus(self, other: Self) -> Option<Self> {
        Self::new(self.0 + other.0)
    }

    pub fn minus(self, other: Self) -> Option<Self> {
        Self::new(self.0 - other.0)
    }

    /// Returns the duration in a unit, without the fraction. Milliseconds are those of the last
    /// second alone.
    pub fn get(self, unit: Unit) -> Option<i64> {
        let whole = match unit {
            Unit::Hours => self.0 / (3_600 * SECOND),
            Unit::Minutes => self.0 / (60 * SECOND),
            Unit::Seconds => self.0 / SECOND,
            Unit::Milliseconds => self.0 / 1_000_000 % 1_000,
            _ => return None,
        };
        i64::try_from(whole).ok()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.seconds(), self.0.rem_euclid(SECOND));
        let (year, month, day) = date(seconds.div_euclid(86_400));
        let second = seconds.rem_euclid(86_400);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{}Z", fraction(nanos))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}{}s", self.0.abs() / SECOND, fraction(self.0.abs() % SECOND))
    }
}

/// Writes a fraction of a second with its point, if there is one.
fn fraction(nanos: i128) -> String {
    match nanos {
        0 => String::new(),
        nanos => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
    }
}

/// Returns the part of a unit that the digits behind the point stand for.
fn fraction_of(digits: &str, unit: i128) -> Option<i128> {
    let kept = digits.get(..digits.len().min(DIGITS_MAX))?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(kept.parse::<i128>().ok()? * unit / 10_i128.pow(kept.len() as u32))
}

fn numbers(text: &str, separator: char, digits: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; 3];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits && part.bytes().all(|b| b.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Returns the seconds that a time zone is ahead of UTC. It is `UTC`, `+01:00`, `-01:00` or
/// `01:00`; names such as `Europe/Berlin` have none.
pub fn offset(text: &str) -> Option<i64> {
    if text == "UTC" {
        return Some(0);
    }
    let (sign, clock) = match text.strip_prefix('-') {
        Some(clock) => (-1, clock),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let [hours, minutes, _] = numbers(&format!("{clock}:00"), ':', [2, 2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

fn days_in(year: i64, month: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    Some(match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    })
}

/// Returns the days since 1970-01-01 in the Gregorian calendar. Counts years from March, so that
/// the leap day comes last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// Returns whether a month of UTC begins with this second.
fn begins_a_month(seconds: i64) -> bool {
    seconds.rem_euclid(86_400) == 0 && date(seconds.div_euclid(86_400)).2 == 1
}

/// Returns year, month and day of a day since 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + i64::from(month >= 10);
    (year, (month + 2) % 12 + 1, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_follow_rfc_3339() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some("1970-01-01T00:00:00Z")),
            ("1969-12-31T23:59:59.5Z", Some("1969-12-31T23:59:59.5Z")),
            ("2000-02-29T00:00:00Z", Some("2000-02-29T00:00:00Z")),
            ("2026-01-31T12:00:00.123456+01:30", Some("2026-01-31T10:30:00.123456Z")),
            ("2026-01-31t12:00:00-00:00", Some("2026-01-31T12:00:00Z")),
            ("2026-12-31T23:59:60Z", Some("2026-12-31T23:59:59.999999999Z")),
            ("2026-12-31T23:59:60.25Z", Some("2026-12-31T23:59:59.999999999Z")),
            ("2027-01-01T00:59:60+01:00", Some("2026-12-31T23:59:59.999999999Z")),
            ("2026-06-30T15:59:60-08:00", Some("2026-06-30T23:59:59.999999999Z")),
            ("9999-12-31T23:59:60Z", Some("9999-12-31T23:59:59.999999999Z")),
            ("2026-12-31T12:00:60Z", None),
            ("2026-12-31T23:58:60Z", None),
            ("2026-12-30T23:59:60Z", None),
            ("2026-12-31T23:59:60+01:00", None),
            ("2026-12-31T23:59:61Z", None),
            ("2026-01-31T12:00:00.1234567891234567891234Z", Some("2026-01-31T12:00:00.123456789Z")),
            ("0000-12-31T23:59:59-01:00", Some("0001-01-01T00:59:59Z")),
            ("0000-12-31T23:59:59Z", None),
            ("9999-12-31T23:59:59-01:00", None),
            ("2026-02-29T00:00:00Z", None),
            ("2026-01-31T24:00:00Z", None),
            ("2026-01-31 12:00:00Z", None),
            ("2026-01-31T12:00:00", None),
            ("2026-1-31T12:00:00Z", None),
            ("2026-01-31T12:00:00.Z", None),
            ("2026-01-31T12:00:001Z", None),
            ("2026-01-31T12:00:00.1.2Z", None),
            ("2026-01-31T12:00:00+1:00", None),
            ("2026-01-31T12:00:00UTC", None),
            ("2026-01-31T12:00:0001:00", None),
            ("é026-01-31T12:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(Time::parse(text).map(|time| time.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn durations_follow_cel() {
        for (text, expected) in [
            ("1h30m", Some("5400s")),
            ("-1.5s", Some("-1.5s")),
            ("+250ms", Some("0.25s")),
            ("1us2ns", Some("0.000001002s")),
            ("1.5µs", Some("0.0000015s")),
            ("0", Some("0s")),
            ("-0.0000000001s", Some("0s")),
            ("0.5h", Some("1800s")),
            ("315576000000s999999999ns", Some("315576000000.999999999s")),
            ("-315576000001s", None),
            ("999999999999999999h999999999999999999h", None),
            ("9999999999999999999999h", None),
            ("1", None),
            ("", None),
            ("s", None),
            ("1d", None),
            ("1h-3m", None),
            ("1e9h", None),
            ("1.s", None),
            (".5s", None),
            ("1..5s", None),
        ] {
            assert_eq!(Span::parse(text).map(|span| span.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn every_day_has_the_date_it_was_made_of() {
        for (first, end) in [(1, 801), (1_600, 2_400), (9_600, 10_000)] {
            let (mut year, mut month, mut day) = (first, 1, 1);
            for days in days_since_epoch(first, 1, 1)..days_since_epoch(end, 1, 1) {
                assert_eq!((date(days), days_since_epoch(year, month, day)), ((year, month, day), days));
                day += 1;
                if day > days_in(year, month).unwrap() {
                    (month, day) = (month + 1, 1);
                }
                if month > 12 {
                    (year, month) = (year + 1, 1);
                }
            }
            assert_eq!((year, month, day), (end, 1, 1));
        }
    }
}
