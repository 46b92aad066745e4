//! Who asks, and whether they may: a key with its scopes, perhaps bound to a party.

use super::HttpState;
use super::problem::Problem;
use crate::domain::access::Scope;
use crate::store::access::{Caller, find_key};
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

/// The caller of a request, asked of the database once.
pub async fn caller(parts: &mut Parts, state: &HttpState) -> Result<Caller, Problem> {
    if let Some(caller) = parts.extensions.get::<Caller>() {
        return Ok(caller.clone());
    }
    let header = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let is_bearer = |(scheme, _): &(&str, &str)| scheme.eq_ignore_ascii_case("bearer");
    let Some((_, key)) = header.and_then(|value| value.split_once(' ')).filter(is_bearer) else {
        return Err(Problem::unauthorized());
    };
    let caller = find_key(&state.callers, key.trim()).await?.ok_or_else(Problem::unauthorized)?;
    parts.extensions.insert(caller.clone());
    Ok(caller)
}

/// The caller, if the key has a scope and, where `partners` is false, is not bound to a party.
async fn authorize(parts: &mut Parts, state: &HttpState, scope: Scope, partners: bool) -> Result<Caller, Problem> {
    let caller = caller(parts, state).await?;
    if !caller.scopes.contains(&scope) {
        return Err(Problem::scope_missing(scope));
    }
    if caller.party.is_some() && !partners {
        return Err(Problem::not_for_partners());
    }
    Ok(caller)
}

/// Defines extractors: a caller whose key has a scope, and may be bound to a party where `partners` is true.
macro_rules! callers {
    ($($(#[$doc:meta])* $name:ident = $scope:expr, partners: $partners:literal;)*) => {$(
        $(#[$doc])*
        pub struct $name(pub Caller);

        impl FromRequestParts<HttpState> for $name {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Problem> {
                authorize(parts, state, $scope, $partners).await.map(Self)
            }
        }
    )*};
}

callers! {
    /// Reads what its party may see, through [`Caller::read`].
    Reader = Scope::Read, partners: true;
    Ingester = Scope::Ingest, partners: false;
    Settler = Scope::Settle, partners: false;
    /// Approves and issues.
    Approver = Scope::Approve, partners: false;
    /// Agrees to statements or disputes them: we, or a partner.
    Replier = Scope::Approve, partners: true;
    /// Runs jobs; they act by a name of their own.
    Admin = Scope::Admin, partners: false;
}

/// Reads what is no partner's business; who it is makes no difference.
pub struct InsideReader;

impl FromRequestParts<HttpState> for InsideReader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Self, Problem> {
        authorize(parts, state, Scope::Read, false).await.map(|_| Self)
    }
}
