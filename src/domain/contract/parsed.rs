//! A document with its blocks as they are written: what it is, its master data, and the head of its contract.

use super::check::{BlockName, CheckProblem};
use super::document::{Document, Location};
use super::of_toml;
use super::problem::{Problem, ReadError};
use super::raw::{Blocks, RawContract, RawDocument};
use super::read::{self, date};
use super::window::BusinessDays;
use super::{ContractHead, Currency};
use crate::domain::ids::{ContractId, DeploymentId, PartyId, ProductId, is_name};
use crate::domain::money::{Exact, UnknownCurrency};
use crate::domain::register::Register;
use chrono::Weekday;
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
                let (at, problem) = of_toml::problem(&document, &at, error.message());
                Err(refuse(&document, &at, problem))
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
        fn first<T>(blocks: &Blocks<T>) -> Option<Range<usize>> {
            blocks.values().map(Spanned::span).min_by_key(|at| at.start)
        }
        let of_version = [
            ("term", first(&raw.term)),
            ("right", first(&raw.right)),
            ("effect", first(&raw.effect)),
            ("open", first(&raw.open)),
        ];
        let of_contract = [
            ("base", first(&raw.base)),
            ("amount", first(&raw.amount)),
            ("parameter", first(&raw.parameter)),
            ("figure", first(&raw.figure)),
            ("fact", first(&raw.fact)),
            ("cap", first(&raw.cap)),
            ("unit", first(&raw.unit)),
            ("period", first(&raw.period)),
            ("calendar", first(&raw.calendar)),
            ("audit", raw.audit.as_ref().map(Spanned::span)),
            ("interest", raw.interest.as_ref().map(Spanned::span)),
            ("fx", raw.fx.as_ref().map(Spanned::span)),
        ];
        let is_stray = |(_, is_there): &(bool, bool)| !is_there;
        let (in_version, in_either) = (raw.version.is_some(), raw.version.is_some() || raw.contract.is_some());
        let stray = of_version.map(|it| (it, (true, in_version))).into_iter();
        let stray = stray.chain(of_contract.map(|it| (it, (false, in_either))));
        for ((block, at), place) in stray {
            if let Some(at) = at.filter(|_| is_stray(&place)) {
                return self.fail(&at, Problem::StrayBlock { block, in_version: place.0 });
            }
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
            .chain(of("unit", &raw.unit))
            .chain(of("period", &raw.period))
            .chain(of("parameter", &raw.parameter))
            .chain(of("base", &raw.base))
            .chain(of("amount", &raw.amount))
            .chain(of("cap", &raw.cap))
            .chain(of("effect", &raw.effect))
            .chain(of("open", &raw.open))
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

    /// Where the document states a block.
    pub fn place_of_block(&self, block: &BlockName) -> Option<Location> {
        Some(self.document.location_at(self.span_of_block(block)?.start))
    }

    fn span_of_block(&self, block: &BlockName) -> Option<Range<usize>> {
        match block {
            BlockName::Term(id) => self.raw.term.get(id.as_str()).map(Spanned::span),
            BlockName::Right(id) => self.raw.right.get(id.as_str()).map(Spanned::span),
            BlockName::Base(name) => self.raw.base.get(name.as_str()).map(Spanned::span),
            BlockName::Amount(name) => self.raw.amount.get(name.as_str()).map(Spanned::span),
            BlockName::Fact(name) => self.raw.fact.get(name.as_str()).map(Spanned::span),
            BlockName::Effect(name) => self.raw.effect.get(name.as_str()).map(Spanned::span),
        }
    }

    /// Where of a block that the document states something is wrong, with that text; the block as a whole has none.
    pub fn fault(&self, block: &BlockName, problem: &CheckProblem) -> Option<(Location, String)> {
        let whole = self.span_of_block(block)?;
        let at = match (problem, block) {
            (CheckProblem::Twice { selection, .. }, BlockName::Base(name)) => {
                let select = &self.raw.base.get(name.as_str())?.get_ref().select;
                let all = select.span();
                select.get_ref().items(&all).nth(*selection).map(|(at, _)| at)
            }
            (CheckProblem::Circle { next, .. }, _) => self.document.naming(whole.start, next),
            _ => None,
        };
        let found = at.as_ref().map(|at| self.document.fault_at(at)).unwrap_or_default();
        Some((self.document.location_at(at.map_or(whole.start, |at| at.start)), found))
    }

    /// Whose rates of exchange the document takes, where it states none itself.
    pub fn source_of_rates(&self) -> Option<(Location, &str)> {
        let fx = self.raw.fx.as_ref().filter(|fx| fx.get_ref().rates.is_empty())?;
        let (block, source) = (fx.span().start, fx.get_ref().provenance().source?);
        let at = self.document.naming(block, source).map_or(block, |at| at.start);
        Some((self.document.location_at(at), source))
    }

    /// Where the document states its version.
    pub fn place_of_version(&self) -> Location {
        self.document.location_at(self.raw.version.as_ref().map_or(0, |version| version.span().start))
    }

    /// A version that does not say of which contract it is.
    pub fn no_contract(&self) -> ReadError {
        let at = self.raw.version.as_ref().map_or(0..0, Spanned::span);
        refuse(&self.document, &at, Problem::NoContract)
    }

    /// Where a contract file states what holds of the whole agreement.
    pub fn place_of_head(&self) -> Location {
        self.document.location_at(self.raw.contract.as_ref().map_or(0, |contract| contract.span().start))
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
        let settlement = read::calendar(self, &raw.period)?;
        Ok(ContractHead {
            id: ContractId::new(&raw.id),
            title: self.document.title.clone(),
            zone,
            currency,
            settlement,
            rounding: raw.rounding,
            negative: raw.negative,
            pro_rata: raw.pro_rata,
            straddling: raw.straddling,
            assumed: raw.assumed,
            business_days: self.business_days(raw)?,
        })
    }

    fn business_days(&self, raw: &RawContract) -> Result<Option<BusinessDays>> {
        let Some(name) = &raw.calendar else { return Ok(None) };
        let Some(calendar) = self.raw.calendar.get(name.get_ref()) else {
            return self.fail(&name.span(), unknown("calendar", name.get_ref(), self.raw.calendar.keys()));
        };
        let raw = calendar.get_ref();
        let weekend = match &raw.weekend {
            Some(days) => days.iter().map(|day| read::weekday(self, day)).collect::<Result<_>>()?,
            None => vec![Weekday::Sat, Weekday::Sun],
        };
        let holidays = raw.holidays.iter().map(|day| date(self, day)).collect::<Result<_>>()?;
        Ok(Some(BusinessDays { holidays, weekend }))
    }
}

/// How a rate is written that was not quoted: one beyond all of it was meant as a percentage, or as more than all where that may be.
pub fn quoted_rate(number: Exact, above_one: bool) -> String {
    let percent = &number * &Exact::from_integer(100);
    let is_beyond = number > Exact::from_integer(1) || number < Exact::from_integer(-1);
    match is_beyond {
        true if above_one => format!("\"{number}%\" or \"{percent}%\""),
        true => format!("\"{number}%\""),
        false => format!("\"{percent}%\""),
    }
}

fn refuse(document: &Document, at: &Range<usize>, problem: Problem) -> ReadError {
    let clause = document.clause_at(at.start).heading;
    let (block, found) = (document.block_at(at.start), document.fault_at(at));
    ReadError { at: document.location_at(at.start), block, clause, found, problem }
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
