"""The schema's ways into a database and out of it again: sqitch, psql and the snapshot."""

from dataclasses import dataclass, field

from sqitch_plan import Plan, read_plan

from ..catalog import expect_same, fingerprint, row_counts
from ..commands import ROOT, CommandFailed, finish, run
from ..deployment import deploy_snapshot, psql, sqitch
from ..outcome import CheckFailed, Outcome
from ..server import Server
from ..site import AT_ONCE, Site
from .python import tool

MIGRATIONS = ROOT / "migrations"


def squawk(site: Site) -> Outcome:
    """The linter of migrations, as .squawk.toml sets it."""
    outcome = Outcome()
    scripts = sorted((MIGRATIONS / "deploy").glob("*.sql"))
    with outcome.check("squawk"):
        run(tool("squawk"), "--reporter", "gcc", "--config", ROOT / ".squawk.toml", *scripts)
        outcome.note = f"{len(scripts)} scripts"
    return outcome


def sqitch_stage(site: Site) -> Outcome:
    """Every way in leads to the same catalog, and the way out leads to nothing."""
    _ = site.deploys_at_once  # they wait for each other from here to the stage at-once
    plan = read_plan()
    ways = _Ways(site.server, plan)
    outcome = Outcome()
    with outcome.check("sqitch.conf: a change that fails is undone alone, and each is verified"):
        _expect_configuration()
    with outcome.check("each change has its three scripts, and each script its change"):
        _expect_scripts(plan)
    with outcome.check("sqitch deploys from nothing"):
        ways.deploy_from_nothing()
    with outcome.check("sqitch reverts to nothing and leaves no trace"):
        ways.revert_to_nothing()
    with outcome.check("sqitch deploys again: the same catalog"):
        ways.deploy_again()
    with outcome.check("psql -f soniq.sql: the same catalog"):
        ways.deploy_snapshot()
    for script in plan.scripts:
        with outcome.check(
            f"{script}: runs twice, and its verify script tells whether it is there"
        ):
            ways.deploy_by_hand(script)
    with outcome.check("each script by psql, twice: the same catalog"):
        ways.expect_deployed("by_hand")
    for script in reversed(plan.scripts):
        with outcome.check(f"{script}: reverts to what was there before it"):
            ways.revert_one(script)
    for tag in plan.tags:
        with outcome.check(f"upgraded from {tag}: the same catalog"):
            ways.upgrade_from(tag)
    if not plan.tags:
        outcome.note = "no release is tagged yet to upgrade from"
    return outcome


def at_once(site: Site) -> Outcome:
    """Many sqitch deploy started at the same time on one database: one works, the others find nothing to do."""
    outcome = Outcome()
    with outcome.check(f"{len(site.deploys_at_once)} times sqitch deploy at once"):
        said = [finish(process) for process in site.deploys_at_once]
        deployed = sum(f"+ {read_plan().scripts[-1]} " in output for output in said)
        idle = sum("Nothing to deploy" in output for output in said)
        if (deployed, idle) != (1, len(said) - 1):
            raise CheckFailed(
                f"{deployed} deployed, {idle} found nothing to do:\n" + "\n".join(said)
            )
        sqitch(site.server, AT_ONCE, "verify")
    return outcome


def _expect_configuration() -> None:
    found = run("sqitch", "config", "--list").splitlines()
    for line in ("deploy.mode=change", "deploy.verify=true"):
        if line not in found:
            raise CheckFailed(f"{line} is missing from:\n" + "\n".join(found))


def _expect_scripts(plan: Plan) -> None:
    for folder in ("deploy", "revert", "verify"):
        present = {path.name.removesuffix(".sql") for path in (MIGRATIONS / folder).iterdir()}
        if different := present ^ set(plan.scripts):
            raise CheckFailed(f"migrations/{folder} and sqitch.plan differ in: {sorted(different)}")


@dataclass
class _Ways:
    """The databases made on the way: by_sqitch, by_hand and others; and what was found in them."""

    server: Server
    plan: Plan
    deployed: str = ""
    before: dict[str, str] = field(default_factory=dict)  # each script's database, as it met it

    def deploy_from_nothing(self) -> None:
        self.server.create_database("virgin")
        self.server.create_database("by_sqitch")
        sqitch(self.server, "by_sqitch", "deploy")
        sqitch(self.server, "by_sqitch", "verify")
        self.deployed = fingerprint(self.server, "by_sqitch")

    def revert_to_nothing(self) -> None:
        sqitch(self.server, "by_sqitch", "revert", "-y")
        self.server.create_database("reverted", template="by_sqitch")
        # The registry stays on purpose, and is sqitch's own.
        psql(self.server, "reverted", "--command", "drop schema sqitch cascade")
        expect_same(fingerprint(self.server, "virgin"), fingerprint(self.server, "reverted"))
        virgin, reverted = (row_counts(self.server, name) for name in ("virgin", "reverted"))
        if more := {name: rows for name, rows in reverted.items() if rows != virgin[name]}:
            raise CheckFailed(f"rows in the system catalogs: {more}, in a new database {virgin}")

    def deploy_again(self) -> None:
        sqitch(self.server, "by_sqitch", "deploy")
        self.expect_deployed("by_sqitch")

    def deploy_snapshot(self) -> None:
        self.server.create_database("by_snapshot")
        deploy_snapshot(self.server, "by_snapshot")
        self.expect_deployed("by_snapshot")

    def deploy_by_hand(self, script: str) -> None:
        if not self.before:
            self.server.create_database("by_hand")
        self.before[script] = fingerprint(self.server, "by_hand")
        too_early = self._verifies(script)
        for _ in ("first", "second"):
            psql(self.server, "by_hand", "--file", MIGRATIONS / f"deploy/{script}.sql")
        if not self._verifies(script):
            raise CheckFailed(f"verify/{script}.sql fails after the change was deployed")
        if too_early:
            raise CheckFailed(f"verify/{script}.sql passes before the change is deployed")

    def revert_one(self, script: str) -> None:
        to = [] if script == self.plan.scripts[0] else ["--to", "@HEAD^"]
        sqitch(self.server, "by_sqitch", "revert", "-y", *to)
        if to:
            sqitch(self.server, "by_sqitch", "verify")
        expect_same(self.before[script], fingerprint(self.server, "by_sqitch"))

    def upgrade_from(self, tag: str) -> None:
        database = f"from_{tag}"
        self.server.create_database(database)
        sqitch(self.server, database, "deploy", "--to", tag)
        sqitch(self.server, database, "deploy")
        self.expect_deployed(database)

    def expect_deployed(self, database: str) -> None:
        """The catalog is the one of the first deployment."""
        expect_same(self.deployed, fingerprint(self.server, database))

    def _verifies(self, script: str) -> bool:
        try:
            psql(self.server, "by_hand", "--file", MIGRATIONS / f"verify/{script}.sql")
        except CommandFailed:
            return False
        return True
