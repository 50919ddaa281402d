//! How far MirrorMaker 2 has copied a partition since it last wrote its position.
//!
//! It copies in order and writes positions once a minute, so after a kill the target ends with
//! records that are behind the position. They are found by comparing the ends: the records at the
//! end of the target, backwards, with those of the source up to each record behind the position. A
//! record is passed over only if it was found on the target, with all before it back to the
//! position.

use std::collections::HashMap;

/// Fewest records that must be equal for a match: fewer could be equal by chance, as those of a
/// sensor are that sends the same again and again.
pub const MATCH_MIN: usize = 100;

/// A record as far as it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its offset.
    pub offset: i64,
    /// Digest of key, value, headers and timestamp.
    pub digest: u128,
    /// Digest of the value.
    pub value: u64,
}

/// The end of what was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// The target ends with the record before this offset, the last of `copied` records behind the
    /// position.
    Matched {
        /// The next offset to copy.
        next: i64,
        /// Records behind the position that are on the target.
        copied: u64,
    },
    /// The target could end with more than one record of the source, or with none that is sure.
    /// Copying continues behind the position.
    Unsure {
        /// Records behind the position that are among the last ones of the target, and would be
        /// there twice.
        possible: u64,
    },
}

/// Compares the ends. `source` are records from some before `next` on, the offset behind the
/// position; `target` are the last ones of the target. Both ascend by offset.
#[must_use]
pub fn match_tail(source: &[Seen], next: i64, target: &[Seen]) -> Tail {
    let before = source.partition_point(|record| record.offset < next);
    let common = common_ends(source, target);
    let mut runs = 0;
    let mut last = None;
    let mut found = Vec::new();
    for (at, (record, common)) in source.iter().zip(common).enumerate() {
        // How many records up to this one have its value.
        runs = if last == Some(record.value) { runs + 1 } else { 1 };
        last = Some(record.value);
        let Some(copied) = (at + 1).checked_sub(before) else { continue };
        let needed = copied.max(MATCH_MIN);
        if common >= needed && runs < needed {
            found.push((record.offset, copied));
        }
    }
    match found[..] {
        [(_, 0)] => Tail::Matched { next, copied: 0 },
        [(offset, copied)] => Tail::Matched { next: offset.saturating_add(1), copied: copied as u64 },
        _ => Tail::Unsure { possible: in_both(source.get(before..).unwrap_or_default(), target) },
    }
}

/// Returns for each record of the source how many records up to it are the last ones of the target.
///
/// This is the Z-algorithm on the reversed digests of the target, followed by those of the source.
fn common_ends(source: &[Seen], target: &[Seen]) -> Vec<usize> {
    let text: Vec<u128> = target.iter().rev().chain(source.iter().rev()).map(|record| record.digest).collect();
    let length = target.len();
    let mut common = vec![0_usize; text.len()];
    let (mut left, mut right) = (0, 0);
    for at in 1..text.len() {
        let known = common.get(at - left).copied().unwrap_or(0);
        let mut equal = if at < right { known.min(right - at) } else { 0 };
        // No more than the target has.
        while equal < length && text.get(at + equal).is_some_and(|digest| text.get(equal) == Some(digest)) {
            equal += 1;
        }
        if at + equal > right {
            (left, right) = (at, at + equal);
        }
        if let Some(place) = common.get_mut(at) {
            *place = equal;
        }
    }
    // Without a record of the target the first place is one of the source.
    let mut of_source: Vec<usize> = common.get(length..).unwrap_or_default().to_vec();
    of_source.reverse();
    of_source
}

