//! Decoders of the clouds' formats, on real records: what they meter, what they refuse, and that nothing of a
//! message gets past them.

#[path = "sources/aws.rs"]
mod aws;
#[path = "sources/azure.rs"]
mod azure;
#[path = "sources/oracle_and_google.rs"]
mod oracle_and_google;
#[path = "sources/openai_and_anthropic.rs"]
mod openai_and_anthropic;
#[path = "sources/totals.rs"]
mod totals;
#[path = "sources/any_bytes.rs"]
mod any_bytes;
#[path = "sources/litellm.rs"]
mod litellm;
#[path = "sources/otel.rs"]
mod otel;
#[path = "sources/others.rs"]
mod others;
#[path = "sources/beside.rs"]
mod beside;
#[path = "sources/costs.rs"]
mod costs;
#[path = "sources/protobuf.rs"]
mod protobuf;
#[path = "sources/support.rs"]
mod support;
