//! A link of which residency is demanded has required plugins only, and they know of it.

use serde_json::json;
use strait_flow::ports::ChainFactory;
use strait_host::{ChainSpec, HostChains, LinkInfo, LoadError, PluginSpec, TopicNaming};

use crate::support::{Row, batch, bundled, engine, fates, link, load};

fn resident(plugins: Vec<PluginSpec>) -> Result<std::sync::Arc<HostChains>, LoadError> {
    let link = LinkInfo { residency: true, ..link() };
    HostChains::load(engine(), ChainSpec { plugins, link, naming: TopicNaming::Identity })
}

fn filter(required: bool) -> PluginSpec {
    PluginSpec { required, ..bundled("filter", json!({ "drop": "value.country == 'DE'" })) }
}

fn redact() -> PluginSpec {
    bundled("redact", json!({ "rules": [{ "fields": ["$.email"], "with": "remove" }] }))
}

#[test]
fn a_plugin_that_is_not_required_is_refused_by_name() {
    load(vec![filter(false), redact()], TopicNaming::Identity).unwrap();
    let error = resident(vec![redact(), filter(false)]).unwrap_err().to_string();
    assert!(error.starts_with("plugin filter (bundled): the link has residency = true"), "{error}");
    assert!(error.ends_with("set required = true for it"), "{error}");
    // What fails closed is required by itself.
    resident(vec![filter(true), redact()]).unwrap();
}

#[test]
fn residency_is_part_of_the_generation() {
    let elsewhere = load(vec![filter(true), redact()], TopicNaming::Identity).unwrap();
    assert_ne!(elsewhere.digest(), resident(vec![filter(true), redact()]).unwrap().digest());
}

#[test]
fn the_bundled_filter_rejects_what_is_missing_and_tombstones() {
    let values: [Option<&[u8]>; 5] =
        [Some(br#"{"country":"DE"}"#), Some(br#"{"country":"FR"}"#), Some(b"{}"), Some(br#"[{"country":"DE"}]"#), None];
    let rows: Vec<Row<'_>> = values.iter().map(|value| (Some(&b"k"[..]), *value, &[][..])).collect();
    let judge = |chains: std::sync::Arc<HostChains>| fates(&chains.chain().unwrap().apply(batch(&rows), 6).unwrap());
    assert_eq!(judge(resident(vec![filter(true)]).unwrap()), (vec![0], vec![2, 3, 4], vec![]));
    assert_eq!(judge(load(vec![filter(false)], TopicNaming::Identity).unwrap()), (vec![0], vec![], vec![]));
}

#[test]
fn a_plugin_that_chooses_topics_by_what_a_later_one_removes_is_refused() {
    let route = |by: &str| PluginSpec {
        required: true,
        ..bundled("route", json!({ "by": by, "to": "topic", "pattern": "(.*)", "replacement": "orders-$1" }))
    };
    let allow = || bundled("redact", json!({ "keep_only": ["$.country"] }));
    let protection = |chains: std::sync::Arc<HostChains>| chains.chain().unwrap().protection("orders", 1);
    let error = protection(resident(vec![route("$.email"), redact()]).unwrap()).unwrap_err().to_string();
    assert!(error.contains("route") && error.contains("plugin redact behind it protects"), "{error}");
    assert!(protection(resident(vec![route("$.email"), allow()]).unwrap()).is_err());
    for passes in [vec![route("$.country"), redact()], vec![redact(), route("$.email")]] {
        protection(resident(passes).unwrap()).unwrap();
    }
    protection(resident(vec![route("$.country"), allow()]).unwrap()).unwrap();
    protection(load(vec![route("$.email"), redact()], TopicNaming::Identity).unwrap()).unwrap();
}
