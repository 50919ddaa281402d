//! A TCP proxy whose misbehaviour can be changed while connections run through it.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::ClusterError;
use crate::ports::{HeldPort, loopback};

mod connection;
mod flight;
mod pump;
mod queue;
mod strike;

/// The faults that apply to the traffic now.
#[derive(Debug, Clone, Copy, Default)]
struct Toxics {
    refuse: bool,
    black_hole: bool,
    freeze: bool,
    /// One way, to the broker and back.
    delay: [Duration; 2],
    /// Bytes per second over all connections, to the broker and back; 0 is unlimited.
    throttle: [u64; 2],
    /// Bandwidth under a delay, bytes per second and connection.
    bandwidth: u64,
    /// Unacknowledged bytes of one connection, to the broker and back; 0 is unlimited.
    window: [usize; 2],
    /// Requests that clients must not see.
    struck: strike::Struck,
    /// A connection ends at a request with this API key.
    cut_at: Option<i16>,
    /// Counts the calls of `cut` and `reset`: a connection older than the last one ends.
    ended: u64,
    /// Whether the last of these calls asked for a reset.
    by_reset: bool,
}

/// Index of the direction towards the broker in the arrays above.
const TO_BROKER: usize = 0;
/// Index of the direction back to the client.
const TO_CLIENT: usize = 1;

const BANDWIDTH_DEFAULT: u64 = 400_000_000;

/// Counters of a proxy.
#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicU64,
    open: AtomicU64,
    bytes: [AtomicU64; 2],
}

