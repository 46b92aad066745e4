//! Which rates of exchange turn one unit into another: the contract's own, those of its source, turned round or joined.

use super::knowledge::{AskedRate, Knowledge, NoRate};
use crate::domain::contract::fx::{FxDate, FxRule};
use crate::domain::contract::{Contract, Version};
use crate::domain::money::{Exact, Unit};
use crate::domain::period::{Instant, local_date};
use chrono::{Days, NaiveDate};
use std::fmt;

/// What an amount is multiplied with: one rate, or two that are joined over a third unit.
#[derive(Clone, Debug)]
pub struct Conversion<'k> {
    pub rate: Exact,
    first: StatedRate<'k>,
    second: Option<StatedRate<'k>>,
}

/// A rate as it was stated.
#[derive(Clone, Copy, Debug)]
struct StatedRate<'k> {
    from: &'k Unit,
    to: &'k Unit,
    rate: &'k Exact,
    /// Whose it is, and of which date; none of a rate that the contract states itself.
    of: Option<(&'k str, NaiveDate)>,
    /// Whether it is divided by, and not multiplied with.
    is_inverse: bool,
}

impl StatedRate<'_> {
    fn factor(&self) -> Option<Exact> {
        if self.is_inverse { self.rate.inverse() } else { Some(self.rate.clone()) }
    }
}

impl fmt::Display for StatedRate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, rate, .. } = self;
        let divided = if self.is_inverse { "divided by " } else { "" };
        write!(f, "{divided}{rate} {to} for one {from}")?;
        match self.of {
            Some((source, date)) => write!(f, " ({source}, {date})"),
            None => write!(f, " (as the contract states)"),
        }
    }
}

impl fmt::Display for Conversion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        self.second.map_or(Ok(()), |second| write!(f, ", and {second}"))
    }
}

impl Knowledge {
    /// How a version of a contract turns one unit into another for what lies at an instant.
    ///
    /// # Errors
    /// There is no such rate.
    pub fn conversion<'k>(
        &'k self,
        (agreement, version): (&'k Contract, &'k Version),
        (from, to): (&'k Unit, &'k Unit),
        at: Instant,
    ) -> Result<Conversion<'k>, NoRate> {
        let missing = |asked| NoRate { from: from.clone(), to: to.clone(), asked };
        let rule = version.fx.as_ref().ok_or_else(|| missing(None))?;
        if let Some(fixed) = rule.fixed.iter().find(|fixed| (&fixed.from, &fixed.to) == (from, to)) {
            let first = StatedRate { from, to, rate: &fixed.rate, of: None, is_inverse: false };
            return Ok(Conversion { rate: fixed.rate.clone(), first, second: None });
        }
        let day = local_date(at, agreement.head.zone);
        let date = match rule.date {
            FxDate::Item => day,
            FxDate::PeriodEnd => agreement.head.settlement.window(day).map_or(day, |period| period.last_day()),
            FxDate::On(date) => date,
        };
        let either = |from: &'k Unit, to: &'k Unit| {
            let one_way = self.stored(rule, (from, to), date);
            let inverse = || self.stored(rule, (to, from), date).filter(|_| rule.allows_inverse);
            let stated = one_way.or_else(|| Some(StatedRate { is_inverse: true, ..inverse()? }))?;
            Some((stated.factor()?, stated))
        };
        let direct = || either(from, to).map(|(rate, first)| Conversion { rate, first, second: None });
        let crossed = || {
            let over = rule.cross.as_ref()?;
            let ((one, first), (other, second)) = (either(from, over)?, either(over, to)?);
            Some(Conversion { rate: &one * &other, first, second: Some(second) })
        };
        let asked = || AskedRate {
            source_name: rule.source.clone(),
            date,
            within_days: rule.within_days,
            is_other_way: self.stored(rule, (to, from), date).is_some(),
        };
        direct().or_else(crossed).ok_or_else(|| missing(Some(asked())))
    }

    /// The last rate of the source that is not too old.
    fn stored<'k>(
        &'k self,
        rule: &'k FxRule,
        (from, to): (&'k Unit, &'k Unit),
        date: NaiveDate,
    ) -> Option<StatedRate<'k>> {
        let earliest = date.checked_sub_days(Days::new(rule.within_days.into()))?;
        let (date, rate) = self.rates(&rule.source, (from, to))?.range(earliest..=date).next_back()?;
        Some(StatedRate { from, to, rate, of: Some((&rule.source, *date)), is_inverse: false })
    }
}
