-- per time of recording: how many sums of the rollups, as known then, differ from those over the events.
with known as (
  select distinct recorded_at as known_at from usage_batch
), present as (
  -- the last state recorded by then, else the event as first reported
  select k.known_at, e.event_key, coalesce(s.voided, false) as voided,
    coalesce(s.occurred_at, e.occurred_at) as occurred_at, coalesce(s.dimension_id, e.dimension_id) as dimension_id,
    coalesce(s.customer_id, e.customer_id) as customer_id,
    case when s.event_key is null then e.input_tokens else s.input_tokens end as input_tokens,
    case when s.event_key is null then e.cached_input_tokens else s.cached_input_tokens end as cached_input_tokens,
    case when s.event_key is null then e.output_tokens else s.output_tokens end as output_tokens,
    case when s.event_key is null then e.reasoning_tokens else s.reasoning_tokens end as reasoning_tokens,
    case when s.event_key is null then e.requests else s.requests end as requests,
    case when s.event_key is null then e.other_quantities else s.other_quantities end as other_quantities
  from known k
  join usage_batch b on b.recorded_at <= k.known_at
  join usage_event e on e.batch_id = b.batch_id
  left join lateral (
    select s.* from usage_state s join usage_batch sb using (batch_id)
    where s.event_key = e.event_key and sb.recorded_at <= k.known_at
    order by sb.recorded_at desc, s.batch_id desc limit 1
  ) s on true
), meters as (
  select known_at, date_trunc('hour', occurred_at, 'UTC') as bucket, dimension_id, customer_id, m.meter, m.quantity
  from present p cross join lateral (
    values ('events', 1::numeric), ('input_tokens', p.input_tokens), ('cached_input_tokens', p.cached_input_tokens),
      ('output_tokens', p.output_tokens), ('reasoning_tokens', p.reasoning_tokens), ('requests', p.requests)
    union all select o.key, o.value::numeric from jsonb_each_text(p.other_quantities) o
  ) m (meter, quantity)
  where not voided
), expected as (
  select known_at, bucket, dimension_id, customer_id, meter, sum(quantity) as quantity from meters
  group by known_at, bucket, dimension_id, customer_id, meter having sum(quantity) <> 0
), rolled as (
  select k.known_at, r.bucket, r.dimension_id, r.customer_id, m.meter, sum(m.quantity) as quantity
  from known k
  join usage_batch b on b.recorded_at <= k.known_at
  join usage_rollup r on r.batch_id = b.batch_id
  cross join lateral (
    values ('events', r.events::numeric), ('input_tokens', r.input_tokens),
      ('cached_input_tokens', r.cached_input_tokens), ('output_tokens', r.output_tokens),
      ('reasoning_tokens', r.reasoning_tokens), ('requests', r.requests)
    union all select o.key, o.value::numeric from jsonb_each_text(r.other_quantities) o
  ) m (meter, quantity)
  group by k.known_at, r.bucket, r.dimension_id, r.customer_id, m.meter having sum(m.quantity) <> 0
), differing as (
  (select * from expected except select * from rolled) union all (select * from rolled except select * from expected)
)
select k.known_at, count(d.known_at) from known k left join differing d using (known_at) group by k.known_at
