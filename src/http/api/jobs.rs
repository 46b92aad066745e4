//! `/jobs`: what is due and when, what ran and how it ended, and one tick by hand.

use crate::domain::ids::ContractId;
use crate::domain::schedule::Job;
use crate::http::HttpState;
use crate::http::auth::{Admin, InsideReader};
use crate::http::input::{Path, Query, parse};
use crate::http::listing::{Page, PageParams};
use crate::http::problem::{Problem, Problems, WriteProblems};
use crate::jobs::schedule::{Planned, Ran, Trigger, plan, tick};
use crate::store::jobs::{JobRun, RunFilter, Starter, list_runs};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

/// List jobs
///
/// Every job with what it runs on: from when it is due, when it runs next, and how its last run ended.
#[utoipa::path(
    get, path = "/api/v1/jobs", tag = "jobs", security(("key" = ["read"])),
    responses((status = 200, description = "As things stand", body = Page<Planned>), Problems),
)]
pub async fn list(_reader: InsideReader, State(state): State<HttpState>) -> Result<Json<Page<Planned>>, Problem> {
    let mut planned = Vec::new();
    for job in Job::ALL {
        let (schedule, now) = (&state.schedule, state.schedule.now());
        planned.extend(plan(&state.pool, schedule, *job, now, Trigger::Schedule).await?);
    }
    Ok(Json(Page::whole(planned)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Such as draft-statements.
    job: Option<String>,
    contract: Option<String>,
}

/// List runs of jobs
///
/// The newest first.
#[utoipa::path(
    get, path = "/api/v1/jobs/runs", tag = "jobs", security(("key" = ["read"])), params(Filter, PageParams),
    responses((status = 200, description = "What ran, when, and how it ended", body = Page<JobRun>), Problems),
)]
pub async fn runs(
    _reader: InsideReader,
    State(state): State<HttpState>,
    Query(filter): Query<Filter>,
    Query(page): Query<PageParams>,
) -> Result<Json<Page<JobRun>>, Problem> {
    let limit = page.limit()?;
    let filter = RunFilter {
        job: filter.job.map(|text| parse("job", &text)).transpose()?,
        contract: filter.contract.map(ContractId::new),
        before: page.cursor()?,
        limit: u32::try_from(limit).unwrap_or(u32::MAX).saturating_add(1),
    };
    Ok(Json(Page::cut(list_runs(&state.pool, &filter).await?, limit, |run| run.run_id)))
}

/// Run a job now
///
/// What is due of it, without waiting between tries; the same as when its time comes. The runs say whose key it was.
#[utoipa::path(
    post, path = "/api/v1/jobs/{job}/run", tag = "jobs", security(("key" = ["admin"])),
    params(("job" = String, Path, description = "Such as draft-statements"), super::WriteHeaders),
    responses((status = 200, description = "What ran, and how it ended", body = Page<Ran>), Problems, WriteProblems),
)]
pub async fn run(
    Admin(caller): Admin,
    State(state): State<HttpState>,
    Path(job): Path<String>,
) -> Result<Json<Page<Ran>>, Problem> {
    let job: Job = job.parse().map_err(|error| Problem::not_found(format!("{error}")))?;
    // Apart from the request: a caller who hangs up leaves no run without an end.
    let (pool, schedule) = (state.pool.clone(), Arc::clone(&state.schedule));
    let ticking = tokio::spawn(async move {
        let starter = Starter { name: &caller.holder, key_id: Some(&caller.key_id) };
        tick(&pool, &schedule, job, schedule.now(), Trigger::Person(starter)).await
    });
    let ran = ticking.await.map_err(|error| Problem::internal(&error))??;
    for run in &ran {
        state.metrics.job_ran(job, run.outcome);
        state.metrics.findings_opened(run.findings_opened);
    }
    Ok(Json(Page::whole(ran)))
}
