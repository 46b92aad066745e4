-- sums usage by span of time and by all that contracts select by and prices depend on, as known at a
-- cutoff. whole hours come from the rollup deltas; an hour with an edge in it, or with a context band that a
-- threshold divides, is opened down to its events. records of intervals are left to be looked at one by one.
--   $1 edges of the spans and of the gaps between them: segment i is [edges[i], edges[i + 1])
--   $2 starts of the hours in which an edge falls other than at their start
--   $3 the cutoff
--   $4, $5 context thresholds: product and number of tokens, exclusive
--   $6 which segments are asked for
--   $7 the meters that belong to the context of a request
with threshold as (
  select t.product, t.over from unnest($4::text[], $5::bigint[]) as t(product, over)
), known_batch as (
  select batch_id from usage_batch where recorded_at <= $3
), known_dimension as (
  -- as known at the cutoff: a mapping recorded later does not count yet. those that differ in source or outcome
  -- alone are summed as one
  select d.dimension_id, d.deployment, d.product, d.service_tier, d.attributes,
         min(d.dimension_id) over (partition by d.deployment, d.product, d.service_tier, d.attributes) as sum_id
  from usage_dimension d
  join deployment on deployment_id = d.deployment and deployment.recorded_at <= $3
  join product on product_id = d.product and product.recorded_at <= $3
  where not d.is_interval
), opened as (
  -- hours with an edge in them, and hours with a band that a later threshold divides; opened whole, so
  -- that nothing is counted both in a sum and alone
  select distinct r.bucket, r.dimension_id
  from usage_rollup r
  join known_batch using (batch_id)
  join known_dimension d using (dimension_id)
  where r.bucket = any($2::timestamptz[])
     or (r.bucket >= ($1::timestamptz[])[1] and r.bucket < ($1::timestamptz[])[cardinality($1::timestamptz[])]
         and ($6::boolean[])[width_bucket(r.bucket, $1::timestamptz[])]
         and exists (select from threshold t
           where t.product = d.product and t.over > r.context_over and t.over < r.context_up_to))
), whole_hour as (
  select width_bucket(r.bucket, $1::timestamptz[]) - 1 as segment, d.sum_id, r.customer_id,
         -- the highest threshold that the band exceeds
         coalesce((select max(t.over) from threshold t where t.product = d.product and t.over <= r.context_over), 0)
           as context_over,
         r.input_tokens, r.cached_input_tokens, r.output_tokens, r.reasoning_tokens, r.requests, r.other_quantities
  from usage_rollup r
  join known_batch using (batch_id)
  join known_dimension d using (dimension_id)
  where r.bucket >= ($1::timestamptz[])[1] and r.bucket < ($1::timestamptz[])[cardinality($1::timestamptz[])]
    and ($6::boolean[])[width_bucket(r.bucket, $1::timestamptz[])]
    and not exists (select from opened o where o.bucket = r.bucket and o.dimension_id = r.dimension_id)
), event as (
  -- each event as known at the cutoff: its last state recorded by then, else as first reported
  select s.occurred_at, s.dimension_id, s.customer_id, s.input_tokens, s.cached_input_tokens,
         s.output_tokens, s.reasoning_tokens, s.requests, s.other_quantities
  from opened o
  join usage_state s on s.dimension_id = o.dimension_id
    and s.occurred_at >= o.bucket and s.occurred_at < o.bucket + interval '1 hour'
  join known_batch using (batch_id)
  where not s.voided
    and not exists (select from usage_state later join known_batch using (batch_id)
      where later.event_key = s.event_key and later.batch_id > s.batch_id)
  union all
  select e.occurred_at, e.dimension_id, e.customer_id, e.input_tokens, e.cached_input_tokens,
         e.output_tokens, e.reasoning_tokens, e.requests, e.other_quantities
  from opened o
  join usage_event_online e on e.dimension_id = o.dimension_id
    and e.occurred_at >= o.bucket and e.occurred_at < o.bucket + interval '1 hour'
  join known_batch using (batch_id)
  where usage_is_online((select range_agg(tstzrange(bucket, bucket + interval '1 hour'))
      from (select distinct bucket from opened) o))
    and not exists (select from usage_state s join known_batch using (batch_id) where s.event_key = e.event_key)
), single as (
  select e.*, d.sum_id, d.product,
         e.input_tokens::bigint + e.cached_input_tokens + coalesce((select sum(value::numeric)
           from jsonb_each_text(e.other_quantities) where key = any($7::text[])), 0)
           as context_tokens
  from event e join known_dimension d using (dimension_id)
), item as (
  select segment, sum_id, customer_id, context_over, input_tokens, cached_input_tokens, output_tokens,
         reasoning_tokens, requests, other_quantities
  from whole_hour
  union all
  select width_bucket(s.occurred_at, $1::timestamptz[]) - 1, s.sum_id, s.customer_id,
         coalesce((select max(t.over) from threshold t where t.product = s.product and t.over < s.context_tokens), 0),
         s.input_tokens, s.cached_input_tokens, s.output_tokens, s.reasoning_tokens, s.requests, s.other_quantities
  from single s
  where s.occurred_at >= ($1::timestamptz[])[1]
    and s.occurred_at < ($1::timestamptz[])[cardinality($1::timestamptz[])]
    and ($6::boolean[])[width_bucket(s.occurred_at, $1::timestamptz[])]
), column_sum as (
  -- summed by numbers before any name is looked at: few rows are left to sort
  select segment, sum_id, customer_id, context_over, sum(input_tokens) as input_tokens,
         sum(cached_input_tokens) as cached_input_tokens, sum(output_tokens) as output_tokens,
         sum(reasoning_tokens) as reasoning_tokens, sum(requests) as requests
  from item group by 1, 2, 3, 4
), other_sum as (
  select segment, sum_id, customer_id, context_over, jsonb_object_agg(meter, quantity::text) as other_quantities
  from (
    select i.segment, i.sum_id, i.customer_id, i.context_over, o.key as meter, sum(o.value::numeric) as quantity
    from item i cross join lateral jsonb_each_text(i.other_quantities) o
    where i.other_quantities is not null
    group by 1, 2, 3, 4, 5
  ) m
  where quantity <> 0
  group by 1, 2, 3, 4
)
select s.segment as "segment!", d.deployment as "deployment!", d.product as "product!",
       d.service_tier as "service_tier!", d.attributes as "attributes!", c.customer as "customer!",
       s.context_over as "context_over!", s.input_tokens::text as "input_tokens!",
       s.cached_input_tokens::text as "cached_input_tokens!", s.output_tokens::text as "output_tokens!",
       s.reasoning_tokens::text as "reasoning_tokens!", s.requests::text as "requests!",
       o.other_quantities as "other_quantities?"
from column_sum s
left join other_sum o using (segment, sum_id, customer_id, context_over)
join known_dimension d on d.dimension_id = s.sum_id
join usage_customer c using (customer_id)
where (s.input_tokens, s.cached_input_tokens, s.output_tokens, s.reasoning_tokens, s.requests) <> (0, 0, 0, 0, 0)
   or o.other_quantities is not null
-- by bytes, as the digest of a settlement's input must not depend on the server's locale
order by 1, d.deployment collate "C", d.product collate "C", d.service_tier collate "C", c.customer collate "C", 7,
  d.attributes::text collate "C"
