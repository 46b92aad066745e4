//! The fields of a usage record: each known, none twice, every value by its text.

use super::redact::{Text, is_identifier, text_of};
use super::{Fault, MAX_NAME_BYTES, RejectionReason as Reason, fault, number};
use crate::domain::period::{Instant, parse_instant};
use crate::domain::usage::{Meter, Quantities, RequestOutcome, UsageAttribute, UsageAttributes};
use rust_decimal::Decimal;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::{self, Display};

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

/// The members that hold an object of fields, wherever they stand.
const OBJECTS: [&str; 3] = ["data", "attributes", "quantities"];

/// What stands under a name.
pub(super) enum Member<'a> {
    /// As it is written: a number keeps its text, so that no quantity goes through a float.
    Written(&'a RawValue),
    /// Of one of [`OBJECTS`]: read in the same pass as what it stands in, as most of an event is such.
    Object(Members<'a>),
    /// Where an object belongs.
    Null,
    NoObject,
}

/// The members of a JSON object in their order; a repeated name is kept twice.
pub(super) struct Members<'a>(pub(super) Vec<(Cow<'a, str>, Member<'a>)>);

impl<'a> Member<'a> {
    /// That of a JSON string; none where it is another value.
    pub(super) fn text(&self) -> Option<Cow<'a, str>> {
        match self {
            Member::Written(written) => text_of(written),
            Member::Object(_) | Member::Null | Member::NoObject => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Members<'de>, A::Error> {
                collect(map)
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

fn collect<'de, A: MapAccess<'de>>(mut map: A) -> Result<Members<'de>, A::Error> {
    let mut members = Vec::with_capacity(8);
    while let Some(Text(name)) = map.next_key()? {
        let value = match OBJECTS.contains(&&*name) {
            true => map.next_value()?,
            false => Member::Written(map.next_value()?),
        };
        members.push((name, value));
    }
    Ok(Members(members))
}

/// Reads what stands where an object belongs.
impl<'de: 'a, 'a> Deserialize<'de> for Member<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Member<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Member<'de>, A::Error> {
                collect(map).map(Member::Object)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Member<'de>, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Member::NoObject)
            }

            fn visit_unit<E>(self) -> Result<Member<'de>, E> {
                Ok(Member::Null)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Member<'de>, E> {
                Ok(Member::NoObject)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Member<'de>, E> {
                Ok(Member::NoObject)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Member<'de>, E> {
                Ok(Member::NoObject)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Member<'de>, E> {
                Ok(Member::NoObject)
            }

            fn visit_str<E>(self, _: &str) -> Result<Member<'de>, E> {
                Ok(Member::NoObject)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// The fields of a record, all of them known, none of them twice.
pub(super) struct Fields<'a>(Vec<(Cow<'a, str>, Member<'a>)>);

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
    fn get(&self, name: &str) -> Option<&Member<'a>> {
        let value = self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value)?;
        match value {
            Member::Null => None,
            Member::Written(written) if written.get() == "null" => None,
            Member::Written(_) | Member::Object(_) | Member::NoObject => Some(value),
        }
    }

    fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, Fault> {
        let wrong = || fault(Reason::WrongField, format!("data.{name}: must be a string"));
        self.get(name).map(|value| value.text().ok_or_else(wrong)).transpose()
    }

    /// The members of one of [`OBJECTS`].
    fn object(&self, name: &str, of_what: &str) -> Result<Option<&Members<'a>>, Fault> {
        match self.get(name) {
            None => Ok(None),
            Some(Member::Object(members)) => Ok(Some(members)),
            Some(_) => Err(fault(Reason::WrongField, format!("data.{name}: must be an object of {of_what}"))),
        }
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
        let Some(members) = self.object("attributes", "texts by attribute")? else { return Ok(UsageAttributes::new()) };
        let mut attributes = UsageAttributes::new();
        for (name, value) in &members.0 {
            let attribute: UsageAttribute = name.parse().map_err(|_| unknown_attribute(name))?;
            let place = format!("data.attributes.{attribute}");
            let wrong = |problem: &str| fault(Reason::WrongField, format!("{place}: {problem}"));
            let value = value.text().ok_or_else(|| wrong("must be a string"))?;
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
        let Some(members) = self.object("quantities", "numbers by meter")? else { return Ok(None) };
        let mut quantities = Quantities::new();
        for (name, value) in &members.0 {
            let meter: Meter = name.parse().map_err(|_| unknown_meter(name))?;
            let Member::Written(value) = value else { return Err(unknown_meter(name)) };
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
