"""Taking in jobs: one by one from few and many connections, and thousands in one statement."""

from functools import partial

from .pgbench import transactions_per_second
from .rounds import Measurement, Workload, measure_in_rounds
from .section import Options, Section
from .site import Site

SECONDS = 3


def measure(site: Site, options: Options) -> Section:
    """soniq.enqueue() beside a bare INSERT, soniq.enqueue_many() beside INSERT ... SELECT unnest(...)."""
    return measure_in_rounds(_workload(options.jobs), site, options.rounds)


def _workload(jobs: int) -> Workload:
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
