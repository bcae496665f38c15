"""Jobs: found by filters, one of them with its timeline; cancelled and retried."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from soniq.dashboard import acting, looking
from soniq.dashboard.filters import STATUSES, JobFilter, job_id
from soniq.dashboard.pages.forms import acting_form
from soniq.dashboard.pages.live_list import live_list
from soniq.dashboard.rendering import back_to, page
from soniq.dashboard.site import path_to, site_of
from soniq.dashboard.timeline import timeline

router = APIRouter()


@router.get("/jobs", name="page.jobs")
async def jobs(request: Request) -> Response:
    """Those that the filters of the address choose, the latest first."""
    wanted = JobFilter.read(request.query_params)
    async with site_of(request).reach.database() as database:
        live = await live_list(request, database, wanted, looking.jobs, looking.newer_jobs)
    return page(
        request,
        "jobs.html",
        database.rights,
        current="jobs",
        here=live.here,
        live=live,
        listed=live.listed,
        wanted=wanted,
        given=request.query_params,
        statuses=STATUSES,
    )


@router.get("/jobs/{id_text}", name="page.job")
async def job(request: Request, id_text: str) -> Response:
    """Everything of one job."""
    number = job_id("id", id_text)
    async with site_of(request).reach.database() as database:
        found = await looking.job(database, number)
        if found is None:
            raise acting.no_such_job(number)
        runner = None
        if found["runner_id"] is not None:
            runner = await looking.runner_of(database, found["runner_id"])
        replay = None
        if replayed_at := await looking.last_replayed(database, number):
            replay = await looking.last_replay(database, number, replayed_at)
    return page(
        request,
        "job.html",
        database.rights,
        current="jobs",
        job=found,
        runner=runner,
        replay=replay,
        replayed_at=replayed_at,
        events=timeline(found),
    )


@router.post("/jobs/{id_text}/cancel", name="page.cancel_job")
async def cancel(request: Request, id_text: str) -> Response:
    """Takes it out of its queue."""
    who, _ = await acting_form(request)
    number = job_id("id", id_text)
    await acting.cancel(site_of(request).reach, who, number)
    return back_to(request, path_to(request, "job", id_text=number), f"Job {number} is cancelled.")


@router.post("/jobs/{id_text}/retry", name="page.retry_job")
async def retry(request: Request, id_text: str) -> Response:
    """Runs it now, or a dead letter as a new job."""
    who, _ = await acting_form(request)
    number = job_id("id", id_text)
    runs_as = await acting.retry(site_of(request).reach, who, number)
    told = (
        f"Job {number} is ready to run now."
        if runs_as == number
        else f"Dead letter {number} runs again as this job, {runs_as}."
    )
    return back_to(request, path_to(request, "job", id_text=runs_as), told)
