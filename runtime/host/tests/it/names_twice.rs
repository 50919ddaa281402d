//! Documents in which a name occurs twice, at any depth: two readers may take different ones, so
//! neither a verdict nor a redaction may be about one of the two alone.

use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use strait_core::edit::{Content, Disposition, Processed};
use strait_flow::ports::{Chain, ChainFactory};
use strait_host::TopicNaming;

use crate::support::{Row, batch, bundled, load};

/// A document that keeps names that occur twice.
#[derive(Clone, Debug, PartialEq)]
enum Doc {
    Leaf(u32),
    List(Vec<Doc>),
    /// Names as they are written, with escapes.
    Members(Vec<(String, Doc)>),
}

fn documents() -> impl Strategy<Value = Doc> {
    let name = prop_oneof![4 => "[abc]", 1 => Just("\\u0061".to_owned()), 1 => Just("\\u0062".to_owned())];
    let inner = any::<u32>().prop_map(Doc::Leaf).prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            3 => prop::collection::vec((name.clone(), inner.clone()), 0..5).prop_map(Doc::Members),
            1 => prop::collection::vec(inner, 0..4).prop_map(Doc::List),
        ]
    });
    // The document is an object.
    prop::collection::vec(("[abc]", inner), 0..4).prop_map(Doc::Members)
}

/// Names, and `*` for each.
fn paths() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop_oneof![4 => prop::sample::select(vec!["a", "b", "c"]), 1 => Just("*")], 1..4)
}

fn path_text(path: &[&str]) -> String {
    let steps = path.iter().map(|step| if *step == "*" { "[*]".to_owned() } else { format!(".{step}") });
    format!("${}", steps.collect::<String>())
}

fn read(name: &str) -> String {
    serde_json::from_str(&format!("\"{name}\"")).unwrap()
}

impl Doc {
    fn text(&self) -> String {
        match self {
            Self::Leaf(number) => number.to_string(),
            Self::List(items) => format!("[{}]", items.iter().map(Self::text).collect::<Vec<_>>().join(",")),
            Self::Members(members) => {
                let mut text = String::new();
                for (name, member) in members {
                    let comma = if text.is_empty() { "" } else { "," };
                    write!(text, "{comma}\"{name}\":{}", member.text()).unwrap();
                }
                format!("{{{text}}}")
            }
        }
    }

    fn of(text: &str) -> Self {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Doc;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a document")
            }
            fn visit_u64<E>(self, number: u64) -> Result<Doc, E> {
                Ok(Doc::Leaf(u32::try_from(number).unwrap()))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Doc, A::Error> {
                let mut list = Vec::new();
                while let Some(Any(item)) = items.next_element()? {
                    list.push(item);
                }
                Ok(Doc::List(list))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut members: A) -> Result<Doc, A::Error> {
                let mut list = Vec::new();
                while let Some((name, Any(member))) = members.next_entry::<String, Any>()? {
                    list.push((name, member));
                }
                Ok(Doc::Members(list))
            }
        }
        struct Any(Doc);
        impl<'de> serde::Deserialize<'de> for Any {
            fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
                reader.deserialize_any(Visitor).map(Any)
            }
        }
        serde_json::from_str::<Any>(text).unwrap().0
    }

    /// Returns how many places the path has, of both of two members of one name.
    fn places(&self, path: &[&str]) -> usize {
        let Some((step, rest)) = path.split_first() else { return 1 };
        match self {
            Self::Leaf(_) => 0,
            Self::List(items) => items.iter().filter(|_| *step == "*").map(|item| item.places(rest)).sum(),
            Self::Members(members) => {
                let on_path = members.iter().filter(|(name, _)| *step == "*" || read(name) == *step);
                on_path.map(|(_, member)| member.places(rest)).sum()
            }
        }
    }

    /// Returns how many members of a name there are, at any depth.
    fn named(&self, wanted: &str) -> usize {
        match self {
            Self::Leaf(_) => 0,
            Self::List(items) => items.iter().map(|item| item.named(wanted)).sum(),
            Self::Members(members) => {
                members.iter().map(|(name, member)| usize::from(read(name) == wanted) + member.named(wanted)).sum()
            }
        }
    }

    /// Returns whether an object on the path has a name of the path twice.
    fn is_twice_on(&self, path: &[&str]) -> bool {
        let Some((step, rest)) = path.split_first() else { return false };
        match self {
            Self::Leaf(_) => false,
            Self::List(items) => *step == "*" && items.iter().any(|item| item.is_twice_on(rest)),
            Self::Members(members) => {
                let names: Vec<String> = members.iter().map(|(name, _)| read(name)).collect();
                let times = |name: &String| names.iter().filter(|other| *other == name).count();
                let twice = names.iter().any(|name| (*step == "*" || name == step) && times(name) > 1);
                let on_path = members.iter().zip(&names).filter(|(_, name)| *step == "*" || *name == step);
                twice || on_path.map(|((_, member), _)| member).any(|member| member.is_twice_on(rest))
            }
        }
    }
}

