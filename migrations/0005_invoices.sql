-- invoices and credit notes: drawn once from each issued statement, numbered without gaps by issuer.

-- an issued statement's documents were drawn, none of them where nothing is to be paid.
create table invoice_draw (
  statement_id bigint primary key,
  revision integer not null,
  drawn_at timestamptz not null,
  drawn_by text not null check (drawn_by <> ''),
  unique (statement_id, revision),
  foreign key (statement_id, revision) references statement_revision
);

-- drawn is what was issued, and period after period: a credit note names the invoices that it corrects.
create function refuse_draw() returns trigger language plpgsql as $$
begin
  if not exists (select from statement_status t where t.status = 'issued'
      and (t.statement_id, t.revision) = (new.statement_id, new.revision)) then
    raise exception 'statement %: revision % was never issued', new.statement_id, new.revision
      using errcode = 'check_violation';
  end if;
  if exists (select from statement s join statement before
        on (before.contract_id, before.party_a, before.party_b, before.currency)
           = (s.contract_id, s.party_a, s.party_b, s.currency) and before.period_start < s.period_start
      where s.statement_id = new.statement_id
        and not exists (select from invoice_draw d where d.statement_id = before.statement_id)) then
    raise exception 'statement %: the documents of an earlier period come first', new.statement_id
      using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger issued_in_order before insert on invoice_draw
  for each row execute function refuse_draw();

-- a document. `content` is what the digest is of, byte for byte; the other columns are for finding it.
create table invoice (
  issuer text not null references party,
  sequence integer not null check (sequence > 0),
  -- the document before it has to exist: so there is no gap, whoever writes.
  previous integer generated always as (nullif(sequence - 1, 0)) stored,
  number text not null unique,
  kind text not null check (kind in ('invoice', 'credit_note')),
  payer text not null references party check (payer <> issuer),
  statement_id bigint not null,
  revision integer not null,
  issued_on date not null,
  due_on date,
  -- positive: the payer owes it; negative: it is given back.
  total numeric not null check (case kind when 'invoice' then total > 0 else total < 0 end),
  content text not null,
  sha256 text not null constraint digest_of_the_content check (sha256 = encode(sha256(convert_to(content, 'UTF8')), 'hex')),
  primary key (issuer, sequence),
  foreign key (issuer, previous) references invoice (issuer, sequence),
  foreign key (statement_id, revision) references invoice_draw (statement_id, revision),
  -- one document for each direction of a statement
  unique (statement_id, issuer),
  constraint columns_are_of_the_content check ((content::jsonb ->> 'number') = number
    and (content::jsonb ->> 'kind') = kind and (content::jsonb ->> 'total')::numeric = total)
);

-- the two parties are those of the statement; the one that is paid issues.
create function refuse_other_parties() returns trigger language plpgsql as $$
begin
  if not exists (select from statement s where s.statement_id = new.statement_id
      and (new.issuer, new.payer) in ((s.party_a, s.party_b), (s.party_b, s.party_a))) then
    raise exception 'document %: statement % is between other parties', new.number, new.statement_id
      using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger parties_of_the_statement before insert on invoice
  for each row execute function refuse_other_parties();

-- each issuer's last number. who draws locks the row until the commit, so a draw that is rolled back gives its
-- number back; a number without its document cannot be committed.
create table invoice_counter (
  issuer text primary key references party,
  last_sequence integer not null,
  foreign key (issuer, last_sequence) references invoice (issuer, sequence) deferrable initially deferred
);

call make_append_only('invoice_draw', 'invoice');
