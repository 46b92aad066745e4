//! `apportion usage`: what became of the messages.

use super::output::{Format, counted, counted_as, exact, instant, json, line, table, tell, thousands};
use super::{Session, Stop};
use apportion::domain::availability::CloudOutcomes;
use apportion::domain::period::{Instant, Span, instant_or_date};
use apportion::ingest::retry::retry;
use apportion::ingest::writer::Writer;
use apportion::jobs::availability::{CloudAvailability, availability_by_cloud};
use apportion::sources::{RejectionReason, cloudevents};
use apportion::store::usage_reports::{self as reports, Standing};
use apportion::telemetry::Metrics;
use clap::builder::PossibleValuesParser;
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::PgPool;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The most that a list shows at once.
const MOST: i64 = 10_000;

const EXAMPLES: &str = "\
Examples:
  apportion usage outcomes
  apportion usage rejections --reason wrong_time --limit 5
  apportion usage unresolved --format json
  apportion usage availability --from 2026-05-01 --to 2026-06-01";

const REJECTIONS_EXAMPLES: &str = "\
A position is topic/partition@offset, file:line, or the key and place of a request; a record that was read there again is one, seen several times. \
What a source sent wrong it has to send again, mended: once an event stands under its source and id, it came in. \
That is told of events of ours alone.

Examples:
  apportion usage rejections
  apportion usage rejections --reason wrong_time --limit 5";

const RETRY_EXAMPLES: &str = "\
What a rejected message held is kept for 30 days, redacted.

Examples:
  apportion usage retry
  apportion usage retry --reason unknown_field";

const CONFLICTS_EXAMPLES: &str = "\
The first content stands. A source that meant to change it sends a correction, with an id of its own. As JSON, \
with the whole of what was reported and of what stands. One that was read again where it stands is one, seen several times.

Examples:
  apportion usage conflicts --limit 5
  apportion usage conflicts --format json";

const OUTCOMES_EXAMPLES: &str = "\
Each message counts as what it was when it came: one that is read again, as a file is that is ingested twice, counts again.

Examples:
  apportion usage outcomes
  apportion usage outcomes --format json";

const UNRESOLVED_EXAMPLES: &str = "\
Such usage counts from when its names are registered: add them to register.md, then `apportion contracts apply FOLDER`. \
What is waived for a contract in part came, in part, after that: its statements wait for the rest.

Examples:
  apportion usage unresolved";

const AVAILABILITY_EXAMPLES: &str = "\
Availability is ok / (ok + error) of the usage events from --from until before --to, as they \
stand after corrections. Events without an outcome are counted apart. The table cuts it and never \
rounds it up; as JSON it is exact, a fraction where no decimal is.

Examples:
  apportion usage availability --from 2026-05-01 --to 2026-06-01
  apportion usage availability --from 2026-05-01T00:00:00-07:00 \\
    --to 2026-06-01T00:00:00-07:00 --format json";

/// See what became of usage messages
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Count every message by its outcome, and rejections by reason
    #[command(after_help = OUTCOMES_EXAMPLES)]
    Outcomes,
    /// List the last rejections, newest first
    #[command(after_help = REJECTIONS_EXAMPLES)]
    Rejections {
        /// Only those for this reason
        #[arg(long, value_parser = reasons())]
        reason: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=MOST))]
        limit: u32,
    },
    /// List the last conflicts: another content under an id that is taken
    #[command(after_help = CONFLICTS_EXAMPLES)]
    Conflicts {
        /// How many at most
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=MOST))]
        limit: u32,
    },
    /// Decode kept rejections again, after a decoder was mended, and take in those that are right now
    #[command(after_help = RETRY_EXAMPLES)]
    Retry {
        /// Only those for this reason
        #[arg(long, value_parser = reasons())]
        reason: Option<String>,
    },
    /// Sum up usage whose deployment or product no register names
    #[command(after_help = UNRESOLVED_EXAMPLES)]
    Unresolved,
    /// Count usage events by cloud and reported outcome, with the availability that follows
    #[command(after_help = AVAILABILITY_EXAMPLES)]
    Availability {
        /// The first instant: RFC 3339, or a date for its first instant in UTC
        #[arg(long, value_parser = instant_or_date)]
        from: Instant,
        /// The end, exclusive
        #[arg(long, value_parser = instant_or_date)]
        to: Instant,
    },
}

/// A reason that never occurs would look like one without rejections.
fn reasons() -> PossibleValuesParser {
    RejectionReason::ALL.iter().map(|reason| reason.name()).into()
}

pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let (pool, as_json) = (session.pool().await?, session.format == Format::Json);
    match args.command {
        Command::Outcomes => {
            let (outcomes, reasons) = (reports::outcomes(&pool).await?, reports::rejections_by_reason(&pool).await?);
            let retried = reports::taken_by_retries(&pool).await?;
            if as_json {
                return json(&serde_json::json!({ "outcomes": outcomes, "rejections": reasons, "retried": retried }));
            }
            let rows = outcomes.iter().map(|(outcome, count)| vec![outcome.name().to_owned(), thousands(count)]);
            line(table(&["outcome", "messages"], &[1], rows))?;
            let rows = reasons.into_iter().map(|reason| vec![reason.name, thousands(reason.count)]);
            line(table(&["rejected for", "messages"], &[1], rows))?;
            if retried > 0 {
                let taken = counted_as(retried, "rejection", ("was", "were"));
                line(format!("{taken} taken in by a retry since"))?;
            }
            Ok(line(counted(outcomes.messages(), "message"))?)
        }
        Command::Rejections { reason, limit } => {
            let found = reports::rejections(&pool, reason.as_deref(), None, i64::from(limit) + 1).await?;
            let (found, is_cut) = cut(found, limit);
            show_rejections(found, as_json)?;
            tell_cut(is_cut, limit);
            Ok(())
        }
        Command::Retry { reason } => {
            let mut writer = Writer::open(pool.clone(), Arc::new(Metrics::new()?)).await?;
            let retried = retry(&mut writer, &pool, &session.readers(), reason.as_deref()).await?;
            if as_json {
                return json(&retried);
            }
            let refused = retried.taken.rejected;
            let taken = counted_as(retried.taken.messages().saturating_sub(refused), "rejection", ("was", "were"));
            let left = counted_as(retried.still_rejected, "record", ("is", "are"));
            Ok(line(format!("{taken} taken in; {left} still rejected, as `apportion usage rejections` lists."))?)
        }
        Command::Conflicts { limit } => {
            let found = reports::conflicts(&pool, None, i64::from(limit) + 1).await?;
            let (found, is_cut) = cut(found, limit);
            show_conflicts(found, as_json)?;
            tell_cut(is_cut, limit);
            Ok(())
        }
        Command::Unresolved => {
            let found = unresolved(&pool).await?;
            if as_json { json(&found) } else { show_unresolved(found) }
        }
        Command::Availability { from, to } => {
            if from >= to {
                return Err(Stop::Refused { reason: format!("--from {from} is not before --to {to}") }.into());
            }
            let found = availability_by_cloud(&pool, Span { start: from, end: to }).await?;
            if as_json { json(&found) } else { show_availability(&found) }
        }
    }
}

/// As many as a limit allows, of which one more was asked for; and whether there are more.
fn cut<T>(mut found: Vec<T>, limit: u32) -> (Vec<T>, bool) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let is_cut = found.len() > limit;
    found.truncate(limit);
    (found, is_cut)
}

/// Beside the answer, which may be read by a program.
fn tell_cut(is_cut: bool, limit: u32) {
    let more = i64::from(limit).saturating_mul(5).min(MOST);
    if is_cut && more > i64::from(limit) {
        tell(format_args!("There are more than these {limit}; --limit {more} shows more."));
    } else if is_cut {
        tell(format_args!("There are more than these {limit}."));
    }
}

/// A rejected record a line.
fn show_rejections(found: Vec<reports::RejectionLine>, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return json(&found);
    }
    if found.is_empty() {
        return Ok(line("No rejections.")?);
    }
    let row = |it: reports::RejectionLine| {
        let state = match it.state {
            reports::RejectionState::Open => "open",
            reports::RejectionState::Retried => "taken in by a retry",
            reports::RejectionState::CameIn => "came in",
        };
        let (times, state) = (thousands(it.times), state.to_owned());
        vec![instant(it.recorded_at), it.position, times, state, it.reason, it.detail]
    };
    let heading = ["recorded", "position", "times", "state", "reason", "detail"];
    Ok(line(table(&heading, &[2], found.into_iter().map(row)))?)
}

/// Each conflict with what differs from what stands; as JSON, with the whole of both.
fn show_conflicts(found: Vec<reports::ConflictLine>, as_json: bool) -> anyhow::Result<()> {
    let (mut objects, mut rows) = (Vec::new(), Vec::new());
    for it in found {
        let (stands, differs) = match &it.stands {
            Standing::Usage(message) => {
                let stands: Value = serde_json::from_slice(&cloudevents::encode(message))?;
                let differs = differences(&it.reported, &stands).join("\n");
                (Some(stands), differs)
            }
            Standing::Archived => (None, "an event that is archived has the id".to_owned()),
            Standing::Record => (None, "a record beside usage has the id, see `apportion record list`".to_owned()),
        };
        let (recorded, times) = (instant(it.recorded_at), thousands(it.times));
        rows.push(vec![recorded, it.position.clone(), times, it.source.clone(), it.event_id.clone(), differs]);
        objects.push(serde_json::json!({
            "recorded_at": it.recorded_at, "position": it.position, "times": it.times, "source": it.source,
            "event_id": it.event_id,
            "reported": it.reported, "stands": stands, "is_archived": it.stands == Standing::Archived,
        }));
    }
    if as_json {
        return json(&objects);
    }
    if rows.is_empty() {
        return Ok(line("No conflicts.")?);
    }
    let heading = ["recorded", "position", "times", "source", "event", "reported, and what stands"];
    Ok(line(table(&heading, &[2], rows))?)
}

