//! Every way in that clusters offer: plaintext, TLS, client certificates, SASL in its mechanisms.

use std::collections::HashSet;
use std::time::Duration;

use strait_e2e::{ConfigFolder, Strait, write_records};
use strait_test_cluster::{Certificates, Cluster, ClusterSpec, Listener, User};

use crate::support::{Pair, Turn, copy, link, numbered, single};

const USER: &str = "copier";
const PASSWORD: &str = "copier-password";
/// For ten dead lines of librdkafka and the probe behind them.
const REFUSED: Duration = Duration::from_secs(60);

/// A listener and, where it has SASL, the mechanism.
const WAYS: [(&str, Listener, Option<&str>); 7] = [
    ("plain", Listener::Plaintext, None),
    ("tls", Listener::Tls, None),
    ("mutual", Listener::MutualTls, None),
    ("sasl-tls-plain", Listener::SaslTls, Some("PLAIN")),
    ("sasl-tls-256", Listener::SaslTls, Some("SCRAM-SHA-256")),
    ("sasl-tls-512", Listener::SaslTls, Some("SCRAM-SHA-512")),
    ("sasl", Listener::Sasl, Some("SCRAM-SHA-256")),
];

fn spec(name: &str) -> ClusterSpec {
    let users = vec![User { name: USER.to_owned(), password: PASSWORD.to_owned() }];
    let listeners = [Listener::Plaintext, Listener::Tls, Listener::MutualTls, Listener::SaslTls, Listener::Sasl];
    ClusterSpec { users, ..single(name) }.with_listeners(&listeners).with_proxies()
}

/// Writes `[clusters.NAME]` for a way into a cluster, with these certificates.
fn section(name: &str, cluster: &Cluster, way: (Listener, Option<&str>), certificates: &Certificates) -> String {
    let (listener, mechanism) = way;
    let mut lines = vec![
        format!("[clusters.{name}]"),
        format!("bootstrap_servers = \"{}\"", cluster.bootstrap_of(listener)),
        // A password over a plain connection is refused otherwise.
        format!("insecure = {}", listener == Listener::Sasl),
        format!("[clusters.{name}.kafka]"),
        format!("\"security.protocol\" = \"{}\"", listener.protocol()),
    ];
    if matches!(listener, Listener::Tls | Listener::MutualTls | Listener::SaslTls) {
        lines.push(format!("\"ssl.ca.location\" = {:?}", certificates.ca()));
    }
    if listener == Listener::MutualTls {
        lines.push(format!("\"ssl.certificate.location\" = {:?}", certificates.client_certificate()));
        lines.push(format!("\"ssl.key.location\" = {:?}", certificates.client_key()));
    }
    if let Some(mechanism) = mechanism {
        lines.push(format!("\"sasl.mechanism\" = \"{mechanism}\""));
        lines.push(format!("\"sasl.username\" = \"{USER}\"\n\"sasl.password\" = \"{PASSWORD}\""));
    }
    lines.join("\n") + "\n"
}

/// Runs a link between these two clusters; it must end at once, with the error of the first.
#[track_caller]
fn refused(name: &str, sections: &str, source: &str, parts: &[&str]) {
    let link = link(name, &["orders"], 1, "").replace("\"source\"", &format!("\"{source}\""));
    let config = ConfigFolder::new(&format!("{sections}{}", link.replace("\"target\"", "\"plain-target\""))).unwrap();
    let mut strait = Strait::run(name, &config, &["--until-caught-up"]).unwrap();
    let status = strait.wait_end(REFUSED).unwrap();
    let output = strait.stderr();
    let error = output.lines().find(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("{output}"));
    println!("{name}: {error}");
    assert_eq!(status.code(), Some(1), "{output}");
    for part in parts {
        assert!(error.contains(part), "{error}");
    }
}

/// `strait check` names the buffer of the source's brokers once its line is long.
fn says_what_limits_a_long_line(pair: &Pair) {
    pair.source.proxies().iter().for_each(|proxy| proxy.delay(Duration::from_millis(20)));
    let config = pair.config_by_proxy("", &link("plain", &["orders"], 1, ""));
    let mut check = Strait::start("check", config.path(), &["check", "--config", "strait.toml"]).unwrap();
    let status = check.wait_end(REFUSED).unwrap();
    pair.source.proxies().iter().for_each(strait_test_cluster::Proxy::heal);
    let text = check.stdout();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("line of plain")).collect();
    println!("{lines:?}");
    // Kafka's default, and nothing of the near target.
    assert!(lines.len() == 1 && lines[0].starts_with("! line of plain to source: round trip"), "{text}");
    assert!(lines[0].contains("socket.send.buffer.bytes = 102400 of the brokers allows at most "), "{text}");
    assert_eq!(status.code(), Some(0), "{text}");
}

#[test]
fn a_link_copies_through_every_listener_and_says_why_tls_is_refused() {
    let _turn = Turn::beside_another();
    let pair = Pair::of(spec("ways-source"), spec("ways-target"));
    pair.at_source().create_topic("orders", 2, &[]).unwrap();
    let records = [numbered(0, 0, 500), numbered(1, 0, 500)].concat();
    write_records(&pair.at_source().config(), "orders", &records).unwrap();

    let (of_source, of_target) = (pair.source.certificates().unwrap(), pair.target.certificates().unwrap());
    let mut toml = String::new();
    let mut links = String::new();
    for (name, listener, mechanism) in WAYS {
        let target = format!("{name}-target");
        toml.push_str(&section(name, &pair.source, (listener, mechanism), of_source));
        toml.push_str(&section(&target, &pair.target, (listener, mechanism), of_target));
        let link = link(name, &["orders"], 1, "").replace("\"source\"", &format!("\"{name}\""));
        links.push_str(&link.replace("\"target\"", &format!("\"{target}\"")));
    }
    copy(&ConfigFolder::new(&format!("{toml}{links}")).unwrap());
    for (name, ..) in WAYS {
        pair.assert_exact("orders", &format!("{name}.orders"), &HashSet::new());
    }
    let used: Vec<u64> = pair.source.proxies().iter().map(strait_test_cluster::Proxy::accepted).collect();
    assert!(used.iter().all(|accepted| *accepted > 0), "connections by listener: {used:?}");

    says_what_limits_a_long_line(&pair);

    let strangers = tempfile::tempdir().unwrap();
    let stranger = Certificates::make(strangers.path()).unwrap();
    let plain = section("plain-target", &pair.target, (Listener::Plaintext, None), of_target);
    let tls = "the connection is closed or TLS fails";
    let wrong = section("wrong-ca", &pair.source, (Listener::Tls, None), &stranger);
    refused("wrong-ca", &format!("{wrong}{plain}"), "wrong-ca", &["cluster wrong-ca", tls, "ssl.ca.location"]);
    let mutual = section("none", &pair.source, (Listener::MutualTls, None), of_source);
    let none: String = mutual
        .lines()
        .filter(|line| !line.contains("ssl.certificate") && !line.contains("ssl.key"))
        .fold(String::new(), |text, line| text + line + "\n");
    let parts = ["cluster none", tls, "ssl.certificate.location"];
    refused("no-certificate", &format!("{none}{plain}"), "none", &parts);
    // A certificate of another authority.
    let foreign = mutual
        .replace(&format!("{:?}", of_source.client_certificate()), &format!("{:?}", stranger.client_certificate()));
    let foreign = foreign.replace(&format!("{:?}", of_source.client_key()), &format!("{:?}", stranger.client_key()));
    refused("foreign", &format!("{foreign}{plain}"), "none", &parts);
}
