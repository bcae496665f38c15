"""Driving SQL with pgbench: prepared statements over a socket, and next to no client that could be in the way."""

import re

from testing.commands import CommandFailed, run

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
        *(database.server.binaries / "pgbench", "--no-vacuum", "--protocol=prepared"),
        *(f"--client={clients}", f"--jobs={min(clients, 2)}"),
        f"--time={seconds}" if transactions is None else f"--transactions={transactions}",
        *(f"--define={name}={value}" for name, value in variables.items()),
        f"--file={SQL / script}",
        environment=database.server.environment(database.name),
    )
    rate = re.search(r"^tps = ([\d.]+) ", output, re.MULTILINE)
    if rate is None:
        raise CommandFailed(["pgbench", script], "no rate in its output", output)
    return float(rate[1])
