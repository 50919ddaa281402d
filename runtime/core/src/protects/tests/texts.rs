//! Locators and claims as texts.

use super::*;

#[test]
fn locators_have_one_canonical_text_that_reads_back() {
    for (text, canonical) in [
        ("value", "value"),
        ("value$.a[*]..b", "value$['a'][*]..['b']"),
        ("key", "key"),
        ("key$[\"id\"]", "key$['id']"),
        ("headers", "headers"),
        ("header[\"x\"]", "header['x']"),
        (r"header['it\'s']$..a", r"header['it\'s']$..['a']"),
        ("header['x-'*]", "header['x-'*]"),
        ("header[''*]", "header[''*]"),
        ("topic", "topic"),
        ("timestamp", "timestamp"),
        ("partition", "partition"),
    ] {
        assert_eq!(at(text).to_string(), canonical);
        assert_eq!(at(canonical), at(text));
    }
    for (text, position, what) in [
        ("", 1, "is expected"),
        ("$.a", 1, "is expected"),
        ("values", 1, "is expected"),
        ("Value", 1, "is expected"),
        ("envelope$.a", 1, "is expected"),
        ("value.a", 6, "starts with '$'"),
        ("value$", 7, "whole value"),
        ("topic$.a", 6, "a path follows"),
        ("headers$.a", 8, "a path follows"),
        ("header['x'*]$.a", 13, "a path follows"),
        ("header[0]", 10, "name of a header"),
        ("header[*]", 10, "name of a header"),
        ("header", 7, ""),
        ("header['x'", 11, "'*]' is expected"),
        ("header['x", 10, "closing quote"),
        ("header[\"x\"*]", 11, "']' is expected"),
    ] {
        let error = text.parse::<Locator>().unwrap_err().to_string();
        assert!(error.contains(what) && error.contains(&format!("character {position}:")), "{text}: {error}");
    }
    assert!(format!("value$.{}", "a".repeat(3000)).parse::<Locator>().is_err());
}

#[test]
fn a_part_covers_what_is_inside_of_it() {
    for (outer, inner) in [
        ("value", "value$.a"),
        ("value$.a", "value$.a.b"),
        ("headers", "header['x']$.a"),
        ("headers", "header['x'*]"),
        ("header['x'*]", "header['xy']"),
        ("header['x'*]", "header['xy'*]"),
        ("header['x']", "header['x']$.a"),
        ("key", "key$.id"),
    ] {
        assert!(at(outer).covers(&at(inner)) && !at(inner).covers(&at(outer)), "{outer} {inner}");
    }
    for (one, other) in [("value$.a", "key$.a"), ("headers", "value"), ("topic", "partition"), ("header['x']", "key")] {
        assert!(!at(one).covers(&at(other)) && !at(one).may_meet(&at(other)), "{one} {other}");
    }
}

