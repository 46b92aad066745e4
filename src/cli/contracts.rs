//! `apportion contracts`: check a folder of agreements, load it, show what is loaded, and how far caps are used up.

use super::output::{self, counted, exact, json, line, tell_unread};
use super::{Format, Session, Stop};
use apportion::domain::burn_down::{BurnDown, Forecast};
use apportion::domain::contract::additions::Overridden;
use apportion::domain::contract::folder::Folder;
use apportion::domain::contract::folder::PlacedConflict;
use apportion::domain::contract::rights::{Right, RightInVersion};
use apportion::domain::contract::schema::schema;
use apportion::domain::contract::term::Term;
use apportion::domain::contract::{Contract, Version};
use apportion::domain::fx::FxRate;
use apportion::domain::ids::{ContractId, ProductId};
use apportion::domain::money::Unit;
use apportion::domain::period::Instant;
use apportion::domain::simulate::examples::{Figure, run_examples};
use apportion::jobs::contracts::{ContractsError, ENDINGS, Known, apply, load, read_gathered};
use apportion::jobs::gather::gather;
use apportion::jobs::statements::caps;
use apportion::store::contracts::load_rates;
use apportion::store::recording::watermark;
use sqlx::PgPool;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  apportion contracts check contracts
  apportion contracts apply contracts
  apportion contracts show microsoft-openai
  apportion contracts caps microsoft-openai";

/// Check, load and show agreements, prices and deployments
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Read a folder, run its worked examples, and say what is wrong, with file, line and column; needs no database
    #[command(after_help = "Example:\n  apportion contracts check contracts")]
    Check {
        /// The folder, with all folders in it: documents (.md), price books (.csv), rates of exchange (fx.csv) and facts (.jsonl)
        folder: PathBuf,
    },
    /// Print the JSON schema of the blocks, for editors
    #[command(after_help = "Example:\n  apportion contracts schema > contracts/schema.json")]
    Schema,
    /// Load what a folder adds; loading it again adds nothing
    #[command(after_help = "Example:\n  apportion contracts apply contracts")]
    Apply {
        /// The folder, with all folders in it: documents (.md), price books (.csv), rates of exchange (fx.csv) and facts (.jsonl)
        folder: PathBuf,
    },
    /// Show the terms and rights that are loaded, by contract and version
    #[command(
        after_help = "Examples:\n  apportion contracts show\n  apportion contracts show microsoft-openai --format json"
    )]
    Show {
        /// This contract alone
        contract: Option<String>,
    },
    /// Show the rates of exchange that hold, the last recorded of each source, date and pair
    #[command(
        after_help = "Examples:\n  apportion contracts rates\n  apportion contracts rates --source ECB --format json"
    )]
    Rates {
        /// Of this source alone
        #[arg(long)]
        source: Option<String>,
    },
    /// Show how far caps are used up, as the statements say, and when they will be
    #[command(after_help = "Example:\n  apportion contracts caps microsoft-openai")]
    Caps {
        /// The contract
        contract: String,
    },
}

fn read_and_tell(folder: &Path) -> anyhow::Result<Folder> {
    let found = gather(folder, &ENDINGS).map_err(ContractsError::from)?;
    tell_unread(&found, &ENDINGS);
    Ok(read_gathered(found)?)
}

/// Reads a folder, runs its examples, and says what is in it.
fn check(folder: &Path, format: Format) -> anyhow::Result<()> {
    let read = read_and_tell(folder)?;
    let examples = run_examples(&read);
    let (prices, deployments) = (read.prices.len(), read.register.deployments.len());
    match format {
        Format::Json => json(&serde_json::json!({
            "contracts": read.contracts.len(), "versions": read.versions.len(), "prices": prices,
            "rates": read.rates.len(), "deployments": deployments, "facts": read.facts.len(),
            "conflicts": read.conflicts, "unrated": read.unrated, "examples": examples,
        }))?,
        Format::Table => {
            line(terms_table(&read.contracts))?;
            line(rights_table(&read.contracts))?;
            let (facts, rates) = (read.facts.len(), read.rates.len());
            let verdict = match examples.iter().filter(|it| !it.is_right).count() {
                0 => "all right".to_owned(),
                wrong => format!("the text is right, but of its examples {}", wrong_of(wrong, &examples)),
            };
            line(format!(
                "{prices} prices, {rates} exchange rates, {deployments} deployments, {facts} facts: {verdict}."
            ))?;
            for conflict in &read.conflicts {
                line(in_words(conflict))?;
            }
            for source in &read.unrated {
                line(source.to_string())?;
            }
            line(examples_table(&examples))?;
        }
    }
    Ok(check_examples(&examples)?)
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    match args.command {
        Command::Check { folder } => check(&folder, session.format)?,
        Command::Schema => json(&schema())?,
        Command::Apply { folder } => {
            let read = read_and_tell(&folder)?;
            check_examples(&run_examples(&read))?;
            let applied = apply(&session.pool().await?, &read).await?;
            match session.format {
                Format::Json => json(&applied)?,
                Format::Table => {
                    let added = applied.added;
                    line(format!(
                        "Loaded {} versions, {} prices, {} exchange rates, {} facts and {} entries of the register that \
                         were new.",
                        added.versions, added.prices, added.rates, added.facts, added.register_entries
                    ))?;
                    for Overridden { contract, number, by } in &applied.overridden {
                        line(format!(
                            "Version {by} of {contract} stands before version {number} from the beginning of that on: \
                             nothing of version {number} comes into force any more."
                        ))?;
                    }
                }
            }
        }
        Command::Show { contract } => show(contract, session).await?,
        Command::Rates { source } => rates(source.as_deref(), session).await?,
        Command::Caps { contract } => {
            let pool = session.pool().await?;
            check_known(&pool, &contract).await?;
            let caps = caps(&mut *pool.acquire().await?, &ContractId::new(contract)).await?;
            match session.format {
                Format::Json => json(&caps)?,
                Format::Table if caps.is_empty() => line("No statement says that a cap of it was used yet.")?,
                Format::Table => line(caps_table(&caps))?,
            }
        }
    }
    Ok(())
}

