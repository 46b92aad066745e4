//! Usage of AWS's agent runtime, as its usage logs state it: a record for each second of a session.
//!
//! Its metrics exclude each other: the seconds that passed, processor hours, and the gigabyte hours of memory that
//! the session's state took. Tokens and calls of tools are not in it: the models' own records and spans state them.

use super::node::{Field, Keep};
use super::record::{Epoch, Record, Tally};
use super::source::{Draft, Reading, Source, open_json};
use super::{Context, Fault};
use crate::domain::usage::Meter;

const METRICS: &[Field] =
    &[("agent.runtime.memory.gb_hours.used", Keep::Number), ("agent.runtime.vcpu.hours.used", Keep::Number)];

pub(super) const SOURCE: Source = Source {
    keep: &Keep::Object(&[
        ("event_timestamp", Keep::Time),
        ("resource", Keep::Object(&[("service.name", Keep::Name), ("cloud.region", Keep::Name)])),
        (
            "attributes",
            Keep::Object(&[
                ("account.id", Keep::Name),
                ("time_elapsed_seconds", Keep::Number),
                ("region", Keep::Name),
                ("session.id", Keep::Name),
            ]),
        ),
        ("metrics", Keep::Object(METRICS)),
    ]),
    folds: false,
    rules: "agent_runtime/1",
    open: open_json,
    read,
};

fn read(record: &Record<'_>, _context: &Context<'_>) -> Result<Reading, Fault> {
    let at = record.epoch("event_timestamp", Epoch::Milliseconds)?;
    let at = at.ok_or_else(|| record.missing("event_timestamp"))?;
    let session = record.need_text("attributes.session.id")?;
    let region = record.first_text(["attributes.region", "resource.cloud.region"])?;
    let mut tally = Tally::default();
    for (path, meter) in [
        ("attributes.time_elapsed_seconds", Meter::RuntimeSeconds),
        ("metrics.agent.runtime.memory.gb_hours.used", Meter::StateGbHours),
        ("metrics.agent.runtime.vcpu.hours.used", Meter::VcpuHours),
    ] {
        let quantity = record.quantity(path, meter)?.ok_or_else(|| record.missing(path))?;
        tally.add_quantity(meter, quantity);
    }
    Ok(Reading::usage(Draft {
        id: Some(format!("{session}/{}", at.timestamp_millis())),
        occurred_at: Some(at),
        deployment: region.map(str::to_owned),
        product: Some(record.need_text("resource.service.name")?.to_owned()),
        customer: record.text("attributes.account.id")?.map(str::to_owned),
        quantities: tally.into_quantities(),
        ..Draft::default()
    }))
}
