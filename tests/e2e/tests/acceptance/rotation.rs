//! Secrets and certificates that change while records flow. Nothing is lost or doubled, the flow
//! stops for no longer than it did without a change, and what cannot be used leaves the one before
//! in use.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use strait_e2e::{ConfigFolder, Strait};
use strait_test_cluster::{Certificates, Cluster, ClusterSpec, Listener, Proxy, TokenServer, User};
use tempfile::TempDir;

use crate::admin::{ADMIN, address_of, get, series};
use crate::listeners::section;
use crate::logins::{CLIENT, SECRET, token_section};
use crate::support::{
    Feed, Pair, Pulse, SOON, Turn, caught_up, kafka_tool, link, now, record, single, stop, wait_until,
};

/// Records a second for each of the two partitions of a flow.
const RATE: u32 = 200;
/// The part of a run without a change, with which the others are compared.
const CALM: Duration = Duration::from_secs(6);
/// How much longer a flow may pause, for certificates and for all else.
const LANES_TAKEN: Duration = Duration::from_secs(3);
const NOTHING_TAKEN: Duration = Duration::from_secs(1);
/// Both live so shortly that they are renewed while a test waits.
const LIFE: Duration = Duration::from_secs(4);
const LOGIN_AGAIN_MS: &str = "5000";

const FIRST: &str = "canary-first-password";
const SECOND: &str = "canary-second-password";
const STORE_PASSWORD: &str = "canary-store-password";

/// Two clusters with a listener for each login that can change.
pub struct Bed {
    pair: Pair,
    tokens: TokenServer,
    folder: TempDir,
    rate: u32,
}

impl Bed {
    /// Starts them, for flows of so many records a second and partition.
    pub fn start(rate: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tokens = TokenServer::start(folder.path(), CLIENT, SECRET).unwrap();
        let users = vec![User { name: CLIENT.to_owned(), password: FIRST.to_owned() }];
        let spec = |name: &str| {
            ClusterSpec { users: users.clone(), token_keys: Some(tokens.keys().to_owned()), acls: true, ..single(name) }
                .with_listeners(&[Listener::SaslTls, Listener::OAuth, Listener::MutualTls])
                .with_proxies()
                .with_property("listener.name.oauth.oauthbearer.connections.max.reauth.ms", LOGIN_AGAIN_MS)
        };
        let pair = Pair::of(spec("rotation-source"), spec("rotation-target"));
        for cluster in [&pair.source, &pair.target] {
            rights("acl", cluster, &[CLIENT, "CN=client", "CN=renewed"]);
        }
        Self { pair, tokens, folder, rate }
    }

    fn ends(&self) -> [(&'static str, &Cluster); 2] {
        [("source", &self.pair.source), ("target", &self.pair.target)]
    }

    /// Has all connections made anew.
    fn cut(&self) {
        self.pair.source.proxies().iter().chain(self.pair.target.proxies()).for_each(Proxy::cut);
    }
}

/// Gives principals all rights, or takes them away.
fn rights(command: &str, cluster: &Cluster, principals: &[&str]) {
    let all = ["TOPIC,*,LITERAL", "GROUP,*,LITERAL", "TRANSACTIONAL_ID,*,LITERAL", "CLUSTER,kafka-cluster,LITERAL"];
    let of = |principal: &&str| all.map(|resource| format!("{principal},{resource},ALL"));
    let acls: Vec<String> = principals.iter().flat_map(of).collect();
    kafka_tool(command, &cluster.internal_bootstrap(), &acls);
}

/// A link of one topic under load, both of this name.
struct Flow<'a> {
    bed: &'a Bed,
    name: &'static str,
    config: ConfigFolder,
    strait: Strait,
    feed: Feed,
    pulse: Pulse,
    /// The longest pause without a change.
    calm: Duration,
}

impl<'a> Flow<'a> {
    /// Starts a link between two clusters with these sections. `files` are those beside the
    /// configuration.
    fn start(bed: &'a Bed, name: &'static str, sections: &str, files: &[(&str, &str)]) -> Self {
        let source = bed.pair.at_source();
        source.create_topic(name, 2, &[]).unwrap();
        let config = ConfigFolder::new(&format!("{sections}{}{ADMIN}", link(name, &[name], 2, ""))).unwrap();
        for (file, text) in files {
            config.write(file, text).unwrap();
        }
        let strait = Strait::run(name, &config, &[]).unwrap();
        let feed = Feed::start(&source, name, 2, bed.rate);
        let copy = format!("source.{name}");
        bed.pair.wait_target_topic(&copy);
        let pulse = Pulse::start(&bed.pair.at_target(), &copy, 2);
        pulse.wait_moved(&[0, 1], SOON);
        pulse.mark();
        // The run without a change, not a wait for something.
        std::thread::sleep(CALM);
        let calm = longest(&pulse);
        Self { bed, name, config, strait, feed, pulse, calm }
    }

