"""The settings of every Soniq command: what there is, where a value comes from, and whether it is right.

A flag wins over the environment, that over soniq.toml in the working directory, and that over the default.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from soniq.database import masked
from soniq.errors import BadSettings

FILE = Path("soniq.toml")
PREFIX = "SONIQ_"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `default` is text as in the environment; None: it has to be given where it is needed."""

    name: str
    default: str | None
    parse: Callable[[str], Any]
    meaning: str
    secret: bool = False

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        """Its name on a command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def remedy(self) -> str:
        """What to give, for messages."""
        return str(self.parse.__doc__)

    def shown(self, text: str) -> str:
        """A value of it as anybody may see it."""
        if not self.secret or text == self.default:
            return text
        return masked(text) if "://" in text else "***"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a runner is told. Durations are in seconds; None for queues is all of them."""

    database_url: str
    listen_url: str | None
    jobs_modules: tuple[str, ...]
    queues: tuple[str, ...] | None
    concurrency: int
    sync_handler_pool_size: int
    job_timeout: float | None
    retention: float | None
    shutdown_timeout: float
    pool_min_size: int
    pool_max_size: int
    pool_headroom: int
    heartbeat_interval: float
    heartbeat_timeout: float
    poll_interval: float
    tick_interval: float
    prune_schedules: bool
    unknown_jobs: str
    metrics_port: int | None
    log_level: str
    log_format: str


@dataclass(frozen=True, slots=True)
class DashboardSettings:
    """What the dashboard is told."""

    database_url: str
    dashboard_host: str
    dashboard_port: int
    dashboard_write: bool
    dashboard_api_key: str | None
    dashboard_trusted_header: str | None
    log_level: str
    log_format: str


@dataclass(frozen=True, slots=True)
class Found:
    """A setting's text and where it is from; `problem` is what is wrong with it."""

    setting: Setting
    text: str | None
    source: str
    value: Any
    problem: str | None


@dataclass(frozen=True, slots=True)
class _Content:
    """What soniq.toml says, and the names in it that nobody reads. Where it cannot be read, `unreadable` says why."""

    values: Mapping[str, str] = field(default_factory=dict)
    unknown: Sequence[str] = ()
    unreadable: str | None = None


def find_settings(
    environment: Mapping[str, str], flags: Mapping[str, str | None], file: Path = FILE
) -> list[Found]:
    """Every setting, right or wrong, for `soniq config`. Raises BadSettings for a file that cannot be read."""
    content = _read_file(file)
    if content.unreadable:
        raise BadSettings(content.unreadable)
    return [_find(setting, environment, flags, content.values, file) for setting in SETTINGS]


def read_settings(
    environment: Mapping[str, str], flags: Mapping[str, str | None], file: Path = FILE
) -> Settings:
    """The settings of a runner. Raises BadSettings, whose message names every one that is missing or wrong."""
    return Settings(**read_some(names_of(Settings), environment, flags, file))


def read_dashboard_settings(
    environment: Mapping[str, str], flags: Mapping[str, str | None], file: Path = FILE
) -> DashboardSettings:
    """Those of the dashboard. Raises BadSettings likewise."""
    return DashboardSettings(**read_some(names_of(DashboardSettings), environment, flags, file))


def names_of(kind: type[Settings] | type[DashboardSettings]) -> tuple[str, ...]:
    """The names of the settings that one of these needs."""
    return tuple(each.name for each in fields(kind))


def read_some(
    names: Collection[str],
    environment: Mapping[str, str],
    flags: Mapping[str, str | None],
    file: Path = FILE,
) -> dict[str, Any]:
    """Some settings by name, for commands that need no more. Raises BadSettings for all that are missing or wrong."""
    wanted = [setting for setting in SETTINGS if setting.name in names]
    return _read(wanted, environment, flags, file)


def read_one(name: str, environment: Mapping[str, str], flags: Mapping[str, str | None]) -> Any:
    """One setting, for commands that need no more. Raises BadSettings if it is missing or wrong."""
    return read_some((name,), environment, flags)[name]


def _read(
    wanted: Sequence[Setting],
    environment: Mapping[str, str],
    flags: Mapping[str, str | None],
    file: Path,
) -> dict[str, Any]:
    content = _read_file(file)
    found = [_find(setting, environment, flags, content.values, file) for setting in wanted]
    problems = [content.unreadable] if content.unreadable else [*content.unknown]
    problems += [
        each.problem
        for each in found
        # What is missing may be in the file that cannot be read.
        if each.problem and not (each.text is None and content.unreadable)
    ]
    values = {each.setting.name: each.value for each in found if not each.problem}
    problems += _contradictions(values)
    if problems:
        # Not before: where the apps size their pools themselves, nothing is wrong with it.
        if pool := _pool_problem(values):
            problems.append(f"{pool}, or give each app its own Soniq(pool_max_size=...)")
        raise BadSettings("\n".join(problems))
    return values


