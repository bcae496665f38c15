"""The settings as options of commands, out of the one table that there is of them."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import click

from soniq.settings import SETTINGS, Setting

C = TypeVar("C", bound=Callable[..., Any])


def setting_options(names: Collection[str] | None = None) -> Callable[[C], C]:
    """Gives a command an option for each of these settings, all by default; their values go through as_texts()."""

    def decorate(command: C) -> C:
        for setting in reversed(SETTINGS):
            if names is None or setting.name in names:
                command = _option(setting)(command)
        return command

    return decorate


def _option(setting: Setting) -> Callable[[C], C]:
    default = f", {setting.default}" if setting.default else ""
    told = f"{setting.meaning} ({setting.variable}{default})"
    if setting.default in ("true", "false"):
        flag = f"{setting.flag}/--no-{setting.flag.removeprefix('--')}"
        return click.option(flag, setting.name, default=None, help=told)
    return click.option(setting.flag, setting.name, help=told)


def as_texts(given: Mapping[str, str | bool | None]) -> dict[str, str | None]:
    """The options' values as soniq.settings takes flags."""
    return {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in given.items()
    }
