-- master data, price book, contract versions as their documents, and dated records. all of it is appended:
-- a thing that changes is a new thing, and every row says when we learnt it.

create table party (
  party_id text primary key,
  name text not null,
  recorded_at timestamptz not null,
  -- what invoices show beside the name; lines of the postal address, and of where the party is paid
  address text[] not null default '{}',
  tax_id text,
  bank text[] not null default '{}'
);

create table cloud (
  cloud_id text primary key,
  operator text not null references party,
  recorded_at timestamptz not null
);

create table product (
  product_id text primary key,
  maker text not null references party,
  capabilities text[] not null,
  recorded_at timestamptz not null
);

-- a named list of products, as contracts use it.
create table product_group (
  group_id text primary key,
  products text[] not null,
  recorded_at timestamptz not null
);

-- one place that runs models. without a seller of record its usage is metered, not charged (a licence).
create table deployment (
  deployment_id text primary key,
  cloud text not null references cloud,
  channel text not null,
  region text not null,
  operator text not null references party,
  seller text references party,
  recorded_at timestamptz not null
);

-- unit prices. an absent customer, region or channel means any; context_over is exclusive.
create table price (
  price_id text primary key,
  sequence bigint generated always as identity unique,   -- of equal prices the last recorded holds
  product text not null references product,
  meter text not null,
  service_tier text not null,
  customer text,
  region text,
  channel text,
  context_over bigint not null check (context_over >= 0),
  amount numeric not null check (amount >= 0),
  per_units bigint not null check (per_units > 0),
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  starts_at timestamptz,
  ends_at timestamptz check (ends_at > starts_at),     -- exclusive
  source text not null,
  recorded_at timestamptz not null,
  -- which narrowing holds is one question with one answer
  constraint one_narrowing check (num_nonnulls(customer, region, channel) <= 1)
);

-- every agreement of which a version is loaded. who settles one, or moves its statements, locks its row meanwhile.
create table contract (contract_id text primary key check (contract_id <> ''));

-- a version is its document: the clauses, the terms, and the definitions as they stood when it was loaded.
create table contract_version (
  contract_id text not null references contract,
  number integer not null check (number > 0),
  effective_at timestamptz not null,
  recorded_at timestamptz not null,
  definitions text not null,           -- the contract's own file
  document text not null,              -- the version's file; the same text where one file holds both
  sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
  primary key (contract_id, number)
);

-- numbers rise with the time of recording.
create function refuse_number_out_of_order() returns trigger language plpgsql as $$
begin
  if exists (select from contract_version v where v.contract_id = new.contract_id
      and (v.number >= new.number or v.recorded_at > new.recorded_at)) then
    raise exception 'contract % already has version % or a later one', new.contract_id, new.number
      using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger numbers_rise before insert on contract_version
  for each row execute function refuse_number_out_of_order();

-- whom a version's terms and rights concern and when they hold, as its document says: for those who ask without
-- reading that. one without dates of its own holds while its version is in force.
create table contract_term (
  contract_id text not null,
  number integer not null,
  term_id text not null,
  kind text not null check (kind in ('money', 'first_availability', 'exclusivity', 'licence')),
  heading text not null,               -- of its clause
  parties text[] not null check (cardinality(parties) > 0 or kind <> 'money'),
  starts_at timestamptz,
  ends_at timestamptz check (ends_at > starts_at),     -- exclusive
  primary key (contract_id, number, term_id),
  foreign key (contract_id, number) references contract_version
);

-- rates of exchange as their source states them: so much of one unit for one of another, on a date. a rate that is
-- restated is a row of its own; as known at an instant the last one recorded by then holds.
create table fx_rate (
  sequence bigint generated always as identity unique,
  source text not null check (source <> ''),
  rate_date date not null,
  -- currencies, or units that contracts declare
  from_unit text not null check (from_unit <> ''),
  to_unit text not null check (to_unit <> '' and to_unit <> from_unit),
  -- exact: a decimal, or a fraction where there is no finite one
  rate text not null check (rate ~ '^[0-9]+([.][0-9]+|/[1-9][0-9]*)?$' and rate !~ '^[0.]+(/|$)'),
  recorded_at timestamptz not null,
  primary key (source, rate_date, from_unit, to_unit, recorded_at)
);

-- records beside usage, and corrections and voids of them, each as it was said. what stands of them as known at an
-- instant is computed of those recorded by then, in the order of their recording.
create table record (
  sequence bigint generated always as identity unique,
  source text not null check (source <> ''),
  record_id text not null check (record_id <> ''),
  -- keyed hash of (source, id), as of usage. an id is of one of both: whoever records holds the recording gate, and looks
  -- for it in the other first
  record_key uuid not null unique,
  kind text not null check (kind in ('figure', 'deduction', 'receipt', 'billing', 'fact', 'decision', 'correction',
    'void')),
  -- what a correction or void names, within its source; that may come later
  target text check (target <> ''),
  -- the key of the usage event that a decision names, or that a correction says instead; it may come later
  event_key uuid,
  content jsonb not null,
  recorded_at timestamptz not null,
  primary key (source, record_id),
  constraint only_amendments_name check ((target is not null) = (kind in ('correction', 'void'))),
  constraint decisions_name_events check (event_key is not null or kind <> 'decision')
);
create index record_target on record (source, target) where target is not null;
create index record_decision on record (sequence) where kind = 'decision';

-- same id, other content: the first stands, be it a record or usage.
create table record_conflict (
  sequence bigint generated always as identity primary key,
  source text not null,
  record_id text not null,
  content jsonb not null,
  recorded_at timestamptz not null
);

-- corrections and voids that never have an effect, refused by what was known of what they name. such an id is free.
create table record_rejection (
  sequence bigint generated always as identity primary key,
  source text not null,
  record_id text not null,
  content jsonb not null,
  reason text not null check (reason in ('correction_of_voided', 'correction_of_amendment', 'void_of_void',
    'negative_quantity')),
  recorded_at timestamptz not null
);

call make_append_only('party', 'cloud', 'product', 'product_group', 'deployment', 'price', 'contract', 'contract_version',
  'contract_term', 'fx_rate', 'record', 'record_conflict', 'record_rejection');

call record_after_what_is_known('party', 'cloud', 'product', 'product_group', 'deployment', 'price',
  'contract_version', 'fx_rate', 'record', 'record_conflict', 'record_rejection');
