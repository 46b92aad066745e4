//! Messages in, rows out: the Kafka consumer, files, the one writer behind both, and trials, which store nothing; and files of cloud costs.

mod assignment;
pub mod backfill;
mod batch;
mod cluster;
pub mod consumer;
pub mod costs;
pub mod file;
mod gathered;
pub mod generations;
mod in_flight;
mod key_filter;
mod known_keys;
pub mod messages;
pub mod retry;
pub mod revert;
mod rollup_deltas;
pub mod trial;
mod turn;
pub mod writer;
