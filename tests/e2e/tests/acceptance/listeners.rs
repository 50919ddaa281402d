//! Every way in that clusters offer: plaintext, TLS, client certificates, SASL in its mechanisms;
//! and the sentences of a link when one of them fails.

use std::path::Path;
use std::time::Duration;

use strait_e2e::{ConfigFolder, LogLine, Strait, write_records};
use strait_test_cluster::{Bad, Certificates, Cluster, ClusterSpec, Listener, TokenServer, User};

use crate::admin::{ADMIN, address_of, status};
use crate::logins::{CLIENT, SECRET};
use crate::matrix::{ALIKE, MIXED, WAYS, copies};
use crate::support::{Pair, Turn, key_range, link, now, numbered, run_to_end, single, wait_until};

const USER: &str = "copier";
const PASSWORD: &str = "copier-password";
/// For ten dead lines of librdkafka and the probe behind them.
const REFUSED: Duration = Duration::from_secs(60);

fn spec(name: &str, tokens: &TokenServer) -> ClusterSpec {
    let users = vec![User { name: USER.to_owned(), password: PASSWORD.to_owned() }];
    let mut listeners: Vec<Listener> = Vec::new();
    for way in &WAYS {
        if !listeners.contains(&way.listener) {
            listeners.push(way.listener);
        }
    }
    let token_keys = Some(tokens.keys().to_owned());
    ClusterSpec { users, token_keys, ..single(name) }.with_listeners(&listeners).with_proxies()
}

