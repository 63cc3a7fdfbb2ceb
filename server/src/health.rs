//! Metrics and health over HTTP, on a loopback port of their own: `/metrics`, `/livez`, `/readyz`.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::dispatch::server::memory_bytes;
use crate::shared::Shared;

/// The longest request head that is read.
const HEAD_BYTES_MAX: usize = 4096;
/// How long a request may take to arrive and its answer to leave.
const EXCHANGE_MS: u64 = 5000;
/// The most requests at once.
const CONCURRENT_MAX: usize = 16;

/// Answers until the server stops.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let slots = Arc::new(tokio::sync::Semaphore::new(CONCURRENT_MAX));
    let mut stopping = shared.stopping.clone();
    loop {
        let taken = tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => return,
            taken = listener.accept() => taken,
        };
        let Ok((stream, _)) = taken else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let shared = shared.clone();
        tokio::spawn(async move {
            let _ = timeout(Duration::from_millis(EXCHANGE_MS), exchange(&shared, stream)).await;
            drop(slot);
        });
    }
}

/// Reads one request and answers it.
async fn exchange(shared: &Shared, mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(512);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0u8; 512];
        let read = stream.read(&mut piece).await?;
        if read == 0 || head.len() + read > HEAD_BYTES_MAX {
            return Ok(());
        }
        head.extend_from_slice(&piece[..read]);
    }
    let mut words = head.split(|byte| *byte == b' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, body) = match (method, path.split(|byte| *byte == b'?').next().unwrap_or_default()) {
        (b"GET" | b"HEAD", b"/metrics") => ("200 OK", metrics(shared)),
        (b"GET" | b"HEAD", b"/livez") => ("200 OK", "ok\n".to_string()),
        (b"GET" | b"HEAD", b"/readyz") => readiness(shared),
        (b"GET" | b"HEAD", _) => ("404 Not Found", "/metrics, /livez, /readyz\n".to_string()),
        _ => ("405 Method Not Allowed", "GET only\n".to_string()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    if method != b"HEAD" {
        stream.write_all(body.as_bytes()).await?;
    }
    stream.shutdown().await
}

/// Ready: takes requests, and writes too.
fn readiness(shared: &Shared) -> (&'static str, String) {
    if *shared.stopping.borrow() {
        return ("503 Service Unavailable", "stopping\n".to_string());
    }
    let info = shared.store.info();
    match info.failure.or(info.full) {
        Some(failure) => ("503 Service Unavailable", format!("no write is taken: {failure}\n")),
        None => ("200 OK", "ok\n".to_string()),
    }
}

fn metrics(shared: &Shared) -> String {
    let (rss, _) = memory_bytes();
    let store = shared.store.info();
    shared.stats.upkeep();
    shared.stats.render(&[
        ("stoa_connections", shared.clients.count() as f64),
        ("stoa_buffers_bytes", shared.buffers.used_bytes() as f64),
        ("stoa_password_checks_waiting", shared.hashing.waiting() as f64),
        ("stoa_pools", store.pools as f64),
        ("stoa_pools_open", store.pools_open as f64),
        ("stoa_memtable_bytes", store.memtable_bytes as f64),
        ("stoa_page_cache_bytes", store.page_cache_bytes as f64),
        ("stoa_log_bytes", store.log_bytes as f64),
        ("stoa_log_segments", store.log_segments as f64),
        ("stoa_reserve_bytes", store.reserve_bytes as f64),
        ("stoa_writes_refused", f64::from(u8::from(store.failure.is_some() || store.full.is_some()))),
        ("stoa_uptime_seconds", shared.started_at.elapsed().as_secs_f64()),
        ("process_resident_memory_bytes", rss as f64),
    ])
}
