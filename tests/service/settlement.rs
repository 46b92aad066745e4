//! Settlements on a real database: the figures that are worked out by hand in `tests/domain/settlement.rs`,
//! who may approve and issue, late news, and what the database itself refuses.

use crate::books::*;
use crate::support::TestDatabase;
use apportion::domain::contract::additions::AdditionError;
use apportion::domain::engine::EngineError;
use apportion::domain::outcome::Counts;
use apportion::domain::settlement::{PeriodClosed, SettlementError};
use apportion::domain::statement::{Statement, StatementStatus};
use apportion::jobs::contracts::{self, ContractsError};
use apportion::jobs::settle::SettleError;
use apportion::jobs::statements::{
    StatementError, approve, head, issue, read, unresolved_events, unwaived_events, waive,
};
use apportion::store::books::StatementHead;
use apportion::store::usage_reports as reports;
use sqlx::PgPool;

const CONTRACT: &str = "microsoft-openai";

/// May 2026 with every channel, and late usage of April on both sides of the amendment: event by event the
/// month of `tests/domain/settlement.rs`, where each amount is worked out.
fn small_month() -> Vec<String> {
    let direct = [
        ("input_tokens", "200000"),
        ("cached_input_tokens", "40000"),
        ("output_tokens", "10000"),
        ("reasoning_tokens", "2000"),
    ];
    let long = [("input_tokens", "272001"), ("output_tokens", "1000")];
    let input = [("input_tokens", "100000")];
    let both = [("input_tokens", "100000"), ("output_tokens", "10000")];
    let agents = [("runtime_seconds", "5400"), ("state_gb_hours", "2.5"), ("tool_calls", "3")];
    let (may, april) = (|day: u32| format!("2026-05-{day:02}T10:00:00-07:00"), "2026-04-26T23:59:59-07:00");
    let amendment = "2026-04-27T00:00:00-07:00";
    let agents_at = "bedrock-agents-us-east-1";
    vec![
        usage("direct", &may(3), "openai-direct", "gpt-5.5", &direct),
        usage("long", "2026-05-03T10:00:01-07:00", "openai-direct", "gpt-5.5", &long),
        usage("azure", &may(4), "azure-openai-eastus", "gpt-5.5", &input),
        usage("own-use", &may(4), "microsoft-copilot", "gpt-5.5", &input),
        usage("bedrock", &may(5), "bedrock-us-east-1", "gpt-5.5", &both),
        usage("agents", &may(6), agents_at, "bedrock-managed-agents", &agents),
        usage("vertex", &may(7), "vertex-us-central1", "gpt-5.4-mini", &input),
        usage("oci", &may(8), "oci-us-ashburn-1", "gpt-5.3-codex", &both),
        usage("late-direct-before", april, "openai-direct", "gpt-5.5", &input),
        usage("late-direct-after", amendment, "openai-direct", "gpt-5.5", &input),
        usage("late-azure-before", april, "azure-openai-eastus", "gpt-5.5", &input),
        usage("late-azure-after", amendment, "azure-openai-eastus", "gpt-5.5", &input),
    ]
}

/// The small month in a database, with its figures and its refund.
pub async fn history() -> TestDatabase {
    let database = TestDatabase::empty().await;
    database.apply(&shipped()).await;
    let counts = database.ingest(&small_month()).await;
    assert_eq!(counts, Counts { stored: 12, ..Counts::default() });
    let figures = [subscriptions("april", "2026-04", 30, "0"), subscriptions("may", "2026-05", 31, "1_000.00")];
    database.record(&figures).await;
    database.record(&[refund("r", "direct", "0.38")]).await;
    database
}

