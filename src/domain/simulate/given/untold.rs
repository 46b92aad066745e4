//! Figures of which an example tells nothing, for periods that it settles.

use super::{SOMEBODY, Told};
use crate::domain::calendar::Window;
use crate::domain::contract::example::{Given, What};
use crate::domain::contract::measure::{FigureDefinition, Missing};
use crate::domain::entry::Entry;
use crate::domain::ids::DefinedTerm;
use crate::domain::period::start_of_day;
use chrono::NaiveDate;
use serde_json::json;
use std::collections::BTreeMap;

impl Told<'_> {
    /// Zero for the periods of which nothing is told of a figure that some rows tell: those would stop settlements that
    /// the example is not about. Where what is missing follows from the last one, that is for the periods before it.
    pub fn fill(&mut self, given: &[Given], end_day: Option<NaiveDate>) {
        let mut told: BTreeMap<&DefinedTerm, Vec<Window>> = BTreeMap::new();
        for given in given {
            if let (What::Figure(name), Some(days)) = (&given.what, given.at.days()) {
                told.entry(name).or_default().push(days);
            }
        }
        let versions = &self.contract.versions;
        let begins = self.contract.begins().map(|at| at.with_timezone(&self.zone).date_naive());
        for (name, told) in told {
            let declared = versions.iter().rev().find_map(|version| version.figures.get(name));
            let Some(figure) = declared.filter(|it| it.about.is_empty() && self.is_flow(name)) else { continue };
            let first = told.iter().map(|days| days.first_day).min();
            let end_day = match figure.missing {
                Missing::Stop => end_day,
                Missing::Last(_) => first.into_iter().chain(end_day).min(),
                Missing::Zero | Missing::Nothing => None,
            };
            let calendar = &self.contract.head.settlement;
            let mut at = begins.and_then(|begins| calendar.window(begins));
            while let Some(period) = at.filter(|period| Some(period.first_day) < end_day) {
                let overlaps = |days: &Window| days.first_day < period.end_day && period.first_day < days.end_day;
                if !told.iter().any(overlaps) {
                    self.scenario.entries.extend(self.zero(name, figure, period));
                }
                at = calendar.next(period);
            }
        }
    }

    fn zero(&self, name: &DefinedTerm, figure: &FigureDefinition, period: Window) -> Option<Entry> {
        let unit = figure.unit.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default();
        let line = json!({
            "kind": "figure", "source": SOMEBODY, "id": format!("{name} {}", period.first_day), "by": SOMEBODY,
            "contract": self.contract.head.id.as_str(), "name": name.as_str(), "value": format!("0{unit}"),
            "from": period.first_day.to_string(), "through": period.last_day().to_string(),
            "recorded_at": start_of_day(self.zone, period.first_day).to_rfc3339(),
        });
        Entry::from_json(&line.to_string()).ok()
    }
}