#[test]
fn claims_are_read_and_written() {
    let text = r#"[
        {"rule":"card","at":"value$.card","leaves":"part","keep":{"first":6,"last":4},"gives":"string"},
        {"rule":"0a1b2c3d","at":"value$..email","leaves":"token","key":"k-1","domain":"customer","fold":true},
        {"rule":"ip","at":"header['x-ip']","leaves":"token"},
        {"rule":"open","at":"value","except":["value$.b","value$['a']"],"leaves":"nothing","embedded":"reject"}
    ]"#;
    let (claims, unmade) = read_claims(text).unwrap();
    assert_eq!(unmade, []);
    assert_eq!(claims.first().map(|claim| claim.leaves.clone()), Some(part(6, 4)));
    assert_eq!(claims.get(1).map(|claim| (claim.leaves.clone(), claim.fold)), Some((key("k-1", "customer"), true)));
    let written = serde_json::to_string(&claims).unwrap();
    assert!(written.contains(r#""except":["value$['a']","value$['b']"]"#), "{written}");
    let again = serde_json::to_string(&read_claims(&written).unwrap().0).unwrap();
    assert_eq!(again, written);
}

#[test]
fn a_claim_that_is_not_understood_is_not_made_and_says_why() {
    let good = r#""rule":"r","at":"value$.a""#;
    for (rest, why) in [
        (r#""leaves":"little""#, "'little' is not known"),
        (r#""leaves":"nothing","mood":"good""#, "mood"),
        (r#""leaves":"nothing","leaves":"all""#, "duplicate"),
        (r#""leaves":"nothing","gives":"number""#, "number"),
        (r#""leaves":"nothing","embedded":"pass""#, "pass"),
        (r#""leaves":"nothing","fold":"ascii""#, "ascii"),
        (r#""leaves":"nothing","except":["$.a"]"#, "does not name a part"),
        (r#""leaves":"nothing","except":["schema"]"#, "does not name a part"),
        (r#""leaves":"nothing","keep":{"last":1}"#, "keep belongs"),
        (r#""leaves":"part""#, "needs keep"),
        (r#""leaves":"part","keep":4"#, "integer"),
        (r#""leaves":"part","keep":{"middle":4}"#, "middle"),
        (r#""leaves":"all","key":"k","domain":"d""#, "belong to a token"),
        (r#""leaves":"token","key":"k""#, "belong together"),
        (r#""leaves":"token","domain":"d""#, "belong together"),
        (r#""leaves":"token","key":"K","domain":"d""#, "lower-case"),
        (r#""leaves":"token","key":"k","domain":"""#, "1 to 512"),
        ("\"gives\":\"null\"", "leaves"),
    ] {
        let (claims, unmade) = read_claims(&format!(r#"[{{{good},{rest}}},{{{good},"leaves":"null"}}]"#)).unwrap();
        assert_eq!((claims.len(), unmade.len()), (1, 1), "{rest}");
        assert!(unmade.iter().all(|unmade| unmade.index == 0 && unmade.why.contains(why)), "{rest}: {unmade:?}");
    }
    for text in
        [r#"[{"rule":"","at":"value","leaves":"all"}]"#, r#"[{"rule":"a b","at":"value","leaves":"all"}]"#, "[7]"]
    {
        assert_eq!(read_claims(text).unwrap().0, []);
    }
}

#[test]
fn claims_are_bounded() {
    assert!(matches!(read_claims("{}"), Err(ClaimsError::NotJson { line: 1, .. })));
    assert!(matches!(read_claims("[] []"), Err(ClaimsError::NotJson { .. })));
    let many = format!("[{}0]", "0,".repeat(CLAIMS_MAX));
    assert_eq!(read_claims(&many), Err(ClaimsError::TooMany(CLAIMS_MAX + 1)));
    let long = " ".repeat(CLAIMS_BYTES_MAX + 1);
    assert_eq!(read_claims(&long), Err(ClaimsError::TooLong(CLAIMS_BYTES_MAX + 1)));
    assert!(read_claims(&format!("[{}", "[".repeat(60_000))).is_err());
}

/// The most that a guest can ask of the host here: the costliest claims of 64 KiB, each compared
/// with each.
#[test]
#[allow(clippy::disallowed_methods, reason = "a bound on real work, far above it")]
fn comparing_the_largest_claims_is_bounded() {
    let deep = "..['a']".repeat(6);
    let text = |leaves| {
        let claim = |n| format!(r#"{{"rule":"r","at":"value${deep}[{n}]","leaves":"{leaves}","fold":true}}"#);
        format!("[{}]", (0..500).map(claim).collect::<Vec<_>>().join(","))
    };
    let read = |text: String| Protection { claims: read_claims(&text).unwrap().0, ..Protection::default() };
    let (before, after) = (read(text("null")), read(text("constant")));
    let begun = std::time::Instant::now();
    assert_eq!(loosened(&before, &after).len(), 500);
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
}
