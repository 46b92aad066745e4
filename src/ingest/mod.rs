//! Messages in, rows out: the Kafka consumer, files, and the one writer behind both.

mod assignment;
pub mod batch;
mod cluster;
pub mod consumer;
pub mod file;
pub mod retry;
mod rollup_deltas;
pub mod writer;
