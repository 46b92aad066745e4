//! Paths: multipliers of prices or volumes by month, to ask what would be owed if they rose or fell.

use super::month::Month;
use crate::domain::money::{Exact, Rounding};
use crate::domain::period::Instant;
use crate::domain::record::Figure;
use crate::domain::usage::{Meter, UsageContent};
use chrono_tz::Tz;
use rust_decimal::Decimal;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What is multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// Prices, selected as the columns of a price book name them.
    Prices,
    /// Usage, or a figure that is named.
    Volumes,
}

impl PathKind {
    /// By what a path of the kind may select.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Prices => &["product", "meter", "service_tier", "customer", "region", "channel"],
            Self::Volumes => &["product", "meter", "service_tier", "customer", "deployment", "contract", "figure"],
        }
    }
}

/// A file of paths: of those that select something, the first holds.
#[derive(Clone, Debug)]
pub struct Paths {
    zone: Tz,
    paths: Vec<Path>,
}

/// One path.
#[derive(Clone, Debug)]
struct Path {
    selects: BTreeMap<String, Vec<String>>,
    points: Vec<(Month, Factor)>,
    between: Between,
}

/// A multiplier in millionths, so that whatever it multiplies stays a finite decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Factor(i64);

const DIGITS: u32 = 6;
const ONE: Factor = Factor(1_000_000);

impl Factor {
    /// Of a percentage or number, such as `65%`; it has at most six fractional digits as a number.
    fn read(text: &str) -> Option<Self> {
        let (digits, per) = text.strip_suffix('%').map_or((text, 1), |digits| (digits, 100));
        let number = Exact::from_written(digits).ok()? * Exact::ratio(1, per)?;
        let millionths = number.to_decimal(DIGITS)?.mantissa();
        i64::try_from(millionths).ok().filter(|it| *it >= 0).map(Self)
    }

    pub fn exact(self) -> Exact {
        Exact::ratio(self.0, ONE.0).unwrap_or_default()
    }

    /// The product, exact; none where a decimal cannot hold it.
    pub fn times(self, number: Decimal) -> Option<Decimal> {
        let number = number.normalize();
        let scale = number.scale().checked_add(DIGITS)?;
        let product = number.mantissa().checked_mul(self.0.into())?;
        // What is zero at its end needs no digit: more than 28 may come to fewer.
        let spare = scale.saturating_sub(Decimal::MAX_SCALE);
        let cut = 10_i128.checked_pow(spare)?;
        let is_held = product.checked_rem(cut)? == 0;
        let held = Decimal::try_from_i128_with_scale(product.checked_div(cut)?, scale.saturating_sub(spare));
        held.ok().filter(|_| is_held).map(|product| product.normalize())
    }
}

/// How a path runs from one point to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Between {
    /// In equal monthly steps, each rounded half up to six digits.
    #[default]
    Linear,
    /// It stays until the next point.
    Level,
}

