//! The cost of plugins per record, host and guest together, without a broker: the bundled ones, the
//! example in each language, and the interpreted languages with fields parsed by the host beside
//! the same plugin parsing the value itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::error::BenchError;

const RECORDS: usize = 1_000;
const VALUE_BYTES: usize = 500;
const LANGUAGES: [&str; 9] = ["rust", "c", "zig", "wat", "assemblyscript", "go", "js", "ts", "python"];
/// Language, its file, and the same example with the value parsed by the plugin.
const PARSING: [(&str, &str, &str); 2] = [
    ("js", "plugin.js", include_str!("../plugins/parse.js")),
    ("python", "plugin.py", include_str!("../plugins/parse.py")),
];
/// Title, bundled plugin, configuration.
const BUNDLED: [(&str, &str, &str); 10] = [
    ("rename", "rename", r#"{"prefix":"p-"}"#),
    ("filter, key prefix", "filter", r#"{"drop":{"key_prefix":"test-"}}"#),
    ("filter, CEL on one field", "filter", r#"{"keep":"value.region == 'eu'"}"#),
    ("redact, two fields, mask", "redact", r#"{"rules":[{"fields":["$.customer.email","$.card"],"with":"mask"}]}"#),
    (
        "redact, two fields, hmac",
        "redact",
        r#"{"rules":[{"fields":["$.customer.email","$.card"],"with":"hmac","domain":"d","secret":"0123456789abcdef0123456789abcdef"}]}"#,
    ),
    (
        "redact, key, hmac",
        "redact",
        r#"{"rules":[{"key":true,"with":"hmac","secret":"0123456789abcdef0123456789abcdef"}]}"#,
    ),
    (
        "route by a field",
        "route",
        r#"{"by":"$.region","to":"topic","table":{"eu":"orders-eu","us":"orders-us"},"unmatched":"keep"}"#,
    ),
    ("sample by key", "sample", r#"{"fraction":0.5}"#),
    ("dedupe by key", "dedupe", r"{}"),
    ("sample by a field", "sample", r#"{"fraction":0.5,"by":"$.customer.email"}"#),
];

/// The output of `strait plugin bench -o json`.
#[derive(Debug, Deserialize)]
struct Figures {
    ns_per_record: f64,
    ns_per_record_median: f64,
    records_per_s: f64,
    memory_bytes: u64,
    load_ms: u64,
}

/// The strait binary and a folder for projects, which keeps their builds.
struct Bench<'a> {
    strait: &'a Path,
    folder: PathBuf,
    records: PathBuf,
    seconds: String,
}

/// Measures and prints.
///
/// # Errors
/// A plugin that cannot be built or run.
pub fn run(strait: &Path, folder: &Path, seconds: u64) -> Result<(), BenchError> {
    let made = fs::create_dir_all(folder).and_then(|()| fs::canonicalize(folder));
    let folder = made.map_err(BenchError::io(format!("making {}", folder.display())))?;
    let records = folder.join("orders.jsonl");
    fs::write(&records, orders()).map_err(BenchError::io("writing the records"))?;
    let bench = Bench { strait, folder, records, seconds: seconds.to_string() };

    println!("{RECORDS} records with values of {VALUE_BYTES} bytes; host and plugin time together, one thread.\n");
    println!("| Plugin | ns per record | median | records/s and core | memory | load |");
    println!("|---|---|---|---|---|---|");
    for (title, plugin, config) in BUNDLED {
        row(title, &bench.measure(plugin, Some(config))?);
    }
    let mut examples = Vec::new();
    for lang in LANGUAGES {
        let figures = bench.measure(&bench.build(lang, lang, None)?, None)?;
        row(&format!("example, {lang}"), &figures);
        examples.push((lang, figures));
    }
    for (lang, file, code) in PARSING {
        let figures = bench.measure(&bench.build(lang, &format!("{lang}-parsing"), Some((file, code)))?, None)?;
        row(&format!("example, {lang}, parsing the value itself"), &figures);
        if let Some((_, fields)) = examples.iter().find(|(name, _)| *name == lang) {
            println!("\n{lang}: with fields {:.1} times as fast\n", figures.ns_per_record / fields.ns_per_record);
        }
    }
    Ok(())
}

fn row(title: &str, figures: &Figures) {
    let memory_mib = figures.memory_bytes as f64 / f64::from(1 << 20);
    println!(
        "| {title} | {:.0} | {:.0} | {:.0} | {memory_mib:.1} MiB | {} ms |",
        figures.ns_per_record, figures.ns_per_record_median, figures.records_per_s, figures.load_ms
    );
}

impl Bench<'_> {
    /// Builds the example of a language, with another file in place of one of its own. Gives the
    /// plugin's path.
    fn build(&self, lang: &str, name: &str, instead: Option<(&str, &str)>) -> Result<String, BenchError> {
        let name = format!("bench-{name}");
        let project = self.folder.join(&name);
        if project.exists() {
            fs::remove_dir_all(&project).map_err(BenchError::io(format!("removing {}", project.display())))?;
        }
        self.strait(&self.folder, &["plugin", "new", "--lang", lang, &name])?;
        if let Some((file, code)) = instead {
            fs::write(project.join(file), code).map_err(BenchError::io(format!("writing {file}")))?;
        }
        eprintln!("building {name}");
        let wasm = self.strait(&project, &["plugin", "build"])?;
        Ok(project.join(wasm.trim()).display().to_string())
    }

    fn measure(&self, plugin: &str, config: Option<&str>) -> Result<Figures, BenchError> {
        let records = self.records.display().to_string();
        let mut args = vec!["plugin", "bench", "--plugin", plugin, "--seconds", &self.seconds, "-o", "json", &records];
        args.extend(config.into_iter().flat_map(|config| ["--plugin-config", config]));
        let text = self.strait(&self.folder, &args)?;
        serde_json::from_str(&text)
            .map_err(|error| BenchError::Plugin { command: args.join(" "), why: error.to_string() })
    }

    fn strait(&self, folder: &Path, args: &[&str]) -> Result<String, BenchError> {
        let output = Command::new(self.strait).args(args).current_dir(folder).output();
        let output = output.map_err(BenchError::io(format!("starting {}", self.strait.display())))?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(BenchError::Plugin { command: args.join(" "), why });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Orders with an e-mail, a card and a region. One in fifty is a test order.
fn orders() -> String {
    let regions = ["eu", "us", "ap"];
    let mut text = String::new();
    for (n, region) in (0..RECORDS).zip(regions.iter().cycle()) {
        let kind = if n % 50 == 0 { "test" } else { "customer" };
        let start = format!(
            r#"{{"order":{n},"region":"{region}","customer":{{"name":"Customer {n}","email":"customer{n}@example.com","city":"Tallinn"}},"card":"4111-1111-1111-{n:04}","lines":[{{"sku":"A-{n}","count":2,"price":12.50}},{{"sku":"B-{n}","count":1,"price":3.99}}],"note":""#
        );
        let note = "x".repeat(VALUE_BYTES.saturating_sub(start.len() + 2));
        text.push_str(&format!(
            "{{\"topic\":\"orders\",\"offset\":{n},\"timestamp\":1767225600000,\"key\":\"{kind}-{n}\",\"value\":{{\"json\":{start}{note}\"}}}}}}\n"
        ));
    }
    text
}
