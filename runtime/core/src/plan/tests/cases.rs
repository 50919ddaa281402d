//! One case for each rule.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::acl::Operation;
use crate::config::{OnGap, OnTargetRecreated, Sync, SyncConfigs};
use crate::plan::*;
use crate::topic::TopicId;

/// A setting as `name=value`; with `*` before it, it is set on the topic.
fn configs(texts: &[&str]) -> Configs {
    let entry = |text: &&str| {
        let (name, value) = text.trim_start_matches('*').split_once('=').unwrap();
        let is_override = text.starts_with('*');
        let value = Some(value.to_owned());
        let beneath = if is_override { Some("default".to_owned()) } else { value.clone() };
        (name.to_owned(), ConfigEntry { value, is_override, beneath, ..ConfigEntry::default() })
    };
    texts.iter().map(entry).collect()
}

fn topic(partitions: u32, texts: &[&str]) -> TopicFacts {
    TopicFacts { id: TopicId([1; 16]), partitions, replicas: 1, configs: Ok(configs(texts)) }
}

fn facts(pairs: &[(&str, TopicFacts, Option<TopicFacts>)]) -> Facts {
    let mut facts = Facts { brokers: Some(1), ..Facts::default() };
    for (name, source, target) in pairs {
        let to: Arc<str> = format!("s.{name}").into();
        facts.targets.extend(target.clone().map(|target| (Arc::clone(&to), Ok(target))));
        facts.sources.insert((*name).into(), SourceFacts { target: to, topic: source.clone() });
    }
    facts
}

fn settings(sync: Sync) -> Settings {
    Settings {
        manages: true,
        excluded: Excluded::of(&sync),
        sync,
        on_gap: OnGap::Stop,
        on_target_recreated: OnTargetRecreated::Stop,
        own_principal: Some("User:strait".to_owned()),
        delete_after: None,
        beside: Beside::default(),
    }
}

fn lines(facts: &Facts, settings: &Settings) -> Vec<String> {
    plan(facts, settings).entries().iter().map(ToString::to_string).collect()
}

#[track_caller]
fn expect(facts: &Facts, settings: &Settings, expected: &[&str]) {
    let found = lines(facts, settings);
    let is_alike = |(found, expected): (&String, &&str)| found.starts_with(*expected);
    assert!(found.len() == expected.len() && found.iter().zip(expected).all(is_alike), "{found:#?}");
}

const KEPT: [&str; 5] =
    ["cleanup.policy=delete", "retention.ms=7", "retention.bytes=-1", "delete.retention.ms=9", "max.message.bytes=20"];

#[test]
fn a_missing_topic_is_made_like_its_source_and_gets_what_is_set_there() {
    let source = topic(3, &[&KEPT[..], &["*segment.bytes=5", "index.interval.bytes=6"]].concat());
    let other = topic(1, &[&KEPT[..], &["segment.bytes=4", "index.interval.bytes=7"]].concat());
    let missing = facts(&[("new", source.clone(), None), ("old", other.clone(), Some(other.clone()))]);
    expect(
        &missing,
        &settings(Sync::default()),
        &[
            "+ topic s.new: like new, partitions 3, replicas 1, cleanup.policy=delete, retention.ms=7, \
             retention.bytes=-1, delete.retention.ms=9, max.message.bytes=20, message.timestamp.type=CreateTime",
            "~ topic s.new: segment.bytes 4 -> 5",
        ],
    );
    let effective = settings(Sync { configs: SyncConfigs::Effective, ..Sync::default() });
    let found = lines(&missing, &effective);
    assert_eq!(found[1], "~ topic s.new: index.interval.bytes 7 -> 6", "{found:#?}");
    assert_eq!(found.len(), 3, "{found:#?}");

    let by_hand = Settings { manages: false, ..settings(Sync::default()) };
    expect(&missing, &by_hand, &["= topic s.new: manage_topics is off"]);
    let mut unread = missing.clone();
    unread.sources.get_mut("new").unwrap().topic.configs = Err("denied".into());
    expect(
        &unread,
        &settings(Sync::default()),
        &[
            "+ topic s.new: like new, partitions 3, replicas 1, cleanup.policy=delete, retention.ms=-1, \
             message.timestamp.type=CreateTime; the settings of new are not known: denied",
            "? settings of source topic new: denied",
        ],
    );
    // Two that Kafka does not tell apart.
    let alike = facts(&[("a.b", source.clone(), None), ("a_b", source, None)]);
    expect(&alike, &settings(Sync::default()), &["= topic s.a.b: Kafka creates only one", "= topic s.a_b: Kafka"]);
}

