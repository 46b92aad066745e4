//! Reads terms: the parties, when, what is yielded, and what stands around it.

use super::super::Version;
use super::super::measure::{Measure, Node, NodeKind};
use super::super::parsed::Parsed;
use super::super::problem::Problem;
use super::super::raw::{Named, OneOrMore, RawInstalment, RawPayee, RawPoolPart, RawTail, RawTerm, RawValue};
use super::super::rights::{FactAttribute, FactKind};
use super::super::selector::{Filter, Values};
use super::super::term::{IfNone, Instalment, Life, On, Payees, Tail, Term};
use super::super::value::Table;
use super::super::window::{Due, ProRata, WindowRule};
use super::node::NodeWant;
use super::value::{Kind, Want};
use super::window::{is_date, quoted_date, stated};
use super::{Notes, Result, Scope, defined, length};
use crate::domain::ids::{DefinedTerm, PartyId, TermId};
use crate::domain::money::Exact;
use crate::domain::period::start_of_day;
use std::ops::Range;
use toml::Spanned;

impl<'a> Scope<'a> {
    pub fn read_terms(&self, version: &mut Version) -> Result<()> {
        for (name, spanned) in self.in_order(&self.file.raw.term) {
            let term = self.term(name, spanned, version)?;
            version.terms.push(term);
        }
        for (name, spanned) in self.in_order(&self.file.raw.term) {
            self.check_term(name, spanned, version)?;
        }
        // A shared cap that no term of the version names is none of its terms'. One that none of any version names is
        // refused when all are read.
        let used: Vec<DefinedTerm> = version.terms.iter().filter_map(|term| term.cap.clone()).collect();
        version.caps.retain(|name, _| used.contains(name));
        Ok(())
    }

    fn term(&self, name: &'a str, spanned: &'a Spanned<RawTerm>, version: &mut Version) -> Result<Term> {
        let (raw, at) = (spanned.get_ref(), spanned.span());
        let mut noted = Vec::new();
        self.note(&format!("term {name}"), raw.provenance(), &mut noted);
        let payer = self.party(self.file, &raw.payer)?;
        let payees = self.payees(&payer, &raw.payee, &mut noted)?;
        let unit = raw.r#in.as_ref().map_or_else(|| Ok(self.currency()), |unit| self.unit(self.file, unit))?;
        let each = raw.each.as_ref().map(|name| self.window(self.file, name)).transpose()?;
        let wanted = Some(unit.clone());
        let (tiers, bands) = self.tiers_beside(self.file, raw.tiers.as_ref(), raw.node(), &wanted, each.as_ref())?;
        let per = self.attributes(self.file, &raw.per)?;
        let cap = raw.cap.as_ref().map(|cap| self.term_cap(name, cap, raw, &unit, version, &mut noted)).transpose()?;
        let node = match raw.node().is_empty() {
            true => None,
            false => {
                let windows = each.as_ref().is_some_and(|each| *each != WindowRule::Item);
                let want = NodeWant { unit: wanted, bands, windows, above_one: raw.above_one };
                Some(self.node(self.file, &at, raw.node(), &want, &mut noted)?)
            }
        };
        self.check_bands(self.file, &at, tiers.as_ref(), node.as_ref())?;
        let on = self.on(raw)?;
        self.check_windows(&at, raw, node.as_ref(), each.as_ref(), on.as_ref())?;
        let minimum = raw.minimum.as_ref().map(|it| self.minimum(it, raw, &unit, &mut noted)).transpose()?;
        let by_window = node.as_ref().is_some_and(Node::has_fixed);
        let measures = node.iter().flat_map(Node::mentions).chain(minimum.iter().flat_map(|it| &it.of));
        self.note_behind(measures.cloned().collect(), version, &mut noted);
        Ok(Term {
            id: TermId::new(name),
            clause: self.file.document.clause_at(at.start),
            payer,
            payees,
            unit,
            node,
            tiers,
            life: self.life_of_term(&at, raw)?,
            each,
            on,
            per,
            cap,
            minimum,
            credits: self.credits(raw, &mut noted)?,
            once: raw.once.clone(),
            at_window_end: raw.at_window_end.unwrap_or(by_window),
            pro_rata: stated(raw.pro_rata.as_ref()).or(self.head.pro_rata),
            due: raw.due.as_ref().map(|due| self.instalments(due, &mut noted)).transpose()?.unwrap_or_default(),
            tax: raw.tax,
            is_input: raw.input,
            assumptions: noted,
        })
    }

