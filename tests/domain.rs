//! The rules, without a database: settlements of `contracts/` whose figures were worked out by hand, and random
//! histories against an auditor of its own.

#[path = "domain/agreements.rs"]
mod agreements;
#[path = "domain/auditor.rs"]
mod auditor;
#[path = "domain/documents.rs"]
mod documents;
#[path = "domain/drafts.rs"]
mod drafts;
#[path = "domain/edges.rs"]
mod edges;
#[path = "domain/findings.rs"]
mod findings;
#[path = "domain/histories.rs"]
mod histories;
#[path = "domain/invoices.rs"]
mod invoices;
#[path = "domain/records.rs"]
mod records;
#[path = "domain/settlement.rs"]
mod settlement;
#[path = "domain/support.rs"]
mod support;
