//! Traces leave the process: a collector that listens gets the spans of what was taken in.

use crate::support::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Reads one HTTP request, answers it, and returns its first line and body.
fn answer(stream: TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim_end().is_empty() {
            break;
        }
        lines.push(line.trim_end().to_ascii_lowercase());
    }
    let length = lines.iter().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let mut body = vec![0; length.parse().expect("a number")];
    reader.read_exact(&mut body)?;
    reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
    Ok((lines.swap_remove(0), body))
}

/// An endpoint for OTLP over HTTP; what is sent to it comes out of the channel.
fn collector() -> (String, mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let endpoint = format!("http://{}/v1/traces", listener.local_addr().expect("an address"));
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        // Ends once the test no longer listens.
        while let Ok((stream, _)) = listener.accept() {
            if sender.send(answer(stream).expect("a request")).is_err() {
                return;
            }
        }
    });
    (endpoint, receiver)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_the_spans_of_a_batch() {
    let (database, topic, (endpoint, received)) = (TestDatabase::new().await, TestTopic::new(1).await, collector());
    topic.send(&[event("e", 1, 1)], 1);
    let mut service = Command::new(env!("CARGO_BIN_EXE_apportion"))
        .args(["serve", "--roles", "ingest"])
        .env("DATABASE_URL", &database.url)
        .env("APPORTION_KAFKA__GROUP_ID", random_name("group_"))
        .env("APPORTION_KAFKA__TOPICS", &topic.name)
        .env("APPORTION_TELEMETRY__OTLP_ENDPOINT", endpoint)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the service starts");
    let waited = tokio::task::spawn_blocking(move || received.recv_timeout(Duration::from_secs(30)));
    let (request, body) = waited.await.expect("waited").expect("spans in time");
    assert!(request.starts_with("post /v1/traces "), "{request}");
    // Names stand as they are in OTLP's protobuf.
    let body = String::from_utf8_lossy(&body).into_owned();
    for name in ["apportion", "service.name", "ingest.batch", "messaging.batch.message_count"] {
        assert!(body.contains(name), "{name} in {body}");
    }
    service.kill().expect("it runs");
    service.wait().expect("it ended");
    topic.delete().await;
    database.drop_it().await;
}
