//! Shares of a rounded amount: parts sum to the whole (CONTRACTS section 6).

use crate::domain::money::Exact;

/// Divides a rounded amount in proportion to weights: the largest remainders take what is left, ties go to the part
/// listed first, a part without weight takes nothing. None where no part has a weight.
///
/// `amount` has at most `digits` fractional digits, and so has each part. A negative amount goes the same way back.
pub fn allocate(amount: &Exact, digits: u32, weights: &[Exact]) -> Option<Vec<Exact>> {
    let whole: Exact = weights.iter().cloned().sum();
    let minor = Exact::power_of_ten(digits);
    let units = amount * &minor;
    let exact_parts = weights.iter().map(|weight| (&units * weight).checked_div(&whole));
    let exact_parts: Vec<Exact> = exact_parts.collect::<Option<_>>()?;
    let mut parts: Vec<Exact> = exact_parts.iter().map(Exact::trunc).collect();
    let mut left = &units - &parts.iter().cloned().sum();
    let one = if left.is_negative() { Exact::from_integer(-1) } else { Exact::from_integer(1) };
    let mut order: Vec<usize> = (0..parts.len()).collect();
    let remainder = |place: &usize| {
        let rest = exact_parts.get(*place).zip(parts.get(*place)).map(|(exact, part)| exact - part);
        rest.map(|rest| &rest * &one).unwrap_or_default()
    };
    // A stable sort keeps the part listed first before its equals.
    order.sort_by_key(|place| std::cmp::Reverse(remainder(place)));
    for place in order {
        let has_weight = weights.get(place).is_some_and(|weight| !weight.is_zero());
        if left.is_zero() || !has_weight {
            continue;
        }
        if let Some(part) = parts.get_mut(place) {
            *part += &one;
            left = &left - &one;
        }
    }
    let to_amount = minor.inverse()?;
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
