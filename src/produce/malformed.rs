//! Messages that must be rejected, one kind of fault each.

use super::message::CloudEvent;
use super::usage::{Style, Usage, time};

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Empty,
    CutOff,
    NoZone,
    ImpossibleDay,
    NegativeQuantity,
    UnknownMeter,
    NoProduct,
    Prompt,
    UnknownType,
    HugeQuantity,
    NoId,
}

impl Fault {
    /// A message without content comes first.
    pub const ALL: [Fault; 11] = [
        Fault::Empty,
        Fault::CutOff,
        Fault::NoZone,
        Fault::ImpossibleDay,
        Fault::NegativeQuantity,
        Fault::UnknownMeter,
        Fault::NoProduct,
        Fault::Prompt,
        Fault::UnknownType,
        Fault::HugeQuantity,
        Fault::NoId,
    ];

    /// The reason for which ingest rejects it.
    pub fn reason(self) -> &'static str {
        match self {
            Fault::Empty => "empty_message",
            Fault::CutOff => "not_json",
            Fault::NoZone | Fault::ImpossibleDay => "wrong_time",
            Fault::NegativeQuantity => "negative_quantity",
            Fault::UnknownMeter => "unknown_meter",
            Fault::NoProduct => "missing_field",
            Fault::Prompt => "unknown_field",
            Fault::UnknownType => "unknown_type",
            Fault::HugeQuantity => "wrong_quantity",
            Fault::NoId => "wrong_attribute",
        }
    }
}

/// A usage event with the fault in it; nothing for a message without content.
pub fn event(fault: Fault, usage: &Usage) -> Option<CloudEvent> {
    let mut event = usage.cloud_event(Style::Plain);
    let at = time(usage.occurred_at, Style::Plain);
    match fault {
        Fault::Empty => return None,
        Fault::CutOff => event.data.truncate(event.data.len() / 2),
        Fault::NoZone => event.set("time", at.trim_end_matches('Z').to_owned()),
        Fault::ImpossibleDay => {
            let (month, clock) = (at.get(..8).unwrap_or_default(), at.get(10..).unwrap_or_default());
            event.set("time", format!("{month}99{clock}"));
        }
        Fault::NegativeQuantity => event.data = event.data.replace("\"requests\":1", "\"requests\":-1"),
        Fault::UnknownMeter => event.data = event.data.replace("\"requests\"", "\"smiles\""),
        Fault::NoProduct => {
            event.data = event.data.replace(&format!("\"product\":\"{}\",", usage.product), "");
        }
        Fault::Prompt => {
            let prompt = "{\"messages\":[{\"role\":\"user\",\"content\":\"a prompt that nobody may keep\"}],";
            event.data = event.data.replacen('{', prompt, 1);
        }
        Fault::UnknownType => event.set("type", "apportion.usage.v9".to_owned()),
        Fault::HugeQuantity => {
            event.data = event.data.replace("\"requests\":1", "\"requests\":99999999999999999999999999999999");
        }
        Fault::NoId => event.attributes.retain(|(name, _)| *name != "id"),
    }
    Some(event)
}
