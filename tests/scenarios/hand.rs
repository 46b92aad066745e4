//! Compares what a run answers with what was worked out by hand.
//!
//! A key of the hand that ends in `=` means these keys and no others; one without it asks only for what is listed.
//! Lists are whole, in any order; numbers compare by value, instants as instants. An empty object or list means
//! that there is nothing.

use crate::answers::{Answer, Answers};
use apportion::domain::calendar::Window;
use apportion::domain::money::Exact;
use apportion::domain::period::parse_instant;
use serde_json::{Map, Value};

/// What a loader says in refusing, by the code that the hand has for it; any of the words will do.
const REFUSALS: [(&str, &[&str]); 8] = [
    ("circular_terms", &["circle", "each other", "feeds itself"]),
    ("rate_out_of_range", &["above 1", "negative"]),
    ("tier_gap", &["otherwise", "what holds", "gap"]),
    ("tier_overlap", &["otherwise", "falls", "overlap", "bands rise"]),
    ("deduction_place_not_written", &["at ="]),
    ("unknown_field", &["unknown field", "no attribute or fact"]),
    ("unknown_party", &["no party"]),
    ("opening_above_cap", &["opening"]),
];

/// Every difference between the hand of a scenario and a run of it, a line each; none where they agree.
pub fn differences(name: &str, hand: &Value, run: &Answers) -> Vec<String> {
    let mut out = Differences { name, lines: Vec::new() };
    let expected = hand.pointer("/load/error").and_then(Value::as_str);
    match (expected, &run.refused) {
        (Some(code), Some(message)) => out.refusal(code, message),
        (Some(code), None) => out.add("load", format!("by hand {code}, found: accepted")),
        (None, Some(message)) => out.add("load", format!("by hand accepted, found: {message}")),
        (None, None) => {}
    }
    if expected.is_some() || run.refused.is_some() {
        return out.lines;
    }
    let empty = Vec::new();
    let steps = hand.get("steps").and_then(Value::as_array).unwrap_or(&empty);
    if steps.len() != run.steps.len() {
        out.add("steps", format!("by hand {}, found {}", steps.len(), run.steps.len()));
    }
    for (place, (by_hand, answer)) in steps.iter().zip(&run.steps).enumerate() {
        let place = format!("step {}", place + 1);
        match answer {
            Answer::Amounts(_) => out.amounts(&place, by_hand, &answer.json()),
            Answer::Failed { code } if by_hand.get("error").is_none() => {
                out.add(&place, format!("by hand an answer, found {code}"))
            }
            _ => out.compare(&place, by_hand, Some(&answer.json())),
        }
    }
    let booked = serde_json::json!(run.booked_in_all);
    for key in ["booked_in_all", "booked_in_all="] {
        if let Some(by_hand) = hand.get(key) {
            let asked = Map::from_iter([(key.to_owned(), by_hand.clone())]);
            let found = Map::from_iter([("booked_in_all".to_owned(), booked.clone())]);
            out.compare("", &Value::Object(asked), Some(&Value::Object(found)));
        }
    }
    let known = ["load", "steps", "booked_in_all", "booked_in_all="];
    let unknown = hand.as_object().into_iter().flat_map(Map::keys).filter(|key| !known.contains(&key.as_str()));
    unknown.for_each(|key| out.add(key, "a key of hand that is not compared"));
    out.lines
}

/// The differences of all scenarios, a line each, and the count as the last line.
pub fn report(runs: &[(String, Vec<String>)]) -> String {
    let differing = runs.iter().filter(|(_, lines)| !lines.is_empty()).count();
    let lines: Vec<&String> = runs.iter().flat_map(|(_, lines)| lines).collect();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let (all, same) = (runs.len(), runs.len() - differing);
    format!("{text}{all} scenarios: {same} as by hand, {differing} with {} differences\n", lines.len())
}

struct Differences<'a> {
    name: &'a str,
    lines: Vec<String>,
}

