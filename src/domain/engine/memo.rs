//! What was found out of things and attributes, such as whether a filter selects them, so that it is asked once.

use super::item::AttributesId;

/// Values by attributes and by where a thing of the agreements stands, of which each attributes see few.
pub(super) struct Memo<K: ?Sized, V> {
    by_attributes: Vec<Vec<Known<K, V>>>,
}

struct Known<K: ?Sized, V> {
    thing: *const K,
    value: V,
    /// Whether it is the same after the next boundary.
    lasts: bool,
}

impl<K: ?Sized, V> Memo<K, V> {
    pub fn get(&self, thing: *const K, of: AttributesId) -> Option<&V> {
        let known = self.by_attributes.get(of.place())?;
        known.iter().find(|known| std::ptr::addr_eq(known.thing, thing)).map(|known| &known.value)
    }

    /// Notes what was not known.
    pub fn insert(&mut self, thing: *const K, of: AttributesId, value: V, lasts: bool) {
        if self.by_attributes.len() <= of.place() {
            self.by_attributes.resize_with(of.place().saturating_add(1), Vec::new);
        }
        if let Some(known) = self.by_attributes.get_mut(of.place()) {
            known.push(Known { thing, value, lasts });
        }
    }

    /// Forgets what may not last beyond a boundary.
    pub fn pass_boundary(&mut self) {
        self.by_attributes.iter_mut().for_each(|known| known.retain(|it| it.lasts));
    }

    pub fn clear(&mut self) {
        self.by_attributes.iter_mut().for_each(Vec::clear);
    }
}

impl<K: ?Sized, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self { by_attributes: Vec::new() }
    }
}
