//! What of an item counts for a term, in the term's currency, and what the term yields of it at once.

use crate::auditor::{About, Auditor, Place, Step};
use crate::items::{Body, Less, Sold, listed};
use crate::known::{Missing, Money};
use crate::model::{
    Base, Basis, BelowZero, Blocks, Condition, FxDate, How, Micros, Name, Other, Place as Stands, Q, Rate, Select,
    Term, seller,
};
use crate::time::{Window, date_of, window_at};
use num_traits::Zero;

impl<'h> Auditor<'h> {
    /// What an item adds to the base of a term; none where it does not count.
    pub fn base(&self, contract: usize, term: &Term, step: &Step<'_>) -> Result<Option<Q>, Missing> {
        let mut base = None;
        for select in &term.base.select {
            if let Select::Accrual { contract: of, term: drawn } = select
                && let Some(accrued) = step.accrued.get(&(*of, *drawn))
            {
                let amount = self.converted(contract, accrued, self.contract(*of).currency, step.at)?;
                base = Some(base.unwrap_or_else(Q::zero) + amount);
            }
        }
        let Some(item) = step.item.filter(|item| !self.is_held(contract, item)) else { return Ok(base) };
        let is_of = |basis: Basis| term.base.basis == basis && selects(&term.base, item.sold);
        let own = match &item.body {
            Body::Charge { quantity, .. } if is_of_units(&term.base, item.meter, item.sold) => Some(quantity.clone()),
            // Without a price nobody can tell what is billed or received of it, either.
            Body::Charge { money: Money::NoPrice, .. } if selects(&term.base, item.sold) => return Err(Missing::Price),
            Body::Charge { money, less, .. } if is_of(Basis::Occurred) => match money {
                Money::Unsold | Money::NoPrice => None,
                Money::Of(amount, currency) => {
                    Some(self.reduced(contract, &term.base, (amount, currency), less, step.at)?)
                }
            },
            Body::Paid { basis, amount, currency, less } if is_of(*basis) => {
                Some(self.reduced(contract, &term.base, (amount, currency), less, step.at)?)
            }
            Body::Deduction { category, amount, currency, of, basis } => {
                // The terms at what it names say whether that counts, and where what reduces it stands.
                let worded = |at: Micros| self.in_force(contract, at)?.terms.iter().find(|it| it.name == term.name);
                let governing = match of {
                    Some(at) => worded(*at),
                    None => Some(term),
                };
                let stands = governing.is_some_and(|governing| {
                    let place = (*category, Stands::OwnDate);
                    let is_listed = governing.base.less.contains(&place)
                        || of.is_none() && governing.base.less.contains(&(*category, Stands::Item));
                    let is_basis = of.is_none() || governing.base.basis == *basis;
                    is_listed && is_basis && selects(&governing.base, item.sold)
                });
                match stands {
                    true => Some(-self.converted(contract, amount, currency, step.at)?),
                    false => None,
                }
            }
            Body::Figure { contract: of, name, value } => {
                let counts = *of == contract && term.base.select.contains(&Select::Figure { name });
                counts.then(|| value.clone())
            }
            _ => None,
        };
        Ok(match (base, own) {
            (base, None) => base,
            (None, own) => own,
            (Some(base), Some(own)) => Some(base + own),
        })
    }

    fn reduced(
        &self,
        contract: usize,
        base: &Base,
        (amount, currency): (&Q, Name),
        less: &[Less],
        at: Micros,
    ) -> Result<Q, Missing> {
        let mut sum = self.converted(contract, amount, currency, at)?;
        for less in listed(less, &base.less) {
            sum -= self.converted(contract, &less.amount, less.currency, at)?;
        }
        Ok(sum)
    }

    fn converted(&self, contract: usize, amount: &Q, currency: Name, at: Micros) -> Result<Q, Missing> {
        let to = self.contract(contract);
        if currency == to.currency || amount.is_zero() {
            return Ok(amount.clone());
        }
        if let Some((_, rate)) = to.fx_stated.as_ref().filter(|(from, _)| *from == currency) {
            return Ok(amount * rate);
        }
        let date = match to.fx_date {
            FxDate::On(date) => date,
            FxDate::Item => date_of(to.zone, at),
            FxDate::PeriodEnd => self.period(contract, at).end.pred_opt().expect("a day"),
        };
        let earliest = date - chrono::Days::new(to.fx_within.into());
        let rates = self.known.rates.iter().filter(|it| (it.from, it.to) == (currency, to.currency));
        // Of the last date the last recorded.
        let rate = rates.filter(|it| earliest <= it.date && it.date <= date).max_by_key(|it| it.date);
        rate.map(|it| amount * &it.rate).ok_or(Missing::Fx)
    }

