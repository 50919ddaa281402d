//! The bandwidth of the test cluster's proxy for plain bytes, so that its limit is not taken for a
//! replicator's.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use strait_test_cluster::{HeldPort, Proxy};

use crate::error::BenchError;
use crate::line::Probe;
use crate::stop;

const CONNECTIONS: usize = 4;
const WARM_UP: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(3);
const CHUNK: usize = 256 << 10;

/// Pushes bytes through a proxy with this one-way delay and TCP window, on as many connections as a
/// replicator has partitions.
///
/// # Errors
/// Those of the proxy and of the system.
pub fn proxy(one_way: Duration, tcp_window_kib: u64) -> Result<Probe, BenchError> {
    let failed = || BenchError::io("probing the proxy");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed())?;
    let upstream = listener.local_addr().map_err(failed())?;
    let proxy = Proxy::start(HeldPort::take()?, upstream)?;
    proxy.delay(one_way);
    proxy.window(bytes(tcp_window_kib));
    let received = Arc::new(AtomicU64::new(0));
    let ending = Arc::new(AtomicBool::new(false));
    let mut threads = Vec::new();
    for _ in 0..CONNECTIONS {
        let (address, ending) = (proxy.address(), Arc::clone(&ending));
        threads.push(thread::spawn(move || push(address, &ending)));
    }
    for _ in 0..CONNECTIONS {
        let (stream, _) = listener.accept().map_err(failed())?;
        let received = Arc::clone(&received);
        threads.push(thread::spawn(move || drain(stream, &received)));
    }
    stop::pause(WARM_UP)?;
    let began = (Instant::now(), received.load(Ordering::Relaxed));
    let paused = stop::pause(WINDOW);
    let bytes = received.load(Ordering::Relaxed) - began.1;
    let mb_s = bytes as f64 / began.0.elapsed().as_secs_f64() / 1e6;
    ending.store(true, Ordering::Relaxed);
    // Closes every connection, which ends the threads that still wait for one.
    drop(proxy);
    for thread in threads {
        if thread.join().is_err() {
            eprintln!("bench: a thread of the probe panicked");
        }
    }
    paused?;
    let round_trip_ms = u64::try_from(one_way.as_millis()).unwrap_or_default() * 2;
    Ok(Probe { round_trip_ms, tcp_window_kib, connections: CONNECTIONS, mb_s })
}

/// Bytes of so many KiB.
pub fn bytes(kib: u64) -> usize {
    usize::try_from(kib << 10).unwrap_or_default()
}

fn push(address: SocketAddr, ending: &AtomicBool) {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return;
    };
    let chunk = vec![0; CHUNK];
    while !ending.load(Ordering::Relaxed) && stream.write_all(&chunk).is_ok() {}
}

fn drain(mut stream: TcpStream, received: &AtomicU64) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(read) = stream.read(&mut buffer) {
        if read == 0 {
            return;
        }
        received.fetch_add(read as u64, Ordering::Relaxed);
    }
}
