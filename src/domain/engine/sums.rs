//! What the leaves of a node come to in a window, told apart by what they are of: a version may word them in another order.

use super::item::AttributesId;
use super::node::Leaf;
use super::table::Bands;
use crate::domain::contract::measure::Measure;
use crate::domain::contract::value::Table;
use crate::domain::money::Exact;
use std::collections::BTreeMap;
use std::rc::Rc;

/// By measure, and how many leaves of the same stand before it.
#[derive(Clone, Debug, Default)]
pub(super) struct LeafSums {
    sums: BTreeMap<(Measure, usize), LeafSum>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct LeafSum {
    pub amount: Exact,
    /// What is multiplied at the end with the rate that is reached then: by the wording and attributes of the items.
    pub banded: BTreeMap<(*const Table, AttributesId), (Rc<Bands>, Exact)>,
}

impl LeafSums {
    /// Adds what passes to the leaves of a node, in their order; to some by the bands of which one is told at the end.
    pub fn add(&mut self, leaves: &[Leaf<'_>], added: Vec<(Exact, Option<Rc<Bands>>)>, attributes: AttributesId) {
        for (place, (leaf, (added, bands))) in leaves.iter().zip(added).enumerate() {
            let nth = leaves.iter().take(place).filter(|before| before.of == leaf.of).count();
            let sum = self.sums.entry((leaf.of.clone(), nth)).or_default();
            match bands {
                None => sum.amount += &added,
                Some(bands) => {
                    let key = (std::ptr::from_ref(leaf.table), attributes);
                    let (_, sum) = sum.banded.entry(key).or_insert_with(|| (bands, Exact::zero()));
                    *sum += &added;
                }
            }
        }
    }

    /// Of the leaf of a measure, where `nth` leaves before it are of the same.
    pub fn of(&self, measure: &Measure, nth: usize) -> Option<&LeafSum> {
        self.sums.get(&(measure.clone(), nth))
    }
}
