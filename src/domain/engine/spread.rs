//! Money that names other items: billings, receipts and deductions, spread exactly over what they name.

use super::feed::{Builder, about, of_place};
use super::item::{Attributes, AttributesId, Content, Deduction, InUnit, Item, ItemId, Kind};
use crate::domain::contract::measure::Basis;
use crate::domain::contract::selector::Attribute;
use crate::domain::ids::EventId;
use crate::domain::money::{Exact, Unit};
use crate::domain::period::Instant;
use crate::domain::record::{self, Record, RecordContent, Reduces};
use std::collections::BTreeMap;

/// One amount that others may name: a charge of one meter, or a part of a billing or receipt.
#[derive(Clone, Debug)]
struct Part<'a> {
    /// The charge or billing behind it.
    sale: &'a EventId,
    attributes: AttributesId,
    at: Instant,
    /// When the sale behind it was.
    sold_at: Instant,
    amount: Exact,
    /// The place of its item among those that are built.
    place: usize,
    /// What was neither received nor taken off yet.
    open: Exact,
    /// Whether it is of a billing that names no charge.
    is_alone: bool,
}

/// What can be named, by its id.
#[derive(Default)]
pub(super) struct Sold<'a> {
    charges: BTreeMap<&'a EventId, Vec<Part<'a>>>,
    billings: BTreeMap<&'a EventId, Vec<Part<'a>>>,
    receipts: BTreeMap<&'a EventId, Vec<Part<'a>>>,
    /// By charge: the parts of billings and receipts that are of it.
    billed: BTreeMap<&'a EventId, Vec<Part<'a>>>,
    /// By charge or billing.
    received: BTreeMap<&'a EventId, Vec<Part<'a>>>,
}

impl<'a> Sold<'a> {
    /// A charge, and the place that its item takes.
    pub fn add(&mut self, id: &'a EventId, (attributes, at): (AttributesId, Instant), amount: Exact, place: usize) {
        let part = Part { sale: id, attributes, at, sold_at: at, place, open: amount.clone(), amount, is_alone: false };
        self.charges.entry(id).or_default().push(part);
    }

    /// A charge or billing.
    fn sales(&mut self, id: &EventId) -> Option<&mut Vec<Part<'a>>> {
        match self.charges.get_mut(id) {
            Some(parts) => Some(parts),
            None => self.billings.get_mut(id),
        }
    }

    /// What a deduction takes off of each that it names, in proportion. Of what was voided, or not told yet, it is
    /// nothing.
    fn share_of_each<'d>(&self, deduction: &'d record::Deduction) -> Vec<(&'d EventId, Exact)> {
        let parts =
            |id: &EventId| [&self.charges, &self.billings, &self.receipts].into_iter().find_map(|it| it.get(id));
        let named: Vec<(&EventId, &Vec<Part<'a>>)> =
            named(deduction).iter().filter_map(|id| Some((id, parts(id)?))).collect();
        let weights: Vec<Exact> = named.iter().flat_map(|(_, parts)| amounts(parts)).collect();
        let mut shares = spread(&deduction.amount.amount, &weights).into_iter();
        named.into_iter().map(|(id, parts)| (id, shares.by_ref().take(parts.len()).sum())).collect()
    }

    /// What is of something that is named, by the basis on which it counts.
    fn of_each_basis(&self, id: &EventId) -> [(Basis, Vec<Part<'a>>); 3] {
        let all = |by_id: [&BTreeMap<&'a EventId, Vec<Part<'a>>>; 2]| -> Vec<Part<'a>> {
            by_id.into_iter().filter_map(|it| it.get(id)).flatten().cloned().collect()
        };
        [
            (Basis::Occurred, self.charges.get(id).cloned().unwrap_or_default()),
            (Basis::Invoiced, all([&self.billings, &self.billed])),
            (Basis::Received, all([&self.receipts, &self.received])),
        ]
    }
}

/// Adds the items of billings, receipts and deductions. What names nothing that is known waits for it.
pub(super) fn add_money<'a>(builder: &mut Builder<'a>, sold: &mut Sold<'a>) {
    let records = builder.known.records;
    for record in records {
        if let RecordContent::Billing(billing) = &record.content {
            add_billing(builder, sold, record, billing);
        }
    }
    // What is open at a receipt is what earlier receipts and deductions have left.
    let mut dated: Vec<(Instant, &'a Record)> = records.iter().filter_map(|it| Some((dated_at(it)?, it))).collect();
    dated.sort_by_key(|(at, record)| (*at, &record.id.id, &record.id.source));
    for (_, record) in &dated {
        match &record.content {
            RecordContent::Receipt(receipt) => add_receipt(builder, sold, record, receipt),
            RecordContent::Deduction(deduction) => close_open(sold, deduction),
            _ => {}
        }
    }
    for record in records {
        if let RecordContent::Deduction(deduction) = &record.content {
            add_deduction(builder, sold, record, deduction);
        }
    }
}

