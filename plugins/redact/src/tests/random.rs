//! Random documents, allow lists and rules, compared with a walk over the parsed value.

use serde_json::{Map, Value, json};

use super::*;

const CASES: u64 = 3_000;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// Texts that are no document, or nearly one, or one in another way of writing.
const TEXTS: [&str; 16] = [
    "x",
    "",
    "[x]",
    "{\"a\":1",
    "{\"a\":1} ",
    " [{\"b\":\"\\u0061\"}]",
    "{\"a\":1}{\"a\":2}",
    "é\n\"\\]}",
    "{\"a\":1}\n{\"b\":2}\n",
    "\u{feff}{\"c\":1}",
    "{\"d\":NaN}",
    "{'b':1}",
    "{x y}",
    "\"{\\\"a\\\":{\\\"b\\\":1}}\"",
    "\"\\u007b\\\"a\\\":1}\"",
    "\"x\"",
];

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    fn document(&mut self, depth: u64) -> Value {
        match self.below(10) {
            0..=3 if depth > 0 => {
                let members = (0..self.below(5)).map(|_| (self.one(&NAMES).to_owned(), self.document(depth - 1)));
                Value::Object(members.collect())
            }
            4..=5 if depth > 0 => (0..self.below(4)).map(|_| self.document(depth - 1)).collect(),
            6 if depth > 0 => self.document(depth - 1).to_string().into(),
            7 => Value::Null,
            8 => self.below(1_000).into(),
            _ => self.one(&TEXTS).into(),
        }
    }

    fn root(&mut self) -> Value {
        match self.below(8) {
            0 => self.document(4),
            _ => (0..self.below(5)).map(|_| (self.one(&NAMES).to_owned(), self.document(3))).collect(),
        }
    }

    /// Names and `[*]` (`None`).
    fn steps(&mut self) -> Vec<Option<&'static str>> {
        let count = self.below(3) + 1;
        (0..count).map(|_| if self.below(4) == 0 { None } else { Some(self.one(&NAMES)) }).collect()
    }
}

/// A path one step down, again and again.
#[derive(Clone, Debug)]
enum Way {
    Steps(Vec<Option<&'static str>>),
    Anywhere(&'static str),
}

impl Way {
    fn text(&self) -> String {
        match self {
            Self::Steps(steps) => steps
                .iter()
                .fold("$".to_owned(), |text, step| text + &step.map_or("[*]".to_owned(), |name| format!(".{name}"))),
            Self::Anywhere(name) => format!("$..{name}"),
        }
    }

    /// `Some(None)` if it ends there.
    fn below(&self, name: Option<&str>) -> Option<Option<Self>> {
        match self {
            Self::Anywhere(wanted) if name == Some(wanted) => Some(None),
            Self::Anywhere(_) => Some(Some(self.clone())),
            Self::Steps(steps) if steps[0].is_none() || steps[0] == name => {
                Some((steps.len() > 1).then(|| Self::Steps(steps[1..].to_vec())))
            }
            Self::Steps(_) => None,
        }
    }

    /// Returns whether somebody could find a field of it in a text that is no strict document.
    fn may_be_in(&self, text: &str) -> bool {
        let Self::Anywhere(name) = self else { return false };
        let has_brace = text.contains('{') || text.contains('\\') && (text.contains('"') || text.contains('\''));
        has_brace && (text.contains(name) || text.contains('\\'))
    }

    fn fits(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Anywhere(_), _) | (_, Value::Null | Value::Object(_)) => true,
            (Self::Steps(steps), Value::Array(_)) => steps[0].is_none(),
            _ => false,
        }
    }
}

/// The ways that go on below a step, and whether one ends there.
fn below(ways: &[Way], name: Option<&str>) -> (Vec<Way>, bool) {
    let all: Vec<Option<Way>> = ways.iter().filter_map(|way| way.below(name)).collect();
    let ends = all.iter().any(Option::is_none);
    (all.into_iter().flatten().collect(), ends)
}

/// Calls `each` with the members or elements of a value, and keeps what it returns.
fn rebuilt(
    value: &Value,
    mut each: impl FnMut(Option<&str>, &Value) -> Result<Option<Value>, ()>,
) -> Result<Value, ()> {
    Ok(match value {
        Value::Object(members) => {
            let mut rest = Map::new();
            for (name, value) in members {
                if let Some(value) = each(Some(name), value)? {
                    rest.insert(name.clone(), value);
                }
            }
            rest.into()
        }
        Value::Array(elements) => {
            let elements = elements.iter().map(|element| each(None, element));
            elements.filter_map(Result::transpose).collect::<Result<Vec<Value>, ()>>()?.into()
        }
        scalar => scalar.clone(),
    })
}

/// Returns the rest that an allow list leaves. `Err` where a path cannot go on.
fn kept(value: &Value, ways: &[Way]) -> Result<Value, ()> {
    let is_every = |way: &Way| matches!(way, Way::Steps(steps) if steps[0].is_none());
    if !ways.iter().all(|way| way.fits(value)) || value.is_object() && ways.iter().any(is_every) {
        return Err(());
    }
    rebuilt(value, |name, value| match below(ways, name) {
        (_, true) => Ok(Some(value.clone())),
        (ways, false) if ways.is_empty() => Ok(None),
        (ways, false) => kept(value, &ways).map(Some),
    })
}