/// What two structured events differ in, a field each. A quantity that is absent is zero.
fn differences(reported: &Value, stands: &Value) -> Vec<String> {
    let (reported, stands) = (fields("", reported), fields("", stands));
    let names: BTreeSet<&String> = reported.keys().chain(stands.keys()).collect();
    let differing = names.into_iter().filter_map(|name| {
        let (reported, stands) = (reported.get(name), stands.get(name));
        let quantity = |text: Option<&String>| text.map_or(Ok(Decimal::ZERO), |text| text.parse()).ok();
        let is_equal = if name.contains("quantities.") {
            quantity(reported).is_some() && quantity(reported) == quantity(stands)
        } else {
            reported == stands
        };
        let shown = |text: Option<&String>| text.map_or("nothing", String::as_str).to_owned();
        (!is_equal).then(|| {
            let name = name.trim_start_matches("data.");
            format!("{name}: {}, where {} stands", shown(reported), shown(stands))
        })
    });
    differing.collect()
}

/// The values of an object and of those in it, by their names with points between.
fn fields(name: &str, value: &Value) -> BTreeMap<String, String> {
    match value {
        Value::Object(inner) => {
            let named = |key: &String| if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            inner.iter().flat_map(|(key, value)| fields(&named(key), value)).collect()
        }
        Value::String(text) => BTreeMap::from([(name.to_owned(), text.clone())]),
        other => BTreeMap::from([(name.to_owned(), other.to_string())]),
    }
}

/// Usage that no register resolves, most events first.
pub async fn unresolved(pool: &PgPool) -> anyhow::Result<Vec<reports::UnresolvedLine>> {
    let mut found = reports::unresolved(pool, None, None).await?;
    found.sort_by_key(|line| std::cmp::Reverse(line.events));
    Ok(found)
}

/// A name that no register has is marked.
pub fn show_unresolved(found: Vec<reports::UnresolvedLine>) -> anyhow::Result<()> {
    if found.is_empty() {
        return Ok(line("No unresolved usage: the register knows every deployment and product that was reported.")?);
    }
    let marked = |name: String, known: bool| if known { name } else { format!("{name} (unknown)") };
    let row = |it: reports::UnresolvedLine| {
        let span = format!("{} to {}", it.first_hour.format("%Y-%m-%d"), it.last_hour.format("%Y-%m-%d"));
        let (deployment, product) = (marked(it.deployment, it.deployment_known), marked(it.product, it.product_known));
        let in_part = it.waived_in_part_for.iter().map(|contract| format!("{contract} (in part)"));
        let waived = it.waived_for.iter().cloned().chain(in_part).collect::<Vec<_>>().join(", ");
        vec![it.source, deployment, product, thousands(it.events), span, waived]
    };
    let heading = ["source", "deployment", "product", "events", "days in UTC", "waived for"];
    Ok(line(table(&heading, &[3], found.into_iter().map(row)))?)
}

/// A cloud a line.
pub fn show_availability(found: &[CloudAvailability]) -> anyhow::Result<()> {
    let row = |it: &CloudAvailability| {
        let CloudOutcomes { cloud, ok, error, not_reported } = &it.outcomes;
        let cloud = cloud.as_deref().unwrap_or("(unregistered deployments)").to_owned();
        let share = it.availability.as_ref().map_or_else(String::new, exact);
        vec![cloud, thousands(ok), thousands(error), thousands(not_reported), share]
    };
    let heading = ["cloud", "ok", "error", "not reported", "availability"];
    Ok(line(table(&heading, &[1, 2, 3, 4], found.iter().map(row)))?)
}

#[cfg(test)]
mod tests {
    use super::{cut, differences};
    use serde_json::json;

    #[test]
    fn a_limit_that_cuts_is_told() {
        assert_eq!(cut(vec![1, 2, 3], 2), (vec![1, 2], true));
        assert_eq!(cut(vec![1, 2], 2), (vec![1, 2], false));
    }

    #[test]
    fn a_difference_is_one_of_value() {
        let stands = json!({"id": "e", "data": {"product": "p", "quantities": {"requests": "1", "input_tokens": "5"}}});
        let equal = json!({"id": "e", "data": {"product": "p", "quantities": {"requests": "1.0", "input_tokens": "5", "tool_calls": "0"}}});
        assert!(differences(&equal, &stands).is_empty());
        let other = json!({"id": "e", "data": {"product": "q", "customer": "c", "quantities": {"requests": "2"}}});
        let expect = [
            "customer: c, where nothing stands",
            "product: q, where p stands",
            "quantities.input_tokens: nothing, where 5 stands",
            "quantities.requests: 2, where 1 stands",
        ];
        assert_eq!(differences(&other, &stands), expect);
    }
}
