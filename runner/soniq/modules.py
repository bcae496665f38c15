"""Importing the modules named by SONIQ_JOBS_MODULES and finding the apps in them."""

import importlib
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType

from soniq.app import Soniq, two_handlers, two_schedules
from soniq.errors import DuplicateJob, ModuleNotImportable, NoJobs, SoniqError
from soniq.handler import Handler
from soniq.schedule import Schedule


@dataclass(frozen=True, slots=True)
class PeriodicJob:
    """A schedule, the job that it enqueues and the module of SONIQ_JOBS_MODULES that it is from."""

    job_name: str
    module: str
    schedule: Schedule


@dataclass(frozen=True, slots=True)
class Code:
    """What the modules declare: handlers by job name, periodic jobs by schedule name."""

    apps: tuple[Soniq, ...]
    handlers: Mapping[str, Handler]
    periodic: Mapping[str, PeriodicJob]


def import_apps(names: Iterable[str]) -> dict[Soniq, str]:
    """The apps that these modules define or import, each with the first module that has it.

    Raises ModuleNotImportable, NoJobs for a module without a job, and DuplicateJob. Where several cannot be had, it is
    what the first one raises, and the message tells of all.
    """
    apps: dict[Soniq, str] = {}
    problems: list[SoniqError] = []
    for name in names:
        try:
            for app in _apps_of(name):
                apps.setdefault(app, name)
        except (ModuleNotImportable, NoJobs, DuplicateJob) as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise type(problems[0])("\n".join(map(str, problems))) from ExceptionGroup(
            "the modules", problems
        )
    return apps


def _apps_of(name: str) -> list[Soniq]:
    found = [value for value in vars(_import(name)).values() if isinstance(value, Soniq)]
    if not any(app.handlers for app in found):
        raise NoJobs(
            f"module {name!r} has no jobs: define app = Soniq() in it, or import it there,"
            " and decorate a function with @app.job"
        )
    return found


def merge(apps: Mapping[Soniq, str]) -> Code:
    """What all apps declare. Raises DuplicateJob where two have the same name."""
    handlers: dict[str, Handler] = {}
    periodic: dict[str, PeriodicJob] = {}
    for app, module in apps.items():
        for name, handler in app.handlers.items():
            if taken := handlers.get(name):
                raise DuplicateJob(two_handlers(taken, handler))
            handlers[name] = handler
        for name, (job_name, schedule) in app.schedules.items():
            if former := periodic.get(name):
                raise DuplicateJob(two_schedules(name, former.schedule, schedule))
            periodic[name] = PeriodicJob(job_name, module, schedule)
    return Code(tuple(apps), handlers, periodic)


def _import(name: str) -> object:
    try:
        return importlib.import_module(name)
    except DuplicateJob:
        raise
    except Exception as error:
        error.__traceback__ = _own_part(error.__traceback__)
        raise ModuleNotImportable(
            f"cannot import {name!r}, named by SONIQ_JOBS_MODULES:"
            f" {type(error).__name__}: {_message(error)}{_place(error)}"
        ) from error


def _own_part(part: TracebackType | None) -> TracebackType | None:
    """A traceback from where the modules' own code begins: how Python imports them is the same for all."""
    while part is not None:
        file = part.tb_frame.f_code.co_filename
        if file not in (__file__, importlib.__file__) and not file.startswith("<frozen importlib"):
            break
        part = part.tb_next
    return part


def _message(error: Exception) -> str:
    return error.msg if isinstance(error, SyntaxError) else str(error)


def _place(error: Exception) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}:{error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
