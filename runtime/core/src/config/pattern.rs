//! Checks of one topic pattern: whether it is a regular expression, and whether a topic can have a
//! name that it matches.

use regex_syntax::ast;
use regex_syntax::hir::{Class, Hir, HirKind};

use super::problem::What;
use super::selector::whole;
use crate::topic::{NAME_LENGTH_MAX, is_in_names};

/// Returns the fault of a pattern, if it has any.
pub(super) fn fault(pattern: &str) -> Option<What> {
    // Parsed on its own too: `a)(?:b` is a regular expression only once it is wrapped.
    let hir = match regex_syntax::parse(pattern) {
        Ok(hir) => hir,
        Err(error) => return Some(no_regex(pattern, &error)),
    };
    if let Err(error) = regex::Regex::new(&whole(pattern)) {
        return Some(What::BadRegex { reason: error.to_string(), help: WHOLE_NAMES.to_owned() });
    }
    matches_nothing(pattern, &hir).or_else(|| glob(pattern, &hir))
}

/// Returns the fault of a pattern of consumer groups, whose names may have any character.
pub(super) fn fault_of_group(pattern: &str) -> Option<What> {
    let help = "patterns match whole names: 'billing' is one group, 'billing.*' every group that begins with 'billing'; \
                there is no look-around, groups_exclude leaves groups out";
    let error = match (regex_syntax::parse(pattern), regex::Regex::new(&whole(pattern))) {
        (Err(regex_syntax::Error::Parse(error)), _) => error.kind().to_string(),
        (Err(error), _) => error.to_string(),
        (_, Err(error)) => error.to_string(),
        (Ok(_), Ok(_)) => return None,
    };
    Some(What::BadRegex { reason: error, help: help.to_owned() })
}

const WHOLE_NAMES: &str =
    "patterns match whole topic names: 'orders' is one topic, 'orders.*' every topic that begins with 'orders'";

fn no_regex(pattern: &str, error: &regex_syntax::Error) -> What {
    let (reason, help) = match error {
        regex_syntax::Error::Parse(error) => {
            let reason = format!("{} (at character {})", error.kind(), error.span().start.column);
            let help = match error.kind() {
                ast::ErrorKind::UnsupportedLookAround => {
                    "list what to leave out in topics_exclude, which needs no look-around".to_owned()
                }
                ast::ErrorKind::UnsupportedBackreference => "list the topics one by one".to_owned(),
                ast::ErrorKind::RepetitionMissing if pattern.contains('*') => {
                    format!("a '*' repeats what stands before it; did you mean '{}'?", any_for_star(pattern))
                }
                _ => WHOLE_NAMES.to_owned(),
            };
            (reason, help)
        }
        regex_syntax::Error::Translate(error) => {
            (format!("{} (at character {})", error.kind(), error.span().start.column), WHOLE_NAMES.to_owned())
        }
        error => (error.to_string(), WHOLE_NAMES.to_owned()),
    };
    What::BadRegex { reason, help }
}

/// Returns the pattern with `.*` for each `*` that does not follow a dot already.
fn any_for_star(pattern: &str) -> String {
    let mut meant = String::with_capacity(pattern.len() + 4);
    let mut after_dot = false;
    for c in pattern.chars() {
        if c == '*' && !after_dot {
            meant.push('.');
        }
        meant.push(c);
        after_dot = c == '.';
    }
    meant
}

fn matches_nothing(pattern: &str, hir: &Hir) -> Option<What> {
    let properties = hir.properties();
    if properties.maximum_len() == Some(0) {
        let reason = "no topic has an empty name".to_owned();
        return Some(matching_nothing(pattern, reason, Some("'.*' matches every topic".to_owned())));
    }
    if properties.minimum_len().is_some_and(|length| length > NAME_LENGTH_MAX) {
        let reason = format!("no topic name is longer than {NAME_LENGTH_MAX} characters");
        return Some(matching_nothing(pattern, reason, None));
    }
    let foreign = foreign_character(hir)?;
    let reason = format!("no topic name has {}", named(foreign));
    // The parts of a list in one text.
    let parts: Vec<&str> = pattern.split([',', ';', ' ', '\t', '\n']).filter(|part| !part.is_empty()).collect();
    let help = (matches!(foreign, ',' | ';') || foreign.is_whitespace()).then(|| match &parts[..] {
        [] => "'.*' matches every topic".to_owned(),
        parts => format!("write each pattern as an entry of its own: [\"{}\"]", parts.join("\", \"")),
    });
    Some(matching_nothing(pattern, reason, help))
}

fn matching_nothing(pattern: &str, reason: String, help: Option<String>) -> What {
    What::MatchesNothing { pattern: pattern.to_owned(), reason, help }
}

fn named(character: char) -> String {
    match character {
        ' ' => "a space".to_owned(),
        '\n' | '\r' => "a line break".to_owned(),
        '\t' => "a tab".to_owned(),
        other if other.is_control() => format!("the character U+{:04X}", u32::from(other)),
        other => format!("'{other}'"),
    }
}

