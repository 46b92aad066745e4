-- usage as reported, for ever: events, corrections and voids, what became of each message, exact rollups,
-- and how far each kafka partition and file has been read. tables are append-only, but for those that say what is
-- known by now: offsets, positions in files, the watermark, and the payloads of rejections, which expire; and for events, which
-- may lie in a file of an archive instead.

-- refuses any change of a row that must stand for ever; attached to every append-only table.
create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% rows are never changed or removed (append-only)', tg_table_name
    using errcode = 'restrict_violation';
end $$;

create procedure make_append_only(variadic tables text[]) language plpgsql as $$
declare name text;
begin
  foreach name in array tables loop
    execute format('create trigger append_only before update or delete or truncate on %I
      for each statement execute function refuse_change()', name);
  end loop;
end $$;

-- one row: what makes this database this one. the secret keys the hash that identifies events.
create table installation (
  installation_id uuid primary key default gen_random_uuid(),
  event_key_secret bytea not null check (length(event_key_secret) = 32),
  only_row boolean not null default true unique check (only_row)
);
insert into installation (event_key_secret)
  values (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));

-- a backfill: a file of events, corrections and voids that belongs together, applied and reverted as one.
create table backfill (
  backfill_id bigint generated always as identity primary key,
  name text not null unique check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$'),
  file_name text not null check (file_name <> ''),
  file_digest bytea not null check (length(file_digest) = 32)  -- of its name, what the file holds, and how it is read
);

-- a backfill's status is what was appended last, with who did it and why.
create table backfill_status (
  backfill_id bigint not null references backfill,
  sequence integer not null check (sequence > 0),
  status text not null check (status in ('applying', 'applied', 'reverting', 'reverted')),
  changed_at timestamptz not null,
  changed_by text not null check (changed_by <> ''),
  reason text not null check (reason <> '' and char_length(reason) <= 2000),
  primary key (backfill_id, sequence)
);

-- applying -> applied -> reverting -> reverted; one that was applied in part may be reverted, and each try to revert what
-- is left is a status of its own.
create function refuse_backfill_status() returns trigger language plpgsql as $$
declare last backfill_status;
begin
  -- locks the backfill so that two changes cannot both follow the same status
  perform from backfill where backfill_id = new.backfill_id for update;
  select * into last from backfill_status where backfill_id = new.backfill_id order by sequence desc limit 1;
  if new.sequence <> coalesce(last.sequence, 0) + 1 then
    raise exception 'backfill %: its status changed meanwhile', new.backfill_id using errcode = 'serialization_failure';
  end if;
  if not coalesce(case new.status
      when 'applying' then last is null
      when 'applied' then last.status = 'applying'
      when 'reverting' then last.status in ('applying', 'applied', 'reverting')
      when 'reverted' then last.status = 'reverting' end, false) then
    raise exception 'backfill %: % does not follow %', new.backfill_id, new.status, coalesce(last.status, 'nothing')
      using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger status_follows before insert on backfill_status
  for each row execute function refuse_backfill_status();

-- one transaction's worth of input, and what became of each message in it. `recorded_at` is when we learnt
-- all of it; it never runs backwards from one committed batch to the next, nor below a cutoff that was used.
create table usage_batch (
  batch_id bigint generated always as identity primary key,
  recorded_at timestamptz not null,
  intake text not null check (intake in ('kafka', 'http', 'file', 'retry', 'backfill', 'revert')),
  messages integer not null check (messages >= 0),
  stored integer not null check (stored >= 0),
  -- stored, but no mapping knew the deployment or the product then.
  stored_unresolved integer not null check (stored_unresolved >= 0),
  duplicate integer not null check (duplicate >= 0),
  conflict integer not null check (conflict >= 0),
  -- corrections and voids whose event was known, and those that wait for theirs.
  correction_applied integer not null check (correction_applied >= 0),
  correction_waiting integer not null check (correction_waiting >= 0),
  void_applied integer not null check (void_applied >= 0),
  void_waiting integer not null check (void_waiting >= 0),
  -- as they should be, and state no usage.
  no_usage integer not null check (no_usage >= 0),
  rejected integer not null check (rejected >= 0),
  backfill_id bigint references backfill,  -- of which it is a part, or takes a part back
  constraint backfills_are_named check ((intake in ('backfill', 'revert')) = (backfill_id is not null)),
  -- every message ends as exactly one of these; one that holds several records counts as so many.
  constraint every_message_has_one_outcome check (messages = stored + stored_unresolved + duplicate + conflict
    + correction_applied + correction_waiting + void_applied + void_waiting + no_usage + rejected)
);
create index usage_batch_recorded_at on usage_batch (recorded_at);
create index usage_batch_backfill on usage_batch (backfill_id, batch_id) where backfill_id is not null;

