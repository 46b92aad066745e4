-- archives of usage: the events of a sealed generation in a file beside postgres (usage_archive of 0001_usage.sql). what they
-- add up to, who they are, and what corrects or decides on them stays here; events that were dropped come back from their
-- file, hour by hour where wanted.

-- who the events of an archive are, so that one that is reported again is known: their keys in their order, and at the same
-- places what tells a duplicate from a conflict, and in which hour since 1970 each occurred. few to a row: each is read whole.
create table usage_archive_identity (
  generation integer not null references usage_archive,
  first_key uuid not null,
  event_keys uuid[] not null check (cardinality(event_keys) > 0 and array_position(event_keys, null) is null),
  content_hashes uuid[] not null
    check (cardinality(content_hashes) = cardinality(event_keys) and array_position(content_hashes, null) is null),
  hours integer[] not null check (cardinality(hours) = cardinality(event_keys) and array_position(hours, null) is null),
  primary key (generation, first_key)
);

-- writes them down; returns of how many events.
create function identify_archived_usage(of_generation integer) returns bigint language sql volatile as $$
  with event as (
    select e.event_key, e.content_hash,
           (extract(epoch from date_trunc('hour', e.occurred_at, 'UTC')) / 3600)::integer as hour,
           (row_number() over (order by e.event_key) - 1) / 48 as place
    from usage_event_row e join usage_generation g on g.generation = of_generation
    where e.batch_id >= g.first_batch and e.batch_id < g.first_batch + 10000000000
  ), identified as (
    insert into usage_archive_identity (generation, first_key, event_keys, content_hashes, hours)
    select of_generation, (array_agg(event_key order by event_key))[1], array_agg(event_key order by event_key),
           array_agg(content_hash order by event_key), array_agg(hour order by event_key)
    from event group by place
    returning cardinality(event_keys) as events
  )
  select coalesce(sum(events), 0)::bigint from identified
$$;

-- those of some keys under which archives have an event that came in some batches and may be offline.
create function archived_usage(keys uuid[], from_batch bigint default 0, until_batch bigint default 9223372036854775807)
returns table (event_key uuid, content_hash uuid, bucket timestamptz, generation integer)
language sql stable parallel safe as $$
  select k.key, i.content_hashes[i.place], to_timestamp(i.hours[i.place] * 3600.0), g.generation
  from usage_generation g
  cross join unnest(keys) k (key)
  cross join lateral (
    select *, array_position(c.event_keys, k.key) as place
    from (
      select * from usage_archive_identity i where i.generation = g.generation and i.first_key <= k.key
      order by i.first_key desc limit 1
    ) c
  ) i
  where g.first_batch >= from_batch and g.first_batch < until_batch
    and exists (select from usage_offline_hour h where h.generation = g.generation)
    and i.place is not null
$$;

-- as usage_is_online, of the events that have some keys.
create function usage_keys_are_online(keys uuid[]) returns boolean language plpgsql stable parallel safe as $$
declare
  missing timestamptz[];
  archives integer[];
begin
  select array_agg(distinct a.bucket order by a.bucket), array_agg(distinct a.generation) into missing, archives
    from archived_usage(keys) a
    where not exists (select from usage_event_row e where e.event_key = a.event_key);
  if missing is not null then
    perform refuse_offline_usage(missing, archives);
  end if;
  return true;
end $$;

-- as usage_is_online, of the events that came in a batch. what the batch added to the sums of their hours may have been
-- nothing, so that these do not tell where they are.
create function usage_batch_is_online(batch bigint) returns boolean language plpgsql stable parallel safe as $$
declare
  missing timestamptz[];
  archives integer[];
begin
  if (select stored + stored_unresolved from usage_batch where batch_id = batch)
      > (select count(*) from usage_event_row where batch_id = batch) then
    select array_agg(h.bucket order by h.bucket), array_agg(distinct h.generation) into missing, archives
      from usage_offline_hour h where h.generation = (batch - 1) / 10000000000 + 1;
    perform refuse_offline_usage(missing, archives);
  end if;
  return true;
end $$;

-- what some events say, whatever their order: the same before they go and once they are back.
create function usage_event_digest(e usage_event_row) returns numeric language sql stable parallel safe as $$
  select ('x' || left(md5(concat_ws(',', e.event_key, e.content_hash, (extract(epoch from e.occurred_at) * 1000000)::bigint,
    e.batch_id, e.dimension_id, e.customer_id, e.input_tokens, e.cached_input_tokens, e.output_tokens, e.reasoning_tokens, e.requests,
    encode(e.packed_id, 'hex'), e.other_quantities)), 16))::bit(64)::bigint::numeric
$$;

-- an hour goes offline before any event of it goes, once an archive tells who all events of its generation are; and it comes
-- back once all of its events have, as they were.
create function refuse_partial_hours() returns trigger language plpgsql as $$
begin
  if exists (
    select from changed c
      left join (
        select date_trunc('hour', e.occurred_at, 'UTC') as bucket, (e.batch_id - 1) / 10000000000 + 1 as generation,
               count(*) as events, sum(usage_event_digest(e)) as digest
        from usage_event_row e
        where e.batch_id > (select min(generation) - 1 from changed) * 10000000000
          and e.batch_id <= (select max(generation) from changed) * 10000000000
          and e.occurred_at >= (select min(bucket) from changed)
          and e.occurred_at < (select max(bucket) + interval '1 hour' from changed)
        group by 1, 2
      ) n using (bucket, generation)
    where (c.events, c.digest) is distinct from (n.events, n.digest)) then
    raise exception '%: not all events of an hour are here as they were', tg_table_name using errcode = 'restrict_violation';
  end if;
  if exists (
    select from (select distinct generation from changed) c join usage_archive a using (generation)
    where a.events <> (select coalesce(sum(cardinality(i.event_keys)), 0) from usage_archive_identity i
      where i.generation = c.generation)) then
    raise exception '%: of some events of the archive nothing tells who they are', tg_table_name
      using errcode = 'restrict_violation';
  end if;
  return null;
end $$;
create trigger all_of_it_is_here after insert on usage_offline_hour
  referencing new table as changed for each statement execute function refuse_partial_hours();
create trigger all_of_it_is_back after delete on usage_offline_hour
  referencing old table as changed for each statement execute function refuse_partial_hours();
create trigger append_only before update or truncate on usage_offline_hour
  for each statement execute function refuse_change();

-- what here names an event, so that it stays: whoever asks by that finds it. records name more (see drop_events).
create view usage_event_named as
  select target_key as event_key from usage_amendment
  union all select event_key from usage_state
  union all select event_key from usage_interval
  union all select event_key from finding_decision_event
  union all select event_key from record where event_key is not null
  union all select r.event_key from double_report join usage_reply r using (reply_key)
  union all select event_key from usage_rejection where event_key is not null;

-- which hours were dropped and brought back, by whom and why.
create table usage_archive_change (
  change_id bigint generated always as identity primary key,
  generation integer not null references usage_archive,
  change text not null check (change in ('drop', 'restore')),
  hours timestamptz[] not null check (cardinality(hours) > 0),
  changed_at timestamptz not null,
  changed_by text not null check (changed_by <> ''),
  reason text not null check (reason <> '' and char_length(reason) <= 2000)
);
create index usage_archive_change_generation on usage_archive_change (generation, change_id);

call make_append_only('usage_archive_identity', 'usage_archive_change');
