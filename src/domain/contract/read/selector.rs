//! Reads what selects items: attributes, facts, and the values that these may have.

use super::super::measure::{Measure, Selection, Source};
use super::super::parsed::{Parsed, unknown};
use super::super::problem::Problem;
use super::super::raw::{OneOrMore, RawAs, RawFact, RawFilter, RawSelector, RawWord};
use super::super::rights::FactKind;
use super::super::selector::{Attribute, Filter, Values};
use super::{Result, Scope, defined};
use crate::domain::ids::{ContractId, TermId};
use crate::domain::names::is_near;
use crate::domain::usage::Meter;
use std::collections::BTreeSet;
use std::ops::Range;
use toml::Spanned;

impl<'a> Scope<'a> {
    /// An attribute, or a fact of the contract by its name.
    pub fn attribute(&self, file: &Parsed, at: &Range<usize>, name: &str) -> Result<Attribute> {
        if let Some(attribute) = Attribute::plain(name) {
            return Ok(attribute);
        }
        if self.find(|raw| &raw.fact, name).is_some() {
            return Ok(Attribute::Fact(defined(name)));
        }
        let facts = self.all(|raw| &raw.fact);
        let known = Attribute::PLAIN.iter().map(|it| it.name().to_owned()).chain(facts.into_keys().cloned());
        let known: Vec<String> = known.collect();
        file.fail(at, unknown("attribute or fact", name, known.iter()))
    }

    pub fn attributes(&self, file: &Parsed, names: &[Spanned<String>]) -> Result<Vec<Attribute>> {
        names.iter().map(|name| self.attribute(file, &name.span(), name.get_ref())).collect()
    }

    /// Attributes that have to have one of the values; `fact = false` leaves out what the fact holds for.
    pub fn filter(&self, file: &Parsed, written: &Spanned<RawFilter>) -> Result<Filter> {
        let mut filter = Filter::default();
        for (name, values) in written.get_ref() {
            let attribute = self.attribute(file, &name.span(), name.get_ref())?;
            let (values, is_left_out) = self.values(file, &attribute, values)?;
            if is_left_out {
                filter.none.push(Values::from([(attribute, values)]));
            } else {
                filter.all.insert(attribute, values);
            }
        }
        Ok(filter)
    }

    /// The values of an attribute, and whether they say `false`.
    fn values(
        &self,
        file: &Parsed,
        attribute: &Attribute,
        written: &Spanned<OneOrMore<RawWord>>,
    ) -> Result<(Vec<String>, bool)> {
        let at = written.span();
        let items: Vec<(Range<usize>, &RawWord)> = written.get_ref().items(&at).collect();
        let Attribute::Fact(name) = attribute else {
            let mut names = Vec::new();
            for (at, word) in items {
                match word {
                    RawWord::Text(text) => names.push((at, text.as_str())),
                    RawWord::Flag(_) => return file.fail(&at, Problem::Flag),
                }
            }
            return Ok((self.attribute_values(file, attribute, &at, &names)?, false));
        };
        let (_, fact) = self.fact_named(file, &at, name.as_str())?;
        match (fact.get_ref().value.is_some(), items.as_slice()) {
            (false, [(_, RawWord::Flag(holds))]) => Ok((vec!["true".to_owned()], !holds)),
            (true, items) if !items.is_empty() => {
                let mut parties = Vec::new();
                for (at, word) in items {
                    let RawWord::Text(party) = word else { return file.fail(at, Problem::FactOfParty) };
                    parties.push(self.party_named(file, at, party)?.to_string());
                }
                Ok((parties, false))
            }
            (true, _) => file.fail(&at, Problem::NoValues),
            (false, _) => file.fail(&at, Problem::FactOfTruth),
        }
    }

    pub fn fact_named(
        &self,
        file: &Parsed,
        at: &Range<usize>,
        name: &str,
    ) -> Result<(&'a Parsed, &'a Spanned<RawFact>)> {
        self.find(|raw| &raw.fact, name)
            .map_or_else(|| file.fail(at, unknown("fact", name, self.all(|raw| &raw.fact).into_keys())), Ok)
    }

