"""The faults: each breaks something, keeps it broken for a moment, and mends it before it returns.

What a fault may cost, it says itself: that runners are taken for lost, that jobs are handed back, that handlers which
use the database fail, or that a claim is forgotten.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from random import Random

import psycopg
from psycopg import sql
from runner_process import RunnerProcess
from waiting import wait_for

from chaos.cable import Tear, Way
from chaos.checker import CLAIM_FORGOTTEN, ERROR, HANDED_BACK, RUNNER_LOST
from chaos.world import DATABASE, World, stop

ROLES = ("claim", "report", "heartbeat")
OF_RUNNERS = """
    select pid
    from pg_stat_activity
    where starts_with(application_name, 'soniq-runner')
    order by application_name, pid
"""
TERMINATE_ALL = """
    select pg_terminate_backend(pid)
    from pg_stat_activity
    where backend_type = 'client backend'
      and pid <> pg_backend_pid()
"""
IS_LOST = """
    select
    where not exists (
      select
      from soniq.runners
      where pid = %s
        and lost_at is null
    )
"""
ALL = frozenset({RUNNER_LOST, HANDED_BACK, ERROR})
NONE: frozenset[str] = frozenset()
CRASH = ALL | {CLAIM_FORGOTTEN}


@dataclass(frozen=True)
class Fault:
    """One kind of mishap. `excuses`: what it may cost (checker.py)."""

    inject: Callable[[World, Random], None]
    excuses: frozenset[str]


def kill_runner(world: World, random: Random) -> None:
    """kill -9, and another runner takes its place."""
    victim = random.choice(world.runners)
    victim.kill()
    world.replace(victim)


def freeze_runner(world: World, random: Random) -> None:
    """SIGSTOP until the others have taken its jobs, then SIGCONT: it goes on as if nothing had been."""
    victim = random.choice(world.runners)
    with frozen(victim):
        wait_for(
            lambda: world.ask(IS_LOST, victim.pid), what="a frozen runner to be taken for lost"
        )


def freeze_runner_briefly(world: World, random: Random) -> None:
    """SIGSTOP for less than the heartbeat timeout: nobody may notice."""
    with frozen(random.choice(world.runners)):
        time.sleep(random.uniform(0.1, 1))


@contextmanager
def frozen(runner: RunnerProcess) -> Iterator[None]:
    """A runner that is stopped as long as the block lasts."""
    runner.send(signal.SIGSTOP)
    try:
        yield
    finally:
        runner.send(signal.SIGCONT)


def stop_runner(world: World, random: Random) -> None:
    """SIGTERM, as in a deployment, and another runner takes its place."""
    victim = random.choice(world.runners)
    victim.wait_for_log("jobs at once")
    stop(victim)
    world.replace(victim)


def restart_server(world: World, random: Random) -> None:
    """As in a crash, with all that was not on the disk gone."""
    world.server.restart(signal.SIGQUIT)


def take_server_away(world: World, random: Random) -> None:
    """A restart that takes a while."""
    world.server.stop(signal.SIGINT)
    time.sleep(random.uniform(0.5, 3))
    world.server.start()


def terminate_backend(world: World, random: Random) -> None:
    """pg_terminate_backend() of one of the runners' connections: claims, reports, heartbeats, handlers'."""
    pids = [pid for (pid,) in world.ask(OF_RUNNERS)]
    if pids:
        world.ask("select pg_terminate_backend(%s)", random.choice(pids))


def terminate_backends(world: World, random: Random) -> None:
    """The same for all connections at once."""
    world.ask(TERMINATE_ALL)


def freeze_backend(world: World, random: Random) -> None:
    """SIGSTOP of the process behind one of the runners' connections."""
    pids = [pid for (pid,) in world.ask(OF_RUNNERS)]
    if not pids:
        return
    victim = random.choice(pids)
    with suppress(ProcessLookupError):
        os.kill(victim, signal.SIGSTOP)
    try:
        time.sleep(random.uniform(0.5, 2))
    finally:
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGCONT)


def slow_network(world: World, random: Random) -> None:
    """Everything takes longer, either way."""
    assert world.cable is not None
    world.cable.slow(random.uniform(0.02, 0.2))
    time.sleep(random.uniform(1, 3))
    world.cable.slow(0)


def cut_network(world: World, random: Random) -> None:
    """What is sent is lost, one way or both, and nobody is told."""
    assert world.cable is not None
    world.cable.cut(*random.choice(((Way.TO_SERVER,), (Way.TO_CLIENT,), tuple(Way))))
    time.sleep(random.uniform(0.5, 2))
    world.cable.mend()


def reset_network(world: World, random: Random) -> None:
    """Every connection is reset, by neither end."""
    assert world.cable is not None
    world.cable.tear()


