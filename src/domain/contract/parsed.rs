//! A document with its blocks as they are written: what it is, its master data, and the head of its contract.

use super::document::{Document, Location};
use super::problem::{Problem, ReadError};
use super::raw::RawDocument;
use super::{ContractHead, Currency};
use crate::domain::ids::{ContractId, DeploymentId, PartyId, ProductId, TermId, is_name};
use crate::domain::money::UnknownCurrency;
use crate::domain::register::Register;
use chrono_tz::Tz;
use std::collections::BTreeMap;
use std::ops::Range;
use std::str::FromStr;
use toml::Spanned;

type Result<T> = std::result::Result<T, ReadError>;

/// A document with its blocks.
pub struct Parsed {
    pub document: Document,
    pub(super) raw: RawDocument,
}

impl Parsed {
    /// Takes a document apart and reads its blocks as they are written.
    ///
    /// # Errors
    /// Wrong TOML, an unknown field or a missing one, with its place.
    pub fn new(file: &str, text: &str) -> Result<Self> {
        let document = Document::parse(file, text);
        if let Some((at, found)) = document.almost_toml {
            return Err(refuse(&document, &(at..at), Problem::PassedOver { found }));
        }
        if let Some(at) = text.find('\0') {
            return Err(refuse(&document, &(at..at), Problem::Nul));
        }
        match toml::from_str::<RawDocument>(&document.toml) {
            Ok(raw) => Ok(Self { document, raw }),
            Err(error) => {
                let at = error.span().unwrap_or(0..0);
                Err(refuse(&document, &at, Problem::Toml(error.message().to_owned())))
            }
        }
    }

