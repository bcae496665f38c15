"""Copies of a database that has jobs: dumped and restored, replicated by rows. All arrives, and the copy works.

What docs/postgresql.md tells to run there is run as it stands.
"""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from conftest import StartRunner, WriteJobs, rows
from psycopg import sql
from test_docs import blocks
from testing.catalog import expect_same, fingerprint
from testing.commands import CommandFailed, run
from testing.deployment import deploy_snapshot, psql
from testing.server import USER, Server, throwaway_server
from waiting import wait_for

HANDLERS = """
    from datetime import timedelta
    from soniq import Job, PermanentFailure, Snooze, Soniq
    app = Soniq()

    @app.job
    async def quick():
        return "done"

    @app.job(retry_delay=0.05)
    async def awkward(job: Job):
        match job.id % 4, job.attempt:
            case 0, _:
                raise PermanentFailure("no use")
            case 1, 1:
                raise Snooze(timedelta(milliseconds=50))
            case 2, 1:
                raise RuntimeError("once more")
"""
IMPATIENT = {"heartbeat_interval": 0.2, "tick_interval": 0.1, "poll_interval": 0.2}

# Every state that a row can be in. The runner has died without a word.
FILL = """
    update soniq.settings set default_max_attempts = 7;
    select soniq.register_job_type('awkward', retry_delays => '{0.05 seconds}', backoff => 'fixed');
    select soniq.register_job_type('later', queue => 'slow', priority => 500, retention => '30 days');
    select soniq.configure_queue('brief', retention => '1 day');
    select soniq.pause_queue('held');
    select soniq.schedule('nightly', job_name => 'quick', cron => '0 3 * * *', timezone => 'Europe/Berlin');
    select soniq.schedule('idle', job_name => 'quick', every => '1 hour');
    select soniq.pause_schedule('idle');

    select soniq.register_runner('gone', concurrency => 5, heartbeat_timeout => '1 second');
    select soniq.enqueue_many('quick', array_fill('{}'::jsonb, '{6}'));
    select soniq.enqueue('quick', queue => 'brief');
    select soniq.enqueue('later', queue => 'default');
    select soniq.claim(1, max_jobs => 8);
    select soniq.complete(job_id => 1, attempt => 1, result => '{"large": 9007199254740993, "é": [null]}');
    select soniq.complete(array[7, 8], array[1, 1], array[null, null]::jsonb[]);
    select soniq.fail(2, 1, '{"type": "Error", "message": "it is so"}', 'permanent_failure');
    select soniq.fail(3, 1, '{"type": "Error", "message": "again"}');
    select soniq.snooze(4, 1, '1 day');
    update soniq.finished_jobs set keep_until = keep_until + interval '1 year' where id = 7;

    select soniq.enqueue('quick', '{"n": 1e400}', priority => 3, headers => '{"traceparent": "00-1"}');
    select soniq.enqueue('quick', queue => 'held', dedup_key => 'only one');
    select soniq.cancel(soniq.enqueue('quick'));
    select soniq.enqueue('quick', delay => '1 week', timeout => '0');
    select soniq.replay_dead_letters(ids => '{2}');
    select soniq.run_schedule_now('nightly');
    select soniq.bind_tenant('pg_monitor', 'acme');
    select soniq.tick();
"""
LEFT_BEHIND = [5, 6]  # what the runner of FILL holds for ever

TABLES = """
    select relname::text
    from pg_class
    where relnamespace = 'soniq'::regnamespace and relkind in ('r', 'p') and not relispartition
    order by relname
"""
SEQUENCES = (
    "select sequencename::text, last_value from pg_sequences where schemaname = 'soniq' order by 1"
)