/// A statement with what its document says.
async fn show(pool: &PgPool, id: i64) -> (StatementHead, Statement) {
    let record = read(&mut pool.acquire().await.expect("a connection"), id).await.expect("a statement");
    let statement = record.statement().expect("it can be read");
    (record.head, statement)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_small_month_is_booked_as_worked_out_by_hand() {
    let database = history().await;
    let may = database.settle(CONTRACT, "2026-05").await;
    assert_eq!(
        booked(&may),
        ["azure-resale-share 2026-04 0.1", "revenue-share 2026-04 0.2", "revenue-share 2026-05 201"]
    );
    let [(_, statement)] = may.drafted.as_slice() else { panic!("one pair of parties") };
    let totals: Vec<String> = statement.totals.iter().map(|it| format!("{} {}", it.payer, it.payable)).collect();
    assert_eq!(totals, ["microsoft 0.1", "openai 201.2"]);
    let aws = database.settle("aws-openai", "2026-05").await;
    assert_eq!(booked(&aws), ["lab-share 2026-05 0.85"]);
    // Nothing new: nothing booked, nothing drafted, no settlement written down.
    for contract in [CONTRACT, "aws-openai"] {
        let again = database.settle(contract, "2026-05").await;
        assert!(again.lines.is_empty() && again.drafted.is_empty(), "{again:?}");
    }
    assert_eq!(database.number("select count(*) from settlement").await, 2);
    assert_eq!(database.number("select count(*) from statement_revision").await, 2);
    // The refund of an event that is not known waits for it.
    database.record(&[refund("early", "not-yet", "1")]).await;
    let waiting = database.settle(CONTRACT, "2026-05").await.waiting_records;
    let waiting: Vec<String> = waiting.iter().map(|it| format!("{} waits for {}", it.id, it.waits_for)).collect();
    assert_eq!(waiting, ["early of billing waits for the event not-yet of test, which is not known or void"]);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_approve_and_issue_and_late_news_goes_to_the_next_period() {
    let database = history().await;
    let input = [("input_tokens", "100000")];
    let stray = [usage("stray", "2026-05-09T00:00:00Z", "nowhere", "gpt-5.5", &input)];
    assert_eq!(database.ingest(&stray).await.stored_unresolved, 1);
    let may = database.settle(CONTRACT, "2026-05").await;
    assert_eq!(
        may.unresolved.iter().map(|it| (it.deployment.as_str(), it.events)).collect::<Vec<_>>(),
        [("nowhere", 1)]
    );
    let id = may.drafted[0].0;
    let pool = &database.pool;
    assert!(matches!(approve(pool, id, MAKER).await, Err(StatementError::OwnDraft { .. })));
    assert!(matches!(issue(pool, id, APPROVER).await, Err(StatementError::WrongStatus { .. })));
    approve(pool, id, APPROVER).await.expect("approved");
    assert!(matches!(approve(pool, id, APPROVER).await, Err(StatementError::WrongStatus { .. })));
    assert!(matches!(issue(pool, id, APPROVER).await, Err(StatementError::Unresolved { events: 1, .. })));
    let unwaived = async || {
        let mut conn = pool.acquire().await.expect("a connection");
        let head = head(&mut conn, id).await.expect("a statement");
        unwaived_events(&mut conn, &head).await.expect("a number")
    };
    assert_eq!(unwaived().await, 1);
    assert_eq!(waive(pool, id, APPROVER, "test traffic").await.expect("waived").len(), 1);
    assert_eq!(unwaived().await, 0);
    // What is waived is not asked for again, and every list says so.
    let again = database.settle(CONTRACT, "2026-05").await;
    assert_eq!((may.unwaived_events, again.unwaived_events, again.unresolved.len()), (1, 0, 1));
    let listed = reports::unresolved(pool, None, None).await.expect("a list");
    assert_eq!(listed.iter().map(|it| it.waived_for.as_slice()).collect::<Vec<_>>(), [[CONTRACT]]);
    let mut conn = pool.acquire().await.expect("a connection");
    let approved = head(&mut conn, id).await.expect("a statement");
    let told = unresolved_events(&mut conn, &approved).await.expect("numbers");
    assert_eq!((told.events, told.unwaived), (1, 0));
    drop(conn);
    issue(pool, id, APPROVER).await.expect("issued");
    let issued = show(pool, id).await.0;
    assert_eq!((issued.status, issued.revision), (StatementStatus::Issued, 1));

    // 1,000,000 of output at 30/M: 20% of 30.
    let late = [usage("late", "2026-05-20T00:00:00Z", "openai-direct", "gpt-5.5", &[("output_tokens", "1000000")])];
    database.ingest(&late).await;
    match database.try_settle(CONTRACT, "2026-05", None).await {
        Err(SettleError::Settlement(SettlementError::PeriodClosed(PeriodClosed { lines: 1, .. }))) => {}
        other => panic!("{other:?}"),
    }
    match database.try_settle(CONTRACT, "2026-06", None).await {
        Err(SettleError::Settlement(SettlementError::Engine(EngineError::MissingFigure { .. }))) => {}
        other => panic!("{other:?}"),
    }
    database.record(&[subscriptions("june", "2026-06", 30, "0")]).await;
    let june = database.settle(CONTRACT, "2026-06").await;
    assert_eq!(booked(&june), ["revenue-share 2026-05 6"]);
    let line = june.drafted[0].1.lines.iter().find(|it| it.origin_period.to_string() == "2026-05").expect("a line");
    assert_eq!((line.amount.to_string(), line.booked_before.to_string()), ("6".to_owned(), "201".to_owned()));
    // What was issued is as it was; the closed period has no news any more.
    assert_eq!(show(pool, id).await.0, issued);
    assert!(database.settle(CONTRACT, "2026-05").await.lines.is_empty());
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiver_covers_what_there_was_and_nothing_later() {
    let database = history().await;
    let pool = &database.pool;
    let stray = |id: &str, month: u32| {
        usage(id, &format!("2026-{month:02}-09T00:00:00Z"), "nowhere", "gpt-5.5", &[("input_tokens", "100000")])
    };
    database.ingest(&[stray("u1", 5), stray("u2", 5), stray("u3", 6)]).await;
    let id = database.settle(CONTRACT, "2026-05").await.drafted[0].0;
    approve(pool, id, APPROVER).await.expect("approved");
    let waived = waive(pool, id, APPROVER, "test traffic").await.expect("waived");
    assert_eq!(waived.iter().map(|it| it.events).collect::<Vec<_>>(), [2]);
    issue(pool, id, APPROVER).await.expect("issued");
    // June's, though it had come, is no part of what May was not to wait for.
    let listed = reports::unresolved(pool, None, None).await.expect("a list");
    let waived = |it: &reports::UnresolvedLine| (it.events, it.waived_for.len(), it.waived_in_part_for.clone());
    assert_eq!(listed.iter().map(waived).collect::<Vec<_>>(), [(3, 0, vec![CONTRACT.to_owned()])]);
    // What was waived goes, as many others come: nobody decided on these.
    let void = |id: &str, voids: &str| {
        usage(id, "2026-06-20T00:00:00Z", "nowhere", "gpt-5.5", &[])
            .replace("usage.v1", "usage.void.v1")
            .split_once("\"data\":")
            .map(|(head, _)| format!("{head}\"data\":{{\"voids\":\"{voids}\"}}}}"))
            .expect("data")
    };
    database.ingest(&[void("v1", "u1"), void("v2", "u2"), stray("n1", 6)]).await;
    database.record(&[subscriptions("june", "2026-06", 30, "0")]).await;
    let listed = reports::unresolved(pool, None, None).await.expect("a list");
    assert_eq!(listed.iter().map(|it| (it.events, it.waived_for.len())).collect::<Vec<_>>(), [(2, 0)]);
    let june = database.settle(CONTRACT, "2026-06").await.drafted[0].0;
    approve(pool, june, APPROVER).await.expect("approved");
    assert!(matches!(issue(pool, june, APPROVER).await, Err(StatementError::Unresolved { events: 2, .. })));
    assert_eq!(waive(pool, june, APPROVER, "test traffic").await.expect("waived").len(), 1);
    issue(pool, june, APPROVER).await.expect("issued");
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn news_draft_an_approved_statement_anew() {
    let database = history().await;
    let id = database.settle(CONTRACT, "2026-05").await.drafted[0].0;
    approve(&database.pool, id, APPROVER).await.expect("approved");
    let more = [usage("more", "2026-05-20T00:00:00Z", "openai-direct", "gpt-5.5", &[("output_tokens", "1000000")])];
    database.ingest(&more).await;
    let again = database.settle(CONTRACT, "2026-05").await;
    assert_eq!(booked(&again), ["revenue-share 2026-05 6"]);
    assert_eq!((again.drafted[0].0, again.approvals_lost), (id, vec![id]));
    let (row, statement) = show(&database.pool, id).await;
    assert_eq!((row.status, row.revision), (StatementStatus::Draft, 2));
    let openai = statement.totals.iter().find(|it| it.payer.as_str() == "openai").expect("a total");
    assert_eq!(openai.payable.to_string(), "207.2");
    assert!(matches!(issue(&database.pool, id, APPROVER).await, Err(StatementError::WrongStatus { .. })));
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_not_effective_yet_is_no_news() {
    let database = history().await;
    let id = database.settle(CONTRACT, "2026-05").await.drafted[0].0;
    approve(&database.pool, id, APPROVER).await.expect("approved");
    let folder = shipped_copy();
    let versions = folder.path().join("microsoft-openai");
    let third = std::fs::read_to_string(versions.join("3.md")).expect("a version");
    let fourth = third
        .replace("number = 3", "number = 4")
        .replace("effective = 2026-04-27", "effective = 2027-01-01")
        .replace("Revenue share payments", "Share payments");
    std::fs::write(versions.join("4.md"), &fourth).expect("written");
    assert_eq!(database.apply(folder.path()).await.versions, 1);
    assert!(database.settle(CONTRACT, "2026-05").await.drafted.is_empty());
    assert_eq!(show(&database.pool, id).await.0.status, StatementStatus::Approved);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_below_one_that_is_loaded_is_refused() {
    let database = TestDatabase::empty().await;
    let folder = shipped_copy();
    let second = folder.path().join("microsoft-openai/2.md");
    let text = std::fs::read_to_string(&second).expect("a version");
    std::fs::remove_file(&second).expect("removed");
    database.apply(folder.path()).await;
    std::fs::write(&second, text).expect("written");
    let folder = contracts::read(folder.path()).unwrap_or_else(|error| panic!("{error}"));
    match contracts::apply(&database.pool, &folder).await {
        Err(ContractsError::Addition(AdditionError::NumberTooLow { number: 2, loaded: 3, .. })) => {}
        other => panic!("{other:?}"),
    }
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_itself_refuses() {
    let database = history().await;
    let id = database.settle(CONTRACT, "2026-05").await.drafted[0].0;
    let draft = database.settle("aws-openai", "2026-05").await.drafted[0].0;
    approve(&database.pool, id, APPROVER).await.expect("approved");
    issue(&database.pool, id, APPROVER).await.expect("issued");
    let refused = async |sql: &str, expect: &str| {
        let outcome = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(&database.pool).await;
        let error = outcome.map_or_else(|error| error.to_string(), |_| panic!("accepted: {sql}"));
        assert!(error.contains(expect), "{sql}: {error}");
    };
    for (table, change) in [
        ("booked_line", "amount = 0.01"),
        ("statement_revision", "content = '{}'"),
        ("statement_status", "status = 'draft'"),
        ("statement", "period = '2026-06'"),
        ("settlement", "cutoff = now()"),
        ("period_close", "closed_by = 'nobody'"),
        ("contract_version", "document = ''"),
        ("usage_event_row", "input_tokens = 0"),
        ("usage_interval", "ended_at = occurred_at"),
        ("usage_rollup_row", "input_tokens = '{0}'"),
        ("usage_state", "voided = true"),
        ("usage_batch", "recorded_at = now()"),
        ("price", "amount = 0"),
        ("deployment", "seller = null"),
        ("record", "content = '{}'"),
    ] {
        refused(&format!("update {table} set {change}"), "append-only").await;
        refused(&format!("delete from {table}"), "append-only").await;
        refused(&format!("truncate {table} cascade"), "append-only").await;
    }
    let line = |booked: &str| {
        format!(
            "insert into booked_line select settlement_id, 99, contract_id, term_id, payer, payee, currency, digits, '{booked}',
               period_start, '{booked}', period_start, 1
             from booked_line join settlement using (settlement_id, contract_id)
             where contract_id = '{CONTRACT}' limit 1"
        )
    };
    refused(&line("2026-05"), "is closed").await;
    refused(&line("2026-04"), "contract and period of its settlement").await;
    let status = |id: i64, sequence: u32, status: &str, by: &str| {
        format!("insert into statement_status values ({id}, 1, {sequence}, '{status}', '{by}', now(), 'by hand')")
    };
    refused(&status(draft, 2, "approved", MAKER), "someone else has to approve").await;
    refused(&status(draft, 2, "issued", APPROVER), "does not follow").await;
    refused(&status(draft, 3, "approved", APPROVER), "changed meanwhile").await;
    refused(&status(id, 4, "approved", APPROVER), "does not follow").await;
    refused(
        &format!("insert into statement_status values ({id}, 2, 4, 'draft', '{MAKER}', now(), 'by hand')"),
        "no new draft",
    )
    .await;
    let version =
        "insert into contract_version select contract_id, 2, effective_at, now(), definitions, document, sha256
                   from contract_version where contract_id = 'microsoft-openai' and number = 1";
    refused(version, "or a later one").await;
    let close = |period: &str, start: &str| {
        format!("insert into period_close values ('{CONTRACT}', '{period}', {start}, now(), 'nobody')")
    };
    refused(&close("some day", "now()"), "never settled as known at its end").await;
    refused(&close("2026-07", "'2026-07-01T07:00:00Z'"), "never settled as known at its end").await;
    let odd = "insert into settlement (contract_id, period, period_start, period_end, cutoff, settled_at, settled_by,
                 engine_version, time_zone_data_version, unresolved_events, input_sha256)
               select contract_id, '2026-13', period_start, period_end, cutoff, now(), settled_by,
                 engine_version, time_zone_data_version, 0, input_sha256 from settlement limit 1";
    refused(odd, "settlement_period_check").await;
    refused("update recording_watermark set watermark = watermark - interval '1 day'", "only moves forward").await;
    refused("delete from recording_watermark", "only moves forward").await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settlements_at_once_book_once() {
    let database = history().await;
    let settle = async || database.try_settle(CONTRACT, "2026-05", None).await;
    let (a, b, c, d) = tokio::join!(settle(), settle(), settle(), settle());
    let booked: usize = [a, b, c, d].into_iter().map(|report| report.expect("settled").lines.len()).sum();
    assert_eq!(booked, 3);
    assert_eq!(database.number("select count(*) from booked_line").await, 3);
    assert_eq!(database.number("select (sum(amount) * 100)::bigint from booked_line").await, 20_130);
    assert_eq!(database.number("select count(*) from statement_revision").await, 1);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issue_and_a_settlement_at_once_leave_no_news_in_a_closed_period() {
    for round in 0..6 {
        let database = history().await;
        let pool = &database.pool;
        let id = database.settle(CONTRACT, "2026-05").await.drafted[0].0;
        // Of two who approve at once one does; the other finds it done.
        let (a, b) = tokio::join!(approve(pool, id, APPROVER), approve(pool, id, "cem"));
        assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
        let late = usage("late", "2026-05-20T00:00:00Z", "openai-direct", "gpt-5.5", &[("output_tokens", "1000000")]);
        database.ingest(&[late]).await;
        // Either begins first, by turns.
        let delay = std::time::Duration::from_millis(10 * (round % 3));
        let issuing = async {
            tokio::time::sleep(if round < 3 { delay } else { Default::default() }).await;
            issue(pool, id, APPROVER).await
        };
        let settling = async {
            tokio::time::sleep(if round < 3 { Default::default() } else { delay }).await;
            database.try_settle(CONTRACT, "2026-05", None).await
        };
        let (issued, settled) = tokio::join!(issuing, settling);
        let (row, statement) = show(pool, id).await;
        let total = statement.totals.iter().find(|it| it.payer.as_str() == "openai").expect("a total");
        let booked = database.number("select (sum(amount) * 100)::bigint from booked_line").await;
        match (issued, settled) {
            (Ok(()), Err(SettleError::Settlement(SettlementError::PeriodClosed(PeriodClosed { lines: 1, .. })))) => {
                assert_eq!((row.revision, total.payable.to_string(), booked), (1, "201.2".to_owned(), 20_130));
            }
            (Err(StatementError::WrongStatus { .. }), Ok(report)) => {
                assert_eq!(report.drafted.len(), 1);
                assert_eq!((row.revision, total.payable.to_string(), booked), (2, "207.2".to_owned(), 20_730));
            }
            other => panic!("{other:?}"),
        }
        database.drop_it().await;
    }
}

/// The shipped agreements without the deployment on Vertex.
fn without_vertex() -> tempfile::TempDir {
    let folder = shipped_copy();
    let path = folder.path().join("register.md");
    let text = std::fs::read_to_string(&path).expect("the register");
    let from = text.find("[deployment.vertex-us-central1]").expect("the deployment");
    let to = from + text[from..].find("[deployment.oci").expect("the next deployment");
    std::fs::write(&path, format!("{}{}", &text[..from], &text[to..])).expect("written");
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn unresolved_usage_counts_from_the_recording_of_its_mapping_on() {
    let database = TestDatabase::empty().await;
    database.apply(without_vertex().path()).await;
    database.record(&[subscriptions("may", "2026-05", 31, "0")]).await;
    // 10 M of input at 0.75/M: 20% of 7.50, on either side of the month's end in the contract's zone.
    let input = [("input_tokens", "10000000")];
    let lines = [
        usage("april", "2026-05-01T06:59:59.999999Z", "vertex-us-central1", "gpt-5.4-mini", &input),
        usage("may", "2026-05-01T07:00:00Z", "vertex-us-central1", "gpt-5.4-mini", &input),
        usage("june", "2026-06-01T07:00:00Z", "vertex-us-central1", "gpt-5.4-mini", &input),
    ];
    assert_eq!(database.ingest(&lines).await.stored_unresolved, 3);
    let before = database.watermark().await;
    assert_eq!(database.apply(&shipped()).await.register_entries, 1);
    let as_known_before = database.try_settle(CONTRACT, "2026-05", Some(before)).await.expect("settled");
    assert!(as_known_before.lines.is_empty());
    let unresolved: Vec<i64> = as_known_before.unresolved.iter().map(|it| it.events).collect();
    assert_eq!(unresolved, [2]);
    let known = database.settle(CONTRACT, "2026-05").await;
    assert_eq!(booked(&known), ["revenue-share 2026-04 1.5", "revenue-share 2026-05 1.5"]);
    assert!(known.unresolved.is_empty());
    // The mapping is known, so nothing blocks the issue.
    let id = known.drafted[0].0;
    approve(&database.pool, id, APPROVER).await.expect("approved");
    issue(&database.pool, id, APPROVER).await.expect("issued");
    database.record(&[subscriptions("june", "2026-06", 30, "0")]).await;
    assert_eq!(booked(&database.settle(CONTRACT, "2026-06").await), ["revenue-share 2026-06 1.5"]);
    database.drop_it().await;
}
