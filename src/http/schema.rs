//! How the domain's own kinds of values are described: each is written as text.

use crate::domain::money::{Currency, Exact};
use crate::domain::period::Period;
use crate::domain::schedule::{Job, RunOutcome, Standing};
use std::borrow::Cow;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
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
    Job = "Job", "^[a-z-]+$", "The name of a job, such as draft-statements.";
    RunOutcome = "RunOutcome", "^[a-z_]+$", "How a run ended: done, nothing_new, waiting, failed or lost.";
    Standing = "Standing", "^[a-z_]+$", "Where a job stands: not_begun, in_line, scheduled, due or running.";
    Period = "Period", "^[0-9]{4}(-(0[1-9]|1[0-2]|Q[1-4]))?$", "A month 2026-05, a quarter 2026-Q2 or a year 2026.";
}
