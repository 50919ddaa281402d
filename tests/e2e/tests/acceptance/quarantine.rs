//! `strait quarantine`: refused records are listed, shown, replayed, discarded and trimmed.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::Value;
use strait_core::map::{MapKind, MapRecord};
use strait_e2e::{ConfigFolder, Isolation, LogLine, Record, Strait};

use crate::support::{COPIED, Pair, SOON, Turn, caught_up, keys, link, record, run_to_end, seeded};

/// Refuses a record whose `n` is no number.
pub const STRICT: &str = "[[links.plugins]]\nplugin = \"filter\"\nconfig = { keep = \"value.n >= 0\" }\n";
/// Takes those whose `n` is `late`, drops other texts and still refuses null.
pub const MENDED: &str = "[[links.plugins]]\nplugin = \"filter\"\nconfig = { keep = \"type(value.n) == string ? value.n == 'late' : value.n >= 0\" }\n";

/// Returns a record whose key is its number.
pub fn numbered(partition: i32, number: usize, n: &str) -> Record {
    let value = format!("{{\"n\":{n},\"ssn\":\"canary-value\"}}");
    let header = (b"trace".to_vec(), Some(b"canary-header".to_vec()));
    Record {
        partition,
        headers: vec![header],
        ..record(Some(format!("key-{number:06}").as_bytes()), Some(value.as_bytes()))
    }
}

/// A link that has refused records.
pub struct Refused {
    pub pair: Pair,
    pub name: &'static str,
    pub config: ConfigFolder,
}

impl Refused {
    /// Copies these records of a topic of the link's name under the strict rule.
    pub fn prepare(name: &'static str, partitions: i32, settings: &[(&str, &str)], records: &[Record]) -> Self {
        let pair = Pair::shared();
        pair.at_source().create_topic(name, partitions, settings).unwrap();
        pair.at_source().write(name, records).unwrap();
        let config = pair.config(&link(name, &[name], 2, STRICT));
        let refused = Self { pair, name, config };
        refused.run();
        refused
    }

    /// Runs the link until it has caught up.
    pub fn run(&self) {
        caught_up(self.name, &self.config);
    }

