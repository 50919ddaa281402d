//! A rule of a redactor that finds nothing is reported once, until it finds something again.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use strait_flow::ports::{Chain, ChainFactory};
use strait_host::{ActiveChain, ActiveChainDeps, HostChains, TopicNaming, Trial};

use crate::support::world::World;
use crate::support::{Row, batch, bundled, load};

const CARD: &[u8] = br#"{"card":"4111"}"#;
const SSN: &[u8] = br#"{"ssn":"123","card":null}"#;

fn redact(card: &str, ssn: &str) -> Arc<HostChains> {
    let rules = json!([
        { "id": "card", "fields": [card], "with": "mask" },
        { "id": "pii", "fields": [ssn], "with": "remove" },
        // The same name: one of both is enough.
        { "id": "pii", "fields": ["$.passport"], "with": "remove" },
    ]);
    load(vec![bundled("redact", json!({ "rules": rules }))], TopicNaming::Identity).unwrap()
}

fn started(chains: Arc<HostChains>) -> (Arc<World>, ActiveChain) {
    let world = Arc::new(World::default());
    let deps = ActiveChainDeps { link: "aws-to-gcp".into(), clock: world.clock(), events: world.events() };
    (world, ActiveChain::new(deps, chains))
}

fn judge(chain: &mut Box<dyn Chain>, value: &'static [u8], records: usize) {
    let rows: Vec<Row<'_>> = vec![(None, Some(value), &[]); records];
    chain.apply(batch(&rows), 6).unwrap();
}

/// Returns the names of the silent rules after a tick.
fn silent(slot: &ActiveChain) -> Vec<String> {
    slot.tick();
    let counters = slot.expected_counters();
    assert!(counters.iter().all(|counter| &*counter.plugin == "redact" && counter.counter == "matched"));
    counters.into_iter().filter(|counter| counter.is_silent).map(|counter| counter.rule).collect()
}

fn reported(world: &World) -> Vec<String> {
    let events = world.texts.lock().unwrap();
    events.iter().filter(|text| text.contains("has counted nothing")).cloned().collect()
}

#[test]
fn a_rule_that_finds_nothing_is_reported_once_until_it_finds_something() {
    let (world, slot) = started(redact("$.card", "$.ssn"));
    let mut chain = slot.chain().unwrap();
    judge(&mut chain, CARD, 9_999);
    assert!(silent(&slot).is_empty(), "what was not shown is not known to be missing");
    judge(&mut chain, CARD, 1);
    assert_eq!(silent(&slot), ["pii"]);
    judge(&mut chain, CARD, 10_000);
    assert_eq!(silent(&slot), ["pii"]);
    let text = "plugin redact: counter matched of rule pii has counted nothing in the first 10000 records";
    let [one] = <[String; 1]>::try_from(reported(&world)).unwrap();
    assert!(one.starts_with(text), "{one}");

    judge(&mut chain, SSN, 1);
    assert!(silent(&slot).is_empty());
    // It has counted: now it takes an hour too.
    judge(&mut chain, CARD, 100_000);
    assert!(silent(&slot).is_empty());
    world.pass(Duration::from_secs(3_600));
    judge(&mut chain, CARD, 1);
    assert_eq!(silent(&slot), ["pii"]);
    assert_eq!(reported(&world).len(), 2);
    let counters = slot.counters();
    let sums: Vec<(&str, u64)> = counters.iter().map(|c| (c.rule.as_str(), c.value)).collect();
    // A null counts as found. Both rules of one name are summed.
    assert_eq!(sums, [("card", 120_002), ("pii", 1)]);
}

#[test]
fn records_that_a_plugin_is_not_shown_say_nothing_about_its_rules() {
    let (_, slot) = started(redact("$.card", "$.ssn"));
    let mut chain = slot.chain().unwrap();
    judge(&mut chain, b"no document", 20_000);
    assert!(silent(&slot).is_empty());
}

#[test]
fn a_reload_begins_anew_with_rules_that_change_and_goes_on_with_those_that_stay() {
    let (world, slot) = started(redact("$.card", "$.ssn"));
    let offer = |chains| slot.offer(chains, None, Trial::Direct, Duration::ZERO, Duration::ZERO).map(drop).unwrap();
    let mut chain = slot.chain().unwrap();
    judge(&mut chain, CARD, 6_000);
    assert!(silent(&slot).is_empty());
    // Loaded again, and the same: what was seen counts.
    offer(redact("$.card", "$.ssn"));
    judge(&mut chain, CARD, 4_000);
    assert_eq!(silent(&slot), ["pii"]);
    offer(redact("$.card", "$.other"));
    judge(&mut chain, CARD, 6_000);
    assert!(silent(&slot).is_empty());
    judge(&mut chain, CARD, 4_000);
    assert_eq!(silent(&slot), ["pii"]);
    assert_eq!(reported(&world).len(), 2);
    // The one before again, which has judged before: nothing of that is counted twice.
    slot.rollback("no", true).unwrap();
    assert!(silent(&slot).is_empty());
    judge(&mut chain, CARD, 9_999);
    assert!(silent(&slot).is_empty());
    judge(&mut chain, CARD, 1);
    assert_eq!(silent(&slot), ["pii"]);
}

#[test]
fn a_counter_of_the_plugin_as_a_whole_is_not_expected() {
    let config: Value = json!({ "keep": "key == 'a'" });
    let (world, slot) = started(load(vec![bundled("filter", config)], TopicNaming::Identity).unwrap());
    let mut chain = slot.chain().unwrap();
    judge(&mut chain, CARD, 20_000);
    slot.tick();
    assert!(slot.expected_counters().is_empty() && reported(&world).is_empty());
}
