//! Starting, killing, pausing and ending real brokers.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use strait_test_cluster::{Cluster, ClusterError, ClusterSpec};

fn port_is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn one_broker_survives_kill_pause_and_stop_and_leaves_nothing() {
    let began = Instant::now();
    let cluster = Cluster::start(ClusterSpec::new("one").with_proxies()).await.unwrap();
    println!("one broker ready after {:?}", began.elapsed());
    let broker = cluster.broker(0).unwrap();
    let first = broker.pid().unwrap();

    // Clients get the proxy's port, the internal listener goes around it.
    assert_eq!(cluster.bootstrap(), cluster.proxy(0).unwrap().address().to_string());
    assert_ne!(cluster.bootstrap(), cluster.internal_bootstrap());

    broker.kill().unwrap();
    assert_eq!(state_of(first), None, "a killed broker is reaped");
    assert!(matches!(broker.kill(), Err(ClusterError::NotRunning { .. })));
    assert!(TcpStream::connect(cluster.internal_bootstrap()).is_err());

    broker.restart().await.unwrap();
    let second = broker.pid().unwrap();
    assert_ne!(first, second);

    broker.pause().unwrap();
    wait_until("SIGSTOP takes effect", || state_of(second) == Some('T'));
    broker.resume().unwrap();
    wait_until("SIGCONT takes effect", || state_of(second) == Some('S'));

    broker.stop().await.unwrap();
    assert_eq!(broker.pid(), None);
    broker.restart().await.unwrap();

    let folder = cluster.folder().to_owned();
    let ports = broker.ports();
    let last = broker.pid().unwrap();
    let proxy = cluster.proxy(0).unwrap().port();
    drop(cluster);
    assert_eq!(state_of(last), None);
    assert!(ports.into_iter().chain([proxy]).all(port_is_free));
    assert!(!folder.exists());
    assert!(matches!(Cluster::start(ClusterSpec::new("none").with_brokers(0)).await, Err(ClusterError::Spec { .. })));
}

#[tokio::test]
async fn three_brokers_survive_the_loss_of_any_one() {
    let began = Instant::now();
    let cluster = Cluster::start(ClusterSpec::new("three").with_brokers(3)).await.unwrap();
    println!("three brokers ready after {:?}", began.elapsed());
    for index in 0..3 {
        cluster.broker(index).unwrap().kill().unwrap();
        // Ready again means that the other two, a quorum without it, took it back in.
        cluster.broker(index).unwrap().restart().await.unwrap();
    }
    let pids: Vec<u32> = cluster.brokers().iter().map(|broker| broker.pid().unwrap()).collect();
    let ports: Vec<u16> = cluster.brokers().iter().flat_map(|broker| broker.ports()).collect();
    drop(cluster);
    assert!(pids.into_iter().all(|pid| state_of(pid).is_none()));
    assert!(ports.into_iter().all(port_is_free));
}

#[tokio::test]
async fn a_broker_that_cannot_start_says_why_and_keeps_its_log() {
    let base = tempfile::tempdir().unwrap();
    let spec = |property: &str, value: &str| ClusterSpec {
        base_dir: Some(base.path().to_owned()),
        ..ClusterSpec::new("broken").with_property(property, value)
    };
    let refused = Cluster::start(spec("log.segment.bytes", "1")).await.unwrap_err();
    assert!(matches!(refused, ClusterError::Format { .. }), "{refused}");
    assert!(refused.to_string().contains("log.segment.bytes"), "{refused}");

    let ended = Cluster::start(spec("authorizer.class.name", "no.such.Authorizer")).await.unwrap_err();
    let ClusterError::Ended { log, tail, .. } = ended else { panic!("{ended}") };
    assert!(tail.contains("no.such.Authorizer"), "{tail}");
    assert!(log.exists());
}

#[tokio::test]
async fn a_panicking_test_leaves_no_process_but_its_logs() {
    let cluster = Cluster::start(ClusterSpec::new("panic")).await.unwrap();
    let pid = cluster.broker(0).unwrap().pid().unwrap();
    let folder = cluster.folder().to_owned();
    let thread = std::thread::spawn(move || {
        let _cluster = cluster;
        panic!("planted");
    });
    assert!(thread.join().is_err());
    assert_eq!(state_of(pid), None);
    assert!(folder.join("broker-1.log").exists());
    assert!(!folder.join("data-1").exists());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_killed_process_takes_its_brokers_along() {
    let temporary = tempfile::tempdir().unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_strait-test-cluster"))
        .args(["kafka", "up", "--name", "orphan"])
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("bootstrap.servers=").unwrap().to_owned();
    assert!(TcpStream::connect(&address).is_ok());

    // SIGKILL: none of its own code runs any more.
    process.kill().unwrap();
    process.wait().unwrap();
    wait_until("the broker is gone", || TcpStream::connect(&address).is_err());
}
