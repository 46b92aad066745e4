-- sums usage that breaks rights of a contract by segment of a timeline and by all that can decide on its price, as
-- known at a cutoff: for each right what nobody has decided on, or, where $7 asks for it, what is held back (then
-- without a right, each event once). opened down to its events: no bucket decides anything.
--   $1 edges of the timeline: segment i is [edges[i], edges[i + 1])
--   $2 the contract, $3 the cutoff
--   $4 the spans in which usage breaks a right
--   $5, $6 context thresholds: product and number of tokens, exclusive
--   $8 the meters that belong to the context of a request
with threshold as (
  select t.product, t.over from unnest($5::text[], $6::bigint[]) as t(product, over)
), known_dimension as (
  -- as known at the cutoff: a mapping recorded later does not count yet
  select d.dimension_id, d.deployment, d.product, d.service_tier, d.attributes, d.is_interval
  from usage_dimension d
  join deployment on deployment_id = d.deployment and deployment.recorded_at <= $3
  join product on product_id = d.product and product.recorded_at <= $3
), event as (
  select b.right_id, b.occurred_at, b.dimension_id, b.customer_id, b.input_tokens, b.cached_input_tokens,
         b.output_tokens, b.reasoning_tokens, b.requests, b.other_quantities
  from breaching_event($2, $3, $4) b
  where not $7 and b.verdict is null
  union all
  select '', h.occurred_at, h.dimension_id, h.customer_id, h.input_tokens, h.cached_input_tokens,
         h.output_tokens, h.reasoning_tokens, h.requests, h.other_quantities
  from held_event($2, $3, $4) h
  where $7
), item as (
  select e.right_id, width_bucket(e.occurred_at, $1::timestamptz[]) - 1 as segment, d.deployment, d.product,
         d.service_tier, d.attributes, e.customer_id,
         coalesce((select max(t.over) from threshold t where t.product = d.product and t.over <
           e.input_tokens::bigint + e.cached_input_tokens + coalesce((select sum(value::numeric)
             from jsonb_each_text(e.other_quantities) where key = any($8::text[])), 0)), 0)
           as context_over,
         e.input_tokens, e.cached_input_tokens, e.output_tokens, e.reasoning_tokens, e.requests, e.other_quantities
  from event e
  join known_dimension d using (dimension_id)
  where e.occurred_at >= ($1::timestamptz[])[1]
    and e.occurred_at < ($1::timestamptz[])[cardinality($1::timestamptz[])]
    -- what is held of records of intervals is told one by one
    and not ($7 and d.is_interval)
), metered as (
  select i.right_id, i.segment, i.deployment, i.product, i.service_tier, i.attributes, i.customer_id, i.context_over,
         m.meter, m.quantity
  from item i cross join lateral (
    values ('input_tokens', i.input_tokens::numeric), ('cached_input_tokens', i.cached_input_tokens),
           ('output_tokens', i.output_tokens), ('reasoning_tokens', i.reasoning_tokens), ('requests', i.requests)
    union all
    select o.key, o.value::numeric from jsonb_each_text(i.other_quantities) as o
  ) as m(meter, quantity)
)
select m.right_id as "right_id!", m.segment as "segment!", m.deployment as "deployment!", m.product as "product!",
       m.service_tier as "service_tier!", m.attributes as "attributes!", c.customer as "customer!",
       m.context_over as "context_over!", m.meter as "meter!", sum(m.quantity)::text as "quantity!"
from metered m
join usage_customer c using (customer_id)
group by 1, 2, 3, 4, 5, 6, 7, 8, 9
having sum(m.quantity) <> 0
-- by bytes, as the digest of a settlement's input must not depend on the server's locale
order by m.right_id collate "C", 2, m.deployment collate "C", m.product collate "C", m.service_tier collate "C",
  m.attributes, c.customer collate "C", m.context_over, m.meter collate "C"
