//! Logins that change while a link runs: tokens that end, an identity provider that is away,
//! passwords that are exchanged.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use strait_e2e::{ConfigFolder, LogLine, Strait};
use strait_test_cluster::{Answering, Certificates, Cluster, ClusterSpec, Listener, Proxy, TokenServer, User};

use crate::admin::{ADMIN, address_of, get, series};
use crate::support::{Feed, Pair, Pulse, SOON, Turn, kafka_tool, link, single, stop, wait_until};

const CLIENT: &str = "copier";
const SECRET: &str = "canary-secret-of-the-client";
const LIFE: Duration = Duration::from_secs(15);
const OUTAGE: Duration = Duration::from_secs(20);

fn with_tokens(name: &str, server: &TokenServer) -> ClusterSpec {
    let keys = Some(server.keys().to_owned());
    ClusterSpec { token_keys: keys, ..single(name) }
        .with_listeners(&[Listener::OAuth])
        .with_property("listener.name.oauth.oauthbearer.connections.max.reauth.ms", "5000")
}

fn token_section(name: &str, cluster: &Cluster, server: &TokenServer) -> String {
    format!(
        "[clusters.{name}]\nbootstrap_servers = \"{}\"\n[clusters.{name}.auth]\nkind = \"oidc\"\n\
         token_url = \"{}\"\nclient_id = \"{CLIENT}\"\nclient_secret = \"${{file:secret}}\"\nca = {:?}\n\
         [clusters.{name}.kafka]\n\"ssl.ca.location\" = {:?}\n",
        cluster.bootstrap(),
        server.url(),
        server.ca(),
        cluster.certificates().unwrap().ca(),
    )
}

#[track_caller]
fn said(strait: &Strait, event: &str, part: &str) -> LogLine {
    let is = |line: &LogLine| line.is_event(event) && line.message().contains(part);
    let line = strait.wait_line(&format!("{event} with {part}"), SOON, is).unwrap();
    println!("{}", line.message());
    line
}

