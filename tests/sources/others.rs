//! OpenMeter's events, the agent runtime's usage logs, and FOCUS cost rows.

use crate::support::{SECRET, content, costs, refuses, shared, told, usage};
use apportion::sources::Context;
use apportion::sources::Format::{AgentRuntime, OpenMeter};
use apportion::sources::RejectionReason as Reason;
use flate2::read::GzDecoder;
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::io::Read as _;

#[test]
fn openmeters_own_record_and_a_cloudevent_are_one() {
    // As LiteLLM's callback for it sends it.
    let event = format!(
        r#"{{"specversion":"1.0","type":"litellm_tokens","id":"call-1","time":"2026-05-01T12:00:00+00:00","subject":"tenant-7","source":"litellm-proxy","data":{{"model":"gpt-5.5","cost":0.00065,"prompt_tokens":10,"completion_tokens":20,"total_tokens":30,"note":"{SECRET}"}}}}"#
    );
    let context = Context { deployment: Some("gateway"), ..Context::default() };
    let from_event = usage(OpenMeter, &event, &context);
    assert_eq!(told(content(&from_event)), "input_tokens 10, output_tokens 20, requests 1");
    assert_eq!((&*content(&from_event).customer, &*content(&from_event).product), ("tenant-7", "gpt-5.5"));
    assert_eq!(from_event.message.id().source, "litellm-proxy");
    // As OpenMeter writes it to Kafka: seconds, and the data as a text.
    let own = r#"{"id":"call-1","type":"litellm_tokens","source":"litellm-proxy","subject":"tenant-7","time":1777636800,"data":"{\"model\":\"gpt-5.5\",\"prompt_tokens\":10,\"completion_tokens\":20,\"total_tokens\":30}"}"#;
    assert_eq!(usage(OpenMeter, own, &context).message, from_event.message);
    let detail = "data.total_tokens: is 31, but prompt_tokens 10 + completion_tokens 20 make 30";
    refuses(OpenMeter, &event.replace(":30,", ":31,"), Reason::BrokenIdentity, detail);
    let single = r#"{"id":"1","source":"s","type":"tokens","subject":"c","time":"2026-05-01T12:00:00Z","data":{"tokens":"123","model":"m","type":"output"}}"#;
    assert_eq!(told(content(&usage(OpenMeter, single, &context))), "output_tokens 123");
    refuses(
        OpenMeter,
        &single.replace("tokens\":\"123", "x\":\"123"),
        Reason::MissingField,
        "data.prompt_tokens: missing",
    );
}

/// A second of a session, as a public guide to the log shows it.
const SECOND: &str = r#"{"resource_arn":"arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/AGENT123","event_timestamp":1762768235743,"resource":{"cloud.provider":"aws","service.name":"AgentCore.Runtime","cloud.region":"us-east-1"},"attributes":{"account.id":"956882708938","time_elapsed_seconds":0.28,"agent.name":"CustomerSupportAgent","region":"us-east-1","session.id":"session-12345","resource.id":"arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/AGENT123/runtime-endpoint/DEFAULT"},"metrics":{"agent.runtime.memory.gb_hours.used":0.000275552058724,"agent.runtime.vcpu.hours.used":0.000001925}}"#;

#[test]
fn a_second_of_a_session_is_metered_to_its_last_digit() {
    let decoded = usage(AgentRuntime, SECOND, &Context { source: "aws", ..Context::default() });
    let content = content(&decoded);
    assert_eq!(told(content), "runtime_seconds 0.28, state_gb_hours 0.000275552058724, vcpu_hours 0.000001925");
    assert_eq!(decoded.message.id().id, "session-12345/1762768235743");
    assert_eq!(
        (&*content.deployment, &*content.product, &*content.customer),
        ("us-east-1", "AgentCore.Runtime", "956882708938")
    );
    let detail = "metrics.agent.runtime.vcpu.hours.used: is negative";
    refuses(AgentRuntime, &SECOND.replace("0.000001925", "-0.1"), Reason::NegativeQuantity, detail);
    let detail = "metrics.agent.runtime.memory.gb_hours.used: has more than 15 fractional digits";
    refuses(AgentRuntime, &SECOND.replace("0.000275552058724", "0.0002755520587241"), Reason::WrongQuantity, detail);
}

