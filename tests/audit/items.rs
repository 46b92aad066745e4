//! Items of what is known, in the one order in which they count.

use crate::known::{Known, Money};
use crate::model::{Basis, Micros, Name, Place, Q, Usage, What};
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
    /// A line of an invoice, or cash.
    Paid {
        basis: Basis,
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
        basis: Basis,
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
    /// The usage behind it, of the same source.
    pub sale: Option<String>,
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
            What::Billing { at, amount, currency, .. } | What::Receipt { at, amount, currency, .. } => {
                let Some(sold) = sold_of(known, record.source, record.id) else { continue };
                let basis = if matches!(record.what, What::Billing { .. }) { Basis::Invoiced } else { Basis::Received };
                let body = Body::Paid { basis, amount: amount.clone(), currency, less: Vec::new() };
                items.push(item(*at, whose, "", Some(sold), body));
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
            let body = Body::Deduction { category, amount: amount.clone(), currency, of: None, basis: Basis::Occurred };
            items.push(item(*at, whose, "", Some(sold), body));
            continue;
        };
        add_deduction(&mut items, known, (whose, *at), of, &all);
    }
    // A flow figure stands after every item of its instant.
    let is_figure = |it: &Item| matches!(it.body, Body::Figure { .. });
    for item in &mut items {
        item.sale = sale_of(known, item.source, &item.id).map(str::to_owned);
    }
    items.sort_by(|a, b| {
        let key = |it: &Item| (it.at, is_figure(it));
        key(a).cmp(&key(b)).then_with(|| (&a.id, a.source, a.meter).cmp(&(&b.id, b.source, b.meter)))
    });
    items
}

/// What a deduction reduces: on each basis the items of what it names, or of what is of that; of a receipt that alone.
/// Each in proportion, in equal parts where they come to nothing.
fn add_deduction(items: &mut Vec<Item>, known: &Known<'_>, (whose, at): ((&str, Name), Micros), of: &str, all: &Less) {
    let source = whose.1;
    for basis in [Basis::Occurred, Basis::Invoiced, Basis::Received] {
        let mut named: Vec<(usize, Q)> = Vec::new();
        for (place, it) in items.iter().enumerate().filter(|(_, it)| it.source == source) {
            match &it.body {
                Body::Charge { money: Money::Of(amount, _), .. } if basis == Basis::Occurred && it.id == of => {
                    named.push((place, amount.clone()));
                }
                Body::Paid { basis: found, amount, .. } if basis == *found => {
                    let first = named_by(known, source, &it.id);
                    let second = first.and_then(|first| named_by(known, source, first));
                    let is_it = it.id == of || first == Some(of) || second == Some(of);
                    named.extend(is_it.then(|| (place, amount.clone())));
                }
                _ => {}
            }
        }
        let total: Q = named.iter().map(|(_, amount)| amount).sum();
        let count = named.len();
        for (place, weight) in named {
            let part = if total.is_zero() { Q::new(1.into(), count.into()) } else { weight / &total };
            let part = Less { amount: &all.amount * part, ..all.clone() };
            let (sold, of, meter) = (items[place].sold, items[place].at, items[place].meter);
            let body = Body::Deduction {
                category: part.category,
                amount: part.amount.clone(),
                currency: part.currency,
                of: Some(of),
                basis,
            };
            // An item is made smaller on the basis on which it counts.
            let own = &mut items[place].body;
            let is_own =
                matches!(own, Body::Charge { .. }) || matches!(own, Body::Paid { basis: it, .. } if *it == basis);
            if let Body::Charge { less, .. } | Body::Paid { less, .. } = own
                && is_own
            {
                less.push(part);
            }
            items.push(item(at, whose, meter, sold, body));
        }
    }
}

fn item(at: Micros, (id, source): (&str, Name), meter: Name, sold: Option<Sold>, body: Body) -> Item {
    Item { at, id: id.to_owned(), source, meter, sold, body, sale: None }
}

fn sold(usage: &Usage) -> Sold {
    Sold { deployment: usage.deployment, product: usage.product, customer: usage.customer, country: usage.country }
}

pub fn record_of<'k>(known: &'k Known<'_>, source: Name, id: &str) -> Option<&'k What> {
    known.records.iter().find(|it| it.source == source && it.id == id).map(|it| &it.what)
}

/// What was sold, of a sale or of what names one; none where it waits for that.
fn sold_of(known: &Known<'_>, source: Name, id: &str) -> Option<Sold> {
    match record_of(known, source, id)? {
        What::Usage(usage) => {
            let is_sold = known.charges(usage).iter().any(|(_, _, money)| matches!(money, Money::Of(..)));
            is_sold.then(|| sold(usage))
        }
        What::Billing { of: None, sold: (deployment, product, customer), .. } => {
            Some(Sold { deployment, product, customer, country: None })
        }
        What::Billing { of: Some(of), .. } => match record_of(known, source, of)? {
            What::Usage(_) => sold_of(known, source, of),
            _ => None,
        },
        What::Receipt { of, .. } => match record_of(known, source, of)? {
            What::Usage(_) | What::Billing { .. } => sold_of(known, source, of),
            _ => None,
        },
        _ => None,
    }
}

/// The usage behind a record.
fn sale_of<'k>(known: &'k Known<'_>, source: Name, id: &'k str) -> Option<&'k str> {
    match record_of(known, source, id)? {
        What::Usage(_) => Some(id),
        What::Billing { of, .. } | What::Deduction { of, .. } => sale_of(known, source, of.as_deref()?),
        What::Receipt { of, .. } => sale_of(known, source, of),
        _ => None,
    }
}

/// What a billing or receipt names.
fn named_by<'k>(known: &'k Known<'_>, source: Name, id: &str) -> Option<&'k str> {
    match record_of(known, source, id)? {
        What::Billing { of, .. } => of.as_deref(),
        What::Receipt { of, .. } => Some(of),
        _ => None,
    }
}

/// What stands of an amount where it lists the categories that make it smaller there.
pub fn listed<'l>(less: &'l [Less], base: &'l [(Name, Place)]) -> impl Iterator<Item = &'l Less> {
    less.iter().filter(|it| base.contains(&(it.category, Place::Item)))
}
