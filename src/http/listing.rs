//! Lists: in pages, as JSON, CSV or JSON lines by `Accept`.

use super::problem::Problem;
use super::table::table;
use crate::domain::hex::{hex, unhex};
use crate::domain::period::Instant;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use chrono::SecondsFormat;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use utoipa::openapi::{Content, OpenApi, RefOr};
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// How many items a page has where nothing is said.
const DEFAULT_LIMIT: i64 = 100;

const MAX_LIMIT: i64 = 1000;

/// The longest cursor that is read, in letters. Those that we give hold names as long as a register has them.
const MAX_CURSOR: usize = 8192;

/// As known at which instant the answer is, for those who read no JSON.
const KNOWN_AT: HeaderName = HeaderName::from_static("known-at");

pub const JSON: &str = "application/json";
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
    #[param(pattern = "^([0-9a-f]{2})+$")]
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

    /// Where the page before ended: what [`Page::cut`] was given as the key of its last item.
    ///
    /// # Errors
    /// It is none that we gave.
    pub fn cursor<K: DeserializeOwned>(&self) -> Result<Option<K>, Problem> {
        let Some(text) = &self.cursor else { return Ok(None) };
        let bytes = if text.len() <= MAX_CURSOR { unhex(text) } else { None };
        // Nothing that we give has a NUL in its name, and Postgres takes none.
        let json = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|json| !json.contains("\\u0000"));
        let key = json.and_then(|json| serde_json::from_str(&json).ok());
        let fail = || Problem::bad_request("cursor: take the next_cursor of the page before, as it is");
        key.map(Some).ok_or_else(fail)
    }
}

/// A key as the text of a cursor: nobody should read anything into it.
fn encode(key: &impl Serialize) -> Option<String> {
    serde_json::to_vec(key).ok().map(|bytes| hex(&bytes))
}

/// Describes what else than JSON there is, wherever a list is read.
pub fn describe(api: &mut OpenApi) {
    for operation in api.paths.paths.values_mut().filter_map(|item| item.get.as_mut()) {
        let Some(RefOr::T(answer)) = operation.responses.responses.get_mut("200") else { continue };
        if answer.content.get(JSON).is_some_and(is_page) {
            let text = RefOr::T(Content::new(Some(<String as PartialSchema>::schema())));
            answer.content.extend([CSV, JSON_LINES].map(|media_type| (media_type.to_owned(), text.clone())));
        }
    }
}

fn is_page(content: &RefOr<Content>) -> bool {
    let RefOr::T(Content { schema: Some(RefOr::Ref(page)), .. }) = content else { return false };
    page.ref_location.starts_with("#/components/schemas/Page_")
}

/// How a list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Representation {
    Json,
    Csv,
    JsonLines,
}

const OFFERS: [(&str, Representation); 3] =
    [(JSON, Representation::Json), (CSV, Representation::Csv), (JSON_LINES, Representation::JsonLines)];

/// How the caller wants a list, and where it stands.
pub struct Wanted {
    representation: Representation,
    uri: Uri,
}

impl<S: Send + Sync> FromRequestParts<S> for Wanted {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self { representation: choose(&parts.headers, &OFFERS)?, uri: parts.uri.clone() })
    }
}

/// Of what we offer, by media type, what `Accept` names with the highest quality: the most exact of the ranges that
/// name an offer gives its quality, and 0 refuses it. Of equals what is named first, and of what a range names what we
/// offer first.
///
/// # Errors
/// It names nothing that we offer.
pub fn choose<T: Copy>(headers: &HeaderMap, offers: &[(&str, T)]) -> Result<T, Problem> {
    let lines = headers.get_all(header::ACCEPT).iter().map(|value| value.to_str().unwrap_or_default());
    let lines: Vec<&str> = if headers.contains_key(header::ACCEPT) { lines.collect() } else { vec!["*/*"] };
    let ranges: Vec<Range> = lines.iter().flat_map(|line| line.split(',')).map(Range::read).collect();
    let mut best: Option<((u16, Reverse<usize>), T)> = None;
    for (media_type, offer) in offers {
        let naming =
            ranges.iter().enumerate().filter_map(|(place, range)| Some((range.names(media_type)?, place, range)));
        // Of those that are as exact the first one counts.
        let Some((_, place, range)) = naming.min_by_key(|(exact, place, _)| (Reverse(*exact), *place)) else {
            continue;
        };
        let rank = (range.quality, Reverse(place));
        if range.quality > 0 && best.is_none_or(|(known, _)| rank > known) {
            best = Some((rank, *offer));
        }
    }
    let offered: Vec<&str> = offers.iter().map(|(media_type, _)| *media_type).collect();
    let refused = || Problem::not_acceptable(format!("Accept: there is {}", offered.join(", ")));
    best.map(|(_, offer)| offer).ok_or_else(refused)
}

