//! Random expressions and records: a matcher and the code of the same expression have one result.

use super::*;

/// Number of expressions; 100,000 in `./dev test soak`. `STRAIT_FILTER_CASES` changes it,
/// `STRAIT_FILTER_SEED` the first seed.
const CASES: u64 = 10_000;

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// Values of fields; an empty one is missing.
const JSON: [&str; 42] = [
    "",
    "null",
    "true",
    "false",
    "0",
    "-0.0",
    "1",
    "1.0",
    "2",
    "-1",
    "1.5",
    "400",
    "400.0",
    "4e2",
    "0.1",
    "9007199254740992",
    "9007199254740993",
    "9007199254740993.0",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551615.0",
    "18446744073709551616",
    "1e300",
    "1e999",
    "\"\"",
    "\"1\"",
    "\"eu\"",
    "\"e\\u0075\"",
    "\"k-1\"",
    "\"é😀\"",
    "\"2026-01-31T12:00:00Z\"",
    "[]",
    "[1,2.0]",
    "[\"eu\",null]",
    "[ 1.0, 2 ]",
    "{}",
    "{\"x\":1,\"y\":[2]}",
    "{\"y\":[2.0],\"x\":1e0}",
    "{\"x\":1,\"x\":1}",
    "[{\"x\":1,\"x\":1}]",
];
/// Where numbers stand among them.
const NUMBERS: std::ops::Range<usize> = 4..25;
const LITERALS: [&str; 24] = [
    "null",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "2",
    "2u",
    "400",
    "400u",
    "1.5",
    "-2.5",
    "400.0",
    "9007199254740993",
    "9007199254740992.0",
    "9223372036854775807",
    "18446744073709551615u",
    "1e300",
    "'eu'",
    "''",
    "'1'",
    "b'k-1'",
    "'k-1'",
    "timestamp('1970-01-01T00:00:01Z')",
];

/// A generator of expressions (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    /// A part of the record.
    fn part(&mut self) -> String {
        match self.below(8) {
            0 => self.of(&["key", "header['h']", "header['none']", "headers['h']", "headers['none']"]).into(),
            1 => self.of(&["timestamp", "offset", "partition", "topic"]).into(),
            _ => format!("value.{}", self.of(&NAMES)),
        }
    }

    fn operand(&mut self, depth: usize) -> String {
        match self.below(if depth == 0 { 6 } else { 11 }) {
            0..4 => self.part(),
            4 => self.of(&LITERALS).into(),
            5 => format!("size({})", self.part()),
            6 | 7 => {
                let operator = self.of(&["+", "-", "*", "/", "%"]);
                format!("({} {operator} {})", self.operand(depth - 1), self.operand(depth - 1))
            }
            8 => format!("-{}", self.part()),
            9 => format!("{}({})", self.of(&["int", "uint", "double", "string", "dyn"]), self.operand(depth - 1)),
            _ => format!("({} ? {} : {})", self.rule(depth - 1), self.operand(depth - 1), self.operand(depth - 1)),
        }
    }

    fn rule(&mut self, depth: usize) -> String {
        match self.below(if depth == 0 { 9 } else { 15 }) {
            0..4 => {
                let operator = self.of(&["==", "!=", "<", "<=", ">", ">="]);
                format!("{} {operator} {}", self.operand(depth), self.operand(depth))
            }
            4 => format!("{} in [{}, {}]", self.part(), self.of(&LITERALS), self.of(&LITERALS)),
            5 => format!("has(value.{})", self.of(&NAMES)),
            6 => {
                let test = self.of(&["startsWith", "endsWith", "contains", "matches"]);
                format!("{}.{test}({})", self.part(), self.of(&["'e'", "'1'", "''", "'k-1'"]))
            }
            7 => self.of(&["value == null", "value != null", "'h' in header", "'x' in headers['h']", "true"]).into(),
            8 => self.part(),
            9 => format!("!({})", self.rule(depth - 1)),
            10 | 11 => format!("({} && {})", self.rule(depth - 1), self.rule(depth - 1)),
            12 | 13 => format!("({} || {})", self.rule(depth - 1), self.rule(depth - 1)),
            _ => format!("({} ? {} : {})", self.rule(depth - 1), self.rule(depth - 1), self.rule(depth - 1)),
        }
    }

    fn record(&mut self, values: &[&str], fields: &[String]) -> TestRecord {
        let record = match self.below(8) {
            0 => TestRecord::new().key(b"\xff"),
            1 => TestRecord::new(),
            _ => TestRecord::new().key("k-1"),
        };
        let record = record.header("h", Some(b"x")).header("h", self.below(2).eq(&0).then_some(b"eu"));
        let mut record = match self.below(12) {
            0 => return record,
            1 => return record.value("x").state(ValueState::NotJson),
            _ => record.value("{…}"),
        };
        for (index, path) in fields.iter().enumerate() {
            let name = NAMES.iter().position(|name| *path == format!("$['{name}']")).unwrap();
            if !values[name].is_empty() {
                record = record.field(index as u32, "/f", values[name]);
            }
        }
        record
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn a_matcher_and_code_have_one_result_for_random_expressions_and_records() {
    let first = setting("STRAIT_FILTER_SEED").unwrap_or(0);
    let (mut compiled, mut seen) = (0, std::collections::BTreeMap::new());
    for seed in first..first + setting("STRAIT_FILTER_CASES").unwrap_or(CASES) {
        let random = &mut Random(seed);
        let rule = random.rule(3);
        let missing = random.of(&["null", "unmatched"]);
        let json = if random.below(2) == 0 { &JSON[NUMBERS] } else { &JSON };
        let values: Vec<_> = NAMES.iter().map(|_| random.of(json)).collect();
        let at = random.0;
        // An element of a list has no matcher.
        let results = [rule.clone(), format!("[{rule}][0]")].map(|keep| {
            let config = serde_json::json!({"keep": keep, "missing": missing, "tombstones": "reject"});
            let mut filter = Tester::<Filter>::new(&config.to_string()).ok()?;
            let fields = filter.fields().to_vec();
            Some(filter.process(&[Random(at).record(&values, &fields)]).unwrap())
        });
        let [Some(matched), Some(evaluated)] = results else {
            let error = compile::compile(&rule).map(|_| ()).unwrap_err();
            let is_known =
                error.starts_with("timestamp is a time, not a number") || error.contains("neither true nor false");
            assert!(is_known, "seed {seed}: {rule}: {error}");
            continue;
        };
        assert_eq!(matched, evaluated, "seed {seed}: {rule} over {values:?}, missing = {missing}");
        let (node, _) = compile::compile(&rule).unwrap();
        compiled += u64::from(!shape(&node).contains("interpret"));
        let kind = matched.first().map_or("pass", |line| line.split(':').next().unwrap_or_default());
        *seen.entry(kind.to_owned()).or_insert(0) += 1;
    }
    println!("{compiled} without code; {seen:?}");
}
