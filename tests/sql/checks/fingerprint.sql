-- What a database is made of, fact by fact, sorted and without oids: two databases of which it says the same were built
-- alike. It tells of everything outside the system's schemas and sqitch's own registry, and of the rows that a
-- deployment itself has put into Soniq's tables. For psql -XqAt; it reads and changes nothing.

set search_path = pg_catalog, pg_temp;

create temporary table facts (kind text, identity text, fact text);

create temporary view our_schemas as
select schema.oid, schema.nspname as name
from pg_catalog.pg_namespace as schema
where schema.nspname !~ '^pg_'
  and schema.nspname not in ('information_schema', 'sqitch');

create temporary view our_relations as
select relation.*, relation.oid::regclass::text as name
from pg_catalog.pg_class as relation
join our_schemas as schema
  on schema.oid = relation.relnamespace;

-- An absent list of privileges means the default one, so the two are told alike.
create function pg_temp.privileges(acl aclitem[], kind "char", owner oid)
returns text
language sql
as $$
  select string_agg(
    format(
      '%s may %s%s (by %s)',
      case privilege.grantee when 0 then 'public' else privilege.grantee::regrole::text end,
      privilege.privilege_type,
      case when privilege.is_grantable then ' and grant it' end,
      privilege.grantor::regrole
    ),
    ', ' order by privilege.grantee::regrole::text, privilege.privilege_type, privilege.grantor::regrole::text
  )
  from aclexplode(coalesce(acl, acldefault(kind, owner))) as privilege;
$$;

insert into facts
select 'schema', schema.name, format('owner %s; %s', part.nspowner::regrole, pg_temp.privileges(part.nspacl, 'n', part.nspowner))
from our_schemas as schema
join pg_catalog.pg_namespace as part
  on part.oid = schema.oid;

insert into facts
select
  'relation',
  relation.name,
  format(
    'kind %s, persistence %s, owner %s, access method %s, options %s, tablespace %s, replica identity %s, row security %s%s, partition key %s, partition of %s %s; %s',
    relation.relkind,
    relation.relpersistence,
    relation.relowner::regrole,
    (select method.amname from pg_catalog.pg_am as method where method.oid = relation.relam),
    (select array_agg(option order by option) from unnest(relation.reloptions) as option),
    relation.reltablespace,
    relation.relreplident,
    relation.relrowsecurity,
    relation.relforcerowsecurity,
    case relation.relkind when 'p' then pg_get_partkeydef(relation.oid) end,
    (select array_agg(link.inhparent::regclass::text order by link.inhseqno) from pg_catalog.pg_inherits as link where link.inhrelid = relation.oid),
    pg_get_expr(relation.relpartbound, relation.oid),
    case
      when relation.relkind not in ('i', 'I', 'c') then
        pg_temp.privileges(relation.relacl, case relation.relkind when 'S' then 's'::"char" else 'r'::"char" end, relation.relowner)
    end
  )
from our_relations as relation;

-- The place among the columns that are there: a dropped column leaves a gap in attnum.
insert into facts
select
  'column',
  format('%s.%s', relation.name, attribute.attname),
  format(
    'column %s: %s, not null %s, default %s, identity %s, generated %s, storage %s, compression %s, collation %s, options %s; %s',
    row_number() over (partition by relation.oid order by attribute.attnum),
    format_type(attribute.atttypid, attribute.atttypmod),
    attribute.attnotnull,
    pg_get_expr(preset.adbin, preset.adrelid),
    attribute.attidentity,
    attribute.attgenerated,
    attribute.attstorage,
    attribute.attcompression,
    nullif(attribute.attcollation, 0)::regcollation,
    (
      -- The server's own stamp, which differs from one CREATE to the next (PostgreSQL 15.20).
      select array_agg(option order by option)
      from unnest(attribute.attoptions) as option
      where option not like 'pg\_attver=%'
    ),
    pg_temp.privileges(attribute.attacl, 'c', relation.relowner)
  )
from our_relations as relation
join pg_catalog.pg_attribute as attribute
  on attribute.attrelid = relation.oid
  and attribute.attnum > 0
  and not attribute.attisdropped
left join pg_catalog.pg_attrdef as preset
  on preset.adrelid = relation.oid
  and preset.adnum = attribute.attnum;

insert into facts
select
  'index',
  index.indexrelid::regclass::text,
  format('%s; valid %s, clustered on %s, replica identity %s', pg_get_indexdef(index.indexrelid), index.indisvalid, index.indisclustered, index.indisreplident)
from pg_catalog.pg_index as index
join our_relations as relation
  on relation.oid = index.indrelid;

insert into facts
select
  'constraint',
  format('%s on %s%s', part.conname, nullif(part.conrelid, 0)::regclass, nullif(part.contypid, 0)::regtype),
  format('%s; validated %s', pg_get_constraintdef(part.oid), part.convalidated)
from pg_catalog.pg_constraint as part
join our_schemas as schema
  on schema.oid = part.connamespace;

insert into facts
select 'trigger', format('%s on %s', part.tgname, relation.name), format('%s; enabled %s', pg_get_triggerdef(part.oid), part.tgenabled)
from pg_catalog.pg_trigger as part
join our_relations as relation
  on relation.oid = part.tgrelid
