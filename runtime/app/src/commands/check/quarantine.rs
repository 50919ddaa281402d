//! Whether refused records can be kept: quarantine is the one topic that a link writes on its
//! source.

use std::time::Duration;

use strait_core::acl::{On, Operation, uses_quarantine};
use strait_core::progress::quarantine_topic;
use strait_kafka::probe::missing_operations;
use strait_kafka::{KafkaQuarantine, Outlook};

use super::steps::Sides;
use super::{Outcome, Step};

/// Reports whether the link may write its quarantine topic, and the consequences if it may not.
pub(super) async fn quarantine(sides: &Sides<'_>, timeout: Duration) -> Step {
    let (link, source) = (sides.link, sides.source);
    let name = format!("quarantine of {}", link.name);
    if !uses_quarantine(link) {
        return Step::new(name, Outcome::Ok, "not used: a refused record stops its partition (on_refused = \"stop\")");
    }
    let topic = quarantine_topic(&link.name);
    let lacks = |operation: Operation, what: &str| {
        let without = sides.rights.missing(On::Quarantine, operation, &topic).map(|(grant, _)| grant.right.without);
        let text = format!(
            "this principal may not {what} topic {topic} on {}: {}{}",
            source.config.name,
            without.unwrap_or_default(),
            sides.rights.remedy(On::Quarantine, operation, &topic)
        );
        Step::new(&name, Outcome::Failed, text)
    };
    let wanted = vec![Operation::Write, Operation::Read];
    match missing_operations(&source.config, vec![(topic.clone(), wanted)], timeout).await {
        Err(error) => return Step::new(name, Outcome::Failed, error.to_string()),
        Ok(missing) if missing.iter().any(|(_, operation)| *operation == Operation::Write) => {
            return lacks(Operation::Write, "write");
        }
        Ok(missing) if !missing.is_empty() => {
            return Step { outcome: Outcome::Warning, ..lacks(Operation::Read, "read") };
        }
        Ok(_) => {}
    }
    let quarantine = KafkaQuarantine::new(&source.config, &link.name, link.manage_topics, timeout);
    match quarantine.outlook().await {
        Err(error) => Step::new(name, Outcome::Failed, error.to_string()),
        Ok(Some(Outlook::Denied { operation, .. })) => lacks(operation, "create"),
        Ok(Some(Outlook::Refused { reason, command })) => {
            let text = format!("topic {topic} cannot be created at the first refused record: {reason}\n  {command}");
            Step::new(name, Outcome::Failed, text)
        }
        Ok(Some(Outlook::Provided(_))) => Step::new(name, Outcome::Ok, "can be created"),
        Ok(None) => match quarantine.fault().await {
            Ok(None) => Step::new(name, Outcome::Ok, "can be written"),
            Ok(Some(fault)) => Step::new(name, Outcome::Warning, format!("topic {topic}: {fault}")),
            Err(error) => {
                let text = format!("can be written; whether records expire there is not known: {error}");
                Step::new(name, Outcome::Ok, text)
            }
        },
    }
}
