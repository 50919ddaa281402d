//! Each rule finds what breaks it: a fault is planted in a copy of the repository, for each part of
//! each rule.

use std::collections::BTreeMap;

use strait_tidy::{Finding, Tree, rules};

/// A file, and how its text is changed.
struct Plant {
    rule: &'static str,
    file: &'static str,
    change: fn(&str) -> String,
    /// Part of what the rule has to say.
    found: &'static str,
}

const fn plant(rule: &'static str, file: &'static str, change: fn(&str) -> String, found: &'static str) -> Plant {
    Plant { rule, file, change, found }
}

const PLANTS: &[Plant] = &[
    plant(
        "`unsafe` stands only",
        "runtime/flow/src/lane/mod.rs",
        |text| format!("{text}\nfn planted() {{ vec![unsafe {{ std::hint::unreachable_unchecked() }}]; }}\n"),
        "is not listed",
    ),
    plant(
        "`unsafe` stands only",
        "runtime/core/src/lib.rs",
        |text| format!("{text}\n#[allow(unsafe_code)]\nfn planted() {{}}\n"),
        "is not listed",
    ),
    plant(
        "`unsafe` stands only",
        "ARCHITECTURE.md",
        |text| text.replacen("may stand\n", "may stand\n- `runtime/core/src/lib.rs`\n", 1),
        "has no `unsafe`",
    ),
    plant("inherits", "runtime/host/Cargo.toml", |text| text.replace("[lints]\nworkspace = true", ""), "inherit"),
    plant("inherits", "Cargo.toml", |text| text.replace("unsafe_code = \"deny\"", ""), "unsafe_code is not on"),
    plant("inherits", "clippy.toml", |text| text.replace("threshold = 90", "threshold = 900"), "is not 90"),
    plant(
        "inherits",
        "runtime/app/src/cli/mod.rs",
        |text| format!("{text}\n#[allow(clippy::too_many_lines)]\nfn planted() {{}}\n"),
        "cut it by meaning",
    ),
    plant(
        "point one way",
        "runtime/core/Cargo.toml",
        |text| text.replacen("[dependencies]", "[dependencies]\nstrait-flow.workspace = true", 1),
        "may not depend on strait-flow",
    ),
    plant(
        "point one way",
        "runtime/kafka/Cargo.toml",
        |text| text.replacen("[dependencies]", "[dependencies]\nstrait-host.workspace = true", 1),
        "may not depend on strait-host",
    ),
    plant(
        "point one way",
        "runtime/app/Cargo.toml",
        |text| text.replacen("[dependencies]", "[dependencies]\nrdkafka-sys.workspace = true", 1),
        "may not depend on rdkafka-sys",
    ),
    plant(
        "point one way",
        "runtime/flow/Cargo.toml",
        |text| text.replacen("[dependencies]", "[dependencies]\nwasmtime.workspace = true", 1),
        "may not depend on wasmtime",
    ),
    plant(
        "point one way",
        "runtime/sixth/Cargo.toml",
        |_| "[package]\nname = \"strait-sixth\"\n".to_owned(),
        "sixth crate",
    ),
    plant(
        "no circle",
        "runtime/core/src/offset.rs",
        |text| format!("{text}\nfn planted(_: &crate::progress::Border) {{}}\n"),
        "offset -> progress",
    ),
    plant(
        "no circle",
        "runtime/core/src/topic.rs",
        |text| format!("{text}\nfn planted() {{ println!(\"{{:?}}\", crate::Event::name); }}\n"),
        "topic -> event",
    ),
    plant(
        "no circle",
        "runtime/core/src/topic.rs",
        |text| format!("{text}\nuse super::{{event::{{Severity as _}}}};\n"),
        "topic -> event",
    ),
    plant("500 lines", "runtime/core/src/topic.rs", |text| format!("{text}{}", "\n".repeat(500)), "at most 500"),
    plant(
        "bundled plugins",
        "plugins/build.sh",
        |text| text.replacen("PLUGINS=(filter", "PLUGINS=(filters", 1),
        "this lists",
    ),
    plant("bundled plugins", "docs/plugins.md", |text| text.replacen("\n### sample", "\n### samples", 1), "this lists"),
    plant("bundled plugins", "plugins/seventh/Cargo.toml", |_| "[package]\n".to_owned(), "this lists"),
    plant(
        "option tables",
        "docs/configuration.md",
        |text| text.replacen("| `lanes` |", "| `lane` |", 1),
        "differs from the model",
    ),
    plant(
        "its row",
        "tests/new/Cargo.toml",
        |_| "[package]\nname = \"strait-new\"\n".to_owned(),
        "`tests/new` | `strait-new`",
    ),
    plant("its status", "docs/decisions/9999-planted.md", |_| "# 9999. Planted\n".to_owned(), "third line"),
    plant("exists", "README.md", |text| format!("{text}\n[planted](docs/planted.md)\n"), "leads nowhere"),
    plant("exists", "README.md", |text| format!("{text}\n[planted](docs/plugins.md#planted)\n"), "leads nowhere"),
    plant("exists", "ARCHITECTURE.md", |text| format!("{text}\nSee `flow/sown.rs`.\n"), "no file flow/sown.rs"),
    plant("exists", "runtime/flow/src/lib.rs", |text| format!("{text}\n// As in `sown.rs`.\n"), "no file sown.rs"),
    plant(
        "100 columns",
        "runtime/flow/src/lib.rs",
        |text| format!("{text}\n    // {}\n", "word ".repeat(20)),
        "wider than 100",
    ),
    plant("100 columns", "README.md", |text| format!("{text}\n{}\n", "word ".repeat(21)), "wider than 100"),
    plant(
        "phrases",
        "runtime/core/src/event.rs",
        |text| format!("{text}\n// The partition stands still.\n"),
        "stopped",
    ),
    plant("phrases", "docs/plugins.md", |text| format!("{text}\nThe partition stands still.\n"), "stopped"),
];

#[test]
fn each_rule_finds_what_breaks_it() {
    let tree = Tree::of_repository().unwrap();
    let mut before_by_rule = BTreeMap::new();
    for plant in PLANTS {
        let rule = rules::ALL.iter().find(|rule| rule.holds.contains(plant.rule)).unwrap();
        let before = before_by_rule.entry(rule.holds).or_insert_with(|| (rule.find)(&tree));
        let planted = (plant.change)(tree.text(plant.file));
        assert_ne!(planted, tree.text(plant.file), "{}: nothing changed in {}", plant.rule, plant.file);
        let after = (rule.find)(&tree.with(plant.file, planted));
        let new: Vec<&Finding> = after.iter().filter(|finding| !before.contains(finding)).collect();
        assert!(
            new.iter().any(|finding| finding.text.contains(plant.found)),
            "{} in {}: expected '{}', found {new:?}",
            plant.rule,
            plant.file,
            plant.found
        );
    }
}

#[test]
fn every_rule_has_a_planted_fault() {
    let without: Vec<_> =
        rules::ALL.iter().filter(|rule| !PLANTS.iter().any(|plant| rule.holds.contains(plant.rule))).collect();
    assert!(without.is_empty(), "{:?}", without.iter().map(|rule| rule.holds).collect::<Vec<_>>());
}
