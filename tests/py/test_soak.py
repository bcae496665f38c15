"""The soak of script/bench in a short form: no figures, but that under everything at once each job ends, and once."""

from collections.abc import Iterator

import pytest
from conftest import TEMPLATE
from testing.server import Server

from benchmarks.mixed_load import run_mixed_load
from benchmarks.site import Database

SECONDS = 8
NAME = "soak"


@pytest.fixture
def soak_database(server: Server) -> Iterator[Database]:
    server.create_database(NAME, TEMPLATE)
    yield Database(server, NAME)
    server.drop_database(NAME)


def test_under_a_mixed_load_every_job_ends_exactly_once(soak_database: Database) -> None:
    load = run_mixed_load(soak_database, SECONDS, look=lambda connection, second: None)
    ends = load.ends
    assert min(ends.done, ends.scheduled, ends.cancelled, ends.again, ends.given_up) > 0, ends
    assert len(load.attempts) > ends.done + ends.scheduled
