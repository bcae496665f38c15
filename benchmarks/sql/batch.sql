insert into plain.batch (args)
select array_agg(jsonb_build_object('number', number) order by number)
from generate_series(1, :jobs) as number;