impl Differences<'_> {
    fn add(&mut self, place: &str, what: impl std::fmt::Display) {
        self.lines.push(format!("{}: {place}: {what}", self.name));
    }

    /// Refused it is in any case; where the code is known it has to be for that.
    fn refusal(&mut self, code: &str, message: &str) {
        let code = code.trim_start_matches("refused:");
        let words = REFUSALS.iter().find(|(known, _)| *known == code).map(|(_, words)| *words);
        if words.is_some_and(|words| !words.iter().any(|word| message.contains(word))) {
            self.add("load", format!("by hand {code}, found: {message}"));
        }
    }

    /// Rounded amounts and parts: whatever the hand calls them, one text, a list in order, or parts by name.
    fn amounts(&mut self, place: &str, hand: &Value, found: &Value) {
        for (key, by_hand) in hand.as_object().into_iter().flatten().filter(|(key, _)| *key != "op") {
            let place = format!("{place}: {key}");
            match by_hand {
                Value::Array(list) => {
                    let amounts = found["list"].as_array().map_or(&[][..], Vec::as_slice);
                    if list.len() != amounts.len() {
                        self.add(&place, format!("by hand {} amounts, found {}", list.len(), amounts.len()));
                    }
                    for (at, (by_hand, found)) in list.iter().zip(amounts).enumerate() {
                        self.compare(&format!("{place}[{at}]"), by_hand, Some(found));
                    }
                }
                Value::Object(_) => self.compare(&place, by_hand, found.get("named")),
                one => self.compare(&place, one, found.get("one")),
            }
        }
    }

    fn compare(&mut self, place: &str, hand: &Value, found: Option<&Value>) {
        match (hand, found) {
            (by_hand, None | Some(Value::Null)) if is_all_nothing(by_hand) => {}
            (Value::Object(by_hand), Some(Value::Object(found))) => self.objects(place, by_hand, found),
            (Value::Array(by_hand), Some(Value::Array(found))) => self.lists(place, by_hand, found),
            (by_hand, Some(found)) if is_same(by_hand, found) => {}
            (by_hand, found) => self.add(place, format!("by hand {}, found {}", text(Some(by_hand)), text(found))),
        }
    }

    fn objects(&mut self, place: &str, hand: &Map<String, Value>, found: &Map<String, Value>) {
        if hand.is_empty() {
            self.others(place, hand, found);
        }
        for (key, by_hand) in hand {
            let name = key.strip_suffix('=').unwrap_or(key);
            let inner = if place.is_empty() { name.to_owned() } else { format!("{place}: {name}") };
            if let (true, Value::Object(by_hand), Some(Value::Object(found))) =
                (key.ends_with('='), by_hand, named(found, name))
            {
                self.others(&inner, by_hand, found);
                if by_hand.is_empty() {
                    continue;
                }
            }
            self.compare(&inner, by_hand, named(found, name));
        }
    }

    /// Keys that the hand does not have. What is zero is as good as absent.
    fn others(&mut self, place: &str, hand: &Map<String, Value>, found: &Map<String, Value>) {
        let is_named = |key: &String| {
            let called = [Some(key.clone()), first_day(key)];
            called.into_iter().flatten().any(|key| hand.contains_key(&key) || hand.contains_key(&format!("{key}=")))
        };
        for (key, value) in found.iter().filter(|(key, _)| !is_named(key)) {
            if !is_nothing(value) {
                self.add(&format!("{place}: {key}"), format!("by hand absent, found {}", text(Some(value))));
            }
        }
    }

    /// Each of the hand's has to be among what was found, and nothing else.
    fn lists(&mut self, place: &str, hand: &[Value], found: &[Value]) {
        let mut left: Vec<&Value> = found.iter().collect();
        for by_hand in hand {
            let fits = |value: &&Value| {
                let mut trial = Differences { name: self.name, lines: Vec::new() };
                match (by_hand, value.get("id")) {
                    // A record may be named by its id alone.
                    (Value::String(_), Some(id)) => trial.compare("", by_hand, Some(id)),
                    _ => trial.compare("", by_hand, Some(value)),
                }
                trial.lines.is_empty()
            };
            match left.iter().position(fits) {
                Some(at) => drop(left.remove(at)),
                None => {
                    let found = Value::from_iter(found.iter().cloned());
                    self.add(place, format!("by hand {}, found {}", text(Some(by_hand)), text(Some(&found))));
                }
            }
        }
        if hand.len() < found.len() {
            for value in left {
                self.add(place, format!("by hand absent, found {}", text(Some(value))));
            }
        }
    }
}

/// The value of a key; a period may be called by its first day too.
fn named<'v>(found: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    let by_day = || found.iter().find(|(key, _)| first_day(key).as_deref() == Some(name)).map(|(_, value)| value);
    found.get(name).or_else(by_day)
}

/// The first day of the period that a key names, if it names one.
fn first_day(key: &str) -> Option<String> {
    key.parse::<Window>().ok().map(|period| period.first_day.to_string())
}

/// What is as good as absent: nothing but zeros, however deep.
fn is_all_nothing(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.values().all(is_all_nothing),
        Value::Array(list) => list.is_empty(),
        Value::Null => true,
        other => is_same(&Value::from("0"), other),
    }
}

/// Zero, or a period in which nothing accrued.
fn is_nothing(value: &Value) -> bool {
    let is_zero = |value: &Value| is_same(&Value::from("0"), value);
    let is_idle = |value: &Value| {
        ["base", "uncapped", "accrued", "rounded"].iter().all(|key| value.get(key).is_some_and(is_zero))
    };
    is_zero(value) || is_idle(value)
}

fn text(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

/// Whether two texts or numbers are the same by value.
fn is_same(a: &Value, b: &Value) -> bool {
    let number = |value: &Value| crate::json::text_of(value).and_then(|text| text.parse::<Exact>().ok());
    let instant = |value: &Value| value.as_str().and_then(|text| parse_instant(text).ok());
    a == b || number(a).is_some() && number(a) == number(b) || instant(a).is_some() && instant(a) == instant(b)
}
