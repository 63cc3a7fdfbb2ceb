//! Takes connections: TCP in the clear, TLS, and a Unix socket.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::acl::Actor;
use crate::connection::{self, Stream};
use crate::error::ServeError;
use crate::shared::Shared;
use crate::tls;

/// The first byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;
/// How long a peer that is turned away may take to read why.
const LAST_WORD_MS: u64 = 200;
/// How long to wait when the system gives no more connections.
const ACCEPT_PAUSE_MS: u64 = 50;

/// One place to take connections from.
pub(crate) enum Listener {
    /// TCP in the clear.
    Plain(TcpListener),
    /// TCP with TLS.
    Tls(TcpListener, TlsAcceptor),
    /// A Unix socket; its file is removed at the end.
    Unix(UnixListener, PathBuf),
}

/// Listens on a TCP address.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ServeError::InUse(address.to_string()),
        _ => ServeError::Listen { address: address.to_string(), source },
    })
}

/// Listens on a Unix socket that its owner and group may use; a file that nobody listens on is replaced.
pub(crate) fn bind_unix(path: &Path) -> Result<Listener, ServeError> {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    let failed = |source: io::Error| ServeError::Listen { address: path.display().to_string(), source };
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(failed(io::Error::other("there is a file of that name that is no socket")));
        }
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(ServeError::InUse(path.display().to_string())),
            Err(_) => std::fs::remove_file(path).map_err(failed)?,
        }
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
    Ok(Listener::Unix(listener, path.to_path_buf()))
}

/// Takes connections until the server stops.
pub(crate) async fn accept(shared: Arc<Shared>, listener: Listener) {
    let mut stopping = shared.stopping.clone();
    loop {
        let taken = tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => break,
            taken = take(&shared, &listener) => taken,
        };
        if let Err(error) = taken {
            // Out of file descriptors, most likely: connections that end give some back.
            tracing::warn!(kind = %error.kind(), "a connection could not be taken");
            sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
        }
    }
    if let Listener::Unix(_, path) = &listener {
        let _ = std::fs::remove_file(path);
    }
}

async fn take(shared: &Arc<Shared>, listener: &Listener) -> io::Result<()> {
    match listener {
        Listener::Plain(listener) => {
            let (stream, peer) = listener.accept().await?;
            let _ = stream.set_nodelay(true);
            let local = stream.local_addr().ok();
            let address = peer.to_string();
            tokio::spawn(enter(shared.clone(), address, local, async move { Some((boxed(stream), Vec::new())) }));
        }
        Listener::Tls(listener, acceptor) => {
            let (stream, peer) = listener.accept().await?;
            let _ = stream.set_nodelay(true);
            let local = stream.local_addr().ok();
            let acceptor = acceptor.clone();
            let handshake = async move { shake_hands(stream, acceptor).await };
            tokio::spawn(enter(shared.clone(), peer.to_string(), local, handshake));
        }
        Listener::Unix(listener, path) => {
            let (stream, _) = listener.accept().await?;
            let address = format!("{}:0", path.display());
            tokio::spawn(enter(shared.clone(), address, None, async move { Some((boxed(stream), Vec::new())) }));
        }
    }
    Ok(())
}

fn boxed(stream: impl Stream + 'static) -> Box<dyn Stream> {
    Box::new(stream)
}

/// Counts the connection, shakes hands, and serves it.
async fn enter(
    shared: Arc<Shared>,
    address: String,
    local: Option<SocketAddr>,
    handshake: impl Future<Output = Option<(Box<dyn Stream>, Vec<String>)>>,
) {
    shared.stats.connections.fetch_add(1, Relaxed);
    let local_text = local.map_or_else(|| address.clone(), |local| local.to_string());
    let Some(client) = shared.clients.enter(address.into(), local_text.into(), shared.config.limits.connections) else {
        shared.stats.rejected.fetch_add(1, Relaxed);
        // Only where nothing has to be shaken first: a TLS peer would not understand it.
        if let Ok(Some((mut stream, _))) = timeout(Duration::from_millis(ACCEPT_PAUSE_MS), handshake).await {
            say_and_close(&mut stream, b"-ERR max number of clients reached\r\n").await;
        }
        return;
    };
    let leave = Leave { shared: shared.clone(), id: client.id };
    match timeout(shared.config.limits.handshake(), handshake).await {
        Ok(Some((stream, names))) => {
            let certified = certified(&shared, &names);
            connection::serve(shared.clone(), client, stream, local, certified).await;
        }
        _ => {
            shared.stats.rejected.fetch_add(1, Relaxed);
        }
    }
    drop(leave);
}

/// Forgets the connection however it ends.
struct Leave {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.shared.clients.leave(self.id);
    }
}

/// The access-control user that one of the certificate's names is.
fn certified(shared: &Shared, names: &[String]) -> Option<Arc<Actor>> {
    names.iter().find_map(|name| shared.acl.user(name)).filter(|actor| actor.is_enabled())
}

/// The TLS handshake; a peer that speaks RESP is told so, once.
async fn shake_hands(mut stream: TcpStream, acceptor: TlsAcceptor) -> Option<(Box<dyn Stream>, Vec<String>)> {
    let mut first = [0u8; 1];
    if stream.peek(&mut first).await.ok()? == 0 {
        return None;
    }
    if first[0] != TLS_HANDSHAKE {
        say_and_close(&mut stream, b"-ERR Protocol error: this port speaks TLS\r\n").await;
        return None;
    }
    let stream = acceptor.accept(stream).await.ok()?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let names = certificates.first().map(|certificate| tls::names(certificate)).unwrap_or_default();
    Some((boxed(stream), names))
}

/// Turns a peer away with one line.
async fn say_and_close(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), line: &[u8]) {
    use tokio::io::AsyncReadExt;
    // Read what was sent, so that the system does not discard the line with it.
    let mut sink = [0u8; 1024];
    let exchange = async {
        stream.write_all(line).await?;
        stream.shutdown().await?;
        while stream.read(&mut sink).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _ = timeout(Duration::from_millis(LAST_WORD_MS), exchange).await;
}
