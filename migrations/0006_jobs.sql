-- scheduled jobs: what ran and how it ended, and who may run what now. all times here are the database's, but
-- for `due_at` and `clock_at`, which are by the clock of the process that ran.

-- one run: of one job on one subject. written before it starts, so that a crash leaves it without an end.
create table job_run (
  run_id bigint generated always as identity primary key,
  job text not null check (job <> ''),
  -- the subject: a contract, a period of it, or neither where the job has but one
  contract_id text references contract,
  period text check (is_period(period)),
  due_at timestamptz not null,
  clock_at timestamptz not null check (clock_at >= due_at),
  -- which try it is since one succeeded
  attempt integer not null check (attempt > 0),
  holder text not null check (holder <> ''),
  -- the person who had it run, by which key if over http; absent where its time had come
  started_by text check (started_by <> ''),
  key_id text,
  started_at timestamptz not null default clock_timestamp(),
  check (contract_id is not null or period is null),
  check (started_by is not null or key_id is null)
);
create index job_run_subject on job_run (contract_id, job);

-- how a run ended: once, and never anew.
create table job_run_end (
  run_id bigint primary key references job_run on delete cascade,
  outcome text not null check (outcome in ('done', 'nothing_new', 'waiting', 'failed', 'lost')),
  -- what was done, or what it waits for or failed of; null where there is nothing to say
  detail text check (detail <> ''),
  ended_at timestamptz not null default clock_timestamp(),
  check (detail is not null or outcome not in ('waiting', 'failed'))
);

-- who may run a job on a subject: the holder of its last run, until then. the run's number is the fencing
-- token: it rises with each taking, and one who was overtaken can no longer end his run.
create table job_lease (
  job text not null,
  contract_id text,
  period text,
  run_id bigint not null unique references job_run,
  renewed_at timestamptz not null,
  leased_until timestamptz not null check (leased_until >= renewed_at),
  unique nulls not distinct (job, contract_id, period)
);

-- whether nobody else may take it. one that was given well after now was given before the clock went back:
-- nobody could tell how long it would last.
create function is_held(lease job_lease) returns boolean language sql volatile
  return lease.leased_until > clock_timestamp() and lease.renewed_at < clock_timestamp() + interval '1 minute';

-- how a run ended, by its end where it has one. else its lease is the last of its subject, as whoever takes that over
-- ends it: lost where that ran out, absent while the run goes on.
create function outcome_of(ended job_run_end, lease job_lease) returns text language sql volatile
  return coalesce(ended.outcome, case when not is_held(lease) then 'lost' end);

create function refuse_wrong_lease() returns trigger language plpgsql as $$
begin
  if not exists (select from job_run r where r.run_id = new.run_id and r.job = new.job
      and (r.contract_id, r.period) is not distinct from (new.contract_id, new.period)) then
    raise exception 'run % is of another job or subject', new.run_id using errcode = 'check_violation';
  end if;
  if tg_op = 'UPDATE' then
    if new.run_id < old.run_id or (new.job, new.contract_id, new.period)
        is distinct from (old.job, old.contract_id, old.period) then
      raise exception 'the lease of run % only moves forward', old.run_id using errcode = 'restrict_violation';
    end if;
    if new.run_id > old.run_id and is_held(old) then
      raise exception 'run % still holds the lease', old.run_id using errcode = 'restrict_violation';
    end if;
    -- what is given back, or passed on, was brought to an end before
    if (new.run_id > old.run_id or new.leased_until <= clock_timestamp())
        and not exists (select from job_run_end e where e.run_id = old.run_id) then
      raise exception 'run % has not ended', old.run_id using errcode = 'restrict_violation';
    end if;
  end if;
  return new;
end $$;
create trigger lease_follows before insert or update on job_lease
  for each row execute function refuse_wrong_lease();

create function refuse_lease_removal() returns trigger language plpgsql as $$
begin
  raise exception 'leases stay: each tells the last run of its subject' using errcode = 'restrict_violation';
end $$;
create trigger stays before delete or truncate on job_lease
  for each statement execute function refuse_lease_removal();

-- a run is ended while its lease is its own; it is lost when that ran out without an end.
create function refuse_wrong_end() returns trigger language plpgsql as $$
declare lease job_lease;
begin
  select * into lease from job_lease where run_id = new.run_id for update;
  if not found then
    raise exception 'run % does not hold its lease any more', new.run_id using errcode = 'restrict_violation';
  end if;
  if new.outcome = 'lost' and is_held(lease) then
    raise exception 'run % is not lost: it holds its lease', new.run_id using errcode = 'restrict_violation';
  end if;
  return new;
end $$;
create trigger end_follows before insert on job_run_end
  for each row execute function refuse_wrong_end();

-- runs never change. one that ended long ago may be removed, with its end, but for the last of its subject: the
-- lease refers to that.
create trigger append_only before update or truncate on job_run
  for each statement execute function refuse_change();
create trigger append_only before update or truncate on job_run_end
  for each statement execute function refuse_change();
create function refuse_run_removal() returns trigger language plpgsql as $$
begin
  -- alerts look back for hours, people for days
  if not exists (select from job_run_end e where e.run_id = old.run_id
      and e.ended_at < clock_timestamp() - interval '7 days') then
    raise exception 'run % has not ended 7 days ago', old.run_id using errcode = 'restrict_violation';
  end if;
  return old;
end $$;
create trigger ended_long_ago before delete on job_run
  for each row execute function refuse_run_removal();
create function refuse_end_removal() returns trigger language plpgsql as $$
begin
  if exists (select from job_run r where r.run_id = old.run_id) then
    raise exception 'the end of run % stays as long as the run', old.run_id using errcode = 'restrict_violation';
  end if;
  return old;
end $$;
create trigger goes_with_its_run before delete on job_run_end
  for each row execute function refuse_end_removal();
