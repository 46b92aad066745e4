//! A history as a scenario: contracts as documents, prices and rates as tables, records and steps as lines.

use crate::lines::{record_line, step_line};
use crate::model::{
    Base, Basis, BelowZero, Blocks, Cap, CapOf, Carry, Condition, Contract, DEPLOYMENTS, Each, FxDate, History, Hold,
    How, Micros, Minimum, Mode, Name, Other, PARTIES, PRODUCTS, Payees, Place, ProRata, Q, Rate, Recoups, Select, Tail,
    Term, Version, What, When,
};
use crate::time::{DayCount, instant};
use apportion::domain::contract::folder::SourceFile;
use num_bigint::BigInt;
use num_traits::Zero;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The files of the scenario.
pub fn printed(history: &History) -> Vec<SourceFile> {
    let mut files = vec![
        file("contracts/register.md", register()),
        file("contracts/prices.csv", prices(history)),
        file("fx.csv", rates(history)),
    ];
    for (place, contract) in history.contracts.iter().enumerate() {
        files.push(file(&format!("contracts/{}/contract.md", contract.id), head(history, place, contract)));
        for version in &contract.versions {
            let path = format!("contracts/{}/{}.md", contract.id, version.number);
            files.push(file(&path, version_text(history, contract, version)));
        }
    }
    let records = history.records.iter().map(|record| record_line(history, record).to_string() + "\n");
    files.push(file("records.jsonl", records.collect()));
    let steps = history.steps.iter().map(|step| step_line(history, step).to_string() + "\n");
    files.push(file("steps.jsonl", steps.collect()));
    files
}

fn file(path: &str, text: String) -> SourceFile {
    SourceFile { path: path.to_owned(), text }
}

