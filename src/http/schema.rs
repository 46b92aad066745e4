//! How values of our own kinds are described: most as text, instants and dates by their formats, bytes, and what amounts
//! are in as two fields.

use crate::domain::calendar::Period;
use crate::domain::money::{Currency, Exact, Unit};
use crate::http::input::InstantOrDate;
use std::borrow::Cow;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

macro_rules! texts {
    ($($kind:ty = $name:literal, $pattern:literal, $description:literal;)*) => {$(
        impl PartialSchema for $kind {
            fn schema() -> RefOr<Schema> {
                let object = ObjectBuilder::new().schema_type(Type::String).pattern(Some($pattern));
                RefOr::T(Schema::Object(object.description(Some($description)).build()))
            }
        }

        impl ToSchema for $kind {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    )*};
}

texts! {
    Exact = "Exact", "^-?[0-9]+([.][0-9]+|/[0-9]+)?$",
        "An exact number: a decimal where there is a finite one, else a fraction such as 1/3.";
    Currency = "Currency", "^[A-Z]{3}$", "An ISO 4217 code.";
    Period = "Period", "^[0-9]{4}(-(0[1-9]|1[0-2]|Q[1-4])|-[0-9]{2}-[0-9]{2}/[0-9]{4}-[0-9]{2}-[0-9]{2})?$",
        "A month 2026-05, a quarter 2026-Q2, a year 2026, or the first and the last day 2026-05-15/2026-06-14.";
}

impl PartialSchema for Unit {
    fn schema() -> RefOr<Schema> {
        let currency = ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("An ISO 4217 code, or the name of a unit that the contract declares."));
        let digits = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(0_u32))
            .description(Some("Digits after the point in which it is paid."));
        let fields = ObjectBuilder::new().property("currency", currency).property("digits", digits);
        RefOr::T(Schema::Object(fields.required("currency").required("digits").build()))
    }
}

impl ToSchema for Unit {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Unit")
    }
}

impl PartialSchema for InstantOrDate {
    fn schema() -> RefOr<Schema> {
        let either = [KnownFormat::DateTime, KnownFormat::Date].map(text_in).into_iter();
        let one_of = either.fold(OneOfBuilder::new(), OneOfBuilder::item);
        let description = "An instant with its zone, or a date for its first instant in UTC.";
        RefOr::T(Schema::OneOf(one_of.description(Some(description)).build()))
    }
}

impl ToSchema for InstantOrDate {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("InstantOrDate")
    }
}

/// A body that is no text, such as a PDF.
pub struct Binary;

impl PartialSchema for Binary {
    fn schema() -> RefOr<Schema> {
        RefOr::T(Schema::Object(text_in(KnownFormat::Binary).build()))
    }
}

impl ToSchema for Binary {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Binary")
    }
}

fn text_in(format: KnownFormat) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(format)))
}
