//! Where `unsafe` may stand: the list under [`HEADING`] in ARCHITECTURE.md.

use proc_macro2::{TokenStream, TokenTree};

use crate::{Finding, Tree};

const FILE: &str = "ARCHITECTURE.md";
const HEADING: &str = "## Where `unsafe` may stand";

pub fn find(tree: &Tree) -> Vec<Finding> {
    let places = places(tree.text(FILE));
    if places.is_empty() {
        return vec![Finding::of_file(FILE, format!("has no list under '{HEADING}'"))];
    }
    let mut used = vec![false; places.len()];
    let mut findings = Vec::new();
    for (path, text) in tree.files("", ".rs") {
        let Ok(tokens) = text.parse::<TokenStream>() else { continue };
        if !has_unsafe(tokens) {
            continue;
        }
        match places.iter().position(|place| path == *place || path.starts_with(&format!("{place}/"))) {
            Some(index) => used.iter_mut().skip(index).take(1).for_each(|used| *used = true),
            None => findings.push(Finding::of_file(path, format!("has `unsafe` and is not listed in {FILE}"))),
        }
    }
    let unused = places.iter().zip(used).filter(|(_, used)| !used);
    findings.extend(unused.map(|(place, _)| Finding::of_file(FILE, format!("{place} is listed and has no `unsafe`"))));
    findings
}

/// Returns the first backticked word of each list item under the heading.
fn places(text: &str) -> Vec<&str> {
    let section = text.split_once(HEADING).map_or("", |(_, after)| after);
    let section = section.split("\n## ").next().unwrap_or_default();
    let items = section.lines().filter(|line| line.starts_with("- `"));
    items.filter_map(|line| line.split('`').nth(1)).collect()
}

/// Returns whether the keyword, or an attribute that permits it, is among the tokens.
fn has_unsafe(tokens: TokenStream) -> bool {
    let mut permits = false;
    for token in tokens {
        let found = match token {
            TokenTree::Ident(ident) if ident == "allow" || ident == "expect" => {
                permits = true;
                continue;
            }
            TokenTree::Ident(ident) => ident == "unsafe",
            TokenTree::Group(group) if permits => {
                group.stream().into_iter().any(|token| token.to_string() == "unsafe_code")
            }
            TokenTree::Group(group) => has_unsafe(group.stream()),
            TokenTree::Punct(_) | TokenTree::Literal(_) => false,
        };
        if found {
            return true;
        }
        permits = false;
    }
    false
}