    /// What rests on bases and amounts rests on what these rest on.
    fn note_behind(&self, mut measures: Vec<Measure>, version: &Version, noted: &mut Notes) {
        let mut seen: Vec<Measure> = Vec::new();
        while let Some(measure) = measures.pop() {
            if seen.contains(&measure) {
                continue;
            }
            let assumptions = match &measure {
                Measure::Base(name) => version.bases.get(name).map(|base| {
                    measures.extend(base.mentions().into_iter().cloned());
                    &base.assumptions
                }),
                Measure::Amount(name) => version.amounts.get(name).map(|amount| {
                    measures.extend(amount.mentions().into_iter().cloned());
                    &amount.assumptions
                }),
                Measure::Figure(_) | Measure::Accrual { .. } => None,
            };
            for assumption in assumptions.into_iter().flatten() {
                if !noted.contains(assumption) {
                    noted.push(assumption.clone());
                }
            }
            seen.push(measure);
        }
    }

    fn payees(
        &self,
        payer: &PartyId,
        written: &'a Spanned<OneOrMore<Named<RawPayee>>>,
        noted: &mut Notes,
    ) -> Result<Payees> {
        let at = written.span();
        let items: Vec<(Range<usize>, &'a Named<RawPayee>)> = written.get_ref().items(&at).collect();
        let payees = match items.as_slice() {
            [(at, Named::Name(name))] => Payees::One(self.party_named(self.file, at, name)?),
            [(at, Named::Inline(pool))] if pool.each.is_some() || pool.by.is_some() => self.pool(at, pool)?,
            items => {
                let mut parts = Vec::new();
                let mut total = Exact::zero();
                for (at, item) in items {
                    let (Named::Inline(item), true) = (item, items.len() > 1) else {
                        return self.file.fail(at, Problem::Payees);
                    };
                    let (Some(party), Some(part), None) = (&item.party, &item.part, item.if_none) else {
                        return self.file.fail(at, Problem::Payees);
                    };
                    let want = Want::plain("part", Kind::Rate { above_one: false });
                    let part = self.number(self.file, part, &want, noted)?;
                    total += &part;
                    parts.push((self.party(self.file, party)?, part));
                }
                if total != Exact::from_integer(1) {
                    return self.file.fail(&at, Problem::PartsSum { total });
                }
                Payees::Parts(parts)
            }
        };
        let named = payees.named();
        if named.contains(&payer) {
            return self.file.fail(&at, Problem::OwesItself { party: payer.clone() });
        }
        let repeated =
            named.iter().enumerate().find(|(place, party)| named.iter().skip(*place).skip(1).any(|it| it == *party));
        match (&payees, repeated) {
            (Payees::Parts(_), Some((_, party))) => {
                self.file.fail(&at, Problem::PayeeTwice { party: (*party).clone() })
            }
            _ => Ok(payees),
        }
    }

    /// A pool that is shared by usage.
    fn pool(&self, at: &Range<usize>, raw: &'a RawPayee) -> Result<Payees> {
        let (Some(by), Some(if_none), None, None) = (&raw.by, raw.if_none, &raw.party, &raw.part) else {
            return self.file.fail(at, Problem::Pool);
        };
        self.named_as(self.file, by, "base")?;
        let of = defined(by.get_ref());
        let each = match (&raw.each, raw.parts.is_empty()) {
            (Some(each), true) => each,
            (None, false) if raw.parties.is_empty() => {
                let part = |it: &RawPoolPart| -> Result<(PartyId, Filter)> {
                    Ok((self.party(self.file, &it.party)?, self.filter(self.file, &it.r#where)?))
                };
                let parts = raw.parts.iter().map(part).collect::<Result<_>>()?;
                return Ok(Payees::ByUsage { of, parts, if_none });
            }
            _ => return self.file.fail(at, Problem::Pool),
        };
        let attribute = self.attribute(self.file, &each.span(), each.get_ref())?;
        if raw.parties.is_empty() {
            if if_none == IfNone::Equal {
                return self.file.fail(at, Problem::EqualAmongWhom);
            }
            return Ok(Payees::EachParty { of, attribute, if_none });
        }
        let mut values: Vec<(&Spanned<String>, &Spanned<String>)> = raw.parties.iter().collect();
        values.sort_by_key(|(value, _)| value.span().start);
        let mut parts: Vec<(PartyId, Filter)> = Vec::new();
        for (value, party) in values {
            let party = self.party(self.file, party)?;
            let name = [(value.span(), value.get_ref().as_str())];
            let found = self.attribute_values(self.file, &attribute, &value.span(), &name)?;
            match parts.iter_mut().find(|(known, _)| *known == party) {
                Some((_, filter)) => filter.all.entry(attribute.clone()).or_default().extend(found),
                None => {
                    let all = Values::from([(attribute.clone(), found)]);
                    parts.push((party, Filter { all, none: Vec::new() }));
                }
            }
        }
        Ok(Payees::ByUsage { of, parts, if_none })
    }

    fn life_of_term(&self, at: &Range<usize>, raw: &'a RawTerm) -> Result<Life> {
        let dates = (raw.from.as_ref(), raw.through.as_ref());
        let own = self.life(self.file, at, dates, raw.until.as_ref())?;
        self.check_begun(&own, dates)?;
        let lasts = raw.lasts.as_ref().map(|text| length(self.file, text)).transpose()?;
        let during = raw.r#while.as_ref().map(|name| self.status_of_contract(name)).transpose()?;
        let tail = raw.tail.as_ref().map(|tail| self.tail(tail)).transpose()?;
        if lasts.is_some() && raw.through.is_some() {
            return self.file.fail(at, Problem::TwoEnds);
        }
        Ok(Life { lasts, during, tail, ..own })
    }

    fn status_of_contract(&self, name: &Spanned<String>) -> Result<DefinedTerm> {
        let (_, fact) = self.fact_named(self.file, &name.span(), name.get_ref())?;
        let found = match (fact.get_ref().kind, fact.get_ref().about.is_empty()) {
            (FactKind::Status, true) => return Ok(defined(name.get_ref())),
            (FactKind::Status, false) => "not about the contract alone",
            (FactKind::Event, _) => "an event",
        };
        let problem = Problem::WrongFact { name: name.get_ref().clone(), found, expected: "a status of the contract" };
        self.file.fail(&name.span(), problem)
    }

    fn tail(&self, spanned: &'a Spanned<RawTail>) -> Result<Tail> {
        let raw = spanned.get_ref();
        let filter = raw.r#where.as_ref().map(|it| self.filter(self.file, it)).transpose()?.unwrap_or_default();
        Ok(Tail { lasts: length(self.file, &raw.lasts)?, of: raw.of, filter })
    }

    fn on(&self, raw: &'a RawTerm) -> Result<Option<On>> {
        let Some(on) = &raw.on else {
            return match &raw.at_most {
                Some(at_most) => self.file.fail(&at_most.span(), Problem::AtMost),
                None => Ok(None),
            };
        };
        let found = match on.get_ref() {
            RawValue::Text(text) if is_date(text) => return self.file.fail(&on.span(), quoted_date(text)),
            RawValue::Text(name) if self.find(|raw| &raw.parameter, name).is_none() => {
                let (_, fact) = self.fact_named(self.file, &on.span(), name)?;
                if fact.get_ref().kind == FactKind::Status {
                    let (name, found) = (name.clone(), "a status");
                    return self.file.fail(&on.span(), Problem::WrongFact { name, found, expected: "an event" });
                }
                // Each product that has it would be owed for.
                let is_new = self.is_new();
                if is_new && fact.get_ref().about.contains(&FactAttribute::Capability) {
                    let (name, found, expected) = (name.clone(), "about a capability", "one about products");
                    return self.file.fail(&on.span(), Problem::WrongFact { name, found, expected });
                }
                On::Fact { name: defined(name), at_most: raw.at_most.as_ref().map(|it| *it.get_ref()) }
            }
            RawValue::List(dates) => {
                On::Dates(dates.iter().map(|date| self.date(self.file, date)).collect::<Result<_>>()?)
            }
            _ => On::Dates(vec![self.date(self.file, on)?]),
        };
        self.check_on_begun(on, &found)?;
        if let On::Dates(dates) = &found {
            if dates.is_empty() || dates.windows(2).any(|pair| matches!(pair, [a, b] if b <= a)) {
                return self.file.fail(&on.span(), Problem::DatesRise);
            }
            if let Some(at_most) = &raw.at_most {
                return self.file.fail(&at_most.span(), Problem::AtMost);
            }
        }
        Ok(Some(found))
    }

    fn check_on_begun(&self, written: &Spanned<RawValue>, on: &On) -> Result<()> {
        let On::Dates(dates) = on else { return Ok(()) };
        let places = match written.get_ref() {
            RawValue::List(list) => list.iter().map(Spanned::span).collect(),
            _ => vec![written.span()],
        };
        let owed = dates.iter().map(|date| start_of_day(self.head.zone, *date));
        owed.zip(places).try_for_each(|(owed, at)| self.check_begin(self.file, &at, owed))
    }

    /// What is owed at a time is of all that has come to by then: nothing tells its items apart any more.
    fn check_on(&self, raw: &RawTerm, node: &Node, on: &On) -> Result<()> {
        let on_at = raw.on.as_ref().map(Spanned::span).unwrap_or_default();
        if let (On::Dates(dates), false) = (on, node.measures().is_empty())
            && dates.len() > 1
        {
            return self.file.fail(&on_at, Problem::OnDates);
        }
        let banded = node.tables().into_iter().any(Table::has_bands) && !node.measures().is_empty();
        let field = match (&raw.once, raw.per.is_empty(), banded) {
            (Some(_), ..) => Some("once"),
            (None, false, _) => Some("per"),
            (None, true, true) => Some("a band of what is counted"),
            (None, true, false) => None,
        };
        field.map_or(Ok(()), |field| self.file.fail(&on_at, Problem::OnWith { field }))
    }

    /// What is owed by the window, or at a time, says over which or when; and what holds in a window that is cut.
    fn check_windows(
        &self,
        at: &Range<usize>,
        raw: &RawTerm,
        node: Option<&Node>,
        each: Option<&WindowRule>,
        on: Option<&On>,
    ) -> Result<()> {
        let Some(node) = node else {
            return match raw.minimum {
                Some(_) if each.is_none() && on.is_none() => Ok(()),
                Some(_) => self.file.fail(at, Problem::WindowOfMinimum),
                None => self.file.fail(at, Problem::NoNode),
            };
        };
        if each.is_some() && on.is_some() {
            return self.file.fail(at, Problem::EachAndOn);
        }
        on.map_or(Ok(()), |on| self.check_on(raw, node, on))?;
        if node.has_comparison() && each.is_none() {
            return self.file.fail(at, Problem::NoWindow);
        }
        if node.has_fixed() {
            match each {
                Some(each) => {
                    let at = raw.each.as_ref().map_or_else(|| at.clone(), Spanned::span);
                    self.check_pro_rata(self.file, (&at, "the fixed sum"), each, stated(raw.pro_rata.as_ref()))?;
                }
                None if on.is_none() => return self.file.fail(at, Problem::FixedWhen),
                None => {}
            }
        }
        let yearly = node.all().iter().any(|it| matches!(it.kind, NodeKind::Yearly { .. }));
        if yearly && each.is_none() && on.is_none() {
            return self.file.fail(at, Problem::NoWindow);
        }
        Ok(())
    }

    pub fn check_pro_rata(
        &self,
        file: &Parsed,
        (at, what): (&Range<usize>, &'static str),
        each: &WindowRule,
        own: Option<ProRata>,
    ) -> Result<()> {
        match each.can_be_cut() && own.or(self.head.pro_rata).is_none() {
            true => file.fail(at, Problem::NoProRata { what }),
            false => Ok(()),
        }
    }

    fn instalments(
        &self,
        written: &'a Spanned<OneOrMore<Named<RawInstalment>>>,
        noted: &mut Notes,
    ) -> Result<Vec<Instalment>> {
        let whole = written.span();
        let mut parts = Vec::new();
        let mut total = Exact::zero();
        for (at, item) in written.get_ref().items(&whole) {
            let part = match item {
                Named::Name(text) => {
                    Instalment { part: Exact::from_integer(1), due: self.due_named(&at, text, noted)? }
                }
                Named::Inline(raw) => {
                    let want = Want::plain("part", Kind::Rate { above_one: false });
                    let part = self.number(self.file, &raw.part, &want, noted)?;
                    Instalment { part, due: self.due_named(&raw.due.span(), raw.due.get_ref(), noted)? }
                }
            };
            total += &part.part;
            parts.push(part);
        }
        match total == Exact::from_integer(1) {
            true => Ok(parts),
            false => self.file.fail(&whole, Problem::PartsSum { total }),
        }
    }

    /// When something is due, in words or by the name of a parameter.
    pub fn due_named(&self, at: &Range<usize>, text: &str, noted: &mut Notes) -> Result<Due> {
        let Some((file, parameter)) = self.find(|raw| &raw.parameter, text) else {
            return self.due(self.file, at, text);
        };
        self.note(text, parameter.get_ref().provenance(), noted);
        let value = &parameter.get_ref().value;
        match value.get_ref() {
            RawValue::Text(text) => self.due(file, &value.span(), text),
            _ => file.fail(&value.span(), Problem::Due),
        }
    }

    /// What can be checked once all terms of the version are read.
    fn check_term(&self, name: &str, spanned: &'a Spanned<RawTerm>, version: &Version) -> Result<()> {
        let Some(term) = version.term(&TermId::new(name)) else { return Ok(()) };
        for (credit, written) in term.credits.iter().zip(&spanned.get_ref().credits) {
            let at = written.get_ref().of.span();
            let Some(other) = version.term(&credit.of) else { continue };
            let parties = |term: &Term| match &term.payees {
                Payees::One(payee) => Some((term.payer.clone(), payee.clone())),
                _ => None,
            };
            let fits = match (parties(term), parties(other)) {
                (Some(own), Some((payer, payee))) => own == (payer.clone(), payee.clone()) || own == (payee, payer),
                _ => false,
            };
            if other.id == term.id || !fits {
                return self.file.fail(&at, Problem::CreditOfOthers);
            }
            if other.unit != term.unit {
                let (found, wanted) = (format!("in {}", other.unit), term.unit.to_string());
                return self.file.fail(&at, Problem::OtherMeasure { found, wanted });
            }
        }
        let Some(cap) = &term.cap else { return Ok(()) };
        let at = spanned.get_ref().cap.as_ref().map_or_else(|| spanned.span(), Spanned::span);
        if version.caps.get(cap).is_some_and(|cap| cap.unit != term.unit) {
            return self.file.fail(&at, Problem::SharedCap { what: "currency or unit", cap: cap.clone() });
        }
        let mut sharing = version.terms.iter().filter(|other| other.cap.as_ref() == Some(cap));
        if sharing.any(|other| (&other.payer, &other.payees) != (&term.payer, &term.payees)) {
            return self.file.fail(&at, Problem::SharedCap { what: "payer and payee", cap: cap.clone() });
        }
        Ok(())
    }
}
