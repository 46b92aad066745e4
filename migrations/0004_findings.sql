-- findings: usage that breaks a right of a contract. where and when usage breaks one is computed from the
-- agreements, so findings are not stored; what people decide on them is, with every event that it covers.

create table finding_decision (
  decision_id bigint generated always as identity primary key,
  -- the group of findings that was decided on: a right, a product, a deployment and a day
  finding_id text not null check (finding_id ~ '^[0-9a-f]{16}$'),
  contract_id text not null references contract,
  right_id text not null,
  product text not null references product,
  deployment text not null references deployment,
  day date not null,                   -- local to the contract's zone
  verdict text not null check (verdict in ('release', 'reject')),
  on_breach text not null check (on_breach in ('report', 'hold')),
  -- how the usage broke the right, as known at the cutoff: more than one way where that changed within the day
  why text[] not null check (cardinality(why) > 0),
  events bigint not null check (events > 0),
  -- what of the group was recorded by then is covered, and nothing later
  cutoff timestamptz not null,
  recorded_at timestamptz not null check (recorded_at > cutoff),
  decided_by text not null check (decided_by <> ''),
  reason text not null check (reason <> '' and char_length(reason) <= 2000),
  unique (decision_id, contract_id, right_id)
);
create index finding_decision_contract on finding_decision (contract_id, day);
create index finding_decision_finding on finding_decision (finding_id);

-- a finding is a right and an event: it is decided once, and the decision follows the event's corrections.
create table finding_decision_event (
  contract_id text not null,
  right_id text not null,
  event_key uuid not null,             -- of an event, see names_an_event
  decision_id bigint not null,
  primary key (contract_id, right_id, event_key),
  foreign key (decision_id, contract_id, right_id) references finding_decision (decision_id, contract_id, right_id)
);
create index finding_decision_event_decision on finding_decision_event (decision_id);

-- the events of a decision are written at once, and as many as it says.
create function refuse_other_events() returns trigger language plpgsql as $$
begin
  if exists (select from finding_decision d where d.decision_id in (select n.decision_id from new_event n)
      and d.events <> (select count(*) from finding_decision_event e where e.decision_id = d.decision_id)) then
    raise exception 'a decision covers as many events as it says, written at once' using errcode = 'check_violation';
  end if;
  return null;
end $$;
create trigger as_many_as_it_says after insert on finding_decision_event
  referencing new table as new_event for each statement execute function refuse_other_events();
create trigger names_an_event after insert on finding_decision_event
  referencing new table as added for each statement execute function refuse_unknown_events();

call make_append_only('finding_decision', 'finding_decision_event');
call record_after_what_is_known('finding_decision');

-- what records decide on single events of a contract, as known at an instant: of each right and event the last decision
-- that is not voided, as corrected. where there is one it stands before what was decided on the event's group.
create function recorded_verdict(of_contract text, known_at timestamptz)
returns table (right_id text, event_key uuid, verdict text)
language sql stable as $$
  with amendment as (
    select a.* from record a
    where a.target is not null and a.recorded_at <= recorded_verdict.known_at
  ), decision as (
    select r.sequence, r.content || coalesce(c.restated, '{}') as content, coalesce(c.event_key, r.event_key) as event_key
    from record r
    cross join lateral (
      -- of equal fields the last one stays
      select jsonb_object_agg(f.field, f.restated order by c.sequence)
               filter (where f.field in ('contract', 'right', 'decision')) as restated,
             (array_agg(c.event_key order by c.sequence desc) filter (where c.event_key is not null))[1] as event_key
      from amendment c cross join jsonb_each(c.content) as f(field, restated)
      where c.kind = 'correction' and (c.source, c.target) = (r.source, r.record_id)
        and not exists (select from amendment v
          where v.kind = 'void' and (v.source, v.target) = (c.source, c.record_id))
    ) c
    where r.kind = 'decision' and r.recorded_at <= recorded_verdict.known_at
      and not exists (select from amendment v
        where v.kind = 'void' and (v.source, v.target) = (r.source, r.record_id))
  )
  select distinct on (d.content ->> 'right', d.event_key)
         d.content ->> 'right', d.event_key, d.content ->> 'decision'
  from decision d
  where d.content ->> 'contract' = of_contract
  order by d.content ->> 'right', d.event_key, d.sequence desc
$$;

-- a span of time in which usage of a product at a deployment breaks a right. those of one right do not overlap.
create type breach_span as (right_id text, deployment text, product text, starts_at timestamptz, ends_at timestamptz);

-- which usage was recorded in some batches: rows come batch by batch, so that a narrow index finds them.
create index usage_rollup_batch on usage_rollup_row using brin (batch_id);

