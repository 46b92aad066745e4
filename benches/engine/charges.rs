//! Charges that are drawn from a seed, and what a share of them comes to by month and cloud.

use apportion::domain::calendar::Window;
use apportion::domain::contract::Contract;
use apportion::domain::contract::folder::{Folder, SourceFile, read_folder};
use apportion::domain::contract::selector::Attribute;
use apportion::domain::engine::item::{
    Attributes, AttributesId, AttributesList, Charge, Content, CountsFor, InUnit, Item, ItemId, Kind,
};
use apportion::domain::engine::knowledge::Knowledge;
use apportion::domain::engine::outcome::{Line, Lines};
use apportion::domain::engine::plan::{StreamId, plan};
use apportion::domain::engine::run::{Engine, Finished};
use apportion::domain::engine::stretches::Stretches;
use apportion::domain::ids::TermId;
use apportion::domain::money::{Exact, Unit};
use apportion::domain::period::{Instant, Span, parse_instant};
use chrono::TimeDelta;
use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::num::NonZeroU64;

/// Clouds with a deployment on each, and products with the price of a million tokens.
pub const CLOUDS: [(&str, &str); 3] = [("aws", "on-aws"), ("azure", "on-azure"), ("google", "on-google")];
pub const PRODUCTS: [(&str, &str); 3] = [("large", "10"), ("middle", "1.25"), ("small", "0.125")];
const FIRST: &str = "2026-01-01T00:00:00Z";
const END: &str = "2036-01-01T00:00:00Z";

/// A share by month and cloud.
pub type Shares = BTreeMap<(String, String), Exact>;

/// The agreement, with its cap or without one, and the price book.
pub fn agreement(is_capped: bool) -> Folder {
    let whole = include_str!("../engine.md");
    let text = match whole.split_once("## Cap") {
        Some((share, _)) if !is_capped => share.replace("cap = \"Lifetime\"\n", ""),
        _ => whole.to_owned(),
    };
    let price =
        |(product, price)| format!("{product},{product},input_tokens,default,,,,,{price},1000000,USD,,,invented\n");
    let head = "id,product,meter,service_tier,customer,region,channel,context_over,price,per,currency,from,to,source\n";
    let prices = head.to_owned() + &PRODUCTS.map(price).concat();
    let files = [("engine.md", text), ("prices.csv", prices)];
    let files = files.map(|(path, text)| SourceFile { path: path.to_owned(), text });
    read_folder(&files).unwrap_or_else(|error| panic!("{error}"))
}

/// The ten years that all is of.
pub fn years() -> Span {
    let at = |text| parse_instant(text).expect("an instant");
    Span { start: at(FIRST), end: at(END) }
}

/// The `n`th number of a sequence without a pattern (SplitMix64).
pub fn draw(n: u64) -> u64 {
    let mut drawn = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    drawn ^ (drawn >> 31)
}

pub struct Charges {
    /// As long as each other, one for each charge.
    ids: Vec<String>,
    attributes: AttributesList,
    /// By cloud and product.
    kinds: Vec<(AttributesId, Exact)>,
    usd: Unit,
    capped: Contract,
    uncapped: Contract,
}

impl Charges {
    /// Their ids do not rise with time, and some share an instant.
    pub fn new(charges: u32) -> Self {
        let mut attributes = AttributesList::default();
        let mut kinds = Vec::new();
        let million = NonZeroU64::new(1_000_000).expect("some");
        for (cloud, deployment) in CLOUDS {
            for (product, price) in PRODUCTS {
                let told = [
                    (Attribute::Cloud, cloud),
                    (Attribute::Deployment, deployment),
                    (Attribute::Product, product),
                    (Attribute::Seller, "reseller"),
                    (Attribute::Meter, "input_tokens"),
                ];
                let id = attributes.push(Attributes(told.map(|(name, value)| (name, value.to_owned())).into()));
                kinds.push((id, price.parse::<Exact>().expect("a price") / million));
            }
        }
        let contract = |is_capped| agreement(is_capped).contracts.into_iter().next().expect("an agreement");
        Self {
            ids: (0..charges).map(|n| format!("{:04x}{n:08x}", draw(n.into()) & 0xFFFF)).collect(),
            attributes,
            kinds,
            usd: Unit::Currency("USD".parse().expect("a currency")),
            capped: contract(true),
            uncapped: contract(false),
        }
    }

