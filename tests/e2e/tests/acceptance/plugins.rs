//! Plugins on a link: records kept and renamed, and a plugin that breaks.

use strait_e2e::{Isolation, Record, Strait, write_records};

use crate::admin::{ADMIN, address_of, get, status};
use crate::support::{
    Pair, SOON, Turn, copy, key_range, keys, link, record, settings, stop, wait_until, write_numbered,
};

/// Returns 300 records of three regions, in turn over three partitions.
fn orders() -> Vec<Record> {
    let key = |number: i32| format!("{}-{number}", ["eu", "us", "europa"][number as usize % 3]);
    (0..300).map(|number| Record { partition: number % 4 % 3, ..record(Some(key(number).as_bytes()), None) }).collect()
}

const TEN_DAYS_MS: &str = "864000000";

const KEPT: &str = "[[links.plugins]]\nplugin = \"filter\"\nconfig = { keep = { key_prefix = \"eu-\" } }\n\
                    [[links.plugins]]\nplugin = \"rename\"\nconfig = { prefix = \"only-eu.\" }\n";

#[test]
fn filter_and_rename_pass_exactly_the_kept_records_in_order_under_the_new_name() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    pair.at_source().create_topic("bundled", 3, &[("retention.ms", TEN_DAYS_MS)]).unwrap();
    write_records(&pair.at_source().config(), "bundled", &orders()).unwrap();
    let config = pair.config(&link("bundled", &["bundled"], 2, KEPT));
    copy(&config);
    let names: Vec<String> = pair.at_target().topics().unwrap().into_iter().map(|(name, _)| name).collect();
    assert!(!names.contains(&"source.bundled".to_owned()), "{names:?}");
    let copies = pair.at_target().read_records("source.only-eu.bundled", Isolation::Committed).unwrap();
    for partition in 0..3 {
        let kept: Vec<String> = keys(&orders(), partition).into_iter().filter(|key| key.starts_with("eu-")).collect();
        assert!(kept.len() > 20);
        assert_eq!(keys(&copies, partition), kept, "partition {partition}");
    }

    // The plugin judges records captured from the topic the same without a broker.
    let output = |arguments: &[&str]| {
        let mut strait = Strait::start("author", config.path(), arguments).unwrap();
        assert_eq!(strait.wait_end(SOON).unwrap().code(), Some(0), "{}", strait.stderr());
        strait.stdout()
    };
    let captured =
        output(&["plugin", "capture", "-c", "strait.toml", "--link", "bundled", "--topic", "bundled", "--max", "60"]);
    assert_eq!(captured.lines().count(), 60);
    config.write("captured.jsonl", &captured).unwrap();
    let kept = r#"{ "keep": { "key_prefix": "eu-" } }"#;
    let judged = output(&["plugin", "run", "--plugin", "filter", "--plugin-config", kept, "captured.jsonl"]);
    let passed = |text: &str, what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!(passed(&judged, "\"pass\""), passed(&captured, "\"eu-"), "{captured}{judged}");
    assert_eq!(judged.lines().count(), 60);
    topics_that_a_plugin_names_are_like_the_source_topic_or_left_as_they_are(&pair);
}

/// The topic `bundled` has 3 partitions, and records of each go to a topic for their region. One of
/// these exists with another number of partitions: it is not grown, and keys choose among those
/// that it has.
fn topics_that_a_plugin_names_are_like_the_source_topic_or_left_as_they_are(pair: &Pair) {
    let route = "[[links.plugins]]\nplugin = \"route\"\nconfig = { by = \"key\", to = \"topic\", \
                 pattern = \"(.+)-.*\", replacement = \"region.$1\" }\n";
    let target = pair.at_target();
    target.create_topic("source.region.eu", 1, &[]).unwrap();
    let strait = copy(&pair.config(&link("regions", &["bundled"], 2, route)));
    assert!(strait.events("target_partitions_missing").is_empty());
    let topics = target.topics().unwrap();
    for (region, partitions) in [("eu", 1), ("us", 3), ("europa", 3)] {
        let topic = format!("source.region.{region}");
        assert!(topics.contains(&(topic.clone(), partitions)), "{topic}: {topics:?}");
        let of = |all: &[Record]| {
            let mut keys: Vec<String> = (0..3).flat_map(|partition| keys(all, partition)).collect();
            keys.retain(|key| key.starts_with(&format!("{region}-")));
            keys.sort();
            keys
        };
        let copies = target.read_records(&topic, Isolation::Committed).unwrap();
        assert_eq!(of(&copies), of(&orders()), "{topic}");
        assert_eq!(copies.len(), 100, "{topic}");
    }
    assert_eq!(settings(&target, "source.region.us").get("retention.ms").map(String::as_str), Some(TEN_DAYS_MS));
}

