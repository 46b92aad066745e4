//! `apportion simulate`: what scenarios come to, and what they would under other agreements, prices or volumes.

use super::output::tell_unread;
use super::simulate_text::{csv_of, show};
use super::{Printed, Stop, output};
use apportion::domain::contract::folder::{FolderErrors, SourceFile};
use apportion::domain::engine::stretches::Grain;
use apportion::domain::simulate::Scenario;
use apportion::domain::simulate::path::{PathKind, PathProblem, Paths};
use apportion::domain::simulate::read::ScenarioErrors;
use apportion::domain::simulate::report::{By, Ran, Report, report};
use apportion::domain::simulate::run::run_by;
use apportion::domain::simulate::sheet::SheetKind;
use apportion::domain::simulate::step::NothingAsked;
use apportion::domain::simulate::what_if::{Named, WhatIf, cases};
use apportion::jobs::gather::{gather, text};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Needs no database and no broker. scenarios/README.md says what a scenario is made of, what its steps ask, and how \
paths are written. With a what-if, every case stands beside the one that it differs from. Usage and records that do \
not count are told under \"uncounted\", where they stand and why: unknown names, conflicts, what is rejected or waits; \
and records that count here, and the service refuses. \
Exit status 4 where there are any or a step waits for something, such as a price or figure, and 3 where a step is \
forbidden or a scenario refused.

Examples:
  apportion simulate scenarios/reference --with contracts --by year
  apportion simulate scenarios/first --format json
  apportion simulate scenarios/reference --with contracts --only booked --format csv
  apportion simulate scenarios/reference --with contracts --by year \\
    --against scenarios/amendment --price-path scenarios/paths/prices-down-30.toml";

/// Compute what scenarios come to, and compare it with what-ifs
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Scenarios: folders, or single documents that hold the files
    #[arg(required = true, value_name = "SCENARIO")]
    scenarios: Vec<PathBuf>,
    /// Files that the scenarios share, such as agreements; a scenario's own file of the same path stands before it
    #[arg(long, value_name = "FOLDER")]
    with: Vec<PathBuf>,
    /// What if: files in place of those of the same path, or beside them, such as an amendment
    #[arg(long, value_name = "FOLDER")]
    against: Option<PathBuf>,
    /// What if: prices are multiplied by month; more than once for several cases
    #[arg(long, value_name = "FILE")]
    price_path: Vec<PathBuf>,
    /// What if: usage and figures are multiplied by month; more than once for several cases
    #[arg(long, value_name = "FILE")]
    volume_path: Vec<PathBuf>,
    /// Sums: by the contracts' period, by year, or over all
    #[arg(long, default_value = "period", value_name = "period|year|all")]
    by: By,
    /// These alone of steps, booked, owed, crossings, parties, breaches, charges, periods, uncounted,
    /// differences
    #[arg(long, value_delimiter = ',', value_name = "SHEET,..")]
    only: Vec<SheetKind>,
}

/// What a scenario came to.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Outcome {
    Ran(Report),
    /// It cannot be run.
    Refused {
        scenario: String,
        refused: String,
    },
}

