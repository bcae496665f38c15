"""What some commands need besides Soniq itself: installed only by whoever asks for it."""

import importlib.util

from soniq.errors import SoniqError


def is_installed(package: str) -> bool:
    """Whether a package can be imported."""
    return importlib.util.find_spec(package) is not None


def check_extra(extra: str, *packages: str) -> None:
    """Raises SoniqError, which says how to install it, where one of the packages of an extra is missing."""
    missing = [package for package in packages if not is_installed(package)]
    if missing:
        raise SoniqError(
            f"{' and '.join(missing)} cannot be imported, and this needs it: pip install 'soniq[{extra}]'"
        )
