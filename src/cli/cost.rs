//! `apportion cost`: cost reports of clouds, taken in, listed, compared with what is rated, and made into figures.

use super::output::{counted, exact, instant, json, line, table, tell, thousands};
use super::{Format, Session};
use apportion::domain::calendar::Period;
use apportion::domain::cloud_cost::{ChargeCategory, CostFigure, CostMeasure, HeldCosts};
use apportion::domain::cost_comparison::{Compared, ComparedCloud, CostComparison, NotCompared};
use apportion::domain::ids::ContractId;
use apportion::domain::money::{Currency, Exact, Rounding};
use apportion::domain::period::{Instant, instant_or_date, last_instant_before};
use apportion::ingest::costs::{CostImportError, CostReport, CostStatement, Recorded, check, check_apart, record};
use apportion::jobs::costs::{CompareRequest, CostFigureFault, compare_costs, cost_figure};
use apportion::jobs::findings::known_by;
use apportion::store::costs::{HeldCostsFilter, load_held};
use chrono_tz::Tz;
use serde_json::json as object;
use sqlx::PgPool;
use std::path::PathBuf;

const EXAMPLES: &str = "\
A cost report (FOCUS) is what a cloud itself says that it charged. It is kept beside usage, to be compared with what is \
rated of that; what is owed never follows from it, unless a figure is made of it and recorded.

Examples:
  apportion cost import focus-2026-05.csv.gz
  apportion cost list
  apportion cost compare --month 2026-05
  apportion cost figures --provider Microsoft --period 2026-05 --measure billed \\
    --contract azure-commitment --name Spend --by microsoft > spend-2026-05.jsonl
  apportion record spend-2026-05.jsonl";

const IMPORT_EXAMPLES: &str = "\
Reads FOCUS as CSV with a header, plain or packed with gzip or zstd. Times without a zone are UTC. All files are checked \
first: where a row is wrong nothing is recorded, and the first 20 faults are told with their line. Rows are kept exactly.

Each file is a report, known by the digest of what it holds, unpacked: one that is held is a known duplicate, and said to be. \
With --as-one the files are the parts of one report, in any order, as clouds part large ones; without it, files that state \
the same period of an account are refused.

A report states, for each provider, billing account and billing period that it has rows of, the whole of that period so \
far. Of the reports of an account and period the one recorded last holds, and what is known as of an earlier instant \
stays. So a cloud's next delivery of a month, with more rows or corrected ones, is imported as it is: it replaces what \
was held of that month. One that was replaced is imported anew with --again. A report of a part alone of a billing period \
that is held is refused, and those before it stay recorded.

Examples:
  apportion cost import focus-2026-05.csv.gz
  apportion cost import --as-one focus-2026-05-part-*.csv.zst
  apportion cost import --format json aws.csv azure.csv";

const LIST_EXAMPLES: &str = "\
Of the reports of an account and billing period the one recorded last holds.

Examples:
  apportion cost list
  apportion cost list --provider AWS --known-at 2026-06-10
  apportion cost list --format json";

const COMPARE_EXAMPLES: &str = "\
What clouds report in the category Usage for the month, in UTC and by the period of the charge, whenever it is billed, \
beside what is rated for the month of the usage at the deployments of that cloud, at the prices in force, unrounded. \
The difference is what is reported less what is rated, and its percentage is of what is rated. What is in neither is \
listed with its reason. Usage that nobody is charged for, or that is not resolved, is not rated, and not listed.

Which cloud of the register a provider is, costs.providers says; `apportion config show` shows it. A report of more than \
the models that are rated is compared by --service, with those of its services alone that sell them.

Examples:
  apportion cost compare --month 2026-05
  apportion cost compare --month 2026-05 --by service
  apportion cost compare --month 2026-05 --service 'Amazon Bedrock' --service 'Azure OpenAI'
  apportion cost compare --month 2026-05 --known-at 2026-06-10 --format json
  apportion --set 'costs.providers=[{name=\"AWS\",cloud=\"aws\"}]' cost compare --month 2026-05";

