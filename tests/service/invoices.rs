//! Invoices and credit notes on a real database: numbers without gaps, drawn once, never changed, and their files.

use crate::books::*;
use crate::jobs::IMPATIENT;
use crate::support::TestDatabase;
use apportion::domain::ids::{InvoiceNumber, PartyId};
use apportion::domain::invoice::{Invoice, InvoiceKind, NotDrawnReason};
use apportion::domain::money::Exact;
use apportion::domain::schedule::{Job, RunOutcome};
use apportion::jobs::invoices::{InvoiceError, document, draw, draw_all, list, read, show};
use apportion::jobs::schedule::tick;
use apportion::jobs::statements::{approve, issue};
use apportion::render::amount::money;
use apportion::render::csv::csv;
use apportion::render::pdf::{PdfError, pdf};
use apportion::store::invoices::{InvoiceFilter, take_sequence};
use std::path::Path;
use std::time::Duration;

/// The agreements with `copies` of the resale contract, each of which AWS pays OpenAI by; credits are paid back.
fn agreements(copies: usize) -> tempfile::TempDir {
    let folder = shipped_copy();
    let text = std::fs::read_to_string(folder.path().join("aws-openai.md")).expect("a contract");
    let text = text.replace("negative = \"carry\"", "negative = \"pay\"");
    for copy in 1..=copies {
        let name = format!("resale-{copy}");
        std::fs::write(
            folder.path().join(format!("{name}.md")),
            text.replace("id = \"aws-openai\"", &format!("id = \"{name}\"")),
        )
        .expect("written");
    }
    folder
}

/// A sale of 33 USD on Bedrock: 80% of it, 26.40, are OpenAI's.
pub fn sale(id: &str, day: &str) -> String {
    usage(id, &format!("{day}T12:00:00Z"), "bedrock-us-east-1", "gpt-5.5", &[("output_tokens", "1000000")])
}

pub async fn resale(copies: usize, lines: &[String]) -> TestDatabase {
    let database = TestDatabase::empty().await;
    database.apply(agreements(copies).path()).await;
    database.ingest(lines).await;
    database
}

/// Settles and issues; returns the statement's number.
pub async fn issued(database: &TestDatabase, contract: &str, period: &str) -> i64 {
    let drafted = database.settle(contract, period).await.drafted;
    let [(id, _)] = drafted.as_slice() else { panic!("one pair of parties") };
    approve(&database.pool, *id, APPROVER).await.expect("approved");
    issue(&database.pool, *id, APPROVER).await.expect("issued");
    *id
}

fn named(number: &str) -> InvoiceNumber {
    InvoiceNumber::from(number)
}

/// The text of a PDF, line by line.
fn text_of(pdf: &[u8]) -> Vec<String> {
    let read = lopdf::Document::load_mem(pdf).expect("a PDF");
    let pages: Vec<u32> = read.get_pages().keys().copied().collect();
    read.extract_text(&pages).expect("its text").lines().map(|line| line.trim().to_owned()).collect()
}

