//! Scenarios: a history with the time at which each part was recorded, and what is asked of it.
//!
//! A scenario is a folder, or one Markdown document whose fenced blocks hold the files. Its files are those of the
//! product: contracts, registers, price books, records; those that the database would stamp with a time of
//! recording state it as `recorded_at`.

pub mod answer;
pub mod books;
pub mod breaches;
pub mod known;
pub mod charges;
pub mod examples;
mod given;
pub mod explained;
pub mod generate;
#[cfg(test)]
mod known_tests;
mod month;
mod one_file;
pub mod path;
pub mod read;
pub mod report;
pub mod run;
#[cfg(test)]
mod run_tests;
pub mod sheet;
pub mod step;
mod sums;
pub mod uncounted;
pub mod what_if;
#[cfg(test)]
mod what_if_tests;

use super::contract::folder::SourceFile;
use super::fx::FxRate;
use super::price::RecordedPrice;
use crate::domain::contract::document::FileLine;
use crate::domain::entry::Entry;
use path::Paths;
use step::Step;

/// A history, and the questions and settlements to be made of it, in order, against one set of books.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    /// Every file, as it was given.
    files: Vec<SourceFile>,
    /// Contracts and registers, in the language of `contracts/README.md`.
    pub documents: Vec<SourceFile>,
    pub prices: Vec<RecordedPrice>,
    pub rates: Vec<FxRate>,
    /// Usage and records, in the order of the files.
    pub entries: Vec<Entry>,
    /// Where each entry stands, as far as it was read of a file.
    places: Vec<FileLine>,
    pub steps: Vec<Step>,
    /// What the volumes that are known are multiplied with.
    volumes: Option<Paths>,
}
