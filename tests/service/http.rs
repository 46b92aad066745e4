//! Health, readiness and metrics, over a socket.

use crate::support::*;
use apportion::http::{HttpState, serve_on};
use apportion::store;
use apportion::telemetry::Metrics;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The status and the body of an answer.
async fn get(address: SocketAddr, path: &'static str) -> (u16, String) {
    let asked = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    });
    let answer = asked.await.expect("asked");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head[9..12].parse().expect("a status"), body.to_owned())
}

async fn start(pool: sqlx::PgPool, metrics: Arc<Metrics>) -> (SocketAddr, CancellationToken) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    tokio::spawn(serve_on(listener, HttpState { pool, metrics, ingests: true }, stop.clone()));
    (address, stop)
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_means_that_it_can_work() {
    let database = TestDatabase::new().await;
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let (address, stop) = start(database.pool.clone(), Arc::clone(&metrics)).await;
    assert_eq!(get(address, "/healthz").await.0, 200);
    assert_eq!(get(address, "/readyz").await, (200, "ready\n".to_owned()));
    metrics.set_halted("t", 0, true);
    assert_eq!(get(address, "/readyz").await.0, 503);
    let (status, text) = get(address, "/metrics").await;
    assert_eq!(status, 200);
    assert!(text.contains(r#"apportion_consumer_partition_halted{partition="0",topic="t"} 1"#), "{text}");
    assert!(text.contains(r#"apportion_http_requests_total{path="/readyz",status="503"} 1"#), "{text}");
    stop.cancel();
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_it_lives_and_is_not_ready() {
    let pool = store::connect("postgres://nobody@127.0.0.1:1/none", 1).expect("a URL");
    let (address, stop) = start(pool, Arc::new(Metrics::new().expect("metrics"))).await;
    assert_eq!(get(address, "/healthz").await.0, 200);
    assert_eq!(get(address, "/readyz").await.0, 503);
    stop.cancel();
}
