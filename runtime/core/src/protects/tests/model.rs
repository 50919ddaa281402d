//! A model that knows nothing of the order: it applies claims to single places and says which facts
//! about the content remain visible. The comparison of claims must never miss what it sees.

use proptest::prelude::*;

use super::*;
use crate::json_path::{Path, Segment};

/// Facts about a content of seven characters or more, as bits.
type Facts = u32;
const EXISTS: Facts = 1;
const NOT_NULL: Facts = 1 << 1;
const LENGTH: Facts = 1 << 2;
const GUESSED: Facts = 1 << 3;
const ALL: Facts = u32::MAX;
const KEYS: [(&str, &str); 3] = [("k", "d"), ("l", "d"), ("k", "e")];

fn facts(leaves: &Leaves) -> Facts {
    let some = |count: u32, from: u32| (0..count).fold(0, |bits, n| bits | (1 << (from + n)));
    let exists = EXISTS * u32::from(*leaves != Leaves::Nothing);
    exists
        | match leaves {
            Leaves::Nothing | Leaves::Null => 0,
            Leaves::Constant => NOT_NULL,
            Leaves::Token(None) => NOT_NULL | GUESSED | some(3, 4),
            Leaves::Token(Some(key)) => {
                let known = KEYS.iter().position(|known| *known == (&*key.id, &*key.domain)).unwrap();
                NOT_NULL | (1 << (4 + known))
            }
            Leaves::Part(kept) => NOT_NULL | LENGTH | some(kept.first, 8) | some(kept.last, 12),
            Leaves::All => ALL,
        }
}

/// A single content in a record.
#[derive(Clone, Debug)]
struct Place {
    part: Part,
    /// Names and indexes only.
    steps: Vec<Segment>,
    /// The number of steps to the text that holds the rest as JSON.
    text_at: Option<usize>,
}

fn any_case(name: &str, fold: bool) -> String {
    if fold { name.to_lowercase() } else { name.to_owned() }
}

fn path_matches(pattern: &[Segment], steps: &[Segment], fold: bool) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return steps.is_empty() };
    let Some((step, after)) = steps.split_first() else { return false };
    let same = |a: &str, b: &str| any_case(a, fold) == any_case(b, fold);
    match (first, step) {
        (Segment::Each, _) => path_matches(rest, after, fold),
        (Segment::Name(wanted), Segment::Name(name)) => same(wanted, name) && path_matches(rest, after, fold),
        (Segment::Index(wanted), Segment::Index(index)) => wanted == index && path_matches(rest, after, fold),
        (Segment::Below(wanted), step) => {
            let here = matches!(step, Segment::Name(name) if same(wanted, name)) && path_matches(rest, after, fold);
            here || path_matches(pattern, after, fold)
        }
        _ => false,
    }
}

/// Returns the numbers of steps after which the locator matches.
fn matches<'a>(locator: &'a Locator, place: &'a Place, fold: bool) -> impl Iterator<Item = usize> + 'a {
    let part = match (locator.part(), &place.part) {
        (Part::Headers, Part::Header(_)) => true,
        (Part::HeaderPrefix(prefix), Part::Header(name)) => any_case(name, fold).starts_with(&any_case(prefix, fold)),
        (Part::Header(wanted), Part::Header(name)) => any_case(wanted, fold) == any_case(name, fold),
        (wanted, part) => wanted == part,
    };
    let pattern = locator.path().map_or(&[][..], Path::segments);
    (0..=place.steps.len()).filter(move |len| part && path_matches(pattern, &place.steps[..*len], fold))
}

/// Returns what one claim lets an observer know of the content.
fn seen_by(claim: &Claim, place: &Place) -> Facts {
    let depth = place.steps.len();
    let limit = place.text_at.filter(|_| claim.embedded.is_none()).unwrap_or(depth);
    let reaches = |locator: &Locator| matches(locator, place, claim.fold).any(|len| len <= limit);
    if !reaches(&claim.at) || claim.except.iter().any(reaches) {
        return ALL;
    }
    let text_at = place.text_at.unwrap_or(depth);
    let inside = text_at < depth && !matches(&claim.at, place, claim.fold).any(|len| len <= text_at);
    let around = text_at < depth && !inside;
    match (claim.embedded, &claim.leaves) {
        (Some(Embedded::Reject), _) if inside => 0,
        // The text around it is replaced, and the content not mentioned; or it can be guessed; or
        // its characters can be any of the content.
        (_, Leaves::Nothing | Leaves::Null | Leaves::Constant | Leaves::Token(Some(_))) if around => 0,
        (_, Leaves::Part(_)) if around => ALL,
        (_, leaves) => facts(leaves),
    }
}

fn seen(claims: &[Claim], place: &Place) -> Facts {
    claims.iter().fold(ALL, |known, claim| known & seen_by(claim, place))
}

