-- Do the books balance? Each order once in the ledger, with its own amount.

select
  pg_catalog.count(orders.order_id) as orders,
  pg_catalog.count(ledger.order_id) as entries,
  pg_catalog.count(*) filter (where ledger.amount is distinct from orders.total) as wrong_or_missing,
  pg_catalog.sum(orders.total) as orders_total,
  coalesce(pg_catalog.sum(ledger.amount), 0) as ledger_total
from orders_demo.orders as orders
full join orders_demo.ledger as ledger
  on ledger.order_id = orders.order_id;
