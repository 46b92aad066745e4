//! What dashboards ask of Postgres, asked as Grafana does: by the read-only role, with macros and variables expanded.

use crate::panels::{DASHBOARDS, Panel, Query, dashboard, panels, text};
use crate::support::{TestDatabase, setting};
use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{Acquire, Column, PgPool, Row, TypeInfo};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::str::FromStr;

/// A pool of the role that Grafana uses, on a database of the server under test.
async fn as_grafana(database: &str) -> PgPool {
    let options = PgConnectOptions::from_str(&setting("DATABASE_URL")).expect("a URL");
    let options = options.username("apportion_readonly").database(database);
    let reason = "apportion_readonly may log in, with the password of DATABASE_URL if the server asks for one";
    PgPool::connect_with(options).await.expect(reason)
}

fn asked(sql: &str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(sql.to_owned())
}

/// What stands for all values of each variable: `'a','b'`, as `${name:sqlstring}` is expanded.
async fn variables(pool: &PgPool, dashboard_name: &str) -> BTreeMap<String, String> {
    let dashboard = dashboard(dashboard_name);
    let mut values = BTreeMap::new();
    for variable in dashboard["templating"]["list"].as_array().expect("variables") {
        let (name, query) = (variable["name"].as_str().expect("a name"), variable["query"].as_str().expect("a query"));
        let found: Vec<String> = sqlx::query_scalar(asked(query)).fetch_all(pool).await.expect(query);
        assert!(!found.is_empty(), "variable {name} has no values");
        let quoted: Vec<String> = found.iter().map(|value| format!("'{}'", value.replace('\'', "''"))).collect();
        values.insert(name.to_owned(), quoted.join(","));
    }
    values
}

/// Expands what we use of Grafana's macros and variables; anything else is left for Postgres to refuse.
fn expanded(sql: &str, variables: &BTreeMap<String, String>, from: &str, to: &str) -> String {
    let mut sql = sql.to_owned();
    for (name, values) in variables {
        sql = sql.replace(&format!("${{{name}:sqlstring}}"), values);
    }
    while let Some((before, rest)) = sql.split_once("$__timeFilter(") {
        let (column, after) = rest.split_once(')').expect("the end of the macro");
        sql = format!("{before}{column} BETWEEN '{from}' AND '{to}'{after}");
    }
    sql
}

/// What is wrong with the answer to a panel's query.
fn fault(panel: &Panel, is_time_series: bool, rows: &[PgRow]) -> Option<String> {
    let Some(first) = rows.first() else { return Some("no rows".to_owned()) };
    let column = |name: &str| first.columns().iter().find(|it| it.name() == name).map(|it| it.type_info().name());
    if is_time_series {
        let (time, value) = (column("time"), column("value"));
        if time != Some("TIMESTAMPTZ") || column("metric") != Some("TEXT") {
            return Some(format!("time is {time:?}, metric is {:?}", column("metric")));
        }
        if !value.is_some_and(|value| ["NUMERIC", "INT8", "FLOAT8"].contains(&value)) {
            return Some(format!("value is {value:?}"));
        }
        let times: Vec<DateTime<Utc>> = rows.iter().map(|row| row.get("time")).collect();
        return (!times.is_sorted()).then(|| "the times do not rise".to_owned());
    }
    if panel.kind == "stat" {
        let is_null = first.try_get_raw(0).map_or(true, |value| sqlx::ValueRef::is_null(&value));
        return (rows.len() != 1 || is_null).then(|| "a stat shows one value".to_owned());
    }
    None
}

/// Runs every SQL panel on a database that holds the demo's data.
pub async fn every_sql_panel_returns_rows(database: &str) {
    let pool = as_grafana(database).await;
    let (mut faults, mut queries) = (Vec::new(), 0);
    // The demo's usage is of April and May 2026, and was recorded just now.
    let (from, to) = ("2026-03-31T22:00:00Z", (Utc::now() + chrono::TimeDelta::hours(1)).to_rfc3339());
    for name in DASHBOARDS {
        let variables = variables(&pool, name).await;
        for panel in panels(name) {
            for query in &panel.queries {
                let Query::Sql { text, is_time_series } = query else { continue };
                let sql = expanded(text, &variables, from, &to);
                queries += 1;
                match sqlx::query(asked(&sql)).fetch_all(&pool).await {
                    Ok(rows) => {
                        faults.extend(fault(&panel, *is_time_series, &rows).map(|it| format!("{}: {it}", panel.title)))
                    }
                    Err(error) => faults.push(format!("{}: {error}\n{sql}", panel.title)),
                }
            }
        }
    }
    pool.close().await;
    assert!(faults.is_empty() && queries > 20, "{queries} queries:\n{}", faults.join("\n"));
}

