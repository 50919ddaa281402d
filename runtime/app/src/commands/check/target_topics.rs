//! The topics that a link needs on the target: which of them Strait would create or grow, and which
//! not.

use std::sync::Arc;

use strait_core::Event;
use strait_core::acl::On;
use strait_core::mm2::Mm2Topic;
use strait_core::progress::progress_topic;
use strait_flow::ports::{EventSink, SourceTopic};
use strait_kafka::{KafkaMm2, KafkaTargetTopics, Outlook, Outlooks, TopicMaker};

use super::steps::{Sides, TIMEOUT, shorten};
use super::{Outcome, Step};
use crate::run::link::own_topics;
use crate::run::target_topics::wanted_topics;

/// A check reports events as steps.
struct Unheard;

impl EventSink for Unheard {
    fn emit(&self, _: &str, _: Event) {}
}

/// Asks the target about the topics that the link would create and grow.
pub async fn check(sides: &Sides<'_>, names: &[(SourceTopic, Arc<str>)], steps: &mut Vec<Step>) {
    let link = sides.link;
    let (source, target) = (&sides.source.config, &sides.target.config);
    let maker = TopicMaker::new(source, &link.name, &link.sync, Arc::new(Unheard), TIMEOUT);
    let topics = KafkaTargetTopics::new(target, &link.name, Arc::new(maker), TIMEOUT);
    let name = format!("target topics of {}", link.name);
    let wanted = wanted_topics(names.iter().map(|(topic, target)| (topic, Arc::clone(target))));
    let outlooks = match topics.outlook(wanted, link.manage_topics).await {
        Ok(outlooks) => outlooks,
        Err(error) => {
            steps.push(Step::new(name, Outcome::Failed, error.to_string()));
            return;
        }
    };
    report(&name, (sides, On::TargetTopics), outlooks, steps);
}

/// Asks the target about the link's own topics, and reports settings of them that do harm. Returns
/// whether there is progress to read.
pub async fn check_own(sides: &Sides<'_>, steps: &mut Vec<Step>) -> bool {
    let (name, target) = (format!("own topics of {}", sides.link.name), &sides.target.config);
    let outlook = match own_topics(sides.link, target, sides.link.lanes_to_create(), TIMEOUT).outlook().await {
        Ok(outlook) => outlook,
        Err(error) => {
            steps.push(Step::new(name, Outcome::Failed, error.to_string()));
            return false;
        }
    };
    let progress = progress_topic(&sides.link.name);
    let is_there = outlook.missing.iter().all(|(topic, _)| **topic != *progress);
    report(&name, (sides, On::OwnTopics), outlook.missing, steps);
    match outlook.unfit {
        Ok(unfit) => steps.extend(
            unfit.into_iter().map(|(topic, reason)| Step::new(&name, Outcome::Warning, format!("{topic}: {reason}"))),
        ),
        Err(error) => steps.push(Step::new(name, Outcome::Failed, error.to_string())),
    }
    is_there
}

/// Asks both clusters about the topics that the link would write for MirrorMaker 2's clients.
pub async fn check_mm2(sides: &Sides<'_>, steps: &mut Vec<Step>) {
    let link = sides.link;
    let topics: Vec<Mm2Topic> = Mm2Topic::ALL.into_iter().filter(|topic| link.mm2.writes(*topic)).collect();
    if topics.is_empty() {
        return;
    }
    let name = format!("topics of {} for MirrorMaker 2's clients", link.name);
    let (source, target) = (&sides.source.config, &sides.target.config);
    let outlooks = match KafkaMm2::new(source, target, &link.name, link.manage_topics, TIMEOUT).outlook(topics).await {
        Ok(outlooks) => outlooks,
        Err(error) => {
            steps.push(Step::new(name, Outcome::Warning, error.to_string()));
            return;
        }
    };
    let (on_source, on_target): (Vec<_>, Vec<_>) = outlooks.into_iter().partition(|(topic, _)| topic.is_on_source());
    let before = steps.len();
    for (on, outlooks) in [(On::SourceHeartbeats, on_source), (On::Mm2Topics, on_target)] {
        let outlooks = outlooks.into_iter().map(|(_, (topic, outlook))| (topic.into(), outlook)).collect();
        report(&name, (sides, on), outlooks, steps);
    }
    // Records are copied without them.
    for step in steps.iter_mut().skip(before).filter(|step| step.outcome == Outcome::Failed) {
        step.outcome = Outcome::Warning;
    }
}

fn report(name: &str, (sides, on): (&Sides<'_>, On), outlooks: Outlooks, steps: &mut Vec<Step>) {
    let (mut provided, mut refused, mut events) = (Vec::new(), Vec::new(), Vec::new());
    for (topic, outlook) in outlooks {
        match outlook {
            Outlook::Provided(reported) => {
                provided.push(topic.to_string());
                events.extend(reported.iter().map(ToString::to_string));
            }
            Outlook::Refused { reason, command } => refused.push(format!("\n{topic}: {reason}\n  {command}")),
            Outlook::Denied { operation, reason } => {
                refused.push(format!("\n{topic}: {reason}{}", sides.rights.remedy(on, operation, &topic)));
            }
        }
    }
    if !provided.is_empty() {
        let text = format!("{} would be created: {}", provided.len(), shorten(provided));
        steps.push(Step::new(name, Outcome::Ok, text));
    }
    if !events.is_empty() {
        steps.push(Step::new(name, Outcome::Warning, format!("as it stands: {}", shorten(events))));
    }
    if !refused.is_empty() {
        let text = format!("{} would be missing or too small:{}", refused.len(), shorten(refused));
        steps.push(Step::new(name, Outcome::Failed, text));
    }
}
