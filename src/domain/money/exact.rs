//! Exact numbers: ratios that are two machine integers while they fit and as wide as they must be where not.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Signed, Zero};
use rust_decimal::Decimal;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::iter::Sum;
use std::num::NonZeroU64;
use std::ops::{Add, AddAssign, Mul, Neg, Sub, SubAssign};

use super::Rounding;

/// An exact number: an amount before rounding, a rate, a quantity.
///
/// A ratio, so that no sum, product or third ever loses a digit. Written as a decimal where it has a finite
/// one (`"0.695"`), else as a reduced fraction (`"1/3"`).
#[derive(Clone)]
pub struct Exact(Ratio);

/// Millions of events are summed as `Small`, without an allocation or a reduction: money that is rated at one
/// price has one denominator. What does not fit becomes `Wide`, and comes back when it fits again.
#[derive(Clone)]
enum Ratio {
    /// Not always reduced: `2/100` stays so until someone asks for its digits.
    Small {
        numerator: i128,
        denominator: NonZeroU64,
    },
    Wide(Box<BigRational>),
}

const ONE: NonZeroU64 = NonZeroU64::MIN;

impl Exact {
    pub fn zero() -> Self {
        Self::small(0, ONE)
    }

    pub fn from_integer(value: i64) -> Self {
        Self::small(value.into(), ONE)
    }

    /// `numerator / denominator`; `None` where the denominator is zero.
    pub fn ratio(numerator: i64, denominator: i64) -> Option<Self> {
        let divisor = NonZeroU64::new(denominator.unsigned_abs())?;
        let numerator = i128::from(numerator);
        Some(Self::small(if denominator < 0 { numerator.checked_neg()? } else { numerator }, divisor))
    }

    #[inline]
    pub fn is_zero(&self) -> bool {
        match &self.0 {
            Ratio::Small { numerator, .. } => *numerator == 0,
            Ratio::Wide(wide) => wide.is_zero(),
        }
    }

    #[inline]
    pub fn is_negative(&self) -> bool {
        match &self.0 {
            Ratio::Small { numerator, .. } => *numerator < 0,
            Ratio::Wide(wide) => wide.is_negative(),
        }
    }

    /// The quotient; `None` where `divisor` is zero.
    pub fn checked_div(&self, divisor: &Self) -> Option<Self> {
        (!divisor.is_zero()).then(|| Self::from_wide(self.to_wide() / divisor.to_wide()))
    }

    /// `10^exponent`.
    pub fn power_of_ten(exponent: u32) -> Self {
        Self::from_wide(BigRational::from_integer(BigInt::from(10).pow(exponent)))
    }

    /// One over it; `None` for zero.
    pub fn inverse(&self) -> Option<Self> {
        Self::from_integer(1).checked_div(self)
    }

    /// The whole part, toward zero. An amount of money is never cut so: whole blocks and units are.
    pub fn trunc(&self) -> Self {
        Self::from_wide(self.to_wide().trunc())
    }

    /// The next whole number below.
    pub fn floor(&self) -> Self {
        Self::from_wide(self.to_wide().floor())
    }

