-- what dashboards read: views of the schema reporting, and a role that may read these and nothing else.
--
-- amounts are numeric, for display: what is owed stands in the statements' documents. views run with the rights
-- of their owner, who migrated: a reader needs no right on any table.

-- roles belong to the whole server, and several of its databases may be migrated at once. the role is altered
-- only by who made it, in the same transaction: whoever else sees it sees it whole.
do $$
begin
  if not exists (select from pg_roles where rolname = 'apportion_readonly') then
    begin
      -- without a password: the server lets nobody in before an administrator sets one
      create role apportion_readonly login connection limit 20;
      alter role apportion_readonly set default_transaction_read_only = on;
      alter role apportion_readonly set statement_timeout = '30s';
      comment on role apportion_readonly is 'reads the schema reporting of databases of apportion, for dashboards';
    exception
      when duplicate_object or unique_violation then null; -- another database of this server was quicker
      when insufficient_privilege then
        raise exception 'the role apportion_readonly does not exist, and % may not create it', current_user
          using errcode = 'insufficient_privilege',
                hint = 'as an administrator make it, as dashboards/README.md says, and migrate again';
    end;
  end if;
end $$;

create schema reporting;
comment on schema reporting is 'what dashboards read, through the role apportion_readonly';
grant usage on schema reporting to apportion_readonly;
-- for the views below, and for those of later migrations
alter default privileges in schema reporting grant select on tables to apportion_readonly;

-- an exact number of a document as a decimal: `1/3` has no finite one, and is shown with 20 digits or so.
create function reporting.shown(exact text) returns numeric language sql immutable strict parallel safe
  return case when strpos(exact, '/') = 0 then exact::numeric
    else split_part(exact, '/', 1)::numeric / split_part(exact, '/', 2)::numeric end;

create view reporting.cloud as select cloud_id as cloud, operator from cloud;
comment on view reporting.cloud is 'clouds of the register, for choosing one';

create view reporting.contract as
  select contract_id as contract, count(*) as versions, min(effective_at) as begins_at,
    max(effective_at) as last_version_at
  from contract_version group by 1;
comment on view reporting.contract is 'contracts and the number of their versions, for choosing one';

create view reporting.term as
  with version as (
    -- in force is the highest number that is effective
    select contract_id, number, effective_at, min(effective_at) over (partition by contract_id order by number
        rows between 1 following and unbounded following) as followed_at
    from contract_version
  )
  select contract_id as contract, number as version, t.term_id as term, t.kind, t.heading,
    array_to_string(t.parties, ', ') as parties, greatest(t.starts_at, v.effective_at) as starts_at,
    least(t.ends_at, v.followed_at) as ends_at
  from contract_term t join version v using (contract_id, number)
  -- a term that another version followed before it began never holds
  where v.followed_at is null or greatest(t.starts_at, v.effective_at) < v.followed_at;
comment on view reporting.term is
  'from when to when each term holds: its own dates within those of its version; no end where none is known';

-- what mappings know today. whoever settles asks what they knew at a cutoff. these read the rows of rollups rather than the
-- view of them, which would ask for the rights of whoever looks.
create view reporting.usage_hour as
  select r.bucket as hour, k.cloud, k.channel, k.deployment_id as deployment, p.product_id as product, d.service_tier,
    sum(c.events)::bigint as events,
    sum(c.input_tokens::numeric + c.cached_input_tokens + c.output_tokens + c.reasoning_tokens
      + coalesce(o.tokens, 0)) as tokens
  from usage_rollup_row r cross join lateral by_customer(r) c
  join usage_dimension d using (dimension_id)
  join deployment k on k.deployment_id = d.deployment
  join product p on p.product_id = d.product
  left join lateral (select sum(value::numeric) as tokens from jsonb_each_text(c.other_quantities)
    where key like '%\_tokens') o on true
  group by 1, 2, 3, 4, 5, 6;
comment on view reporting.usage_hour is
  'usage events and tokens of all token meters by the hour in which they occurred, after corrections';

