//! How the messages of a source are read: what configuration says of them, and what their carrier does.

use super::cloudevents::{CONTENT_TYPE, is_ours};
use super::fields::{check_name, read_instant};
use super::{Columns, Context, Decoded, Fault, Format, RejectionReason as Reason, decode, fault, reject_shape};
use crate::domain::period::Instant;
use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::str::FromStr;

/// The header by which a message names its own format.
const FORMAT_HEADER: &str = "apportion-format";

/// The headers that say of a record what it does not say itself, which in a file stand beside its own fields.
pub(super) const CARRIED: [&str; 3] = ["ce_id", "ce_source", "ce_time"];

/// What configuration says of messages where they do not say it themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Reader {
    pub format: Format,
    /// The source of records that name none: ids are unique within it.
    pub source: String,
    /// The zone of times that name none.
    #[serde(deserialize_with = "given")]
    pub zone: Option<Tz>,
    #[serde(deserialize_with = "given")]
    pub deployment: Option<String>,
    #[serde(deserialize_with = "given")]
    pub product: Option<String>,
    #[serde(deserialize_with = "given")]
    pub customer: Option<String>,
    /// The callers' tags that name the customer; the first that is there holds.
    pub customer_tags: Vec<String>,
}

/// A value of a setting that is empty where there is none.
fn given<'de, T: FromStr<Err: std::fmt::Display>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    (!text.is_empty()).then(|| text.parse()).transpose().map_err(serde::de::Error::custom)
}

/// What the carrier says of a record, most of it in the headers of a CloudEvent, for records that do not say it themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carrier {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Instant>,
    /// When it came. It is not part of what was reported: the same record sent again comes later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Instant>,
}

/// As what a rejected record was read: with what is kept of it, enough to read it again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub format: Format,
    /// The source of [`Reader::source`].
    pub source: String,
    pub carrier: Carrier,
}

type Headers<'a> = [(&'a str, &'a [u8])];

impl Reader {
    /// How many of some are of one source and format with another and read otherwise: a record that is read again names
    /// these two alone.
    pub fn ambiguous(readers: &[&Self]) -> usize {
        let differs = |a: &&&Self| readers.iter().any(|b| (&a.source, a.format) == (&b.source, b.format) && **a != *b);
        readers.iter().filter(differs).count()
    }

    /// Reads a message: what each of its records reports. One without a payload is empty. `received_at` is when it came,
    /// where its carrier tells.
    pub fn read(&self, headers: &Headers<'_>, payload: Option<&[u8]>, received_at: Option<Instant>) -> Vec<Decoded> {
        let payload = payload.unwrap_or_default();
        let carried = format_of(headers, self.format).and_then(|format| match format {
            Format::CloudEvents => Ok((format, Carrier::default())),
            _ => Ok((format, Carrier::of(headers, received_at)?)),
        });
        match carried {
            Ok((format, carrier)) => self.read_as(format, &carrier, headers, payload),
            // Without what its headers say it is not the record that was sent: only its shape is kept.
            Err(fault) => self.tell_origin(vec![Decoded::Rejected(reject_shape(fault, payload))], &Carrier::default()),
        }
    }

    /// Reads an event in structured mode that came then: one of ours, or a record of the reader's format.
    pub fn read_event(&self, event: &[u8], received_at: Instant) -> Vec<Decoded> {
        let (format, carrier) = match is_ours(event) {
            true => (Format::CloudEvents, Carrier::default()),
            false => (self.format, Carrier { received_at: Some(received_at), ..Carrier::default() }),
        };
        self.read_as(format, &carrier, &[("content-type", CONTENT_TYPE.as_bytes())], event)
    }

    /// Reads a record of a file: an event in structured mode, or a record of the reader's format, beside whose own fields
    /// may stand what a message's headers would say of it. A file says nothing of when a record came.
    pub fn read_record(&self, record: &[u8]) -> Vec<Decoded> {
        let structured = ("content-type", CONTENT_TYPE.as_bytes());
        match self.format {
            Format::CloudEvents => self.read(&[structured], Some(record), None),
            format if record.len() > format.max_bytes() => self.read(&[], Some(record), None),
            _ => match carried(record) {
                Ok(carried) => {
                    let carried = CARRIED.into_iter().zip(&carried);
                    let headers: Vec<_> =
                        carried.filter_map(|(name, text)| Some((name, text.as_ref()?.as_bytes()))).collect();
                    self.read(&headers, Some(record), None)
                }
                Err(fault) => self.reject(fault),
            },
        }
    }

