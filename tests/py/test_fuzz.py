"""Bad input by the thousand: every public function either answers or refuses in Soniq's own words.

The functions are read from the catalog, so a new one is fuzzed as soon as there is one. hypothesis makes
up batches of calls: most arguments of a call are valid, so that it gets past its first checks, and
one or two come from bad_values.py. Each batch starts from the same scene, in a transaction that is
rolled back; each call has a savepoint, which is rolled back half of the time. After a batch the
invariants have to hold, and what is left behind must not break a call that is all valid.

    SONIQ_TEST_FUZZ_EXAMPLES=5000 SONIQ_TEST_FUZZ_SEED=7 pytest tests/py/test_fuzz.py

makes more batches, and others. A failure names its seed, with which it comes again.
"""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, LiteralString, NamedTuple

import psycopg
from bad_values import BAD, TAME, Value, array_of
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st
from invariants import broken_invariants
from psycopg import sql
from psycopg.rows import class_row

EXAMPLES = int(os.environ.get("SONIQ_TEST_FUZZ_EXAMPLES", "120"))
SEED = int(os.environ.get("SONIQ_TEST_FUZZ_SEED", "0"))
CALLS = 12  # of a batch

# Optional arguments of which only one may be given.
EITHER = (
    {"scheduled_at", "delay"},
    {"cron", "every"},
    *({"everything", filter_} for filter_ in ("ids", "job_name", "queue", "since", "before")),
)

# What is valid for an argument of this name, where it is not for every argument of its type.
VALID = {
    "after_id": "0",
    "attempt": "1",
    "attempts": "{1,1}",
    "backoff": "fixed",
    "before": "2100-01-01 00:00+00",
    "cron": "*/5 * * * *",
    "error": '{"type": "ValueError", "message": "no", "traceback": "line 1"}',
    "expression": "30 3 * * 1-5",
    "job_name": "work",
    "login": "soniq_test_fuzz",
    "missed_runs": "run_all",
    "name": "hourly",
    "queue": "north",
    "queues": "{north,south}",
    "reason": "timeout",
    "reasons": "{timeout,NULL}",
    "since": "2000-01-01 00:00+00",
    "skip_jobs": "{other}",
    "source": "code",
    "tenant": "acme",
    "timezone": "Europe/Berlin",
}

FUNCTIONS: LiteralString = """
    select function.oid::regprocedure::text as signature,
      function.proname as name,
      array_remove(array_agg(argument.name order by argument.position), null) as arguments,
      array_remove(array_agg(argument.type order by argument.position), null) as types,
      function.pronargs - function.pronargdefaults as required
    from pg_proc as function
    left join lateral (
      select each.name, format_type(each.type, null) as type, each.position
      from rows from (
        unnest(function.proargnames),
        unnest(coalesce(function.proallargtypes, function.proargtypes::oid[])),
        unnest(function.proargmodes)
      ) with ordinality as each (name, type, mode, position)
      where each.mode is null
        or each.mode not in ('o', 't')
    ) as argument
      on true
    where function.pronamespace = 'soniq'::regnamespace
      and function.proname not like '\\_%'
      and function.pronargs > 0
    group by function.oid
    order by signature
"""
JOBS: LiteralString = """
    select id, status::text, attempt, max_attempts,
      array(select error ->> 'attempt' from jsonb_array_elements(errors) as error) as errors,
      dedup_key, runner_id
    from soniq.all_jobs
"""
LIVING_RUNNERS: LiteralString = "select runner_id from soniq.runners where lost_at is null"
# One job of each status and two leases, of which a runner knows; a schedule; a paused queue.
SCENE: LiteralString = """
    create role soniq_test_fuzz login;
    select soniq.register_job_type('work', retry_delays => '{0 s}', timeout => '1 minute');
    select soniq.schedule('hourly', 'work', every => '1 hour', source => 'code');
    select soniq.pause_queue('paused');
    select soniq.enqueue('work', queue => 'north', dedup_key => 'some')
    from generate_series(1, 8);
    select soniq.enqueue_many('work', array_fill('{"some": 1}'::jsonb, '{9}'), queue => 'north');
    with claimed as materialized (
      select claim.*, row_number() over (order by claim.job_id) as number
      from soniq.claim(soniq.register_runner('host', heartbeat_timeout => '1 hour'), max_jobs => 8) as claim
    )
    select case
      when number <= 2 then soniq.complete(job_id, attempt)::text
      when number <= 4 then soniq.fail(job_id, attempt, '{"type": "No"}', 'permanent_failure')
      else number::text
    end
    from claimed;
    select soniq.cancel(max(id)) from soniq.jobs where status = 'queued';
"""


# What runners and those who watch do all day.
WORK: LiteralString = """
    select soniq.fail(claim.job_id, claim.attempt, '{}')
    from soniq.claim(soniq.register_runner('after'), max_jobs => 5) as claim;
    select soniq.complete(claim.job_id, claim.attempt)
    from soniq.claim(soniq.register_runner('after'), max_jobs => 50) as claim;
    select soniq.resume_schedule(known.name), soniq.preview_schedule(known.name, 2) from soniq.schedules as known;
    select soniq.tick();
    select soniq.metrics();
    select from soniq.queue_stats, soniq.job_stats, soniq.runner_stats;
"""


class Function(NamedTuple):
    """A public function, as the catalog has it."""

    signature: str
    name: str
    arguments: tuple[str, ...]
    types: tuple[str, ...]
    required: int