def fill(url: str) -> None:
    """Jobs in every state, and whatever else there can be."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in FILL.split(";\n"):
            connection.execute(statement.encode())
    states = [state for (state,) in rows(url, "select distinct status::text from soniq.all_jobs")]
    assert sorted(states) == ["cancelled", "dead_letter", "done", "processing", "queued"]
    places = rows(url, "select distinct tableoid::regclass::text from soniq.finished_jobs")
    assert len(places) == 3
    assert ("soniq.finished_jobs_default",) in places
    assert [name for name, content in contents(url).items() if not content] == []


def contents(url: str) -> dict[str, list[str]]:
    """Every row of every table, as text."""
    read = sql.SQL("select part::text from soniq.{} as part order by 1")
    with psycopg.connect(url) as connection:
        names = [str(name) for (name,) in connection.execute(TABLES)]
        return {
            name: [row for (row,) in connection.execute(read.format(sql.Identifier(name)))]
            for name in names
        }


def known_ids(url: str) -> set[int]:
    return {job_id for (job_id,) in rows(url, "select id from soniq.all_jobs")}


def name_of(url: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(url)["dbname"])


def pg(server: Server, database: str, program: str, *arguments: str | Path) -> str:
    """Runs pg_dump, pg_dumpall or pg_restore."""
    return run(program, *arguments, environment=server.environment(database))


def run_page(url: str, word: str, **replaced: str) -> list[tuple[str, ...]]:
    """Runs the statement of docs/postgresql.md that has a word in it, and answers with its rows."""
    [statement] = [block for block in blocks("postgresql.md", "sql") if word in block]
    for was, becomes in replaced.items():
        statement = statement.replace(was, becomes)
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description is not None else []


def take_roles(origin: Server, target: Server, folder: Path) -> None:
    """As the page has it: psql says that the superuser is there already, and goes on."""
    pg(origin, "postgres", "pg_dumpall", "--roles-only", f"--file={folder / 'roles.sql'}")
    psql(target, "postgres", "--set=ON_ERROR_STOP=0", "--file", folder / "roles.sql")


def expect_to_work(url: str, start_runner: StartRunner, used: set[int]) -> None:
    """A runner does all there is to do, new jobs get new ids, and each job is there once."""
    before = known_ids(url)
    runner = start_runner(url, **IMPATIENT)
    [(added,)] = rows(url, "select soniq.enqueue('quick', queue => 'a new one')")
    assert added > max(used | before)
    wait_for(
        lambda: (
            not rows(
                url,
                "select from soniq.jobs where queue <> 'held' and scheduled_at < now() + interval '1 hour'",
            )
        ),
        what=lambda: f"all jobs to end:\n{runner.log}",
    )
    assert runner.stop() == 0
    assert rows(url, "select status::text, attempt from soniq.get_job(%s)", added) == [("done", 1)]
    assert before < known_ids(url)
    assert rows(url, "select id from soniq.all_jobs group by id having count(*) > 1") == []


@pytest.fixture
def bare_server() -> Iterator[Server]:
    """A server on which Soniq never was."""
    with throwaway_server() as server:
        yield server


def test_a_restored_dump_is_the_same_and_works_at_once(
    server: Server,
    database: str,
    empty_database: str,
    write_jobs: WriteJobs,
    start_runner: StartRunner,
    tmp_path: Path,
) -> None:
    write_jobs(HANDLERS)
    fill(database)
    original, copy, archive = name_of(database), name_of(empty_database), tmp_path / "dump"
    pg(server, original, "pg_dump", "--format=custom", f"--file={archive}")
    pg(server, copy, "pg_restore", "--exit-on-error", f"--dbname={copy}", archive)
    assert contents(empty_database) == contents(database)
    assert rows(empty_database, SEQUENCES) == rows(database, SEQUENCES)
    expect_same(fingerprint(server, original), fingerprint(server, copy))  # also owners and grants

    # The leases of then are taken back, and worth nothing from then on.
    wait_for(lambda: rows(empty_database, "select where (soniq.tick()).jobs_of_lost_runners = 2"))
    for job_id in LEFT_BEHIND:
        assert rows(empty_database, "select soniq.complete(%s, 1)", job_id) == [(False,)]
        assert rows(database, "select soniq.complete(%s, 1)", job_id) == [(True,)]
    expect_to_work(empty_database, start_runner, known_ids(database))
    assert rows(
        empty_database,
        "select status::text, attempt, errors -> 0 ->> 'reason' from soniq.finished_jobs"
        " where id = any (%s)",
        LEFT_BEHIND,
    ) == [("done", 2, "runner_lost")] * len(LEFT_BEHIND)

    # What the original has given out since is not given out again after a gap.
    rows(database, "select soniq.enqueue('quick') from generate_series(1, 1000)")
    run_page(empty_database, "A million")
    [(added,)] = rows(empty_database, "select soniq.enqueue('quick')")
    assert added > max(known_ids(database))

    # Days go by: partitions are made and dropped, by their owner.
    rows(
        empty_database,
        "create or replace function soniq.clock() returns timestamptz language sql volatile parallel safe"
        " as $$ select clock_timestamp() + interval '10 days' $$",
    )
    [(made, dropped)] = rows(
        empty_database, "select partitions_made, partitions_dropped from soniq.tick()"
    )
    assert min(made, dropped) > 0
    assert rows(
        empty_database,
        "select distinct relowner::regrole::text from pg_class where relnamespace = 'soniq'::regnamespace",
    ) == [("soniq_owner",)]


def test_a_dump_goes_to_a_server_that_has_no_roles_and_to_one_that_has(
    server: Server, database: str, bare_server: Server, tmp_path: Path
) -> None:
    fill(database)
    original, archive = name_of(database), tmp_path / "dump"
    rows(database, "create role shop login")
    rows(database, "grant soniq_producer to shop")
    pg(server, original, "pg_dump", "--format=custom", f"--file={archive}")

    without = bare_server.create_database("without")
    with pytest.raises(CommandFailed, match='role "soniq_owner" does not exist'):
        pg(bare_server, "without", "pg_restore", "--dbname=without", archive)
    assert contents(without) == contents(database)
    with psycopg.connect(without) as connection:
        told: list[str] = []
        connection.add_notice_handler(lambda notice: told.append(str(notice.message_hint)))
        connection.execute("select soniq.grant_roles()")
    [hint] = told
    assert hint.startswith("have an administrator run: create role soniq_owner nologin; ")

    # After the roles have come it is as if they had been there.
    take_roles(server, bare_server, tmp_path)
    rows(without, "select soniq.grant_roles()")
    expect_same(fingerprint(server, original), fingerprint(bare_server, "without"))

    bare_server.create_database("with")
    pg(bare_server, "with", "pg_restore", "--exit-on-error", "--dbname=with", archive)
    assert contents(bare_server.url("with")) == contents(database)
    expect_same(fingerprint(server, original), fingerprint(bare_server, "with"))
    [(added,)] = rows(
        bare_server.url("with").replace(f"{USER}@", "shop@"), "select soniq.enqueue('quick')"
    )
    assert added == max(known_ids(database)) + 1
    rows(server.url(), "drop role shop")


@pytest.fixture
def original() -> Iterator[Server]:
    """A server whose changes can be replicated by rows, with Soniq and jobs in every state."""
    with throwaway_server({"wal_level": "logical"}) as server:
        deploy_snapshot(server, "postgres")
        fill(server.url())
        yield server


@pytest.fixture
def replica(original: Server, bare_server: Server, tmp_path: Path) -> Server:
    """A server that follows the original."""
    take_roles(original, bare_server, tmp_path)
    schema = tmp_path / "schema.sql"
    pg(
        original,
        "postgres",
        *("pg_dump", "--schema-only", "--schema=soniq", f"--file={schema}"),
    )
    psql(bare_server, "postgres", "--file", schema)
    run_page(original.url(), "create publication")
    run_page(
        bare_server.url(),
        "create subscription",
        **{"host=original dbname=shop user=replicator": original.url()},
    )
    return bare_server


def wait_until_same(original: Server, replica: Server) -> None:
    def same() -> bool:
        return contents(original.url()) == contents(replica.url())

    wait_for(same, what=lambda: f"the replica to have everything:\n{replica.log_text()}")


def test_logical_replication_carries_every_row_and_the_replica_can_take_over(
    original: Server,
    replica: Server,
    write_jobs: WriteJobs,
    start_runner: StartRunner,
) -> None:
    write_jobs(HANDLERS)
    wait_until_same(original, replica)
    published = rows(original.url(), "select tablename::text from pg_publication_tables order by 1")
    assert published == rows(original.url(), TABLES)

    # Updates, deletes, moves from table to table, partitions made and dropped: while a runner works.
    runner = start_runner(original.url(), **IMPATIENT)
    ids = [
        job_id
        for (job_id,) in rows(
            original.url(),
            "select soniq.enqueue_many('awkward', array_fill('{}'::jsonb, '{400}'))",
        )
    ]
    rows(original.url(), "select soniq.configure_queue('long', retention => '60 days')")
    rows(original.url(), "select soniq.enqueue('quick', queue => 'long', delay => '1 second')")
    rows(original.url(), "select soniq.cancel(soniq.enqueue('quick', delay => '1 hour'))")
    rows(original.url(), "select soniq.delete_dead_letters(ids => '{2}')")
    wait_for(
        lambda: (
            not rows(
                original.url(),
                "select from soniq.jobs where queue <> 'held' and scheduled_at < now() + interval '1 hour'",
            )
        ),
        what=lambda: f"all jobs to end:\n{runner.log}",
    )
    assert runner.stop() == 0
    wait_until_same(original, replica)
    assert rows(
        replica.url(),
        "select status::text, count(*)::integer from soniq.all_jobs where id = any (%s)"
        " group by 1 order by 1",
        ids,
    ) == [("dead_letter", 100), ("done", 300)]

    # One that is forgotten is known to no table, and has the highest id.
    rows(original.url(), "select soniq.configure_queue('none', retention => '0')")
    [(forgotten, _)] = rows(
        original.url(),
        "select id, soniq.cancel(id) from soniq.enqueue('quick', queue => 'none') as id",
    )
    wait_until_same(original, replica)

    # As it stands, ids that are in use would come again.
    with psycopg.connect(replica.url()) as connection:
        [(again,)] = connection.execute("select soniq.enqueue('quick')").fetchall()
        assert again in known_ids(original.url())
        with pytest.raises(psycopg.errors.UniqueViolation, match="lanes_pkey"):
            connection.execute("select soniq.enqueue('quick', queue => 'a new one')")

    printed = run_page(original.url(), "prints what to run")
    rows(replica.url(), "drop subscription soniq")
    for (statement,) in printed:
        psql(replica, "postgres", "--command", statement)
    assert rows(replica.url(), SEQUENCES) == rows(original.url(), SEQUENCES)
    expect_to_work(replica.url(), start_runner, {*known_ids(original.url()), forgotten})

    # Where the original is gone, after a gap: whatever it gave out last.
    for sequence in ("jobs_id_seq", "runners_runner_id_seq", "lanes_lane_id_seq"):
        rows(replica.url(), "select setval('soniq.' || %s, 1, false)", sequence)
    run_page(replica.url(), "A million")
    expect_to_work(replica.url(), start_runner, {1_000_000})
