//! The rights that `strait acl print` names suffice, and each of them is needed: without it the
//! named thing fails, and `strait check` prints the very command that grants it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use strait_e2e::{ConfigFolder, Isolation, Strait, TestClient};
use strait_test_cluster::{Cluster, ClusterSpec, Listener, User};

use crate::bad_input::secured_config;
use crate::support::{COPIED, QUIET, Turn, kafka_tool, keys, now, numbered, run_to_end, single, wait_until};

const USERS: [&str; 2] = ["reader", "writer"];
const USED: [&str; 4] = ["--principal", "source=User:reader", "--principal", "target=User:writer"];
/// How long something may take to fail for want of a right.
const FAILS: Duration = Duration::from_secs(45);
/// Links that are tried side by side.
const BESIDE: usize = 3;

/// A line that is left out.
struct Case {
    name: &'static str,
    /// Parts of the line.
    line: &'static [&'static str],
    /// Said without it.
    fails: &'static str,
    /// More that is done before it fails.
    act: Act,
}

enum Act {
    /// The link runs.
    Run,
    /// The link runs on when it has caught up.
    Stay,
    /// The link has run; its source topic gets more partitions.
    Grow,
    /// The link has run; it gets more lanes.
    Resize,
    /// The link has run; these commands are given, of which the last one fails.
    Ask(&'static [&'static [&'static str]]),
}

impl Act {
    /// Returns whether it is done without the link having run.
    fn is_first(&self) -> bool {
        matches!(self, Self::Run | Self::Stay)
    }
}

/// A group that is asked for.
const GROUP: &str = "acl-readers";

const fn case(name: &'static str, line: &'static [&'static str], fails: &'static str, act: Act) -> Case {
    Case { name, line, fails, act }
}

/// The most important ones.
const FEW: [Case; 6] = [
    case("see", &["reader", "Read", "--topic see-in"], "topic_hidden", Act::Run),
    case("write", &["writer", "Write", "--topic source.write-in"], "target_denied", Act::Run),
    case("progress", &["writer", "Read", "--topic strait.progress."], "TOPIC_AUTHORIZATION_FAILED", Act::Run),
    case("member", &["writer", "Read", "--group strait.member"], "GROUP_AUTHORIZATION_FAILED", Act::Run),
    case(
        "show",
        &["reader", "Read", "--topic strait.show.quarantine"],
        "TOPIC_AUTHORIZATION_FAILED",
        Act::Ask(&[&["quarantine", "show", "show", "show-in", "0", "9"]]),
    ),
    case("ids", &["writer", "Write", "--transactional-id"], "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", Act::Run),
];

/// The others.
const MORE: [Case; 16] = [
    case("settings", &["reader", "DescribeConfigs", "--topic settings-in"], "source_config_unknown", Act::Run),
    case("keep", &["reader", "Write", "--topic strait.keep.quarantine"], "quarantine_failed", Act::Run),
    case("make-keep", &["reader", "Create", "--topic strait.make-keep.quarantine"], "quarantine_failed", Act::Run),
    case("make", &["writer", "Create", "--topic source.make-in"], "target_denied", Act::Run),
    case("grow", &["writer", "Alter", "--topic source.grow-in"], "cannot be created or grown", Act::Grow),
    case("limits", &["writer", "DescribeConfigs", "--topic source.limits-in"], "defaults are assumed", Act::Run),
    case("commit", &["writer", "Write", "--topic strait.commit."], "AUTHORIZATION_FAILED", Act::Run),
    case("make-own", &["writer", "Create", "--topic strait.make-own."], "AUTHORIZATION_FAILED", Act::Run),
    case("resize", &["writer", "Alter", "--topic strait.resize."], "TOPIC_AUTHORIZATION_FAILED", Act::Resize),
    case("own-settings", &["writer", "DescribeConfigs", "--topic strait.own-settings."], "link_topic_unfit", Act::Run),
    case("mm2-write", &["writer", "Write", "--topic heartbeats"], "mm2_unwritable", Act::Stay),
    case("mm2-make", &["writer", "Create", "--topic source.checkpoints.internal"], "mm2_unwritable", Act::Stay),
    case("see-many", &["reader", "Read", "--topic see-many-"], "no topic", Act::Run),
    case(
        "trim",
        &["reader", "Delete", "--topic strait.trim.quarantine"],
        "TOPIC_AUTHORIZATION_FAILED",
        Act::Ask(&[
            &["quarantine", "discard", "trim", "--topic", "trim-in", "--reason", "a test", "--yes"],
            &["quarantine", "trim", "trim", "--keep-s", "0", "--yes"],
        ]),
    ),
    case(
        "ask",
        &["reader", "Describe", "--group"],
        "GROUP_AUTHORIZATION_FAILED",
        Act::Ask(&[&["offsets", "translate", "ask", "--group", GROUP]]),
    ),
    case(
        "ask-back",
        &["writer", "Describe", "--group"],
        "GROUP_AUTHORIZATION_FAILED",
        Act::Ask(&[&["offsets", "translate", "ask-back", "--group", GROUP, "--inverse"]]),
    ),
];

/// Starts a cluster that is source and target, at which the users have no right.
fn secured(name: &str) -> Arc<Cluster> {
    let users = USERS.map(|name| User { name: name.into(), password: format!("{name}-password") });
    let spec = ClusterSpec { users: users.to_vec(), acls: true, ..single(name) };
    Arc::new(now(Cluster::start(spec.with_listeners(&[Listener::Sasl]))).unwrap())
}

/// A link of one source topic, in which every second record is refused by a plugin.
struct Tried<'a> {
    cluster: &'a Cluster,
    name: &'static str,
    topic: String,
    config: ConfigFolder,
}

impl<'a> Tried<'a> {
    fn new(cluster: &'a Cluster, name: &'static str) -> Self {
        let topic = format!("{name}-in");
        // That one is granted by how its topics begin.
        let pattern = if name == "see-many" { format!("{name}-.*") } else { topic.clone() };
        let mm2 = match name {
            "mm2-write" => "mm2 = { checkpoints = false }\n",
            "mm2-make" => "mm2 = { heartbeats = \"off\" }\n",
            // The right to change settings includes the one to see them.
            "limits" => "mm2 = { heartbeats = \"off\", checkpoints = false }\nsync = { configs = \"none\" }\n",
            _ => QUIET,
        };
        let link = format!(
            "[[links]]\nname = \"{name}\"\nsource = \"source\"\ntarget = \"target\"\ntopics = [\"{pattern}\"]\nlanes = 1\n{mm2}\
             [[links.plugins]]\nplugin = \"redact\"\nconfig = {{ rules = [{{ fields = [\"$.a\"], with = \"remove\" }}] }}\n"
        );
        let users = USERS.map(|name| (name, if name == "reader" { "reader-password" } else { "writer-password" }));
        let config = secured_config(cluster, users, &link);
        let tried = Self { cluster, name, topic, config };
        tried.client().create_topic(&tried.topic, 1, &[]).unwrap();
        tried.write(0);
        tried
    }

    fn client(&self) -> TestClient {
        TestClient::new(self.cluster.internal_bootstrap())
    }

    /// Writes ten records from this number on; the last one is refused.
    fn write(&self, first: u64) {
        let mut records = numbered(0, first, 10);
        records.iter_mut().for_each(|record| record.value = Some(b"{}".to_vec()));
        records[9].value = Some(b"no JSON".to_vec());
        self.client().write(&self.topic, &records).unwrap();
    }

    /// Returns the commands that begin so.
    fn printed(&self, start: &str, more: &[&str]) -> Vec<String> {
        let all = [&["acl", "print", self.name, "--offline"], more].concat();
        let (code, text) = run_to_end("acl", &self.config, &all, COPIED);
        assert_eq!(code, Some(0), "{text}");
        text.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
    }

    /// Returns the commands for the users of the cluster.
    fn lines(&self) -> Vec<String> {
        self.printed("kafka-acls.sh", &USED)
    }

    /// Returns the commands in comments, which somebody must want.
    fn in_comments(&self) -> Vec<String> {
        let lines = self.printed("# kafka-acls.sh", &USED).into_iter();
        lines.map(|line| line.replace("# ", "").replace("--group GROUP", &format!("--group {GROUP}"))).collect()
    }

    fn checked(&self) -> String {
        run_to_end("check", &self.config, &["check"], COPIED).1
    }

    /// Runs the link until it ends or says this, and returns what it said.
    fn run(&self, until: &str, more: &[&str]) -> String {
        let mut strait = Strait::run(self.name, &self.config, more).unwrap();
        wait_until("the end of the run", FAILS, || {
            let is_over = strait.poll_end().unwrap().is_some() || strait.stderr().contains(until);
            is_over.then_some(())
        });
        strait.kill().unwrap();
        strait.stderr()
    }

    fn ask(&self, command: &[&str]) -> (Option<i32>, String) {
        run_to_end("ask", &self.config, command, COPIED)
    }

    fn resize(&self) -> (Option<i32>, String) {
        run_to_end("resize", &self.config, &["lanes", "resize", self.name, "2"], COPIED)
    }

    fn assert_copied(&self, first_keys: usize) {
        let (code, text) =
            run_to_end("run", &self.config, &["run", "--until-caught-up", "--log-format", "json"], COPIED);
        assert_eq!(code, Some(0), "{}: {text}", self.name);
        let copied = self.client().read_records(&format!("source.{}", self.topic), Isolation::Committed).unwrap();
        assert_eq!(keys(&copied, 0).len(), first_keys, "{}", self.name);
        let kept = self.client().read_records(&format!("strait.{}.quarantine", self.name), Isolation::Committed);
        assert!(!kept.unwrap().is_empty(), "{}", self.name);
    }
}

/// Has the cluster carry out commands of `kafka-acls.sh`, by the class that it starts.
fn grant(cluster: &Cluster, lines: &[String]) {
    let internal = cluster.internal_bootstrap();
    let arguments: Vec<String> = lines.iter().map(|line| line.replace(&cluster.bootstrap(), &internal)).collect();
    kafka_tool("kafka-acls", &internal, &arguments);
}

fn is_line(line: &str, parts: &[&str]) -> bool {
    let mut words = line.split(' ').chain([""]);
    words.any(|word| word == format!("User:{}", parts[0]))
        && line.contains(&format!("--operation {} ", parts[1]))
        && line.contains(parts[2])
}

/// Leaves out the line of each case, and puts it back.
fn sweep(cluster: &Cluster, cases: &[Case]) {
    let tried: Vec<Tried<'_>> = cases.iter().map(|case| Tried::new(cluster, case.name)).collect();
    let mut given = Vec::new();
    let mut left_out = Vec::new();
    for (case, tried) in cases.iter().zip(&tried) {
        let mut lines = tried.lines();
        lines.extend(tried.in_comments().into_iter().filter(|line| is_line(line, case.line)));
        let (without, others): (Vec<String>, Vec<String>) =
            lines.into_iter().partition(|line| is_line(line, case.line));
        assert_eq!(without.len(), 1, "{}: {without:?} of {others:?}", case.name);
        // What grows or is resized has run before.
        given.extend(others);
        if !case.act.is_first() {
            given.extend(without.clone());
        }
        left_out.extend(without);
    }
    grant(cluster, &given);
    let later: Vec<&Tried<'_>> =
        cases.iter().zip(&tried).filter(|(case, _)| !case.act.is_first()).map(|(_, tried)| tried).collect();
    later.iter().for_each(|tried| tried.assert_copied(9));
    let taken: Vec<String> = cases
        .iter()
        .zip(&left_out)
        .filter(|(case, _)| !case.act.is_first())
        .map(|(_, line)| line.replace(" --add ", " --remove --force "))
        .collect();
    if !taken.is_empty() {
        grant(cluster, &taken);
    }
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..BESIDE {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let (Some(case), Some(tried)) = (cases.get(index), tried.get(index)) else { return };
                    is_missed(case, tried);
                }
            });
        }
    });
    grant(cluster, &left_out);
    for (case, tried) in cases.iter().zip(&tried) {
        match case.act {
            Act::Run | Act::Stay => tried.assert_copied(9),
            Act::Grow => {
                tried.assert_copied(9);
                let copied = tried.client().topics().unwrap();
                let target = format!("source.{}", tried.topic);
                assert!(copied.iter().any(|(name, partitions)| *name == target && *partitions == 2), "{copied:?}");
            }
            Act::Resize => assert_eq!(tried.resize().0, Some(0)),
            Act::Ask(commands) => {
                let (code, said) = tried.ask(commands[commands.len() - 1]);
                // The group has committed nothing, which whoever may not see it is not told.
                let is_answered = code == Some(0) || said.contains("has committed no offset");
                assert!(is_answered, "{}: {said}", case.name);
            }
        }
    }
}

