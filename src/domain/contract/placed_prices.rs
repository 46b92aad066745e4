//! Prices of a folder: each once, and of what is registered.

use super::folder::{FolderError, PlacedPrice};
use crate::domain::price::{Narrowing, Price};
use crate::domain::register::Register;
use std::collections::BTreeSet;

/// All prices, after a look for what no register names and what stands twice.
pub(super) fn gather_prices(
    books: Vec<Vec<PlacedPrice>>,
    register: &Register,
    errors: &mut Vec<FolderError>,
) -> Vec<PlacedPrice> {
    let mut ids = BTreeSet::new();
    for book in &books {
        let is_unknown = |it: &&PlacedPrice| !register.products.contains_key(&it.price.product);
        if let Some(PlacedPrice { price, at }) = book.iter().find(is_unknown) {
            let (at, price, product) = (at.clone(), price.id.clone(), price.product.clone());
            let known = register.products.keys().map(ToString::to_string).collect();
            errors.push(FolderError::UnknownProduct { at, price, product, known });
        }
        if let Some((it, (kind, name, known))) =
            book.iter().find_map(|it| Some((it, unknown_place(&it.price, register)?)))
        {
            let (at, price) = (it.at.clone(), it.price.id.clone());
            errors.push(FolderError::UnknownPlace { at, price, kind, name, known });
        }
        if let Some(it) = book.iter().find(|it| !ids.insert(it.price.id.clone())) {
            let (at, price) = (it.at.clone(), it.price.id.clone());
            errors.push(FolderError::RepeatedPrice { at, price });
        }
    }
    books.into_iter().flatten().collect()
}

/// The region or channel of a price that would never apply, and those there are.
fn unknown_place(price: &Price, register: &Register) -> Option<(&'static str, String, Vec<String>)> {
    let deployments = register.deployments.values();
    let (kind, name, known): (_, _, BTreeSet<&String>) = match &price.narrowing {
        // Customers are named by usage alone.
        Narrowing::Any | Narrowing::Customer(_) => return None,
        Narrowing::Region(name) => ("region", name, deployments.map(|it| &it.region).collect()),
        Narrowing::Channel(name) => ("channel", name, deployments.map(|it| &it.channel).collect()),
    };
    (!known.contains(name)).then(|| (kind, name.clone(), known.into_iter().cloned().collect()))
}
