"""What `soniq doctor` asks of the server: what holds vacuum up, and whether vacuum comes."""

from collections.abc import AsyncIterator

from soniq.commands.common import duration, in_words
from soniq.commands.findings import HOUR, MINUTES, Finding, Level, Patient

MANY_DEAD_ROWS = 100_000


async def transactions(patient: Patient) -> AsyncIterator[Finding]:
    """What keeps vacuum from removing rows: transactions, prepared ones, replication slots."""
    holders = await patient.connection.fetch(
        """
        select
          'session' as kind, pid::text as name, usename as "user", application_name as application, state,
          clock_timestamp() - xact_start as age,
          'end it: select pg_terminate_backend(' || pid
            || '); and set idle_in_transaction_session_timeout' as remedy
        from pg_stat_activity
        where (backend_xmin is not null or backend_xid is not null)
          and datname = current_database()
          and pid <> pg_backend_pid()
          and backend_type = 'client backend'
        union all
        select
          'prepared transaction', gid, owner, null, null, clock_timestamp() - prepared,
          'end it: commit prepared or rollback prepared ' || quote_literal(gid)
        from pg_prepared_xacts
        where database = current_database()
        order by age desc nulls last
        """
    )
    old = [holder for holder in holders if holder["age"] is not None and holder["age"] > MINUTES]
    for holder in old[:10]:
        level: Level = "problem" if holder["age"] > HOUR else "warning"
        told = ", ".join(
            str(holder[name]) for name in ("user", "application", "state") if holder[name]
        )
        yield Finding(
            level,
            "transactions",
            f"{holder['kind']} {holder['name']} ({told}) has a transaction open for"
            f" {duration(holder['age'])}: vacuum cannot remove what was done with since",
            holder["remedy"],
        )
    hidden = sum(holder["age"] is None for holder in holders)
    if hidden:
        yield Finding(
            "note",
            "transactions",
            f"how old the transactions of {hidden} other sessions are is not shown to this user",
            "grant pg_read_all_stats to it",
        )
    if not old and not hidden:
        yield Finding("ok", "transactions", "none is older than 5 minutes")


async def slots(patient: Patient) -> AsyncIterator[Finding]:
    """Replication slots that hold rows back, and are not in use or far behind."""
    records = await patient.connection.fetch(
        """
        select slot_name, active, age(xmin) as transactions
        from pg_replication_slots
        where xmin is not null
        order by age(xmin) desc
        """
    )
    bad = [each for each in records if not each["active"] or each["transactions"] > 1_000_000]
    for each in bad:
        yield Finding(
            "warning",
            "replication slots",
            f"{each['slot_name']} ({'in use' if each['active'] else 'not in use'}) keeps vacuum from what"
            f" {each['transactions']} transactions left behind",
            f"bring its standby up, or: select pg_drop_replication_slot('{each['slot_name']}')",
        )
    if not bad:
        yield Finding("ok", "replication slots", "none holds rows back")


async def vacuum(patient: Patient) -> AsyncIterator[Finding]:
    """Whether autovacuum is on, and keeps up with soniq's tables."""
    off = await patient.connection.fetch(
        """
        select name from pg_settings where name in ('autovacuum', 'track_counts') and setting = 'off'
        """
    )
    for setting in off:
        yield Finding(
            "problem",
            "vacuum",
            f"{setting['name']} is off on this server: soniq.jobs only grows, and claims become slow",
            f"alter system set {setting['name']} = on; select pg_reload_conf()",
        )
    tables = await patient.connection.fetch(
        """
        select
          class.relname as name,
          coalesce('autovacuum_enabled=false' = any (class.reloptions)
            or 'autovacuum_enabled=off' = any (class.reloptions), false) as disabled,
          stats.n_dead_tup as dead, stats.n_live_tup as live,
          stats.last_autovacuum as last_time
        from pg_class as class
        join pg_stat_user_tables as stats
          on stats.relid = class.oid
        where class.relnamespace = 'soniq'::regnamespace
        order by class.relname
        """
    )
    behind = False
    for each in tables:
        if each["disabled"]:
            behind = True
            yield Finding(
                "problem",
                "vacuum",
                f"autovacuum is switched off for soniq.{each['name']}",
                f"alter table soniq.{each['name']} reset (autovacuum_enabled)",
            )
        elif each["dead"] > max(MANY_DEAD_ROWS, each["live"]):
            behind = True
            yield Finding(
                "warning",
                "vacuum",
                f"soniq.{each['name']} has {each['dead']} dead rows and {each['live']} live ones; autovacuum"
                f" came last at {in_words(each['last_time'])}",
                f"look for old transactions above; then: vacuum soniq.{each['name']}",
            )
    if not off and not behind:
        yield Finding("ok", "vacuum", f"is on and keeps up with {len(tables)} tables")