async fn rates(source: Option<&str>, session: &Session) -> anyhow::Result<()> {
    let pool = session.pool().await?;
    let now = watermark(&pool).await?;
    let loaded = load_rates(&mut *pool.acquire().await?, now).await?;
    let of_source = loaded.iter().filter(|rate| source.is_none_or(|source| source == rate.source));
    // They stand in the order of their recording: the last of a key holds.
    let holding: BTreeMap<_, &FxRate> = of_source.map(|rate| (rate.key(), rate)).collect();
    match session.format {
        Format::Json => json(&holding.values().collect::<Vec<_>>()),
        Format::Table if holding.is_empty() => {
            Ok(line("No rate of exchange is loaded; `apportion contracts apply` loads them from fx.csv.")?)
        }
        Format::Table => {
            let row = |rate: &&FxRate| {
                let recorded = rate.recorded_at.map(|at| at.to_string()).unwrap_or_default();
                let (date, number) = (rate.date.to_string(), rate.rate.to_string());
                vec![rate.source.clone(), date, rate.from.clone(), rate.to.clone(), number, recorded]
            };
            let heading = ["source", "date", "one", "is in", "rate", "recorded at"];
            Ok(line(output::table(&heading, &[4], holding.values().map(row)))?)
        }
    }
}

/// How far caps are used up, and the outlook.
pub fn caps_table(caps: &[BurnDown]) -> comfy_table::Table {
    let row = |it: &BurnDown| {
        let outlook = match &it.forecast {
            Forecast::UsedUp => "used up".to_owned(),
            Forecast::UsedUpOn { day, pace_periods } => {
                format!("used up on {day} at the pace of the last {}", counted(pace_periods, "period"))
            }
            Forecast::EndsBefore { ends_at, .. } => format!("not before the term ends at {ends_at}"),
            Forecast::NoPace => "nothing accrued lately".to_owned(),
        };
        // What accrues is not rounded: the statements' booked lines are.
        let [limit, used, left] = [&it.limit, &it.used, &it.remaining].map(exact);
        let (term, who) = (it.term.to_string(), format!("{} owes {}", it.payer, it.payee));
        vec![term, who, it.period.to_string(), limit, used, left, it.unit.to_string(), outlook]
    };
    let heading = ["term", "who owes whom", "through", "cap", "used", "left", "currency", "outlook"];
    output::table(&heading, &[3, 4, 5], caps.iter().map(row))
}

/// A conflict of rights for people: who claims what, where, and when. It is reported, not refused.
fn in_words(PlacedConflict { conflict, places }: &PlacedConflict) -> String {
    let right = |(place, it): (usize, &RightInVersion)| {
        let at = places.get(place).map(|at| format!(" ({at})")).unwrap_or_default();
        format!("{}/{} of version {}{at}", it.contract, it.right, it.version)
    };
    let rights: Vec<String> = conflict.rights.iter().enumerate().map(right).collect();
    let products: Vec<&str> = conflict.products.iter().map(ProductId::as_str).collect();
    let end = conflict.span.end;
    let until = if end == Instant::MAX_UTC { "on".to_owned() } else { format!("to {end}") };
    format!(
        "Conflict: {} cannot both be met for {}, from {} {until}.",
        rights.join(" and "),
        products.join(", "),
        conflict.span.start
    )
}

