//! Exact amounts, currencies, and the one place where anything is rounded.
//!
//! CONTRACTS section 6: prices, rates and accruals are never rounded; a booked line is, once, to the
//! currency's minor unit, by the contract's mode.

use num_bigint::{BigInt, Sign};
use num_rational::BigRational;
use num_traits::{Signed, Zero};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::iter::Sum;
use std::num::NonZeroU64;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};
use std::str::FromStr;

/// An exact number: an amount before rounding, a rate, a quantity.
///
/// A ratio of wide integers, so that no sum, product or third ever loses a digit. Written as a decimal
/// where it has a finite one (`"0.695"`), else as a reduced fraction (`"1/3"`).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Exact(BigRational);

impl Exact {
    pub fn zero() -> Self {
        Self(BigRational::zero())
    }

    pub fn from_integer(value: i64) -> Self {
        Self(BigRational::from_integer(BigInt::from(value)))
    }

    /// `numerator / denominator`; `None` where the denominator is zero.
    pub fn ratio(numerator: i64, denominator: i64) -> Option<Self> {
        (denominator != 0).then(|| Self(BigRational::new(numerator.into(), denominator.into())))
    }

    /// Reads a number that a person or another system wrote: as `from_str`, and of at most 64 characters.
    ///
    /// What is longer is no amount of money, and would make every sum with it slow.
    ///
    /// # Errors
    /// A text that is no number, or that is longer.
    pub fn from_written(text: &str) -> Result<Self, ParseExactError> {
        if text.len() > 64 {
            let text: String = text.chars().take(16).chain("...".chars()).collect();
            return Err(ParseExactError { text });
        }
        text.parse()
    }

    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    pub fn is_negative(&self) -> bool {
        self.0.is_negative()
    }

    /// Rounds to `digits` fractional digits. Only a booked line and what it is compared with may call this.
    pub fn round(&self, digits: u32, mode: Rounding) -> Self {
        let scale = BigRational::from_integer(BigInt::from(10).pow(digits));
        let scaled = &self.0 * &scale;
        let whole = scaled.trunc();
        let twice_rest = (&scaled - &whole).abs() * BigInt::from(2);
        let one = BigRational::from_integer(BigInt::from(1));
        let away = match twice_rest.cmp(&one) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Greater => mode != Rounding::Down,
            std::cmp::Ordering::Equal => match mode {
                Rounding::HalfUp => true,
                Rounding::HalfEven => whole.to_integer().bit(0),
                Rounding::Down => false,
            },
        };
        let rounded = match (away, scaled.is_negative()) {
            (false, _) => whole,
            (true, false) => whole + one,
            (true, true) => whole - one,
        };
        Self(rounded / scale)
    }

    /// The number as a decimal with `digits` fractional digits, without rounding.
    ///
    /// `None` where it has more digits than that, or a `Decimal` cannot hold it.
    pub fn to_decimal(&self, digits: u32) -> Option<Decimal> {
        let scaled = &self.0 * BigInt::from(10).pow(digits);
        if !scaled.is_integer() {
            return None;
        }
        let units = i128::try_from(scaled.to_integer()).ok()?;
        Decimal::try_from_i128_with_scale(units, digits).ok()
    }

    /// How many fractional digits its finite decimal form has; `None` for a third.
    fn finite_digits(&self) -> Option<u32> {
        let mut rest = self.0.denom().clone();
        let mut count = |prime: u32| {
            let mut digits = 0_u32;
            while (&rest % prime).is_zero() {
                rest /= prime;
                digits = digits.saturating_add(1);
            }
            digits
        };
        let digits = count(2).max(count(5));
        (rest == BigInt::from(1)).then_some(digits)
    }
}

impl From<Decimal> for Exact {
    fn from(value: Decimal) -> Self {
        let scale = BigInt::from(10).pow(value.scale());
        Self(BigRational::new(BigInt::from(value.mantissa()), scale))
    }
}

/// The text is no number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{text}\" is not an exact number of at most 64 characters; write a decimal such as \"1_000.50\" or a fraction such as \"1/3\""
)]
pub struct ParseExactError {
    pub text: String,
}

impl FromStr for Exact {
    type Err = ParseExactError;

    /// Reads `-1_000.50` or `1/3`. No exponent, no float, any number of digits.
    fn from_str(text: &str) -> Result<Self, ParseExactError> {
        let fail = || ParseExactError { text: text.to_owned() };
        let part = |digits: &str| parse_decimal(digits).ok_or_else(fail);
        match text.split_once('/') {
            None => part(text).map(Self),
            Some((numerator, denominator)) => {
                let denominator = part(denominator.trim())?;
                if denominator.is_zero() {
                    return Err(fail());
                }
                Ok(Self(part(numerator.trim())? / denominator))
            }
        }
    }
}

fn parse_decimal(text: &str) -> Option<BigRational> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let well_formed = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let starts = whole.starts_with(|c: char| c.is_ascii_digit());
    let fraction_ok = fraction.is_empty() != digits.contains('.') && !fraction.starts_with('_');
    if !starts || !fraction_ok || !well_formed(whole) || !well_formed(fraction) {
        return None;
    }
    let fraction_digits: String = fraction.chars().filter(|c| *c != '_').collect();
    let all: String = whole.chars().filter(|c| *c != '_').chain(fraction_digits.chars()).collect();
    let magnitude = BigInt::parse_bytes(all.as_bytes(), 10)?;
    let signed = if negative { -magnitude } else { magnitude };
    let scale = BigInt::from(10).pow(u32::try_from(fraction_digits.len()).ok()?);
    Some(BigRational::new(signed, scale))
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(digits) = self.finite_digits() else {
            return write!(f, "{}/{}", self.0.numer(), self.0.denom());
        };
        let scaled = (&self.0 * BigInt::from(10).pow(digits)).to_integer();
        let width = usize::try_from(digits).unwrap_or(usize::MAX);
        let text = format!("{:0>fill$}", scaled.magnitude(), fill = width.saturating_add(1));
        let (whole, fraction) = text.split_at(text.len().saturating_sub(width));
        let sign = if scaled.sign() == Sign::Minus { "-" } else { "" };
        match fraction {
            "" => write!(f, "{sign}{whole}"),
            _ => write!(f, "{sign}{whole}.{fraction}"),
        }
    }
}

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

