"""What `soniq doctor` asks of the way to the database: rights, room for connections, poolers, LISTEN, the clock."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg

from soniq.commands.findings import CONNECTIONS_OF_A_RUNNER, Finding, Patient
from soniq.database import CANNOT_CONNECT, close, connect, describe, is_direct, masked
from soniq.errors import SoniqError

# What a runner calls.
FUNCTIONS = (
    *("register_job_type", "register_runner", "claim", "complete", "fail", "snooze", "release"),
    *(
        "heartbeat",
        "resume_runner",
        "deregister_runner",
        "take_bell",
        "wait_for_jobs",
        "stop_waiting",
        "wake_others",
        "tick",
    ),
    *("schedule", "prune_schedules", "version"),
)
SECONDS_TO_HEAR = 2.0
CLOCKS_MAY_DIFFER = 2.0
LISTEN_REMEDY = "set SONIQ_LISTEN_URL to a direct address of the same database, past any pooler"


def unreachable(error: SoniqError) -> Finding:
    """That there is no connection to look at anything by."""
    # What the connection says tells the remedy, except where there is a server, but the wrong one.
    remedy = None
    if "the server is read-only" in str(error):
        remedy = (
            "let SONIQ_DATABASE_URL lead to the primary, or name all servers, as in"
            " postgresql://a,b/shop?target_session_attrs=read-write; if this is the primary, see what"
            " default_transaction_read_only is, and why"
        )
    return Finding("problem", "database", str(error), remedy)


async def server(patient: Patient) -> AsyncIterator[Finding]:
    """Which database this is, so that one sees whether it is the one that was meant."""
    found = await patient.connection.fetchrow(
        """
        select
          current_database() as database, current_user as "user", soniq.version() as schema,
          current_setting('server_version') as version,
          current_setting('server_version_num')::integer / 10000 as major
        """
    )
    says = (
        f"database {found['database']} as {found['user']} at {masked(patient.url)},"
        f" PostgreSQL {found['version']}, schema soniq {found['schema']}"
    )
    if found["major"] < 14:
        yield Finding("warning", "database", says, "upgrade: Soniq is tested from PostgreSQL 14 on")
    else:
        yield Finding("ok", "database", says)


async def rights(patient: Patient) -> AsyncIterator[Finding]:
    """Whether this user may call what a runner calls."""
    called = FUNCTIONS if patient.metrics_port is None else (*FUNCTIONS, "metrics")
    missing = await patient.connection.fetchval(
        """
        select array_agg(distinct function.proname order by function.proname)
        from pg_proc as function
        where function.pronamespace = 'soniq'::regnamespace
          and function.proname = any ($1::text[])
          and not has_function_privilege(function.oid, 'execute')
        """,
        called,
    )
    if not missing:
        yield Finding("ok", "rights", f"may call all {len(called)} functions that a runner calls")
        return
    yield Finding(
        "problem",
        "rights",
        f"may not call {', '.join(missing)}",
        await _remedy_for_rights(patient.connection, missing),
    )


async def _remedy_for_rights(connection: asyncpg.Connection, missing: list[str]) -> str:
    """How this user gets what a runner needs: by the role that has it, where there is that role."""
    user, has_role = await connection.fetchrow(
        "select quote_ident(current_user), pg_has_role(to_regrole('soniq_runner'), 'usage')"
    )
    if has_role is None:
        grants = ", ".join(f"soniq.{name}" for name in missing)
        return f"as the owner of the schema: grant execute on function {grants} to {user}"
    if has_role:
        return "soniq_runner has lost its rights; as the owner of the schema: select soniq.grant_roles()"
    return f"as an administrator: grant soniq_runner to {user}"


async def room(patient: Patient) -> AsyncIterator[Finding]:
    """Whether the server has as many connections as the runners may take."""
    found = await patient.connection.fetchrow(
        """
        select
          current_setting('max_connections')::integer
            - current_setting('superuser_reserved_connections')::integer
            - coalesce(current_setting('reserved_connections', true)::integer, 0) as most,
          role.rolconnlimit as of_role,
          db.datconnlimit as of_database,
          (select count(*) from soniq.runners where lost_at is null) as runners,
          (
            select count(*)
            from pg_stat_activity
            where backend_type = 'client backend'
              and application_name not like 'soniq-runner%'
          ) as others
        from pg_roles as role
        cross join pg_database as db
        where role.rolname = current_user
          and db.datname = current_database()
        """
    )
    limits = [found["most"], found["of_role"], found["of_database"]]
    most = min(limit for limit in limits if limit >= 0)
    serves_metrics = patient.metrics_port is not None
    listens_elsewhere = patient.listen_url is not None
    each = CONNECTIONS_OF_A_RUNNER + listens_elsewhere + serves_metrics + patient.pool_max_size
    runners = max(found["runners"], 1)
    wanted = runners * each
    says = (
        f"{runners} runner{'s' if runners > 1 else ''} of {CONNECTIONS_OF_A_RUNNER}"
        f"{' + 1 for SONIQ_LISTEN_URL' if listens_elsewhere else ''}"
        f"{' + 1 for SONIQ_METRICS_PORT' if serves_metrics else ''} + SONIQ_POOL_MAX_SIZE"
        f" {patient.pool_max_size} may take {wanted} of {most} connections; others have {found['others']}"
    )
    if patient.pool_max_size:
        # How many apps there are is known only to whoever imports the modules, which may do anything.
        says += "; where SONIQ_JOBS_MODULES has several apps, each further one may take as many for its own pool"
    remedy = (
        "lower SONIQ_POOL_MAX_SIZE (0 if no handler asks for app.connection()), raise max_connections,"
        " or run fewer runners with more SONIQ_CONCURRENCY"
    )
    if wanted > most:
        yield Finding("problem", "connections", says, remedy)
    elif wanted + found["others"] > most:
        yield Finding("warning", "connections", says, remedy)
    else:
        yield Finding("ok", "connections", says)


async def pooler(patient: Patient) -> AsyncIterator[Finding]:
    """Whether something stands between, and whether it gives one session to several clients."""
    first = patient.connection
    session = await first.fetchval("select pg_backend_pid()")
    second = await connect(patient.url, "doctor")
    try:
        # A pooler in transaction mode gives the session that was used last to whoever comes next; and while that one
        # is in a transaction, our next statement gets another.
        async with second.transaction():
            shared = await second.fetchval("select pg_backend_pid()") == session
            moved = await first.fetchval("select pg_backend_pid()") != session
    finally:
        await close(second)
    if shared or moved:
        direct = patient.listen_url is not None
        yield Finding(
            "note" if direct else "warning",
            "pooler",
            "a pooler stands between and changes sessions with each transaction (as PgBouncer does with"
            " pool_mode=transaction)"
            + (
                "; SONIQ_LISTEN_URL goes past it"
                if direct
                else ": runners hear no notification and only poll"
            ),
            None
            if direct
            else "set SONIQ_LISTEN_URL to a direct address of the database, for LISTEN",
        )
    elif not await is_direct(first):
        yield Finding(
            "note",
            "pooler",
            "a pooler stands between, and keeps each client's session (pool_mode=session)",
        )
    else:
        yield Finding("ok", "pooler", "none: connections are the server's own")


async def listening(patient: Patient) -> AsyncIterator[Finding]:
    """Whether a notification sent the way producers do is heard where runners listen."""
    where = patient.listen_url or patient.url
    through = "SONIQ_DATABASE_URL" if patient.listen_url is None else "SONIQ_LISTEN_URL"
    channel = f"soniq_doctor_{secrets.token_hex(8)}"
    heard = asyncio.Event()
    try:
        listener = await connect(where, "doctor")
    except (*CANNOT_CONNECT, SoniqError) as error:
        yield Finding(
            "warning",
            "listen",
            f"{through}, which is {masked(where)}, gives no connection, so runners only poll:"
            f" {error if isinstance(error, SoniqError) else describe(error)}",
            LISTEN_REMEDY,
        )
        return
    try:
        await listener.add_listener(channel, lambda *_: heard.set())
        start = time.monotonic()
        await patient.connection.execute("select pg_notify($1, '')", channel)
        async with asyncio.timeout(SECONDS_TO_HEAR):
            await heard.wait()
    except TimeoutError:
        yield Finding(
            "warning",
            "listen",
            f"a notification was not heard within {SECONDS_TO_HEAR:g} s through {through}: runners only"
            " poll, so jobs may wait for SONIQ_POLL_INTERVAL",
            LISTEN_REMEDY,
        )
    else:
        took = (time.monotonic() - start) * 1000
        yield Finding(
            "ok", "listen", f"a notification was heard after {took:.0f} ms through {through}"
        )
    finally:
        await close(listener)


async def clock(patient: Patient) -> AsyncIterator[Finding]:
    """How far this machine's clock is from the database's, by which Soniq goes."""
    difference, round_trip = await _clock_difference(patient.connection)
    says = f"this machine's is {abs(difference):.1f} s {'ahead of' if difference > 0 else 'behind'} the database's"
    if abs(difference) - round_trip <= CLOCKS_MAY_DIFFER:
        yield Finding("ok", "clock", f"{says} (a round trip takes {round_trip * 1000:.0f} ms)")
    else:
        yield Finding(
            "warning",
            "clock",
            f"{says}: Soniq goes by the database's, while handlers and logs go by this one",
            "synchronise both by NTP, as with chrony or systemd-timesyncd",
        )


async def _clock_difference(connection: asyncpg.Connection) -> tuple[float, float]:
    """Seconds by which this machine is ahead, from the quickest of some answers, and how long that took."""
    answers = []
    for _ in range(5):
        before = datetime.now(UTC)
        there = await connection.fetchval("select clock_timestamp()")
        took = datetime.now(UTC) - before
        answers.append(((before + took / 2 - there).total_seconds(), took.total_seconds()))
    return min(answers, key=lambda answer: answer[1])