/// What the PDF and the CSV of a document say is what its JSON says.
fn check_files(content: &str) {
    let invoice: Invoice = serde_json::from_str(content).expect("a document");
    let file = pdf(content).expect("a PDF");
    assert_eq!(file, pdf(content).expect("a PDF"), "the same document gives other bytes");
    let lines = text_of(&file);
    let shown = |amount: &Exact| money(amount, invoice.currency).replace('-', "\u{2212}");
    let label = if invoice.kind == InvoiceKind::Invoice { "Total due" } else { "Total credit" };
    let total = lines.iter().skip_while(|line| *line != label).nth(1).expect("a total");
    assert_eq!(*total, shown(&invoice.total));
    for amount in invoice.lines.iter().map(|line| &line.amount) {
        let bare = shown(amount).replace(&format!(" {}", invoice.currency), "");
        assert!(lines.contains(&bare), "{bare} in {lines:#?}");
    }
    assert!(lines.contains(&invoice.number.to_string()) && lines.contains(&invoice.issuer.name), "{lines:#?}");
    let rows = csv(std::slice::from_ref(&invoice)).expect("CSV");
    let amounts = csv::Reader::from_reader(rows.as_bytes())
        .into_records()
        .map(|row| row.expect("a row").iter().next_back().expect("an amount").parse::<Exact>().expect("a number"));
    assert_eq!(amounts.sum::<Exact>(), invoice.total);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_drawn_once_and_from_what_is_issued() {
    let database = resale(1, &[sale("s", "2026-05-10")]).await;
    let pool = &database.pool;
    let id = database.settle("resale-1", "2026-05").await.drafted[0].0;
    assert!(matches!(draw(pool, id, APPROVER).await, Err(InvoiceError::NotIssued { .. })));
    approve(pool, id, APPROVER).await.expect("approved");
    assert!(matches!(draw(pool, id, APPROVER).await, Err(InvoiceError::NotIssued { .. })));
    assert!(matches!(draw(pool, id + 1, APPROVER).await, Err(InvoiceError::UnknownStatement { .. })));
    issue(pool, id, APPROVER).await.expect("issued");

    let drawn = draw(pool, id, APPROVER).await.expect("drawn");
    let [head] = drawn.invoices.as_slice() else { panic!("{drawn:?}") };
    assert!(drawn.is_new && drawn.not_drawn.is_empty());
    assert_eq!((head.number.as_str(), head.total.to_string().as_str()), ("OPENAI-000001", "26.4"));
    assert_eq!((head.payer.as_str(), head.due_on.map(|it| it.to_string())), ("aws", Some("2026-07-15".into())));
    let (_, before) = document(pool, &head.number).await.expect("a document");
    check_files(&before);
    let again = draw(pool, id, "someone else").await.expect("drawn");
    assert!(!again.is_new);
    assert_eq!(again.invoices, drawn.invoices);
    let (after, same) = document(pool, &head.number).await.expect("a document");
    assert_eq!((after.sha256.as_str(), same), (head.sha256.as_str(), before));
    let digest = database
        .number("select count(*) from invoice where sha256 = encode(sha256(convert_to(content, 'UTF8')), 'hex')");
    assert_eq!(digest.await, 1);
    assert!(matches!(show(pool, &named("OPENAI-000002")).await, Err(InvoiceError::Unknown { .. })));
    let of = |payer: &str| InvoiceFilter { payer: Some(PartyId::from(payer)), ..InvoiceFilter::default() };
    assert_eq!(list(pool, &of("aws")).await.expect("a list").len(), 1);
    assert_eq!(list(pool, &of("openai")).await.expect("a list").len(), 0);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_draws_at_once_leave_no_gap_whatever_is_rolled_back() {
    const CONTRACTS: usize = 8;
    let database = resale(CONTRACTS, &[sale("s", "2026-05-10")]).await;
    let mut statements = Vec::new();
    for copy in 1..=CONTRACTS {
        statements.push(issued(&database, &format!("resale-{copy}"), "2026-05").await);
    }
    let issuer = PartyId::from("openai");
    let mut tasks = tokio::task::JoinSet::new();
    // Each statement twice at once; every draw is broken off some times before it is let through.
    for (number, id) in (0_u64..).zip(statements.iter().chain(&statements).copied()) {
        let pool = database.pool.clone();
        tasks.spawn(async move {
            for broken in 0..4 {
                let limit = Duration::from_millis(1 + (number * 3 + broken * 5) % 17);
                let _ = tokio::time::timeout(limit, draw(&pool, id, APPROVER)).await;
            }
            draw(&pool, id, APPROVER).await.expect("drawn");
        });
    }
    // Others take a number and give it back.
    for _ in 0..8 {
        let (pool, issuer) = (database.pool.clone(), issuer.clone());
        tasks.spawn(async move {
            let mut tx = pool.begin().await.expect("a transaction");
            take_sequence(&mut tx, &issuer).await.expect("a number");
            tx.rollback().await.expect("rolled back");
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no panic");
    }
    let all = list(&database.pool, &InvoiceFilter::default()).await.expect("a list");
    let numbers: Vec<String> = all.iter().map(|head| head.number.to_string()).collect();
    assert_eq!(numbers, (1..=CONTRACTS).map(|number| format!("OPENAI-{number:06}")).collect::<Vec<_>>());
    let mut drawn: Vec<i64> = all.iter().map(|head| head.statement_id).collect();
    drawn.sort_unstable();
    assert_eq!(drawn, statements);
    assert_eq!(database.number("select last_sequence::bigint from invoice_counter").await, CONTRACTS as i64);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_gives_a_credit_note_on_the_invoice_and_periods_come_in_order() {
    let database = resale(1, &[sale("may", "2026-05-10"), sale("june", "2026-06-10")]).await;
    let pool = &database.pool;
    let may = issued(&database, "resale-1", "2026-05").await;
    database.record(&[refund("r", "may", "33")]).await;
    let july = [usage("july", "2026-07-10T00:00:00Z", "bedrock-us-east-1", "gpt-5.5", &[("output_tokens", "100000")])];
    let june = issued(&database, "resale-1", "2026-06").await;
    match draw(pool, june, APPROVER).await {
        Err(InvoiceError::EarlierFirst { earlier, .. }) => assert_eq!(earlier, may),
        other => panic!("{other:?}"),
    }
    let all = draw_all(pool, APPROVER).await.expect("drawn");
    assert_eq!(all.drawn.iter().map(|it| it.statement_id).collect::<Vec<_>>(), [may, june]);
    assert!(all.left.is_empty() && draw_all(pool, APPROVER).await.expect("drawn").drawn.is_empty());
    // June's own 26.40 and the 26.40 that May gives back: nothing is to be paid.
    assert_eq!(all.drawn[1].not_drawn[0].reason, NotDrawnReason::NothingToPay);
    // July sold for 3.30, of which 2.64 are due; another 6.60 of June are refunded, of which 5.28 are given back.
    database.ingest(&july).await;
    let second = refund("r2", "june", "6.60");
    database.record(&[second]).await;
    let july = issued(&database, "resale-1", "2026-07").await;
    let drawn = draw(pool, july, APPROVER).await.expect("drawn");
    let [head] = drawn.invoices.as_slice() else { panic!("{drawn:?}") };
    assert_eq!((head.kind, head.total.to_string().as_str()), (InvoiceKind::CreditNote, "-2.64"));
    let (_, content) = document(pool, &head.number).await.expect("a document");
    check_files(&content);
    let (_, credit_note) = show(pool, &head.number).await.expect("a document");
    let lines: Vec<String> =
        credit_note.lines.iter().map(|line| format!("{} {}", line.origin_period, line.amount)).collect();
    assert_eq!(lines, ["2026-06 -5.28", "2026-07 2.64"]);
    // No invoice ever asked for June: it was set off against May.
    assert!(credit_note.corrects.is_empty());
    // A refund of July is more than August sold.
    database.record(&[refund("r3", "july", "3.30")]).await;
    let august = issued(&database, "resale-1", "2026-08").await;
    let drawn = draw(pool, august, APPROVER).await.expect("drawn");
    // July's 2.64 had been asked for by making the credit of July's credit note smaller.
    let (_, content) = document(pool, &drawn.invoices[0].number).await.expect("a document");
    check_files(&content);
    assert!(text_of(&pdf(&content).expect("a PDF")).iter().any(|line| line.starts_with("Corrects OPENAI-000002 of ")));
    let documents = read(pool, &InvoiceFilter::default()).await.expect("documents");
    let said: Vec<String> = documents.iter().map(|it| format!("{} {} {}", it.number, it.period, it.total)).collect();
    assert_eq!(said, ["OPENAI-000001 2026-05 26.4", "OPENAI-000002 2026-07 -2.64", "OPENAI-000003 2026-08 -2.64"]);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_cannot_be_drawn_is_told_of_and_the_others_are_drawn() {
    let database = resale(3, &[sale("s", "2026-05-10")]).await;
    let pool = &database.pool;
    let mut statements = Vec::new();
    for copy in 1..=3 {
        statements.push(issued(&database, &format!("resale-{copy}"), "2026-05").await);
    }
    // The database refuses one of them, whatever is tried again.
    let refusing = format!("alter table invoice add constraint not_this check (statement_id <> {})", statements[1]);
    sqlx::raw_sql(sqlx::AssertSqlSafe(refusing)).execute(pool).await.expect("a constraint");
    let now = chrono::Utc::now();
    let ran = tick(pool, &crate::jobs::schedule(), Job::DrawInvoices, now, IMPATIENT).await.expect("a run");
    let [run] = ran.as_slice() else { panic!("{ran:?}") };
    assert_eq!(run.outcome, RunOutcome::Done);
    let detail = run.detail.as_deref().unwrap_or_default();
    assert!(detail.contains("OPENAI-000001, OPENAI-000002; left: ") && detail.contains("not_this"), "{run:?}");
    let all = draw_all(pool, APPROVER).await.expect("the rest");
    assert_eq!(all.drawn, []);
    let left: Vec<i64> = all.left.iter().map(|left| left.statement_id).collect();
    assert_eq!(left, [statements[1]]);
    let drawn = list(pool, &InvoiceFilter::default()).await.expect("a list");
    assert_eq!(drawn.iter().map(|head| head.statement_id).collect::<Vec<_>>(), [statements[0], statements[2]]);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_refuses_a_gap_a_second_document_and_any_change() {
    let database = resale(3, &[sale("s", "2026-05-10")]).await;
    let pool = &database.pool;
    let id = issued(&database, "resale-1", "2026-05").await;
    draw(pool, id, APPROVER).await.expect("drawn");
    let other = issued(&database, "resale-2", "2026-05").await;
    let draft = database.settle("resale-3", "2026-05").await.drafted[0].0;
    let refused = async |sql: &str, says: &str| {
        let mut tx = pool.begin().await.expect("a transaction");
        let done = match sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut *tx).await {
            Ok(_) => tx.commit().await,
            Err(error) => Err(error),
        };
        let error = done.expect_err(sql).to_string();
        assert!(error.contains(says), "{sql}\n{error}");
    };
    let draws = |id: i64| format!("insert into invoice_draw values ({id}, 1, now(), 'x');");
    refused(&draws(draft), "was never issued").await;
    refused(&draws(id), "duplicate key").await;
    // The first document again, under another number and from another statement.
    let copy = |sequence: i32, statement: i64| {
        let number = format!("OPENAI-{sequence:06}");
        format!(
            "insert into invoice (issuer, sequence, number, kind, payer, statement_id, revision, issued_on, total,
               content, sha256)
             select issuer, {sequence}, '{number}', kind, payer, {statement}, 1, issued_on, total,
               new.content, encode(sha256(convert_to(new.content, 'UTF8')), 'hex')
             from invoice, lateral (select replace(invoice.content, 'OPENAI-000001', '{number}') as content) new;"
        )
    };
    let count = || database.number("select count(*) from invoice");
    refused(&(draws(other) + &copy(3, other)), "invoice_issuer_previous_fkey").await;
    refused(&(draws(other) + &copy(1, other)), "duplicate key").await;
    refused(&copy(2, id), "invoice_statement_id_issuer_key").await;
    refused(&copy(2, other), "invoice_statement_id_revision_fkey").await;
    let says_other =
        copy(2, other).replace("issued_on, total,\n               new", "issued_on, total + 1,\n               new");
    refused(&(draws(other) + &says_other), "columns_are_of_the_content").await;
    let to_another = copy(2, other).replace(&format!("payer, {other}"), &format!("'google', {other}"));
    refused(&(draws(other) + &to_another), "between other parties").await;
    let other_digest = copy(2, other).replace("convert_to(new", "convert_to(invoice");
    refused(&(draws(other) + &other_digest), "digest_of_the_content").await;
    refused("update invoice_counter set last_sequence = 2", "foreign key").await;
    for sql in
        ["update invoice set total = 1", "delete from invoice", "delete from invoice_draw", "truncate invoice cascade"]
    {
        refused(sql, "append-only").await;
    }
    assert_eq!(count().await, 1);
    // The same, with nothing replaced, is taken: what was refused was refused for its reason.
    let whole = draws(other) + &copy(2, other) + "update invoice_counter set last_sequence = 2";
    sqlx::raw_sql(sqlx::AssertSqlSafe(whole)).execute(pool).await.expect("a document");
    assert_eq!(count().await, 2);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_show_what_the_register_knows() {
    let folder = shipped_copy();
    let register = folder.path().join("register.md");
    let text = std::fs::read_to_string(&register).expect("a register");
    let details = "name = \"Amazon Web Services\"\naddress = [\"410 Terry Avenue North\", \"Seattle, WA 98109\"]\ntax_id = \"US 1\"\nbank = [\"Account 1\"]";
    std::fs::write(&register, text.replace("name = \"Amazon Web Services\"", details)).expect("written");
    let database = TestDatabase::empty().await;
    database.apply(folder.path()).await;
    // Loading it again changes nothing; a party that moved is another one.
    assert_eq!(database.apply(folder.path()).await.register_entries, 0);
    assert!(apply_shipped(&database, &shipped()).await.contains("party \"aws\" is known with other content"));
    database.ingest(&[sale("s", "2026-05-10")]).await;
    let id = issued(&database, "aws-openai", "2026-05").await;
    draw(&database.pool, id, APPROVER).await.expect("drawn");
    let (_, content) = document(&database.pool, &named("OPENAI-000001")).await.expect("a document");
    let lines = text_of(&pdf(&content).expect("a PDF"));
    for expect in ["Amazon Web Services", "410 Terry Avenue North", "Seattle, WA 98109", "Tax ID US 1", "Page 1 of 1"] {
        assert!(lines.iter().any(|line| line == expect), "{expect} in {lines:#?}");
    }
    // The statement's date, in the contract's zone, is long over or still to come, whenever this runs.
    for (issued_on, fact, words) in [
        ("2026-07-15", "Due date", "26.40 USD by 15 July 2026. Reference: OPENAI-000001"),
        ("2026-07-16", "On receipt", "26.40 USD on receipt. By the contract it was due by 15 July 2026"),
    ] {
        let mut dated: Invoice = serde_json::from_str(&content).expect("a document");
        dated.issued_on = issued_on.parse().expect("a date");
        let lines = text_of(&pdf(&serde_json::to_string(&dated).expect("json")).expect("a PDF"));
        assert!(lines.iter().any(|line| line == fact), "{fact} in {lines:#?}");
        assert!(lines.join(" ").contains(words), "{words} in {lines:#?}");
    }
    // A name that the font cannot show is refused, not drawn as boxes.
    let elsewhere = content.replace("Amazon Web Services", "亚马逊");
    assert!(matches!(pdf(&elsewhere), Err(PdfError::NoGlyph { .. })));
    // Many lines go on over pages, each with the table's head and its place among them.
    let mut long: Invoice = serde_json::from_str(&content).expect("a document");
    long.issued_on = "2026-07-15".parse().expect("a date");
    long.lines = std::iter::repeat_n(long.lines[0].clone(), 60).collect();
    let lines = text_of(&pdf(&serde_json::to_string(&long).expect("json")).expect("a PDF"));
    let count = |text: &str| lines.iter().filter(|line| *line == text).count();
    let pages = count("Origin period");
    assert!(pages > 2 && count(&format!("Page {pages} of {pages}")) == 1, "{pages}");
    assert_eq!((count("26.40"), count("Total due")), (60, 1));
    // So does one that is made of much.
    long.lines.truncate(1);
    let addends = &mut long.lines[0].details[0].addends;
    *addends = std::iter::repeat_n(addends[0].clone(), 150).collect();
    let lines = text_of(&pdf(&serde_json::to_string(&long).expect("json")).expect("a PDF"));
    let made_of = lines.iter().filter(|line| line.contains(", version 1: ")).count();
    let heads = lines.iter().filter(|line| *line == "Origin period").count();
    assert!(heads > 2 && made_of == 150, "{heads} heads, {made_of} of 150");
    database.drop_it().await;
}

async fn apply_shipped(database: &TestDatabase, folder: &Path) -> String {
    let read = apportion::jobs::contracts::read(folder).expect("a folder");
    apportion::jobs::contracts::apply(&database.pool, &read).await.expect_err("refused").to_string()
}
