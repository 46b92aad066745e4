//! Why a document is refused: the place, the block and clause, the text at fault, and what would be right.

use super::document::Location;
use super::unmeant::Unmeant;
use crate::domain::ids::{ContractId, DefinedTerm, PartyId, TermId};
use crate::domain::money::{Exact, ParseExactError, ParseMoneyError, UnknownCurrency};
use crate::domain::names::{Unfit, nearest, there_is};
use crate::domain::period::{LocalTime, ParseInstantError, ParseLengthError};
use crate::domain::register::{Namesake, RegisterConflict};
use std::fmt::{self, Display};

/// Why a document cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    pub at: Location,
    /// The block at fault, such as `term revenue-share`; empty outside of blocks.
    pub block: String,
    /// The heading above it.
    pub clause: String,
    /// The text at fault, such as `of = "Revenu"`; empty where the block as a whole is.
    pub found: String,
    pub problem: Problem,
}

impl std::error::Error for ReadError {}

impl Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, block, clause, found, problem } = self;
        write!(f, "{at}: ")?;
        match (block.is_empty(), clause.is_empty()) {
            (false, false) => write!(f, "{block} (\"{clause}\"): ")?,
            (false, true) => write!(f, "{block}: ")?,
            (true, false) => write!(f, "\"{clause}\": ")?,
            (true, true) => {}
        }
        match found.is_empty() {
            true => write!(f, "{problem}"),
            false => write!(f, "{found}\n  {problem}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    // The document.
    #[error("{0}")]
    Toml(String),
    #[error("{}", all_missing(.fields))]
    MissingFields { fields: Vec<MissingField> },
    #[error(transparent)]
    UnknownWord(Unfit),
    #[error("text stands in quotes: write {write}")]
    Bare { write: String },
    #[error("{what} stands here, without quotes")]
    Plain { what: &'static str },
    #[error("{what} stands here: write {write}")]
    Shape { what: &'static str, write: String },
    #[error("the head of a block names it, in single brackets: write {write}")]
    Head { write: String },
    #[error("a name with other signs than a-z, A-Z, 0-9, - and _ stands in quotes: write {write}")]
    BareHead { write: String },
    #[error("a second [version]; write each in a file of its own, with contract = \"its-id\"")]
    SecondVersion,
    #[error("a second [{head}]; write all of it in one, or give each a name of its own")]
    SecondBlock { head: String },
    #[error("`{name}` stands twice in its block; write it once")]
    FieldTwice { name: String },
    #[error("unknown field `{name}`{}", there_is(&nearest(.name, .known)))]
    UnknownField { name: String, known: Vec<String> },
    #[error("a {block} in a file without {}", if *.in_version { "[version], which would not be read; write [version] with number and effective" } else { "[contract] or [version]; nothing would read it" })]
    StrayBlock { block: &'static str, in_version: bool },
    #[error("{found} would be passed over; write ```toml at the start of a line, or ```text for what is no block")]
    PassedOver { found: &'static str },
    #[error("a NUL character, which cannot be stored")]
    Nul,
    #[error("version {number}; numbers are 1 to 2147483647")]
    VersionNumber { number: u32 },
    #[error("a version without a contract; write [contract] in this file, or contract = \"its-id\" in [version]")]
    NoContract,
    #[error("a contract file and its versions are of \"{expected}\"; this one says \"{found}\"")]
    OtherContract { expected: ContractId, found: String },
    #[error("no version; write [version] with number and effective")]
    NoVersion,
    #[error(transparent)]
    Example(#[from] super::example::ExampleProblem),

    // Names.
    #[error("no {kind} \"{name}\"{}{}", there_is(&nearest(.name, .known)), declared_as(.kind, .name))]
    Unknown { kind: &'static str, name: String, known: Vec<String> },
    #[error("the name \"{name}\" of a {kind}; a name has 1 to 256 bytes and no control characters")]
    Name { kind: &'static str, name: String },
    #[error("\"{name}\" is a {other} and a {kind}; give each a name of its own")]
    TwoKinds { name: String, kind: &'static str, other: &'static str },
    #[error("no term is under cap \"{name}\"; write cap = \"{name}\" in a term, or leave the block out")]
    UnusedCap { name: String },
    #[error("{field} \"{text}\" of a {kind}; it has 1 to 256 bytes and no control characters")]
    Text { kind: &'static str, field: &'static str, text: String },
    #[error("the line \"{line}\" of a party; a line that documents show has 1 to 256 bytes and no control characters")]
    PartyLine { line: String },
    #[error(transparent)]
    Namesake(#[from] Namesake),
    #[error("{0}; names are stated once, in the contract or anew in a version")]
    Register(#[from] RegisterConflict),
    #[error("they are made of each other in a circle: {}", .path.join(" -> "))]
    Circle { path: Vec<String> },
    #[error("unknown zone \"{zone}\"; write an IANA name such as \"America/Los_Angeles\"")]
    UnknownZone { zone: String },
    #[error(transparent)]
    Currency(#[from] UnknownCurrency),

    // Time.
    #[error("{field} is no date or instant; write 2026-04-27 or 2026-04-27T00:00:00-07:00")]
    NoDate { field: &'static str },
    #[error("a date stands here; write it without quotes, such as 2026-04-27")]
    NoDay,
    #[error("no date or instant of the calendar; write 2026-04-27 or 2026-04-27T00:00:00-07:00")]
    NotInCalendar,
    #[error(transparent)]
    Instant(#[from] ParseInstantError),
    #[error("it ends at {end}, before it begins at {from}")]
    EndsBeforeStart { from: LocalTime, end: LocalTime },
    #[error("it ends by `through` and by `lasts`; write one of the two")]
    TwoEnds,
    #[error(transparent)]
    Length(ParseLengthError),
    #[error(
        "write \"45 days after period\"; or after window, receipt, invoice or a fact, in days, business days or months"
    )]
    Due,
    #[error(
        "business days are counted by a calendar; write calendar = \"its-name\" in [contract], and [calendar.its-name] with holidays"
    )]
    NoCalendar,
    #[error("a period is every = \"12 months\" with from, every = \"1 week\" with first_day, or starts = [dates]")]
    Period,
    #[error("windows are of whole months; write \"1 month\", \"3 months\" or \"12 months\"")]
    Every,
    #[error("starts are two dates or more, each after the one before; the last ends the last window")]
    Starts,
    #[error("a contract is settled by month, quarter, year, week or a [period] with dates")]
    NoSettlementPeriod,
    #[error("windows are counted from 1: write 3, or \"1-6\"")]
    Ordinals,
    #[error("the place of a window, where there are none; write each = \"month\" or another window")]
    PeriodWithoutWindows,
    #[error("dates stand in the order of time, each once")]
    DatesRise,

    // Values.
    #[error("an unquoted number is inexact{}: write {write}", if .field == &"rate" { ", and a rate is a percentage or fraction" } else { "" })]
    Unquoted { field: &'static str, write: String },
    #[error("{field}: {problem}")]
    Number { field: &'static str, problem: ParseExactError },
    #[error("{field}: {problem}")]
    Money { field: &'static str, problem: ParseMoneyError },
    #[error("{field} has no currency; write an amount such as \"1_000.50 {unit}\"")]
    NoUnit { field: &'static str, unit: String },
    #[error("{field} is in {found}, and has to be in {expected}")]
    OtherUnit { field: &'static str, found: String, expected: String },
    #[error("a unit named \"{name}\" cannot be told from the currency; give it a name of its own")]
    UnitIsCurrency { name: String },
    #[error("{field} is in \"{found}\", which is no currency and no [unit] of the contract")]
    UnknownUnit { field: &'static str, found: String },
    #[error(
        "{field} is a plain number, a percentage or a fraction, not an amount in {found}; write \"20%\", \"0.2\" or \"1/5\""
    )]
    UnitOfNumber { field: &'static str, found: String },
    #[error(
        "rate {rate} is above 1; {}if more than all of it is meant, write above_one = true", .percent.as_ref().map(|it| format!("write \"{it}%\", or, ")).unwrap_or_default()
    )]
    RateAboveOne {
        rate: Exact,
        /// What stands there, if it lacks the sign of a percentage.
        percent: Option<String>,
    },
    #[error("rate {rate} is negative; a flipped direction is another term")]
    RateNegative { rate: Exact },
    #[error("a percentage has no space in it: write {write}")]
    SpacedPercent { write: String },
    #[error("{field} is a number, not a date")]
    DateAsNumber { field: &'static str },
    #[error("{field} is one number here, without rows, notices or figures")]
    OneNumber { field: &'static str },
    #[error("rows stand in a list: [{{ .. }}, {{ otherwise = .. }}]")]
    LoneRow,
    #[error("a row stands here, such as {{ through = 2028-12-31, is = \"20%\" }} or {{ otherwise = \"10%\" }}")]
    NoRow,
    #[error("a row has conditions (from, through, where, period, up_to, below) and `is`, or `otherwise` alone")]
    Row,
    #[error("no row after `otherwise` ever holds")]
    AfterOtherwise,
    #[error("a row before it holds whenever it would, so it never does")]
    Unreachable,
    #[error("dates of a row before it, which holds first, lie within its own; begin where that one ends")]
    DatesOverlap,
    #[error("bands rise: after {after} comes {found}, which never holds")]
    BandsFall { after: String, found: String },
    #[error(
        "{field} stops at {edge}: what holds above it? end with {{ otherwise = \"{example}\" }}, or with {{ otherwise = \"none\" }}"
    )]
    BandsEnd { field: &'static str, edge: String, example: String },
    #[error(
        "what is {field} for all others? end with {{ otherwise = \"{example}\" }}, with {{ otherwise = \"none\" }}, or with {{ otherwise = \"stop\" }}"
    )]
    RowsEnd { field: &'static str, example: String },
    #[error("a band ends by up_to (its edge included) or below (excluded), not by both")]
    TwoEdges,
    #[error("bands of what? write tiers = {{ apply = \"marginal\", each = \"year\", from = 2026-01-01 }} beside them")]
    BandsWithoutTiers,
    #[error("set_by stands with between = [least, most], and without tiers")]
    SetBy,
    #[error("the bounds fall; write between = [least, most]")]
    BoundsFall,
    #[error("the value is out of its own bounds")]
    OutOfBounds,

    // Selections, bases and figures.
    #[error("select = {{ .. }} names one of charges, billings, units, facts, figure, accrual, base and amount")]
    Selector,
    #[error("`as` says when an accrual counts; nothing else has it")]
    AsWithoutAccrual,
    #[error("what is paid of a term is not recorded; draw on it where it is owed, without `as` or with as = \"owed\"")]
    ReceivedAccrual,
    #[error("{name} stands twice; an item has one value of it")]
    AttributeTwice { name: String },
    #[error("an empty list selects nothing; name at least one, or leave the attribute out")]
    NoValues,
    #[error("an attribute has a name as its value, not true or false; facts have these")]
    Flag,
    #[error("this fact names a party; write which")]
    FactOfParty,
    #[error("this fact holds or does not; write true or false")]
    FactOfTruth,
    #[error("`not` names what is left out; write true there, or false in the selection itself")]
    NotFalse,
    #[error("base selects nothing; name charges, a figure or an accrual")]
    EmptyBase,
    #[error("it is selected twice, and would count twice; select it once")]
    SelectedTwice,
    #[error("deductions \"{category}\" stand twice in one base; list each once, at one place")]
    RepeatedDeduction { category: String },
    #[error("does {what} count where its sale did (at = \"item\") or on its own date (at = \"own_date\")?")]
    NoPlace { what: String },
    #[error(
        "what reduces a base is deductions = [..], a figure, accrual, base or amount, or a node such as {{ rate, of }}; sales are named as a [base] first"
    )]
    LessKind,
    #[error("a fixed sum would come off at each item; make it an [amount] with each = window, and name that here")]
    FixedInBase,
    #[error("a base with `above` is above zero; below_zero says nothing there")]
    AboveAndBelowZero,
    #[error("{one} and {other} cannot be one base; make two")]
    MixedUnits { one: String, other: String },
    #[error("it is {found}, where {wanted} is needed")]
    OtherMeasure { found: String, wanted: String },
    #[error(
        "it is {found}, where {wanted} is needed, and a value that is looked up is not converted; report it in {wanted}"
    )]
    NotConverted { found: String, wanted: String },
    #[error("it is {found}, where {wanted} is needed; write [fx] with source and date, by which one becomes the other")]
    NoFx { found: String, wanted: String },
    #[error("missing is \"stop\", \"zero\", \"nothing\", \"last\" or \"120% of last\"")]
    Missing,
    #[error(
        "what holds while it is missing? write missing = \"stop\", \"zero\", \"nothing\", \"last\" or \"120% of last\""
    )]
    NoMissing,
    #[error("a figure that is made of others is missing when they are; they say what holds then")]
    MissingOfDerived,
    #[error(
        "a figure is reported, or average_of or growth_of one, ratio_of = [a, b], each with over = window; or left_of = window"
    )]
    DerivedFigure,
    #[error("a ratio is a plain number: unit = \"%\"")]
    RatioUnit,
    #[error("a figure of kind = \"level\" stands here, which has a value at each instant")]
    NoLevel,
    #[error("the first release counts, for good; leave out skip, pick and lasts")]
    ReleaseCounts,
    #[error("a status begins and ends; skip and lasts are of events")]
    StatusCounts,

    // Nodes.
    #[error(
        "what is owed? write rate and of, price and of, fixed, greater_of, lesser_of or sum; or a minimum with `of`"
    )]
    NoNode,
    #[error(
        "one of: of with or without rate; price and of; fixed; greater_of; lesser_of; sum. Several nest, as in sum = [{{ .. }}, {{ .. }}]"
    )]
    NodeKinds,
    #[error(
        "a fixed sum is no part of anything; leave out what stands beside it, or write greater_of, lesser_of or sum = [{{ fixed = .. }}, {{ .. }}]"
    )]
    FixedBeside,
    #[error("a rate of what? write of = \"a base\"")]
    RateOfNothing,
    #[error("a price of what? write of = \"a base\" of units or facts")]
    PriceOfNothing,
    #[error("a price is per unit, and this is money; write rate for a part of it")]
    PriceOfMoney,
    #[error("blocks are of a price; write price and of")]
    BlocksWithoutPrice,
    #[error("per_units is above zero")]
    PerUnits,
    #[error(
        "what does a part of a block count? write part_block = \"whole\", \"none\", \"exact\", or \"running\" with block_from"
    )]
    NoPartBlock,
    #[error("part_block = \"running\" goes with block_from = date, from when on units fill blocks; no other does")]
    RunningBlocks,
    #[error("two nodes at least stand here")]
    OneNode,
    #[error("over which window? write each = \"month\", \"quarter\", \"year\", \"item\", \"term\" or a [period]")]
    NoWindow,

    // Terms.
    #[error("payer and payee are both \"{party}\"")]
    OwesItself { party: PartyId },
    #[error("\"{party}\" is a payee twice; give it one part")]
    PayeeTwice { party: PartyId },
    #[error("payee is a party, a list of {{ party, part }}, or {{ each, by, if_none }} for a pool by usage")]
    Payees,
    #[error("the parts make {total}, not 1")]
    PartsSum { total: Exact },
    #[error(
        "a pool is {{ each = attribute, by = base, if_none = \"equal\"|\"stop\"|\"nothing\" }}, with parties where the values are none"
    )]
    Pool,
    #[error("equal among whom? list them: parties = {{ value = \"party\" }}")]
    EqualAmongWhom,
    #[error("when is a fixed sum owed? write each = window, on = dates, or on = fact")]
    FixedWhen,
    #[error("owed by the window (each) or at a time (on), not both")]
    EachAndOn,
    #[error(
        "{field} has no part in what is owed at a time (on), which is of all that has come to by then; leave it out"
    )]
    OnWith { field: &'static str },
    #[error("a share of all that has come to by then is owed once; write one date, or a term for each")]
    OnDates,
    #[error(
        "tiers that count a measure of their own would count it for each table of bands; write one table, of a base of both"
    )]
    SeveralBanded,
    #[error("at_most counts how often a fact is paid for; write on = \"a fact\"")]
    AtMost,
    #[error(
        "what holds of {what} in a window that a start or end cuts? write pro_rata = \"full\", \"days\", \"months\" or \"none\" there or in [contract]"
    )]
    NoProRata { what: &'static str },
    #[error("tiers of what? write of = a base, amount, figure or term")]
    TiersOfNothing,
    #[error("tiers that count say over what and from when: each = \"year\", from = 2026-01-01")]
    TiersCount,
    #[error("tiers are {{ apply = \"marginal\"|\"whole\", each, from }}, or {{ apply = \"level\", of, read }}")]
    Tiers,
    #[error("an item by itself has no window to read a level in; write read = \"at_item\"")]
    ReadWithoutWindow,
    #[error(
        "a window begins with nothing of what is counted in it; write read = \"previous_window\", or \"at_item\" with each = \"term\""
    )]
    LevelAtStart,
    #[error("tiers, and no row with up_to or below beside them")]
    TiersWithoutBands,
    #[error("the opening {opening} is above the cap {limit}")]
    OpeningAboveCap { opening: Exact, limit: Exact },
    #[error("an opening is what had accrued before: zero or more")]
    OpeningNegative,
    #[error("a cap is over a window, or each = \"term\"; for one item write lesser_of with each = \"item\"")]
    CapOfItem,
    #[error("a term's own cap is in what the term is owed in; `in` is for shared caps")]
    UnitOfOwnCap,
    #[error("terms under cap \"{cap}\" have one {what}")]
    SharedCap { what: &'static str, cap: DefinedTerm },
    #[error("a minimum is over a window; for one item write greater_of with each = \"item\"")]
    MinimumOfItem,
    #[error("a minimum of what? write of = what counts toward it")]
    MinimumOfNothing,
    #[error("a minimum has a window of its own; each and on are of what the term yields")]
    WindowOfMinimum,
    #[error("carry_limit and carry_for limit what is carried; write carry = \"excess\" or \"shortfall\"")]
    NothingCarried,
    #[error("a cumulative minimum carries by itself; leave carry out, or cumulative")]
    CumulativeCarry,
    #[error("it is credited twice; once is all of it")]
    CreditTwice,
    #[error("a credit is of another term between the same two parties, in either direction")]
    CreditOfOthers,
    #[error("a limit below zero would be paid back to nobody; write the most that is paid back in all")]
    CreditLimitNegative,
    #[error("nobody owes an input, so nothing is set off against it or recouped of it; name a term that is owed")]
    CreditOfInput,
    #[error(
        "what is not set off stays owed; write rest = \"carried\", or \"lost\" where it is not to be set off later"
    )]
    SetOffRepaid,
    #[error(
        "what was paid in advance is recouped as a term accrues, what is owed the other way is set off at the period's end; write `{of}` after the advances"
    )]
    SetOffBeforeAdvance { of: TermId },
    #[error("`{of}` sets off what is owed the other way by itself; write the credits of either side in one term alone")]
    SetOffTwice { of: TermId },

    // Rights, and what stands beside terms.
    #[error(
        "a right is first = cloud with lead (release and waivers if any), or only = {{ .. }}, or licensor with licensee and exclusive; this one is none of them alone"
    )]
    RightKind,
    #[error(
        "only by {attribute}; a right is broken by where usage runs, so name a seller, operator, cloud, channel, region or deployment"
    )]
    OnlyByUsage { attribute: String },
    #[error("fact \"{name}\" is {found}; here stands {expected}")]
    WrongFact { name: String, found: &'static str, expected: &'static str },
    #[error("an effect has when = {{ of, reaches = .. }} or {{ of, falls_below = .. }}")]
    EffectTest,
    #[error("an open point says agree = what is to be agreed, or elsewhere = where it is written")]
    OpenWhat,
    #[error(
        "an audit's threshold stands with edge = \"over\"|\"at_least\", against = \"due\"|\"reported\" and cost = party"
    )]
    AuditThreshold,
    #[error("whose rates of exchange? write source = \"ECB\" or the like")]
    FxSource,
    #[error("the date of a rate is \"item\", \"period_end\" or a date")]
    FxDate,
    #[error("a rate of exchange is above zero, from one currency or unit to another")]
    FxRate,
    #[error("within is in days")]
    FxWithin,

    #[error(transparent)]
    Unmeant(#[from] Unmeant),
}

