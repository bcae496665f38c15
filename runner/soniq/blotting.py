"""Secret arguments are blotted out of what an error says before it is reported or logged."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from soniq.job import Job

BLOT = "***"
SHORT = 4  # characters: what is shorter is only blotted out where it stands alone


def blotted(error: str, job: Job, names: Iterable[str]) -> str:
    """An error, as JSON text, without the values of the job's args of these names, or of what is in them."""
    values = {text for name in names if name in job.args for text in _texts(job.args[name])}
    if not values:
        return error
    # The longest first, since one may be a part of another.
    pattern = re.compile("|".join(map(_pattern, sorted(values, key=len, reverse=True))))
    told = json.loads(error)
    for part in ("message", "traceback"):
        if told[part] is not None:
            told[part] = pattern.sub(BLOT, told[part])
    return json.dumps(told)


def _texts(value: Any) -> Iterator[str]:
    """How a value, or each that is in it, may be written."""
    match value:
        case None | bool() | "":
            return
        case dict():
            for each in value.values():
                yield from _texts(each)
        case list():
            for each in value:
                yield from _texts(each)
        case str():
            yield value
            yield repr(value)[1:-1]
            yield json.dumps(value)[1:-1]
        case _:
            yield str(value)


def _pattern(text: str) -> str:
    escaped = re.escape(text)
    return escaped if len(text) >= SHORT else rf"(?<!\w){escaped}(?!\w)"