    /// Reads a row of a table.
    pub fn read_row(&self, columns: &Columns, cells: &[&[u8]]) -> Vec<Decoded> {
        let record = match cells.iter().map(|cell| std::str::from_utf8(cell)).collect::<Result<Vec<_>, _>>() {
            _ if cells.len() != columns.count() => {
                Err(format!("{} cells; the header names {}", cells.len(), columns.count()))
            }
            Ok(cells) => Ok(columns.record(&cells)),
            Err(_) => Err("must be UTF-8".to_owned()),
        };
        match record {
            Ok(record) => self.read_record(record.as_bytes()),
            Err(detail) => self.reject(fault(Reason::WrongPacking, detail)),
        }
    }

    /// What a row that is longer than a record may be comes to, of which not all was kept.
    pub fn reject_too_long(&self) -> Vec<Decoded> {
        let detail = format!("a row of more than the {} bytes that a record may have", self.format.max_bytes());
        self.reject(fault(Reason::MessageTooLarge, detail))
    }

    /// What cannot be taken for a record, of which nothing is kept: a file is read again as it is.
    fn reject(&self, fault: Fault) -> Vec<Decoded> {
        let mut rejection = reject_shape(fault, b"");
        rejection.origin.format = self.format;
        self.tell_origin(vec![Decoded::Rejected(rejection)], &Carrier::default())
    }

    /// Reads what was kept of a rejected record.
    pub fn read_again(&self, format: Format, carrier: &Carrier, kept: &[u8]) -> Vec<Decoded> {
        self.read_as(format, carrier, &[("content-type", CONTENT_TYPE.as_bytes())], kept)
    }

    fn read_as(&self, format: Format, carrier: &Carrier, headers: &Headers<'_>, payload: &[u8]) -> Vec<Decoded> {
        let context = Context {
            source: carrier.source.as_deref().unwrap_or(&self.source),
            zone: self.zone,
            id: carrier.id.as_deref(),
            occurred_at: carrier.occurred_at,
            received_at: carrier.received_at,
            deployment: self.deployment.as_deref(),
            product: self.product.as_deref(),
            customer: self.customer.as_deref(),
            customer_tags: &self.customer_tags,
            headers,
        };
        self.tell_origin(decode(format, payload, &context), carrier)
    }

    /// Says of what is rejected where it came from.
    fn tell_origin(&self, mut decoded: Vec<Decoded>, carrier: &Carrier) -> Vec<Decoded> {
        for record in &mut decoded {
            if let Decoded::Rejected(rejection) = record {
                rejection.origin.source.clone_from(&self.source);
                rejection.origin.carrier.clone_from(carrier);
            }
        }
        decoded
    }
}

/// What a record of a file says beside its own fields; of bytes that are no JSON object nothing.
fn carried(record: &[u8]) -> Result<[Option<String>; 3], Fault> {
    #[derive(Default, Deserialize)]
    struct Beside<'a> {
        #[serde(borrow)]
        ce_id: Option<&'a RawValue>,
        #[serde(borrow)]
        ce_source: Option<&'a RawValue>,
        #[serde(borrow)]
        ce_time: Option<&'a RawValue>,
    }
    let is_object = record.trim_ascii_start().starts_with(b"{");
    let beside = is_object.then(|| serde_json::from_slice::<Beside<'_>>(record).ok()).flatten().unwrap_or_default();
    let text = |name: &str, value: Option<&RawValue>| {
        let wrong = |_| fault(Reason::WrongAttribute, format!("{name}: must be a text"));
        value.map(|value| serde_json::from_str(value.get())).transpose().map_err(wrong)
    };
    let [id, source, time] = CARRIED;
    Ok([text(id, beside.ce_id)?, text(source, beside.ce_source)?, text(time, beside.ce_time)?])
}

fn format_of(headers: &Headers<'_>, or: Format) -> Result<Format, Fault> {
    let Some(name) = header(headers, FORMAT_HEADER)? else { return Ok(or) };
    let known = || Format::ALL.iter().map(|format| format.name()).collect::<Vec<_>>().join(", ");
    name.parse().map_err(|_| {
        fault(Reason::UnsupportedContentType, format!("{FORMAT_HEADER}: no such format; there is {}", known()))
    })
}

impl Carrier {
    fn of(headers: &Headers<'_>, received_at: Option<Instant>) -> Result<Self, Fault> {
        let name = |header_name| match header(headers, header_name)? {
            Some(text) => check_name(header_name, text).map(|()| Some(text.to_owned())),
            None => Ok(None),
        };
        let occurred_at = header(headers, "ce_time")?.map(|text| read_instant("ce_time", text)).transpose()?;
        Ok(Self { id: name("ce_id")?, source: name("ce_source")?, occurred_at, received_at })
    }
}