/// A field that a block lacks, and what to write there if that is one of few things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingField {
    pub name: String,
    pub write: Option<String>,
}

fn all_missing(fields: &[MissingField]) -> String {
    let names: Vec<String> = fields.iter().map(|field| format!("`{}`", field.name)).collect();
    let write = |it: &MissingField| {
        let write = it.write.as_ref()?;
        Some(if fields.len() > 1 { format!("{} = {write}", it.name) } else { write.clone() })
    };
    let to_write: Vec<String> = fields.iter().filter_map(write).collect();
    let (s, names) = (if fields.len() > 1 { "s" } else { "" }, names.join(", "));
    match to_write.is_empty() {
        true => format!("missing field{s} {names}"),
        false => format!("missing field{s} {names}; write {}", to_write.join("; ")),
    }
}

/// How what people wait for or report is declared: an agreement names it first.
fn declared_as(kind: &str, name: &str) -> String {
    let is_bare = name.chars().all(|it| it.is_ascii_alphanumeric() || it == '-' || it == '_');
    let name = if is_bare { name.to_owned() } else { format!("\"{name}\"") };
    match kind {
        "fact" | "fact or parameter" => {
            format!("; a new one is declared as [fact.{name}] with kind = \"event\" or \"status\"")
        }
        "figure" => format!("; a new one is declared as [figure.{name}] with unit, kind and missing"),
        _ => String::new(),
    }
}
