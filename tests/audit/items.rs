//! Items of what is known, in the one order in which they count.

use crate::known::{Known, Money};
use crate::model::{Micros, Name, Place, Q, Usage, What};
use num_traits::Zero;

/// What was sold, to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sold {
    pub deployment: Name,
    pub product: Name,
    pub customer: Name,
    pub country: Option<Name>,
}

/// Something that a deduction makes smaller, where it stands.
#[derive(Clone, Debug)]
pub struct Less {
    pub category: Name,
    pub amount: Q,
    pub currency: Name,
}

#[derive(Clone, Debug)]
pub enum Body {
    Charge {
        quantity: Q,
        money: Money,
        less: Vec<Less>,
    },
    Receipt {
        amount: Q,
        currency: Name,
        less: Vec<Less>,
    },
    /// A deduction at its own date; of something that stands at the instant, if it names anything.
    Deduction {
        category: Name,
        amount: Q,
        currency: Name,
        of: Option<Micros>,
        is_of_receipt: bool,
    },
    Figure {
        contract: usize,
        name: Name,
        value: Q,
    },
}

#[derive(Clone, Debug)]
pub struct Item {
    pub at: Micros,
    pub id: String,
    pub source: Name,
    pub meter: Name,
    pub sold: Option<Sold>,
    pub body: Body,
}

/// Every item that is known.
pub fn items(known: &Known<'_>, last_instant: impl Fn(usize, chrono::NaiveDate) -> Micros) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for record in &known.records {
        let whose = (record.id, record.source);
        match &record.what {
            What::Usage(usage) => {
                for (meter, quantity, money) in known.charges(usage) {
                    let body = Body::Charge { quantity, money, less: Vec::new() };
                    items.push(item(usage.at, whose, meter, Some(sold(usage)), body));
                }
            }
            What::Receipt { of, at, amount, currency } => {
                let Some(usage) = usage_of(known, record.source, of).filter(|it| is_sold(known, it)) else { continue };
                let body = Body::Receipt { amount: amount.clone(), currency, less: Vec::new() };
                items.push(item(*at, whose, "", Some(sold(usage)), body));
            }
            What::Figure { contract, name, through, value, .. } => {
                let body = Body::Figure { contract: *contract, name, value: value.clone() };
                items.push(item(last_instant(*contract, *through), whose, "", None, body));
            }
            _ => {}
        }
    }
    for record in &known.records {
        let What::Deduction { of, sold, category, at, amount, currency } = &record.what else { continue };
        let whose = (record.id, record.source);
        let all = Less { category, amount: amount.clone(), currency };
        let Some(of) = of else {
            let (deployment, product, customer) = *sold;
            let sold = Sold { deployment, product, customer, country: None };
            let body = Body::Deduction { category, amount: amount.clone(), currency, of: None, is_of_receipt: false };
            items.push(item(*at, whose, "", Some(sold), body));
            continue;
        };
        add_deduction(&mut items, known, (whose, *at), of, &all);
    }
    // A flow figure stands after every item of its instant.
    let is_figure = |it: &Item| matches!(it.body, Body::Figure { .. });
    items.sort_by(|a, b| {
        let key = |it: &Item| (it.at, is_figure(it));
        key(a).cmp(&key(b)).then_with(|| (&a.id, a.source, a.meter).cmp(&(&b.id, b.source, b.meter)))
    });
    items
}

/// A deduction of a sale stands against its charges, and on the basis of what is received against its receipts; one
/// of a receipt against that alone. Each in proportion.
fn add_deduction(items: &mut Vec<Item>, known: &Known<'_>, (whose, at): ((&str, Name), Micros), of: &str, all: &Less) {
    let source = whose.1;
    for is_of_receipt in [false, true] {
        let mut named: Vec<(usize, Q)> = Vec::new();
        for (place, it) in items.iter().enumerate().filter(|(_, it)| it.source == source) {
            match &it.body {
                Body::Charge { money: Money::Of(amount, _), .. } if !is_of_receipt && it.id == of => {
                    named.push((place, amount.clone()));
                }
                Body::Receipt { amount, .. } if is_of_receipt => {
                    let is_it = it.id == of || receipt_of(known, source, &it.id) == Some(of);
                    named.extend(is_it.then(|| (place, amount.clone())));
                }
                _ => {}
            }
        }
        let total: Q = named.iter().map(|(_, amount)| amount).sum();
        if total.is_zero() {
            continue;
        }
        for (place, weight) in named {
            let part = Less { amount: &all.amount * &weight / &total, ..all.clone() };
            let (sold, of, meter) = (items[place].sold, items[place].at, items[place].meter);
            let body = Body::Deduction {
                category: part.category,
                amount: part.amount.clone(),
                currency: part.currency,
                of: Some(of),
                is_of_receipt,
            };
            if let Body::Charge { less, .. } | Body::Receipt { less, .. } = &mut items[place].body {
                less.push(part);
            }
            items.push(item(at, whose, meter, sold, body));
        }
    }
}

fn item(at: Micros, (id, source): (&str, Name), meter: Name, sold: Option<Sold>, body: Body) -> Item {
    Item { at, id: id.to_owned(), source, meter, sold, body }
}

fn sold(usage: &Usage) -> Sold {
    Sold { deployment: usage.deployment, product: usage.product, customer: usage.customer, country: usage.country }
}

fn usage_of<'k>(known: &'k Known<'_>, source: Name, id: &str) -> Option<&'k Usage> {
    known.records.iter().find_map(|it| match &it.what {
        What::Usage(usage) if it.source == source && it.id == id => Some(usage),
        _ => None,
    })
}

fn is_sold(known: &Known<'_>, usage: &Usage) -> bool {
    known.charges(usage).iter().any(|(_, _, money)| matches!(money, Money::Of(..)))
}

fn receipt_of<'k>(known: &'k Known<'_>, source: Name, id: &str) -> Option<&'k str> {
    known.records.iter().find_map(|it| match &it.what {
        What::Receipt { of, .. } if it.source == source && it.id == id => Some(of.as_str()),
        _ => None,
    })
}

/// What stands of an amount where it lists the categories that make it smaller there.
pub fn listed<'l>(less: &'l [Less], base: &'l [(Name, Place)]) -> impl Iterator<Item = &'l Less> {
    less.iter().filter(|it| base.contains(&(it.category, Place::Item)))
}
