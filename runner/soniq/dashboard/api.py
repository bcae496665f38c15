"""The JSON API: /api/..., the same reading and acting as the pages, with OpenAPI at /api/openapi.json."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response, Security
from fastapi.security import HTTPBearer
from prometheus_client import CollectorRegistry, generate_latest
from pydantic import AfterValidator

from soniq.dashboard import acting, looking, models
from soniq.dashboard.access import TOKEN_HEADER
from soniq.dashboard.filters import LARGEST_ID, JobFilter, LetterFilter
from soniq.dashboard.refusals import Refusal, away, bad_value
from soniq.dashboard.site import Site, acting_visitor, enter, site_of
from soniq.http import METRICS as PROMETHEUS

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": models.Error, "description": meaning}
    for status, meaning in {
        400: "The request cannot be read.",
        401: "No key, or a wrong one.",
        403: "The login, or this dashboard, may not do that.",
        404: "There is none.",
        409: "It is not in a state in which that could be done.",
        413: "The request is too large.",
        422: "A value is wrong.",
        503: "The database does not answer.",
    }.items()
}

BEARER = HTTPBearer(auto_error=False, description="SONIQ_DASHBOARD_API_KEY, where there is one.")
api = APIRouter(
    prefix="/api",
    responses=REFUSALS,
    # The first is for the document; the second sees to it.
    dependencies=[Security(BEARER), Depends(enter)],
)
for_anybody = APIRouter(prefix="/api", responses={503: REFUSALS[503]})

TheSite = Annotated[Site, Depends(site_of)]


async def _acting(request: Request, site: TheSite) -> str:
    return acting_visitor(request, site, request.headers.get(TOKEN_HEADER))


Who = Annotated[str, Depends(_acting)]


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("no text in the database has a NUL")
    return text


JobId = Annotated[int, Path(ge=1, le=LARGEST_ID, description="A job's id.")]
Text = Annotated[str, AfterValidator(_no_nul)]
NameInPath = Annotated[str, Path(min_length=1, max_length=1000), AfterValidator(_no_nul)]
Wanted = Annotated[Text | None, Query(max_length=1000)]
Before = Annotated[
    int | None, Query(ge=1, le=LARGEST_ID, description="Only those with a lower id.")
]
Time = Annotated[
    str | None,
    Query(max_length=100, description="A time in ISO 8601, or how long ago, as in 15m, 2h, 7d."),
]
SpanWanted = Annotated[Literal["hour", "day", "week"], Query(description="How far to look back.")]


def _filled(kind: type[JobFilter] | type[LetterFilter], **given: object) -> Any:
    return kind.read(
        {name: str(value) for name, value in given.items() if value not in (None, False)}
    )


@for_anybody.head("/health", include_in_schema=False)
@for_anybody.get(
    "/health", summary="Whether the dashboard and its database are up", tags=["watching"]
)
async def health(site: TheSite) -> models.Health:
    """Needs no key."""
    try:
        async with site.reach.database() as database:
            await database.value("select 1")
    except Refusal as refusal:
        # Who asks without a key is not told where the database is.
        raise away("see the dashboard's log") from refusal
    return models.Health()


@api.get("/stats", summary="How things stand", tags=["watching"])
async def stats(site: TheSite, span: SpanWanted = "hour", queue: Wanted = None) -> models.Stats:
    """What is wrong now, and what became of jobs over the last hour, day or week; of one queue, if it is named."""
    async with site.reach.database() as database:
        moments, whole = await looking.history(database, span, queue)
        return models.Stats.model_validate(
            {
                "concerns": await looking.concerns(database),
                "summary": whole,
                "history": moments,
                "runners": await looking.runner_summary(database),
            }
        )


@api.get("/jobs", summary="Jobs, the latest first", tags=["jobs"])
async def jobs(
    site: TheSite,
    status: Annotated[
        Literal["queued", "processing", "done", "cancelled", "dead_letter"] | None, Query()
    ] = None,
    queue: Wanted = None,
    name: Wanted = None,
    tenant: Wanted = None,
    since: Time = None,
    until: Time = None,
    text: Annotated[
        Text | None, Query(max_length=1000, description="Found in the text of their args.")
    ] = None,
    before: Before = None,
) -> models.Jobs:
    """Fifty at most that match, of the 2,000 below `before` that are looked through; searched_to tells up to when."""
    wanted = _filled(
        JobFilter,
        status=status,
        queue=queue,
        name=name,
        tenant=tenant,
        since=since,
        until=until,
        text=text,
        before=before,
    )
    async with site.reach.database() as database:
        listed = await looking.jobs(database, wanted)
    return models.Jobs.model_validate(
        {
            "jobs": listed.rows,
            "before": listed.before,
            "searched_to": listed.searched_to,
            "is_partial": listed.is_partial,
        }
    )


@api.get(
    "/jobs/{job_id}",
    summary="One job, whatever became of it",
    tags=["jobs"],
    response_model=models.Job,
)
async def job(site: TheSite, job_id: JobId) -> Response:
    """With the error of each failed attempt."""
    async with site.reach.database() as database:
        found = await looking.job(database, job_id)
    if found is None:
        raise acting.no_such_job(job_id)
    return Response(_job_as_json(found), media_type="application/json")


def _job_as_json(found: looking.Row) -> str:
    """What a job carries stays as the database wrote it: exact, however large a number, however deep."""
    carried = {name: found[name] for name in looking.CARRIED if name in found}
    rest = models.Job.model_validate(found).model_dump_json(
        exclude=set(carried), exclude_unset=True
    )
    members = [rest[1:-1], *(f'"{name}":{text or "null"}' for name, text in carried.items())]
    return f"{{{','.join(members)}}}"


@api.post("/jobs/{job_id}/cancel", summary="Take a job out of its queue", tags=["jobs"])
async def cancel(site: TheSite, who: Who, job_id: JobId) -> models.Cancelled:
    """Only queued jobs can be cancelled, also those that wait for a retry."""
    await acting.cancel(site.reach, who, job_id)
    return models.Cancelled.model_validate({"id": job_id})


@api.post("/jobs/{job_id}/retry", summary="Run a job now", tags=["jobs"])
async def retry(site: TheSite, who: Who, job_id: JobId) -> models.Retried:
    """One that waits for a retry, a snooze or its time; or a dead letter, as a new job."""
    return models.Retried.model_validate(
        {"id": job_id, "runs_as": await acting.retry(site.reach, who, job_id)}
    )


@api.get("/queues", summary="All queues", tags=["queues"])
async def queues(site: TheSite) -> models.Queues:
    """By name."""
    async with site.reach.database() as database:
        return models.Queues.model_validate({"queues": await looking.queues(database)})


@api.post(
    "/queues/{queue:path}/pause", summary="Hand out no more of a queue's jobs", tags=["queues"]
)
async def pause_queue(site: TheSite, who: Who, queue: NameInPath) -> models.QueuePaused:
    """Those being processed go on. A queue may be paused before its first job."""
    changed = await acting.pause_queue(site.reach, who, queue)
    return models.QueuePaused(queue=queue, paused=True, changed=changed)


@api.post(
    "/queues/{queue:path}/resume", summary="Hand out a paused queue's jobs again", tags=["queues"]
)
async def resume_queue(site: TheSite, who: Who, queue: NameInPath) -> models.QueuePaused:
    """changed tells whether it was paused."""
    changed = await acting.resume_queue(site.reach, who, queue)
    return models.QueuePaused(queue=queue, paused=False, changed=changed)


@api.get("/runners", summary="Runners, and what they have at work", tags=["runners"])
async def runners(site: TheSite, before: Before = None) -> models.Runners:
    """Those with the highest ids first, two hundred at most."""
    async with site.reach.database() as database:
        listed = await looking.runners_by_id(database, before)
        at_work = await looking.at_work(database, [each["runner_id"] for each in listed.rows])
    return models.Runners.model_validate(
        {
            "runners": [{**each, "jobs": at_work.of(each)} for each in listed.rows],
            "before": listed.before,
            "is_partial": at_work.is_partial,
        }
    )


@api.get("/schedules", summary="All schedules", tags=["schedules"])
async def schedules(site: TheSite) -> models.Schedules:
    """By name."""
    async with site.reach.database() as database:
        return models.Schedules.model_validate({"schedules": await looking.schedules(database)})


@api.post(
    "/schedules/{name:path}/pause", summary="Stop a schedule from enqueueing", tags=["schedules"]
)
async def pause_schedule(site: TheSite, who: Who, name: NameInPath) -> models.SchedulePaused:
    """Until it is resumed; nothing counts as missed."""
    changed = await acting.pause_schedule(site.reach, who, name)
    return models.SchedulePaused(name=name, paused=True, changed=changed)


@api.post(
    "/schedules/{name:path}/resume",
    summary="Let a paused schedule enqueue again",
    tags=["schedules"],
)
async def resume_schedule(site: TheSite, who: Who, name: NameInPath) -> models.SchedulePaused:
    """From its next run on."""
    changed = await acting.resume_schedule(site.reach, who, name)
    return models.SchedulePaused(name=name, paused=False, changed=changed)


@api.post(
    "/schedules/{name:path}/run", summary="Enqueue a job of a schedule at once", tags=["schedules"]
)
async def run_schedule(site: TheSite, who: Who, name: NameInPath) -> models.ScheduleRun:
    """Also of a paused one; its next run stays when it is."""
    job_id = await acting.run_schedule(site.reach, who, name)
    return models.ScheduleRun.model_validate({"name": name, "job_id": job_id})


@api.get("/dead-letters", summary="Dead letters, the latest first", tags=["dead letters"])
async def dead_letters(
    site: TheSite,
    name: Wanted = None,
    queue: Wanted = None,
    error_type: Wanted = None,
    error_pattern: Wanted = None,
    since: Time = None,
    until: Time = None,
    waiting: Annotated[bool, Query(description="Only those not replayed.")] = False,
    before: Before = None,
) -> models.Letters:
    """As for jobs: fifty at most, of the 500 below `before` that are looked through."""
    wanted = _filled(
        LetterFilter,
        name=name,
        queue=queue,
        error_type=error_type,
        error_pattern=error_pattern,
        since=since,
        until=until,
        waiting=waiting,
        before=before,
    )
    async with site.reach.database() as database:
        listed = await looking.letters(database, wanted)
    return models.Letters.model_validate(
        {"dead_letters": listed.rows, "before": listed.before, "searched_to": listed.searched_to}
    )


@api.get("/dead-letters/groups", summary="What the dead letters died of", tags=["dead letters"])
async def groups(site: TheSite) -> models.Groups:
    """Of those not replayed, the most frequent first."""
    async with site.reach.database() as database:
        return models.Groups.model_validate({"groups": await looking.letter_groups(database)})


@api.post(
    "/dead-letters/replay", summary="Run dead letters again, as new jobs", tags=["dead letters"]
)
async def replay(site: TheSite, who: Who, selected: models.LetterSelection) -> models.TakenLetters:
    """With dry_run first: it tells how many that would be."""
    return await _take(site, who, "replay", selected)


@api.post("/dead-letters/delete", summary="Delete dead letters for good", tags=["dead letters"])
async def delete(site: TheSite, who: Who, selected: models.LetterSelection) -> models.TakenLetters:
    """With dry_run first: it tells how many that would be."""
    return await _take(site, who, "delete", selected)


async def _take(
    site: Site, who: str, verb: acting.Verb, selected: models.LetterSelection
) -> models.TakenLetters:
    if selected.everything == selected.has_part():
        raise bad_value(
            "everything is true, and a part of it is given"
            if selected.everything
            else "no dead letters are selected",
            "Give either everything, or ids, job_name, queue, since, before, error_type or error_pattern.",
        )
    async with site.reach.database() as database:
        now: datetime = await database.value("select soniq.clock()")
        selection = selected.selection(now)
        if selected.dry_run:
            found = await acting.choice(database, verb, selection, selected.max_letters)
            first = [{"dead_letter_id": each["id"]} for each in found.sample]
            return _taken(verb, True, found.count, found.by_job, first)
    taken = await acting.take(site.reach, who, verb, selection, selected.max_letters)
    return _taken(verb, False, taken.count, [], taken.first)


def _taken(
    verb: str, dry_run: bool, count: int, by_job: Sequence[Any], first: Sequence[Any]
) -> models.TakenLetters:
    return models.TakenLetters.model_validate(
        {"action": verb, "dry_run": dry_run, "count": count, "by_job": by_job, "first": first}
    )


@api.get(
    "/metrics",
    summary="What a scraper is told",
    tags=["watching"],
    response_model=models.Metrics,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(
    site: TheSite,
    format: Annotated[Literal["prometheus", "json"], Query()] = "prometheus",  # noqa: A002
) -> Any:
    """For Prometheus; with format=json the rows of soniq.metrics(), as Grafana's JSON data sources take them."""
    if format == "prometheus":
        await site.metrics.refresh()
        registry = CollectorRegistry()
        registry.register(site.metrics)
        return Response(generate_latest(registry), media_type=PROMETHEUS)
    async with site.reach.database() as database:
        rows = await looking.metrics(database)
    return models.Metrics.model_validate(
        {
            "metrics": [
                {
                    "name": each["name"],
                    "labels": {key: str(label) for key, label in each["labels"].items()},
                    "value": each["value"] if math.isfinite(each["value"]) else None,
                }
                for each in rows
            ]
        }
    )