/// The text of a header; an empty one says nothing.
fn header<'a>(headers: &Headers<'a>, name: &str) -> Result<Option<&'a str>, Fault> {
    let Some((_, value)) = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)) else { return Ok(None) };
    let text = std::str::from_utf8(value);
    let text = text.map_err(|_| fault(Reason::WrongAttribute, format!("{name}: must be UTF-8")))?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::usage::UsageMessage;

    const REPLY: &str = r#"{"usage":{"inputTokens":7,"outputTokens":2,"totalTokens":9}}"#;

    fn converse() -> Reader {
        Reader {
            format: Format::BedrockConverse,
            source: "aws".into(),
            deployment: Some("bedrock-us".into()),
            product: Some("gpt-5.5".into()),
            ..Reader::default()
        }
    }

    fn event(decoded: &[Decoded]) -> (String, String, String) {
        let [Decoded::Usage(usage)] = decoded else { panic!("{decoded:?}") };
        let UsageMessage::Event(event) = &usage.message else { panic!("{usage:?}") };
        (event.id.source.clone(), event.id.id.clone(), event.content.occurred_at.to_rfc3339())
    }

    #[test]
    fn the_carrier_says_what_the_record_does_not() {
        let headers: [(&str, &[u8]); 2] = [("ce_id", b"r-1"), ("ce_time", b"2026-05-01T00:00:00Z")];
        let read = converse().read(&headers, Some(REPLY.as_bytes()), None);
        assert_eq!(event(&read), ("aws".into(), "r-1".into(), "2026-05-01T00:00:00+00:00".into()));
        let headers = [headers.as_slice(), &[("ce_source", b"aws-2".as_slice())]].concat();
        let read = converse().read(&headers, Some(REPLY.as_bytes()), None);
        assert_eq!(event(&read).0, "aws-2");
    }

    #[test]
    fn in_a_file_the_carriers_words_stand_beside_the_records() {
        let headers: [(&str, &[u8]); 2] = [("ce_id", b"r-1"), ("ce_time", b"2026-05-01T00:00:00Z")];
        let line = REPLY.replacen('{', r#"{"ce_id":"r-1","ce_time":"2026-05-01T00:00:00Z","ce_source":null,"#, 1);
        assert_eq!(converse().read_record(line.as_bytes()), converse().read(&headers, Some(REPLY.as_bytes()), None));
        for (wrong, detail) in [
            (line.replace("\"r-1\"", "1"), "ce_id: must be a text"),
            (line.replace("2026-05-01T00:00:00Z", "noon"), "ce_time: must be RFC 3339 with a zone"),
            (REPLY.to_owned(), "id: missing; neither the record nor its carrier says"),
        ] {
            let read = converse().read_record(wrong.as_bytes());
            let [Decoded::Rejected(rejection)] = read.as_slice() else { panic!("{read:?}") };
            assert_eq!((rejection.detail.as_str(), rejection.origin.source.as_str()), (detail, "aws"));
        }
    }

    #[test]
    fn when_the_carrier_says_that_it_occurred_is_reported_too() {
        let reported = |time: &[u8]| {
            let headers: [(&str, &[u8]); 2] = [("ce_id", b"r-1"), ("ce_time", time)];
            match converse().read(&headers, Some(REPLY.as_bytes()), None).as_slice() {
                [Decoded::Usage(usage)] => usage.reported,
                other => panic!("{other:?}"),
            }
        };
        let at = reported(b"2026-05-01T00:00:00Z");
        assert_eq!(at, reported(b"2026-05-01T02:00:00+02:00"));
        assert_ne!(at, reported(b"2026-05-01T00:00:01Z"));
    }

    /// OpenMeter's event without a time.
    const UNDATED: &str = r#"{"id":"m-1","source":"gateway","type":"t","subject":"c","data":{"prompt_tokens":7}}"#;

    fn openmeter() -> Reader {
        let [deployment, product] = ["gateway", "gpt-5.5"].map(|name| Some(name.to_owned()));
        Reader { format: Format::OpenMeter, deployment, product, ..Reader::default() }
    }

    #[test]
    fn where_nothing_says_when_it_occurred_it_did_when_it_came_for_a_format_that_says_so() {
        let at = |text| read_instant("at", text).ok();
        let [first, later] = ["2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z"].map(at);
        let usage = |decoded: Vec<Decoded>| match decoded.as_slice() {
            [Decoded::Usage(usage)] => (event(&decoded).2, usage.reported, usage.rules),
            other => panic!("{other:?}"),
        };
        let read = |received_at| usage(openmeter().read(&[], Some(UNDATED.as_bytes()), received_at));
        assert_eq!((read(first).0.as_str(), read(first).2), ("2026-05-01T00:00:00+00:00", "openmeter/1 received"));
        // What is sent again comes later, and is the same report.
        assert_eq!((read(later).0.as_str(), read(later).1), ("2026-05-02T00:00:00+00:00", read(first).1));
        let null = UNDATED.replacen('{', "{\"time\":null,", 1);
        assert_eq!(later.map(|at| usage(openmeter().read_event(null.as_bytes(), at))), Some(read(later)));
        // What says when it occurred is another report, whoever says it.
        let said = UNDATED.replacen('{', "{\"time\":\"2026-04-30T00:00:00Z\",", 1);
        let said = usage(openmeter().read(&[], Some(said.as_bytes()), later));
        assert_eq!(
            (said.0.as_str(), said.2, said.1 == read(later).1),
            ("2026-04-30T00:00:00+00:00", "openmeter/1", false)
        );
        let headers: [(&str, &[u8]); 1] = [("ce_time", b"2026-04-30T00:00:00Z")];
        let carried = usage(openmeter().read(&headers, Some(UNDATED.as_bytes()), later));
        assert_eq!((&carried.0, carried.2, carried.1 == read(later).1), (&said.0, "openmeter/1", false));
        // A file does not tell when its records came, and other formats say nothing of it.
        let reply = converse().read(&[("ce_id", b"r-1")], Some(REPLY.as_bytes()), later);
        for read in [openmeter().read_record(UNDATED.as_bytes()), reply] {
            let [Decoded::Rejected(rejection)] = read.as_slice() else { panic!("{read:?}") };
            assert_eq!(rejection.detail, "time: missing; neither the record nor its carrier says");
        }
    }

    #[test]
    fn what_came_without_a_time_and_was_rejected_is_read_again_with_when_it_came() {
        let received_at = read_instant("at", "2026-05-01T00:00:00Z").ok();
        let unconfigured = Reader { product: None, ..openmeter() };
        let read = unconfigured.read(&[], Some(UNDATED.as_bytes()), received_at);
        let [Decoded::Rejected(rejection)] = read.as_slice() else { panic!("{read:?}") };
        let Origin { format, carrier, .. } = &rejection.origin;
        let again = openmeter().read_again(*format, carrier, &rejection.redacted);
        assert_eq!(again, openmeter().read(&[], Some(UNDATED.as_bytes()), received_at));
    }

    #[test]
    fn what_is_rejected_is_read_again_as_it_was_read() {
        let headers: [(&str, &[u8]); 2] = [("ce_id", b"r-1"), ("ce_time", b"2026-05-01T00:00:00Z")];
        let mut reader = converse();
        reader.product = None;
        let read = reader.read(&headers, Some(REPLY.as_bytes()), None);
        let [Decoded::Rejected(rejection)] = read.as_slice() else { panic!("{read:?}") };
        let Origin { format, source, carrier } = &rejection.origin;
        assert_eq!((*format, source.as_str(), carrier.id.as_deref()), (Format::BedrockConverse, "aws", Some("r-1")));
        let again = converse().read_again(*format, carrier, &rejection.redacted);
        assert_eq!(event(&again).1, "r-1");
        // Sent again it is known: the same was reported.
        assert_eq!(again, converse().read(&headers, Some(REPLY.as_bytes()), None));
    }

    #[test]
    fn a_message_names_its_own_format() {
        let line = br#"{"specversion":"1.0","id":"e","source":"s","type":"apportion.usage.v1","time":"2026-05-01T00:00:00Z","data":{"deployment":"d","product":"p","quantities":{"requests":1}}}"#;
        let content_type = ("content-type", CONTENT_TYPE.as_bytes());
        let read = converse().read(&[content_type, ("Apportion-Format", b"cloudevents")], Some(line), None);
        assert_eq!(event(&read).1, "e");
        let read = converse().read(&[("apportion-format", b"xml")], Some(line), None);
        let [Decoded::Rejected(rejection)] = read.as_slice() else { panic!("{read:?}") };
        assert!(rejection.detail.starts_with("apportion-format: no such format; there is cloudevents, bedrock_"));
        assert_eq!(rejection.content_type, "application/octet-stream");
    }

    #[test]
    fn headers_that_cannot_be_read_and_empty_messages_are_rejected() {
        let reason = |headers: &Headers<'_>, payload| match converse().read(headers, payload, None).as_slice() {
            [Decoded::Rejected(rejection)] => rejection.reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(&[("ce_time", b"noon")], Some(REPLY.as_bytes())), Reason::WrongTime);
        assert_eq!(reason(&[("ce_id", &[b'x'; 257])], Some(REPLY.as_bytes())), Reason::NameTooLong);
        assert_eq!(reason(&[("ce_id", b"\xff")], Some(REPLY.as_bytes())), Reason::WrongAttribute);
        assert_eq!(reason(&[("ce_id", b"1")], None), Reason::EmptyMessage);
    }
}
