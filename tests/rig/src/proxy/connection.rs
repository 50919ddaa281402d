use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::pump::{self, Limits, Pump};
use super::strike;
use super::{Counters, TO_BROKER, TO_CLIENT, Toxics};

/// Counts an open connection for as long as it lives.
struct Open<'a>(&'a Counters);

impl<'a> Open<'a> {
    fn new(counters: &'a Counters) -> Self {
        counters.open.fetch_add(1, Ordering::Relaxed);
        Self(counters)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How a connection ended.
enum End {
    /// By itself, by a closed control channel, by `cut`, or torn by a black hole.
    Close,
    /// By `reset`.
    Reset,
}

/// Serves one connection until it ends.
pub(super) async fn run(
    mut client: TcpStream,
    upstream: SocketAddr,
    toxics: watch::Receiver<Toxics>,
    counters: Arc<Counters>,
    limits: Arc<Limits>,
) {
    let _open = Open::new(&counters);
    let born = toxics.borrow().ended;
    let window = toxics.borrow().window;
    if narrow(&client, window[TO_BROKER]).is_err() {
        return;
    }
    if toxics.borrow().black_hole {
        let end = tokio::select! {
            end = ended(toxics.clone(), born) => end,
            () = swallow(&mut client, toxics.clone()) => End::Close,
        };
        finish(end, &[&client]);
        return;
    }
    let Ok(mut server) = TcpStream::connect(upstream).await else {
        // The broker is down: the client sees its connection closed.
        return;
    };
    let ready = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
    if ready.and_then(|()| narrow(&server, window[TO_CLIENT])).is_err() {
        return;
    }
    let struck = toxics.borrow().struck;
    if !struck.is_empty() {
        let end = tokio::select! {
            end = ended(toxics.clone(), born) => end,
            _ = strike::run(&mut client, &mut server, struck) => End::Close,
        };
        finish(end, &[&client, &server]);
        return;
    }
    let end = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let pump = |direction| Pump { direction, toxics: toxics.clone(), counters: &counters, limits: &limits };
        let there = pump::run(pump(TO_BROKER), from_client, to_server);
        let back = pump::run(pump(TO_CLIENT), from_server, to_client);
        tokio::select! {
            end = ended(toxics.clone(), born) => end,
            // Either side's error ends both; an orderly end of one side leaves the other running.
            _ = async { tokio::try_join!(there, back) } => End::Close,
        }
    };
    finish(end, &[&client, &server]);
}

/// Waits for the `cut`, `reset` or end of the proxy that this connection has to obey.
async fn ended(mut toxics: watch::Receiver<Toxics>, born: u64) -> End {
    loop {
        let now = *toxics.borrow_and_update();
        if now.ended > born {
            return if now.by_reset { End::Reset } else { End::Close };
        }
        if toxics.changed().await.is_err() {
            return End::Close;
        }
    }
}

/// Makes the receive buffer as small as the window: what the sender cannot send yet stays with it.
fn narrow(stream: &TcpStream, window: usize) -> io::Result<()> {
    if window == 0 {
        return Ok(());
    }
    socket2::SockRef::from(stream).set_recv_buffer_size(window)
}

/// Reads and forgets until the black hole is lifted, at most a window.
async fn swallow(client: &mut TcpStream, mut toxics: watch::Receiver<Toxics>) {
    let mut buffer = vec![0; 64 << 10];
    let mut taken = 0;
    loop {
        let window = toxics.borrow().window[TO_BROKER];
        let room = if window == 0 { buffer.len() } else { window.saturating_sub(taken).min(buffer.len()) };
        let free = buffer.get_mut(..room).unwrap_or_default();
        tokio::select! {
            read = client.read(free), if room > 0 => match read {
                Ok(0) | Err(_) => return,
                Ok(read) => taken += read,
            },
            changed = toxics.changed() => if changed.is_err() || !toxics.borrow_and_update().black_hole {
                return;
            },
        }
    }
}

fn finish(end: End, streams: &[&TcpStream]) {
    if matches!(end, End::Close) {
        return;
    }
    for stream in streams {
        // Closing with a linger of zero sends RST. A socket that is gone already needs none.
        let lingering: io::Result<()> = stream.set_zero_linger();
        drop(lingering);
    }
}
