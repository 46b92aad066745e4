-- who may ask and act over http: keys, what a partner's key sees, and requests that are answered once.

-- a key is known to its holder alone: the database has the digest of its secret part. that has 256 random bits,
-- so a slow digest would add nothing.
create table api_key (
  key_id text primary key check (key_id ~ '^[0-9a-f]{16}$'),
  secret_sha256 bytea not null check (length(secret_sha256) = 32),
  -- who acts by it: a maker and an approver are told apart by this, not by the key
  holder text not null check (holder <> '' and holder = btrim(holder)),
  scopes text[] not null check (cardinality(scopes) > 0
    and scopes <@ array['read', 'ingest', 'settle', 'approve', 'admin']),
  party text references party,         -- absent: it sees all
  created_at timestamptz not null,
  created_by text not null check (created_by <> ''),
  expires_at timestamptz check (expires_at > created_at),
  -- a partner reads what concerns it, and agrees to it or disputes it
  constraint scopes_of_a_partner check (party is null or scopes <@ array['read', 'approve']),
  unique (key_id, party)
);

create table api_key_revocation (
  key_id text primary key references api_key,
  revoked_at timestamptz not null,
  revoked_by text not null check (revoked_by <> '')
);

call make_append_only('api_key', 'api_key_revocation');

-- a write that named itself by an idempotency key, and its answer, which a repetition is given again. it is written
-- in the transaction of what it answers: there is none without what was done, and nothing done without it.
create table api_request (
  key_id text not null references api_key,
  idempotency_key text not null check (length(idempotency_key) between 1 and 255),
  request_sha256 bytea not null check (length(request_sha256) = 32),
  answered_at timestamptz not null,
  -- 422: of the events that were sent some were rejected, and the others taken in; 400: what was sent as spans was none,
  -- and is recorded as rejected
  status smallint not null check (status between 200 and 299 or status in (400, 422)),
  content_type text,
  etag text,
  body bytea not null,
  primary key (key_id, idempotency_key)
);
create index api_request_answered_at on api_request (answered_at);

-- what the request that asked for a run calls itself, where it does: a repetition finds what ran for it.
alter table job_run
  add foreign key (key_id) references api_key,
  add column idempotency_key text check (idempotency_key is null or key_id is not null);
create index job_run_request on job_run (key_id, idempotency_key) where idempotency_key is not null;

-- the key that a status was set with, and the party that it is bound to; none where it was set at the command line.
alter table statement_status
  add column key_id text references api_key,
  add column party text,
  add constraint party_of_a_key check (party is null or key_id is not null),
  add constraint party_is_the_keys foreign key (key_id, party) references api_key (key_id, party);

-- the role that a partner's requests take on: it sees the rows that concern the party, and nothing else. roles
-- belong to the whole server, so another database of it may have made this one, or be making it now.
do $$
begin
  if not exists (select from pg_roles where rolname = 'apportion_partner') then
    create role apportion_partner nologin;
  end if;
exception when duplicate_object or unique_violation then null;
end $$;
do $$
begin
  if not pg_has_role(current_user, 'apportion_partner', 'set') then
    grant apportion_partner to current_user;
  end if;
end $$;

-- the party whose key asks; set for the length of a transaction.
create function asking_party() returns text language sql stable as $$
  select nullif(current_setting('apportion.party', true), '')
$$;

-- these two look past the policies, which would else ask each other for ever. they run as the owner: every name in
-- them has its schema, temporary tables of whoever asks come last, and nobody but the partner's role may call them.
create function concerns_asking_party(contract text) returns boolean language sql stable security definer
  set search_path = pg_catalog, pg_temp as $$
  select exists (select from public.contract_term t
    where t.contract_id = contract and public.asking_party() = any (t.parties))
$$;
-- which revision of a statement was issued, and at which place of its statuses; drafts are ours alone.
create function issued_revision(statement bigint) returns table (revision integer, sequence integer)
  language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select t.revision, t.sequence from public.statement_status t
  where t.statement_id = statement and t.status = 'issued'
$$;
revoke execute on function concerns_asking_party(text), issued_revision(bigint) from public;
grant execute on function concerns_asking_party(text), issued_revision(bigint) to apportion_partner;

grant usage on schema public to apportion_partner;
grant select on contract_version, contract_term, statement, statement_revision, statement_status, deployment,
  usage_dimension, usage_rollup_row, usage_rollup, invoice, invoice_draw to apportion_partner;

-- when a batch was recorded, which says what counts as known then; nothing of what came in it.
grant select (batch_id, recorded_at) on usage_batch to apportion_partner;

alter table contract_version enable row level security;
create policy of_party on contract_version for select to apportion_partner using (concerns_asking_party(contract_id));
alter table contract_term enable row level security;
create policy of_party on contract_term for select to apportion_partner using (concerns_asking_party(contract_id));

alter table statement enable row level security;
create policy of_party on statement for select to apportion_partner
  using (asking_party() in (party_a, party_b) and exists (select from issued_revision(statement_id)));
alter table statement_revision enable row level security;
create policy of_party on statement_revision for select to apportion_partner
  using (exists (select from statement s where s.statement_id = statement_revision.statement_id)
    and revision = (select i.revision from issued_revision(statement_id) i));
alter table statement_status enable row level security;
create policy of_party on statement_status for select to apportion_partner
  using (exists (select from statement s where s.statement_id = statement_status.statement_id)
    and sequence >= (select i.sequence from issued_revision(statement_id) i));

alter table invoice enable row level security;
create policy of_party on invoice for select to apportion_partner using (asking_party() in (issuer, payer));
alter table invoice_draw enable row level security;
create policy of_party on invoice_draw for select to apportion_partner
  using (exists (select from statement s where s.statement_id = invoice_draw.statement_id));

-- usage concerns who runs the deployment and who sells there.
alter table deployment enable row level security;
create policy of_party on deployment for select to apportion_partner using (asking_party() in (operator, seller));
alter table usage_dimension enable row level security;
create policy of_party on usage_dimension for select to apportion_partner
  using (deployment in (select d.deployment_id from deployment d));
alter table usage_rollup_row enable row level security;
create policy of_party on usage_rollup_row for select to apportion_partner
  using (dimension_id in (select d.dimension_id from usage_dimension d));
