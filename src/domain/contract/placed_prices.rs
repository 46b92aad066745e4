//! Prices of a folder: each once, and of what is registered.

use super::document::FileLine;
use crate::domain::ids::ProductId;
use crate::domain::names::{nearest, there_is};
use crate::domain::price::{Narrowing, Price, PriceProblem, read_price_book};
use crate::domain::register::Register;
use std::collections::{BTreeMap, BTreeSet};

/// A price with the file and line where it stands.
#[derive(Clone, Debug)]
pub struct PlacedPrice {
    pub price: Price,
    pub at: FileLine,
}

/// Why the prices of a folder are refused.
#[derive(Debug, thiserror::Error)]
pub enum PricesError {
    #[error("{at}: {problem}")]
    Book { at: FileLine, problem: PriceProblem },
    #[error("{at}: price \"{price}\" is of product \"{product}\", which no register names{}", there_is(&nearest(product.as_str(), .known)))]
    UnknownProduct { at: FileLine, price: String, product: ProductId, known: Vec<String> },
    #[error("{at}: price \"{price}\" is of {kind} \"{name}\", which no deployment has{}", there_is(.known))]
    UnknownPlace { at: FileLine, price: String, kind: &'static str, name: String, known: Vec<String> },
    #[error("{at}: price \"{price}\" stands at {other} too; give each price an id of its own")]
    Repeated { at: FileLine, price: String, other: FileLine },
}

/// The prices of a file.
///
/// # Errors
/// The first line that is wrong.
pub fn read_prices(path: &str, text: &str) -> Result<Vec<PlacedPrice>, PricesError> {
    let at = |line| FileLine { path: path.to_owned(), line };
    let read =
        read_price_book(text).map_err(|error| PricesError::Book { at: at(error.line), problem: error.problem })?;
    Ok(read.into_iter().map(|(line, price)| PlacedPrice { price, at: at(line) }).collect())
}

/// The first of a book that no register names, and the first that stands in an earlier book.
pub fn check_prices(books: &[Vec<PlacedPrice>], register: &Register) -> Vec<PricesError> {
    let mut errors = Vec::new();
    let mut first: BTreeMap<&str, &FileLine> = BTreeMap::new();
    for book in books {
        let is_unknown = |it: &&PlacedPrice| !register.products.contains_key(&it.price.product);
        if let Some(PlacedPrice { price, at }) = book.iter().find(is_unknown) {
            let (at, price, product) = (at.clone(), price.id.clone(), price.product.clone());
            let known = register.products.keys().map(ToString::to_string).collect();
            errors.push(PricesError::UnknownProduct { at, price, product, known });
        }
        if let Some((it, (kind, name, known))) =
            book.iter().find_map(|it| Some((it, unknown_place(&it.price, register)?)))
        {
            let (at, price) = (it.at.clone(), it.price.id.clone());
            errors.push(PricesError::UnknownPlace { at, price, kind, name, known });
        }
        if let Some((it, other)) = book.iter().find_map(|it| Some((it, *first.get(it.price.id.as_str())?))) {
            let (at, price, other) = (it.at.clone(), it.price.id.clone(), other.clone());
            errors.push(PricesError::Repeated { at, price, other });
        }
        for it in book {
            first.entry(&it.price.id).or_insert(&it.at);
        }
    }
    errors
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
