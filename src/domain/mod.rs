//! The rules: pure, exact, without a clock or IO. Each file may import only those listed above it.

// Money is exact or an error, and no input makes the rules panic. Tests may state what they know.
#![cfg_attr(
    not(test),
    deny(
        clippy::float_arithmetic,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::string_slice
    )
)]

pub mod names;
pub mod hex;
pub mod access;
pub mod ids;
pub mod money;
pub mod period;
pub mod calendar;
pub mod usage;
pub mod outcome;
pub mod amendment;
pub mod backfill;
pub mod availability;
mod csv_table;
pub mod price;
pub mod fx;
pub mod register;
pub mod record;
pub mod cloud_cost;
pub mod entry;
pub mod restated;
pub mod contract;
pub mod engine;
pub mod rating;
pub mod cost_comparison;
pub mod findings;
pub mod finding_watch;
pub mod double_report;
pub mod settlement;
pub mod money_effect;
pub mod statement;
pub mod explain;
pub mod burn_down;
pub mod schedule;
pub mod invoice;
pub mod simulate;
