//! The rules: pure, exact, without a clock or IO. Each file may import only those listed above it.

pub mod amendment;
pub mod contract;
pub mod ids;
pub mod money;
pub mod period;
pub mod price;
pub mod rating;
pub mod record;
pub mod register;
pub mod settlement;
pub mod sharing;
pub mod statement;
pub mod usage;
