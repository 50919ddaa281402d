//! The repository holds every rule. `UPDATE_DOCS=1` writes the generated tables first.

use std::path::Path;

use strait_tidy::{Tree, rules};

#[test]
fn the_repository_holds_every_rule() {
    let mut tree = Tree::of_repository().unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = strait_tidy::generate_options(&tree).unwrap_or_else(|finding| panic!("{finding}"));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(strait_tidy::OPTIONS_FILE);
        std::fs::write(path, &text).unwrap();
        tree = tree.with(strait_tidy::OPTIONS_FILE, text);
    }
    let mut broken = String::new();
    for rule in rules::ALL {
        let findings = (rule.find)(&tree);
        if !findings.is_empty() {
            broken.push_str(&format!("\nBroken: {}\n", rule.holds));
            findings.iter().for_each(|finding| broken.push_str(&format!("  {finding}\n")));
        }
    }
    assert!(broken.is_empty(), "{broken}");
}