    /// What a term yields at once of what its base takes; what it keeps for its windows it counts.
    pub fn take(&mut self, contract: usize, term: &'h Term, step: &Step<'_>, base: Q) -> Result<Option<Q>, Missing> {
        if term.base.below_zero != BelowZero::Keep {
            self.states.entry((contract, term.name, None)).or_default().total += base;
            return Ok(None);
        }
        let base = self.above(contract, term, step.at, base);
        self.yielded(contract, term, step.at, step.about, base)
    }

    fn above(&mut self, contract: usize, term: &Term, at: Micros, base: Q) -> Q {
        let Some((is, each, _)) = &term.base.above else { return base };
        let window = window_at(self.contract(contract).zone, *each, at);
        let state = self.states.entry((contract, term.name, None)).or_default();
        let before = state.above.take().filter(|it| it.0 == window).map(|it| it.1).unwrap_or_default();
        let after = &before + base;
        let over = |sum: &Q| if sum > is { sum - is } else { Q::zero() };
        let counts = over(&after) - over(&before);
        state.above = Some((window, after));
        counts
    }

    /// What counts while its term is not in force: toward what its base counts above, and, before the term was in force
    /// for the first time, toward its tiers. What its tail leaves out fills nothing.
    pub fn count_alone(
        &mut self,
        contract: usize,
        term: &'h Term,
        step: &Step<'_>,
        is_left: bool,
    ) -> Result<(), Missing> {
        let counts_at = named_at(step).map_or(step.at, |named| named.min(step.at));
        let toward_tiers = match &term.how {
            How::Tiers { from, .. } => {
                *from <= date_of(self.contract(contract).zone, step.at) && self.begins(contract, term.name) > counts_at
            }
            _ => false,
        };
        let is_needed = term.base.above.is_some() || toward_tiers;
        let base = match self.base(contract, term, step) {
            Ok(Some(base)) if is_needed => base,
            // What a base can select needs a price; it needs a rate only where it counts.
            Err(missing) if missing == Missing::Price || is_needed => return Err(missing),
            _ => return Ok(()),
        };
        // Another term of its group has it.
        if is_left || term.once && step.taken.contains(&contract) {
            return Ok(());
        }
        let base = self.above(contract, term, step.at, base);
        if toward_tiers {
            let (each, place) = match &term.how {
                How::Tiers { each, .. } => (*each, place(contract, term, step.about)),
                _ => return Ok(()),
            };
            let window = window_at(self.contract(contract).zone, each, step.at);
            self.count_tiers(place, window, &base);
        }
        Ok(())
    }

    /// How far tiers come in a window: before, and with what is added.
    fn count_tiers(&mut self, place: Place, window: Window, base: &Q) -> (Q, Q) {
        let state = self.states.entry(place).or_default();
        let before = state.tiers.take().filter(|it| it.0 == window).map(|it| it.1).unwrap_or_default();
        let after = &before + base;
        state.tiers = Some((window, after.clone()));
        (before, after)
    }

    pub fn yielded(
        &mut self,
        contract: usize,
        term: &'h Term,
        at: Micros,
        about: About,
        base: Q,
    ) -> Result<Option<Q>, Missing> {
        let zone = self.contract(contract).zone;
        let place = place(contract, term, about);
        match &term.how {
            // A sale without a rate counts, and what it yields is nothing.
            How::Rate(rate) => Ok(Some(base * self.rate(contract, rate, at, about).unwrap_or_default())),
            How::Price { price, per_units, blocks } => {
                let count = base / per_units;
                let count = match blocks {
                    Blocks::Exact => count,
                    Blocks::Whole => count.ceil(),
                    Blocks::None => count.floor(),
                };
                Ok(Some(count * price))
            }
            How::Tiers { is_whole, each, bands, above, .. } => {
                let (before, after) = self.count_tiers(place, window_at(zone, *each, at), &base);
                let amount = marginal(bands, above, &after) - marginal(bands, above, &before);
                if *is_whole {
                    self.states.entry(place).or_default().windowed.add(term, &base);
                    return Ok(None);
                }
                Ok(Some(amount))
            }
            How::Either { is_greater, each: None, rate, other } => {
                // What takes off of a sale takes off what that much of it would have brought.
                let is_back = base < Q::zero();
                let size = if is_back { -base } else { base };
                let other = match other {
                    Other::Rate(rate) => &size * rate,
                    Other::Amount(amount) => amount.clone(),
                };
                let one = size * rate;
                let amount = if *is_greater { one.max(other) } else { one.min(other) };
                Ok(Some(if is_back { -amount } else { amount }))
            }
            How::Either { .. } => {
                self.states.entry(place).or_default().windowed.add(term, &base);
                Ok(None)
            }
            How::Commitment => {
                self.states.entry(place).or_default().windowed.counted += base;
                Ok(None)
            }
            How::OnDates { .. } | How::OnFact { .. } | How::Fixed { .. } => Ok(None),
        }
    }

