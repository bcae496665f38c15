"""Dead letters: what they died of, a list of them; replayed and deleted, after it was shown what that would be."""

from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.datastructures import QueryParams
from starlette.responses import Response

from soniq.dashboard import acting, looking
from soniq.dashboard.filters import LetterFilter, Selection, job_id
from soniq.dashboard.pages.forms import acting_form, text_of
from soniq.dashboard.pages.live_list import live_list
from soniq.dashboard.reaching import Database
from soniq.dashboard.refusals import not_found
from soniq.dashboard.rendering import back_to, own_address, page
from soniq.dashboard.site import site_of
from soniq.dashboard.wording import plural

router = APIRouter()


@router.get("/dead-letters", name="page.dead_letters")
async def groups(request: Request) -> Response:
    """What those not replayed died of, the most frequent first."""
    async with site_of(request).reach.database() as database:
        rights = database.rights
        if not rights.sees_letters:
            queues = await looking.queues(database) if rights.tenant is None else []
            return page(
                request,
                "dead_letters_of_observer.html",
                rights,
                current="dead_letters",
                queues=[each for each in queues if each["dead_letters"]],
            )
        found = await looking.letter_groups(database)
    return page(
        request,
        "dead_letters.html",
        rights,
        current="dead_letters",
        groups=found,
        count=sum(each["letters"] for each in found),
        is_partial=any(each["is_partial"] for each in found),
        count_age=max((each["count_age"] for each in found), default=None),
    )


@router.get("/dead-letters/list", name="page.letters")
async def letters(request: Request) -> Response:
    """Those that the filters of the address choose, the latest first."""
    wanted = LetterFilter.read(request.query_params)
    async with site_of(request).reach.database() as database:
        live = await live_list(request, database, wanted, looking.letters, looking.newer_letters)
    return page(
        request,
        "letters.html",
        database.rights,
        current="dead_letters",
        here=live.here,
        live=live,
        listed=live.listed,
        wanted=wanted,
        given=request.query_params,
    )


@router.get("/dead-letters/{verb}", name="page.choose_letters")
async def choose(request: Request, verb: str) -> Response:
    """What replaying or deleting those of ?id=, or those that the filters choose, would do; nothing is changed."""
    action = _verb(verb)
    async with site_of(request).reach.database() as database:
        chosen = await _selection(database, request.query_params)
        found = await acting.choice(database, action, chosen, acting.COUNTED + 1)
    return page(
        request,
        "choice.html",
        database.rights,
        current="dead_letters",
        verb=action,
        choice=found,
        chosen=chosen,
        counted=acting.COUNTED,
        # In the address and not in fields, of whose line ends a browser makes others.
        confirmed=f"{request.url.path}?{urlencode(_query(chosen))}",
        next=own_address(request, request.query_params.get("next", ""), "dead_letters"),
    )


@router.post("/dead-letters/{verb}", name="page.take_letters")
async def take(request: Request, verb: str) -> Response:
    """Does it, to those that were shown."""
    action = _verb(verb)
    who, form = await acting_form(request)
    reach = site_of(request).reach
    async with reach.database() as database:
        chosen = await _selection(database, request.query_params)
    taken = await acting.take(reach, who, action, chosen)
    done = "replayed as new jobs" if action == "replay" else "deleted"
    return back_to(
        request,
        own_address(request, text_of(form, "next"), "dead_letters"),
        f"{plural(taken.count, 'dead letter')} {'was' if taken.count == 1 else 'were'} {done}.",
    )


def _verb(given: str) -> acting.Verb:
    match given:
        case "replay":
            return "replay"
        case "delete":
            return "delete"
    raise not_found("There is no such page.", "See the pages that there are.")


async def _selection(database: Database, given: QueryParams) -> Selection:
    """Those with the ids, if there are any, else those that the filter chooses."""
    filtered = LetterFilter.read(given)
    ids = tuple(dict.fromkeys(job_id("id", each) for each in given.getlist("id")))
    # What dies from now on was not looked at.
    before = filtered.until or await database.value("select soniq.clock()")
    if ids:
        return Selection(before=before, ids=ids)
    return Selection(
        before=before,
        name=filtered.name,
        queue=filtered.queue,
        since=filtered.since,
        error_type=filtered.error_type,
        error_pattern=filtered.error_pattern,
        only_waiting=filtered.waiting,
    )


def _query(chosen: Selection) -> list[tuple[str, str]]:
    """The selection as an address has it."""
    wanted = LetterFilter(
        name=chosen.name,
        queue=chosen.queue,
        error_type=chosen.error_type,
        error_pattern=chosen.error_pattern,
        since=chosen.since,
        until=chosen.before,
        waiting=chosen.only_waiting,
    )
    return [*(("id", str(each)) for each in chosen.ids or ()), *wanted.query().items()]
