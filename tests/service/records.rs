//! Records, corrections of them, prices and rates on a real database: as known at any instant they are what a scenario
//! that tells the same says.

use crate::books::*;
use crate::findings::holding;
use crate::support::TestDatabase;
use apportion::domain::contract::folder::SourceFile;
use apportion::domain::entry::NewEntry;
use apportion::domain::fx::FxRate;
use apportion::domain::ids::ProductId;
use apportion::domain::period::Instant;
use apportion::domain::price::{PriceBook, PriceQuery};
use apportion::domain::restated::Taking;
use apportion::domain::simulate::Scenario;
use apportion::domain::simulate::known::{Known, known_at};
use apportion::domain::usage::Meter;
use apportion::jobs::records::{Checks, RecordsError, record, waiting_records};
use apportion::store::contracts::{load_prices, load_rates};
use apportion::store::records::{load_records, load_standing};
use serde_json::{Value, json};

const CONTRACT: &str = "microsoft-openai";

fn scenario(path: &str, text: &str) -> Scenario {
    let file = SourceFile { path: path.to_owned(), text: text.to_owned() };
    Scenario::read(&[file]).unwrap_or_else(|error| panic!("{error}"))
}

/// A line of `records.jsonl` with its time of recording, and what the service is told: the same without it.
fn told(line: &Value) -> (Instant, NewEntry) {
    let mut line = line.clone();
    let recorded_at = line.as_object_mut().and_then(|line| line.remove("recorded_at")).expect("recorded_at");
    let entry = NewEntry::storable(&line.to_string()).unwrap_or_else(|error| panic!("{line}: {error}"));
    (at(recorded_at.as_str().expect("text")), entry)
}

impl TestDatabase {
    /// Puts a clock of the test in place of the database's; it stands until it is put to another instant.
    async fn set_clock(&self, to: Instant) {
        sqlx::raw_sql(
            "create table if not exists test_clock (shows timestamptz);
             create or replace function recording_clock() returns timestamptz language sql volatile as
               $$ select shows from test_clock $$;
             delete from test_clock;",
        )
        .execute(&self.pool)
        .await
        .expect("a clock");
        sqlx::query("insert into test_clock values ($1)").bind(to).execute(&self.pool).await.expect("an instant");
    }

    async fn tell(&self, line: &Value, checks: Checks) -> Result<Taking, RecordsError> {
        let entry = NewEntry::storable(&line.to_string()).unwrap_or_else(|error| panic!("{line}: {error}"));
        Ok(record(&self.pool, &[entry], checks).await?.remove(0))
    }

