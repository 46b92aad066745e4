//! The price book: dated unit prices, and which one is in force for an item (CONTRACTS section 2).

use super::csv_table::{AtLine, CsvRow, CsvTable, InColumn, TableProblem, instant, of_column};
use super::ids::{ProductId, is_name};
use super::money::{Currency, Exact, ParseExactError, UnknownCurrency};
use super::period::{Instant, ParseInstantError};
use super::usage::{Meter, UnknownMeter};
use rust_decimal::Decimal;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

/// Whose price it is. The order decides: a later variant wins over an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Narrowing {
    Any,
    Channel(String),
    Region(String),
    Customer(String),
}

/// One unit price: `amount` of `currency` per `per_units` units of a meter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Price {
    pub id: String,
    pub product: ProductId,
    pub meter: Meter,
    /// Matches exactly that service tier.
    pub service_tier: String,
    pub narrowing: Narrowing,
    /// Holds for requests whose context has strictly more tokens than this; 0 where it holds for all.
    pub context_over: u64,
    pub amount: Decimal,
    pub per_units: NonZeroU64,
    pub currency: Currency,
    pub from: Option<Instant>,
    /// Exclusive.
    pub to: Option<Instant>,
    pub source: String,
}

impl Price {
    /// Per single unit, exact.
    pub fn unit_price(&self) -> Exact {
        Exact::from(self.amount) / self.per_units
    }

    fn holds_at(&self, at: Instant) -> bool {
        self.from.is_none_or(|from| from <= at) && self.to.is_none_or(|to| at < to)
    }

    fn narrows_to(&self, query: &PriceQuery<'_>) -> bool {
        match &self.narrowing {
            Narrowing::Any => true,
            Narrowing::Channel(channel) => channel == query.channel,
            Narrowing::Region(region) => region == query.region,
            Narrowing::Customer(customer) => customer == query.customer,
        }
    }
}

/// What a price is asked for.
#[derive(Clone, Copy, Debug)]
pub struct PriceQuery<'a> {
    pub product: &'a ProductId,
    pub meter: Meter,
    pub service_tier: &'a str,
    pub customer: &'a str,
    pub region: &'a str,
    pub channel: &'a str,
    /// A number of tokens that the context exceeds: the lower end of its band, exclusive.
    pub context_exceeds: u64,
    pub at: Instant,
}

/// All prices as known at one instant, in the order of their recording.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PriceBook {
    by_product: BTreeMap<ProductId, Vec<Price>>,
}

impl PriceBook {
    /// `prices` in the order of their recording: of equal ones the last holds.
    pub fn new(prices: impl IntoIterator<Item = Price>) -> Self {
        let mut by_product: BTreeMap<ProductId, Vec<Price>> = BTreeMap::new();
        for price in prices {
            by_product.entry(price.product.clone()).or_default().push(price);
        }
        Self { by_product }
    }

    /// The price in force: customer before region before channel before none, then the highest context
    /// threshold that is exceeded, then the last recorded.
    pub fn in_force(&self, query: &PriceQuery<'_>) -> Option<&Price> {
        self.by_product
            .get(query.product)?
            .iter()
            .filter(|price| price.meter == query.meter && price.service_tier == query.service_tier)
            .filter(|price| price.context_over <= query.context_exceeds)
            .filter(|price| price.holds_at(query.at) && price.narrows_to(query))
            // `max_by_key` keeps the last of equals, which is the last recorded.
            .max_by_key(|price| (&price.narrowing, price.context_over))
    }

    /// Whether the price in force depends on the context, whatever that of the query is.
    pub fn depends_on_context(&self, query: &PriceQuery<'_>) -> bool {
        self.in_force(&PriceQuery { context_exceeds: u64::MAX, ..*query })
            .is_some_and(|longest| longest.context_over > 0)
    }

    /// The instants at which some price begins or ends.
    pub fn boundaries(&self) -> impl Iterator<Item = Instant> {
        self.by_product.values().flatten().flat_map(|price| [price.from, price.to]).flatten()
    }

    /// The context thresholds of each product, in tokens, exclusive.
    pub fn thresholds(&self) -> BTreeMap<ProductId, BTreeSet<u64>> {
        let mut thresholds: BTreeMap<ProductId, BTreeSet<u64>> = BTreeMap::new();
        for price in self.by_product.values().flatten().filter(|price| price.context_over > 0) {
            thresholds.entry(price.product.clone()).or_default().insert(price.context_over);
        }
        thresholds
    }
}

