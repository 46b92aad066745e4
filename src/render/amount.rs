//! Amounts as people read them: thousands apart, all minor digits, and a mark where digits are left out.

use crate::domain::engine::addend::{Factor, FactorOf};
use crate::domain::money::{Exact, Rounding, Unit};
use crate::domain::statement::DetailAddend;

/// A whole number with its thousands apart: `1,234,567`.
pub fn thousands(number: impl std::fmt::Display) -> String {
    let text = number.to_string();
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let mut grouped = String::from(sign);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A rounded amount with all digits of its currency or unit: `1,234.50`.
pub fn minor(amount: &Exact, unit: impl Into<Unit>) -> String {
    let decimal = amount.to_decimal(unit.into().digits());
    let text = decimal.map_or_else(|| amount.to_string(), |decimal| decimal.to_string());
    match text.split_once('.') {
        Some((whole, minor)) => format!("{}.{minor}", thousands(whole)),
        None => thousands(text),
    }
}

/// The same with its currency or unit: `1,234.50 USD`.
pub fn money(amount: &Exact, unit: impl Into<Unit>) -> String {
    let unit = unit.into();
    format!("{} {unit}", minor(amount, unit.clone()))
}

/// An unrounded number for people: whole where it is short, else its first six fractional digits and `…`.
pub fn exact(amount: &Exact) -> String {
    let shown = amount.round(6, Rounding::Down);
    let (text, rest) = (shown.to_string(), if shown == *amount { "" } else { "…" });
    match text.split_once('.') {
        Some((whole, fraction)) => format!("{}.{fraction}{rest}", thousands(whole)),
        None => format!("{}{rest}", thousands(text)),
    }
}

/// A part of one as a percentage, where that has an end: `20%`, or `1/3`.
fn percent(part: &Exact) -> String {
    let percentage = (part * &Exact::from_integer(100)).to_string();
    if percentage.contains('/') { part.to_string() } else { format!("{percentage}%") }
}

/// How much of something counts: `1,234.5 USD`; of plain numbers `1,234.5`, and in how many blocks.
pub fn measured(addend: &DetailAddend) -> String {
    let unit = addend.unit.iter().map(|unit| format!(" {unit}"));
    let blocks = addend.blocks.iter().map(|blocks| format!(", in blocks {}", exact(blocks)));
    unit.chain(blocks).fold(exact(&addend.measured), |all, more| all + &more)
}

/// What something is multiplied with, in full: `x 20%`, `x 31/365 of a year`.
pub fn factors(factors: &[Factor]) -> String {
    let factor = |Factor { what, value }: &Factor| match what {
        FactorOf::Rate => format!("x {}", percent(value)),
        FactorOf::Sum | FactorOf::Price | FactorOf::Times | FactorOf::TakenOff => format!("x {value}"),
        FactorOf::PartOfYear => format!("x {value} of a year"),
        FactorOf::PartOfWindow => format!("x {value} of its window"),
        FactorOf::NotGreatest => format!("x {value}, not the greatest"),
        FactorOf::NotLeast => format!("x {value}, not the least"),
    };
    factors.iter().map(factor).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Currency;

    #[test]
    fn what_is_not_shown_is_marked() {
        let cases = [("1234.5", "1,234.5"), ("1/3", "0.333333…"), ("-0.0000001", "0…"), ("2000000", "2,000,000")];
        for (number, expect) in cases {
            assert_eq!(exact(&number.parse().expect("a number")), expect);
        }
    }

    #[test]
    fn thousands_stand_apart() {
        let cases = [("0", "0"), ("999", "999"), ("1000", "1,000"), ("-1234567", "-1,234,567")];
        for (number, expect) in cases {
            assert_eq!(thousands(number), expect);
        }
    }

    #[test]
    fn every_minor_digit_is_shown() {
        let cases = [("1234.5", "USD", "1,234.50"), ("-1000", "JPY", "-1,000"), ("0.5", "KWD", "0.500")];
        for (amount, currency, expect) in cases {
            assert_eq!(
                minor(&amount.parse().expect("a number"), currency.parse::<Currency>().expect("a currency")),
                expect
            );
        }
    }

    #[test]
    fn what_is_multiplied_is_told_in_full() {
        let factor = |what, value: &str| Factor { what, value: value.parse().expect("a number") };
        let cases = [
            (vec![factor(FactorOf::Rate, "0.2")], "x 20%"),
            (vec![factor(FactorOf::Rate, "1/3")], "x 1/3"),
            (vec![factor(FactorOf::Price, "0.0025"), factor(FactorOf::TakenOff, "-1")], "x 0.0025 x -1"),
            (vec![factor(FactorOf::Rate, "0.2"), factor(FactorOf::PartOfYear, "31/365")], "x 20% x 31/365 of a year"),
            (vec![factor(FactorOf::Sum, "50"), factor(FactorOf::PartOfWindow, "1/2")], "x 50 x 0.5 of its window"),
            (vec![factor(FactorOf::Rate, "0.05"), factor(FactorOf::NotGreatest, "0")], "x 5% x 0, not the greatest"),
        ];
        for (stated, expect) in cases {
            assert_eq!(factors(&stated), expect);
        }
    }

    #[test]
    fn what_is_measured_has_its_unit() {
        let number = |text: &str| text.parse::<Exact>().expect("a number");
        let addend = |unit: Option<&str>, blocks: Option<&str>| DetailAddend {
            of: "Use".to_owned(),
            measured: number("1234.5"),
            unit: unit.map(str::to_owned),
            blocks: blocks.map(number),
            factors: Vec::new(),
            amount: number("1"),
        };
        assert_eq!(measured(&addend(Some("USD"), None)), "1,234.5 USD");
        assert_eq!(measured(&addend(None, Some("2"))), "1,234.5, in blocks 2");
    }
}
