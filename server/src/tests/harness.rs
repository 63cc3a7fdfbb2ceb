//! A server of one's own.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use stoa_engine::{Store, StoreOptions};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::client::Client;
use crate::shared::Shared;
use crate::{Addresses, ServeError, Server, ServerConfig, mint_admin};

/// A server that runs, and the directory that it keeps its store in.
pub(crate) struct Running {
    pub(crate) addresses: Addresses,
    pub(crate) directory: tempfile::TempDir,
    /// What connections share; a stopped server has let go of it.
    pub(crate) shared: Weak<Shared>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), ServeError>>,
}

/// A configuration for ports that the system chooses.
pub(crate) fn config() -> ServerConfig {
    let mut config = ServerConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        metrics: Some("127.0.0.1:0".parse().unwrap()),
        ..ServerConfig::default()
    };
    // Cheap hashes: what is tested is not their strength.
    config.hashing.argon2_memory_kib = 64;
    config.hashing.argon2_passes = 1;
    config
}

/// The same, without authentication.
pub(crate) fn dev() -> ServerConfig {
    ServerConfig { dev: true, ..config() }
}

impl Running {
    pub(crate) async fn start(config: ServerConfig) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(StoreOptions::new(directory.path().join("data"))).unwrap();
        if !config.dev {
            mint_admin(&store, &directory.path().join("data.admin-secret")).unwrap();
        }
        Self::over(store, directory, config).await
    }

    pub(crate) async fn over(store: Store, directory: tempfile::TempDir, config: ServerConfig) -> Self {
        let server = Server::bind(config, store).await.unwrap();
        let addresses = server.addresses().clone();
        let shared = Arc::downgrade(&server.shared);
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(server.run(async move {
            let _ = stopped.await;
        }));
        Self { addresses, directory, shared, stop, served }
    }

    /// A connection that has not said anything.
    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.addresses.plain[0]).await
    }

    /// A connection of RESP3.
    pub(crate) async fn client(&self) -> Client {
        let mut client = self.connect().await;
        assert_eq!(client.call("HELLO 3").await.at("proto").number(), 3);
        client
    }

    /// The first secret.
    pub(crate) fn secret(&self) -> String {
        std::fs::read_to_string(self.secret_file()).unwrap().trim().to_string()
    }

    pub(crate) fn secret_file(&self) -> PathBuf {
        self.directory.path().join("data.admin-secret")
    }

    /// A connection of user `admin`.
    pub(crate) async fn admin(&self) -> Client {
        let mut client = self.connect().await;
        client.words(&["HELLO", "3", "AUTH", "admin", &self.secret()]).await.at("server");
        client
    }

    /// Stops the server, and gives back its directory.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.stop.send(()).unwrap();
        self.served.await.unwrap().unwrap();
        self.directory
    }
}
