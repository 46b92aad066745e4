//! Lists whose places are named by a type of their own, so that a place of one is never taken for one of another.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// The place of a `T` in its arena.
pub struct Id<T> {
    place: u32,
    of: PhantomData<fn() -> T>,
}

/// Values that are only ever added, each under the place that `push` gives.
#[derive(Clone, Debug)]
pub struct Arena<T> {
    values: Vec<T>,
}

impl<T> Arena<T> {
    /// Adds a value. Four billion of them do not fit in memory, so that places do not run out.
    pub fn push(&mut self, value: T) -> Id<T> {
        let id = Id::new(self.values.len());
        self.values.push(value);
        id
    }

    pub fn iter(&self) -> impl Iterator<Item = (Id<T>, &T)> {
        self.values.iter().enumerate().map(|(place, value)| (Id::new(place), value))
    }
}

impl<T> Id<T> {
    fn new(place: usize) -> Self {
        Self { place: u32::try_from(place).unwrap_or(u32::MAX), of: PhantomData }
    }

    /// The place as a number, for tables beside the arena.
    pub fn place(self) -> usize {
        usize::try_from(self.place).unwrap_or(usize::MAX)
    }
}

// An id is only made by the arena that it is a place of, and nothing is ever taken out: it is always inside.
#[allow(clippy::indexing_slicing)]
impl<T> Index<Id<T>> for Arena<T> {
    type Output = T;

    fn index(&self, id: Id<T>) -> &T {
        &self.values[id.place()]
    }
}

#[allow(clippy::indexing_slicing)]
impl<T> IndexMut<Id<T>> for Arena<T> {
    fn index_mut(&mut self, id: Id<T>) -> &mut T {
        &mut self.values[id.place()]
    }
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { values: Vec::new() }
    }
}

// Derived, these would ask the same of `T`.
impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl<T> Eq for Id<T> {}

impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place.cmp(&other.place)
    }
}

impl<T> Hash for Id<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place.hash(state);
    }
}

impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}
