//! Tokens that end and are renewed while a link runs, and an identity provider that is away.

use std::collections::HashSet;
use std::time::Duration;

use strait_e2e::{ConfigFolder, LogLine, Strait};
use strait_test_cluster::{Answering, Cluster, ClusterSpec, Listener, TokenServer};

use crate::admin::{ADMIN, address_of, get, series};
use crate::support::{Feed, Pair, Pulse, SOON, Turn, link, single, stop, wait_until};

pub const CLIENT: &str = "copier";
pub const SECRET: &str = "canary-secret-of-the-client";

/// How long things take that have to do with tokens.
pub struct Times {
    /// Of a token.
    pub life: Duration,
    /// Of the time without an identity provider.
    pub outage: Duration,
    /// After which brokers want another login.
    pub login_again: Duration,
}

fn with_tokens(name: &str, server: &TokenServer, times: &Times) -> ClusterSpec {
    let keys = Some(server.keys().to_owned());
    ClusterSpec { token_keys: keys, ..single(name) }.with_listeners(&[Listener::OAuth]).with_property(
        "listener.name.oauth.oauthbearer.connections.max.reauth.ms",
        times.login_again.as_millis().to_string(),
    )
}

/// Writes `[clusters.NAME]` with tokens of a server; the file `secret` has its client's secret.
pub fn token_section(name: &str, cluster: &Cluster, server: &TokenServer) -> String {
    format!(
        "[clusters.{name}]\nbootstrap_servers = \"{}\"\n[clusters.{name}.auth]\nkind = \"oidc\"\n\
         token_url = \"{}\"\nclient_id = \"{CLIENT}\"\nclient_secret = \"${{file:secret}}\"\nca = {:?}\n\
         [clusters.{name}.kafka]\n\"ssl.ca.location\" = {:?}\n",
        cluster.bootstrap_of(Listener::OAuth),
        server.url(),
        server.ca(),
        cluster.certificates().unwrap().ca(),
    )
}

#[track_caller]
fn said(strait: &Strait, within: Duration, event: &str, part: &str) {
    let is = |line: &LogLine| line.is_event(event) && line.message().contains(part);
    let line = strait.wait_line(&format!("{event} with {part}"), within, is).unwrap();
    println!("{}", line.message());
}

#[test]
fn an_identity_provider_that_is_away_ends_nothing_and_tokens_are_renewed_under_load() {
    let _turn = Turn::waiting();
    let of = Duration::from_secs;
    renewed_and_away(&Times { life: of(15), outage: of(20), login_again: of(5) });
}

/// Runs a link whose identity provider is away at its start, gives tokens, and is away again.
pub fn renewed_and_away(times: &Times) {
    // What waits for tokens waits for their lives.
    let soon = SOON + 3 * times.life;
    let folder = tempfile::tempdir().unwrap();
    let server = TokenServer::start(folder.path(), CLIENT, SECRET).unwrap();
    server.set_life(times.life);
    let pair = Pair::of(with_tokens("tokens-source", &server, times), with_tokens("tokens-target", &server, times));
    let source = pair.at_source();
    source.create_topic("orders", 2, &[]).unwrap();
    let sections = token_section("source", &pair.source, &server) + &token_section("target", &pair.target, &server);
    let config = ConfigFolder::new(&format!("{sections}{}{ADMIN}", link("tokens", &["orders"], 2, ""))).unwrap();
    config.write("secret", SECRET).unwrap();

    // Away at the start.
    server.answer_with(Answering::Status(503, r#"{"error":"temporarily_unavailable"}"#.to_owned()));
    let mut strait = Strait::run("tokens", &config, &[]).unwrap();
    let address = address_of(&strait);
    said(&strait, soon, "token_failed", "there is none that serves");
    wait_until("not ready, and why", SOON, || {
        let (code, why) = get(&address, "/readyz");
        (code == 503 && why.contains("temporarily_unavailable")).then_some(())
    });
    let feed = Feed::start(&source, "orders", 2, 100);
    server.answer_with(Answering::Tokens);
    said(&strait, soon, "token_again", "after");
    pair.wait_target_topic("source.orders");
    let pulse = Pulse::start(&pair.at_target(), "source.orders", 2);
    pulse.wait_moved(&[0, 1], SOON);

    // Renewed, with new logins in between.
    let asked = server.asked();
    pulse.mark();
    wait_until("two renewals of both tokens", soon, || (server.asked() >= asked + 4).then_some(()));
    println!("longest pause while tokens are renewed: {:?}", pulse.longest());
    assert!(strait.events("lane_restarted").is_empty(), "{:?}", strait.events("lane_restarted"));
    assert!(strait.events("login_refused").is_empty(), "{:?}", strait.events("login_refused"));

    // Away while it runs, for longer than a token lives.
    server.answer_with(Answering::Down);
    said(&strait, soon, "token_failed", "the last one serves for another");
    // The outage itself, not a wait for something.
    std::thread::sleep(times.outage);
    said(&strait, soon, "token_failed", "cannot be asked");
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