    /// Makes a change. The flow must not have paused for longer than this beyond its pauses without
    /// a change.
    #[track_caller]
    fn pauses_little(&self, what: &str, more: Duration, change: impl FnOnce()) {
        self.pulse.mark();
        change();
        self.pulse.wait_moved(&[0, 1], SOON);
        let longest = longest(&self.pulse);
        println!("{}: {what}: longest pause {longest:.1?}, without a change {:.1?}", self.name, self.calm);
        assert!(longest <= self.calm + more, "{what}: {longest:?}, and {:?} without a change", self.calm);
    }

    /// Makes a change and waits for so many events about it; returns what they say.
    #[track_caller]
    fn told(&self, event: &str, count: usize, change: impl FnOnce()) -> String {
        let before = self.strait.events(event).len();
        change();
        let told = |lines: &[strait_e2e::LogLine]| {
            let all: Vec<&str> = lines.iter().filter(|line| line.is_event(event)).map(|line| line.message()).collect();
            (all.len() >= before + count).then(|| all[before..].join("\n"))
        };
        let said = self.strait.wait_for(&format!("{count} more of {event}"), SOON, told).unwrap();
        println!("{}: {said}", self.name);
        said
    }

    /// Makes a change that must be refused with these words.
    #[track_caller]
    fn refuses(&self, words: &str, change: impl FnOnce()) {
        let said = self.told("credentials_refused", 1, change);
        assert!(said.contains(words), "{words}: {said}");
    }

    /// Has all connections made anew, and waits until records pass over them.
    #[track_caller]
    fn moves_over_new_connections(&self) {
        self.bed.cut();
        self.pulse.wait_moved(&[0, 1], SOON);
        assert!(self.strait.events("login_refused").is_empty(), "{:?}", self.strait.events("login_refused"));
    }

    /// Ends the flow and compares all of it.
    #[track_caller]
    fn ends_exact(self) {
        let Self { bed, name, config, mut strait, feed, pulse, .. } = self;
        let address = address_of(&strait);
        wait_until("ready", SOON, || (get(&address, "/readyz").0 == 200).then_some(()));
        let count = feed.stop();
        drop(pulse);
        stop(&mut strait);
        // What was on its way, and a start with what is in the files now.
        caught_up(name, &config);
        println!("{name}: {count} records of each partition");
        bed.pair.assert_exact(name, &format!("source.{name}"), &HashSet::new());
        for text in [strait.stderr(), strait.stdout()] {
            assert!(!text.contains("canary-") && !text.contains("eyJhbGciOiJFUzI1NiI"), "a secret is in the log");
        }
    }
}

fn longest(pulse: &Pulse) -> Duration {
    pulse.longest().into_iter().max().unwrap()
}

fn password_section(name: &str, cluster: &Cluster) -> String {
    format!(
        "[clusters.{name}]\nbootstrap_servers = \"{}\"\n[clusters.{name}.kafka]\n\
         \"security.protocol\" = \"SASL_SSL\"\n\"sasl.mechanism\" = \"SCRAM-SHA-512\"\n\
         \"sasl.username\" = \"{CLIENT}\"\n\"sasl.password\" = \"${{file:{name}-password}}\"\n\
         \"ssl.ca.location\" = {:?}\n",
        cluster.bootstrap_of(Listener::SaslTls),
        cluster.certificates().unwrap().ca(),
    )
}

