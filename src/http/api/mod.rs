//! The API: its routes, one file a resource, and its description, made of the same code.

mod backfills;
mod charges;
mod contracts;
mod costs;
mod double_reports;
mod events;
mod findings;
mod intake;
mod invoices;
mod jobs;
mod settlements;
mod statements;
mod traces;
mod usage;

use super::problem::Problem;
use super::{HttpState, conditional, idempotency, limits, listing, parameters};
use crate::domain::ids::{MAX_REASON_CHARS, is_reason};
use crate::domain::period::Instant;
use crate::store::recording::{last_recorded, was_handed_out};
pub use intake::MAX_AT_ONCE;

use axum::extract::DefaultBodyLimit;
use axum::{Json, Router, middleware, routing::get};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, OpenApi};
use utoipa::{Modify, OpenApi as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Apportion",
        description = "AI usage, and the money that labs and clouds owe each other for it. Amounts are exact and \
                       written as text. Instants are UTC, spans are half-open: the end is exclusive.\n\nLists come as \
                       JSON, CSV or JSON lines, by `Accept`; where there is more, `next_cursor` and the header \
                       `Link` lead on, and each page begins after the last item of the one before. The CSV has a \
                       column for each field, `a.b` for a field of a field; a list in a field is one cell, as JSON. \
                       A text that begins with =, +, -, @, a tab or a carriage return and is no number has an \
                       apostrophe before it, so that no spreadsheet takes it for a formula.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/")),
    // What an answer that is described by hand refers to is not gathered from it.
    components(schemas(statements::StatementDetail, traces::OtlpStatus)),
    modifiers(&Keys),
    tags(
        (name = "usage", description = "What was used, and what became of what was reported"),
        (name = "backfills", description = "Files of usage that were taken in, and perhaps taken back, as one"),
        (name = "charges", description = "Rated usage"),
        (name = "costs", description = "What clouds report that they charged, to be compared with what is rated"),
        (name = "contracts", description = "Agreements, their versions and caps"),
        (name = "statements", description = "What two parties owe each other for a period"),
        (name = "invoices", description = "Requests for payment, and their corrections"),
        (name = "findings", description = "Usage that breaks rights or seems to be reported twice, and decisions on it"),
        (name = "jobs", description = "What runs by itself"),
    ),
)]
struct Description;

/// Every route but the description wants a key.
struct Keys;

impl Modify for Keys {
    fn modify(&self, openapi: &mut OpenApi) {
        let mut http = Http::new(HttpAuthScheme::Bearer);
        http.description = Some("A key, which who runs the service makes".to_owned());
        openapi.components.get_or_insert_with(Components::new).add_security_scheme("key", SecurityScheme::Http(http));
    }
}

fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(usage::sums))
        .routes(routes!(usage::outcomes))
        .routes(routes!(usage::rejections))
        .routes(routes!(usage::conflicts))
        .routes(routes!(usage::unresolved))
        .routes(routes!(backfills::list))
        .routes(routes!(backfills::show))
        .routes(routes!(events::send))
        .routes(routes!(traces::send_spans))
        .routes(routes!(charges::list))
        .routes(routes!(costs::list))
        .routes(routes!(contracts::list))
        .routes(routes!(contracts::show))
        .routes(routes!(contracts::versions))
        .routes(routes!(contracts::version))
        .routes(routes!(contracts::caps))
        .routes(routes!(contracts::entitled))
        .routes(routes!(settlements::settle))
        .routes(routes!(statements::list))
        .routes(routes!(statements::show))
        .routes(routes!(statements::explanation))
        .routes(routes!(statements::approve))
        .routes(routes!(statements::issue))
        .routes(routes!(statements::agree))
        .routes(routes!(statements::dispute))
        .routes(routes!(statements::pay))
        .routes(routes!(invoices::draw))
        .routes(routes!(invoices::list))
        .routes(routes!(invoices::show))
        .routes(routes!(findings::list))
        .routes(routes!(findings::ended))
        .routes(routes!(findings::decisions))
        .routes(routes!(findings::show))
        .routes(routes!(findings::decide))
        .routes(routes!(double_reports::list))
        .routes(routes!(double_reports::show))
        .routes(routes!(double_reports::waive))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::runs))
        .routes(routes!(jobs::run))
}

/// The API's description, as `/api/v1/openapi.json` serves it.
pub fn description() -> OpenApi {
    let mut description = routes().into_openapi();
    listing::describe(&mut description);
    name_operations(&mut description);
    description
}

/// Names each operation by its tag, too, as in `findings_list`: a client that is made of the description has one
/// function for each name.
fn name_operations(api: &mut OpenApi) {
    for item in api.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
            let words = operation.tags.iter().flatten().take(1).chain(&operation.operation_id);
            operation.operation_id = Some(words.cloned().collect::<Vec<_>>().join("_"));
        }
    }
}

pub fn router(state: &HttpState) -> Router<HttpState> {
    let (router, description) = (Router::from(routes()), description());
    let known = parameters::known(&description);
    router
        .route("/api/v1/openapi.json", get(async || Json(description)))
        .layer(middleware::from_fn_with_state(known, parameters::refuse_unknown))
        .layer(middleware::from_fn_with_state(state.clone(), idempotency::once))
        // Around the one that reads bodies, too: it takes its limit from here.
        .layer(DefaultBodyLimit::max(idempotency::MAX_BODY_BYTES))
        .layer(middleware::from_fn(conditional::tag))
        .layer(middleware::from_fn_with_state(state.clone(), limits::bound_read))
        // Around all that may refuse a request.
        .layer(middleware::from_fn(traces::tell_by_status))
}

/// Headers that every write takes.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes headers; they are read where they are used")]
struct WriteHeaders {
    /// Names the request: sent again with the same key within 30 days, what was done is not done again, and answered
    /// as the first time.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
}

/// The header of a change that wants what is changed to be what was seen.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes headers; they are read where they are used")]
struct MatchHeader {
    /// The `ETag` of what was seen, or several; refused with 412 if it is none of them by now. Tags are compared
    /// strongly: a weak one never matches.
    #[param(rename = "If-Match", pattern = "^([*]|(W/)?\"[!#-~]*\"( *, *(W/)?\"[!#-~]*\")*)$")]
    if_match: Option<String>,
}

/// As known at which instant the pages of a list are one answer, and after which item this one begins.
///
/// # Errors
/// The database's, or a cursor that is none of ours.
async fn as_known<K>(state: &HttpState, cursor: Option<(Instant, K)>) -> Result<(Instant, Option<K>), Problem> {
    match cursor {
        None => Ok((last_recorded(&state.reads).await?, None)),
        Some((known_at, after)) if was_handed_out(&state.reads, known_at).await? => Ok((known_at, Some(after))),
        // Such as one of a database that was restored to an earlier state since.
        Some(_) => Err(Problem::bad_request("cursor: it is of a later time than anything that is known; begin anew")),
    }
}

/// A reason that somebody gives; blanks are none.
///
/// # Errors
/// It is empty, too long, or cannot be stored.
fn stated(reason: &str) -> Result<String, Problem> {
    let reason = reason.trim();
    if !is_reason(reason) {
        let title = "The body is not what is expected";
        let detail = format!("reason: say why, in 1 to {MAX_REASON_CHARS} characters without a NUL");
        return Err(Problem::unprocessable("wrong-body", title, detail));
    }
    Ok(reason.to_owned())
}
