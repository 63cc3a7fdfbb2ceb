//! `stoa serve`: runs the server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use stoa_engine::Store;
use stoa_server::{FirstSecret, Server, ServerConfig, mint_admin};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::store::StoreArgs;

/// Files that the store, the log and the listeners open beside connections.
const FILES_BESIDE: u64 = 1024;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  stoa serve                             serve DATA on 127.0.0.1:7862; makes the store on first start
  stoa serve --data /var/lib/stoa --config /etc/stoa.toml
  stoa serve --dev                       no authentication, loopback only, for trying things out")]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Listen here, in the clear; may be given several times [default: 127.0.0.1:7862]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
    /// Settings (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Metrics and health here, loopback only [default: 127.0.0.1:7863]
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
    /// Listen on this Unix socket too
    #[arg(long, value_name = "FILE")]
    unix_socket: Option<PathBuf>,
    /// Everybody on this machine may do everything; loopback only
    #[arg(long)]
    dev: bool,
    /// Allow addresses that others can reach without TLS
    #[arg(long)]
    insecure_plaintext: bool,
    /// Write logs as JSON
    #[arg(long)]
    json: bool,
    /// What to log: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: String,
    /// Print these lines once the server is ready
    #[arg(long, hide = true)]
    hint: Vec<String>,
}

pub(crate) fn run(args: ServeArgs) -> Result<ExitCode> {
    start_logs(&args)?;
    let config = config(&args)?;
    config.check()?;
    let mut options = args.store.options(true)?;
    let budgets = &config.store;
    if let Some(bytes) = budgets.cache_bytes {
        options.limits.runs.page_cache_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    }
    options.limits.memtable_bytes = budgets.memtable_bytes.unwrap_or(options.limits.memtable_bytes);
    options.limits.reserve_bytes = budgets.reserve_bytes.unwrap_or(options.limits.reserve_bytes);
    options.limits.token_ttl_ms = budgets.token_ttl_ms.unwrap_or(options.limits.token_ttl_ms);
    options.limits.cursor_ttl_ms = budgets.cursor_ttl_ms.unwrap_or(options.limits.cursor_ttl_ms);
    options.limits.erase_within_ms = budgets.erase_within_ms.unwrap_or(options.limits.erase_within_ms);
    options.io = stoa_server::for_server(options.io);
    stoa_engine::io::forbid_core_dumps().context("cannot keep keys out of core dumps")?;
    let files = stoa_engine::io::raise_open_files().context("cannot ask for more open files")?;
    let store = Store::open(options)?;
    let connections = config.limits.connections as u64;
    if files < connections + FILES_BESIDE {
        tracing::warn!(files, connections, "the system allows fewer open files than the connections need: ulimit -n");
    }
    if !config.dev {
        let mut file = args.store.data.clone().into_os_string();
        file.push(".admin-secret");
        if let FirstSecret::Minted(path) = mint_admin(&store, &PathBuf::from(file))? {
            tracing::info!(file = %path.display(), "made user admin; its secret stands in the file");
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(async {
        let server = Server::bind(config, store).await?;
        // Before anybody is told that the server is ready: whoever is may stop it.
        let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
        for address in &server.addresses().plain {
            println!("stoa is ready on {address}");
        }
        for address in &server.addresses().tls {
            println!("stoa is ready on {address} (TLS)");
        }
        args.hint.iter().for_each(|line| println!("{line}"));
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        server.run(stop).await?;
        Ok(ExitCode::SUCCESS)
    })
}

fn start_logs(args: &ServeArgs) -> Result<()> {
    let level: tracing::Level = args.log.parse().ok().context("--log wants error, warn, info, debug or trace")?;
    let filter = EnvFilter::default().add_directive(level.into());
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if args.json {
        logs.json().init()
    } else {
        logs.init()
    }
    Ok(())
}

fn config(args: &ServeArgs) -> Result<ServerConfig> {
    let mut config = match &args.config {
        Some(path) => ServerConfig::read(path)?,
        None => ServerConfig::default(),
    };
    if !args.listen.is_empty() {
        config.listen.clone_from(&args.listen);
    }
    if args.metrics.is_some() {
        config.metrics = args.metrics;
    }
    if args.unix_socket.is_some() {
        config.unix_socket.clone_from(&args.unix_socket);
    }
    config.dev |= args.dev;
    config.insecure_plaintext |= args.insecure_plaintext;
    Ok(config)
}
