//! Reads the rights of a version: who may sell what first, alone, or at all.

use super::parsed::unknown;
use super::problem::{Problem, ReadError};
use super::raw::{OneOrMore, RawRight};
use super::read::Scope;
use super::rights::{FactKind, Right, RightKind};
use super::{Attribute, ChargeFilter, DefinedTerm, TermId};
use crate::domain::ids::ProductId;
use std::collections::{BTreeMap, BTreeSet};
use toml::Spanned;

type Result<T> = std::result::Result<T, ReadError>;

impl Scope<'_> {
    /// The rights of the version, in the order of its file.
    pub fn rights(&self) -> Result<Vec<Right>> {
        let mut rights: Vec<(&String, &Spanned<RawRight>)> = self.file.raw.right.iter().collect();
        rights.sort_by_key(|(_, right)| right.span().start);
        rights.into_iter().map(|(name, right)| self.right(name, right)).collect()
    }

    fn right(&self, name: &str, spanned: &Spanned<RawRight>) -> Result<Right> {
        let raw = spanned.get_ref();
        // Both are clauses of one agreement, and lists of either name them alike.
        if self.file.raw.term.contains_key(name) {
            return self.file.fail(&spanned.span(), Problem::TermAndRight { name: name.to_owned() });
        }
        let mut assumptions = Vec::new();
        self.note(&format!("right {name}"), raw.source.as_ref(), raw.confidence, &mut assumptions);
        let (from, end) = self.dates(&spanned.span(), raw.from.as_ref(), raw.through.as_ref())?;
        // A product that is named beside its group counts once.
        let products = self.attribute_values(self.file, Attribute::Product, &raw.products)?;
        let products: BTreeSet<ProductId> = products.into_iter().map(ProductId::new).collect();
        Ok(Right {
            id: TermId::new(name),
            clause: self.file.document.clause_at(spanned.span().start),
            kind: self.right_kind(spanned)?,
            products: products.into_iter().collect(),
            from,
            end,
            until: raw.until.as_ref().map(|name| self.until(name)).transpose()?,
            on_breach: raw.on_breach,
            assumptions,
        })
    }

    /// Which of the kinds a right is; what belongs to another is never passed over.
    fn right_kind(&self, spanned: &Spanned<RawRight>) -> Result<RightKind> {
        let raw = spanned.get_ref();
        let first = (&raw.first, &raw.lead, &raw.release);
        let licence = (&raw.licensor, &raw.licensee, raw.exclusive);
        match (first, &raw.waivers, &raw.only, licence) {
            ((Some(cloud), Some(lead), Some(release)), waivers, None, (None, None, None)) => {
                if !self.register.clouds.contains_key(cloud.get_ref()) {
                    let known = self.register.clouds.keys();
                    return self.file.fail(&cloud.span(), unknown("cloud", cloud.get_ref(), known));
                }
                let waivers = waivers.iter().flatten().map(|name| self.fact_of(name, FactKind::Status));
                Ok(RightKind::First {
                    cloud: cloud.get_ref().clone(),
                    lead: lead
                        .get_ref()
                        .parse()
                        .or_else(|problem| self.file.fail(&lead.span(), Problem::Lead(problem)))?,
                    release: self.fact_of(release, FactKind::Event)?,
                    waivers: waivers.collect::<Result<_>>()?,
                })
            }
            ((None, None, None), None, Some(only), (None, None, None)) => Ok(RightKind::Only(self.only(only)?)),
            ((None, None, None), None, None, (Some(licensor), Some(licensee), Some(exclusive))) => {
                Ok(RightKind::Licence {
                    licensor: self.party(self.file, licensor)?,
                    licensee: self.party(self.file, licensee)?,
                    exclusive,
                })
            }
            _ => self.file.fail(&spanned.span(), Problem::RightKind),
        }
    }

    /// A fact that a right waits for: about products or clouds, or it would hold for everything.
    fn fact_of(&self, name: &Spanned<String>, kind: FactKind) -> Result<DefinedTerm> {
        let fact = self.declared_fact(name)?;
        let (found, expected) = match (fact.kind, kind) {
            _ if fact.about.is_empty() => ("about the contract", "one about products, capabilities or clouds"),
            (FactKind::Event, FactKind::Status) => ("an event", "a status"),
            (FactKind::Status, FactKind::Event) => ("a status", "an event"),
            (FactKind::Event, FactKind::Event) | (FactKind::Status, FactKind::Status) => {
                return Ok(DefinedTerm::new(name.get_ref()));
            }
        };
        self.wrong_fact(name, found, expected)
    }

    fn only(&self, spanned: &Spanned<BTreeMap<Attribute, Spanned<OneOrMore>>>) -> Result<ChargeFilter> {
        let mut only = ChargeFilter::new();
        for (attribute, values) in spanned.get_ref() {
            if let Attribute::Product | Attribute::Customer | Attribute::ServiceTier | Attribute::Meter = attribute {
                return self.file.fail(&values.span(), Problem::OnlyByUsage { attribute: attribute.name() });
            }
            only.insert(*attribute, self.attribute_values(self.file, *attribute, values)?);
        }
        match only.is_empty() {
            true => self.file.fail(&spanned.span(), Problem::NoValues),
            false => Ok(only),
        }
    }
}