-- a backfill gets batches while it is applied, and loses what they hold while it is reverted.
create function refuse_batch_of_backfill() returns trigger language plpgsql as $$
declare now_is text;
begin
  -- so that its status stays as it is until this is committed
  perform from backfill where backfill_id = new.backfill_id for share;
  select status into now_is from backfill_status where backfill_id = new.backfill_id order by sequence desc limit 1;
  if now_is is distinct from (case new.intake when 'backfill' then 'applying' when 'revert' then 'reverting' end) then
    raise exception 'backfill %: no batch of intake % while it is %', new.backfill_id, new.intake,
      coalesce(now_is, 'not begun') using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger as_its_backfill_stands before insert on usage_batch for each row
  when (new.backfill_id is not null) execute function refuse_batch_of_backfill();

-- the clock that says when something is recorded: one place, so that a test may put another in it. never before the
-- start of the transaction, which is the floor that is shown to those who ask what is known.
create function recording_clock() returns timestamptz language sql volatile as
  $$ select greatest(clock_timestamp(), transaction_timestamp()) $$;

-- whoever records locks this table until the commit: in row share mode beside others, in exclusive mode alone. a table,
-- as a role that has no right on it cannot lock it, while anybody may take advisory locks. it stays empty.
create table recording_gate ();

-- since when the earliest of those who record does so; null where nobody does, and before all time where it is not shown:
-- of another role's transactions, of prepared ones, and of those that began without `track_activities`, nothing is. one
-- whose process is gone meanwhile is over.
create view recording_floor as
select min(case
    when l.pid is null then '-infinity'
    when a.pid is not null and a.xact_start is null
      and (coalesce(a.state, 'disabled') = 'disabled' or a.state like 'idle in transaction%') then '-infinity'
    else a.xact_start end) as at
from pg_locks l left join pg_stat_activity a using (pid)
where l.locktype = 'relation' and l.relation = 'recording_gate'::regclass and l.granted
  and l.database = (select oid from pg_database where datname = current_database())
  and l.mode in ('RowShareLock', 'ExclusiveLock');

-- one row: how far what is recorded is known for good.
create table recording_watermark (
  -- what is recorded from now on gets a later `recorded_at`, whatever the clock says
  watermark timestamptz not null,
  -- handed out: everything up to it is committed, so that a question asked as known then keeps its answer
  known_at timestamptz not null check (known_at <= watermark),
  only_row boolean primary key default true check (only_row)
);
insert into recording_watermark (watermark, known_at) values ('epoch', 'epoch');

-- one row: when something was recorded last by one who recorded alone, other than a batch.
create table recorded_alone (
  recorded_at timestamptz not null,
  only_row boolean primary key default true check (only_row)
);
insert into recorded_alone (recorded_at) values ('epoch');

-- refuses what would change an answer that was given.
create function refuse_known_instant() returns trigger language plpgsql as $$
begin
  if new.recorded_at <= (select known_at from recording_watermark) then
    raise exception '%: what is known as of % was handed out already', tg_table_name, new.recorded_at
      using errcode = 'check_violation';
  end if;
  return new;
end $$;

