"""Taking in jobs: one by one from few and many connections, and thousands in one statement."""

from functools import partial

from .pgbench import transactions_per_second
from .site import Site
from .workload import Measurement, Workload

SECONDS = 3


def workload(jobs: int) -> Workload:
    """soniq.enqueue() beside a bare INSERT, soniq.enqueue_many() beside INSERT ... SELECT unnest(...)."""
    measurements = []
    for clients in (1, 16):
        many = "1 connection" if clients == 1 else f"{clients} connections"
        plain = Measurement(
            f"plain INSERT, {many}",
            partial(_one_by_one, who="plain", clients=clients),
        )
        soniq = Measurement(
            f"soniq.enqueue(), {many}",
            partial(_one_by_one, who="soniq", clients=clients),
            plain,
        )
        measurements += [plain, soniq]
    plain = Measurement(
        f"plain INSERT of {jobs:,} by SELECT unnest(...)",
        partial(_at_once, who="plain", jobs=jobs),
    )
    soniq = Measurement(
        f"soniq.enqueue_many() of {jobs:,}", partial(_at_once, who="soniq", jobs=jobs), plain
    )
    return Workload("Enqueue; jobs a second", [*measurements, plain, soniq])


def _one_by_one(site: Site, who: str, clients: int) -> float:
    with site.database() as database:
        return transactions_per_second(
            database, f"{who}_enqueue.sql", clients=clients, seconds=SECONDS
        )


def _at_once(site: Site, who: str, jobs: int) -> float:
    with site.database("batch.sql", jobs=jobs) as database:
        return jobs * transactions_per_second(database, f"{who}_enqueue_many.sql", transactions=1)