#[test]
fn a_clouds_cost_rows_give_their_totals() {
    let Some(packed) = shared("data/focus/focus_1.0_sample_1000.csv.gz") else { return };
    let mut text = Vec::new();
    GzDecoder::new(packed.as_slice()).read_to_end(&mut text).expect("a text");
    let costs: Vec<_> = costs(&text).into_iter().map(|row| row.expect("a cost")).collect();
    let mut by_provider: BTreeMap<&str, u32> = BTreeMap::new();
    for cost in &costs {
        *by_provider.entry(&cost.provider).or_default() += 1;
    }
    assert_eq!(by_provider, BTreeMap::from([("AWS", 942), ("Microsoft", 51), ("Oracle", 7)]));
    let billed: Decimal = costs.iter().map(|cost| cost.billed).sum();
    assert_eq!(billed.normalize().to_string(), "20.52022672899");
    let contracted: Decimal = costs.iter().filter_map(|cost| cost.contracted).sum();
    assert_eq!(contracted.normalize().to_string(), "14.97626039326");
    assert_eq!(costs[0].billed.to_string(), "0.00000080000");
    // The rows say no zone, and the specification says UTC.
    assert_eq!(costs[0].charge.start.to_rfc3339(), "2024-09-18T22:00:00+00:00");
}

#[test]
fn rows_that_do_not_conform_are_refused() {
    let Some(text) = shared("data/focus/spec_saas_examples/virtual_currency_pricing_model_a2.csv") else { return };
    // The examples of the specification begin with a byte-order mark and have dates such as 4/1/25.
    assert_eq!(costs(&text)[0], Err("ChargePeriodStart: must be RFC 3339 with a zone".to_owned()));
}

const HEADER: &str = "ProviderName,InvoiceIssuerName,BillingAccountId,ServiceName,ChargeCategory,ChargeClass,ChargePeriodStart,\
    ChargePeriodEnd,BillingPeriodStart,BillingPeriodEnd,BillingCurrency,BilledCost,EffectiveCost,ContractedCost,ListCost,ResourceId";

const ROW: &str = "AWS,Amazon,1,Bedrock,Usage,Correction,2026-05-01T00:00:00Z,2026-05-02T00:00:00Z,2026-05-01 00:00:00,\
    2026-06-01 00:00:00,USD,-1.50,1e-3,NULL,0,r";

#[test]
fn a_fault_names_its_column_and_what_would_be_right() {
    let of = |row: &str| costs(format!("{HEADER}\n{row}\n").as_bytes()).remove(0);
    let cost = of(ROW).expect("a cost");
    let amounts = (cost.billed.to_string(), cost.effective.to_string(), cost.contracted, cost.is_correction);
    assert_eq!(amounts, ("-1.50".to_owned(), "0.001".to_owned(), None, true));
    for (right, wrong, told) in [
        ("USD", "Gold", "BillingCurrency: must be an ISO 4217 currency"),
        ("-1.50", "$1.50", "BilledCost: must be a decimal number of at most 28 digits"),
        ("-1.50", "0.00000000000000000000000000001", "BilledCost: must be a decimal number of at most 28 digits"),
        ("-1.50", "", "BilledCost: missing"),
        ("Usage", "usage", "ChargeCategory: must be Usage, Purchase, Tax, Credit, Adjustment"),
        ("Correction", "Other", "ChargeClass: must be Correction or nothing"),
        ("2026-05-02T00:00:00Z", "2026-05-01T00:00:00Z", "ChargePeriodEnd: must lie after its start"),
        ("AWS,", "NULL,", "ProviderName: missing"),
        (",r", "", "must have 16 columns as the header has, not 15"),
        (",r", ",r,1", "must have 16 columns as the header has, not 17"),
        (",r", &format!(",{}", "r".repeat(2049)), "ResourceId: must be an id of at most 2048 bytes"),
    ] {
        assert_eq!(of(&ROW.replacen(right, wrong, 1)), Err(told.to_owned()), "{wrong}");
    }
    assert!(of(&ROW.replace(",r", &format!(",{}", "r".repeat(2048)))).is_ok());
    let header = |wrong: &str| costs(wrong.as_bytes()).remove(0);
    assert_eq!(header("BilledCost\n1\n"), Err("ProviderName: no such column".to_owned()));
    assert_eq!(header(&format!("{HEADER},BilledCost\n")), Err("BilledCost: must be one column".to_owned()));
}
