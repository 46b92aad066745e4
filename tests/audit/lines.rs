//! Records and steps of a history as lines of JSON.

use crate::model::{History, Q, Record, Restated, Step, What, seller};
use crate::print::{decimal, money, time_text};
use crate::time::{period_name, window};
use num_traits::Zero;
use serde_json::{Map, Value, json};

/// A record as a line.
pub fn record_line(history: &History, record: &Record) -> Value {
    let named = |id: &String| json!({ "source": record.source, "id": id });
    let contract = |place: &usize| history.contracts[*place].id;
    let mut line = match &record.what {
        What::Usage(it) => {
            let mut line = json!({
                "kind": "usage", "occurred_at": time_text(it.at), "deployment": it.deployment, "product": it.product,
                "customer": it.customer, "quantities": quantities(&it.requests, &it.tokens),
            });
            if let Some(country) = it.country {
                line["country"] = json!(country);
            }
            line
        }
        What::Deduction { of, sold: (deployment, product, customer), category, at, amount, currency } => {
            let mut line = json!({
                "kind": "deduction", "category": category, "at": time_text(*at), "amount": money(amount, currency),
            });
            match of {
                Some(of) => line["event"] = named(of),
                None => {
                    line["deployment"] = json!(deployment);
                    line["product"] = json!(product);
                    line["customer"] = json!(customer);
                }
            }
            line
        }
        What::Billing { .. } => billing(record),
        What::Receipt { of, at, amount, currency } => json!({
            "kind": "receipt", "at": time_text(*at), "amount": money(amount, currency), "for": [named(of)],
        }),
        What::Figure { contract: place, name, from, through, value } => json!({
            "kind": "figure", "contract": contract(place), "name": name, "by": "lab", "from": from.to_string(),
            "through": through.to_string(), "value": money(value, history.contracts[*place].currency),
        }),
        What::Event { contract: place, name, at } => json!({
            "kind": "fact", "contract": contract(place), "name": name, "by": "lab", "at": time_text(*at),
            "evidence": "history",
        }),
        What::Status { contract: place, name, at, until } => {
            let mut line = json!({
                "kind": "fact", "contract": contract(place), "name": name, "by": "lab", "at": time_text(*at),
                "evidence": "history",
            });
            if let Some(until) = until {
                line["until"] = json!(time_text(*until));
            }
            line
        }
        What::Decision { contract: place, right, of, releases } => json!({
            "kind": "decision", "contract": contract(place), "right": right, "event": named(of),
            "decision": if *releases { "release" } else { "reject" }, "reason": "history",
        }),
        What::Correction { of, restated } => {
            let mut line = corrected(history, record, of, restated);
            line["kind"] = json!("correction");
            line["corrects"] = json!(of);
            line
        }
        What::Void { of } => json!({ "kind": "void", "voids": of }),
    };
    line["source"] = json!(record.source);
    line["id"] = json!(record.id);
    line["recorded_at"] = json!(time_text(record.recorded_at));
    line
}

/// A line of an invoice for usage, or one that stands alone and says what it is of.
fn billing(record: &Record) -> Value {
    let What::Billing { of, sold: (deployment, product, customer), at, amount, currency } = &record.what else {
        return Value::Null;
    };
    let mut line = json!({ "kind": "billing", "at": time_text(*at), "amount": money(amount, currency) });
    if let Some(of) = of {
        line["for"] = json!([{ "source": record.source, "id": of }]);
        return line;
    }
    line["product"] = json!(product);
    line["customer"] = json!(customer);
    if let Some(seller) = seller(deployment) {
        line["seller"] = json!(seller);
    }
    line
}

fn quantities(requests: &Q, tokens: &Q) -> Value {
    let mut found = Map::new();
    for (meter, quantity) in [("requests", requests), ("input_tokens", tokens)] {
        if !quantity.is_zero() {
            found.insert(meter.to_owned(), json!(decimal(quantity)));
        }
    }
    Value::Object(found)
}

fn corrected(history: &History, record: &Record, of: &str, restated: &Restated) -> Value {
    let named = |it: &&Record| it.source == record.source && it.id == of;
    let (time, value, currency) = match history.records.iter().find(named).map(|it| &it.what) {
        Some(What::Deduction { currency, .. } | What::Receipt { currency, .. } | What::Billing { currency, .. }) => {
            ("at", "amount", *currency)
        }
        Some(What::Figure { contract, .. }) => ("at", "value", history.contracts[*contract].currency),
        Some(What::Event { .. } | What::Status { .. }) => ("at", "amount", "USD"),
        _ => ("occurred_at", "amount", "USD"),
    };
    let mut line = json!({});
    if let Some(at) = restated.at {
        line[time] = json!(time_text(at));
    }
    if let Some(product) = restated.product {
        line["product"] = json!(product);
    }
    if let Some(deployment) = restated.deployment {
        line["deployment"] = json!(deployment);
    }
    if let Some((requests, tokens)) = &restated.quantities {
        line["quantities"] = quantities(requests, tokens);
    }
    if let Some(amount) = &restated.amount {
        line[value] = json!(money(amount, currency));
    }
    if let Some(until) = restated.until {
        line["until"] = json!(time_text(until));
    }
    line
}

/// A step as a line.
pub fn step_line(history: &History, step: &Step) -> Value {
    let period = |contract: &usize, day: &chrono::NaiveDate| {
        let of = &history.contracts[*contract];
        period_name(window(of.period, *day))
    };
    let id = |contract: &usize| history.contracts[*contract].id;
    match step {
        Step::Settle { contract, period: day, cutoff } => json!({
            "step": "settle", "contract": id(contract), "period": period(contract, day), "cutoff": time_text(*cutoff),
        }),
        Step::Close { contract, period: day } => {
            json!({ "step": "close", "contract": id(contract), "period": period(contract, day) })
        }
        Step::Entitlement { contract, through, known_at } => json!({
            "step": "entitlement", "contract": id(contract), "through": period(contract, through),
            "known_at": time_text(*known_at),
        }),
    }
}