const FIGURES_EXAMPLES: &str = "\
Prints a figure of a contract, such as the spend under a commitment, as a line that `apportion record` takes: the sum of \
what is held of a provider for a period. Its id says what was summed and of which report: the first 16 digits of the \
digest that `apportion cost list` shows, and since when it holds; of several reports, the SHA-256 of their DIGEST@INSTANT, \
sorted, one a line. What a later report changes is printed with --corrects and the figure's id as its correction.

The period's days are UTC, as billing periods are; a billing period that reaches beyond it is refused. All categories \
count, taxes too, unless --category names those that do.

Examples:
  apportion cost figures --provider Microsoft --period 2026-05 --measure billed \\
    --contract azure-commitment --name Spend --by microsoft > spend-2026-05.jsonl
  apportion cost figures --provider AWS --period 2026-05 --measure effective --category Usage \\
    --contract aws-commitment --name Spend --by aws --about cloud=aws --currency USD
  apportion cost figures --provider AWS --period 2026-05 --measure effective \\
    --contract aws-commitment --name Spend --by aws --corrects ID";

/// Import cost reports of clouds, and compare them with what is rated of usage
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Take in cost reports (FOCUS), each whole or not at all
    #[command(after_help = IMPORT_EXAMPLES)]
    Import {
        /// The reports, recorded in this order
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Also reports that were recorded before and replaced since: they hold anew
        #[arg(long)]
        again: bool,
        /// The files are parts of one report
        #[arg(long)]
        as_one: bool,
    },
    /// List what is held, by provider, billing account, billing period and currency
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// Of this provider alone, as the reports call it
        #[arg(long)]
        provider: Option<String>,
        /// As known at this instant, or at the first one of a date (UTC); without it, by now
        #[arg(long, value_parser = instant_or_date, value_name = "INSTANT")]
        known_at: Option<Instant>,
    },
    /// Compare what each cloud reports for usage with what is rated of it
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare {
        /// The month, such as 2026-05
        #[arg(long, value_parser = month)]
        month: Period,
        /// Show what is reported by service, too
        #[arg(long)]
        by: Option<By>,
        /// Of what is reported, this service alone; may be given more than once
        #[arg(long = "service", value_name = "SERVICE")]
        services: Vec<String>,
        /// As known at this instant, or at the first one of a date (UTC); without it, by now
        #[arg(long, value_parser = instant_or_date, value_name = "INSTANT")]
        known_at: Option<Instant>,
    },
    /// Print the sum of a provider's costs of a period as a figure, to be recorded
    #[command(after_help = FIGURES_EXAMPLES)]
    Figures(Box<Figures>),
}

/// Into what reported costs are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum By {
    Service,
}

#[derive(Debug, clap::Args)]
struct Figures {
    /// As the reports call it, such as Microsoft
    #[arg(long)]
    provider: String,
    /// Of this billing account alone
    #[arg(long)]
    account: Option<String>,
    /// A month 2026-05, a quarter 2026-Q2 or a year 2026
    #[arg(long)]
    period: Period,
    /// Which cost: billed, effective or contracted
    #[arg(long)]
    measure: CostMeasure,
    /// Of this category alone, such as Usage; may be given more than once
    #[arg(long = "category", value_name = "CATEGORY")]
    categories: Vec<ChargeCategory>,
    /// Of this currency alone
    #[arg(long)]
    currency: Option<Currency>,
    /// The contract that declares the figure
    #[arg(long)]
    contract: String,
    /// The figure's name
    #[arg(long)]
    name: String,
    /// The party that reports it
    #[arg(long)]
    by: String,
    /// What it is about, such as cloud=azure; may be given more than once
    #[arg(long, value_parser = attribute, value_name = "NAME=VALUE")]
    about: Vec<(String, String)>,
    /// The id of a figure of before, whose value it corrects
    #[arg(long, value_name = "ID")]
    corrects: Option<String>,
    /// As known at this instant, or at the first one of a date (UTC); without it, by now
    #[arg(long, value_parser = instant_or_date, value_name = "INSTANT")]
    known_at: Option<Instant>,
}

