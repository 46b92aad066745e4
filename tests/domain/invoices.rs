//! Invoices and credit notes from settled statements, with figures worked out by hand in the comments.

use crate::support::{History, at, exact, head, shipped_files};
use apportion::domain::contract::folder::SourceFile;
use apportion::domain::invoice::{
    Circumstances, Drawing, DrawingError, Invoice, InvoiceKind, NotDrawn, NotDrawnReason, Payable, StatementReference,
    drawings, number,
};
use apportion::domain::money::Exact;
use apportion::domain::statement::Statement;
use chrono::NaiveDate;

const CONTRACT: &str = "microsoft-openai";
/// A million output tokens of the lab's own sales cost 30 USD: a share of 6.
const OUTPUT: [(&str, &str); 1] = [("output_tokens", "1000000")];

/// The documents of a statement, numbered from `first` on, and the directions without one.
fn draw(
    history: &History,
    statement: &Statement,
    first: u32,
    when: &str,
    earlier: &[Invoice],
) -> (Vec<Invoice>, Vec<NotDrawn>) {
    let (mut documents, mut none) = (Vec::new(), Vec::new());
    for drawing in drawings(statement).expect("adds up") {
        match drawing {
            Drawing::Document(document) => {
                let given = Circumstances {
                    sequence: first,
                    issued_at: at(when),
                    statement: StatementReference { statement_id: 7, revision: 1, sha256: "0".repeat(64) },
                    register: &history.folder.register,
                    earlier,
                };
                documents.push(document.numbered(statement, &given).expect("numbered"));
            }
            Drawing::None(reason) => none.push(reason),
        }
    }
    for document in &documents {
        let lines: Exact = document.lines.iter().map(|line| line.amount.clone()).sum();
        assert_eq!(&lines + &document.carried_in, document.total, "{}", document.number);
    }
    (documents, none)
}

fn one_statement(history: &mut History, contract: &str, period: &str) -> Statement {
    let mut statements = history.statements(contract, period);
    assert_eq!(statements.len(), 1);
    history.close(period);
    statements.remove(0)
}

/// "kind number issuer>payer total", and its lines as "term origin amount".
fn said(document: &Invoice) -> (String, Vec<String>) {
    let (issuer, payer) = (&document.issuer.party, &document.payer.party);
    let head = format!("{} {} {issuer}>{payer} {}", document.kind, document.number, document.total);
    let lines = document.lines.iter().map(|line| format!("{} {} {}", line.term, line.origin_period, line.amount));
    (head, lines.collect())
}

fn history_with(months: &[(&str, u32)], files: &[SourceFile]) -> History {
    let mut history = History::under(files);
    for (month, days) in months {
        history.subscriptions(&format!("{month}-01"), &format!("{month}-{days}"), "0");
    }
    history
}

fn replaced(from: &str, to: &str) -> Vec<SourceFile> {
    let mut files = shipped_files();
    for SourceFile { text, .. } in &mut files {
        *text = text.replace(from, to);
    }
    files
}

const SUMMER: [(&str, u32); 3] = [("2026-05", 31), ("2026-06", 30), ("2026-07", 31)];

#[test]
fn each_direction_has_a_document_of_the_one_who_is_paid() {
    let mut history = history_with(&[("2026-04", 30), ("2026-05", 31)], &shipped_files());
    history.event("2026-05-10T00:00:00Z", "openai-direct", "gpt-5.5", &OUTPUT);
    // Before the amendment Microsoft owed 20% of what it sold: 100,000 x 5/M = 0.50, so 0.10.
    history.event("2026-04-20T00:00:00Z", "azure-openai-eastus", "gpt-5.5", &[("input_tokens", "100000")]);
    let statement = one_statement(&mut history, CONTRACT, "2026-05");
    let (documents, none) = draw(&history, &statement, 12, "2026-07-01T06:30:00Z", &[]);
    let [by_openai, by_microsoft] = documents.as_slice() else { panic!("{documents:?}") };
    assert!(none.is_empty());
    assert_eq!(
        said(by_openai),
        ("invoice OPENAI-000012 openai>microsoft 0.1".into(), vec!["azure-resale-share 2026-04 0.1".to_owned()])
    );
    assert_eq!(
        said(by_microsoft),
        ("invoice MICROSOFT-000012 microsoft>openai 6".into(), vec!["revenue-share 2026-05 6".to_owned()])
    );
    let [detail] = by_microsoft.lines[0].details.as_slice() else { panic!("one version") };
    let [addend] = detail.addends.as_slice() else { panic!("one share") };
    assert_eq!((detail.version, &addend.measured, &addend.factors[0].value), (3, &exact("30"), &exact("0.2")));
    assert_eq!((by_openai.issuer.name.as_str(), by_openai.payer.name.as_str()), ("OpenAI", "Microsoft"));
    // In the contract's zone it is still June.
    assert_eq!(by_openai.issued_on.to_string(), "2026-06-30");
    let due: Vec<_> = statement.totals.iter().map(|total| total.due_on).collect();
    assert_eq!(due, [by_openai.due_on, by_microsoft.due_on]);
    let json = serde_json::to_string(by_openai).expect("json");
    assert_eq!(serde_json::from_str::<Invoice>(&json).expect("an invoice"), *by_openai);
}

