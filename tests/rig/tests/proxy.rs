//! Every toxic of the proxy, against an echo server.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper that fails ends its test")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use strait_test_cluster::{HeldPort, Proxy};

/// Echoes every connection, until the process ends.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let (mut reader, mut writer) = (stream.try_clone().unwrap(), stream);
                let copied = std::io::copy(&mut reader, &mut writer);
                // A connection that a test broke on purpose ends with an error here.
                copied.is_ok().then(|| writer.shutdown(Shutdown::Write))
            });
        }
    });
    address
}

fn proxy_to(upstream: SocketAddr) -> Proxy {
    Proxy::start(HeldPort::take().unwrap(), upstream).unwrap()
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn round_trip(stream: &mut TcpStream) -> std::io::Result<Duration> {
    let began = Instant::now();
    stream.write_all(b"ping")?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    assert_eq!(&answer, b"ping");
    Ok(began.elapsed())
}

/// Reports whether nothing arrives for a while.
fn silent(stream: &mut TcpStream, wait: Duration) -> bool {
    stream.set_read_timeout(Some(wait)).unwrap();
    let read = stream.read(&mut [0; 4]);
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    matches!(read, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(10), "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn connections_are_cut_reset_and_refused() {
    let proxy = proxy_to(echo());
    let mut stream = connect(&proxy);
    round_trip(&mut stream).unwrap();
    // Counted after the bytes are on their way.
    wait_until("counted", || (proxy.open(), proxy.bytes()) == (1, [4, 4]));

    proxy.cut();
    assert_eq!(stream.read(&mut [0; 4]).unwrap(), 0, "an orderly end");
    let mut stream = connect(&proxy);
    round_trip(&mut stream).unwrap();

    proxy.reset();
    assert_eq!(stream.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mut stream = connect(&proxy);
    round_trip(&mut stream).unwrap();

    proxy.refuse(true);
    wait_until(
        "refused",
        || matches!(TcpStream::connect(proxy.address()), Err(error) if error.kind() == ErrorKind::ConnectionRefused),
    );
    round_trip(&mut stream).unwrap();
    proxy.refuse(false);
    wait_until("accepted again", || TcpStream::connect(proxy.address()).is_ok());

    // The half-closed connection still delivers what is on its way.
    stream.write_all(b"last").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"last");
    wait_until("every connection is over", || proxy.open() == 0);
}

#[test]
fn a_black_hole_tears_and_a_freeze_does_not() {
    let proxy = proxy_to(echo());
    let mut stream = connect(&proxy);
    round_trip(&mut stream).unwrap();

    proxy.black_hole(true);
    let mut newcomer = connect(&proxy);
    stream.write_all(b"lost").unwrap();
    newcomer.write_all(b"lost").unwrap();
    assert!(silent(&mut stream, Duration::from_millis(200)));
    assert!(silent(&mut newcomer, Duration::from_millis(200)));
    proxy.black_hole(false);
    assert!(matches!(stream.read(&mut [0; 4]), Ok(0) | Err(_)), "torn connections end");
    assert!(matches!(newcomer.read(&mut [0; 4]), Ok(0) | Err(_)), "torn connections end");

    let mut stream = connect(&proxy);
    round_trip(&mut stream).unwrap();
    proxy.freeze(true);
    stream.write_all(b"ping").unwrap();
    assert!(silent(&mut stream, Duration::from_millis(200)));
    proxy.freeze(false);
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
}

#[test]
fn delay_adds_to_the_round_trip_and_goes_away() {
    let proxy = proxy_to(echo());
    let mut stream = connect(&proxy);
    let plain = round_trip(&mut stream).unwrap();
    proxy.delay(Duration::from_millis(40));
    let delayed = (0..3).map(|_| round_trip(&mut stream).unwrap()).min().unwrap();
    assert!(delayed >= Duration::from_millis(80), "{delayed:?}");
    assert!(delayed < Duration::from_millis(160), "{delayed:?}");
    proxy.heal();
    let healed = (0..3).map(|_| round_trip(&mut stream).unwrap()).min().unwrap();
    assert!(healed < Duration::from_millis(40), "{plain:?} before, {healed:?} after");
}

#[test]
fn throttle_limits_all_connections_together() {
    let proxy = proxy_to(sink());
    proxy.throttle(2_000_000);
    let began = Instant::now();
    let senders = [(); 2].map(|()| {
        let mut stream = connect(&proxy);
        thread::spawn(move || send(&mut stream, 1_000_000))
    });
    for sender in senders {
        sender.join().unwrap();
    }
    let elapsed = began.elapsed();
    assert!(elapsed > Duration::from_millis(900), "{elapsed:?}");
    assert!(elapsed < Duration::from_millis(2_500), "{elapsed:?}");
}

/// Reads every connection to its end, then answers one byte.
fn sink() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut buffer = vec![0; 1 << 20];
                while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
                stream.write_all(b"!")
            });
        }
    });
    address
}

