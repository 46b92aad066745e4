//! Reads documents into versions: every name is looked up, every value parsed, nothing ignored.

mod condition;
mod limits;
mod meant;
mod measure;
mod node;
mod other;
mod right;
mod selector;
mod term;
mod unit;
mod value;
mod window;

use super::parsed::{Parsed, unknown};
use super::problem::{Problem, ReadError};
use super::raw::{Blocks, Provenance, RawDocument, RawVersion};
use super::unmeant::Unmeant;
use super::{Assumption, Confidence, ContractHead, Version};
use crate::domain::ids::{DefinedTerm, PartyId};
use crate::domain::period::{Instant, LocalTime};
use crate::domain::register::Register;
pub(in crate::domain::contract) use right::RELEASE;
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;
use window::{Edge, length};
pub(super) use window::{calendar, date, weekday};

pub(super) type Result<T> = std::result::Result<T, ReadError>;

/// What of a block is not official, as far as it was read.
pub(super) type Notes = Vec<Assumption>;

/// Where a document comes from. One that was loaded stays readable whatever is registered later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The contract begins with the first of its versions in the folder.
    Folder {
        begins: Option<Instant>,
    },
    Store,
}

/// Reads the version of a document under the definitions of its contract file.
///
/// `definitions` and `file` are the same where one file holds both.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn read_version(definitions: &Parsed, file: &Parsed, register: &Register, origin: Origin) -> Result<Version> {
    Scope::of(definitions, &definitions.head()?, file, register, origin)?.read()
}

/// From when on the version of a document is in force.
///
/// # Errors
/// The document has no version, or one without a date.
pub fn effective_at(definitions: &Parsed, file: &Parsed, register: &Register) -> Result<Instant> {
    let head = definitions.head()?;
    let scope = Scope::of(definitions, &head, file, register, Origin::Folder { begins: None })?;
    scope.instant("effective", file, &scope.version.effective, Edge::Start)
}

/// What names are looked up in while one version is read: the version's own file first, then the contract's.
pub(super) struct Scope<'a> {
    pub definitions: &'a Parsed,
    pub file: &'a Parsed,
    pub head: &'a ContractHead,
    pub version: &'a RawVersion,
    pub register: &'a Register,
    pub origin: Origin,
}

impl<'a> Scope<'a> {
    fn of(
        definitions: &'a Parsed,
        head: &'a ContractHead,
        file: &'a Parsed,
        register: &'a Register,
        origin: Origin,
    ) -> Result<Self> {
        let Some(version) = &file.raw.version else {
            return file.fail(&(0..0), Problem::NoVersion);
        };
        let raw = version.get_ref();
        match (&raw.contract, file.is_contract()) {
            (Some(name), _) if name.get_ref() != head.id.as_str() => {
                let problem = Problem::OtherContract { expected: head.id.clone(), found: name.get_ref().clone() };
                return file.fail(&name.span(), problem);
            }
            (None, false) => return Err(file.no_contract()),
            _ => {}
        }
        Ok(Self { definitions, file, head, version: raw, register, origin })
    }

    /// Whether it is yet to be loaded. What was loaded is settled by for ever, whatever is known by now to mean nothing.
    pub fn is_new(&self) -> bool {
        self.origin != Origin::Store
    }

    /// An instant as the contract's people tell it.
    pub fn local(&self, at: Instant) -> LocalTime {
        LocalTime { at, zone: self.head.zone }
    }

    /// Refuses what ends before the contract begins.
    pub fn check_end(&self, file: &Parsed, at: &Range<usize>, end: Instant) -> Result<()> {
        match self.origin {
            Origin::Folder { begins: Some(begins) } if end <= begins => {
                let [end, begins] = [end, begins].map(|at| self.local(at));
                file.fail(at, Unmeant::EndsBeforeContract { end, begins }.into())
            }
            _ => Ok(()),
        }
    }

    /// Refuses what begins, or is owed, before the contract begins.
    pub fn check_begin(&self, file: &Parsed, at: &Range<usize>, begin: Instant) -> Result<()> {
        match self.origin {
            Origin::Folder { begins: Some(begins) } if begin < begins => {
                file.fail(at, Unmeant::BeforeContract { begins: self.local(begins) }.into())
            }
            _ => Ok(()),
        }
    }

    fn read(&self) -> Result<Version> {
        self.check_names()?;
        let effective = &self.version.effective;
        let mut version = Version {
            number: self.version.number,
            effective_at: self.instant("effective", self.file, effective, Edge::Start)?,
            signed: self.version.signed.as_ref().map(|it| self.date(self.file, it)).transpose()?,
            recorded_at: self.recorded_at()?,
            end: self.version.through.as_ref().map(|it| self.version_end(it)).transpose()?.unwrap_or_default(),
            units: self.units()?,
            figures: self.figures()?,
            facts: self.facts()?,
            bases: self.bases()?,
            amounts: self.amounts()?,
            caps: self.shared_caps()?,
            terms: Vec::new(),
            rights: self.rights()?,
            effects: self.effects()?,
            opens: self.opens()?,
            audit: self.audit()?,
            interest: self.interest()?,
            fx: self.fx()?,
            assumptions: self.of_definitions(),
        };
        self.check_parameters()?;
        self.read_terms(&mut version)?;
        if self.is_new() {
            self.check_meant(&version)?;
        }
        Ok(version)
    }

    /// The files in which names are looked up; a later one is overridden by an earlier one.
    fn files(&self) -> impl Iterator<Item = &'a Parsed> + use<'a> {
        let both = !std::ptr::eq(self.file, self.definitions);
        [self.file].into_iter().chain(both.then_some(self.definitions))
    }

