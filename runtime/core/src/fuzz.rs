//! Entry points for the fuzzers (`tests/fuzz`), and for the tests, which run the committed corpora.
//! Built for both alone.

use crate::books::BookEntry;
use crate::control::Control;
use crate::map::MapRecord;
use crate::progress::{HeldBorder, LaneProgress, ProgressFold, ProgressRecord};
use crate::protects::{Locator, Protection, loosened, read_claims};

/// Claims, stored protections and locators of one input.
const TEXTS_MAX: usize = 4;

/// Reads claims, protections and locators, and checks that their order is one. An input is texts
/// with an empty line between: `[` starts claims, `{` a stored protection, anything else locators,
/// a line each.
///
/// # Panics
/// Where a law of the order does not hold, or a text does not read back.
pub fn claims(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let (mut protections, mut locators) = (Vec::new(), Vec::new());
    for text in input.split("\n\n").take(TEXTS_MAX) {
        if text.starts_with('[') {
            let Ok((claims, _)) = read_claims(text) else { continue };
            protections.push(Protection { claims, ..Protection::default() });
        } else if text.starts_with('{') {
            let Ok(mut protection) = Protection::read(text) else { continue };
            protection.unread = 0;
            protections.push(protection);
        } else {
            let read = text.lines().take(TEXTS_MAX).filter_map(|line| line.parse::<Locator>().ok());
            locators.extend(read);
        }
    }
    for a in &protections {
        let text = a.text();
        let read = Protection::read(&text).ok();
        assert_eq!(read.as_ref().map(Protection::text), Some(text), "a stored text");
        assert!(read.is_some_and(|read| !loosens(a, &read) && !loosens(&read, a)), "a stored text");
        assert!(!loosens(a, a), "what is the same is not looser");
        for b in &protections {
            let mut more = a.clone();
            more.add(b.clone());
            assert!(!loosens(a, &more), "more claims are not looser");
            for c in &protections {
                assert!(loosens(a, b) || loosens(b, c) || !loosens(a, c), "what is not looser goes on");
            }
        }
    }
    for a in &locators {
        assert_eq!(a.to_string().parse().as_ref(), Ok(a), "the canonical text");
        assert!(a.covers(a) && a.folded() == a.folded().folded());
        for b in &locators {
            assert!(!(a.covers(b) && b.covers(a)) || a == b, "{a} {b}");
            assert!(!a.covers(b) || a.may_meet(b) && a.folded().covers(&b.folded()), "{a} {b}");
            assert_eq!(a.may_meet(b), b.may_meet(a), "{a} {b}");
            for c in &locators {
                assert!(!(a.covers(b) && b.covers(c)) || a.covers(c), "{a} {b} {c}");
                assert!(!(a.covers(b) && b.may_meet(c)) || a.may_meet(c), "{a} {b} {c}");
            }
        }
    }
}

fn loosens(before: &Protection, after: &Protection) -> bool {
    !loosened(before, after).is_empty()
}

/// Folds progress records and control records. An input is their keys and values, a line each; `-`
/// is no value.
///
/// # Panics
/// Where what was read does not read back as the same.
pub fn progress(input: &[u8]) {
    let mut fold = ProgressFold::default();
    let mut control = Control::default();
    let mut lines = input.split(|byte| *byte == b'\n');
    let mut offset = 0;
    while let (Some(key), Some(value)) = (lines.next(), lines.next()) {
        fold.fold(offset, key, (value != b"-").then_some(value));
        // One that cannot be used is left out.
        control.apply(key, (value != b"-").then_some(value)).ok();
        offset += 1;
        if let Ok((key, entry)) = BookEntry::decode(key, value) {
            let (key_bytes, value) = entry.encode(&key);
            assert_eq!(BookEntry::decode(&key_bytes, &value).ok(), Some((key, entry)), "an entry of the books");
        }
    }
    assert!(control.listed().is_some() || control.source_topics().is_empty(), "a part of a list of topics");
    let Ok(progress) = fold.finish() else { return };
    let mut again = ProgressFold::default();
    for record in records(&progress) {
        let (key, value) = record.encode();
        again.fold(0, &key, Some(&value));
    }
    let read = again.finish().ok().map(|read| LaneProgress { newest: progress.newest.clone(), ..read });
    assert_eq!(read.as_ref(), Some(&progress), "the records read back");

    let mut held = HeldBorder::of(&progress);
    let is_known = |topic| held.protection(topic).is_none_or(|protection| protection.unread == 0);
    let all_known = progress.protects.keys().all(|topic| is_known(topic));
    let lost = held.restore(&held.clone());
    assert!(!all_known || lost.is_empty(), "a copy of the border has more than the border");
}

fn records(progress: &LaneProgress) -> Vec<ProgressRecord> {
    let LaneProgress { positions, lane, borders, newest: _, protects, texts, counts, skips } = progress.clone();
    let mut records: Vec<_> = lane.map(ProgressRecord::Lane).into_iter().collect();
    records.extend(positions.into_iter().map(|(key, position)| ProgressRecord::Partition(key, position)));
    records.extend(borders.into_iter().map(|(key, border)| ProgressRecord::Border(key, border)));
    records.extend(protects.into_iter().map(|(topic, protects)| ProgressRecord::Protects(topic, protects)));
    records.extend(texts.into_iter().map(|(digest, text)| ProgressRecord::Text(digest, text)));
    records.extend(counts.into_iter().map(|(rule, counts)| ProgressRecord::Counts(rule, counts)));
    records.extend(skips.into_iter().map(|(key, skip)| ProgressRecord::Skipped(key, skip)));
    records
}

/// Decodes a record of the offset map. An input is its key, a line, and its value.
///
/// # Panics
/// Where what was read does not read back as the same.
pub fn map(input: &[u8]) {
    let mut parts = input.splitn(2, |byte| *byte == b'\n');
    let (Some(key), Some(value)) = (parts.next(), parts.next()) else { return };
    let Ok(record) = MapRecord::decode(key, value) else { return };
    let (key, value) = record.encode();
    assert_eq!(MapRecord::decode(&key, &value).ok(), Some(record));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_of_the_corpora_holds() {
        strait_corpus::run("claims", claims);
        strait_corpus::run("map", map);
        strait_corpus::run("progress", progress);
    }
}
