//! A history as the auditor knows it: plain data, from which contracts and records are also printed as a scenario.

use crate::time::DayCount;
use chrono::NaiveDate;
use chrono_tz::Tz;
use num_bigint::BigInt;
use num_rational::BigRational;

/// An exact number.
pub type Q = BigRational;

/// Microseconds since 1970, UTC.
pub type Micros = i64;

pub type Name = &'static str;

pub fn ratio(numerator: i64, denominator: i64) -> Q {
    Q::new(BigInt::from(numerator), BigInt::from(denominator))
}

pub fn whole(number: i64) -> Q {
    Q::from_integer(BigInt::from(number))
}

#[derive(Clone, Debug, Default)]
pub struct History {
    /// One draws on terms of those before it alone.
    pub contracts: Vec<Contract>,
    pub prices: Vec<Price>,
    pub rates: Vec<FxRate>,
    /// What is recorded at one instant is recorded in this order.
    pub records: Vec<Record>,
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    HalfUp,
    HalfEven,
    Down,
}

/// A stretch of time in which something is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Each {
    /// From Monday.
    Week,
    Month,
    Quarter,
    Year,
    /// A month from a date, or twelve, again and again.
    ContractMonth(NaiveDate),
    ContractYear(NaiveDate),
    Ever,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FxDate {
    Item,
    PeriodEnd,
    On(NaiveDate),
}

#[derive(Clone, Debug)]
pub struct Contract {
    pub id: Name,
    pub zone: Tz,
    pub currency: Name,
    pub mode: Mode,
    pub period: Each,
    pub fx_date: FxDate,
    pub fx_within: u32,
    /// A rate that the contract states itself.
    pub fx_stated: Option<(Name, Q)>,
    /// Numbers rise with `recorded_at`.
    pub versions: Vec<Version>,
}

#[derive(Clone, Debug)]
pub struct Version {
    pub number: u32,
    pub effective: When,
    pub recorded_at: Micros,
    pub terms: Vec<Term>,
    /// A cap of several terms, and their names.
    pub shared_cap: Option<Cap>,
    pub holds: Vec<Hold>,
}

/// A right by which usage of a product anywhere but on a cloud is held.
#[derive(Clone, Debug)]
pub struct Hold {
    pub name: Name,
    pub product: Name,
    pub only: Name,
}

/// A local date, or an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Date(NaiveDate),
    Instant(Micros),
}

#[derive(Clone, Debug)]
pub struct Term {
    pub name: Name,
    pub payer: Name,
    /// Each with its part; or, where there are no parts, by the use of products.
    pub payees: Payees,
    pub base: Base,
    pub how: How,
    pub from: Option<NaiveDate>,
    /// That day included.
    pub through: Option<NaiveDate>,
    /// A fact of that name ends it.
    pub until: Option<Name>,
    /// A fact of that name begins it.
    pub starts: Option<Name>,
    /// So many days after its end it goes on; of all, or of customers whom it had before.
    pub tail: Option<(u64, Tail)>,
    pub cap: CapOf,
    pub minimum: Option<Minimum>,
    /// The advance that its accruals pay back first.
    pub recoups: Option<Recoups>,
    pub once: bool,
    pub per_country: bool,
}