/// Why paths cannot be read or applied.
#[derive(Debug, thiserror::Error)]
pub enum PathProblem {
    #[error("{}", .0.to_string().trim_end())]
    Toml(#[from] toml::de::Error),
    #[error("\"{name}\" is no IANA time zone, such as \"America/Los_Angeles\"")]
    Zone { name: String },
    #[error("there is no [[path]] in it")]
    None,
    #[error("path {path}: \"{name}\" selects nothing of that kind; there is {}", .known.join(", "))]
    Name { path: usize, name: String, known: &'static [&'static str] },
    #[error("path {path}: \"{text}\" is no month, such as 2027-12")]
    Month { path: usize, text: String },
    #[error(
        "path {path}: \"{text}\" is no factor: write one of zero or more, such as \"65%\", with at most six fractional digits as a number"
    )]
    Factor { path: usize, text: String },
    #[error("path {path}: write at least one point, {{ month = \"2027-12\", is = \"65%\" }}, months rising")]
    Points { path: usize },
    #[error("path {path} selects nothing that the scenario has: check its names, and the paths before it")]
    SelectsNothing { path: usize },
    #[error("{what} times a factor has more than 28 digits")]
    TooManyDigits { what: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    zone: String,
    #[serde(default)]
    path: Vec<RawPath>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPath {
    #[serde(default, rename = "where")]
    selects: BTreeMap<String, OneOrMore>,
    points: Vec<RawPoint>,
    #[serde(default)]
    between: Between,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPoint {
    month: String,
    is: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl Paths {
    /// Reads a file of paths.
    ///
    /// # Errors
    /// The first thing that is wrong in it.
    pub fn read(text: &str, kind: PathKind) -> Result<Self, PathProblem> {
        let raw: RawFile = toml::from_str(text)?;
        let zone = raw.zone.parse().map_err(|_| PathProblem::Zone { name: raw.zone })?;
        let paths = (1..).zip(raw.path).map(|(place, path)| read_path(path, kind, place));
        let paths: Vec<Path> = paths.collect::<Result<_, _>>()?;
        if paths.is_empty() {
            return Err(PathProblem::None);
        }
        Ok(Self { zone, paths })
    }

    /// The place of the first path that selects something with these attributes.
    pub fn place<'v>(&self, attribute: impl Fn(&str) -> Option<&'v str>) -> Option<usize> {
        let matches = |path: &Path| {
            path.selects
                .iter()
                .all(|(name, values)| attribute(name).is_some_and(|found| values.iter().any(|value| value == found)))
        };
        self.paths.iter().position(matches)
    }

    /// That each path selects something.
    ///
    /// # Errors
    /// One selects nothing.
    pub fn check_used(&self, used: impl IntoIterator<Item = usize>) -> Result<(), PathProblem> {
        let used: std::collections::BTreeSet<usize> = used.into_iter().collect();
        match (0..self.paths.len()).find(|place| !used.contains(place)) {
            Some(place) => Err(PathProblem::SelectsNothing { path: place.saturating_add(1) }),
            None => Ok(()),
        }
    }

    /// A path as stretches of one factor each, which follow each other from ever on.
    pub fn stretches(&self, place: usize) -> Vec<Stretch> {
        let mut stretches = vec![Stretch { from: None, factor: ONE }];
        let Some((path, (first, _), (last, _))) = self.paths.get(place).and_then(|path| {
            let (first, last) = path.points.first().zip(path.points.last())?;
            Some((path, first, last))
        }) else {
            return stretches;
        };
        let mut month = *first;
        while month <= *last {
            let factor = path.factor(month);
            if stretches.last().is_none_or(|before| before.factor != factor) {
                stretches.push(Stretch { from: Some(month.span(self.zone).start), factor });
            }
            month = month.next();
        }
        stretches
    }

    /// The factor of usage at its instant, meter by meter; none where no path selects it.
    pub fn of_usage(&self, content: &UsageContent, meter: Meter) -> Option<(usize, Factor)> {
        let place = self.place(|name| match name {
            "product" => Some(content.product.as_str()),
            "meter" => Some(meter.name()),
            "service_tier" => Some(content.service_tier.as_str()),
            "customer" => Some(content.customer.as_str()),
            "deployment" => Some(content.deployment.as_str()),
            _ => None,
        })?;
        let month = Month::at(content.occurred_at, self.zone);
        Some((place, self.paths.get(place)?.factor(month)))
    }

    /// The factor of a figure, in the month of its last day; a path that names no figure selects none.
    pub fn of_figure(&self, figure: &Figure) -> Option<(usize, Factor)> {
        let about = |name: &str| figure.about.others.get(name).map(String::as_str);
        let place = self.paths.iter().position(|path| {
            path.selects.contains_key("figure")
                && path.selects.iter().all(|(name, values)| {
                    let found = match name.as_str() {
                        "figure" => Some(figure.name.as_str()),
                        "contract" => Some(figure.contract.as_str()),
                        "product" => figure.about.product.as_ref().map(|product| product.as_str()),
                        name => about(name),
                    };
                    found.is_some_and(|found| values.iter().any(|value| value == found))
                })
        })?;
        Some((place, self.paths.get(place)?.factor(Month::containing(figure.through))))
    }

    /// A factor that has as many digits as any: what it can be multiplied with, each of them can.
    pub fn bound(&self) -> Factor {
        let factors = self.paths.iter().flat_map(|path| path.points.iter().map(|(_, factor)| factor.0));
        let largest = factors.max().unwrap_or(ONE.0).max(ONE.0);
        // Above the largest, and without a zero at its end that would be cut off.
        let last = largest.checked_rem(10).unwrap_or_default();
        Factor(largest.saturating_sub(last).saturating_add(if last == 9 { 11 } else { 9 }))
    }
}

/// From when on a factor holds; none: from ever on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub from: Option<Instant>,
    pub factor: Factor,
}

impl Path {
    /// Before the first point nothing is multiplied; from the last on its factor holds.
    fn factor(&self, month: Month) -> Factor {
        let after = self.points.partition_point(|(point, _)| *point <= month);
        let before = after.checked_sub(1).and_then(|place| self.points.get(place));
        match (before, self.points.get(after)) {
            (None, _) => ONE,
            (Some((_, factor)), None) => *factor,
            (Some((_, factor)), Some(_)) if self.between == Between::Level => *factor,
            (Some((from, low)), Some((to, high))) => {
                let part = Exact::ratio(from.months_to(month), from.months_to(*to)).unwrap_or_default();
                let change = Exact::from_integer(high.0.saturating_sub(low.0)) * part;
                let factor = (Exact::from_integer(low.0) + change).round(0, Rounding::HalfUp);
                let millionths = factor.to_decimal(0).and_then(|it| i64::try_from(it.mantissa()).ok());
                millionths.map_or(*low, Factor)
            }
        }
    }
}

fn read_path(raw: RawPath, kind: PathKind, place: usize) -> Result<Path, PathProblem> {
    let known = kind.names();
    if let Some(name) = raw.selects.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(PathProblem::Name { path: place, name: name.clone(), known });
    }
    let mut points: Vec<(Month, Factor)> = Vec::new();
    for RawPoint { month: text, is } in raw.points {
        let month = Month::read(&text);
        let month = month.ok_or(PathProblem::Month { path: place, text })?;
        let factor = Factor::read(&is).ok_or(PathProblem::Factor { path: place, text: is })?;
        if points.last().is_some_and(|(before, _)| *before >= month) {
            return Err(PathProblem::Points { path: place });
        }
        points.push((month, factor));
    }
    if points.is_empty() {
        return Err(PathProblem::Points { path: place });
    }
    let selects = raw.selects.into_iter().map(|(name, values)| match values {
        OneOrMore::One(value) => (name, vec![value]),
        OneOrMore::More(values) => (name, values),
    });
    Ok(Path { selects: selects.collect(), points, between: raw.between })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOWN: &str = r#"
        zone = "America/Los_Angeles"

        [[path]]
        where = { product = ["m", "n"], meter = "output_tokens" }
        points = [{ month = "2026-06", is = "100%" }, { month = "2026-09", is = "65%" }]

        [[path]]
        points = [{ month = "2027-12", is = "0.7" }]
    "#;

    fn factors(paths: &Paths, place: usize, months: &[&str]) -> Vec<String> {
        let factor = |month: &&str| paths.paths[place].factor(Month::read(month).expect("a month")).exact().to_string();
        months.iter().map(factor).collect()
    }

    #[test]
    fn it_runs_from_point_to_point_in_equal_monthly_steps() {
        let paths = Paths::read(DOWN, PathKind::Prices).expect("paths");
        // 35 % in three steps: 100 - 35/3 and 100 - 70/3, in millionths.
        let months = ["2026-05", "2026-06", "2026-07", "2026-08", "2026-09", "2033-01"];
        assert_eq!(factors(&paths, 0, &months), ["1", "1", "0.883333", "0.766667", "0.65", "0.65"]);
        assert_eq!(factors(&paths, 1, &["2027-11", "2027-12", "2028-01"]), ["1", "0.7", "0.7"]);
        let stretches = paths.stretches(0);
        assert_eq!(stretches.len(), 4);
        assert_eq!(stretches[1].from.map(|at| at.to_string()).as_deref(), Some("2026-07-01 07:00:00 UTC"));
    }

    #[test]
    fn the_first_that_selects_holds_and_each_has_to_select() {
        let paths = Paths::read(DOWN, PathKind::Prices).expect("paths");
        let of = |product: &'static str, meter: &'static str| {
            paths.place(move |name| match name {
                "product" => Some(product),
                "meter" => Some(meter),
                _ => None,
            })
        };
        assert_eq!(
            [of("n", "output_tokens"), of("n", "requests"), of("x", "output_tokens")],
            [Some(0), Some(1), Some(1)]
        );
        assert!(paths.check_used([1, 0, 0]).is_ok());
        assert!(matches!(paths.check_used([0]), Err(PathProblem::SelectsNothing { path: 2 })));
    }

    #[test]
    fn products_are_exact_or_refused() {
        let factor = Factor::read("0.883333").expect("a factor");
        assert_eq!(
            factor.times("1.000000000000001".parse().expect("a number")).map(|it| it.to_string()).as_deref(),
            Some("0.883333000000000883333")
        );
        assert_eq!(factor.times(Decimal::MAX), None);
        assert_eq!(factor.times(Decimal::new(1, 28)), None);
        let half = Factor::read("50%").expect("a factor");
        assert_eq!(half.times(Decimal::new(2, 28)), Some(Decimal::new(1, 28)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |path: &str, expect: &str| {
            let text = format!("zone = \"UTC\"\n[[path]]\n{path}");
            let error = Paths::read(&text, PathKind::Prices).expect_err("a refusal").to_string();
            assert!(error.contains(expect), "{error}");
        };
        check("points = []", "at least one point");
        check("points = [{ month = \"2027-Q1\", is = \"1\" }]", "no month");
        check("points = [{ month = \"2027-01\", is = \"1/3\" }]", "no factor");
        check("points = [{ month = \"2027-01\", is = \"-1%\" }]", "no factor");
        check("points = [{ month = \"2027-02\", is = \"1\" }, { month = \"2027-01\", is = \"1\" }]", "months rising");
        check("where = { cloud = \"aws\" }\npoints = [{ month = \"2027-02\", is = \"1\" }]", "\"cloud\"");
        check("when = 1\npoints = []", "unknown field `when`");
        assert!(matches!(Paths::read("zone = \"UTC\"", PathKind::Prices), Err(PathProblem::None)));
        assert!(matches!(Paths::read("zone = \"Mars\"", PathKind::Prices), Err(PathProblem::Zone { .. })));
    }
}