fn month(text: &str) -> Result<Period, String> {
    let period: Period = text.parse().map_err(|error: <Period as std::str::FromStr>::Err| error.to_string())?;
    let is_month = text.len() == "2026-05".len() && !text.contains('Q');
    is_month.then_some(period).ok_or_else(|| "write a month, such as 2026-05".to_owned())
}

fn attribute(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    pair.ok_or_else(|| "write NAME=VALUE, such as cloud=azure".to_owned())
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    match args.command {
        Command::Import { files, again, as_one } => import(&files, again, as_one, session).await,
        Command::List { provider, known_at } => {
            let pool = session.pool().await?;
            let known_at = known_by(&pool, known_at).await?;
            let filter = HeldCostsFilter { provider, ..HeldCostsFilter::default() };
            let held = load_held(&mut *pool.acquire().await?, &filter, known_at).await?;
            if session.format == Format::Json { json(&held) } else { show_held(&held) }
        }
        Command::Compare { month, by, services, known_at } => {
            let pool = session.pool().await?;
            let known_at = known_by(&pool, known_at).await?;
            let clouds = session.config.costs.cloud_by_provider.clone();
            let services = services.into_iter().collect();
            let request = CompareRequest { span: month.span(Tz::UTC), clouds, services };
            let compared = compare_costs(&pool, &request, known_at).await?;
            if session.format == Format::Json {
                return json(&object!({
                    "month": month, "known_at": known_at, "services": request.services, "clouds": compared.clouds,
                    "not_compared": compared.not_compared,
                }));
            }
            show_comparison(&compared, by)
        }
        Command::Figures(figures) => {
            let pool = session.pool().await?;
            let (known_at, figure) = (known_by(&pool, figures.known_at).await?, figures.figure());
            // A line of a file, in either format.
            Ok(line(cost_figure(&pool, &figure, known_at).await?)?)
        }
    }
}

/// The exit status of an error of these commands' own; none of others.
pub fn status(error: &anyhow::Error) -> Option<u8> {
    let of_import = error.downcast_ref().map(|error| if matches!(error, CostImportError::Store(_)) { 1 } else { 3 });
    let of_figure = error.downcast_ref().map(|error| if matches!(error, CostFigureFault::Store(_)) { 1 } else { 3 });
    of_import.or(of_figure)
}

impl Figures {
    fn figure(self) -> CostFigure {
        CostFigure {
            provider: self.provider,
            billing_account: self.account,
            categories: self.categories.into_iter().collect(),
            period: self.period,
            measure: self.measure,
            currency: self.currency,
            contract: ContractId::new(self.contract),
            name: self.name,
            by: self.by,
            about: self.about,
            corrects: self.corrects,
        }
    }
}

async fn import(files: &[PathBuf], again: bool, as_one: bool, session: &Session) -> anyhow::Result<()> {
    let reports: Vec<&[PathBuf]> = if as_one { vec![files] } else { files.chunks(1).collect() };
    let checked: Vec<CostReport> = reports.iter().map(|paths| check(paths)).collect::<Result<_, _>>()?;
    check_apart(&checked)?;
    let pool = session.pool().await?;
    let (mut told, mut refused) = (Vec::new(), None);
    for (report, paths) in checked.iter().zip(reports) {
        let recorded = match record(&pool, report, again).await {
            Ok(recorded) => recorded,
            Err(error) => {
                refused = Some(error);
                break;
            }
        };
        if session.format == Format::Table {
            show_imported(&pool, paths, report, recorded).await?;
        }
        let (recorded_at, is_duplicate, holds) = match recorded {
            Recorded::Now(at) => (at, false, true),
            Recorded::Held(at) => (at, true, true),
            Recorded::Replaced(at) => (at, true, false),
        };
        told.push(object!({
            "files": paths, "sha256": report.sha256, "recorded_at": recorded_at, "duplicate": is_duplicate,
            "holds": holds, "statements": report.statements,
        }));
    }
    // What was recorded before one was refused stays, and is told.
    if session.format == Format::Json {
        json(&told)?;
    }
    refused.map_or(Ok(()), |error| Err(error.into()))
}