/// A media range of `Accept`.
struct Range {
    /// In lower case: `text/csv`, `text/*` or `*/*`.
    media_type: String,
    /// In thousandths.
    quality: u16,
}

impl Range {
    fn read(item: &str) -> Self {
        let mut parts = item.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        let parameter = |part: &str| {
            part.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("q")).map(|(_, q)| thousandths(q))
        };
        Self { media_type, quality: parts.find_map(parameter).unwrap_or(1000) }
    }

    /// How exactly it names a media type, if it does.
    fn names(&self, media_type: &str) -> Option<u8> {
        if self.media_type == media_type {
            return Some(2);
        }
        let prefix = self.media_type.strip_suffix('*').filter(|prefix| prefix.ends_with('/'))?;
        if prefix == "*/" { Some(0) } else { media_type.starts_with(prefix).then_some(1) }
    }
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
    /// As known at which instant the items are; all pages that lead on from this one are as known then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub known_at: Option<Instant>,
}

impl<T: Serialize + ToSchema> Page<T> {
    /// The first `limit` of items of which one more was asked for; the `key` of the last one says where the next page
    /// begins, whatever is recorded meanwhile. It is unique, and what the list is ordered by.
    pub fn cut<K: Serialize>(mut items: Vec<T>, limit: i64, key: impl Fn(&T) -> K) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = items.last().filter(|_| more).and_then(|last| encode(&key(last)));
        Self { items, next_cursor, known_at: None }
    }

    /// A list that is short enough to be one page.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next_cursor: None, known_at: None }
    }

    /// Says as known at which instant the items are.
    pub fn with_known_at(self, known_at: Instant) -> Self {
        Self { known_at: Some(known_at), ..self }
    }

    /// The answer as the caller wants it.
    ///
    /// # Errors
    /// Never for what we list; a row that cannot be written is our fault.
    pub fn respond(self, wanted: &Wanted) -> Result<Response, Problem> {
        let link = self.next_cursor.as_ref().and_then(|cursor| next_link(&wanted.uri, cursor));
        let known_at =
            self.known_at.and_then(|at| HeaderValue::from_str(&at.to_rfc3339_opts(SecondsFormat::AutoSi, true)).ok());
        let mut response = match wanted.representation {
            Representation::Json => axum::Json(self).into_response(),
            Representation::Csv => {
                let text = table(&self.items).map_err(|error| Problem::internal(&error))?;
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
        response.headers_mut().extend(known_at.map(|at| (KNOWN_AT, at)));
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
        let chosen = |accepted: &'static str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accepted))]);
            choose(&headers, &OFFERS).ok()
        };
        assert_eq!(chosen("*/*"), Some(Representation::Json));
        assert_eq!(chosen("text/*"), Some(Representation::Csv));
        assert_eq!(chosen("text/csv;q=0.5, application/json;q=0.4"), Some(Representation::Csv));
        assert_eq!(chosen("application/x-ndjson, */*;q=0.1"), Some(Representation::JsonLines));
        assert_eq!(chosen("text/html"), None);
        assert_eq!(chosen("application/json;q=0"), None);
        assert_eq!(chosen("application/json;q=0, */*"), Some(Representation::Csv));
        assert_eq!(chosen("*/*, application/json;Q=0.5, text/*;q=0.4"), Some(Representation::JsonLines));
        assert_eq!(chosen("*/*;q=0"), None);
        let lines = ["text/csv;q=0.1", "application/x-ndjson"].map(|it| (header::ACCEPT, HeaderValue::from_static(it)));
        assert_eq!(choose(&HeaderMap::from_iter(lines), &OFFERS).ok(), Some(Representation::JsonLines));
        assert_eq!(choose(&HeaderMap::new(), &OFFERS).ok(), Some(Representation::Json));
    }

    #[test]
    fn a_page_says_where_the_next_begins() {
        let page = Page::cut(vec![1, 2, 3], 2, |item| *item);
        assert_eq!(page.items, [1, 2]);
        let asked = |cursor: Option<String>| PageParams { limit: None, cursor };
        assert_eq!(asked(encode(&"=é")).cursor::<String>().expect("ours").as_deref(), Some("=é"));
        assert!(asked(encode(&"\0")).cursor::<String>().is_err());
        assert_eq!(asked(page.next_cursor).cursor::<i64>().expect("ours"), Some(2));
        for cursor in ["", "3", "zz", "+1+1", "22", "é0"] {
            assert!(asked(Some(cursor.to_owned())).cursor::<i64>().is_err(), "{cursor}");
        }
        assert_eq!(Page::cut(vec![1, 2], 2, |item| *item).next_cursor, None);
        let uri: Uri = "/api/v1/statements?limit=2&cursor=7".parse().expect("a URI");
        let link = next_link(&uri, "9").expect("a link");
        assert_eq!(link, "</api/v1/statements?limit=2&cursor=9>; rel=\"next\"");
    }
}
