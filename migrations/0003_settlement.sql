-- settlements, what they booked, the statements, and which periods are closed.

-- a month 2026-05, a quarter 2026-Q2, a year 2026, or first and last day 2026-05-15/2026-06-14, as the program writes them.
create function is_period(name text) returns boolean language sql immutable
  return name ~ '^([0-9]{4}(-(0[1-9]|1[0-2]|Q[1-4]))?|[0-9]{4}-[0-9]{2}-[0-9]{2}/[0-9]{4}-[0-9]{2}-[0-9]{2})$';

-- one run of the one settlement path: what was asked, as known at which cutoff, by which engine.
create table settlement (
  settlement_id bigint generated always as identity primary key,
  contract_id text not null references contract,
  period text not null check (is_period(period)),
  period_start timestamptz not null,
  period_end timestamptz not null check (period_end > period_start),   -- exclusive
  cutoff timestamptz not null,
  settled_at timestamptz not null,
  settled_by text not null,
  engine_version text not null,
  time_zone_data_version text not null,
  -- events up to the period's end whose deployment or product no mapping knew at the cutoff, of any source: ours to
  -- resolve, so no part of the statements
  unresolved_events bigint not null check (unresolved_events >= 0),
  input_sha256 text not null check (input_sha256 ~ '^[0-9a-f]{64}$')
);
create index settlement_contract on settlement (contract_id, period_start);
-- nothing may be recorded at or below a cutoff that was used.
create index settlement_cutoff on settlement (cutoff);

-- amounts booked, rounded to the digits in which they are paid: per term and origin period the difference between
-- what is owed in all and what was booked before. positive: the payer owes the payee.
create table booked_line (
  settlement_id bigint not null references settlement,
  line integer not null check (line > 0),
  contract_id text not null references contract,
  term_id text not null,
  payer text not null references party,
  payee text not null references party check (payee <> payer),
  -- what it is owed in: an ISO 4217 currency, or the name of a unit that the contract declares
  currency text not null check (currency <> ''),
  digits integer not null check (digits >= 0),
  origin_period text not null check (is_period(origin_period)),
  origin_start timestamptz not null,
  booked_period text not null,
  booked_start timestamptz not null,
  amount numeric not null check (amount <> 0),
  primary key (settlement_id, line),
  check (scale(amount) <= digits),
  -- nothing is booked into a period before the one in which it arose
  check (origin_start <= booked_start)
);
create index booked_line_contract on booked_line (contract_id, booked_start);

-- a closed period takes no more bookings.
create table period_close (
  contract_id text not null references contract,
  period text not null,
  period_start timestamptz not null,
  closed_at timestamptz not null,
  closed_by text not null,
  primary key (contract_id, period)
);

-- what is closed was settled, as known at its end or later: so the period is one of the contract's, and begins where its settlements say.
create function refuse_close_unsettled() returns trigger language plpgsql as $$
begin
  if not exists (select from settlement s
      where (s.contract_id, s.period, s.period_start) = (new.contract_id, new.period, new.period_start)
        and s.cutoff >= s.period_end) then
    raise exception 'period % of contract % was never settled as known at its end', new.period, new.contract_id
      using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger settled_before before insert on period_close
  for each row execute function refuse_close_unsettled();

create function refuse_booking_into_closed() returns trigger language plpgsql as $$
begin
  if not exists (select from settlement s where s.settlement_id = new.settlement_id
      and (s.contract_id, s.period, s.period_start) = (new.contract_id, new.booked_period, new.booked_start)) then
    raise exception 'a line is booked for the contract and period of its settlement' using errcode = 'check_violation';
  end if;
  if exists (select from period_close c where c.contract_id = new.contract_id
      and c.period_start >= new.booked_start) then
    raise exception 'period % of contract % is closed', new.booked_period, new.contract_id
      using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger closed_periods_refuse before insert on booked_line
  for each row execute function refuse_booking_into_closed();

-- what two parties owe each other for a period under a contract, in one currency or unit.
create table statement (
  statement_id bigint generated always as identity primary key,
  contract_id text not null references contract,
  -- the two parties in the order of their ids, by bytes
  party_a text not null references party,
  party_b text not null references party check (party_a collate "C" < party_b collate "C"),
  currency text not null check (currency <> ''),
  digits integer not null check (digits >= 0),
  period text not null check (is_period(period)),
  period_start timestamptz not null,
  unique (contract_id, party_a, party_b, currency, digits, period)
);

