//! What the leaves of a node come to in a window, told apart by what they are of: a version may word them in another order.

use super::item::AttributesId;
use super::leaf::Added;
use super::node::Leaf;
use super::table::Bands;
use crate::domain::contract::measure::Measure;
use crate::domain::contract::value::Table;
use crate::domain::money::Exact;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Of each leaf.
#[derive(Clone, Debug, Default)]
pub(super) struct LeafSums {
    sums: Vec<(Measure, usize, LeafSum)>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct LeafSum {
    pub amount: Exact,
    /// What is multiplied at the end with the rate that is reached then: by the wording and attributes of the items.
    pub banded: BTreeMap<(*const Table, AttributesId), (Rc<Bands>, Exact)>,
}

impl LeafSums {
    /// Adds what passes to the leaves of a node, in their order.
    pub fn add(&mut self, leaves: &[Leaf<'_>], added: Vec<Added>, attributes: AttributesId) {
        for (place, (leaf, added)) in leaves.iter().zip(added).enumerate() {
            let nth = leaves.iter().take(place).filter(|before| before.of == leaf.of).count();
            if self.of(leaf.of, nth).is_none() {
                self.sums.push((leaf.of.clone(), nth, LeafSum::default()));
            }
            let sum = self.sums.iter_mut().find(|(of, place, _)| of == leaf.of && *place == nth);
            let Some((_, _, sum)) = sum else { continue };
            match added {
                Added::Amount(amount) => sum.amount += &amount,
                Added::Banded(bands, quantity) => {
                    let key = (std::ptr::from_ref(leaf.table), attributes);
                    let (_, sum) = sum.banded.entry(key).or_insert_with(|| (bands, Exact::zero()));
                    *sum += &quantity;
                }
            }
        }
    }

    /// Of the leaf of a measure, where `nth` leaves before it are of the same.
    pub fn of(&self, measure: &Measure, nth: usize) -> Option<&LeafSum> {
        self.sums.iter().find(|(of, place, _)| of == measure && *place == nth).map(|(_, _, sum)| sum)
    }
}
