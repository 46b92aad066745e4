//! The rules, without a database: settlements of `contracts/` whose figures were worked out by hand.

#[path = "domain/documents.rs"]
mod documents;
#[path = "domain/settlement.rs"]
mod settlement;
#[path = "domain/support.rs"]
mod support;
