//! Reads documents into contracts: every name is looked up, every value parsed, nothing ignored.

use super::parsed::{Parsed, currency, unknown};
use super::problem::{Problem, ReadError};
use super::raw::{
    OneOrMore, Provenance, RawBase, RawCap, RawFact, RawFigure, RawParameter, RawSelector, RawTerm, RawVersion,
};
use super::*;
use crate::domain::money::Money;
use crate::domain::period::{end_of_day_exclusive, parse_instant, start_of_day};
use crate::domain::register::Register;
use crate::domain::usage::Meter;
use chrono::NaiveDate;
use std::collections::BTreeSet;
use std::ops::Range;
use std::str::FromStr;
use toml::Spanned;

type Result<T> = std::result::Result<T, ReadError>;

/// Reads the version of a document under the definitions of its contract file.
///
/// `definitions` and `file` are the same where one file holds both.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn read_version(definitions: &Parsed, file: &Parsed, register: &Register) -> Result<Version> {
    let head = definitions.head()?;
    let Some(version) = &file.raw.version else {
        return file.fail(&(0..0), Problem::NoVersion);
    };
    let raw = version.get_ref();
    match (&raw.contract, file.is_contract()) {
        (Some(name), _) if name.get_ref() != head.id.as_str() => {
            let problem = Problem::OtherContract { expected: head.id, found: name.get_ref().clone() };
            return file.fail(&name.span(), problem);
        }
        (None, false) => return file.fail(&version.span(), Problem::NoContract),
        _ => {}
    }
    let scope = Scope { definitions, file, head: &head, version: raw, register };
    scope.read()
}

/// What names are looked up in while one version is read: the version's own file first, then the contract's.
pub(super) struct Scope<'a> {
    pub definitions: &'a Parsed,
    pub file: &'a Parsed,
    head: &'a ContractHead,
    version: &'a RawVersion,
    pub register: &'a Register,
}

impl<'a> Scope<'a> {
    fn read(&self) -> Result<Version> {
        let mut figures = BTreeMap::new();
        let mut facts = BTreeMap::new();
        for file in [self.definitions, self.file] {
            for (name, figure) in &file.raw.figure {
                figures.insert(DefinedTerm::new(name), self.figure(file, figure.get_ref())?);
            }
            for (name, fact) in &file.raw.fact {
                facts.insert(DefinedTerm::new(name), self.fact(file, fact.get_ref())?);
            }
        }
        for file in [self.file, self.definitions] {
            for (name, base) in &file.raw.base {
                self.read_base(file, name, base, &mut Vec::new())?;
            }
        }
        let mut terms: Vec<(&String, &Spanned<RawTerm>)> = self.file.raw.term.iter().collect();
        terms.sort_by_key(|(_, term)| term.span().start);
        Ok(Version {
            number: self.version.number,
            effective_at: self.instant("effective", self.file, &self.version.effective, Edge::Start)?,
            figures,
            facts,
            terms: terms.into_iter().map(|(name, term)| self.term(name, term)).collect::<Result<_>>()?,
            rights: self.rights()?,
        })
    }

    pub fn party(&self, file: &Parsed, name: &Spanned<String>) -> Result<PartyId> {
        let party = PartyId::new(name.get_ref());
        match self.register.parties.contains_key(&party) {
            true => Ok(party),
            false => file.fail(&name.span(), unknown("party", name.get_ref(), self.register.parties.keys())),
        }
    }

    fn figure(&self, file: &Parsed, raw: &RawFigure) -> Result<FigureDefinition> {
        let super::raw::FlowKind::Flow = raw.kind;
        let currency = currency(file, &raw.unit)?;
        if currency != self.head.currency {
            let problem = Problem::OtherCurrency { field: "unit", found: currency, expected: self.head.currency };
            return file.fail(&raw.unit.span(), problem);
        }
        Ok(FigureDefinition { currency, by: self.party(file, &raw.by)?, missing: raw.missing })
    }

    fn fact(&self, file: &Parsed, raw: &RawFact) -> Result<FactDefinition> {
        Ok(FactDefinition { kind: raw.kind, by: self.party(file, &raw.by)?, about: raw.about.clone() })
    }

