//! Azure API Management's `ApiManagementGatewayLlmLog`: rows of calls, one alone or several under `records`.
//!
//! One call is several rows with one `CorrelationId`: the first has the tokens, the others the messages, which are
//! never read. What includes what: `TotalTokens` is `PromptTokens` and `CompletionTokens`; what a cache held is
//! not told, and reasoning lies within the completion. `TenantId` is that of the log, not of the customer: the
//! subscription to the gateway is, where the row is joined with `ApiManagementGatewayLogs`.

use super::node::{Field, Keep, Node};
use super::record::{Record, Tally};
use super::source::{Draft, NoUsage, Reading, Records, Source, prune};
use super::{Context, Fault, RejectionReason as Reason, fault};
use crate::domain::usage::{Meter, RequestOutcome};

const ROW: &[Field] = &[
    ("TimeGenerated", Keep::Time),
    ("CorrelationId", Keep::Name),
    ("DeploymentName", Keep::Name),
    ("ModelName", Keep::Name),
    ("PromptTokens", Keep::Number),
    ("CompletionTokens", Keep::Number),
    ("TotalTokens", Keep::Number),
    ("SequenceNumber", Keep::Number),
    ("ApimSubscriptionId", Keep::Name),
];

pub(super) const SOURCE: Source =
    Source { keep: &Keep::Object(ROW), folds: false, rules: "azure_gateway/1", open: open_rows, read };

/// An export of several rows.
const EXPORT: Source = Source { keep: &Keep::Object(&[("records", Keep::List(&Keep::Object(ROW)))]), ..SOURCE };

fn open_rows(source: &Source, bytes: &[u8], context: &Context<'_>) -> Records {
    match prune(&EXPORT, bytes, context)?.take("records") {
        Node::List(rows) => Ok(rows),
        Node::Null => Ok(vec![prune(source, bytes, context)?]),
        _ => Err(fault(Reason::WrongField, "records: must be a list of rows")),
    }
}

fn read(record: &Record<'_>, context: &Context<'_>) -> Result<Reading, Fault> {
    let deployment = record.text("DeploymentName")?;
    let (prompt, completion) = (record.count("PromptTokens")?, record.count("CompletionTokens")?);
    let states_none = prompt.unwrap_or(0) == 0 && completion.unwrap_or(0) == 0;
    // The rows of messages name no deployment.
    if states_none && deployment.is_none() && record.count_or_zero("SequenceNumber")? > 0 {
        return Ok(Reading::NoUsage(NoUsage::OtherRow));
    }
    let prompt = prompt.ok_or_else(|| record.missing("PromptTokens"))?;
    let completion = completion.unwrap_or(0);
    record.check_total("TotalTokens", &[("PromptTokens", prompt), ("CompletionTokens", completion)])?;
    let tally = Tally::of_request(&[(Meter::InputTokens, prompt), (Meter::OutputTokens, completion)]);
    let id = record.need_text("CorrelationId")?;
    Ok(Reading::usage(Draft {
        id: Some(id.to_owned()),
        // The caller is told it too, with the reply.
        response_id: Some(id.to_owned()),
        occurred_at: record.instant("TimeGenerated", context)?,
        deployment: deployment.map(str::to_owned),
        product: record.text("ModelName")?.map(str::to_owned),
        customer: record.text("ApimSubscriptionId")?.map(str::to_owned),
        outcome: Some(RequestOutcome::Ok),
        quantities: tally.into_quantities(),
        ..Draft::default()
    }))
}
