//! The chain of a link is replaced between batches, and rolled back when the new one breaks.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use strait_core::progress::Agreement;
use strait_core::{Content, Disposition, Processed};
use strait_flow::ports::{Chain, ChainFactory};
use strait_host::{
    ActiveChain, ActiveChainDeps, ChainSpec, HistoryOutcome, HostChains, OfferError, PluginSource, PluginSpec,
    PrivateKey, Trial, TrialPhase, generation_of, signature_path,
};

use crate::support::guest::{Guest, Process, SPIN};
use crate::support::world::World;
use crate::support::{Row, batch, bundled, load_bytes};

const ROWS: [Row<'static>; 2] = [(Some(b"k"), Some(b"v"), &[]), (None, None, &[])];
pub const PROBATION: Duration = Duration::from_secs(60);

/// Sets the value of the first record to its own name.
pub fn version(name: &'static str) -> Guest {
    let count = "(call $count (i32.const 0) (i64.const 2))".to_owned();
    Guest {
        process: Process::Edits(vec![0, 2, 0, name.len() as u32], name.into()),
        in_process: count,
        ..Guest::default()
    }
}

pub fn load(guest: &Guest) -> Arc<HostChains> {
    load_bytes(&guest.wasm(), |_| {}).unwrap()
}

/// Loads a guest with a signature.
pub fn signed(guest: &Guest) -> Arc<HostChains> {
    let key = PrivateKey::from_random([7; 32]).unwrap();
    let chains = load_bytes(&guest.wasm(), |spec| {
        let PluginSource::File(path) = &spec.source else { panic!("{spec:?}") };
        let name = path.file_stem().unwrap().to_str().unwrap();
        let line = key.sign(name, guest.release, &guest.wasm()).unwrap();
        std::fs::write(signature_path(path), line).unwrap();
        spec.trust.keys = [key.public()].into();
    });
    chains.unwrap()
}

pub fn slot(guest: &Guest) -> (Arc<World>, ActiveChain) {
    holding(load(guest))
}

pub fn holding(chains: Arc<HostChains>) -> (Arc<World>, ActiveChain) {
    let world = Arc::new(World::default());
    let deps = ActiveChainDeps { link: "aws-to-gcp".into(), clock: world.clock(), events: world.events() };
    (world, ActiveChain::new(deps, chains))
}

fn offer(slot: &ActiveChain, guest: &Guest, trial: Trial) -> Result<(), OfferError> {
    slot.offer(load(guest), None, trial, PROBATION, Duration::ZERO).map(drop)
}

/// Returns the first record's value after the chain, and the generation that judged it.
fn judged(chain: &mut Box<dyn Chain>) -> (String, String) {
    let Processed { dispositions, generation, .. } = chain.apply(batch(&ROWS), 6).unwrap();
    let value = match dispositions.as_slice() {
        [(0, Disposition::Replace(copies))] => match &copies[0].value {
            Content::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    (value, generation.0.to_string())
}

fn value(chain: &mut Box<dyn Chain>) -> String {
    judged(chain).0
}

/// Returns how `after` protects less, in the eyes of a reload, but for that it has another file.
fn lost(before: &Arc<HostChains>, after: &Arc<HostChains>) -> Vec<String> {
    let (_, slot) = holding(Arc::clone(before));
    let mut chain = slot.chain().unwrap();
    chain.apply(batch(&ROWS), 6).unwrap();
    let mut found = slot.loosened(after).unwrap();
    found.retain(|loss| !loss.contains("has another file"));
    found
}

pub fn outcomes(slot: &ActiveChain) -> Vec<HistoryOutcome> {
    slot.history().into_iter().map(|entry| entry.outcome).collect()
}

#[test]
fn every_lane_takes_the_new_generation_at_its_next_batch_and_the_previous_one_is_on_standby() {
    let (world, slot) = slot(&version("old"));
    let (mut one, mut two) = (slot.chain().unwrap(), slot.chain().unwrap());
    let (first, old) = judged(&mut one);
    assert_eq!((first.as_str(), value(&mut two).as_str()), ("old", "old"));
    assert_eq!(slot.state().standing, TrialPhase::Steady);
    assert!(matches!(slot.rollback("no", false), Err(OfferError::NothingBefore)));

    offer(&slot, &version("new"), Trial::Direct).unwrap();
    let state = slot.state();
    assert_eq!((state.standing, state.holders, state.holders_behind), (TrialPhase::Probation, 2, 2));
    assert_eq!(state.beside.as_deref(), Some(old.as_str()));
    let (second, new) = judged(&mut one);
    assert_eq!(second, "new");
    assert_ne!(old, new);
    assert_eq!((state.generation.as_str(), slot.state().holders_behind), (new.as_str(), 1));
    assert_eq!(two.target_topic("orders", 6).unwrap().as_ref(), "orders");
    assert_eq!(slot.state().holders_behind, 0);
    // A lane that starts during the probation has both.
    let mut three = slot.chain().unwrap();
    assert_eq!(value(&mut three), "new");

    slot.tick();
    assert_eq!(slot.state().standing, TrialPhase::Probation);
    world.pass(PROBATION);
    slot.tick();
    assert_eq!(slot.state().standing, TrialPhase::Steady);
    assert_eq!(value(&mut one), "new");

    // An operator rolls back; the version is known bad until it is forgiven.
    slot.rollback("slow", false).unwrap();
    assert_eq!([value(&mut one), value(&mut two), value(&mut three)], ["old", "old", "old"]);
    assert_eq!(slot.known_bad(&load(&version("new")).generation()).as_deref(), Some(new.as_str()));
    slot.forgive();
    assert_eq!(slot.known_bad(&load(&version("new")).generation()), None);
    let expected =
        [HistoryOutcome::Started, HistoryOutcome::Reloaded, HistoryOutcome::Proven, HistoryOutcome::RolledBack];
    assert_eq!(outcomes(&slot), expected);
    let entry = slot.history().pop().unwrap();
    assert_eq!((entry.generation, entry.serving, entry.reason.as_str()), (new, old, "slow"));
    assert_eq!(entry.plugins[0].digest.len(), "sha256:".len() + 64);
    assert_eq!(*world.events.lock().unwrap(), ["plugins_reloaded", "plugins_rolled_back"]);
    // Over all versions and lanes: each batch counts two.
    let counted = slot.counters();
    assert_eq!((counted.len(), counted[0].value), (1, 2 * 8));
}

#[test]
fn the_version_of_a_lanes_chain_changes_only_when_other_plugins_judge() {
    let (world, slot) = slot(&version("old"));
    let chain = slot.chain().unwrap();
    let mut turns = vec![chain.version()];
    let mut now = |changes: bool| {
        let (last, turn) = (turns[turns.len() - 1], chain.version());
        assert_eq!(turn != last, changes, "{turns:?}, {turn}");
        turns.push(turn);
    };
    // Before the lane has swapped: it may have nothing left to judge.
    offer(&slot, &version("new"), Trial::Direct).unwrap();
    now(true);
    world.pass(PROBATION);
    slot.tick();
    assert_eq!(slot.state().standing, TrialPhase::Steady);
    now(false);
    offer(&slot, &version("shadow"), Trial::Shadow(PROBATION)).unwrap();
    now(false);
    world.pass(PROBATION);
    slot.tick();
    now(true);
    world.pass(PROBATION);
    slot.tick();
    offer(&slot, &version("canary"), Trial::Canary { time: PROBATION, partition: 2 }).unwrap();
    now(true);
    slot.rollback("enough", false).unwrap();
    now(true);
}

#[test]
fn a_generation_that_breaks_where_the_previous_one_does_not_is_rolled_back_and_the_previous_one_judges_the_batch() {
    let broken = [
        (Guest { in_process: "unreachable".into(), ..version("trap") }, "unreachable"),
        (Guest { in_process: SPIN.into(), ..version("spin") }, "did not end within 200 ms"),
        (Guest { process: Process::Edits(vec![9, 0, 0, 0], vec![]), ..version("bad") }, "bad edit"),
        (Guest { process: Process::Fails("no"), ..version("no") }, "process returned an error: no"),
    ];
    for (guest, reason) in broken {
        let (world, slot) = slot(&version("old"));
        let (mut one, mut two) = (slot.chain().unwrap(), slot.chain().unwrap());
        let old = judged(&mut one);
        offer(&slot, &guest, Trial::Direct).unwrap();
        let bad = slot.chains().generation();
        // The previous chain judges the same batch; the other lane never calls the new one.
        assert_eq!(judged(&mut one), old);
        assert_eq!(slot.state().standing, TrialPhase::Steady);
        assert_eq!([value(&mut two), value(&mut one)], ["old", "old"]);
        let entry = slot.history().pop().unwrap();
        assert_eq!((entry.outcome, &*entry.generation, &entry.serving), (HistoryOutcome::RolledBack, &*bad.0, &old.1));
        assert!(entry.reason.contains(reason), "{}", entry.reason);
        assert_eq!(slot.known_bad(&bad).as_deref(), Some(&*bad.0));
        assert_eq!(*world.events.lock().unwrap(), ["plugins_reloaded", "plugins_rolled_back"]);
        // A version that works is taken.
        offer(&slot, &version("better"), Trial::Direct).unwrap();
        assert_eq!([value(&mut one), value(&mut two)], ["better", "better"]);
    }
}

#[test]
fn a_chain_that_cannot_start_is_refused_before_any_lane_sees_it() {
    let (_, slot) = slot(&version("old"));
    let mut chain = slot.chain().unwrap();
    assert_eq!(value(&mut chain), "old");
    let error =
        offer(&slot, &Guest { open_topic_fails: Some("not mine"), ..version("no") }, Trial::Direct).unwrap_err();
    assert!(error.to_string().contains("it refuses the topic: not mine"), "{error}");
    assert_eq!((value(&mut chain), slot.state().holders_behind), ("old".to_owned(), 0));
    assert_eq!(outcomes(&slot), [HistoryOutcome::Started]);
}

#[test]
fn another_order_of_required_plugins_is_a_loss_where_it_changes_what_passes() {
    let redact = |name: &str, field: &str, with: serde_json::Value| {
        let mut rule = with;
        rule["fields"] = json!([field]);
        let config = json!({ "rules": [rule] });
        PluginSpec { allow_after: true, ..PluginSpec::new(name, PluginSource::Bundled("redact".into()), config) }
    };
    let cut = || redact("cut", "$.ssn", json!({ "with": "truncate", "length": 3 }));
    let hash = || redact("hash", "$.ssn", json!({ "with": "sha256" }));
    let name = || redact("name", "$.name", json!({ "with": "sha256" }));
    let gone = || redact("gone", "$.country", json!({ "with": "remove" }));
    let filter = || {
        let config = json!({ "drop": "value.country == 'DE'" });
        PluginSpec { required: true, ..PluginSpec::new("filter", PluginSource::Bundled("filter".into()), config) }
    };
    let chain = |plugins: Vec<PluginSpec>| crate::support::load(plugins, strait_host::TopicNaming::Identity).unwrap();
    let turned = |one: &dyn Fn() -> PluginSpec, two: &dyn Fn() -> PluginSpec| {
        lost(&chain(vec![one(), two()]), &chain(vec![two(), one()]))
    };
    // What passes is something else: the hashes of three digits are soon tried, those of nine not.
    let value = |plugins: Vec<PluginSpec>| {
        let rows: [Row<'_>; 1] = [(None, Some(br#"{"ssn":"123456789"}"#), &[])];
        let processed = chain(plugins).chain().unwrap().apply(batch(&rows), 6).unwrap();
        format!("{:?}", processed.dispositions)
    };
    assert_ne!(value(vec![cut(), hash()]), value(vec![hash(), cut()]));
    for (one, two) in
        [(&cut as &dyn Fn() -> PluginSpec, &hash as &dyn Fn() -> PluginSpec), (&hash, &cut), (&filter, &gone)]
    {
        let found = turned(one, two);
        assert!(
            found.len() == 1 && found[0].contains("topic orders: ") && found[0].contains("another order"),
            "{found:?}"
        );
    }
    assert_eq!(turned(&cut, &name), [""; 0]);
    assert_eq!(turned(&filter, &cut), [""; 0]);
}

#[test]
fn the_ways_in_which_a_chain_protects_less_are_listed() {
    let of = |guest: &Guest, next: &Arc<HostChains>| lost(&load(guest), next);
    let strict = || Guest {
        fails_closed: true,
        effects: 0b100,
        topic_effects: 0b100,
        columns: vec![3, 4, 5, 6],
        headers: vec![b"a".as_slice(), b"b"],
        ..version("strict")
    };
    let none = crate::support::load(vec![], strait_host::TopicNaming::Identity).unwrap();
    assert_eq!(of(&version("looser"), &load(&strict())), Vec::<String>::new());
    assert_eq!(of(&version("looser"), &none), Vec::<String>::new());
    assert!(of(&strict(), &none)[0].contains("not in the chain any more"));
    let found = of(&strict(), &load(&version("looser")));
    assert!(found[0].contains("not required any more") && found[1].contains("may do more"), "{found:?}");
    let blinder = [
        (Guest { columns: vec![3, 4], ..strict() }, "topic orders: value is not looked at any more"),
        (Guest { headers: vec![b"b".as_slice()], ..strict() }, "topic orders: header['a'] is not looked at any more"),
        (Guest { looks: false, ..strict() }, "topic orders: records are not looked at any more"),
    ];
    for (guest, lost) in blinder {
        let found = of(&strict(), &load(&guest));
        assert!(found.len() == 1 && found[0].contains(lost), "{found:?}");
    }
    // Whoever looks at all headers may have stopped to look for one.
    let found = of(&strict(), &load(&Guest { all_headers: true, ..strict() }));
    assert!(
        found.len() == 1 && found[0].contains("header['a'] is not looked at any more, header['b'] is"),
        "{found:?}"
    );
}

#[test]
fn another_secret_or_setting_is_another_generation() {
    let of = |secret: &str, change: fn(&mut strait_host::PluginSpec)| {
        let config = |secret: &str| {
            let rule = serde_json::json!({"key": true, "with": "hmac", "secret": secret});
            serde_json::json!({"rules": [rule]})
        };
        let mut spec = bundled("redact", config(secret));
        spec.config_as_written = Some(config("${env:SECRET}"));
        change(&mut spec);
        let (link, naming) = (crate::support::link(), strait_host::TopicNaming::Identity);
        let spec = ChainSpec { plugins: vec![spec], link, naming };
        let chains = HostChains::load(crate::support::engine(), spec.clone()).unwrap();
        // By these two a reload tells whether anything has changed.
        assert_eq!(generation_of(&spec).unwrap(), (chains.generation(), Arc::clone(chains.digest())));
        chains.generation().0
    };
    let generations = [
        of("0123456789abcdef", |_| ()),
        of("fedcba9876543210", |_| ()),
        of("0123456789abcdef", |spec| spec.required = true),
        of("0123456789abcdef", |spec| spec.on_error = strait_core::config::OnError::Stop),
        of("0123456789abcdef", |spec| spec.allow_after = true),
        of("0123456789abcdef", |spec| spec.wasi = true),
        of("0123456789abcdef", |spec| spec.output_topics = Some(vec!["a".into()])),
    ];
    let different: std::collections::BTreeSet<_> = generations.iter().collect();
    assert_eq!(different.len(), generations.len(), "{generations:?}");
    assert_eq!(generations[0], of("0123456789abcdef", |_| ()));
}

#[test]
fn a_signature_replaces_no_comparison_and_a_pin_that_of_its_file_alone() {
    let pinned = |guest: &Guest, config: serde_json::Value| {
        let wasm = guest.wasm();
        let chains = load_bytes(&wasm, |spec| {
            spec.trust.digest = Some(Sha256::digest(&wasm).into());
            spec.config = config;
        });
        chains.unwrap()
    };
    let strict =
        Guest { schema: "{}", fails_closed: true, columns: vec![5, 6], release: "1.10.0", ..version("strict") };
    let blind = Guest { columns: vec![3, 4], release: "1.11.0", ..strict.clone() };
    let older = Guest { release: "1.9.0", ..strict.clone() };
    let found = lost(&signed(&strict), &signed(&blind));
    assert!(found.len() == 1 && found[0].contains("value is not looked at any more"), "{found:?}");
    let found = lost(&signed(&strict), &signed(&older));
    assert!(found.len() == 1 && found[0].contains("is version 1.9.0 again, and was 1.10.0"), "{found:?}");
    assert_eq!(lost(&signed(&older), &signed(&strict)), Vec::<String>::new());
    assert_eq!(lost(&load(&strict), &load(&older)), Vec::<String>::new(), "nobody signed a version");

    let agreement = |after: &Arc<HostChains>| {
        let (_, slot) = holding(pinned(&strict, serde_json::json!({})));
        slot.offer(Arc::clone(after), None, Trial::Direct, PROBATION, Duration::ZERO).unwrap();
        slot.chain().unwrap().border().agreement.map(|agreement| agreement.why.to_string())
    };
    let other_file = pinned(&blind, serde_json::json!({}));
    assert_eq!(lost(&pinned(&strict, serde_json::json!({})), &other_file), Vec::<String>::new());
    assert_eq!(agreement(&other_file).as_deref(), Some("its file is pinned"));
    // Nobody has looked at another configuration.
    let other = pinned(&blind, serde_json::json!({ "a": 1 }));
    assert_eq!(lost(&pinned(&strict, serde_json::json!({})), &other).len(), 1);
    assert_eq!(agreement(&other), None);
    assert_eq!(agreement(&signed(&blind)), None);
}

/// A strict `redact` asks for whole values, and with `ignore_case` for `$[*]` alone.
#[test]
fn a_rule_that_is_taken_out_of_redact_is_missed() {
    let redact = |rules: serde_json::Value| {
        let spec = bundled("redact", serde_json::json!({ "rules": rules }));
        crate::support::load(vec![spec], strait_host::TopicNaming::Identity).unwrap()
    };
    let fields = |paths: &[&str]| redact(serde_json::json!([{"fields": paths, "with": "remove"}]));
    let headers = |rule: serde_json::Value| redact(serde_json::json!([rule, {"key": true, "with": "sha256"}]));
    let both = fields(&["$.email", "$.ssn"]);
    let in_any_case = redact(serde_json::json!([{"fields": ["$.email"], "with": "remove", "ignore_case": true}]));
    let named = headers(serde_json::json!({"headers": ["x-user", "x-ip"], "with": "remove"}));
    let prefixed = headers(serde_json::json!({"header_prefixes": ["x-i"], "with": "remove"}));
    for (before, after, place) in [
        (&both, &fields(&["$.email"]), "value$['ssn']"),
        (&both, &in_any_case, "value$['ssn']"),
        (&named, &prefixed, "header['x-user']"),
        (&named, &headers(serde_json::json!({"headers": ["x-user"], "with": "remove"})), "header['x-ip']"),
    ] {
        let found = lost(before, after);
        assert!(found.iter().any(|loss| loss.contains(place)), "{place}: {found:?}");
    }
    assert_eq!(lost(&both, &fields(&["$.ssn", "$.email", "$.card"])), Vec::<String>::new());
    assert_eq!(lost(&named, &named), Vec::<String>::new());
}

/// Where no lane has a topic yet, a reload compares nothing, and the lane has to judge.
#[test]
fn a_candidate_tells_what_it_protects_before_it_judges_and_a_refused_one_judges_nothing() {
    let redact = |fields: &[&str]| {
        let spec = bundled("redact", json!({"rules": [{"fields": fields, "with": "remove"}]}));
        crate::support::load(vec![spec], strait_host::TopicNaming::Identity).unwrap()
    };
    let (strict, loose) = (redact(&["$.email", "$.ssn"]), redact(&["$.email"]));
    let (_, slot) = holding(Arc::clone(&strict));
    let time = Duration::from_secs(30);
    assert!(slot.loosened(&loose).unwrap().is_empty(), "there is no topic to compare");
    let offer = |agreement| {
        let trial = Trial::Canary { time, partition: 3 };
        slot.offer(Arc::clone(&loose), agreement, trial, PROBATION, Duration::ZERO).unwrap();
    };
    offer(None);
    let mut chain = slot.chain().unwrap();
    let border = chain.border();
    assert_eq!((&border.generation, border.agreement), (strict.digest(), None));
    let trial = border.trial.unwrap();
    assert_eq!((&trial.generation, trial.agreement), (loose.digest(), None));
    let (active, on_trial) = (chain.protection("orders", 6).unwrap(), chain.trial_protection("orders", 6).unwrap());
    assert_eq!((active.claims.len(), on_trial.claims.len()), (2, 1));

    chain.refuse_trial("value$['ssn'] is not protected any more");
    assert!(chain.border().trial.is_none() && chain.trial_protection("orders", 6).is_none());
    let last = slot.history().pop().unwrap();
    assert_eq!((slot.state().standing, last.outcome), (TrialPhase::Steady, HistoryOutcome::Refused));
    assert!(last.reason.contains("ssn") && last.reason.contains("--confirm"), "{}", last.reason);
    let row: [Row<'_>; 1] = [(None, Some(br#"{"ssn":"123456789"}"#), &[])];
    let judged = |chain: &mut Box<dyn Chain>| chain.apply(batch(&row), 6).unwrap().generation;
    assert_eq!(judged(&mut chain), strict.generation());

    // It may be offered again, with a confirmation: that of the candidate alone.
    assert_eq!(slot.known_bad(&loose.generation()), None);
    let confirmed = Agreement { why: "confirmed".into(), by: "ops".into() };
    offer(Some(confirmed.clone()));
    assert_eq!(judged(&mut chain), loose.generation());
    let border = chain.border();
    assert_eq!((border.agreement, border.trial.unwrap().agreement), (None, Some(confirmed)));
}

/// It was said to protect as much when there was no topic to compare.
#[test]
fn a_previous_chain_that_protects_less_takes_over_no_batch() {
    let old = Guest { fails_closed: true, columns: vec![3, 4], ..version("old") };
    let new = Guest { columns: vec![3, 4, 5, 6], in_process: "unreachable".into(), ..old.clone() };
    let (_, slot) = slot(&old);
    offer(&slot, &new, Trial::Direct).unwrap();
    let mut chain = slot.chain().unwrap();
    let processed = chain.apply(batch(&ROWS), 6).unwrap();
    assert!(processed.dispositions.iter().all(|(_, fate)| matches!(fate, Disposition::Reject(_))), "{processed:?}");
    assert_eq!((processed.dispositions.len(), processed.generation), (2, load(&new).generation()));
    assert!(!outcomes(&slot).contains(&HistoryOutcome::RolledBack));
}

#[test]
fn a_candidate_is_compared_in_the_shadow_or_judges_one_partition_before_it_is_active() {
    let (world, slot) = slot(&version("old"));
    let mut chain = slot.chain().unwrap();
    assert_eq!(value(&mut chain), "old");
    let time = Duration::from_secs(30);
    offer(&slot, &version("new"), Trial::Shadow(time)).unwrap();
    assert_eq!([value(&mut chain), value(&mut chain)], ["old", "old"]);
    let state = slot.state();
    let comparison = state.comparison.unwrap();
    assert_eq!(state.standing, TrialPhase::Shadow);
    assert_eq!((comparison.records, comparison.records_different, comparison.batches_elsewhere), (4, 2, 0));
    world.pass(time);
    slot.tick();
    assert_eq!((slot.state().standing, value(&mut chain).as_str()), (TrialPhase::Probation, "new"));
    assert!(slot.history().pop().unwrap().reason.contains("2 of 4 records judged differently"));

    // A candidate that breaks in the shadow was never active.
    let trap = Guest { in_process: "unreachable".into(), ..version("trap") };
    offer(&slot, &trap, Trial::Shadow(time)).unwrap();
    assert_eq!(value(&mut chain), "new");
    assert_eq!((slot.state().standing, outcomes(&slot).pop()), (TrialPhase::Steady, Some(HistoryOutcome::RolledBack)));

    // The batches of the tests are of partition 3.
    offer(&slot, &version("canary"), Trial::Canary { time, partition: 2 }).unwrap();
    assert_eq!(value(&mut chain), "new");
    offer(&slot, &version("canary"), Trial::Canary { time, partition: 3 }).unwrap();
    assert_eq!((value(&mut chain).as_str(), slot.state().standing), ("canary", TrialPhase::Canary));
    slot.rollback("looked bad", false).unwrap();
    assert_eq!(value(&mut chain), "new");
    offer(&slot, &trap, Trial::Canary { time, partition: 3 }).unwrap();
    assert_eq!((value(&mut chain).as_str(), slot.state().standing), ("new", TrialPhase::Steady));
    offer(&slot, &version("canary"), Trial::Canary { time, partition: 3 }).unwrap();
    world.pass(time);
    slot.tick();
    assert_eq!((value(&mut chain).as_str(), slot.state().standing), ("canary", TrialPhase::Probation));
}
