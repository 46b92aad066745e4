//! LiteLLM's own records: their usage, and its costs through our price book.

use crate::support::{content, no_usage, refuses, shared, told, usage};
use apportion::domain::ids::ProductId;
use apportion::domain::money::Exact;
use apportion::domain::price::{PriceBook, PriceQuery, read_price_book};
use apportion::domain::usage::{Meter, RequestOutcome};
use apportion::sources::Format::LiteLlm;
use apportion::sources::RejectionReason as Reason;
use apportion::sources::{Context, NoUsage, Usage};
use flate2::read::GzDecoder;
use rust_decimal::Decimal;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;

fn context() -> Context<'static> {
    Context { source: "litellm", ..Context::default() }
}

fn records() -> Option<Vec<(String, Usage)>> {
    let text = String::from_utf8(shared("data/litellm_standard_logging/records.jsonl")?).expect("a text");
    Some(text.lines().map(|line| (line.to_owned(), usage(LiteLlm, line, &context()))).collect())
}

#[test]
fn its_records_are_metered() {
    let Some(records) = records() else { return };
    let told: Vec<_> = records
        .iter()
        .map(|(_, usage)| {
            let content = content(usage);
            format!("{} {} {}: {}", content.deployment, content.product, content.customer, told(content))
        })
        .collect();
    let used = "input_tokens 10, output_tokens 20, requests 1";
    assert_eq!(
        told,
        [
            format!("openai gpt-5.5 team-1: {used}"),
            format!("azure gpt-5.5 team-1: {used}"),
            format!("bedrock bedrock/us.anthropic.claude-opus-4-7 team-1: {used}"),
            format!("vertex_ai gemini-2.5-pro team-1: {used}"),
            format!("oci openai.gpt-5 team-1: {used}"),
            format!("azure_ai kimi-k2.5 team-1: {used}"),
            "openai gpt-5.5 : requests 1".to_owned(),
        ]
    );
    let outcomes: Vec<_> = records.iter().map(|(_, usage)| content(usage).outcome).collect();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Some(RequestOutcome::Error)).count(), 1);
    assert_eq!(content(&records[0].1).occurred_at.to_rfc3339(), "2026-11-21T02:56:14.263424+00:00");
    // Prompts, answers and the program's trace stand in these records, and in nothing that came of them.
    let texts: Vec<_> = records.iter().map(|(text, _)| text.as_str()).collect();
    let decoded = format!("{:?}", records.iter().map(|(_, usage)| usage).collect::<Vec<_>>());
    for words in ["capital of France", "is Paris", "mock fail"] {
        assert!(texts.concat().contains(words) && !decoded.contains(words), "{words}");
    }
}

/// The value of a JSON number's text, such as `5.4999999999999995e-05`, exactly.
fn exact(text: &str) -> Exact {
    let decimal = Decimal::from_scientific(text).or_else(|_| Decimal::from_str_exact(text)).expect("a number");
    Exact::from(decimal)
}

/// Members of a JSON object with the texts of their values.
fn members(json: &str) -> BTreeMap<String, &RawValue> {
    serde_json::from_str(json).expect("an object")
}

/// A price book of some of its keys: a line for each price that a record can ask for.
fn price_book(keys: &[(String, String, String)]) -> Option<PriceBook> {
    let packed = shared("data/litellm_prices/model_prices_and_context_window.json.gz")?;
    let mut table = String::new();
    GzDecoder::new(packed.as_slice()).read_to_string(&mut table).expect("a text");
    let table = members(&table);
    assert_eq!(table.len(), 4553);
    let mut book =
        "id,product,meter,service_tier,customer,region,channel,context_over,price,per,currency,from,to,source\n"
            .to_owned();
    for (product, provider, model) in keys {
        // The table names a model of a provider by both, or by the model alone.
        let prices = table.get(&format!("{provider}/{model}")).or_else(|| table.get(model)).expect("a model");
        let prices = members(prices.get());
        for (meter, name) in
            [(Meter::InputTokens, "input_cost_per_token"), (Meter::OutputTokens, "output_cost_per_token")]
        {
            let price = Decimal::from_scientific(prices[name].get()).expect("a price");
            writeln!(book, "{product}/{meter},{product},{meter},default,,,,,{price},1,USD,,,LiteLLM").expect("written");
        }
    }
    let prices = read_price_book(&book).expect("a price book");
    Some(PriceBook::new(prices.into_iter().map(|(_, price)| price)))
}