/// Counts the records of one side that are also on the other, each as often as there.
fn in_both(one: &[Seen], other: &[Seen]) -> u64 {
    let mut counts: HashMap<u128, u64> = HashMap::new();
    for record in other {
        *counts.entry(record.digest).or_default() += 1;
    }
    let mut both = 0;
    for record in one {
        if let Some(count) = counts.get_mut(&record.digest).filter(|count| **count > 0) {
            *count -= 1;
            both += 1;
        }
    }
    both
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn records(contents: impl IntoIterator<Item = u64>) -> Vec<Seen> {
        let seen = |(offset, content): (i64, u64)| Seen { offset, digest: u128::from(content) << 64, value: content };
        (0..).zip(contents).map(seen).collect()
    }

    #[test]
    fn what_was_copied_behind_the_position_is_found() {
        let source = records(0..1_000);
        for copied in [0, 1, 37, 100, 500] {
            let target = &source[100..300 + copied];
            let (next, copied) = (300 + copied as i64, copied as u64);
            assert_eq!(match_tail(&source, 300, target), Tail::Matched { next, copied });
        }
        // From the start of the log, without a position.
        assert_eq!(match_tail(&source, 0, &source[..200]), Tail::Matched { next: 200, copied: 200 });
        // The whole of the source.
        assert_eq!(match_tail(&source, 300, &source[100..]), Tail::Matched { next: 1_000, copied: 700 });
    }

    #[test]
    fn without_a_hundred_equal_records_copying_goes_on_at_the_position() {
        let source = records(0..1_000);
        // Each with the records that may come twice.
        let few = &source[..50];
        let foreign = [&source[200..340], &records([9_999])[..]].concat();
        let restarted = [&source[200..340], &source[300..350]].concat();
        let skipped = [&source[200..310], &source[311..340]].concat();
        let shorter = &source[310..500];
        for (target, next, possible) in [
            (&[][..], 300, 0),
            (few, 0, 50),
            (&foreign[..], 300, 40),
            (&restarted[..], 300, 50),
            (&skipped[..], 300, 39),
            // The target does not reach back to the position.
            (shorter, 300, 190),
        ] {
            assert_eq!(match_tail(&source, next, target), Tail::Unsure { possible }, "{}", target.len());
        }
        assert_eq!(match_tail(&[], 0, &[]), Tail::Unsure { possible: 0 });
    }

    #[test]
    fn records_that_repeat_are_no_match() {
        let same = records(std::iter::repeat_n(7, 1_000));
        assert_eq!(match_tail(&same, 300, &same[..340]), Tail::Unsure { possible: 340 });
        let period = records((0..1_000).map(|number| number % 100));
        assert_eq!(match_tail(&period, 300, &period[..340]), Tail::Unsure { possible: 340 });
        // Equal values under other keys are one value.
        let keyed: Vec<Seen> = records(0..1_000).into_iter().map(|record| Seen { value: 1, ..record }).collect();
        assert!(matches!(match_tail(&keyed, 300, &keyed[..340]), Tail::Unsure { .. }));
        let mut two = keyed;
        two[339].value = 2;
        assert_eq!(match_tail(&two, 300, &two[..340]), Tail::Matched { next: 340, copied: 40 });
    }

    proptest! {
        /// Whatever the records are and wherever it was killed, nothing is passed over that is not
        /// at the end of the target; and where all differ, nothing is copied twice.
        #[test]
        fn nothing_is_passed_over_that_the_target_does_not_end_with(
            contents in vec(0_u64..4, 0..400),
            distinct in any::<bool>(),
            flushed in 0_usize..400,
            copied in 0_usize..300,
            begun in 0_usize..200,
            again in proptest::option::of(0_usize..150),
        ) {
            let number = |(at, content): (usize, &u64)| if distinct { at as u64 } else { *content };
            let source = records(contents.iter().enumerate().map(number));
            let flushed = flushed.min(source.len());
            let end = (flushed + copied).min(source.len());
            let mut target = source[begun.min(end)..end].to_vec();
            // It was killed, began again at the position, and was killed once more.
            let back = again.map_or(0, |back| (flushed + back).min(source.len()) - flushed);
            target.extend(&source[flushed..flushed + back]);
            let last = if back > 0 { flushed + back } else { end };
            match match_tail(&source, flushed as i64, &target) {
                Tail::Matched { next, copied } => {
                    let passed = &source[flushed..next as usize];
                    prop_assert_eq!(passed.len() as u64, copied);
                    let ends: Vec<u128> = target[target.len() - passed.len()..].iter().map(|r| r.digest).collect();
                    prop_assert_eq!(passed.iter().map(|r| r.digest).collect::<Vec<_>>(), ends);
                    if distinct {
                        prop_assert_eq!(next as usize, last);
                    }
                }
                Tail::Unsure { possible } => {
                    let is_long = begun <= flushed && end - begun >= MATCH_MIN && back == 0;
                    prop_assert!(!distinct || !is_long, "not found: {possible}");
                }
            }
        }
    }
}
