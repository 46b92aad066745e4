//! A database of its own for each of those that play scenarios, emptied between them, with a clock of the test's.

use apportion::domain::period::Instant;
use apportion::store;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgPool, Row};
use std::str::FromStr;

/// A database that is migrated and empty, and that nobody is connected to.
#[derive(Clone)]
pub struct Template {
    server: PgConnectOptions,
    url: String,
    name: String,
}

pub struct Database {
    pub pool: PgPool,
    server: PgConnectOptions,
    name: String,
}

async fn on_server(server: &PgConnectOptions, sql: String) {
    use sqlx::Connection;
    let mut conn = server.connect().await.expect("Postgres answers");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.clone())).execute(&mut conn).await.unwrap_or_else(|it| panic!("{sql}: {it}"));
    conn.close().await.expect("closed");
}

impl Template {
    pub async fn new() -> Self {
        let url = std::env::var("DATABASE_URL")
            .expect("DATABASE_URL is not set: run `make test`, which starts what this needs");
        let server = PgConnectOptions::from_str(&url).expect("DATABASE_URL is a Postgres URL");
        let name = format!("apportion_test_scenarios{:016x}", rand::random::<u64>());
        on_server(&server, format!("create database {name}")).await;
        let template = Self { server, url, name };
        let pool = template.connect(&template.name);
        store::migrate(&pool).await.expect("migrations");
        sqlx::raw_sql(
            "create table test_clock (shows timestamptz);
             insert into test_clock values ('epoch');
             create or replace function recording_clock() returns timestamptz language sql volatile as
               $$ select shows from test_clock $$;

             -- what stands in a database that nothing was told, to begin anew from; making a database of hundreds of
             -- files for each scenario took longer than playing it.
             create schema beginning;
             do $$ declare name text; has_rows boolean; begin
               for name in select tablename from pg_tables where schemaname = 'public' loop
                 execute format('select exists (select from public.%I)', name) into has_rows;
                 if has_rows then
                   execute format('create table beginning.%1$I as select * from public.%1$I', name);
                 end if;
               end loop;
             end $$;
             create table beginning.\"sequences told\" as
               select format('%I.%I', schemaname, sequencename)::regclass as sequence, coalesce(last_value, start_value) as at,
                 last_value is not null as is_used from pg_sequences where schemaname = 'public'",
        )
        .execute(&pool)
        .await
        .expect("a clock");
        pool.close().await;
        template
    }

    fn connect(&self, name: &str) -> PgPool {
        let (server, _) = self.url.rsplit_once('/').expect("a database in DATABASE_URL");
        // What is lost in a crash is played again: nothing waits for the disk.
        let options = "?options=-c%20synchronous_commit%3Doff";
        store::connect(&format!("{server}/{name}{options}"), 4).expect("a URL")
    }

    pub async fn copy(&self) -> Database {
        let name = format!("{}_{:016x}", self.name, rand::random::<u64>());
        on_server(&self.server, format!("create database {name} template {}", self.name)).await;
        Database { pool: self.connect(&name), server: self.server.clone(), name }
    }

    pub async fn drop_it(self) {
        on_server(&self.server, format!("drop database {} with (force)", self.name)).await;
    }
}

impl Database {
    /// From now on everything is recorded at an instant.
    pub async fn set_clock(&self, to: Instant) {
        sqlx::query("update test_clock set shows = $1").bind(to).execute(&self.pool).await.expect("an instant");
    }

    /// Begins anew, as if nothing had ever been told.
    pub async fn begin_anew(&self) {
        sqlx::raw_sql(
            "do $$ declare name text; begin
               -- neither what keeps rows for ever nor what checks references is asked.
               set local session_replication_role = replica;
               for name in select tablename from pg_tables where schemaname = 'public' loop
                 execute format('delete from public.%I', name);
               end loop;
               for name in select tablename from pg_tables where schemaname = 'beginning' and tablename <> 'sequences told' loop
                 execute format('insert into public.%1$I overriding system value select * from beginning.%1$I', name);
               end loop;
               perform setval(sequence, at, is_used) from beginning.\"sequences told\";
             end $$",
        )
        .execute(&self.pool)
        .await
        .expect("an empty database");
    }

    /// When something was recorded last.
    pub async fn last_recorded(&self) -> Instant {
        let last =
            "select greatest((select max(recorded_at) from usage_batch), (select recorded_at from recorded_alone))";
        sqlx::query(last).fetch_one(&self.pool).await.expect("an instant").get(0)
    }

    pub async fn drop_it(self) {
        self.pool.close().await;
        on_server(&self.server, format!("drop database {} with (force)", self.name)).await;
    }
}
