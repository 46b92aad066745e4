//! Shares of a rounded amount: parts sum to the whole (CONTRACTS section 6).

use crate::domain::money::{Exact, Rounding};

/// Rounds parts so that they sum to their rounded sum: that is allocated in proportion to them. Where some are owed
/// and others to be returned no proportion says what each is: each is then rounded from what it is itself.
pub fn round_together(parts: &[Exact], digits: u32, rounding: Rounding) -> Vec<Exact> {
    let whole: Exact = parts.iter().cloned().sum();
    let rounded = whole.round(digits, rounding);
    let goes_the_other_way = |part: &Exact| !part.is_zero() && part.is_negative() != whole.is_negative();
    let allocated = match parts.iter().any(goes_the_other_way) {
        false => allocate(&rounded, digits, parts),
        true => {
            let minor = Exact::power_of_ten(digits);
            in_units(parts.iter().map(|part| part * &minor).collect(), &(&rounded * &minor), digits)
        }
    };
    allocated.unwrap_or_else(|| vec![Exact::zero(); parts.len()])
}

/// Divides a rounded amount in proportion to weights: the largest remainders take what is left, ties go to the part
/// listed first, a part without weight takes nothing. None where no part has a weight.
///
/// `amount` has at most `digits` fractional digits, and so has each part. A negative amount goes the same way back.
pub fn allocate(amount: &Exact, digits: u32, weights: &[Exact]) -> Option<Vec<Exact>> {
    let whole: Exact = weights.iter().cloned().sum();
    let minor = Exact::power_of_ten(digits);
    let units = amount * &minor;
    let exact_parts = weights.iter().map(|weight| (&units * weight).checked_div(&whole));
    in_units(exact_parts.collect::<Option<_>>()?, &units, digits)
}

/// Whole units of exact parts that sum to a number of them, as amounts. A part of nothing takes nothing.
fn in_units(exact_parts: Vec<Exact>, units: &Exact, digits: u32) -> Option<Vec<Exact>> {
    let mut parts: Vec<Exact> = exact_parts.iter().map(Exact::trunc).collect();
    let mut left = units - &parts.iter().cloned().sum();
    let one = if left.is_negative() { Exact::from_integer(-1) } else { Exact::from_integer(1) };
    let mut order: Vec<usize> = (0..parts.len()).collect();
    let remainder = |place: &usize| {
        let rest = exact_parts.get(*place).zip(parts.get(*place)).map(|(exact, part)| exact - part);
        rest.map(|rest| &rest * &one).unwrap_or_default()
    };
    // A stable sort keeps the part listed first before its equals.
    order.sort_by_key(|place| std::cmp::Reverse(remainder(place)));
    for place in order {
        let is_of_nothing = exact_parts.get(place).is_none_or(Exact::is_zero);
        if left.is_zero() || is_of_nothing {
            continue;
        }
        if let Some(part) = parts.get_mut(place) {
            *part += &one;
            left = &left - &one;
        }
    }
    let to_amount = Exact::power_of_ten(digits).inverse()?;
    Some(parts.iter().map(|part| part * &to_amount).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exact(text: &str) -> Exact {
        text.parse().expect("a number")
    }

    fn shown(amount: &str, weights: &[&str]) -> Vec<String> {
        let weights: Vec<Exact> = weights.iter().map(|it| exact(it)).collect();
        let parts = allocate(&exact(amount), 2, &weights).expect("a weight");
        parts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn cents_go_to_the_largest_remainders() {
        assert_eq!(shown("0.01", &["0", "1", "1", "1"]), ["0", "0.01", "0", "0"], "scenario 07b");
        assert_eq!(shown("0.02", &["0", "1", "1", "1"]), ["0", "0.01", "0.01", "0"]);
        assert_eq!(shown("-0.02", &["0", "1", "1", "1"]), ["0", "-0.01", "-0.01", "0"]);
        assert_eq!(shown("30.03", &["66.74", "33.37"]), ["20.02", "10.01"], "scenario 24a");
        assert_eq!(shown("100", &["40", "30", "30"]), ["40", "30", "30"]);
        assert_eq!(shown("0.05", &["1", "1", "5"]), ["0.01", "0.01", "0.03"], "5/7, 5/7 and 25/7 cents");
        assert_eq!(allocate(&exact("1"), 2, &[exact("0"), exact("0")]), None);
    }

    #[test]
    fn what_is_owed_and_returned_is_rounded_by_itself() {
        let shown = |parts: &[&str]| {
            let parts: Vec<Exact> = parts.iter().map(|it| exact(it)).collect();
            let rounded = round_together(&parts, 2, Rounding::HalfUp);
            rounded.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(shown(&["-30", "30"]), ["-30", "30"]);
        assert_eq!(shown(&["1000.006", "-1000"]), ["1000.01", "-1000"]);
        assert_eq!(shown(&["0.335", "-0.1675", "-0.1675"]), ["0.33", "-0.17", "-0.16"]);
        assert_eq!(shown(&["0", "0"]), ["0", "0"]);
        assert_eq!(shown(&["0.005", "0.005"]), ["0.01", "0"]);
    }

    proptest! {
        #[test]
        fn parts_sum_to_the_whole(cents in -1_000_000_i64..1_000_000, weights in prop::collection::vec(0_i64..100, 1..6)) {
            prop_assume!(weights.iter().any(|it| *it != 0));
            let amount = Exact::ratio(cents, 100).expect("a ratio");
            let exact_weights: Vec<Exact> = weights.iter().map(|it| Exact::from_integer(*it)).collect();
            let parts = allocate(&amount, 2, &exact_weights).expect("a weight");
            prop_assert_eq!(parts.iter().cloned().sum::<Exact>(), amount);
            for (part, weight) in parts.iter().zip(&weights) {
                prop_assert!(*weight != 0 || part.is_zero());
                prop_assert_eq!(part.round(2, crate::domain::money::Rounding::Down), part.clone());
            }
        }
    }
}
