//! Quantities as rows hold them: whole numbers of some meters in columns of their own, and the rest beside them.

use crate::domain::usage::{Meter, Quantities};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::Value;
use std::collections::BTreeMap;

/// The meters that have columns of their own, in the order of the columns.
pub const COLUMN_METERS: [Meter; 5] =
    [Meter::InputTokens, Meter::CachedInputTokens, Meter::OutputTokens, Meter::ReasoningTokens, Meter::Requests];

/// Quantities, or sums of them, in columns and beside them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowQuantities {
    /// Of [`COLUMN_METERS`], in their order.
    pub columns: [i64; 5],
    /// What has no column, or does not fit it. None of them zero, where it is no sum.
    pub rest: Quantities,
}

impl RowQuantities {
    /// Parts quantities: those beside the columns are no whole number up to that of a column, or have none.
    pub fn of(quantities: &Quantities) -> Self {
        let mut parted = Self::default();
        for (meter, quantity) in quantities.iter().filter(|(_, quantity)| !quantity.is_zero()) {
            let column = parted.columns.iter_mut().zip(COLUMN_METERS).find(|(_, of)| of == meter);
            match (column, column_value(quantity)) {
                (Some((column, _)), Some(whole)) => *column = i64::from(whole),
                (Some(_) | None, _) => drop(parted.rest.insert(*meter, quantity.normalize())),
            }
        }
        parted
    }

    /// Adds what others hold, or takes it away (`sign` -1).
    pub fn add(&mut self, others: &Self, sign: i32) {
        for (column, other) in self.columns.iter_mut().zip(others.columns) {
            // A batch has far below 10^6 events, and a column of an event at most 2^31.
            *column = column.saturating_add(other.saturating_mul(i64::from(sign)));
        }
        for (meter, quantity) in &others.rest {
            // A quantity has at most 22 digits, fractional ones included, and a batch far below 10^6 events: at most 10^5
            // messages (see `Config::load`) and what the last one holds. 28 digits hold the sum.
            *self.rest.entry(*meter).or_default() += if sign < 0 { -quantity } else { *quantity };
        }
    }

    pub fn is_zero(&self) -> bool {
        self.columns == [0; 5] && self.rest.values().all(Decimal::is_zero)
    }

    /// All input of a request, in tokens: a part of a token counts as one.
    pub fn context_tokens(&self) -> i64 {
        let of_columns = COLUMN_METERS.iter().zip(self.columns).filter(|(meter, _)| meter.is_context());
        let of_columns = of_columns.fold(0_i64, |sum, (_, tokens)| sum.saturating_add(tokens));
        let of_rest: Decimal = self.rest.iter().filter(|(meter, _)| meter.is_context()).map(|(_, it)| *it).sum();
        of_columns.saturating_add(of_rest.ceil().to_i64().unwrap_or(i64::MAX))
    }

    /// All of them by meter, as they were before they were parted.
    pub fn joined(&self) -> Quantities {
        let mut quantities = self.rest.clone();
        for (meter, column) in COLUMN_METERS.into_iter().zip(self.columns).filter(|(_, column)| *column != 0) {
            *quantities.entry(meter).or_default() += Decimal::from(column);
        }
        quantities
    }

    /// What stands beside the columns as JSON: decimals by meter; none where nothing does.
    pub(super) fn rest_json(&self) -> Option<String> {
        let rest = self.rest.iter().filter(|(_, quantity)| !quantity.is_zero());
        let rest: BTreeMap<&str, String> =
            rest.map(|(meter, quantity)| (meter.name(), quantity.normalize().to_string())).collect();
        (!rest.is_empty()).then(|| serde_json::json!(rest).to_string())
    }
}

/// A quantity as a column of an event holds it.
fn column_value(quantity: &Decimal) -> Option<i32> {
    // Most have no fractional digits, so that nothing need be divided.
    let whole = if quantity.scale() == 0 { *quantity } else { quantity.normalize() };
    if whole.scale() == 0 { i32::try_from(whole.mantissa()).ok() } else { None }
}

/// Puts together the columns of an event and what stands beside them.
///
/// # Errors
/// What is wrong with `rest`, in words.
pub(super) fn join(columns: [i32; 5], rest: Option<Value>) -> Result<Quantities, String> {
    let rest = rest.map(serde_json::from_value).transpose().map_err(|error| error.to_string())?;
    Ok(RowQuantities { columns: columns.map(i64::from), rest: rest.unwrap_or_default() }.joined())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantities(of: &[(Meter, &str)]) -> Quantities {
        of.iter().map(|(meter, text)| (*meter, text.parse().expect("a decimal"))).collect()
    }

    #[test]
    fn quantities_are_parted_and_put_together_exactly() {
        let cases = [
            (vec![(Meter::InputTokens, "7")], [7, 0, 0, 0, 0], None),
            (vec![(Meter::InputTokens, "7.0")], [7, 0, 0, 0, 0], None),
            (
                vec![(Meter::InputTokens, "7.5"), (Meter::Requests, "1")],
                [0, 0, 0, 0, 1],
                Some(r#"{"input_tokens":"7.5"}"#),
            ),
            (vec![(Meter::OutputTokens, "2147483647")], [0, 0, 2_147_483_647, 0, 0], None),
            (vec![(Meter::OutputTokens, "2147483648")], [0; 5], Some(r#"{"output_tokens":"2147483648"}"#)),
            (vec![(Meter::StateGbHours, "0.1250")], [0; 5], Some(r#"{"state_gb_hours":"0.125"}"#)),
        ];
        for (of, columns, rest) in cases {
            let quantities = quantities(&of);
            let parted = RowQuantities::of(&quantities);
            assert_eq!((parted.columns, parted.rest_json().as_deref()), (columns, rest));
            assert_eq!(parted.joined(), quantities);
            let rest = rest.map(|text| serde_json::from_str(text).expect("json"));
            assert_eq!(join(columns.map(|it| i32::try_from(it).expect("a column")), rest), Ok(quantities));
        }
    }

    #[test]
    fn what_is_added_and_taken_away_again_leaves_nothing() {
        let of = quantities(&[
            (Meter::InputTokens, "9"),
            (Meter::StateGbHours, "0.1"),
            (Meter::OutputTokens, "10000000000"),
        ]);
        let event = RowQuantities::of(&of);
        let mut sums = RowQuantities::default();
        sums.add(&event, 1);
        sums.add(&event, 1);
        assert_eq!((sums.columns[0], sums.rest_json().is_some()), (18, true));
        sums.add(&event, -1);
        sums.add(&event, -1);
        assert!(sums.is_zero() && sums.rest_json().is_none());
    }

    #[test]
    fn the_context_of_a_request_is_all_of_its_input() {
        let of = [(Meter::InputTokens, "5"), (Meter::CachedInputTokens, "3000000000"), (Meter::OutputTokens, "9")];
        assert_eq!(RowQuantities::of(&quantities(&of)).context_tokens(), 3_000_000_005);
        let of = [(Meter::InputTokens, "5"), (Meter::CacheWriteTokens, "0.5")];
        assert_eq!(RowQuantities::of(&quantities(&of)).context_tokens(), 6);
    }
}
