"""Importing the modules named by SONIQ_JOBS_MODULES and finding the apps in them."""

import importlib
import traceback
from collections.abc import Iterable

from soniq.app import Soniq, two_handlers
from soniq.errors import DuplicateJob, ModuleNotImportable, NoJobs
from soniq.handler import Handler


def import_apps(names: Iterable[str]) -> list[Soniq]:
    """The apps that these modules define or import, each once.

    Raises ModuleNotImportable, NoJobs for a module without a job, and DuplicateJob.
    """
    apps: list[Soniq] = []
    for name in names:
        found = [value for value in vars(_import(name)).values() if isinstance(value, Soniq)]
        if not any(app.handlers for app in found):
            raise NoJobs(
                f"module {name!r} has no jobs: define app = Soniq() in it, or import it there,"
                " and decorate a function with @app.job"
            )
        apps.extend(app for app in found if app not in apps)
    return apps


def merge_handlers(apps: Iterable[Soniq]) -> dict[str, Handler]:
    """All handlers by job name. Raises DuplicateJob where two apps have the same name."""
    merged: dict[str, Handler] = {}
    for app in apps:
        for name, handler in app.handlers.items():
            if taken := merged.get(name):
                raise DuplicateJob(two_handlers(taken, handler))
            merged[name] = handler
    return merged


def _import(name: str) -> object:
    try:
        return importlib.import_module(name)
    except DuplicateJob:
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise ModuleNotImportable(
            f"cannot import {name!r}, named by SONIQ_JOBS_MODULES:"
            f" {type(error).__name__}: {error} ({where.filename}:{where.lineno})"
        ) from error
