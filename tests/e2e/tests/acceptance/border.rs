//! The border of a lane: what was protected stays protected, however the link is started next.

use strait_core::progress::{ProgressKey, ProgressRecord};
use strait_e2e::{ConfigFolder, Isolation, LogLine, Record, Strait, write_records};

use crate::identity::progress_of;
use crate::support::{Pair, SOON, Turn, copy, lanes_of, link, record, run_to_end, stop, wait_until};

const REMOVE: &str = "with = \"remove\"";

/// Returns the configuration of `redact` with one rule.
fn rule(fields: &[&str], method: &str) -> String {
    format!("[[links.plugins]]\nplugin = \"redact\"\nconfig = {{ rules = [{{ fields = {fields:?}, {method} }}] }}\n")
}

fn redact(fields: &[&str]) -> String {
    rule(fields, REMOVE)
}

/// Returns records of two partitions with two fields each.
fn people(first: usize, count: usize) -> Vec<Record> {
    let one = |number: usize| {
        let value = format!("{{\"id\":{number},\"ssn\":\"ssn-{number}\",\"email\":\"email-{number}\"}}");
        Record { partition: (number % 2) as i32, ..record(Some(b"k"), Some(value.as_bytes())) }
    };
    (first..first + count).map(one).collect()
}

/// Returns how many copies there are, with a social security number and with an e-mail address.
fn arrived(pair: &Pair) -> [usize; 3] {
    arrived_of(pair, "bordered")
}

fn arrived_of(pair: &Pair, topic: &str) -> [usize; 3] {
    let copies = pair.at_target().read_records(&format!("source.{topic}"), Isolation::Committed).unwrap();
    let with = |word: &str| {
        let has = |copy: &&Record| String::from_utf8_lossy(copy.value.as_deref().unwrap_or_default()).contains(word);
        copies.iter().filter(has).count()
    };
    [copies.len(), with("ssn-"), with("email-")]
}

/// Runs the configuration, which ends with what it could not copy.
#[track_caller]
fn is_refused(config: &ConfigFolder) {
    let mut refused = Strait::run("border-ends", config, &["--until-caught-up"]).unwrap();
    assert_eq!(refused.wait_end(SOON).unwrap().code(), Some(1), "{}", refused.stderr());
    assert!(!refused.events("border_refused").is_empty(), "{}", refused.stderr());
}

#[test]
fn a_link_that_would_protect_less_than_before_copies_nothing_until_an_operator_agrees() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    let source = pair.at_source();
    source.create_topic("bordered", 2, &[]).unwrap();
    let config = |plugins: &str, more: &str| -> ConfigFolder {
        pair.config(&link("border", &["bordered"], 2, &format!("naming = \"prefix\"\n{more}{plugins}")))
    };
    let both = redact(&["$.ssn", "$.email"]);
    let weaker = redact(&["$.email"]);
    source.write("bordered", &people(0, 20)).unwrap();
    let first = copy(&config(&both, ""));
    assert!(!first.events("border_changed").is_empty(), "the first border is told: {}", first.stderr());
    assert_eq!(arrived(&pair), [20, 0, 0]);

    // Whoever restarts it with fewer rules, or with none, is held back, also after a kill.
    source.write("bordered", &people(20, 20)).unwrap();
    for (plugins, lost) in [(weaker.as_str(), "value$['ssn']"), ("", "value$['email']")] {
        let config = config(plugins, "");
        let mut refused = Strait::run("border-refused", &config, &[]).unwrap();
        let refusal = |line: &LogLine| line.is_event("border_refused");
        let line = refused.wait_line("the refusal", SOON, refusal).unwrap();
        assert!(line.message().contains(lost), "{}", line.message());
        refused.kill().unwrap();
        is_refused(&config);
        assert_eq!(arrived(&pair), [20, 0, 0]);
    }

    // The check says the same, and how to agree.
    let (code, said) = run_to_end("border-check", &config(&weaker, ""), &["check"], SOON);
    assert!(
        code == Some(1) && said.contains("value$['ssn'] (rule ") && said.contains("not protected any more"),
        "{code:?} {said}"
    );
    let digest = said.split("accept = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    let accept = format!("accept = \"{digest}\"\n");
    let (code, said) = run_to_end("border-accepts", &config(&weaker, &accept), &["check"], SOON);
    assert!(code == Some(0) && said.contains("accepted, although they protect less"), "{code:?} {said}");
    let agreed = copy(&config(&weaker, &accept));
    assert!(!agreed.events("border_changed").is_empty(), "what was given up is told: {}", agreed.stderr());
    assert_eq!(arrived(&pair), [40, 20, 0]);

    // An agreement is for one generation: another one that protects less is refused.
    source.write("bordered", &people(40, 20)).unwrap();
    is_refused(&config("", &accept));
    // The border tightens by itself, and holds what it has then.
    copy(&config(&both, ""));
    assert_eq!(arrived(&pair), [60, 20, 0]);
    source.write("bordered", &people(60, 20)).unwrap();
    is_refused(&config(&weaker, ""));
    assert_eq!(arrived(&pair), [60, 20, 0]);
}

/// Takes the border out of the progress of a link with one lane, as somebody could who may write to
/// the target.
fn empty_border(pair: &Pair, link: &str) {
    let progress = progress_of(pair, link);
    let mut lane = progress.lane.unwrap();
    assert!(lane.border.take().is_some(), "there was a border");
    let (key, value) = ProgressRecord::Lane(lane).encode();
    let mut records = vec![record(Some(&key), Some(&value))];
    let protects = progress.protects.into_keys().map(|topic| ProgressKey::Protects { topic });
    let texts = progress.texts.into_keys().map(|digest| ProgressKey::Text { digest });
    records.extend(protects.chain(texts).map(|key| record(Some(&serde_json::to_vec(&key).unwrap()), None)));
    assert_eq!(records.len(), 3);
    write_records(&pair.at_target().config(), &format!("strait.{link}.progress"), &records).unwrap();
}

