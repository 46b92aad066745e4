//! Reads records: one JSON object each, every field known, nothing ignored.

use super::fields::Fields;
use super::{Billing, Decision, Deduction, Fact, Figure, Level, Paid, Receipt, RecordContent, Reduces, Reported};
use super::{RecordError, RecordKind, Subject};
use crate::domain::ids::{DeploymentId, EventId, PartyId, ProductId, TermId};
use crate::domain::money::Money;
use chrono::NaiveDate;
use serde::Deserialize;

const TEXT: &str = "text in quotes";
const AMOUNT: &str = "an amount in quotes, such as \"1_000.50 USD\"";
const EVENT: &str = "an object {\"source\": .., \"id\": ..}";
const EVENTS: &str = "a list of objects {\"source\": .., \"id\": ..}";

/// What a record may be about beside product, capability and cloud.
const OTHER_SUBJECTS: [&str; 12] = [
    "seller",
    "buyer",
    "buyer_class",
    "operator",
    "channel",
    "region",
    "country",
    "deployment",
    "customer",
    "service_tier",
    "meter",
    "label",
];

/// The fields that every record has.
const IDENTITY: [&str; 3] = ["kind", "source", "id"];

/// Reads the content of a record of a kind; who it is was read before.
///
/// # Errors
/// What is missing, unknown or wrong in it.
pub fn read_content(kind: RecordKind, fields: &Fields) -> Result<RecordContent, RecordError> {
    let own = |own: &[&str], may_be_about: bool| {
        let about: &[&str] = if may_be_about { &OTHER_SUBJECTS } else { &[] };
        let product: &[&str] = if may_be_about { &["product", "capability", "cloud"] } else { &[] };
        fields.refuse_others(&[&IDENTITY, own, product, about].concat())
    };
    match kind {
        RecordKind::Figure => {
            own(&["contract", "name", "by", "from", "through", "at", "value"], true)?;
            read_figure(fields)
        }
        RecordKind::Deduction => {
            own(&["category", "at", "amount", "event", "events", "deployment", "product", "customer"], false)?;
            read_deduction(fields).map(RecordContent::Deduction)
        }
        RecordKind::Receipt => {
            own(&["at", "amount", "for"], false)?;
            read_receipt(fields).map(RecordContent::Receipt)
        }
        RecordKind::Billing => {
            own(&["at", "amount", "for"], true)?;
            read_billing(fields).map(RecordContent::Billing)
        }
        RecordKind::Fact => {
            own(&["contract", "name", "by", "at", "until", "party", "evidence"], true)?;
            read_fact(fields).map(RecordContent::Fact)
        }
        RecordKind::Decision => {
            own(&["contract", "right", "event", "decision", "reason"], false)?;
            read_decision(fields).map(RecordContent::Decision)
        }
    }
}

fn date(field: &'static str, fields: &Fields) -> Result<Option<NaiveDate>, RecordError> {
    let form = "a date in quotes, such as \"2026-05-31\"";
    let read = |text: String| text.parse().map_err(|_| RecordError::Date { field, text: text.clone() });
    fields.parsed(field, form)?.map(read).transpose()
}

fn money(field: &'static str, fields: &Fields) -> Result<Money, RecordError> {
    let text = fields.required(field, AMOUNT)?;
    let amount: Money = text.parse().map_err(|problem| RecordError::Money { field, problem })?;
    Ok(amount)
}

fn name<T: for<'a> From<&'a str>>(field: &'static str, fields: &Fields) -> Result<T, RecordError> {
    fields.required(field, TEXT).map(|text| T::from(&text))
}

fn subject(fields: &Fields) -> Result<Subject, RecordError> {
    let mut others = super::Others::new();
    for field in OTHER_SUBJECTS {
        if let Some(text) = fields.text(field)? {
            others.insert(field.to_owned(), text);
        }
    }
    Ok(Subject {
        product: fields.text("product")?.map(ProductId::new),
        capability: fields.text("capability")?,
        cloud: fields.text("cloud")?,
        others,
    })
}

fn read_figure(fields: &Fields) -> Result<RecordContent, RecordError> {
    let (contract, term, by) = (name("contract", fields)?, name("name", fields)?, name("by", fields)?);
    let text = fields.required("value", "a number in quotes, such as \"1_000.50 USD\", \"99.5%\" or \"5_000\"")?;
    let value: Reported = text.parse().map_err(|problem| RecordError::Number { field: "value", problem })?;
    let about = subject(fields)?;
    match (date("from", fields)?, date("through", fields)?, fields.instant("at")?) {
        (Some(from), Some(through), None) if through < from => Err(RecordError::EndsBeforeStart { from, through }),
        (Some(from), Some(through), None) => {
            Ok(RecordContent::Figure(Figure { contract, name: term, by, from, through, value, about }))
        }
        (None, None, Some(at)) => Ok(RecordContent::Level(Level { contract, name: term, by, at, value, about })),
        _ => Err(RecordError::FlowOrLevel),
    }
}

