"""A list that follows what happens: its rows stay where they are, and a line above tells that newer ones are there."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from starlette.datastructures import URL
from starlette.requests import Request

from soniq.dashboard.filters import JobFilter, LetterFilter, job_id
from soniq.dashboard.looking import Listed, Newer
from soniq.dashboard.reaching import Database

Filter = TypeVar("Filter", JobFilter, LetterFilter)
# In the address from which a page fetches itself anew: the highest id that it is to show.
PINNED = "pinned"


@dataclass(frozen=True, slots=True)
class LiveList:
    """What a page shows of a list.

    here: the address from which it fetches itself anew. latest: that of the list as it begins now. newer: what that has
    above this one; None where nothing is kept out.
    """

    listed: Listed
    here: str
    latest: str
    newer: Newer | None = None


async def live_list(
    request: Request,
    database: Database,
    wanted: Filter,
    look: Callable[[Database, Filter], Awaitable[Listed]],
    look_above: Callable[[Database, Filter, int], Awaitable[Newer]],
) -> LiveList:
    """The list that an address asks for, up to the id with which it began when it was first shown."""
    latest = request.url.remove_query_params(PINNED)
    # A later page has nothing newer, and what drains would soon have nothing else.
    if wanted.before is not None or wanted.drains:
        return LiveList(await look(database, wanted), _path(latest), _path(latest))
    if given := request.query_params.get(PINNED):
        top = job_id(PINNED, given)
        listed = await look(database, replace(wanted, before=top + 1))
        if listed.rows:
            newer = await look_above(database, wanted, top)
            return LiveList(listed, _path(request.url), _path(latest), newer)
    listed = await look(database, wanted)
    if not listed.rows:
        return LiveList(listed, _path(latest), _path(latest))
    pinned = latest.include_query_params(**{PINNED: listed.rows[0]["id"]})
    return LiveList(listed, _path(pinned), _path(latest), "none")


def _path(url: URL) -> str:
    return f"{url.path}?{url.query}" if url.query else url.path