    /// Refuses blocks that nothing would read: terms outside a version, definitions outside contract and version.
    ///
    /// # Errors
    /// The first such block.
    pub fn check_blocks(&self) -> Result<()> {
        let raw = &self.raw;
        self.check_names()?;
        if let Some(version) = &raw.version
            && (version.get_ref().number == 0 || i32::try_from(version.get_ref().number).is_err())
        {
            return self.fail(&version.span(), Problem::VersionNumber { number: version.get_ref().number });
        }
        let stray = |block: &'static str, at: Option<Range<usize>>| match at {
            Some(at) => self.fail(&at, Problem::StrayBlock { block }),
            None => Ok(()),
        };
        if raw.version.is_none() {
            stray("term", raw.term.values().map(Spanned::span).next())?;
            stray("right", raw.right.values().map(Spanned::span).next())?;
        }
        if raw.version.is_none() && raw.contract.is_none() {
            stray("base", raw.base.values().map(Spanned::span).next())?;
            stray("parameter", raw.parameter.values().map(Spanned::span).next())?;
            stray("figure", raw.figure.values().map(Spanned::span).next())?;
            stray("fact", raw.fact.values().map(Spanned::span).next())?;
        }
        Ok(())
    }

    fn check_names(&self) -> Result<()> {
        let raw = &self.raw;
        let contract = raw.contract.iter().map(|contract| ("contract", &contract.get_ref().id, contract.span()));
        fn of<'a, T>(
            kind: &'static str,
            blocks: &'a BTreeMap<String, Spanned<T>>,
        ) -> impl Iterator<Item = (&'static str, &'a String, Range<usize>)> {
            blocks.iter().map(move |(name, block)| (kind, name, block.span()))
        }
        let names = contract
            .chain(of("party", &raw.party))
            .chain(of("cloud", &raw.cloud))
            .chain(of("product", &raw.product))
            .chain(of("group", &raw.group))
            .chain(of("deployment", &raw.deployment))
            .chain(of("figure", &raw.figure))
            .chain(of("fact", &raw.fact))
            .chain(of("term", &raw.term))
            .chain(of("right", &raw.right));
        for (kind, name, at) in names {
            if !is_name(name) {
                return self.fail(&at, Problem::Name { kind, name: name.escape_debug().to_string() });
            }
        }
        for party in raw.party.values() {
            if let Some(line) = party.get_ref().printed().find(|line| !is_name(line)) {
                return self.fail(&party.span(), Problem::PartyLine { line: line.escape_debug().to_string() });
            }
        }
        self.check_texts()
    }

    /// Refuses what entries say of themselves in letters that no name has.
    fn check_texts(&self) -> Result<()> {
        let text = |at: Range<usize>, kind, field, text: &String| match is_name(text) {
            true => Ok(()),
            false => self.fail(&at, Problem::Text { kind, field, text: text.escape_debug().to_string() }),
        };
        for product in self.raw.product.values() {
            for capability in &product.get_ref().capabilities {
                text(product.span(), "product", "capability", capability)?;
            }
        }
        for deployment in self.raw.deployment.values() {
            let it = deployment.get_ref();
            text(deployment.span(), "deployment", "channel", &it.channel)?;
            text(deployment.span(), "deployment", "region", &it.region)?;
        }
        Ok(())
    }

    pub fn is_contract(&self) -> bool {
        self.raw.contract.is_some()
    }

    /// The number of the version that the document holds, and the contract that it says it is of.
    pub fn version(&self) -> Option<(u32, Option<&str>)> {
        let version = self.raw.version.as_ref()?.get_ref();
        Some((version.number, version.contract.as_ref().map(|name| name.get_ref().as_str())))
    }

    /// Where the document states a right.
    pub fn place_of_right(&self, id: &TermId) -> Option<Location> {
        let right = self.raw.right.get(id.as_str())?;
        Some(self.document.location_at(right.span().start))
    }

    /// The id that a contract file states.
    pub fn contract_id(&self) -> Option<ContractId> {
        self.raw.contract.as_ref().map(|contract| ContractId::new(&contract.get_ref().id))
    }

    pub(super) fn fail<T>(&self, at: &Range<usize>, problem: Problem) -> Result<T> {
        Err(refuse(&self.document, at, problem))
    }

    /// The parties, clouds, products, groups and deployments that a document names.
    pub fn register(&self) -> Register {
        let raw = &self.raw;
        let plain = |name: &String| name.clone();
        Register {
            parties: raw.party.iter().map(|(name, party)| (PartyId::new(name), party.get_ref().clone())).collect(),
            clouds: raw.cloud.iter().map(|(name, cloud)| (plain(name), cloud.get_ref().clone())).collect(),
            products: raw.product.iter().map(|(name, it)| (ProductId::new(name), it.get_ref().clone())).collect(),
            groups: raw.group.iter().map(|(name, it)| (plain(name), it.get_ref().clone())).collect(),
            deployments: raw
                .deployment
                .iter()
                .map(|(name, it)| (DeploymentId::new(name), it.get_ref().clone()))
                .collect(),
        }
    }

    /// Looks up every name that the document's master data uses.
    ///
    /// # Errors
    /// The first unknown party, cloud or product, or a party that is another one in capitals.
    pub fn check_register(&self, all: &Register) -> Result<()> {
        let party = |at: Range<usize>, party: &PartyId| match all.parties.contains_key(party) {
            true => Ok(()),
            false => self.fail(&at, unknown("party", party.as_str(), all.parties.keys())),
        };
        for (name, it) in &self.raw.party {
            all.check_namesakes(&PartyId::new(name)).or_else(|same| self.fail(&it.span(), same.into()))?;
        }
        for cloud in self.raw.cloud.values() {
            party(cloud.span(), &cloud.get_ref().operator)?;
        }
        for product in self.raw.product.values() {
            party(product.span(), &product.get_ref().maker)?;
        }
        for group in self.raw.group.values() {
            for product in &group.get_ref().products {
                if !all.products.contains_key(product) {
                    return self.fail(&group.span(), unknown("product", product.as_str(), all.products.keys()));
                }
            }
        }
        for deployment in self.raw.deployment.values() {
            let it = deployment.get_ref();
            party(deployment.span(), &it.operator)?;
            it.seller.as_ref().map_or(Ok(()), |seller| party(deployment.span(), seller))?;
            if !all.clouds.contains_key(&it.cloud) {
                return self.fail(&deployment.span(), unknown("cloud", &it.cloud, all.clouds.keys()));
            }
        }
        Ok(())
    }

    /// What the contract file says of the whole agreement.
    ///
    /// # Errors
    /// A zone or currency that does not exist, or no `[contract]` at all.
    pub fn head(&self) -> Result<ContractHead> {
        let Some(contract) = &self.raw.contract else {
            return self.fail(&(0..0), Problem::NoContract);
        };
        let raw = contract.get_ref();
        let zone = Tz::from_str(raw.zone.get_ref())
            .or_else(|_| self.fail(&raw.zone.span(), Problem::UnknownZone { zone: raw.zone.get_ref().clone() }))?;
        let currency = currency(self, &raw.currency)?;
        Ok(ContractHead {
            id: ContractId::new(&raw.id),
            title: self.document.title.clone(),
            zone,
            currency,
            period: raw.period,
            rounding: raw.rounding,
            negative: raw.negative,
        })
    }
}

fn refuse(document: &Document, at: &Range<usize>, problem: Problem) -> ReadError {
    let clause = document.clause_at(at.start).heading;
    ReadError { at: document.location_at(at.start), clause, problem }
}

pub(super) fn unknown<'a, N: ToString + 'a>(
    kind: &'static str,
    name: &str,
    known: impl Iterator<Item = &'a N>,
) -> Problem {
    Problem::Unknown { kind, name: name.to_owned(), known: known.map(N::to_string).collect() }
}

/// A currency by its code.
pub(super) fn currency(file: &Parsed, text: &Spanned<String>) -> Result<Currency> {
    text.get_ref().parse().or_else(|problem: UnknownCurrency| file.fail(&text.span(), problem.into()))
}
