//! What the leaves of a node come to in a window, told apart by what they are of: a version may word them in another order.

use super::addend::{Addend, Addends};
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
    /// What the amount is made of, where somebody wants to know.
    pub addends: Addends,
    /// What is multiplied at the end with the rate that is reached then: by the wording and attributes of the items.
    pub banded: BTreeMap<(*const Table, AttributesId), Banded>,
}

#[derive(Clone, Debug)]
pub(super) struct Banded {
    pub bands: Rc<Bands>,
    pub quantity: Exact,
    pub addends: Addends,
}

/// What passes adds to a leaf.
pub(super) struct Added {
    pub amount: Exact,
    /// Where the end of the window tells which of them holds: the amount is a quantity.
    pub bands: Option<Rc<Bands>>,
    pub addends: Vec<Addend>,
}

impl LeafSums {
    /// Adds what passes to the leaves of a node, in their order.
    pub fn add(&mut self, leaves: &[Leaf<'_>], added: Vec<Added>, attributes: AttributesId) {
        for (place, (leaf, Added { amount, bands, addends })) in leaves.iter().zip(added).enumerate() {
            let nth = leaves.iter().take(place).filter(|before| before.of == leaf.of).count();
            let sum = self.sums.entry((leaf.of.clone(), nth)).or_default();
            let (sum, of_sum) = match bands {
                None => (&mut sum.amount, &mut sum.addends),
                Some(bands) => {
                    let key = (std::ptr::from_ref(leaf.table), attributes);
                    let empty = || Banded { bands, quantity: Exact::zero(), addends: Addends::default() };
                    let banded = sum.banded.entry(key).or_insert_with(empty);
                    (&mut banded.quantity, &mut banded.addends)
                }
            };
            *sum += &amount;
            addends.into_iter().for_each(|addend| of_sum.add(addend));
        }
    }

    /// Of the leaf of a measure, where `nth` leaves before it are of the same.
    pub fn of(&self, measure: &Measure, nth: usize) -> Option<&LeafSum> {
        self.sums.get(&(measure.clone(), nth))
    }
}