/// Returns a character that every match of some part has and that no topic name has. Each
/// alternative counts: one that matches nothing is a mistake beside others that do.
fn foreign_character(hir: &Hir) -> Option<char> {
    match hir.kind() {
        HirKind::Literal(literal) => String::from_utf8_lossy(&literal.0).chars().find(|c| !is_in_names(*c)),
        HirKind::Class(Class::Unicode(class)) => {
            let can_match = ('-'..='z')
                .filter(|c| is_in_names(*c))
                .any(|c| class.iter().any(|range| range.start() <= c && c <= range.end()));
            if can_match { None } else { class.iter().next().map(|range| range.start()) }
        }
        HirKind::Repetition(repetition) if repetition.min > 0 => foreign_character(&repetition.sub),
        HirKind::Capture(capture) => foreign_character(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().find_map(foreign_character),
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(Class::Bytes(_)) | HirKind::Repetition(_) => None,
    }
}

/// Returns the pattern that was meant by one such as `orders-*`, which as a regular expression
/// matches `orders`, `orders-` and `orders--`.
fn glob(pattern: &str, hir: &Hir) -> Option<What> {
    fn repeats_one_character(hir: &Hir) -> bool {
        match hir.kind() {
            HirKind::Repetition(repetition) => {
                repetition.min == 0 && repetition.max.is_none() && matches!(repetition.sub.kind(), HirKind::Literal(_))
            }
            HirKind::Capture(capture) => repeats_one_character(&capture.sub),
            HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(repeats_one_character),
            _ => false,
        }
    }
    repeats_one_character(hir).then(|| What::Glob { pattern: pattern.to_owned(), meant: any_for_star(pattern) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_can_match_have_no_fault() {
        for pattern in [
            ".*",
            "orders",
            "payments\\..*",
            "a{1,3}",
            "[a,b]x",
            "a,?b",
            "(?i)orders",
            "^orders$",
            "eu|us",
            "(a|b)\\.[^,]+",
            "\\bx\\b",
            "(?x) a  b ",
            "[0-9]*",
        ] {
            assert_eq!(fault(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn patterns_that_no_topic_name_matches_are_faults() {
        for (pattern, said, helped) in [
            ("", "empty name", "'.*'"),
            ("()", "empty name", "'.*'"),
            ("^$", "empty name", "'.*'"),
            ("a{0}", "empty name", "'.*'"),
            (" ", "a space", "'.*'"),
            ("orders,payments", "','", "[\"orders\", \"payments\"]"),
            ("orders, payments", "','", "[\"orders\", \"payments\"]"),
            ("orders;payments", "';'", "[\"orders\", \"payments\"]"),
            ("orders payments", "a space", "[\"orders\", \"payments\"]"),
            ("orders\npayments", "a line break", "[\"orders\", \"payments\"]"),
            (" orders", "a space", "[\"orders\"]"),
            ("orders|pay ments", "a space", "[\"orders|pay\", \"ments\"]"),
            ("a[,;]b", "','", "[\"a[\", \"]b\"]"),
        ] {
            let Some(What::MatchesNothing { reason, help, .. }) = fault(pattern) else { panic!("{pattern}") };
            assert!(reason.contains(said), "{pattern}: {reason}");
            assert!(help.unwrap().contains(helped), "{pattern}");
        }
        for (pattern, said) in
            [("eu/orders", "'/'"), ("\"orders\"", "'\"'"), ("[^\\x00-\\x7f]+", "U+0080"), ("a{250}", "249")]
        {
            let Some(What::MatchesNothing { reason, help, .. }) = fault(pattern) else { panic!("{pattern}") };
            assert!(reason.contains(said), "{pattern}: {reason}");
            assert_eq!(help, None, "{pattern}");
        }
    }

    #[test]
    fn what_other_tools_allow_is_answered_with_what_to_write_here() {
        for (pattern, helped) in [
            ("(?!secret).*", "topics_exclude"),
            ("(?<!x)y", "topics_exclude"),
            ("(a)\\1", "one by one"),
            ("*", "'.*'"),
            ("*.orders", "'.*.orders'"),
            ("eu|*", "'eu|.*'"),
            ("a)(?:b", "whole topic names"),
            ("orders(", "whole topic names"),
        ] {
            let Some(What::BadRegex { help, .. }) = fault(pattern) else { panic!("{pattern}") };
            assert!(help.contains(helped), "{pattern}: {help}");
        }
        for (pattern, meant) in
            [("orders-*", "orders-.*"), ("orders*", "orders.*"), ("(eu_*|us)\\.x", "(eu_.*|us)\\.x")]
        {
            let glob = What::Glob { pattern: pattern.to_owned(), meant: meant.to_owned() };
            assert_eq!(fault(pattern), Some(glob));
        }
    }
}
