//! `/jobs`: what is due and when, what ran and how it ended, and one tick by hand.

use crate::domain::ids::ContractId;
use crate::domain::schedule::Job;
use crate::http::HttpState;
use crate::http::auth::{Admin, InsideReader};
use crate::http::idempotency::Write;
use crate::http::input::{Path, Query, parse};
use crate::http::limits;
use crate::http::listing::{Page, PageParams, Wanted};
use crate::http::problem::{Problem, Problems, WriteProblems};
use crate::jobs::schedule::{Planned, Ran, Trigger, plan, tick};
use crate::store::jobs::{JobRun, RunFilter, Starter, list_runs};
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

/// List jobs
///
/// Every job with what it runs on: from when it is due, when it runs next, and how its last run ended.
#[utoipa::path(
    get, path = "/api/v1/jobs", tag = "jobs", security(("key" = ["read"])),
    responses((status = 200, description = "As things stand", body = Page<Planned>), Problems),
)]
pub async fn list(_reader: InsideReader, State(state): State<HttpState>, wanted: Wanted) -> Result<Response, Problem> {
    let mut planned = Vec::new();
    for job in Job::ALL {
        let (schedule, now) = (&state.schedule, state.schedule.now());
        planned.extend(plan(&state.reads, schedule, *job, now, Trigger::Schedule).await?);
    }
    Page::whole(planned).respond(&wanted)
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
    wanted: Wanted,
) -> Result<Response, Problem> {
    let limit = page.limit()?;
    let filter = RunFilter {
        job: filter.job.map(|text| parse("job", &text)).transpose()?,
        contract: filter.contract.map(ContractId::new),
        request: None,
        before: page.cursor()?,
        limit: u32::try_from(limit).unwrap_or(u32::MAX).saturating_add(1),
    };
    Page::cut(list_runs(&state.reads, &filter).await?, limit, |run| run.run_id).respond(&wanted)
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
    write: Write,
) -> Result<Response, Problem> {
    let job: Job = job.parse().map_err(|error| Problem::not_found(format!("{error}")))?;
    // Each run is a transaction of its own, as always. This one holds the request's name and keeps its answer.
    let _alone = limits::turn(&state, state.runs.lock()).await?;
    let writing = write.begin().await?;
    let starter = Starter {
        name: &caller.holder,
        key_id: Some(&caller.key_id),
        idempotency_key: writing.name().map(|name| name.idempotency_key.as_str()),
    };
    let schedule = &state.schedule;
    let ran = tick(&state.pool, schedule, job, schedule.now(), Trigger::Person(starter)).await?;
    for run in &ran {
        state.metrics.job_ran(job, run.outcome);
    }
    writing.end(Json(Page::whole(ran))).await
}
