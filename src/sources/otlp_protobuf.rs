//! OTLP's protobuf, read field by field into what OTLP's JSON is read into. What no list allows is skipped unread.

use super::node::{Keep, Node, Pruning, leaf};
use super::otel::{ATTRIBUTES, open_otlp, request_of};
use super::source::{Records, Source};
use super::{Context, Fault, RejectionReason as Reason, fault};
use crate::domain::hex::hex;

/// A field's value as it is on the wire.
enum Wire<'a> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message in their order.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u64, Wire<'a>)>, Fault> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        if key >> 3 == 0 {
            return Err(broken());
        }
        let value = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed(self.fixed::<8>().map(u64::from_le_bytes)?),
            2 => {
                let length = self.varint()?;
                Wire::Bytes(usize::try_from(length).ok().and_then(|length| self.take(length)).ok_or_else(broken)?)
            }
            5 => Wire::Fixed(self.fixed::<4>().map(u32::from_le_bytes)?.into()),
            // Groups are of a time before OTLP.
            _ => return Err(broken()),
        };
        Ok(Some((key >> 3, value)))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.take(N).and_then(|bytes| bytes.try_into().ok()).ok_or_else(broken)
    }

    fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or_else(broken)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(broken())
    }

    /// The messages under a field's number.
    fn messages(mut self, number: u64) -> Result<Vec<&'a [u8]>, Fault> {
        let mut found = Vec::new();
        while let Some((at, value)) = self.next()? {
            if let (true, Wire::Bytes(bytes)) = (at == number, value) {
                found.push(bytes);
            }
        }
        Ok(found)
    }
}

fn broken() -> Fault {
    fault(Reason::WrongPacking, "must be an OTLP ExportTraceServiceRequest in protobuf")
}

/// Parts a request into its spans; one that was kept after a rejection is JSON.
pub(super) fn open(source: &Source, bytes: &[u8], context: &Context<'_>) -> Records {
    // No request begins with a brace: it would begin a group.
    if bytes.first() == Some(&b'{') {
        return open_otlp(source, bytes, context);
    }
    let pruning = Pruning { tags: context.customer_tags, folds: false };
    let mut spans = Vec::new();
    for of_resource in Fields(bytes).messages(1)? {
        let resource = Fields(of_resource).messages(1)?.into_iter().next().unwrap_or_default();
        let attributes = attributes(&Fields(resource).messages(1)?, pruning, &[])?;
        let resource = Node::object([("attributes", attributes)]);
        for scope in Fields(of_resource).messages(2)? {
            for span in Fields(scope).messages(2)? {
                spans.push(request_of(resource.clone(), read_span(span, pruning)?));
            }
        }
    }
    Ok(spans)
}

fn read_span(bytes: &[u8], pruning: Pruning<'_>) -> Result<Node, Fault> {
    let [mut trace, mut id, mut start, mut code] = [const { Node::Null }; 4];
    let mut pairs = Vec::new();
    let mut fields = Fields(bytes);
    while let Some(field) = fields.next()? {
        match field {
            (1, Wire::Bytes(bytes)) => trace = id_node(bytes),
            (2, Wire::Bytes(bytes)) => id = id_node(bytes),
            (7, Wire::Fixed(nanos)) => start = Node::Time(nanos.to_string()),
            (9, Wire::Bytes(bytes)) => pairs.push(bytes),
            (15, Wire::Bytes(bytes)) => {
                let mut status = Fields(bytes);
                while let Some(field) = status.next()? {
                    if let (3, Wire::Varint(number)) = field {
                        code = Node::Text(number.to_string());
                    }
                }
            }
            _ => (),
        }
    }
    Ok(Node::object([
        ("traceId", trace),
        ("spanId", id),
        ("startTimeUnixNano", start),
        ("status", Node::object([("code", code)])),
        ("attributes", attributes(&pairs, pruning, ATTRIBUTES)?),
    ]))
}

/// The id of a trace or span, as JSON writes it.
fn id_node(bytes: &[u8]) -> Node {
    if bytes.len() > 16 { Node::Unread("must have at most 16 bytes") } else { Node::Text(hex(bytes)) }
}

fn attributes(pairs: &[&[u8]], pruning: Pruning<'_>, allowed: &'static [super::node::Field]) -> Result<Node, Fault> {
    let mut kept = Vec::new();
    for pair in pairs {
        let (mut key, mut value): (&[u8], &[u8]) = (b"", b"");
        let mut fields = Fields(pair);
        while let Some(field) = fields.next()? {
            match field {
                (1, Wire::Bytes(bytes)) => key = bytes,
                (2, Wire::Bytes(bytes)) => value = bytes,
                _ => (),
            }
        }
        let key = std::str::from_utf8(key).map_err(|_| broken())?;
        let mut fields = Fields(value);
        let value = fields.next()?;
        pruning.keep_attribute(&mut kept, key, allowed, |keep| any_value(value, keep));
    }
    Ok(Node::Attributes(kept))
}

/// What a JSON text of these signs is read into.
fn text_leaf(text: &str, keep: &Keep) -> Node {
    leaf(&serde_json::Value::from(text).to_string(), keep)
}

/// A value of an attribute: a text or a whole number; others are not read.
fn any_value(value: Option<(u64, Wire<'_>)>, keep: &Keep) -> Node {
    match value {
        Some((1, Wire::Bytes(text))) => match std::str::from_utf8(text) {
            Ok(text) => text_leaf(text, keep),
            Err(_) => Node::Unread("must be UTF-8"),
        },
        // As JSON writes it, so that both come to the same. A negative number is its two's complement.
        Some((3, Wire::Varint(number))) => text_leaf(&number.cast_signed().to_string(), keep),
        None => Node::Null,
        _ => Node::Unread("must be a text or a whole number"),
    }
}