-- the events that break rights of a contract, as known at an instant: one row for each right and event, with the
-- verdict on it by then.
create function breaching_event(of_contract text, known_at timestamptz, breaches breach_span[])
returns table (right_id text, event_key uuid, occurred_at timestamptz, dimension_id integer, customer_id integer,
  input_tokens integer, cached_input_tokens integer, output_tokens integer, reasoning_tokens integer,
  requests integer, other_quantities jsonb, verdict text)
language sql stable as $$
  with breach as (
    -- of bare columns, so that an index answers for each
    select d.dimension_id, b.right_id, b.starts_at, b.starts_at - interval '1 hour' as hour_before, b.ends_at
    from unnest(breaches) as b
    join usage_dimension d using (deployment, product)
  ), known_batch as (
    select batch_id from usage_batch where recorded_at <= known_at
  ), opened as (
    -- only hours in which there is such usage are looked into
    select distinct r.bucket, r.dimension_id
    from usage_rollup r
    join known_batch using (batch_id)
    join breach b on b.dimension_id = r.dimension_id
      and r.bucket > b.hour_before and r.bucket < b.ends_at
    where r.bucket > (select min(hour_before) from breach)
      and r.bucket < (select max(ends_at) from breach)
  ), opened_span as (
    select min(bucket) as first, max(bucket) + interval '1 hour' as last from opened
  ), event as (
    -- each event as known then: its last state recorded by then, else as first reported
    select s.* from (
      select distinct on (event_key) event_key, voided, occurred_at, dimension_id, customer_id, input_tokens,
             cached_input_tokens, output_tokens, reasoning_tokens, requests, other_quantities
      from usage_state join known_batch using (batch_id)
      -- of those alone that some state puts there
      where event_key in (select p.event_key from usage_state p
        where p.occurred_at >= (select first from opened_span) and p.occurred_at < (select last from opened_span))
      order by event_key, batch_id desc
    ) s
    where not s.voided
    union all
    select e.event_key, false, e.occurred_at, e.dimension_id, e.customer_id, e.input_tokens, e.cached_input_tokens,
           e.output_tokens, e.reasoning_tokens, e.requests, e.other_quantities
    from usage_event_online e
    join known_batch using (batch_id)
    where usage_is_online((select range_agg(tstzrange(bucket, bucket + interval '1 hour'))
        from (select distinct bucket from opened) o))
      and e.occurred_at >= (select first from opened_span) and e.occurred_at < (select last from opened_span)
      -- equal keys, so that it is one look into a hash
      and (e.dimension_id, date_trunc('hour', e.occurred_at, 'UTC')) in (select dimension_id, bucket from opened)
      and not exists (select from usage_state s join known_batch using (batch_id) where s.event_key = e.event_key)
  )
  select b.right_id, e.event_key, e.occurred_at, e.dimension_id, e.customer_id, e.input_tokens,
         e.cached_input_tokens, e.output_tokens, e.reasoning_tokens, e.requests, e.other_quantities,
         coalesce(v.verdict, d.verdict)
  from event e
  join breach b on b.dimension_id = e.dimension_id and e.occurred_at >= b.starts_at and e.occurred_at < b.ends_at
  left join finding_decision_event f
    on (f.contract_id, f.right_id, f.event_key) = (of_contract, b.right_id, e.event_key)
    and exists (select from finding_decision k where k.decision_id = f.decision_id and k.recorded_at <= known_at)
  left join finding_decision d using (decision_id)
  left join recorded_verdict(of_contract, known_at) v on (v.right_id, v.event_key) = (b.right_id, e.event_key)
$$;

-- the events that are held back from the bases of a contract, each once: those that break a right which holds them
-- and were not released of it, and those that were rejected, wherever corrections have moved them.
create function held_event(of_contract text, known_at timestamptz, breaches breach_span[])
returns table (event_key uuid, occurred_at timestamptz, dimension_id integer, customer_id integer,
  input_tokens integer, cached_input_tokens integer, output_tokens integer, reasoning_tokens integer,
  requests integer, other_quantities jsonb)
language sql stable as $$
  with rejected as (
    select distinct f.event_key
    from finding_decision d join finding_decision_event f using (decision_id)
    where d.contract_id = of_contract and d.verdict = 'reject' and d.on_breach = 'hold' and d.recorded_at <= known_at
      and not exists (select from recorded_verdict(of_contract, known_at) v
        where (v.right_id, v.event_key) = (d.right_id, f.event_key) and v.verdict = 'release')
  )
  select distinct on (h.event_key) h.*
  from (
    select b.event_key, b.occurred_at, b.dimension_id, b.customer_id, b.input_tokens, b.cached_input_tokens,
           b.output_tokens, b.reasoning_tokens, b.requests, b.other_quantities
    from breaching_event(of_contract, known_at, breaches) b
    where b.verdict is distinct from 'release'
    union all
    select e.event_key, coalesce(s.occurred_at, e.occurred_at), coalesce(s.dimension_id, e.dimension_id),
           coalesce(s.customer_id, e.customer_id), coalesce(s.input_tokens, e.input_tokens),
           coalesce(s.cached_input_tokens, e.cached_input_tokens), coalesce(s.output_tokens, e.output_tokens),
           coalesce(s.reasoning_tokens, e.reasoning_tokens), coalesce(s.requests, e.requests),
           case when s.event_key is null then e.other_quantities else s.other_quantities end
    from rejected r
    -- what a decision names stays
    join usage_event_online e using (event_key)
    left join lateral (
      select st.* from usage_state st join usage_batch sb using (batch_id)
      where st.event_key = e.event_key and sb.recorded_at <= known_at
      order by st.batch_id desc limit 1
    ) s on true
    where not coalesce(s.voided, false)
  ) h
  order by h.event_key
