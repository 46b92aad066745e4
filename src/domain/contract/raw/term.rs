//! Terms, amounts and rights as they are written; the fields of a node stand in each block that is one.

use super::super::Confidence;
use super::super::measure::{DayCount, Place};
use super::super::rights::OnBreach;
use super::super::term::{Carry, Excess, IfNone, Read, Rest, Shortfall, TailItems, Tax};
use super::super::window::ProRata;
use super::{Named, OneOrMore, Provenance, RawAs, RawFilter, RawValue, with_source};
use serde::Deserialize;
use toml::Spanned;

/// The fields of a node, wherever they stand.
#[derive(Clone, Copy)]
pub struct NodeFields<'a> {
    pub of: Option<&'a Spanned<String>>,
    pub rate: Option<&'a Spanned<RawValue>>,
    pub annual: Option<&'a Spanned<DayCount>>,
    pub price: Option<&'a Spanned<RawValue>>,
    pub per_units: Option<&'a Spanned<RawValue>>,
    pub part_block: Option<&'a Spanned<RawPartBlock>>,
    pub block_from: Option<&'a Spanned<RawValue>>,
    pub fixed: Option<&'a Spanned<RawValue>>,
    pub greater_of: Option<&'a Spanned<Vec<Spanned<RawNode>>>>,
    pub lesser_of: Option<&'a Spanned<Vec<Spanned<RawNode>>>>,
    pub sum: Option<&'a Spanned<Vec<Spanned<RawNode>>>>,
    pub times: &'a [Spanned<RawValue>],
    pub less: &'a [Spanned<RawNode>],
}

/// Adds the fields of a node to those of a block, and its source where `$with` is `with_source`.
macro_rules! with_node {
    ($with:ident; $($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$of_field:meta])* pub $field:ident: $type:ty,)*
    })*) => {$(
        $with! {
            $(#[$meta])*
            pub struct $name {
                $($(#[$of_field])* pub $field: $type,)*
                pub of: Option<Spanned<String>>,
                pub rate: Option<Spanned<RawValue>>,
                pub annual: Option<Spanned<DayCount>>,
                pub price: Option<Spanned<RawValue>>,
                pub per_units: Option<Spanned<RawValue>>,
                pub part_block: Option<Spanned<RawPartBlock>>,
                pub block_from: Option<Spanned<RawValue>>,
                pub fixed: Option<Spanned<RawValue>>,
                pub greater_of: Option<Spanned<Vec<Spanned<RawNode>>>>,
                pub lesser_of: Option<Spanned<Vec<Spanned<RawNode>>>>,
                pub sum: Option<Spanned<Vec<Spanned<RawNode>>>>,
                #[serde(default)]
                pub times: Vec<Spanned<RawValue>>,
                #[serde(default)]
                pub less: Vec<Spanned<RawNode>>,
            }
        }

        impl $name {
            pub fn node(&self) -> NodeFields<'_> {
                NodeFields {
                    of: self.of.as_ref(),
                    rate: self.rate.as_ref(),
                    annual: self.annual.as_ref(),
                    price: self.price.as_ref(),
                    per_units: self.per_units.as_ref(),
                    part_block: self.part_block.as_ref(),
                    block_from: self.block_from.as_ref(),
                    fixed: self.fixed.as_ref(),
                    greater_of: self.greater_of.as_ref(),
                    lesser_of: self.lesser_of.as_ref(),
                    sum: self.sum.as_ref(),
                    times: &self.times,
                    less: &self.less,
                }
            }
        }
    )*};
}

macro_rules! plain {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$of_field:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$of_field])* pub $field: $type,)*
        }
    };
}

with_node! { plain;
    /// A node within another.
    pub struct RawNode {}

    /// What reduces a base: deductions, a measure, or a node; and where that stands.
    pub struct RawLess {
        pub deductions: Option<Spanned<Vec<String>>>,
        pub figure: Option<Spanned<String>>,
        pub accrual: Option<Spanned<String>>,
        pub r#as: Option<Spanned<RawAs>>,
        pub base: Option<Spanned<String>>,
        pub amount: Option<Spanned<String>>,
        pub at: Option<Place>,
    }
}