/// A password is exchanged at each end.
pub fn passwords(bed: &Bed) {
    let sections: String = bed.ends().iter().map(|(name, cluster)| password_section(name, cluster)).collect();
    let flow = Flow::start(bed, "passwords", &sections, &[("source-password", FIRST), ("target-password", FIRST)]);
    let write = |name: &str, password: &str| flow.config.write(&format!("{name}-password"), password).unwrap();
    flow.pauses_little("what is no password", NOTHING_TAKEN, || {
        flow.refuses("source-password is empty", || write("source", ""));
        flow.refuses("the brokers refuse it", || write("source", "canary-wrong-password"));
    });
    flow.pauses_little("passwords", NOTHING_TAKEN, || {
        for (name, cluster) in bed.ends() {
            let arguments = [CLIENT.to_owned(), SECOND.to_owned()];
            kafka_tool("password", &cluster.internal_bootstrap(), &arguments);
            let said = flow.told("credentials_rotated", 1, || write(name, SECOND));
            assert!(said.contains(&format!("cluster {name}: sasl.password changed")), "{said}");
        }
    });
    flow.moves_over_new_connections();
    let (_, page) = get(&address_of(&flow.strait), "/metrics");
    for (outcome, count) in [("used", 1.0), ("refused", 2.0)] {
        let wanted = format!("strait_credentials_rotated_total{{cluster=\"source\",outcome=\"{outcome}\"}}");
        assert_eq!(series(&page, &wanted), Some(count), "{page}");
    }
    assert!(flow.strait.events("lane_restarted").is_empty());
    flow.ends_exact();
}

/// The client gets another secret, tokens are renewed, and the identity provider signs with another
/// key.
pub fn token_keys(bed: &Bed) {
    const SECRET_OF_NOW: &str = "canary-other-secret";
    let tokens = &bed.tokens;
    let sections: String = bed.ends().iter().map(|(name, cluster)| token_section(name, cluster, tokens)).collect();
    // Those of an hour are not renewed.
    let flow = Flow::start(bed, "keys", &sections, &[("secret", SECRET)]);
    let renewed = || {
        let asked = tokens.asked();
        // Twice by each of the two clusters.
        wait_until("renewed tokens", SOON, || (tokens.asked() >= asked + 4).then_some(()));
    };
    tokens.set_life(LIFE);
    flow.pauses_little("another client secret", NOTHING_TAKEN, || {
        tokens.set_secret(SECRET_OF_NOW);
        let said = flow.told("credentials_rotated", 2, || flow.config.write("secret", SECRET_OF_NOW).unwrap());
        assert!(said.contains("client_secret changed"), "{said}");
    });
    flow.pauses_little("renewed tokens", NOTHING_TAKEN, renewed);
    flow.pauses_little("another signing key", NOTHING_TAKEN, || {
        tokens.publish_new_key().unwrap();
        tokens.sign_with_new_key();
        renewed();
        tokens.withdraw_old_keys().unwrap();
        renewed();
    });
    flow.moves_over_new_connections();
    assert!(flow.strait.events("lane_restarted").is_empty());
    flow.ends_exact();
}

/// The files of both ends: PEM files at the source, a folder of authorities and a PKCS#12 file at
/// the target.
struct Files<'a>(&'a Path);

impl Files<'_> {
    fn source(&self, file: &str) -> std::path::PathBuf {
        self.0.join(format!("source-{file}"))
    }

    fn store(&self) -> std::path::PathBuf {
        self.0.join("target-client.p12")
    }

    fn authorities(&self) -> std::path::PathBuf {
        self.0.join("target-authorities")
    }

    fn sections(&self, bed: &Bed) -> String {
        let begin = |name: &str, cluster: &Cluster| {
            format!(
                "[clusters.{name}]\nbootstrap_servers = \"{}\"\n[clusters.{name}.kafka]\n\
                 \"security.protocol\" = \"SSL\"\n",
                cluster.bootstrap_of(Listener::MutualTls)
            )
        };
        let source = format!(
            "\"ssl.ca.location\" = {:?}\n\"ssl.certificate.location\" = {:?}\n\"ssl.key.location\" = {:?}\n",
            self.source("ca.pem"),
            self.source("client.pem"),
            self.source("client-key.pem"),
        );
        let target = format!(
            "\"ssl.ca.location\" = {:?}\n\"ssl.keystore.location\" = {:?}\n\
             \"ssl.keystore.password\" = \"{STORE_PASSWORD}\"\n",
            self.authorities(),
            self.store(),
        );
        [begin("source", &bed.pair.source), source, begin("target", &bed.pair.target), target].concat()
    }

    /// Puts the client's certificates of both ends into place.
    fn put_clients(&self, source: &Certificates, target: &Certificates) {
        fs::copy(source.client_certificate(), self.source("client.pem")).unwrap();
        fs::copy(source.client_key(), self.source("client-key.pem")).unwrap();
        target.write_client_store(STORE_PASSWORD, &self.store()).unwrap();
    }

    /// Puts these authorities into place, and no others.
    fn put_authorities(&self, source: &[&Certificates], target: &[&Certificates]) {
        fs::write(self.source("ca.pem"), bundle(source)).unwrap();
        fs::create_dir_all(self.authorities()).unwrap();
        let kept: Vec<_> = target.iter().map(|of| of.write_hashed_ca(&self.authorities()).unwrap()).collect();
        for entry in fs::read_dir(self.authorities()).unwrap() {
            let path = entry.unwrap().path();
            if !kept.contains(&path) {
                fs::remove_file(path).unwrap();
            }
        }
    }
}

