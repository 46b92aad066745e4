//! Usage on its way into Kafka or a file: the generator and the replay of traces, both pure, and the producer.

mod draw;
pub mod generate;
mod malformed;
pub mod manifest;
pub mod message;
mod usage;

#[cfg(test)]
mod generate_tests;
