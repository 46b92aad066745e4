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

/// The value of `12`, `1.50` or `2e3`, exactly; nothing if it cannot be held exactly.
pub(super) fn exact_decimal(text: &str) -> Option<Decimal> {
    // Most are whole and fit; what follows says the same of them, in more time.
    if text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse::<u64>().ok().map(Decimal::from);
    }
    if !text.bytes().all(is_part) {
        return None;
    }
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let mut value = Decimal::from_str_exact(digits).ok()?;
    let exponent: i32 = exponent.parse().ok().filter(|exponent| (-28..=28).contains(exponent))?;
    if exponent >= 0 {
        for _ in 0..exponent {
            value = value.checked_mul(Decimal::TEN)?;
        }
    } else {
        value.set_scale(value.scale().checked_add(exponent.unsigned_abs())?).ok()?;
    }
    Some(value)
}

/// Whether a byte may stand in a number.
pub(super) fn is_part(byte: u8) -> bool {
    byte.is_ascii_digit() || b".+-eE".contains(&byte)
}
