//! Why what is written would mean nothing where it stands, or something else than it says.

use crate::domain::ids::{DefinedTerm, TermId};
use crate::domain::period::LocalTime;
use chrono::NaiveDate;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmeant {
    #[error(
        "figure \"{figure}\" has a value at each instant, and here stands what is counted; make it an [amount] with each = window and name that, or write tiers with apply = \"level\""
    )]
    LevelCounted { figure: DefinedTerm },
    #[error(
        "figure \"{figure}\" has a value at each instant: over which window is it owed? write each = \"month\" or another"
    )]
    LevelWithoutWindow { figure: DefinedTerm },
    #[error(
        "figure \"{figure}\" is told by {attribute}, and this is of a whole window that is not; write per = [\"{attribute}\"]"
    )]
    LevelUntold { figure: DefinedTerm, attribute: String },
    #[error("each = \"item\", and no item comes to it; write each = \"month\" or another window")]
    NothingByItem,
    #[error("nothing that it counts comes by what per names; write a term for each, or count a base")]
    NothingPer,
    #[error("a counter is of more than one item; write each = \"month\", \"year\", \"term\" or a [period]")]
    CounterOfItem,
    #[error(
        "it counts from before {first}, the first of the starts of its windows; count from then, or list the ones before"
    )]
    CounterBeforeStarts { first: NaiveDate },
    #[error("a figure is made over a window, not for an item; write \"month\", \"year\" or a [period]")]
    FigureOfItem,
    #[error(
        "annual is of the days of each window; write each = \"month\" or another, in the term or in an [amount] that is named here"
    )]
    Annual,
    #[error(
        "tiers of a parameter are of a level: apply = \"level\" with of = a figure, or with read = \"at_item\" and each = \"term\"; others stand beside the rate, in the term"
    )]
    ParameterTiers,
    #[error(
        "the cap is counted per {attribute}, which the term does not tell apart; write per = [\"{attribute}\"] there too"
    )]
    CapPer { attribute: String },
    #[error(
        "{of} is owed per {attribute}, which this term does not tell apart; write per = [\"{attribute}\"] here too"
    )]
    CreditPer { of: TermId, attribute: String },
    #[error(
        "it is of a whole window, in which {attribute} is not told apart; write per = [\"{attribute}\"], or select by it in a [base]"
    )]
    Untold { attribute: String },
    #[error(
        "missing = \"last\" is of a figure that is told as a whole; leave out about, or write missing = \"stop\", \"zero\" or \"nothing\""
    )]
    LastOfMany,
    #[error(
        "a part of the last one is of what is told for a time, and a level holds until the next; write missing = \"last\" or \"stop\""
    )]
    PartOfLastLevel,
    #[error("basis says when charges and billings count, and this base selects none; write it in the base that does")]
    BasisOfNothing,
    #[error("valued_at is the price of what charges count when they occur; select charges, without another basis")]
    ValuedAt,
    #[error(
        "it ends at {end}, before the contract begins at {begins}, and never holds; write a later date, or leave it out"
    )]
    EndsBeforeContract { end: LocalTime, begins: LocalTime },
    #[error("that is before the contract begins at {begins}; write a date from then on")]
    BeforeContract { begins: LocalTime },
    #[error(
        "{field} is zero or more; what comes off stands in less = [..], and what is owed the other way is another term"
    )]
    BelowZero { field: &'static str },
    #[error("no fact is paid for; write at_most = 1 or more, or leave the term out")]
    AtMostNone,
    #[error("that is no time at all; write a length such as \"12 months\", or leave it out")]
    LastsNone,
    #[error(
        "a tail comes after an end, and this term has none; write through, until or lasts, or leave the tail out: it ends once a version drops the term"
    )]
    TailOfNoEnd,
    #[error("what is carried into no window is not carried; write carry_for = 1 or more, or leave out carry")]
    CarriedNowhere,
    #[error("nothing of it is cut: it has no windows that begin anew; leave pro_rata out, or write each = a window")]
    NothingCut,
}
