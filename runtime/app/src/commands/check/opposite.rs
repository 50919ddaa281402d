//! Links of other processes that copy in the opposite direction.

use strait_core::config::Link;
use strait_kafka::{OppositeLinks, opposite_links};

use super::steps::{Sides, TIMEOUT, shorten};
use super::{Outcome, Step};
use crate::run::loops::{Found, found};

/// Reports loops with links whose progress is on the source. Says nothing where there are none.
pub async fn check(sides: &Sides<'_>, steps: &mut Vec<Step>) {
    let Some(target_id) = sides.target.info.cluster_id.as_deref() else { return };
    if sides.source.info.cluster_id.as_deref() == Some(target_id) {
        return;
    }
    let links = match opposite_links(&sides.source.config, target_id, TIMEOUT).await {
        Ok(links) => links,
        Err(error) => {
            steps.push(Step::new(name(sides.link), Outcome::Warning, error.to_string()));
            return;
        }
    };
    steps.extend(report(sides.link, &links));
}

fn name(link: &Link) -> String {
    format!("links opposite to {}", link.name)
}

fn report(link: &Link, links: &OppositeLinks) -> Vec<Step> {
    let step = |Found { other, topics, is_running, is_certain }| {
        let (outcome, ending) = match (is_certain, is_running) {
            (true, _) => (Outcome::Failed, "strait run does not start the link"),
            (false, Some(false)) => (Outcome::Warning, "it is not running now; do not run both"),
            (false, Some(true)) => (Outcome::Warning, "unless a plugin of either link ends that"),
            (false, None) => (Outcome::Warning, "whether it is running cannot be read; do not run both"),
        };
        let text = format!(
            "link {other} copies {topics} from {} to {}, where this link copies them back: {ending}; leave the topics out of one of them (topics_exclude)",
            link.target, link.source
        );
        Step::new(name(link), outcome, text)
    };
    let mut steps: Vec<Step> = found(link, links).into_iter().map(step).collect();
    if !links.unread.is_empty() {
        let unread = links.unread.iter().map(|(other, reason)| format!("{other} ({reason})"));
        let text = format!(
            "links write to {} whose source is not known, so that a loop with them is not ruled out: {}",
            link.source,
            shorten(unread)
        );
        steps.push(Step::new(name(link), Outcome::Warning, text));
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use strait_core::opposite::OppositeLink;

    use super::*;

    #[test]
    fn a_link_that_runs_the_other_way_fails_the_check_and_one_at_rest_or_with_plugins_is_a_warning() {
        let link: Link = serde_json::from_value(json!({
            "name": "a", "source": "aws", "target": "gcp", "topics": ["orders"], "naming": "identity",
        }))
        .unwrap();
        let opposite = |is_running, has_plugins| OppositeLink {
            name: "b".to_owned(),
            naming: "{topic}".into(),
            topics: [Arc::from("orders")].into(),
            has_plugins,
            is_running,
        };
        for (is_running, has_plugins, outcome, said) in [
            (Some(true), false, Outcome::Failed, "link b copies orders from gcp to aws"),
            (Some(true), true, Outcome::Warning, "unless a plugin"),
            (Some(false), false, Outcome::Warning, "do not run both"),
            (None, false, Outcome::Warning, "cannot be read"),
        ] {
            let found = OppositeLinks { found: vec![opposite(is_running, has_plugins)], unread: Vec::new() };
            let steps = report(&link, &found);
            assert_eq!(steps.len(), 1);
            assert_eq!(steps[0].outcome, outcome);
            assert!(steps[0].detail.contains(said), "{}", steps[0].detail);
        }
        let unread = OppositeLinks { found: Vec::new(), unread: vec![("c".to_owned(), "denied".to_owned())] };
        let steps = report(&link, &unread);
        assert!(steps[0].detail.contains("c (denied)"), "{}", steps[0].detail);
        assert!(report(&link, &OppositeLinks::default()).is_empty());
    }
}