create view reporting.meter_hour as
  select r.bucket as hour, k.cloud, k.channel, k.deployment_id as deployment, p.product_id as product, d.service_tier,
    m.meter, sum(m.quantity) as quantity
  from usage_rollup_row r cross join lateral by_customer(r) c
  join usage_dimension d using (dimension_id)
  join deployment k on k.deployment_id = d.deployment
  join product p on p.product_id = d.product
  cross join lateral (
    values ('input_tokens', c.input_tokens::numeric), ('cached_input_tokens', c.cached_input_tokens),
      ('output_tokens', c.output_tokens), ('reasoning_tokens', c.reasoning_tokens), ('requests', c.requests)
    union all
    select key, value::numeric from jsonb_each_text(c.other_quantities)
  ) m (meter, quantity)
  group by 1, 2, 3, 4, 5, 6, 7 having sum(m.quantity) <> 0;
comment on view reporting.meter_hour is 'quantities by meter and by the hour in which they occurred, after corrections';

create view reporting.availability_hour as
  select r.bucket as hour, k.cloud,
    coalesce(sum(c.events) filter (where d.outcome = 'ok'), 0)::bigint as ok,
    coalesce(sum(c.events) filter (where d.outcome = 'error'), 0)::bigint as error,
    coalesce(sum(c.events) filter (where d.outcome is null), 0)::bigint as not_reported
  from usage_rollup_row r cross join lateral by_customer(r) c
  join usage_dimension d using (dimension_id)
  join deployment k on k.deployment_id = d.deployment
  group by 1, 2;
comment on view reporting.availability_hour is
  'usage events by the outcome that they report: availability is ok / (ok + error), where any is reported';

create view reporting.unresolved_usage as
  select d.source, d.deployment, d.product,
    exists (select from deployment k where k.deployment_id = d.deployment) as deployment_known,
    exists (select from product p where p.product_id = d.product) as product_known,
    sum(c.events)::bigint as events, min(r.bucket) as first_hour, max(r.bucket) as last_hour
  from usage_rollup_row r cross join lateral by_customer(r) c
  join usage_dimension d using (dimension_id)
  where not exists (select from deployment k where k.deployment_id = d.deployment)
    or not exists (select from product p where p.product_id = d.product)
  group by 1, 2, 3 having sum(c.events) <> 0;
comment on view reporting.unresolved_usage is
  'usage whose deployment or product the register does not name: it counts nowhere, and blocks the close';

create view reporting.outcome as
  select b.recorded_at, b.batch_id, b.intake, o.outcome, o.messages
  from usage_batch b cross join lateral (
    values ('stored', b.stored), ('stored_unresolved', b.stored_unresolved), ('duplicate', b.duplicate),
      ('conflict', b.conflict), ('correction_applied', b.correction_applied),
      ('correction_waiting', b.correction_waiting), ('void_applied', b.void_applied),
      ('void_waiting', b.void_waiting), ('no_usage', b.no_usage), ('rejected', b.rejected)
  ) o (outcome, messages)
  -- a retry takes in messages that were counted when they were rejected
  where b.intake <> 'retry' and o.messages > 0;
comment on view reporting.outcome is 'what became of the messages of each batch';

create view reporting.rejection as
  select b.recorded_at, r.position, r.reason, r.detail, t.taken_at
  from usage_rejection r
  join usage_batch b using (batch_id)
  left join usage_rejection_retry t using (rejection_id);
comment on view reporting.rejection is
  'rejected messages, where they stand and why, without what they held; taken_at where a retry took them in since';

create view reporting.rejected_record as
  select rejection_id, recorded_at, position, times, state, reason, detail from rejected_record;
comment on view reporting.rejected_record is
  'rejected records, once each however often they were read: as last rejected, how often, and what became of them since';

create view reporting.conflict as
  select b.recorded_at, c.position, c.source, c.event_id
  from usage_conflict c join usage_batch b using (batch_id);
comment on view reporting.conflict is 'messages under the id of another one: the first stands';

create view reporting.partition_offset as select cluster_id, topic, partition, next_offset from kafka_offset;
comment on view reporting.partition_offset is 'how far each partition of Kafka is stored';

create view reporting.settled_period as
  select s.contract_id as contract, s.period, min(s.period_start) as period_start, max(s.period_end) as period_end,
    count(*) as settlements, max(s.settled_at) as last_settled_at, max(s.cutoff) as last_cutoff, c.closed_at, c.closed_by
  from settlement s left join period_close c using (contract_id, period)
  group by s.contract_id, s.period, c.closed_at, c.closed_by;
comment on view reporting.settled_period is 'periods that were settled, how often, as known at what, and their close';

