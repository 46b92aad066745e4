//! Messages in, rows out: the Kafka consumer, files, and the one writer behind both.

mod assignment;
pub mod backfill;
mod batch;
mod cluster;
pub mod consumer;
pub mod file;
mod gathered;
mod in_flight;
mod known_keys;
pub mod messages;
pub mod retry;
pub mod revert;
mod rollup_deltas;
pub mod trial;
mod turn;
pub mod writer;
