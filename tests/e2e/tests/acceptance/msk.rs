//! Amazon MSK's IAM, at brokers that compute the signature of each token anew (`MskTokens.java`).

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use strait_e2e::{ConfigFolder, Strait};
use strait_test_cluster::{Cluster, ClusterSpec, Listener};

use crate::admin::ADMIN;
use crate::support::{Feed, Pair, Pulse, SOON, Turn, caught_up_in, compiled_java, link, single, stop, wait_until};

const REGION: &str = "eu-west-1";
const ACCESS: &str = "AKIDEXAMPLE";
/// With letters that are escaped in a URL, as AWS's have.
const SECRET: &str = "canary/secret+of/the+access";
const SESSION: &str = "canary-session//token+==";
/// Lives of the credentials, which end those of the tokens: without a renewal, and with many.
const LONG_S: u64 = 600;
const SHORT_S: u64 = 8;
/// The part of a run without a renewal, with which the other is compared.
const CALM: Duration = Duration::from_secs(6);
/// Windows of two renewals in which pauses are measured.
const WINDOWS: usize = 3;

/// AWS's endpoint for the credentials of a container. Dropping it ends it.
struct Credentials {
    shared: Arc<Shared>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    stop: AtomicBool,
    asked: AtomicU64,
    life_s: AtomicU64,
    secret: Mutex<&'static str>,
}

impl Credentials {
    fn serve(secret: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, asked, life_s) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(LONG_S));
        let shared = Arc::new(Shared { stop, asked, life_s, secret: Mutex::new(secret) });
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.stop.load(Ordering::Acquire) {
                    return;
                }
                // A client that breaks off is its own matter.
                drop(serving.answer(stream));
            }
        });
        Self { shared, address, thread: Some(thread) }
    }

    fn hand_out(&self, secret: &'static str) {
        *self.shared.secret.lock().unwrap() = secret;
    }

    fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::Acquire)
    }

    /// Returns the environment in which AWS's chain finds it, and nothing else.
    fn variables(&self) -> [(&'static str, String); 4] {
        let nowhere = || "/dev/null".to_owned();
        [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{}/credentials", self.address)),
            ("AWS_CONFIG_FILE", nowhere()),
            ("AWS_SHARED_CREDENTIALS_FILE", nowhere()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }
}

impl Shared {
    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(SOON))?;
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
            request.extend_from_slice(&byte);
        }
        self.asked.fetch_add(1, Ordering::AcqRel);
        let (secret, ends) = (*self.secret.lock().unwrap(), in_seconds(self.life_s.load(Ordering::Acquire)));
        let body = format!(
            r#"{{"AccessKeyId":"{ACCESS}","SecretAccessKey":"{secret}","Token":"{SESSION}","Expiration":"{ends}"}}"#
        );
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n{body}"
        )
    }
}

