//! The admin API of a running process: status, metrics, probes, reloads. Versioned, on this machine
//! only.
//!
//! [`status`] and [`metrics`] are views of the [board](crate::board), `reload` controls the
//! plugins, `partitions` asks the lanes, `routes` names them all. `guard` refuses requests of web
//! pages, [`server`] bounds what a client may use, and the commands ask through [`client`].

mod answer;
pub mod client;
pub mod coordinator;
pub mod groups;
mod guard;
pub mod lag;
mod metrics;
mod partitions;
pub mod plugins;
mod reload;
mod routes;
pub mod server;
pub mod status;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use strait_core::config::{Admin, AdminListen};
use tokio::net::TcpListener;

use server::Server;

use crate::board::Board;

/// Why the admin API cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The configured address cannot be listened on.
    #[error(
        "the admin API cannot listen on {address}: {error}; set another [admin] listen, port 0 for any that is free, or \"off\""
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        error: std::io::Error,
    },
    /// The setting is wrong. Validation refuses it earlier.
    #[error("[admin] listen: {0}")]
    Setting(&'static str),
}

/// Starts to listen.
///
/// Returns `None` where the configuration says `off`, and where the default port cannot be used:
/// another process on this machine has it, which is no reason not to copy records.
///
/// # Errors
/// [`AdminError::Listen`] when an address that the configuration names is not available.
pub async fn bind(admin: &Admin, board: Arc<Board>) -> Result<Option<Server>, AdminError> {
    let (address, explicit) = match admin.listen().map_err(AdminError::Setting)? {
        AdminListen::Off => return Ok(None),
        AdminListen::Default(address) => (address, false),
        AdminListen::Explicit(address) => (address, true),
    };
    match TcpListener::bind(address).await {
        Ok(listener) => {
            let bound = listener.local_addr().unwrap_or(address);
            tracing::info!(address = %bound, "admin API listens");
            Ok(Some(Server::new(listener, routes::router(board))))
        }
        Err(error) if explicit => Err(AdminError::Listen { address, error }),
        Err(error) => {
            tracing::warn!(
                %address,
                %error,
                "no admin API: the default port cannot be used, so this process has no status, metrics and probes; give each process an [admin] listen of its own, or \"off\""
            );
            Ok(None)
        }
    }
}
