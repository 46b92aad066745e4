//! `/contracts`: agreements, their versions, what they yield, and how far their caps are used up.

use crate::domain::burn_down::BurnDown;
use crate::domain::ids::{ContractId, PartyId};
use crate::http::HttpState;
use crate::http::auth::{InsideReader, Reader};
use crate::http::input::{InstantOrDate, Path, Query, parse};
use crate::http::listing::{Page, Wanted};
use crate::http::problem::{Problem, Problems, RunProblems};
use crate::jobs::entitlement::{Entitlement, entitlement};
use crate::jobs::statements;
use crate::store::agreements::{TermHead, VersionHead, VersionText, list_terms, list_versions, load_text};
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};
use utoipa::{IntoParams, ToSchema};

/// A contract as it was loaded.
#[derive(Serialize, ToSchema)]
pub struct ContractHead {
    contract: ContractId,
    /// Whom its terms concern, of all versions.
    parties: BTreeSet<PartyId>,
    versions: Vec<VersionHead>,
}

/// A contract as it was loaded, with its terms.
#[derive(Serialize, ToSchema)]
pub struct ContractDetail {
    #[serde(flatten)]
    head: ContractHead,
    /// Of all versions.
    terms: Vec<TermHead>,
}

impl ContractHead {
    /// Of all `terms`, takes those of the contract.
    fn new(contract: ContractId, versions: Vec<VersionHead>, terms: &[TermHead]) -> Self {
        let of_contract = terms.iter().filter(|term| term.contract == contract);
        let parties = of_contract.flat_map(|term| term.parties.iter().cloned()).collect();
        Self { contract, parties, versions }
    }
}

/// The versions of a contract that the key may see; without any there is no such contract for it.
async fn known_versions(conn: &mut PgConnection, contract: &ContractId) -> Result<Vec<VersionHead>, Problem> {
    let versions = list_versions(conn, Some(contract)).await?;
    if versions.is_empty() {
        return Err(Problem::not_found(format!("there is no contract \"{contract}\"")));
    }
    Ok(versions)
}

/// List contracts
#[utoipa::path(
    get, path = "/api/v1/contracts", tag = "contracts", security(("key" = ["read"])),
    responses((status = 200, description = "By id", body = Page<ContractHead>), Problems),
)]
pub async fn list(Reader(caller): Reader, State(state): State<HttpState>, wanted: Wanted) -> Result<Response, Problem> {
    let mut conn = caller.read(&state.reads).await?;
    let terms = list_terms(&mut conn, None).await?;
    let mut by_contract: BTreeMap<ContractId, Vec<VersionHead>> = BTreeMap::new();
    for version in list_versions(&mut conn, None).await? {
        by_contract.entry(version.contract.clone()).or_default().push(version);
    }
    let heads = by_contract.into_iter().map(|(contract, versions)| ContractHead::new(contract, versions, &terms));
    Page::whole(heads.collect()).respond(&wanted)
}

/// Read a contract
#[utoipa::path(
    get, path = "/api/v1/contracts/{contract}", tag = "contracts", security(("key" = ["read"])),
    params(("contract" = String, Path, description = "The contract's id")),
    responses((status = 200, description = "The contract", body = ContractDetail), Problems),
)]
pub async fn show(
    Reader(caller): Reader,
    State(state): State<HttpState>,
    Path(contract): Path<String>,
) -> Result<Json<ContractDetail>, Problem> {
    let contract = ContractId::new(contract);
    let mut conn = caller.read(&state.reads).await?;
    let versions = known_versions(&mut conn, &contract).await?;
    let terms = list_terms(&mut conn, Some(&contract)).await?;
    Ok(Json(ContractDetail { head: ContractHead::new(contract, versions, &terms), terms }))
}

/// List the versions of a contract
#[utoipa::path(
    get, path = "/api/v1/contracts/{contract}/versions", tag = "contracts", security(("key" = ["read"])),
    params(("contract" = String, Path, description = "The contract's id")),
    responses((status = 200, description = "By version", body = Page<VersionHead>), Problems),
)]
pub async fn versions(
    Reader(caller): Reader,
    State(state): State<HttpState>,
    Path(contract): Path<String>,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let contract = ContractId::new(contract);
    let mut conn = caller.read(&state.reads).await?;
    Page::whole(known_versions(&mut conn, &contract).await?).respond(&wanted)
}

/// Read the text of a version
#[utoipa::path(
    get, path = "/api/v1/contracts/{contract}/versions/{version}", tag = "contracts", security(("key" = ["read"])),
    params(
        ("contract" = String, Path, description = "The contract's id"),
        ("version" = i32, Path, description = "The version's number"),
    ),
    responses((status = 200, description = "Markdown with its blocks of terms", body = VersionText), Problems),
)]
pub async fn version(
    Reader(caller): Reader,
    State(state): State<HttpState>,
    Path((contract, version)): Path<(String, i32)>,
) -> Result<Json<VersionText>, Problem> {
    let contract = ContractId::new(contract);
    let mut conn = caller.read(&state.reads).await?;
    let text = load_text(&mut conn, &contract, version).await?;
    text.map(Json).ok_or_else(|| Problem::not_found(format!("there is no version {version} of \"{contract}\"")))
}

/// How far the caps are used up
///
/// As the statements say that the key may see, with the day on which a cap is used up at the pace of the last three
/// periods.
#[utoipa::path(
    get, path = "/api/v1/contracts/{contract}/caps", tag = "contracts", security(("key" = ["read"])),
    params(("contract" = String, Path, description = "The contract's id")),
    responses((status = 200, description = "One for each capped term", body = Page<BurnDown>), Problems),
)]
pub async fn caps(
    Reader(caller): Reader,
    State(state): State<HttpState>,
    Path(contract): Path<String>,
    wanted: Wanted,
) -> Result<Response, Problem> {
    let contract = ContractId::new(contract);
    let mut conn = caller.read(&state.reads).await?;
    known_versions(&mut conn, &contract).await?;
    Page::whole(statements::caps(&mut conn, &contract).await?).respond(&wanted)
}

/// Of which periods, as known when.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EntitlementParams {
    /// The last period, as the contract's calendar names it.
    #[param(example = "2026-05")]
    through: String,
    /// An instant, or a date for its first one in UTC: what was recorded later is not seen; without it, everything
    /// recorded by now.
    known_at: Option<InstantOrDate>,
}

/// What the terms yield
///
/// Period by period through one, as known at any instant, whatever was settled: nothing is booked. The same question
/// has the same answer, also years later. Unrounded but for `rounded`, which is what a period's books come to.
#[utoipa::path(
    get, path = "/api/v1/contracts/{contract}/entitlement", tag = "contracts", security(("key" = ["read"])),
    params(("contract" = String, Path, description = "The contract's id"), EntitlementParams),
    responses((status = 200, description = "By term and period", body = Entitlement), Problems, RunProblems),
)]
pub async fn entitled(
    _reader: InsideReader,
    State(state): State<HttpState>,
    Path(contract): Path<String>,
    Query(EntitlementParams { through, known_at }): Query<EntitlementParams>,
) -> Result<Json<Entitlement>, Problem> {
    let (through, known_at) = (parse("through", &through)?, known_at.map(|it| it.0));
    Ok(Json(entitlement(&state.reads, &ContractId::new(contract), through, known_at).await?))
}