/// Writes `[clusters.NAME]` for a way into a cluster, with these certificates.
pub fn section(name: &str, cluster: &Cluster, way: (Listener, Option<&str>), certificates: &Certificates) -> String {
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

/// A cluster with a certificate of a public authority needs no file of authorities: those of the
/// system count, and the environment says here where they are.
fn copies_by_the_authorities_of_the_system(pair: &Pair) {
    let certificates = pair.source.certificates().unwrap();
    let source = section("source", &pair.source, (Listener::Tls, None), certificates);
    let unconfigured = source.lines().filter(|line| !line.contains("ssl.ca.location"));
    let source = unconfigured.fold(String::new(), |text, line| text + line + "\n");
    let target = section("target", &pair.target, (Listener::Plaintext, None), certificates);
    let link = link("by-system", &["orders"], 1, "");
    let config = ConfigFolder::new(&format!("{source}{target}{link}")).unwrap();
    let file = certificates.ca().display().to_string();
    let arguments = ["--until-caught-up"];
    let mut strait = Strait::run_in("by-system", &config, &arguments, &[("SSL_CERT_FILE", &file)]).unwrap();
    assert_eq!(strait.wait_end(REFUSED).unwrap().code(), Some(0), "{}", strait.stderr());
    assert_eq!(pair.keys("source.orders", 0), key_range(0, 10));
}

#[test]
fn links_copy_between_listeners_of_every_pair_of_kinds_and_say_why_tls_is_refused() {
    let _turn = Turn::long();
    let folder = tempfile::tempdir().unwrap();
    let tokens = TokenServer::start(folder.path(), CLIENT, SECRET).unwrap();
    let pair = Pair::of(spec("ways-source", &tokens), spec("ways-target", &tokens));
    copies(&pair, &tokens, ALIKE);
    copies(&pair, &tokens, MIXED);
    for cluster in [&pair.source, &pair.target] {
        let used: Vec<u64> = cluster.proxies().iter().map(strait_test_cluster::Proxy::accepted).collect();
        assert!(used.iter().all(|accepted| *accepted > 0), "connections by listener: {used:?}");
    }

    pair.at_source().create_topic("orders", 1, &[]).unwrap();
    write_records(&pair.at_source().config(), "orders", &numbered(0, 0, 10)).unwrap();
    says_what_limits_a_long_line(&pair);
    copies_by_the_authorities_of_the_system(&pair);

    says_why_tls_or_a_login_fails(&pair);
}

/// Each wrong input of one listener, with the sentence that it gets.
fn says_why_tls_or_a_login_fails(pair: &Pair) {
    let strangers = tempfile::tempdir().unwrap();
    let stranger = Certificates::make(strangers.path()).unwrap();
    let (of_source, of_target) = (pair.source.certificates().unwrap(), pair.target.certificates().unwrap());
    let plain = section("plain-target", &pair.target, (Listener::Plaintext, None), of_target);
    let refused = |name: &str, section: &str, parts: &[&str]| {
        let section = section.replacen("[clusters.x", &format!("[clusters.{name}"), 2);
        refused(name, &format!("{section}{plain}"), name, &[&[&*format!("cluster {name}: ")], parts].concat());
    };

    let wrong = section("x", &pair.source, (Listener::Tls, None), &stranger);
    let file = format!("ssl.ca.location = {}", stranger.ca().display());
    refused("wrong-ca", &wrong, &["signed by 'authority', which is not among the authorities of", &file]);

    let mutual = section("x", &pair.source, (Listener::MutualTls, None), of_source);
    let none: String = mutual
        .lines()
        .filter(|line| !line.contains("ssl.certificate") && !line.contains("ssl.key"))
        .fold(String::new(), |text, line| text + line + "\n");
    refused("no-certificate", &none, &["asks for a client certificate and none is configured", "ssl.key.location"]);

    let with_client = |certificate: &Path, key: &Path| {
        mutual
            .replace(&format!("{:?}", of_source.client_certificate()), &format!("{certificate:?}"))
            .replace(&format!("{:?}", of_source.client_key()), &format!("{key:?}"))
    };
    // A certificate of another authority.
    let foreign = with_client(&stranger.client_certificate(), &stranger.client_key());
    let file =
        format!("the client certificate of ssl.certificate.location = {}", stranger.client_certificate().display());
    refused("foreign", &foreign, &["refuses", &file, "ssl.truststore"]);
    let expired = with_client(&of_source.expired_client_certificate(), &of_source.expired_client_key());
    refused("expired-client", &expired, &["client-expired.pem, which expired on "]);

    let address = |listener: Listener| pair.source.bootstrap_of(listener);
    let tls = section("x", &pair.source, (Listener::Tls, None), of_source);
    let tls_to_plain = tls.replace(&address(Listener::Tls), &address(Listener::Plaintext));
    refused("tls-to-plain", &tls_to_plain, &["is a listener without TLS", "security.protocol = \"PLAINTEXT\""]);
    let text = section("x", &pair.source, (Listener::Plaintext, None), of_source);
    let plain_to_tls = text.replace(&address(Listener::Plaintext), &address(Listener::Tls));
    refused("plain-to-tls", &plain_to_tls, &["is a TLS listener", "set security.protocol = \"SSL\""]);

    let login = section("x", &pair.source, (Listener::SaslTls, Some("SCRAM-SHA-256")), of_source);
    let password = login.replace(PASSWORD, "hunter2hunter2");
    refused("password", &password, &["refuses user 'copier' with sasl.mechanism = \"SCRAM-SHA-256\"", "sasl.password"]);
}

/// The certificates of brokers that clients must refuse, each at a listener of its own.
#[test]
fn a_certificate_of_a_broker_that_is_refused_is_told_by_its_cause() {
    let _turn = Turn::beside_another();
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::make(folder.path()).unwrap();
    let ways = [
        ("expired", Listener::Tls, Bad::Expired, "the certificate 'broker' of ", " expired on "),
        ("early", Listener::MutualTls, Bad::NotYetValid, " is not valid before ", "set the clock of this machine"),
        (
            "elsewhere",
            Listener::SaslTls,
            Bad::OtherHost,
            " is for 'elsewhere.example' and not for '127.0.0.1'",
            "advertised.listeners",
        ),
    ];
    let users = vec![User { name: USER.to_owned(), password: PASSWORD.to_owned() }];
    let mut spec = ClusterSpec { users, ..single("refused-brokers") };
    spec = spec.with_listeners(&[Listener::Plaintext, Listener::Tls, Listener::MutualTls, Listener::SaslTls]);
    for (_, listener, bad, ..) in ways {
        let name = format!("{listener:?}").to_lowercase().replace("mutualtls", "mutual");
        let of = |setting: &str| format!("listener.name.{name}.ssl.{setting}.location");
        spec = spec.with_property(of("keystore"), certificates.bad_broker(bad).display().to_string());
        spec = spec.with_property(of("truststore"), certificates.ca().display().to_string());
    }
    // One of the three mechanisms is not offered.
    spec = spec.with_property("listener.name.sasltls.sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-512");
    let cluster = now(Cluster::start(spec)).unwrap();
    let plain = section("plain-target", &cluster, (Listener::Plaintext, None), &certificates);
    for (name, listener, _, part, remedy) in ways {
        let mechanism = (listener == Listener::SaslTls).then_some("PLAIN");
        let tls = section(name, &cluster, (listener, mechanism), &certificates);
        refused(name, &format!("{tls}{plain}"), name, &[&format!("cluster {name}: "), part, remedy]);
    }
    // Certificates of other hosts are accepted for once, so that the login is what fails.
    let login = section("mechanism", &cluster, (Listener::SaslTls, Some("SCRAM-SHA-256")), &certificates);
    let login = login.replace("insecure = false", "insecure = true");
    let login = format!("{login}\"ssl.endpoint.identification.algorithm\" = \"none\"\n");
    let parts = ["does not offer sasl.mechanism = \"SCRAM-SHA-256\"", "PLAIN,SCRAM-SHA-512"];
    refused("mechanism", &format!("{login}{plain}"), "mechanism", &parts);
    check_and_status_say_it_too(&cluster, &certificates, &plain);
}

/// The same sentence stands in a check, and in the status of a process that waits for the cluster.
fn check_and_status_say_it_too(cluster: &Cluster, certificates: &Certificates, plain: &str) {
    let tls = section("source", cluster, (Listener::Tls, None), certificates);
    let link = format!("{}{ADMIN}", link("expired", &["orders"], 1, "").replace("\"target\"", "\"plain-target\""));
    let config = ConfigFolder::new(&format!("{tls}{plain}{link}")).unwrap();
    let (code, checked) = run_to_end("check", &config, &["check"], REFUSED);
    assert!(code == Some(1) && checked.contains("✗ cluster source: ") && checked.contains(" expired on "), "{checked}");
    let mut strait = Strait::run("expired-status", &config, &[]).unwrap();
    let address = address_of(&strait);
    wait_until("the status that names the cause", REFUSED, || {
        status(&address).to_string().contains(" expired on ").then_some(())
    });
    let waits = |line: &LogLine| {
        line.message().contains("expired on") || line.field("error").is_some_and(|e| e.contains("expired on"))
    };
    strait.wait_line("the log that names the cause", REFUSED, waits).unwrap();
    strait.kill().unwrap();
}
