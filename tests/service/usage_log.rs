//! A seeded log of usage with its corrections and voids: sent to the service, and worked out by hand beside it.

use crate::books::at;
use crate::support::{TestDatabase, write_lines};
use apportion::domain::period::Instant;
use std::collections::{BTreeMap, BTreeSet};

/// splitmix64: the same numbers on every machine, for ever.
pub struct Draw(pub u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// Often at or beside an instant at which something begins, else anywhere in two days.
    fn instant(&mut self) -> Instant {
        let edges = [
            "2026-05-01T10:17:23.5Z",
            "2026-05-01T15:30:00.25Z",
            "2026-05-02T07:45:10.000001Z",
            "2026-05-02T18:30:00Z",
            "2026-05-01T11:00:00Z",
        ];
        if self.below(3) == 0 {
            return at(self.one(&edges)) + chrono::TimeDelta::microseconds(self.below(5) as i64 - 2);
        }
        at("2026-05-01T09:00:00Z") + chrono::TimeDelta::microseconds(self.below(36 * 3_600_000_000) as i64)
    }

    fn quantities(&mut self) -> Vec<(&'static str, String)> {
        let context = self.one(&[1, 400, 699, 700, 701, 999, 1000, 1001, 5000]);
        let cached = self.below(context + 1);
        let written = self.below(context - cached + 1);
        vec![
            ("input_tokens", (context - cached - written).to_string()),
            ("cached_input_tokens", cached.to_string()),
            ("cache_write_5m_tokens", written.to_string()),
            ("output_tokens", self.below(50).to_string()),
            ("state_gb_hours", format!("0.{:03}", self.below(1000))),
            ("requests", "1".to_owned()),
        ]
    }
}

