//! Usage sent over HTTP as others' clients send it: OpenMeter's events, and OpenTelemetry's spans.

use crate::api_client::{Api, LIMITS, bearer};
use crate::job_crashes::hold;
use crate::support::*;
use apportion::domain::access::Scope;
use apportion::http::{Limits, Readers};
use apportion::ingest::retry::retry;
use apportion::sources::{Format, Reader};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Tracer, TracerProvider};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

const EVENTS: &str = "/api/v1/events";
const TRACES: &str = "/v1/traces";

fn readers() -> Readers {
    let of = |format, source: &str| Reader {
        format,
        source: source.into(),
        deployment: Some("east".into()),
        customer_tags: vec!["tenant".into()],
        ..Reader::default()
    };
    Readers { events: of(Format::OpenMeter, ""), traces: of(Format::CloudEvents, "otlp") }
}

async fn door(database: &TestDatabase, limits: Limits) -> (Arc<Api>, String) {
    let api = Api::with_readers(&database.pool, limits, readers()).await;
    let key = api.key("collector", &[Scope::Ingest], None).await;
    (Arc::new(api), key)
}

fn typed(key: &str, content_type: &str) -> [String; 2] {
    [bearer(key), format!("content-type: {content_type}")]
}

/// What LiteLLM's callback for OpenMeter sends for a call.
fn litellm(id: &str) -> Value {
    json!({
        "specversion": "1.0", "type": "litellm_tokens", "id": id, "time": "2026-05-01T00:30:00Z", "subject": "c1",
        "source": "litellm-proxy",
        "data": {"model": "gpt", "cost": 0.00003, "completion_tokens": 20, "prompt_tokens": 10, "total_tokens": 30},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_openmeter_send_usage_as_they_do_there() {
    let database = TestDatabase::new().await;
    let (api, key) = door(&database, LIMITS).await;
    let one = typed(&key, "application/cloudevents+json");
    for _ in 0..2 {
        let sent = api.send("POST", EVENTS, &one, &litellm("m1").to_string()).await;
        assert_eq!((sent.status, sent.text.as_str()), (204, ""), "{sent:?}");
    }
    let many = json!([litellm("m2"), litellm("m3")]).to_string();
    for content_type in ["application/cloudevents-batch+json", "application/json"] {
        assert_eq!(api.send("POST", EVENTS, &typed(&key, content_type), &many).await.status, 204);
    }
    assert_eq!(
        api.send("POST", EVENTS, &typed(&key, "application/json"), &litellm("m4").to_string()).await.status,
        204
    );
    let counts = database.counts().await;
    assert_eq!((counts["stored"], counts["duplicate"], counts["messages"]), (4, 3, 7));
    // Packed they are the same.
    let batch = typed(&key, "application/cloudevents-batch+json");
    let zipped = [batch.as_slice(), &["content-encoding: gzip".to_owned()]].concat();
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(many.as_bytes()).expect("packed");
    let (head, _) = send_bytes(&api, EVENTS, &zipped, &packed.finish().expect("packed")).await;
    assert!(head.starts_with("http/1.1 204 "), "{head}");
    let (head, told) = send_bytes(&api, EVENTS, &zipped, many.as_bytes()).await;
    let told = String::from_utf8_lossy(&told);
    assert!(head.starts_with("http/1.1 400 ") && told.contains("the body is no gzip"), "{head}{told}");
    assert_eq!((database.counts().await["stored"], database.counts().await["duplicate"]), (4, 5));
    assert_eq!(database.total("usage_event", "output_tokens").await, 80);
    let of_customer = "select count(*) from usage_event join usage_customer using (customer_id) where customer = 'c1'";
    assert_eq!(database.number(of_customer).await, 4);
    // Counts that contradict each other are told of; a type of ours that is none is no OpenMeter's.
    let wrong = litellm("m5").to_string().replace("30}", "31}");
    let sent = api.send("POST", EVENTS, &one, &wrong).await;
    assert_eq!((sent.status, &sent.json()["rejections"][0]["reason"]), (422, &json!("broken_identity")));
    let mut other = litellm("m6");
    other["type"] = json!("apportion.usage.v9");
    let sent = api.send("POST", EVENTS, &one, &other.to_string()).await;
    assert_eq!((sent.status, &sent.json()["rejections"][0]["reason"]), (422, &json!("unknown_type")));
    database.audit().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_openmeter_without_a_time_occurred_when_it_first_came() {
    let database = TestDatabase::new().await;
    let (api, key) = door(&database, LIMITS).await;
    let headers = typed(&key, "application/cloudevents+json");
    let undated = |id: &str| {
        let mut event = litellm(id);
        event.as_object_mut().expect("an object").remove("time");
        event
    };
    let occurred = "select to_char(occurred_at, 'YYYY-MM-DD HH24:MI:SS.US') from usage_event where event_id = 'm1'";
    let occurred = || async { sqlx::query_scalar::<_, String>(occurred).fetch_one(&database.pool).await.expect("one") };
    assert_eq!(api.send("POST", EVENTS, &headers, &undated("m1").to_string()).await.status, 204);
    let first = occurred().await;
    let came = "select count(*) from usage_event join usage_batch using (batch_id)
                where occurred_at between recorded_at - interval '1 minute' and recorded_at";
    assert_eq!(database.number(came).await, 1);
    // Sent again it is known, and its time stands. What says a time now is another report.
    assert_eq!(api.send("POST", EVENTS, &headers, &undated("m1").to_string()).await.status, 204);
    assert_eq!(api.send("POST", EVENTS, &headers, &litellm("m1").to_string()).await.status, 204);
    let counts = database.counts().await;
    assert_eq!((counts["stored"], counts["duplicate"], counts["conflict"], counts["messages"]), (1, 1, 1, 3));
    assert_eq!(occurred().await, first);
    // The row says whose time it has.
    assert_eq!(api.send("POST", EVENTS, &headers, &litellm("m2").to_string()).await.status, 204);
    let by_rules = "select string_agg(event_id || ' ' || rules, ', ' order by event_id)
                    from usage_event join usage_dimension using (dimension_id)";
    let by_rules: String = sqlx::query_scalar(by_rules).fetch_one(&database.pool).await.expect("rows");
    assert_eq!(by_rules, "m1 openmeter/1 received, m2 openmeter/1");
    // A retry takes in what was rejected with the time at which it came.
    let mut nameless = undated("m3");
    nameless["data"].as_object_mut().expect("an object").remove("model");
    assert_eq!(api.send("POST", EVENTS, &headers, &nameless.to_string()).await.status, 422);
    let reader = Reader { product: Some("gpt".into()), ..readers().events };
    let retried = retry(&mut database.writer().await, &database.pool, &[reader], None).await.expect("retried");
    assert_eq!((retried.taken.stored, retried.still_rejected), (1, 0));
    let when = "select count(*) from usage_event e
                join usage_rejection r on (r.carrier ->> 'received_at')::timestamptz = e.occurred_at
                where e.event_id = 'm3'";
    assert_eq!(database.number(when).await, 1);
    database.audit().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_in_binary_mode_has_its_attributes_in_headers() {
    let database = TestDatabase::new().await;
    let (api, key) = door(&database, LIMITS).await;
    let attributes = [
        "ce-specversion: 1.0",
        "ce-type: apportion.usage.v1",
        "ce-id: M%C3%BCnchen",
        "ce-source: test",
        "ce-time: 2026-05-01T00:00:00Z",
        "prefer: return=representation",
    ];
    let headers = [typed(&key, "application/json").as_slice(), attributes.map(str::to_owned).as_slice()].concat();
    let data = r#"{"deployment":"east","product":"gpt","quantities":{"requests":1}}"#;
    let sent = api.send("POST", EVENTS, &headers, data).await;
    assert_eq!((sent.status, sent.json()), (200, json!({"messages": 1, "outcomes": {"stored": 1}})), "{sent:?}");
    assert_eq!(database.number("select count(*) from usage_event where event_id = 'München'").await, 1);
    // A key that names one event does not answer for another, though its body is the same.
    let named = |id: &str| {
        let other = headers.iter().map(|it| if it.starts_with("ce-id") { format!("ce-id: {id}") } else { it.clone() });
        other.chain(["idempotency-key: k".to_owned()]).collect::<Vec<String>>()
    };
    assert_eq!(api.send("POST", EVENTS, &named("e1"), data).await.status, 200);
    assert_eq!(api.send("POST", EVENTS, &named("e2"), data).await.status, 422);
    assert_eq!(api.send("POST", EVENTS, &named("e1"), data).await.status, 200);
    database.drop_it().await;
}

fn span(id: &str, attributes: &[(&str, Value)]) -> Value {
    let attributes: Vec<Value> = attributes.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
    json!({"traceId": "5b8efff798038103d269b633813fc60c", "spanId": id, "name": "chat",
        "startTimeUnixNano": "1777595400000000000", "attributes": attributes})
}

fn call(input: Value) -> [(&'static str, Value); 5] {
    [
        ("gen_ai.operation.name", json!({"stringValue": "chat"})),
        ("gen_ai.request.model", json!({"stringValue": "gpt"})),
        ("gen_ai.usage.input_tokens", input),
        ("gen_ai.usage.output_tokens", json!({"intValue": "5"})),
        ("tenant", json!({"stringValue": "c7"})),
    ]
}

/// A request with a call, a span of something else, and one whose counts cannot be.
fn spans() -> String {
    let spans = [
        span("eee19b7ec3c1b174", &call(json!({"intValue": "7"}))),
        span("eee19b7ec3c1b175", &[("http.request.method", json!({"stringValue": "GET"}))]),
        span("eee19b7ec3c1b176", &call(json!({"intValue": "-7"}))),
    ];
    json!({"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": spans}]}]}).to_string()
}

/// Sends bytes; returns the head of the answer, and its body.
async fn send_bytes(api: &Api, path: &str, headers: &[String], body: &[u8]) -> (String, Vec<u8>) {
    let head: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}content-length: {length}\r\n\r\n");
    let (mut stream, bytes) = (api.connect(), [head.as_bytes(), body].concat());
    let asked = tokio::task::spawn_blocking(move || {
        stream.write_all(&bytes).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        answer
    });
    let answer = asked.await.expect("asked");
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n").expect("a head");
    (String::from_utf8_lossy(&answer[..end]).to_lowercase(), answer[end + 4..].to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_in_json_are_taken_in_and_the_wrong_ones_named() {
    let database = TestDatabase::new().await;
    let (api, key) = door(&database, LIMITS).await;
    let json = typed(&key, "application/json");
    for expected in [("stored", 1), ("duplicate", 1)] {
        let sent = api.send("POST", TRACES, &json, &spans()).await;
        assert_eq!((sent.status, &sent.json()["partialSuccess"]["rejectedSpans"]), (200, &json!("1")), "{sent:?}");
        let why = sent.json()["partialSuccess"]["errorMessage"].to_string();
        assert!(why.contains(":3: negative_quantity: ") && why.contains("gen_ai.usage.input_tokens"), "{why}");
        assert_eq!(database.counts().await[expected.0], expected.1);
    }
    assert_eq!(database.counts().await["no_usage"], 2);
    assert_eq!(database.total("usage_event", "input_tokens").await, 7);
    let of_customer = "select count(*) from usage_event join usage_customer using (customer_id) where customer = 'c7'";
    assert_eq!(database.number(of_customer).await, 1);
    // Packed it is the same.
    let (mut zipped, mut deflated) =
        (GzEncoder::new(Vec::new(), Compression::fast()), ZlibEncoder::new(Vec::new(), Compression::fast()));
    zipped.write_all(spans().as_bytes()).expect("packed");
    deflated.write_all(spans().as_bytes()).expect("packed");
    let [gzip, deflate] =
        ["gzip", "Deflate"].map(|name| [json.as_slice(), &[format!("content-encoding: {name}")]].concat());
    assert!(send_bytes(&api, TRACES, &gzip, &zipped.finish().expect("packed")).await.0.starts_with("http/1.1 200 "));
    assert!(
        send_bytes(&api, TRACES, &deflate, &deflated.finish().expect("packed")).await.0.starts_with("http/1.1 200 ")
    );
    assert_eq!(database.counts().await["duplicate"], 3);
    // What cannot be read at all is recorded, and to be sent to nobody again.
    let before = database.counts().await["rejected"];
    let named = [typed(&key, "application/x-protobuf").as_slice(), &["idempotency-key: k".to_owned()]].concat();
    for _ in 0..2 {
        let (head, body) = send_bytes(&api, TRACES, &named, b"\xff\xff").await;
        assert!(
            head.starts_with("http/1.1 400 ") && String::from_utf8_lossy(&body).contains("wrong_packing"),
            "{head}"
        );
        assert_eq!(database.counts().await["rejected"], before + 1);
    }
    assert!(send_bytes(&api, TRACES, &gzip, b"no gzip").await.0.starts_with("http/1.1 400 "));
    let packed = [json.as_slice(), &["content-encoding: br".to_owned()]].concat();
    assert!(send_bytes(&api, TRACES, &packed, b"").await.0.starts_with("http/1.1 415 "));
    assert!(send_bytes(&api, TRACES, &typed(&key, "text/plain"), b"").await.0.starts_with("http/1.1 415 "));
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_spans_are_refused_for_is_told_by_a_status_of_otlp() {
    let database = TestDatabase::new().await;
    let (api, key) = door(&database, Limits { receive: Duration::from_secs(1), ..LIMITS }).await;
    let why = "No key that holds was sent: send a key that holds: `Authorization: Bearer apk_...`; who runs the service \
               makes them";
    for content_type in ["application/json", "text/plain"] {
        let sent = api.send("POST", TRACES, &typed("apk_none", content_type), &spans()).await;
        assert_eq!((sent.status, sent.json()), (401, json!({"message": why})), "{sent:?}");
        assert_eq!(sent.header("content-type"), Some("application/json"));
    }
    let (head, body) = send_bytes(&api, TRACES, &typed("apk_none", "application/x-protobuf"), b"").await;
    assert!(head.starts_with("http/1.1 401 ") && head.contains("\r\ncontent-type: application/x-protobuf"), "{head}");
    assert!(head.contains("\r\nwww-authenticate: bearer"), "{head}");
    // Field 2, a text of so many bytes.
    let length = u8::try_from(why.len()).expect("short");
    assert_eq!(body, [&[0x12, length][..], why.as_bytes()].concat());
    // A body that does not come is no reason for an exporter to drop its spans, as 408 would be.
    let head = [typed(&key, "application/json").join("\r\n"), "content-length: 9".to_owned()].join("\r\n");
    let mut stream = api.connect();
    stream.write_all(format!("POST {TRACES} HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n{{").as_bytes()).expect("sent");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    let answered = tokio::task::spawn_blocking(move || {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    });
    let answer = answered.await.expect("asked").expect("it is ended in time");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("did not come in time"), "{answer}");
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_unpacks_to_too_much_is_refused() {
    let database = TestDatabase::new().await;
    let (api, key) = door(&database, LIMITS).await;
    let mut zipped = GzEncoder::new(Vec::new(), Compression::best());
    zipped.write_all(&vec![b' '; (16 << 20) + 1]).expect("packed");
    let gzip = [typed(&key, "application/json").as_slice(), &["content-encoding: gzip".to_owned()]].concat();
    let (head, _) = send_bytes(&api, TRACES, &gzip, &zipped.finish().expect("packed")).await;
    assert!(head.starts_with("http/1.1 413 "), "{head}");
    assert!(database.counts().await.is_empty());
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exporter_of_opentelemetry_sends_its_spans() {
    let database = TestDatabase::new().await;
    let (api, key) = door(&database, LIMITS).await;
    let endpoint = format!("http://{}{TRACES}", api.connect().peer_addr().expect("an address"));
    let exported = tokio::task::spawn_blocking(move || {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_headers([("authorization".to_owned(), format!("Bearer {key}"))].into())
            .build()
            .expect("an exporter");
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
        let tracer = provider.tracer("app");
        for input in [100, 200] {
            let attributes = [
                KeyValue::new("gen_ai.operation.name", "chat"),
                KeyValue::new("gen_ai.request.model", "gpt"),
                KeyValue::new("gen_ai.usage.input_tokens", input),
                KeyValue::new("gen_ai.usage.cache_read.input_tokens", 40),
                KeyValue::new("gen_ai.usage.output_tokens", 5),
                KeyValue::new("gen_ai.input.messages", "a SECRET"),
            ];
            tracer.span_builder("chat gpt").with_attributes(attributes).start(&tracer);
        }
        provider.force_flush()
    });
    exported.await.expect("joined").expect("exported");
    assert_eq!(database.counts().await["stored"], 2);
    assert_eq!(database.total("usage_event", "input_tokens").await, 220);
    assert_eq!(database.total("usage_event", "cached_input_tokens").await, 80);
    database.audit().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_can_be_written_is_told_to_come_later() {
    let database = TestDatabase::new().await;
    let (api, key) = door(&database, Limits { turn: Duration::from_secs(3), ..LIMITS }).await;
    let held = hold(&database, "lock table recording_gate in exclusive mode").await;
    let send = |number: u32, path: &'static str, headers: [String; 2]| {
        let (api, body) = (Arc::clone(&api), if path == TRACES { spans() } else { event(&format!("e{number}"), 1, 1) });
        tokio::spawn(async move { api.send("POST", path, &headers, &body).await })
    };
    let sent: Vec<_> = (0..40)
        .map(|number| match number % 2 {
            0 => send(number, EVENTS, typed(&key, "application/cloudevents+json")),
            _ => send(number, TRACES, typed(&key, "application/json")),
        })
        .collect();
    for answer in sent {
        let answer = answer.await.expect("answered");
        assert_eq!((answer.status, answer.header("retry-after")), (429, Some("2")), "{answer:?}");
    }
    held.rollback().await.expect("let go");
    let answer = send(0, EVENTS, typed(&key, "application/cloudevents+json")).await.expect("answered");
    assert_eq!(answer.status, 204);
    assert_eq!(database.counts().await["stored"], 1);
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_each_waits_for_its_turn() {
    // LiteLLM's callback sends an event for each call, and none again.
    let database = TestDatabase::new().await;
    let (api, key) = door(&database, LIMITS).await;
    let held = hold(&database, "lock table recording_gate in exclusive mode").await;
    let send = |number: u32| {
        let (api, headers) = (Arc::clone(&api), typed(&key, "application/cloudevents+json"));
        tokio::spawn(
            async move { api.send("POST", EVENTS, &headers, &litellm(&format!("m{number}")).to_string()).await },
        )
    };
    let sent: Vec<_> = (0..60).map(send).collect();
    // Those that are not let in yet would have been refused by now.
    tokio::time::sleep(Duration::from_secs(1)).await;
    held.rollback().await.expect("let go");
    for answer in sent {
        let answer = answer.await.expect("answered");
        assert_eq!(answer.status, 204, "{answer:?}");
    }
    assert_eq!(database.counts().await["stored"], 60);
    database.audit().await;
    database.drop_it().await;
}
