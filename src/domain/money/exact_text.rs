//! How exact numbers are written: as decimals where they have a finite one, else as fractions.

use super::exact::Exact;
use num_bigint::{BigInt, Sign};
use num_rational::BigRational;
use num_traits::Zero;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The text is no number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not an exact number of at most 64 characters; write {}", to_write(.text))]
pub struct ParseExactError {
    pub text: String,
}

impl Exact {
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
}

/// What is right in place of a number with commas, or of what is none: a comma may part thousands, or stand for the point.
fn to_write(text: &str) -> String {
    let by_thousands = text.replace(',', "_");
    let by_point = text.replace('.', "_").replacen(',', ".", 1);
    let has_thousands = |number: &str| {
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let mut groups = whole.split('_');
        let first = groups.next().unwrap_or_default().trim_start_matches('-');
        let has_groups = groups.clone().next().is_none() || (1..=3).contains(&first.len()) && !first.starts_with('0');
        has_groups && groups.all(|group| group.len() == 3) && !fraction.contains('_') && number.parse::<Exact>().is_ok()
    };
    let mut right = [by_thousands, by_point].into_iter().filter(|it| text.contains(',') && has_thousands(it));
    match (right.next(), right.next()) {
        (Some(thousands), Some(decimals)) => {
            format!("the number as {thousands} if the comma parts thousands, as {decimals} if it is a decimal point")
        }
        (Some(only), None) => format!("the number as {only}"),
        (None, _) => "a decimal such as \"1_000.50\" or a fraction such as \"1/3\"".to_owned(),
    }
}

impl FromStr for Exact {
    type Err = ParseExactError;

    /// Reads `-1_000.50` or `1/3`. No exponent, no float, any number of digits.
    fn from_str(text: &str) -> Result<Self, ParseExactError> {
        let fail = || ParseExactError { text: text.to_owned() };
        let part = |digits: &str| parse_decimal(digits).ok_or_else(fail);
        match text.split_once('/') {
            None => part(text).map(Self::from_wide),
            Some((numerator, denominator)) => {
                let denominator = part(denominator.trim())?;
                if denominator.is_zero() {
                    return Err(fail());
                }
                Ok(Self::from_wide(part(numerator.trim())? / denominator))
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
        let reduced = self.to_wide();
        let Some(digits) = finite_digits(&reduced) else {
            return write!(f, "{}/{}", reduced.numer(), reduced.denom());
        };
        let scaled = (&reduced * BigInt::from(10).pow(digits)).to_integer();
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

/// How many fractional digits the finite decimal form of a reduced ratio has; `None` for a third.
fn finite_digits(reduced: &BigRational) -> Option<u32> {
    let mut rest = reduced.denom().clone();
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
