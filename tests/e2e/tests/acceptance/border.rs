//! The border of a lane: what was protected stays protected, however the link is started next.

use strait_e2e::{ConfigFolder, Isolation, LogLine, Record, Strait};

use crate::support::{Pair, SOON, Turn, copy, link, record, run_to_end};

fn redact(fields: &[&str]) -> String {
    format!(
        "[[links.plugins]]\nplugin = \"redact\"\nconfig = {{ rules = [{{ fields = {fields:?}, with = \"remove\" }}] }}\n"
    )
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
    let copies = pair.at_target().read_records("source.bordered", Isolation::Committed).unwrap();
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
    assert!(code == Some(1) && said.contains("value$['ssn'] is not looked at any more"), "{code:?} {said}");
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