async fn names(pool: &PgPool, sql: &'static str) -> BTreeSet<String> {
    sqlx::query_scalar::<_, String>(sql).fetch_all(pool).await.expect(sql).into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_read_only_role_reads_the_views_and_nothing_else() {
    let database = TestDatabase::new().await;
    let pool = as_grafana(database.url.rsplit_once('/').expect("a database").1).await;
    let views = names(&database.pool, "select viewname::text from pg_views where schemaname = 'reporting'").await;
    let of_views = "select relname::text from pg_class
        where relnamespace = 'reporting'::regnamespace and has_table_privilege('apportion_readonly', oid, 'select')";
    let readable = names(&database.pool, of_views).await;
    let inner: Vec<&String> = views.difference(&readable).collect();
    assert_eq!(inner, ["origin_line", "statement_document"]);
    for view in &readable {
        let sql = format!("select * from reporting.{view} limit 1");
        sqlx::query(asked(&sql)).fetch_all(&pool).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let all_rights = "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and c.relkind in ('r', 'p', 'v', 'm', 'f')
          and has_table_privilege('apportion_readonly', c.oid,
            'select, insert, update, delete, truncate, references, trigger')";
    let with_rights = names(&database.pool, all_rights).await;
    assert_eq!(with_rights, readable.iter().map(|view| format!("reporting.{view}")).collect());
    // It cannot switch off what keeps it from writing and get anywhere.
    let mut session = pool.acquire().await.expect("a connection");
    let refused = [
        ("select * from usage_event", "permission denied"),
        ("select * from reporting.statement_document", "permission denied"),
        ("select from contract for update", "read-only transaction"),
        ("select from recording_watermark for update", "read-only transaction"),
        ("create table reporting.mine (id integer)", "read-only transaction"),
        ("create temporary table mine (id integer)", "read-only transaction"),
        ("insert into cloud values ('mine', 'lab', now())", "read-only transaction"),
    ];
    for (sql, reason) in refused {
        let error = sqlx::query(sql).execute(&mut *session).await.expect_err(sql);
        assert!(
            error.to_string().contains(reason) || error.to_string().contains("permission denied"),
            "{sql}: {error}"
        );
    }
    // Nor hold up who records or settles.
    for sql in ["recording_gate", "contract"].map(|it| format!("lock table {it} in access share mode")) {
        let mut transaction = session.begin().await.expect("a transaction");
        let error = sqlx::query(asked(&sql)).execute(&mut *transaction).await.expect_err("refused");
        assert!(error.to_string().contains("permission denied"), "{sql}: {error}");
        transaction.rollback().await.expect("rolled back");
    }
    sqlx::query("set default_transaction_read_only = off").execute(&mut *session).await.expect("anyone may ask");
    for sql in [
        "create table reporting.mine (id integer)",
        "create table public.mine (id integer)",
        "insert into cloud values ('mine', 'lab', now())",
        "delete from reporting.cloud",
        "update reporting.partition_offset set next_offset = 0",
    ] {
        let error = sqlx::query(sql).execute(&mut *session).await.expect_err(sql);
        assert!(error.to_string().contains("permission denied"), "{sql}: {error}");
    }
    let timeout: String = sqlx::query_scalar("show statement_timeout").fetch_one(&pool).await.expect("a setting");
    assert_eq!(timeout, "30s");
    drop(session);
    pool.close().await;
    database.drop_it().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_of_one_server_may_be_migrated_at_once() {
    let migrating: Vec<_> = (0..4).map(|_| tokio::spawn(TestDatabase::empty())).collect();
    for database in migrating {
        let database = database.await.expect("migrated");
        let made =
            "select count(*) from pg_roles where rolname = 'apportion_readonly' and rolcanlogin and not rolsuper";
        assert_eq!(database.number(made).await, 1);
        database.drop_it().await;
    }
}

/// The commands of ours in a text, as far as they are fixed: words and options before the first placeholder.
fn commands(text: &str) -> BTreeSet<Vec<String>> {
    let fenced = text.lines().filter(|line| line.starts_with("apportion "));
    let quoted = text.split('`').skip(1).step_by(2).filter(|code| code.starts_with("apportion "));
    let words = |command: &str| -> Vec<String> {
        let told = command.split('#').next().unwrap_or_default();
        told.split_whitespace().skip(1).map(str::to_owned).collect()
    };
    fenced.chain(quoted).map(words).collect()
}

/// What `--help` says of a command; none where there is no such command.
fn help(words: &[&String]) -> Option<String> {
    // What follows the command's own words may be an argument in lower case: a folder, a role.
    let (length, help) = (1..=words.len()).rev().find_map(|length| {
        let mut help = Command::new(env!("CARGO_BIN_EXE_apportion"));
        let answer = help.args(&words[..length]).arg("--help").output().expect("it runs");
        answer.status.success().then(|| (length, String::from_utf8(answer.stdout).expect("text")))
    })?;
    // Not so where a command has to follow.
    (length == words.len() || !help.contains("<COMMAND>")).then_some(help)
}

#[test]
fn a_command_that_is_gone_is_noticed() {
    let known = |text: &str| {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        help(&words.iter().collect::<Vec<_>>()).is_some()
    };
    assert!(known("statement pay") && known("contracts apply contracts") && known("statement"));
    assert!(!known("statement settle") && !known("none"));
}

#[test]
fn what_the_runbook_has_people_run_exists() {
    let mut texts = vec![text("dashboards/runbook.md"), text("dashboards/README.md")];
    texts.extend(DASHBOARDS.iter().flat_map(|name| panels(name)).map(|panel| panel.description));
    let all: BTreeSet<Vec<String>> = texts.iter().flat_map(|text| commands(text)).collect();
    assert!(all.len() > 10, "{all:?}");
    for command in all {
        let is_word = |word: &&String| word.chars().all(|it| it.is_ascii_lowercase() || it == '-');
        let words: Vec<&String> = command.iter().take_while(is_word).take_while(|it| !it.starts_with('-')).collect();
        let help = help(&words).unwrap_or_else(|| panic!("there is no command {command:?}"));
        for option in command.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(option.as_str()), "{command:?} has no {option}");
        }
    }
}