with_node! { with_source;
    pub struct RawAmount {
        pub from: Option<Spanned<RawValue>>,
        pub through: Option<Spanned<RawValue>>,
        pub until: Option<Spanned<OneOrMore<String>>>,
        pub each: Option<Spanned<String>>,
        #[serde(default)]
        pub per: Vec<Spanned<String>>,
        pub tiers: Option<Spanned<RawTiers>>,
        pub r#in: Option<Spanned<String>>,
        pub pro_rata: Option<Spanned<ProRata>>,
    }

    pub struct RawTerm {
        pub payer: Spanned<String>,
        pub payee: Spanned<OneOrMore<Named<RawPayee>>>,
        pub from: Option<Spanned<RawValue>>,
        pub through: Option<Spanned<RawValue>>,
        pub until: Option<Spanned<OneOrMore<String>>>,
        pub lasts: Option<Spanned<String>>,
        pub r#while: Option<Spanned<String>>,
        pub tail: Option<Spanned<RawTail>>,
        pub each: Option<Spanned<String>>,
        pub on: Option<Spanned<RawValue>>,
        pub at_most: Option<Spanned<u32>>,
        #[serde(default)]
        pub per: Vec<Spanned<String>>,
        pub tiers: Option<Spanned<RawTiers>>,
        pub cap: Option<Spanned<Named<RawCap>>>,
        pub minimum: Option<Spanned<RawMinimum>>,
        #[serde(default)]
        pub credits: Vec<Spanned<RawCredit>>,
        pub once: Option<String>,
        pub r#in: Option<Spanned<String>>,
        pub due: Option<Spanned<OneOrMore<Named<RawInstalment>>>>,
        pub at_window_end: Option<bool>,
        pub tax: Option<Tax>,
        pub pro_rata: Option<Spanned<ProRata>>,
        #[serde(default)]
        pub above_one: bool,
        /// Computed for what draws on it, and owed by nobody.
        #[serde(default)]
        pub input: bool,
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawPartBlock {
    Whole,
    None,
    Exact,
    Running,
    Started,
}

/// A payee with its part, or how a pool is shared.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPayee {
    pub party: Option<Spanned<String>>,
    pub part: Option<Spanned<RawValue>>,
    pub each: Option<Spanned<String>>,
    pub by: Option<Spanned<String>>,
    #[serde(default)]
    pub parties: std::collections::BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    pub parts: Vec<RawPoolPart>,
    pub if_none: Option<IfNone>,
}

/// What of a pool's usage belongs to a party.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPoolPart {
    pub party: Spanned<String>,
    pub r#where: Spanned<RawFilter>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTail {
    pub lasts: Spanned<String>,
    #[serde(default = "all_items")]
    pub of: TailItems,
    pub r#where: Option<Spanned<RawFilter>>,
}

fn all_items() -> TailItems {
    TailItems::All
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTiers {
    pub apply: RawApply,
    pub each: Option<Spanned<String>>,
    pub from: Option<Spanned<RawValue>>,
    pub of: Option<Spanned<String>>,
    pub read: Option<Read>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawApply {
    Marginal,
    Whole,
    Level,
}

with_source! {
    pub struct RawCap {
        pub is: Spanned<RawValue>,
        pub each: Spanned<String>,
        pub from: Spanned<RawValue>,
        pub opening: Spanned<RawValue>,
        pub excess: Excess,
        #[serde(default)]
        pub per: Vec<Spanned<String>>,
        pub pro_rata: Option<Spanned<ProRata>>,
        /// Of a shared cap, what its terms are owed in.
        pub r#in: Option<Spanned<String>>,
    }

    /// One of three kinds: `first`, `only`, or `licensor` with `licensee`. Fields of another kind are refused.
    pub struct RawRight {
        pub first: Option<Spanned<String>>,
        pub lead: Option<Spanned<String>>,
        pub release: Option<Spanned<String>>,
        pub waivers: Option<Vec<Spanned<String>>>,
        pub only: Option<Spanned<RawFilter>>,
        pub licensor: Option<Spanned<String>>,
        pub licensee: Option<Spanned<String>>,
        pub exclusive: Option<bool>,
        pub products: Spanned<OneOrMore<String>>,
        pub from: Option<Spanned<RawValue>>,
        pub through: Option<Spanned<RawValue>>,
        pub until: Option<Spanned<OneOrMore<String>>>,
        #[serde(default)]
        pub on_breach: OnBreach,
    }
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawMinimum {
    pub is: Spanned<RawValue>,
    pub each: Spanned<String>,
    pub of: Option<Spanned<OneOrMore<String>>>,
    #[serde(default)]
    pub cumulative: bool,
    #[serde(default)]
    pub carry: Carry,
    pub carry_limit: Option<Spanned<RawValue>>,
    pub carry_for: Option<Spanned<u32>>,
    #[serde(default = "due")]
    pub shortfall: Shortfall,
    #[serde(default)]
    pub outside_cap: bool,
    pub due: Option<Spanned<String>>,
    pub pro_rata: Option<Spanned<ProRata>>,
}

fn due() -> Shortfall {
    Shortfall::Due
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCredit {
    pub of: Spanned<String>,
    pub rest: Rest,
    pub limit: Option<Spanned<RawValue>>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawInstalment {
    pub part: Spanned<RawValue>,
    pub due: Spanned<String>,
}