$$;

-- what people watch of findings over time: a job looks at those of a contract as known at a watermark, and writes
-- down each group that is not as it was seen last. what is owed never follows from these two tables.
create table finding_watch (
  contract_id text primary key references contract,
  -- all that was recorded by then was looked at
  known_at timestamptz not null
);
create trigger moves_forward before update on finding_watch for each row
  when (new.known_at <= old.known_at or new.contract_id <> old.contract_id) execute function refuse_moving_back();
create trigger stays before delete or truncate on finding_watch
  for each statement execute function refuse_moving_back();

-- a group of findings as it was from then on: what of it nobody had decided on.
create table finding_state (
  finding_id text not null check (finding_id ~ '^[0-9a-f]{16}$'),
  known_at timestamptz not null,
  contract_id text not null references finding_watch,
  right_id text not null,
  product text not null references product,
  deployment text not null references deployment,
  day date not null,                   -- local to the contract's zone
  on_breach text not null check (on_breach in ('report', 'hold')),
  why text[] not null check (cardinality(why) > 0),
  -- none where all of it was decided on, or no longer breaks the right
  events bigint not null check (events >= 0),
  first_at timestamptz not null,
  last_at timestamptz not null check (last_at >= first_at),
  -- exact, as text: by meter, and what is charged by currency
  quantities jsonb not null check (jsonb_typeof(quantities) = 'object'),
  amounts jsonb not null check (jsonb_typeof(amounts) = 'object'),
  -- some of it has no price, so that the amounts are too low
  unpriced boolean not null,
  primary key (finding_id, known_at),
  check (events > 0 or (quantities = '{}' and amounts = '{}' and not unpriced))
);
create index finding_state_contract on finding_state (contract_id, finding_id, known_at desc);

-- states are written as they are seen, none for an instant that the watch has passed.
create function refuse_past_state() returns trigger language plpgsql as $$
begin
  if not exists (select from finding_watch w
      where (w.contract_id, w.known_at) = (new.contract_id, new.known_at)) then
    raise exception 'finding %: contract % is not watched as known at %', new.finding_id, new.contract_id, new.known_at
      using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger seen_by_the_watch before insert on finding_state
  for each row execute function refuse_past_state();

call make_append_only('finding_state');

-- replies that more than one event reports, each since when it is known to be. a job looks for them batch by batch, as no
-- batch waits until all others were asked. whether what the events state is the same, and which of them stand, is computed.
create table double_report (
  reply_key uuid primary key,
  recorded_at timestamptz not null
);
create index double_report_recorded_at on double_report (recorded_at, reply_key);

create function refuse_single_reports() returns trigger language plpgsql as $$
begin
  if exists (select from added a
      where not exists (select from usage_reply r join usage_reply o using (reply_key)
        where r.reply_key = a.reply_key and o.event_key <> r.event_key)) then
    raise exception 'one event reports a reply that is said to be reported more than once' using errcode = 'check_violation';
  end if;
  return null;
end $$;
create trigger more_than_one_reports_it after insert on double_report
  referencing new table as added for each statement execute function refuse_single_reports();

-- one row: how far the job has looked. all that was recorded by then was looked at.
create table double_report_watch (
  known_at timestamptz not null,
  only_row boolean primary key default true check (only_row)
);
insert into double_report_watch (known_at) values ('epoch');
create trigger moves_forward before update on double_report_watch for each row
  when (new.known_at <= old.known_at) execute function refuse_moving_back();
create trigger stays before delete or truncate on double_report_watch
  for each statement execute function refuse_moving_back();

-- what people say of events that report one reply: all that were recorded by the cutoff count, and none that came later.
create table double_report_waiver (
  waiver_id bigint generated always as identity primary key,
  reply_key uuid not null references double_report,
  cutoff timestamptz not null,
  recorded_at timestamptz not null check (recorded_at > cutoff),
  waived_by text not null check (waived_by <> ''),
  reason text not null check (reason <> '' and char_length(reason) <= 2000)
);
create index double_report_waiver_reply on double_report_waiver (reply_key);

call make_append_only('double_report', 'double_report_waiver');
call record_after_what_is_known('double_report', 'double_report_waiver');