#[test]
fn settings_are_compared_three_ways() {
    let source = topic(2, &["*segment.bytes=1", "*flush.ms=2", "*min.insync.replicas=2", "*new.setting=1", "*same=1"]);
    let target = topic(
        2,
        &["segment.bytes=1", "*flush.ms=3", "min.insync.replicas=1", "*same=1", "*set.by.us=4", "*set.by.hand=5"],
    );
    let mut all = facts(&[("t", source, Some(target))]);
    let known = Known { configs: [("set.by.us".to_owned(), "4".to_owned())].into(), ..Known::default() };
    all.known.insert("s.t".into(), known);
    expect(
        &all,
        &settings(Sync::default()),
        &[
            "~ topic s.t: flush.ms 3 -> 2",
            // The value is in force there by default, and the source topic has it of its own.
            "~ topic s.t: segment.bytes 1 -> 1",
            "- topic s.t: set.by.us 4 -> the target's own",
            "= topic s.t: min.insync.replicas 2 at the source, 1 at the target: a setting that is not taken over",
            "= topic s.t: new.setting 1 at the source, none at the target: the target does not have this setting",
            "= topic s.t: set.by.hand none at the source, 5 at the target: set on the target",
        ],
    );
    let none = settings(Sync { configs: SyncConfigs::None, ..Sync::default() });
    let found = lines(&all, &none);
    assert!(found.iter().all(|line| line.starts_with("= ")), "{found:#?}");
    assert!(found.iter().any(|line| line.ends_with("sync.configs is \"none\"")), "{found:#?}");
    assert!(!found.iter().any(|line| line.contains("segment.bytes")), "{found:#?}");

    // What the target refused rests until the source has another value, and nobody fights.
    let rests = [
        ("flush.ms".to_owned(), Rest::Refused(Some("2".into()))),
        ("segment.bytes".to_owned(), Rest::Fight(Some("1".into()))),
    ];
    all.known.get_mut("s.t").unwrap().resting = BTreeMap::from(rests);
    let found = lines(&all, &settings(Sync::default()));
    assert!(
        found[0].starts_with("- ") && found[1].ends_with("the target has refused this value; another one is tried")
    );
    assert_eq!(found.iter().filter(|line| line.contains("somebody else keeps on changing it")).count(), 1);
    all.known.get_mut("s.t").unwrap().resting.insert("flush.ms".to_owned(), Rest::Refused(Some("9".into())));
    assert!(lines(&all, &settings(Sync::default()))[0].starts_with("~ topic s.t: flush.ms"));
}

