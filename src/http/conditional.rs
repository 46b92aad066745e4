//! ETags of what is read: an answer that the caller has already is not sent again.

use super::problem::Problem;
use crate::domain::hex::hex;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

/// The longest answer that is digested, in bytes. Pages end long before.
const MAX_DIGESTED_BYTES: usize = 64 << 20;

/// Gives each answer to a GET an ETag, the digest of its body where the handler gave none, and answers 304 to
/// who has it.
pub async fn tag(request: Request, next: Next) -> Response {
    let is_get = request.method() == Method::GET;
    let known = tags(request.headers(), &header::IF_NONE_MATCH);
    let response = next.run(request).await;
    if !is_get || response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let body = match to_bytes(body, MAX_DIGESTED_BYTES).await {
        Ok(body) => body,
        Err(error) => {
            return Problem::internal(&error).into_response();
        }
    };
    let given = parts.headers.get(header::ETAG).cloned();
    let digested = || HeaderValue::from_str(&format!("\"{}\"", hex(&Sha256::digest(&body)))).ok();
    if let Some(tag) = given.or_else(digested) {
        let same = known.is_some_and(|known| known.names(&tag));
        parts.headers.insert(header::ETAG, tag);
        // What a key sees is for its holder alone, and has to be asked for anew.
        parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        if same {
            parts.headers.remove(header::CONTENT_TYPE);
            parts.headers.remove(header::CONTENT_LENGTH);
            parts.status = StatusCode::NOT_MODIFIED;
            return Response::from_parts(parts, Body::empty());
        }
    }
    Response::from_parts(parts, Body::from(body))
}

/// What a header of conditions names (RFC 9110, section 13.1).
#[derive(Debug, PartialEq, Eq)]
pub enum Tags {
    /// `*`: whatever there is.
    Any,
    These(Vec<Tag>),
}

/// One of them, without its quotes.
#[derive(Debug, PartialEq, Eq)]
pub struct Tag {
    pub is_weak: bool,
    pub text: String,
}

impl Tags {
    /// Whether an ETag is among them; a weak one is compared as the strong one that it was.
    fn names(&self, etag: &HeaderValue) -> bool {
        let text = etag.to_str().ok().and_then(|quoted| quoted.strip_prefix('"')?.strip_suffix('"'));
        match self {
            Self::Any => true,
            Self::These(these) => these.iter().any(|tag| Some(tag.text.as_str()) == text),
        }
    }
}

/// What all headers of a name say together; none where they name nothing, or cannot be read.
pub fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Tags> {
    let lines: Result<Vec<&str>, _> = headers.get_all(name).iter().map(HeaderValue::to_str).collect();
    let text = lines.ok()?.join(",");
    let mut rest = text.trim_matches(SPACE);
    if rest == "*" {
        return Some(Tags::Any);
    }
    let mut these = Vec::new();
    while !rest.is_empty() {
        // A tag may have a comma in it.
        let (is_weak, quoted) = rest.strip_prefix("W/").map_or((false, rest), |quoted| (true, quoted));
        let (text, after) = quoted.strip_prefix('"')?.split_once('"')?;
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        these.push(Tag { is_weak, text: text.to_owned() });
        let after = after.trim_start_matches(SPACE);
        if !after.is_empty() && !after.starts_with(',') {
            return None;
        }
        rest = after.trim_start_matches([' ', '\t', ',']);
    }
    if these.is_empty() { None } else { Some(Tags::These(these)) }
}

const SPACE: [char; 2] = [' ', '\t'];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&'static str]) -> Option<Tags> {
        let line = |line: &&'static str| (header::IF_MATCH, HeaderValue::from_static(line));
        tags(&lines.iter().map(line).collect(), &header::IF_MATCH)
    }

    #[test]
    fn tags_are_a_list_over_all_headers() {
        let tag = |is_weak: bool, text: &str| Tag { is_weak, text: text.to_owned() };
        assert_eq!(read(&["*"]), Some(Tags::Any));
        assert_eq!(
            read(&[r#""a,b" ,, W/"c""#, r#""""#]),
            Some(Tags::These(vec![tag(false, "a,b"), tag(true, "c"), tag(false, "")]))
        );
        for wrong in ["", "a", r#""a"#, r#""a" "b""#, r#"w/"a""#, r#"*, "a""#, r#""a b""#, r#""a"b"#] {
            assert_eq!(read(&[wrong]), None, "{wrong}");
        }
    }

    #[test]
    fn who_has_a_weak_copy_has_it() {
        let etag = HeaderValue::from_static("\"a\"");
        assert!(read(&[r#""b", W/"a""#]).is_some_and(|known| known.names(&etag)));
        assert!(!read(&[r#""b""#]).is_some_and(|known| known.names(&etag)));
    }
}
