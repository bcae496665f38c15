-- Who may call what. PostgreSQL lets everyone execute a new function; Soniq lets nobody but its owner, until a
-- grant says otherwise. The public functions run with their owner's rights, so a role needs no rights on tables:
--
--   grant usage on schema soniq to shop;
--   grant execute on function soniq.enqueue to shop;

revoke all on all functions in schema soniq from public;