    /// As the engine takes them, in the order in which they count.
    pub fn items(&self) -> Vec<Item<'_>> {
        let Span { start, end } = years();
        let all = i64::try_from(self.ids.len()).expect("not so many");
        let mut items: Vec<Item<'_>> = Vec::with_capacity(self.ids.len());
        for (n, id) in (0_i64..).zip(&self.ids) {
            let drawn = draw(u64::try_from(n).expect("it rises"));
            let (attributes, price) = &self.kinds[usize::try_from(drawn % 9).expect("it is small")];
            let quantity = Exact::from_integer(i64::try_from((drawn >> 20) % 2_000_000 + 1).expect("it is small"));
            let value = &quantity * price;
            items.push(Item {
                at: start + TimeDelta::minutes(n * (end - start).num_minutes() / all),
                id: ItemId { id, source: "bench", kind: Kind::Usage, meter: "input_tokens" },
                attributes: *attributes,
                content: usage(quantity, InUnit { value, unit: &self.usd }),
                less: Vec::new(),
                sold_at: None,
                until: None,
                counts_for: CountsFor::All,
            });
        }
        items.sort_by(Item::order);
        items
    }

    /// As comma-separated values, in the same order.
    pub fn write(&self, items: &[Item<'_>], path: &str) -> std::io::Result<()> {
        let mut file = BufWriter::new(std::fs::File::create(path)?);
        writeln!(file, "occurred_at,id,cloud,amount")?;
        for item in items {
            let cloud = self.attributes[item.attributes].get(&Attribute::Cloud).unwrap_or_default();
            let at = item.at.format("%Y-%m-%d %H:%M:%S");
            writeln!(file, "{at},{},{cloud},{}", item.id.id, amounts(item).1)?;
        }
        file.flush()
    }

    /// The share, of each charge after the other.
    pub fn one_by_one(&self, items: &[Item<'_>], is_capped: bool) -> Shares {
        self.run(items, &[], is_capped).lines.shares()
    }

    /// The share, of sums where the order of charges cannot matter, and of each charge elsewhere.
    pub fn summed(&self, items: &[Item<'_>]) -> Shares {
        let mut stretches = self.months();
        // The months on two cores, and what the cap cuts of one of them after that.
        let (first, last) = stretches.summed.split_at(stretches.summed.len() / 2);
        let sums_of = |spans: &[Span]| -> BTreeMap<Instant, Vec<Item<'_>>> {
            spans.iter().map(|span| (span.start, self.sums(within(items, *span), *span))).collect()
        };
        let mut found = std::thread::scope(|scope| {
            let last = scope.spawn(|| sums_of(last));
            let mut found = sums_of(first);
            found.extend(last.join().expect("sums"));
            found
        });
        loop {
            let fed: Vec<Item<'_>> = found.values().flatten().cloned().collect();
            stretches.summed.sort_by_key(|span| span.start);
            let Finished { lines, unsure, .. } = self.run(&fed, &stretches.summed, true);
            if unsure.is_empty() {
                return lines.shares();
            }
            let finer = stretches.open(&unsure);
            found.extend(sums_of(&finer.summed));
            found.extend(finer.opened.iter().map(|span| (span.start, within(items, *span).to_vec())));
        }
    }

    /// The stretches in which nothing changes.
    fn months(&self) -> Stretches {
        let plan = plan(std::slice::from_ref(&self.capped)).expect("a plan");
        let (known, attributes) = (Knowledge::default(), self.attributes.clone());
        Stretches::between(&Engine::new(&plan, &known, attributes, years().end, |_: Line<'_>| {}).changes())
    }

    /// Charges of one kind as one.
    fn sums<'i>(&'i self, items: &[Item<'_>], span: Span) -> Vec<Item<'i>> {
        let mut sums: BTreeMap<AttributesId, (Exact, Exact)> = BTreeMap::new();
        for item in items {
            let (quantity, amount) = amounts(item);
            let sum = sums.entry(item.attributes).or_default();
            sum.0 += quantity;
            sum.1 += amount;
        }
        let item = |(attributes, (quantity, value))| Item {
            at: span.start,
            id: ItemId { id: "", source: "", kind: Kind::Usage, meter: "input_tokens" },
            attributes,
            content: usage(quantity, InUnit { value, unit: &self.usd }),
            less: Vec::new(),
            sold_at: None,
            until: None,
            counts_for: CountsFor::All,
        };
        sums.into_iter().map(item).collect()
    }

    fn run(&self, items: &[Item<'_>], summed: &[Span], is_capped: bool) -> Finished<ByMonth<'_>> {
        let contract = if is_capped { &self.capped } else { &self.uncapped };
        let plan = plan(std::slice::from_ref(contract)).expect("a plan");
        let known = Knowledge::default();
        let lines = ByMonth { months: Vec::new(), contract };
        let engine = Engine::new(&plan, &known, self.attributes.clone(), years().end, lines);
        let mut engine = engine.with_summed(summed);
        for item in items {
            engine.item(item).expect("an item");
        }
        engine.finish().expect("an end")
    }
}

fn usage(quantity: Exact, amount: InUnit<'_>) -> Content<'_> {
    Content::Usage { quantity, charge: Charge::Rated(amount), meets_prices: false }
}

fn amounts<'i>(item: &'i Item<'_>) -> (&'i Exact, &'i Exact) {
    match &item.content {
        Content::Usage { quantity, charge: Charge::Rated(amount), .. } => (quantity, &amount.value),
        other => panic!("{other:?} is no charge"),
    }
}

/// Those of a stretch of time, of items in their order.
fn within<'i, 'a>(items: &'i [Item<'a>], span: Span) -> &'i [Item<'a>] {
    let place = |at: Instant| items.partition_point(|item| item.at < at);
    &items[place(span.start)..place(span.end)]
}

/// What each term yields, by month: there is one for each cloud.
struct ByMonth<'a> {
    contract: &'a Contract,
    months: Vec<Month>,
}

struct Month {
    window: Window,
    span: Span,
    terms: BTreeMap<StreamId, (TermId, Exact)>,
}

impl Lines for ByMonth<'_> {
    fn line(&mut self, line: Line<'_>) {
        if !self.months.last().is_some_and(|month| month.span.contains(line.at)) {
            let zone = self.contract.head.zone;
            let window = self.contract.head.settlement.at(line.at, zone).expect("a month");
            self.months.push(Month { window, span: window.span(zone), terms: BTreeMap::new() });
        }
        let Some(Month { terms, .. }) = self.months.last_mut() else { return };
        match terms.get_mut(&line.stream) {
            Some((_, sum)) => *sum += line.amount,
            None => drop(terms.insert(line.stream, (line.term.clone(), line.amount.clone()))),
        }
    }
}

impl ByMonth<'_> {
    fn shares(self) -> Shares {
        let of_month = |Month { window, terms, .. }: Month| {
            let month = window.first_day.to_string();
            terms.into_values().map(move |(cloud, sum)| ((month.clone(), cloud.to_string()), sum))
        };
        self.months.into_iter().flat_map(of_month).collect()
    }
}