fn leaves() -> impl Strategy<Value = Leaves> {
    prop_oneof![
        Just(Leaves::Nothing),
        Just(Leaves::Null),
        Just(Leaves::Constant),
        Just(Leaves::Token(None)),
        (0..KEYS.len()).prop_map(|n| key(KEYS[n].0, KEYS[n].1)),
        (0u32..4, 0u32..4).prop_map(|(first, last)| part(first, last)),
        Just(Leaves::All),
    ]
}

fn name() -> impl Strategy<Value = Box<str>> {
    prop::sample::select(vec!["a", "b", "A", "ab"]).prop_map(Into::into)
}

fn locator() -> impl Strategy<Value = Locator> {
    let segment = prop_oneof![
        4 => name().prop_map(|name| format!("['{name}']")),
        1 => (0u32..2).prop_map(|index| format!("[{index}]")),
        2 => Just("[*]".to_owned()),
        2 => name().prop_map(|name| format!("..['{name}']")),
    ];
    let path = prop::collection::vec(segment, 0..4).prop_map(|segments| match segments.is_empty() {
        true => String::new(),
        false => format!("${}", segments.concat()),
    });
    let path = path.boxed();
    prop_oneof![
        6 => path.clone().prop_map(|path| format!("value{path}")),
        1 => path.clone().prop_map(|path| format!("key{path}")),
        1 => (name(), path).prop_map(|(name, path)| format!("header['{name}']{path}")),
        1 => name().prop_map(|name| format!("header['{name}'*]")),
        1 => prop::sample::select(vec!["headers", "topic"]).prop_map(str::to_owned),
    ]
    .prop_map(|text| at(&text))
}

fn any_claim() -> impl Strategy<Value = Claim> {
    let embedded = prop_oneof![3 => Just(None), 1 => Just(Some(Embedded::Reject)), 1 => Just(Some(Embedded::Redact))];
    let except = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(locator(), 1..3)];
    (locator(), except, leaves(), any::<bool>(), embedded).prop_map(|(at, except, leaves, fold, embedded)| Claim {
        except,
        fold,
        embedded,
        ..Claim::new(rule("r"), at, leaves)
    })
}

/// Claims, and others that differ from them in a few places.
fn pair() -> impl Strategy<Value = (Vec<Claim>, Vec<Claim>)> {
    let change = (any::<prop::sample::Index>(), 0u8..7, any_claim());
    (prop::collection::vec(any_claim(), 1..4), prop::collection::vec(change, 0..3)).prop_map(|(before, changes)| {
        let mut after = before.clone();
        for (index, what, other) in changes {
            let index = index.index(after.len());
            match what {
                0 if after.len() > 1 => drop(after.remove(index)),
                1 => after.push(other),
                2 => after[index].leaves = other.leaves,
                3 => after[index].at = other.at,
                4 => after[index].except = other.except,
                5 => after[index].fold = other.fold,
                _ => after[index].embedded = other.embedded,
            }
        }
        (before, after)
    })
}