// Wide integers neither overflow nor round, so the plain operators are exact here.
mod operators {
    use super::*;

    macro_rules! operator {
        ($trait:ident, $method:ident, $op:tt) => {
            impl $trait<&Exact> for &Exact {
                type Output = Exact;
                fn $method(self, other: &Exact) -> Exact {
                    Exact(&self.0 $op &other.0)
                }
            }
            impl $trait<Exact> for Exact {
                type Output = Exact;
                fn $method(self, other: Exact) -> Exact {
                    Exact(self.0 $op other.0)
                }
            }
        };
    }
    operator!(Add, add, +);
    operator!(Sub, sub, -);
    operator!(Mul, mul, *);

    impl Exact {
        /// The quotient; `None` where `divisor` is zero.
        pub fn checked_div(&self, divisor: &Self) -> Option<Self> {
            (!divisor.is_zero()).then(|| Self((&self.0).div(&divisor.0)))
        }
    }

    impl Div<NonZeroU64> for Exact {
        type Output = Exact;
        fn div(self, divisor: NonZeroU64) -> Exact {
            Exact(self.0 / BigInt::from(divisor.get()))
        }
    }

    impl Neg for Exact {
        type Output = Exact;
        fn neg(self) -> Exact {
            Exact(-self.0)
        }
    }

    impl AddAssign<&Exact> for Exact {
        fn add_assign(&mut self, other: &Exact) {
            self.0 += &other.0;
        }
    }

    impl Sum for Exact {
        fn sum<I: Iterator<Item = Exact>>(items: I) -> Exact {
            items.fold(Exact::zero(), |total, item| total + item)
        }
    }
}

/// How a booked line is rounded. The halves are symmetric about zero; `Down` is toward zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "service", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    HalfUp,
    HalfEven,
    Down,
}

/// An ISO 4217 currency with its minor digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency {
    code: &'static str,
    digits: u32,
}

/// Currencies of ISO 4217 that are in use, by minor digits; what is not listed has two.
const CODES_OF_0_DIGITS: &[&str] =
    &["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"];
const CODES_OF_3_DIGITS: &[&str] = &["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];
const CODES_OF_2_DIGITS: &[&str] = &[
    "AED", "AUD", "BRL", "CAD", "CHF", "CNY", "COP", "CZK", "DKK", "EGP", "EUR", "GBP", "HKD", "HUF", "IDR", "ILS",
    "INR", "KES", "MAD", "MXN", "MYR", "NGN", "NOK", "NZD", "PEN", "PHP", "PKR", "PLN", "QAR", "RON", "RSD", "SAR",
    "SEK", "SGD", "THB", "TRY", "TWD", "UAH", "USD", "ZAR",
];

/// The code is no currency that we know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{code}\" is no ISO 4217 currency in use; write a code such as \"USD\"")]
pub struct UnknownCurrency {
    pub code: String,
}

impl Currency {
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Digits after the point in which the currency is paid: 2 for USD, 0 for JPY, 3 for KWD.
    pub fn minor_digits(&self) -> u32 {
        self.digits
    }
}

impl FromStr for Currency {
    type Err = UnknownCurrency;

    fn from_str(code: &str) -> Result<Self, UnknownCurrency> {
        [(CODES_OF_0_DIGITS, 0), (CODES_OF_2_DIGITS, 2), (CODES_OF_3_DIGITS, 3)]
            .into_iter()
            .find_map(|(codes, digits)| {
                codes.iter().find(|known| **known == code).map(|known| Self { code: known, digits })
            })
            .ok_or_else(|| UnknownCurrency { code: code.to_owned() })
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code)
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// An exact amount in a currency: `"1_000.50 USD"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Money {
    pub amount: Exact,
    pub currency: Currency,
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.currency)
    }
}

/// The text is no amount of money.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseMoneyError {
    #[error("\"{text}\" has no currency; write an amount such as \"1_000.50 USD\"")]
    NoCurrency { text: String },
    #[error(transparent)]
    Currency(#[from] UnknownCurrency),
    #[error(transparent)]
    Amount(#[from] ParseExactError),
}

impl FromStr for Money {
    type Err = ParseMoneyError;

    fn from_str(text: &str) -> Result<Self, ParseMoneyError> {
        let (amount, code) =
            text.rsplit_once(' ').ok_or_else(|| ParseMoneyError::NoCurrency { text: text.to_owned() })?;
        Ok(Self { amount: Exact::from_written(amount.trim())?, currency: code.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(text: &str) -> Exact {
        text.parse().expect("a number")
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
    fn money_names_its_currency() {
        assert_eq!("1_000.50 USD".parse::<Money>().expect("money").to_string(), "1000.5 USD");
        assert!(matches!("100".parse::<Money>(), Err(ParseMoneyError::NoCurrency { .. })));
        assert!(matches!("100 XYZ".parse::<Money>(), Err(ParseMoneyError::Currency(_))));
    }
}
