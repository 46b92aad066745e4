//! Each cloud's own records through Kafka: stored, rated and compared as reported, whatever comes of the others.

use crate::support::*;
use apportion::domain::money::Exact;
use apportion::domain::period::Span;
use apportion::domain::usage::{Meter, UsageEvent};
use apportion::ingest::consumer;
use apportion::ingest::retry::retry;
use apportion::sources::{Format, Reader};
use apportion::store::recording::watermark;
use apportion::store::span_sums::load_span_sums;
use apportion::store::usage_events::load_events;
use apportion::telemetry::Metrics;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A message without a content type, as clouds' exporters write them.
type Sent<'a> = (&'a str, &'a [(&'a str, &'a str)]);

async fn take_in(database: &TestDatabase, topic: &TestTopic, reader: Reader, messages: &[Sent<'_>]) {
    let producer = topic.producer();
    for (text, headers) in messages {
        producer.send(0, Some(text.as_bytes()), headers);
    }
    producer.flush();
    consume_as(database, topic, reader).await;
}

async fn consume_as(database: &TestDatabase, topic: &TestTopic, reader: Reader) {
    let mut config = config(&random_name("group_"), &[topic]);
    config.topics = [(topic.name.clone(), reader)].into();
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let running = consumer::run(config, database.pool.clone(), metrics, CancellationToken::new());
    tokio::time::timeout(Duration::from_secs(60), running).await.expect("within a minute").expect("consumed");
}

fn bedrock(id: &str, time: &str, written: u32) -> String {
    format!(
        r#"{{"schemaType":"ModelInvocationLog","timestamp":"{time}","accountId":"1","region":"east","requestId":"{id}",
        "modelId":"gpt","requestMetadata":{{"tenant":"c9"}},"input":{{"inputTokenCount":10,"cacheReadInputTokenCount":7,
        "cacheWriteInputTokenCount":{written},"inputBodyJson":{{"prompt":"a SECRET"}}}},"output":{{"outputTokenCount":3}}}}"#
    )
}

fn reader() -> Reader {
    Reader {
        format: Format::BedrockInvocation,
        source: "aws".into(),
        customer_tags: vec!["tenant".into()],
        ..Reader::default()
    }
}

