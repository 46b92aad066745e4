//! CloudEvents 1.0 with our canonical usage record as data: structured mode, binary mode, and JSON lines.
//!
//! Three types: `apportion.usage.v1` (an event, `time` is when it occurred), `apportion.usage.correction.v1`
//! and `apportion.usage.void.v1`. An unknown field of the record is refused by its name; unknown extension
//! attributes are allowed by the CloudEvents specification and dropped.

use super::fields::{Fields, Member, Members, check_name, read_instant};
use super::node::not_json;
use super::redact::{content_type, redact};
use super::{Fault, MAX_MESSAGE_BYTES, Origin, Rejection, RejectionReason as Reason, check_size, fault, reject_shape};
use crate::domain::ids::EventId;
use crate::domain::usage::{Amendment, AmendmentKind, Restatement, UsageContent, UsageEvent, UsageMessage};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

pub const USAGE_TYPE: &str = "apportion.usage.v1";
pub const CORRECTION_TYPE: &str = "apportion.usage.correction.v1";
pub const VOID_TYPE: &str = "apportion.usage.void.v1";
/// The content type of structured mode.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// The context attributes that a column of a table may hold.
pub(super) const ATTRIBUTES: [&str; 5] = ["id", "source", "time", "type", "specversion"];

/// The fields of the data that a column of a table may hold, beside attributes and quantities.
pub(super) const CELLS: [&str; 10] = [
    "deployment",
    "product",
    "customer",
    "service_tier",
    "outcome",
    "ended_at",
    "reply_id",
    "corrects",
    "voids",
    "occurred_at",
];

/// What every event needs, by its path, and how it is told where a table has no column of it.
pub(super) const NEEDED: [(&[&str], &str); 2] = [(&["id"], "id"), (&["source"], "source")];

/// What usage needs beside that, and corrections and voids do not.
pub(super) const NEEDED_BY_USAGE: [(&[&str], &str); 4] = [
    (&["time"], "time"),
    (&["data", "deployment"], "deployment"),
    (&["data", "product"], "product"),
    (&["data", "quantities"], "of a meter, such as input_tokens"),
];

/// A CloudEvent's context attributes and its data, whichever mode they came in.
#[derive(Default)]
struct Envelope<'a> {
    specversion: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
    datacontenttype: Option<Cow<'a, str>>,
    data: Option<Member<'a>>,
}

/// What an event tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub message: UsageMessage,
    /// The id of the reply that it reports. It is no part of what is reported: events that say the same with another
    /// one, or none, are the same.
    pub reply_id: Option<String>,
}

/// Decodes a Kafka message: binary mode if it has `ce_` headers, structured mode by its content type.
///
/// # Errors
/// A rejection, with the message reduced to what may be kept.
pub fn decode_message(headers: &[(&str, &[u8])], payload: Option<&[u8]>) -> Result<Told, Rejection> {
    let payload = payload.unwrap_or_default();
    let header = |name: &str| {
        let found = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    };
    let content = header("content-type").unwrap_or_default().to_ascii_lowercase();
    if content.starts_with("application/cloudevents") {
        if media_type(&content) == CONTENT_TYPE {
            return decode_structured(payload);
        }
        let expected = format!("content-type: structured mode is read as {CONTENT_TYPE} only");
        return Err(reject(fault(Reason::UnsupportedContentType, expected), payload));
    }
    if !headers.iter().any(|(key, _)| key.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("ce_"))) {
        let expected = format!("neither content-type {CONTENT_TYPE} nor ce_ headers");
        return Err(reject(fault(Reason::UnsupportedContentType, expected), payload));
    }
    match binary_attributes(headers) {
        Ok(attributes) => decode_binary(attributes, payload).map_err(|fault| {
            let attributes = binary_attributes(headers).unwrap_or_default();
            reject_binary(fault, &attributes, payload)
        }),
        // Without one of its attributes it is not the event that was sent: only its shape is kept.
        Err(fault) => Err(reject_shape(fault, payload)),
    }
}

