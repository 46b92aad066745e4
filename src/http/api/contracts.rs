//! `/contracts`: agreements, their versions, and how far their caps are used up.

use crate::domain::burn_down::BurnDown;
use crate::domain::ids::{ContractId, PartyId};
use crate::http::HttpState;
use crate::http::auth::Reader;
use crate::http::input::Path;
use crate::http::listing::{Page, Wanted};
use crate::http::problem::{Problem, Problems};
use crate::jobs::statements;
use crate::store::agreements::{TermHead, VersionHead, VersionText, list_terms, list_versions, load_text};
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use std::collections::BTreeSet;
use utoipa::ToSchema;

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

fn heads(versions: Vec<VersionHead>, terms: &[TermHead]) -> Vec<ContractHead> {
    let mut heads: Vec<ContractHead> = Vec::new();
    for version in versions {
        match heads.last_mut().filter(|head| head.contract == version.contract) {
            Some(head) => head.versions.push(version),
            None => {
                let of_contract = terms.iter().filter(|term| term.contract == version.contract);
                let parties = of_contract.flat_map(|term| term.parties.iter().cloned()).collect();
                heads.push(ContractHead { contract: version.contract.clone(), parties, versions: vec![version] });
            }
        }
    }
    heads
}

fn unknown(contract: &ContractId) -> Problem {
    Problem::not_found(format!("there is no contract \"{contract}\""))
}

/// List contracts
#[utoipa::path(
    get, path = "/api/v1/contracts", tag = "contracts", security(("key" = ["read"])),
    responses((status = 200, description = "By id", body = Page<ContractHead>), Problems),
)]
pub async fn list(Reader(caller): Reader, State(state): State<HttpState>, wanted: Wanted) -> Result<Response, Problem> {
    let mut conn = caller.read(&state.reads).await?;
    let terms = list_terms(&mut conn, None).await?;
    Page::whole(heads(list_versions(&mut conn, None).await?, &terms)).respond(&wanted)
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
    let terms = list_terms(&mut conn, Some(&contract)).await?;
    let head = heads(list_versions(&mut conn, Some(&contract)).await?, &terms).pop();
    head.map(|head| Json(ContractDetail { head, terms })).ok_or_else(|| unknown(&contract))
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
    let versions = list_versions(&mut conn, Some(&contract)).await?;
    if versions.is_empty() { Err(unknown(&contract)) } else { Page::whole(versions).respond(&wanted) }
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
    if list_versions(&mut conn, Some(&contract)).await?.is_empty() {
        return Err(unknown(&contract));
    }
    Page::whole(statements::caps(&mut conn, &contract).await?).respond(&wanted)
}
