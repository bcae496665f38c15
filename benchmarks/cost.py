"""What a job costs, in pages touched, by how many are ready, and while xmin is held: it must not grow.

Pages are exact, so that this needs no quiet machine. tests/sql/cost.sql pins them, as far as one transaction can tell.
"""

from dataclasses import dataclass

import psycopg

from .pgbench import transactions_per_second
from .rounds import progress
from .section import Options, Section, Verdict
from .site import Database, Site

BATCH = 100
TURNS = 10  # the first ones of a session fill its caches; the least counts
MOST_GROWTH = 1.2
CHURN, CHURN_BATCH = 200_000, 1000

CLAIM = f"select * from soniq.claim(1, max_jobs => {BATCH})"
# Given as literals: asking for the leases is not what is measured.
LEASES = f"""
select
  pg_catalog.format('%L::bigint[], %L::integer[]', pg_catalog.array_agg(job_id), pg_catalog.array_agg(attempt))
from soniq.claim(1, max_jobs => {BATCH})
"""
ENQUEUE = f"""
select soniq.enqueue('noop', '{{"number": 1}}')
from generate_series(1, {BATCH})
"""
ENQUEUE_MANY = f"""
select soniq.enqueue_many('noop', array_fill(jsonb '{{"number": 1}}', array[{BATCH}]))
"""
CALLS = ("claim", "complete", "enqueue", "enqueue_many")


@dataclass(frozen=True)
class State:
    """So many ready jobs; `held` by a transaction that was open while others came and went."""

    ready: int
    held: bool = False

    def __str__(self) -> str:
        """As it is printed."""
        gone = f", {CHURN:,} gone with xmin held" if self.held else ""
        return f"{self.ready:,} ready{gone}"


def measure(site: Site, options: Options) -> Section:
    """Each call in each state, beside its cost with 1,000 ready jobs."""
    most = 5_000_000 if options.long else 1_000_000
    states = [State(1000), State(100_000), State(most), State(1000, held=True)]
    pages: dict[State, dict[str, float]] = {}
    for state in states:
        progress(f"cost: {state} ...")
        pages[state] = _measure(site, state)
    progress("")
    least = pages[states[0]]
    width = max(len(str(state)) for state in states)
    lines = [
        f"Pages touched for each job, in batches of {BATCH}; enqueue() one by one",
        f"  {'':{width}}{''.join(f'{call:>14}' for call in CALLS)}",
        *(
            f"  {state!s:{width}}{''.join(f'{pages[state][call]:>14.2f}' for call in CALLS)}"
            for state in states
        ),
    ]
    verdicts = []
    for state in states[1:]:
        growth = {call: pages[state][call] / least[call] for call in CALLS}
        worst = max(growth, key=lambda call: growth[call])
        verdicts.append(
            Verdict(
                growth[worst] <= MOST_GROWTH,
                f"{state}: at most {growth[worst]:.2f} ({worst}) of the pages with {states[0]},"
                f" at most {MOST_GROWTH:.2f} wanted",
            )
        )
    return Section("\n".join(lines), verdicts)


def _measure(site: Site, state: State) -> dict[str, float]:
    if not state.held:
        with site.database("cost_fill.sql", ready=state.ready) as database:
            return _pages_a_job(database)
    with site.database() as database, psycopg.connect(database.url) as holder:
        holder.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        holder.execute("select pg_catalog.pg_current_snapshot()")
        database.run("soniq_fill.sql", jobs=CHURN)
        transactions_per_second(
            database, "soniq_drain.sql", transactions=CHURN // CHURN_BATCH, batch=CHURN_BATCH
        )
        database.run("soniq_fill.sql", jobs=state.ready)
        database.settle()
        return _pages_a_job(database)


def _pages_a_job(database: Database) -> dict[str, float]:
    """Each call's least of some turns, in which as many jobs come as go."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        turns = [_turn(connection) for _ in range(TURNS)]
    return {call: min(turn[call] for turn in turns) / BATCH for call in CALLS}


def _turn(connection: psycopg.Connection) -> dict[str, int]:
    leases = connection.execute(LEASES.encode()).fetchone()
    assert leases is not None
    return {
        "claim": _pages(connection, CLAIM),
        "complete": _pages(connection, f"select soniq.complete({leases[0]})"),
        "enqueue": _pages(connection, ENQUEUE),
        "enqueue_many": _pages(connection, ENQUEUE_MANY),
    }


def _pages(connection: psycopg.Connection, statement: str) -> int:
    explained = f"explain (analyze, buffers, timing off, format json) {statement}"
    row = connection.execute(explained.encode()).fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])
