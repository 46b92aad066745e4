-- sums usage by segment of the timeline and by all that can decide on its price, as known at a cutoff.
-- whole hours come from the rollup deltas; an hour with an edge in it, or with a context band that a threshold
-- divides, is opened down to its events.
--   $1 edges of the timeline: segment i is [edges[i], edges[i + 1])
--   $2 starts of the hours in which an edge falls other than at their start
--   $3 the cutoff
--   $4, $5 context thresholds: product and number of tokens, exclusive
--   $6 the meters that belong to the context of a request
with threshold as (
  select t.product, t.over from unnest($4::text[], $5::bigint[]) as t(product, over)
), known_batch as (
  select batch_id from usage_batch where recorded_at <= $3
), known_dimension as (
  -- as known at the cutoff: a mapping recorded later does not count yet
  select d.dimension_id, d.deployment, d.product, d.service_tier
  from usage_dimension d
  join deployment on deployment_id = d.deployment and deployment.recorded_at <= $3
  join product on product_id = d.product and product.recorded_at <= $3
), opened as (
  -- hours with an edge in them, and hours with a band that a later threshold divides; opened whole, so
  -- that nothing is counted both in a sum and alone
  select distinct r.bucket, r.dimension_id
  from usage_rollup r
  join known_batch using (batch_id)
  join known_dimension d using (dimension_id)
  where r.bucket = any($2::timestamptz[])
     or (r.bucket >= ($1::timestamptz[])[1] and r.bucket < ($1::timestamptz[])[cardinality($1::timestamptz[])]
         and exists (select from threshold t
           where t.product = d.product and t.over > r.context_over and t.over < r.context_up_to))
), whole_hour as (
  select width_bucket(r.bucket, $1::timestamptz[]) - 1 as segment, r.dimension_id, r.customer_id,
         -- the highest threshold that the band exceeds
         coalesce((select max(t.over) from threshold t where t.product = d.product and t.over <= r.context_over), 0)
           as context_over,
         r.input_tokens, r.cached_input_tokens, r.output_tokens, r.reasoning_tokens, r.requests, r.other_quantities
  from usage_rollup r
  join known_batch using (batch_id)
  join known_dimension d using (dimension_id)
  where r.bucket >= ($1::timestamptz[])[1] and r.bucket < ($1::timestamptz[])[cardinality($1::timestamptz[])]
    and not exists (select from opened o where o.bucket = r.bucket and o.dimension_id = r.dimension_id)
), event as (
  -- each event as known at the cutoff: its last state recorded by then, else as first reported
  select s.occurred_at, s.dimension_id, s.customer_id, s.input_tokens, s.cached_input_tokens,
         s.output_tokens, s.reasoning_tokens, s.requests, s.other_quantities
  from (
    select distinct on (event_key) * from usage_state join known_batch using (batch_id)
    order by event_key, batch_id desc
  ) s
  where not s.voided
  union all
  select e.occurred_at, e.dimension_id, e.customer_id, e.input_tokens, e.cached_input_tokens,
         e.output_tokens, e.reasoning_tokens, e.requests, e.other_quantities
  from usage_event_online e
  join known_batch using (batch_id)
  where usage_is_online((select range_agg(tstzrange(bucket, bucket + interval '1 hour'))
      from (select distinct bucket from opened) o))
    and exists (select from opened o where o.dimension_id = e.dimension_id
      and e.occurred_at >= o.bucket and e.occurred_at < o.bucket + interval '1 hour')
    and not exists (select from usage_state s join known_batch using (batch_id) where s.event_key = e.event_key)
), single as (
  select e.*, d.product,
         e.input_tokens::bigint + e.cached_input_tokens + coalesce((select sum(value::numeric)
           from jsonb_each_text(e.other_quantities) where key = any($6::text[])), 0)
           as context_tokens
  from event e join known_dimension d using (dimension_id)
), item as (
  select segment, dimension_id, customer_id, context_over, input_tokens, cached_input_tokens, output_tokens,
         reasoning_tokens, requests, other_quantities
  from whole_hour
  union all
  select width_bucket(s.occurred_at, $1::timestamptz[]) - 1, s.dimension_id, s.customer_id,
         coalesce((select max(t.over) from threshold t where t.product = s.product and t.over < s.context_tokens), 0),
         s.input_tokens, s.cached_input_tokens, s.output_tokens, s.reasoning_tokens, s.requests, s.other_quantities
  from single s
  where exists (select from opened o where o.dimension_id = s.dimension_id
      and s.occurred_at >= o.bucket and s.occurred_at < o.bucket + interval '1 hour')
    and s.occurred_at >= ($1::timestamptz[])[1]
    and s.occurred_at < ($1::timestamptz[])[cardinality($1::timestamptz[])]
), column_sum as (
  -- summed by numbers before any name or meter is looked at: few rows are left to sort
  select segment, dimension_id, customer_id, context_over, sum(input_tokens) as input_tokens,
         sum(cached_input_tokens) as cached_input_tokens, sum(output_tokens) as output_tokens,
         sum(reasoning_tokens) as reasoning_tokens, sum(requests) as requests
  from item group by 1, 2, 3, 4
), metered as (
  select s.segment, s.dimension_id, s.customer_id, s.context_over, m.meter, m.quantity
  from column_sum s cross join lateral (
    values ('input_tokens', s.input_tokens), ('cached_input_tokens', s.cached_input_tokens),
           ('output_tokens', s.output_tokens), ('reasoning_tokens', s.reasoning_tokens), ('requests', s.requests)
  ) as m(meter, quantity)
  union all
  select i.segment, i.dimension_id, i.customer_id, i.context_over, o.key, sum(o.value::numeric)
  from item i cross join lateral jsonb_each_text(i.other_quantities) o
  where i.other_quantities is not null
  group by 1, 2, 3, 4, 5
)
select m.segment as "segment!", d.deployment as "deployment!", d.product as "product!",
       d.service_tier as "service_tier!", c.customer as "customer!", m.context_over as "context_over!",
       m.meter as "meter!", sum(m.quantity)::text as "quantity!"
from metered m
join known_dimension d using (dimension_id)
join usage_customer c using (customer_id)
group by 1, 2, 3, 4, 5, 6, 7
having sum(m.quantity) <> 0
-- by bytes, as the digest of a settlement's input must not depend on the server's locale
order by 1, d.deployment collate "C", d.product collate "C", d.service_tier collate "C", c.customer collate "C", 6,
  m.meter collate "C"
