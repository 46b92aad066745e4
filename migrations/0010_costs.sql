-- what clouds report that they charged: cost rows as FOCUS files state them, to be compared with what is rated. none of it
-- is usage, and nothing that is owed follows from it unless somebody records a figure. no partner's role may read it.

-- a report: a file, or several that are parts of one.
create table cost_report (
  report_id bigint generated always as identity primary key,
  -- of what its file holds, unpacked; of several files the digest of theirs, sorted, each with a line's end
  sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
  file_names text[] not null check (cardinality(file_names) > 0)
);
-- not unique: what was replaced may be recorded anew.
create index cost_report_sha256 on cost_report (sha256);

-- what a report states of an account with a provider: the whole of a billing period, so far.
create table cost_statement (
  statement_id bigint generated always as identity primary key,
  report_id bigint not null references cost_report,
  provider text not null check (provider <> ''),
  billing_account text not null check (billing_account <> ''),
  billing_from timestamptz not null,
  billing_to timestamptz not null check (billing_to > billing_from),   -- exclusive
  row_count bigint not null check (row_count > 0),
  unique (report_id, provider, billing_account, billing_from)
);
create index cost_statement_account on cost_statement (provider, billing_account, billing_from);

-- a row of a report, as it states it; absent is what it leaves out.
create table cost_row (
  statement_id bigint not null references cost_statement,
  row_number bigint not null check (row_number > 0),   -- its place among the rows of the report
  invoice_issuer text not null,
  invoice_id text,
  sub_account text,
  service text not null,
  sku_price text,
  resource text,
  region text,
  category text not null check (category in ('Usage', 'Purchase', 'Tax', 'Credit', 'Adjustment')),
  is_correction boolean not null,      -- of an earlier billing period
  charge_from timestamptz not null,
  charge_to timestamptz not null check (charge_to > charge_from),      -- exclusive
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  -- exact, whatever number of digits they are stated with
  billed numeric not null,
  effective numeric not null,
  contracted numeric,
  list numeric not null,
  consumed numeric,
  consumed_unit text,
  primary key (statement_id, row_number),
  check (billed + effective + list + coalesce(contracted, 0) + coalesce(consumed, 0)
    not in ('NaN', 'Infinity', '-Infinity'))
);
-- reports come period by period, so that a narrow index finds the rows of a month.
create index cost_row_charge on cost_row using brin (charge_from, charge_to);

-- since when a report is known. apart from it, so that its rows, which may be many, are written before the recording gate is
-- held: while it is, they are only counted.
create table cost_recording (
  report_id bigint primary key references cost_report,
  -- one report at a time, so that it is known which one was the last
  recorded_at timestamptz not null unique
);
-- there is no report that was not recorded.
alter table cost_report add constraint is_recorded
  foreign key (report_id) references cost_recording deferrable initially deferred;

-- what was recorded gets no more statements or rows.
create function refuse_statement_of_recorded() returns trigger language plpgsql as $$
begin
  if exists (select from added a join cost_recording r using (report_id)) then
    raise exception 'a cost report that is recorded never changes' using errcode = 'check_violation';
  end if;
  return null;
end $$;
create trigger before_it_is_recorded after insert on cost_statement
  referencing new table as added for each statement execute function refuse_statement_of_recorded();

create function refuse_row_of_recorded() returns trigger language plpgsql as $$
begin
  if exists (select from (select distinct a.statement_id from added a) of
      join cost_statement s using (statement_id) join cost_recording r using (report_id)) then
    raise exception 'a cost report that is recorded never changes' using errcode = 'check_violation';
  end if;
  return null;
end $$;
create trigger before_it_is_recorded after insert on cost_row
  referencing new table as added for each statement execute function refuse_row_of_recorded();

-- the statements that hold as known at an instant: of those of one account whose periods overlap, the one recorded last.
create function held_cost_statement(known_at timestamptz)
returns table (statement_id bigint, report_id bigint, provider text, billing_account text,
  billing_from timestamptz, billing_to timestamptz, recorded_at timestamptz)
language sql stable as $$
  select s.statement_id, s.report_id, s.provider, s.billing_account, s.billing_from, s.billing_to, r.recorded_at
  from cost_statement s join cost_recording r using (report_id)
  where r.recorded_at <= held_cost_statement.known_at
    and not exists (select from cost_statement l join cost_recording lr using (report_id)
      where (l.provider, l.billing_account) = (s.provider, s.billing_account)
        and l.billing_from < s.billing_to and s.billing_from < l.billing_to
        and lr.recorded_at > r.recorded_at and lr.recorded_at <= held_cost_statement.known_at)
$$;

-- since when all that a report states is held; null where it is not known, or some of it was replaced.
create function cost_report_held_since(sha256 text) returns timestamptz language sql stable as $$
  select max(r.recorded_at)
  from cost_report p join cost_recording r using (report_id)
  where p.sha256 = cost_report_held_since.sha256 and not exists (
    select from cost_statement s where s.report_id = p.report_id
      and not exists (select from held_cost_statement('infinity') h where h.statement_id = s.statement_id))
$$;

-- what is held of an account that a report states a part of alone: in its place that would pass for the whole.
create function held_cost_statement_cut_by(report_id bigint)
returns table (statement_id bigint, provider text, billing_account text, billing_from timestamptz, billing_to timestamptz,
  held_from timestamptz, held_to timestamptz, held_since timestamptz)
language sql stable as $$
  select s.statement_id, s.provider, s.billing_account, s.billing_from, s.billing_to, h.billing_from, h.billing_to,
    h.recorded_at
  from cost_statement s join held_cost_statement('infinity') h using (provider, billing_account)
  where s.report_id = held_cost_statement_cut_by.report_id
    and h.billing_from < s.billing_to and s.billing_from < h.billing_to
    and not tstzrange(h.billing_from, h.billing_to) <@ (
      select range_agg(tstzrange(o.billing_from, o.billing_to)) from cost_statement o
      where (o.report_id, o.provider, o.billing_account) = (s.report_id, s.provider, s.billing_account))
$$;

-- a report is recorded whole, and once: it states something, each statement has as many rows as it says, no two are of one
-- account and instant, none is in place of more than it states, and not all of it is held.
create function refuse_part_of_report() returns trigger language plpgsql as $$
begin
  if not exists (select from cost_statement s where s.report_id = new.report_id)
      or exists (select from cost_statement s where s.report_id = new.report_id
        and s.row_count <> (select count(*) from cost_row r where r.statement_id = s.statement_id)) then
    raise exception 'cost report %: its statements have other rows than they say', new.report_id
      using errcode = 'check_violation';
  end if;
  if exists (select from cost_statement s join cost_statement o using (report_id, provider, billing_account)
      where s.report_id = new.report_id and s.statement_id <> o.statement_id
        and s.billing_from < o.billing_to and o.billing_from < s.billing_to) then
    raise exception 'cost report %: billing periods of one account overlap', new.report_id
      using errcode = 'check_violation';
  end if;
  if exists (select from held_cost_statement_cut_by(new.report_id)) then
    raise exception 'cost report %: states a part of a billing period that is held', new.report_id
      using errcode = 'check_violation';
  end if;
  if cost_report_held_since((select sha256 from cost_report where report_id = new.report_id)) is not null then
    raise exception 'cost report %: all of it is held', new.report_id using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger as_whole_as_it_says before insert on cost_recording
  for each row execute function refuse_part_of_report();

call make_append_only('cost_report', 'cost_statement', 'cost_row', 'cost_recording');
call record_after_what_is_known('cost_recording');