#[test]
fn the_settings_that_keep_records_follow_the_value_in_force() {
    let source = topic(1, &["cleanup.policy=compact,delete", "*retention.ms=7", "max.message.bytes=10"]);
    let own = ["cleanup.policy=delete,compact", "retention.ms=-1", "*max.message.bytes=20"];
    let target = topic(1, &[&own[..], &["*message.timestamp.type=LogAppendTime"]].concat());
    let all = facts(&[("t", source.clone(), Some(target))]);
    let expected = [
        "~ topic s.t: message.timestamp.type LogAppendTime -> CreateTime",
        "~ topic s.t: retention.ms -1 -> 7 (the target deletes records by it)",
        "= topic s.t: max.message.bytes 10 at the source, 20 at the target: never lowered",
    ];
    expect(&all, &settings(Sync::default()), &expected);
    let sync = Sync { configs_exclude: vec!["retention\\..*".into()], ..Sync::default() };
    expect(
        &all,
        &settings(sync),
        &[expected[0], expected[2], "= topic s.t: retention.ms 7 at the source, -1 at the target: a setting that is"],
    );
    // Never deleted, also where we have set it.
    let mut all = facts(&[("t", topic(1, &["retention.ms=7"]), Some(topic(1, &["*retention.ms=7"])))]);
    let known = Known { configs: [("retention.ms".to_owned(), "7".to_owned())].into(), ..Known::default() };
    all.known.insert("s.t".into(), known);
    expect(&all, &settings(Sync::default()), &[]);
}

#[test]
fn topics_grow_and_what_is_not_ours_to_decide_is_left() {
    let (small, large) = (topic(2, &KEPT), topic(6, &KEPT));
    let fewer = TopicFacts { replicas: 3, ..small.clone() };
    let again = TopicFacts { id: TopicId([2; 16]), ..small.clone() };
    let mut all = facts(&[
        ("grows", large.clone(), Some(small.clone())),
        ("larger", small.clone(), Some(large)),
        ("gone", small.clone(), None),
        ("replicas", small.clone(), Some(fewer)),
        ("target-again", small.clone(), Some(again.clone())),
        ("source-again", again, Some(small)),
    ]);
    let written = Known { id: TopicId([1; 16]), is_written: true, ..Known::default() };
    all.known = ["s.gone", "s.target-again"].map(|topic| (topic.into(), written.clone())).into();
    all.read.insert("source-again".into(), [TopicId([1; 16])].into());
    all.targets.insert("s.hidden".into(), Err("denied".into()));
    let hidden = SourceFacts { target: "s.hidden".into(), topic: topic(1, &[]) };
    all.sources.insert("hidden".into(), hidden);
    all.unnamed.insert("nameless".into(), "no".to_owned());
    all.hidden.insert("secret".into(), "denied".to_owned());
    let expected = [
        "~ topic s.grows: partitions 2 -> 6",
        "= topic nameless: the plugins give it no name on the target: no",
        "= topic s.gone: the link has written to it and it was deleted",
        "= topic s.larger: partitions 2 at the source, 6 at the target: topics do not shrink",
        "= topic s.replicas: replicas 1 wanted, 3 found: replicas are given when",
        "= topic s.source-again: its source topic was created again",
        "= topic s.target-again: it was created again",
        "? source topic secret: denied",
        "? target topic s.hidden: denied",
    ];
    expect(&all, &settings(Sync::default()), &expected);
    let go_on = Settings {
        on_gap: OnGap::Continue,
        on_target_recreated: OnTargetRecreated::Recopy,
        ..settings(Sync::default())
    };
    expect(
        &all,
        &go_on,
        &["+ topic s.gone: ", expected[0], expected[1], expected[3], expected[4], expected[7], expected[8]],
    );
    let json: Vec<_> = plan(&all, &settings(Sync::default())).entries().iter().map(Entry::json).collect();
    assert_eq!(
        json[0],
        serde_json::json!({
            "sign": "~", "kind": "partitions", "topic": "s.grows", "from": "2", "to": "6"
        })
    );
    assert_eq!(json[3]["why"], "not_shrunk");
    assert_eq!(json[8]["of"], "target topic s.hidden");
}