#[test]
fn an_identity_provider_that_is_away_ends_nothing_and_tokens_are_renewed_under_load() {
    let _turn = Turn::waiting();
    let folder = tempfile::tempdir().unwrap();
    let server = TokenServer::start(folder.path(), CLIENT, SECRET).unwrap();
    server.set_life(LIFE);
    let pair = Pair::of(with_tokens("tokens-source", &server), with_tokens("tokens-target", &server));
    let source = pair.at_source();
    source.create_topic("orders", 2, &[]).unwrap();
    let sections = token_section("source", &pair.source, &server) + &token_section("target", &pair.target, &server);
    let config = ConfigFolder::new(&format!("{sections}{}{ADMIN}", link("tokens", &["orders"], 2, ""))).unwrap();
    config.write("secret", SECRET).unwrap();

    // Away at the start.
    server.answer_with(Answering::Status(503, r#"{"error":"temporarily_unavailable"}"#.to_owned()));
    let mut strait = Strait::run("tokens", &config, &[]).unwrap();
    let address = address_of(&strait);
    said(&strait, "token_failed", "there is none that serves");
    wait_until("not ready, and why", SOON, || {
        let (code, why) = get(&address, "/readyz");
        (code == 503 && why.contains("temporarily_unavailable")).then_some(())
    });
    let feed = Feed::start(&source, "orders", 2, 100);
    server.answer_with(Answering::Tokens);
    said(&strait, "token_again", "after");
    pair.wait_target_topic("source.orders");
    let pulse = Pulse::start(&pair.at_target(), "source.orders", 2);
    pulse.wait_moved(&[0, 1], SOON);

    // Renewed, with a new login every five seconds.
    let asked = server.asked();
    pulse.mark();
    wait_until("two renewals of both tokens", SOON, || (server.asked() >= asked + 4).then_some(()));
    println!("longest pause while tokens are renewed: {:?}", pulse.longest());
    assert!(strait.events("lane_restarted").is_empty(), "{:?}", strait.events("lane_restarted"));
    assert!(strait.events("login_refused").is_empty(), "{:?}", strait.events("login_refused"));

    // Away while it runs, for longer than a token lives.
    server.answer_with(Answering::Down);
    said(&strait, "token_failed", "the last one serves for another");
    // The outage itself, not a wait for something.
    std::thread::sleep(OUTAGE);
    said(&strait, "token_failed", "cannot be asked");
    let (code, why) = get(&address, "/readyz");
    assert!(code == 503 && why.contains("there is no new token for cluster"), "{why}");
    assert!(strait.poll_end().unwrap().is_none(), "the process has ended");
    server.answer_with(Answering::Tokens);
    pulse.wait_moved(&[0, 1], SOON);
    println!("longest pause with the outage: {:?}", pulse.longest());
    wait_until("ready", SOON, || (get(&address, "/readyz").0 == 200).then_some(()));

    let count = feed.stop();
    wait_until("copied", SOON, || has_all(&pair, count).then_some(()));
    let (_, page) = get(&address, "/metrics");
    assert!(series(&page, "strait_token_failures_total{cluster=\"source\"}").unwrap_or(0.0) >= 2.0, "{page}");
    assert!(page.contains("strait_token_expiry_timestamp_seconds{cluster=\"target\"}"), "{page}");
    stop(&mut strait);
    pair.assert_exact("orders", "source.orders", &HashSet::new());
    let output = strait.stderr();
    assert!(!output.contains(SECRET) && !output.contains("eyJhbGciOiJFUzI1NiI"), "a secret is in the log");
}

/// Reports whether the target topic has as many records as were written to each partition.
fn has_all(pair: &Pair, count: u64) -> bool {
    let last = (count - 1).to_string();
    (0..2).all(|partition| pair.keys("source.orders", partition).last() == Some(&last))
}

fn with_passwords(name: &str) -> ClusterSpec {
    let users = vec![User { name: CLIENT.to_owned(), password: "canary-first-password".to_owned() }];
    ClusterSpec { users, ..single(name) }.with_listeners(&[Listener::SaslTls]).with_proxies()
}

fn password_section(name: &str, cluster: &Cluster) -> String {
    format!(
        "[clusters.{name}]\nbootstrap_servers = \"{}\"\n[clusters.{name}.kafka]\n\
         \"security.protocol\" = \"SASL_SSL\"\n\"sasl.mechanism\" = \"SCRAM-SHA-512\"\n\
         \"sasl.username\" = \"{CLIENT}\"\n\"sasl.password\" = \"${{file:{name}-password}}\"\n\
         \"ssl.ca.location\" = {:?}\n",
        cluster.bootstrap(),
        cluster.certificates().unwrap().ca(),
    )
}

#[test]
fn a_changed_password_comes_into_use_under_load_and_a_bad_one_does_not() {
    let _turn = Turn::beside_another();
    let pair = Pair::of(with_passwords("passwords-source"), with_passwords("passwords-target"));
    let source = pair.at_source();
    source.create_topic("orders", 2, &[]).unwrap();
    let sections = password_section("source", &pair.source) + &password_section("target", &pair.target);
    let config = ConfigFolder::new(&format!("{sections}{}{ADMIN}", link("passwords", &["orders"], 2, ""))).unwrap();
    for name in ["source", "target"] {
        config.write(&format!("{name}-password"), "canary-first-password\n").unwrap();
    }
    let mut strait = Strait::run("passwords", &config, &[]).unwrap();
    let address = address_of(&strait);
    let feed = Feed::start(&source, "orders", 2, 200);
    pair.wait_target_topic("source.orders");
    let pulse = Pulse::start(&pair.at_target(), "source.orders", 2);
    pulse.wait_moved(&[0, 1], SOON);
    pulse.mark();

    // What cannot be used is said, and the password before stays.
    config.write("source-password", "").unwrap();
    said(&strait, "credentials_refused", "the file is empty");
    config.write("source-password", "canary-wrong-password").unwrap();
    said(&strait, "credentials_refused", "the brokers refuse it");

    kafka_tool(
        "password",
        &pair.source.internal_bootstrap(),
        &[CLIENT.to_owned(), "canary-second-password".to_owned()],
    );
    config.write("source-password", "canary-second-password").unwrap();
    said(&strait, "credentials_rotated", "sasl.password changed");
    println!("longest pause until the password is in use: {:?}", pulse.longest());
    // Each connection is made anew, which takes the new password.
    pair.source.proxies().iter().for_each(Proxy::cut);
    pulse.wait_moved(&[0, 1], SOON);
    assert!(strait.events("login_refused").is_empty(), "{:?}", strait.events("login_refused"));

    let (_, page) = get(&address, "/metrics");
    for (outcome, count) in [("used", 1.0), ("refused", 2.0)] {
        let wanted = format!("strait_credentials_rotated_total{{cluster=\"source\",outcome=\"{outcome}\"}}");
        assert_eq!(series(&page, &wanted), Some(count), "{page}");
    }
    let count = feed.stop();
    wait_until("copied", SOON, || has_all(&pair, count).then_some(()));
    stop(&mut strait);
    pair.assert_exact("orders", "source.orders", &HashSet::new());
    assert!(!strait.stderr().contains("canary-"), "a secret is in the log");
}

/// Gives somebody with a certificate of this name all rights, or takes them away.
fn rights(command: &str, cluster: &Cluster, name: &str) {
    let all = ["TOPIC,*,LITERAL", "GROUP,*,LITERAL", "TRANSACTIONAL_ID,*,LITERAL", "CLUSTER,kafka-cluster,LITERAL"];
    let acls = all.map(|resource| format!("CN={name},{resource},ALL"));
    kafka_tool(command, &cluster.internal_bootstrap(), &acls);
}

fn certificate_section(name: &str, cluster: &Cluster, folder: &Path) -> String {
    let of = |file: &str| folder.join(format!("{name}-{file}"));
    format!(
        "[clusters.{name}]\nbootstrap_servers = \"{}\"\n[clusters.{name}.kafka]\n\
         \"security.protocol\" = \"SSL\"\n\"ssl.ca.location\" = {:?}\n\
         \"ssl.certificate.location\" = {:?}\n\"ssl.key.location\" = {:?}\n",
        cluster.bootstrap(),
        of("ca.pem"),
        of("client.pem"),
        of("client-key.pem"),
    )
}

/// Copies the client's files to where the link reads them.
fn hand_over(name: &str, certificates: &Certificates, folder: &Path) {
    let files = [certificates.ca(), certificates.client_certificate(), certificates.client_key()];
    for (from, to) in files.iter().zip(["ca.pem", "client.pem", "client-key.pem"]) {
        std::fs::copy(from, folder.join(format!("{name}-{to}"))).unwrap();
    }
}

#[test]
fn changed_certificates_come_into_use_lane_by_lane_and_bad_ones_do_not() {
    let _turn = Turn::beside_another();
    let spec =
        |name: &str| ClusterSpec { acls: true, ..single(name) }.with_listeners(&[Listener::MutualTls]).with_proxies();
    let pair = Pair::of(spec("certificates-source"), spec("certificates-target"));
    let both = [("source", &pair.source), ("target", &pair.target)];
    let folder = tempfile::tempdir().unwrap();
    for (name, cluster) in both {
        rights("acl", cluster, "client");
        rights("acl", cluster, "renewed");
        hand_over(name, cluster.certificates().unwrap(), folder.path());
    }
    let source = pair.at_source();
    source.create_topic("orders", 2, &[]).unwrap();
    let sections: String =
        both.iter().map(|(name, cluster)| certificate_section(name, cluster, folder.path())).collect();
    let config = ConfigFolder::new(&format!("{sections}{}{ADMIN}", link("certificates", &["orders"], 2, ""))).unwrap();
    let mut strait = Strait::run("certificates", &config, &[]).unwrap();
    let address = address_of(&strait);
    let feed = Feed::start(&source, "orders", 2, 200);
    pair.wait_target_topic("source.orders");
    let pulse = Pulse::start(&pair.at_target(), "source.orders", 2);
    pulse.wait_moved(&[0, 1], SOON);

    // Half a file, and the pair of another authority.
    let key = folder.path().join("target-client-key.pem");
    let whole = std::fs::read(&key).unwrap();
    std::fs::write(&key, &whole[..whole.len() / 2]).unwrap();
    said(&strait, "credentials_refused", "it is no whole PEM file");
    let strangers = tempfile::tempdir().unwrap();
    let stranger = Certificates::make(strangers.path()).unwrap();
    std::fs::copy(stranger.client_certificate(), folder.path().join("target-client.pem")).unwrap();
    std::fs::copy(stranger.client_key(), &key).unwrap();
    said(&strait, "credentials_refused", "ssl.*.location changed and cannot be used: cluster target");
    pulse.wait_moved(&[0, 1], SOON);
    assert!(strait.events("lane_restarted").is_empty(), "{:?}", strait.events("lane_restarted"));

    pulse.mark();
    for (name, cluster) in both {
        cluster.certificates().unwrap().renew_client("renewed").unwrap();
        hand_over(name, cluster.certificates().unwrap(), folder.path());
    }
    said(&strait, "credentials_rotated", "cluster source: ssl.certificate.location, ssl.key.location changed");
    said(&strait, "credentials_rotated", "cluster target: ssl.certificate.location, ssl.key.location changed");
    println!("longest pause while the lanes are taken again: {:?}", pulse.longest());
    // Nobody needs the old ones.
    both.iter().for_each(|(_, cluster)| rights("unacl", cluster, "client"));
    pair.source.proxies().iter().chain(pair.target.proxies()).for_each(Proxy::cut);
    pulse.wait_moved(&[0, 1], SOON);
    wait_until("ready", SOON, || (get(&address, "/readyz").0 == 200).then_some(()));

    let count = feed.stop();
    wait_until("copied", SOON, || has_all(&pair, count).then_some(()));
    stop(&mut strait);
    pair.assert_exact("orders", "source.orders", &HashSet::new());
}
