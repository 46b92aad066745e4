//! The service against a real Postgres and a real Kafka. `make test` starts both.

#[path = "service/support.rs"]
mod support;

#[path = "service/consumers.rs"]
mod consumers;
#[path = "service/crash.rs"]
mod crash;
#[path = "service/http.rs"]
mod http;
#[path = "service/outcomes.rs"]
mod outcomes;
#[path = "service/races.rs"]
mod races;
#[path = "service/retries.rs"]
mod retries;