/// The attributes in the headers of binary mode.
fn binary_attributes<'a>(headers: &[(&str, &'a [u8])]) -> Result<Envelope<'a>, Fault> {
    let header = |name: &str| {
        let mut given = headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let Some((_, value)) = given.next() else { return Ok(None) };
        if given.next().is_some() {
            return Err(fault(Reason::WrongAttribute, format!("{name}: given twice")));
        }
        let text =
            std::str::from_utf8(value).map_err(|_| fault(Reason::WrongAttribute, format!("{name}: must be UTF-8")))?;
        Ok(Some(Cow::Borrowed(text)))
    };
    Ok(Envelope {
        specversion: header("ce_specversion")?,
        id: header("ce_id")?,
        source: header("ce_source")?,
        kind: header("ce_type")?,
        time: header("ce_time")?,
        datacontenttype: header("content-type")?,
        data: None,
    })
}

/// Decodes a structured event: one JSON object, as a message's value or a line of a file.
///
/// # Errors
/// A rejection, with the bytes reduced to what may be kept.
pub fn decode_structured(bytes: &[u8]) -> Result<Told, Rejection> {
    read_structured(bytes).and_then(read_message).map_err(|fault| reject(fault, bytes))
}

/// Whether a structured event is ours, as its type says. One without a type is taken for ours, and refused as such.
pub fn is_ours(event: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'a, str>,
    }
    serde_json::from_slice::<Kind<'_>>(event).map_or(true, |event| event.kind.starts_with("apportion."))
}

/// Writes a message as a structured event that [`decode_structured`] reads back.
pub fn encode(message: &UsageMessage) -> Vec<u8> {
    let id = message.id();
    let mut event = Map::new();
    let mut put = |name: &str, value: Value| event.insert(name.to_owned(), value);
    put("specversion", json!("1.0"));
    put("id", json!(id.id));
    put("source", json!(id.source));
    put("datacontenttype", json!("application/json"));
    match message {
        UsageMessage::Event(UsageEvent { content, .. }) => {
            put("type", json!(USAGE_TYPE));
            put("time", json!(content.occurred_at));
            let mut data = Map::new();
            if let Some(ended_at) = content.ended_at {
                data.insert("ended_at".into(), json!(ended_at));
            }
            data.insert("deployment".into(), json!(content.deployment));
            data.insert("product".into(), json!(content.product));
            if !content.customer.is_empty() {
                data.insert("customer".into(), json!(content.customer));
            }
            data.insert("service_tier".into(), json!(content.service_tier));
            if let Some(outcome) = content.outcome {
                data.insert("outcome".into(), json!(outcome));
            }
            if !content.attributes.is_empty() {
                data.insert("attributes".into(), json!(content.attributes));
            }
            data.insert("quantities".into(), json!(content.quantities));
            put("data", Value::Object(data));
        }
        UsageMessage::Amendment(Amendment { target, kind: AmendmentKind::Void, .. }) => {
            put("type", json!(VOID_TYPE));
            put("data", json!({ "voids": target }));
        }
        UsageMessage::Amendment(Amendment { target, kind: AmendmentKind::Correction(restated), .. }) => {
            put("type", json!(CORRECTION_TYPE));
            let mut data = json!(restated);
            if let Value::Object(fields) = &mut data {
                fields.insert("corrects".into(), json!(target));
            }
            put("data", data);
        }
    }
    Value::Object(event).to_string().into_bytes()
}

fn reject(fault: Fault, bytes: &[u8]) -> Rejection {
    if fault.reason == Reason::MessageTooLarge {
        return reject_shape(fault, bytes);
    }
    let (redacted, is_json) = redact(bytes);
    let Fault { reason, detail } = fault;
    Rejection { reason, detail, origin: Origin::default(), content_type: content_type(is_json), redacted }
}