-- lists go on after the last statement that was seen. so ids have to become visible in their order: who takes one waits
-- until whoever took one before has committed or rolled back. before the statement, as rows take their ids with it.
create table statement_ids (only_row boolean primary key default true check (only_row));
insert into statement_ids default values;
create function take_ids_in_order() returns trigger language plpgsql as $$
begin
  perform from statement_ids for update;
  return null;
end $$;
create trigger ids_in_order before insert on statement
  for each statement execute function take_ids_in_order();

-- each settlement with news drafts the statement anew; what was issued is never drafted again.
create table statement_revision (
  statement_id bigint not null references statement,
  revision integer not null check (revision > 0),
  settlement_id bigint not null references settlement,
  content text not null,               -- the document, json, byte for byte what the digest is of
  sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
  primary key (statement_id, revision)
);

-- a statement's status is what was appended last.
create table statement_status (
  statement_id bigint not null,
  revision integer not null,
  sequence integer not null check (sequence > 0),
  status text not null check (status in ('draft', 'approved', 'issued', 'agreed', 'disputed', 'settled')),
  changed_by text not null check (changed_by <> ''),
  changed_at timestamptz not null,
  reason text not null check (char_length(reason) <= 2000),
  primary key (statement_id, sequence),
  foreign key (statement_id, revision) references statement_revision
);

-- draft -> approved (by someone other than its maker) -> issued -> agreed | disputed -> settled; a new
-- revision is a draft again, and there is none once a statement is issued.
create function refuse_wrong_status() returns trigger language plpgsql as $$
declare
  last statement_status;
  maker text;
begin
  -- locks the statement so that two changes cannot both follow the same status
  perform from statement where statement_id = new.statement_id for update;
  select * into last from statement_status where statement_id = new.statement_id order by sequence desc limit 1;
  if new.sequence <> coalesce(last.sequence, 0) + 1 then
    raise exception 'statement %: its status changed meanwhile', new.statement_id using errcode = 'serialization_failure';
  end if;
  if new.status = 'draft' then
    if new.revision <> coalesce(last.revision, 0) + 1 or last.status not in ('draft', 'approved') then
      raise exception 'statement %: no new draft after %', new.statement_id, last.status using errcode = 'check_violation';
    end if;
  elsif last is null or new.revision <> last.revision or not (case new.status
      when 'approved' then last.status = 'draft'
      when 'issued' then last.status = 'approved'
      when 'agreed' then last.status in ('issued', 'disputed')
      when 'disputed' then last.status in ('issued', 'agreed')
      when 'settled' then last.status = 'agreed' end) then
    raise exception 'statement %: % does not follow %', new.statement_id, new.status, last.status
      using errcode = 'check_violation';
  end if;
  if new.status = 'approved' then
    -- of any of its drafts: what a schedule drafts anew is not for the first maker to approve either
    select s.changed_by into maker from statement_status s
      where s.statement_id = new.statement_id and s.status = 'draft'
        and lower(btrim(s.changed_by)) = lower(btrim(new.changed_by)) limit 1;
    if found then
      raise exception 'statement %: % made it; someone else has to approve it', new.statement_id, maker
        using errcode = 'check_violation';
    end if;
  end if;
  return new;
end $$;
create trigger status_follows before insert on statement_status
  for each row execute function refuse_wrong_status();

-- unresolved usage that someone decided not to wait for: it no longer blocks the close of a period, nor of later ones. it
-- covers what was used before the period's end and recorded by its cutoff; what is used or comes later blocks again.
create table unresolved_waiver (
  contract_id text not null,
  period text not null check (is_period(period)),
  period_end timestamptz not null,
  dimension_id integer not null references usage_dimension,
  events bigint not null check (events > 0),
  cutoff timestamptz not null,
  waived_at timestamptz not null,
  waived_by text not null check (waived_by <> ''),
  reason text not null check (reason <> '' and char_length(reason) <= 2000),
  primary key (contract_id, period, dimension_id, cutoff)
);

-- whether a contract need not wait for unresolved usage of an hour.
create function is_waived(contract text, dimension integer, hour timestamptz, recorded timestamptz) returns boolean
language sql stable return exists (
  select from unresolved_waiver w where w.contract_id = contract and w.dimension_id = dimension
    and hour < w.period_end and recorded <= w.cutoff);

call make_append_only('settlement', 'booked_line', 'period_close', 'statement', 'statement_revision',
  'statement_status', 'unresolved_waiver');