    /// Rounds to `digits` fractional digits. Only a booked line and what it is compared with may call this.
    pub fn round(&self, digits: u32, mode: Rounding) -> Self {
        let scale = BigRational::from_integer(BigInt::from(10).pow(digits));
        let scaled = self.to_wide() * &scale;
        let whole = scaled.trunc();
        let twice_rest = (&scaled - &whole).abs() * BigInt::from(2);
        let one = BigRational::from_integer(BigInt::from(1));
        let away = match twice_rest.cmp(&one) {
            Ordering::Less => false,
            Ordering::Greater => mode != Rounding::Down,
            Ordering::Equal => match mode {
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
        Self::from_wide(rounded / scale)
    }

    /// The number as a decimal with `digits` fractional digits, without rounding.
    ///
    /// `None` where it has more digits than that, or a `Decimal` cannot hold it.
    pub fn to_decimal(&self, digits: u32) -> Option<Decimal> {
        let scaled = self.to_wide() * BigInt::from(10).pow(digits);
        if !scaled.is_integer() {
            return None;
        }
        let units = i128::try_from(scaled.to_integer()).ok()?;
        Decimal::try_from_i128_with_scale(units, digits).ok()
    }

    #[inline]
    fn small(numerator: i128, denominator: NonZeroU64) -> Self {
        Self(Ratio::Small { numerator, denominator })
    }

    /// Reduced, and small where it fits.
    pub(super) fn from_wide(wide: BigRational) -> Self {
        let numerator = i128::try_from(wide.numer()).ok();
        let denominator = u64::try_from(wide.denom()).ok().and_then(NonZeroU64::new);
        match (numerator, denominator) {
            (Some(numerator), Some(denominator)) => Self::small(numerator, denominator),
            _ => Self(Ratio::Wide(Box::new(wide))),
        }
    }

    /// Reduced.
    pub(super) fn to_wide(&self) -> BigRational {
        match &self.0 {
            Ratio::Small { numerator, denominator } => {
                BigRational::new(BigInt::from(*numerator), BigInt::from(denominator.get()))
            }
            Ratio::Wide(wide) => wide.as_ref().clone(),
        }
    }

    /// Adds or subtracts in its place, without allocating; nothing where a machine integer cannot hold a step of it.
    #[inline]
    fn sum_small(&mut self, other: &Self, sum: impl Fn(i128, i128) -> Option<i128>) -> Option<()> {
        let (Ratio::Small { numerator, denominator }, Ratio::Small { numerator: b, denominator: over_b }) =
            (&mut self.0, &other.0)
        else {
            return None;
        };
        let (a, over_a, b, over_b) = (*numerator, *denominator, *b, *over_b);
        let (a, b, over) = if over_a == over_b || b == 0 {
            (a, b, over_a)
        } else if a == 0 {
            // A sum begins with nothing, which has no denominator of its own.
            (0, b, over_b)
        } else if let Some(factor) = quotient(over_a, over_b) {
            // Of two denominators one mostly divides the other: a price's that of a running sum.
            (a, times(b, factor)?, over_a)
        } else if let Some(factor) = quotient(over_b, over_a) {
            (times(a, factor)?, b, over_b)
        } else {
            let common = greatest_common_divisor(over_a, over_b);
            let (by_a, by_b) = (quotient(over_b, common)?, quotient(over_a, common)?);
            (times(a, by_a)?, times(b, by_b)?, NonZeroU64::new(over_a.get().checked_mul(by_a)?)?)
        };
        (*numerator, *denominator) = (sum(a, b)?, over);
        Some(())
    }

    #[inline]
    fn mul_small(&self, other: &Self) -> Option<Self> {
        let (Ratio::Small { numerator: a, denominator: over_a }, Ratio::Small { numerator: b, denominator: over_b }) =
            (&self.0, &other.0)
        else {
            return None;
        };
        let product = match u64::try_from(*b) {
            Ok(b) => times(*a, b),
            Err(_) => a.checked_mul(*b),
        };
        Some(Self::small(product?, over_a.checked_mul(*over_b)?))
    }

    #[inline]
    fn cmp_small(&self, other: &Self) -> Option<Ordering> {
        let (Ratio::Small { numerator: a, denominator: over_a }, Ratio::Small { numerator: b, denominator: over_b }) =
            (&self.0, &other.0)
        else {
            return None;
        };
        if over_a == over_b || *a == 0 || *b == 0 {
            return Some(a.cmp(b));
        }
        Some(times(*a, over_b.get())?.cmp(&times(*b, over_a.get())?))
    }
}

/// A product, which two words mostly hold.
#[inline]
fn times(value: i128, by: u64) -> Option<i128> {
    match i64::try_from(value) {
        // Of these they always do.
        Ok(value) => Some(i128::from(value).wrapping_mul(by.into())),
        Err(_) => value.checked_mul(by.into()),
    }
}

/// `dividend / divisor` where that leaves no rest.
#[inline]
fn quotient(dividend: NonZeroU64, divisor: NonZeroU64) -> Option<u64> {
    let leaves_no_rest = dividend.get().checked_rem(divisor.get())? == 0;
    leaves_no_rest.then(|| dividend.get().checked_div(divisor.get())).flatten()
}

fn greatest_common_divisor(a: NonZeroU64, b: NonZeroU64) -> NonZeroU64 {
    let (mut larger, mut smaller) = (a, b);
    while let Some(rest) = larger.get().checked_rem(smaller.get()).and_then(NonZeroU64::new) {
        (larger, smaller) = (smaller, rest);
    }
    smaller
}

// Wide ratios neither overflow nor round, so the plain operators are exact.
mod operators {
    use super::*;

    /// Rare and long: it stays out of the way of what is mostly done.
    #[cold]
    fn in_wide(a: &Exact, b: &Exact, operator: fn(BigRational, BigRational) -> BigRational) -> Exact {
        Exact::from_wide(operator(a.to_wide(), b.to_wide()))
    }

    impl Add<&Exact> for &Exact {
        type Output = Exact;
        #[inline]
        fn add(self, other: &Exact) -> Exact {
            let mut sum = self.clone();
            sum += other;
            sum
        }
    }

    impl Sub<&Exact> for &Exact {
        type Output = Exact;
        #[inline]
        fn sub(self, other: &Exact) -> Exact {
            let mut difference = self.clone();
            difference -= other;
            difference
        }
    }

    impl Mul<&Exact> for &Exact {
        type Output = Exact;
        #[inline]
        fn mul(self, other: &Exact) -> Exact {
            match self.mul_small(other) {
                Some(product) => product,
                None => in_wide(self, other, Mul::mul),
            }
        }
    }

    macro_rules! of_values {
        ($trait:ident, $method:ident, $op:tt) => {
            impl $trait<Exact> for Exact {
                type Output = Exact;
                fn $method(self, other: Exact) -> Exact {
                    &self $op &other
                }
            }
        };
    }
    of_values!(Add, add, +);
    of_values!(Sub, sub, -);
    of_values!(Mul, mul, *);

    impl std::ops::Div<NonZeroU64> for Exact {
        type Output = Exact;
        fn div(self, divisor: NonZeroU64) -> Exact {
            match &self.0 {
                Ratio::Small { numerator, denominator } => match denominator.checked_mul(divisor) {
                    Some(denominator) => Exact::small(*numerator, denominator),
                    None => Exact::from_wide(self.to_wide() / BigInt::from(divisor.get())),
                },
                Ratio::Wide(wide) => Exact::from_wide(wide.as_ref() / BigInt::from(divisor.get())),
            }
        }
    }

    impl Neg for Exact {
        type Output = Exact;
        fn neg(self) -> Exact {
            match self.0 {
                Ratio::Small { numerator, denominator } => match numerator.checked_neg() {
                    Some(numerator) => Exact::small(numerator, denominator),
                    None => Exact::from_wide(-BigRational::new(numerator.into(), denominator.get().into())),
                },
                Ratio::Wide(wide) => Exact::from_wide(-*wide),
            }
        }
    }

    impl AddAssign<&Exact> for Exact {
        #[inline]
        fn add_assign(&mut self, other: &Exact) {
            if self.sum_small(other, i128::checked_add).is_none() {
                *self = in_wide(self, other, Add::add);
            }
        }
    }

    impl SubAssign<&Exact> for Exact {
        #[inline]
        fn sub_assign(&mut self, other: &Exact) {
            if self.sum_small(other, i128::checked_sub).is_none() {
                *self = in_wide(self, other, Sub::sub);
            }
        }
    }

    impl Sum for Exact {
        fn sum<I: Iterator<Item = Exact>>(items: I) -> Exact {
            let add = |mut total: Exact, item: Exact| {
                total += &item;
                total
            };
            items.reduce(add).unwrap_or_default()
        }
    }
}

impl Default for Exact {
    fn default() -> Self {
        Self::zero()
    }
}

impl PartialEq for Exact {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Exact {}

impl PartialOrd for Exact {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Exact {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.cmp_small(other).unwrap_or_else(|| self.to_wide().cmp(&other.to_wide()))
    }
}

impl Hash for Exact {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.to_wide().hash(state);
    }
}

impl fmt::Debug for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Decimal> for Exact {
    fn from(value: Decimal) -> Self {
        let scale = 10_u64.checked_pow(value.scale()).and_then(NonZeroU64::new);
        match scale {
            Some(scale) => Self::small(value.mantissa(), scale),
            None => {
                let scale = BigInt::from(10).pow(value.scale());
                Self::from_wide(BigRational::new(BigInt::from(value.mantissa()), scale))
            }
        }
    }
}

#[cfg(test)]
#[path = "exact_tests.rs"]
mod tests;
