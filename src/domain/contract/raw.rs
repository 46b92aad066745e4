//! The blocks of a document as they are written, before any name is looked up. An unknown field is an error.

use super::rights::{FactAttribute, FactKind, OnBreach};
use super::{Attribute, Confidence, DeductionPlace, Missing, Negative};
use crate::domain::money::Rounding;
use crate::domain::period::PeriodUnit;
use crate::domain::register::{Cloud, Deployment, Party, Product, ProductGroup};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use toml::Spanned;

type Blocks<T> = BTreeMap<String, Spanned<T>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawDocument {
    pub contract: Option<Spanned<RawContract>>,
    pub version: Option<Spanned<RawVersion>>,
    #[serde(default)]
    pub party: Blocks<Party>,
    #[serde(default)]
    pub cloud: Blocks<Cloud>,
    #[serde(default)]
    pub product: Blocks<Product>,
    #[serde(default)]
    pub group: Blocks<ProductGroup>,
    #[serde(default)]
    pub deployment: Blocks<Deployment>,
    #[serde(default)]
    pub parameter: Blocks<RawParameter>,
    #[serde(default)]
    pub figure: Blocks<RawFigure>,
    #[serde(default)]
    pub fact: Blocks<RawFact>,
    #[serde(default)]
    pub base: Blocks<RawBase>,
    #[serde(default)]
    pub term: Blocks<RawTerm>,
    #[serde(default)]
    pub right: Blocks<RawRight>,
}

/// Where a number or reading comes from; any block may say so.
#[derive(Clone, Default)]
pub struct Provenance {
    pub source: Option<String>,
    pub confidence: Option<Confidence>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawContract {
    pub id: String,
    pub zone: Spanned<String>,
    pub currency: Spanned<String>,
    pub period: PeriodUnit,
    pub rounding: Rounding,
    pub negative: Negative,
    pub source: Option<String>,
    pub confidence: Option<Confidence>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawVersion {
    pub number: u32,
    pub effective: Spanned<toml::Value>,
    pub contract: Option<Spanned<String>>,
    pub source: Option<String>,
    pub confidence: Option<Confidence>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawParameter {
    pub value: toml::Value,
    pub source: Option<String>,
    pub confidence: Option<Confidence>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawFigure {
    pub unit: Spanned<String>,
    pub kind: FlowKind,
    pub by: Spanned<String>,
    pub missing: Missing,
}

/// Levels (an index, a headcount) are not read yet, so they are refused.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowKind {
    Flow,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawFact {
    pub kind: FactKind,
    pub by: Spanned<String>,
    #[serde(default)]
    pub about: BTreeSet<FactAttribute>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawBase {
    pub select: Vec<RawSelector>,
    #[serde(default)]
    pub less: Vec<RawDeductions>,
    pub source: Option<String>,
    pub confidence: Option<Confidence>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RawSelector {
    Charges(BTreeMap<Attribute, Spanned<OneOrMore>>),
    Figure(Spanned<String>),
    Accrual(Spanned<String>),
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawDeductions {
    pub deductions: Vec<String>,
    pub at: DeductionPlace,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTerm {
    pub payer: Spanned<String>,
    pub payee: Spanned<String>,
    pub rate: Spanned<toml::Value>,
    pub of: Spanned<String>,
    pub from: Option<Spanned<toml::Value>>,
    pub through: Option<Spanned<toml::Value>>,
    pub until: Option<Spanned<String>>,
    pub cap: Option<Spanned<RawCap>>,
    pub due: Option<Spanned<String>>,
    pub source: Option<String>,
    pub confidence: Option<Confidence>,
}

/// One of three kinds: `first`, `only`, or `licensor` with `licensee`. Fields of another kind are refused.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRight {
    pub first: Option<Spanned<String>>,
    pub lead: Option<Spanned<String>>,
    pub release: Option<Spanned<String>>,
    pub waivers: Option<Vec<Spanned<String>>>,
    pub only: Option<Spanned<BTreeMap<Attribute, Spanned<OneOrMore>>>>,
    pub licensor: Option<Spanned<String>>,
    pub licensee: Option<Spanned<String>>,
    pub exclusive: Option<bool>,
    pub products: Spanned<OneOrMore>,
    pub from: Option<Spanned<toml::Value>>,
    pub through: Option<Spanned<toml::Value>>,
    pub until: Option<Spanned<String>>,
    #[serde(default)]
    pub on_breach: OnBreach,
    pub source: Option<String>,
    pub confidence: Option<Confidence>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCap {
    pub is: Spanned<toml::Value>,
    pub each: CapWindow,
    pub from: Spanned<toml::Value>,
    pub opening: Spanned<toml::Value>,
    pub excess: Excess,
}

/// Caps that reset by the year are not read yet, so they are refused.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapWindow {
    Term,
}

/// Deferred excess is not read yet, so it is refused.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Excess {
    Lost,
}
