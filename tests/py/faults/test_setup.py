"""Setup that is killed at any step and run again, and a schema that is replaced while runners are at work."""

import signal
import subprocess
from pathlib import Path

import pytest
from pgbouncer import name_of
from soniq.errors import SchemaMismatch
from sqitch_plan import read_plan
from testing.catalog import expect_same, fingerprint
from testing.commands import ROOT
from testing.deployment import psql, sqitch, sqitch_environment
from testing.server import Server, debian_binaries
from waiting import wait_for

from chaos.faults import FAULTS, TERMINATE_ALL
from chaos.producing import Producer
from chaos.world import DATABASE, World

RATE = 60.0
SEED = 1
# In the place of psql, which sqitch calls to apply a change and again to verify it: at one of its calls it kills
# sqitch, before it does what it is called for, or after.
DEADLY_PSQL = """#!/bin/sh
calls=$(($(cat "$CALLS") + 1))
echo $calls > "$CALLS"
if [ "$calls $WHEN" = "$AT before" ]; then kill -9 $PPID; exit 1; fi
{psql} "$@"
code=$?
if [ "$calls $WHEN" = "$AT after" ]; then kill -9 $PPID; fi
exit $code
"""


class Killing:
    """Runs sqitch deploy, to be killed."""

    def __init__(self, server: Server, database: str, folder: Path) -> None:
        client = folder / "deadly-psql"
        client.write_text(DEADLY_PSQL.format(psql=debian_binaries() / "psql"))
        client.chmod(0o755)
        config = folder / "sqitch.conf"
        config.write_text(f'[engine "pg"]\n  client = {client}\n')
        self._calls = folder / "calls"
        self._address = f"db:{server.url(database)}"
        self._environment = {
            **sqitch_environment(server, database),
            "SQITCH_USER_CONFIG": str(config),
            "CALLS": str(self._calls),
        }

    def deploy(self, at: int, when: str) -> int:
        """Kills it at this call of psql, before or after; answers with its exit code, negative if it was killed."""
        self._calls.write_text("0")
        return subprocess.run(
            ["sqitch", "deploy", self._address],
            cwd=ROOT,
            env={**self._environment, "AT": str(at), "WHEN": when},
            capture_output=True,
        ).returncode


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.long)])
def test_killed_between_steps_and_within_them_it_goes_on_where_it_was(
    server: Server, empty_database: str, tmp_path: Path, every: int
) -> None:
    database = name_of(empty_database)
    killing = Killing(server, database, tmp_path)
    changes = read_plan().scripts
    deployed = 0
    while deployed + every <= len(changes):
        # A change is applied, and verified: two calls each. The last of them is applied and not recorded.
        assert killing.deploy(2 * every - 1, "after") == -signal.SIGKILL
        deployed += every - 1
        if deployed + 1 < len(changes):
            # Now it is applied once more, and recorded; the next is not begun.
            assert killing.deploy(3, "before") == -signal.SIGKILL
            deployed += 1
        else:
            break
    assert killing.deploy(0, "never") == 0
    sqitch(server, database, "verify")
    whole = f"{database}_whole"
    server.create_database(whole)
    sqitch(server, whole, "deploy")
    expect_same(fingerprint(server, whole), fingerprint(server, database))
    server.drop_database(whole)


def test_functions_are_replaced_under_load(world: World) -> None:
    world.start_runners(2)
    producer = Producer(world.url, world.notes, RATE, SEED)
    producer.start()
    for _ in range(5):
        before = producer.acknowledged
        wait_for(lambda: producer.acknowledged > before + RATE / 2)  # noqa: B023
        psql(world.server, DATABASE, "--file", ROOT / "migrations/deploy/routines.sql")
    producer.stop()
    world.wait_until_all_has_ended()
    assert world.report().faults == []


def test_runners_go_on_when_the_schema_becomes_another_and_are_not_started_anew(
    world: World,
) -> None:
    world.start_runners(2)
    producer = Producer(world.url, world.notes, RATE, SEED)
    producer.start()
    wait_for(lambda: producer.acknowledged > RATE)
    world.ask(
        "create or replace function soniq.version() returns text language sql as $$select '99.0.0'$$"
    )
    world.ask(TERMINATE_ALL)
    before = producer.acknowledged
    wait_for(lambda: producer.acknowledged > before + RATE)
    producer.stop()
    world.wait_until_all_has_ended()
    late = world.start_runner()
    assert late.exit_code() == SchemaMismatch.exit_code
    assert "is of version 99.0.0, too new for this runner" in late.log
    world.runners.remove(late)
    assert world.report(*FAULTS["all backends terminated"].excuses).faults == []
