-- A table of somebody else's, in the same database.

create table plain.bystander (
  id integer primary key,
  amount integer not null,
  note text not null
);

insert into plain.bystander (id, amount, note)
select n, n % 100, repeat('x', 80)
from generate_series(1, 100000) as n;
