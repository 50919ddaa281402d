//! Serves a router over HTTP/1.1 and bounds what a client can use: connections, header bytes, time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Most connections at one time. Others wait in the system's queue.
const CONNECTIONS_MAX: usize = 32;
/// Largest request line and headers, in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How long a client may take to send the headers.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may take in all. A reload compiles plugins.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(180);
/// How long open requests may take after a stop.
const DRAIN: Duration = Duration::from_secs(2);
/// Pause after the system refuses a connection, for example for lack of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// A server that already listens.
pub struct Server {
    listener: TcpListener,
    router: Router,
}

impl Server {
    /// Creates a server of `router` on `listener`.
    #[must_use]
    pub fn new(listener: TcpListener, router: Router) -> Self {
        Self { listener, router }
    }

    /// Serves until `stop`, then waits a moment for open requests.
    pub async fn run(self, stop: CancellationToken) {
        let Self { listener, router } = self;
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! { biased;
                () = stop.cancelled() => break,
                accepted = accept(&listener, &room) => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let Some((stream, permit)) = accepted else {
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            };
            let (router, stop) = (router.clone(), stop.clone());
            connections.spawn(async move {
                serve(stream, router, stop).await;
                drop(permit);
            });
        }
        let finish = async { while connections.join_next().await.is_some() {} };
        // Dropping the set ends the rest.
        drop(tokio::time::timeout(DRAIN, finish).await);
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    // The semaphore is never closed. The permit is dropped if the accept is cancelled.
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            tracing::warn!(%error, "the admin API cannot take a connection");
            None
        }
    }
}

/// Serves one request per connection, as idle connections would only use up permits.
async fn serve(stream: TcpStream, router: Router, stop: CancellationToken) {
    let service = service_fn(move |request| respond(router.clone(), request));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX).keep_alive(false);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let served = async {
        tokio::select! {
            served = connection.as_mut() => served,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    match tokio::time::timeout(CONNECTION_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin API client closed the connection"),
        Err(_) => tracing::debug!("an admin API client was too slow"),
    }
}

async fn respond(router: Router, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    router.oneshot(request.map(Body::new)).await
}
