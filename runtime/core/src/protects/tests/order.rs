//! Each kind of loosening, and each change that is none.

use super::*;

fn lost(before: &[Claim], after: &[Claim]) -> Vec<String> {
    loosened(&protection(before), &protection(after)).iter().map(ToString::to_string).collect()
}

#[test]
fn each_way_to_protect_less_is_named() {
    let ssn = || claim("value$.ssn", Leaves::Nothing);
    let folded = |claim: Claim| Claim { fold: true, ..claim };
    let embedded = |claim: Claim, embedded| Claim { embedded: Some(embedded), ..claim };
    let except =
        |claim: Claim, places: &[&str]| Claim { except: places.iter().map(|place| at(place)).collect(), ..claim };
    let email = || claim("value$..email", key("a", "d"));
    for (before, after, words) in [
        (ssn(), claim("value$.email", Leaves::Nothing), "value$['ssn'] (rule r) is not protected any more"),
        // A document without names is rejected only where the path steps.
        (ssn(), claim("value$..ssn", Leaves::Nothing), "value$['ssn'] (rule r) is not protected any more"),
        (ssn(), claim("value$.ssn", part(0, 6)), "would leave the last 6 characters; until now it leaves nothing"),
        (
            claim("value$.ssn", part(0, 4)),
            claim("value$.ssn", part(0, 6)),
            "last 6 characters; until now it leaves the last 4",
        ),
        (claim("value$.ssn", part(4, 0)), claim("value$.ssn", part(0, 4)), "would leave the last 4"),
        (email(), claim("value$..email", key("b", "d")), "would leave a pseudonym by key b in domain d"),
        (email(), claim("value$..email", key("a", "e")), "in domain e"),
        (email(), claim("value$..email", Leaves::Token(None)), "which can be guessed"),
        (email(), claim("value$..email", Leaves::All), "would leave all of it"),
        (email(), claim("value$.email", key("a", "d")), "is not protected any more"),
        (folded(ssn()), ssn(), "in another case"),
        (folded(claim("header['x-'*]", Leaves::Null)), claim("header['x-'*]", Leaves::Null), "in another case"),
        (claim("header['x-'*]", Leaves::Null), claim("header['x-id']", Leaves::Null), "is not protected any more"),
        (ssn(), except(claim("value", Leaves::Nothing), &["value$.order", "value$.ssn"]), "any more at value$['ssn']"),
        (ssn(), except(claim("value", Leaves::Nothing), &["value$..x"]), "any more at value$..['x']"),
        (ssn(), folded(except(claim("value", Leaves::Nothing), &["value$.SSN"])), "any more at value$['SSN']"),
        (embedded(ssn(), Embedded::Redact), ssn(), "inside of texts that are JSON"),
        (embedded(ssn(), Embedded::Reject), embedded(ssn(), Embedded::Redact), "inside of texts that are JSON"),
        (embedded(ssn(), Embedded::Reject), claim("value", part(9, 0)), "inside of texts that are JSON"),
    ] {
        let found = lost(std::slice::from_ref(&before), std::slice::from_ref(&after));
        assert!(found.len() == 1 && found.iter().all(|text| text.contains(words)), "{words}: {found:?}");
        assert_eq!(lost(std::slice::from_ref(&before), &[after, before.clone()]), [""; 0], "adding what was lost");
    }
}

#[test]
fn what_protects_as_much_in_another_way_is_not_a_loosening() {
    let ssn = || claim("value$.ssn", Leaves::Null);
    let folded = |claim: Claim| Claim { fold: true, ..claim };
    let open = |claim: Claim| Claim { except: vec![at("value$.order")], ..claim };
    let embedded = Claim { embedded: Some(Embedded::Reject), ..ssn() };
    for (before, after) in [
        (ssn(), claim("value$.ssn", Leaves::Nothing)),
        (ssn(), claim("value", Leaves::Null)),
        (ssn(), folded(ssn())),
        (ssn(), embedded.clone()),
        // An allow list that does not name it.
        (ssn(), open(claim("value", Leaves::Nothing))),
        (open(claim("value", Leaves::Nothing)), claim("value", Leaves::Nothing)),
        (folded(claim("value$[*]", Leaves::Null)), claim("value$[*]", Leaves::Null)),
        (folded(ssn()), folded(claim("value$.SSN", Leaves::Null))),
        (folded(ssn()), claim("value", Leaves::Null)),
        (embedded, claim("value", Leaves::Nothing)),
        (claim("value$.a", part(0, 4)), claim("value$.a", Leaves::Constant)),
        (claim("value$.a", Leaves::Token(None)), claim("value$.a", key("k", "d"))),
        (claim("value$.a", Leaves::All), claim("key", Leaves::Null)),
    ] {
        assert_eq!(lost(&[before], &[after]), [""; 0]);
    }
}

#[test]
fn a_guest_without_claims_protects_what_it_looks_at_and_no_whole_value_stands_for_a_field() {
    let sights = |places: &[&str]| Protection {
        sights: places.iter().map(|place| at(place)).collect(),
        ..Protection::default()
    };
    let before = sights(&["value", "value$.ssn", "header['x']"]);
    let found = |after: &Protection| loosened(&before, after).len();
    assert_eq!(found(&before), 0);
    assert_eq!(found(&sights(&["value", "value$[*]", "headers", "value$.ssn.a"])), 2);
    assert_eq!(
        loosened(&before, &sights(&["value", "header['x']"])).iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["value$['ssn'] is not looked at any more"]
    );
    // A claim stands for it where it leaves nothing: nobody knows how much was left.
    let mut after = sights(&["value", "header['x']"]);
    after.claims = vec![claim("value$.ssn", Leaves::Null)];
    assert_eq!(found(&after), 1);
    after.claims = vec![claim("value", Leaves::Nothing)];
    assert_eq!(found(&after), 0);
    // And looking at a place stands for no claim.
    assert_eq!(loosened(&protection(&[claim("value$.ssn", Leaves::Null)]), &sights(&["value$.ssn"])).len(), 1);
}

