//! Messages in, rows out: the Kafka consumer, files, and the one writer behind both.

mod assignment;
mod batch;
mod cluster;
pub mod consumer;
pub mod file;
mod gathered;
mod in_flight;
mod known_keys;
pub mod messages;
pub mod retry;
mod rollup_deltas;
mod turn;
pub mod writer;
