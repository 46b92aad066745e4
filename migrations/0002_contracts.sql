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

-- a version is its document: the clauses, the terms, and the definitions as they stood when it was loaded.
create table contract_version (
  contract_id text not null,
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
  kind text not null check (kind in ('share', 'first_availability', 'exclusivity', 'licence')),
  heading text not null,               -- of its clause
  parties text[] not null check (cardinality(parties) > 0 or kind <> 'share'),
  starts_at timestamptz,
  ends_at timestamptz check (ends_at > starts_at),     -- exclusive
  primary key (contract_id, number, term_id),
  foreign key (contract_id, number) references contract_version
);

-- figures, deductions and facts: low in number, each a dated document of its kind.
create table record (
  sequence bigint generated always as identity unique,
  source text not null,
  record_id text not null,
  kind text not null check (kind in ('figure', 'deduction', 'fact')),
  content jsonb not null,
  content_hash uuid not null,
  recorded_at timestamptz not null,
  primary key (source, record_id)
);

-- same id, other content: the first stands.
create table record_conflict (
  conflict_id bigint generated always as identity primary key,
  source text not null,
  record_id text not null,
  content jsonb not null,
  content_hash uuid not null,
  recorded_at timestamptz not null,
  unique (source, record_id, content_hash)
);

call make_append_only('party', 'cloud', 'product', 'product_group', 'deployment', 'price', 'contract_version',
  'contract_term', 'record', 'record_conflict');

call record_after_what_is_known('party', 'cloud', 'product', 'product_group', 'deployment', 'price',
  'contract_version', 'record', 'record_conflict');
