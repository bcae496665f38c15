-- The shop's own tables, in a schema of their own, made anew at each run. Soniq's tables are not touched.

begin;

do $$
begin
  if exists (
    select
    from pg_catalog.pg_namespace as namespace
    where namespace.nspname = 'orders_demo'
      and pg_catalog.obj_description(namespace.oid, 'pg_namespace') is distinct from 'Soniq''s orders example'
  ) then
    raise exception 'the schema orders_demo was not made by Soniq''s orders example, so it is left alone'
      using hint = 'Rename it, or run the example in another database.';
  end if;
end;
$$;

drop schema if exists orders_demo cascade;
create schema orders_demo;
comment on schema orders_demo is 'Soniq''s orders example';

-- The file as it came: everything is text, and nothing is refused.
create table orders_demo.staged (
  order_id text,
  placed_at text,
  customer text,
  email text,
  total text,
  note text
);

create table orders_demo.orders (
  order_id bigint primary key,
  placed_at timestamptz not null,
  customer text not null,
  email text,
  total numeric(12, 2) not null,
  note text not null
);

-- The key makes a second posting of an order an update, so a job that runs twice counts once.
create table orders_demo.ledger (
  order_id bigint primary key references orders_demo.orders,
  kind text not null check (kind in ('sale', 'refund')),
  amount numeric(12, 2) not null,
  posted_by_job bigint not null
);

commit;
