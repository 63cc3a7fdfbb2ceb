//! Starts a server, and stops it.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stoa_engine::Store;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::{interval, sleep};

use crate::acl::{Acl, Actor, DEV_USER};
use crate::audit::Audit;
use crate::config::ServerConfig;
use crate::connection::{Budget, Clients};
use crate::error::ServeError;
use crate::hashing::Hashing;
use crate::health;
use crate::listener::{self, Listener};
use crate::names::NameLists;
use crate::shared::Shared;
use crate::stats::Stats;
use crate::tls;

/// How often the audit log is written when something was added.
const AUDIT_SAVE_MS: u64 = 5000;
/// Commands that wait for the log on a thread of their own, at most: as many can share one sync, and each keeps some
/// MiB of the allocator busy.
const WAITS_MAX: usize = 16;

/// Where a server listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// In the clear.
    pub plain: Vec<SocketAddr>,
    /// With TLS.
    pub tls: Vec<SocketAddr>,
    /// The Unix socket.
    pub unix: Option<PathBuf>,
    /// Metrics and health.
    pub metrics: Option<SocketAddr>,
}

/// A server that listens, and serves nobody yet.
pub struct Server {
    pub(crate) shared: Arc<Shared>,
    listeners: Vec<Listener>,
    metrics: Option<TcpListener>,
    addresses: Addresses,
    stop: watch::Sender<bool>,
}

/// Serves the store until `shutdown` is ready: then no connection is taken any more, commands that
/// are being carried out are finished (for at most `limits.stop_ms`), and the store is closed.
///
/// # Errors
/// The server cannot start, or the store does not close well.
pub async fn serve(config: ServerConfig, store: Store, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    Server::bind(config, store).await?.run(shutdown).await
}

impl Server {
    /// Reads access control, starts the hashing threads, and listens on all addresses.
    ///
    /// # Errors
    /// A setting that must not be, an address in use, a certificate that cannot be read, or access
    /// control that lets nobody in.
    pub async fn bind(config: ServerConfig, store: Store) -> Result<Self, ServeError> {
        config.check()?;
        let acl = Acl::load(&store).map_err(ServeError::Access)?;
        if acl.users().is_empty() && !config.dev {
            return Err(ServeError::Access("the store has no users: start with mint_admin, or --dev".to_string()));
        }
        let audit = Audit::load(&store).map_err(ServeError::Access)?;
        let hashing = Hashing::start(&config.hashing)
            .map_err(|source| ServeError::Listen { address: "threads for password hashing".to_string(), source })?;
        let names = NameLists::new(config.store.cursor_ttl_ms)
            .ok_or_else(|| ServeError::Access("the system gives no random bytes".to_string()))?;
        let (listeners, metrics, addresses) = listen(&config).await?;
        let (stop, stopping) = watch::channel(false);
        let node_id = blake3::hash(store.info().id.to_string().as_bytes()).to_hex()[..40].to_string();
        let shared = Arc::new(Shared {
            scans: Arc::new(Semaphore::new(config.limits.scan_threads)),
            waits: Arc::new(Semaphore::new(WAITS_MAX)),
            dev: config.dev.then(|| Arc::new(Actor::unlimited(DEV_USER))),
            config,
            store,
            acl,
            clients: Clients::default(),
            buffers: Budget::default(),
            hashing,
            stats: Stats::new(),
            audit,
            names,
            runtime: Handle::current(),
            started_at: Instant::now(),
            node_id,
            stopping,
        });
        Ok(Self { shared, listeners, metrics, addresses, stop })
    }

    /// Where it listens; with the port that the system chose where 0 was asked for.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Serves until `shutdown` is ready, then stops as [`serve`] says.
    ///
    /// # Errors
    /// The store does not close well.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let Self { shared, listeners, metrics, addresses, stop } = self;
        tracing::info!(plain = ?addresses.plain, tls = ?addresses.tls, metrics = ?addresses.metrics, "ready");
        if shared.dev.is_some() {
            tracing::warn!("development mode: everybody who reaches this machine's loopback may do everything");
        }
        let mut tasks = tokio::task::JoinSet::new();
        for listener in listeners {
            tasks.spawn(listener::accept(shared.clone(), listener));
        }
        if let Some(metrics) = metrics {
            tasks.spawn(health::serve(shared.clone(), metrics));
        }
        tasks.spawn(keep_up(shared.clone()));
        shutdown.await;
        tracing::info!(connections = shared.clients.count(), "stopping");
        stop.send_replace(true);
        while tasks.join_next().await.is_some() {}
        wait_for_connections(&shared).await;
        let store = shared.store.clone();
        let closed = tokio::task::spawn_blocking(move || {
            shared.audit.save(&shared.store);
            drop(shared);
            store.close()
        });
        match closed.await {
            Ok(closed) => closed.map_err(ServeError::Store),
            Err(_) => Err(ServeError::Access("closing the store panicked".to_string())),
        }
    }
}

/// Listens on everything that the configuration names.
async fn listen(config: &ServerConfig) -> Result<(Vec<Listener>, Option<TcpListener>, Addresses), ServeError> {
    let mut addresses = Addresses::default();
    let mut listeners = Vec::new();
    let local = |listener: &TcpListener| {
        listener.local_addr().map_err(|source| ServeError::Listen { address: "a bound address".to_string(), source })
    };
    for address in &config.listen {
        let listener = listener::bind(*address).await?;
        addresses.plain.push(local(&listener)?);
        listeners.push(Listener::Plain(listener));
    }
    if let Some(tls) = &config.tls {
        let acceptor = tls::acceptor(tls)?;
        for address in &tls.listen {
            let listener = listener::bind(*address).await?;
            addresses.tls.push(local(&listener)?);
            listeners.push(Listener::Tls(listener, acceptor.clone()));
        }
    }
    if let Some(path) = &config.unix_socket {
        listeners.push(listener::bind_unix(path)?);
        addresses.unix = Some(path.clone());
    }
    if listeners.is_empty() {
        return Err(ServeError::Config("there is no address to listen on".to_string()));
    }
    let metrics = match config.metrics {
        Some(address) => {
            let listener = listener::bind(address).await?;
            addresses.metrics = Some(local(&listener)?);
            Some(listener)
        }
        None => None,
    };
    Ok((listeners, metrics, addresses))
}

/// Writes the audit log and folds histograms now and then.
async fn keep_up(shared: Arc<Shared>) {
    let mut stopping = shared.stopping.clone();
    let mut ticks = interval(Duration::from_millis(AUDIT_SAVE_MS));
    loop {
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => return,
            _ = ticks.tick() => {}
        }
        let saving = shared.clone();
        let _ = tokio::task::spawn_blocking(move || {
            saving.audit.save(&saving.store);
            saving.stats.upkeep();
        })
        .await;
    }
}

/// Waits until the connections have their replies, as long as a stop may take.
async fn wait_for_connections(shared: &Shared) {
    let patience = Instant::now() + Duration::from_millis(shared.config.limits.stop_ms);
    while shared.clients.count() > 0 && Instant::now() < patience {
        sleep(Duration::from_millis(5)).await;
    }
}
