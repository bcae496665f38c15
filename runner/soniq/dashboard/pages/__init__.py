"""The pages, one module for each group of them. They read in looking.py and act in acting.py, as the API does."""

from fastapi import APIRouter, Depends

from soniq.dashboard.pages import dead_letters, entry, jobs, overview, queues, runners, schedules
from soniq.dashboard.site import enter

pages = APIRouter(include_in_schema=False)
pages.include_router(entry.router)
for each in (overview, queues, jobs, dead_letters, schedules, runners):
    pages.include_router(each.router, dependencies=[Depends(enter)])
