"""Everything around Soniq is broken, kind by kind, under load; then chaos/checker.py goes through the notes.

script/chaos mixes all kinds for as long as one likes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest
from waiting import wait_for

from chaos.checker import RUNNER_LOST
from chaos.faults import FAULTS, freeze_runner, kill_runner, restart_server
from chaos.producing import Producer, enqueue_many
from chaos.world import World

RUNNERS = 3
RATE = 60.0
SEED = 1
OF_RUNNERS = [
    "runner killed",
    "runner frozen until it is taken for lost",
    "runner frozen for a moment",
    "runner stopped",
]
OF_THE_SERVER = [
    "server away for a while",
    "one backend terminated",
    "all backends terminated",
    "a backend frozen",
]
OF_LIMITS = [
    "max_connections reached",
    "statement_timeout too short",
    "lock_timeout too short",
    "rows of jobs locked",
    "deadlocks",
]
OF_THE_NETWORK = ["network slow", "network silent", "network reset", "a question torn"]


@contextmanager
def load(world: World) -> Iterator[Producer]:
    """Runners at work on what a producer enqueues; when the block ends, all is mended and every job ends."""
    world.start_runners(RUNNERS)
    producer = Producer(world.url, world.notes, RATE, SEED)
    producer.start()
    wait_for(lambda: producer.acknowledged > RATE)
    yield producer
    before = producer.acknowledged
    wait_for(lambda: producer.acknowledged > before + RATE, what="the producer to go on")
    producer.stop()
    world.wait_until_all_has_ended()


def break_by(world: World, names: list[str]) -> None:
    random = Random(SEED)
    with load(world):
        for name in names:
            FAULTS[name].inject(world, random)
            for runner in world.runners:
                assert runner.process.poll() is None, f"{name}: {runner.log}"
    report = world.report(*{excuse for name in names for excuse in FAULTS[name].excuses})
    assert report.faults == []
    assert report.lost == 0
    assert report.acknowledged > RATE


def test_runners_killed_frozen_and_stopped(world: World) -> None:
    break_by(world, OF_RUNNERS)


def test_the_server_away_and_its_backends_terminated_or_frozen(world: World) -> None:
    break_by(world, OF_THE_SERVER)


def test_limits_reached_timeouts_and_deadlocks(world: World) -> None:
    break_by(world, OF_LIMITS)


def test_a_network_that_is_slow_silent_or_torn(wired_world: World) -> None:
    break_by(wired_world, OF_THE_NETWORK)


def test_ten_crashes_of_the_server_under_load(world: World) -> None:
    with load(world) as producer:
        for _ in range(10):
            before = producer.acknowledged
            restart_server(world, Random(SEED))
            wait_for(lambda: producer.acknowledged > before + RATE / 10)  # noqa: B023
    report = world.report(*FAULTS["server crashed and restarted"].excuses)
    assert report.faults == []
    assert report.acknowledged > RATE


@pytest.mark.parametrize("jobs", [20_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_many_jobs_and_runners_killed_and_frozen_all_the_while(world: World, jobs: int) -> None:
    random = Random(SEED)
    enqueue_many(world.url, world.notes, jobs)
    world.start_runners(RUNNERS)
    faults = 0
    while world.ask("select from soniq.jobs where status = 'queued' limit 1"):
        random.choice((kill_runner, kill_runner, freeze_runner))(world, random)
        faults += 1
    world.wait_until_all_has_ended()
    report = world.report(RUNNER_LOST)
    assert report.faults == []
    assert report.acknowledged == report.jobs == jobs
    assert faults > 0
