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
/// are Strait's own topics, Kafka's internal topics, and MirrorMaker 2's (`MirrorUtils`,
/// `DefaultReplicationPolicy.isInternalTopic`).
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    name.starts_with("strait.")
        || name.starts_with("__")
        || (name.starts_with("mm2") && name.ends_with(".internal"))
        || name.ends_with(".checkpoints.internal")
        || name.ends_with("-internal")
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
}
