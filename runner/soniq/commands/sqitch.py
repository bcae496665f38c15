"""sqitch, run on the project that comes with this package. It never sees the password on a command line."""

import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import soniq
from soniq.errors import SoniqError

PROJECT = "soniq"
HOW_TO_INSTALL = (
    "sqitch is not on PATH, and Soniq's schema is deployed by it; on Debian and Ubuntu, run:"
    " apt-get install sqitch libdbd-pg-perl postgresql-client; elsewhere, see https://sqitch.org/download"
)

# What an address may say in its query and libpq also takes from the environment.
VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "dbname": "PGDATABASE",
    "database": "PGDATABASE",
    "service": "PGSERVICE",
    "options": "PGOPTIONS",
    "application_name": "PGAPPNAME",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "channel_binding": "PGCHANNELBINDING",
    "client_encoding": "PGCLIENTENCODING",
    "gssencmode": "PGGSSENCMODE",
    "krbsrvname": "PGKRBSRVNAME",
    "require_auth": "PGREQUIREAUTH",
    "sslmode": "PGSSLMODE",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "load_balance_hosts": "PGLOADBALANCEHOSTS",
}


def project_folder() -> Path:
    """Where sqitch.plan and the migrations are: in the package, or in the checkout from which it is run.

    Raises SoniqError if they are in neither.
    """
    package = Path(soniq.__file__).resolve().parent
    for folder in (package / "bundle", package.parent.parent):
        if (folder / "sqitch.plan").is_file():
            return folder
    raise SoniqError(
        f"there is no sqitch.plan in {package / 'bundle'}: this soniq is not whole; install it anew"
    )


def planned_changes() -> dict[str, str]:
    """The names of the plan's changes by their ids, in order. Raises SoniqError, also where there is no sqitch."""
    finished = subprocess.run(
        [_sqitch(), "plan", "--no-headers", "--format", "format:%H %n"],
        cwd=project_folder(),
        env=_environment({}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        said = " ".join((finished.stderr or finished.stdout).split())
        raise SoniqError(f"sqitch cannot read its plan in {project_folder()}: {said}")
    pairs = [line.split(maxsplit=1) for line in finished.stdout.splitlines() if line.strip()]
    return {pair[0]: pair[1] for pair in pairs}


def deploy(url: str, lock_timeout: int) -> None:
    """Deploys what is not deployed yet; what sqitch says goes where this process's output goes.

    Raises SoniqError if sqitch fails.
    """
    # The address is in the environment, where libpq finds all of it.
    command = [_sqitch(), "deploy", "--lock-timeout", str(lock_timeout), "db:postgresql:"]
    finished = subprocess.run(
        command,
        cwd=project_folder(),
        env=_environment(libpq_variables(url)),
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if finished.returncode:
        raise SoniqError(
            f"sqitch ended with exit code {finished.returncode}; what it says above is why."
            " What was deployed before stays; mend the cause and run `soniq setup` again"
        )


def libpq_variables(url: str) -> dict[str, str]:
    """An address of a database, as the environment in which libpq goes there."""
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    places = [_host_and_port(place) for place in hosts.split(",")]
    found = {
        "PGUSER": unquote(user),
        "PGPASSWORD": unquote(password),
        "PGHOST": ",".join(host for host, _ in places),
        # One for each host, where any has its own.
        "PGPORT": ",".join(port for _, port in places) if any(port for _, port in places) else "",
        "PGDATABASE": unquote(parts.path.removeprefix("/")),
    }
    for name, value in parse_qsl(parts.query.replace("+", "%2B")):
        if name in VARIABLES:
            found[VARIABLES[name]] = value
    return {name: value for name, value in found.items() if value}


def _host_and_port(place: str) -> tuple[str, str]:
    host, colon, port = place.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = place, ""
    return unquote(host).removeprefix("[").removesuffix("]"), port


def check_installed() -> None:
    """Raises SoniqError, which says how to install it, where there is no sqitch."""
    _sqitch()


def _sqitch() -> str:
    found = shutil.which("sqitch")
    if found is None:
        raise SoniqError(HOW_TO_INSTALL)
    return found


def _environment(given: dict[str, str]) -> dict[str, str]:
    """This process's environment, without what would lead sqitch elsewhere, and with what it cannot do without."""
    elsewhere = ("SQITCH_CONFIG", "SQITCH_TARGET", "SQITCH_USERNAME", "SQITCH_PASSWORD")
    kept = {name: value for name, value in os.environ.items() if name not in elsewhere}
    # In a container nobody has a name; sqitch records one with each change.
    names = {"SQITCH_ORIG_FULLNAME": "soniq setup", "SQITCH_ORIG_EMAIL": "soniq@localhost"}
    return {**names, **kept, **given}
