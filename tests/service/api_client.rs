//! The API as its tests ask it: over a socket, of the agreements of this checkout.

use crate::support::*;
use apportion::domain::access::Scope;
use apportion::domain::ids::PartyId;
use apportion::http::{HttpState, Limits, Readers, serve_on};
use apportion::store::access::{NewApiKey, create_key};
use apportion::telemetry::Metrics;
use serde_json::{Value, json};
use sqlx::PgPool;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// As the settings have them.
pub const LIMITS: Limits = Limits {
    receive: Duration::from_secs(30),
    read: Duration::from_secs(30),
    turn: Duration::from_secs(10),
    drain: Duration::from_secs(30),
};

/// An answer, its header names in lower case.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub text: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

/// The API of a database, at a port of its own.
pub struct Api {
    address: SocketAddr,
    pool: PgPool,
    stop: CancellationToken,
}

impl Api {
    pub async fn of(pool: &PgPool) -> Self {
        Self::with_limits(pool, LIMITS).await
    }

    pub async fn with_read_timeout(pool: &PgPool, read: Duration) -> Self {
        Self::with_limits(pool, Limits { read, ..LIMITS }).await
    }

    pub async fn with_limits(pool: &PgPool, limits: Limits) -> Self {
        Self::with_readers(pool, limits, Readers::default()).await
    }

    pub async fn with_readers(pool: &PgPool, limits: Limits, readers: Readers) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let (address, stop) = (listener.local_addr().expect("an address"), CancellationToken::new());
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let state = HttpState::new(pool.clone(), limits, metrics, false, crate::jobs::schedule()).with_readers(readers);
        tokio::spawn(serve_on(listener, state, stop.clone()));
        Self { address, pool: pool.clone(), stop }
    }

    /// One that another process serves.
    pub fn at(address: SocketAddr, pool: &PgPool) -> Self {
        Self { address, pool: pool.clone(), stop: CancellationToken::new() }
    }

    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).expect("it listens")
    }

    /// Sends a request and keeps the connection, so that it can be hung up.
    pub fn begin(&self, method: &str, path: &str, headers: &[String], body: &str) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(request(method, path, headers, body).as_bytes()).expect("sent");
        stream
    }

    pub async fn key(&self, holder: &str, scopes: &[Scope], party: Option<&str>) -> String {
        let new = NewApiKey {
            holder: holder.to_owned(),
            scopes: scopes.iter().copied().collect(),
            party: party.map(PartyId::from),
            expires_at: None,
            created_by: "test".to_owned(),
        };
        create_key(&self.pool, &new).await.expect("a key")
    }

    /// The keys of two partners.
    pub async fn partners(&self) -> [String; 2] {
        let scopes = [Scope::Read, Scope::Approve];
        [self.key("aws-audit", &scopes, Some("aws")).await, self.key("google-audit", &scopes, Some("google")).await]
    }

    /// Sends a request; `headers` are whole lines.
    pub async fn send(&self, method: &str, path: &str, headers: &[String], body: &str) -> Answer {
        let mut stream = self.begin(method, path, headers, body);
        let asked = tokio::task::spawn_blocking(move || {
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).expect("an answer");
            String::from_utf8_lossy(&answer).into_owned()
        });
        let answer = asked.await.expect("asked");
        let (head, text) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let mut lines = head.lines();
        let status = lines.next().expect("a status line")[9..12].parse().expect("a status");
        let header = |line: &str| {
            let (key, value) = line.split_once(": ").expect("a header");
            (key.to_lowercase(), value.to_owned())
        };
        Answer { status, headers: lines.map(header).collect(), text: text.to_owned() }
    }

    pub async fn get(&self, path: &str, key: &str) -> Answer {
        self.send("GET", path, &[bearer(key)], "").await
    }

    pub async fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        let headers = [bearer(key), "content-type: application/json".to_owned()];
        self.send("POST", path, &headers, &body.to_string()).await
    }
}

fn request(method: &str, path: &str, headers: &[String], body: &str) -> String {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
    )
}

impl Drop for Api {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub fn bearer(key: &str) -> String {
    format!("authorization: Bearer {key}")
}

/// The agreements of this checkout.
pub async fn books() -> TestDatabase {
    let database = TestDatabase::empty().await;
    let folder = apportion::jobs::contracts::read(std::path::Path::new("contracts")).expect("the agreements");
    apportion::jobs::contracts::apply(&database.pool, &folder).await.expect("loaded");
    database
}

pub fn usage(id: &str) -> Value {
    json!({
        "specversion": "1.0", "type": "apportion.usage.v1", "source": "test", "id": id,
        "time": "2026-05-03T10:00:00Z",
        "data": {
            "deployment": "bedrock-us-east-1", "product": "gpt-5.5", "service_tier": "default",
            "quantities": {"input_tokens": 1_000_000, "output_tokens": 10_000, "requests": 1},
        },
    })
}

/// Every route, as its description has it, with a path that leads somewhere.
pub fn routes() -> Vec<(String, String, Vec<String>)> {
    let description = serde_json::to_value(apportion::http::description()).expect("JSON");
    let mut routes = Vec::new();
    for (path, methods) in description["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let scopes =
                operation["security"][0]["key"].as_array().unwrap_or_else(|| panic!("{method} {path}: no scope"));
            let scopes = scopes.iter().map(|scope| scope.as_str().expect("a name").to_owned()).collect();
            let path = path
                .replace("{contract}", "aws-openai")
                .replace("{id}", "1")
                .replace("{number}", "1")
                .replace("{version}", "1");
            let path = path.replace("{job}", "expire-answers").replace("{finding}", "0123456789abcdef");
            let path = path.replace("{name}", "late");
            routes.push((method.to_uppercase(), path, scopes));
        }
    }
    assert!(routes.len() > 15, "{routes:?}");
    routes
}
