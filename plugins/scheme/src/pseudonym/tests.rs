use super::*;

#[derive(serde::Deserialize)]
struct Vectors {
    pseudonyms: Vec<Vector>,
    key_ids: Vec<KeyId>,
}

#[derive(serde::Deserialize)]
struct Vector {
    secret: String,
    domain: String,
    json: Option<String>,
    bytes: Option<String>,
    prefix: String,
    key_id: String,
    key: String,
    hex: String,
    base64url: String,
}

#[derive(serde::Deserialize)]
struct KeyId {
    secret: String,
    key_id: String,
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn the_vectors_of_an_independent_implementation_are_met() {
    let vectors: Vectors = serde_json::from_str(include_str!("../../../../wit/vectors/pseudonyms.json")).unwrap();
    assert!(vectors.pseudonyms.len() > 15 && vectors.key_ids.len() == 2);
    for vector in vectors.pseudonyms {
        let Vector { secret, domain, json, bytes, prefix, key_id, key, .. } = &vector;
        assert_eq!(hex(&hkdf(secret.as_bytes(), SALT, domain.as_bytes())), *key);
        let content = match (json, bytes) {
            (Some(json), _) => content(json.as_bytes()).unwrap().into_owned(),
            (None, bytes) => unhex(bytes.as_deref().unwrap()),
        };
        let digest = Key::derive(secret.as_bytes(), domain).of(&content);
        for (encoding, expected) in [(Encoding::Hex, &vector.hex), (Encoding::Base64Url, &vector.base64url)] {
            let mut token = prefix.clone().into_bytes();
            if !key_id.is_empty() {
                token.extend_from_slice(format!("{key_id}.").as_bytes());
            }
            encoding.write(&digest, &mut token);
            assert_eq!(String::from_utf8(token).unwrap(), *expected);
        }
    }
    for KeyId { secret, key_id: expected } in vectors.key_ids {
        assert_eq!(key_id(secret.as_bytes()), expected);
        assert!(is_key_id(&expected));
    }
}

#[test]
fn one_number_has_one_content_and_a_text_is_its_own() {
    for json in ["400", "400.0", "4e2", "4.00E+2", " 400 ", "\"400\"", "\"4\\u00300\""] {
        assert_eq!(content(json.as_bytes()).unwrap(), &b"400"[..], "{json}");
    }
    assert_eq!(content(b"\"\"").unwrap(), &b""[..]);
    assert_eq!(content(b"{ \"b\":1.0, \"a\":\"x\" }").unwrap(), &b"{\"a\":\"x\",\"b\":1}"[..]);
    assert_eq!(content(b"\"\\ud800\""), Err(NotCanonical::NotText));
    for wrong in [&b""[..], b" ", b"\"", b"secret", b"\"\xff\"", b"\"a\nb\""] {
        assert_eq!(content(wrong), Err(NotCanonical::NotJson), "{wrong:?}");
    }
}

#[test]
fn key_ids_have_an_alphabet() {
    assert!(["a", "2026-11", "-", "0123456789abcdef0123456789abcdef"].into_iter().all(is_key_id));
    assert!(!["", "A", "a.b", "a b", "é", "0123456789abcdef0123456789abcdef0"].into_iter().any(is_key_id));
}