/// What the worked examples come to, figure by figure.
fn examples_table(examples: &[Figure]) -> comfy_table::Table {
    let row = |it: &Figure| {
        let came_out = if it.is_right { "as expected".to_owned() } else { it.found.clone() };
        let example = format!("{} {}: {}", it.contract, it.version, it.example);
        vec![example, it.of.clone(), it.period.clone(), it.expected.clone(), came_out]
    };
    output::table(&["example", "of", "period", "expected", "came out"], &[3], examples.iter().map(row))
}

/// Fails where an example is wrong, with the place of each figure and what came out instead.
fn check_examples(examples: &[Figure]) -> Result<(), Stop> {
    let wrong: Vec<String> = examples.iter().filter(|it| !it.is_right).map(Figure::to_string).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let told = wrong_of(wrong.len(), examples);
    Err(Stop::Refused { reason: format!("worked examples: {told}:\n{}", wrong.join("\n")) })
}

fn wrong_of(wrong: usize, examples: &[Figure]) -> String {
    let are = if wrong == 1 { "is" } else { "are" };
    format!("{wrong} of {} {are} wrong", counted(examples.len(), "figure"))
}

async fn loaded(pool: &PgPool) -> anyhow::Result<Vec<Contract>> {
    let now = watermark(pool).await?;
    let Known { contracts, .. } = load(&mut *pool.acquire().await?, now).await?;
    Ok(contracts)
}

/// Refuses a contract that is not loaded, and names those that are.
pub async fn check_known(pool: &PgPool, id: &str) -> anyhow::Result<()> {
    Ok(find(loaded(pool).await?, id).map(drop)?)
}

fn find(contracts: Vec<Contract>, id: &str) -> Result<Contract, Stop> {
    let names: Vec<String> = contracts.iter().map(|it| it.head.id.to_string()).collect();
    let found = contracts.into_iter().find(|it| it.head.id.as_str() == id);
    found.ok_or_else(|| {
        let loaded = if names.is_empty() { "none is".to_owned() } else { format!("there is {}", names.join(", ")) };
        Stop::Refused {
            reason: format!("no contract \"{id}\" is loaded: {loaded}; `apportion contracts apply FOLDER` loads them"),
        }
    })
}

async fn show(id: Option<String>, session: &Session) -> anyhow::Result<()> {
    let contracts = loaded(&session.pool().await?).await?;
    let shown = match id {
        Some(id) => vec![find(contracts, &id)?],
        None if contracts.is_empty() && session.format == Format::Table => {
            return Ok(line("No contract is loaded; `apportion contracts apply FOLDER` loads a folder of them.")?);
        }
        None => contracts,
    };
    match session.format {
        Format::Json => json(&shown),
        Format::Table => {
            line(terms_table(&shown))?;
            Ok(line(rights_table(&shown))?)
        }
    }
}

fn terms_table(contracts: &[Contract]) -> comfy_table::Table {
    let terms = contracts.iter().flat_map(|contract| {
        contract
            .versions
            .iter()
            .flat_map(move |version| version.terms.iter().map(move |term| (contract, version, term)))
    });
    let row = |(contract, version, term): (&Contract, &Version, &Term)| {
        let cap = term.cap.as_ref().and_then(|name| version.caps.get(name));
        let cap = cap.map(|cap| match (cap.limit.plain(), &cap.unit) {
            (Some(limit), Unit::Currency(currency)) => output::money(limit, *currency),
            (Some(limit), unit @ Unit::Declared { .. }) => format!("{limit} {unit}"),
            (None, _) => "by rows".to_owned(),
        });
        vec![
            contract.head.id.to_string(),
            version.number.to_string(),
            version.effective_at.with_timezone(&contract.head.zone).format("%Y-%m-%d").to_string(),
            term.id.to_string(),
            format!("{} owes {}", term.payer, term.payees),
            term.in_words(),
            cap.unwrap_or_default(),
        ]
    };
    let heading = ["contract", "version", "effective", "term", "who owes whom", "what", "cap"];
    output::table(&heading, &[1, 6], terms.map(row))
}

fn rights_table(contracts: &[Contract]) -> comfy_table::Table {
    let versions = contracts.iter().flat_map(|it| it.versions.iter().map(move |version| (it, version)));
    let rights = versions.flat_map(|(it, version)| version.rights.iter().map(move |right| (it, version, right)));
    let row = |(contract, version, right): (&Contract, &Version, &Right)| {
        let products: Vec<&str> = right.products.iter().map(ProductId::as_str).collect();
        vec![
            contract.head.id.to_string(),
            version.number.to_string(),
            right.id.to_string(),
            right.kind.to_string(),
            products.join(", "),
            right.on_breach.name().to_owned(),
        ]
    };
    let heading = ["contract", "version", "right", "what", "products", "on breach"];
    output::table(&heading, &[1], rights.map(row))
}