#[test]
fn a_due_date_is_the_statements() {
    let mut history = History::new();
    history.event("2026-05-10T00:00:00Z", "bedrock-us-east-1", "gpt-5.5", &OUTPUT);
    let statement = one_statement(&mut history, "aws-openai", "2026-05");
    let (documents, _) = draw(&history, &statement, 1, "2026-06-02T00:00:00Z", &[]);
    // 45 days after 31 May.
    assert_eq!(documents[0].due_on.map(|it| it.to_string()).as_deref(), Some("2026-07-15"));
    // 1,000,000 x 33/M, of which AWS passes on 80%.
    assert_eq!(said(&documents[0]).0, "invoice OPENAI-000001 openai>aws 26.4");
}

#[test]
fn a_late_issue_does_not_move_the_contracts_due_date_and_asks_for_payment_on_receipt() {
    let mut history = History::new();
    history.event("2026-05-10T00:00:00Z", "bedrock-us-east-1", "gpt-5.5", &OUTPUT);
    let statement = one_statement(&mut history, "aws-openai", "2026-05");
    let due_on: NaiveDate = "2026-07-15".parse().expect("a date");
    let payable = |issued_at| {
        let (documents, _) = draw(&history, &statement, 1, issued_at, &[]);
        assert_eq!(documents[0].due_on, Some(due_on));
        documents[0].payable()
    };
    // In the contract's zone it is still 15 July, the last day on which payment is not late.
    assert_eq!(payable("2026-07-16T06:59:59Z"), Payable::By(due_on));
    assert_eq!(payable("2026-07-16T07:00:00Z"), Payable::OnReceipt { was_due_on: due_on });
    assert_eq!(Payable::of(due_on, None), Payable::Unstated);
}

#[test]
fn a_carried_credit_asks_for_nothing_and_then_for_less() {
    let mut history = history_with(&SUMMER, &shipped_files());
    let sale = history.event("2026-05-10T00:00:00Z", "openai-direct", "gpt-5.5", &OUTPUT);
    one_statement(&mut history, CONTRACT, "2026-05");
    history.deduct("refund", "2026-06-01T00:00:00Z", sale, "30");
    let june = one_statement(&mut history, CONTRACT, "2026-06");
    let (documents, none) = draw(&history, &june, 1, "2026-07-02T00:00:00Z", &[]);
    assert!(documents.is_empty());
    let [NotDrawn { payer, reason, .. }] = none.as_slice() else { panic!("{none:?}") };
    assert_eq!(
        (payer.as_str(), reason),
        ("openai", &NotDrawnReason::CreditCarried { credit: exact("-6") }),
        "{none:?}"
    );
    // Three sales of 30: 18, less the 6 that were carried.
    history.event("2026-07-10T00:00:00Z", "openai-direct", "gpt-5.5", &[("output_tokens", "3000000")]);
    let july = one_statement(&mut history, CONTRACT, "2026-07");
    let (documents, none) = draw(&history, &july, 2, "2026-08-02T00:00:00Z", &[]);
    assert!(none.is_empty());
    let [invoice] = documents.as_slice() else { panic!("{documents:?}") };
    assert_eq!(
        said(invoice),
        ("invoice MICROSOFT-000002 microsoft>openai 12".into(), vec!["revenue-share 2026-07 18".into()])
    );
    assert_eq!(invoice.carried_in, exact("-6"));
}

