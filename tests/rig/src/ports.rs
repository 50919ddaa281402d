use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use rand::RngExt as _;

use crate::ClusterError;

// Below Linux's ephemeral range (32768 and up): a client's outgoing connection can then never sit
// on the port of a broker that is down for a moment.
const FIRST: u16 = 20_000;
const LAST: u16 = 32_700;
const ATTEMPTS_MAX: usize = 2_000;

/// A TCP port of the loopback address, held by a bound listener until [`HeldPort::release`].
#[derive(Debug)]
pub struct HeldPort {
    port: u16,
    listener: TcpListener,
}

impl HeldPort {
    /// Takes a free port.
    ///
    /// # Errors
    /// [`ClusterError::NoPort`] if none was found.
    pub fn take() -> Result<Self, ClusterError> {
        let mut rng = rand::rng();
        for _ in 0..ATTEMPTS_MAX {
            let port = rng.random_range(FIRST..=LAST);
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                return Ok(Self { port, listener });
            }
        }
        Err(ClusterError::NoPort { first: FIRST, last: LAST })
    }

    /// The port's number.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Frees the port for a process that is about to bind it.
    pub fn release(self) -> u16 {
        self.port
    }

    /// Hands over the bound listener.
    #[must_use]
    pub fn into_listener(self) -> TcpListener {
        self.listener
    }
}

/// The loopback address with this port.
pub(crate) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
