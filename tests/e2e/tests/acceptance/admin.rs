//! The admin API of a running link: probes, metrics, status, plugin commands, and requests that are
//! refused.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use serde_json::Value;
use strait_e2e::{ConfigFolder, Strait, write_records};

use crate::support::{Pair, SOON, Turn, link, numbered, stop, wait_until};

/// Sends a request as it stands; returns the status code and the body.
fn ask(address: &str, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

pub fn get(address: &str, path: &str) -> (u16, String) {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
}

/// An admin API at any free port.
pub const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n";

/// Returns the status of a process, by its API.
pub fn status(address: &str) -> serde_json::Value {
    let (code, body) = get(address, "/api/v1/status");
    assert_eq!(code, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// Returns the address that a process listens on, by its log.
pub fn address_of(strait: &Strait) -> String {
    let line = strait.wait_line("admin API", SOON, |line| line.message() == "admin API listens").unwrap();
    line.field("address").unwrap().to_owned()
}

/// Runs `strait …` beside the running process; returns exit code, standard output and standard
/// error.
fn run(folder: &std::path::Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(Strait::binary().unwrap()).args(arguments).current_dir(folder).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Returns the value of a series of a scrape, by the text before it.
pub fn series(page: &str, wanted: &str) -> Option<f64> {
    let line = page.lines().find(|line| line.strip_prefix(wanted).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// A running link over three partitions with 100 records each, of which a filter drops those with
/// keys that begin with 1.
struct Watched {
    /// The link's, and its topic's.
    name: &'static str,
    links: String,
    config: ConfigFolder,
    strait: Strait,
    address: String,
}

impl Watched {
    fn start(name: &'static str) -> Self {
        let pair = Pair::shared();
        pair.at_source().create_topic(name, 3, &[]).unwrap();
        for partition in 0..3 {
            write_records(&pair.at_source().config(), name, &numbered(partition, 0, 100)).unwrap();
        }
        let plugin = "[[links.plugins]]\nplugin = \"filter\"\nconfig = { drop = { key_prefix = \"1\" } }\n";
        let links = format!("{}{ADMIN}", link(name, &[name], 1, plugin));
        let config = pair.config(&links);
        let strait = Strait::run(name, &config, &[]).unwrap();
        let address = address_of(&strait);
        Self { name, links, config, strait, address }
    }

    fn wait_ready(&self) {
        wait_until("ready", SOON, || (get(&self.address, "/readyz").0 == 200).then_some(()));
    }

    fn labels(&self) -> String {
        format!("link=\"{}\",source=\"source\",target=\"target\"", self.name)
    }

    /// Runs a command that asks the process.
    fn ask(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let url = format!("http://{}", self.address);
        run(self.config.path(), &[arguments, &["--admin", &url]].concat())
    }

    fn end(mut self) {
        stop(&mut self.strait);
        let (code, _, error) = self.ask(&["status"]);
        assert!(code == Some(1) && error.contains("is strait run running"), "{error}");
    }
}

#[test]
fn metrics_and_status_of_a_running_link_agree_with_what_it_copied() {
    let _turn = Turn::beside_another();
    let watched = Watched::start("watched");
    assert_eq!(get(&watched.address, "/livez"), (200, "ok\n".to_owned()), "alive, whatever the clusters do");
    watched.wait_ready();

    // Of the keys 0 to 99 eleven begin with 1.
    let of_link = watched.labels();
    let of_topic = format!("{{{of_link},topic=\"watched\"}}");
    let page = wait_until("copied", SOON, || {
        let (status, page) = get(&watched.address, "/metrics");
        assert_eq!(status, 200);
        let lag = series(&page, &format!("strait_lag_records{of_topic}"));
        let copied = series(&page, &format!("strait_records_replicated_total{of_topic}"));
        // One batch at least of each partition.
        let committed = series(&page, &format!("strait_replication_latency_seconds_count{{{of_link}}}"));
        (copied == Some(267.0) && lag == Some(0.0) && committed >= Some(3.0)).then_some(page)
    });
    for (wanted, value) in [
        (format!("strait_records_consumed_total{of_topic}"), 300.0),
        (format!("strait_records_filtered_total{{{of_link}}}"), 33.0),
        (format!("strait_link_up{{{of_link}}}"), 1.0),
        (format!("strait_lanes{{{of_link},state=\"running\"}}"), 1.0),
        (format!("strait_partitions{{{of_link},state=\"running\",reason=\"\"}}"), 3.0),
        (format!("strait_fenced_total{{{of_link}}}"), 0.0),
        ("strait_ready".to_owned(), 1.0),
        (format!("strait_plugin_records_total{{{of_link},plugin=\"filter\"}}"), 300.0),
        (format!("strait_plugin_breaker{{{of_link},plugin=\"filter\",state=\"closed\"}}"), 1.0),
        (format!("strait_plugin_errors_total{{{of_link},plugin=\"filter\",kind=\"plugin-trap\"}}"), 0.0),
    ] {
        assert_eq!(series(&page, &wanted), Some(value), "{wanted}:\n{page}");
    }
    let committed = series(&page, &format!("strait_transactions_total{{{of_link},result=\"committed\"}}")).unwrap();
    let timed = series(&page, &format!("strait_transaction_duration_seconds_count{{{of_link}}}")).unwrap();
    assert!(committed >= 1.0 && timed >= 1.0, "{page}");
    assert!(page.ends_with("# EOF\n"), "{page}");

    let (code, shown, error) = watched.ask(&["status", "-o", "json"]);
    assert_eq!(code, Some(0), "{error}");
    let status: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(status["ready"], true, "{shown}");
    let found = &status["links"][0];
    assert_eq!((&found["name"], &found["state"]), (&Value::from("watched"), &Value::from("running")));
    assert_eq!(found["totals"]["records_written"], 267);
    assert_eq!(found["plugins"][0]["records"], 300, "{shown}");
    assert!(found["plugins"][0]["digest"].as_str().unwrap().starts_with("sha256:"), "{shown}");
    assert!(found["generation"].as_str().unwrap().starts_with("filter@"), "{shown}");
    let (code, table, _) = watched.ask(&["status"]);
    println!("{table}");
    assert!(code == Some(0) && table.contains("watched") && table.contains("1 of 1"), "{table}");
    watched.end();
}

#[test]
fn a_process_without_a_lane_is_ready_and_bad_requests_are_refused() {
    let _turn = Turn::beside_another();
    let watched = Watched::start("guarded");
    watched.wait_ready();

    // The group tells a second process that no lane is left: it is ready to take over.
    let mut second = Strait::run("second", &watched.config, &[]).unwrap();
    let beside = address_of(&second);
    wait_until("ready without a lane", SOON, || (get(&beside, "/readyz").0 == 200).then_some(()));
    let running = format!("strait_lanes{{{},state=\"running\"}}", watched.labels());
    assert_eq!(series(&get(&beside, "/metrics").1, &running), Some(0.0));
    stop(&mut second);

    let address = &watched.address;
    let stranger = "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    assert_eq!(ask(address, stranger).0, 421);
    let form = format!("POST /api/v1/status HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(ask(address, &form).0, 415);
    let page = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nX: {}\r\n\r\n", "x".repeat(64 << 10));
    assert_eq!(ask(address, &page).0, 431, "headers are bounded");

    // The address is in use: a process configured to listen there does not run without it.
    let clusters = "[clusters.source]\nbootstrap_servers = \"a:1\"\n[clusters.target]\nbootstrap_servers = \"b:1\"\n\n";
    let taken = format!("{clusters}{}", watched.links.replace("127.0.0.1:0", address));
    watched.config.write("taken.toml", taken).unwrap();
    let (code, _, error) = run(watched.config.path(), &["run", "-c", "taken.toml"]);
    assert!(code == Some(64) && error.contains(address) && error.contains("set another [admin] listen"), "{error}");
    watched.end();
}

#[test]
fn plugin_commands_reload_refuse_a_bad_plugin_by_name_and_show_both_in_history() {
    let _turn = Turn::beside_another();
    let watched = Watched::start("commanded");
    watched.wait_ready();
    let plugin = |arguments: &[&str]| watched.ask(&[&["plugin"], arguments].concat());
    let (code, output, error) = plugin(&["reload"]);
    assert!(code == Some(0) && output.contains("commanded: unchanged; filter@"), "{output}{error}");
    watched.config.write("plugins/filter.wasm", b"no plugin").unwrap();
    let (code, _, error) = plugin(&["reload", "--link", "commanded", "--force"]);
    assert!(code == Some(1) && error.contains("not valid WebAssembly"), "{error}");
    let (code, _, error) = plugin(&["rollback"]);
    assert!(code == Some(1) && error.contains("there is no chain to go back to"), "{error}");
    let (code, _, error) = plugin(&["reload", "--link", "other"]);
    assert!(code == Some(1) && error.contains("there is no link 'other'"), "{error}");

    let (code, history, error) = plugin(&["history"]);
    println!("{history}");
    assert!(code == Some(0) && history.contains("started") && history.contains("refused"), "{history}{error}");
    let (_, history, _) = plugin(&["history", "-o", "json"]);
    let history: Value = serde_json::from_str(&history).unwrap();
    assert_eq!(history["commanded"]["history"][0]["outcome"], "started");
    let (_, shown, _) = watched.ask(&["status"]);
    assert!(shown.contains("the last change of plugins was not taken over: "), "{shown}");
    let refused = format!("strait_plugin_reloads_total{{{},outcome=\"refused\"}}", watched.labels());
    let refused = series(&get(&watched.address, "/metrics").1, &refused);
    assert!(refused >= Some(1.0), "{refused:?}");
    let (status, plugins) = get(&watched.address, "/api/v1/plugins");
    let plugins: Value = serde_json::from_str(&plugins).unwrap();
    assert_eq!((status, &plugins["links"][0]["standing"]), (200, &Value::from("steady")));
    watched.end();
}
