//! An auditor of its own against the engine: random histories, the laws that hold of all, and the cases by hand.
//!
//! `HISTORIES=N` draws so many, `SEED=S` from that seed on; a history in which the two differ is made small and
//! written as a scenario below the folder of the target.

#[path = "audit/agreements.rs"]
mod agreements;
#[path = "audit/auditor.rs"]
mod auditor;
#[path = "audit/base.rs"]
mod base;
#[path = "audit/books.rs"]
mod books;
#[path = "audit/cap.rs"]
mod cap;
#[path = "audit/compare.rs"]
mod compare;
#[path = "audit/draw.rs"]
mod draw;
#[path = "audit/generate.rs"]
mod generate;
#[path = "audit/histories.rs"]
mod histories;
#[path = "audit/hold.rs"]
mod hold;
#[path = "audit/items.rs"]
mod items;
#[path = "audit/known.rs"]
mod known;
#[path = "audit/laws.rs"]
mod laws;
#[path = "audit/lines.rs"]
mod lines;
#[path = "audit/model.rs"]
mod model;
#[path = "audit/print.rs"]
mod print;
#[path = "audit/recoup.rs"]
mod recoup;
#[path = "audit/shrink.rs"]
mod shrink;
#[path = "audit/time.rs"]
mod time;
#[path = "audit/window.rs"]
mod window;
