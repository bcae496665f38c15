"""The overview: is it keeping up, what is failing, since when, why."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from soniq.dashboard import looking
from soniq.dashboard.pages.over_time import charts, span_of
from soniq.dashboard.rendering import page
from soniq.dashboard.site import site_of

router = APIRouter()
FIRST_CONCERNS = 3
WORST_QUEUES = 10
WORST_GROUPS = 5


@router.get("/", name="page.overview")
async def overview(request: Request) -> Response:
    """?span=hour, day or week."""
    span = span_of(request)
    async with site_of(request).reach.database() as database:
        rights = database.rights
        if rights.tenant is not None:
            return page(request, "overview_of_tenant.html", rights, current="overview")
        concerns = await looking.concerns(database)
        history, summary = await looking.history(database, span)
        runners = await looking.runner_summary(database)
        queues = await looking.queues(database)
        groups = await looking.letter_groups(database) if rights.sees_letters else []
    return page(
        request,
        "overview.html",
        rights,
        current="overview",
        span=span,
        concerns=concerns[:FIRST_CONCERNS],
        more_concerns=concerns[FIRST_CONCERNS:],
        summary=summary,
        charts=charts(history),
        runners=runners,
        queues=looking.worst_first(queues)[:WORST_QUEUES],
        queue_count=len(queues),
        total=looking.total(queues),
        groups=groups[:WORST_GROUPS],
        group_count=len(groups),
    )
