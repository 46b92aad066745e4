//! What an amount of a statement is made of before its cap: so much of each thing that its term is of, times its factors.

use crate::domain::contract::Version;
use crate::domain::contract::term::Term;
use crate::domain::engine::addend::{Addend, AddendOf, Factor};
use crate::domain::money::Exact;
use serde::{Deserialize, Serialize};

/// One addend. Those of a version sum to what is uncapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
pub struct DetailAddend {
    /// `Net Sales`, `a sum as stated`, `the minimum`.
    pub of: String,
    /// How much there was of it; of a sum, how often it is due. What is left out of a window longer than a period is told
    /// to date.
    pub measured: Exact,
    /// The currency or declared unit of that; none of a plain number.
    pub unit: Option<String>,
    /// How many blocks that is, where a price is for several units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<Exact>,
    /// From the inside out: rates, prices, sums, and what they are multiplied with.
    pub factors: Vec<Factor>,
    /// What all of that comes to.
    pub amount: Exact,
}

impl DetailAddend {
    pub(super) fn new(addend: &Addend, (version, term): (&Version, &Term)) -> Self {
        let is_number = match &addend.of {
            AddendOf::Measure(measure) => version.is_number(measure),
            AddendOf::Stated => true,
            AddendOf::Minimum | AddendOf::TowardMinimum | AddendOf::Carried => false,
        };
        Self {
            of: addend.of.to_string(),
            measured: addend.measured.clone(),
            unit: (!is_number).then(|| term.unit.to_string()),
            blocks: addend.is_in_blocks.then(|| addend.counted.clone()),
            factors: addend.factors.clone(),
            amount: addend.amount(),
        }
    }
}
