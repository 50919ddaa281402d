//! Numbers of a record's JSON. A whole number of 64 bits is exact, however it is spelt: 400, 400.0
//! and 4e2 are one number. Every other number is a double.

use std::{cmp::Ordering, ops::RangeInclusive};

use strait_scheme::canonical;

use crate::trouble::Trouble;

/// The values of whole numbers.
const WHOLE: RangeInclusive<i128> = i64::MIN as i128..=u64::MAX as i128;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// From -2^63 to 2^64-1.
    Whole(i128),
    /// Not necessarily with a fraction: the results of calculations with doubles are doubles.
    Double(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Number {
    /// Parses the JSON text of a number.
    pub fn parse(source: &[u8]) -> Result<Self, Trouble> {
        let text = std::str::from_utf8(source).map_err(|_| Trouble::NotJudged)?;
        if let Ok(number) = text.parse::<i64>() {
            return Ok(Self::Whole(number.into()));
        }
        let double: f64 = text.parse().map_err(|_| Trouble::NotJudged)?;
        if !double.is_finite() {
            return Err(Trouble::Evaluation);
        }
        // A whole number of 64 bits is never nearest to a double with a fraction.
        let whole = if double.fract() == 0.0 { canonical::integer(text) } else { None };
        Ok(whole.map_or(Self::Double(double), Self::Whole))
    }

    pub fn double(self) -> f64 {
        match self {
            Self::Whole(number) => number as f64,
            Self::Double(number) => number,
        }
    }

    /// Returns the whole number with this value, if there is one.
    pub fn whole(self) -> Option<i128> {
        match self {
            Self::Whole(number) => Some(number),
            Self::Double(number) => Some(number as i128).filter(|whole| number.fract() == 0.0 && WHOLE.contains(whole)),
        }
    }

    /// Compares by value, exactly. `None` if one is not a number.
    pub fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => Some(a.cmp(&b)),
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(&b),
            (Self::Whole(a), Self::Double(b)) => compare_mixed(a, b),
            (Self::Double(a), Self::Whole(b)) => compare_mixed(b, a).map(Ordering::reverse),
        }
    }

    /// Calculates with whole numbers exactly, and with doubles if one of the two is a double or a
    /// quotient is not whole.
    ///
    /// # Errors
    /// [`Trouble::Evaluation`] for a result out of range, a division by zero, and the remainder of
    /// a double.
    pub fn calculate(self, by: Operator, other: Self) -> Result<Self, Trouble> {
        if let (Self::Whole(a), Self::Whole(b)) = (self, other) {
            let exact = match by {
                Operator::Add => a.checked_add(b),
                Operator::Subtract => a.checked_sub(b),
                Operator::Multiply => a.checked_mul(b),
                Operator::Remainder => a.checked_rem(b),
                Operator::Divide if a.checked_rem(b).is_some_and(|rest| rest != 0) => {
                    return Ok(Self::Double(a as f64 / b as f64));
                }
                Operator::Divide => a.checked_div(b),
            };
            return exact.filter(|result| WHOLE.contains(result)).map(Self::Whole).ok_or(Trouble::Evaluation);
        }
        let (a, b) = (self.double(), other.double());
        let result = match by {
            Operator::Add => a + b,
            Operator::Subtract => a - b,
            Operator::Multiply => a * b,
            // By zero it is infinite or no number.
            Operator::Divide => a / b,
            Operator::Remainder => return Err(Trouble::Evaluation),
        };
        if result.is_finite() { Ok(Self::Double(result)) } else { Err(Trouble::Evaluation) }
    }

    pub fn negate(self) -> Result<Self, Trouble> {
        Self::Whole(0).calculate(Operator::Subtract, self)
    }
}

/// Compares exactly, where converting the whole number to a double would round.
fn compare_mixed(whole: i128, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    // Saturates far outside the range of 64-bit integers.
    let truncated = double.trunc() as i128;
    Some(whole.cmp(&truncated).then(0.0.partial_cmp(&double.fract()).unwrap_or(Ordering::Equal)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(json: &str) -> Number {
        Number::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_whole_number_of_64_bits_is_exact_in_every_spelling() {
        for (json, whole) in [
            ("400", 400),
            ("400.0", 400),
            ("4e2", 400),
            ("40000E-2", 400),
            ("-0.0", 0),
            ("9007199254740993.00", 9_007_199_254_740_993),
            ("9007199254740993e0", 9_007_199_254_740_993),
            ("1844674407370955161.5e1", u64::MAX.into()),
            ("-9223372036854775808.0", i64::MIN.into()),
        ] {
            assert_eq!(number(json), Number::Whole(whole), "{json}");
        }
        for (json, double) in [
            ("1.5", 1.5),
            ("18446744073709551616", 18_446_744_073_709_551_616.0),
            ("-9223372036854775809", -9_223_372_036_854_775_808.0),
            ("9007199254740992.5", 9_007_199_254_740_992.0),
            ("1e300", 1e300),
        ] {
            assert_eq!(number(json), Number::Double(double), "{json}");
        }
        assert_eq!(Number::parse(b"1e999"), Err(Trouble::Evaluation));
    }

    #[test]
    fn calculations_are_exact_or_fail_and_doubles_are_used_only_for_fractions() {
        use Operator::{Add, Divide, Multiply, Remainder, Subtract};
        let max = u64::MAX.to_string();
        for (a, by, b, expected) in [
            ("9007199254740993.0", Add, "1", Some("9007199254740994")),
            ("9007199254740993", Multiply, "2e0", Some("18014398509481986")),
            (&max, Subtract, "1", Some("18446744073709551614")),
            (&max, Add, "1", None),
            (&max, Multiply, &max, None),
            ("-9223372036854775808", Subtract, "1", None),
            ("1", Subtract, &max, None),
            ("0", Subtract, "1", Some("-1")),
            ("7", Divide, "2", Some("3.5")),
            ("9007199254740993", Divide, "1", Some("9007199254740993")),
            ("7.5", Divide, "2", Some("3.75")),
            ("7", Divide, "0", None),
            ("7", Divide, "0.0", None),
            ("7.5", Divide, "0", None),
            ("-7", Remainder, "4.0", Some("-3")),
            ("7", Remainder, "0", None),
            ("7.5", Remainder, "2", None),
            ("-1.5", Add, "1", Some("-0.5")),
            ("1e308", Multiply, "1e308", None),
        ] {
            let result = number(a).calculate(by, number(b)).ok();
            assert_eq!(result, expected.map(number), "{a} {by:?} {b}");
        }
        assert_eq!(number("-9223372036854775808").negate(), Ok(Number::Whole(1 << 63)));
        assert_eq!(number(&max).negate(), Err(Trouble::Evaluation));
        assert_eq!(number("1.5").negate(), Ok(Number::Double(-1.5)));
    }
}