/// Keeps a binary message as the structured event that it stands for.
fn reject_binary(fault: Fault, attributes: &Envelope<'_>, payload: &[u8]) -> Rejection {
    let Ok(data) = serde_json::from_slice::<&RawValue>(payload) else {
        return reject(fault, payload);
    };
    let mut event = Map::new();
    let attributes = [
        ("specversion", &attributes.specversion),
        ("id", &attributes.id),
        ("source", &attributes.source),
        ("type", &attributes.kind),
        ("time", &attributes.time),
        ("datacontenttype", &attributes.datacontenttype),
    ];
    for (name, value) in attributes {
        if let Some(value) = value {
            event.insert(name.to_owned(), json!(value));
        }
    }
    let mut structured = Value::Object(event).to_string();
    structured.pop();
    if structured.len() > 1 {
        structured.push(',');
    }
    structured.push_str("\"data\":");
    structured.push_str(data.get());
    structured.push('}');
    reject(fault, structured.as_bytes())
}

fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

fn read_structured(bytes: &[u8]) -> Result<Envelope<'_>, Fault> {
    check_size(bytes, MAX_MESSAGE_BYTES)?;
    let members: Members<'_> = serde_json::from_str(utf8(bytes)?).map_err(|error| not_json(&error))?;
    let mut envelope = Envelope::default();
    for (name, value) in members.0 {
        let slot = match &*name {
            "specversion" => &mut envelope.specversion,
            "id" => &mut envelope.id,
            "source" => &mut envelope.source,
            "type" => &mut envelope.kind,
            "time" => &mut envelope.time,
            "datacontenttype" => &mut envelope.datacontenttype,
            "data" => {
                if envelope.data.replace(value).is_some() {
                    return Err(fault(Reason::WrongAttribute, "data: given twice"));
                }
                continue;
            }
            "data_base64" => return Err(fault(Reason::UnsupportedContentType, "data_base64: data must be JSON")),
            // An extension attribute.
            _ => continue,
        };
        let text = value.text().ok_or_else(|| fault(Reason::WrongAttribute, format!("{name}: must be a string")))?;
        if slot.replace(text).is_some() {
            return Err(fault(Reason::WrongAttribute, format!("{name}: given twice")));
        }
    }
    Ok(envelope)
}

/// Looked at once, rather than text by text.
fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|error| {
        fault(Reason::NotJson, format!("no JSON object: byte {} is not UTF-8", error.valid_up_to().saturating_add(1)))
    })
}

fn decode_binary<'a>(mut envelope: Envelope<'a>, payload: &'a [u8]) -> Result<Told, Fault> {
    check_size(payload, MAX_MESSAGE_BYTES)?;
    envelope.data = Some(serde_json::from_str(utf8(payload)?).map_err(|error| not_json(&error))?);
    read_message(envelope)
}

fn required<'a>(name: &str, value: Option<Cow<'a, str>>) -> Result<Cow<'a, str>, Fault> {
    let value = value.unwrap_or_default();
    if value.is_empty() {
        return Err(fault(Reason::WrongAttribute, format!("{name}: missing or empty")));
    }
    check_name(name, &value).map(|()| value)
}

fn read_message(envelope: Envelope<'_>) -> Result<Told, Fault> {
    let Envelope { specversion, id, source, kind, time, datacontenttype, data } = envelope;
    if required("specversion", specversion)? != "1.0" {
        return Err(fault(Reason::WrongAttribute, "specversion: must be 1.0"));
    }
    let is_json = |content: &str| {
        let media = media_type(content);
        media.eq_ignore_ascii_case("application/json")
    };
    if datacontenttype.is_some_and(|content| !is_json(&content)) {
        return Err(fault(Reason::UnsupportedContentType, "datacontenttype: must be application/json"));
    }
    let [source, id] = [required("source", source)?, required("id", id)?];
    let id = EventId { source: source.into_owned(), id: id.into_owned() };
    let kind = required("type", kind)?;
    if ![USAGE_TYPE, CORRECTION_TYPE, VOID_TYPE].contains(&&*kind) {
        let detail = format!("type: must be {USAGE_TYPE}, {CORRECTION_TYPE} or {VOID_TYPE}");
        return Err(fault(Reason::UnknownType, detail));
    }
    let data = data.ok_or_else(|| fault(Reason::MissingField, "data: missing"))?;
    let Member::Object(fields) = data else { return Err(fault(Reason::WrongField, "data: must be an object")) };
    let amendment = match &*kind {
        USAGE_TYPE => return read_event(id, time, fields),
        CORRECTION_TYPE => read_correction(id, fields)?,
        _ => read_void(id, fields)?,
    };
    Ok(Told { message: amendment, reply_id: None })
}