    /// Records one line that is right.
    async fn told(&self, line: Value) {
        let taking = self.tell(&line, Checks::Awaited).await.unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(taking, Taking::Taken, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_waits_for_what_it_names() {
    let database = TestDatabase::empty().await;
    database.set_clock(at("2026-06-01T00:00:00Z")).await;
    let refund = json!({"kind":"deduction","source":"books","id":"refund","category":"refund","at":"2026-05-02T00:00:00Z","amount":"3 USD","events":[{"source": "usage", "id": "e"}]});
    let tax = json!({"kind":"deduction","source":"books","id":"tax","category":"tax","at":"2026-05-04T00:00:00Z","amount":"3 USD","deployment":"d","product":"m"});
    let seats = json!({"kind":"billing","source":"books","id":"seats","at":"2026-05-01T00:00:00Z","amount":"20 USD","seller":"p"});
    for line in [&refund, &tax, &seats] {
        assert_eq!(database.tell(line, Checks::Skipped).await.expect("a record"), Taking::Taken);
    }
    // Whoever records is a moment later than the one before, whatever the clock shows.
    let known_at = at("2026-06-02T00:00:00Z");
    let mut conn = database.pool.acquire().await.expect("a connection");
    let records = load_records(&mut conn, known_at).await.expect("records");
    let waiting = waiting_records(&mut conn, &records, known_at).await.expect("what waits");
    let waiting: Vec<_> = waiting.iter().map(|it| (it.id.id.as_str(), it.waits_for.as_str())).collect();
    let event = ("refund", "the event e of usage, which is not known or void");
    assert_eq!(waiting, [event, ("tax", "the deployment d to be registered")]);
}

/// Every kind, corrections and voids before and after what they name, and what is refused; each a minute after the last.
fn history() -> Vec<Value> {
    let event = json!({"source": "usage", "id": "e"});
    let mut lines = vec![
        json!({"kind":"figure","id":"flow","contract":"c","name":"Cost","by":"p","from":"2026-05-01","through":"2026-05-31","value":"1_000.50 USD","country":"DE"}),
        json!({"kind":"figure","id":"level","contract":"c","name":"Seats","by":"p","at":"2026-05-01T00:00:00Z","value":"99.5%"}),
        json!({"kind":"deduction","id":"refund","category":"refund","at":"2026-05-02T00:00:00Z","amount":"3 USD","events":[event, {"source": "usage", "id": "f"}]}),
        json!({"kind":"receipt","id":"cash","at":"2026-05-03T00:00:00Z","amount":"2 USD","for":[{"source": "usage", "id": "e", "amount": "2 USD"}]}),
        json!({"kind":"billing","id":"seats","at":"2026-05-01T00:00:00Z","amount":"20 USD","seller":"p","customer":"c-1","label":"seats"}),
        json!({"kind":"fact","id":"intro","contract":"c","name":"introduced","by":"p","at":"2026-05-01T00:00:00Z","customer":"c-1","party":"acme","evidence":"mail"}),
        json!({"kind":"decision","id":"decided","contract":"c","right":"first","event":event,"decision":"release","reason":"agreed"}),
        // The same again by value, and other content.
        json!({"kind":"figure","id":"flow","contract":"c","name":"Cost","by":"p","from":"2026-05-01","through":"2026-05-31","value":"1000.5 USD","country":"DE"}),
        json!({"kind":"figure","id":"level","contract":"c","name":"Seats","by":"p","at":"2026-05-01T00:00:00Z","value":"98%"}),
        // Per field the last one holds that is not voided.
        json!({"kind":"correction","id":"c1","corrects":"flow","value":"900 USD"}),
        json!({"kind":"correction","id":"c2","corrects":"flow","value":"800 USD","country":null}),
        json!({"kind":"correction","id":"c1","corrects":"flow","value":"900.00 USD"}),
        json!({"kind":"void","id":"v1","voids":"c2"}),
        json!({"kind":"void","id":"v2","voids":"v1"}),
        json!({"kind":"correction","id":"c3","corrects":"c1","value":"1 USD"}),
        json!({"kind":"void","id":"v3","voids":"intro"}),
        json!({"kind":"correction","id":"c4","corrects":"intro","customer":"c-2"}),
        // The id of what was rejected is free.
        json!({"kind":"correction","id":"c4","corrects":"refund","amount":"4 USD"}),
        // These wait; the first one's record comes.
        json!({"kind":"correction","id":"c5","corrects":"later","amount":"5 USD"}),
        json!({"kind":"void","id":"v4","voids":"never"}),
        json!({"kind":"deduction","id":"later","category":"tax","at":"2026-05-04T00:00:00Z","amount":"3 USD","deployment":"d","product":"m"}),
        // A void that waited for what turned out to be a void.
        json!({"kind":"void","id":"v5","voids":"v6"}),
        json!({"kind":"void","id":"v6","voids":"cash"}),
        json!({"kind":"correction","id":"c7","corrects":"decided","decision":"reject"}),
    ];
    for (minute, line) in lines.iter_mut().enumerate() {
        line["source"] = json!("books");
        line["recorded_at"] = json!(format!("2026-06-01T00:{minute:02}:00Z"));
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn as_known_at_any_instant_records_stand_as_a_scenario_says() {
    let database = TestDatabase::empty().await;
    let lines = history();
    let text: Vec<String> = lines.iter().map(Value::to_string).collect();
    let scenario = scenario("records.jsonl", &text.join("\n"));
    for line in &lines {
        let (recorded_at, entry) = told(line);
        database.set_clock(recorded_at).await;
        record(&database.pool, &[entry], Checks::Skipped).await.unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    let mut conn = database.pool.acquire().await.expect("a connection");
    for line in &lines {
        let instant = at(line["recorded_at"].as_str().expect("text"));
        let Known { records, conflicts, rejected, waiting, .. } = known_at(&scenario, instant);
        let stands = load_standing(&mut conn, instant).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(stands.records, records, "as known at {instant}");
        assert_eq!((stands.conflicts, stands.rejected, stands.waiting), (conflicts, rejected, waiting), "at {instant}");
    }
    let names = |known: &Known| known.rejected.iter().map(|it| it.reason.name()).collect::<Vec<_>>();
    let last = known_at(&scenario, at("2026-06-02T00:00:00Z"));
    assert_eq!(
        names(&last),
        ["void_of_void", "correction_of_amendment", "correction_of_voided", "void_of_void"],
        "so that all of it is tried"
    );
    assert_eq!((last.conflicts.len(), last.waiting.len(), last.records.len()), (1, 1, 6));
    drop(conn);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_correction_cannot_make_is_refused_or_does_not_count() {
    let database = TestDatabase::empty().await;
    database.apply(&shipped()).await;
    let tax = json!({"kind":"deduction","source":"s","id":"d","category":"tax","at":"2026-05-04T00:00:00Z","amount":"3 USD","deployment":"openai-direct","product":"gpt-5.5"});
    database.told(tax.clone()).await;
    let refused = |id: &str, field: &str, value: &str| json!({"kind":"correction","source":"s","id":id,"corrects":"d",field:value});
    let cases = [
        (refused("c1", "value", "5 USD"), "does not fit d of s: unknown field \"value\""),
        (refused("c2", "amount", "-5 USD"), "zero or more"),
        (refused("c3", "category", "rebate"), "category \"rebate\"; there is refund, tax"),
    ];
    for (line, expect) in cases {
        let error = database.tell(&line, Checks::Awaited).await.expect_err("a refusal").to_string();
        assert!(error.contains(expect), "{error}");
    }
    // Where the correction came first, what it would make of its record does not count, and is listed.
    database.told(json!({"kind":"correction","source":"s","id":"c4","corrects":"e","value":"5 USD"})).await;
    let mut late = tax;
    late["id"] = json!("e");
    assert_eq!(database.tell(&late, Checks::Skipped).await.expect("taken"), Taking::Taken);
    let known = database.watermark().await;
    let standing = load_standing(&mut database.pool.acquire().await.expect("one"), known).await.expect("it stands");
    let ids: Vec<&str> =
        standing.records.iter().map(|record| record.id.id.as_str()).filter(|id| id.len() == 1).collect();
    assert_eq!(ids, ["d"]);
    assert_eq!((standing.rejected.len(), standing.rejected[0].reason.name()), (1, "misfit"));
    for table in ["record", "record_conflict", "record_rejection", "fx_rate"] {
        let change = sqlx::AssertSqlSafe(format!("delete from {table}"));
        assert!(sqlx::query(change).execute(&database.pool).await.is_err(), "{table} is append-only");
    }
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrected_figure_is_settled_as_a_difference() {
    let database = TestDatabase::empty().await;
    database.apply(&shipped()).await;
    database.record(&[subscriptions("may", "2026-05", 31, "1_000.00")]).await;
    // 20 % of 1,000.
    let first = booked(&database.settle(CONTRACT, "2026-05").await);
    assert!(matches!(first.as_slice(), [line] if line.ends_with(" 2026-05 200")), "{first:?}");
    let source = "openai-finance";
    database.told(json!({"kind":"correction","source":source,"id":"c","corrects":"may","value":"400 USD"})).await;
    // 20 % of 400 less what was booked.
    let second = booked(&database.settle(CONTRACT, "2026-05").await);
    assert!(matches!(second.as_slice(), [line] if line.ends_with(" 2026-05 -120")), "{second:?}");
    database.told(json!({"kind":"void","source":source,"id":"v","voids":"c"})).await;
    let third = booked(&database.settle(CONTRACT, "2026-05").await);
    assert!(matches!(third.as_slice(), [line] if line.ends_with(" 2026-05 120")), "{third:?}");
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_on_an_event_stands_before_that_on_its_group_until_it_is_taken_back() {
    let database = TestDatabase::with_usage_on_vertex(holding().path()).await;
    let decision = |id: &str, verdict: &str| {
        json!({"kind":"decision","source":"desk","id":id,"contract":CONTRACT,"right":"azure-first",
            "event":{"source":"test","id":"vertex"},"decision":verdict,"reason":"agreed"})
    };
    // Of each 30 USD the share is 6; what is held is left out.
    assert_eq!(amounts(&database).await, ["6"]);
    assert_eq!(database.open(None).await.len(), 1);
    database.told(decision("released", "release")).await;
    assert_eq!(database.open(None).await.len(), 0);
    assert_eq!(amounts(&database).await, ["6"]);
    // The last decision holds, as corrected, and without it the one before.
    database.told(decision("rejected", "reject")).await;
    assert_eq!(amounts(&database).await, ["-6"]);
    database
        .told(json!({"kind":"correction","source":"desk","id":"c","corrects":"rejected","decision":"release"}))
        .await;
    assert_eq!(amounts(&database).await, ["6"]);
    let other = json!({"source":"test","id":"direct"});
    database.told(json!({"kind":"correction","source":"desk","id":"c2","corrects":"rejected","event":other})).await;
    assert!(amounts(&database).await.is_empty(), "the first one still releases it");
    database.told(json!({"kind":"void","source":"desk","id":"v","voids":"released"})).await;
    assert_eq!(amounts(&database).await, ["-6"]);
    assert_eq!(database.open(None).await.len(), 1);
    let mut unknown = decision("x", "release");
    unknown["right"] = json!("first");
    let error = database.tell(&unknown, Checks::Awaited).await.expect_err("no such right").to_string();
    assert!(error.contains("has a right \"first\"") && error.contains("azure-first"), "{error}");
    database.drop_it().await;
}

/// What a settlement of May books, without its terms.
async fn amounts(database: &TestDatabase) -> Vec<String> {
    let lines = booked(&database.settle(CONTRACT, "2026-05").await);
    lines.iter().filter_map(|line| line.split(' ').next_back().map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rates_and_prices_hold_as_known() {
    let database = TestDatabase::empty().await;
    let folder = shipped_copy();
    let prices = std::fs::read_to_string(folder.path().join("prices.csv")).expect("prices");
    let header = prices.lines().next().expect("a header").to_owned();
    let instants = ["2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z", "2026-06-03T00:00:00Z"].map(at);
    let rate = |number: &str| {
        format!("date,from,to,rate,source\n2026-05-31,EUR,USD,{number},ECB\n2026-05-31,USD,EUR,1/3,ECB\n")
    };
    let price =
        |id: &str, amount: &str| format!("{id},gpt-5.5,output_tokens,default,,,,,{amount},1000000,USD,,,list\n");
    let steps = [
        (rate("1.1000000001"), String::new(), (2, 0)),
        (rate("1.2"), price("dearer", "40"), (1, 1)),
        (rate("1.2"), price("dearer", "40") + &price("cheaper", "20"), (0, 1)),
    ];
    for (instant, (rates, rows, expect)) in instants.into_iter().zip(&steps) {
        database.set_clock(instant).await;
        std::fs::write(folder.path().join("fx.csv"), rates).expect("written");
        std::fs::write(folder.path().join("restated.csv"), format!("{header}\n{rows}")).expect("written");
        let added = database.apply(folder.path()).await;
        let first = instant == instants[0];
        assert_eq!((added.rates, if first { 0 } else { added.prices }), *expect);
    }
    let stamped = |rows: &str, instant: &str| rows.lines().map(|row| format!("{row},{instant}\n")).collect::<String>();
    let all = format!(
        "{header},recorded_at\n{}{}{}",
        stamped(&prices.lines().skip(1).map(|row| format!("{row}\n")).collect::<String>(), "2026-06-01T00:00:00Z"),
        stamped(&price("dearer", "40"), "2026-06-02T00:00:00Z"),
        stamped(&price("cheaper", "20"), "2026-06-03T00:00:00Z")
    );
    let scenario = scenario("prices.csv", &all);
    let expect = [("1.1000000001", None), ("1.2", Some("dearer")), ("1.2", Some("cheaper"))];
    let mut conn = database.pool.acquire().await.expect("a connection");
    for (instant, (number, price)) in instants.into_iter().zip(expect) {
        let rates = load_rates(&mut conn, instant).await.unwrap_or_else(|error| panic!("{error}"));
        let held = rates.iter().rev().find(|rate: &&FxRate| rate.from == "EUR").expect("a rate");
        assert_eq!((held.rate.to_string().as_str(), held.to.as_str()), (number, "USD"), "{instant}");
        assert!(rates.iter().any(|rate| rate.from == "USD" && rate.rate.to_string() == "1/3"));
        let loaded = PriceBook::new(load_prices(&mut conn, instant).await.unwrap_or_else(|error| panic!("{error}")));
        let simulated = known_at(&scenario, instant).prices;
        let [loaded, simulated] = [loaded, simulated].map(|book| in_force(&book));
        assert_eq!(loaded, simulated);
        assert!(price.is_none_or(|price| loaded == price), "{loaded}");
    }
    drop(conn);
    database.drop_it().await;
}

fn in_force(book: &PriceBook) -> String {
    let product = ProductId::from("gpt-5.5");
    let query = PriceQuery {
        product: &product,
        meter: Meter::OutputTokens,
        service_tier: "default",
        customer: "c",
        region: "r",
        channel: "direct",
        context_exceeds: 0,
        at: at("2026-05-10T00:00:00Z"),
    };
    book.in_force(&query).expect("a price").id.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_of_a_test_never_runs_backwards() {
    let database = TestDatabase::empty().await;
    let line = |id: &str| json!({"kind":"void","source":"s","id":id,"voids":"nothing"});
    for (id, clock) in [("a", "2026-06-02T00:00:00Z"), ("b", "2026-06-01T00:00:00Z")] {
        database.set_clock(at(clock)).await;
        database.tell(&line(id), Checks::Awaited).await.expect("taken");
    }
    let mut conn = database.pool.acquire().await.expect("a connection");
    let waiting = load_standing(&mut conn, at("2026-06-03T00:00:00Z")).await.expect("it stands").waiting;
    let recorded: Vec<String> = waiting.iter().map(|it| it.what.recorded_at.to_rfc3339()).collect();
    assert_eq!(recorded, ["2026-06-02T00:00:00+00:00", "2026-06-02T00:00:00.000001+00:00"]);
    assert!(load_records(&mut conn, at("2026-06-03T00:00:00Z")).await.expect("none").is_empty());
    drop(conn);
    database.drop_it().await;
}
