//! A chain that protects more than the one before is left only by an operator, in whatever way
//! chains come and go.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use strait_core::progress::{Agreement, ChainBorder, HeldBorder, Judged};
use strait_core::{Content, Disposition, Processed};
use strait_flow::ports::{Chain, ChainFactory};
use strait_host::{
    ActiveChain, ChainSpec, HistoryOutcome, HostChains, HostEngine, OfferError, PluginSpec, Trial, TrialPhase,
};

use crate::reload::{PROBATION, holding, load, outcomes, signed, slot, version};
use crate::support::guest::Guest;
use crate::support::world::World;
use crate::support::{Row, batch, bundled, fates, file, link, load_bytes};

/// Statements that trap where a key holds an 'x'; column 4 has to be the first.
const TRAP: &str = r"(local.set $p (local.get $data))
    (block $out (loop $scan
      (br_if $out (i32.ge_u (local.get $p) (i32.add (local.get $data) (local.get $data_len))))
      (if (i32.eq (i32.load8_u (local.get $p)) (i32.const 120)) (then unreachable))
      (local.set $p (i32.add (local.get $p) (i32.const 1)))
      (br $scan)))";

fn redacts(fields: &[&'static str], name: &'static str) -> Guest {
    Guest { fails_closed: true, columns: vec![4], fields: fields.to_vec(), ..version(name) }
}

#[test]
fn a_tightened_chain_that_breaks_is_not_rolled_back_and_an_operator_who_does_confirms_it() {
    let rows: [Row<'_>; 3] = [
        (Some(b"k"), Some(br#"{"a":1,"b":2}"#), &[]),
        (Some(b"x"), Some(br#"{"a":1,"b":2}"#), &[]),
        (Some(b"k"), Some(br#"{"a":1,"b":2}"#), &[]),
    ];
    let old = redacts(&["$.a"], "old");
    let new = Guest { in_process: TRAP.into(), ..redacts(&["$.a", "$.b"], "new") };
    let (world, slot) = slot(&old);
    let mut chain = slot.chain().unwrap();
    chain.apply(batch(&rows), 6).unwrap();
    let (old, new) = (slot.chains(), load(&new));
    slot.offer(Arc::clone(&new), None, Trial::Direct, PROBATION, Duration::ZERO).unwrap();
    let state = slot.state();
    assert_eq!((state.standing, state.beside), (TrialPhase::Steady, None), "there is no way back by itself");

    // The one record that breaks it follows on_error under the new chain.
    let processed = chain.apply(batch(&rows), 6).unwrap();
    assert_eq!((fates(&processed), &processed.generation), ((vec![], vec![1], vec![0, 2]), &new.generation()));
    let Disposition::Replace(copies) = &processed.dispositions[0].1 else { panic!("{processed:?}") };
    assert_eq!(copies[0].value, Content::Bytes(b"new".to_vec()));
    assert!(!world.events.lock().unwrap().contains(&"plugins_rolled_back".to_owned()));

    let refused = slot.rollback("no", false).unwrap_err();
    assert!(refused.to_string().contains("confirm it with --confirm"), "{refused}");
    assert!(matches!(&refused, OfferError::ProtectsLess(losses) if losses[0].contains("value$['b']")), "{refused}");
    assert_eq!(outcomes(&slot), [HistoryOutcome::Started, HistoryOutcome::Reloaded]);
    slot.rollback("yes", true).unwrap();
    let border = slot.chain().unwrap().border();
    assert_eq!((&border.generation, &*border.agreement.unwrap().why), (old.digest(), "confirmed"));
}

/// Of a file the word is taken for what it protects, once somebody has agreed to the file.
#[test]
fn another_file_of_a_required_plugin_needs_a_pin_a_signature_or_a_confirmation() {
    let strict = redacts(&["$.a"], "strict");
    let other = Guest { release: "2", ..strict.clone() };
    let pinned = |guest: &Guest| {
        let wasm = guest.wasm();
        load_bytes(&wasm, |spec| spec.trust.digest = Some(Sha256::digest(&wasm).into())).unwrap()
    };
    let said = |before: &Guest, after: &Arc<HostChains>| {
        let (_, slot) = slot(before);
        slot.chain().unwrap().apply(batch(&[(Some(b"k"), Some(b"{}"), &[])]), 6).unwrap();
        slot.loosened(after).unwrap()
    };
    let found = said(&strict, &load(&other));
    assert!(found.len() == 1 && found[0].contains("plugin made has another file"), "{found:?}");
    assert!(found[0].contains("digest = \"sha256:") && found[0].contains("or sign it"), "{found:?}");
    assert_eq!(said(&strict, &load(&strict)), [""; 0], "the same file");
    assert_eq!(said(&strict, &pinned(&other)), [""; 0]);
    assert_eq!(said(&strict, &signed(&other)), [""; 0]);
    let open = |release: &'static str| Guest { release, ..version("open") };
    assert_eq!(said(&open("1"), &load(&open("2"))), [""; 0], "it protects nothing");
    assert_eq!(said(&open("1"), &load(&strict)), [""; 0], "it protects more than before");
    // Going back to a file that was in force is no news.
    let (_, slot) = slot(&strict);
    slot.offer(load(&other), None, Trial::Direct, PROBATION, Duration::ZERO).unwrap();
    assert_eq!(slot.state().standing, TrialPhase::Probation);
    slot.rollback("back", false).unwrap();
}

/// Fields of the records, each with a text of its own.
const FIELDS: [&str; 3] = ["$.a", "$.b", "$.c"];
/// Of each field, how much passes: nothing, the first three characters, all.
type Passing = [u8; 3];

/// A chain of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Kind {
    passes: Passing,
    /// A filter in front of all.
    filters: bool,
    /// A plugin behind all that traps on a key with an 'x'.
    traps: bool,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Direct,
    Shadow,
    /// A canary on the partition of the records, or on another one.
    Canary(bool),
}

#[derive(Clone, Debug)]
enum Step {
    /// A reload, with or without `--confirm`.
    Offer(Kind, Way, bool),
    Rollback(bool),
    /// Time in which probations and trials end.
    Wait,
    /// Nothing but records, of which one may break the chain.
    Records(bool),
    /// The lane is taken again.
    Lane,
    /// A process is started with a chain that nobody has compared, and gets another one before it
    /// has a lane to compare for.
    Process(Kind, Kind, Way),
}

fn kind() -> impl Strategy<Value = Kind> {
    let passes = [0..3_u8, 0..3_u8, 0..3_u8];
    (passes, any::<bool>(), any::<bool>()).prop_map(|(passes, filters, traps)| Kind { passes, filters, traps })
}

fn step() -> impl Strategy<Value = Step> {
    let way = || select(vec![Way::Direct, Way::Direct, Way::Shadow, Way::Canary(true), Way::Canary(false)]);
    let confirmed = || select(vec![false, false, false, true]);
    prop_oneof![
        6 => (kind(), way(), confirmed()).prop_map(|(kind, way, confirm)| Step::Offer(kind, way, confirm)),
        2 => confirmed().prop_map(Step::Rollback),
        2 => Just(Step::Wait),
        3 => any::<bool>().prop_map(Step::Records),
        1 => Just(Step::Lane),
        1 => (kind(), kind(), way()).prop_map(|(kind, next, way)| Step::Process(kind, next, way)),
    ]
}

/// The chains that were loaded, by kind, and what each lets pass, by digest.
struct Chains {
    engine: HostEngine,
    loaded: HashMap<Kind, Arc<HostChains>>,
    passes: BTreeMap<Arc<str>, Passing>,
}

impl Chains {
    fn get(&mut self, kind: Kind) -> Arc<HostChains> {
        if let Some(known) = self.loaded.get(&kind) {
            return Arc::clone(known);
        }
        let rules = FIELDS.iter().zip(kind.passes).filter_map(|(field, passes)| match passes {
            0 => Some(json!({ "fields": [field], "with": "remove" })),
            1 => Some(json!({ "fields": [field], "with": "truncate", "length": 3 })),
            _ => None,
        });
        let rules: Vec<_> = rules.collect();
        let mut plugins: Vec<PluginSpec> = Vec::new();
        plugins.extend(kind.filters.then(|| bundled("filter", json!({ "drop": "key == 'none'" }))));
        plugins.extend((!rules.is_empty()).then(|| bundled("redact", json!({ "rules": rules }))));
        let trap =
            Guest { effects: 0, topic_effects: 0, columns: vec![4], in_process: TRAP.into(), ..Guest::default() };
        plugins.extend(kind.traps.then(|| file(&trap.wasm(), |_| {})));
        let spec = ChainSpec { plugins, link: link(), naming: strait_host::TopicNaming::Identity };
        let chains = HostChains::load(&self.engine, spec).unwrap();
        self.passes.insert(Arc::clone(chains.digest()), kind.passes);
        self.loaded.insert(kind, Arc::clone(&chains));
        chains
    }
}

fn most(one: Passing, other: Passing) -> Passing {
    std::array::from_fn(|field| one[field].max(other[field]))
}

/// Returns how much of the fields is in the first record behind a chain.
fn passing(processed: &Processed, original: &[u8]) -> Passing {
    let fate = processed.dispositions.iter().find(|(index, _)| *index == 0).map(|(_, fate)| fate);
    let value = match fate {
        None => original,
        Some(Disposition::Replace(copies)) => match &copies[0].value {
            Content::Bytes(bytes) => bytes,
            Content::Original => original,
            Content::Null => b"",
        },
        Some(_) => b"",
    };
    let text = String::from_utf8_lossy(value);
    ["AAA", "BBB", "CCC"].map(|begin| u8::from(text.contains(begin)) + u8::from(text.contains(&format!("{begin}-all"))))
}

/// Reloads as `strait plugin reload` does. Returns whether it is not refused.
fn offer(slot: &ActiveChain, next: Arc<HostChains>, way: Way, confirm: bool) -> bool {
    if !confirm && !slot.loosened(&next).unwrap().is_empty() {
        return false;
    }
    let agreement = confirm.then(|| Agreement { why: "confirmed".into(), by: "ops".into() });
    let trial = match way {
        Way::Direct => Trial::Direct,
        Way::Shadow => Trial::Shadow(PROBATION),
        Way::Canary(here) => Trial::Canary { time: PROBATION, partition: if here { 3 } else { 2 } },
    };
    slot.offer(next, agreement, trial, PROBATION, Duration::ZERO).unwrap();
    true
}

/// A link with one lane, the border that the lane holds, and what may pass by that.
struct Link {
    world: Arc<World>,
    slot: ActiveChain,
    chain: Box<dyn Chain>,
    held: HeldBorder,
    allowed: Passing,
    /// As much as a candidate on trial lets pass that was confirmed.
    confirmed: Passing,
    /// Turns in which records passed, and in which the border held them back.
    turns: (usize, usize),
    /// The history of processes that have ended.
    outcomes: Vec<HistoryOutcome>,
}

impl Link {
    fn start(chains: &Arc<HostChains>) -> Self {
        let (world, slot) = holding(Arc::clone(chains));
        let chain = slot.chain().unwrap();
        let (held, allowed) = (HeldBorder::default(), [2; 3]);
        Self { world, slot, chain, held, allowed, confirmed: [0; 3], turns: (0, 0), outcomes: vec![] }
    }

    fn take(&mut self, step: Step, chains: &mut Chains) {
        match step {
            Step::Offer(kind, way, confirm) => {
                if offer(&self.slot, chains.get(kind), way, confirm) {
                    self.confirmed = if confirm { kind.passes } else { [0; 3] };
                    self.allowed = most(self.allowed, self.confirmed);
                }
            }
            Step::Rollback(confirm) => {
                let rolled = self.slot.rollback("asked", confirm).is_ok();
                if rolled && confirm {
                    let passes = chains.passes[self.slot.chains().digest()];
                    self.allowed = most(self.allowed, passes);
                }
            }
            Step::Wait => {
                self.world.pass(PROBATION);
                self.slot.tick();
            }
            Step::Records(_) => {}
            Step::Lane => self.chain = self.slot.chain().unwrap(),
            Step::Process(kind, next, way) => {
                (self.world, self.slot) = holding(chains.get(kind));
                offer(&self.slot, chains.get(next), way, false);
                (self.chain, self.confirmed) = (self.slot.chain().unwrap(), [0; 3]);
            }
        }
    }

    /// Judges the chain by the border, as a lane does before each batch.
    fn is_held_back(&mut self) -> bool {
        let by_topic = |protection| BTreeMap::from([(Arc::from("orders"), protection)]);
        self.chain.keep_up();
        let protection = by_topic(self.chain.protection("orders", 6).unwrap());
        let on_trial = self.chain.trial_protection("orders", 6).map(by_topic);
        let mut border = ChainBorder { protection, ..self.chain.border() };
        if let Some(trial) = &mut border.trial {
            trial.protection = on_trial.unwrap_or_default();
        }
        let mut judged = self.held.judge(&border, 7);
        if let Judged::TrialLooser(_) = judged {
            self.chain.refuse_trial("it protects less");
            border.trial = None;
            judged = self.held.judge(&border, 7);
        }
        let Judged::Passes(change) = judged else { return true };
        self.held.change(&change);
        false
    }

    /// Shows the lane records. Returns what passed although it must not.
    fn turn(&mut self, breaks: bool, chains: &Chains) -> Result<(), String> {
        if self.is_held_back() {
            self.turns.1 += 1;
            return Ok(());
        }
        let value = br#"{"a":"AAA-all","b":"BBB-all","c":"CCC-all"}"#;
        let key: &[u8] = if breaks { b"x" } else { b"k" };
        let rows: [Row<'_>; 2] = [(Some(b"k"), Some(value), &[]), (Some(key), Some(value), &[])];
        // A plugin that broke too often is not called for a while.
        let Ok(processed) = self.chain.apply(batch(&rows), 6) else { return Ok(()) };
        self.turns.0 += 1;
        let passed = passing(&processed, value);
        if most(passed, self.allowed) != self.allowed {
            return Err(format!("{passed:?} passed and {:?} was in force, {:?}", self.allowed, self.slot.history()));
        }
        let on_trial = matches!(self.slot.state().standing, TrialPhase::Shadow | TrialPhase::Canary);
        self.confirmed = if on_trial { self.confirmed } else { [0; 3] };
        self.allowed = most(chains.passes[self.slot.chains().digest()], self.confirmed);
        Ok(())
    }
}

/// Walks of random steps.
const WALKS: usize = 80;

/// Chains come by a reload, as candidates, by going back, because one breaks, and with another
/// process. What comes by itself lets pass no more than what was in force.
#[test]
fn no_chain_comes_into_force_by_itself_that_lets_more_pass() {
    let engine = HostEngine::new().unwrap();
    let chains = RefCell::new(Chains { engine, loaded: HashMap::new(), passes: BTreeMap::new() });
    let seen: RefCell<BTreeMap<&str, usize>> = RefCell::default();
    let walk = |(first, steps): (Kind, Vec<Step>)| {
        let (mut chains, mut seen) = (chains.borrow_mut(), seen.borrow_mut());
        let mut count = |what: &'static str, times: usize| *seen.entry(what).or_default() += times;
        let mut link = Link::start(&chains.get(first));
        for step in steps {
            let breaks = matches!(step, Step::Records(true));
            if matches!(step, Step::Process(..)) {
                link.outcomes.extend(outcomes(&link.slot));
            }
            link.take(step, &mut chains);
            link.turn(breaks, &chains).map_err(TestCaseError::fail)?;
        }
        count("passed", link.turns.0);
        count("held back", link.turns.1);
        link.outcomes.extend(outcomes(&link.slot));
        for outcome in link.outcomes {
            match outcome {
                HistoryOutcome::Reloaded => count("reloaded", 1),
                HistoryOutcome::RolledBack => count("rolled back", 1),
                HistoryOutcome::OnTrial => count("on trial", 1),
                HistoryOutcome::Refused => count("trial refused", 1),
                HistoryOutcome::Started | HistoryOutcome::Proven => {}
            }
        }
        Ok(())
    };
    let walks = (kind(), prop::collection::vec(step(), 1..25));
    let mut runner = TestRunner::deterministic();
    for _ in 0..WALKS {
        let tree = walks.new_tree(&mut runner).unwrap();
        runner.run_one(tree, walk).unwrap();
    }
    let seen = seen.into_inner();
    println!("{seen:?}");
    assert!(seen.len() == 6 && seen.values().all(|count| *count > 5), "{seen:?}");
}
