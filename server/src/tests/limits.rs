//! Bounds, closing and stopping, metrics and health.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::client::{Client, encode};
use super::harness::{Running, config, dev};
use crate::{ServeError, Server};

#[tokio::test]
async fn requests_are_bounded_and_tighter_before_authentication() {
    let running = Running::start(config()).await;
    for request in [b"*11\r\n".to_vec(), b"*2\r\n$20000\r\n".to_vec(), b"ping\r\n".to_vec()] {
        let mut client = running.connect().await;
        client.send(&request).await;
        let error = client.read().await;
        assert!(error.error().starts_with("LIMIT") || error.error() == "ERR Protocol error", "{error:?}");
        assert!(client.try_read().await.is_none());
    }
    let mut admin = running.admin().await;
    admin.send(b"*2\r\n$4\r\nECHO\r\n$1048577\r\n").await;
    assert!(admin.read().await.error().starts_with("LIMIT"));
    assert!(admin.try_read().await.is_none());
    running.stop().await;
}

#[tokio::test]
async fn other_protocols_get_one_error() {
    let running = Running::start(dev()).await;
    for foreign in [&b"\x16\x03\x01\x00\xf4\x01"[..], b"POST / HTTP/1.1\r\n\r\n", b"Host: x\r\n"] {
        let mut client = running.connect().await;
        client.send(foreign).await;
        assert_eq!(client.read().await.error(), "ERR Protocol error");
        assert!(client.try_read().await.is_none());
    }
    running.stop().await;
}

