//! Azure API Management's log of calls to language models.

use crate::support::{SECRET, beside, content, refuses, told, usage};
use apportion::sources::Format::AzureGateway;
use apportion::sources::RejectionReason as Reason;
use apportion::sources::{Decoded, NoUsage, decode};

/// The rows of one call: the first with the counts, the others with the messages.
fn rows() -> String {
    let row = |number: u8, rest: &str| {
        format!(
            r#"{{"TimeGenerated":"2026-05-01T12:00:00.1234567Z","CorrelationId":"c-1","RequestId":"q","SequenceNumber":{number},"Type":"ApiManagementGatewayLlmLog","TenantId":"workspace",{rest}}}"#
        )
    };
    let counts = r#""DeploymentName":"gpt-4o-prod","ModelName":"gpt-4o","PromptTokens":11,"CompletionTokens":9,"TotalTokens":20,"ApimSubscriptionId":"tenant-7""#;
    let asked = format!(r#""DeploymentName":"","PromptTokens":0,"RequestMessages":"{SECRET}""#);
    let answered = format!(r#""ResponseMessages":"{SECRET}""#);
    format!(r#"{{"records":[{},{},{}]}}"#, row(0, counts), row(1, &asked), row(2, &answered))
}

#[test]
fn one_call_is_several_rows_and_one_event() {
    let decoded = decode(AzureGateway, rows().as_bytes(), &beside());
    assert!(!format!("{decoded:?}").contains("SECRET"));
    let [Decoded::Usage(call), Decoded::NoUsage(NoUsage::OtherRow), Decoded::NoUsage(NoUsage::OtherRow)] =
        decoded.as_slice()
    else {
        panic!("{decoded:?}")
    };
    let content = content(call);
    assert_eq!(told(content), "input_tokens 11, output_tokens 9, requests 1");
    assert_eq!((&*call.message.id().id, &*content.deployment), ("c-1", "gpt-4o-prod"));
    assert_eq!(call.response_id.as_deref(), Some("c-1"));
    assert_eq!((&*content.product, &*content.customer), ("gpt-4o", "tenant-7"));
    // Finer digits than microseconds are truncated.
    assert_eq!(content.occurred_at.timestamp_subsec_nanos(), 123_456_000);
}

#[test]
fn a_row_alone_is_one_too_and_a_wrong_total_is_refused() {
    let row = r#"{"TimeGenerated":"2026-05-01T12:00:00Z","CorrelationId":"c","DeploymentName":"d","ModelName":"m","PromptTokens":11,"CompletionTokens":9,"TotalTokens":20}"#;
    assert_eq!(told(content(&usage(AzureGateway, row, &beside()))), "input_tokens 11, output_tokens 9, requests 1");
    let detail = "TotalTokens: is 21, but PromptTokens 11 + CompletionTokens 9 make 20";
    refuses(AzureGateway, &row.replace(":20", ":21"), Reason::BrokenIdentity, detail);
    refuses(
        AzureGateway,
        &row.replace(":11", ":\"11.5\""),
        Reason::WrongQuantity,
        "PromptTokens: must be a whole number",
    );
    refuses(AzureGateway, &row.replace("\"PromptTokens\":11,", ""), Reason::MissingField, "PromptTokens: missing");
}