#[test]
fn a_border_that_is_emptied_on_the_target_is_restored_from_the_copy_of_the_process() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    pair.at_source().create_topic("emptied", 2, &[]).unwrap();
    let config = |plugins: &str| pair.config(&link("emptied", &["emptied"], 1, plugins));
    let (both, weaker) = (redact(&["$.ssn", "$.email"]), redact(&["$.email"]));
    // The folder, and with it state_dir, stays.
    let kept = config(&both);
    let change_to = |plugins: &str| {
        let text = std::fs::read(config(plugins).path().join("strait.toml")).unwrap();
        kept.write("strait.toml", &text).unwrap();
    };
    pair.at_source().write("emptied", &people(0, 20)).unwrap();
    copy(&kept);
    empty_border(&pair, "emptied");

    pair.at_source().write("emptied", &people(20, 20)).unwrap();
    change_to(&weaker);
    let mut refused = Strait::run("border-lost", &kept, &["--until-caught-up"]).unwrap();
    assert_eq!(refused.wait_end(SOON).unwrap().code(), Some(1), "{}", refused.stderr());
    let lost: Vec<String> = refused.events("border_lost").iter().map(|line| line.message().to_owned()).collect();
    for part in ["value$['ssn']", "value$['email']", "not protected any more (topic emptied)"] {
        assert!(lost[0].contains(part), "{part}: {lost:?}");
    }
    assert!(!refused.events("border_refused").is_empty(), "{}", refused.stderr());
    assert_eq!(arrived_of(&pair, "emptied"), [20, 0, 0]);

    // What protects as much writes the border again, for every process.
    change_to(&both);
    let restored = copy(&kept);
    assert!(!restored.events("border_lost").is_empty(), "{}", restored.stderr());
    assert_eq!(arrived_of(&pair, "emptied"), [40, 0, 0]);
    pair.at_source().write("emptied", &people(40, 20)).unwrap();
    is_refused(&config(&weaker));
    assert!(copy(&kept).events("border_lost").is_empty(), "it is not lost any more");
    assert_eq!(arrived_of(&pair, "emptied"), [60, 0, 0]);

    // Neither there is a first start, which is told.
    empty_border(&pair, "emptied");
    pair.at_source().write("emptied", &people(60, 20)).unwrap();
    let first = copy(&config(&weaker));
    assert!(!first.events("border_changed").is_empty(), "{}", first.stderr());
    assert_eq!(arrived_of(&pair, "emptied"), [80, 20, 0]);
}

#[test]
fn a_weaker_method_for_the_same_field_is_held_back_and_a_stronger_one_is_not() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    pair.at_source().create_topic("methods", 2, &[]).unwrap();
    let config = |method: &str| pair.config(&link("methods", &["methods"], 1, &rule(&["$.ssn"], method)));
    let mask = |keep: u32| format!("with = \"mask\", keep = {keep}");
    pair.at_source().write("methods", &people(0, 20)).unwrap();
    copy(&config(&mask(2)));
    pair.at_source().write("methods", &people(20, 20)).unwrap();
    is_refused(&config(&mask(6)));
    copy(&config(REMOVE));
    pair.at_source().write("methods", &people(40, 20)).unwrap();
    is_refused(&config(&mask(2)));
    assert_eq!(arrived_of(&pair, "methods")[0], 40);
}

#[test]
fn a_process_with_older_plugins_copies_nothing_of_what_a_newer_one_has_tightened() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    pair.at_source().create_topic("rolled", 2, &[]).unwrap();
    let (both, weaker) = (redact(&["$.ssn", "$.email"]), redact(&["$.email"]));
    let config = |plugins: &str| pair.config(&link("rolled", &["rolled"], 2, plugins));
    let (new, old) = (config(&both), config(&weaker));
    let send = |first: usize| pair.at_source().write("rolled", &people(first, 20)).unwrap();
    let arrive = |count: usize| {
        wait_until(&format!("{count} copies"), SOON, || {
            (pair.has_target_topic("source.rolled") && arrived_of(&pair, "rolled")[0] == count).then_some(())
        });
    };
    send(0);
    let mut older = Strait::run("older", &old, &[]).unwrap();
    arrive(20);
    // The fleet is rolled: a newer process joins, and the older one is killed.
    let mut newer = Strait::run("newer", &new, &[]).unwrap();
    let took =
        |strait: &Strait, lanes: usize| wait_until("lanes", SOON, || (lanes_of(strait).len() == lanes).then_some(()));
    took(&newer, 1);
    older.kill().unwrap();
    took(&newer, 2);
    send(20);
    arrive(40);
    assert_eq!(arrived_of(&pair, "rolled"), [40, 20, 0]);

    // Somebody starts the older folder again. Whatever lane it gets, it copies nothing of it.
    let mut older = Strait::run("older again", &old, &[]).unwrap();
    older.wait_line("the refusal", SOON, |line| line.is_event("border_refused")).unwrap();
    send(40);
    wait_until("the newer one's lane", SOON, || (arrived_of(&pair, "rolled")[0] > 40).then_some(()));
    older.kill().unwrap();
    arrive(60);
    assert_eq!(arrived_of(&pair, "rolled"), [60, 20, 0]);
    stop(&mut newer);
}
