-- A week of history with every queue at work in all of it, in the order in which tick() would have noted it.

insert into soniq.history
select
  case n when 0 then '' else 'queue ' || n end,
  spans.span,
  date_bin(spans.span, now(), 'epoch') - spans.span * step,
  100 + n % 7, 1, 5, 1, 10, '1 second', array_fill(5::bigint, '{23}'), array_fill(5::bigint, '{23}')
from (
  values (interval '1 minute', 120), ('10 minutes', 288), ('1 hour', 168)
) as spans (span, steps)
cross join lateral generate_series(spans.steps, 0, -1) as step
cross join generate_series(0, :queues) as n
order by step * spans.span desc, spans.span, n
on conflict (queue, span, began_at) do nothing;

vacuum analyze soniq.history;