def unknown_names(environment: Mapping[str, str]) -> list[str]:
    """A line for each SONIQ_* variable that nobody reads, with the nearest that somebody does."""
    known = {setting.variable for setting in SETTINGS}
    return [
        f"{name} is not a setting of Soniq{_nearest(name, known)}"
        for name in sorted(environment)
        if name.startswith(PREFIX) and name not in known and not name.startswith("SONIQ_TEST_")
    ]


def _nearest(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    return f"; did you mean {near[0]}?" if near else ""


def unknown_in_file(file: Path = FILE) -> list[str]:
    """A line for each name in the file that nobody reads, as unknown_names() has it."""
    return [*_read_file(file).unknown]


def _read_file(file: Path) -> _Content:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return _Content()
    except (OSError, ValueError) as error:
        return _Content(unreadable=f"{file} cannot be read: {error}; correct it, or remove it")
    known = {setting.name for setting in SETTINGS}
    return _Content(
        {name: _as_text(value) for name, value in content.items() if name in known},
        [
            f"{file}: {name} is not a setting of Soniq{_nearest(name, known)}"
            for name in content
            if name not in known
        ],
    )


def _as_text(value: Any) -> str:
    """A value of the file as one would write it in the environment."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value)


def _find(
    setting: Setting,
    environment: Mapping[str, str],
    flags: Mapping[str, str | None],
    in_file: Mapping[str, str],
    file: Path,
) -> Found:
    for source, given in (
        (setting.flag, flags.get(setting.name)),
        (setting.variable, environment.get(setting.variable)),
        (str(file), in_file.get(setting.name)),
        ("default", setting.default),
    ):
        if given:
            text = given.strip()
            try:
                return Found(setting, text, source, setting.parse(text), None)
            except (ValueError, KeyError):
                # An address may have come to the wrong variable.
                shown = setting.shown(text)
                shown = shown if shown == "***" else repr(masked(shown))
                name = setting.variable
                if source != name:
                    name = f"{name} (from {source})"
                problem = f"{name} is {shown}: {setting.remedy}"
                return Found(setting, text, source, None, problem)
    return Found(setting, None, "default", None, f"{setting.variable} is not set: {setting.remedy}")


def _contradictions(values: Mapping[str, Any]) -> list[str]:
    """What goes ill together of the values that are right in themselves."""
    problems = []
    interval, timeout = values.get("heartbeat_interval"), values.get("heartbeat_timeout")
    if interval is not None and timeout is not None and timeout <= interval:
        problems.append(
            f"SONIQ_HEARTBEAT_TIMEOUT is {timeout:g}:"
            f" give more than SONIQ_HEARTBEAT_INTERVAL, which is {interval:g}"
        )
    least, most = values.get("pool_min_size"), values.get("pool_max_size")
    if least is not None and most is not None and least > most:
        problems.append(
            f"SONIQ_POOL_MIN_SIZE is {least}: give no more than SONIQ_POOL_MAX_SIZE, which is {most}"
        )
    if problem := _access_problem(values):
        problems.append(problem)
    return problems


def check_access(*, write: bool, api_key: str | None, trusted_header: str | None) -> None:
    """Raises BadSettings where anybody could act by the dashboard, or its key or header is not one."""
    problems = []
    values: dict[str, Any] = {"dashboard_write": write}
    for name, parse, text in (
        ("dashboard_api_key", _api_key, api_key),
        ("dashboard_trusted_header", _header, trusted_header),
    ):
        try:
            values[name] = None if text is None else parse(text)
        except ValueError:
            setting = next(each for each in SETTINGS if each.name == name)
            problems.append(
                f"{name.removeprefix('dashboard_')} is {setting.shown(text or '')!r}: {parse.__doc__}"
            )
    problems += filter(None, [_access_problem(values)])
    if problems:
        raise BadSettings("\n".join(problems))


def _access_problem(values: Mapping[str, Any]) -> str | None:
    names = ("dashboard_write", "dashboard_api_key", "dashboard_trusted_header")
    if not all(name in values for name in names):
        return None
    write, api_key, trusted_header = (values[name] for name in names)
    if not write or api_key or trusted_header:
        return None
    return (
        "SONIQ_DASHBOARD_WRITE is true, and nothing tells who may act: set SONIQ_DASHBOARD_API_KEY to a long"
        " secret, as of `openssl rand -hex 32`, or SONIQ_DASHBOARD_TRUSTED_HEADER to the header by which your"
        " proxy says who has signed in"
    )


def check_pool(settings: Settings) -> None:
    """Raises BadSettings where handlers could wait for connections that other handlers hold."""
    if problem := _pool_problem(
        {
            "concurrency": settings.concurrency,
            "pool_headroom": settings.pool_headroom,
            "pool_max_size": settings.pool_max_size,
        }
    ):
        raise BadSettings(problem)


def _pool_problem(values: Mapping[str, Any]) -> str | None:
    names = ("concurrency", "pool_headroom", "pool_max_size")
    if not all(name in values for name in names):
        return None
    concurrency, headroom, size = (values[name] for name in names)
    wanted = concurrency + headroom
    if not 0 < size < wanted:
        return None
    return (
        f"Connection pool too small: SONIQ_POOL_MAX_SIZE is {size}, and"
        f" SONIQ_CONCURRENCY + SONIQ_POOL_HEADROOM is {concurrency} +"
        f" {headroom} = {wanted}: set SONIQ_POOL_MAX_SIZE={wanted}, or lower"
        f" SONIQ_CONCURRENCY to {max(size - headroom, 1)}, or set"
        " SONIQ_POOL_MAX_SIZE=0 if no handler asks for app.connection()"
    )


# The docstrings below are the remedies that messages give.


def _optional_url(text: str) -> str | None:
    """give a direct address of the database, as in SONIQ_DATABASE_URL"""
    return None if text == "unset" else _database_url(text)


def _database_url(text: str) -> str:
    """give the database's address, postgresql://user@host:5432/database"""
    if not text.startswith(("postgresql://", "postgres://")):
        raise ValueError
    return text


def _names(text: str) -> tuple[str, ...]:
    """give the modules with your handlers, separated by commas, as in shop.jobs,shop.mail"""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise ValueError
    return names


def _queues(text: str) -> tuple[str, ...] | None:
    """give queue names separated by commas, or * for all"""
    return None if text == "*" else _names(text)


def _count(text: str) -> int:
    """give a whole number, 1 or more"""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _size(text: str) -> int:
    """give a whole number, 0 or more"""
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def _port(text: str) -> int:
    """give a port from 1 to 65535"""
    number = int(text)
    if not 0 < number < 65536:
        raise ValueError
    return number


def _optional_port(text: str) -> int | None:
    """give a port from 1 to 65535"""
    return None if text == "unset" else _port(text)


def _host(text: str) -> str:
    """give the name or address of an interface, as in 127.0.0.1, or 0.0.0.0 for all"""
    if not re.fullmatch(r"[\w.:%-]+", text, re.ASCII):
        raise ValueError
    return text


def _api_key(text: str) -> str:
    """give a secret of 16 characters or more of printable ASCII, as `openssl rand -hex 32` makes one"""
    if not re.fullmatch(r"[!-~]{16,}", text):
        raise ValueError
    return text


def _optional_api_key(text: str) -> str | None:
    """give a secret of 16 characters or more of printable ASCII, as `openssl rand -hex 32` makes one"""
    return None if text == "unset" else _api_key(text)


def _header(text: str) -> str:
    """give the name of an HTTP header, as in X-Forwarded-User"""
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", text):
        raise ValueError
    return text


def _optional_header(text: str) -> str | None:
    """give the name of an HTTP header, as in X-Forwarded-User"""
    return None if text == "unset" else _header(text)


def _seconds(text: str) -> float:
    """give a number of seconds, 0 or more"""
    seconds = float(text)
    if not 0 <= seconds < 1e9:
        raise ValueError
    return seconds


def _positive_seconds(text: str) -> float:
    """give a number of seconds above 0"""
    seconds = _seconds(text)
    if seconds == 0:
        raise ValueError
    return seconds


def _optional_seconds(text: str) -> float | None:
    """give a number of seconds, 0 or more"""
    return None if text == "unset" else _seconds(text)


def _yes_or_no(text: str) -> bool:
    """give true or false"""
    return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
        text.lower()
    ]


