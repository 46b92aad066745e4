//! Reads the rights of a version: who may sell what first, alone, or at all.

use super::super::beside::Pick;
use super::super::parsed::unknown;
use super::super::problem::Problem;
use super::super::raw::{RawFilter, RawRight};
use super::super::rights::{FactKind, Right, RightKind};
use super::super::selector::{Attribute, Values};
use super::{Result, Scope, defined, length};
use crate::domain::ids::{DefinedTerm, ProductId, TermId};
use std::collections::BTreeSet;
use toml::Spanned;

/// The fact that tells of a release where a right does not name another.
pub const RELEASE: &str = "release";

impl<'a> Scope<'a> {
    /// The rights of the version, in the order of its file.
    pub fn rights(&self) -> Result<Vec<Right>> {
        let rights = self.in_order(&self.file.raw.right);
        rights.into_iter().map(|(name, right)| self.right(name, right)).collect()
    }

    fn right(&self, name: &str, spanned: &'a Spanned<RawRight>) -> Result<Right> {
        let raw = spanned.get_ref();
        let mut assumptions = Vec::new();
        self.note(&format!("right {name}"), raw.provenance(), &mut assumptions);
        let named = Self::names(&raw.products);
        // A product that is named beside its group counts once.
        let products = self.attribute_values(self.file, &Attribute::Product, &raw.products.span(), &named)?;
        let products: BTreeSet<ProductId> = products.into_iter().map(ProductId::new).collect();
        let dates = (raw.from.as_ref(), raw.through.as_ref());
        let life = self.life(self.file, &spanned.span(), dates, raw.until.as_ref())?;
        self.check_begun(&life, dates)?;
        Ok(Right {
            id: TermId::new(name),
            clause: self.file.document.clause_at(spanned.span().start),
            kind: self.right_kind(spanned)?,
            products: products.into_iter().collect(),
            life,
            on_breach: raw.on_breach,
            assumptions,
        })
    }

    /// Which of the kinds a right is; what belongs to another is never passed over.
    fn right_kind(&self, spanned: &'a Spanned<RawRight>) -> Result<RightKind> {
        let raw = spanned.get_ref();
        let first = (&raw.first, &raw.lead, &raw.release);
        let licence = (&raw.licensor, &raw.licensee, raw.exclusive);
        match (first, &raw.waivers, &raw.only, licence) {
            ((Some(cloud), Some(lead), release), waivers, None, (None, None, None)) => {
                if !self.register.clouds.contains_key(cloud.get_ref()) {
                    let known = self.register.clouds.keys();
                    return self.file.fail(&cloud.span(), unknown("cloud", cloud.get_ref(), known));
                }
                let waivers = waivers.iter().flatten().map(|name| self.fact_of(name, FactKind::Status));
                Ok(RightKind::First {
                    cloud: cloud.get_ref().clone(),
                    lead: length(self.file, lead)?,
                    release: match release {
                        Some(name) => self.fact_of(name, FactKind::Event)?,
                        None => defined(RELEASE),
                    },
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
        let (_, fact) = self.fact_named(self.file, &name.span(), name.get_ref())?;
        let fact = fact.get_ref();
        let is_new = self.is_new();
        if is_new && kind == FactKind::Event && (fact.skip > 0 || fact.pick == Pick::Last || fact.lasts.is_some()) {
            return self.file.fail(&name.span(), Problem::ReleaseCounts);
        }
        let (found, expected) = match (fact.kind, kind) {
            _ if fact.about.is_empty() => ("about the contract", "one about products, capabilities or clouds"),
            (FactKind::Event, FactKind::Status) => ("an event", "a status"),
            (FactKind::Status, FactKind::Event) => ("a status", "an event"),
            (FactKind::Event, FactKind::Event) | (FactKind::Status, FactKind::Status) => {
                return Ok(defined(name.get_ref()));
            }
        };
        self.file.fail(&name.span(), Problem::WrongFact { name: name.get_ref().clone(), found, expected })
    }

    fn only(&self, written: &'a Spanned<RawFilter>) -> Result<Values> {
        let places = [
            Attribute::Seller,
            Attribute::Operator,
            Attribute::Cloud,
            Attribute::Channel,
            Attribute::Region,
            Attribute::Deployment,
        ];
        let filter = self.filter(self.file, written)?;
        let named = filter.all.keys().chain(filter.none.iter().flat_map(|none| none.keys()));
        if let Some(attribute) = named.into_iter().find(|it| !places.contains(it)) {
            let attribute = attribute.name().to_owned();
            return self.file.fail(&written.span(), Problem::OnlyByUsage { attribute });
        }
        match filter.all.is_empty() {
            true => self.file.fail(&written.span(), Problem::NoValues),
            false => Ok(filter.all),
        }
    }
}