impl Drop for Credentials {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Wakes the thread.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Returns the time in so many seconds, as AWS writes it (days to a date: Howard Hinnant's
/// `civil_from_days`).
fn in_seconds(seconds: u64) -> String {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + seconds;
    let (days, second) = (at / 86_400 + 719_468, at % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march = (5 * day + 2) / 153;
    let day = day - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

fn spec(name: &str, classes: &Path) -> ClusterSpec {
    let properties = [("region", REGION), ("access", ACCESS), ("secret", SECRET), ("session", SESSION)];
    let extra_jvm = properties.iter().map(|(name, value)| format!("-Dmsk.{name}={value}")).collect();
    let of = |setting: &str| format!("listener.name.oauth.oauthbearer.{setting}");
    ClusterSpec { class_path: vec![classes.to_owned()], extra_jvm, ..single(name) }
        .with_listeners(&[Listener::OAuth])
        .with_property(of("sasl.server.callback.handler.class"), "MskTokens")
        .with_property(of("connections.max.reauth.ms"), "5000")
}

fn section(name: &str, cluster: &Cluster) -> String {
    format!(
        "[clusters.{name}]\nbootstrap_servers = \"{}\"\n[clusters.{name}.auth]\nkind = \"aws-msk-iam\"\n\
         region = \"{REGION}\"\n[clusters.{name}.kafka]\n\"ssl.ca.location\" = {:?}\n",
        cluster.bootstrap(),
        cluster.certificates().unwrap().ca(),
    )
}

#[test]
fn brokers_that_compute_the_signature_anew_take_the_tokens_for_msk_and_no_others() {
    let _turn = Turn::alone();
    let classes = compiled_java("MskTokens.java");
    let pair = Pair::of(spec("msk-source", classes.path()), spec("msk-target", classes.path()));
    let source = pair.at_source();
    source.create_topic("orders", 2, &[]).unwrap();
    let sections = section("source", &pair.source) + &section("target", &pair.target);
    let config = ConfigFolder::new(&format!("{sections}{}{ADMIN}", link("msk", &["orders"], 2, ""))).unwrap();
    // A secret that is not that of the access key.
    let credentials = Credentials::serve("canary/another+secret");
    let variables = credentials.variables();
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();

    let arguments = ["check", "--config", "strait.toml"];
    let mut check = Strait::start_in("check", config.path(), &arguments, &variables).unwrap();
    let code = check.wait_end(SOON).unwrap().code();
    let said = format!("{}\n{}", check.stdout(), check.stderr());
    println!("{said}");
    assert!(code == Some(1) && said.contains("cluster source") && !said.contains("canary"), "{code:?} {said}");
    for cluster in [&pair.source, &pair.target] {
        let log = std::fs::read_to_string(cluster.brokers()[0].log()).unwrap();
        assert!(log.contains("MskTokens refuses: java.lang.IllegalArgumentException: its signature"), "{log}");
    }

    credentials.hand_out(SECRET);
    // All of it in the log, from AWS's own crates too.
    let arguments = ["--log", "info,aws_sigv4=trace,aws_config=trace,aws_runtime=trace"];
    let feed = Feed::start(&source, "orders", 2, 100);
    let mut longest = Vec::new();
    for life_s in [LONG_S, SHORT_S] {
        credentials.shared.life_s.store(life_s, Ordering::Release);
        let mut strait = Strait::run_in("msk", &config, &arguments, &variables).unwrap();
        pair.wait_target_topic("source.orders");
        let pulse = Pulse::start(&pair.at_target(), "source.orders", 2);
        pulse.wait_moved(&[0, 1], SOON);
        pulse.mark();
        if life_s == LONG_S {
            // The run without a renewal, not a wait for something.
            std::thread::sleep(CALM);
            longest.push(pulse.longest().into_iter().max().unwrap());
        } else {
            // A pause of the machine shows in one window, that of a renewal in each.
            let windows = std::iter::repeat_with(|| {
                pulse.mark();
                let asked = credentials.asked();
                wait_until("two renewals of both tokens", SOON, || (credentials.asked() >= asked + 4).then_some(()));
                pulse.wait_moved(&[0, 1], SOON);
                pulse.longest().into_iter().max().unwrap()
            });
            longest.extend(windows.take(WINDOWS).min());
        }
        for event in ["lane_restarted", "login_refused", "token_failed"] {
            assert!(strait.events(event).is_empty(), "{:?}", strait.events(event));
        }
        stop(&mut strait);
        let log = strait.stderr();
        assert!([SECRET, SESSION, "canary"].iter().all(|secret| !log.contains(secret)), "a secret is in the log");
    }
    println!("longest pause without renewals and with them: {longest:?}");
    assert!(longest[1] <= longest[0] + Duration::from_secs(1), "{longest:?}");
    feed.stop();
    caught_up_in("msk-again", &config, &variables);
    pair.assert_exact("orders", "source.orders", &HashSet::new());
}