fn chain(plugin: &str, config: Value) -> Box<dyn Chain> {
    load(vec![bundled(plugin, config)], TopicNaming::Identity).unwrap().chain().unwrap()
}

fn judged(chain: &mut dyn Chain, value: &str) -> Processed {
    let rows: [Row<'_>; 1] = [(Some(b"k"), Some(value.as_bytes()), &[])];
    chain.apply(batch(&rows), 6).unwrap()
}

/// Returns the document that goes out; `None` is a reject.
fn leaving(processed: &Processed, value: &str) -> Option<Doc> {
    match processed.dispositions.first().map(|(_, disposition)| disposition) {
        None => Some(Doc::of(value)),
        Some(Disposition::Reject(_)) => None,
        Some(Disposition::Replace(records)) => match &records[0].value {
            Content::Bytes(bytes) => Some(Doc::of(std::str::from_utf8(bytes).unwrap())),
            _ => Some(Doc::of(value)),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn redact_leaves_none_of_two_fields_of_one_name() {
    let mut runner = TestRunner::deterministic();
    let mut rejected = 0;
    for _ in 0..60 {
        let path = paths().new_tree(&mut runner).unwrap().current();
        let rule = json!({ "fields": [path_text(&path)], "with": "remove" });
        let any_case = json!({ "fields": [path_text(&path)], "with": "remove", "ignore_case": true });
        let mut chains = [
            chain("redact", json!({ "rules": [rule] })),
            chain("redact", json!({ "rules": [any_case] })),
            chain("redact", json!({ "rules": [rule], "embedded": "redact" })),
            chain("redact", json!({ "rules": [rule], "shapes": "lenient" })),
        ];
        let mut anywhere = chain("redact", json!({ "rules": [{ "fields": ["$..a"], "with": "remove" }] }));
        for _ in 0..60 {
            let value = documents().new_tree(&mut runner).unwrap().current().text();
            for chain in &mut chains {
                match leaving(&judged(chain.as_mut(), &value), &value) {
                    Some(left) => assert_eq!(left.places(&path), 0, "{path:?} of {value}: {}", left.text()),
                    None => rejected += 1,
                }
            }
            if let Some(left) = leaving(&judged(anywhere.as_mut(), &value), &value) {
                assert_eq!(left.named("a"), 0, "{value}: {}", left.text());
            }
        }
    }
    assert!(rejected > 1_000, "{rejected}");
}

#[test]
fn filter_and_route_judge_no_document_with_a_name_twice_on_their_path() {
    let mut runner = TestRunner::deterministic();
    let mut twice = 0;
    for _ in 0..60 {
        let mut path = paths().new_tree(&mut runner).unwrap().current();
        path.retain(|step| *step != "*");
        if path.is_empty() {
            continue;
        }
        let text = path_text(&path);
        let of_value = text.replacen('$', "value", 1);
        let mut chains = [
            chain("filter", json!({ "keep": format!("{of_value} == 1 || true") })),
            chain("filter", json!({ "drop": format!("has({of_value})") })),
            chain("filter", json!({ "keep": { "field": text, "equals": 1 } })),
            chain("route", json!({ "by": text, "to": "topic", "hash": { "topics": 2 } })),
        ];
        // The field is an object itself, and is looked into.
        let mut whole = chain("filter", json!({ "keep": format!("size({of_value}) >= 0") }));
        for _ in 0..60 {
            let document = documents().new_tree(&mut runner).unwrap().current();
            let value = document.text();
            let is_twice = document.is_twice_on(&path);
            twice += usize::from(is_twice);
            for (index, chain) in chains.iter_mut().enumerate() {
                let processed = judged(chain.as_mut(), &value);
                let code = match processed.dispositions.first() {
                    Some((_, Disposition::Reject(reject))) => reject.code.to_string(),
                    _ => String::new(),
                };
                // Whatever the field is, this rule decides.
                let decides = index == 0;
                assert!(code == "not-judged" || !is_twice || decides, "{index}, {text} of {value}: {processed:?}");
                assert!(code != "not-judged" || is_twice, "{index}, {text} of {value}: {processed:?}");
            }
            if is_twice {
                let processed = judged(whole.as_mut(), &value);
                assert!(matches!(processed.dispositions[..], [(0, Disposition::Reject(_))]), "{value}: {processed:?}");
            }
        }
    }
    assert!(twice > 100, "{twice}");
}