#[test]
fn a_credit_that_is_paid_back_is_a_credit_note_on_the_invoices_it_corrects() {
    let mut history = history_with(&SUMMER, &replaced("negative = \"carry\"", "negative = \"pay\""));
    let sale = history.event("2026-05-10T00:00:00Z", "openai-direct", "gpt-5.5", &OUTPUT);
    let may = one_statement(&mut history, CONTRACT, "2026-05");
    let (first, _) = draw(&history, &may, 1, "2026-06-02T00:00:00Z", &[]);
    history.event("2026-06-10T00:00:00Z", "openai-direct", "gpt-5.5", &OUTPUT);
    let june = one_statement(&mut history, CONTRACT, "2026-06");
    let (second, _) = draw(&history, &june, 2, "2026-07-02T00:00:00Z", &[]);
    // May's sale is refunded, all 30 of it; July sold for 15: 3, less 6.
    history.deduct("refund", "2026-07-01T00:00:00Z", sale, "30");
    history.event("2026-07-10T00:00:00Z", "openai-direct", "gpt-5.5", &[("output_tokens", "500000")]);
    let july = one_statement(&mut history, CONTRACT, "2026-07");
    let earlier = [first, second].concat();
    let (third, none) = draw(&history, &july, 3, "2026-08-02T00:00:00Z", &earlier);
    let [credit_note] = third.as_slice() else { panic!("{third:?}") };
    assert!(none.is_empty());
    assert_eq!(credit_note.kind, InvoiceKind::CreditNote);
    let lines = vec!["revenue-share 2026-05 -6".to_owned(), "revenue-share 2026-07 3".to_owned()];
    assert_eq!(said(credit_note), ("credit_note MICROSOFT-000003 microsoft>openai -3".into(), lines));
    assert_eq!(credit_note.lines[0].booked_before, exact("6"));
    // June's invoice asked for nothing of May.
    let corrected: Vec<&str> = credit_note.corrects.iter().map(|it| it.number.as_str()).collect();
    assert_eq!(corrected, ["MICROSOFT-000001"]);
    assert_eq!(credit_note.corrects[0].issued_on, earlier[0].issued_on);
}

#[test]
fn nothing_to_pay_gives_no_document() {
    let mut history = history_with(&SUMMER, &shipped_files());
    let statement = one_statement(&mut history, CONTRACT, "2026-05");
    let (documents, none) = draw(&history, &statement, 1, "2026-06-02T00:00:00Z", &[]);
    assert!(documents.is_empty());
    assert_eq!(none.iter().map(|it| &it.reason).collect::<Vec<_>>(), [&NotDrawnReason::NothingToPay]);
    assert_eq!(
        serde_json::to_string(&none).expect("json"),
        r#"[{"payer":"openai","payee":"microsoft","reason":"nothing_to_pay"}]"#
    );
}

#[test]
fn totals_have_the_minor_digits_of_their_currency() {
    // 1,234,567 output tokens at 10/M are 12.34567; a tenth is 1.234567.
    for (currency, total) in [("KWD", "1.235"), ("JPY", "1"), ("USD", "1.23")] {
        let mut files = shipped_files();
        for SourceFile { path, text } in &mut files {
            if path == "trace-share.md" {
                *text = text.replace("\"USD\"", &format!("\"{currency}\""));
            } else if path == "prices.csv" {
                let row = |row: &str| match row.contains("trace-model") {
                    true => row.replace("USD", currency),
                    false => row.to_owned(),
                };
                *text = text.lines().map(row).collect::<Vec<_>>().join("\n");
            }
        }
        let mut history = History::under(&files);
        history.event("2023-11-16T18:00:00Z", "trace-conv", "trace-model", &[("output_tokens", "1234567")]);
        let statement = one_statement(&mut history, "trace-share", "2023-11");
        let (documents, _) = draw(&history, &statement, 1, "2023-12-01T00:00:00Z", &[]);
        assert_eq!((documents[0].currency.code(), documents[0].total.to_string().as_str()), (currency, total));
    }
}

#[test]
fn a_total_that_is_not_the_sum_of_its_lines_is_refused() {
    let mut history = history_with(&SUMMER, &shipped_files());
    history.event("2026-05-10T00:00:00Z", "openai-direct", "gpt-5.5", &OUTPUT);
    let mut statement = one_statement(&mut history, CONTRACT, "2026-05");
    for total in &mut statement.totals {
        total.payable += &exact("0.01");
    }
    assert!(matches!(drawings(&statement), Err(DrawingError::DoesNotAddUp { .. })));
}

#[test]
fn a_number_goes_on_beyond_its_six_digits() {
    let numbers = [(1, "LAB-EU-000001"), (999_999, "LAB-EU-999999"), (1_000_000, "LAB-EU-1000000")];
    for (sequence, expect) in numbers {
        assert_eq!(number(&"lab-eu".into(), sequence).as_str(), expect);
    }
}