pub fn time_text(at: Micros) -> String {
    instant(at).to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

/// A finite decimal.
pub fn decimal(number: &Q) -> String {
    let (mut scaled, mut places) = (number.clone(), 0_usize);
    while !scaled.is_integer() {
        scaled *= Q::from_integer(BigInt::from(10));
        places += 1;
        assert!(places < 40, "{number} is no finite decimal");
    }
    let (sign, digits) = (if scaled < Q::zero() { "-" } else { "" }, scaled.to_integer().magnitude().to_string());
    let digits = format!("{digits:0>fill$}", fill = places + 1);
    let (above, below) = digits.split_at(digits.len() - places);
    if below.is_empty() { format!("{sign}{above}") } else { format!("{sign}{above}.{below}") }
}

pub fn money(amount: &Q, currency: Name) -> String {
    format!("{} {currency}", decimal(amount))
}

fn list(names: &[Name]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

fn register() -> String {
    let mut text = String::from("# Register\n\n```toml\n");
    for party in PARTIES {
        let _ = writeln!(text, "[party.{party}]\nname = \"{party}\"\n");
    }
    text.push_str("[cloud.azure]\noperator = \"cloud\"\n\n[cloud.aws]\noperator = \"shop\"\n\n");
    for product in PRODUCTS {
        let _ = writeln!(text, "[product.{product}]\nmaker = \"lab\"\n");
    }
    for (name, seller, channel, cloud, operator) in DEPLOYMENTS {
        let _ = writeln!(
            text,
            "[deployment.{name}]\ncloud = \"{cloud}\"\nchannel = \"{channel}\"\nregion = \"global\"\noperator = \"{operator}\""
        );
        text.push_str(&seller.map(|seller| format!("seller = \"{seller}\"\n")).unwrap_or_default());
        text.push('\n');
    }
    text + "```\n"
}

fn prices(history: &History) -> String {
    let mut text = String::from(
        "id,product,meter,service_tier,customer,region,channel,context_over,price,per,currency,from,to,source,recorded_at\n",
    );
    let time = |at: Option<Micros>| at.map(time_text).unwrap_or_default();
    for it in &history.prices {
        let over = it.context_over.map(|over| over.to_string()).unwrap_or_default();
        let (customer, channel) = (it.customer.unwrap_or_default(), it.channel.unwrap_or_default());
        let _ = writeln!(
            text,
            "{},{},{},default,{customer},,{channel},{over},{},1,{},{},{},history,{}",
            it.id,
            it.product,
            it.meter,
            decimal(&it.price),
            it.currency,
            time(it.from),
            time(it.to),
            time(it.recorded_at)
        );
    }
    text
}

fn rates(history: &History) -> String {
    let mut text = String::from("date,from,to,rate,source,recorded_at\n");
    for it in &history.rates {
        let recorded_at = it.recorded_at.map(time_text).unwrap_or_default();
        let _ = writeln!(text, "{},{},{},{},ECB,{recorded_at}", it.date, it.from, it.to, decimal(&it.rate));
    }
    text
}

/// Facts and figures that are named anywhere.
fn head(history: &History, place: usize, contract: &Contract) -> String {
    let Contract { id, zone, currency, .. } = contract;
    let mode = match contract.mode {
        Mode::HalfUp => "half_up",
        Mode::HalfEven => "half_even",
        Mode::Down => "down",
    };
    let fx_date = match contract.fx_date {
        FxDate::Item => "\"item\"".to_owned(),
        FxDate::PeriodEnd => "\"period_end\"".to_owned(),
        FxDate::On(date) => date.to_string(),
    };
    let mut text = format!(
        "# {id}\n\n```toml\n[contract]\nid = \"{id}\"\nzone = \"{zone}\"\ncurrency = \"{currency}\"\nperiod = \"{}\"\nrounding = \"{mode}\"\nnegative = \"carry\"\npro_rata = \"full\"\n\n[fx]\nsource = \"ECB\"\ndate = {fx_date}\nwithin = \"{} days\"\n",
        each(contract.period),
        contract.fx_within
    );
    if let Some((from, rate)) = &contract.fx_stated {
        let _ = writeln!(text, "rates = [{{ from = \"{from}\", to = \"{currency}\", rate = \"{}\" }}]", decimal(rate));
    }
    let mut facts: BTreeSet<(Name, &str)> = BTreeSet::new();
    let mut figures: BTreeSet<Name> = BTreeSet::new();
    let mut years = BTreeSet::from([contract.period]);
    for version in &contract.versions {
        years.extend(version.shared_cap.iter().map(|cap| cap.each));
        for term in &version.terms {
            facts.extend(term.until.iter().chain(&term.starts).map(|name| (*name, "event")));
            if let How::OnFact { fact, .. } = &term.how {
                facts.insert((fact, "event"));
            }
            if let How::Rate(Rate::Rows(rows, _)) = &term.how {
                facts.extend(rows.iter().filter_map(|(condition, _)| match condition {
                    Condition::Status(name) => Some((*name, "status")),
                    _ => None,
                }));
            }
            figures.extend(term.base.select.iter().filter_map(|select| match select {
                Select::Figure { name } => Some(*name),
                _ => None,
            }));
            years.extend(term_windows(term));
        }
    }
    for record in &history.records {
        match record.what {
            What::Event { contract, name, .. } if contract == place => drop(facts.insert((name, "event"))),
            What::Status { contract, name, .. } if contract == place => drop(facts.insert((name, "status"))),
            What::Figure { contract, name, .. } if contract == place => drop(figures.insert(name)),
            _ => {}
        }
    }
    for (name, kind) in facts {
        let _ = writeln!(text, "\n[fact.{name}]\nkind = \"{kind}\"");
    }
    for name in figures {
        let _ = writeln!(text, "\n[figure.{name}]\nunit = \"{currency}\"\nkind = \"flow\"\nmissing = \"zero\"");
    }
    for year in years {
        let (months, from) = match year {
            Each::ContractMonth(from) => ("1 month", from),
            Each::ContractYear(from) => ("12 months", from),
            _ => continue,
        };
        let _ = writeln!(text, "\n[period.{}]\nevery = \"{months}\"\nfrom = {from}", each(year));
    }
    text + "```\n"
}

fn term_windows(term: &Term) -> Vec<Each> {
    let mut found = Vec::new();
    match &term.how {
        How::Tiers { each, .. } | How::Fixed { each, .. } => found.push(*each),
        How::Either { each, .. } => found.extend(each),
        _ => {}
    }
    if let CapOf::Own(cap) = &term.cap {
        found.push(cap.each);
    }
    found.extend(term.minimum.iter().map(|it| it.each));
    found.extend(term.base.above.iter().map(|it| it.1));
    found
}

fn day_count(of: DayCount) -> &'static str {
    match of {
        DayCount::ActualActual => "actual/actual",
        DayCount::Actual365 => "actual/365",
        DayCount::Actual360 => "actual/360",
        DayCount::Thirty360 => "30/360",
    }
}

fn each(each: Each) -> String {
    match each {
        Each::Week => "week".to_owned(),
        Each::Month => "month".to_owned(),
        Each::Quarter => "quarter".to_owned(),
        Each::Year => "year".to_owned(),
        Each::Ever => "term".to_owned(),
        Each::ContractMonth(from) => format!("month-from-{from}"),
        Each::ContractYear(from) => format!("year-from-{from}"),
    }
}

fn version_text(history: &History, contract: &Contract, version: &Version) -> String {
    let effective = match version.effective {
        When::Date(date) => date.to_string(),
        When::Instant(at) => time_text(at),
    };
    let mut text = format!(
        "# Version {}\n\n```toml\n[version]\ncontract = \"{}\"\nnumber = {}\neffective = {effective}\nrecorded_at = {}\n",
        version.number,
        contract.id,
        version.number,
        time_text(version.recorded_at)
    );
    if let Some(cap) = &version.shared_cap {
        let _ = writeln!(text, "\n[cap.total]\n{}", cap_fields(cap, contract.currency, "\n"));
    }
    for Hold { name, product, only } in &version.holds {
        let _ = writeln!(
            text,
            "\n[right.{name}]\nonly = {{ cloud = \"{only}\" }}\nproducts = [\"{product}\"]\non_breach = \"hold\""
        );
    }
    text.push_str("```\n");
    for term in &version.terms {
        let _ = write!(text, "\n## {}\n\n```toml\n{}```\n", term.name, term_text(history, contract, term));
    }
    text
}

fn cap_fields(cap: &Cap, currency: Name, between: &str) -> String {
    [
        format!("is = \"{}\"", money(&cap.is, currency)),
        format!("each = \"{}\"", each(cap.each)),
        format!("from = {}", cap.from),
        format!("opening = \"{}\"", money(&cap.opening, currency)),
        format!("excess = \"{}\"", if cap.is_deferred { "deferred" } else { "lost" }),
    ]
    .join(between)
}

fn base_text(history: &History, name: &str, currency: Name, base: &Base) -> String {
    let not = base.not_customer.map(|it| format!(", not = {{ customer = \"{it}\" }}")).unwrap_or_default();
    let select = base.select.iter().map(|select| match select {
        Select::Charges { seller, products } if products.is_empty() => {
            format!("{{ charges = {{ seller = \"{seller}\" }}{not} }}")
        }
        Select::Charges { seller, products } => {
            format!("{{ charges = {{ seller = \"{seller}\", product = [{}] }}{not} }}", list(products))
        }
        Select::Units { meter } => format!("{{ units = {{ meter = \"{meter}\" }}{not} }}"),
        Select::Figure { name } => format!("{{ figure = \"{name}\" }}"),
        Select::Accrual { contract, term } => {
            format!("{{ accrual = \"{}/{term}\", as = \"owed\" }}", history.contracts[*contract].id)
        }
    });
    let mut text = format!("[base.\"{name} base\"]\nselect = [{}]\n", select.collect::<Vec<_>>().join(", "));
    let less = base.less.iter().map(|(category, place)| {
        let at = if *place == Place::Item { "item" } else { "own_date" };
        format!("{{ deductions = [\"{category}\"], at = \"{at}\" }}")
    });
    if !base.less.is_empty() {
        let _ = writeln!(text, "less = [{}]", less.collect::<Vec<_>>().join(", "));
    }
    match base.basis {
        Basis::Occurred => {}
        Basis::Invoiced => text.push_str("basis = \"invoiced\"\n"),
        Basis::Received => text.push_str("basis = \"received\"\n"),
    }
    match base.below_zero {
        BelowZero::Keep => {}
        BelowZero::Zero => text.push_str("below_zero = \"zero\"\n"),
        BelowZero::Carried => text.push_str("below_zero = \"carried\"\n"),
    }
    if let Some((is, of, from)) = &base.above {
        let _ =
            writeln!(text, "above = {{ is = \"{}\", each = \"{}\", from = {from} }}", money(is, currency), each(*of));
    }
    text + "\n"
}

fn term_text(history: &History, contract: &Contract, term: &Term) -> String {
    let (name, currency) = (term.name, contract.currency);
    let has_base = !term.base.select.is_empty();
    let mut text = if has_base { base_text(history, name, currency, &term.base) } else { String::new() };
    if matches!(term.payees, Payees::ByUse(_)) {
        let _ = writeln!(text, "[base.\"{name} use\"]\nselect = {{ units = {{ meter = \"requests\" }} }}\n");
    }
    let _ = writeln!(text, "[term.{name}]\npayer = \"{}\"\npayee = {}", term.payer, payees(name, &term.payees));
    if has_base && term.how != How::Commitment && !matches!(term.how, How::Either { .. }) {
        let _ = writeln!(text, "of = \"{name} base\"");
    }
    text.push_str(&how_text(name, currency, &term.how));
    for (field, date) in [("from", term.from), ("through", term.through)] {
        text.push_str(&date.map(|date| format!("{field} = {date}\n")).unwrap_or_default());
    }
    for (field, fact) in [("from", term.starts), ("until", term.until)] {
        text.push_str(&fact.map(|fact| format!("{field} = \"{fact}\"\n")).unwrap_or_default());
    }
    if let Some((days, of)) = term.tail {
        let of = if of == Tail::All { "all" } else { "earlier customers" };
        let _ = writeln!(text, "tail = {{ lasts = \"{days} days\", of = \"{of}\" }}");
    }
    match &term.cap {
        CapOf::None => {}
        CapOf::Own(cap) => {
            let _ = writeln!(text, "cap = {{ {} }}", cap_fields(cap, currency, ", "));
        }
        CapOf::Shared => text.push_str("cap = \"total\"\n"),
    }
    if let Some(minimum) = &term.minimum {
        let _ = writeln!(text, "minimum = {{ {} }}", minimum_fields(name, currency, minimum, &term.how));
    }
    if let Some(Recoups { advance, limit, is_repaid }) = &term.recoups {
        let rest = if *is_repaid { "repaid" } else { "carried" };
        let limit = limit.as_ref().map(|it| format!(", limit = \"{}\"", money(it, currency))).unwrap_or_default();
        let _ = writeln!(text, "credits = [{{ of = \"{advance}\", rest = \"{rest}\"{limit} }}]");
    }
    if term.once {
        text.push_str("once = \"sale\"\n");
    }
    if term.per_country {
        text.push_str("per = [\"country\"]\n");
    }
    text
}

fn payees(name: Name, payees: &Payees) -> String {
    match payees {
        Payees::One(payee) => format!("\"{payee}\""),
        Payees::Parts(parts) => {
            let all: i64 = parts.iter().map(|it| it.1).sum();
            let parts = parts.iter().map(|(party, part)| format!("{{ party = \"{party}\", part = \"{part}/{all}\" }}"));
            format!("[{}]", parts.collect::<Vec<_>>().join(", "))
        }
        Payees::ByUse(by) => {
            let by: Vec<String> = by.iter().map(|(product, party)| format!("{product} = \"{party}\"")).collect();
            format!(
                "{{ each = \"product\", by = \"{name} use\", parties = {{ {} }}, if_none = \"equal\" }}",
                by.join(", ")
            )
        }
    }
}

fn how_text(name: Name, currency: Name, how: &How) -> String {
    match how {
        How::Rate(rate) => format!("rate = {}\n", rate_text(rate)),
        How::Price { price, per_units, blocks } => {
            let blocks = match blocks {
                Blocks::Whole => "whole",
                Blocks::None => "none",
                Blocks::Exact => "exact",
            };
            let price = money(price, currency);
            format!("price = \"{price}\"\nper_units = \"{}\"\npart_block = \"{blocks}\"\n", decimal(per_units))
        }
        How::Tiers { is_whole, annual, each: of, from, bands, above } => {
            let rows = bands.iter().map(|band| {
                let edge = if band.is_inclusive { "up_to" } else { "below" };
                format!("{{ {edge} = \"{}\", is = \"{}\" }}", money(&band.edge, currency), band.rate)
            });
            let apply = if *is_whole { "whole" } else { "marginal" };
            let annual = annual.map(|annual| format!("each = \"{}\"\nannual = \"{}\"\n", each(*of), day_count(annual)));
            format!(
                "{}rate = [{}, {{ otherwise = \"{above}\" }}]\ntiers = {{ apply = \"{apply}\", each = \"{}\", from = {from} }}\n",
                annual.unwrap_or_default(),
                rows.collect::<Vec<_>>().join(", "),
                each(*of)
            )
        }
        How::Either { is_greater, each: of, rate, other } => {
            let which = if *is_greater { "greater_of" } else { "lesser_of" };
            let of = of.map_or_else(|| "item".to_owned(), each);
            let other = match other {
                Other::Amount(amount) => format!("{{ fixed = \"{}\" }}", money(amount, currency)),
                Other::Rate(rate) => format!("{{ rate = \"{rate}\", of = \"{name} base\" }}"),
            };
            format!("each = \"{of}\"\n{which} = [{{ rate = \"{rate}\", of = \"{name} base\" }}, {other}]\n")
        }
        How::OnDates { amount, dates } => {
            let dates: Vec<String> = dates.iter().map(ToString::to_string).collect();
            format!("fixed = \"{}\"\non = [{}]\n", money(amount, currency), dates.join(", "))
        }
        How::OnFact { amount, fact, at_most } => {
            format!("fixed = \"{}\"\non = \"{fact}\"\nat_most = {at_most}\n", money(amount, currency))
        }
        How::Fixed { amount, each: of, pro_rata } => {
            let (amount, pro_rata) = (money(amount, currency), pro_rata_text(*pro_rata));
            format!("fixed = \"{amount}\"\neach = \"{}\"\npro_rata = \"{pro_rata}\"\n", each(*of))
        }
        How::Commitment => String::new(),
    }
}

fn rate_text(rate: &Rate) -> String {
    let (rows, otherwise) = match rate {
        Rate::Flat(rate) => return format!("\"{rate}\""),
        Rate::Rows(rows, otherwise) => (rows, otherwise),
    };
    let mut texts: Vec<String> = Vec::new();
    for (condition, rate) in rows {
        let condition = match condition {
            Condition::Through(date) => format!("through = {date}"),
            Condition::From(date) => format!("from = {date}"),
            Condition::Product(product) => format!("where = {{ product = \"{product}\" }}"),
            Condition::Country(country) => format!("where = {{ country = \"{country}\" }}"),
            Condition::Status(name) => format!("where = {{ {name} = true }}"),
        };
        texts.push(format!("{{ {condition}, is = \"{rate}\" }}"));
    }
    let otherwise = otherwise.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
    texts.push(format!("{{ otherwise = \"{otherwise}\" }}"));
    format!("[{}]", texts.join(", "))
}

fn pro_rata_text(pro_rata: ProRata) -> &'static str {
    match pro_rata {
        ProRata::Full => "full",
        ProRata::Days => "days",
        ProRata::Months => "months",
        ProRata::None => "none",
    }
}

fn minimum_fields(name: Name, currency: Name, minimum: &Minimum, how: &How) -> String {
    let mut fields =
        vec![format!("is = \"{}\"", money(&minimum.is, currency)), format!("each = \"{}\"", each(minimum.each))];
    match minimum.carry {
        Carry::None => {}
        Carry::Cumulative => fields.push("cumulative = true".to_owned()),
        Carry::Excess => fields.push("carry = \"excess\"".to_owned()),
        Carry::Shortfall => fields.push("carry = \"shortfall\"".to_owned()),
    }
    if *how == How::Commitment {
        fields.push(format!("of = \"{name} base\""));
    }
    if minimum.is_outside_cap {
        fields.push("outside_cap = true".to_owned());
    }
    fields.push(format!("pro_rata = \"{}\"", pro_rata_text(minimum.pro_rata)));
    fields.join(", ")
}
