//! Cloud costs: reports appended whole, their rows exact; and what is held of them as known at an instant, in sums.

use super::StoreError;
use super::recording;
use crate::domain::cloud_cost::{ChargeCategory, CloudCost, Costs, HeldCosts, HeldCostsKey};
use crate::domain::cost_comparison::ReportedCosts;
use crate::domain::period::{Instant, Span};
use sqlx::PgConnection;

/// When a report was recorded last.
#[derive(Clone, Copy, Debug)]
pub struct KnownReport {
    pub recorded_at: Instant,
    /// Whether all that it states is held; else some of it was replaced.
    pub is_held: bool,
}

/// Finds a report by its digest.
///
/// # Errors
/// The database's.
pub async fn find_report(conn: &mut PgConnection, sha256: &str) -> Result<Option<KnownReport>, StoreError> {
    let known = sqlx::query!(
        r#"select r.recorded_at, cost_report_held_since($1) is not null as "is_held!"
        from cost_report p join cost_recording r using (report_id)
        where p.sha256 = $1 order by r.recorded_at desc limit 1"#,
        sha256
    );
    let known = known.fetch_optional(conn).await?;
    Ok(known.map(|row| KnownReport { recorded_at: row.recorded_at, is_held: row.is_held }))
}

/// Begins a report, whose id is returned.
///
/// # Errors
/// The database's.
pub async fn begin_report(conn: &mut PgConnection, sha256: &str, file_names: &[String]) -> Result<i64, StoreError> {
    let report_id = sqlx::query_scalar!(
        "insert into cost_report (sha256, file_names) values ($1, $2) returning report_id",
        sha256,
        file_names
    );
    Ok(report_id.fetch_one(conn).await?)
}

/// A billing period that is held of an account, and the part of it that a report states.
#[derive(Clone, Debug)]
pub struct CutPeriod {
    pub provider: String,
    pub billing_account: String,
    pub stated: Span,
    pub held: Span,
    pub held_since: Instant,
}

/// The first billing period that is held and of which a report states a part: in its place that would pass for the whole.
///
/// # Errors
/// The database's.
pub async fn find_cut(conn: &mut PgConnection, report_id: i64) -> Result<Option<CutPeriod>, StoreError> {
    let cut = sqlx::query!(
        r#"select provider as "provider!", billing_account as "billing_account!", billing_from as "billing_from!",
          billing_to as "billing_to!", held_from as "held_from!", held_to as "held_to!", held_since as "held_since!"
        from held_cost_statement_cut_by($1) order by statement_id, held_from limit 1"#,
        report_id
    );
    Ok(cut.fetch_optional(conn).await?.map(|row| CutPeriod {
        provider: row.provider,
        billing_account: row.billing_account,
        stated: Span { start: row.billing_from, end: row.billing_to },
        held: Span { start: row.held_from, end: row.held_to },
        held_since: row.held_since,
    }))
}

/// Appends what a report states of an account and billing period, so many rows; returns its id.
///
/// # Errors
/// The database's.
pub async fn append_statement(
    conn: &mut PgConnection,
    report_id: i64,
    [provider, billing_account]: [&str; 2],
    billing: Span,
    row_count: u64,
) -> Result<i64, StoreError> {
    let row_count: i64 = StoreError::encoded("cost_statement.row_count", row_count)?;
    let statement_id = sqlx::query_scalar!(
        "insert into cost_statement (report_id, provider, billing_account, billing_from, billing_to, row_count)
         values ($1, $2, $3, $4, $5, $6) returning statement_id",
        report_id,
        provider,
        billing_account,
        billing.start,
        billing.end,
        row_count
    );
    Ok(statement_id.fetch_one(conn).await?)
}

/// A row with the statement that it is of, and its place among the rows of its report, from 1.
pub struct NewCostRow {
    pub statement_id: i64,
    pub row_number: i64,
    pub cost: CloudCost,
}