#[test]
fn another_order_of_plugins_about_one_place_is_a_loosening_both_ways() {
    let claimed = |name: &str, place: &str, leaves| Claim::new(rule(name), at(place), leaves);
    let cut = || protection(&[claimed("cut", "value$.ssn", part(3, 0))]);
    let hash = || protection(&[claimed("hash", "value$..ssn", Leaves::Token(None))]);
    let gone = || protection(&[claimed("gone", "value$.ssn", Leaves::Nothing)]);
    let void = || protection(&[claimed("void", "value$.ssn", Leaves::Null)]);
    let other = || protection(&[claimed("other", "value$.name", part(3, 0))]);
    let any_case = || protection(&[Claim { fold: true, ..claimed("any", "value$.SSN", Leaves::Token(None)) }]);
    let sees = |place: &str| Protection { sights: [at(place)].into(), ..Protection::default() };
    let chain = |plugins: &[(Protection, bool)]| {
        let order = plugins.iter().map(|(own, edits)| own.stage(*edits)).collect();
        let mut all = Protection { order, ..Protection::default() };
        plugins.iter().for_each(|(own, _)| all.add(own.clone()));
        // As it is after a restart.
        Protection::read(&all.text()).unwrap()
    };
    let turned = |one: (Protection, bool), two: (Protection, bool)| {
        let (before, after) = (chain(&[one.clone(), two.clone()]), chain(&[two, one]));
        assert!(loosened(&before, &before).is_empty());
        let found = [loosened(&before, &after), loosened(&after, &before)];
        assert_eq!(found[0].len(), found[1].len());
        found[0].first().map(ToString::to_string).unwrap_or_default()
    };
    let words = turned((cut(), true), (hash(), true));
    assert_eq!(words, "plugins are in another order: rule cut came before rule hash and sees what it leaves now");
    assert!(!turned((cut(), true), (any_case(), true)).is_empty());
    assert!(!turned((gone(), true), (hash(), true)).is_empty());
    // A filter that does not find what was redacted.
    let words = turned((sees("value$.ssn"), false), (gone(), true));
    assert!(words.starts_with("value$['ssn'] plugins are in another order: the plugin that looks at value"), "{words}");
    assert!(!turned((sees("value"), false), (cut(), true)).is_empty());
    for (one, two) in [
        // Of other places, without an edit, and where nothing is left anyhow.
        ((cut(), true), (other(), true)),
        ((sees("value$.name"), false), (cut(), true)),
        ((sees("value$.ssn"), false), (sees("value$.ssn"), false)),
        ((gone(), true), (void(), true)),
    ] {
        assert_eq!(turned(one, two), "");
    }
    // What is gone or new changes no order, and twice the same is told apart.
    let three = chain(&[(sees("value$.ssn"), false), (cut(), true), (sees("value$.ssn"), false)]);
    assert!(loosened(&three, &three).is_empty());
    assert_eq!(
        loosened(&three, &chain(&[(sees("value$.ssn"), false), (sees("value$.ssn"), false), (cut(), true)])).len(),
        1
    );
    assert!(
        loosened(&chain(&[(cut(), true), (other(), true)]), &chain(&[(hash(), true), (cut(), true), (other(), true)]))
            .is_empty()
    );
    assert!(loosened(&cut(), &chain(&[(hash(), true), (cut(), true)])).is_empty(), "stored before there was an order");
}

#[test]
fn claims_that_this_version_does_not_know_are_lost_until_somebody_agrees() {
    let before = Protection { unread: 2, ..Protection::default() };
    let found = loosened(&before, &before);
    assert_eq!(
        found.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["2 claims were made that this version does not know"]
    );
}

#[test]
fn the_text_of_a_protection_is_pinned_and_what_is_not_known_in_it_is_counted() {
    let mut stored = protection(&[claim("value$.b", part(0, 4)), claim("value$.a", key("k", "d"))]);
    stored.sights.insert(at("header['x']"));
    let text = stored.text();
    assert_eq!(
        text,
        r#"{"claims":[{"at":"value$['a']","domain":"d","key":"k","leaves":"token","rule":"r"},{"at":"value$['b']","keep":{"first":0,"last":4},"leaves":"part","rule":"r"}],"sights":["header['x']"]}"#
    );
    assert!(text_digest(&text).starts_with("sha256:"));
    let newer = text
        .replace(r#""leaves":"part""#, r#""leaves":"little""#)
        .replace("header['x']", "schema")
        .replace("{\"claims\"", "{\"why\":1,\"claims\"");
    let read = Protection::read(&newer).unwrap();
    assert_eq!((read.claims.len(), read.sights.len(), read.unread), (1, 0, 2));
    assert!(Protection::read("[]").is_err());
    let all: ByTopic = [("t".into(), read)].into();
    assert_eq!((looser(&all, &all).len(), forbidden(&all).len()), (1, 0));
}
