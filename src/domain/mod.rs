//! The rules: pure, exact, without a clock or IO. Each file may import only those listed above it.

pub mod ids;
pub mod money;
pub mod period;
pub mod usage;
pub mod amendment;
pub mod register;
pub mod price;
pub mod record;
pub mod contract;
pub mod rating;
pub mod sharing;
pub mod settlement;
pub mod statement;