/// Appends rows of a report.
///
/// # Errors
/// The database's.
pub async fn append_rows(conn: &mut PgConnection, rows: &[NewCostRow]) -> Result<(), StoreError> {
    fn column<'r, T>(rows: &'r [NewCostRow], of: impl Fn(&'r NewCostRow) -> T) -> Vec<T> {
        rows.iter().map(of).collect()
    }
    sqlx::query!(
        "insert into cost_row (statement_id, row_number, invoice_issuer, invoice_id, sub_account, service, sku_price,
           resource, region, category, is_correction, charge_from, charge_to, currency, billed, effective, contracted,
           list, consumed, consumed_unit)
         select * from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
           $8::text[], $9::text[], $10::text[], $11::boolean[], $12::timestamptz[], $13::timestamptz[], $14::text[],
           $15::numeric[], $16::numeric[], $17::numeric[], $18::numeric[], $19::numeric[], $20::text[])",
        &column(rows, |row| row.statement_id),
        &column(rows, |row| row.row_number),
        &column(rows, |row| row.cost.invoice_issuer.as_str()) as _,
        &column(rows, |row| row.cost.invoice_id.as_deref()) as _,
        &column(rows, |row| row.cost.sub_account.as_deref()) as _,
        &column(rows, |row| row.cost.service.as_str()) as _,
        &column(rows, |row| row.cost.sku_price.as_deref()) as _,
        &column(rows, |row| row.cost.resource.as_deref()) as _,
        &column(rows, |row| row.cost.region.as_deref()) as _,
        &column(rows, |row| row.cost.category.name()) as _,
        &column(rows, |row| row.cost.is_correction),
        &column(rows, |row| row.cost.charge.start),
        &column(rows, |row| row.cost.charge.end),
        &column(rows, |row| row.cost.currency.code()) as _,
        &column(rows, |row| row.cost.billed),
        &column(rows, |row| row.cost.effective),
        &column(rows, |row| row.cost.contracted) as _,
        &column(rows, |row| row.cost.list),
        &column(rows, |row| row.cost.consumed) as _,
        &column(rows, |row| row.cost.consumed_unit.as_deref()) as _
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records a report whose rows are written: it is known from `recorded_at` on, which the caller's transaction was given.
///
/// # Errors
/// The database's.
pub async fn record_report(conn: &mut PgConnection, report_id: i64, recorded_at: Instant) -> Result<(), StoreError> {
    sqlx::query!("insert into cost_recording (report_id, recorded_at) values ($1, $2)", report_id, recorded_at)
        .execute(&mut *conn)
        .await?;
    recording::note_alone(conn, recorded_at).await
}

/// Which costs to load: all that are held, where nothing is named.
#[derive(Clone, Debug, Default)]
pub struct HeldCostsFilter {
    pub provider: Option<String>,
    pub billing_account: Option<String>,
    /// Of billing periods that lie in it, or in a part of it.
    pub billing: Option<Span>,
    /// Of these alone; all where it is empty.
    pub categories: Vec<ChargeCategory>,
    /// Those that come after this one, to go on where a list ended.
    pub after: Option<HeldCostsKey>,
    /// How many at most.
    pub limit: Option<usize>,
}

