//! Numbers as their texts say, exactly: no quantity goes through a float.

use crate::domain::usage::Meter;
use rust_decimal::Decimal;

/// The largest quantity of one meter, in its unit.
const MAX_QUANTITY: i64 = 1_000_000_000_000_000;
/// How many fractional digits a quantity may have.
const MAX_FRACTIONAL_DIGITS: u32 = 6;
/// Hours are reported second by second, with more digits; a batch's sums of them stay exact, as they are smaller.
const MAX_HOURS: i64 = 10_000_000;
const MAX_FRACTIONAL_DIGITS_OF_HOURS: u32 = 15;

/// How many digits every decimal has room for, and how many of them at most after the point.
const MAX_DIGITS: usize = 28;
const MAX_SCALE: i32 = 28;

/// What is wrong with a quantity.
pub(super) enum WrongQuantity {
    Negative,
    Wrong(&'static str),
}

/// Reads a quantity of a meter.
pub(super) fn quantity(meter: Meter, text: &str) -> Result<Decimal, WrongQuantity> {
    let (max, digits, too_large, too_fine) = if meter.is_hours() {
        (MAX_HOURS, MAX_FRACTIONAL_DIGITS_OF_HOURS, "is above 10^7", "has more than 15 fractional digits")
    } else {
        (MAX_QUANTITY, MAX_FRACTIONAL_DIGITS, "is above 10^15", "has more than 6 fractional digits")
    };
    let quantity = exact_decimal(text).ok_or(WrongQuantity::Wrong("must be a decimal number"))?.normalize();
    if quantity.is_sign_negative() && !quantity.is_zero() {
        return Err(WrongQuantity::Negative);
    }
    if quantity.scale() > digits {
        return Err(WrongQuantity::Wrong(too_fine));
    }
    if quantity > Decimal::from(max) {
        return Err(WrongQuantity::Wrong(too_large));
    }
    Ok(quantity.abs())
}

/// The value of `12`, `1.50` or `2e3`, exactly; nothing if it cannot be held exactly. Zeros at either end of the digits
/// say nothing of it, however many there are.
pub(super) fn exact_decimal(text: &str) -> Option<Decimal> {
    // Most are whole and fit; what follows says the same of them, in more time.
    if text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse::<u64>().ok().map(Decimal::from);
    }
    let (number, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().ok()?;
    let unsigned = number.strip_prefix(['-', '+']).unwrap_or(number);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = [whole, fraction].concat();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut power = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let mut significant = digits.trim_start_matches('0');
    if significant.is_empty() {
        return Some(Decimal::new(0, power.clamp(-MAX_SCALE, 0).unsigned_abs()));
    }
    // Those at the end stand as they are written where there is room for them.
    while (significant.len() > MAX_DIGITS || power < -MAX_SCALE)
        && let Some(shorter) = significant.strip_suffix('0')
    {
        significant = shorter;
        power = power.saturating_add(1);
    }
    let magnitude: i128 = significant.parse().ok()?;
    let magnitude = magnitude.checked_mul(10_i128.checked_pow(u32::try_from(power.max(0)).ok()?)?)?;
    let mut value = Decimal::try_from_i128_with_scale(magnitude, power.min(0).unsigned_abs()).ok()?;
    value.set_sign_negative(number.starts_with('-'));
    Some(value)
}

/// Whether a byte may stand in a number.
pub(super) fn is_part(byte: u8) -> bool {
    byte.is_ascii_digit() || b".+-eE".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_what_its_text_says_exactly_or_none() {
        let zeros = "0".repeat(40);
        for (text, value) in [
            ("12", Some("12")),
            ("1.50", Some("1.5")),
            ("2e3", Some("2000")),
            ("-2.5E-3", Some("-0.0025")),
            ("+7", Some("7")),
            (".5", Some("0.5")),
            ("5.", Some("5")),
            ("0e400", Some("0")),
            (&format!("1.{zeros}"), Some("1")),
            (&format!("{zeros}1e0"), Some("1")),
            (&format!("1{zeros}e-40"), Some("1")),
            ("79228162514264337593543950335", Some("79228162514264337593543950335")),
            ("79228162514264337593543950336", None),
            ("1.9999999999999999999999999999e1", Some("19.999999999999999999999999999")),
            ("1e-28", Some("0.0000000000000000000000000001")),
            ("1e-29", None),
            ("1e29", None),
            ("1e400", None),
            ("1e99999999999", None),
            ("", None),
            (".", None),
            ("-", None),
            ("1e", None),
            ("1_0", None),
            ("--1", None),
            ("1.2.3", None),
            ("NaN", None),
        ] {
            let value = value.map(|value| value.parse::<Decimal>().expect("a decimal"));
            assert_eq!(exact_decimal(text), value, "{text}");
        }
        let spelt = ["-1.50", "0.00", "150e-2", "0e-40"].map(|text| exact_decimal(text).map(|value| value.to_string()));
        let expected = ["-1.50", "0.00", "1.50", "0.0000000000000000000000000000"].map(|text| Some(text.to_owned()));
        assert_eq!(spelt, expected);
    }
}