    /// The values that an attribute may have; a name that nothing declares would never match.
    pub fn attribute_values(
        &self,
        file: &Parsed,
        attribute: &Attribute,
        whole: &Range<usize>,
        names: &[(Range<usize>, &str)],
    ) -> Result<Vec<String>> {
        if names.is_empty() {
            return file.fail(whole, Problem::NoValues);
        }
        let mut all = Vec::new();
        for (at, name) in names {
            all.extend(self.attribute_value(file, attribute, at, name)?);
        }
        Ok(all)
    }

    fn attribute_value(
        &self,
        file: &Parsed,
        attribute: &Attribute,
        at: &Range<usize>,
        name: &str,
    ) -> Result<Vec<String>> {
        let register = self.register;
        let deployments = || register.deployments.values();
        // Without deployments sales come as invoice lines, which name their own channels and regions.
        let has_places = self.is_new() && !register.deployments.is_empty();
        let (kind, known): (_, BTreeSet<String>) = match attribute {
            Attribute::Product => {
                return register.products_named(name).map_or_else(
                    || {
                        let names = register.products.keys().map(ToString::to_string);
                        let known: Vec<String> = names.chain(register.groups.keys().cloned()).collect();
                        file.fail(at, unknown("product or group", name, known.iter()))
                    },
                    Ok,
                );
            }
            Attribute::Seller | Attribute::Buyer | Attribute::Operator => {
                ("party", register.parties.keys().map(ToString::to_string).collect())
            }
            Attribute::Cloud => ("cloud", register.clouds.keys().cloned().collect()),
            Attribute::Deployment => ("deployment", register.deployments.keys().map(ToString::to_string).collect()),
            Attribute::Channel if has_places => {
                ("channel of a deployment", deployments().map(|it| it.channel.clone()).collect())
            }
            Attribute::Region if has_places => {
                ("region of a deployment", deployments().map(|it| it.region.clone()).collect())
            }
            // What sellers count beside usage (vials, downloads) has meters of its own; ours misspelt is none.
            Attribute::Meter => {
                let meters: BTreeSet<String> = Meter::ALL.iter().map(ToString::to_string).collect();
                match meters.contains(name) || !meters.iter().any(|known| is_near(known, name)) {
                    true => return Ok(vec![name.to_owned()]),
                    false => ("meter", meters),
                }
            }
            // Named by usage and sales alone.
            Attribute::Channel
            | Attribute::Region
            | Attribute::BuyerClass
            | Attribute::Country
            | Attribute::Customer
            | Attribute::ServiceTier
            | Attribute::Label
            | Attribute::Fact(_) => return Ok(vec![name.to_owned()]),
        };
        match known.contains(name) {
            true => Ok(vec![name.to_owned()]),
            false => file.fail(at, unknown(kind, name, known.iter())),
        }
    }

    /// Names that are one or a list, with their places.
    pub fn names(written: &Spanned<OneOrMore<String>>) -> Vec<(Range<usize>, &str)> {
        written.get_ref().items(&written.span()).map(|(at, name)| (at, name.as_str())).collect()
    }

