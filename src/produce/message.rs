//! A CloudEvent on its way out: the same event as a Kafka message in structured or binary mode, or as a
//! line of a file.

/// The topics of usage, one for each cloud that reports it.
pub const TOPICS: [&str; 5] = ["usage.direct", "usage.azure", "usage.aws", "usage.google", "usage.oracle"];

/// How a CloudEvent stands in a Kafka message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The whole event is the message's value.
    Structured,
    /// The attributes are `ce_` headers; the value is the data alone.
    Binary,
}

/// A CloudEvent before it is written. Faults can be put into it on purpose, so nothing here is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudEvent {
    /// Context attributes without `specversion`, in the order in which they are written. The values are
    /// our own names, numbers and times: nothing in them needs escaping.
    pub attributes: Vec<(&'static str, String)>,
    /// The data as JSON text.
    pub data: String,
}

impl CloudEvent {
    /// An attribute's value; the empty text where it has none.
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }

    /// Replaces an attribute, or adds it.
    pub fn set(&mut self, name: &'static str, value: String) {
        match self.attributes.iter_mut().find(|(key, _)| *key == name) {
            Some((_, slot)) => *slot = value,
            None => self.attributes.push((name, value)),
        }
    }
}

/// One message with the topic, the key and the mode that it is sent in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub topic: std::borrow::Cow<'static, str>,
    /// The id of the usage event concerned: an event, its repeats, its corrections and its voids share a
    /// partition, and so keep their order.
    pub key: String,
    pub mode: Mode,
    /// `None` is a message without content.
    pub event: Option<CloudEvent>,
}

impl Message {
    /// The event in structured mode, without a line end; empty for a message without content.
    pub fn line(&self) -> String {
        let Some(event) = &self.event else { return String::new() };
        let mut line = String::with_capacity(event.data.len().saturating_add(256));
        line.push_str("{\"specversion\":\"1.0\"");
        for (name, value) in &event.attributes {
            for part in [",\"", *name, "\":\"", value.as_str(), "\""] {
                line.push_str(part);
            }
        }
        line.push_str(",\"data\":");
        line.push_str(&event.data);
        line.push('}');
        line
    }

    /// The value of the Kafka message.
    pub fn value(&self) -> String {
        match (self.mode, &self.event) {
            (Mode::Binary, Some(event)) => event.data.clone(),
            (Mode::Structured, Some(_)) | (_, None) => self.line(),
        }
    }

    /// The headers of the Kafka message.
    pub fn headers(&self) -> Vec<(String, String)> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        match (self.mode, &self.event) {
            (Mode::Binary, Some(event)) => {
                let fixed = [pair("content-type", "application/json"), pair("ce_specversion", "1.0")];
                let attributes = event.attributes.iter().map(|(name, value)| pair(&format!("ce_{name}"), value));
                fixed.into_iter().chain(attributes).collect()
            }
            (Mode::Structured, _) | (_, None) => vec![pair("content-type", "application/cloudevents+json")],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_reads_the_same_in_both_modes() {
        let mut event = CloudEvent { attributes: vec![("id", "a".into())], data: r#"{"x":1}"#.into() };
        event.set("type", "t".into());
        let structured =
            Message { topic: "usage.aws".into(), key: "a".into(), mode: Mode::Structured, event: Some(event) };
        let line = r#"{"specversion":"1.0","id":"a","type":"t","data":{"x":1}}"#;
        assert_eq!((structured.line(), structured.value()), (line.into(), line.into()));
        let binary = Message { mode: Mode::Binary, ..structured };
        assert_eq!((binary.line(), binary.value()), (line.into(), r#"{"x":1}"#.into()));
        let headers = binary.headers();
        assert!(headers.contains(&("ce_id".into(), "a".into())) && headers.contains(&("ce_type".into(), "t".into())));
        let empty = Message { event: None, ..binary };
        assert_eq!((empty.line(), empty.value()), (String::new(), String::new()));
    }
}
