"""Every system that is measured: its packages, its program, and how the database says that no job is left."""

from dataclasses import dataclass

from .environments import Environment, NodeEnvironment, OwnEnvironment, PythonEnvironment

NODE = "node@22.23.3"
UVLOOP = "uvloop==0.22.1"


@dataclass(frozen=True)
class Peer:
    """One system, in one of its ways to be run.

    program: the file beside this one. unfinished: SQL that says whether a job is left. variant: what the program gets
    as PEER_VARIANT. jobs: it is too slow to drain more. latency: it listens for jobs, rather than polling alone.
    """

    name: str
    environment: Environment
    program: str
    unfinished: str
    variant: str = ""
    jobs: int = 1_000_000
    latency: bool = True


OWN = OwnEnvironment("own", ("this checkout",))
GRAPHILE = NodeEnvironment("graphile-worker", (NODE, "graphile-worker@0.17.3"))
SONIQ_LEFT = "select exists (select from soniq.jobs)"
GRAPHILE_LEFT = "select exists (select from graphile_worker._private_jobs)"

SONIQ = Peer("Soniq, history kept", OWN, "soniq_itself", SONIQ_LEFT)
SONIQ_WITHOUT_HISTORY = Peer("Soniq, retention 0", OWN, "soniq_itself", SONIQ_LEFT, variant="0")
GRAPHILE_BATCHED = Peer(
    "graphile-worker, batched", GRAPHILE, "graphile_worker", GRAPHILE_LEFT, variant="batched"
)
PGQUEUER = Peer(
    "PgQueuer",
    PythonEnvironment("pgqueuer", ("pgqueuer[asyncpg]==1.6.0", "asyncpg==0.31.0", UVLOOP)),
    "pgqueuer",
    "select exists (select from pgqueuer)",
    jobs=10_000,
)

ALL = (
    SONIQ,
    SONIQ_WITHOUT_HISTORY,
    GRAPHILE_BATCHED,
    PGQUEUER,
    Peer("graphile-worker", GRAPHILE, "graphile_worker", GRAPHILE_LEFT, jobs=5_000),
    Peer(
        "awa",
        PythonEnvironment("awa", ("awa-pg==0.6.9", UVLOOP)),
        "awa",
        "select (select count(*) from awa.ready_entries)"
        " > (select coalesce(sum(completed_count), 0) from awa.receipt_completion_batches)",
        jobs=5_000,
    ),
    Peer(
        "pg-boss",
        NodeEnvironment("pg-boss", (NODE, "pg-boss@12.38.0")),
        "pg_boss",
        "select exists (select from pgboss.job where state < 'completed')",
        jobs=5_000,
    ),
    Peer(
        "procrastinate",
        PythonEnvironment(
            "procrastinate", ("procrastinate==3.10.0", "psycopg[binary]==3.2.13", UVLOOP)
        ),
        "procrastinate",
        "select exists (select from procrastinate_jobs where status in ('todo', 'doing'))",
        jobs=3_000,
    ),
    Peer(
        "soniq 0.1.0 (Python-first)",
        PythonEnvironment("soniq-0.1", ("soniq==0.1.0", UVLOOP)),
        "soniq_0_1",
        "select exists (select from soniq_jobs where status in ('queued', 'processing'))",
        jobs=3_000,
    ),
    Peer(
        "bare asyncio",
        OWN,
        "bare_asyncio",
        "select exists (select from bare.jobs)",
        latency=False,
    ),
)
