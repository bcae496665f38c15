-- Deploy soniq:schema to pg

begin;

create schema if not exists soniq;

comment on schema soniq is
  'Soniq: background jobs that live in this database. Start with soniq.enqueue() and \df+ soniq.*';

commit;
