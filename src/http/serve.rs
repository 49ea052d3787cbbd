//! The listener: TLS, HTTP/1.1, limits of time and number, and a stop that lets requests finish.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, http::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use super::{
    guests::Guests,
    patience::{Patience, Patient},
};

/// How long a client may take for its TLS handshake, or for the head of a request.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// More of a head than this is not even read. From 16 KiB on it is refused with a problem.
const HEAD_BYTES: usize = 64 * 1024;

/// The address at the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// How connections are served.
pub struct Serve {
    /// The routes.
    pub router: Router,
    /// TLS, unless a proxy does it.
    pub tls: Option<TlsAcceptor>,
    /// Open connections at most.
    pub max_connections: usize,
    /// How many of them one address may have.
    pub guests: Guests,
    /// Cancelled when the stop begins.
    pub draining: CancellationToken,
}

impl Serve {
    /// Accepts connections until the stop begins; then waits until every request is answered, at most `drain`.
    pub async fn run(self, listener: TcpListener, drain: Duration) {
        let places = Arc::new(Semaphore::new(self.max_connections));
        let tasks = TaskTracker::new();
        let me = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                () = me.draining.cancelled() => break,
                accepted = next(&listener, &places) => accepted,
            };
            match accepted {
                Ok((stream, peer, place)) => {
                    // Whoever has too many already is not even answered: there is nothing to tell before TLS.
                    let Some(guest) = me.guests.enter(peer.ip()) else { continue };
                    let me = Arc::clone(&me);
                    tasks.spawn(async move {
                        me.connection(stream, Peer(peer)).await;
                        drop((place, guest));
                    });
                }
                Err(error) => wait_after(&error).await,
            }
        }
        drop(listener);
        tasks.close();
        if tokio::time::timeout(drain, tasks.wait()).await.is_err() {
            tracing::warn!(open = tasks.len(), "connections were still open when the time to stop was over");
        }
    }

    async fn connection(&self, stream: TcpStream, peer: Peer) {
        // Frames are small and wanted at once.
        let _ = stream.set_nodelay(true);
        let patience = Patience::ordinary();
        let stream = Patient::new(stream, patience.clone());
        match &self.tls {
            None => self.requests(stream, (peer, patience)).await,
            Some(tls) => {
                if let Ok(Ok(stream)) = tokio::time::timeout(HEAD_TIME, tls.accept(stream)).await {
                    self.requests(stream, (peer, patience)).await;
                }
            }
        }
    }

    async fn requests<S>(&self, stream: S, (peer, patience): (Peer, Patience))
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let service = service_fn(move |mut request: Request<Incoming>| {
            patience.reset();
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(patience.clone());
            self.router.clone().oneshot(request.map(Body::new))
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        // A broken connection is the client's affair and is not logged.
        tokio::select! {
            _ = connection.as_mut() => return,
            () = self.draining.cancelled() => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

/// The next connection, as soon as there is a place for it.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

/// Out of file descriptors, or a connection that broke while it was accepted: wait, so as not to spin.
async fn wait_after(error: &io::Error) {
    tracing::warn!(cause = %error, "a connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(50)).await;
}