#[tokio::test]
async fn connections_are_bounded() {
    let mut config = dev();
    config.limits.connections = 2;
    let running = Running::start(config).await;
    let (mut one, _two) = (running.client().await, running.client().await);
    let mut three = running.connect().await;
    assert_eq!(three.read().await.error(), "ERR max number of clients reached");
    one.call("QUIT").await;
    assert!(one.try_read().await.is_none());
    // The place is free once the connection is gone.
    for _ in 0..100 {
        let mut again = running.connect().await;
        again.send(&encode(&["PING"])).await;
        if again.read().await == super::client::Value::Simple("PONG".into()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the place was not given back");
}

#[tokio::test]
async fn who_does_not_authenticate_in_time_is_closed() {
    let mut config = config();
    config.limits.handshake_ms = 100;
    let running = Running::start(config).await;
    let mut client = running.connect().await;
    let refused = tokio::time::timeout(Duration::from_secs(5), client.read()).await.unwrap();
    assert_eq!(refused.error(), "NOAUTH Authentication required: none came within 100 ms");
    assert!(client.try_read().await.is_none());
    let mut admin = running.admin().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(admin.call("PING").await.text(), "PONG");
    running.stop().await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_closed() {
    let mut config = dev();
    config.limits.output_buffer_bytes = 1 << 20;
    config.limits.output_stall_ms = 200;
    let running = Running::start(config).await;
    let mut client = running.client().await;
    let request = encode(&["ECHO", &"x".repeat(500_000)]);
    let flood = async move {
        for _ in 0..200 {
            client.send(&request).await;
        }
    };
    // Its sending stalls, as nothing more is read; then it is closed, which its next write shows.
    let flooded = tokio::spawn(tokio::time::timeout(Duration::from_secs(10), flood)).await;
    assert!(flooded.is_err() || flooded.unwrap().is_err(), "100 MB were taken");
}

#[tokio::test]
async fn a_request_that_does_not_arrive_whole_is_refused_and_idling_is_not() {
    let mut config = dev();
    config.limits.request_ms = 300;
    let running = Running::start(config).await;
    let (mut idle, mut slow) = (running.client().await, running.client().await);
    for byte in b"*2\r\n$4\r\n" {
        slow.send(&[*byte]).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(slow.read().await.error(), "LIMIT a request has to arrive whole within 300 ms");
    assert!(slow.try_read().await.is_none());
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(idle.call("PING").await.text(), "PONG");
    running.stop().await;
}

/// What waits behind a command that waits is bounded: nothing more is carried out, then nothing more is read.
#[tokio::test]
async fn what_waits_behind_a_waiting_command_is_bounded() {
    let mut config = dev();
    config.limits.request_bytes = 1 << 20;
    config.limits.output_buffer_bytes = 1 << 20;
    let running = Running::start(config).await;
    let mut client = running.client().await;
    client.call("POOL.CREATE acme").await.at("seq");
    client.send(&encode(&["CHANGES", "acme", "FROM", "1000", "BLOCK", "60000"])).await;
    let request = encode(&["NO.SUCH.COMMAND"]).repeat(10_000);
    let flood = async move {
        for _ in 0..1000 {
            client.send(&request).await;
        }
    };
    // 250 MB; the system's own buffers take a few.
    let flooded = tokio::time::timeout(Duration::from_secs(3), flood).await;
    assert!(flooded.is_err(), "250 MB were taken");
    let mut other = running.client().await;
    assert!(other.call("STATS").await.at("errors").at("ERR").number() < 1000);
    running.stop().await;
}

#[tokio::test]
async fn who_holds_most_is_closed_when_the_buffers_of_all_are_full() {
    let mut config = dev();
    config.limits.buffers_bytes = 8 << 20;
    let running = Running::start(config).await;
    let (mut small, mut large) = (running.client().await, running.client().await);
    let half = |bytes: usize| {
        let mut request = b"*4\r\n$4\r\nECHO\r\n".to_vec();
        for _ in 0..bytes >> 20 {
            request.extend_from_slice(b"$1048576\r\n");
            request.extend_from_slice(&[b'x'; 1 << 20]);
            request.extend_from_slice(b"\r\n");
        }
        request
    };
    small.send(&half(1 << 20)).await;
    large.send(&half(3 << 20)[..(2 << 20) + 100]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut last = running.client().await;
    last.send(&half(3 << 20)[..(2 << 20) + 100]).await;
    let refused = tokio::select! {
        refused = large.read() => refused,
        refused = last.read() => refused,
    };
    assert!(refused.error().starts_with("BUSY the buffers of all connections are full"), "{refused:?}");
    // The others go on where they were.
    small.send(b"$1\r\nx\r\n$1\r\ny\r\n").await;
    assert!(small.read().await.error().starts_with("ERR wrong number of arguments"));
    assert_eq!(small.call("PING").await.text(), "PONG");
    running.stop().await;
}

#[tokio::test]
async fn connections_can_be_killed() {
    let running = Running::start(dev()).await;
    let (mut one, mut two) = (running.client().await, running.client().await);
    let id = two.call("CLIENT ID").await.number();
    assert_eq!(one.call(&format!("CLIENT KILL ID {id}")).await.number(), 1);
    assert!(two.try_read().await.is_none());
    assert_eq!(one.call(&format!("CLIENT KILL ID {id}")).await.number(), 0);
    assert!(one.call("CLIENT KILL 1.2.3.4:5").await.error().starts_with("ERR No such client"));
    drop(two);
    for _ in 0..200 {
        if one.call("CLIENT LIST").await.text().lines().count() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the killed connection is still listed");
}

/// A connection that always has more to say does not keep a kill, a stop or others from their turn.
#[tokio::test]
async fn a_flood_can_be_killed_and_stopped() {
    let running = Running::start(dev()).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let mut flood = running.client().await;
        ids.push(flood.call("CLIENT ID").await.number());
        let requests = encode(&["PING"]).repeat(10_000);
        tokio::spawn(async move { while flood.flood(&requests).await {} });
    }
    let mut other = running.client().await;
    assert_eq!(other.call("PING").await.text(), "PONG");
    assert_eq!(other.call(&format!("CLIENT KILL ID {}", ids[0])).await.number(), 1);
    let gone = async {
        while other.call("CLIENT LIST").await.text().contains(&format!("id={} ", ids[0])) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the flood goes on");
    tokio::time::timeout(Duration::from_secs(10), running.stop()).await.expect("the floods keep the server");
}

/// A peer that always has more to send and takes whatever comes: nothing on its connection ever waits.
struct Endless {
    sent: usize,
}

impl AsyncRead for Endless {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let endless = self.get_mut();
        while buffer.remaining() > 0 {
            buffer.put_slice(&[b"PING\r\n"[endless.sent % 6]]);
            endless.sent += 1;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_peer_that_always_has_more_can_be_killed_and_stopped() {
    let running = Running::start(dev()).await;
    let connect = || {
        let shared = running.shared.upgrade().unwrap();
        let client = shared.clients.enter("endless".into(), "here".into(), 10).unwrap();
        let id = client.id;
        let served = async move {
            crate::connection::serve(shared.clone(), client, Box::new(Endless { sent: 0 }), None, None).await;
            shared.clients.leave(id);
        };
        (id, tokio::spawn(served))
    };
    let ((id, killed), (_, stopped)) = (connect(), connect());
    let mut other = running.client().await;
    assert_eq!(other.call("PING").await.text(), "PONG");
    assert_eq!(other.call(&format!("CLIENT KILL ID {id}")).await.number(), 1);
    tokio::time::timeout(Duration::from_secs(10), killed).await.expect("it goes on when killed").unwrap();
    assert!(!stopped.is_finished());
    tokio::time::timeout(Duration::from_secs(10), running.stop()).await.expect("it keeps the server");
    tokio::time::timeout(Duration::from_secs(10), stopped).await.expect("it goes on when stopped").unwrap();
}

#[tokio::test]
async fn the_list_of_connections_shows_no_argument() {
    let running = Running::start(dev()).await;
    let mut client = running.client().await;
    client.call("ECHO s3cret").await;
    assert!(!client.call("CLIENT LIST").await.text().contains("s3cret"));
    running.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_one_clear_line() {
    let running = Running::start(dev()).await;
    let mut config = dev();
    config.listen = vec![running.addresses.plain[0]];
    let directory = tempfile::tempdir().unwrap();
    let store = stoa_engine::Store::open(stoa_engine::StoreOptions::new(directory.path().join("data"))).unwrap();
    let refused = Server::bind(config, store).await.err().unwrap();
    assert!(matches!(refused, ServeError::InUse(_)));
    assert!(refused.to_string().contains(&running.addresses.plain[0].to_string()));
    running.stop().await;
}

#[tokio::test]
async fn a_stop_closes_connections_and_takes_no_more() {
    let running = Running::start(dev()).await;
    let mut client = running.client().await;
    let address = running.addresses.plain[0];
    running.stop().await;
    assert!(client.try_read().await.is_none());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_unix_socket_serves_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = dev();
    let path = directory.path().join("stoa.sock");
    config.unix_socket = Some(path.clone());
    let running = Running::start(config).await;
    let mut client = Client::over(tokio::net::UnixStream::connect(&path).await.unwrap());
    assert_eq!(client.call("PING").await.text(), "PONG");
    assert!(client.call("CLIENT INFO").await.text().contains("addr="));
    drop(client);
    running.stop().await;
    assert!(!path.exists());
}

async fn http(running: &Running, request: &str) -> String {
    let mut stream = TcpStream::connect(running.addresses.metrics.unwrap()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn metrics_and_health_name_commands_and_words_alone() {
    let running = Running::start(dev()).await;
    let mut client = running.client().await;
    client.call("ECHO s3cret").await;
    client.call("USER.GET acme email=babs@example.com").await;
    for path in ["/livez", "/readyz"] {
        assert!(http(&running, &format!("GET {path} HTTP/1.1\r\n\r\n")).await.starts_with("HTTP/1.1 200"), "{path}");
    }
    let metrics = http(&running, "GET /metrics HTTP/1.1\r\n\r\n").await;
    for line in [
        "stoa_commands_total{command=\"echo\"} 1",
        "stoa_errors_total{word=\"NOPOOL\"} 1",
        "stoa_connections 1",
        "stoa_command_seconds_bucket{command=\"echo\",le=\"0.001\"}",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    assert!(!metrics.contains("s3cret") && !metrics.contains("babs") && !metrics.contains("acme"));
    assert!(http(&running, "GET / HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 404"));
    assert!(http(&running, "POST /metrics HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 405"));
    let stats = client.call("STATS").await;
    assert_eq!(stats.at("commands").at("echo").at("calls").number(), 1);
    assert_eq!(stats.at("errors").at("NOPOOL").number(), 1);
    running.stop().await;
}