#[test]
fn topics_that_share_a_target_get_partitions_and_nothing_that_could_widen_them() {
    let mut all = facts(&[("a", topic(1, &["*x=1"]), Some(topic(1, &["x=0"]))), ("b", topic(4, &["x=0"]), None)]);
    all.sources.get_mut("b").unwrap().target = "s.a".into();
    let allowed = acl("a", "app", Operation::Read, true);
    all.acls = Some(lists(&[allowed], &[]));
    expect(
        &all,
        &settings(Sync::default()),
        &[
            "~ topic s.a: partitions 1 -> 4",
            "= topic s.a: x 1 at the source, 0 at the target: several source topics feed",
            "= acl a: allow Read to User:app: several source topics feed this topic",
        ],
    );
}

fn acl(topic: &str, user: &str, operation: Operation, allows: bool) -> Acl {
    let (pattern, host) = (AclPattern::Literal, "*".to_owned());
    Acl { topic: topic.into(), pattern, principal: format!("User:{user}"), host, operation, allows }
}

fn lists(source: &[Acl], target: &[Acl]) -> AclFacts {
    let set = |acls: &[Acl]| Ok(acls.iter().cloned().collect());
    AclFacts { source: set(source), target: set(target), ours: BTreeSet::new(), gone: BTreeSet::new() }
}

#[test]
fn access_lists_follow_the_source_without_what_would_harm() {
    use Operation::{All, Describe, Read, Write};
    let mut all = facts(&[("t", topic(1, &KEPT), Some(topic(1, &KEPT)))]);
    let prefixed = Acl { pattern: AclPattern::Prefixed, ..acl("t", "app", Read, true) };
    let elsewhere = Acl { pattern: AclPattern::Prefixed, ..acl("u", "app", Read, true) };
    let source = [
        acl("t", "app", Read, true),
        acl("t", "app", Write, true),
        acl("t", "root", All, true),
        acl("t", "mallory", All, false),
        acl("t", "*", Describe, false),
        acl("t", "strait", Write, false),
        acl("t", "*", Read, false),
        acl("*", "admin", Read, true),
        acl("not-selected", "app", Read, true),
        prefixed,
        elsewhere,
    ];
    let theirs = acl("s.t", "by-hand", Read, true);
    let (ours, stays) = (acl("s.t", "left", Read, true), acl("s.unselected", "left", Read, true));
    let target = [acl("s.t", "root", Read, true), theirs, ours.clone(), stays.clone()];
    let principals = [("User:app".to_owned(), "User:app-eu".to_owned())].into();
    let settings = settings(Sync { acls: true, principals, ..Sync::default() });
    let mut access = lists(&source, &target);
    access.ours = [ours.clone(), stays].into();
    all.acls = Some(access);
    let left = [
        "= acl *: allow Read to User:admin: not on one topic alone",
        "= acl t: deny Describe to User:*: it would deny Strait",
        "= acl t: allow Write to User:app: only the link writes",
        "= acl t: deny Write to User:strait: it would deny Strait",
        "= acl t and all that begin so: allow Read to User:app: not on one topic alone",
    ];
    let added = [
        "+ acl s.t: deny Read to User:*",
        "+ acl s.t: allow Read to User:app-eu",
        "+ acl s.t: deny All to User:mallory",
    ];
    let found = lines(&all, &settings);
    for line in added.iter().chain(&left) {
        assert!(found.iter().any(|found| found.starts_with(line)), "{line}: {found:#?}");
    }
    let just_gone = "= acl s.t: allow Read to User:left: gone at the source; removed if it still is";
    assert!(found.iter().any(|found| found.starts_with(just_gone)), "{found:#?}");
    assert_eq!(found.len(), added.len() + left.len() + 1, "{found:#?}");
    all.acls.as_mut().unwrap().gone = [ours].into();
    let found = lines(&all, &settings);
    assert!(found.contains(&"- acl s.t: allow Read to User:left".to_owned()), "{found:#?}");

    all.acls.as_mut().unwrap().source = Err("no authorizer".into());
    expect(&all, &settings, &["? access list of the source: no authorizer"]);
    all.acls = None;
    expect(&all, &settings, &[]);
}