/// What a report states, and of each of that how many rows were held before.
async fn show_imported(
    pool: &PgPool,
    paths: &[PathBuf],
    report: &CostReport,
    recorded: Recorded,
) -> anyhow::Result<()> {
    let names = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    let known = |at, what: &str| format!("{names}: a known duplicate, recorded at {}{what}", instant(at));
    let at = match recorded {
        Recorded::Held(at) => return Ok(line(known(at, ", which holds; nothing is recorded again."))?),
        Recorded::Replaced(at) => return Ok(line(known(at, " and replaced since; --again records it anew."))?),
        Recorded::Now(at) => at,
    };
    let rows: u64 = report.statements.iter().map(|it| it.rows).sum();
    line(format!("{names}: {} recorded, report {}.", counted(rows, "row"), report.sha256))?;
    let mut conn = pool.acquire().await?;
    let mut rows = Vec::new();
    for CostStatement { provider, billing_account, billing, rows: count } in &report.statements {
        let filter = HeldCostsFilter {
            provider: Some(provider.clone()),
            billing_account: Some(billing_account.clone()),
            billing: Some(*billing),
            ..HeldCostsFilter::default()
        };
        let replaced = load_held(&mut conn, &filter, last_instant_before(at)).await?;
        let replaced: u64 = replaced.iter().map(|held| held.rows).sum();
        let replaced = if replaced == 0 { String::new() } else { thousands(replaced) };
        let period = days(billing.start, billing.end);
        rows.push(vec![provider.clone(), billing_account.clone(), period, thousands(count), replaced]);
    }
    let heading = ["provider", "account", "billing period", "rows", "in place of"];
    Ok(line(table(&heading, &[3, 4], rows))?)
}

/// A billing period in UTC, as its month where it is one.
fn days(from: Instant, to: Instant) -> String {
    let month = from.format("%Y-%m").to_string();
    match month.parse::<Period>().map(|period| period.span(Tz::UTC)) {
        Ok(span) if (span.start, span.end) == (from, to) => month,
        _ => format!("{} to {}", instant(from), instant(to)),
    }
}

fn show_held(held: &[HeldCosts]) -> anyhow::Result<()> {
    if held.is_empty() {
        return Ok(line("No costs: `apportion cost import FILE` takes them in.")?);
    }
    let row = |it: &HeldCosts| {
        let HeldCosts { provider, billing_account, billing_from, billing_to, currency, .. } = it;
        let costs = it.costs();
        let contracted = costs.of(CostMeasure::Contracted).map_or_else(|| "not stated by all".to_owned(), exact);
        vec![
            provider.clone(),
            billing_account.clone(),
            days(*billing_from, *billing_to),
            currency.to_string(),
            thousands(costs.rows),
            exact(&costs.billed),
            exact(&costs.effective),
            contracted,
            exact(&costs.list),
            instant(it.recorded_at),
            it.report_sha256.clone(),
        ]
    };
    let heading = [
        "provider",
        "account",
        "billing period",
        "currency",
        "rows",
        "billed",
        "effective",
        "contracted",
        "list",
        "recorded",
        "report",
    ];
    Ok(line(table(&heading, &[4, 5, 6, 7, 8], held.iter().map(row)))?)
}

fn show_comparison(compared: &CostComparison, by: Option<By>) -> anyhow::Result<()> {
    let CostComparison { clouds, not_compared } = compared;
    if clouds.is_empty() {
        line("Nothing can be compared.")?;
    } else {
        let heading = ["cloud", "currency", "cost", "the cloud reports", "is rated", "difference", "of rated"];
        line(table(&heading, &[3, 4, 5, 6], clouds.iter().flat_map(compared_rows)))?;
    }
    if by.is_some() && !clouds.is_empty() {
        let heading = ["cloud", "service", "currency", "rows", "billed", "effective", "contracted"];
        line(table(&heading, &[3, 4, 5, 6], clouds.iter().flat_map(service_rows)))?;
    }
    if !not_compared.is_empty() {
        line("Not compared:")?;
    }
    for it in not_compared {
        line(format!("  {}", reason(it)))?;
    }
    let is_unknown = |it: &NotCompared| matches!(it, NotCompared::UnknownProvider { .. });
    if not_compared.iter().any(is_unknown) {
        tell("The setting costs.providers says which cloud a provider is.");
    }
    Ok(())
}

