-- From the staged file to orders and their jobs, in one statement and so in one transaction: an order has its jobs,
-- or neither exists. A second run finds every order there and adds nothing. Answers with what was added.

with imported as (
  insert into orders_demo.orders (order_id, placed_at, customer, email, total, note)
  select
    staged.order_id::bigint,
    staged.placed_at::timestamptz,
    staged.customer,
    case when staged.email like '%@%' then pg_catalog.btrim(staged.email) end,
    staged.total::numeric,
    coalesce(staged.note, '')
  from orders_demo.staged as staged
  order by staged.order_id
  on conflict (order_id) do nothing
  returning orders.order_id, orders.customer, orders.note
),
work (job_name, args) as (
  select
    'orders_demo.write_invoice',
    pg_catalog.array_agg(pg_catalog.jsonb_build_object('order_id', imported.order_id))
  from imported
  union all
  select
    'orders_demo.post_to_ledger',
    pg_catalog.array_agg(pg_catalog.jsonb_build_object('order_id', imported.order_id))
  from imported
  union all
  select
    'orders_demo.tell_warehouse',
    pg_catalog.array_agg(pg_catalog.jsonb_build_object(
      'order_id', imported.order_id,
      'customer', imported.customer,
      'note', imported.note
    ))
  from imported
)
select
  (select pg_catalog.count(*) from imported) as orders,
  pg_catalog.count(job.id) as jobs,
  pg_catalog.min(job.id) as first_job_id
from work
cross join lateral soniq.enqueue_many(
  job_name => work.job_name,
  args => coalesce(work.args, '{}'),
  queue => 'orders_demo'
) as job (id);
