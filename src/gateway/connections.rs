//! Connections before they are sessions: so many at once, and none has longer than it needs to ask.
//!
//! Whoever connects and says nothing, or says it a byte at a time, costs a file and some memory until its
//! time is over. A socket that was opened is no longer one of these; its session has limits of its own.

use axum::{
    Router,
    extract::ConnectInfo,
    http::Request,
    serve::{Listener, ListenerExt},
};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

/// Longest head of a request, in bytes: a token of four KiB, and what proxies add.
const HEAD_BYTES_MAX: usize = 16 * 1_024;

/// Most connections that wait in the kernel to be let in, if it allows as many. One more is not refused: its
/// client's kernel asks again after a second.
const BACKLOG: u32 = 4_096;

/// Lets the kernel take connections in.
pub(crate) fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Whoever was here a moment ago is in nobody's way.
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed {
    /// How many of them there may be; one more is closed at once.
    pub(crate) n_max: usize,
    /// How long one may be without the whole head of a request, its first or its next.
    pub(crate) head_within: Duration,
}

/// Serves whoever connects, until `close`; then answers what was asked, and returns.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    allowed: Allowed,
    close: CancellationToken,
) {
    // Frames are small, and none should wait for the next one.
    let mut listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            warn!(%error, "a connection may be slow");
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(allowed.head_within)
        .max_header_size(HEAD_BYTES_MAX);
    let (seats, open) = (Arc::new(Semaphore::new(allowed.n_max)), TaskTracker::new());
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = close.cancelled() => break,
        };
        // To wait for a seat would make everybody wait for those who only sit there.
        let Ok(seat) = Arc::clone(&seats).try_acquire_owned() else {
            metrics::counter!("outrider_connections_refused_total").increment(1);
            continue;
        };
        drop(open.spawn(talk(stream, peer, router.clone(), http.clone(), seat, close.clone())));
        // One newcomer, and then everybody who is here already: when thousands come at once, they wait in the
        // kernel, where they cost nothing, and not in front of those who are served.
        tokio::task::yield_now().await;
    }
    drop(listener);
    open.close();
    open.wait().await;
}

/// Answers one connection's requests until it ends or becomes a socket.
async fn talk(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    http: http1::Builder,
    _seat: OwnedSemaphorePermit,
    close: CancellationToken,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.call(request)
    });
    let mut talk = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let ended = tokio::select! {
        ended = talk.as_mut() => ended,
        () = close.cancelled() => {
            talk.as_mut().graceful_shutdown();
            talk.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection ended");
    }
}
