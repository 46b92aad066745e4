//! Rejections that are decoded again: what is taken in, what stays, and when their payloads go.

use crate::support::*;
use apportion::ingest::retry::retry;
use apportion::store::rejections::expire_payloads;
use apportion::store::usage_reports as reports;

/// Keeps a rejection as an older decoder left it, which did not know what it read.
async fn keep(database: &TestDatabase, reason: &str, payload: &str) {
    sqlx::query(
        "insert into usage_rejection (batch_id, position, reason, detail, format, source, content_type, payload,
           expires_at)
         select max(batch_id), 'older', $1, '', 'cloudevents', '', 'application/cloudevents+json', $2, now() + interval '1 day'
         from usage_batch",
    )
    .bind(reason)
    .bind(payload.as_bytes())
    .execute(&database.pool)
    .await
    .expect("kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_takes_in_what_now_decodes_and_ends() {
    let database = TestDatabase::new().await;
    let mut writer = database.writer().await;
    let restated = r#""product":"codex""#;
    // A refusal, which is well-formed; something that no decoder takes; something that is no JSON.
    let refused = correction("k1", "e1", restated);
    let malformed = event("e2", 1, 1).replace("\"requests\":1", "\"requests\":-1");
    write_lines(&mut writer, &[event("e1", 1, 1), void("v1", "e1"), refused, malformed, "no json".into()]).await;
    keep(&database, "unknown_meter", &event("e3", 7, 1)).await;
    keep(&database, "unknown_field", &correction("k2", "e3", restated)).await;
    // Decodes, but is refused by what stands.
    keep(&database, "unknown_field", &correction("k3", "e1", restated)).await;

    let of_one = retry(&mut writer, &database.pool, &[], Some("unknown_meter")).await.expect("retried");
    assert_eq!((of_one.taken.messages(), of_one.taken.stored, of_one.still_rejected), (1, 1, 0));
    let first = retry(&mut writer, &database.pool, &[], None).await.expect("retried");
    assert_eq!((first.taken.messages(), first.taken.correction_applied, first.taken.rejected), (2, 1, 1));
    // All that counts nowhere, whether or not it can be decoded.
    assert_eq!(first.still_rejected, 4);
    assert_eq!(database.number("select count(*) from usage_rejection_retry").await, 2);
    let again = retry(&mut writer, &database.pool, &[], None).await.expect("retried");
    assert_eq!((again.taken.messages(), again.taken.rejected, again.still_rejected), (1, 1, 4));
    assert_eq!(database.number("select count(*) from usage_rejection_retry").await, 2);
    assert_eq!(database.number("select count(*) from usage_rejection").await, 6, "a retry records none anew");
    assert_eq!(database.number("select count(*) from usage_event").await, 2);
    // Each message counts once, as what it was when it came.
    let outcomes = reports::outcomes(&database.pool).await.expect("counted");
    assert_eq!((outcomes.messages(), outcomes.stored, outcomes.rejected), (5, 1, 3));
    assert_eq!(reports::taken_by_retries(&database.pool).await.expect("counted"), 2);
    let listed = reports::rejections(&database.pool, None, None, 10).await.expect("a list");
    let retried = listed.iter().filter(|it| it.state == reports::RejectionState::Retried);
    assert_eq!(retried.count(), 2);
    database.audit().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_go_when_they_have_expired_and_not_before() {
    let database = TestDatabase::new().await;
    let mut writer = database.writer().await;
    write_lines(&mut writer, &[event("e1", 1, 1), "no json".into(), event("e2", 1, 1).replace("gpt", "")]).await;
    let kept = "select count(*) from usage_rejection where payload is not null";
    assert_eq!(expire_payloads(&database.pool).await.expect("expired"), 0);
    assert_eq!(database.number(kept).await, 2);
    // Kept rows may not change, so two are kept that have expired already, of one place.
    let sql = "insert into usage_rejection (batch_id, position, reason, detail, format, source, content_type, payload,
                 expires_at, event_key)
               select batch_id, 'old', reason, detail, format, source, content_type, payload, now() - interval '1 second',
                 gen_random_uuid()
               from usage_rejection, generate_series(1, 2) where reason = 'not_json'";
    sqlx::query(sql).execute(&database.pool).await.expect("kept");
    let retried = retry(&mut writer, &database.pool, &[], None).await.expect("retried");
    assert_eq!((retried.taken.messages(), retried.still_rejected), (0, 4));
    assert_eq!(expire_payloads(&database.pool).await.expect("expired"), 2);
    assert_eq!(database.number(kept).await, 2);
    let listed = reports::rejections(&database.pool, None, None, 10).await.expect("a list");
    let old: Vec<i64> = listed.iter().filter(|it| it.position == "old").map(|it| it.times).collect();
    assert_eq!(old, [1, 1], "of one place, under two ids");
    let early = sqlx::query("update usage_rejection set payload = null where position <> 'old'");
    assert!(early.execute(&database.pool).await.is_err(), "the database refuses it too");
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_retried_once_however_often_it_was_read_and_not_after_it_came_in() {
    let database = TestDatabase::new().await;
    let mut writer = database.writer().await;
    // An older build did not know the meter; one of them the source has sent again since, as what it knows.
    write_lines(&mut writer, &[event("e0", 1, 1)]).await;
    for _ in 0..3 {
        keep(&database, "unknown_meter", &event("e1", 7, 1)).await;
        keep(&database, "unknown_meter", &event("e2", 7, 1)).await;
    }
    let sql = "insert into usage_rejection (batch_id, position, reason, detail, format, source, content_type, payload,
                 expires_at, event_key)
               select max(batch_id), 'mended', 'unknown_meter', '', 'cloudevents', '', 'application/cloudevents+json', $1,
                 now() + interval '1 day', (select event_key from usage_event where event_id = 'e3')
               from usage_batch where stored > 1";
    write_lines(&mut writer, &[event("e3", 5, 5), event("e4", 5, 5)]).await;
    sqlx::query(sql).bind(event("e3", 7, 1).as_bytes()).execute(&database.pool).await.expect("kept");
    let retried = retry(&mut writer, &database.pool, &[], None).await.expect("retried");
    assert_eq!((retried.taken.messages(), retried.taken.stored, retried.still_rejected), (2, 2, 0));
    assert_eq!(database.number("select count(*) from usage_conflict").await, 0, "what came in is not read again");
    let listed = reports::rejections(&database.pool, None, None, 10).await.expect("a list");
    let mut states: Vec<_> = listed.iter().map(|it| (it.position.as_str(), it.times, it.state)).collect();
    states.sort_by_key(|it| it.0);
    let (retried, came_in) = (reports::RejectionState::Retried, reports::RejectionState::CameIn);
    assert_eq!(states, [("mended", 1, came_in), ("older", 3, retried), ("older", 3, retried)]);
    database.audit().await;
    database.drop_it().await;
}
