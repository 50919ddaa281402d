//! A chain on trial beside the active one.

use super::*;
use crate::protects::{ByTopic, Protection, read_claims};

#[test]
fn a_chain_on_trial_is_judged_too_and_the_border_says_what_both_protect() {
    let of = |places: &[&str]| {
        let claim = |at: &&str| format!(r#"{{"rule":"r","at":"{at}","leaves":"nothing"}}"#);
        let text = format!("[{}]", places.iter().map(claim).collect::<Vec<_>>().join(","));
        let protection = Protection { claims: read_claims(&text).unwrap().0, ..Protection::default() };
        ByTopic::from([("a".into(), protection)])
    };
    let chain = |generation: &str, places: &[&str], agreement: Option<Agreement>| ChainBorder {
        generation: generation.into(),
        has_plugins: true,
        protection: of(places),
        agreement,
        trial: None,
    };
    let beside =
        |trial: ChainBorder| ChainBorder { trial: Some(Box::new(trial)), ..chain("g1", &["key", "topic"], None) };
    let agreed = || Some(Agreement { why: "confirmed".into(), by: "ops".into() });
    let change = |held: &mut HeldBorder, chain: &ChainBorder| match held.judge(chain, 7) {
        Judged::Passes(change) => {
            held.change(&change);
            change
        }
        other => panic!("{other:?}"),
    };
    let mut held = HeldBorder::default();
    change(&mut held, &chain("g1", &["key", "topic"], None));

    // Nobody has agreed, and the agreement to the active chain is none to the candidate.
    for agreement in [None, agreed()] {
        let both = ChainBorder { agreement, ..beside(chain("g2", &["key"], None)) };
        assert!(matches!(held.judge(&both, 7), Judged::TrialLooser(lost) if lost.len() == 1));
    }
    let nothing = Judged::Passes(BorderChange::default());
    assert_eq!(
        held.judge(&beside(chain("g2", &["key", "topic", "timestamp"], None)), 7),
        nothing,
        "not in force alone"
    );

    // Each leaves what the other one protects.
    let both = beside(chain("g2", &["key", "timestamp"], agreed()));
    let border = change(&mut held, &both).border.unwrap();
    assert_eq!((border.number, &*border.generation, &*border.why), (2, "g2", "confirmed"));
    assert_eq!(held.protection("a"), Some(of(&["key"])["a"].clone()));
    assert_eq!(held.judge(&both, 8), nothing, "in another attempt neither");
    // However it ends, the chain that is left protects as much.
    for (last, places) in [("g1", ["key", "topic"]), ("g2", ["key", "timestamp"])] {
        let mut held = held.clone();
        let change = change(&mut held, &chain(last, &places, None));
        assert!(change.loosened.is_empty() && held.protection("a") == Some(of(&places)["a"].clone()), "{change:?}");
    }
}
