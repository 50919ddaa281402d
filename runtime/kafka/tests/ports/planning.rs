//! Things that the target takes over besides records.

use std::time::Instant;

use strait_core::TopicId;
use strait_core::config::{OnGap, OnTargetRecreated, Sync};
use strait_core::plan::{Action, Answer, Beside, Excluded, Plan, Settings, Sign, plan};
use strait_flow::ports::{Planner as _, SourceTopic};
use strait_kafka::KafkaPlanner;

use crate::common::{Rig, WAIT};

async fn planned(planner: &KafkaPlanner, settings: &Settings) -> Plan {
    let named = [("plan-grows", 3), ("plan-new", 2)].map(|(topic, partitions)| {
        let source = SourceTopic { topic: topic.into(), partitions, id: TopicId::UNKNOWN };
        (source, format!("to.{topic}").into())
    });
    let deadline = Instant::now() + WAIT;
    loop {
        let facts = planner.facts(named.to_vec(), false).await.unwrap();
        // A topic that was just created may not be described yet.
        if facts.sources.len() == named.len() || Instant::now() > deadline {
            return plan(&facts, settings);
        }
    }
}

/// Each action is taken in advance and then carried out, and a second plan has none.
pub async fn a_plan_that_is_carried_out_leaves_nothing_to_do(rig: Rig) {
    rig.create("plan-grows", 3, &[("segment.ms", "1000000"), ("retention.ms", "5000000")]).await;
    rig.create("to.plan-grows", 1, &[("retention.ms", "1000"), ("index.interval.bytes", "9000")]).await;
    rig.create("plan-new", 2, &[("cleanup.policy", "compact"), ("flush.ms", "50000")]).await;
    let planner = KafkaPlanner::new(&rig.cluster, &rig.cluster, "plan", WAIT);
    let sync = Sync::default();
    let settings = Settings {
        manages: true,
        excluded: Excluded::of(&sync),
        sync,
        on_gap: OnGap::Stop,
        on_target_recreated: OnTargetRecreated::Stop,
        own_principal: None,
        delete_after: None,
        beside: Beside::default(),
    };
    let first = planned(&planner, &settings).await;
    let lines: Vec<String> = first.entries().iter().map(ToString::to_string).collect();
    let expected = [
        "~ topic to.plan-grows: partitions 1 -> 3",
        "~ topic to.plan-grows: retention.ms 1000 -> 5000000",
        "~ topic to.plan-grows: segment.ms 604800000 -> 1000000",
        "+ topic to.plan-new: like plan-new, partitions 2, replicas 1, cleanup.policy=compact",
        "~ topic to.plan-new: flush.ms 9223372036854775807 -> 50000",
        "= topic to.plan-grows: index.interval.bytes 4096 at the source, 9000 at the target: set on the target",
    ];
    assert!(lines.len() == expected.len() && lines.iter().zip(expected).all(|(a, b)| a.starts_with(b)), "{lines:#?}");

    for action in &first.actions {
        let is_later = matches!(action, Action::Alter { topic, .. } if &**topic == "to.plan-new");
        let wanted = if is_later { Answer::NotAsked } else { Answer::Taken };
        assert_eq!(planner.try_out(action.clone()).await.unwrap(), wanted, "{action:?}");
    }
    assert_eq!(planned(&planner, &settings).await, first, "trying has changed something");
    for action in &first.actions {
        assert_eq!(planner.carry_out(action.clone()).await.unwrap(), Answer::Taken, "{action:?}");
    }
    let deadline = Instant::now() + WAIT;
    let second = loop {
        let plan = planned(&planner, &settings).await;
        if plan.is_empty() || Instant::now() > deadline {
            break plan;
        }
    };
    assert!(second.is_empty(), "{second:#?}");
    assert_eq!(second.entries().iter().filter(|entry| entry.sign == Sign::Leave).count(), 1, "{second:#?}");

    // What the target refuses concerns the action alone, and nothing of it is done.
    let changes = vec![
        strait_core::plan::ConfigChange { name: "flush.ms".into(), from: None, to: Some("7".into()), purges: false },
        strait_core::plan::ConfigChange { name: "segment.ms".into(), from: None, to: Some("x".into()), purges: false },
    ];
    let refused = Action::Alter { topic: "to.plan-new".into(), changes };
    for answer in [planner.try_out(refused.clone()).await.unwrap(), planner.carry_out(refused).await.unwrap()] {
        assert!(matches!(&answer, Answer::Refused(reason) if reason.contains("segment.ms")), "{answer:?}");
    }
    assert!(planned(&planner, &settings).await.is_empty());
}