/// Why something is in no comparison.
fn reason(it: &NotCompared) -> String {
    let some = |rows: &u64, billed: &Exact, currency: &Currency| {
        format!("{}, billed {} {currency}", counted(*rows, "row"), exact(billed))
    };
    match it {
        NotCompared::UnknownProvider { provider, currency, rows, billed } => {
            format!("{provider}: which cloud of the register it is, is not set ({})", some(rows, billed, currency))
        }
        NotCompared::UnregisteredCloud { provider, cloud } => format!("{provider}: no cloud \"{cloud}\" is registered"),
        NotCompared::OtherService { provider, currency, rows, billed } => {
            format!("{provider}: of services that were not asked for ({})", some(rows, billed, currency))
        }
        NotCompared::NoDeployment { cloud, currency, rows, billed } => {
            format!("{cloud}: no deployment of it is registered ({})", some(rows, billed, currency))
        }
        NotCompared::OtherCategory { provider, category, currency, rows, billed } => {
            format!("{provider}: {category} is not for usage ({})", some(rows, billed, currency))
        }
        NotCompared::BeyondSpan { provider, service, currency, rows, billed } => {
            let some = some(rows, billed, currency);
            format!("{provider}, {service}: what is charged for reaches beyond the month ({some})")
        }
        NotCompared::NoReport { cloud, currency, rated } => {
            format!("{cloud}: no report is held (rated {} {currency})", exact(rated))
        }
        NotCompared::NoUsageReported { cloud, currency, rated } => {
            format!("{cloud}: nothing of what is reported is compared (rated {} {currency})", exact(rated))
        }
        NotCompared::ReportedInOtherCurrency { cloud, currency, billed } => {
            format!("{cloud}: nothing is rated in {currency} (billed {} {currency})", exact(billed))
        }
        NotCompared::RatedInOtherCurrency { cloud, currency, rated } => {
            format!(
                "{cloud}: nothing of what is reported in {currency} is compared (rated {} {currency})",
                exact(rated)
            )
        }
        NotCompared::NoContractedCost { cloud, currency, rows } => {
            format!("{cloud}: {} in {currency} without a contracted cost", counted(*rows, "row"))
        }
        NotCompared::NoPrice { cloud, product, meter, quantity } => {
            format!("{cloud}: no price is in force for {} {meter} of {product}", exact(quantity))
        }
    }
}

fn compared_rows(it: &ComparedCloud) -> impl Iterator<Item = Vec<String>> {
    let row = |Compared { measure, reported, difference, percent }: &Compared| {
        let percent = percent.as_ref().map_or_else(String::new, percentage);
        let (cloud, currency) = (it.cloud.clone(), it.currency.to_string());
        vec![cloud, currency, measure.to_string(), exact(reported), exact(&it.rated), exact(difference), percent]
    };
    it.compared.iter().map(row)
}

/// Rounded to hundredths.
fn percentage(percent: &Exact) -> String {
    format!("{}%", exact(&percent.round(2, Rounding::HalfEven)))
}

fn service_rows(it: &ComparedCloud) -> impl Iterator<Item = Vec<String>> {
    it.services.iter().map(|(service, costs)| {
        let contracted = costs.of(CostMeasure::Contracted).map_or_else(|| "not stated by all".to_owned(), exact);
        let (cloud, currency, rows) = (it.cloud.clone(), it.currency.to_string(), thousands(costs.rows));
        vec![cloud, service.clone(), currency, rows, exact(&costs.billed), exact(&costs.effective), contracted]
    })
}
