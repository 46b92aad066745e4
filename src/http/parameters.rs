//! Query parameters: what a route does not know is refused, as a filter with a typing error would list everything.

use super::problem::Problem;
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::{OpenApi, RefOr};

/// The names of the parameters of each route that reads a query, by method and path.
pub type Known = Arc<BTreeMap<(Method, String), BTreeSet<String>>>;

/// What the routes know, as their description says.
pub fn known(description: &OpenApi) -> Known {
    let names = |operation: &Operation| {
        let all = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
            RefOr::T(parameter) => Some(parameter),
            RefOr::Ref(_) => None,
        });
        let of_query = all.filter(|parameter| matches!(parameter.parameter_in, ParameterIn::Query));
        of_query.map(|parameter| parameter.name.clone()).collect()
    };
    let mut known = BTreeMap::new();
    for (path, item) in &description.paths.paths {
        for (method, operation) in [(Method::GET, &item.get), (Method::POST, &item.post)] {
            if let Some(operation) = operation {
                known.insert((method, path.clone()), names(operation));
            }
        }
    }
    Arc::new(known)
}

/// Refuses a query with a name that its route does not know, and a NUL anywhere: nothing is called that.
pub async fn refuse_unknown(State(known): State<Known>, request: Request, next: Next) -> Response {
    match check(&known, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check(known: &Known, request: &Request) -> Result<(), Problem> {
    let uri = request.uri();
    let query = uri.query().unwrap_or_default();
    if uri.path().contains("%00") || query.contains("%00") {
        return Err(Problem::bad_request("a NUL character: nothing has that in its name"));
    }
    let Some(path) = request.extensions().get::<MatchedPath>() else { return Ok(()) };
    // HEAD is answered as GET is, without the body.
    let method = if request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
    let Some(names) = known.get(&(method, path.as_str().to_owned())) else { return Ok(()) };
    let given = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split('=').next().unwrap_or_default());
    match given.into_iter().find(|name| !names.contains(*name)) {
        None => Ok(()),
        Some(name) if names.is_empty() => Err(Problem::bad_request(format!("{name}: there are no parameters here"))),
        Some(name) => {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            Err(Problem::bad_request(format!("{name}: there is no such parameter; there is {}", names.join(", "))))
        }
    }
}