fn bundle(all: &[&Certificates]) -> String {
    all.iter().map(|of| fs::read_to_string(of.ca()).unwrap()).collect()
}

/// Certificates of the client change, then the authority of both sides.
pub fn certificates(bed: &Bed) {
    let strangers = tempfile::tempdir().unwrap();
    let stranger = Certificates::make(strangers.path()).unwrap();
    let [source, target] = bed.ends().map(|(_, cluster)| cluster.certificates().unwrap());
    let files = Files(bed.folder.path());
    files.put_clients(source, target);
    files.put_authorities(&[source], &[target]);
    let flow = Flow::start(bed, "certificates", &files.sections(bed), &[]);

    flow.pauses_little("what cannot be used", NOTHING_TAKEN, || {
        let key = files.source("client-key.pem");
        let whole = fs::read(&key).unwrap();
        flow.refuses("it is no whole PEM file", || fs::write(&key, &whole[..whole.len() / 2]).unwrap());
        let words = "cluster source: ssl.*.location changed and cannot be used";
        flow.refuses(words, || fs::write(&key, fs::read(stranger.client_key()).unwrap()).unwrap());
        flow.refuses("which is not among the authorities of", || {
            fs::write(&key, &whole).unwrap();
            fs::copy(stranger.ca(), files.source("ca.pem")).unwrap();
        });
        flow.refuses("cluster target: ssl.*.location changed and cannot be used", || {
            files.put_authorities(&[source], &[target]);
            stranger.write_client_store(STORE_PASSWORD, &files.store()).unwrap();
        });
    });
    assert!(flow.strait.events("lane_restarted").is_empty(), "{:?}", flow.strait.events("lane_restarted"));

    flow.pauses_little("certificates of the client", LANES_TAKEN, || {
        let said = flow.told("credentials_rotated", 2, || {
            [source, target].iter().for_each(|of| of.renew_client("renewed").unwrap());
            files.put_clients(source, target);
        });
        let source = "cluster source: ssl.certificate.location, ssl.key.location changed";
        assert!(said.contains(source) && said.contains("cluster target: ssl.keystore.location changed"), "{said}");
    });
    // Nobody needs the old ones.
    bed.ends().iter().for_each(|(_, cluster)| rights("unacl", cluster, &["CN=client"]));
    flow.moves_over_new_connections();

    authorities(bed, &files, &flow, [source, target]);
    flow.ends_exact();
}

/// Exchanges the authority: first it is trusted beside the one before, then it signs, then the
/// other one is no longer trusted.
fn authorities(bed: &Bed, files: &Files<'_>, flow: &Flow<'_>, [source, target]: [&Certificates; 2]) {
    let folder = bed.folder.path().join("new");
    fs::create_dir(&folder).unwrap();
    let new = Certificates::make_by("second authority", &folder).unwrap();
    new.renew_client("renewed").unwrap();
    let at_brokers = |files: [Vec<(&str, &Path)>; 2]| {
        for ((_, cluster), files) in bed.ends().into_iter().zip(files) {
            let of = |(setting, path): &(&str, &Path)| {
                format!("listener.name.mutual.ssl.{setting}.location={}", path.display())
            };
            let changes: Vec<String> = ["1".to_owned()].into_iter().chain(files.iter().map(of)).collect();
            kafka_tool("broker", &cluster.internal_bootstrap(), &changes);
        }
    };
    let both = [("source", source), ("target", target)].map(|(name, old)| {
        let path = folder.join(format!("{name}-both.pem"));
        fs::write(&path, bundle(&[old, &new])).unwrap();
        path
    });
    flow.pauses_little("a second authority", LANES_TAKEN, || {
        let said = flow.told("credentials_rotated", 2, || files.put_authorities(&[source, &new], &[target, &new]));
        assert_eq!(said.matches("ssl.ca.location changed").count(), 2, "{said}");
    });
    flow.pauses_little("the certificates of brokers", LANES_TAKEN, || {
        let broker = new.broker();
        at_brokers([0, 1].map(|end| vec![("truststore", both[end].as_path()), ("keystore", broker.as_path())]));
    });
    flow.moves_over_new_connections();
    flow.pauses_little("the second authority alone", LANES_TAKEN, || {
        flow.told("credentials_rotated", 2, || {
            files.put_clients(&new, &new);
            files.put_authorities(&[&new], &[&new]);
        });
    });
    let ca = new.ca();
    at_brokers([0, 1].map(|_| vec![("truststore", ca.as_path())]));
    flow.moves_over_new_connections();
}

