//! Steps that people and schedules start: load, decide (in `domain`), save. No SQL text and no rules here.

pub mod archive;
mod archive_file;
pub mod availability;
pub mod charges;
pub mod contracts;
pub mod costs;
pub mod double_reports;
pub mod entitlement;
pub mod explain;
pub mod finding_watch;
pub mod findings;
pub mod gather;
mod held;
pub mod invoices;
pub mod money_effect;
mod perform;
pub mod records;
pub mod schedule;
pub mod settle;
mod settlement_input;
pub mod statements;
