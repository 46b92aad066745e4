//! Connections: taken until the service is told to end; one that sends no whole head of a request in time is closed.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io::ErrorKind;
use std::pin::pin;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long to wait where no connection can be taken, as too many files are open or no memory is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Takes connections until `stop`; returns those that are left then, each of which ends after the request that it is
/// at. A head of a request has to be there within `receive`, counted from the last answer.
pub async fn until(listener: TcpListener, router: Router, receive: Duration, stop: &CancellationToken) -> TaskTracker {
    let connections = TaskTracker::new();
    let service = TowerToHyperService::new(router);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(receive);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            // The caller hung up before it was taken: the next one waits for nothing.
            Err(error) if is_of_caller(error.kind()) => continue,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (connection, stop) = (http.serve_connection(TokioIo::new(stream), service.clone()), stop.clone());
        connections.spawn(async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                // Callers hang up, or send what is no request: that is theirs to know.
                tracing::debug!(%error, "a connection broke");
            }
        });
    }
    connections.close();
    connections
}

fn is_of_caller(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused)
}