/// Without its line the named thing fails, and a check before or after that prints the line.
fn is_missed(case: &Case, tried: &Tried<'_>) {
    // The same line without names.
    let at = tried.lines().iter().position(|line| is_line(line, case.line));
    let placeholder = at.map(|at| tried.printed("kafka-acls.sh", &[]).remove(at));
    let before = tried.checked();
    let said = match case.act {
        Act::Run => tried.run(case.fails, &["--until-caught-up"]),
        Act::Stay => tried.run(case.fails, &[]),
        Act::Grow => {
            tried.client().grow_topic(&tried.topic, 2).unwrap();
            tried.run(case.fails, &["--until-caught-up"])
        }
        Act::Resize => {
            let (code, said) = tried.resize();
            assert_eq!(code, Some(1), "{said}");
            said
        }
        Act::Ask(commands) => {
            let (code, said) = commands.iter().fold((None, String::new()), |_, command| tried.ask(command));
            assert_eq!(code, Some(1), "{said}");
            said
        }
    };
    assert!(said.contains(case.fails) || tried.checked().contains(case.fails), "{}: {said}", case.name);
    // A check asks for what is granted unasked.
    let Some(placeholder) = placeholder else { return };
    let after = tried.checked();
    println!(
        "{}: {} named before {}, after {}",
        case.name,
        placeholder,
        before.contains(&placeholder),
        after.contains(&placeholder)
    );
    assert!(before.contains(&placeholder) || after.contains(&placeholder), "{placeholder}\n{before}\n{after}");
}

