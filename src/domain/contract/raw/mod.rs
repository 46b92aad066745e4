//! The blocks of a document as they are written, before any name is looked up. An unknown field is an error.

mod term;
mod value;

pub use term::*;
pub use value::*;

use super::beside::{Against, AuditEdge, Meanwhile, Pick};
use super::measure::{Basis, BelowZero, DayCount};
use super::rights::{FactAttribute, FactKind};
use super::window::ProRata;
use super::{Assumed, Confidence, Negative, Straddling};
use crate::domain::money::Rounding;
use crate::domain::register::{Cloud, Deployment, Party, Product, ProductGroup};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use toml::Spanned;

pub type Blocks<T> = BTreeMap<String, Spanned<T>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub struct RawDocument {
    pub contract: Option<Spanned<RawContract>>,
    pub version: Option<Spanned<RawVersion>>,
    pub party: Blocks<Party>,
    pub cloud: Blocks<Cloud>,
    pub product: Blocks<Product>,
    pub group: Blocks<ProductGroup>,
    pub deployment: Blocks<Deployment>,
    pub unit: Blocks<RawUnit>,
    pub period: Blocks<RawPeriod>,
    pub calendar: Blocks<RawCalendar>,
    pub parameter: Blocks<RawParameter>,
    pub figure: Blocks<RawFigure>,
    pub fact: Blocks<RawFact>,
    pub base: Blocks<RawBase>,
    pub amount: Blocks<RawAmount>,
    pub cap: Blocks<RawCap>,
    pub term: Blocks<RawTerm>,
    pub right: Blocks<RawRight>,
    pub effect: Blocks<RawEffect>,
    pub open: Blocks<RawOpen>,
    pub audit: Option<Spanned<RawAudit>>,
    pub interest: Option<Spanned<RawInterest>>,
    pub fx: Option<Spanned<RawFx>>,
}

/// Where a number or reading comes from; any block may say so.
#[derive(Clone, Copy, Default)]
pub struct Provenance<'a> {
    pub source: Option<&'a String>,
    pub confidence: Option<Confidence>,
    pub note: Option<&'a String>,
}

/// Adds the fields by which a block says where it comes from.
macro_rules! with_source {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$of_field:meta])* pub $field:ident: $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$of_field])* pub $field: $type,)*
            source: Option<String>,
            confidence: Option<Confidence>,
            note: Option<String>,
        }

        impl $name {
            pub fn provenance(&self) -> Provenance<'_> {
                Provenance { source: self.source.as_ref(), confidence: self.confidence, note: self.note.as_ref() }
            }
        }
    )*};
}
use with_source;

