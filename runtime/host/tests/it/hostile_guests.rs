//! Guests that break the rules: each gives an error with its cause, and the host goes on.

use serde_json::json;
use strait_core::edit::Disposition;
use strait_flow::ports::ChainFactory;
use strait_host::{LoadProblem, TopicNaming, inspect};

use crate::support::guest::{GROW, Guest, Process, SPIN};
use crate::support::{Row, batch, bundled, engine, file, load, load_bytes};

const ROWS: [Row<'static>; 2] = [(Some(b"k"), Some(b"v"), &[(b"h", None)]), (None, None, &[])];

/// Runs a guest that breaks on every record and returns why the records are refused.
fn fails(guest: &Guest) -> String {
    fails_showing(guest, true)
}

/// The same, with or without the guest's own messages.
fn fails_showing(guest: &Guest, shows: bool) -> String {
    let loaded = load_bytes(&guest.wasm(), |spec| spec.show_guest_messages = shows);
    let processed = loaded.unwrap().chain().unwrap().apply(batch(&ROWS), 6).unwrap();
    let [(0, Disposition::Reject(first)), (1, Disposition::Reject(second))] = processed.dispositions.as_slice() else {
        panic!("{:?}", processed.dispositions);
    };
    assert_eq!((&*first.plugin, first.digest.len()), ("made", 71));
    format!("{} {}\n{} {}", first.code, first.text, second.code, second.text)
}

fn problem(guest: &Guest) -> LoadProblem {
    load_bytes(&guest.wasm(), |_| {}).unwrap_err().problem
}

#[test]
fn bad_edits_are_refused_by_name() {
    const NULL: u32 = u32::MAX;
    let cases: Vec<(Vec<u32>, &[u8], &str)> = vec![
        (vec![0, 0, 0], b"", "not four per edit"),
        (vec![2, 0, 0, 0], b"", "record 2 of 1"),
        (vec![NULL, 0, 0, 0], b"", "record 4294967295 of 1"),
        (vec![1, 0, 0, 0, 0, 0, 0, 0], b"", "must ascend"),
        (vec![0, 0, 0, 0, 0, 0, 0, 0], b"", "follows a drop or reject"),
        (vec![0, 13, 0, 0, 0, 1, 0, 0], b"", "follows a drop or reject"),
        (vec![0, 1, 0, 5], b"four", "5 bytes are named, 4 are left"),
        (vec![0, 1, 0, NULL - 1], b"", "bytes are named, 0 are left"),
        (vec![0, 1, 0, 1], b"two", "2 bytes belong to no edit"),
        (vec![], b"x", "1 bytes belong to no edit"),
        (vec![0, 0, 0, 1], b"x", "takes no bytes"),
        (vec![0, 0, 7, 0], b"", "takes no argument"),
        (vec![0, 9, 0, NULL], b"", "takes no null"),
        (vec![0, 9, 0, 4], b"1234", "8 bytes"),
        (vec![0, 3, 0, 1], b"1", "was not read as a document"),
        (vec![0, 14, 0, 1], b"x", "takes no bytes"),
        (vec![0, 14, 1, 0], b"", "takes no argument"),
        ([0, 14, 0, 0].repeat(101), b"", "more than 100 copies"),
        (vec![0, 15, 0, 0], b"", "no reject follows"),
        (vec![0, 15, 0, 0, 0, 0, 0, 0], b"", "between a rule and the reject"),
        (vec![0, 15, 0, 0, 0, 15, 0, 0], b"", "between a rule and the reject"),
        (vec![0, 15, 1, 0, 0, 13, 0, 0], b"", "not among the 1"),
        (vec![0, 15, 0, 1], b"x", "takes no bytes"),
        (vec![0, 16, 0, 0], b"", "operation 16 does not exist"),
        (vec![0, 5, 1, 0], b"", "header 1 of 1 delivered"),
        (vec![0, 6, 0, 0, 0, 6, 0, 0], b"", "was removed before"),
        (vec![0, 6, 0, 0, 0, 5, 0, 0], b"", "was removed before"),
        (vec![1, 6, 0, 0], b"", "header 0 of 0 delivered"),
        (vec![0, 7, 2, 1], b"x", "does not fit"),
        (vec![0, 13, 1, 0], b"", "reject code 1 of 1"),
        (vec![0, 13, 0, 1], b"\xff", "not UTF-8"),
    ];
    for (ops, data, expected) in cases {
        let guest = Guest {
            columns: vec![12],
            all_headers: true,
            process: Process::Edits(ops.clone(), data.to_vec()),
            ..Guest::default()
        };
        let error = fails(&guest);
        assert!(error.contains(expected) && error.contains("plugin-bad-edits"), "{ops:?}: {error}");
    }
}

#[test]
fn an_effect_must_be_granted_for_the_topic() {
    for (op, bit) in
        [(0, 0), (1, 1), (2, 2), (3, 3), (4, 3), (8, 4), (9, 5), (10, 6), (11, 7), (12, 7), (13, 9), (14, 8), (15, 9)]
    {
        let guest = Guest {
            topic_effects: 0x3ff & !(1 << bit),
            process: Process::Edits(vec![0, op, 0, 0], vec![]),
            ..Guest::default()
        };
        let error = fails(&guest);
        assert!(error.contains("is not among those"), "{op}: {error}");
    }
}

#[test]
fn a_plan_that_is_not_allowed_is_refused_by_name() {
    let guest = Guest::default;
    let cases: Vec<(Guest, &str)> = vec![
        (Guest { columns: vec![8], ..guest() }, "names no field"),
        (Guest { columns: vec![0], ..guest() }, "column 0"),
        (Guest { columns: vec![99], ..guest() }, "column 99"),
        (Guest { columns: vec![3, 3], ..guest() }, "twice"),
        (Guest { columns: vec![12], ..guest() }, "names no header"),
        (Guest { fields: vec!["$.a", "a.b"], ..guest() }, "'a.b' is not valid at character 1"),
        (Guest { fields: vec!["$.a", "$['a']"], ..guest() }, "twice"),
        (Guest { fields: vec!["$.a"; 65], ..guest() }, "64 are allowed"),
        (Guest { lookback: Some((0, 7)), ..guest() }, "lookback"),
        (Guest { lookback: Some((u32::MAX, 0)), ..guest() }, "lookback"),
        (Guest { effects: 1, topic_effects: 2, ..guest() }, "effects that it does not describe"),
        (Guest { effects: 1, topic_effects: 1, rename: Some("x"), ..guest() }, "effect 'topic'"),
        (Guest { rename: Some("a b"), ..guest() }, "not a topic name"),
        (Guest { output_topics: vec!["("], ..guest() }, "output-topics"),
        (Guest { output_topics: vec!["(((a{99}){99}){99}){99}"], ..guest() }, "output-topics"),
        (Guest { open_topic_fails: Some("not\u{1b}mine"), ..guest() }, "not\\u{1b}mine"),
    ];
    for (guest, expected) in cases {
        let mut chain = load_bytes(&guest.wasm(), |_| {}).unwrap().chain().unwrap();
        let error = chain.target_topic("orders", 6).unwrap_err();
        assert!(error.reason.contains(expected) && error.reason.contains("orders"), "{expected}: {error}");
        assert_eq!(&*error.plugin, "made");
    }
}

#[test]
fn answers_are_bounded_before_they_are_read() {
    let claims = |ops, data| Guest { process: Process::Claims { ops, data }, memory: "700 1024", ..Guest::default() };
    // Within the guest's memory, but more than an answer may have; then beyond its memory.
    for (ops, data) in [(10 << 20, 0), (0, 40 << 20), (u32::MAX, u32::MAX), (u32::MAX / 4, 0)] {
        let error = fails(&claims(ops, data));
        assert!(error.contains("process: "), "{ops} {data}: {error}");
    }
    let error = fails(&claims(0, 40 << 20));
    assert!(error.starts_with("plugin-output") && error.contains("in one call"), "{error}");
    let error = fails(&Guest { process: Process::Fails("gave up\n"), ..Guest::default() });
    assert!(error.starts_with("plugin-error") && error.ends_with("gave up\\n"), "{error}");
}

#[test]
fn a_plan_may_have_as_many_fields_and_topics_as_are_allowed() {
    let field = |at| format!("$.payload.after.customer.contact_details.field_number_{at:02}");
    let fields: Vec<&'static str> = (0..64).map(|at| &*Box::leak(field(at).into_boxed_str())).collect();
    let topic = |at| format!("a-topic-with-a-name-of-more-than-forty-characters-{at:02}");
    let output_topics: Vec<&'static str> = (0..64).map(|at| &*Box::leak(topic(at).into_boxed_str())).collect();
    let guest = Guest { fields, columns: vec![7], output_topics, ..Guest::default() };
    load_bytes(&guest.wasm(), |_| {}).unwrap().chain().unwrap().target_topic("orders", 6).unwrap();
    let large = Guest { headers: vec![&[b'h'; 3_000]; 30], ..Guest::default() };
    let error = load_bytes(&large.wasm(), |_| {}).unwrap().chain().unwrap().target_topic("orders", 6).unwrap_err();
    assert!(error.reason.contains("it gave the host more than 65536 bytes in one call"), "{error}");
}

#[test]
fn messages_of_a_plugin_are_withheld_unless_an_operator_reveals_them() {
    let panics = Guest {
        in_process: "(call $log (i32.const 4) (i32.const 1024) (i32.const 9)) unreachable".into(),
        ..Guest::default()
    };
    let says = Guest { process: Process::Fails("alice@example.org"), ..Guest::default() };
    for fails_closed in [false, true] {
        let of = |guest: &Guest| Guest { fails_closed, ..guest.clone() };
        let error = fails_showing(&of(&panics), false);
        assert!(error.contains("unreachable") && !error.contains("hand-made"), "{error}");
        let error = fails_showing(&of(&says), false);
        assert!(error.contains("reveal_messages") && !error.contains("alice"), "{error}");
        assert!(fails(&of(&panics)).contains("hand-made") && fails(&of(&says)).contains("alice"));
    }
}

#[test]
fn a_plugin_that_would_see_what_a_required_one_removes_is_not_loaded_unasked() {
    let redactor = || file(&Guest { effects: 1 << 2, fails_closed: true, ..Guest::default() }.wasm(), |_| {});
    let other = |may_see_raw: bool| file(&Guest::default().wasm(), |spec| spec.may_see_raw = may_see_raw);
    let load = |plugins| load(plugins, TopicNaming::Identity);
    let error = load(vec![other(false), redactor()]).unwrap_err();
    assert!(matches!(&error.problem, LoadProblem::BeforeRequired { later } if later == "made"), "{error}");
    load(vec![other(true), redactor()]).unwrap();
    load(vec![bundled("sample", json!({ "fraction": 0.5 })), redactor()]).unwrap();
    // A filter edits nothing. What it holds back could be put into a later record.
    let filter = || {
        let mut spec = bundled("filter", json!({ "keep": "value.region == 'us'" }));
        spec.required = true;
        spec
    };
    let error = load(vec![other(false), bundled("rename", json!({ "prefix": "a." })), filter()]).unwrap_err();
    assert!(matches!(&error.problem, LoadProblem::BeforeRequired { later } if later == "filter"), "{error}");
    load(vec![other(true), filter()]).unwrap();
    load(vec![filter(), other(false)]).unwrap();
}

/// A process does not start with a wrong configuration. A file that does not fit it may have been
/// put there meanwhile, and stops its link alone.
#[test]
fn a_file_that_refuses_what_it_is_given_is_no_mistake_in_the_configuration() {
    let of = |plugins| load(plugins, TopicNaming::Identity).unwrap_err();
    let redact = || bundled("redact", json!({ "rules": [{ "fields": ["$.a"], "with": "remove" }] }));
    let closed = || Guest { effects: 1 << 2, fails_closed: true, ..Guest::default() };
    let made = |guest: Guest| file(&guest.wasm(), |_| {});
    let required = |guest: Guest| file(&guest.wasm(), |spec| spec.required = true);
    let config = |guest: Guest| file(&guest.wasm(), |spec| spec.config = json!({ "a": 1 }));
    let strict = r#"{"type":"object","additionalProperties":false}"#;
    let refuses = Guest { config_errors: vec![("/a", "not with me")], ..Guest::default() };
    let passes = file(&closed().wasm(), |spec| spec.on_error = strait_core::config::OnError::Pass);
    for plugins in [
        vec![config(Guest { schema: strict, ..Guest::default() })],
        vec![made(refuses)],
        vec![passes],
        vec![redact(), made(Guest { effects: 1 << 2, ..Guest::default() })],
        vec![made(closed()), bundled("redact", json!({ "rules": [{ "fields": ["$.a"], "with": "remove" }] }))],
        vec![made(Guest::default()), made(closed())],
    ] {
        let error = of(plugins);
        assert!(!error.is_configuration(), "{error}");
    }
    for plugins in [
        vec![bundled("redact", json!({ "rule": 1 }))],
        vec![redact(), redact()],
        vec![made(Guest::default()), redact()],
        vec![made(Guest::default()), required(closed())],
    ] {
        let error = of(plugins);
        assert!(error.is_configuration(), "{error}");
    }
}

#[test]
fn a_file_that_is_not_a_plugin_does_not_load() {
    let load = |bytes: &[u8]| load_bytes(bytes, |_| {}).unwrap_err();
    assert!(matches!(load(b"").problem, LoadProblem::NotWasm(_)));
    assert!(matches!(load(b"hello, world").problem, LoadProblem::NotWasm(_)));
    let good = Guest::default().wasm();
    assert!(matches!(load(&good[..good.len() - 1]).problem, LoadProblem::NotWasm(_)));
    assert!(matches!(load(&wat::parse_str("(module)").unwrap()).problem, LoadProblem::MissingExport { .. }));
    assert!(matches!(load(&wat::parse_str("(component)").unwrap()).problem, LoadProblem::MissingExport { .. }));
    let error = load_bytes(&good, |spec| spec.limits.file_bytes_max = 100).unwrap_err();
    assert!(matches!(error.problem, LoadProblem::TooLarge { bytes_max: 100, .. }));
    assert!(error.to_string().contains("plugin made (/"), "{error}");
    let error = load_bytes(&good, |spec| spec.source = strait_host::PluginSource::File("/nope/p.wasm".into()));
    assert!(matches!(error.unwrap_err().problem, LoadProblem::NoSuchFile { .. }));
}

#[test]
fn imports_and_versions_are_checked_by_name() {
    let import = |import| problem(&Guest { import, ..Guest::default() });
    let LoadProblem::UnknownImport { import: name } =
        import(r#"(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))"#)
    else {
        panic!();
    };
    assert_eq!(name, "wasi_snapshot_preview1.fd_write");
    let component = |import: &str| wat::parse_str(format!(r#"(component (import "{import}" (instance)))"#)).unwrap();
    let error = load_bytes(&component("wasi:cli/environment@0.2.0"), |_| {}).unwrap_err();
    assert!(matches!(&error.problem, LoadProblem::WasiNotGranted { .. }), "{error}");
    assert!(error.to_string().contains("'wasi:cli/environment@0.2.0'"), "{error}");
    for never in
        ["wasi:http/types@0.2.0", "wasi:cli/environment@0.3.0", "wasi:keyvalue/store@0.2.0-draft", "shell:run/sh"]
    {
        let error = load_bytes(&component(never), |spec| spec.wasi = true).unwrap_err();
        assert!(matches!(&error.problem, LoadProblem::UnknownImport { import } if import == never), "{error}");
    }
    assert!(matches!(
        import(r#"(import "strait:plugin/host@0.3.0" "log" (func (param i32 i32 i32)))"#),
        LoadProblem::WrongVersion { version } if version == "0.3.0"
    ));
    assert!(matches!(import(r#"(import "strait:plugin/host@0.1.0" "shell" (func))"#), LoadProblem::NotAComponent(_)));
    let version = Guest { version: "0.3.0", ..Guest::default() };
    assert!(matches!(problem(&version), LoadProblem::WrongVersion { version } if version == "0.3.0"));
    for without in ["describe", "configure", "open-topic", "process"] {
        let error = load_bytes(&Guest { without, ..Guest::default() }.wasm(), |_| {}).unwrap_err();
        assert!(error.to_string().contains(without), "{error}");
    }
}

#[test]
fn loading_is_bounded() {
    let start = |code: &str| problem(&Guest { in_start: code.into(), ..Guest::default() });
    assert!(matches!(start(SPIN), LoadProblem::Timeout { call: "start", ms_max: 300 }));
    assert!(matches!(start("unreachable"), LoadProblem::Trap { call: "start", .. }));
    let configure = |code: &str| problem(&Guest { in_configure: code.into(), ..Guest::default() });
    assert!(matches!(configure(SPIN), LoadProblem::Timeout { call: "configure", .. }));
    let LoadProblem::Trap { call: "configure", reason } = configure(GROW) else { panic!() };
    assert!(reason.contains("memory_mib_max"), "{reason}");
}

#[test]
fn a_description_and_a_configuration_are_checked() {
    let refused = problem(&Guest { config_errors: vec![("/a/0", "no"), ("", "not\neither")], ..Guest::default() });
    let LoadProblem::ConfigureRefused(mistakes) = &refused else { panic!("{refused}") };
    assert_eq!((mistakes[0].pointer.as_str(), mistakes[1].message.as_str()), ("/a/0", "not\\neither"));

    for bad in [
        Guest { effects: 1 << 10, ..Guest::default() },
        Guest { reject_codes: vec!["a\nb"], ..Guest::default() },
        Guest { reject_codes: vec!["bad", "value-not-json"], ..Guest::default() },
        Guest { reject_codes: vec!["residency-x"], ..Guest::default() },
        Guest { schema: "{", ..Guest::default() },
        Guest { schema: r#"{"type": 7}"#, ..Guest::default() },
        Guest { schema: r#"{"$ref": "file:///etc/passwd"}"#, ..Guest::default() },
    ] {
        let problem = problem(&bad);
        assert!(matches!(problem, LoadProblem::BadManifest(_)), "{problem}");
    }
    let secret = Guest { schema: r#"{"properties": {"key": {"maxLength": 3}}}"#, ..Guest::default() };
    let error = load_bytes(&secret.wasm(), |spec| spec.config = json!({"key": "hunter2"})).unwrap_err();
    assert!(error.to_string().contains("/key") && !error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn a_plugin_that_could_undo_a_required_ones_edits_does_not_load_after_it() {
    const CONTENT: u32 = 0b1_1110;
    let guest =
        |effects: u32, fails_closed: bool| Guest { effects, fails_closed, topic_effects: 0, ..Guest::default() };
    let load_two = |first: &Guest, second: &Guest, allow_after: bool| {
        let first = file(&first.wasm(), |spec| spec.may_see_raw = true);
        let plugins = vec![first, file(&second.wasm(), |spec| spec.allow_after = allow_after)];
        load(plugins, TopicNaming::Identity).map(drop).map_err(|error| error.to_string())
    };
    for effect in [1, 2, 3, 4, 8] {
        let error = load_two(&guest(CONTENT, true), &guest(1 << effect, false), false).unwrap_err();
        assert!(error.contains("allow_after"), "{error}");
    }
    // Allowed by the operator, without such effects, or with nothing before it to undo.
    for (first, second, allow_after) in [
        (guest(CONTENT, true), guest(0x3ff, true), true),
        (guest(CONTENT, true), guest(0b10_1110_0001, false), false),
        (guest(CONTENT, false), guest(0x3ff, false), false),
        (guest(0b10_0000_0001, true), guest(0x3ff, false), false),
    ] {
        load_two(&first, &second, allow_after).unwrap();
    }
}

#[test]
fn inspect_describes_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.wasm");
    std::fs::write(&path, Guest::default().wasm()).unwrap();
    let info = inspect(engine(), &path).unwrap();
    assert_eq!(
        (info.wit_version.as_str(), info.imports.as_slice()),
        ("0.1.0", &["strait:plugin/host@0.1.0".to_owned()][..])
    );
    assert_eq!((info.manifest.name.as_str(), info.digest.len()), ("hand-made", 71));
    assert_eq!(serde_json::to_value(&info).unwrap()["kind"], "core-module");
    // What it says of its configuration is printed, and cannot rewrite what stands above.
    let schema = "{\n  \"title\": \"\u{9b}2J\u{202e}\"\n}";
    std::fs::write(&path, Guest { schema, ..Guest::default() }.wasm()).unwrap();
    let shown = inspect(engine(), &path).unwrap().manifest.config_schema;
    assert_eq!(shown, "{\n  \"title\": \"\\u{9b}2J\\u{202e}\"\n}");
    for schema in ["\u{1b}[2J\u{1b}[Hdigest        sha256:0000", "{\"$ref\": \"#\"}"] {
        std::fs::write(&path, Guest { schema, ..Guest::default() }.wasm()).unwrap();
        let error = inspect(engine(), &path).unwrap_err().to_string();
        assert!(error.contains("config-schema") && !error.contains('\u{1b}'), "{error}");
    }
    std::fs::write(&path, b"no").unwrap();
    assert!(inspect(engine(), &path).unwrap_err().to_string().contains("not valid WebAssembly"));
}