#[test]
fn a_plugin_that_traps_on_everything_holds_up_its_partitions_and_no_other_link() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    let source = pair.at_source();
    for topic in ["beside", "trapped"] {
        source.create_topic(topic, 3, &[]).unwrap();
    }
    write_records(&source.config(), "beside", &orders()).unwrap();
    // Partition 2 of the trapped topic is empty: nothing breaks there.
    let some: Vec<Record> = orders().into_iter().filter(|record| record.partition < 2).collect();
    write_records(&source.config(), "trapped", &some).unwrap();

    let trap = "[[links.plugins]]\nplugin = \"trap\"\n";
    let links = [link("trapped", &["trapped"], 1, trap), link("untroubled", &["beside"], 1, KEPT)];
    let config = pair.config(&links.concat());
    config
        .write("plugins/trap.wasm", wat::parse_str(include_str!("../../../../plugins/test-guests/trap.wat")).unwrap())
        .unwrap();
    let mut strait = Strait::run("trap", &config, &[]).unwrap();
    for place in ["trapped-0:", "trapped-1:"] {
        let waiting = strait.wait_line("plugin_waiting", SOON, |line| {
            line.is_event("plugin_waiting") && line.message().starts_with(place)
        });
        let waiting = waiting.unwrap();
        println!("{}", waiting.message());
        assert_eq!(waiting.field("link"), Some("trapped"));
        assert!(waiting.message().contains("waiting at offset 0 for plugin trap"), "{}", waiting.text);
    }
    write_records(&source.config(), "beside", &orders()).unwrap();
    let wanted: Vec<String> =
        [orders(), orders()].iter().flat_map(|all| keys(all, 0)).filter(|key| key.starts_with("eu-")).collect();
    wait_until("the other link's records", SOON, || {
        let topic = "source.only-eu.beside";
        pair.at_target().topics().unwrap().iter().find(|(name, _)| name == topic)?;
        let copies = pair.at_target().read_records(topic, Isolation::Committed).unwrap();
        (keys(&copies, 0) == wanted).then_some(())
    });
    let disturbed: Vec<String> = strait
        .lines()
        .into_iter()
        .filter(|line| line.field("link") == Some("untroubled") && line.json.get("event").is_some())
        .map(|line| line.text)
        .collect();
    assert!(disturbed.is_empty(), "{disturbed:?}");
    // Retries after 1 s, 2 s, 4 s on two partitions; one that comes during the other's retry waits
    // half a second.
    let events = strait.events("plugin_waiting").len();
    assert!(events < 40, "{events} events: a broken plugin is called again and again");
    assert!(strait.events("quarantined").is_empty(), "the plugin is broken, not the records");
    // Nothing passed unjudged.
    if pair.has_target_topic("source.trapped") {
        assert!(pair.at_target().read_log("source.trapped", Isolation::Uncommitted).unwrap().is_empty());
    }
    stop(&mut strait);
}

/// Emits each record as often as its place in the batch says.
const EMIT: &str = include_str!("../../../../plugins/test-guests/emit.wat");

#[test]
fn a_link_whose_plugin_does_not_load_waits_for_another_file_and_no_other_link_does() {
    let _turn = Turn::beside_another();
    let pair = Pair::shared();
    let source = pair.at_source();
    for topic in ["late-loads", "late-waits"] {
        source.create_topic(topic, 1, &[]).unwrap();
        write_numbered(&source, topic, 0, 0, 20);
    }
    let late = "[[links.plugins]]\nplugin = \"late\"\n";
    let links = [link("late-waits", &["late-waits"], 1, late), link("late-loads", &["late-loads"], 1, "")];
    let config = pair.config(&format!("{}{ADMIN}", links.concat()));
    config.write("plugins/late.wasm", "no plugin").unwrap();
    let mut strait = Strait::run("late", &config, &[]).unwrap();
    let said = strait.wait_line("plugins_not_loaded", SOON, |line| line.is_event("plugins_not_loaded")).unwrap();
    println!("{}", said.message());
    assert!(said.field("link") == Some("late-waits") && said.message().contains("late.wasm"), "{}", said.text);
    pair.wait_keys("source.late-loads", 0, &key_range(0, 20));
    let address = address_of(&strait);
    let (code, why) = get(&address, "/readyz");
    assert!(code == 503 && why.contains("waits for plugins that load"), "{code} {why}");
    let status = status(&address);
    let shown = status["links"].as_array().unwrap().iter().find(|link| link["name"] == "late-waits").unwrap();
    assert!(shown["error"].as_str().unwrap_or_default().contains("late.wasm"), "{shown}");

    // Another file that does not load is one more word, and one that does is the end of it.
    config.write("plugins/late.wasm", "no plugin either").unwrap();
    wait_event_of(&strait, "plugins_refused");
    assert!(!pair.has_target_topic("source.late-waits"), "something passed without its plugin");
    config.write("plugins/late.wasm", wat::parse_str(EMIT).unwrap()).unwrap();
    wait_event_of(&strait, "plugins_reloaded");
    wait_until("the copies", SOON, || {
        pair.has_target_topic("source.late-waits").then_some(())?;
        let copies = pair.at_target().read_records("source.late-waits", Isolation::Committed).unwrap();
        (!copies.is_empty()).then_some(())
    });
    wait_until("ready", SOON, || (get(&address, "/readyz").0 == 200).then_some(()));
    assert_eq!(strait.events("plugins_not_loaded").len(), 1);
    stop(&mut strait);
}

#[track_caller]
fn wait_event_of(strait: &Strait, event: &str) {
    let line = strait.wait_line(event, SOON, |line| line.is_event(event)).unwrap();
    assert_eq!(line.field("link"), Some("late-waits"), "{}", line.text);
}
