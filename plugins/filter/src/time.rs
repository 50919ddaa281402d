//! Parsing of times and durations in expressions, to milliseconds.

/// Parses RFC 3339, such as `2026-01-31T12:00:00.5+01:00`, to milliseconds since the Unix epoch.
pub fn timestamp_ms(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let rest = rest.strip_prefix(['T', 't'])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let last = days_in(year, month)?;
    if day < 1 || day > last || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (millis, rest) = fraction_ms(rest)?;
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some((seconds - offset_seconds(rest)?) * 1_000 + millis)
}

/// Parses CEL's duration: numbers with the units `h`, `m`, `s` and `ms`, such as `1h30m` or
/// `-1.5s`.
pub fn duration_ms(text: &str) -> Option<i64> {
    let (sign, mut rest) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    let mut sum = 0.0;
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let millis = match unit {
            "h" => 3_600_000.0,
            "m" => 60_000.0,
            "s" => 1_000.0,
            "ms" => 1.0,
            _ => return None,
        };
        sum += number.parse::<f64>().ok()? * millis;
        rest = after;
        if rest.is_empty() {
            return (sum < 1e15).then_some((sign * sum) as i64);
        }
    }
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

/// Parses a fraction of a second to milliseconds, and returns the rest of the text.
fn fraction_ms(text: &str) -> Option<(i64, &str)> {
    let Some(digits) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    if digits.is_empty() {
        return None;
    }
    let millis: String = digits.chars().chain("000".chars()).take(3).collect();
    Some((millis.parse().ok()?, rest))
}

fn offset_seconds(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (sign, clock) = text.strip_prefix('+').map(|c| (1, c)).or_else(|| Some((-1, text.strip_prefix('-')?)))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_follow_rfc_3339() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1969-12-31T23:59:59.5Z", Some(-500)),
            ("2000-02-29T00:00:00Z", Some(951_782_400_000)),
            ("2026-01-31T12:00:00.123456+01:30", Some(1_769_855_400_123)),
            ("2026-01-31t12:00:00-00:00", Some(1_769_860_800_000)),
            ("2026-02-29T00:00:00Z", None),
            ("2026-01-31T24:00:00Z", None),
            ("2026-01-31 12:00:00Z", None),
            ("2026-01-31T12:00:00", None),
            ("2026-1-31T12:00:00Z", None),
            ("2026-01-31T12:00:00.Z", None),
            ("é026-01-31T12:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(timestamp_ms(text), expected, "{text}");
        }
    }

    #[test]
    fn durations_follow_cel() {
        for (text, expected) in [
            ("1h30m", Some(5_400_000)),
            ("-1.5s", Some(-1_500)),
            ("250ms", Some(250)),
            ("1", None),
            ("", None),
            ("s", None),
            ("1d", None),
            ("1h-3m", None),
            ("1e9h", None),
        ] {
            assert_eq!(duration_ms(text), expected, "{text}");
        }
    }
}