with_source! {
    pub struct RawContract {
        pub id: String,
        pub zone: Spanned<String>,
        pub currency: Spanned<String>,
        pub period: Spanned<String>,
        pub rounding: Rounding,
        pub negative: Negative,
        pub pro_rata: Option<ProRata>,
        #[serde(default)]
        pub straddling: Straddling,
        #[serde(default)]
        pub assumed: Assumed,
        pub calendar: Option<Spanned<String>>,
    }

    pub struct RawVersion {
        pub number: u32,
        pub effective: Spanned<RawValue>,
        pub contract: Option<Spanned<String>>,
        pub signed: Option<Spanned<RawValue>>,
        pub recorded_at: Option<Spanned<RawValue>>,
        pub through: Option<Spanned<RawValue>>,
    }

    pub struct RawUnit {
        #[serde(default = "two")]
        pub digits: u32,
        pub rounding: Option<Rounding>,
        pub worth: Option<Spanned<String>>,
    }

    pub struct RawPeriod {
        pub every: Option<Spanned<String>>,
        pub from: Option<Spanned<RawValue>>,
        pub first_day: Option<Spanned<String>>,
        pub starts: Option<Spanned<Vec<Spanned<RawValue>>>>,
    }

    pub struct RawCalendar {
        pub holidays: Vec<Spanned<RawValue>>,
        pub weekend: Option<Vec<Spanned<String>>>,
    }

    pub struct RawParameter {
        pub value: Spanned<RawValue>,
        pub tiers: Option<Spanned<RawTiers>>,
        pub set_by: Option<Spanned<String>>,
        pub between: Option<Spanned<[Spanned<RawValue>; 2]>>,
        pub notice: Option<Spanned<String>>,
    }

    pub struct RawFigure {
        pub unit: Spanned<String>,
        pub kind: RawFigureKind,
        #[serde(default)]
        pub about: Vec<Spanned<String>>,
        pub by: Option<Spanned<String>>,
        pub due: Option<Spanned<String>>,
        pub missing: Option<Spanned<String>>,
        pub average_of: Option<Spanned<String>>,
        pub ratio_of: Option<[Spanned<String>; 2]>,
        pub growth_of: Option<Spanned<String>>,
        pub left_of: Option<Spanned<String>>,
        pub over: Option<Spanned<String>>,
    }

    pub struct RawFact {
        pub kind: FactKind,
        pub by: Option<Spanned<String>>,
        #[serde(default)]
        pub about: BTreeSet<FactAttribute>,
        pub value: Option<FactValue>,
        #[serde(default)]
        pub pick: Pick,
        #[serde(default)]
        pub skip: u32,
        pub lasts: Option<Spanned<String>>,
        pub evidence: Option<String>,
    }

    pub struct RawBase {
        pub select: Spanned<OneOrMore<RawSelector>>,
        #[serde(default)]
        pub less: Vec<Spanned<RawLess>>,
        pub basis: Option<Spanned<Basis>>,
        #[serde(default)]
        pub below_zero: BelowZero,
        pub above: Option<Spanned<RawAbove>>,
    }

    pub struct RawEffect {
        pub when: Spanned<RawWhen>,
        pub proposes: Spanned<String>,
    }

    pub struct RawOpen {
        pub agree: Option<String>,
        pub elsewhere: Option<String>,
        pub meanwhile: Meanwhile,
        pub replaces: Option<Spanned<String>>,
    }

    pub struct RawAudit {
        pub window: Option<Spanned<String>>,
        pub threshold: Option<Spanned<RawValue>>,
        pub edge: Option<AuditEdge>,
        pub against: Option<Against>,
        pub cost: Option<Spanned<String>>,
        pub by: Option<Spanned<String>>,
    }

    pub struct RawInterest {
        pub rate: Spanned<RawValue>,
        pub day_count: DayCount,
        pub from: Spanned<String>,
        pub each: Option<Spanned<String>>,
    }

    pub struct RawFx {
        pub date: Spanned<RawValue>,
        pub within: Option<Spanned<String>>,
        #[serde(default)]
        pub inverse: bool,
        pub cross: Option<Spanned<String>>,
        #[serde(default)]
        pub rates: Vec<Spanned<RawFxRate>>,
    }
}

/// A rate that the contract states itself: so many of `to` for one of `from`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawFxRate {
    pub from: Spanned<String>,
    pub to: Spanned<String>,
    pub rate: Spanned<RawValue>,
}

fn two() -> u32 {
    2
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawFigureKind {
    Flow,
    Level,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactValue {
    Party,
}

/// What a base selects, or what reduces it. Exactly one of the first fields says what.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSelector {
    pub charges: Option<Spanned<RawFilter>>,
    pub billings: Option<Spanned<RawFilter>>,
    pub units: Option<Spanned<RawFilter>>,
    pub facts: Option<Spanned<String>>,
    pub figure: Option<Spanned<String>>,
    pub accrual: Option<Spanned<String>>,
    pub base: Option<Spanned<String>>,
    pub amount: Option<Spanned<String>>,
    pub r#as: Option<Spanned<RawAs>>,
    pub r#where: Option<Spanned<RawFilter>>,
    pub not: Option<Spanned<OneOrMore<RawFilter>>>,
    pub valued_at: Option<Spanned<String>>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawAbove {
    pub is: Spanned<RawValue>,
    pub each: Spanned<String>,
    pub from: Spanned<RawValue>,
    pub of: Option<Spanned<String>>,
    #[serde(default)]
    pub per: Vec<Spanned<String>>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawWhen {
    pub of: Spanned<String>,
    pub each: Option<Spanned<String>>,
    pub period: Option<Spanned<RawOrdinals>>,
    pub over: Option<Spanned<String>>,
    pub reaches: Option<Spanned<RawValue>>,
    pub falls_below: Option<Spanned<RawValue>>,
}