fn dated_at(record: &Record) -> Option<Instant> {
    match &record.content {
        RecordContent::Receipt(receipt) => Some(receipt.at),
        RecordContent::Deduction(deduction) => Some(deduction.at),
        _ => None,
    }
}

/// Parts of an amount in proportion to weights, exactly; where all weigh nothing, equal parts.
fn spread(amount: &Exact, weights: &[Exact]) -> Vec<Exact> {
    let total: Exact = weights.iter().cloned().sum();
    let count = i64::try_from(weights.len()).unwrap_or(i64::MAX);
    let equal = || Exact::ratio(1, count).unwrap_or_default();
    weights.iter().map(|weight| amount * &weight.checked_div(&total).unwrap_or_else(equal)).collect()
}

fn amounts(parts: &[Part<'_>]) -> Vec<Exact> {
    parts.iter().map(|part| part.amount.clone()).collect()
}

/// What is open of each part; where nothing is, the parts themselves.
fn open_amounts(parts: &[Part<'_>]) -> Vec<Exact> {
    let open: Vec<Exact> = parts.iter().map(|part| part.open.clone().max(Exact::zero())).collect();
    if open.iter().all(Exact::is_zero) { amounts(parts) } else { open }
}

/// All that several ids name, as far as it is known: of what was voided, or not told yet, nothing is.
fn all_named<'a>(sold: &mut Sold<'a>, ids: &[EventId]) -> Vec<Part<'a>> {
    ids.iter().flat_map(|id| sold.sales(id).cloned().unwrap_or_default()).collect()
}

fn add_billing<'a>(builder: &mut Builder<'a>, sold: &mut Sold<'a>, record: &'a Record, billing: &'a record::Billing) {
    let Some(unit) = builder.known.units.currency(billing.amount.currency) else { return };
    let mut parts: Vec<Part<'a>> = if billing.names.is_empty() {
        let attributes = builder.attributes(Attributes(about(&billing.about)));
        let amount = billing.amount.amount.clone();
        let (at, open) = (billing.at, amount.clone());
        vec![Part { sale: &record.id, attributes, at, sold_at: at, place: 0, open, amount, is_alone: true }]
    } else {
        let named = all_named(sold, &billing.names);
        let shares = spread(&billing.amount.amount, &amounts(&named));
        let part = |(part, amount): (Part<'a>, Exact)| Part { at: billing.at, open: amount.clone(), amount, ..part };
        named.into_iter().zip(shares).map(part).collect()
    };
    for part in &mut parts {
        part.place = builder.items.len();
        let amount = InUnit { value: part.amount.clone(), unit };
        let content = Content::Billing { amount, is_alone: part.is_alone };
        builder.items.push(item(builder, record, Kind::Billing, part, content));
        if part.sale != &record.id {
            sold.billed.entry(part.sale).or_default().push(part.clone());
        }
    }
    sold.billings.insert(&record.id, parts);
}

fn item<'a>(builder: &Builder<'a>, record: &'a Record, kind: Kind, part: &Part<'a>, content: Content<'a>) -> Item<'a> {
    Item {
        at: part.at,
        id: ItemId { id: &record.id.id, source: &record.id.source, kind, meter: "" },
        attributes: part.attributes,
        sold_at: Some(part.sold_at),
        content,
        until: None,
        less: Vec::new(),
        counts_for: builder.counts_for(Some(part.sale)),
    }
}

