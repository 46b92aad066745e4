//! Exact amounts: arithmetic, rounding, and how they are written.

use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

fn exact(text: &str) -> Exact {
    text.parse().expect("a number")
}

/// Numbers on both sides of what machine integers hold, reduced or not.
fn numbers() -> impl Strategy<Value = Exact> {
    let wide = (any::<i128>(), 1..=u64::MAX);
    let close = (-1_000_i128..1_000, 1_u64..60);
    let money = (any::<i64>().prop_map(i128::from), (0_u32..19).prop_map(|digits| 10_u64.pow(digits)));
    prop_oneof![wide, close, money]
        .prop_map(|(numerator, denominator)| Exact::small(numerator, NonZeroU64::new(denominator).expect("not zero")))
}

proptest! {
    #[test]
    fn equals_wide_arithmetic(a in numbers(), b in numbers(), c in numbers()) {
        let (wide_a, wide_b, wide_c) = (a.to_wide(), b.to_wide(), c.to_wide());
        prop_assert_eq!((&(&a + &b) + &c).to_wide(), &wide_a + &wide_b + &wide_c);
        prop_assert_eq!((&(&a - &b) * &c).to_wide(), (&wide_a - &wide_b) * &wide_c);
        prop_assert_eq!(a.cmp(&b), wide_a.cmp(&wide_b));
        prop_assert_eq!(a.checked_div(&b).map(|it| it.to_wide()), (!wide_b.is_zero()).then(|| &wide_a / &wide_b));
        prop_assert_eq!(&(&(&a + &b) - &b), &a, "what was added can be taken away again");
        let divisor = NonZeroU64::new(u64::MAX - 1).expect("not zero");
        // Sums of what is wide are wide themselves.
        for number in [a.clone(), &a + &b] {
            prop_assert_eq!((number.clone() / divisor).to_wide(), number.to_wide() / BigInt::from(divisor.get()));
        }
        prop_assert_eq!(a.to_string().parse::<Exact>().expect("its own text"), a.clone());
        let same = Exact::from_wide(wide_a);
        prop_assert_eq!(HashSet::from([a, same]).len(), 1, "equal numbers have equal hashes");
    }
}

#[test]
fn what_no_machine_integer_holds_stays_exact() {
    let largest = Exact::small(i128::MAX, ONE);
    assert_eq!((&largest + &Exact::from_integer(1)).to_string(), "170141183460469231731687303715884105728");
    assert_eq!(-Exact::small(i128::MIN, ONE), &largest + &Exact::from_integer(1));
    let back = &(&largest + &Exact::from_integer(1)) - &Exact::from_integer(1);
    assert!(matches!(back.0, Ratio::Small { .. }), "it comes back when it fits");
    assert_eq!(Exact::ratio(1, -3).map(|it| it.to_string()).as_deref(), Some("-1/3"));
    assert_eq!(Exact::ratio(i64::MIN, i64::MIN), Some(Exact::from_integer(1)));
    assert_eq!(Exact::ratio(1, 0), None);
}

#[test]
fn rounding_is_symmetric_about_zero() {
    let check = |value: &str, half_up: &str, half_even: &str, down: &str| {
        let round = |mode| exact(value).round(2, mode).to_string();
        assert_eq!(
            [round(Rounding::HalfUp), round(Rounding::HalfEven), round(Rounding::Down)],
            [half_up, half_even, down],
            "{value}"
        );
    };
    check("0.125", "0.13", "0.12", "0.12");
    check("-0.125", "-0.13", "-0.12", "-0.12");
    check("0.135", "0.14", "0.14", "0.13");
    check("0.1351", "0.14", "0.14", "0.13");
    check("2/3", "0.67", "0.67", "0.66");
    check("-2/3", "-0.67", "-0.67", "-0.66");
    check("5", "5", "5", "5");
}

#[test]
fn text_round_trips_exactly() {
    for text in ["0", "-0.695", "1/3", "-7/3", "10000000000000.000000000000001", "100"] {
        assert_eq!(exact(text).to_string(), text);
    }
    assert_eq!(exact("1_000.50"), exact("1000.5"));
    for wrong in ["", ".", "1.", ".5", "1e6", "1/0", "+1", "1,5", "--1", "_1", "1._5"] {
        assert!(wrong.parse::<Exact>().is_err(), "{wrong}");
    }
}

#[test]
fn products_beyond_28_digits_stay_exact() {
    let product = &exact("10000000000000.01") * &exact("0.000000000000001");
    let shared = &(&product * &exact("1.0000000001")) * &exact("0.21");
    assert_eq!(shared.to_string(), "0.00210000000021000210000000021");
}

#[test]
fn a_number_with_commas_is_told_as_it_is_right() {
    for (text, write) in [
        ("5,000", "the number as 5_000 if the comma parts thousands, as 5.000 if it is a decimal point"),
        ("1,234,567.50", "the number as 1_234_567.50"),
        ("5.000,00", "the number as 5_000.00"),
        ("1,1", "the number as 1.1"),
        ("0,900", "the number as 0.900"),
        ("1234,567", "the number as 1234.567"),
        ("-1,234", "the number as -1_234 if the comma parts thousands, as -1.234 if it is a decimal point"),
        ("1,1,1", "a decimal such as \"1_000.50\" or a fraction such as \"1/3\""),
        ("1e6", "a decimal such as \"1_000.50\" or a fraction such as \"1/3\""),
    ] {
        let told = text.parse::<Exact>().expect_err("a refusal").to_string();
        assert_eq!(told, format!("\"{text}\" is not an exact number of at most 64 characters; write {write}"));
    }
}