/// Why a price book cannot be read, and in which line.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PriceBookError {
    pub line: usize,
    pub problem: PriceProblem,
}

#[derive(Debug, thiserror::Error)]
pub enum PriceProblem {
    #[error(transparent)]
    Table(#[from] TableProblem),
    #[error("price \"{id}\" stands twice; give each price an id of its own")]
    RepeatedId { id: String },
    #[error(transparent)]
    Meter(#[from] UnknownMeter),
    #[error(transparent)]
    Currency(#[from] UnknownCurrency),
    #[error(transparent)]
    Instant(#[from] ParseInstantError),
    #[error(transparent)]
    Amount(#[from] ParseExactError),
    #[error(transparent)]
    Column(#[from] InColumn<Self>),
    #[error("{text} does not fit; write a decimal of zero or more with at most 28 digits")]
    AmountOutOfRange { text: String },
    #[error("per is 0 or empty; write how many units the price is for")]
    PerZero,
    #[error("{column} is {text}; write a whole number of at most 9223372036854775807, such as 1000000")]
    Count { column: &'static str, text: String },
    #[error("the id \"{id}\"; it has 1 to 256 bytes and no control characters")]
    Id { id: String },
    #[error("{field} \"{text}\"; it has 1 to 256 bytes and no control characters")]
    Text { field: &'static str, text: String },
    #[error("a NUL character, which cannot be stored")]
    Nul,
    #[error("names more than one of customer, region, channel; write one entry for each")]
    SeveralNarrowings,
    #[error("ends at or before it begins")]
    EndsBeforeStart,
    #[error("recorded_at is stamped when a price book is loaded; only the prices of a scenario state it")]
    RecordedAt,
}

/// The columns of a price book.
const COLUMNS: [&str; 14] = [
    "id",
    "product",
    "meter",
    "service_tier",
    "customer",
    "region",
    "channel",
    "context_over",
    "price",
    "per",
    "currency",
    "from",
    "to",
    "source",
];

/// A price with the time at which it was recorded; none where it was known from the start.
pub type RecordedPrice = (Option<Instant>, Price);

/// Reads a price book: CSV with the header
/// `id,product,meter,service_tier,customer,region,channel,context_over,price,per,currency,from,to,source`.
/// Each price comes with its line.
///
/// # Errors
/// The first line that is wrong.
pub fn read_price_book(text: &str) -> Result<Vec<AtLine<Price>>, PriceBookError> {
    let unstamped = |(line, (recorded_at, price)): AtLine<RecordedPrice>| match recorded_at {
        None => Ok((line, price)),
        // When a price is recorded is told by the clock of the database.
        Some(_) => Err(PriceBookError { line, problem: PriceProblem::RecordedAt }),
    };
    read_recorded_price_book(text)?.into_iter().map(unstamped).collect()
}

/// Reads a price book that may have one more column, `recorded_at`, as a scenario's has; each price with its line.
///
/// # Errors
/// The first line that is wrong.
pub fn read_recorded_price_book(text: &str) -> Result<Vec<AtLine<RecordedPrice>>, PriceBookError> {
    let mut ids = BTreeSet::new();
    let mut prices = Vec::new();
    let of_table = |(line, problem): AtLine<TableProblem>| PriceBookError { line, problem: problem.into() };
    let mut table = CsvTable::open(text, COLUMNS).map_err(of_table)?;
    for row in table.rows() {
        let (line, row) = row.map_err(of_table)?;
        let fail = |problem| PriceBookError { line, problem };
        let recorded_at = of_column("recorded_at", row.recorded_at()).map_err(|error| fail(error.into()))?;
        let price = price_of_row(&row).map_err(fail)?;
        if !ids.insert(price.id.clone()) {
            return Err(fail(PriceProblem::RepeatedId { id: price.id }));
        }
        prices.push((line, (recorded_at, price)));
    }
    Ok(prices)
}

fn price_of_row(row: &CsvRow<'_, { COLUMNS.len() }>) -> Result<Price, PriceProblem> {
    let [id, product, meter, tier, customer, region, channel, over, price, per, currency, from, to, source] =
        row.cells();
    // What narrows a price may be left out; a product is looked up.
    let narrowings = [("customer", customer), ("region", region), ("channel", channel)];
    let stated = narrowings.into_iter().filter(|(_, text)| !text.is_empty());
    for (field, text) in stated.chain([("service_tier", tier)]) {
        if !is_name(text) {
            return Err(PriceProblem::Text { field, text: text.escape_debug().to_string() });
        }
    }
    if source.contains('\0') {
        return Err(PriceProblem::Nul);
    }
    let narrowing = match [customer, region, channel] {
        ["", "", ""] => Narrowing::Any,
        [customer, "", ""] => Narrowing::Customer(customer.to_owned()),
        ["", region, ""] => Narrowing::Region(region.to_owned()),
        ["", "", channel] => Narrowing::Channel(channel.to_owned()),
        _ => return Err(PriceProblem::SeveralNarrowings),
    };
    let (per, context_over) = (count("per", per)?, count("context_over", over)?);
    if !is_name(id) {
        return Err(PriceProblem::Id { id: id.escape_debug().to_string() });
    }
    let (from, to) = (of_column("from", instant(from))?, of_column("to", instant(to))?);
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        return Err(PriceProblem::EndsBeforeStart);
    }
    Ok(Price {
        id: id.to_owned(),
        product: ProductId::from(product),
        meter: of_column("meter", meter.parse())?,
        service_tier: tier.to_owned(),
        narrowing,
        context_over: context_over.unwrap_or(0),
        amount: of_column("price", unit_amount(price))?,
        per_units: per.and_then(NonZeroU64::new).ok_or(PriceProblem::PerZero)?,
        currency: of_column("currency", currency.parse())?,
        from,
        to,
        source: source.to_owned(),
    })
}

/// A whole number that the database can hold; none where the cell is empty.
fn count(column: &'static str, text: &str) -> Result<Option<u64>, PriceProblem> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = text.parse().ok().filter(|number| i64::try_from(*number).is_ok());
    number.map(Some).ok_or_else(|| PriceProblem::Count { column, text: text.escape_debug().to_string() })
}

/// Zero or more, and held exactly: `Decimal` would round what has more digits than it can hold.
fn unit_amount(text: &str) -> Result<Decimal, PriceProblem> {
    let exact = Exact::from_written(text)?;
    (0..=Decimal::MAX_SCALE)
        .find_map(|digits| exact.to_decimal(digits))
        .filter(|amount| !amount.is_sign_negative())
        .ok_or_else(|| PriceProblem::AmountOutOfRange { text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::period::parse_instant;

    const HEADER: &str =
        "id,product,meter,service_tier,customer,region,channel,context_over,price,per,currency,from,to,source\n";

    fn in_force(rows: &str, change: impl Fn(&mut PriceQuery<'_>)) -> Option<String> {
        let read = read_price_book(&format!("{HEADER}{rows}")).expect("a price book");
        let book = PriceBook::new(read.into_iter().map(|(_, price)| price));
        let product = ProductId::from("m");
        let mut query = PriceQuery {
            product: &product,
            meter: Meter::InputTokens,
            service_tier: "default",
            customer: "c",
            region: "r",
            channel: "ch",
            context_exceeds: 0,
            at: parse_instant("2026-05-01T00:00:00Z").expect("an instant"),
        };
        change(&mut query);
        book.in_force(&query).map(|price| price.id.clone())
    }

    #[test]
    fn customer_before_region_before_channel_before_none() {
        let any = "any,m,input_tokens,default,,,,,1,1,USD,,,s\nlong,m,input_tokens,default,,,,100,2,1,USD,,,s\n";
        let channel = "channel,m,input_tokens,default,,,ch,,1,1,USD,,,s\n";
        let region = "region,m,input_tokens,default,,r,,,1,1,USD,,,s\n";
        let customer = "customer,m,input_tokens,default,c,,,,1,1,USD,,,s\n";
        let check = |rows: &[&str], exceeds: u64, expect: &str| {
            let found = in_force(&rows.concat(), |query| query.context_exceeds = exceeds);
            assert_eq!(found.as_deref(), Some(expect));
        };
        check(&[any], 0, "any");
        check(&[any], 100, "long");
        // The channel's own price wins over the general one even for a long context.
        check(&[any, channel], 100, "channel");
        check(&[any, region, channel], 100, "region");
        check(&[customer, any, region, channel], 100, "customer");
    }

    #[test]
    fn tiers_match_exactly_and_ends_are_exclusive() {
        let rows = "old,m,input_tokens,default,,,,,1,1,USD,,2026-05-01T00:00:00Z,s\nnew,m,input_tokens,default,,,,,2,1,USD,2026-05-01T00:00:00Z,,s\n";
        assert_eq!(in_force(rows, |_| ()).as_deref(), Some("new"));
        let before = |query: &mut PriceQuery<'_>| query.at = crate::domain::period::last_instant_before(query.at);
        assert_eq!(in_force(rows, before).as_deref(), Some("old"));
        let old = rows.lines().next().expect("a row");
        assert_eq!(in_force(old, before).as_deref(), Some("old"));
        assert_eq!(in_force(old, |_| ()), None);
        assert_eq!(in_force(rows, |query| query.service_tier = "batch"), None);
    }

    #[test]
    fn only_a_scenario_states_when_a_price_was_recorded() {
        let header = HEADER.trim_end();
        let text = format!(
            "{header},recorded_at\na,m,input_tokens,default,,,,,1,1,USD,,,s,2026-05-01T00:00:00Z\nb,m,input_tokens,default,,,,,1,1,USD,,,s,\n"
        );
        let read = read_recorded_price_book(&text).expect("prices");
        let recorded: Vec<_> = read.into_iter().map(|(line, (at, _))| (line, at)).collect();
        assert_eq!(recorded, [(2, parse_instant("2026-05-01T00:00:00Z").ok()), (3, None)]);
        let error = read_price_book(&text).expect_err("a refusal");
        assert!(matches!(error, PriceBookError { line: 2, problem: PriceProblem::RecordedAt }), "{error}");
    }

    #[test]
    fn the_last_recorded_of_equals_holds() {
        let rows = "a,m,input_tokens,default,,,,,1,1,USD,,,s\nb,m,input_tokens,default,,,,,2,1,USD,,,s\n";
        assert_eq!(in_force(rows, |_| ()).as_deref(), Some("b"));
    }

    #[test]
    fn wrong_rows_are_refused_with_their_line() {
        let check = |row: &str, expect: &str| {
            let error = read_price_book(&format!("{HEADER}{row}\n")).expect_err("a refusal").to_string();
            assert!(error.starts_with("line 2: ") && error.contains(expect), "{error}");
        };
        check("a,m,tokens,default,,,,,1,1,USD,,,s", "meter: unknown meter");
        check("a,m,input_tokens,default,c,r,,,1,1,USD,,,s", "more than one");
        check("a,m,input_tokens,default,,,,,1,0,USD,,,s", "per is 0");
        check("a,m,input_tokens,default,,,,,1e-6,1,USD,,,s", "price: \"1e-6\" is not an exact number");
        check("a,m,input_tokens,default,,,,,-1,1,USD,,,s", "price: -1 does not fit");
        check("a,m,input_tokens,default,,,,,1/3,1,USD,,,s", "does not fit");
        check("a,m,input_tokens,default,,,,,1,1,USX,,,s", "currency: \"USX\" is no ISO 4217 currency");
        check("a,m,input_tokens,default,,,,,1,1,USD,2026-05-01,,s", "from: \"2026-05-01\" is no instant");
    }

    #[test]
    fn a_header_that_is_wrong_is_refused_at_its_own_line() {
        let row = "a,m,input_tokens,default,,,,,1,1,USD,,,s\n";
        let check = |header: &str, row: &str, expect: &str| {
            let error = read_price_book(&format!("{header}{row}")).expect_err("a refusal").to_string();
            assert!(error.starts_with(expect), "{error}");
        };
        check(
            &HEADER.replace(",meter,", ",metre,"),
            row,
            "line 1: the column \"metre\" is none of these; the header is id,",
        );
        check(&HEADER.replace(",source", ""), row, "line 1: no column \"source\"; the header is id,product,meter,");
        check(&HEADER.replace(",to,", ",from,"), row, "line 1: the column \"from\" stands twice");
        check("", "", "line 1: no column \"id\"");
        for (separator, name) in [(";", "semicolons"), ("\t", "tabs")] {
            let expect = format!("line 1: its columns are parted by {name}; part them by commas");
            check(&HEADER.replace(',', separator), &row.replace(',', separator), &expect);
        }
        check(HEADER, &row.replace(",USD", ""), "line 2: 13 cells; the header names 14 columns");
        check(HEADER, &row.replace(",1,USD", ",million,USD"), "line 2: per is million; write a whole number");
    }
}