/// Cash is of what it names: in the parts that it states, or in proportion to what is open.
fn add_receipt<'a>(builder: &mut Builder<'a>, sold: &mut Sold<'a>, record: &'a Record, receipt: &'a record::Receipt) {
    let Some(unit) = builder.known.units.currency(receipt.amount.currency) else { return };
    let stated = receipt.pays.iter().all(|paid| paid.amount.is_some());
    let groups: Vec<(Vec<&'a EventId>, Exact)> = if stated {
        let part = |paid: &'a record::Paid| Some((vec![&paid.event], paid.amount.as_ref()?.amount.clone()));
        receipt.pays.iter().filter_map(part).collect()
    } else {
        vec![(receipt.pays.iter().map(|paid| &paid.event).collect(), receipt.amount.amount.clone())]
    };
    for (ids, amount) in groups {
        let named: Vec<(&'a EventId, Vec<Part<'a>>)> =
            ids.into_iter().filter_map(|id| Some((id, sold.sales(id)?.clone()))).collect();
        let all: Vec<Part<'a>> = named.iter().flat_map(|(_, parts)| parts.iter().cloned()).collect();
        let mut shares = spread(&amount, &open_amounts(&all)).into_iter();
        for (id, parts) in named {
            for (index, part) in parts.into_iter().enumerate() {
                let share = shares.next().unwrap_or_default();
                if let Some(paid) = sold.sales(id).and_then(|parts| parts.get_mut(index)) {
                    paid.open = &paid.open - &share;
                }
                let place = builder.items.len();
                let received = Part { at: receipt.at, amount: share.clone(), open: share, place, ..part };
                let content = Content::Receipt(InUnit { value: received.amount.clone(), unit });
                builder.items.push(item(builder, record, Kind::Receipt, &received, content));
                sold.received.entry(id).or_default().push(received.clone());
                if received.sale != id {
                    sold.received.entry(received.sale).or_default().push(received.clone());
                }
                sold.receipts.entry(&record.id).or_default().push(received);
            }
        }
    }
}

/// The ids that a deduction names.
fn named(deduction: &record::Deduction) -> &[EventId] {
    match &deduction.reduces {
        Reduces::Event(event) => std::slice::from_ref(event),
        Reduces::Events(events) => events,
        Reduces::Usage { .. } => &[],
    }
}

/// Takes a deduction off what is open.
fn close_open(sold: &mut Sold<'_>, deduction: &record::Deduction) {
    for (id, amount) in sold.share_of_each(deduction) {
        let parts = sold.sales(id).map(Vec::as_mut_slice).unwrap_or_default();
        let shares = spread(&amount, &amounts(parts));
        for (part, share) in parts.iter_mut().zip(shares) {
            part.open = &part.open - &share;
        }
    }
}

/// A deduction is told for each basis on which what it names counts, and where it names items twice: there, and at
/// its own date. Each of several that it names has its share, and what is of that on a basis shares it.
fn add_deduction<'a>(
    builder: &mut Builder<'a>,
    sold: &mut Sold<'a>,
    record: &'a Record,
    deduction: &'a record::Deduction,
) {
    let Some(unit) = builder.known.units.currency(deduction.amount.currency) else { return };
    if let Reduces::Usage { deployment, product, customer } = &deduction.reduces {
        let Some(mut attributes) = of_place(builder.known.register, deployment.as_str(), product.as_str()) else {
            return;
        };
        attributes.0.extend(customer.clone().map(|customer| (Attribute::Customer, customer)));
        let attributes = builder.attributes(attributes);
        for basis in [Basis::Occurred, Basis::Invoiced, Basis::Received] {
            let (part, amount) = (None, deduction.amount.amount.clone());
            tell(builder, record, deduction, Told { basis, part, attributes, amount, unit });
        }
        return;
    }
    for (id, amount) in sold.share_of_each(deduction) {
        for (basis, parts) in sold.of_each_basis(id) {
            // What was not billed, or not received, is not reduced there.
            for (part, amount) in parts.iter().zip(spread(&amount, &amounts(&parts))) {
                let told = Told { basis, part: Some(part), attributes: part.attributes, amount, unit };
                tell(builder, record, deduction, told);
            }
        }
    }
}

/// One telling of a deduction.
struct Told<'t, 'a> {
    basis: Basis,
    part: Option<&'t Part<'a>>,
    attributes: AttributesId,
    amount: Exact,
    unit: &'a Unit,
}

fn tell<'a>(builder: &mut Builder<'a>, record: &'a Record, deduction: &'a record::Deduction, told: Told<'_, 'a>) {
    let Told { basis, part, attributes, amount, unit } = told;
    let item_at = part.map(|part| part.at);
    let amount = InUnit { value: amount, unit };
    let is_of_lone_billing = part.is_some_and(|part| part.is_alone);
    let id = ItemId { id: &record.id.id, source: &record.id.source, kind: Kind::Deduction, meter: "" };
    let (at, category) = (deduction.at, deduction.category.as_str());
    let deduction_of_it = Deduction { id, at, category, amount, basis, item_at, is_of_lone_billing };
    if let Some(named) = part.and_then(|part| builder.items.get_mut(part.place)) {
        named.less.push(deduction_of_it.clone());
    }
    let counts_for = builder.counts_for(part.map(|part| part.sale));
    let content = Content::Deduction(deduction_of_it);
    let sold_at = part.map(|part| part.sold_at);
    builder.items.push(Item { at, id, attributes, sold_at, content, less: Vec::new(), until: None, counts_for });
}