#[test]
fn the_rights_that_are_printed_suffice_and_a_check_prints_the_one_that_is_missing() {
    let _turn = Turn::long();
    let cluster = secured("acl");
    let all = Tried::new(&cluster, "enough");
    grant(&cluster, &all.lines());
    let fresh = all.checked();
    assert_good(&fresh);
    all.assert_copied(9);
    assert_eq!(all.resize().0, Some(0));
    // One lane more, and one record left out.
    all.write(10);
    all.write(20);
    let skip = ["partitions", "skip", "enough", "enough-in", "0", "--to", "11", "--yes"];
    let resized = std::fs::read_to_string(all.config.path().join("strait.toml")).unwrap();
    all.config.write("strait.toml", resized.replace("lanes = 1", "lanes = 2")).unwrap();
    let (code, said) = run_to_end("skip", &all.config, &skip, COPIED);
    assert_eq!(code, Some(0), "{said}");
    all.assert_copied(9 + 8 + 9);
    let used = all.checked();
    assert_good(&used);
    asked_for_topics(&all);
    sweep(&cluster, &FEW);
}

/// A check finds nothing, other than that source and target are one cluster, and that a machine
/// under load answers late.
#[track_caller]
fn assert_good(checked: &str) {
    let is_known = |line: &str| ["! clusters of ", "! line of "].iter().any(|known| line.starts_with(known));
    let bad = checked.lines().filter(|line| line.starts_with(['✗', '!']) && !is_known(line));
    assert_eq!(bad.count(), 0, "{checked}");
}

/// With the cluster at hand, the topics that it shows are named.
fn asked_for_topics(tried: &Tried<'_>) {
    let (code, text) = run_to_end("acl", &tried.config, &["acl", "print", tried.name, "-o", "json"], COPIED);
    assert_eq!(code, Some(0), "{text}");
    let printed: serde_json::Value = serde_json::from_str(&text[text.find('{').unwrap()..]).unwrap();
    assert_eq!(printed["asked"], true, "{printed:#}");
    assert_eq!(printed["clusters"][0]["rights"][0]["name"], "enough-in", "{printed:#}");
}

#[test]
#[ignore = "soak: a minute"]
fn each_other_line_of_the_rights_is_needed() {
    let _turn = Turn::beside_another();
    let cluster = secured("acl-sweep");
    sweep(&cluster, &MORE);
}
