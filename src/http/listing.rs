//! Lists: in pages, as JSON, CSV or JSON lines by `Accept`.

use super::problem::Problem;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// How many items a page has where nothing is said.
const DEFAULT_LIMIT: i64 = 100;

const MAX_LIMIT: i64 = 1000;

pub const CSV: &str = "text/csv";
pub const JSON_LINES: &str = "application/x-ndjson";

/// Which page of a list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// How many items at most, 1 to 1000; 100 where it is left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
    /// The `next_cursor` of the page before.
    #[param(pattern = "^[0-9]{1,18}$")]
    cursor: Option<String>,
}

impl PageParams {
    /// How many items.
    ///
    /// # Errors
    /// It is out of range.
    pub fn limit(&self) -> Result<i64, Problem> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        let fail = || Problem::bad_request(format!("limit: {limit} is not between 1 and {MAX_LIMIT}"));
        (1..=MAX_LIMIT).contains(&limit).then_some(limit).ok_or_else(fail)
    }

    /// Where the page before ended.
    ///
    /// # Errors
    /// It is none that we gave.
    pub fn cursor(&self) -> Result<Option<i64>, Problem> {
        let Some(text) = &self.cursor else { return Ok(None) };
        let ours = (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let cursor = ours.then(|| text.parse().ok()).flatten();
        let fail = || Problem::bad_request("cursor: take the next_cursor of the page before, as it is");
        cursor.map(Some).ok_or_else(fail)
    }
}

/// How a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Representation {
    Json,
    Csv,
    JsonLines,
}

/// How the caller wants a list, and where it stands.
pub struct Wanted {
    representation: Representation,
    uri: Uri,
}

impl<S: Send + Sync> FromRequestParts<S> for Wanted {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let accepted = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
        let representation = representation(accepted).ok_or_else(|| {
            Problem::not_acceptable(format!("Accept: there are application/json, {CSV} and {JSON_LINES}"))
        })?;
        Ok(Self { representation, uri: parts.uri.clone() })
    }
}

/// The one of ours that is named with the highest quality; of equals the first.
fn representation(accepted: &str) -> Option<Representation> {
    let mut best: Option<(u16, Representation)> = None;
    for item in accepted.split(',') {
        let mut parts = item.split(';').map(str::trim);
        let found = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "application/json" | "application/*" | "*/*" => Representation::Json,
            CSV | "text/*" => Representation::Csv,
            JSON_LINES | "application/jsonl" | "application/json-lines" => Representation::JsonLines,
            _ => continue,
        };
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(1000, thousandths);
        if quality > best.map_or(0, |(known, _)| known) {
            best = Some((quality, found));
        }
    }
    best.map(|(_, representation)| representation)
}

/// A quality such as `0.8`, in thousandths; 0 for what is none.
fn thousandths(text: &str) -> u16 {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = format!("{rest:0<3}").chars().take(3).collect();
    let part = digits.parse::<u16>().unwrap_or(0);
    whole.parse::<u16>().unwrap_or(0).saturating_mul(1000).saturating_add(part).min(1000)
}

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// What the next page is asked for by; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl<T: Serialize> Page<T> {
    /// The first `limit` of items of which one more was asked for; `key` says where a page ends.
    pub fn cut(mut items: Vec<T>, limit: i64, key: impl Fn(&T) -> i64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = items.last().filter(|_| more).map(|last| key(last).to_string());
        Self { items, next_cursor }
    }

    /// A list that is short enough to be one page.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next_cursor: None }
    }

    /// The answer as the caller wants it.
    ///
    /// # Errors
    /// Never for what we list; a row that cannot be written is our fault.
    pub fn respond(self, wanted: &Wanted) -> Result<Response, Problem> {
        let link = self.next_cursor.as_ref().and_then(|cursor| next_link(&wanted.uri, cursor));
        let mut response = match wanted.representation {
            Representation::Json => axum::Json(self).into_response(),
            Representation::Csv => {
                let mut writer = csv::Writer::from_writer(Vec::new());
                for item in &self.items {
                    writer.serialize(item).map_err(|error| Problem::internal(&error))?;
                }
                let text = writer.into_inner().map_err(|error| Problem::internal(&error))?;
                ([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], text).into_response()
            }
            Representation::JsonLines => {
                let mut text = Vec::new();
                for item in &self.items {
                    serde_json::to_writer(&mut text, item).map_err(|error| Problem::internal(&error))?;
                    text.push(b'\n');
                }
                ([(header::CONTENT_TYPE, JSON_LINES)], text).into_response()
            }
        };
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
        response.headers_mut().extend(link.map(|link| (header::LINK, link)));
        Ok(response)
    }
}

/// `Link: <...>; rel="next"`, for those who read no JSON.
fn next_link(uri: &Uri, cursor: &str) -> Option<HeaderValue> {
    let others = uri.query().unwrap_or_default().split('&').filter(|it| !it.is_empty() && !it.starts_with("cursor="));
    let query: Vec<String> = others.map(str::to_owned).chain([format!("cursor={cursor}")]).collect();
    HeaderValue::from_str(&format!("<{}?{}>; rel=\"next\"", uri.path(), query.join("&"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_quality_wins() {
        assert_eq!(representation("*/*"), Some(Representation::Json));
        assert_eq!(representation("text/csv;q=0.5, application/json;q=0.4"), Some(Representation::Csv));
        assert_eq!(representation("application/x-ndjson, */*;q=0.1"), Some(Representation::JsonLines));
        assert_eq!(representation("text/html"), None);
        assert_eq!(representation("application/json;q=0"), None);
    }

    #[test]
    fn a_page_says_where_the_next_begins() {
        let page = Page::cut(vec![1, 2, 3], 2, |item| *item);
        assert_eq!((page.items, page.next_cursor.as_deref()), (vec![1, 2], Some("2")));
        assert_eq!(Page::cut(vec![1, 2], 2, |item| *item).next_cursor, None);
        let uri: Uri = "/api/v1/statements?limit=2&cursor=7".parse().expect("a URI");
        let link = next_link(&uri, "9").expect("a link");
        assert_eq!(link, "</api/v1/statements?limit=2&cursor=9>; rel=\"next\"");
    }
}
