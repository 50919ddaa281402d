//! Whether refused records can be kept: quarantine is the one topic that a link writes on its
//! source.

use std::time::Duration;

use strait_core::config::{Link, OnRefused, OnTimestampZero};
use strait_core::progress::quarantine_topic;
use strait_kafka::Operation;
use strait_kafka::probe::missing_operations;

use super::steps::Reached;
use super::{Outcome, Step};

/// Reports whether the link may write its quarantine topic, and the consequences if it may not.
pub async fn quarantine(link: &Link, source: &Reached, timeout: Duration) -> Step {
    let name = format!("quarantine of {}", link.name);
    if !is_used(link) {
        return Step::new(name, Outcome::Ok, "not used: a refused record stops its partition (on_refused = \"stop\")");
    }
    let topic = quarantine_topic(&link.name);
    let wanted = vec![(topic.clone(), vec![Operation::Write])];
    match missing_operations(&source.config, wanted, timeout).await {
        Err(error) => Step::new(name, Outcome::Failed, error.to_string()),
        Ok(missing) if !missing.is_empty() => {
            let lacks = format!("this principal may not write topic {topic} on {}", source.config.name);
            Step::new(name, Outcome::Failed, consequences(&lacks, "Write on it"))
        }
        Ok(_) if source.may_not_create() => {
            let lacks = format!(
                "topic {topic} may be missing, and this principal may not create topics on {} in general (permissions \
                 for names and prefixes cannot be checked)",
                source.config.name
            );
            Step::new(name, Outcome::Warning, consequences(&lacks, "Create and Write on it"))
        }
        Ok(_) => Step::new(name, Outcome::Ok, "can be written or created"),
    }
}

fn is_used(link: &Link) -> bool {
    link.on_refused == OnRefused::Quarantine || link.on_timestamp_zero == OnTimestampZero::Quarantine
}

fn consequences(lacks: &str, grant: &str) -> String {
    format!(
        "{lacks}: the first record that the target refuses or a plugin rejects stops its partition (event \
         quarantine_failed); grant {grant}, or set on_refused = \"stop\", with which a link writes nothing to its source"
    )
}
