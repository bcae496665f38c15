"""What pytest gets from an installed Soniq: a database for tests, and an error where `await` was forgotten.

    from soniq.testing import run_until_empty

    async def test_an_order_is_charged(soniq_db):
        await place_order(7)
        assert await run_until_empty(app) == 1

To do without it: pytest -p no:soniq.
"""

import os
from collections.abc import Iterator

import pytest

# A coroutine that nobody awaits says so when it is collected, where an exception can only be reported, not raised. So
# the report has to be an error too. Only Soniq's own are meant: what else a program forgets is its own affair.
FORGOTTEN = (
    r"error:coroutine 'Soniq\..*' was never awaited:RuntimeWarning",
    r"error:Exception ignored[^\n]*coroutine object Soniq\.:pytest.PytestUnraisableExceptionWarning",
)


def pytest_configure(config: pytest.Config) -> None:
    """Makes a forgotten `await`, as on `enqueue`, fail the test."""
    for line in FORGOTTEN:
        config.addinivalue_line("filterwarnings", line)


@pytest.fixture(scope="session")
def soniq_database_url() -> Iterator[str]:
    """The address of the session's database, with Soniq's schema. Take soniq_db, which is clean."""
    # Not above: every pytest run of whoever has Soniq installed imports this module.
    from soniq import throwaway

    with throwaway.provide(os.environ) as url:
        yield url


@pytest.fixture
def soniq_db(soniq_database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a real database, in which Soniq's tables are empty; SONIQ_DATABASE_URL for the test's time.

    SONIQ_TEST_DATABASE_URL names a database for tests, one for each session at a time; Soniq's schema is deployed if it
    is not there. Unset, a throwaway server is started of PostgreSQL as installed here, also in the folder
    SONIQ_TEST_POSTGRES.
    """
    from soniq import throwaway

    throwaway.clean(soniq_database_url)
    monkeypatch.setenv("SONIQ_DATABASE_URL", soniq_database_url)
    return soniq_database_url