@dataclass(frozen=True)
class Call:
    """A call with what is given to it; an argument for which there is None gets what is valid."""

    function: Function
    given: Mapping[str, Value | None]
    kept: bool

    def __repr__(self) -> str:
        told = (f"{name} => {value or '(valid)'}" for name, value in self.given.items())
        return f"{self.function.name}({', '.join(told)}){'' if self.kept else ' rolled back'}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """How hypothesis prints it."""
        printer.text(repr(self))


@dataclass
class Job:
    """A row of JOBS."""

    id: int
    status: str
    attempt: int
    max_attempts: int
    errors: list[str | None]
    dedup_key: str | None
    runner_id: int | None


@st.composite
def calls(draw: st.DrawFn, functions: list[Function]) -> Call:
    """Any function, most of its arguments valid or left out, and one or two of those that hurt."""
    function = draw(st.sampled_from(functions))
    given: dict[str, Value | None] = {}
    hurting: list[int] = []
    if function.arguments:
        positions = st.integers(0, len(function.arguments) - 1)
        hurting = draw(st.lists(positions, max_size=2, unique=True))
    for position, (name, type_) in enumerate(zip(function.arguments, function.types, strict=True)):
        if position in hurting:
            given[name] = draw(st.sampled_from(BAD[type_]))
        elif position < function.required or (
            draw(st.booleans()) and not any(name in one and one & given.keys() for one in EITHER)
        ):
            given[name] = None
    return Call(function, given, draw(st.booleans()))


class Scene:
    """A database in which there is something of everything."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        connection.execute(SCENE)
        self._ids: dict[str, list[str]] = {}
        for job in self.jobs():
            self._ids.setdefault(job.status, []).append(str(job.id))
        self._runner_id: str
        [(self._runner_id,)] = connection.execute("select runner_id::text from soniq.runners")

    def jobs(self) -> list[Job]:
        with self._connection.cursor(row_factory=class_row(Job)) as cursor:
            return cursor.execute(JOBS).fetchall()

    def valid(self, function: Function, name: str, type_: str) -> str:
        """What gets `function` furthest."""
        match name:
            case "runner_id":
                return self._runner_id
            case "job_id" if function.name == "cancel":
                return self._ids["queued"][0]
            case "job_id" if function.name in ("retry", "get_job"):
                return self._ids["dead_letter"][0]
            case "job_id":
                return self._ids["processing"][0]
            case "job_ids":
                return array_of(self._ids["processing"][:2])
            case "ids":
                return array_of(self._ids["dead_letter"])
        return VALID.get(name, TAME[type_])

    def statement(self, call: Call) -> tuple[sql.Composed, sql.Composed, list[str | None]]:
        """The call, the same values without it, and the values."""
        types = dict(zip(call.function.arguments, call.function.types, strict=True))
        values = [
            self.valid(call.function, name, types[name]) if value is None else value.text
            for name, value in call.given.items()
        ]
        casts = {name: sql.SQL("%s::") + sql.SQL(types[name]) for name in call.given}
        named = (sql.Identifier(name) + sql.SQL(" => ") + cast for name, cast in casts.items())
        made = sql.SQL("select * from soniq.{}({})").format(
            sql.Identifier(call.function.name), sql.SQL(", ").join(named)
        )
        return made, sql.SQL("select ") + sql.SQL(", ").join(casts.values()), values

    def make(self, call: Call) -> str | None:
        """Makes the call. Answers with the SQLSTATE of a refusal; fails if it is not one of ours."""
        made, read, values = self.statement(call)
        try:
            with self._connection.transaction(force_rollback=not call.kept):
                self._connection.execute(made, values)
        except psycopg.Error as error:
            if not self._refused_by_soniq(error) and not self._is_unreadable(read, values):
                raise AssertionError(f"{call}: {error.sqlstate} {error}"[:2000]) from error
            return error.sqlstate
        return None

    @staticmethod
    def _refused_by_soniq(error: psycopg.Error) -> bool:
        return (error.sqlstate or "").startswith("SQ") and bool(error.diag.message_hint)

    def _is_unreadable(self, read: sql.Composed, values: list[str | None]) -> bool:
        try:
            with self._connection.transaction():
                self._connection.execute(read, values)
        except psycopg.DataError:
            return True
        except psycopg.errors.StatementTooComplex:
            return True
        return False

    def check(self) -> None:
        """The invariants hold, and nothing that was stored breaks what everybody needs."""
        self._check_jobs()
        self._connection.execute(WORK)
        self._check_jobs()

    def _check_jobs(self) -> None:
        runners = self._connection.execute(LIVING_RUNNERS)
        assert [*broken_invariants(self.jobs(), {runner_id for (runner_id,) in runners})] == []


def test_whatever_is_given_is_answered_or_refused_in_words(database: str) -> None:
    answered: Counter[str] = Counter()
    with psycopg.connect(database, autocommit=True, prepare_threshold=None) as connection:
        connection.execute("set statement_timeout = '30 s'")
        connection.execute("update soniq.chores set due_at = 'infinity'")
        functions = [
            Function(signature, name, tuple(arguments), tuple(types), required)
            for signature, name, arguments, types, required in connection.execute(FUNCTIONS)
        ]

        @seed(SEED)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(
            st.lists(
                calls(functions),
                unique_by=lambda call: call.function,  # else few functions get most of the calls
                min_size=CALLS,
                max_size=CALLS,
            )
        )
        def a_batch(batch: list[Call]) -> None:
            note(f"SONIQ_TEST_FUZZ_EXAMPLES={EXAMPLES} SONIQ_TEST_FUZZ_SEED={SEED}")
            with connection.transaction(force_rollback=True):
                scene = Scene(connection)
                for call in batch:
                    if scene.make(call) is None:
                        answered[call.function.signature] += 1
                scene.check()

        a_batch()
    # Else much of what lies behind a function's first checks would not have been reached.
    assert {function.signature for function in functions} - answered.keys() == set()