const SET_OFF: &str = concat!(
    head!("own"),
    r#"[figure.Sold]
unit = "USD"
kind = "flow"
missing = "zero"

[term.advance]
payer = "openai"
payee = "microsoft"
fixed = "100 USD"
on = 2026-01-01

[term.rebate]
payer = "microsoft"
payee = "openai"
rate = "8%"
of = "Sold"

[term.share]
payer = "openai"
payee = "microsoft"
rate = "20%"
of = "Sold"
credits = [{ of = "advance", rest = "lost" }, { of = "rebate", rest = "carried" }]
```
"#
);

/// The lab owes 20 % of a figure and has paid 100 in advance; the cloud owes the lab 8 % of it, which the share sets off. An
/// advance takes January's whole share of 100, so the 40 of January are paid. February's share of 100 sets off 80: the 40 of
/// February, and the 40 that were paid, which come back with that statement, though credits are carried elsewhere.
#[test]
fn what_was_paid_before_it_is_set_off_is_paid_back() {
    let mut files = shipped_files();
    files.push(SourceFile { path: "own.md".into(), text: SET_OFF.into() });
    let mut history = History::under(&files);
    for (month, days) in [("2026-01", 31), ("2026-02", 28), ("2026-03", 31)] {
        history.record(&format!(
            r#"{{"kind":"figure","source":"finance","id":"{month}","contract":"own","name":"Sold","by":"openai","from":"{month}-01","through":"{month}-{days}","value":"500 USD"}}"#
        ));
    }
    let mut earlier = Vec::new();
    let mut months = Vec::new();
    for (month, of_share) in [("2026-01", "0"), ("2026-02", "-80"), ("2026-03", "-40")] {
        let statement = one_statement(&mut history, "own", month);
        let (documents, _) = draw(&history, &statement, 1, "2026-04-02T00:00:00Z", &earlier);
        months.push(documents.iter().map(|it| said(it).0).collect::<Vec<_>>());
        earlier.extend(documents);
        let paid_back = |term: &str| {
            let line = statement.lines.iter().find(|line| line.term.as_str() == term).expect("a line");
            line.details.iter().map(|it| (it.uncapped.to_string(), it.paid_back.to_string())).collect::<Vec<_>>()
        };
        assert_eq!(paid_back("share"), [("100".to_owned(), of_share.to_owned())], "{month}");
        assert_eq!(paid_back("rebate"), [("40".to_owned(), of_share.to_owned())], "{month}");
    }
    assert_eq!(
        months,
        [
            vec!["invoice OPENAI-000001 openai>microsoft 40", "invoice MICROSOFT-000001 microsoft>openai 100"],
            vec!["credit_note OPENAI-000001 openai>microsoft -40", "invoice MICROSOFT-000001 microsoft>openai 20"],
            vec!["invoice MICROSOFT-000001 microsoft>openai 60"],
        ]
    );
}

/// January's rebate is below zero and is carried as a credit. A version that is signed later brings the set-off for January
/// too: the issued statement stands, and February goes on from it.
#[test]
fn a_later_version_changes_no_credit_that_was_carried() {
    let (head, terms) = SET_OFF.split_once("[term.advance]").expect("a part");
    let version = format!(
        "# Set-off\n\n```toml\n[version]\ncontract = \"own\"\nnumber = 2\neffective = 2026-01-01\n\n[term.advance]{terms}"
    );
    let credits = terms.lines().find(|line| line.starts_with("credits")).expect("credits");
    let agreement = format!("{head}[term.advance]{}", terms.replace(credits, ""));
    let files = |texts: &[&str]| {
        let own =
            |(place, text): (usize, &&str)| SourceFile { path: format!("own-{place}.md"), text: (*text).to_owned() };
        shipped_files().into_iter().chain(texts.iter().enumerate().map(own)).collect::<Vec<_>>()
    };
    let mut history = History::under(&files(&[&agreement]));
    let mut carried = Vec::new();
    for (month, days, sold) in [("2026-01", 31, "-500"), ("2026-02", 28, "250")] {
        history.record(&format!(
            r#"{{"kind":"figure","source":"finance","id":"{month}","contract":"own","name":"Sold","by":"openai","from":"{month}-01","through":"{month}-{days}","value":"{sold} USD"}}"#
        ));
        let statement = one_statement(&mut history, "own", month);
        let total = statement.totals.into_iter().find(|it| it.payer.as_str() == "microsoft").expect("a total");
        carried.push([total.carried_in, total.carried_out].map(|it| it.to_string()));
        history.folder = History::under(&files(&[&agreement, &version])).folder;
    }
    // 8 % of -500, and of 250 on it.
    assert_eq!(carried, [["0", "-40"], ["-40", "-20"]]);
}