def tear_question(world: World, random: Random) -> None:
    """A runner's next claim, report or heartbeat is torn: before it arrives, within it, or before it is answered."""
    assert world.cable is not None
    application = f"soniq-runner {random.choice(ROLES)}"
    world.cable.tear_at(application, random.choice(tuple(Tear)))
    wait_for(lambda: world.cable is None or world.cable.has_torn(application), what=application)


def exhaust_connections(world: World, random: Random) -> None:
    """max_connections is reached, just when everybody has to connect again."""
    with full_house(world):
        time.sleep(random.uniform(0.5, 2))


@contextmanager
def full_house(world: World) -> Iterator[None]:
    """A server that has no room for another connection, and has thrown out all it had."""
    taken: list[psycopg.Connection] = []
    try:
        thrower = psycopg.connect(world.url, autocommit=True)
        taken.append(thrower)
        thrower.execute(TERMINATE_ALL)
        with suppress(psycopg.OperationalError):
            while True:
                taken.append(psycopg.connect(world.url))
        yield
    finally:
        for connection in taken:
            connection.close()


def shorten_statements(world: World, random: Random) -> None:
    """A statement_timeout that nothing can meet, for everybody who connects meanwhile."""
    with setting(world, "statement_timeout", random.choice(("1ms", "5ms"))):
        time.sleep(random.uniform(0.5, 2))


def shorten_locks(world: World, random: Random) -> None:
    """A lock_timeout of a millisecond, while somebody holds the rows of jobs that are being processed."""
    with setting(world, "lock_timeout", "1ms"):
        hold_rows(world, random)


@contextmanager
def setting(world: World, name: str, value: str) -> Iterator[None]:
    """The database has this setting as long as the block lasts; everybody has to connect again before and after."""
    change = sql.SQL("alter database {} set {} = {}").format(
        *(sql.Identifier(word) for word in (DATABASE, name)), value
    )
    with psycopg.connect(world.url, autocommit=True) as connection:
        try:
            connection.execute(change)
            connection.execute(TERMINATE_ALL)
            yield
        finally:
            connection.execute(
                sql.SQL("alter database {} reset {}").format(
                    *(sql.Identifier(word) for word in (DATABASE, name))
                )
            )
            connection.execute(TERMINATE_ALL)


def hold_rows(world: World, random: Random) -> None:
    """Somebody locks the rows of jobs that are being processed, and takes their time."""
    with held_rows(world):
        time.sleep(random.uniform(0.5, 2))


@contextmanager
def held_rows(world: World) -> Iterator[None]:
    """The rows of the jobs that are being processed are locked by somebody else as long as the block lasts."""
    with psycopg.connect(world.url) as connection:
        connection.execute(
            "select from soniq.jobs where status = 'processing' for update skip locked"
        )
        yield
        connection.rollback()


def deadlock(world: World, random: Random) -> None:
    """Somebody locks rows of jobs one by one in an order of their own, and waits longer than a runner for each."""
    with suppress(psycopg.Error), psycopg.connect(world.url) as connection:
        connection.execute("set local deadlock_timeout = '30 s'")
        connection.execute("set local statement_timeout = '4 s'")
        processing = connection.execute(
            "select id from soniq.jobs where status = 'processing'"
        ).fetchall()
        random.shuffle(processing)
        for (job_id,) in processing:
            connection.execute("select from soniq.jobs where id = %s for update", [job_id])
        connection.rollback()


FAULTS: Mapping[str, Fault] = {
    "runner killed": Fault(kill_runner, frozenset({RUNNER_LOST})),
    "runner frozen until it is taken for lost": Fault(
        freeze_runner, frozenset({RUNNER_LOST, ERROR})
    ),
    "runner frozen for a moment": Fault(freeze_runner_briefly, NONE),
    "runner stopped": Fault(stop_runner, frozenset({HANDED_BACK, RUNNER_LOST})),
    "server crashed and restarted": Fault(restart_server, CRASH),
    "server away for a while": Fault(take_server_away, ALL),
    "one backend terminated": Fault(terminate_backend, frozenset({HANDED_BACK, ERROR})),
    "all backends terminated": Fault(terminate_backends, frozenset({HANDED_BACK, ERROR})),
    "a backend frozen": Fault(freeze_backend, ALL),
    "max_connections reached": Fault(exhaust_connections, ALL),
    "statement_timeout too short": Fault(shorten_statements, ALL),
    "lock_timeout too short": Fault(shorten_locks, ALL),
    "rows of jobs locked": Fault(hold_rows, ALL),
    "deadlocks": Fault(deadlock, ALL),
    "network slow": Fault(slow_network, ALL),
    "network silent": Fault(cut_network, ALL),
    "network reset": Fault(reset_network, ALL),
    "a question torn": Fault(tear_question, frozenset({HANDED_BACK, ERROR})),
}