fn send(stream: &mut TcpStream, bytes: usize) {
    let block = vec![7; 256 << 10];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(block.len());
        stream.write_all(&block[..part]).unwrap();
        left -= part;
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = [0; 1];
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.read_exact(&mut answer).unwrap();
}

/// MB/s of one connection through a proxy with this delay.
fn rate(delay: Duration, bytes: usize) -> f64 {
    let proxy = proxy_to(sink());
    proxy.delay(delay);
    let mut stream = connect(&proxy);
    let began = Instant::now();
    send(&mut stream, bytes);
    let net = began.elapsed().saturating_sub(delay * 2);
    bytes as f64 / 1e6 / net.as_secs_f64()
}

#[test]
fn a_delay_does_not_limit_bandwidth() {
    let plain = rate(Duration::ZERO, 1 << 30);
    let delayed = rate(Duration::from_millis(40), 1 << 30);
    println!("proxy: {plain:.0} MB/s without delay, {delayed:.0} MB/s over 80 ms");
    // A queue bounded by a fixed size instead of bandwidth x delay (1 MiB, say) would give 26 MB/s
    // here. The bounds leave room for a busy machine.
    assert!(plain > 200.0, "{plain} MB/s");
    assert!(delayed > 100.0, "{delayed} MB/s");
}

const WINDOW: usize = 100 << 10;
const ONE_WAY: Duration = Duration::from_millis(40);

#[test]
fn a_window_limits_each_connection_and_direction_to_its_bytes_per_round_trip() {
    let proxy = proxy_to(echo());
    proxy.delay(ONE_WAY);
    proxy.window(WINDOW);
    let most = WINDOW as f64 / (2.0 * ONE_WAY.as_secs_f64()) / 1e6;
    let began = Instant::now();
    // Each sends and receives this much at the same time.
    let bytes = 2_500_000;
    let connections = [(); 2].map(|()| {
        let mut stream = connect(&proxy);
        let mut reader = stream.try_clone().unwrap();
        let back = thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()).unwrap());
        thread::spawn(move || {
            stream.write_all(&vec![7; bytes]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(back.join().unwrap(), bytes as u64);
        })
    });
    for connection in connections {
        connection.join().unwrap();
    }
    let found = bytes as f64 / 1e6 / began.elapsed().as_secs_f64();
    println!("proxy: {found:.2} MB/s a connection with a window of 100 KiB over 80 ms, at most {most:.2}");
    assert!(found <= most * 1.1 && found > most * 0.6, "{found} MB/s of {most}");

    // The window goes away as well.
    proxy.heal();
    let mut stream = connect(&proxy);
    round_trip(&mut stream).unwrap();
    assert!(round_trip(&mut stream).unwrap() < ONE_WAY);
}

/// Returns how many bytes a sender can send until its socket takes no more for a while.
fn swallowed(proxy: &Proxy, stream: &mut TcpStream, most: usize) -> usize {
    socket2::SockRef::from(&*stream).set_send_buffer_size(32 << 10).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    proxy.black_hole(true);
    let block = vec![7; 32 << 10];
    let mut sent = 0;
    while sent < most {
        match stream.write(&block) {
            Ok(written) => sent += written,
            Err(_) => break,
        }
    }
    sent
}

#[test]
fn a_black_hole_takes_no_more_than_a_window() {
    const MOST: usize = 8 << 20;
    let proxy = proxy_to(echo());
    assert!(swallowed(&proxy, &mut connect(&proxy), MOST) >= MOST, "without a window it takes everything");
    proxy.heal();
    proxy.window(WINDOW);
    let mut old = connect(&proxy);
    round_trip(&mut old).unwrap();
    // Beside the window, the buffers of both sockets hold some.
    let sent = swallowed(&proxy, &mut old, MOST);
    assert!(sent < 1 << 20, "{sent} bytes");
    let sent = swallowed(&proxy, &mut connect(&proxy), MOST);
    assert!(sent < 1 << 20, "{sent} bytes from a connection made within the black hole");
}