-- a statement as it stands: its last revision. not for readers, as documents name clauses in full.
create view reporting.statement_document as
  select s.statement_id, s.contract_id, s.party_a, s.party_b, s.currency, s.period, s.period_start, t.revision, t.status,
    t.changed_by, t.changed_at, g.unresolved_events, r.content::jsonb as document
  from statement s
  join lateral (select * from statement_status where statement_id = s.statement_id
    order by sequence desc limit 1) t on true
  join statement_revision r on r.statement_id = s.statement_id and r.revision = t.revision
  join settlement g using (settlement_id);
revoke select on reporting.statement_document from apportion_readonly;

create view reporting.statement as
  select statement_id, contract_id as contract, party_a, party_b, currency, period, period_start, revision, status,
    changed_by, changed_at, unresolved_events
  from reporting.statement_document;
comment on view reporting.statement is 'statements with their last status';

create view reporting.statement_total as
  select s.statement_id, s.contract_id as contract, s.period, s.period_start, s.status, t ->> 'payer' as payer,
    t ->> 'payee' as payee, s.currency, reporting.shown(t ->> 'amount') as amount,
    reporting.shown(t ->> 'carried_in') as carried_in, reporting.shown(t ->> 'payable') as payable,
    reporting.shown(t ->> 'carried_out') as carried_out, (t ->> 'due_on')::date as due_on
  from reporting.statement_document s cross join lateral jsonb_array_elements(s.document -> 'totals') t;
comment on view reporting.statement_total is 'what one party is to pay the other by each statement';

create view reporting.statement_line as
  select s.statement_id, s.contract_id as contract, s.period, s.period_start, s.status, l ->> 'term' as term,
    l ->> 'payer' as payer, l ->> 'payee' as payee, s.currency, l ->> 'origin_period' as origin_period,
    reporting.shown(l ->> 'amount') as amount, reporting.shown(l ->> 'booked_before') as booked_before,
    reporting.shown(l ->> 'accrued') as accrued
  from reporting.statement_document s cross join lateral jsonb_array_elements(s.document -> 'lines') l;
comment on view reporting.statement_line is 'the lines of each statement: a term''s amount of an origin period';

-- what an origin period yields is what the last statement says that has a line of it. a statement has a line
-- for each term of its own period and for each other origin period with news.
create view reporting.origin_line as
  select distinct on (s.contract_id, l ->> 'term', l ->> 'payer', l ->> 'payee', l ->> 'origin_period')
    s.statement_id, s.contract_id, s.currency, l ->> 'term' as term, l ->> 'payer' as payer, l ->> 'payee' as payee,
    l ->> 'origin_period' as origin_period, o.period_start as origin_start, reporting.shown(l ->> 'accrued') as accrued,
    l -> 'details' as details, l -> 'parts' as parts
  from reporting.statement_document s
  cross join lateral jsonb_array_elements(s.document -> 'lines') l
  -- an origin period was settled itself, or something that arose in it was booked
  left join lateral (
    select period_start from settlement where contract_id = s.contract_id and period = l ->> 'origin_period'
    union all
    select origin_start from booked_line where contract_id = s.contract_id and origin_period = l ->> 'origin_period'
    limit 1
  ) o on true
  order by s.contract_id, l ->> 'term', l ->> 'payer', l ->> 'payee', l ->> 'origin_period', s.period_start desc;
revoke select on reporting.origin_line from apportion_readonly;

create view reporting.accrual as
  select contract_id as contract, term, payer, payee, currency, origin_period, origin_start, accrued
  from reporting.origin_line;
comment on view reporting.accrual is 'what each term accrued in each period in which it arose, as settled last, unrounded';

create view reporting.base_part as
  select o.contract_id as contract, o.term, o.origin_period, o.origin_start,
    p ->> 'what' as what, p ->> 'cloud' as cloud, p ->> 'channel' as channel, p ->> 'product' as product,
    p ->> 'unit' as unit, reporting.shown(p ->> 'amount') as amount
  -- the line of each payee of a term tells the same parts
  from (select distinct on (contract_id, term, origin_period) * from reporting.origin_line
    order by contract_id, term, origin_period, payee) o
  cross join lateral jsonb_array_elements(o.parts) p;
comment on view reporting.base_part is
  'what each term''s base is made of, by cloud, channel and product, as settled last: the revenue that is shared; no unit where it is a number, as of usage';