fn read_deduction(fields: &Fields) -> Result<Deduction, RecordError> {
    let (event, events) = (fields.parsed("event", EVENT)?, fields.parsed::<Vec<EventId>>("events", EVENTS)?);
    let place = (fields.text("deployment")?, fields.text("product")?, fields.text("customer")?);
    let reduces = match (event, events, place) {
        (Some(event), None, (None, None, None)) => Reduces::Event(event),
        (None, Some(events), (None, None, None)) if !events.is_empty() => Reduces::Events(events),
        (None, None, (Some(deployment), Some(product), customer)) => {
            Reduces::Usage { deployment: DeploymentId::new(deployment), product: ProductId::new(product), customer }
        }
        (None, None, _) | (None, Some(_), (None, None, None)) => return Err(RecordError::NoTarget),
        (..) => return Err(RecordError::TwoTargets),
    };
    let amount = money("amount", fields)?;
    if amount.amount.is_negative() {
        return Err(RecordError::NegativeDeduction { amount: amount.to_string() });
    }
    Ok(Deduction { category: fields.required("category", TEXT)?, at: fields.required_instant("at")?, amount, reduces })
}

/// One thing that is paid, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPaid {
    source: String,
    id: String,
    amount: Option<String>,
}

fn read_receipt(fields: &Fields) -> Result<Receipt, RecordError> {
    let paid: Option<Vec<RawPaid>> = fields.parsed("for", PAID)?;
    let read = |RawPaid { source, id, amount }| -> Result<Paid, RecordError> {
        let amount = amount.map(|text| text.parse()).transpose();
        let amount = amount.map_err(|problem| RecordError::Money { field: "for", problem })?;
        Ok(Paid { event: EventId { source, id }, amount })
    };
    let pays: Vec<Paid> = paid.unwrap_or_default().into_iter().map(read).collect::<Result<_, _>>()?;
    if pays.is_empty() {
        return Err(RecordError::Missing { field: "for", form: PAID });
    }
    let amount = money("amount", fields)?;
    let parts: Option<Vec<&Money>> = pays.iter().map(|it| it.amount.as_ref()).collect();
    match parts {
        Some(parts) if parts.iter().any(|part| part.currency != amount.currency) => Err(RecordError::PartsOfReceipt),
        Some(parts)
            if parts.iter().map(|part| part.amount.clone()).sum::<crate::domain::money::Exact>() != amount.amount =>
        {
            Err(RecordError::PartsOfReceipt)
        }
        None if pays.iter().any(|it| it.amount.is_some()) => Err(RecordError::PartsOfReceipt),
        _ => Ok(Receipt { at: fields.required_instant("at")?, amount, pays }),
    }
}

const PAID: &str = "a list of objects {\"source\": .., \"id\": ..}, each perhaps with the part \"amount\"";

fn read_billing(fields: &Fields) -> Result<Billing, RecordError> {
    let names: Vec<EventId> = fields.parsed("for", EVENTS)?.unwrap_or_default();
    let about = subject(fields)?;
    // What a line of charges is about is told by the charges.
    match (names.is_empty(), about == Subject::default()) {
        (false, false) => Err(RecordError::TwoTargets),
        (true, true) => {
            Err(RecordError::Missing { field: "for", form: "a list of charges; or name seller and customer" })
        }
        _ => Ok(Billing { at: fields.required_instant("at")?, amount: money("amount", fields)?, names, about }),
    }
}

fn read_fact(fields: &Fields) -> Result<Fact, RecordError> {
    let (at, until) = (fields.required_instant("at")?, fields.instant("until")?);
    if let Some(until) = until.filter(|until| *until <= at) {
        return Err(RecordError::EndsAtStart { at, until });
    }
    let evidence = fields.required("evidence", TEXT)?;
    if evidence.contains('\0') {
        return Err(RecordError::Nul);
    }
    Ok(Fact {
        contract: name("contract", fields)?,
        name: name("name", fields)?,
        by: name("by", fields)?,
        at,
        until,
        about: subject(fields)?,
        party: fields.text("party")?.map(PartyId::new),
        evidence,
    })
}

fn read_decision(fields: &Fields) -> Result<Decision, RecordError> {
    let form = "\"release\" or \"reject\"";
    let releases = match fields.required("decision", form)?.as_str() {
        "release" => true,
        "reject" => false,
        _ => return Err(RecordError::WrongType { field: "decision", form }),
    };
    Ok(Decision {
        contract: name("contract", fields)?,
        right: name::<TermId>("right", fields)?,
        event: fields.parsed("event", EVENT)?.ok_or(RecordError::Missing { field: "event", form: EVENT })?,
        releases,
        reason: fields.required("reason", TEXT)?,
    })
}
