use super::*;

#[derive(serde::Deserialize)]
struct Vector {
    json: String,
    canonical: String,
}

fn canonical(json: &str) -> Result<String, NotCanonical> {
    let mut out = Vec::new();
    write(json.as_bytes(), &mut out).map(|()| String::from_utf8(out).unwrap())
}

#[test]
fn the_vectors_of_an_independent_implementation_are_met() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../../../../wit/vectors/canonical.json")).unwrap();
    assert!(vectors.len() > 40);
    for Vector { json, canonical: expected } in vectors {
        assert_eq!(canonical(&json).as_deref(), Ok(&*expected), "{json}");
        assert_eq!(canonical(&expected).as_deref(), Ok(&*expected), "the canonical form of {json} is its own");
    }
}

/// RFC 8785, appendix B, by the bits of the double.
#[test]
fn doubles_are_written_as_the_rfc_says() {
    for (bits, expected) in [
        (0x0000_0000_0000_0001_u64, "5e-324"),
        (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
        (0x4430_0000_0000_0000, "295147905179352830000"),
        (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
        (0x44b5_2d02_c7e1_4af6, "1e+23"),
        (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
        (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
        (0x444b_1ae4_d6e2_ef50, "1e+21"),
        (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
        (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
        (0x41b3_de43_5555_5553, "333333333.3333332"),
        (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
        (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
    ] {
        let text = format!("{:e}", f64::from_bits(bits));
        assert_eq!(number(text.as_bytes()).as_deref(), Ok(expected));
    }
}

#[test]
fn what_has_no_canonical_form_says_why() {
    use NotCanonical::{NameTwice, NotJson, NotText, NumberTooLarge, TooDeep};
    for (json, expected) in [
        ("", NotJson),
        ("nul", NotJson),
        ("nullx", NotJson),
        ("NaN", NotJson),
        ("+1", NotJson),
        ("01", NotJson),
        ("-01", NotJson),
        ("1.", NotJson),
        (".5", NotJson),
        ("1e", NotJson),
        ("1e+", NotJson),
        ("1.e5", NotJson),
        ("-", NotJson),
        ("0x10", NotJson),
        ("1_0", NotJson),
        ("1 2", NotJson),
        ("[1,]", NotJson),
        ("[1", NotJson),
        ("[1}", NotJson),
        ("{\"a\":1,}", NotJson),
        ("{\"a\" 1}", NotJson),
        ("{a:1}", NotJson),
        ("{\"a\":1", NotJson),
        ("\"a", NotJson),
        ("\"\\", NotJson),
        ("\"\\x\"", NotJson),
        ("\"\n\"", NotJson),
        ("\"\\ud83d\"", NotText),
        ("[\"\\uDE00\"]", NotText),
        ("{\"a\":1,\"\\u0061\":2}", NameTwice),
        ("1e400", NumberTooLarge),
        ("-1e999999999999999999999", NumberTooLarge),
    ] {
        assert_eq!(canonical(json), Err(expected), "{json}");
    }
    assert_eq!(canonical(&"[".repeat(300)), Err(TooDeep));
    assert_eq!(canonical("1e-999999999999999999999").as_deref(), Ok("0"));
    let mut out = Vec::new();
    assert_eq!(write(b"\"\xff\"", &mut out), Err(NotJson));
}

#[test]
fn digests_are_of_the_canonical_form() {
    assert_eq!(crate::digest(b" {\"b\":1.0,\"a\":[]}"), crate::digest(b"{\"a\":[],\"b\":1}"));
    assert_ne!(crate::digest(b"9007199254740993"), crate::digest(b"9007199254740992"));
    let digest = crate::digest(b"{}").unwrap();
    assert_eq!(digest, "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    assert_eq!(crate::rule_id(b"{ }").as_deref(), Ok("44136fa3"));
}
