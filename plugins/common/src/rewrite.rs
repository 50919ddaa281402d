//! Rewriting of names: a pattern that must match the whole text, and a replacement that refers to
//! its groups.

use regex_lite::{Captures, Regex};

/// A pattern and its replacement.
pub struct Rewrite {
    regex: Regex,
    replacement: String,
}

/// A mistake in one of the two, with a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Mistake {
    /// The pattern is wrong.
    Pattern(String),
    /// The replacement is wrong.
    Replacement(String),
}

impl Rewrite {
    /// # Errors
    /// An invalid pattern, or a replacement that refers to a group the pattern lacks.
    pub fn new(pattern: &str, replacement: &str) -> Result<Self, Mistake> {
        let regex = Regex::new(&format!("^(?:{pattern})$")).map_err(|e| Mistake::Pattern(e.to_string()))?;
        references(&regex, replacement).map_err(Mistake::Replacement)?;
        Ok(Self { regex, replacement: replacement.to_owned() })
    }

    /// Returns the new text, or `None` if the pattern does not match the whole text.
    #[must_use]
    pub fn apply(&self, text: &str) -> Option<String> {
        self.apply_with(text, str::to_owned)
    }

    /// Returns the same, with the parts of the replacement beside the groups passed through
    /// `literal`.
    #[must_use]
    pub fn apply_with(&self, text: &str, literal: impl Fn(&str) -> String) -> Option<String> {
        let captures: Captures<'_> = self.regex.captures(text)?;
        let group = |name: &str| {
            let found = name.parse().map_or_else(|_| captures.name(name), |number: usize| captures.get(number));
            found.map_or_else(String::new, |found| found.as_str().to_owned())
        };
        Some(self.fill(literal, group))
    }

    /// Returns whether every match gives the same text.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        references(&self.regex, &self.replacement) == Ok(0)
    }

    /// Returns the replacement with `group` in place of each group and the other parts passed
    /// through `literal`.
    #[must_use]
    pub fn outline(&self, literal: impl Fn(&str) -> String, group: &str) -> String {
        self.fill(literal, |_| group.to_owned())
    }

    fn fill(&self, literal: impl Fn(&str) -> String, group: impl Fn(&str) -> String) -> String {
        let mut filled = String::new();
        let mut rest = self.replacement.as_str();
        while let Some((before, after)) = rest.split_once('$') {
            filled.push_str(&literal(before));
            match reference(after) {
                Ok(Some((name, after))) => {
                    filled.push_str(&group(name));
                    rest = after;
                }
                _ => {
                    filled.push_str(&literal("$"));
                    rest = after.strip_prefix('$').unwrap_or(after);
                }
            }
        }
        filled.push_str(&literal(rest));
        filled
    }
}

/// Returns the number of groups that a replacement refers to, by number or name: `$1`, `${1}` and
/// `${name}`. A group that the pattern lacks would silently become nothing; this usually happens
/// because `$1_x` is the group `1_x`.
fn references(regex: &Regex, replacement: &str) -> Result<usize, String> {
    let mut count = 0;
    let mut rest = replacement;
    while let Some((_, after)) = rest.split_once('$') {
        let Some((name, after)) = reference(after)? else {
            rest = after.strip_prefix('$').unwrap_or(after);
            continue;
        };
        rest = after;
        count += 1;
        let known = match name.parse::<usize>() {
            Ok(number) => number < regex.captures_len(),
            Err(_) => regex.capture_names().flatten().any(|group| group == name),
        };
        if !known {
            return Err(format!(
                "the pattern has no group '{name}'; write ${{1}} if a letter, digit or '_' follows, and $$ for a dollar sign"
            ));
        }
    }
    Ok(count)
}

/// Returns the name after a dollar and the rest, or no name if another dollar follows.
fn reference(after: &str) -> Result<Option<(&str, &str)>, String> {
    if after.starts_with('$') {
        return Ok(None);
    }
    if let Some(braced) = after.strip_prefix('{') {
        return braced.split_once('}').map(Some).ok_or_else(|| "a '${' has no '}'".into());
    }
    let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
    Ok(Some(after.split_at(end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_filled_in_if_the_whole_text_matches() {
        let rewrite = Rewrite::new(r"(.*)\.v(?P<version>\d+)", "v${version}_$1-$$").unwrap();
        assert_eq!(rewrite.apply("orders.v2").as_deref(), Some("v2_orders-$"));
        assert_eq!(rewrite.apply_with("v_.v2", |text| text.replace('v', "w")).as_deref(), Some("w2_v_-$"));
        assert_eq!((rewrite.apply("x orders.v2 "), rewrite.is_constant()), (None, false));
        assert_eq!(rewrite.outline(regex_lite::escape, ".*"), r"v.*_.*\-\$");
        let constant = Rewrite::new("a|b", "c$$").unwrap();
        assert_eq!(
            (constant.apply("b").as_deref(), constant.apply("ab"), constant.is_constant()),
            (Some("c$"), None, true)
        );
    }

    #[test]
    fn a_missing_group_is_refused() {
        for (pattern, replacement) in [("(a)", "$1_x"), ("a", "$1"), ("(a)", "${1"), ("(?P<n>a)", "$m"), ("a", "$")] {
            assert!(
                matches!(Rewrite::new(pattern, replacement), Err(Mistake::Replacement(_))),
                "{pattern} {replacement}"
            );
        }
        assert!(matches!(Rewrite::new("(", ""), Err(Mistake::Pattern(_))));
    }
}