/// The advance that is paid back, up to how much in all, and whether the rest is repaid in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recoups {
    pub advance: Name,
    pub limit: Option<Q>,
    pub is_repaid: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    All,
    EarlierCustomers,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payees {
    One(Name),
    Parts(Vec<(Name, i64)>),
    /// By the quantity of requests of each product in the period; equal where there is none.
    ByUse(Vec<(Name, Name)>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CapOf {
    None,
    Own(Cap),
    Shared,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cap {
    pub is: Q,
    pub each: Each,
    pub from: NaiveDate,
    pub opening: Q,
    pub is_deferred: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    pub select: Vec<Select>,
    /// A customer whose items do not count.
    pub not_customer: Option<Name>,
    pub less: Vec<(Name, Place)>,
    pub basis: Basis,
    pub below_zero: BelowZero,
    /// Only what comes after so much, counted from a date.
    pub above: Option<(Q, Each, NaiveDate)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    Occurred,
    Invoiced,
    Received,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BelowZero {
    Keep,
    Zero,
    Carried,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Item,
    OwnDate,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Select {
    /// No products: all.
    Charges {
        seller: Name,
        products: Vec<Name>,
    },
    /// Quantities of a meter.
    Units {
        meter: Name,
    },
    /// What a party reports, which counts with this sign.
    Figure {
        name: Name,
    },
    Accrual {
        contract: usize,
        term: Name,
    },
}

/// How a term yields.
#[derive(Clone, Debug, PartialEq)]
pub enum How {
    Rate(Rate),
    /// A price for so many units; what of a block without all of its units.
    Price {
        price: Q,
        per_units: Q,
        blocks: Blocks,
    },
    Tiers {
        is_whole: bool,
        /// Of whole ones: whether their rates are of a year, for the days of each window.
        annual: Option<DayCount>,
        each: Each,
        from: NaiveDate,
        bands: Vec<Band>,
        above: Q,
    },
    /// The greater, or the lesser, of a share and a fixed amount, or of two shares, of a window or of each item.
    Either {
        is_greater: bool,
        each: Option<Each>,
        rate: Q,
        other: Other,
    },
    /// Owed on dates.
    OnDates {
        amount: Q,
        dates: Vec<NaiveDate>,
    },
    /// Owed each time a fact happens, so often.
    OnFact {
        amount: Q,
        fact: Name,
        at_most: usize,
    },
    /// Owed for each window.
    Fixed {
        amount: Q,
        each: Each,
        pro_rata: ProRata,
    },
    /// What lacks of a minimum is owed, and nothing else.
    Commitment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    Whole,
    None,
    Exact,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Other {
    Amount(Q),
    Rate(Q),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    pub edge: Q,
    /// Whether the edge itself belongs to it.
    pub is_inclusive: bool,
    pub rate: Q,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProRata {
    Full,
    Days,
    Months,
    None,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rate {
    Flat(Q),
    /// The first row that matches holds.
    Rows(Vec<(Condition, Q)>, Option<Q>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    Through(NaiveDate),
    From(NaiveDate),
    Product(Name),
    Country(Name),
    /// While a status of that name holds.
    Status(Name),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minimum {
    pub is: Q,
    pub each: Each,
    pub carry: Carry,
    pub is_outside_cap: bool,
    pub pro_rata: ProRata,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carry {
    None,
    Cumulative,
    Excess,
    Shortfall,
}

/// A unit price of a product's meter.
#[derive(Clone, Debug)]
pub struct Price {
    pub id: String,
    pub product: Name,
    pub meter: Name,
    pub customer: Option<Name>,
    pub channel: Option<Name>,
    pub context_over: Option<i64>,
    pub price: Q,
    pub currency: Name,
    pub from: Option<Micros>,
    /// Exclusive.
    pub to: Option<Micros>,
    pub recorded_at: Option<Micros>,
}

#[derive(Clone, Debug)]
pub struct FxRate {
    pub date: NaiveDate,
    pub from: Name,
    pub to: Name,
    pub rate: Q,
    pub recorded_at: Option<Micros>,
}

#[derive(Clone, Debug)]
pub struct Record {
    pub source: Name,
    pub id: String,
    pub recorded_at: Micros,
    pub what: What,
}

impl Record {
    /// Whether it tells something of a contract after one.
    pub fn is_of_contract_after(&self, place: usize) -> bool {
        match self.what {
            What::Figure { contract, .. }
            | What::Event { contract, .. }
            | What::Status { contract, .. }
            | What::Decision { contract, .. } => contract > place,
            _ => false,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    Usage(Usage),
    /// A line of an invoice, of one usage event of the same source; or of none: then of what was sold.
    Billing {
        of: Option<String>,
        sold: (Name, Name, Name),
        at: Micros,
        amount: Q,
        currency: Name,
    },
    /// Of one usage event, billing or receipt of the same source; or of none: what a deployment sold of a product to a
    /// customer.
    Deduction {
        of: Option<String>,
        sold: (Name, Name, Name),
        category: Name,
        at: Micros,
        amount: Q,
        currency: Name,
    },
    /// Of one usage event, or one billing, of the same source.
    Receipt {
        of: String,
        at: Micros,
        amount: Q,
        currency: Name,
    },
    /// A flow of a contract.
    Figure {
        contract: usize,
        name: Name,
        from: NaiveDate,
        through: NaiveDate,
        value: Q,
    },
    Event {
        contract: usize,
        name: Name,
        at: Micros,
    },
    Status {
        contract: usize,
        name: Name,
        at: Micros,
        until: Option<Micros>,
    },
    /// On one usage event of the same source.
    Decision {
        contract: usize,
        right: Name,
        of: String,
        releases: bool,
    },
    Correction {
        of: String,
        restated: Restated,
    },
    Void {
        of: String,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    pub at: Micros,
    pub deployment: Name,
    pub product: Name,
    pub customer: Name,
    pub country: Option<Name>,
    pub requests: Q,
    pub tokens: Q,
}

/// The fields that a correction restates.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restated {
    pub at: Option<Micros>,
    pub product: Option<Name>,
    pub deployment: Option<Name>,
    pub quantities: Option<(Q, Q)>,
    pub amount: Option<Q>,
    pub until: Option<Micros>,
}

#[derive(Clone, Debug)]
pub enum Step {
    Settle { contract: usize, period: NaiveDate, cutoff: Micros },
    Close { contract: usize, period: NaiveDate },
    Entitlement { contract: usize, through: NaiveDate, known_at: Micros },
}

/// The deployments, each with its seller, channel, cloud and operator.
pub const DEPLOYMENTS: [(Name, Option<Name>, Name, Name, Name); 4] = [
    ("direct", Some("lab"), "direct", "azure", "lab"),
    ("hosted", Some("cloud"), "hosted", "azure", "cloud"),
    ("resold", Some("shop"), "market", "aws", "shop"),
    ("own-use", None, "internal", "aws", "lab"),
];

pub const PARTIES: [Name; 6] = ["lab", "cloud", "shop", "p1", "p2", "p3"];
pub const PRODUCTS: [Name; 3] = ["p", "q", "r"];
pub const CUSTOMERS: [Name; 3] = ["c1", "c2", "c3"];
pub const COUNTRIES: [Name; 2] = ["DE", "FR"];
pub const CATEGORIES: [Name; 2] = ["refund", "tax"];

pub fn seller(deployment: Name) -> Option<Name> {
    DEPLOYMENTS.iter().find(|it| it.0 == deployment).and_then(|it| it.1)
}

pub fn cloud(deployment: Name) -> Name {
    DEPLOYMENTS.iter().find(|it| it.0 == deployment).map(|it| it.3).unwrap_or_default()
}

pub fn channel(deployment: Name) -> Name {
    DEPLOYMENTS.iter().find(|it| it.0 == deployment).map(|it| it.2).unwrap_or_default()
}