    /// The rate of the first row that matches; none where nothing accrues, on purpose.
    fn rate(&self, contract: usize, rate: &Rate, at: Micros, about: About) -> Option<Q> {
        let (rows, otherwise) = match rate {
            Rate::Flat(rate) => return Some(rate.clone()),
            Rate::Rows(rows, otherwise) => (rows, otherwise),
        };
        let date = date_of(self.contract(contract).zone, at);
        let holds = |condition: &Condition| match condition {
            Condition::Through(last) => date <= *last,
            Condition::From(first) => *first <= date,
            Condition::Product(product) => about.product == Some(*product),
            Condition::Country(country) => about.country == Some(*country),
            Condition::Status(name) => self.holds(contract, name, at),
        };
        let row = rows.iter().find(|(condition, _)| holds(condition)).map(|(_, rate)| rate.clone());
        row.or_else(|| otherwise.clone())
    }

    /// Counts requests by which the pool of a term is shared.
    pub fn count_use(&mut self, contract: usize, term: &Term, step: &Step<'_>) {
        let Some(item) = step.item.filter(|item| !self.is_held(contract, item)) else { return };
        if let (Body::Charge { quantity, .. }, Some(sold)) = (&item.body, item.sold)
            && item.meter == "requests"
        {
            let period = self.period(contract, step.at);
            *self.used.entry((contract, term.name, period, sold.product)).or_default() += quantity;
        }
    }

    /// A base that is decided on its total: that is its only item, at the period's end, or at its term's within one.
    pub fn close_base(&mut self, contract: usize, term: &'h Term, at: Micros) -> Result<(), Missing> {
        let ends = crate::time::start_of(self.contract(contract).zone, self.period(contract, at - 1).end) == at;
        let is_over = self.term(contract, term.name, at).is_none();
        if term.base.below_zero == BelowZero::Keep || !ends && !is_over {
            return Ok(());
        }
        let state = self.states.entry((contract, term.name, None)).or_default();
        let total = std::mem::take(&mut state.total) + std::mem::take(&mut state.carried);
        if total < Q::zero() {
            if term.base.below_zero == BelowZero::Carried && !is_over {
                state.carried = total;
            }
            return Ok(());
        }
        let base = self.above(contract, term, at - 1, total);
        match self.yielded(contract, term, at - 1, About::default(), base)? {
            Some(amount) => self.accrue_alone((contract, term.name, None), term, at - 1, amount),
            None => Ok(()),
        }
    }
}

fn place(contract: usize, term: &Term, about: About) -> Place {
    (contract, term.name, if term.per_country { about.country } else { None })
}

/// When the item was that a deduction names.
pub fn named_at(step: &Step<'_>) -> Option<Micros> {
    match step.item?.body {
        Body::Deduction { of, .. } => of,
        _ => None,
    }
}

fn is_of_units(base: &Base, meter: Name, sold: Option<Sold>) -> bool {
    base.select.contains(&Select::Units { meter }) && sold.is_some_and(|sold| base.not_customer != Some(sold.customer))
}

pub fn selects(base: &Base, sold: Option<Sold>) -> bool {
    let Some(sold) = sold else { return false };
    let is_it = |select: &Select| match select {
        Select::Charges { seller: of, products } => {
            seller(sold.deployment) == Some(*of) && (products.is_empty() || products.contains(&sold.product))
        }
        _ => false,
    };
    base.not_customer != Some(sold.customer) && base.select.iter().any(is_it)
}

/// What so much yields, each part at its own rate; what lies below zero at the first.
fn marginal(bands: &[crate::model::Band], above: &Q, sum: &Q) -> Q {
    let Some(first) = bands.first().filter(|_| *sum < Q::zero()).map(|band| &band.rate) else {
        let (mut total, mut from) = (Q::zero(), Q::zero());
        for band in bands {
            if *sum <= band.edge {
                return total + (sum - from) * &band.rate;
            }
            total += (&band.edge - from) * &band.rate;
            from = band.edge.clone();
        }
        return total + (sum - from) * above;
    };
    sum * first
}
