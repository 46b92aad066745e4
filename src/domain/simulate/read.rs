//! Reads a scenario: which file holds what, and everything that is wrong, with its place.

use super::Scenario;
use super::generate::{GenerateProblem, generate};
use super::one_file::{Part, PassedOver, parts};
use super::step::Step;
use crate::domain::contract::document::FileLine;
use crate::domain::contract::folder::SourceFile;
use crate::domain::entry::{Entry, EntryError, What, lines};
use crate::domain::fx::{FxProblem, read_recorded_fx_rates};
use crate::domain::ids::EventId;
use crate::domain::names::Unfit;
use crate::domain::price::{PriceProblem, read_recorded_price_book};
use crate::domain::record::without_line;
use std::collections::BTreeMap;

/// Why a scenario is refused, and where.
#[derive(Debug, thiserror::Error)]
#[error("{at}: {problem}")]
pub struct ScenarioError {
    pub at: FileLine,
    pub problem: ScenarioProblem,
}

#[derive(Debug, thiserror::Error)]
pub enum ScenarioProblem {
    #[error(
        "no part of a scenario; it has documents (.md), price books (.csv), rates (fx.csv), records (.jsonl), streams of generated ones (.toml) and steps (steps.jsonl)"
    )]
    NoPart,
    #[error("two files have this path; write one")]
    Repeated,
    #[error("a block without a path would be passed over; write its file after the language: ```jsonl records.jsonl")]
    NoPath,
    #[error(transparent)]
    Prices(#[from] PriceProblem),
    #[error("price \"{id}\" stands at {other} too; give each price an id of its own")]
    RepeatedPrice { id: String, other: FileLine },
    #[error(transparent)]
    Fx(#[from] FxProblem),
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error("what it restates does not fit {id}: {problem}")]
    Misfit { id: EventId, problem: EntryError },
    #[error("{}", of_step(.0))]
    Step(serde_json::Error),
    #[error(transparent)]
    Generate(#[from] GenerateProblem),
}

/// What is wrong in a step, in our words where the reader's list everything.
fn of_step(error: &serde_json::Error) -> String {
    let message = without_line(error);
    Unfit::of(&message).map_or(message, |unfit| unfit.to_string())
}

/// Everything that was found wrong in a scenario.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ScenarioErrors(pub Vec<ScenarioError>);

impl Scenario {
    /// Reads the files of a folder, or one document that holds them, paths within it.
    ///
    /// # Errors
    /// Everything that is wrong, each with its file and line. Contracts are read by their own reader.
    pub fn read(files: &[SourceFile]) -> Result<Self, ScenarioErrors> {
        Self::read_between(&[], files, &[])
    }

    /// Reads a scenario with files from elsewhere: those `beneath` it stand where it has no file of their path, those
    /// `above` it stand in place of its own. Agreements lie beside what is for their editors (`.json`): that is no part.
    ///
    /// # Errors
    /// Everything that is wrong, each with its file and line.
    pub fn read_between(
        beneath: &[SourceFile],
        files: &[SourceFile],
        above: &[SourceFile],
    ) -> Result<Self, ScenarioErrors> {
        let mut parts = own_parts(files)?;
        parts.retain(|part| !above.iter().any(|other| other.path == part.file.path));
        let is_new = |other: &&SourceFile| {
            let mut here = above.iter().chain(parts.iter().map(|part| &part.file));
            !here.any(|it| it.path == other.path)
        };
        let is_part = |other: &&SourceFile| !other.path.ends_with(".json");
        let elsewhere = beneath.iter().filter(is_new).chain(above).filter(is_part);
        let others: Vec<Part> = elsewhere.map(Part::whole).collect();
        if !others.is_empty() {
            parts.extend(others);
            parts.sort_by(|a, b| a.file.path.cmp(&b.file.path));
        }
        let mut reader = Reader::default();
        for (place, part) in parts.iter().enumerate() {
            if parts.iter().take(place).any(|earlier| earlier.file.path == part.file.path) {
                reader.fail(part, 1, ScenarioProblem::Repeated);
            }
            reader.read(part);
        }
        reader.check_corrections();
        if !reader.errors.is_empty() {
            return Err(ScenarioErrors(reader.errors));
        }
        Ok(Self { files: parts.into_iter().map(|part| part.file).collect(), ..reader.scenario })
    }

    /// The files that it was read of.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }
}

/// The files themselves, or the parts of the one document that holds them.
fn own_parts(files: &[SourceFile]) -> Result<Vec<Part>, ScenarioErrors> {
    let parts = match files {
        [file] if file.path.ends_with(".md") => parts(file).map_err(|PassedOver { line }| {
            let at = FileLine { path: file.path.clone(), line };
            ScenarioErrors(vec![ScenarioError { at, problem: ScenarioProblem::NoPath }])
        })?,
        _ => Vec::new(),
    };
    Ok(if parts.is_empty() { files.iter().map(Part::whole).collect() } else { parts })
}

#[derive(Default)]
struct Reader {
    scenario: Scenario,
    /// Where each price stands, by its id.
    prices: BTreeMap<String, FileLine>,
    errors: Vec<ScenarioError>,
}

impl Reader {
    fn fail(&mut self, part: &Part, line: usize, problem: ScenarioProblem) {
        self.errors.push(ScenarioError { at: place(part, line), problem });
    }

    fn read(&mut self, part: &Part) {
        let path = part.file.path.as_str();
        let name = path.rsplit('/').next().unwrap_or(path);
        match (name, name.rsplit_once('.').map(|(_, extension)| extension)) {
            (_, Some("md")) => self.scenario.documents.push(part.file.clone()),
            ("fx.csv", _) => self.read_rates(part),
            (_, Some("csv")) => self.read_prices(part),
            ("steps.jsonl", _) => self.read_steps(part),
            (_, Some("jsonl")) => self.read_entries(part),
            (_, Some("toml")) => self.read_generated(part),
            _ => self.fail(part, 1, ScenarioProblem::NoPart),
        }
    }

    fn read_rates(&mut self, part: &Part) {
        match read_recorded_fx_rates(&part.file.text) {
            Ok(rates) => self.scenario.rates.extend(rates),
            Err(error) => self.fail(part, error.line, error.problem.into()),
        }
    }

    fn read_prices(&mut self, part: &Part) {
        let prices = match read_recorded_price_book(&part.file.text) {
            Ok(prices) => prices,
            Err(error) => return self.fail(part, error.line, error.problem.into()),
        };
        let repeated = prices.iter().find_map(|(line, (_, it))| Some((*line, self.prices.get_key_value(&it.id)?)));
        if let Some((line, (id, other))) = repeated {
            let (id, other) = (id.clone(), other.clone());
            self.fail(part, line, ScenarioProblem::RepeatedPrice { id, other });
        }
        for (line, (recorded_at, price)) in prices {
            self.prices.entry(price.id.clone()).or_insert_with(|| place(part, line));
            self.scenario.prices.push((recorded_at, price));
        }
    }

    fn read_steps(&mut self, part: &Part) {
        for (line, text) in lines(&part.file.text) {
            match Step::from_json(text) {
                Ok(step) => self.scenario.steps.push(step),
                Err(problem) => self.fail(part, line, ScenarioProblem::Step(problem)),
            }
        }
    }

    fn read_entries(&mut self, part: &Part) {
        for (line, text) in lines(&part.file.text) {
            match Entry::from_json(text) {
                Ok(entry) => {
                    self.scenario.entries.push(entry);
                    self.scenario.places.push(place(part, line));
                }
                Err(problem) => self.fail(part, line, problem.into()),
            }
        }
    }

    fn read_generated(&mut self, part: &Part) {
        let made = match generate(&part.file.text) {
            Ok(made) => made,
            Err((line, problem)) => return self.fail(part, line, problem.into()),
        };
        for it in made {
            match Entry::from_json(&it.json) {
                Ok(entry) => {
                    self.scenario.entries.push(entry);
                    self.scenario.places.push(place(part, it.line));
                }
                // Every line of a stream is wrong in the same way.
                Err(problem) => return self.fail(part, it.line, problem.into()),
            }
        }
    }

    /// Checks that what a correction restates is a field of what it corrects, where that is in the scenario.
    fn check_corrections(&mut self) {
        let mut first: BTreeMap<&EventId, &Entry> = BTreeMap::new();
        let mut in_order: Vec<&Entry> = self.scenario.entries.iter().collect();
        in_order.sort_by_key(|entry| entry.recorded_at);
        for entry in in_order {
            first.entry(&entry.id).or_insert(entry);
        }
        for (entry, at) in self.scenario.entries.iter().zip(&self.scenario.places) {
            let What::Correction { target } = &entry.what else { continue };
            let id = EventId { source: entry.id.source.clone(), id: target.clone() };
            let Some(corrected) = first.get(&id) else { continue };
            if matches!(corrected.what, What::Correction { .. } | What::Void { .. }) {
                continue;
            }
            if let Err(problem) = corrected.restated([entry]) {
                let problem = ScenarioProblem::Misfit { id, problem };
                self.errors.push(ScenarioError { at: at.clone(), problem });
            }
        }
    }
}

fn place(part: &Part, line: usize) -> FileLine {
    FileLine { path: part.shown.clone(), line: part.lines_above.saturating_add(line) }
}