create procedure record_after_what_is_known(variadic tables text[]) language plpgsql as $$
declare name text;
begin
  foreach name in array tables loop
    execute format('create trigger recorded_later before insert on %I
      for each row execute function refuse_known_instant()', name);
  end loop;
end $$;
call record_after_what_is_known('usage_batch');

-- what reported usage has in common, folded into one number. names as reported: whether a deployment or
-- product is known is decided at reading, as known at the cutoff. with the outcome in it, rollups count events
-- by outcome; no amount is ever grouped by it, nor by the rules. records of intervals have dimensions of their own, as
-- their quantities are never summed with others.
create table usage_dimension (
  dimension_id integer generated always as identity primary key,
  source text not null,
  deployment text not null,
  product text not null,
  service_tier text not null,
  -- null where the source reports none.
  outcome text check (outcome in ('ok', 'error')),
  -- what contracts select by beside these: {"country": "CH"}.
  attributes jsonb not null default '{}' check (jsonb_typeof(attributes) = 'object'),
  is_interval boolean not null default false,
  -- by which its records were normalised: the format, the version of the format's rules, and `received` where a record did
  -- not say when it occurred, and its format takes the time of receipt.
  rules text not null,
  unique nulls not distinct (source, deployment, product, service_tier, outcome, attributes, is_interval, rules)
);

-- pseudonymous customer keys; the empty one is number 0: no customer named.
create table usage_customer (
  customer_id integer primary key,
  customer text not null unique
);
create sequence usage_customer_id as integer owned by usage_customer.customer_id;
alter table usage_customer alter column customer_id set default nextval('usage_customer_id');
insert into usage_customer (customer_id, customer) values (0, '');

-- an id of 128 bits that is written as a uuid or as 32 digits takes a third of its text: it is stored behind a byte that no
-- utf-8 text begins with. any other id is stored as its text.
create function event_id_text(packed bytea) returns text language sql immutable parallel safe as $$
  select case when octet_length(packed) <> 17 then convert_from(packed, 'UTF8')
    when get_byte(packed, 0) = 255 then encode(substr(packed, 2), 'hex')::uuid::text
    when get_byte(packed, 0) = 254 then encode(substr(packed, 2), 'hex')
    else convert_from(packed, 'UTF8') end
$$;

-- usage events as first reported. there are many: wide columns first and no nulls, so that rows stay narrow, and packed
-- what may be; the view `usage_event` opens it.
-- a quantity that fits its column stands there; any other meter or a larger or fractional quantity
-- stands in other_quantities ({"meter": "decimal"}), never in both.
create table usage_event_row (
  event_key uuid not null,             -- keyed hash of (source, id)
  content_hash uuid not null,          -- of the fields as reported: tells a duplicate from a conflict
  occurred_at timestamptz not null,
  batch_id bigint not null,            -- this and the next two are keys of other tables: see below
  dimension_id integer not null,
  customer_id integer not null,
  input_tokens integer not null,
  cached_input_tokens integer not null,
  output_tokens integer not null,
  reasoning_tokens integer not null,
  requests integer not null,
  packed_id bytea not null,            -- see event_id_text
  other_quantities text not null,      -- empty where there are none
  constraint no_quantity_is_negative
    check (least(input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, requests) >= 0),
  constraint other_quantities_are_an_object check (other_quantities = '' or other_quantities is json object)
) partition by range (batch_id);
-- a bucket in which a boundary falls is opened down to its events. one index for both: each costs every row something.
create index usage_event_place on usage_event_row using brin (occurred_at, batch_id);

-- events lie in generations, each a part of the table with a unique index of its own: of one index over all events each new
-- key changes another page, once they do not fit in memory any more. the newest generation takes what comes; those before
-- it are sealed: no event is added or changed, though archived ones may go and come back (0009). a generation is a range of
-- batches, so that a row says of which it is. within one the index keeps a key from coming twice; whether a sealed one has it
-- is looked up (src/ingest/known_keys.rs).
create table usage_generation (
  generation integer primary key check (generation > 0),
  -- each has more numbers of batches than are written in centuries
  first_batch bigint not null unique check (first_batch = (generation - 1)::bigint * 10000000000 + 1)
);

-- what a sealed generation's keys are told from others by, without a look at its index: the bits of a filter, cut in parts.
create table usage_generation_filter (
  generation integer not null references usage_generation,
  format integer not null,             -- how the bits are set and read: other builds may do it otherwise
  part integer not null check (part >= 0),
  bits bytea not null,
  primary key (generation, format, part)
);
alter table usage_generation_filter alter column bits set storage external;

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

-- whether the newest generation's index takes up half of the memory in which postgres keeps pages, and a thirty-second part of
-- all of them, so that there are not ever more: time for the next one. one place, so that a test may put another in it.
create function usage_generation_is_full() returns boolean language sql stable as $$
  select max(bytes) filter (where is_newest)
    > greatest(pg_size_bytes(current_setting('shared_buffers')) / 2, pg_size_bytes('64MB'), sum(bytes) / 32)
  -- of events that were dropped what the index took up: they are asked for as the others are
  from (select greatest(pg_relation_size(format('usage_event_row_%s_pkey', generation)::regclass), a.events * 40) as bytes,
               generation = max(generation) over () as is_newest
        from usage_generation left join usage_archive a using (generation)) g
$$;

-- what is added to a generation after its filter was made is not in it.
create function refuse_open_generation() returns trigger language plpgsql as $$
begin
  if new.generation >= (select max(generation) from usage_generation) then
    raise exception '%: generation % is not sealed', tg_table_name, new.generation using errcode = 'restrict_violation';
  end if;
  return new;
end $$;
create trigger of_a_sealed_one before insert on usage_generation_filter
  for each row execute function refuse_open_generation();
create trigger of_a_sealed_one before insert on usage_archive
  for each row execute function refuse_open_generation();

-- where records of intervals end, exclusive: few events are such.
create table usage_interval (
  event_key uuid primary key,          -- of an event, see as_its_event_says
  occurred_at timestamptz not null,    -- as the event has it, so that those of a span are found
  ended_at timestamptz not null check (ended_at >= occurred_at)
);
create index usage_interval_occurred_at on usage_interval (occurred_at);

-- the hours of sealed generations of which events were dropped here, as a file has them all: see migrations/0009_archive.sql.
create table usage_offline_hour (
  generation integer not null references usage_archive,
  bucket timestamptz not null check (bucket = date_trunc('hour', bucket, 'UTC')),
  -- of the generation in that hour, in all: how many, and what they say (usage_event_digest)
  events bigint not null check (events > 0),
  digest numeric not null,
  primary key (generation, bucket)
);
create index usage_offline_hour_bucket on usage_offline_hour (bucket);

-- true, or an error where hours of some spans are offline. it is asked in the statement that reads their events, so that both
-- see one state of the database.
create function usage_is_online(spans tstzmultirange) returns boolean language plpgsql stable parallel safe as $$
declare
  missing timestamptz[];
  archives integer[];
begin
  select array_agg(h.bucket order by h.bucket), array_agg(distinct h.generation) into missing, archives
    from usage_offline_hour h
    where h.bucket > coalesce(lower(spans), '-infinity') - interval '1 hour' and h.bucket < coalesce(upper(spans), 'infinity')
      and tstzrange(h.bucket, h.bucket + interval '1 hour') && spans;
  if missing is not null then
    perform refuse_offline_usage(missing, archives);
  end if;
  return true;
end $$;

create function refuse_offline_usage(hours timestamptz[], generations integer[]) returns void
  language plpgsql stable parallel safe as $$
declare
  spelt text[];
  which text;
begin
  select array_agg(to_char(h at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') order by h) into spelt
    from (select distinct h from unnest(hours) h) of;
  -- as `apportion archive restore` takes them
  which := case when cardinality(spelt) <= 50 then '--hours ' || array_to_string(spelt, ',')
    else format('--from %s --until %s', spelt[1], to_char((select max(h) from unnest(hours) h) at time zone 'UTC'
      + interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')) end;
  raise exception 'events of % are archived: % (%)',
    case cardinality(spelt) when 1 then '1 hour' else format('%s hours', cardinality(spelt)) end, which,
    case cardinality(generations) when 1 then 'generation ' else 'generations ' end || array_to_string(generations, ', ')
    using errcode = 'UA001';
end $$;

-- whoever reads events here asks whether those it reads are online.
create view usage_event_online as
select e.event_key, e.content_hash, e.occurred_at, e.batch_id, e.dimension_id, e.customer_id, e.input_tokens,
       e.cached_input_tokens, e.output_tokens, e.reasoning_tokens, e.requests, event_id_text(e.packed_id) as event_id,
       nullif(e.other_quantities, '')::jsonb as other_quantities, i.ended_at
from usage_event_row e left join usage_interval i using (event_key);

-- all events; an error where some are not here.
create view usage_event as
select * from usage_event_online where usage_is_online('{(,)}');

-- corrections and voids as reported. one that arrives before what it names waits here.
create table usage_amendment (
  amendment_key uuid primary key,
  content_hash uuid not null,
  batch_id bigint not null references usage_batch,
  -- order of recording within the batch; the last recorded restatement of a field holds.
  place integer not null,
  source text not null,
  amendment_id text not null,
  target_key uuid not null,
  target_id text not null,
  kind text not null check (kind in ('correction', 'void')),
  restated jsonb not null,
  position text not null,              -- topic/partition@offset, file:line, key and place of a request, or of a revert
  unique (batch_id, place)
);
create index usage_amendment_target on usage_amendment (target_key);

-- what an amended event is from a batch on: the whole of it after all corrections and voids known by then.
-- one that corrections let end before it starts counts as little as a voided one, until they are put right.
-- as known at k, the last row recorded at or before k holds, else the event as first reported.
create table usage_state (
  event_key uuid not null,             -- of an event, see names_an_event
  batch_id bigint not null references usage_batch,
  voided boolean not null,
  occurred_at timestamptz not null,
  dimension_id integer not null references usage_dimension,
  customer_id integer not null references usage_customer,
  input_tokens integer not null check (input_tokens >= 0),
  cached_input_tokens integer not null check (cached_input_tokens >= 0),
  output_tokens integer not null check (output_tokens >= 0),
  reasoning_tokens integer not null check (reasoning_tokens >= 0),
  requests integer not null check (requests >= 0),
  other_quantities jsonb,
  ended_at timestamptz check (voided or ended_at >= occurred_at),
  primary key (event_key, batch_id)
);
create index usage_state_occurred_at on usage_state (occurred_at);

-- same id, other content: the first stands, this one is kept and never counts by itself.
create table usage_conflict (
  conflict_id bigint generated always as identity primary key,
  batch_id bigint not null references usage_batch,
  event_key uuid not null,
  source text not null,
  event_id text not null,
  content_hash uuid not null,
  reported jsonb not null,
  position text not null               -- topic/partition@offset, file:line, or key and place of a request
);
create index usage_conflict_event on usage_conflict (event_key);

-- what could not be taken, why, and where it stands. the payload is redacted to allow-listed fields, enough
-- to decode it again with what its carrier said, and expires.
create table usage_rejection (
  rejection_id bigint generated always as identity primary key,
  batch_id bigint not null references usage_batch,
  position text not null,
  reason text not null,
  detail text not null,
  format text not null,                -- as what it was read
  source text not null,                -- the source that configuration names where it was read; empty where it names none
  carrier jsonb not null default '{}', -- what its headers said of it, where the record itself does not, and when it came
  content_type text not null,
  payload bytea,
  expires_at timestamptz not null,
  event_key uuid                       -- of the event or amendment that it would have been, where that can be told
);
create index usage_rejection_position on usage_rejection (position);
create index usage_rejection_reason on usage_rejection (reason);
create index usage_rejection_expires_at on usage_rejection (expires_at) where payload is not null;

-- a rejection that was decoded again and taken in. its event is stored before this row: if that is lost, the
-- next try finds the event a known duplicate.
create table usage_rejection_retry (
  rejection_id bigint primary key references usage_rejection,
  taken_at timestamptz not null
);

-- a rejected record: however often it was read where it stands, it is one, told as it was rejected last.
create view rejected_record as
  select r.rejection_id, b.recorded_at, r.position, r.reason, r.detail, same.times,
    case when same.is_retried then 'retried'
      -- since it was first rejected: what stood before is not what it would have been. within a batch nothing tells of
      -- an event whether it came before: it stands. a correction or void that waited was rejected at the place where it
      -- had come, once what it names did not fit: that is no other
      when exists (select from usage_event_online e where e.event_key = r.event_key and e.batch_id >= same.first_batch)
        or exists (select from usage_amendment a where a.amendment_key = r.event_key
          and (a.batch_id > same.first_batch or a.batch_id = same.first_batch and a.position <> r.position))
        then 'came_in'
      else 'open' end as state
  from usage_rejection r join usage_batch b using (batch_id)
  cross join lateral (
    select count(*) as times, max(o.rejection_id) as last_id, min(o.batch_id) as first_batch,
      bool_or(exists (select from usage_rejection_retry t where t.rejection_id = o.rejection_id)) as is_retried
    from usage_rejection o
    where (o.position, o.reason, o.detail, o.format, o.source)
        = (r.position, r.reason, r.detail, r.format, r.source)
      -- a place may hold one record today and another tomorrow: of one whose payload has expired its id tells
      and o.event_key is not distinct from r.event_key
      and (o.payload = r.payload or o.payload is null or r.payload is null)
  ) same
  where same.last_id = r.rejection_id;

-- sums of meters per hour and dimensions, as deltas: each batch adds one row per key that it touches, stamped
-- with its batch, so that the sum of the deltas recorded at or before k is the rollup as known at k.
-- a correction adds the difference. the context band (over, up_to] tells which long-context price applies.
-- a row holds what a batch adds for all customers of the others of its key, place by place in each of its arrays; the view
-- `usage_rollup` has a row for each. a meter that has an array may stand in other_quantities too: both count.
create table usage_rollup_row (
  bucket timestamptz not null,         -- start of the hour, utc
  batch_id bigint not null,
  context_over bigint not null,        -- exclusive; 0 where no threshold is exceeded
  context_up_to bigint not null,       -- inclusive; 9223372036854775807 where there is none
  dimension_id integer not null,
  customer_ids integer[] not null,
  events integer[] not null,           -- how many events more (or, where negative, fewer)
  input_tokens bigint[] not null,
  cached_input_tokens bigint[] not null,
  output_tokens bigint[] not null,
  reasoning_tokens bigint[] not null,
  requests bigint[] not null,
  other_quantities jsonb[],            -- null where no customer has any
  -- two rows of one key would add up to money that nobody owes.
  primary key (bucket, batch_id, dimension_id, context_over, context_up_to),
  constraint each_customer_has_a_place_in_all check (cardinality(customer_ids) > 0
    and cardinality(customer_ids) = all (array[cardinality(events), cardinality(input_tokens),
      cardinality(cached_input_tokens), cardinality(output_tokens), cardinality(reasoning_tokens),
      cardinality(requests), coalesce(cardinality(other_quantities), cardinality(customer_ids))])),
  constraint no_sum_is_missing check (array_position(customer_ids, null) is null and array_position(events, null) is null
    and array_position(input_tokens, null) is null and array_position(cached_input_tokens, null) is null
    and array_position(output_tokens, null) is null and array_position(reasoning_tokens, null) is null
    and array_position(requests, null) is null)
);

-- packed tightly and read often: lz4 where this server has it. without it as they are: to pack them with pglz takes a fifth
-- of what postgres does for an event, and saves a twentieth of its bytes.
do $$
declare
  has_lz4 constant boolean := exists (select from pg_settings s
    where s.name = 'default_toast_compression' and 'lz4' = any (s.enumvals));
  name text;
begin
  foreach name in array array['customer_ids', 'events', 'input_tokens', 'cached_input_tokens', 'output_tokens',
      'reasoning_tokens', 'requests'] loop
    execute format('alter table usage_rollup_row alter column %I set %s', name,
      case when has_lz4 then 'compression lz4' else 'storage external' end);
  end loop;
end $$;

create function by_customer(r usage_rollup_row) returns table (customer_id integer, events integer, input_tokens bigint,
    cached_input_tokens bigint, output_tokens bigint, reasoning_tokens bigint, requests bigint, other_quantities jsonb)
  language sql immutable parallel safe as $$
  select * from unnest(r.customer_ids, r.events, r.input_tokens, r.cached_input_tokens, r.output_tokens,
    r.reasoning_tokens, r.requests, r.other_quantities)
$$;

-- whoever reads it needs the right to read the rows, and sees those that its policies show.
create view usage_rollup with (security_invoker) as
select r.bucket, r.batch_id, r.context_over, r.context_up_to, r.dimension_id, c.*
from usage_rollup_row r cross join lateral by_customer(r) c;

-- events and rollups name batches, dimensions and customers that exist, and a row of rollups each customer once. a foreign
-- key would look at each row of the many that a batch adds; this looks once at each of the few that they name. what is
-- named stays, as its tables are append-only.
create function refuse_strangers(batches bigint[], dimensions integer[], customers integer[], named_by text)
returns void language plpgsql as $$
declare missing text;
begin
  select format('batch %s', n) into missing from unnest(batches) n
    where not exists (select from usage_batch b where b.batch_id = n)
  union all
  select format('dimension %s', n) from unnest(dimensions) n
    where not exists (select from usage_dimension d where d.dimension_id = n)
  union all
  select format('customer %s', n) from unnest(customers) n
    where not exists (select from usage_customer c where c.customer_id = n)
  limit 1;
  if missing is not null then
    raise exception '%: there is no %', named_by, missing using errcode = 'foreign_key_violation';
  end if;
end $$;

-- and events come into the newest generation alone: whoever looked into a sealed one relies on what was there. those of hours
-- that are offline come back.
create function refuse_strangers_of_events() returns trigger language plpgsql as $$
declare
  batches bigint[];
  dimensions integer[];
  customers integer[];
begin
  select array_agg(distinct n.batch_id), array_agg(distinct n.dimension_id), array_agg(distinct n.customer_id)
    into batches, dimensions, customers from (select distinct batch_id, dimension_id, customer_id from added) n;
  perform refuse_strangers(batches, dimensions, customers, tg_table_name);
  if exists (select from unnest(batches) n where n < (select max(first_batch) from usage_generation))
    and exists (select from added a where a.batch_id < (select max(first_batch) from usage_generation)
      and not exists (select from usage_offline_hour h where h.bucket = date_trunc('hour', a.occurred_at, 'UTC')
        and h.generation = (a.batch_id - 1) / 10000000000 + 1)) then
    raise exception '%: a generation that is sealed never changes', tg_table_name using errcode = 'restrict_violation';
  end if;
  return null;
end $$;
create trigger names_what_exists after insert on usage_event_row
  referencing new table as added for each statement execute function refuse_strangers_of_events();

-- events go once their hour is offline, and only those that nothing here names: whoever asks by what names them finds them.
create function refuse_removal() returns trigger language plpgsql as $$
begin
  if exists (select from (select distinct date_trunc('hour', occurred_at, 'UTC') as bucket,
        ((batch_id - 1) / 10000000000 + 1)::integer as generation from removed) r
      where not exists (select from usage_offline_hour h where (h.bucket, h.generation) = (r.bucket, r.generation))) then
    raise exception '% rows are never changed or removed (append-only)', tg_table_name using errcode = 'restrict_violation';
  end if;
  -- sets of keys: for each row by itself all that is named would be gone through
  if exists (select event_key from removed intersect select event_key from usage_event_named) then
    raise exception '%: an event that something names stays', tg_table_name using errcode = 'foreign_key_violation';
  end if;
  return null;
end $$;
create trigger nothing_is_lost after delete on usage_event_row
  referencing old table as removed for each statement execute function refuse_removal();
create trigger append_only before update or truncate on usage_event_row
  for each statement execute function refuse_change();

-- which events report which reply of a model, for those that tell: what several events report of one reply may be one call
-- that counts twice. ids of replies do not stand here in the clear: a keyed hash of them is, apart from those of events.
create table usage_reply (
  reply_key uuid not null,
  event_key uuid not null,             -- of an event of the batch; a row of no event would say nothing to anybody
  batch_id bigint not null
) partition by range (batch_id);       -- into generations, as events
create index usage_reply_key on usage_reply (reply_key);
-- those of some batches: rows come batch by batch, so that a narrow index finds them.
create index usage_reply_batch on usage_reply using brin (batch_id);

-- which reply it reports is told with its event: later it would change answers that were given.
create function refuse_other_replies() returns trigger language plpgsql as $$
begin
  if exists (
    select from (select distinct batch_id from added) a left join usage_batch b using (batch_id)
    where b.batch_id is null or b.recorded_at <= (select known_at from recording_watermark)) then
    raise exception '%: of no batch, or later', tg_table_name using errcode = 'check_violation';
  end if;
  return null;
end $$;
create trigger as_its_batch_is_recorded after insert on usage_reply
  referencing new table as added for each statement execute function refuse_other_replies();

-- opens the next generation, while nobody else records: no batch has part in two.
create function open_usage_generation() returns void language plpgsql as $$
declare
  opened usage_generation;
  whole text;
  part text;
begin
  lock table recording_gate in exclusive mode;
  insert into usage_generation (generation, first_batch)
    select coalesce(max(generation), 0) + 1, coalesce(max(first_batch) + 10000000000, 1) from usage_generation
    returning * into opened;
  foreach whole in array array['usage_event_row', 'usage_reply'] loop
    part := whole || '_' || opened.generation;
    execute format('create table %I (like %I including all)', part, whole);
    -- attached: one that is made as a part waits for all who read the whole, and they for it
    execute format('alter table %I attach partition %I for values from (%s) to (%s)',
      whole, part, opened.first_batch, opened.first_batch + 10000000000);
  end loop;
  execute format('alter table usage_event_row_%s add primary key (event_key)', opened.generation);
  -- for whoever writes into them by their own names
  execute format('create trigger names_what_exists after insert on usage_event_row_%s
    referencing new table as added for each statement execute function refuse_strangers_of_events()', opened.generation);
  execute format('create trigger nothing_is_lost after delete on usage_event_row_%s
    referencing old table as removed for each statement execute function refuse_removal()', opened.generation);
  execute format('create trigger append_only before update or truncate on usage_event_row_%s
    for each statement execute function refuse_change()', opened.generation);
  call make_append_only(format('usage_reply_%s', opened.generation));
  execute format('create trigger as_its_batch_is_recorded after insert on usage_reply_%s
    referencing new table as added for each statement execute function refuse_other_replies()', opened.generation);
  execute format('alter sequence usage_batch_batch_id_seq restart with %s', opened.first_batch);
end $$;
select open_usage_generation();

-- events lie in several tables, which no foreign key can name together.
create function refuse_unknown_events() returns trigger language plpgsql as $$
begin
  -- by keys that are listed each part's index is asked, whatever the planner takes the parts for
  if (select count(distinct a.event_key) from added a)
      > (select count(*) from usage_event_row e where e.event_key = any (array(select a.event_key from added a))) then
    raise exception '%: there is no such event', tg_table_name using errcode = 'foreign_key_violation';
  end if;
  return null;
end $$;
create trigger names_an_event after insert on usage_state
  referencing new table as added for each statement execute function refuse_unknown_events();

create function refuse_strangers_of_rollups() returns trigger language plpgsql as $$
begin
  perform refuse_strangers(array_agg(distinct a.batch_id), array_agg(distinct a.dimension_id),
    array_agg(distinct c.customer_id), tg_table_name) from added a cross join lateral unnest(a.customer_ids) c (customer_id);
  if exists (select from added a where cardinality(a.customer_ids)
      > (select count(distinct c.customer_id) from unnest(a.customer_ids) c (customer_id))) then
    raise exception '%: a customer has two places in a row', tg_table_name using errcode = 'unique_violation';
  end if;
  return null;
end $$;
create trigger names_what_exists after insert on usage_rollup_row
  referencing new table as added for each statement execute function refuse_strangers_of_rollups();

-- where an interval ends is told with its event: later it would change answers that were given.
create function refuse_other_intervals() returns trigger language plpgsql as $$
begin
  if exists (
    -- an event that comes with it is of the newest generation
    select from added a
      left join (select * from usage_event_row where batch_id >= (select max(first_batch) from usage_generation)) e
        using (event_key)
      left join usage_dimension d using (dimension_id)
      left join usage_batch b using (batch_id)
    where a.occurred_at is distinct from e.occurred_at or not d.is_interval
      or b.recorded_at <= (select known_at from recording_watermark)) then
    raise exception '%: not as its event says, or later', tg_table_name using errcode = 'check_violation';
  end if;
  return null;
end $$;
create trigger as_its_event_says after insert on usage_interval
  referencing new table as added for each statement execute function refuse_other_intervals();

-- how far each partition was read: the offset that comes next. the cluster id keeps a topic that was made
-- anew, on another cluster, from being taken for the old one.
create table kafka_offset (
  cluster_id text not null,
  topic text not null,
  partition integer not null,
  next_offset bigint not null check (next_offset >= 0),
  primary key (cluster_id, topic, partition)
);

-- how far a file was taken in by a run that did not end: so many rows of it, from its start, are stored. a run that
-- ends leaves none, as a file may be read again.
create table file_position (
  file_digest bytea primary key check (length(file_digest) = 32),  -- of what it holds, and how it is read
  rows_taken bigint not null check (rows_taken > 0)
);

-- what was handed out as a watermark, and what was stored of a partition or file, stands: all only move forward.
create function refuse_moving_back() returns trigger language plpgsql as $$
begin
  raise exception '% only moves forward', tg_table_name using errcode = 'restrict_violation';
end $$;
create trigger moves_forward before update on recording_watermark for each row
  when (new.watermark < old.watermark or new.known_at < old.known_at) execute function refuse_moving_back();
create trigger stays before delete or truncate on recording_watermark
  for each statement execute function refuse_moving_back();
create trigger moves_forward before update on recorded_alone for each row
  when (new.recorded_at < old.recorded_at) execute function refuse_moving_back();
create trigger stays before delete or truncate on recorded_alone
  for each statement execute function refuse_moving_back();
-- rows may be deleted: a topic that was made anew on its cluster is read from its start.
create trigger moves_forward before update on kafka_offset for each row
  when (new.next_offset < old.next_offset
    or (new.cluster_id, new.topic, new.partition) <> (old.cluster_id, old.topic, old.partition))
  execute function refuse_moving_back();

create trigger moves_forward before update on file_position for each row
  when (new.rows_taken < old.rows_taken or new.file_digest <> old.file_digest)
  execute function refuse_moving_back();

call make_append_only('installation', 'backfill', 'backfill_status', 'usage_batch', 'usage_dimension', 'usage_customer',
  'usage_generation', 'usage_generation_filter', 'usage_archive', 'usage_reply', 'usage_interval', 'usage_amendment',
  'usage_state', 'usage_conflict', 'usage_rejection_retry', 'usage_rollup_row');

-- a rejection may only lose its payload, when that expires.
create function refuse_rejection_change() returns trigger language plpgsql as $$
begin
  if new.payload is null and old.expires_at <= now()
      and (new.rejection_id, new.batch_id, new.position, new.reason, new.detail, new.format, new.source, new.carrier,
      new.content_type, new.expires_at, new.event_key)
        is not distinct from (old.rejection_id, old.batch_id, old.position, old.reason, old.detail, old.format, old.source, old.carrier,
          old.content_type, old.expires_at, old.event_key) then
    return new;
  end if;
  raise exception 'a rejection may only lose its payload once that has expired' using errcode = 'restrict_violation';
end $$;
create trigger payload_expires before update on usage_rejection
  for each row execute function refuse_rejection_change();
create trigger append_only before delete or truncate on usage_rejection
  for each statement execute function refuse_change();