fn place() -> impl Strategy<Value = Place> {
    let step = prop_oneof![3 => name().prop_map(Segment::Name), 1 => (0u32..2).prop_map(Segment::Index)];
    let part = prop_oneof![
        6 => Just(Part::Value),
        1 => Just(Part::Key),
        2 => name().prop_map(Part::Header),
        1 => Just(Part::Topic),
    ];
    (part, prop::collection::vec(step, 0..5), prop::option::of(0usize..4)).prop_map(|(part, steps, text_at)| {
        let steps = if part == Part::Topic { Vec::new() } else { steps };
        Place { text_at: text_at.filter(|at| *at < steps.len()), part, steps }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    /// The order of what is left is that of the facts: so it is reflexive, antisymmetric and
    /// transitive.
    #[test]
    fn the_order_is_that_of_what_is_known(a in leaves(), b in leaves(), c in leaves()) {
        prop_assert_eq!(a <= b, facts(&a) & !facts(&b) == 0, "{:?} {:?}", a, b);
        prop_assert!(a <= a);
        prop_assert!(!(a <= b && b <= a) || a == b);
        prop_assert!(!(a <= b && b <= c) || a <= c);
    }

    #[test]
    fn covering_is_reflexive_and_transitive_and_means_what_matches(
        a in locator(), b in locator(), c in locator(), places in prop::collection::vec(place(), 40),
    ) {
        prop_assert!(a.covers(&a));
        prop_assert!(!(a.covers(&b) && b.covers(&c)) || a.covers(&c));
        prop_assert!(!(a.covers(&b) && b.covers(&a)) || a == b, "{} {}", a, b);
        prop_assert_eq!(a.may_meet(&b), b.may_meet(&a));
        prop_assert!(!a.covers(&b) || a.may_meet(&b));
        prop_assert_eq!(a.to_string().parse::<Locator>().unwrap(), a.clone());
        for place in &places {
            let (inside_a, inside_b) = (matches(&a, place, false).next().is_some(), matches(&b, place, false).next().is_some());
            prop_assert!(!inside_b || inside_a || !a.covers(&b), "{} does not cover {} at {:?}", a, b, place);
            prop_assert!(!(inside_a && inside_b) || a.may_meet(&b), "{} meets {} at {:?}", a, b, place);
        }
    }

    /// Neither of two is looser than what they have in common.
    #[test]
    fn what_two_have_in_common_each_of_them_protects((one, other) in pair(), more in any_claim()) {
        let (one, mut other) = (protection(&one), protection(&other));
        other.claims.push(more);
        let common = one.common(&other);
        prop_assert!(loosened(&common, &one).is_empty() && loosened(&common, &other).is_empty(), "{:?}", common);
    }

    /// If nothing is loosened, nobody knows more about any content than before.
    #[test]
    fn what_is_not_loosened_shows_no_more((before, after) in pair(), places in prop::collection::vec(place(), 60)) {
        let found = loosened(&protection(&before), &protection(&after));
        for place in &places {
            let more = seen(&after, place) & !seen(&before, place);
            prop_assert!(more == 0 || !found.is_empty(), "{:?} shows {:b}", place, more);
        }
    }

    #[test]
    fn a_set_loosens_nothing_of_itself_and_adding_to_it_neither((before, after) in pair(), more in any_claim()) {
        let loosens = |a: &[Claim], b: &[Claim]| !loosened(&protection(a), &protection(b)).is_empty();
        prop_assert!(!loosens(&before, &before));
        let mut with_more = before.clone();
        with_more.push(more.clone());
        prop_assert!(!loosens(&before, &with_more));
        // Nor does adding to the new set make it looser.
        let mut more_after = after.clone();
        more_after.push(more);
        prop_assert!(loosens(&before, &after) || !loosens(&before, &more_after));
    }

    /// A stored text says the same in any order of the claims, and reads back.
    #[test]
    fn a_stored_text_reads_back((claims, others) in pair(), sights in prop::collection::vec(locator(), 0..3)) {
        let mut stored = protection(&claims);
        stored.sights.extend(sights);
        let text = stored.text();
        let read = Protection::read(&text).unwrap();
        prop_assert_eq!(read.unread, 0);
        prop_assert_eq!(read.text(), text.clone());
        prop_assert!(loosened(&stored, &read).is_empty() && loosened(&read, &stored).is_empty());
        stored.claims.reverse();
        stored.add(stored.clone());
        prop_assert_eq!(text_digest(&stored.text()), text_digest(&text));
        // Whatever loosens has another digest.
        let differs = loosened(&protection(&claims), &protection(&others)).is_empty() || protection(&claims).text() != protection(&others).text();
        prop_assert!(differs);
    }

    #[test]
    fn not_to_loosen_is_transitive((a, b) in pair(), c in prop::collection::vec(any_claim(), 0..3), strict in leaves()) {
        let loosens = |a: &[Claim], b: &[Claim]| !loosened(&protection(a), &protection(b)).is_empty();
        let mut c_of_b = b.clone();
        c_of_b.iter_mut().for_each(|claim| if strict <= claim.leaves { claim.leaves = strict.clone() });
        c_of_b.extend(c);
        prop_assert!(loosens(&a, &b) || loosens(&b, &c_of_b) || !loosens(&a, &c_of_b));
    }

    /// A claim that is taken away or weakened is missed, if it said something and no other claim of
    /// the set stands for it.
    #[test]
    fn what_is_taken_away_or_weakened_is_found(claims in prop::collection::vec(any_claim(), 1..4), index in any::<prop::sample::Index>(), weaker in leaves()) {
        let index = index.index(claims.len());
        let taken = claims[index].clone();
        let mut rest = claims.clone();
        rest.remove(index);
        let says_nothing = loosened(&protection(std::slice::from_ref(&taken)), &Protection::default()).is_empty();
        prop_assert_eq!(says_nothing, taken.leaves == Leaves::All && taken.embedded != Some(Embedded::Reject));
        let replaced = loosened(&protection(std::slice::from_ref(&taken)), &protection(&rest)).is_empty();
        prop_assert_eq!(loosened(&protection(&claims), &protection(&rest)).is_empty(), replaced);
        let is_weaker = !replaced && weaker.partial_cmp(&taken.leaves).is_none_or(std::cmp::Ordering::is_gt);
        rest.push(Claim { leaves: weaker, ..taken });
        prop_assert!(!is_weaker || !loosened(&protection(&claims), &protection(&rest)).is_empty());
    }
}
