"""Runners: whether they are heard of, and what each has at work."""

from datetime import timedelta

from fastapi import APIRouter, Request
from starlette.responses import Response

from soniq.dashboard import looking
from soniq.dashboard.rendering import page
from soniq.dashboard.site import site_of

router = APIRouter()
# On the page of all; one's own shows as many as are read.
A_FEW = 5


@router.get("/runners", name="page.runners")
async def runners(request: Request) -> Response:
    """?id= for one of them."""
    given = request.query_params.get("id", "")
    runner_id = int(given) if given.isascii() and given.isdecimal() and len(given) < 19 else None
    async with site_of(request).reach.database() as database:
        found = await looking.runners(database, runner_id)
        at_work = await looking.at_work(database, None if runner_id is None else [runner_id])
    return page(
        request,
        "runners.html",
        database.rights,
        current="runners",
        runners=found,
        count_age=max((each["count_age"] for each in found), default=timedelta(0)),
        at_work=at_work,
        shown=None if runner_id is not None else A_FEW,
        runner_id=runner_id,
        most=looking.MOST_RUNNERS,
    )
