-- archives of usage: the events of a sealed generation in a file beside postgres. what they add up to, who they are, and what
-- corrects or decides on them stays here; events that were dropped come back from their file, hour by hour where wanted.

-- the file that a sealed generation was written to, read back from and found equal. where it lies is for those who keep it.
create table usage_archive (
  generation integer primary key references usage_generation,
  file_name text not null unique check (file_name <> ''),
  file_bytes bigint not null check (file_bytes > 0),
  file_sha256 bytea not null check (length(file_sha256) = 32),
  events bigint not null check (events >= 0),
  archived_at timestamptz not null,
  archived_by text not null check (archived_by <> '')
);
create trigger of_a_sealed_one before insert on usage_archive
  for each row execute function refuse_open_generation();

-- who the events of an archive are, so that one that is reported again is known: their keys in their order, and at the same
-- places what tells a duplicate from a conflict, and in which hour since 1970 each occurred. few to a row: each is read whole.
create table usage_archive_identity (
  generation integer not null references usage_archive,
  first_key uuid not null,
  event_keys bytea not null check (octet_length(event_keys) % 16 = 0 and octet_length(event_keys) between 16 and 16 * 48),
  content_hashes bytea not null check (octet_length(content_hashes) = octet_length(event_keys)),
  hours bytea not null check (octet_length(hours) * 4 = octet_length(event_keys)),
  primary key (generation, first_key)
);

-- writes them down; returns of how many events.
create function identify_archived_usage(of_generation integer) returns bigint language sql volatile as $$
  with event as (
    select e.event_key, e.content_hash,
           int4send((extract(epoch from date_trunc('hour', e.occurred_at, 'UTC')) / 3600)::integer) as hour,
           (row_number() over (order by e.event_key) - 1) / 48 as place
    from usage_event_row e join usage_generation g on g.generation = of_generation
    where e.batch_id >= g.first_batch and e.batch_id < g.first_batch + 10000000000
  ), identified as (
    insert into usage_archive_identity (generation, first_key, event_keys, content_hashes, hours)
    select of_generation, (array_agg(event_key order by event_key))[1],
           string_agg(uuid_send(event_key), '' order by event_key),
           string_agg(uuid_send(content_hash), '' order by event_key), string_agg(hour, '' order by event_key)
    from event group by place
    returning octet_length(event_keys) / 16 as events
  )
  select coalesce(sum(events), 0)::bigint from identified
$$;

-- those of some keys under which archives have an event that came in some batches and may be offline.
create function archived_usage(keys uuid[], from_batch bigint default 0, until_batch bigint default 9223372036854775807)
returns table (event_key uuid, content_hash uuid, bucket timestamptz, generation integer) language sql stable as $$
  select k.key, encode(substr(i.content_hashes, n * 16 + 1, 16), 'hex')::uuid,
         to_timestamp(('x' || encode(substr(i.hours, n * 4 + 1, 4), 'hex'))::bit(32)::integer * 3600.0), g.generation
  from usage_generation g
  cross join unnest(keys) k (key)
  cross join lateral (
    select * from usage_archive_identity i where i.generation = g.generation and i.first_key <= k.key
    order by i.first_key desc limit 1
  ) i
  cross join lateral generate_series(0, octet_length(i.event_keys) / 16 - 1) n
  where g.first_batch >= from_batch and g.first_batch < until_batch
    and exists (select from usage_offline_hour h where h.generation = g.generation)
    and substr(i.event_keys, n * 16 + 1, 16) = uuid_send(k.key)
$$;

-- as usage_is_online, of the events that have some keys.
create function usage_keys_are_online(keys uuid[]) returns boolean language plpgsql stable as $$
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

-- as usage_is_online, of the events that came in a batch.
create function usage_batch_is_online(batch bigint) returns boolean language plpgsql stable as $$
declare
  missing timestamptz[];
  archives integer[];
begin
  select array_agg(h.bucket order by h.bucket), array_agg(distinct h.generation) into missing, archives
    from usage_offline_hour h
    where h.generation = (batch - 1) / 10000000000 + 1
      and exists (select from usage_rollup_row r where r.bucket = h.bucket and r.batch_id = batch);
  if missing is not null then
    perform refuse_offline_usage(missing, archives);
  end if;
  return true;
end $$;

-- an hour goes offline before any event of it goes, once an archive tells who all events of its generation are; and it comes
-- back once all of its events have.
alter table usage_offline_hour add foreign key (generation) references usage_archive;
create function refuse_partial_hours() returns trigger language plpgsql as $$
begin
  if exists (
    select from changed c
      left join (
        select date_trunc('hour', e.occurred_at, 'UTC') as bucket, (e.batch_id - 1) / 10000000000 + 1 as generation,
               count(*) as events
        from usage_event_row e
        where e.batch_id > (select min(generation) - 1 from changed) * 10000000000
          and e.batch_id <= (select max(generation) from changed) * 10000000000
          and e.occurred_at >= (select min(bucket) from changed)
          and e.occurred_at < (select max(bucket) + interval '1 hour' from changed)
        group by 1, 2
      ) n using (bucket, generation)
    where c.events is distinct from n.events) then
    raise exception '%: not all events of an hour are here', tg_table_name using errcode = 'restrict_violation';
  end if;
  if exists (
    select from (select distinct generation from changed) c join usage_archive a using (generation)
    where a.events <> (select coalesce(sum(octet_length(i.event_keys) / 16), 0) from usage_archive_identity i
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

-- what was dropped and brought back, by whom and why: whole hours, of which the first and the last are told.
create table usage_archive_change (
  change_id bigint generated always as identity primary key,
  generation integer not null references usage_archive,
  change text not null check (change in ('drop', 'restore')),
  first_bucket timestamptz not null,
  last_bucket timestamptz not null check (last_bucket >= first_bucket),
  events bigint not null check (events >= 0),
  changed_at timestamptz not null,
  changed_by text not null check (changed_by <> ''),
  reason text not null check (reason <> '' and char_length(reason) <= 2000)
);
create index usage_archive_change_generation on usage_archive_change (generation, change_id);

call make_append_only('usage_archive', 'usage_archive_identity', 'usage_archive_change');
