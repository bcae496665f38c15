"""Schedules: when they fire next and fired last; paused, resumed, run now."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from soniq.dashboard import acting, looking
from soniq.dashboard.pages.forms import acting_form, text_of
from soniq.dashboard.refusals import not_found
from soniq.dashboard.rendering import back_to, own_address, page
from soniq.dashboard.site import site_of

router = APIRouter()


@router.get("/schedules", name="page.schedules")
async def schedules(request: Request) -> Response:
    """By name; ?after= the one with which the page before ended."""
    after = request.query_params.get("after", "").replace("\0", "") or None
    most = looking.SCHEDULES_A_PAGE
    async with site_of(request).reach.database() as database:
        found = await looking.schedules(database, after, most + 1)
    return page(
        request,
        "schedules.html",
        database.rights,
        current="schedules",
        schedules=found[:most],
        after=found[most - 1]["name"] if len(found) > most else None,
    )


@router.get("/schedule", name="page.schedule")
async def schedule(request: Request) -> Response:
    """?name= of one."""
    name = request.query_params.get("name", "").replace("\0", "")
    async with site_of(request).reach.database() as database:
        found = await looking.schedule(database, name)
        if found is None:
            raise not_found(f"There is no schedule {name!r}.", "See which there are.")
        next_runs = await looking.next_runs(database, name)
        last_runs = await looking.last_runs(database, name, found["last_job_id"])
    return page(
        request,
        "schedule.html",
        database.rights,
        current="schedules",
        schedule=found,
        next_runs=next_runs,
        last_runs=last_runs,
    )


@router.post("/schedules/pause", name="page.pause_schedule")
async def pause_schedule(request: Request) -> Response:
    """Stops one from enqueueing."""
    who, form = await acting_form(request)
    name = text_of(form, "name")
    await acting.pause_schedule(site_of(request).reach, who, name)
    return _back(request, text_of(form, "next"), f"The schedule {name} is paused.")


@router.post("/schedules/resume", name="page.resume_schedule")
async def resume_schedule(request: Request) -> Response:
    """Lets it enqueue again."""
    who, form = await acting_form(request)
    name = text_of(form, "name")
    await acting.resume_schedule(site_of(request).reach, who, name)
    return _back(request, text_of(form, "next"), f"The schedule {name} is resumed.")


@router.post("/schedules/run", name="page.run_schedule")
async def run_schedule(request: Request) -> Response:
    """Enqueues one of its jobs at once."""
    who, form = await acting_form(request)
    name = text_of(form, "name")
    job_id = await acting.run_schedule(site_of(request).reach, who, name)
    if job_id is None:
        told = f"Nothing was enqueued: the last job of {name} is not over, and it forbids overlap."
    else:
        told = f"The schedule {name} runs now, as job {job_id}."
    return _back(request, text_of(form, "next"), told)


def _back(request: Request, address: str, notice: str) -> Response:
    return back_to(request, own_address(request, address, "schedules"), notice)
