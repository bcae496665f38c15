"""Driving SQL with pgbench: prepared statements over a socket, and next to no client that could be in the way."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from testing.commands import CommandFailed, abandon, run, start

from .site import SQL, Database


def transactions_per_second(
    database: Database,
    script: str,
    *,
    clients: int = 1,
    transactions: int | None = None,
    seconds: int | None = None,
    **variables: object,
) -> float:
    """Runs a script of sql/ so many times by each client, or for so long; the variables are its parameters.

    Connecting is not counted. Raises CommandFailed if a statement fails.
    """
    output = run(
        *_command(database, {script: 1}, clients),
        f"--time={seconds}" if transactions is None else f"--transactions={transactions}",
        *(f"--define={name}={value}" for name, value in variables.items()),
        environment=database.server.environment(database.name),
    )
    rate = re.search(r"^tps = ([\d.]+) ", output, re.MULTILINE)
    if rate is None:
        raise CommandFailed(["pgbench", script], "no rate in its output", output)
    return float(rate[1])


@contextmanager
def steady_load(
    database: Database, scripts: Mapping[str, int], *, rate: float, clients: int
) -> Iterator[None]:
    """So many transactions a second as long as the block runs: scripts of sql/, each as often as its weight says.

    Raises CommandFailed if a statement fails.
    """
    pgbench = start(
        *_command(database, scripts, clients),
        # More than anybody measures; without, it would end by itself.
        *(f"--rate={rate}", "--time=100000"),
        environment=database.server.environment(database.name),
    )
    try:
        yield
        ended = pgbench.poll()
    finally:
        output = abandon(pgbench) if pgbench.poll() is None else pgbench.communicate()[0]
    if ended is not None:
        raise CommandFailed(["pgbench", *scripts], f"exit code {ended}", output)


def _command(database: Database, scripts: Mapping[str, int], clients: int) -> list[str]:
    return [
        *(str(database.server.binaries / "pgbench"), "--no-vacuum", "--protocol=prepared"),
        *(f"--client={clients}", f"--jobs={min(clients, 2)}"),
        *(f"--file={SQL / script}@{weight}" for script, weight in scripts.items()),
    ]