#[test]
fn passwords_keys_certificates_and_authorities_change_while_records_flow() {
    let _turn = Turn::alone();
    let bed = Bed::start(RATE);
    passwords(&bed);
    token_keys(&bed);
    certificates(&bed);
}

/// The lane of the link `held` waits at its border while the certificates change.
#[test]
fn a_lane_that_does_not_run_uses_changed_certificates_from_its_next_take_on() {
    let _turn = Turn::beside_another();
    let spec = ClusterSpec { acls: true, ..single("later") }.with_listeners(&[Listener::MutualTls]);
    let cluster = Arc::new(now(Cluster::start(spec)).unwrap());
    rights("acl", &cluster, &["CN=client", "CN=renewed"]);
    let pair = Pair { source: Arc::clone(&cluster), target: Arc::clone(&cluster) };
    let (client, certificates) = (pair.at_source(), cluster.certificates().unwrap());
    let write = |topic: &str, count: usize| {
        client.write(topic, &vec![record(Some(b"k"), Some(br#"{"ssn":"1"}"#)); count]).unwrap();
    };
    for topic in ["held", "runs"] {
        client.create_topic(topic, 1, &[]).unwrap();
        write(topic, 10);
    }
    let sections =
        ["source", "target"].map(|name| section(name, &cluster, (Listener::MutualTls, None), certificates)).concat();
    let redact = "[[links.plugins]]\nplugin = \"redact\"\n\
                  config = { rules = [{ fields = [\"$.ssn\"], with = \"remove\" }] }\n";
    let text = |plugins: &str| {
        let held = link("held", &["held"], 1, &format!("reload = {{ settle_ms = 100 }}\n{plugins}"));
        format!("{sections}{held}{}", link("runs", &["runs"], 1, ""))
    };
    let copied = |topic: &str, count: usize| {
        wait_until(&format!("{count} of {topic}"), SOON, || (pair.keys(topic, 0).len() == count).then_some(()));
    };
    let config = ConfigFolder::new(&text(redact)).unwrap();
    caught_up("later-before", &config);
    config.write("strait.toml", text("")).unwrap();
    write("held", 10);
    write("runs", 10);
    let mut strait = Strait::run("later", &config, &[]).unwrap();
    strait.wait_line("a lane that waits", SOON, |line| line.is_event("border_refused")).unwrap();
    copied("source.runs", 20);

    certificates.renew_client("renewed").unwrap();
    strait
        .wait_for("both ends changed for both links", SOON, |lines| {
            lines.iter().filter(|line| line.is_event("credentials_rotated")).nth(3).map(|_| ())
        })
        .unwrap();
    let later = strait.events("credentials_roll_later");
    for end in ["source", "target"] {
        let said = later.iter().find(|line| line.message().starts_with(&format!("cluster {end}: ")));
        let said = said.unwrap_or_else(|| panic!("{end}: {later:?}")).message();
        assert!(said.contains("lane 0 of link held") && !said.contains("link runs"), "{said}");
    }
    // Whoever still has the old certificate can do nothing more.
    rights("unacl", &cluster, &["CN=client"]);
    config.write("strait.toml", text(redact)).unwrap();
    copied("source.held", 20);
    write("runs", 10);
    copied("source.runs", 30);
    assert!(strait.events("credentials_refused").is_empty(), "{:?}", strait.events("credentials_refused"));
    stop(&mut strait);
}
