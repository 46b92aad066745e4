//! Usage that breaks rights: it is left out of every base of the contract until it is released of all of them.

use crate::auditor::Auditor;
use crate::items::{Item, record_of};
use crate::model::{What, cloud};

impl Auditor<'_> {
    pub fn is_held(&self, contract: usize, item: &Item) -> bool {
        let Some(sale) = &item.sale else { return false };
        let Some(What::Usage(usage)) = record_of(&self.known, item.source, sale) else { return false };
        let Some(version) = self.in_force(contract, usage.at) else { return false };
        let breaks =
            version.holds.iter().filter(|it| it.product == usage.product && it.only != cloud(usage.deployment));
        breaks.map(|it| it.name).any(|broken| {
            // Of several decisions the last one that stands.
            let decided = self.known.records.iter().rev().find_map(|record| match &record.what {
                What::Decision { contract: of, right, of: event, releases } => {
                    let is_it = record.source == item.source && (*of, *right, event) == (contract, broken, sale);
                    is_it.then_some(*releases)
                }
                _ => None,
            });
            decided != Some(true)
        })
    }
}
