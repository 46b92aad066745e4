-- findings: usage that breaks a right of a contract. where and when usage breaks one is computed from the
-- agreements, so findings are not stored; what people decide on them is, with every event that it covers.

create table finding_decision (
  decision_id bigint generated always as identity primary key,
  -- the group of findings that was decided on: a right, a product, a deployment and a day
  finding_id text not null check (finding_id ~ '^[0-9a-f]{16}$'),
  contract_id text not null,
  right_id text not null,
  product text not null references product,
  deployment text not null references deployment,
  day date not null,                   -- local to the contract's zone
  decision text not null check (decision in ('release', 'reject')),
  on_breach text not null check (on_breach in ('report', 'hold')),
  why text not null,                   -- how the usage broke the right, as known at the cutoff
  events bigint not null check (events > 0),
  -- what of the group was recorded by then is covered, and nothing later
  cutoff timestamptz not null,
  recorded_at timestamptz not null check (recorded_at > cutoff),
  decided_by text not null check (decided_by <> ''),
  reason text not null check (reason <> '' and char_length(reason) <= 2000),
  unique (decision_id, contract_id, right_id)
);
create index finding_decision_contract on finding_decision (contract_id, day);

-- a finding is a right and an event: it is decided once, and the decision follows the event's corrections.
create table finding_decision_event (
  contract_id text not null,
  right_id text not null,
  event_key uuid not null references usage_event,
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

call make_append_only('finding_decision', 'finding_decision_event');

-- the events that break rights of a contract, as known at an instant: one row for each right and event, with what
-- was decided by then. the spans of time in which usage of a product at a deployment breaks a right come in as
-- arrays of equal length; those of one right do not overlap.
create function breaching_event(of_contract text, known_at timestamptz, rights text[], deployments text[],
  products text[], starts timestamptz[], ends timestamptz[])
returns table (right_id text, event_key uuid, occurred_at timestamptz, dimension_id integer, customer_id integer,
  input_tokens integer, cached_input_tokens integer, output_tokens integer, reasoning_tokens integer,
  requests integer, other_quantities jsonb, decision text)
language sql stable as $$
  with breach as (
    select d.dimension_id, b.right_id, b.starts_at, b.ends_at
    from unnest(rights, deployments, products, starts, ends) as b(right_id, deployment, product, starts_at, ends_at)
    join usage_dimension d using (deployment, product)
  ), known_batch as (
    select batch_id from usage_batch where recorded_at <= known_at
  ), opened as (
    -- only hours in which there is such usage are looked into
    select distinct r.bucket, r.dimension_id
    from usage_rollup r
    join known_batch using (batch_id)
    join breach b on b.dimension_id = r.dimension_id
      and r.bucket < b.ends_at and r.bucket + interval '1 hour' > b.starts_at
  ), opened_span as (
    select min(bucket) as first, max(bucket) + interval '1 hour' as last from opened
  ), event as (
    -- each event as known then: its last state recorded by then, else as first reported
    select s.* from (
      select distinct on (event_key) event_key, voided, occurred_at, dimension_id, customer_id, input_tokens,
             cached_input_tokens, output_tokens, reasoning_tokens, requests, other_quantities
      from usage_state join known_batch using (batch_id)
      where exists (select from opened)
      order by event_key, batch_id desc
    ) s
    where not s.voided
    union all
    select e.event_key, false, e.occurred_at, e.dimension_id, e.customer_id, e.input_tokens, e.cached_input_tokens,
           e.output_tokens, e.reasoning_tokens, e.requests, e.other_quantities
    from usage_event e
    join known_batch using (batch_id)
    where e.occurred_at >= (select first from opened_span) and e.occurred_at < (select last from opened_span)
      -- equal keys, so that it is one look into a hash
      and (e.dimension_id, date_trunc('hour', e.occurred_at, 'UTC')) in (select dimension_id, bucket from opened)
      and not exists (select from usage_state s join known_batch using (batch_id) where s.event_key = e.event_key)
  )
  select b.right_id, e.event_key, e.occurred_at, e.dimension_id, e.customer_id, e.input_tokens,
         e.cached_input_tokens, e.output_tokens, e.reasoning_tokens, e.requests, e.other_quantities, d.decision
  from event e
  join breach b on b.dimension_id = e.dimension_id and e.occurred_at >= b.starts_at and e.occurred_at < b.ends_at
  left join finding_decision_event f
    on (f.contract_id, f.right_id, f.event_key) = (of_contract, b.right_id, e.event_key)
    and exists (select from finding_decision k where k.decision_id = f.decision_id and k.recorded_at <= known_at)
  left join finding_decision d using (decision_id)
$$;

-- the events that are held back from the bases of a contract, each once: those that break a right which holds them
-- and were not released of it, and those that were rejected, wherever corrections have moved them.
create function held_event(of_contract text, known_at timestamptz, rights text[], deployments text[],
  products text[], starts timestamptz[], ends timestamptz[])
returns table (event_key uuid, occurred_at timestamptz, dimension_id integer, customer_id integer,
  input_tokens integer, cached_input_tokens integer, output_tokens integer, reasoning_tokens integer,
  requests integer, other_quantities jsonb)
language sql stable as $$
  with rejected as (
    select distinct f.event_key
    from finding_decision d join finding_decision_event f using (decision_id)
    where d.contract_id = of_contract and d.decision = 'reject' and d.on_breach = 'hold' and d.recorded_at <= known_at
  )
  select distinct on (h.event_key) h.*
  from (
    select b.event_key, b.occurred_at, b.dimension_id, b.customer_id, b.input_tokens, b.cached_input_tokens,
           b.output_tokens, b.reasoning_tokens, b.requests, b.other_quantities
    from breaching_event(of_contract, known_at, rights, deployments, products, starts, ends) b
    where b.decision is distinct from 'release'
    union all
    select e.event_key, coalesce(s.occurred_at, e.occurred_at), coalesce(s.dimension_id, e.dimension_id),
           coalesce(s.customer_id, e.customer_id), coalesce(s.input_tokens, e.input_tokens),
           coalesce(s.cached_input_tokens, e.cached_input_tokens), coalesce(s.output_tokens, e.output_tokens),
           coalesce(s.reasoning_tokens, e.reasoning_tokens), coalesce(s.requests, e.requests),
           case when s.event_key is null then e.other_quantities else s.other_quantities end
    from rejected r
    join usage_event e using (event_key)
    left join lateral (
      select st.* from usage_state st join usage_batch sb using (batch_id)
      where st.event_key = e.event_key and sb.recorded_at <= known_at
      order by st.batch_id desc limit 1
    ) s on true
    where not coalesce(s.voided, false)
  ) h
  order by h.event_key
$$;