where not part.tgisinternal;

-- The rule of a view is its definition.
insert into facts
select 'rule', format('%s on %s', part.rulename, relation.name), format('%s; enabled %s', pg_get_ruledef(part.oid), part.ev_enabled)
from pg_catalog.pg_rewrite as part
join our_relations as relation
  on relation.oid = part.ev_class;

insert into facts
select
  'policy',
  format('%s on %s', part.polname, relation.name),
  format('%s, permissive %s, roles %s, using %s, check %s', part.polcmd, part.polpermissive, part.polroles::regrole[], pg_get_expr(part.polqual, part.polrelid), pg_get_expr(part.polwithcheck, part.polrelid))
from pg_catalog.pg_policy as part
join our_relations as relation
  on relation.oid = part.polrelid;

insert into facts
select
  'sequence',
  relation.name,
  format(
    '%s from %s by %s, %s to %s, cache %s, cycle %s, owned by %s',
    part.seqtypid::regtype, part.seqstart, part.seqincrement, part.seqmin, part.seqmax, part.seqcache, part.seqcycle,
    (
      select format('%s.%s', owner.refobjid::regclass, attribute.attname)
      from pg_catalog.pg_depend as owner
      join pg_catalog.pg_attribute as attribute
        on attribute.attrelid = owner.refobjid
        and attribute.attnum = owner.refobjsubid
      where owner.classid = 'pg_class'::regclass
        and owner.objid = part.seqrelid
        and owner.deptype in ('a', 'i')
        and owner.refobjsubid > 0
    )
  )
from pg_catalog.pg_sequence as part
join our_relations as relation
  on relation.oid = part.seqrelid;

-- Language, arguments with their defaults, result, volatility, strictness, security, settings, cost and body.
insert into facts
select
  'function',
  function.oid::regprocedure::text,
  format(
    'owner %s; %s; %s',
    function.proowner::regrole,
    case when function.prokind in ('f', 'p') then pg_get_functiondef(function.oid) else format('kind %s', function.prokind) end,
    pg_temp.privileges(function.proacl, 'f', function.proowner)
  )
from pg_catalog.pg_proc as function
join our_schemas as schema
  on schema.oid = function.pronamespace;

insert into facts
select
  'type',
  type.oid::regtype::text,
  format(
    'kind %s, category %s, owner %s, base %s, not null %s, default %s, labels %s; %s',
    type.typtype,
    type.typcategory,
    type.typowner::regrole,
    case when type.typbasetype <> 0 then format_type(type.typbasetype, type.typtypmod) end,
    type.typnotnull,
    type.typdefault,
    (select array_agg(label.enumlabel order by label.enumsortorder) from pg_catalog.pg_enum as label where label.enumtypid = type.oid),
    pg_temp.privileges(type.typacl, 'T', type.typowner)
  )
from pg_catalog.pg_type as type
join our_schemas as schema
  on schema.oid = type.typnamespace;

insert into facts
select 'statistics', part.oid::regclass::text, pg_get_statisticsobjdef(part.oid)
from pg_catalog.pg_statistic_ext as part;

insert into facts
select 'default privileges', format('%s in %s for %s', part.defaclrole::regrole, nullif(part.defaclnamespace, 0)::regnamespace, part.defaclobjtype), part.defaclacl::text
from pg_catalog.pg_default_acl as part;

insert into facts
select 'extension', part.extname, part.extversion
from pg_catalog.pg_extension as part;

insert into facts
select 'event trigger', part.evtname, format('%s %s calls %s, enabled %s', part.evtevent, part.evttags, part.evtfoid::regprocedure, part.evtenabled)
from pg_catalog.pg_event_trigger as part;

insert into facts
select 'publication', part.pubname, part::text
from pg_catalog.pg_publication as part;

insert into facts
select 'setting', coalesce(nullif(part.setrole, 0)::regrole::text, 'everyone'), part.setconfig::text
from pg_catalog.pg_db_role_setting as part
join pg_catalog.pg_database as database
  on database.oid = part.setdatabase
where database.datname = current_database();

-- What is called by the same name wherever it has a comment.
insert into facts
select
  'comment',
  format('%s %s', object.type, object.identity),
  comment.description
from pg_catalog.pg_description as comment
cross join lateral pg_identify_object(comment.classoid, comment.objoid, comment.objsubid) as object
where object.schema in (select schema.name from our_schemas as schema)
  or object.schema is null and object.name in (select schema.name from our_schemas as schema)
  or object.type in ('trigger', 'policy', 'rule', 'table constraint', 'domain constraint')
    and object.identity like '%soniq.%';

select
  format(
    'insert into facts select %L, %L, content::text from %s as content;',
    'row', relation.name, relation.name
  )
from our_relations as relation
where relation.relkind in ('r', 'p')
  and not relation.relispartition
\gexec

select format('%s %s: %s', fact.kind, fact.identity, fact.fact)
from facts as fact
order by fact.kind collate "C", fact.identity collate "C", fact.fact collate "C";