    /// A block by its name, with the file in which it stands.
    fn find<T>(
        &self,
        blocks: impl Fn(&'a RawDocument) -> &'a Blocks<T>,
        name: &str,
    ) -> Option<(&'a Parsed, &'a Spanned<T>)> {
        self.files().find_map(|file| Some((file, blocks(&file.raw).get(name)?)))
    }

    /// All blocks of a kind by their names.
    fn all<T>(
        &self,
        blocks: impl Fn(&'a RawDocument) -> &'a Blocks<T>,
    ) -> BTreeMap<&'a String, (&'a Parsed, &'a Spanned<T>)> {
        let mut found = BTreeMap::new();
        for file in self.files() {
            for (name, block) in blocks(&file.raw) {
                found.entry(name).or_insert((file, block));
            }
        }
        found
    }

    /// One name in one sense: what a node or value names would otherwise depend on where we look first.
    fn check_names(&self) -> Result<()> {
        let names = |kind: &'static str| -> Vec<(&'static str, &'a String, Range<usize>, &'a Parsed)> {
            fn of<'a, T>(
                kind: &'static str,
                all: BTreeMap<&'a String, (&'a Parsed, &'a Spanned<T>)>,
            ) -> Vec<(&'static str, &'a String, Range<usize>, &'a Parsed)> {
                all.into_iter().map(|(name, (file, block))| (kind, name, block.span(), file)).collect()
            }
            match kind {
                "base" => of(kind, self.all(|raw| &raw.base)),
                "amount" => of(kind, self.all(|raw| &raw.amount)),
                "figure" => of(kind, self.all(|raw| &raw.figure)),
                "parameter" => of(kind, self.all(|raw| &raw.parameter)),
                "fact" => of(kind, self.all(|raw| &raw.fact)),
                "right" => of(kind, self.all(|raw| &raw.right)),
                _ => of("term", self.all(|raw| &raw.term)),
            }
        };
        // What may stand in one place has to have names of its own.
        let places: [&[&'static str]; 4] = [
            &["base", "amount", "figure", "term"],
            &["parameter", "amount", "figure"],
            &["parameter", "fact"],
            &["term", "right"],
        ];
        for kinds in places {
            let mut seen: BTreeMap<&String, &'static str> = BTreeMap::new();
            for (kind, name, at, file) in kinds.iter().flat_map(|kind| names(kind)) {
                if let Some(other) = seen.insert(name, kind) {
                    let problem = Problem::TwoKinds { name: name.clone(), kind, other };
                    return file.fail(&at, problem);
                }
            }
        }
        Ok(())
    }

    pub fn party(&self, file: &Parsed, name: &Spanned<String>) -> Result<PartyId> {
        self.party_named(file, &name.span(), name.get_ref())
    }

    pub fn party_named(&self, file: &Parsed, at: &Range<usize>, name: &str) -> Result<PartyId> {
        let party = PartyId::new(name);
        match self.register.parties.contains_key(&party) {
            true => Ok(party),
            false => file.fail(at, unknown("party", name, self.register.parties.keys())),
        }
    }

    /// Notes what is not official, with the source and confidence that hold where none is stated.
    pub fn note(&self, what: &str, own: Provenance<'_>, noted: &mut Notes) {
        let contract = self.definitions.raw.contract.as_ref().map(|it| it.get_ref().provenance());
        let contract = contract.unwrap_or_default();
        let version = self.version.provenance();
        let confidence = own.confidence.or(version.confidence).or(contract.confidence).unwrap_or_default();
        if confidence == Confidence::Official {
            return;
        }
        let source = own.source.or(version.source).or(contract.source).map_or("not stated", String::as_str);
        let source = own.note.map_or_else(|| source.to_owned(), |note| format!("{source} ({note})"));
        let assumption = Assumption { what: what.to_owned(), confidence, source };
        if !noted.contains(&assumption) {
            noted.push(assumption);
        }
    }

    /// What definitions say of themselves; what they do not say holds for their values, which note it.
    fn of_definitions(&self) -> Notes {
        let mut noted = Vec::new();
        let mut add = |kind: &str, name: &str, own: Provenance<'_>| {
            if own.confidence.is_some() {
                self.note(&format!("{kind} {name}"), own, &mut noted);
            }
        };
        self.all(|raw| &raw.unit).iter().for_each(|(name, (_, it))| add("unit", name, it.get_ref().provenance()));
        self.all(|raw| &raw.period).iter().for_each(|(name, (_, it))| add("period", name, it.get_ref().provenance()));
        let calendars = self.all(|raw| &raw.calendar);
        calendars.iter().for_each(|(name, (_, it))| add("calendar", name, it.get_ref().provenance()));
        self.all(|raw| &raw.figure).iter().for_each(|(name, (_, it))| add("figure", name, it.get_ref().provenance()));
        self.all(|raw| &raw.fact).iter().for_each(|(name, (_, it))| add("fact", name, it.get_ref().provenance()));
        self.file.raw.open.iter().for_each(|(name, it)| add("open", name, it.get_ref().provenance()));
        noted
    }

    /// Blocks of a kind in the order of the version's file.
    fn in_order<T>(&self, blocks: &'a Blocks<T>) -> Vec<(&'a String, &'a Spanned<T>)> {
        let mut blocks: Vec<_> = blocks.iter().collect();
        blocks.sort_by_key(|(_, block)| block.span().start);
        blocks
    }
}

fn defined(name: &str) -> DefinedTerm {
    DefinedTerm::new(name)
}
