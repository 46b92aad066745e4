-- sums usage by bucket, deployment, product, service tier and meter, as known at a cutoff, after the last sum of the
-- page before.
--   $1, $2 from whole hour to whole hour, of whole buckets within the span, which starts at $10
--   $3 the bucket: total, hour or day
--   $4 to $8 cloud, channel, deployment, product and meter; null: all
--   $9 the cutoff
--   $11 to $17 the last sum of the page before, by what the sums are ordered by; null: there is none
--   $18 how many at most
with wanted as (
  select d.dimension_id, d.deployment, d.product, d.service_tier, k.cloud, k.channel
  from usage_dimension d join deployment k on k.deployment_id = d.deployment and k.recorded_at <= $9
  where ($4::text is null or k.cloud = $4) and ($5::text is null or k.channel = $5)
    and ($6::text is null or d.deployment = $6) and ($7::text is null or d.product = $7)
    -- one bucket alone: what stands before the last sum of the page before is not summed again
    and ($3 <> 'total' or $12::text is null
      or (k.cloud collate "C", k.channel collate "C", d.deployment collate "C", d.product collate "C",
          d.service_tier collate "C") >= ($12, $13, $14, $15, $16))
), delta as not materialized (
  select case $3 when 'hour' then r.bucket when 'day' then date_trunc('day', r.bucket, 'UTC') else $10 end
           as starts_at, r.*
  from usage_rollup r join usage_batch b on b.batch_id = r.batch_id and b.recorded_at <= $9
  where r.bucket >= $1 and r.bucket < $2
), column_sum as (
  select starts_at, dimension_id, sum(input_tokens) as input_tokens,
         sum(cached_input_tokens) as cached_input_tokens, sum(output_tokens) as output_tokens,
         sum(reasoning_tokens) as reasoning_tokens, sum(requests) as requests
  from delta join wanted using (dimension_id) group by 1, 2
-- once, whatever the planner expects: it is summed from far more rows than it has
), metered as materialized (
  select s.starts_at, s.dimension_id, m.meter, m.quantity
  from column_sum s cross join lateral (
    values ('input_tokens', s.input_tokens), ('cached_input_tokens', s.cached_input_tokens),
           ('output_tokens', s.output_tokens), ('reasoning_tokens', s.reasoning_tokens),
           ('requests', s.requests)
  ) as m(meter, quantity)
  union all
  select t.starts_at, t.dimension_id, o.key, sum(o.value::numeric)
  from delta t join wanted using (dimension_id) cross join lateral jsonb_each_text(t.other_quantities) o
  where t.other_quantities is not null group by 1, 2, 3
)
select m.starts_at as "starts_at!", w.cloud as "cloud!", w.channel as "channel!",
       w.deployment as "deployment!", w.product as "product!", w.service_tier as "service_tier!",
       m.meter as "meter!", sum(m.quantity)::text as "quantity!"
from metered m join wanted w using (dimension_id)
where ($8::text is null or m.meter = $8)
  and ($11::timestamptz is null
    or (m.starts_at, w.cloud collate "C", w.channel collate "C", w.deployment collate "C",
        w.product collate "C", w.service_tier collate "C", m.meter collate "C")
      > ($11, $12, $13, $14, $15, $16, $17::text))
group by 1, 2, 3, 4, 5, 6, 7
having sum(m.quantity) <> 0
order by 1, w.cloud collate "C", w.channel collate "C", w.deployment collate "C", w.product collate "C",
  w.service_tier collate "C", m.meter collate "C"
limit $18
