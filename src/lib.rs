//! Apportion: meters AI usage on every cloud and settles the money that labs and clouds owe each other.
//!
//! `domain` and `sources` are pure and build without the feature `service`; everything that
//! does IO stands behind it. ARCHITECTURE.md is the map.

pub mod domain;
pub mod sources;

#[cfg(feature = "service")]
pub mod config;
#[cfg(feature = "service")]
pub mod http;
#[cfg(feature = "service")]
pub mod ingest;
#[cfg(feature = "service")]
pub mod jobs;
#[cfg(feature = "service")]
pub mod produce;
#[cfg(feature = "service")]
pub mod render;
#[cfg(feature = "service")]
pub mod store;
#[cfg(feature = "service")]
pub mod telemetry;