async fn all_events(database: &TestDatabase) -> Vec<UsageEvent> {
    let known_at = watermark(&database.pool).await.expect("an instant");
    let span =
        Span { start: "2026-01-01T00:00:00Z".parse().expect("at"), end: "2027-01-01T00:00:00Z".parse().expect("at") };
    load_events(&mut database.pool.acquire().await.expect("a connection"), &[span], known_at).await.expect("events")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clouds_records_are_stored_compared_as_reported_and_retried() {
    let database = TestDatabase::new().await;
    let topic = TestTopic::new(1).await;
    let first = bedrock("r1", "2026-05-01T00:30:00Z", 20);
    // The same by value; another count; a time without a zone; a body without counts.
    let same = first.replace("00:30:00Z", "02:30:00+02:00").replace(":20", ":2e1");
    let other = first.replace(":20", ":21");
    let naive = bedrock("r2", "2026-05-01T00:30:00", 0);
    let messages = [&first, &same, &other, &naive, "{}"].map(|text| (text, [].as_slice()));
    take_in(&database, &topic, reader(), &messages).await;
    let counts = database.counts().await;
    assert_eq!((counts["stored"], counts["duplicate"], counts["conflict"], counts["rejected"]), (1, 1, 1, 2));
    let events = all_events(&database).await;
    let [UsageEvent { id, content }] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((id.source.as_str(), id.id.as_str(), content.customer.as_str()), ("aws", "r1", "c9"));
    let told: Vec<String> = content.quantities.iter().map(|(meter, quantity)| format!("{meter} {quantity}")).collect();
    assert_eq!(
        told.join(", "),
        "input_tokens 10, cached_input_tokens 7, cache_write_tokens 20, output_tokens 3, requests 1"
    );
    let rules = "select count(*) from usage_dimension where rules = 'bedrock_invocation/1'";
    assert_eq!(database.number(rules).await, 1);
    // Once configuration names the zone, what was rejected for want of it is read again as what it was.
    let mut writer = database.writer().await;
    let mended = [Reader { zone: Some(chrono_tz::UTC), ..reader() }];
    let before = retry(&mut writer, &database.pool, &[reader()], None).await.expect("retried");
    assert_eq!((before.taken.messages(), before.still_rejected), (0, 2));
    let after = retry(&mut writer, &database.pool, &mended, None).await.expect("retried");
    assert_eq!((after.taken.stored, after.still_rejected), (1, 1));
    assert_eq!(all_events(&database).await.len(), 2);
    let secret = "select count(*) from usage_rejection where convert_from(payload, 'UTF8') like '%SECRET%'";
    assert_eq!(database.number(secret).await, 0);
    database.audit().await;
    topic.delete().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_several_records_and_of_other_formats_are_in_one_topic() {
    let database = TestDatabase::new().await;
    let topic = TestTopic::new(1).await;
    // A delivery of CloudWatch has several records, one of them wrong; the other message is the carrier's own.
    let (one, two) = (bedrock("r1", "2026-05-01T00:30:00Z", 1), bedrock("r2", "noon", 1));
    let events = [one, two].map(|record| serde_json::json!({"id": "1", "timestamp": 1, "message": record}));
    let delivery = serde_json::json!({"messageType": "DATA_MESSAGE", "logEvents": events}).to_string();
    let control = r#"{"messageType":"CONTROL_MESSAGE","logEvents":[]}"#;
    let converse = r#"{"usage":{"inputTokens":7,"outputTokens":2,"totalTokens":9}}"#;
    let carried = [("ce_id", "r3"), ("ce_time", "2026-05-01T01:00:00Z"), ("apportion-format", "bedrock_converse")];
    let ours = [("content-type", "application/cloudevents+json"), ("apportion-format", "cloudevents")];
    let event = event("e1", 1, 1);
    let reader = Reader {
        format: Format::BedrockCloudWatch,
        deployment: Some("east".into()),
        product: Some("gpt".into()),
        ..reader()
    };
    let messages: [Sent<'_>; 4] = [(&delivery, &[]), (control, &[]), (converse, &carried), (&event, &ours)];
    take_in(&database, &topic, reader, &messages).await;
    let counts = database.counts().await;
    assert_eq!((counts["messages"], counts["stored"], counts["no_usage"], counts["rejected"]), (5, 3, 1, 1));
    assert_eq!(database.number("select next_offset from kafka_offset").await, 4);
    let place = "select count(*) from usage_rejection where position like '%/0@0#2' and format = 'bedrock_cloudwatch'
                 and source = 'aws'";
    assert_eq!(database.number(place).await, 1);
    database.audit().await;
    topic.delete().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_giant_message_never_stops_a_partition() {
    let database = TestDatabase::new().await;
    let topic = TestTopic::with(1, &[("max.message.bytes", "8000000")]).await;
    let producer: ThreadedProducer<_> = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .set("message.max.bytes", "8000000")
        .create()
        .expect("a producer");
    let giant = "x".repeat(6_000_000);
    for text in [giant.as_str(), bedrock("r1", "2026-05-01T00:30:00Z", 1).as_str()] {
        producer.send(BaseRecord::<(), [u8]>::to(&topic.name).payload(text.as_bytes())).expect("queued");
    }
    producer.flush(Duration::from_secs(60)).expect("sent");
    consume_as(&database, &topic, reader()).await;
    let counts = database.counts().await;
    assert_eq!((counts["messages"], counts["stored"], counts["rejected"]), (2, 1, 1));
    assert_eq!(database.number("select count(*) from usage_rejection where reason = 'message_too_large'").await, 1);
    topic.delete().await;
    database.drop_it().await;
}

/// Its carrier's record says when it came, so that reading the topic anew tells the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_openmeter_without_a_time_occurred_when_its_record_was_made() {
    let database = TestDatabase::new().await;
    let topic = TestTopic::new(1).await;
    let producer: ThreadedProducer<_> =
        ClientConfig::new().set("bootstrap.servers", brokers()).create().expect("a producer");
    let undated = r#"{"id":"m1","source":"gateway","type":"t","subject":"c9","data":{"model":"gpt","provider":"east","prompt_tokens":7}}"#;
    let dated = undated.replacen('{', r#"{"time":1777680000,"#, 1).replace("m1", "m2");
    // Sent twice, the first on 2026-05-01 at 00:30, and one that says its time.
    for (text, milliseconds) in
        [(undated, 1_777_595_400_123), (undated, 1_777_599_000_000), (&dated, 1_777_595_400_000)]
    {
        let record = BaseRecord::<(), [u8]>::to(&topic.name).payload(text.as_bytes()).timestamp(milliseconds);
        producer.send(record).expect("queued");
    }
    producer.flush(Duration::from_secs(60)).expect("sent");
    let reader = Reader { format: Format::OpenMeter, ..Reader::default() };
    for duplicates in [1, 4] {
        consume_as(&database, &topic, reader.clone()).await;
        let counts = database.counts().await;
        assert_eq!((counts["stored"], counts["duplicate"]), (2, duplicates));
        assert_eq!(counts["messages"], 2 + duplicates);
        let occurred =
            all_events(&database).await.iter().map(|it| it.content.occurred_at.to_rfc3339()).collect::<Vec<_>>();
        assert_eq!(occurred, ["2026-05-01T00:30:00.123+00:00", "2026-05-02T00:00:00+00:00"]);
        sqlx::query("delete from kafka_offset").execute(&database.pool).await.expect("read anew");
    }
    database.audit().await;
    topic.delete().await;
    database.drop_it().await;
}

/// Each meter is summed as it was reported, and belongs to the context of its request or not, also where an hour is
/// opened down to its events.
#[tokio::test(flavor = "multi_thread")]
async fn every_meter_is_summed_exactly_in_its_band() {
    let database = TestDatabase::new().await;
    let mut writer = database.writer().await;
    let event = |meter: &Meter| {
        let text = event(meter.name(), 0, 0);
        text.replace(r#""input_tokens":0,"output_tokens":0,"requests":1"#, &format!(r#""{meter}":1500.5"#))
    };
    let lines: Vec<String> = Meter::ALL.iter().map(event).collect();
    write_lines(&mut writer, &lines).await;
    let known_at = watermark(&database.pool).await.expect("an instant");
    let hour = |minute: u32| format!("2026-05-01T00:{minute:02}:00Z").parse().expect("an instant");
    // The whole hour comes from the rollups; with an edge in it, or a threshold that they do not know, from events.
    let whole = Span { start: hour(0), end: "2026-05-01T01:00:00Z".parse().expect("an instant") };
    let part = Span { start: hour(10), end: hour(50) };
    for (span, over) in [(whole, 1000), (part, 1000), (whole, 1500)] {
        let thresholds = BTreeMap::from([("gpt".into(), BTreeSet::from([over]))]);
        let mut conn = database.pool.acquire().await.expect("a connection");
        let sums = load_span_sums(&mut conn, &[span], &thresholds, known_at).await.expect("sums");
        let mut found: BTreeMap<Meter, (u64, String)> = BTreeMap::new();
        for sum in sums {
            let of = |(meter, quantity): (Meter, Exact)| (meter, (sum.context_over, quantity.to_string()));
            found.extend(sum.quantities.into_iter().map(of));
        }
        let expected = |meter: &Meter| (*meter, (if meter.is_context() { over } else { 0 }, "1500.5".to_owned()));
        assert_eq!(found, Meter::ALL.iter().map(expected).collect(), "{span:?} {over}");
    }
    database.audit().await;
    database.drop_it().await;
}
