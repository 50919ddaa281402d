//! Names of topics.

/// Returns whether a link may write to a topic of this name: Kafka allows it
/// (`org.apache.kafka.common.internals.Topic.validate`), and it is not reserved for Strait, Kafka
/// or MirrorMaker 2. The host judges by the same rules.
#[must_use]
pub fn is_writable(name: &str) -> bool {
    let is_allowed = (1..=249).contains(&name.len())
        && name != "."
        && name != ".."
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    let is_reserved = name.starts_with("strait.")
        || name.starts_with("__")
        || (name.starts_with("mm2") && name.ends_with(".internal"))
        || name.ends_with(".checkpoints.internal")
        || name.ends_with("-internal");
    is_allowed && !is_reserved
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