/// What is held as known at an instant, summed by provider, account, billing period and currency, and ordered by these.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn load_held(
    conn: &mut PgConnection,
    filter: &HeldCostsFilter,
    known_at: Instant,
) -> Result<Vec<HeldCosts>, StoreError> {
    let HeldCostsFilter { provider, billing_account, billing, categories, after, limit } = filter;
    let limit = limit.map(|limit| StoreError::encoded::<i64, _>("limit", limit)).transpose()?;
    let (categories, billing) = (names_of(categories), billing.map(|it| (it.start, it.end)).unzip());
    let rows = sqlx::query!(
        r#"
        with held as (
          select * from held_cost_statement($1)
          where ($2::text is null or provider = $2) and ($3::text is null or billing_account = $3)
            and ($4::timestamptz is null or billing_from < $5 and billing_to > $4)
            and ($6::text is null
              or (provider collate "C", billing_account collate "C", billing_from) >= ($6, $7, $8))
          order by provider collate "C", billing_account collate "C", billing_from
          -- each has a currency at least, but for the first one, which may end before the list goes on
          limit $9::bigint + 1
        )
        select h.provider as "provider!", h.billing_account as "billing_account!", h.billing_from as "billing_from!",
          h.billing_to as "billing_to!", h.recorded_at as "recorded_at!", p.sha256, r.currency, count(*) as "rows!",
          sum(r.billed)::text as "billed!", sum(r.effective)::text as "effective!",
          coalesce(sum(r.contracted), 0)::text as "contracted!",
          count(*) filter (where r.contracted is null) as "rows_without_contracted!", sum(r.list)::text as "list!"
        from held h join cost_report p using (report_id) join cost_row r using (statement_id)
        where (r.category = any($10) or cardinality($10::text[]) = 0)
          and ($6::text is null or (h.provider collate "C", h.billing_account collate "C", h.billing_from,
            r.currency collate "C") > ($6, $7, $8, $11))
        group by h.statement_id, h.provider, h.billing_account, h.billing_from, h.billing_to, h.recorded_at, p.sha256,
          r.currency
        order by h.provider collate "C", h.billing_account collate "C", h.billing_from, r.currency collate "C"
        limit $9
        "#,
        known_at,
        provider.as_deref(),
        billing_account.as_deref(),
        billing.0,
        billing.1,
        after.as_ref().map(|it| it.provider.as_str()),
        after.as_ref().map(|it| it.billing_account.as_str()),
        after.as_ref().map(|it| it.billing_from),
        limit,
        &categories,
        after.as_ref().map(|it| it.currency.code())
    )
    .fetch_all(conn)
    .await?;
    let held = rows.into_iter().map(|row| {
        let of = format!("the costs of {} {}", row.provider, row.billing_account);
        let Costs { rows, billed, effective, contracted, rows_without_contracted, list } = costs(
            &of,
            [row.rows, row.rows_without_contracted],
            [&row.billed, &row.effective, &row.contracted, &row.list],
        )?;
        Ok(HeldCosts {
            currency: StoreError::decoded("cost_row.currency", &of, row.currency.parse())?,
            provider: row.provider,
            billing_account: row.billing_account,
            billing_from: row.billing_from,
            billing_to: row.billing_to,
            rows,
            billed,
            effective,
            contracted,
            rows_without_contracted,
            list,
            report_sha256: row.sha256,
            recorded_at: row.recorded_at,
        })
    });
    held.collect()
}

/// What is held, as known at an instant, of what was charged for a span or a part of it, whenever it is billed: by provider,
/// service, category and currency, and by whether it is for the span alone.
///
/// # Errors
/// The database's, or a row that cannot be read.
pub async fn load_reported(
    conn: &mut PgConnection,
    span: Span,
    known_at: Instant,
) -> Result<Vec<ReportedCosts>, StoreError> {
    let rows = sqlx::query!(
        r#"
        select h.provider as "provider!", r.service, r.category, r.currency,
          r.charge_from >= $2 and r.charge_to <= $3 as "is_within!", count(*) as "rows!",
          sum(r.billed)::text as "billed!", sum(r.effective)::text as "effective!",
          coalesce(sum(r.contracted), 0)::text as "contracted!",
          count(*) filter (where r.contracted is null) as "rows_without_contracted!", sum(r.list)::text as "list!"
        from held_cost_statement($1) h join cost_row r using (statement_id)
        where r.charge_from < $3 and r.charge_to > $2
        group by 1, 2, 3, 4, 5
        order by h.provider collate "C", r.service collate "C", r.category, r.currency, 5
        "#,
        known_at,
        span.start,
        span.end
    )
    .fetch_all(conn)
    .await?;
    let reported = rows.into_iter().map(|row| {
        let of = format!("the costs of {} {}", row.provider, row.service);
        Ok(ReportedCosts {
            category: StoreError::decoded("cost_row.category", &of, row.category.parse())?,
            currency: StoreError::decoded("cost_row.currency", &of, row.currency.parse())?,
            is_within: row.is_within,
            costs: costs(
                &of,
                [row.rows, row.rows_without_contracted],
                [&row.billed, &row.effective, &row.contracted, &row.list],
            )?,
            provider: row.provider,
            service: row.service,
        })
    });
    reported.collect()
}

fn names_of(categories: &[ChargeCategory]) -> Vec<String> {
    categories.iter().map(|it| it.name().to_owned()).collect()
}

/// Sums as the database writes them: of any number of digits, so that none is lost.
fn costs(of: &str, counts: [i64; 2], sums: [&str; 4]) -> Result<Costs, StoreError> {
    let count = |count: i64| StoreError::decoded("count", of, u64::try_from(count));
    let sum = |text: &str| StoreError::decoded("sum", of, text.parse());
    let ([rows, without], [billed, effective, contracted, list]) = (counts, sums);
    Ok(Costs {
        rows: count(rows)?,
        billed: sum(billed)?,
        effective: sum(effective)?,
        contracted: sum(contracted)?,
        rows_without_contracted: count(without)?,
        list: sum(list)?,
    })
}
