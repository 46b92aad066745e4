//! The same events over HTTP: batches on a few connections that are kept, to the service's own door.

use crate::events::event;
use apportion::domain::access::Scope;
use apportion::http::{HttpState, Limits, serve_on};
use apportion::jobs::schedule::Schedule;
use apportion::store::access::{NewApiKey, create_key};
use apportion::telemetry::Metrics;
use chrono::TimeDelta;
use sqlx::PgPool;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How many events a request has.
const EVENTS: u64 = 5_000;

/// How many requests are on their way at once.
const CONNECTIONS: usize = 4;

/// Requests, as they are sent.
pub struct Requests(Vec<String>);

impl Requests {
    pub fn of(events: u64) -> Self {
        let starts = (0..events).step_by(usize::try_from(EVENTS).expect("a size"));
        let batch = |start: u64| {
            let batch: Vec<String> = (start..events.min(start + EVENTS)).map(event).collect();
            format!("[{}]", batch.join(","))
        };
        Self(starts.map(batch).collect())
    }
}

/// Sends all of them, and waits for their answers.
pub async fn send(pool: &PgPool, requests: &Arc<Requests>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let (address, stop) = (listener.local_addr().expect("an address"), CancellationToken::new());
    let wait = Duration::from_secs(60);
    let limits = Limits { receive: wait, read: wait, turn: wait, drain: wait };
    let state = HttpState::new(pool.clone(), limits, Arc::new(Metrics::new().expect("metrics")), false, schedule());
    let serving = tokio::spawn(serve_on(listener, state, stop.clone()));
    let new = NewApiKey {
        holder: "bench".to_owned(),
        scopes: [Scope::Ingest].into(),
        party: None,
        expires_at: None,
        created_by: "bench".to_owned(),
    };
    let key = create_key(pool, &new).await.expect("a key");
    let senders = (0..CONNECTIONS).map(|first| {
        let (requests, key) = (Arc::clone(requests), key.clone());
        tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).expect("it listens");
            for body in requests.0.iter().skip(first).step_by(CONNECTIONS) {
                post(&mut stream, address, &key, body);
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.expect("all sent");
    }
    stop.cancel();
    serving.await.expect("it ends").expect("it served");
}

fn post(stream: &mut TcpStream, address: SocketAddr, key: &str, body: &str) {
    let head = format!(
        "POST /api/v1/events HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
         content-type: application/cloudevents-batch+json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    stream.write_all(body.as_bytes()).expect("sent");
    let mut lines = BufReader::new(stream).lines().map(|line| line.expect("an answer"));
    let status = lines.next().expect("a status");
    assert!(status.starts_with("HTTP/1.1 204"), "{status}");
    // An answer without a body ends with an empty line.
    assert!(lines.any(|line| line.is_empty()), "the end of its head");
}

/// Nothing is due here.
fn schedule() -> Schedule {
    Schedule {
        actor: "bench".to_owned(),
        holder: "bench".to_owned(),
        delay_days: 3,
        redraft: TimeDelta::days(1),
        retry: TimeDelta::minutes(1),
        lease: Duration::from_secs(60),
        keep_runs_days: 90,
        clock_behind_days: 0,
    }
}