    pub fn selection(&self, file: &'a Parsed, at: &Range<usize>, raw: &'a RawSelector) -> Result<Selection> {
        let named = |name: &'a Option<Spanned<String>>| name.as_ref();
        let of = match (&raw.charges, &raw.billings, &raw.units, named(&raw.facts)) {
            (Some(_), None, None, None) => Some(Source::Charges),
            (None, Some(_), None, None) => Some(Source::Billings),
            (None, None, Some(_), None) => Some(Source::Units),
            (None, None, None, Some(fact)) => {
                let (_, found) = self.fact_named(file, &fact.span(), fact.get_ref())?;
                if found.get_ref().kind == FactKind::Status {
                    let (name, found) = (fact.get_ref().clone(), "a status");
                    return file.fail(&fact.span(), Problem::WrongFact { name, found, expected: "an event" });
                }
                Some(Source::Facts(defined(fact.get_ref())))
            }
            (None, None, None, None) => None,
            _ => return file.fail(at, Problem::Selector),
        };
        let measured = match (named(&raw.figure), named(&raw.accrual), named(&raw.base), named(&raw.amount)) {
            (None, None, None, None) => None,
            (None, Some(accrual), None, None) => Some(self.accrual(file, accrual, raw.r#as.as_ref())?),
            (Some(name), None, None, None) => Some(self.named_as(file, name, "figure")?),
            (None, None, Some(name), None) => Some(self.named_as(file, name, "base")?),
            (None, None, None, Some(name)) => Some(self.named_as(file, name, "amount")?),
            _ => return file.fail(at, Problem::Selector),
        };
        if raw.r#as.is_some() && raw.accrual.is_none() {
            return file.fail(at, Problem::AsWithoutAccrual);
        }
        let source = match (of, measured) {
            (Some(source), None) => source,
            (None, Some(measure)) => Source::Of(measure),
            _ => return file.fail(at, Problem::Selector),
        };
        let mut filter = Filter::default();
        for written in [&raw.charges, &raw.billings, &raw.units, &raw.r#where].into_iter().flatten() {
            let Filter { all, none } = self.filter(file, written)?;
            if let Some(attribute) = all.keys().find(|it| filter.all.contains_key(it)) {
                let name = attribute.name().to_owned();
                return file.fail(&written.span(), Problem::AttributeTwice { name });
            }
            filter.all.extend(all);
            filter.none.extend(none);
        }
        if let Some(not) = &raw.not {
            for (at, written) in not.get_ref().items(&not.span()) {
                filter.none.push(self.left_out(file, &at, written)?);
            }
        }
        let valued_at = raw.valued_at.as_ref().map(|name| self.level(file, name)).transpose()?;
        Ok(Selection { of: source, filter, valued_at })
    }

    fn left_out(&self, file: &Parsed, at: &Range<usize>, written: &RawFilter) -> Result<Values> {
        let mut all = Values::new();
        for (name, values) in written {
            let attribute = self.attribute(file, &name.span(), name.get_ref())?;
            let (values, is_left_out) = self.values(file, &attribute, values)?;
            if is_left_out {
                return file.fail(&name.span(), Problem::NotFalse);
            }
            all.insert(attribute, values);
        }
        if all.is_empty() { file.fail(at, Problem::NoValues) } else { Ok(all) }
    }

    /// A measure of the kind that the field says.
    pub fn named_as(&self, file: &Parsed, name: &Spanned<String>, kind: &'static str) -> Result<Measure> {
        let term = defined(name.get_ref());
        let (measure, is_known, known) = match kind {
            "base" => {
                let known = self.all(|raw| &raw.base);
                (Measure::Base(term), known.contains_key(name.get_ref()), known.into_keys().collect())
            }
            "amount" => {
                let known = self.all(|raw| &raw.amount);
                (Measure::Amount(term), known.contains_key(name.get_ref()), known.into_keys().collect())
            }
            _ => {
                let known = self.all(|raw| &raw.figure);
                let keys: Vec<&String> = known.into_keys().collect();
                (Measure::Figure(term), keys.contains(&name.get_ref()), keys)
            }
        };
        let known: Vec<&String> = known;
        match is_known {
            true => Ok(measure),
            false => file.fail(&name.span(), unknown(kind, name.get_ref(), known.into_iter())),
        }
    }

    /// What a term yields, as it is owed: of what is paid of it there are no records.
    pub fn accrual(&self, file: &Parsed, name: &Spanned<String>, when: Option<&Spanned<RawAs>>) -> Result<Measure> {
        if let Some(when) = when.filter(|when| *when.get_ref() == RawAs::Received) {
            return file.fail(&when.span(), Problem::ReceivedAccrual);
        }
        // A term that is named with its contract may be one of other versions, and brings nothing in this one.
        let accrual = |contract: &str, term: &str| {
            Ok(Measure::Accrual { contract: ContractId::new(contract), term: TermId::new(term) })
        };
        match name.get_ref().split_once('/') {
            Some((contract, term)) => accrual(contract, term),
            None if self.file.raw.term.contains_key(name.get_ref()) => accrual(self.head.id.as_str(), name.get_ref()),
            None => {
                let known = self.file.raw.term.keys().cloned().chain(["contract/term".to_owned()]);
                let known: Vec<String> = known.collect();
                file.fail(&name.span(), unknown("term", name.get_ref(), known.iter()))
            }
        }
    }
}
