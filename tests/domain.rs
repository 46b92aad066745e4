//! The rules, without a database: what is read of agreements, and settlements of `contracts/` whose figures were worked
//! out by hand.

#[path = "domain/additions.rs"]
mod additions;
#[path = "domain/burn_down.rs"]
mod burn_down;
#[path = "domain/counted.rs"]
mod counted;
#[path = "domain/documents.rs"]
mod documents;
#[path = "domain/drafts.rs"]
mod drafts;
#[path = "domain/edges.rs"]
mod edges;
#[path = "domain/explained.rs"]
mod explained;
#[path = "domain/findings.rs"]
mod findings;
#[path = "domain/invoices.rs"]
mod invoices;
#[path = "domain/language.rs"]
mod language;
#[path = "domain/language_terms.rs"]
mod language_terms;
#[path = "domain/language_whole.rs"]
mod language_whole;
#[path = "domain/language_windows.rs"]
mod language_windows;
#[path = "domain/meant.rs"]
mod meant;
#[path = "domain/records.rs"]
mod records;
#[path = "domain/reference.rs"]
mod reference;
#[path = "domain/settlement.rs"]
mod settlement;
#[path = "domain/statement_made.rs"]
mod statement_made;
#[path = "domain/support.rs"]
mod support;
#[path = "domain/tails.rs"]
mod tails;
#[path = "domain/windows.rs"]
mod windows;
#[path = "domain/worked.rs"]
mod worked;
