//! Usage on its way into Kafka or a file: the generator and the replay of traces, both pure, and the producer.

mod draw;
pub mod generate;
pub mod kafka;
mod malformed;
pub mod manifest;
pub mod message;
pub mod replay;
mod usage;

#[cfg(test)]
mod generate_tests;