#[derive(Clone)]
pub struct Content {
    pub at: Instant,
    /// Of an interval.
    pub ended_at: Option<Instant>,
    /// Empty where it is not told.
    pub country: &'static str,
    pub deployment: &'static str,
    pub product: &'static str,
    pub customer: &'static str,
    pub quantities: Vec<(&'static str, String)>,
}

/// A field that a correction restates.
#[derive(Clone)]
pub enum Restated {
    At(Instant),
    End(Instant),
    Country(&'static str),
    Deployment(&'static str),
    Product(&'static str),
    Quantities(Vec<(&'static str, String)>),
}

#[derive(Clone)]
pub enum Said {
    Event(Content),
    Correction { of: usize, restated: Restated },
    VoidOfEvent(usize),
    VoidOfCorrection(usize),
}

/// Everything that was sent, in order, with how much of it was recorded by each step.
#[derive(Default)]
pub struct Log {
    said: Vec<Said>,
    pub sent: usize,
}

fn json_of(quantities: &[(&str, String)]) -> String {
    let parts: Vec<String> = quantities.iter().map(|(meter, value)| format!(r#""{meter}":"{value}""#)).collect();
    format!("{{{}}}", parts.join(","))
}

impl Log {
    fn line(&self, number: usize) -> String {
        let (kind, time, data) = match &self.said[number] {
            Said::Event(it) => {
                let quantities = json_of(&it.quantities);
                let ended = it.ended_at.map_or("null".to_owned(), |end| format!(r#""{}""#, end.to_rfc3339()));
                let data = format!(
                    r#"{{"deployment":"{}","product":"{}","customer":"{}","ended_at":{ended},"attributes":{{"country":"{}"}},"quantities":{quantities}}}"#,
                    it.deployment, it.product, it.customer, it.country
                );
                ("", it.at, data)
            }
            Said::Correction { of, restated } => {
                let field = match restated {
                    Restated::At(instant) => format!(r#""occurred_at":"{}""#, instant.to_rfc3339()),
                    Restated::End(instant) => format!(r#""ended_at":"{}""#, instant.to_rfc3339()),
                    Restated::Country(name) => format!(r#""attributes":{{"country":"{name}"}}"#),
                    Restated::Deployment(name) => format!(r#""deployment":"{name}""#),
                    Restated::Product(name) => format!(r#""product":"{name}""#),
                    Restated::Quantities(quantities) => format!(r#""quantities":{}"#, json_of(quantities)),
                };
                (".correction", at("2026-06-01T00:00:00Z"), format!(r#"{{"corrects":"{of}",{field}}}"#))
            }
            Said::VoidOfEvent(of) | Said::VoidOfCorrection(of) => {
                (".void", at("2026-06-01T00:00:00Z"), format!(r#"{{"voids":"{of}"}}"#))
            }
        };
        let time = time.to_rfc3339();
        format!(
            r#"{{"specversion":"1.0","id":"{number}","source":"test","type":"apportion.usage{kind}.v1","time":"{time}","data":{data}}}"#
        )
    }

    /// Says so many things more; each names only what it may name.
    pub fn grow(&mut self, draw: &mut Draw, count: usize) {
        for _ in 0..count {
            let amended = self.amendment(draw);
            let at = draw.instant();
            let ended_at = (draw.below(5) == 0).then(|| at + chrono::TimeDelta::minutes(draw.below(300) as i64));
            let content = Content {
                at,
                ended_at,
                country: draw.one(&["", "", "CH", "DE"]),
                deployment: draw.one(&["a", "a", "b", "c", "unknown"]),
                product: draw.one(&["m", "m", "n"]),
                customer: draw.one(&["", "x", "y"]),
                quantities: draw.quantities(),
            };
            self.said.push(amended.unwrap_or(Said::Event(content)));
        }
    }

    fn amendment(&self, draw: &mut Draw) -> Option<Said> {
        if self.said.is_empty() || draw.below(3) > 0 {
            return None;
        }
        let of = draw.below(self.said.len() as u64) as usize;
        let is_voided = |wanted: usize| {
            self.said.iter().any(|it| matches!(it, Said::VoidOfEvent(of) | Said::VoidOfCorrection(of) if *of == wanted))
        };
        if is_voided(of) {
            return None;
        }
        match (&self.said[of], draw.below(7)) {
            (Said::Event(_), 0) => Some(Said::VoidOfEvent(of)),
            (Said::Event(_), 1) => Some(Said::Correction { of, restated: Restated::Quantities(draw.quantities()) }),
            (Said::Event(_), 2) => {
                Some(Said::Correction { of, restated: Restated::Deployment(draw.one(&["a", "b", "c", "unknown"])) })
            }
            (Said::Event(_), 3) => Some(Said::Correction { of, restated: Restated::Product(draw.one(&["m", "n"])) }),
            (Said::Event(_), 4) => Some(Said::Correction { of, restated: Restated::Country(draw.one(&["", "CH"])) }),
            (Said::Event(Content { ended_at: Some(_), .. }), 5) => {
                Some(Said::Correction { of, restated: Restated::End(draw.instant()) })
            }
            (Said::Event(_), _) => Some(Said::Correction { of, restated: Restated::At(draw.instant()) }),
            (Said::Correction { .. }, 0..4) => Some(Said::VoidOfCorrection(of)),
            _ => None,
        }
    }

    /// Sends what was not sent yet, in batches of varied size; some corrections overtake their events.
    pub async fn send(&mut self, database: &TestDatabase, draw: &mut Draw) {
        let mut writer = database.writer().await;
        let mut numbers: Vec<usize> = (self.sent..self.said.len()).collect();
        for place in 1..numbers.len() {
            let (before, after) = (numbers[place - 1], numbers[place]);
            // The order of corrections among each other decides, so only an event may be overtaken.
            if matches!(self.said[after], Said::Correction { of, .. } if of == before) {
                numbers.swap(place - 1, place);
            }
        }
        let mut rest = numbers.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(1 + draw.below(60) as usize));
            let lines: Vec<String> = now.iter().map(|number| self.line(*number)).collect();
            assert_eq!(write_lines(&mut writer, &lines).await.rejected, 0);
            rest = later;
        }
        self.sent = self.said.len();
    }

    /// Every event as it stands after the first `recorded` things that were said, by its number.
    pub fn contents(&self, recorded: usize) -> BTreeMap<usize, Content> {
        let said = &self.said[..recorded];
        let voided: BTreeSet<usize> = said
            .iter()
            .filter_map(|it| match it {
                Said::VoidOfEvent(of) | Said::VoidOfCorrection(of) => Some(*of),
                Said::Event(_) | Said::Correction { .. } => None,
            })
            .collect();
        let mut contents: BTreeMap<usize, Content> = BTreeMap::new();
        for (number, it) in said.iter().enumerate().filter(|(number, _)| !voided.contains(number)) {
            match it {
                Said::Event(content) => drop(contents.insert(number, content.clone())),
                Said::Correction { of, restated } => {
                    let Some(content) = contents.get_mut(of) else { continue };
                    match restated.clone() {
                        Restated::At(instant) => content.at = instant,
                        Restated::End(instant) => content.ended_at = Some(instant),
                        Restated::Country(name) => content.country = name,
                        Restated::Deployment(name) => content.deployment = name,
                        Restated::Product(name) => content.product = name,
                        Restated::Quantities(quantities) => content.quantities = quantities,
                    }
                }
                Said::VoidOfEvent(_) | Said::VoidOfCorrection(_) => {}
            }
        }
        contents.retain(|_, content| content.ended_at.is_none_or(|end| end >= content.at));
        contents
    }
}
