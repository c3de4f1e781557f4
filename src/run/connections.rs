//! Connections: how many there are, how long each may keep the service waiting, and how they end.

use crate::http::PeerAddress;
use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tower::Service;

/// Open files that are left for everything that is no connection: storage, records, the model, logs.
const OTHER_FILES: u64 = 256;
/// How long a connection may take to bring the head of its next request. Longer than load balancers keep idle
/// connections, so that it is they who close them.
const HEAD_PATIENCE: Duration = Duration::from_secs(75);
/// How long a client may take to make room for more of an answer.
const READER_PATIENCE: Duration = Duration::from_mins(1);
/// Read at most at once, and so the longest head of a request, in bytes.
const MAX_BUFFER: usize = 128 * 1024;
/// Requests at one time on a connection that can carry several.
const MAX_STREAMS: u32 = 100;
/// The longest headers of a request on such a connection, in bytes.
const MAX_HEADERS: u32 = 64 * 1024;
/// How often a connection that can carry several requests is asked whether it still lives.
const PING: Duration = Duration::from_secs(30);
/// How long to wait when the system has no connection to give, for want of file descriptors.
const BREATH: Duration = Duration::from_secs(1);

/// How many connections can be open at one time: as many as are wanted, or fewer where the system allows this process
/// too few open files. What it may have is raised as far as the system lets it.
pub(super) fn places(wanted: usize) -> usize {
    let needed = wanted as u64 + OTHER_FILES;
    let allowed = allow_open_files(needed);
    let places = places_of(wanted, allowed);
    if places < wanted {
        tracing::warn!(
            wanted,
            allowed,
            places,
            "MAX_CONNECTIONS={wanted} needs {needed} open files and the system allows {allowed}, so {places} connections \
             are taken at one time; raise the limit (ulimit -n), or lower MAX_CONNECTIONS"
        );
    }
    places
}

fn places_of(wanted: usize, open_files: u64) -> usize {
    // Half of them where there are next to none, so that something is served in any case.
    let places = open_files.saturating_sub(OTHER_FILES).max(open_files / 2);
    usize::try_from(places).unwrap_or(usize::MAX).min(wanted)
}

/// Raises the number of files that this process may have open to what is needed, or as far as it may; returns it.
fn allow_open_files(needed: u64) -> u64 {
    let limits = getrlimit(Resource::Nofile);
    let current = limits.current.unwrap_or(u64::MAX);
    let raised = needed.min(limits.maximum.unwrap_or(u64::MAX));
    if raised <= current {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limits }) {
        Ok(()) => raised,
        Err(error) => {
            tracing::warn!(%error, "could not raise the number of open files");
            current
        }
    }
}

/// Accepts up to `places` connections at one time until `draining` is cancelled, then waits until the open ones have
/// answered what they were asked, or cuts them when `cut` is cancelled. Those that come beyond their number wait in
/// the system's queue. When it returns, nothing of any request is left.
pub(super) async fn serve(
    listener: TcpListener,
    app: Router,
    places: usize,
    draining: CancellationToken,
    cut: CancellationToken,
) {
    let builder = builder();
    let places = Arc::new(Semaphore::new(places));
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = draining.cancelled() => break,
            Some(_ended) = open.join_next() => {}
            (stream, peer, place) = accept(&listener, &places) => {
                let app = app.clone();
                open.spawn(converse(stream, peer, place, builder.clone(), app, draining.clone()));
            }
        }
    }
    drop(listener);
    let answered = async { while open.join_next().await.is_some() {} };
    if cut.run_until_cancelled(answered).await.is_none() {
        open.shutdown().await;
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE).max_buf_size(MAX_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS);
    builder
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, IpAddr, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed; were it, connections would come without their bound.
    let place = Arc::clone(places).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer.ip(), place),
            // The client took it back before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// Answers what comes over one connection.
async fn converse(
    stream: TcpStream,
    peer: IpAddr,
    _place: Option<OwnedSemaphorePermit>,
    builder: Builder<TokioExecutor>,
    app: Router,
    draining: CancellationToken,
) {
    // Small answers go out at once; an option that cannot be set costs speed and nothing else.
    drop(stream.set_nodelay(true));
    let asked = CancellationToken::new();
    let first = asked.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        first.cancel();
        request.extensions_mut().insert(PeerAddress(peer));
        app.clone().call(request)
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(Outgoing::new(stream)), service));
    // The builder's own patience begins only when it knows which HTTP is spoken.
    let silent = async {
        if tokio::time::timeout(HEAD_PATIENCE, asked.cancelled()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = silent => return,
        () = draining.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "a connection broke off");
    }
}

/// A stream whose writes fail when the other side makes no room for them for [`READER_PATIENCE`].
struct Outgoing {
    stream: TcpStream,
    /// When the write under way has waited too long, while one waits.
    too_long: Option<Pin<Box<Sleep>>>,
}

impl Outgoing {
    fn new(stream: TcpStream) -> Self {
        Self { stream, too_long: None }
    }

    fn poll_write_with<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let written = write(Pin::new(&mut self.stream), context);
        if written.is_ready() {
            self.too_long = None;
            return written;
        }
        let too_long = self
            .too_long
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + READER_PATIENCE)));
        too_long.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Outgoing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Outgoing {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(context, |stream, context| stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_with(context, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_with(context, AsyncWrite::poll_shutdown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_open_files_for_what_is_none() {
        assert_eq!(places_of(4096, u64::MAX), 4096);
        assert_eq!(places_of(4096, 4096 + OTHER_FILES), 4096);
        assert_eq!(places_of(4096, 4095 + OTHER_FILES), 4095);
        assert_eq!(places_of(4096, 1024), 768);
        assert_eq!(places_of(4096, 20), 10);
    }

    #[test]
    fn no_more_open_files_are_allowed_than_the_system_lets_this_process_have() {
        let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);

        assert_eq!(allow_open_files(u64::MAX), most);
        assert_eq!(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), most);
    }
}
