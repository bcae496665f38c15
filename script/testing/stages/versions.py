"""The SQL core on the other versions of PostgreSQL, from binaries that npm has."""

import hashlib
import os
import platform
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .. import suite
from ..commands import ROOT, CommandFailed, run
from ..deployment import deploy_snapshot, psql
from ..outcome import CheckFailed, Outcome
from ..server import Server, as_server_user, debian_binaries, throwaway_server
from ..site import Site

HOME = ROOT / "tests/postgres-versions"
MODULES = HOME / "node_modules"
ROLES = [f"soniq_{role}" for role in ("owner", "producer", "runner", "observer", "admin")]
OWNERS = """
select distinct relowner::regrole
from pg_class
where relnamespace = 'soniq'::regnamespace
"""
PACKAGES = re.compile(r'^    "(postgresql-\d+)": "npm:', re.MULTILINE)


def versions(site: Site) -> Outcome:
    """Deploys the snapshot and runs the pgTAP suite on each."""
    packages = PACKAGES.findall((HOME / "package.json").read_text())
    if obstacle := _obstacle():
        return Outcome(skipped=len(packages), note=f"NOT TRIED: {', '.join(packages)}: {obstacle}")
    _install()
    outcome = Outcome(note=", ".join(packages))
    # Some files of the suite run alone, so that one server at a time would leave CPUs idle.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for each in pool.map(lambda name: _on(MODULES / name / "native/bin", name), packages):
            outcome.add(each)
    return outcome


def _obstacle() -> str | None:
    if platform.machine() != "x86_64":
        return f"there are no binaries for {platform.machine()}"
    if shutil.which("npm") is None:
        return "npm is missing (sudo apt-get install npm)"
    return None


def _install() -> None:
    """Installs what the lock file says, once."""
    stamp = MODULES / ".installed"
    wanted = hashlib.sha256((HOME / "package-lock.json").read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        run("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", folder=HOME)
        # A package has no links; each brings a script that makes them, which npm may be set not to run.
        for links in MODULES.glob("*/scripts/hydrate-symlinks.js"):
            run("node", links, folder=links.parent.parent)
        stamp.write_text(wanted)


def _on(binaries: Path, package: str) -> Outcome:
    with (
        tempfile.TemporaryDirectory(prefix="soniq-test-", dir="/tmp") as folder,
        throwaway_server(binaries=_usable(binaries, Path(folder))) as server,
    ):
        outcome = _by_a_maker_of_roles(server)
        server.create_database("pgtap")
        deploy_snapshot(server, "pgtap")
        psql(server, "pgtap", "--file", _pgtap())
        outcome.add(suite.run_suite(server, "pgtap"))
        outcome.details = [f"{package}:\n{detail}" for detail in outcome.details]
        return outcome


def _by_a_maker_of_roles(server: Server) -> Outcome:
    """What a user may do with the roles that it makes differs most from one version to the next."""
    outcome = Outcome()
    with outcome.check("deployed, twice, by a user who may make roles and is no superuser"):
        psql(server, "postgres", "--command", "create role maker login createrole")
        psql(server, "postgres", "--command", "create database maker owner maker")
        for _ in ("first", "second"):
            deploy_snapshot(server, "maker", user="maker")
        psql(server, "maker", "--username", "maker", "--command", "select soniq.tick()")
        owners = psql(server, "maker", "--command", OWNERS).split()
        if owners != ["soniq_owner"]:
            raise CheckFailed(f"the tables belong to {owners}")
    # For the suite they are a superuser's, who may grant them all that they ask for.
    psql(server, "postgres", "--command", "drop database if exists maker")
    psql(server, "postgres", "--command", f"drop role if exists maker, {', '.join(ROLES)}")
    return outcome


def _pgtap() -> Path:
    """PgTAP as one SQL file, which needs nothing installed on the server."""
    major = debian_binaries().parent.name
    return Path(f"/usr/share/postgresql/{major}/extension/pgtap.sql")


def _usable(binaries: Path, folder: Path) -> Path:
    """The binaries, or a copy where the server's user cannot reach them, as in a checkout below /root."""
    try:
        run(*as_server_user(), binaries / "postgres", "--version", folder=Path("/"))
    except CommandFailed:
        folder.chmod(0o755)
        shutil.copytree(binaries.parent, folder / "native", symlinks=True)
        return folder / "native/bin"
    return binaries
