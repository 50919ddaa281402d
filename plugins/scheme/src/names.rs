//! The names that topics can have, and those that are reserved.

/// Length of the longest topic name that Kafka allows.
pub const LENGTH_MAX: usize = 249;

/// Returns whether Kafka allows the character in a topic name.
#[must_use]
pub fn is_in_names(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')
}

/// Returns whether Kafka allows the topic name
/// (`org.apache.kafka.common.internals.Topic.validate`).
#[must_use]
pub fn is_allowed(name: &str) -> bool {
    !name.is_empty() && name.len() <= LENGTH_MAX && name != "." && name != ".." && name.chars().all(is_in_names)
}

/// Returns whether the topic is reserved: no link may copy it and no plugin may write to it. These
/// are Strait's own topics, those that MirrorMaker 2 never copies
/// (`ReplicationPolicy.isInternalTopic`, `DefaultReplicationPolicy.isMM2InternalTopic`), and those
/// that end as Kafka Connect's own do, which it left out before version 4 unless told otherwise
/// (`DefaultTopicFilter`).
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    name.starts_with("strait.")
        || name.starts_with("__")
        || name.starts_with('.')
        || name.ends_with(".internal")
        || name.ends_with("-internal")
        || is_of_mirror_maker(name)
}

/// Returns whether MirrorMaker 2 names a topic of its own so, with any separator
/// (`replication.policy.separator`) of the characters that are neither letters nor digits:
/// `mm2-offset-syncs_b_internal`, `a_checkpoints_internal`.
fn is_of_mirror_maker(name: &str) -> bool {
    let Some(before) = name.strip_suffix("internal") else { return false };
    let rest = before.trim_end_matches(['.', '_', '-']);
    let separator = before.strip_prefix(rest).unwrap_or_default();
    let names_checkpoints = rest.strip_suffix("checkpoints").is_some_and(|source| source.ends_with(separator));
    !separator.is_empty() && (name.starts_with("mm2") || names_checkpoints)
}

/// Returns whether a link may write to a topic of this name.
#[must_use]
pub fn is_writable(name: &str) -> bool {
    is_allowed(name) && !is_reserved(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafkas_rules_and_the_reserved_list() {
        for good in ["orders", "a.b_c-9", "x", "strait", &"a".repeat(249)] {
            assert!(is_writable(good), "{good}");
        }
        let long = "a".repeat(250);
        for bad in ["", ".", "..", "a b", "\u{e4}", "a/b", &long, "strait.l.map", "__x", "mm2-x.internal", "x-internal"]
        {
            assert!(!is_writable(bad), "{bad}");
        }
    }

    #[test]
    fn internal_topics_are_those_of_mirror_maker_with_any_separator() {
        for internal in [
            ".hidden",
            "anything.internal",
            "a.checkpoints.internal",
            "a_checkpoints_internal",
            "a-checkpoints-internal",
            "a__checkpoints__internal",
            "mm2-offset-syncs.b.internal",
            "mm2-offset-syncs_b_internal",
            "mm2-configs.a.internal",
        ] {
            assert!(is_reserved(internal), "{internal}");
        }
        for own in [
            "heartbeats",
            "a.heartbeats",
            "internal",
            "internal.orders",
            "orders_internal",
            "ordersinternal",
            "mm2internal",
            "checkpoints_internal_a",
            "a.checkpoints_internal",
            "mm2.orders",
        ] {
            assert!(!is_reserved(own), "{own}");
        }
    }
}
