//! The admin API of a running link: probes, metrics, status, and who is not answered.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use serde_json::Value;
use strait_e2e::{ConfigFolder, Strait, write_records};

use crate::support::{Pair, SOON, link, numbered, turn, wait_until};

/// One request, as it would be typed; gives the status code and the body.
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

fn get(address: &str, path: &str) -> (u16, String) {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
}

/// Where a process listens, by its log.
fn address_of(strait: &Strait) -> String {
    let line = strait.wait_line("admin API", SOON, |line| line.message() == "admin API listens").unwrap();
    line.field("address").unwrap().to_owned()
}

/// `strait …` beside the running process: exit code, what it printed, what it complained of.
fn run(folder: &std::path::Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(Strait::binary().unwrap()).args(arguments).current_dir(folder).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The value of a series of a scrape, by the text before it.
fn series(page: &str, wanted: &str) -> Option<f64> {
    let line = page.lines().find(|line| line.strip_prefix(wanted).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// An operator reloads, is refused a bad plugin by name, and finds it in history, status and metrics.
fn exchanged(config: &ConfigFolder, address: &str, url: &str) {
    let plugin = |arguments: &[&str]| run(config.path(), &[&["plugin"], arguments, &["--admin", url]].concat());
    let (code, told, error) = plugin(&["reload"]);
    assert!(code == Some(0) && told.contains("watched: unchanged; filter@"), "{told}{error}");
    config.write("plugins/filter.wasm", b"no plugin").unwrap();
    let (code, _, error) = plugin(&["reload", "--link", "watched", "--force"]);
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
    assert_eq!(history["watched"]["history"][0]["outcome"], "started");
    let (_, shown, _) = run(config.path(), &["status", "--admin", url]);
    assert!(shown.contains("the last change of plugins was not taken over: "), "{shown}");
    let refused =
        series(&get(address, "/metrics").1, &format!("strait_plugin_reloads_total{{{LABELS},outcome=\"refused\"}}"));
    assert!(refused >= Some(1.0), "{refused:?}");
    let (status, plugins) = get(address, "/api/v1/plugins");
    let plugins: Value = serde_json::from_str(&plugins).unwrap();
    assert_eq!((status, &plugins["links"][0]["standing"]), (200, &Value::from("steady")));
}

const PLUGIN: &str = "[[links.plugins]]\nplugin = \"filter\"\nconfig = { drop = { key_prefix = \"1\" } }\n";
const LABELS: &str = "link=\"watched\",source=\"source\",target=\"target\"";

#[test]
fn a_running_link_tells_how_it_is_and_answers_nobody_else() {
    let _turn = turn();
    let pair = Pair::start("admin");
    pair.at_source().create_topic("orders", 3, &[]).unwrap();
    for partition in 0..3 {
        write_records(&pair.at_source().config(), "orders", &numbered(partition, 0, 100)).unwrap();
    }
    let mut links = link("watched", &["orders"], 1, PLUGIN);
    links.push_str("[admin]\nlisten = \"127.0.0.1:0\"\n");
    let config = pair.config(&links);
    let mut strait = Strait::run("watched", &config, &[]).unwrap();
    let address = address_of(&strait);
    assert_eq!(get(&address, "/livez"), (200, "ok\n".to_owned()), "alive, whatever the clusters do");
    wait_until("ready", SOON, || (get(&address, "/readyz").0 == 200).then_some(()));

    // Of the keys 0 to 99 eleven begin with 1.
    let labels = format!("{{{LABELS},topic=\"orders\"}}");
    let page = wait_until("copied", SOON, || {
        let (status, page) = get(&address, "/metrics");
        assert_eq!(status, 200);
        let lag = series(&page, &format!("strait_lag_records{labels}"));
        let copied = series(&page, &format!("strait_records_replicated_total{labels}"));
        // One batch at least of each partition.
        let committed = series(&page, &format!("strait_replication_latency_seconds_count{{{LABELS}}}"));
        (copied == Some(267.0) && lag == Some(0.0) && committed >= Some(3.0)).then_some(page)
    });
    for (wanted, value) in [
        (format!("strait_records_consumed_total{labels}"), 300.0),
        (format!("strait_records_filtered_total{{{LABELS}}}"), 33.0),
        (format!("strait_link_up{{{LABELS}}}"), 1.0),
        (format!("strait_lanes{{{LABELS},state=\"running\"}}"), 1.0),
        (format!("strait_partitions{{{LABELS},state=\"running\",reason=\"\"}}"), 3.0),
        (format!("strait_fenced_total{{{LABELS}}}"), 0.0),
        ("strait_ready".to_owned(), 1.0),
        (format!("strait_plugin_records_total{{{LABELS},plugin=\"filter\"}}"), 300.0),
        (format!("strait_plugin_breaker{{{LABELS},plugin=\"filter\",state=\"closed\"}}"), 1.0),
        (format!("strait_plugin_errors_total{{{LABELS},plugin=\"filter\",kind=\"plugin-trap\"}}"), 0.0),
    ] {
        assert_eq!(series(&page, &wanted), Some(value), "{wanted}:\n{page}");
    }
    let committed = series(&page, &format!("strait_transactions_total{{{LABELS},result=\"committed\"}}")).unwrap();
    let timed = series(&page, &format!("strait_transaction_duration_seconds_count{{{LABELS}}}")).unwrap();
    assert!(committed >= 1.0 && timed >= 1.0, "{page}");
    assert!(page.ends_with("# EOF\n"), "{page}");

    let url = format!("http://{address}");
    let (code, shown, error) = run(config.path(), &["status", "--admin", &url, "-o", "json"]);
    assert_eq!(code, Some(0), "{error}");
    let status: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(status["ready"], true, "{shown}");
    let watched = &status["links"][0];
    assert_eq!((&watched["name"], &watched["state"]), (&Value::from("watched"), &Value::from("running")));
    assert_eq!(watched["totals"]["records_written"], 267);
    assert_eq!(watched["plugins"][0]["records"], 300, "{shown}");
    assert!(watched["plugins"][0]["digest"].as_str().unwrap().starts_with("sha256:"), "{shown}");
    assert!(watched["generation"].as_str().unwrap().starts_with("filter@"), "{shown}");
    let (code, table, _) = run(config.path(), &["status", "--admin", &url]);
    println!("{table}");
    assert!(code == Some(0) && table.contains("watched") && table.contains("1 of 1"), "{table}");

    // A second process finds no lane left: the group tells it so, and it is ready to take over.
    let mut second = Strait::run("second", &config, &[]).unwrap();
    let beside = address_of(&second);
    wait_until("ready without a lane", SOON, || (get(&beside, "/readyz").0 == 200).then_some(()));
    assert_eq!(series(&get(&beside, "/metrics").1, &format!("strait_lanes{{{LABELS},state=\"running\"}}")), Some(0.0));
    second.terminate().unwrap();
    assert_eq!(second.wait_end(SOON).unwrap().code(), Some(0));

    let stranger = "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    assert_eq!(ask(&address, stranger).0, 421);
    let form = format!("POST /api/v1/status HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(ask(&address, &form).0, 415);
    let page = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nX: {}\r\n\r\n", "x".repeat(64 << 10));
    assert_eq!(ask(&address, &page).0, 431, "headers are bounded");

    // The address is taken: who asked for it by name does not run without it.
    let clusters = "[clusters.source]\nbootstrap_servers = \"a:1\"\n[clusters.target]\nbootstrap_servers = \"b:1\"\n\n";
    config.write("taken.toml", format!("{clusters}{}", links.replace("127.0.0.1:0", &address))).unwrap();
    let (code, _, error) = run(config.path(), &["run", "-c", "taken.toml"]);
    assert!(code == Some(64) && error.contains(&address) && error.contains("set another [admin] listen"), "{error}");

    exchanged(&config, &address, &url);

    strait.terminate().unwrap();
    assert_eq!(strait.wait_end(SOON).unwrap().code(), Some(0));
    let (code, _, error) = run(config.path(), &["status", "--admin", &url]);
    assert!(code == Some(1) && error.contains("is strait run running"), "{error}");
}