/// What the price book makes of a call, exactly.
fn cost(book: &PriceBook, product: &str, usage: &Usage) -> Exact {
    let content = content(usage);
    let product = ProductId::new(product);
    let priced = content.quantities.iter().filter(|(meter, _)| meter.is_token());
    priced.fold(Exact::zero(), |sum, (meter, quantity)| {
        let query = PriceQuery {
            product: &product,
            meter: *meter,
            service_tier: &content.service_tier,
            customer: &content.customer,
            region: "",
            channel: "",
            context_exceeds: 0,
            at: content.occurred_at,
        };
        let price = book.in_force(&query).expect("a price").unit_price();
        sum + Exact::from(*quantity) * price
    })
}

/// LiteLLM computes in binary floats, which hold 15 digits of a decimal: to those, its costs are ours.
#[test]
fn its_costs_come_out_of_our_price_book() {
    let Some(records) = records() else { return };
    // Each record says by which key of the table it was rated.
    let keys: Vec<(String, String, String)> = records
        .iter()
        .enumerate()
        .filter(|(_, (_, usage))| content(usage).outcome == Some(RequestOutcome::Ok))
        .map(|(place, (text, _))| {
            let record: serde_json::Value = serde_json::from_str(text).expect("a record");
            let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
            let model = text(&record["model_map_information"]["model_map_key"]);
            (format!("p{place}"), text(&record["custom_llm_provider"]), model)
        })
        .collect();
    assert_eq!(keys.len(), 6);
    let Some(book) = price_book(&keys) else { return };
    let mut compared = Vec::new();
    for (place, (text, usage)) in records.iter().enumerate() {
        let stated = members(text)["response_cost"].get();
        let ours = cost(&book, &format!("p{place}"), usage);
        let rounded = Decimal::from_scientific(stated).or_else(|_| Decimal::from_str_exact(stated)).expect("a number");
        let rounded = rounded.round_sf(15).expect("15 digits");
        assert_eq!(ours, Exact::from(rounded), "{stated}");
        // Nothing is taken on trust: the text itself differs from ours by less than a float's last digit.
        let difference = exact(stated) - ours.clone();
        let last_digit = exact("1e-18");
        assert!(difference <= last_digit && Exact::zero() - difference <= last_digit, "{stated}");
        compared.push(ours.to_string());
    }
    assert_eq!(compared, ["0.00065", "0.00065", "0.000605", "0.0002125", "0.0002125", "0.000066", "0"]);
}

const CALL: &str = r#"{"id":"c","litellm_call_id":"call-1","status":"success","custom_llm_provider":"anthropic","model":"claude","startTime":1795229774.263424,"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,"cache_hit":null,"end_user":"e","metadata":{"usage_object":{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,"cache_read_input_tokens":50,"cache_creation_input_tokens":30,"prompt_tokens_details":{"cached_tokens":50,"cache_creation_tokens":30,"cache_creation_token_details":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20}},"completion_tokens_details":{"reasoning_tokens":5}}}}"#;

#[test]
fn the_same_counts_under_several_names_count_once() {
    let decoded = usage(LiteLlm, CALL, &context());
    assert_eq!(
        told(content(&decoded)),
        "input_tokens 20, cached_input_tokens 50, cache_write_5m_tokens 10, cache_write_1h_tokens 20, output_tokens 15, reasoning_tokens 5, requests 1"
    );
    assert_eq!((&*decoded.message.id().id, decoded.response_id.as_deref()), ("call-1", Some("c")));
    let detail = "metadata.usage_object.cache_read_input_tokens: is 51, while prompt_tokens_details.cached_tokens says 50; they state one number";
    let text = CALL.replace("\"cache_read_input_tokens\":50", "\"cache_read_input_tokens\":51");
    refuses(LiteLlm, &text, Reason::BrokenIdentity, detail);
    let text = CALL.replacen(":120", ":121", 1);
    let detail = "total_tokens: is 121, but prompt_tokens 100 + completion_tokens 20 make 120";
    refuses(LiteLlm, &text, Reason::BrokenIdentity, detail);
}

#[test]
fn an_answer_from_its_own_cache_used_nothing() {
    no_usage(LiteLlm, &CALL.replace("\"cache_hit\":null", "\"cache_hit\":true"), NoUsage::CachedBefore);
}