create view reporting.cap_use as
  select o.contract_id as contract, o.term, o.currency, o.origin_period, o.origin_start,
    (d ->> 'version')::integer as version, (d #>> '{span,start}')::timestamptz as starts_at,
    (d #>> '{span,end}')::timestamptz as ends_at, reporting.shown(d #>> '{cap,limit}') as cap_limit,
    reporting.shown(d #>> '{cap,before}') as used_before, reporting.shown(d #>> '{cap,after}') as used_after
  from reporting.origin_line o cross join lateral jsonb_array_elements(o.details) d
  where jsonb_typeof(d -> 'cap') = 'object';
comment on view reporting.cap_use is 'how far each cap was used up before and after each period, as settled last';

create view reporting.finding_watch as select contract_id as contract, known_at from finding_watch;
comment on view reporting.finding_watch is 'as known at what the findings of each contract were looked at last';

create view reporting.finding as
  select s.finding_id, s.contract_id as contract, s.right_id, t.kind, s.product, k.cloud, s.deployment, s.day,
    s.on_breach, array_to_string(s.why, '; ') as why, s.events, s.first_at, s.last_at, s.quantities, s.unpriced, o.opened_at, s.known_at as changed_at,
    w.known_at
  from (select distinct on (finding_id) * from finding_state order by finding_id, known_at desc) s
  join finding_watch w using (contract_id)
  join deployment k on k.deployment_id = s.deployment
  -- since it was open without a break
  cross join lateral (
    select min(o.known_at) as opened_at from finding_state o
    where o.finding_id = s.finding_id and o.known_at > coalesce((select max(n.known_at) from finding_state n
      where n.finding_id = s.finding_id and n.events = 0 and n.known_at < s.known_at), '-infinity')
  ) o
  left join lateral (
    select kind from contract_term t where (t.contract_id, t.term_id) = (s.contract_id, s.right_id)
    order by number desc limit 1
  ) t on true;
comment on view reporting.finding is
  'groups of usage that breaks a right, as a job saw them last: open where there are events, else decided or ended';

create view reporting.finding_amount as
  select f.finding_id, f.contract_id as contract, f.right_id, f.on_breach, a.key as currency,
    reporting.shown(a.value) as amount
  from (select distinct on (finding_id) * from finding_state order by finding_id, known_at desc) f
  cross join lateral jsonb_each_text(f.amounts) a;
comment on view reporting.finding_amount is 'what is charged for the usage of each open group of findings, by currency';

create view reporting.finding_decision as
  select decision_id, finding_id, contract_id as contract, right_id, product, deployment, day, verdict, on_breach, events,
    recorded_at as decided_at, decided_by, reason
  from finding_decision;
comment on view reporting.finding_decision is 'what people decided on findings; what was held counts where it was released';

create view reporting.invoice as
  select i.number, i.kind, i.issuer, i.payer, s.contract_id as contract, s.period, s.period_start, s.currency, i.issued_on,
    i.due_on, i.total, t.status,
    i.kind = 'invoice' and i.due_on < current_date and t.status <> 'settled' as overdue
  from invoice i
  join statement s using (statement_id)
  join lateral (select status from statement_status where statement_id = s.statement_id
    order by sequence desc limit 1) t on true;
comment on view reporting.invoice is
  'invoices and credit notes with the status of their statement; overdue where due before today and not settled';

create view reporting.job_run as
  select r.run_id, r.job, r.contract_id as contract, r.period, r.due_at, r.attempt, r.holder, r.started_by, r.started_at,
    e.ended_at, coalesce(outcome_of(e, l), 'running') as outcome, e.detail
  from job_run r
  left join job_run_end e using (run_id)
  left join job_lease l using (run_id);
comment on view reporting.job_run is 'runs of scheduled jobs and how they ended; running or lost where they have not';

create view reporting.table_size as
  select c.relname::text as "table", pg_total_relation_size(c.oid) as bytes, pg_table_size(c.oid) as table_bytes,
    pg_indexes_size(c.oid) as index_bytes, greatest(c.reltuples, 0)::bigint as rows_estimated
  from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind = 'r';
comment on view reporting.table_size is 'tables with the room that they take, indexes included';

create view reporting.database_activity as
  select d.numbackends as connections, current_setting('max_connections')::integer as connections_limit,
    pg_database_size(d.datid) as bytes, d.deadlocks, d.xact_commit as commits, d.xact_rollback as rollbacks,
    d.blks_hit as blocks_cached, d.blks_read as blocks_read, d.temp_bytes, d.stats_reset
  from pg_stat_database d where d.datname = current_database();
comment on view reporting.database_activity is 'what Postgres counts of this database since its counters began';
