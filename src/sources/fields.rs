//! The fields of a usage record: each known, none twice, every value by its text.

use super::redact::{Members, is_identifier, text_of};
use super::{Fault, MAX_NAME_BYTES, RejectionReason as Reason, fault, number};
use crate::domain::period::{Instant, parse_instant};
use crate::domain::usage::{Meter, Quantities, RequestOutcome, UsageAttribute, UsageAttributes};
use rust_decimal::Decimal;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::Display;

pub(super) fn read_instant(place: impl Display, text: &str) -> Result<Instant, Fault> {
    let wrong = || fault(Reason::WrongTime, format!("{place}: must be RFC 3339 with a zone"));
    parse_instant(text).map_err(|_| wrong())
}

/// `place` is written out where something is wrong alone.
pub(super) fn check_name(place: impl Display, text: &str) -> Result<(), Fault> {
    if text.len() > MAX_NAME_BYTES {
        return Err(fault(Reason::NameTooLong, format!("{place}: longer than {MAX_NAME_BYTES} bytes")));
    }
    if text.contains('\0') {
        return Err(fault(Reason::NulCharacter, format!("{place}: holds a NUL character")));
    }
    Ok(())
}

/// The fields of a record, all of them known, none of them twice.
pub(super) struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Fields<'a> {
    pub(super) fn read(members: Members<'a>, known: &[&str]) -> Result<Self, Fault> {
        for (place, (name, _)) in members.0.iter().enumerate() {
            if !known.contains(&&**name) {
                let shown = if is_identifier(name) { &**name } else { "(no identifier)" };
                let detail = format!("data.{shown}: unknown; the fields are {}", known.join(", "));
                return Err(fault(Reason::UnknownField, detail));
            }
            if members.0.iter().take(place).any(|(earlier, _)| earlier == name) {
                return Err(fault(Reason::WrongField, format!("data.{name}: given twice")));
            }
        }
        Ok(Self(members.0))
    }

    /// A field that is absent or null is not given.
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(field, value)| field == name && value.get() != "null").map(|(_, value)| *value)
    }

    fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, Fault> {
        let wrong = || fault(Reason::WrongField, format!("data.{name}: must be a string"));
        self.get(name).map(|value| text_of(value).ok_or_else(wrong)).transpose()
    }

    /// The customer's key; an empty one means that none is named.
    pub(super) fn customer(&self) -> Result<Option<String>, Fault> {
        let text = self.text("customer")?;
        text.map(|text| check_name("data.customer", &text).map(|()| text.into_owned())).transpose()
    }

    pub(super) fn name(&self, name: &str) -> Result<Option<String>, Fault> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        check_name(format_args!("data.{name}"), &text)?;
        if text.is_empty() {
            return Err(fault(Reason::WrongField, format!("data.{name}: must not be empty")));
        }
        Ok(Some(text.into_owned()))
    }

    pub(super) fn instant(&self, name: &str) -> Result<Option<Instant>, Fault> {
        self.text(name)?.map(|text| read_instant(format_args!("data.{name}"), &text)).transpose()
    }

    /// The attributes that are given, empty ones too. Values are names: their bounds hold.
    pub(super) fn attributes(&self) -> Result<UsageAttributes, Fault> {
        let Some(value) = self.get("attributes") else { return Ok(UsageAttributes::new()) };
        let members: Members<'_> = serde_json::from_str(value.get())
            .map_err(|_| fault(Reason::WrongField, "data.attributes: must be an object of texts by attribute"))?;
        let mut attributes = UsageAttributes::new();
        for (name, value) in &members.0 {
            let attribute: UsageAttribute = name.parse().map_err(|_| unknown_attribute(name))?;
            let place = format!("data.attributes.{attribute}");
            let wrong = |problem: &str| fault(Reason::WrongField, format!("{place}: {problem}"));
            let value = text_of(value).ok_or_else(|| wrong("must be a string"))?;
            check_name(&place, &value)?;
            if attributes.insert(attribute, value.into_owned()).is_some() {
                return Err(wrong("given twice"));
            }
        }
        Ok(attributes)
    }

    pub(super) fn outcome(&self) -> Result<Option<RequestOutcome>, Fault> {
        // What stands there instead is not told: it may be anything.
        let wrong = |_| fault(Reason::WrongField, "data.outcome: the outcome of a request is \"ok\" or \"error\"");
        let parse = |text: Cow<'_, str>| text.parse::<RequestOutcome>().map_err(wrong);
        self.text("outcome")?.map(parse).transpose()
    }

    pub(super) fn quantities(&self) -> Result<Option<Quantities>, Fault> {
        let Some(value) = self.get("quantities") else { return Ok(None) };
        let members: Members<'_> = serde_json::from_str(value.get())
            .map_err(|_| fault(Reason::WrongField, "data.quantities: must be an object of numbers by meter"))?;
        let mut quantities = Quantities::new();
        for (name, value) in &members.0 {
            let meter: Meter = name.parse().map_err(|_| unknown_meter(name))?;
            if quantities.insert(meter, read_quantity(meter, value)?).is_some() {
                return Err(fault(Reason::WrongField, format!("data.quantities.{meter}: given twice")));
            }
        }
        if quantities.is_empty() {
            return Err(fault(Reason::WrongField, "data.quantities: names no meter"));
        }
        Ok(Some(quantities))
    }
}

fn unknown_attribute(name: &str) -> Fault {
    let shown = if is_identifier(name) { name } else { "(no identifier)" };
    let known = UsageAttribute::ALL.iter().map(|attribute| attribute.name()).collect::<Vec<_>>().join(", ");
    fault(Reason::UnknownAttribute, format!("data.attributes.{shown}: unknown; the attributes are {known}"))
}

fn unknown_meter(name: &str) -> Fault {
    let shown = if is_identifier(name) { name } else { "(no identifier)" };
    let known = Meter::ALL.iter().map(|meter| meter.name()).collect::<Vec<_>>().join(", ");
    fault(Reason::UnknownMeter, format!("data.quantities.{shown}: unknown; the meters are {known}"))
}

/// Reads a JSON number, or a string that holds one, by its text.
fn read_quantity(meter: Meter, value: &RawValue) -> Result<Decimal, Fault> {
    let text = value.get();
    let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let wrong = |expected: &str| fault(Reason::WrongQuantity, format!("data.quantities.{meter}: {expected}"));
    number::quantity(meter, text).map_err(|problem| match problem {
        number::WrongQuantity::Wrong(expected) => wrong(expected),
        number::WrongQuantity::Negative => {
            let detail = format!("data.quantities.{meter}: is negative; a correction restates the quantity");
            fault(Reason::NegativeQuantity, detail)
        }
    })
}
