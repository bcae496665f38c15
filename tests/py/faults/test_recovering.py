"""After a fault all is as before within half a minute; no runner exits for one, and in the midst of each it stops."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from random import Random

import pytest
from waiting import wait_for

from chaos.faults import (
    exhaust_connections,
    full_house,
    held_rows,
    kill_runner,
    restart_server,
    setting,
    terminate_backends,
)
from chaos.producing import Producer
from chaos.world import World, stop

RATE = 60.0
SHUTDOWN_TIMEOUT = 1.0
SEED = 1
# Of the jobs enqueued in the second before the last, the share of those that had ended within a second.
IN_TIME = """
    select avg((coalesce(job.ended_at, 'infinity') < job.enqueued_at + interval '1 second')::integer)
    from soniq.all_jobs as job
    where job.job_name = 'plain'
      and job.scheduled_at < job.enqueued_at + interval '1 hour'
      and job.enqueued_at between clock_timestamp() - interval '2 seconds' and clock_timestamp() - interval '1 second'
"""


def all_in_time(world: World) -> bool:
    """Whether the runners keep up with all that is enqueued."""
    [(share,)] = world.ask(IN_TIME)
    return bool(share == 1)


def kill_again_and_again(world: World, random: Random) -> None:
    for _ in range(5):
        kill_runner(world, random)
        time.sleep(0.5)


def hold_rows_for_long(world: World, random: Random) -> None:
    with held_rows(world):
        time.sleep(2)


@pytest.mark.parametrize(
    "fault",
    [
        restart_server,
        terminate_backends,
        exhaust_connections,
        kill_again_and_again,
        hold_rows_for_long,
    ],
)
def test_within_half_a_minute_every_job_is_in_time_again(
    world: World, fault: Callable[[World, Random], None]
) -> None:
    world.start_runners(2)
    producer = Producer(world.url, world.notes, RATE, SEED)
    producer.start()
    wait_for(lambda: all_in_time(world), what="every job to be in time")
    fault(world, Random(SEED))
    wait_for(lambda: all_in_time(world), within=30, what="every job to be in time again")
    for runner in world.runners:
        assert runner.process.poll() is None, runner.log
    producer.stop()


@contextmanager
def server_away(world: World) -> Iterator[None]:
    world.server.stop(signal.SIGQUIT)
    yield
    world.server.start()


@contextmanager
def network_silent(world: World) -> Iterator[None]:
    assert world.cable is not None
    world.cable.cut()
    yield
    world.cable.mend()


def statements_cut_short(world: World) -> AbstractContextManager[None]:
    return setting(world, "statement_timeout", "1ms")


@pytest.mark.parametrize(
    "broken", [server_away, network_silent, full_house, held_rows, statements_cut_short]
)
def test_a_runner_stops_in_the_midst_of_it(
    wired_world: World, broken: Callable[[World], AbstractContextManager[None]]
) -> None:
    runner = wired_world.start_runner(shutdown_timeout=SHUTDOWN_TIMEOUT)
    producer = Producer(wired_world.url, wired_world.notes, RATE, SEED)
    producer.start()
    wait_for(lambda: all_in_time(wired_world), what="every job to be in time")
    with broken(wired_world):
        stop(runner, SHUTDOWN_TIMEOUT)
    producer.stop()
    wired_world.runners.remove(runner)