    fn parameter(&self, name: &str) -> Option<&'a RawParameter> {
        let find = |file: &'a Parsed| file.raw.parameter.get(name).map(Spanned::get_ref);
        find(self.file).or_else(|| find(self.definitions))
    }

    /// The words that a value stands for: its own, or those of the parameter that it names.
    fn value(&self, value: &Spanned<toml::Value>, noted: &mut Vec<Assumption>) -> toml::Value {
        let parameter = value.get_ref().as_str().and_then(|name| Some((name, self.parameter(name)?)));
        let Some((name, parameter)) = parameter else {
            return value.get_ref().clone();
        };
        self.note(name, parameter.source.as_ref(), parameter.confidence, noted);
        parameter.value.clone()
    }

    /// Notes what is not official, with the source and confidence that hold where none is stated.
    pub fn note(&self, what: &str, source: Option<&String>, own: Option<Confidence>, noted: &mut Vec<Assumption>) {
        let contract = self.definitions.raw.contract.as_ref().map(Spanned::get_ref);
        let inherited = Provenance {
            source: self.version.source.clone().or_else(|| contract.and_then(|it| it.source.clone())),
            confidence: self.version.confidence.or_else(|| contract.and_then(|it| it.confidence)),
        };
        let confidence = own.or(inherited.confidence).unwrap_or_default();
        if confidence > Confidence::Official {
            let source = source.cloned().or(inherited.source).unwrap_or_else(|| "not stated".to_owned());
            noted.push(Assumption { what: what.to_owned(), confidence, source });
        }
    }

    fn instant(&self, field: &'static str, file: &Parsed, value: &Spanned<toml::Value>, edge: Edge) -> Result<Instant> {
        let found = self.value(value, &mut Vec::new());
        let text = match &found {
            toml::Value::Datetime(at) => at.to_string(),
            toml::Value::String(text) => text.clone(),
            other => return file.fail(&value.span(), Problem::NoDate { field, found: other.to_string() }),
        };
        if let Ok(date) = NaiveDate::parse_from_str(&text, "%Y-%m-%d") {
            return Ok(match edge {
                Edge::Start => start_of_day(self.head.zone, date),
                Edge::Through => end_of_day_exclusive(self.head.zone, date),
            });
        }
        let is_date_like = matches!(found, toml::Value::Datetime(_)) && edge == Edge::Start;
        match parse_instant(&text) {
            Ok(at) if is_date_like => Ok(at),
            Err(problem) if is_date_like => file.fail(&value.span(), problem.into()),
            _ => file.fail(&value.span(), Problem::NoDate { field, found: text }),
        }
    }

    /// An amount in the contract's currency.
    fn amount(&self, field: &'static str, value: &Spanned<toml::Value>, noted: &mut Vec<Assumption>) -> Result<Exact> {
        let found = self.value(value, noted);
        let Some(text) = found.as_str() else {
            return self.file.fail(&value.span(), Problem::Unquoted { field, found: found.to_string() });
        };
        let money = Money::from_str(text)
            .or_else(|problem| self.file.fail(&value.span(), Problem::Money { field, problem }))?;
        if money.currency != self.head.currency {
            let problem = Problem::OtherCurrency { field, found: money.currency, expected: self.head.currency };
            return self.file.fail(&value.span(), problem);
        }
        Ok(money.amount)
    }

    fn rate(&self, value: &Spanned<toml::Value>, noted: &mut Vec<Assumption>) -> Result<Exact> {
        let found = self.value(value, noted);
        let fail = |problem| self.file.fail(&value.span(), problem);
        let Some(text) = found.as_str() else {
            return fail(Problem::Unquoted { field: "rate", found: found.to_string() });
        };
        let (digits, percent) = text.strip_suffix('%').map_or((text, false), |digits| (digits, true));
        let number = Exact::from_written(digits).or_else(|problem| fail(Problem::Rate(problem)))?;
        let hundredth = Exact::ratio(1, 100).unwrap_or_default();
        let rate = if percent { number * hundredth } else { number };
        match rate {
            rate if rate.is_negative() => fail(Problem::RateNegative { rate }),
            rate if rate > Exact::from_integer(1) => fail(Problem::RateAboveOne { rate }),
            rate => Ok(rate),
        }
    }

    fn term(&self, name: &str, spanned: &Spanned<RawTerm>) -> Result<Term> {
        let raw = spanned.get_ref();
        let mut assumptions = Vec::new();
        self.note(&format!("term {name}"), raw.source.as_ref(), raw.confidence, &mut assumptions);
        let (payer, payee) = (self.party(self.file, &raw.payer)?, self.party(self.file, &raw.payee)?);
        if payer == payee {
            return self.file.fail(&raw.payee.span(), Problem::OwesItself { party: payer });
        }
        let (from, end) = self.dates(&spanned.span(), raw.from.as_ref(), raw.through.as_ref())?;
        let cap = raw.cap.as_ref().map(|cap| self.cap(cap, &mut assumptions)).transpose()?;
        Ok(Term {
            id: TermId::new(name),
            clause: self.file.document.clause_at(spanned.span().start),
            payer,
            payee,
            rate: self.rate(&raw.rate, &mut assumptions)?,
            base: self.base(&raw.of, &mut assumptions)?,
            from,
            end,
            until: raw.until.as_ref().map(|name| self.until(name)).transpose()?,
            cap,
            due: raw.due.as_ref().map(|text| self.due(text)).transpose()?,
            assumptions,
        })
    }

    /// When something begins, and when it ends, exclusive.
    pub fn dates(
        &self,
        at: &Range<usize>,
        from: Option<&Spanned<toml::Value>>,
        through: Option<&Spanned<toml::Value>>,
    ) -> Result<(Option<Instant>, Option<Instant>)> {
        let from = from.map(|value| self.instant("from", self.file, value, Edge::Start)).transpose()?;
        let end = through.map(|value| self.instant("through", self.file, value, Edge::Through)).transpose()?;
        if let (Some(from), Some(end)) = (from, end)
            && end <= from
        {
            return self.file.fail(at, Problem::EndsBeforeStart { from, end });
        }
        Ok((from, end))
    }

    /// A fact that ends something: it happens once, and is about the contract.
    pub fn until(&self, name: &Spanned<String>) -> Result<DefinedTerm> {
        let fact = self.declared_fact(name)?;
        let found = match (fact.kind, fact.about.is_empty()) {
            (FactKind::Event, true) => return Ok(DefinedTerm::new(name.get_ref())),
            (FactKind::Event, false) => "about products or clouds",
            (FactKind::Status, _) => "a status",
        };
        self.wrong_fact(name, found, "an event about the contract")
    }

    /// A fact as the version's file declares it, or the contract's.
    pub fn declared_fact(&self, name: &Spanned<String>) -> Result<&'a RawFact> {
        let files = || [self.file, self.definitions].into_iter();
        let found = files().find_map(|file| file.raw.fact.get(name.get_ref()));
        found.map_or_else(
            || {
                let known = files().flat_map(|file| file.raw.fact.keys());
                self.file.fail(&name.span(), unknown("fact", name.get_ref(), known))
            },
            |fact| Ok(fact.get_ref()),
        )
    }

    pub fn wrong_fact<T>(&self, name: &Spanned<String>, found: &'static str, expected: &'static str) -> Result<T> {
        let problem = Problem::WrongFact { name: name.get_ref().clone(), found, expected };
        self.file.fail(&name.span(), problem)
    }

    fn due(&self, text: &Spanned<String>) -> Result<Due> {
        let days = text.get_ref().strip_suffix(" days after period").and_then(|days| days.parse().ok());
        days.map(|days_after_period| Due { days_after_period })
            .map_or_else(|| self.file.fail(&text.span(), Problem::Due { text: text.get_ref().clone() }), Ok)
    }

    fn cap(&self, spanned: &Spanned<RawCap>, noted: &mut Vec<Assumption>) -> Result<Cap> {
        let raw = spanned.get_ref();
        let (super::raw::CapWindow::Term, super::raw::Excess::Lost) = (raw.each, raw.excess);
        let cap = Cap {
            limit: self.amount("cap", &raw.is, noted)?,
            counts_from: {
                self.value(&raw.from, noted);
                self.instant("cap from", self.file, &raw.from, Edge::Start)?
            },
            opening: self.amount("cap opening", &raw.opening, noted)?,
        };
        if cap.opening > cap.limit {
            let problem = Problem::OpeningAboveCap { opening: cap.opening, limit: cap.limit };
            return self.file.fail(&raw.opening.span(), problem);
        }
        Ok(cap)
    }

    fn base(&self, name: &Spanned<String>, noted: &mut Vec<Assumption>) -> Result<Base> {
        let bases = || [self.file, self.definitions].into_iter();
        let found = bases().find_map(|file| file.raw.base.get(name.get_ref()).map(|base| (file, base)));
        let Some((file, raw)) = found else {
            let known = bases().flat_map(|file| file.raw.base.keys());
            return self.file.fail(&name.span(), unknown("base", name.get_ref(), known));
        };
        self.read_base(file, name.get_ref(), raw, noted)
    }

    /// Reads a base as it stands in `file`, whether or not a term uses it.
    fn read_base(
        &self,
        file: &Parsed,
        name: &str,
        spanned: &Spanned<RawBase>,
        noted: &mut Vec<Assumption>,
    ) -> Result<Base> {
        let (raw, at) = (spanned.get_ref(), spanned.span());
        self.note(&format!("base {name}"), raw.source.as_ref(), raw.confidence, noted);
        if raw.select.is_empty() {
            return file.fail(&at, Problem::EmptyBase);
        }
        let less = deductions(raw);
        let mut seen = BTreeSet::new();
        if let Some(category) = less.iter().flat_map(|less| &less.categories).find(|it| !seen.insert(*it)) {
            return file.fail(&at, Problem::RepeatedDeduction { category: category.clone() });
        }
        let select: Vec<Selection> =
            raw.select.iter().map(|selector| self.selection(file, selector)).collect::<Result<_>>()?;
        let of_part = |(attribute, label)| {
            let by = |it: &Selection| matches!(it, Selection::Charges(filter) if filter.contains_key(&attribute));
            (!less.is_empty() && select.iter().any(by)).then_some(label)
        };
        let parts = [(Attribute::Meter, "meter"), (Attribute::ServiceTier, "service_tier")];
        if let Some(attribute) = parts.into_iter().find_map(of_part) {
            return file.fail(&at, Problem::DeductionsOfPart { attribute });
        }
        Ok(Base { name: DefinedTerm::new(name), select, less })
    }

    fn selection(&self, file: &Parsed, selector: &RawSelector) -> Result<Selection> {
        match selector {
            RawSelector::Charges(filter) => {
                let mut charges = ChargeFilter::new();
                for (attribute, values) in filter {
                    charges.insert(*attribute, self.attribute_values(file, *attribute, values)?);
                }
                Ok(Selection::Charges(charges))
            }
            RawSelector::Figure(name) => {
                let known = || [self.file, self.definitions].into_iter().flat_map(|file| file.raw.figure.keys());
                match known().any(|figure| figure == name.get_ref()) {
                    true => Ok(Selection::Figure(DefinedTerm::new(name.get_ref()))),
                    false => file.fail(&name.span(), unknown("figure", name.get_ref(), known())),
                }
            }
            RawSelector::Accrual(name) => match name.get_ref().split_once('/') {
                // Whether that term exists is known only once all contracts are read: see `check`.
                Some((contract, term)) => {
                    Ok(Selection::Accrual { contract: ContractId::new(contract), term: TermId::new(term) })
                }
                None => file.fail(&name.span(), unknown("accrual", name.get_ref(), ["contract/term"].iter())),
            },
        }
    }

    /// The values that an attribute may have; a name that the register does not know would never match.
    pub fn attribute_values(
        &self,
        file: &Parsed,
        attribute: Attribute,
        values: &Spanned<OneOrMore>,
    ) -> Result<Vec<String>> {
        let named = match values.get_ref() {
            OneOrMore::One(name) => vec![name.clone()],
            OneOrMore::More(names) => names.clone(),
        };
        if named.is_empty() {
            return file.fail(&values.span(), Problem::NoValues);
        }
        let register = self.register;
        let deployments = || register.deployments.values();
        let mut all = Vec::new();
        for name in named {
            let (kind, known): (_, BTreeSet<String>) = match attribute {
                Attribute::Product => {
                    let Some(products) = register.products_named(&name) else {
                        let names = register.products.keys().map(ToString::to_string);
                        let known = names.chain(register.groups.keys().cloned()).collect();
                        return file.fail(&values.span(), Problem::Unknown { kind: "product or group", name, known });
                    };
                    all.extend(products);
                    continue;
                }
                // Customers and service tiers are named by usage alone.
                Attribute::Customer | Attribute::ServiceTier => {
                    all.push(name);
                    continue;
                }
                Attribute::Seller | Attribute::Operator => {
                    ("party", register.parties.keys().map(ToString::to_string).collect())
                }
                Attribute::Cloud => ("cloud", register.clouds.keys().cloned().collect()),
                Attribute::Channel => ("channel of a deployment", deployments().map(|it| it.channel.clone()).collect()),
                Attribute::Region => ("region of a deployment", deployments().map(|it| it.region.clone()).collect()),
                Attribute::Deployment => ("deployment", register.deployments.keys().map(ToString::to_string).collect()),
                Attribute::Meter => ("meter", Meter::ALL.iter().map(ToString::to_string).collect()),
            };
            if !known.contains(&name) {
                let known = known.into_iter().collect();
                return file.fail(&values.span(), Problem::Unknown { kind, name, known });
            }
            all.push(name);
        }
        Ok(all)
    }
}

fn deductions(raw: &RawBase) -> Vec<Deductions> {
    raw.less.iter().map(|less| Deductions { categories: less.deductions.clone(), at: less.at }).collect()
}

/// Which instant a date stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    /// The first instant of the date.
    Start,
    /// The first instant after the date: the whole day belongs to it.
    Through,
}
