//! The demo's second half: figures, settlements, statements, revenue by cloud, caps, findings and availability.

use super::super::contracts::caps_table;
use super::super::finding::print_list;
use super::super::output::{counted, exact, line, money, table};
use super::super::statement_text;
use super::super::usage::show_availability;
use apportion::domain::calendar::Period;
use apportion::domain::entry::NewEntry;
use apportion::domain::ids::ContractId;
use apportion::domain::statement::Statement;
use apportion::jobs::availability::availability_by_cloud;
use apportion::jobs::charges::charges_by_channel;
use apportion::jobs::findings::{self, FindingFilter};
use apportion::jobs::invoices::draw_all;
use apportion::jobs::records::{Checks, record};
use apportion::jobs::settle::{SettleRequest, settle};
use apportion::jobs::statements::{approve, caps, issue, read, unresolved_events, waive};
use sqlx::PgPool;

/// Who settles, and who approves and issues: two people, because the database insists.
const MAKER: &str = "demo-accountant";
pub const APPROVER: &str = "demo-controller";

/// Settled in this order, because the second draws on the first.
const CONTRACTS: [&str; 2] = ["aws-openai", "microsoft-openai"];

/// Records the subscriptions of a month, which the lab reports as a figure. The amounts are made up.
pub async fn record_subscriptions(pool: &PgPool, month: Period, value: &str) -> anyhow::Result<()> {
    let figure = serde_json::json!({
        "kind": "figure", "source": "openai-finance", "id": format!("subscriptions-{month}"),
        "contract": "microsoft-openai", "name": "Subscriptions", "by": "openai",
        "from": month.first_day, "through": month.last_day(), "value": value,
    });
    record(pool, &[NewEntry::storable(&figure.to_string())?], Checks::Awaited).await?;
    Ok(line(format!("{month}: recorded subscriptions of {value} (made up), as the lab would report them"))?)
}

/// Settles a month of every contract; returns the statements with their ids.
pub async fn settle_month(pool: &PgPool, month: Period) -> anyhow::Result<Vec<(i64, Statement)>> {
    let mut drafted = Vec::new();
    for contract in CONTRACTS {
        let request = SettleRequest {
            contract: ContractId::new(contract),
            period: month,
            cutoff: None,
            by: MAKER.into(),
            keep_approvals: false,
        };
        let report = settle(pool, &request).await?;
        line(format!("{month}: settled {contract}, {} booked", counted(report.lines.len(), "line")))?;
        drafted.extend(report.drafted);
    }
    Ok(drafted)
}

/// Waives what is unresolved, approves and issues statements, which closes their month, and draws their invoices.
pub async fn issue_all(pool: &PgPool, drafted: &[(i64, Statement)]) -> anyhow::Result<()> {
    for (id, statement) in drafted {
        let waived = waive(pool, *id, APPROVER, "the demo closes this month without waiting for a mapping").await?;
        let events: i64 = waived.iter().map(|usage| usage.events).sum();
        line(format!("{}: waived {} for statement {id}", statement.period, counted(events, "unresolved event")))?;
        approve(pool, *id, APPROVER).await?;
        issue(pool, *id, APPROVER).await?;
        line(format!("{}: issued statement {id} ({})", statement.period, statement.contract))?;
    }
    for invoice in draw_all(pool, APPROVER).await?.drawn.iter().flat_map(|drawn| &drawn.invoices) {
        let total = money(&invoice.total, invoice.currency);
        line(format!(
            "{}: drew {} from {} to {}: {total}",
            invoice.period, invoice.number, invoice.issuer, invoice.payer
        ))?;
    }
    Ok(())
}

/// Usage and gross charges of a month by cloud and channel.
pub async fn show_revenue(pool: &PgPool, month: Period) -> anyhow::Result<()> {
    line(format!("\nUsage and list-price charges of {month} by cloud (a licence is metered and not charged):"))?;
    let rows = charges_by_channel(pool, month.span(chrono_tz::America::Los_Angeles)).await?;
    let row = |it: &apportion::jobs::charges::ChannelCharges| {
        let gross: Vec<String> = it.gross.iter().map(|(currency, sum)| format!("{} {currency}", exact(sum))).collect();
        let seller = it.seller.as_deref().unwrap_or("none");
        vec![it.cloud.clone(), it.channel.clone(), seller.to_owned(), exact(&it.tokens), gross.join(", ")]
    };
    let heading = ["cloud", "channel", "seller of record", "tokens", "gross charges"];
    line(table(&heading, &[3, 4], rows.iter().map(row)))?;
    for it in &rows {
        for (what, quantity) in &it.unpriced {
            line(format!(
                "No price is in force for {} of {what} through {} {}.",
                exact(quantity),
                it.cloud,
                it.channel
            ))?;
        }
    }
    Ok(())
}

/// How far caps are used up, which usage breaks a right, and how available each cloud was.
pub async fn show_watch(pool: &PgPool, month: Period) -> anyhow::Result<()> {
    line("\nCaps, as the statements say:")?;
    for contract in CONTRACTS {
        let caps = caps(&mut *pool.acquire().await?, &ContractId::new(contract)).await?;
        if !caps.is_empty() {
            line(caps_table(&caps))?;
        }
    }
    line("\nUsage that breaks a right (launch order, exclusivity, licence):")?;
    print_list(&findings::list(pool, &FindingFilter::default(), None, None).await?)?;
    line(format!("\nRequests of {month} by cloud, as their outcome was reported:"))?;
    show_availability(&availability_by_cloud(pool, month.span(chrono_tz::America::Los_Angeles)).await?)
}

/// The statements in full, as a person reads them.
pub async fn show_statements(pool: &PgPool, drafted: &[(i64, Statement)]) -> anyhow::Result<()> {
    for (id, _) in drafted {
        let mut conn = pool.acquire().await?;
        let record = read(&mut conn, *id).await?;
        let unresolved = unresolved_events(&mut conn, &record.head).await?;
        line(format!("\n{}", statement_text::text(&record.head, &record.statement()?, unresolved)))?;
    }
    for total in drafted.iter().flat_map(|(_, statement)| statement.totals.iter().map(move |it| (statement, it))) {
        let (statement, it) = total;
        let payable = money(&it.payable, statement.unit.clone());
        line(format!("{}: {} pays {} {payable}.", statement.period, it.payer, it.payee))?;
    }
    Ok(())
}