/// Why a scenario cannot be run.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Scenario(#[from] ScenarioErrors),
    #[error(transparent)]
    Contracts(#[from] FolderErrors),
    #[error("{path}: {problem}")]
    Path { path: String, problem: PathProblem },
    #[error("{case}: {errors}")]
    Case { case: String, errors: FolderErrors },
    #[error(transparent)]
    Asked(#[from] NothingAsked),
}

/// What all scenarios are run with.
struct Setting {
    beneath: Vec<SourceFile>,
    against: Option<Named<Vec<SourceFile>>>,
    prices: Vec<Named<Paths>>,
    volumes: Vec<Named<Paths>>,
    by: By,
    bar: ProgressBar,
}

pub fn run(args: &Args, printed: Printed) -> anyhow::Result<()> {
    let is_what_if = args.against.is_some() || !args.price_path.is_empty() || !args.volume_path.is_empty();
    if args.only.contains(&SheetKind::Differences) && !is_what_if {
        let reason = "differences from what? Add --against, --price-path or --volume-path".to_owned();
        return Err(Stop::Refused { reason }.into());
    }
    let mut beneath = Vec::new();
    for folder in &args.with {
        beneath.extend(files(folder)?);
    }
    let against = args.against.as_ref().map(|folder| Ok::<_, Stop>(Named { name: name(folder), it: files(folder)? }));
    let setting = Setting {
        beneath,
        against: against.transpose()?,
        prices: paths(&args.price_path, PathKind::Prices)?,
        volumes: paths(&args.volume_path, PathKind::Volumes)?,
        by: args.by,
        // Hidden where standard error is no terminal.
        bar: ProgressBar::new(0)
            .with_style(ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} steps {eta}")?),
    };
    let mut outcomes = Vec::new();
    for path in &args.scenarios {
        let own = files(path)?;
        let scenario = path.display().to_string();
        setting.bar.set_message(scenario.clone());
        outcomes.push(match setting.run(&scenario, &own) {
            Ok(report) => Outcome::Ran(report),
            Err(refusal) => Outcome::Refused { scenario, refused: refusal.to_string() },
        });
    }
    setting.bar.finish_and_clear();
    match printed {
        Printed::Json => output::json(&serde_json::json!({ "scenarios": outcomes }))?,
        Printed::Table => show(&outcomes, &args.only)?,
        Printed::Csv => csv_of(&outcomes, &args.only)?,
    }
    Ok(ended(&outcomes)?)
}

impl Setting {
    fn run(&self, name: &str, own: &[SourceFile]) -> Result<Report, Refusal> {
        let given = Scenario::read_between(&self.beneath, own, &[])?;
        given.check_asked()?;
        let against = self.against.as_ref().map(|against| {
            let it = Scenario::read_between(&self.beneath, own, &against.it)?;
            Ok::<_, Refusal>(Named { name: against.name.clone(), it })
        });
        let what_if =
            WhatIf { against: against.transpose()?, prices: self.prices.clone(), volumes: self.volumes.clone() };
        let cases = cases(given, &what_if).map_err(|Named { name, it }| Refusal::Path { path: name, problem: it })?;
        let steps: usize = cases.iter().map(|case| case.scenario.steps.len()).sum();
        self.bar.inc_length(u64::try_from(steps).unwrap_or(u64::MAX));
        let is_compared = cases.len() > 1;
        let mut ran = Vec::new();
        for case in cases {
            let answers =
                run_by(&case.scenario, Grain::Items, || self.bar.inc(1)).map_err(|errors| match is_compared {
                    true => Refusal::Case { case: case.name.clone(), errors },
                    false => Refusal::Contracts(errors),
                })?;
            let stated_amounts = case.scenario.stated_amounts();
            let (name, compared_with, steps) = (case.name, case.compared_with, case.scenario.steps);
            ran.push(Ran { name, compared_with, steps, answers, stated_amounts });
        }
        Ok(report(name, self.by, ran))
    }
}

/// Says by an error how it ended, where a step has no answer, an entry does not count or a scenario was refused.
fn ended(outcomes: &[Outcome]) -> Result<(), Stop> {
    let refused = outcomes.iter().filter(|it| matches!(it, Outcome::Refused { .. })).count();
    let reports = || {
        outcomes.iter().filter_map(|it| match it {
            Outcome::Ran(report) => Some(report),
            Outcome::Refused { .. } => None,
        })
    };
    let failures: Vec<bool> = reports().flat_map(Report::failures).collect();
    let is_waiting = refused == 0 && failures.iter().all(|is_waiting| *is_waiting);
    let mut told = Vec::new();
    if refused > 0 {
        told.push(format!("{} refused", output::counted(refused, "scenario")));
    }
    if !failures.is_empty() {
        let missing = if is_waiting { ": something is missing" } else { "" };
        told.push(format!("{} without an answer{missing}; see steps", output::counted(failures.len(), "step")));
    }
    told.extend(left_out(reports().map(Report::uncounted).sum()));
    match (told.is_empty(), is_waiting) {
        (true, _) => Ok(()),
        (false, true) => Err(Stop::Left { what: told.join("; ") }),
        (false, false) => Err(Stop::Refused { reason: told.join("; ") }),
    }
}

/// Says that some entries do not count, or count here alone, if any.
pub fn left_out(entries: usize) -> Option<String> {
    let (are, them) = if entries == 1 { ("entry does", "it") } else { ("entries do", "them") };
    let entries = (entries > 0).then(|| output::thousands(entries))?;
    Some(format!("{entries} {are} not count, or the service refuses {them}; see uncounted"))
}

fn paths(files: &[PathBuf], kind: PathKind) -> Result<Vec<Named<Paths>>, Stop> {
    let read = |path: &PathBuf| {
        let text = text(path)?;
        let refuse = |problem| Stop::Refused { reason: format!("{}: {problem}", path.display()) };
        Ok(Named { name: name(path), it: Paths::read(&text, kind).map_err(refuse)? })
    };
    files.iter().map(read).collect()
}

/// What a case is called: the name of the file or folder behind it, without an ending.
fn name(path: &Path) -> String {
    path.file_stem().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// The endings of files that are parts of a scenario.
const PARTS: [&str; 4] = ["md", "csv", "jsonl", "toml"];

/// A document, or the files of a folder and of all in it, by path.
pub fn files(path: &Path) -> Result<Vec<SourceFile>, Stop> {
    if !path.is_dir() {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        return Ok(vec![SourceFile { path: name, text: text(path)? }]);
    }
    let found = gather(path, &PARTS)?;
    tell_unread(&found, &PARTS);
    if found.files.is_empty() {
        let reason = format!("{}: no part of a scenario in it (.md, .csv, .jsonl, .toml)", path.display());
        return Err(Stop::Refused { reason });
    }
    Ok(found.files)
}
