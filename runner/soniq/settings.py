"""The runner's settings, read from SONIQ_* and checked all at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from soniq.errors import BadSettings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a runner is told. Durations are in seconds; None for queues is all of them."""

    database_url: str
    jobs_modules: tuple[str, ...]
    concurrency: int
    queues: tuple[str, ...] | None
    job_timeout: float | None
    heartbeat_interval: float
    heartbeat_timeout: float
    poll_interval: float
    tick_interval: float
    shutdown_timeout: float
    sync_handler_pool_size: int
    prune_schedules: bool
    log_level: str


def read_settings(environment: Mapping[str, str], flags: Mapping[str, str | None]) -> Settings:
    """Settings from flags, then from the environment, then their defaults.

    Raises BadSettings, whose message names every setting that is missing or wrong.
    """
    problems: list[str] = []

    def read(name: str, default: str | None, convert: Callable[[str], T]) -> Any:
        variable = f"SONIQ_{name.upper()}"
        text = flags.get(name) or environment.get(variable) or default
        if text is None:
            problems.append(f"{variable} is not set: {convert.__doc__}")
            return None
        try:
            return convert(text.strip())
        except (ValueError, KeyError):
            problems.append(f"{variable} is {text!r}: {convert.__doc__}")
            return None

    settings = Settings(
        database_url=read("database_url", None, _database_url),
        jobs_modules=read("jobs_modules", None, _names),
        concurrency=read("concurrency", "4", _count),
        queues=read("queues", "*", _queues),
        job_timeout=read("job_timeout", "unset", _optional_seconds),
        heartbeat_interval=read("heartbeat_interval", "5", _positive_seconds),
        heartbeat_timeout=read("heartbeat_timeout", "300", _positive_seconds),
        poll_interval=read("poll_interval", "5", _positive_seconds),
        tick_interval=read("tick_interval", "1", _positive_seconds),
        shutdown_timeout=read("shutdown_timeout", "30", _seconds),
        sync_handler_pool_size=read("sync_handler_pool_size", "8", _count),
        prune_schedules=read("prune_schedules", "false", _yes_or_no),
        log_level=read("log_level", "INFO", _log_level),
    )
    if not problems and settings.heartbeat_timeout <= settings.heartbeat_interval:
        problems.append(
            f"SONIQ_HEARTBEAT_TIMEOUT is {settings.heartbeat_timeout:g}:"
            f" give more than SONIQ_HEARTBEAT_INTERVAL, which is {settings.heartbeat_interval:g}"
        )
    if problems:
        raise BadSettings("\n".join(problems))
    return settings


# The docstrings below are the remedies that messages give.


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
    """give a number of seconds, or 0 for no limit"""
    return None if text == "unset" else _seconds(text)


def _yes_or_no(text: str) -> bool:
    """give true or false"""
    return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
        text.lower()
    ]


def _log_level(text: str) -> str:
    """give DEBUG, INFO, WARNING or ERROR"""
    if text.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError
    return text.upper()