fn read_event(id: EventId, time: Option<Cow<'_, str>>, data: Members<'_>) -> Result<Told, Fault> {
    let known = [
        "ended_at",
        "deployment",
        "product",
        "customer",
        "service_tier",
        "outcome",
        "attributes",
        "quantities",
        "reply_id",
    ];
    let fields = Fields::read(data, &known)?;
    let time = time.ok_or_else(|| fault(Reason::WrongAttribute, "time: missing; it says when the usage occurred"))?;
    let missing = |name: &str| fault(Reason::MissingField, format!("data.{name}: missing"));
    let content = UsageContent {
        occurred_at: read_instant("time", &time)?,
        ended_at: fields.instant("ended_at")?,
        deployment: fields.name("deployment")?.ok_or_else(|| missing("deployment"))?,
        product: fields.name("product")?.ok_or_else(|| missing("product"))?,
        customer: fields.customer()?.unwrap_or_default(),
        service_tier: fields.name("service_tier")?.unwrap_or_else(|| "default".to_owned()),
        outcome: fields.outcome()?,
        // An empty one says no more than none.
        attributes: fields.attributes()?.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
        quantities: fields.quantities()?.ok_or_else(|| missing("quantities"))?,
    };
    if content.ends_before_start() {
        return Err(fault(Reason::EndsBeforeStart, "data.ended_at: lies before time, when the interval starts"));
    }
    let reply_id = fields.name("reply_id")?;
    Ok(Told { message: UsageMessage::Event(UsageEvent { id, content }), reply_id })
}

fn read_correction(id: EventId, data: Members<'_>) -> Result<UsageMessage, Fault> {
    let known = [
        "corrects",
        "occurred_at",
        "ended_at",
        "deployment",
        "product",
        "customer",
        "service_tier",
        "outcome",
        "attributes",
        "quantities",
    ];
    let fields = Fields::read(data, &known)?;
    let target = fields.name("corrects")?.ok_or_else(|| fault(Reason::MissingField, "data.corrects: missing"))?;
    let restated = Restatement {
        occurred_at: fields.instant("occurred_at")?,
        ended_at: fields.instant("ended_at")?,
        deployment: fields.name("deployment")?,
        product: fields.name("product")?,
        customer: fields.customer()?,
        service_tier: fields.name("service_tier")?,
        outcome: fields.outcome()?,
        attributes: fields.attributes()?,
        quantities: fields.quantities()?,
    };
    if restated == Restatement::default() {
        return Err(fault(Reason::NothingRestated, "data: a correction restates at least one field"));
    }
    Ok(UsageMessage::Amendment(Amendment { id, target, kind: AmendmentKind::Correction(restated) }))
}

fn read_void(id: EventId, data: Members<'_>) -> Result<UsageMessage, Fault> {
    let fields = Fields::read(data, &["voids"])?;
    let target = fields.name("voids")?.ok_or_else(|| fault(Reason::MissingField, "data.voids: missing"))?;
    Ok(UsageMessage::Amendment(Amendment { id, target, kind: AmendmentKind::Void }))
}

#[cfg(test)]
#[path = "cloudevents_tests.rs"]
mod tests;
