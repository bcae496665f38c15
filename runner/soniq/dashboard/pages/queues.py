"""Queues: how full they are, one of them over time; paused and resumed."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from soniq.dashboard import acting, looking
from soniq.dashboard.pages.forms import acting_form, text_of
from soniq.dashboard.pages.over_time import queue_charts, span_of
from soniq.dashboard.refusals import not_found
from soniq.dashboard.rendering import back_to, own_address, page
from soniq.dashboard.site import site_of

router = APIRouter()
A_PAGE = 100


@router.get("/queues", name="page.queues")
async def queues(request: Request) -> Response:
    """?search=, ?after= the name with which the page before ended."""
    search = request.query_params.get("search", "").strip()
    after = request.query_params.get("after")
    async with site_of(request).reach.database() as database:
        every = await looking.queues(database)
    matching = [each for each in every if search.lower() in each["queue"].lower()]
    shown = [each for each in matching if after is None or each["queue"] > after]
    return page(
        request,
        "queues.html",
        database.rights,
        current="queues",
        queues=shown[:A_PAGE],
        after=shown[A_PAGE - 1]["queue"] if len(shown) > A_PAGE else None,
        total=looking.total(matching),
        count=len(every),
        search=search,
    )


@router.get("/queue", name="page.queue")
async def queue(request: Request) -> Response:
    """?name=, and ?span= hour, day or week."""
    span = span_of(request)
    name = request.query_params.get("name", "").replace("\0", "")
    async with site_of(request).reach.database() as database:
        found = await looking.queue(database, name)
        if found is None:
            raise not_found(
                f"There is no queue {name!r}.", "A queue is known once a job was enqueued into it."
            )
        history, summary = await looking.history(database, span, name)
    return page(
        request,
        "queue.html",
        database.rights,
        current="queues",
        queue=found,
        span=span,
        summary=summary,
        charts=queue_charts(history),
    )


@router.post("/queues/pause", name="page.pause_queue")
async def pause_queue(request: Request) -> Response:
    """Hands out no more of a queue's jobs."""
    who, form = await acting_form(request)
    name = text_of(form, "name")
    await acting.pause_queue(site_of(request).reach, who, name)
    return _back(request, text_of(form, "next"), f"The queue {name} is paused.")


@router.post("/queues/resume", name="page.resume_queue")
async def resume_queue(request: Request) -> Response:
    """Hands them out again."""
    who, form = await acting_form(request)
    name = text_of(form, "name")
    await acting.resume_queue(site_of(request).reach, who, name)
    return _back(request, text_of(form, "next"), f"The queue {name} is resumed.")


def _back(request: Request, address: str, notice: str) -> Response:
    return back_to(request, own_address(request, address, "queues"), notice)