def _unknown_jobs(text: str) -> str:
    """give allow, warn or refuse"""
    if text.lower() not in ("allow", "warn", "refuse"):
        raise ValueError
    return text.lower()


def _log_level(text: str) -> str:
    """give DEBUG, INFO, WARNING or ERROR"""
    if text.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError
    return text.upper()


def _log_format(text: str) -> str:
    """give text or json"""
    if text.lower() not in ("text", "json"):
        raise ValueError
    return text.lower()


SETTINGS = (
    Setting(
        "database_url",
        None,
        _database_url,
        "Where the jobs are. Several hosts may be named, as in"
        " postgresql://a,b/shop?target_session_attrs=read-write.",
        secret=True,
    ),
    Setting(
        "listen_url",
        "unset",
        _optional_url,
        "A direct address for LISTEN, where SONIQ_DATABASE_URL leads through a pooler that cannot.",
        secret=True,
    ),
    Setting("jobs_modules", None, _names, "The modules with handlers, separated by commas."),
    Setting("queues", "*", _queues, "The queues to serve, separated by commas; * is all."),
    Setting("concurrency", "4", _count, "How many jobs run at once."),
    Setting(
        "sync_handler_pool_size",
        "8",
        _count,
        "Threads for handlers that are not async; only they wait. Where the modules have both kinds, one of"
        " the SONIQ_CONCURRENCY slots is for async jobs alone.",
    ),
    Setting(
        "job_timeout",
        "unset",
        _optional_seconds,
        "Seconds for one attempt where the handler sets none; 0 is no limit. Unset, the queue decides,"
        " then soniq.settings (300).",
    ),
    Setting(
        "retention",
        "unset",
        _optional_seconds,
        "Seconds for which finished jobs are kept where the handler does not say; 0 keeps none. Unset,"
        " the queue decides, then soniq.settings (7 days).",
    ),
    Setting(
        "shutdown_timeout",
        "30",
        _seconds,
        "Seconds that running jobs may take to end after SIGTERM.",
    ),
    Setting(
        "pool_min_size", "0", _size, "Connections that the pool of app.connection() keeps open."
    ),
    Setting(
        "pool_max_size",
        "20",
        _size,
        "Connections that it opens at the most, the first when one is asked for; 0 says that no handler"
        " asks. Otherwise at least SONIQ_CONCURRENCY + SONIQ_POOL_HEADROOM.",
    ),
    Setting("pool_headroom", "2", _size, "Connections beyond one for each job at once."),
    Setting("heartbeat_interval", "5", _positive_seconds, "Seconds between signs of life."),
    Setting(
        "heartbeat_timeout",
        "300",
        _positive_seconds,
        "Seconds of silence after which a runner is dead and its jobs run elsewhere.",
    ),
    Setting(
        "poll_interval",
        "5",
        _positive_seconds,
        "Seconds between two looks of an idle runner to which no notification comes.",
    ),
    Setting("tick_interval", "1", _positive_seconds, "Seconds between two calls of soniq.tick()."),
    Setting(
        "prune_schedules",
        "false",
        _yes_or_no,
        "true removes periodic jobs that the modules have no longer; false reports them.",
    ),
    Setting(
        "unknown_jobs",
        "allow",
        _unknown_jobs,
        "What becomes of enqueueing, from Python, a job name that no runner has ever registered: allow, warn"
        " or refuse. Producers outside of a runner read it from the environment; Soniq(unknown_jobs=...) wins.",
    ),
    Setting(
        "metrics_port",
        "unset",
        _optional_port,
        "Where /metrics, /healthz and /readyz are served; unset, nowhere.",
    ),
    Setting("log_level", "INFO", _log_level, "DEBUG, INFO, WARNING or ERROR."),
    Setting("log_format", "text", _log_format, "text, or json: one object a line."),
    Setting(
        "dashboard_host",
        "127.0.0.1",
        _host,
        "The interface at which the dashboard is served; 0.0.0.0 is all of them.",
    ),
    Setting("dashboard_port", "8787", _port, "And the port."),
    Setting(
        "dashboard_write",
        "false",
        _yes_or_no,
        "true lets people act by the dashboard, which takes a key or a trusted header; false only lets them look.",
    ),
    Setting(
        "dashboard_api_key",
        "unset",
        _optional_api_key,
        "A secret of 16 characters or more, without which nothing is shown: people sign in with it, programs send"
        " it as Authorization: Bearer.",
        secret=True,
    ),
    Setting(
        "dashboard_trusted_header",
        "unset",
        _optional_header,
        "The header in which your proxy names who has signed in, as in X-Forwarded-User; nothing is shown to"
        " requests without it. The proxy has to remove it from what comes from outside, and be the only one that"
        " reaches the dashboard.",
    ),
)