/// A TCP proxy in front of one broker, on a thread of its own. Dropping it closes every connection.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    toxics: Option<watch::Sender<Toxics>>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on `listen` and forwards each connection to `upstream`.
    ///
    /// # Errors
    /// [`ClusterError::Io`] if the thread, its runtime or the listener cannot be set up.
    pub fn start(listen: HeldPort, upstream: SocketAddr) -> Result<Self, ClusterError> {
        let port = listen.port();
        let failed = || ClusterError::io(format!("starting the proxy on port {port}"));
        let listener = listen.into_listener();
        listener.set_nonblocking(true).map_err(failed())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed())?;
        let (sender, toxics) = watch::channel(Toxics { bandwidth: BANDWIDTH_DEFAULT, ..Toxics::default() });
        let counters = Arc::new(Counters::default());
        let shared = Arc::clone(&counters);
        let thread = thread::Builder::new()
            .name(format!("proxy-{port}"))
            .spawn(move || runtime.block_on(serve(listener, port, upstream, toxics, shared)))
            .map_err(failed())?;
        Ok(Self { port, toxics: Some(sender), counters, thread: Some(thread) })
    }

    /// The port clients connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        loopback(self.port)
    }

    /// Closes every connection. What was on its way is lost; new connections are served.
    pub fn cut(&self) {
        self.change(|toxics| {
            toxics.ended += 1;
            toxics.by_reset = false;
        });
    }

    /// Closes each connection at a request with this API key, such as 17 for the SASL handshake.
    /// For requests of a client that waits for each answer, as in a handshake.
    pub fn cut_at(&self, api_key: Option<i16>) {
        self.change(|toxics| toxics.cut_at = api_key);
    }

    /// Ends every connection with a TCP reset. New connections are served.
    pub fn reset(&self) {
        self.change(|toxics| {
            toxics.ended += 1;
            toxics.by_reset = true;
        });
    }

    /// Closes the listening socket, so that new connections are refused, or opens it again.
    /// Existing connections go on: [`Proxy::cut`] them for a complete outage.
    pub fn refuse(&self, on: bool) {
        self.change(|toxics| toxics.refuse = on);
    }

    /// Takes everything and passes on nothing, on old and new connections. When it ends, the
    /// connections that lost bytes are closed: their stream is torn.
    pub fn black_hole(&self, on: bool) {
        self.change(|toxics| toxics.black_hole = on);
    }

    /// Holds everything back, on old and new connections, and delivers all of it when it ends: a
    /// network that recovers before TCP gives up.
    pub fn freeze(&self, on: bool) {
        self.change(|toxics| toxics.freeze = on);
    }

    /// Delays each direction by `one_way` (the round trip grows by twice that) without limiting
    /// bandwidth below [`Proxy::bandwidth_under_delay`].
    pub fn delay(&self, one_way: Duration) {
        self.delay_each(one_way, one_way);
    }

    /// Delays the two directions by different times.
    pub fn delay_each(&self, to_broker: Duration, to_client: Duration) {
        self.change(|toxics| toxics.delay = [to_broker, to_client]);
    }

    /// Bytes per second that one connection gets through under a delay; sizes the queue that holds
    /// the bytes in flight (400 MB/s if not set, so 16 MB at 40 ms).
    pub fn bandwidth_under_delay(&self, bytes_per_s: u64) {
        self.change(|toxics| toxics.bandwidth = bytes_per_s);
    }

    /// Limits each direction, over all connections together; 0 lifts the limit.
    pub fn throttle(&self, bytes_per_s: u64) {
        self.change(|toxics| toxics.throttle = [bytes_per_s; 2]);
    }

    /// Limits the unacknowledged bytes of each connection and direction, as the socket buffers of a
    /// real sender and receiver do: over a round trip of `r` a connection moves at most `bytes /
    /// r`. Under a black hole a sender gets rid of one window. 0 lifts the limit. Connections that
    /// are open when it is set keep the large buffers of their sockets, so what they have sent may
    /// wait there.
    pub fn window(&self, bytes: usize) {
        self.change(|toxics| toxics.window = [bytes; 2]);
    }

    /// Strikes API keys out of the broker's ApiVersions answers, on connections made from now on:
    /// 22 and 24 to 28 for a cluster without transactions. Such connections are plaintext, and
    /// neither delayed nor limited.
    pub fn strike(&self, api_keys: &[i16]) {
        self.change(|toxics| toxics.struck = strike::Struck::new(api_keys));
    }

    /// Ends every fault, delay and limit. Connections go on, except those a black hole has torn.
    pub fn heal(&self) {
        self.change(|toxics| {
            *toxics = Toxics {
                bandwidth: toxics.bandwidth,
                ended: toxics.ended,
                by_reset: toxics.by_reset,
                ..Toxics::default()
            };
        });
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.counters.accepted.load(Ordering::Relaxed)
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.counters.open.load(Ordering::Relaxed)
    }

    /// Bytes passed on so far, to the broker and to clients.
    #[must_use]
    pub fn bytes(&self) -> [u64; 2] {
        [TO_BROKER, TO_CLIENT]
            .map(|direction| self.counters.bytes.get(direction).map_or(0, |bytes| bytes.load(Ordering::Relaxed)))
    }

    fn change(&self, change: impl FnOnce(&mut Toxics)) {
        if let Some(toxics) = &self.toxics {
            toxics.send_modify(change);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The closed channel is the signal to end.
        self.toxics = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("test cluster: the thread of proxy {} panicked", self.port);
        }
    }
}

/// Accepts until the control channel closes. Returning drops the connections' tasks with the set.
async fn serve(
    listener: StdListener,
    port: u16,
    upstream: SocketAddr,
    mut toxics: watch::Receiver<Toxics>,
    counters: Arc<Counters>,
) {
    let limits = Arc::new(pump::Limits::default());
    let mut connections = JoinSet::new();
    let mut listener = match TcpListener::from_std(listener) {
        Ok(listener) => Some(listener),
        Err(error) => {
            eprintln!("test cluster: proxy {port}: {error}");
            None
        }
    };
    loop {
        if toxics.borrow_and_update().refuse {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(loopback(port)).await.ok();
        }
        tokio::select! {
            changed = toxics.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            accepted = accept(listener.as_ref()) => {
                let Ok(client) = accepted else {
                    // Out of descriptors, most likely: let some connection end first.
                    sleep(Duration::from_millis(20)).await;
                    continue;
                };
                counters.accepted.fetch_add(1, Ordering::Relaxed);
                let connection = connection::run(
                    client, upstream, toxics.clone(), Arc::clone(&counters), Arc::clone(&limits));
                connections.spawn(connection);
            }
            Some(_) = connections.join_next() => {}
            // A port that could not be bound again at once is retried.
            () = sleep(Duration::from_millis(50)), if listener.is_none() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> std::io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(client, _)| client),
        None => std::future::pending().await,
    }
}
