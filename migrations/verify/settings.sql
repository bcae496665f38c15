-- Verify soniq:settings on pg

select 1 / count(*) from soniq.settings where only_row;