fn as_document(value: &Value) -> Option<Value> {
    let document = serde_json::from_str(value.as_str()?).ok()?;
    matches!(document, Value::Object(_) | Value::Array(_) | Value::String(_)).then_some(document)
}

/// Returns the rest that removing rules leave, in texts too. Notes whether something in a text was
/// removed.
fn removed(value: &Value, ways: &[Way], is_text: bool, in_text: &mut bool) -> Result<Value, ()> {
    if ways.is_empty() {
        return Ok(value.clone());
    }
    if let Some(document) = as_document(value) {
        return Ok(removed(&document, ways, true, in_text)?.to_string().into());
    }
    if value.as_str().is_some_and(|text| ways.iter().any(|way| way.may_be_in(text))) {
        return Err(());
    }
    if !ways.iter().all(|way| way.fits(value)) {
        return Err(());
    }
    rebuilt(value, |name, value| match below(ways, name) {
        (_, true) => {
            *in_text |= is_text;
            Ok(None)
        }
        (ways, false) => removed(value, &ways, is_text, in_text).map(Some),
    })
}

/// Puts documents in the place of their texts: how they are written does not matter here.
fn read(value: &Value) -> Value {
    match as_document(value) {
        Some(document) => json!({ "text": read(&document) }),
        None => rebuilt(value, |_, value| Ok(Some(read(value)))).unwrap(),
    }
}

/// Sends a document through the plugin as the host does, and applies its edits. `Err` is a reject.
fn sent(tester: &mut Tester<Redact>, document: &Value, is_pretty: bool) -> Result<Value, String> {
    let write = |value: &Value| match is_pretty {
        true => serde_json::to_string_pretty(value).unwrap(),
        false => value.to_string(),
    };
    let mut record = TestRecord::new().value(write(document));
    let names: Vec<String> = match document {
        Value::Object(members) => members.keys().cloned().collect(),
        Value::Array(elements) => (0..elements.len()).map(|index| index.to_string()).collect(),
        _ => Vec::new(),
    };
    for name in &names {
        record = record.field(0, &format!("/{name}"), &write(document.pointer(&format!("/{name}")).unwrap()));
    }
    let lines = tester.process(&[record]).unwrap();
    if let Some(reject) = lines.iter().find(|line| line.starts_with("0 reject")) {
        return Err(reject.clone());
    }
    let mut index = 0;
    let left = rebuilt(document, |_, value| {
        let edit = lines.iter().find_map(|line| line.strip_prefix(&format!("0 field {index} = ")));
        index += 1;
        Ok(match edit {
            None => Some(value.clone()),
            Some("null") => None,
            Some(text) => Some(serde_json::from_str(text).unwrap()),
        })
    });
    Ok(left.unwrap())
}

#[test]
fn an_allow_list_keeps_what_it_names_and_rejects_other_shapes() {
    for seed in 1..=CASES {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let ways: Vec<Way> = (0..random.below(3) + 1).map(|_| Way::Steps(random.steps())).collect();
        let list: Vec<String> = ways.iter().map(Way::text).collect();
        let mut tester = redact(json!({ "keep_only": list }));
        for _ in 0..8 {
            let document = random.root();
            let found = sent(&mut tester, &document, random.below(2) == 0);
            assert_eq!(found.as_ref().ok(), kept(&document, &ways).as_ref().ok(), "{list:?} of {document}: {found:?}");
            assert!(found.is_ok() || found.unwrap_err().starts_with("0 reject 1"));
        }
    }
}

#[test]
fn texts_that_are_json_are_part_of_the_document() {
    for seed in 1..=CASES {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let way = |random: &mut Random| match random.below(3) {
            0 => Way::Anywhere(random.one(&NAMES)),
            _ => Way::Steps(random.steps()),
        };
        let ways: Vec<Way> = (0..random.below(2) + 1).map(|_| way(&mut random)).collect();
        let fields: Vec<String> = ways.iter().map(Way::text).collect();
        let tester =
            |embedded| redact(json!({ "rules": [{ "fields": fields, "with": "remove" }], "embedded": embedded }));
        let (mut inside, mut unless_inside) = (tester("redact"), tester("reject"));
        for _ in 0..8 {
            // A text in the place of the whole document is rejected as another shape.
            let document = Some(random.root()).filter(|root| as_document(root).is_none()).unwrap_or_default();
            let is_pretty = random.below(2) == 0;
            let mut in_text = false;
            let expected = match document {
                Value::Null | Value::Object(_) | Value::Array(_) => {
                    removed(&document, &ways, false, &mut in_text).map(|left| read(&left))
                }
                _ => Err(()),
            };
            let found = sent(&mut inside, &document, is_pretty).map(|left| read(&left));
            assert_eq!(found.as_ref().ok(), expected.as_ref().ok(), "{fields:?} of {document}: {found:?}");
            let found = sent(&mut unless_inside, &document, is_pretty).map(|left| read(&left));
            let expected = expected.ok().filter(|_| !in_text);
            assert_eq!(found.as_ref().ok(), expected.as_ref(), "{fields:?} of {document}: {found:?}");
        }
    }
}