    /// Replaces the rule.
    pub fn mend(&self, from: &str, to: &str) {
        let file = self.config.path().join("strait.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&file, text.replace(from, to)).unwrap();
    }

    fn strait(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let all = [&["quarantine", arguments[0], self.name], &arguments[1..]].concat();
        run_to_end(self.name, &self.config, &all, COPIED)
    }

    /// Runs a command that must succeed, and returns what it says.
    #[track_caller]
    pub fn says(&self, arguments: &[&str]) -> String {
        let (code, said) = self.strait(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        said
    }

    /// Runs a command, and returns whether it succeeds.
    pub fn says_now(&self, arguments: &[&str]) -> bool {
        self.strait(arguments).0 == Some(0)
    }

    /// Runs a command that must fail and say this.
    #[track_caller]
    pub fn fails(&self, arguments: &[&str], why: &str) -> String {
        let (code, said) = self.strait(arguments);
        assert!(code == Some(1) && said.contains(why), "{arguments:?}: {code:?} {said}");
        said
    }

    fn list(&self, more: &[&str]) -> Value {
        let mut process = Strait::start(
            self.name,
            self.config.path(),
            &[&["quarantine", "list", self.name, "-o", "json", "--limit", "10000"], more].concat(),
        )
        .unwrap();
        assert_eq!(process.wait_end(SOON).unwrap().code(), Some(0), "{}", process.stderr());
        serde_json::from_str(&process.stdout()).unwrap()
    }

    pub fn count(&self, state: &str) -> u64 {
        self.list(&["--state", state])["records"].as_u64().unwrap()
    }

    pub fn copies(&self, partition: i32) -> Vec<String> {
        keys(&self.target(), partition)
    }

    fn target(&self) -> Vec<Record> {
        self.pair.at_target().read_records(&format!("source.{}", self.name), Isolation::Committed).unwrap()
    }
}

#[track_caller]
fn without_contents(said: &str) {
    for word in ["canary", "key-0"] {
        assert!(!said.contains(word), "{said}");
    }
}

#[test]
fn refused_records_are_listed_and_shown_by_their_shape_and_discarded_with_a_reason() {
    let _turn = Turn::beside_another();
    let records = (0..12).map(|number| numbered(number % 2, number as usize, if number < 6 { "\"x\"" } else { "1" }));
    let refused = Refused::prepare("shelved", 2, &[], &records.collect::<Vec<_>>());
    let (name, shelved) = ("shelved", &refused);

    let said = shelved.says(&["list"]);
    assert!(
        said.contains("6 records in quarantine open, the oldest since 20") && said.contains("evaluation"),
        "{said}"
    );
    assert!(said.contains("read 0."), "a count says how old it is: {said}");
    without_contents(&said);
    let listed = shelved.list(&["--topic", name, "--partition", "1", "--code", "evaluation"]);
    assert_eq!(listed["records"], 3, "{listed}");
    let first = &listed["entries"][0];
    assert_eq!((&first["partition"], &first["offset"], &first["plugin"]), (&1.into(), &0.into(), &"filter".into()));
    let bytes = r#"key-000001{"n":"x","ssn":"canary-value"}tracecanary-header"#.len();
    assert_eq!(first["bytes"], bytes, "{listed}");
    assert_eq!(shelved.list(&["--code", "other"])["records"], 0);

    let said = shelved.says(&["show", name, "1", "0"]);
    for part in [
        "shelved-1 offset 0: open, refused by filter (evaluation)",
        "key: 10 bytes",
        "header \"trace\": 13 bytes",
        "$.ssn string",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    without_contents(&said);
    let show = ["show", name, "1", "0", "--show-records"];
    without_contents(&shelved.fails(&show, "show_records = true under [admin]"));
    shelved.mend(STRICT, &format!("{STRICT}[admin]\nshow_records = true\n"));
    let said = shelved.fails(&show, "the region of cluster source is not set");
    without_contents(&said);
    shelved.mend("[clusters.source]\n", "[clusters.source]\nregion = \"eu-1\"\n");
    without_contents(&shelved.fails(&show, "that of this configuration is not set"));
    let top = |region: &str| format!("region = \"{region}\"\n[clusters.source]\n");
    shelved.mend("[clusters.source]\n", &top("us-1"));
    without_contents(&shelved.fails(&show, "that of this configuration is \"us-1\""));
    let across = shelved.says(&[&show[..], &["--across-border"]].concat());
    shelved.mend(&top("us-1"), &top("eu-1"));
    // Who reads contents cannot keep that out of the log.
    let said = shelved.says(&[&show[..], &["--log", "off"]].concat());
    for (said, region) in [(across, "us-1"), (said, "eu-1")] {
        assert!(said.contains("\"key\":\"key-000001\"") && said.contains("canary-value"), "{said}");
        let audit: Vec<&str> = said.lines().filter(|line| line.contains("records_shown")).collect();
        assert!(audit.len() == 1 && audit[0].contains("WARN") && audit[0].contains(region), "{said}");
        without_contents(audit[0]);
    }

    shelved.fails(&["show", name, "1", "5"], "have no record shelved-1 offset 5");
    shelved.fails(&["discard", "--topic", "nowhere", "--reason", "r"], "no such record of link shelved is open");
    let (code, said) = run_to_end(name, &shelved.config, &["quarantine", "list", "nolink"], SOON);
    assert!(code == Some(1) && said.contains("nolink"), "{said}");
    let (code, said) = run_to_end(name, &shelved.config, &["quarantine", "show", name, name, "-1", "0"], SOON);
    assert_eq!(code, Some(2), "{said}");

    let discard = ["discard", "--topic", name, "--partition", "0", "--offsets", "0-1", "--reason", "test records"];
    for consent in [&[][..], &["--dry-run"]] {
        let said = shelved.says(&[&discard[..], consent].concat());
        assert!(said.contains("2 records would be discarded") && said.contains("add --yes"), "{said}");
    }
    assert_eq!((shelved.count("open"), shelved.count("discarded")), (6, 0));
    let refused_ms = |state: &str| shelved.list(&["--state", state])["entries"][0]["refused_ms"].as_i64().unwrap();
    let refused = refused_ms("open");
    shelved.says(&[&discard[..], &["--yes"]].concat());
    assert_eq!(refused_ms("discarded"), refused, "not the time of the closing");
    assert_eq!((shelved.count("open"), shelved.count("discarded"), shelved.count("all")), (4, 2, 6));
    assert!(shelved.says(&["list", "--state", "discarded"]).contains("test records"));
    shelved.fails(&[&discard[..], &["--yes"]].concat(), "no such record");
}

#[test]
fn trimming_deletes_up_to_the_first_open_record_and_nothing_by_itself() {
    let _turn = Turn::beside_another();
    let records: Vec<Record> = (0..6).map(|number| numbered(0, number, "\"x\"")).collect();
    let trimmed = Refused::prepare("trimming", 1, &[], &records);
    let start = || trimmed.pair.at_source().offsets("strait.trimming.quarantine", 0, Isolation::Uncommitted).unwrap().0;
    let discard = |offsets: &str| {
        let all =
            ["discard", "--topic", "trimming", "--partition", "0", "--offsets", offsets, "--reason", "r", "--yes"];
        trimmed.says(&all);
    };
    assert!(trimmed.says(&["trim", "--keep-s", "0", "--yes"]).contains("nothing to delete"));
    discard("0-1,3,5");
    assert!(trimmed.says(&["trim", "--yes"]).contains("nothing to delete"), "the last minutes stay");
    let said = trimmed.says(&["trim", "--keep-s", "0"]);
    assert!(said.contains("offsets 0 to 1") && said.contains("add --yes") && start() == 0, "{said}");
    let said = trimmed.says(&["trim", "--keep-s", "0", "--yes"]);
    assert!(said.contains("offsets 0 to 1") && start() == 2, "{said}");
    assert!(trimmed.says(&["show", "trimming", "0", "2"]).contains("$.n string"));
    trimmed.fails(&["show", "trimming", "0", "0"], "it was trimmed or deleted");
    assert_eq!(trimmed.count("open"), 2);
    // The source topic goes, and what is open can only be discarded.
    trimmed.pair.at_source().delete_topic("trimming").unwrap();
    let said = trimmed.says(&["replay"]);
    assert!(
        said.contains("0 records would be replayed") && said.contains("the source has no such partition"),
        "{said}"
    );
    trimmed.fails(&["replay", "--yes"], "2 records open: the source has no such partition any more: discard it");
    discard("2,4");
    assert_eq!(trimmed.count("open"), 0);
}

#[test]
fn a_replay_waits_for_its_plugins_to_be_in_force_and_asks_before_older_values_land_behind_newer() {
    let _turn = Turn::beside_another();
    let n = ["\"late\"", "1", "\"drop\"", "null", "\"late\"", "\"late\""];
    let records: Vec<Record> = (0..6).map(|number| numbered(0, number, n[number])).collect();
    let settings = [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.99")];
    let late = Refused::prepare("belated", 1, &settings, &records);
    assert_eq!(late.copies(0), ["key-000001"]);
    let again = late.fails(&["replay", "--accept-late", "--yes"], "0 of 5 records replayed");
    assert!(again.contains("5 records open: refused again by filter (evaluation)"), "{again}");
    without_contents(&again);

    late.mend(STRICT, MENDED);
    late.fails(&["replay", "--accept-late", "--yes"], "holds the border of generation sha256:");
    late.fails(&["replay"], "holds the border of generation sha256:");
    assert_eq!((late.count("open"), late.copies(0).len()), (5, 1));
    // A start of the link brings them into force.
    late.run();
    late.fails(&["replay", "--yes"], "target topic source.belated is compacted");
    assert_eq!((late.count("open"), late.copies(0).len()), (5, 1));
    let said = late.fails(&["replay", "--accept-late", "--stop-at-reject", "--yes"], "2 of 5 records replayed");
    for part in ["1 copied, 1 dropped", "1 record open: refused again by filter", "2 records behind it not tried"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(late.copies(0), ["key-000001", "key-000000"]);
    late.fails(&["replay", "--accept-late", "--yes"], "2 of 3 records replayed");
    assert_eq!(late.copies(0), ["key-000001", "key-000000", "key-000004", "key-000005"]);
    late.fails(&["replay", "--accept-late", "--yes"], "0 of 1 record replayed");
    late.fails(&["replay", "--topic", "belated", "--partition", "0", "--offsets", "0", "--yes"], "no such record");
    let outcomes = late.list(&["--state", "replayed"])["entries"].clone();
    let outcomes: Vec<&Value> = outcomes.as_array().unwrap().iter().map(|entry| &entry["closed"]["outcome"]).collect();
    assert_eq!(outcomes, ["copied", "dropped", "copied", "copied"]);
}

/// A replay that is killed so many times, at random.
fn killed(name: &'static str, times: usize, each: usize) {
    let mut random = seeded(name);
    let good = 20;
    let one = |at: usize| {
        let (partition, number) = ((at % 3) as i32, at / 3);
        numbered(
            partition,
            number,
            if number < good {
                "1"
            } else if number % 7 == 0 {
                "\"drop\""
            } else {
                "\"late\""
            },
        )
    };
    let records: Vec<Record> = (0..3 * each).map(one).collect();
    let refused = Refused::prepare(name, 3, &[], &records);
    refused.mend(STRICT, MENDED);
    refused.run();
    let open = refused.count("open");
    assert_eq!(open, (3 * (each - good)) as u64);

    let mut left = open;
    let mut interrupted = 0;
    for round in 0..times {
        kill(&refused, round, &mut random);
        let now = refused.count("open");
        assert!(now <= left, "{now} of {left}");
        interrupted += usize::from(now > 0);
        left = now;
    }
    println!("{interrupted} of {times} kills came before the end, {left} of {open} records were left");
    assert!(left < open, "no transaction was committed before a kill");
    fence(&refused);
    if refused.count("open") > 0 {
        refused.says(&["replay", "--yes"]);
    }
    assert!(refused.says(&["replay", "--yes"]).contains("no such record"));

    // Each once, in order, behind what was copied before.
    for partition in 0..3 {
        let wanted = (0..each).filter(|number| *number < good || number % 7 != 0);
        let wanted: Vec<String> = wanted.map(|number| format!("key-{number:06}")).collect();
        assert_eq!(refused.copies(partition), wanted, "partition {partition}");
    }
    assert_eq!((refused.count("open"), refused.count("replayed")), (0, open));
    map_is_exact(&refused);
}

/// Starts a replay and kills it.
fn kill(refused: &Refused, round: usize, random: &mut StdRng) {
    let arguments = ["quarantine", "replay", refused.name, "--yes", "--log-format", "json"];
    let mut process = Strait::start("killed", refused.config.path(), &arguments).unwrap();
    let moved = |line: &LogLine| line.message() == "replaying";
    // Some die before they have begun, most in the middle.
    if !round.is_multiple_of(4) {
        // An error is its end.
        process.wait_line("a transaction", COPIED, moved).ok();
    }
    let pause = Duration::from_millis(random.random_range(0..if round.is_multiple_of(4) { 3_000 } else { 80 }));
    std::thread::sleep(pause);
    process.kill().unwrap();
}

/// A replay that is frozen in the middle, and fenced by another one, ends without a copy.
fn fence(refused: &Refused) {
    let arguments = ["quarantine", "replay", refused.name, "--yes", "--log-format", "json"];
    let mut frozen = Strait::start("frozen", refused.config.path(), &arguments).unwrap();
    let moved = |line: &LogLine| line.message() == "replaying";
    if frozen.wait_line("a transaction", COPIED, moved).is_err() || frozen.poll_end().unwrap().is_some() {
        return;
    }
    frozen.pause().unwrap();
    let left = refused.count("open");
    let (_, said) = refused.strait(&["replay", "--yes"]);
    frozen.resume().unwrap();
    let status = frozen.wait_end(COPIED).unwrap();
    if left > 0 {
        assert!(said.contains(&format!("{left} of {left} records replayed")), "{said}");
        assert!(
            status.code() == Some(1) && frozen.stderr().contains("another replay or discard"),
            "{}",
            frozen.stderr()
        );
    }
}

/// Each copy has its run of the offset map, and the copies of the link have theirs.
fn map_is_exact(refused: &Refused) {
    let target = refused.target();
    let topic = format!("strait.{}.map", refused.name);
    let maps = refused.pair.at_target().read_records(&topic, Isolation::Committed).unwrap();
    let mut mapped = 0;
    for record in &maps {
        let map = MapRecord::decode(record.key.as_deref().unwrap(), record.value.as_deref().unwrap()).unwrap();
        for run in map.runs.iter().filter(|_| map.kind == MapKind::Replay) {
            for step in 0..i64::from(run.count) {
                let place = (run.target_partition, run.target.0 + step);
                let copy = target.iter().find(|copy| (copy.partition, copy.offset) == place).unwrap();
                let key = format!("key-{:06}", run.source.0 + step);
                assert_eq!(copy.key.as_deref(), Some(key.as_bytes()), "{map:?}");
                mapped += 1;
            }
        }
    }
    let good = target.iter().filter(|copy| copy.value.as_deref().unwrap().starts_with(b"{\"n\":1,")).count();
    assert_eq!(mapped, target.len() - good);
}

#[test]
fn a_replay_that_is_killed_anywhere_and_run_again_copies_each_record_once_and_in_order() {
    let _turn = Turn::beside_another();
    killed("killed", 5, 2_400);
}

#[test]
#[ignore = "soak: some minutes"]
fn a_replay_killed_twenty_times_copies_each_record_once_and_in_order() {
    let _turn = Turn::beside_another();
    killed("killed-often", 20, 8_000);
}
