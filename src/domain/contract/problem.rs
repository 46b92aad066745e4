//! Why a document is refused: the place, the clause, and what would be right.

use super::document::Location;
use crate::domain::ids::{ContractId, PartyId};
use crate::domain::money::{Currency, Exact, ParseExactError, ParseMoneyError, UnknownCurrency};
use crate::domain::period::{Instant, ParseInstantError, ParseLengthError};
use crate::domain::register::{Namesake, RegisterConflict};
use std::collections::BTreeSet;
use std::fmt::Display;

/// Why a document cannot be read: where, in which clause, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {clause}: {problem}")]
pub struct ReadError {
    pub at: Location,
    pub clause: String,
    pub problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("{0}")]
    Toml(String),
    #[error("unknown zone \"{zone}\"; write an IANA name such as \"America/Los_Angeles\"")]
    UnknownZone { zone: String },
    #[error("no {kind} \"{name}\"{}", there_is(.known))]
    Unknown { kind: &'static str, name: String, known: Vec<String> },
    #[error("{field} is no date or instant: {found}; write 2026-04-27 or 2026-04-27T00:00:00-07:00")]
    NoDate { field: &'static str, found: String },
    #[error(transparent)]
    Instant(#[from] ParseInstantError),
    #[error("{field} is {found}: an unquoted number is inexact; write it as a string, such as \"20%\" or \"1/3\"")]
    Unquoted { field: &'static str, found: String },
    #[error("rate: {0}")]
    Rate(ParseExactError),
    #[error("rate {rate} is above 1; a rate is a percentage or fraction of its base, such as \"20%\"")]
    RateAboveOne { rate: Exact },
    #[error("rate {rate} is negative; a flipped direction is another term")]
    RateNegative { rate: Exact },
    #[error("{field}: {problem}")]
    Money { field: &'static str, problem: ParseMoneyError },
    #[error(transparent)]
    Currency(#[from] UnknownCurrency),
    #[error("{field} is in {found}, and the contract in {expected}")]
    OtherCurrency { field: &'static str, found: Currency, expected: Currency },
    #[error("the opening {opening} is above the cap {limit}")]
    OpeningAboveCap { opening: Exact, limit: Exact },
    #[error("it ends at {end}, before it begins at {from}")]
    EndsBeforeStart { from: Instant, end: Instant },
    #[error("payer and payee are both \"{party}\"")]
    OwesItself { party: PartyId },
    #[error("due \"{text}\"; write it as \"45 days after period\"")]
    Due { text: String },
    #[error(
        "a right is first = cloud with lead and release (waivers if any), or only = {{ .. }}, or licensor with licensee and exclusive; this one is none of them alone"
    )]
    RightKind,
    #[error("\"{name}\" is a term and a right; give each a name of its own")]
    TermAndRight { name: String },
    #[error(
        "only by {attribute}; a right is broken by where usage runs, so name a seller, operator, cloud, channel, region or deployment"
    )]
    OnlyByUsage { attribute: &'static str },
    #[error("fact \"{name}\" is {found}; here stands {expected}")]
    WrongFact { name: String, found: &'static str, expected: &'static str },
    #[error("lead: {0}")]
    Lead(ParseLengthError),
    #[error("a version without a contract; write [contract] in this file, or contract = \"its-id\" in [version]")]
    NoContract,
    #[error("a contract file and its versions are of \"{expected}\"; this one says \"{found}\"")]
    OtherContract { expected: ContractId, found: String },
    #[error("no version; write [version] with number and effective")]
    NoVersion,
    #[error("base selects nothing; name charges, a figure or an accrual")]
    EmptyBase,
    #[error("deductions \"{category}\" stand twice in one base; list each once, at one place")]
    RepeatedDeduction { category: String },
    #[error(
        "a base that selects by {attribute} cannot have deductions: each reduces an event as a whole, and how much of it falls on one {attribute} is not read yet"
    )]
    DeductionsOfPart { attribute: &'static str },
    #[error("an empty list selects nothing; name at least one, or leave the attribute out")]
    NoValues,
    #[error("a {block} in a file without {}; nothing would read it", if ["term", "right"].contains(.block) { "[version]" } else { "[contract] or [version]" })]
    StrayBlock { block: &'static str },
    #[error("{found} would be passed over; write ```toml at the start of a line, or ```text for what is no block")]
    PassedOver { found: &'static str },
    #[error("a NUL character, which cannot be stored")]
    Nul,
    #[error("version {number}; numbers are 1 to 2147483647")]
    VersionNumber { number: u32 },
    #[error("the name \"{name}\" of a {kind}; a name has 1 to 256 bytes and no control characters")]
    Name { kind: &'static str, name: String },
    #[error("{field} \"{text}\" of a {kind}; it has 1 to 256 bytes and no control characters")]
    Text { kind: &'static str, field: &'static str, text: String },
    #[error("the line \"{line}\" of a party; a line that documents show has 1 to 256 bytes and no control characters")]
    PartyLine { line: String },
    #[error(transparent)]
    Namesake(#[from] Namesake),
    #[error("{0}; names are stated once, in the contract or anew in a version")]
    Register(#[from] RegisterConflict),
}

/// The names that would have been right, each once: documents may state one name twice.
pub fn there_is<T: Display>(names: &[T]) -> String {
    let names: BTreeSet<String> = names.iter().map(ToString::to_string).collect();
    let names: Vec<String> = names.into_iter().collect();
    if names.is_empty() { String::new() } else { format!("; there is {}", names.join(", ")) }
}
