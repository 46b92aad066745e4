//! Exact amounts, currencies, and the one place where anything is rounded.
//!
//! CONTRACTS section 6: prices, rates and accruals are never rounded; a booked line is, once, to the
//! currency's minor unit, by the contract's mode.

mod exact;
mod exact_text;

pub use exact::Exact;
pub use exact_text::ParseExactError;

use super::ids::DefinedTerm;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

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

/// All currencies of ISO 4217 that are in use and have a minor unit, by its digits.
const CODES_OF_0_DIGITS: &[&str] = &[
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF",
    "XPF",
];
const CODES_OF_3_DIGITS: &[&str] = &["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];
const CODES_OF_2_DIGITS: &[&str] = &[
    "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BGN", "BMD", "BND", "BOB",
    "BOV", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHE", "CHF", "CHW", "CNY", "COP", "COU", "CRC",
    "CUP", "CVE", "CZK", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GHS", "GIP",
    "GMD", "GTQ", "GYD", "HKD", "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "IRR", "JMD", "KES", "KGS", "KHR", "KPW",
    "KYD", "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR",
    "MVR", "MWK", "MXN", "MXV", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "PAB", "PEN", "PGK", "PHP",
    "PKR", "PLN", "QAR", "RON", "RSD", "RUB", "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SOS", "SRD",
    "SSP", "STN", "SVC", "SYP", "SZL", "THB", "TJS", "TMT", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "USD", "USN",
    "UYU", "UZS", "VED", "VES", "WST", "XCD", "XCG", "YER", "ZAR", "ZMW", "ZWG",
];
const CODES_OF_4_DIGITS: &[&str] = &["CLF", "UYW"];

/// The code is no currency that we know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{code}\" is no ISO 4217 currency in use; write a code such as \"USD\"")]
pub struct UnknownCurrency {
    pub code: String,
}

impl Currency {
    /// Every currency that we know.
    pub fn all() -> impl Iterator<Item = Self> {
        let lists = [(CODES_OF_0_DIGITS, 0), (CODES_OF_2_DIGITS, 2), (CODES_OF_3_DIGITS, 3), (CODES_OF_4_DIGITS, 4)];
        lists.into_iter().flat_map(|(codes, digits)| codes.iter().map(move |code| Self { code, digits }))
    }

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
        Self::all().find(|known| known.code == code).ok_or_else(|| UnknownCurrency { code: code.to_owned() })
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

/// What a term is owed in: a currency, or a unit that the contract declares, such as cloud credits or shares.
///
/// Written as fields of what has it: `currency`, which is the currency's code or the unit's name, and `digits`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "UnitFields", from = "UnitFields")]
pub enum Unit {
    Currency(Currency),
    Declared { name: DefinedTerm, digits: u32 },
}

/// A unit as the fields of what has it.
#[derive(Serialize, Deserialize)]
struct UnitFields {
    currency: String,
    digits: u32,
}

impl From<Unit> for UnitFields {
    fn from(unit: Unit) -> Self {
        Self { currency: unit.to_string(), digits: unit.digits() }
    }
}

impl From<UnitFields> for Unit {
    fn from(fields: UnitFields) -> Self {
        Self::of(&fields.currency, fields.digits)
    }
}

impl Unit {
    /// The unit of a name: a contract cannot declare one that is named as a currency.
    pub fn of(name: &str, digits: u32) -> Self {
        name.parse().map_or_else(|_| Self::Declared { name: name.into(), digits }, Self::Currency)
    }

    /// Digits after the point in which it is paid.
    pub fn digits(&self) -> u32 {
        match self {
            Self::Currency(currency) => currency.minor_digits(),
            Self::Declared { digits, .. } => *digits,
        }
    }
}

impl From<Currency> for Unit {
    fn from(currency: Currency) -> Self {
        Self::Currency(currency)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Currency(currency) => currency.fmt(f),
            Self::Declared { name, .. } => name.fmt(f),
        }
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

    #[test]
    fn money_names_its_currency() {
        assert_eq!("1_000.50 USD".parse::<Money>().expect("money").to_string(), "1000.5 USD");
        assert!(matches!("100".parse::<Money>(), Err(ParseMoneyError::NoCurrency { .. })));
        assert!(matches!("100 XYZ".parse::<Money>(), Err(ParseMoneyError::Currency(_))));
    }
}
