"""What the API answers and takes. Ids are strings, since JavaScript's numbers end at 2^53; durations are seconds."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from soniq.dashboard.filters import LARGEST_ID, Selection, in_utc

Status = Literal["queued", "processing", "done", "cancelled", "dead_letter"]
Id = Annotated[
    str,
    BeforeValidator(str),
    Field(pattern=r"^[0-9]{1,19}$", examples=["4217"], description="A job's id, as a string."),
]
# As given: a number, or, from JavaScript, its text.
GivenId = Annotated[int, Field(ge=1, le=LARGEST_ID)]
Seconds = Annotated[
    float,
    BeforeValidator(lambda value: value.total_seconds() if isinstance(value, timedelta) else value),
    PlainSerializer(lambda value: round(value, 6), return_type=float),
    Field(description="Seconds."),
]
Name = Annotated[str, Field(max_length=1000)]
# As in a query: in UTC, unless it says.
Time = Annotated[datetime, AfterValidator(in_utc)]


class Model(BaseModel):
    """What all have: of a row that is read, what is not told is left out."""

    model_config = ConfigDict(extra="ignore")


class ErrorDetail(Model):
    """What is wrong, for programs (code: a SQLSTATE of Soniq's, or a word) and for people."""

    code: str = Field(examples=["SQ020"])
    message: str
    remedy: str


class Error(Model):
    """Whatever the API refuses is refused so."""

    error: ErrorDetail


class Health(Model):
    """The dashboard is up, and the database answers it."""

    status: Literal["ok"] = "ok"


class Concern(Model):
    """What is wrong now, in words. severity: 1 work stands still, 2 work is late or lost, 3 worth a look."""

    severity: int
    kind: str
    subject: str | None
    message: str


class Summary(Model):
    """What became of jobs in a span of time."""

    done: int
    cancelled: int
    failed: int
    dead: int
    most_ready: int
    longest_wait: Seconds
    wait_p50: Seconds | None
    wait_p95: Seconds | None
    wait_p99: Seconds | None
    run_p50: Seconds | None
    run_p95: Seconds | None
    run_p99: Seconds | None


class Moment(Model):
    """A point of the history; null where nobody looked."""

    began_at: datetime
    span: Seconds
    done: int | None
    cancelled: int | None
    failed: int | None
    dead: int | None
    most_ready: int | None
    longest_wait: Seconds | None
    wait_p50: Seconds | None
    wait_p95: Seconds | None
    run_p50: Seconds | None
    run_p95: Seconds | None


class RunnerSummary(Model):
    """Runners by state, and how many of their slots are in use."""

    alive: int
    silent: int
    lost: int
    running: int
    concurrency: int


class Stats(Model):
    """How things stand: what is wrong, the worst first, and what became of jobs lately."""

    concerns: list[Concern]
    summary: Summary
    history: list[Moment]
    runners: RunnerSummary


class Queue(Model):
    """A queue now, as soniq.queue_counts has it."""

    queue: str
    ready: int
    scheduled: int
    processing: int
    overdue: int
    dead_letters: int
    oldest_ready_age: Seconds | None
    paused: bool
    is_estimate: bool
    count_age: Seconds


class Queues(Model):
    """All queues, by name."""

    queues: list[Queue]


class JobInList(Model):
    """A job in a line; args are the beginning of their text, null where the login may not see into jobs."""

    id: Id
    status: Status
    job_name: str
    queue: str
    priority: int
    attempt: int
    max_attempts: int
    enqueued_at: datetime
    scheduled_at: datetime
    claimed_at: datetime | None
    ended_at: datetime | None
    runner_id: Id | None
    replay_of: Id | None
    schedule: str | None
    tenant: str | None
    args: str | None
    last_error: str | None


class Jobs(Model):
    """Jobs, the latest first.

    before: give it as `before` for the next page; null at the end. searched_to: where the list may go on after all that
    were looked through, up to when these were enqueued. is_partial: so many are processing that only the 2,000 with
    the latest deadlines were looked through.
    """

    jobs: list[JobInList]
    before: Id | None
    is_partial: bool
    searched_to: datetime | None


class Attempt(Model):
    """A failed attempt of a job's."""

    model_config = ConfigDict(extra="allow")

    attempt: int | None = None
    type: str | None = None
    message: str | None = None
    traceback: str | None = None
    reason: str | None = None


class Job(Model):
    """A job, whatever became of it; without args, headers, dedup_key, errors and result where the login may not see."""

    id: Id
    status: Status
    job_name: str
    queue: str
    priority: int
    attempt: int
    max_attempts: int
    timeout: Seconds
    enqueued_at: datetime
    scheduled_at: datetime
    claimed_at: datetime | None
    deadline: datetime | None
    ended_at: datetime | None
    runner_id: Id | None
    replay_of: Id | None
    schedule: str | None
    due_at: datetime | None
    reason: str | None
    replay_count: int | None
    tenant: str | None
    args: Any = None
    headers: Any = None
    dedup_key: str | None = None
    errors: list[Attempt] | None = None
    result: Any = None


class RunningJob(Model):
    """A job that a runner has at work."""

    id: Id
    job_name: str
    queue: str
    attempt: int
    max_attempts: int
    claimed_at: datetime
    deadline: datetime | None
    running_for: Seconds


class Runner(Model):
    """A runner on the list, as soniq.runner_stats has it, and what it has at work."""

    runner_id: Id
    host: str
    pid: int
    runner_version: str
    queues: list[str] | None = Field(description="The queues it serves; null is all.")
    concurrency: int
    running: int
    oldest_running_age: Seconds | None
    silent_for: Seconds
    state: Literal["alive", "silent", "lost"]
    registered_at: datetime
    jobs: list[RunningJob]


class Runners(Model):
    """Runners, those with the highest ids first.

    before: give it as `before` for the next page; null at the end. is_partial: these have so much at work that `jobs`
    tells only the 500 with the nearest deadlines; `running` counts all.
    """

    runners: list[Runner]
    before: Id | None
    is_partial: bool


class Schedule(Model):
    """A schedule, and when it fires next."""

    name: str
    job_name: str
    cron: str | None
    every: Seconds | None
    timezone: str
    queue: str | None
    state: Literal["active", "late", "paused", "ended"]
    paused: bool
    next_run_at: datetime | None
    last_due_at: datetime | None
    last_job_id: Id | None
    missed_runs: str
    allow_overlap: bool
    tenant: str | None


class Schedules(Model):
    """Schedules, by name."""

    schedules: list[Schedule]


class Letter(Model):
    """A dead letter in a line."""

    id: Id
    job_name: str
    queue: str
    reason: str
    attempt: int
    max_attempts: int
    enqueued_at: datetime
    dead_at: datetime
    replay_count: int
    last_replayed_at: datetime | None
    tenant: str | None
    error_type: str
    error_pattern: str


class Letters(Model):
    """Dead letters, those with the highest ids first; before and searched_to as for jobs."""

    dead_letters: list[Letter]
    before: Id | None
    searched_to: datetime | None


class Group(Model):
    """What dead letters died of that were not replayed."""

    job_name: str
    error_type: str
    error_pattern: str
    letters: int
    share: float
    first_at: datetime
    last_at: datetime
    latest_id: Id
    is_partial: bool


class Groups(Model):
    """The hundred largest groups, the largest first."""

    groups: list[Group]


class Metric(Model):
    """A row of soniq.metrics(); value is null for what is infinite, as the lag of what never ticked."""

    name: str
    labels: dict[str, str]
    value: float | None


class Metrics(Model):
    """All of soniq.metrics()."""

    metrics: list[Metric]


class Cancelled(Model):
    """The job, which is cancelled now."""

    id: Id
    status: Literal["cancelled"] = "cancelled"


class Retried(Model):
    """The job, and the id by which it runs: its own, or that of a new job where it was a dead letter."""

    id: Id
    runs_as: Id


class QueuePaused(Model):
    """How the queue is now, and whether this call made it so."""

    queue: str
    paused: bool
    changed: bool


class SchedulePaused(Model):
    """How the schedule is now, and whether this call made it so."""

    name: str
    paused: bool
    changed: bool


class ScheduleRun(Model):
    """The job that was enqueued; null where the last one is not over and the schedule forbids overlap."""

    name: str
    job_id: Id | None


class LetterSelection(Model):
    """Which dead letters: these ids, or all that match what is given; `everything` for all there are.

    Without ids, a replay takes only those that were not replayed before.
    """

    model_config = ConfigDict(extra="forbid")

    ids: list[GivenId] | None = Field(default=None, min_length=1, max_length=10000)
    job_name: Name | None = None
    queue: Name | None = None
    since: Time | None = Field(default=None, description="That died at this time or later.")
    before: Time | None = Field(default=None, description="That died before; by default now.")
    error_type: Name | None = None
    error_pattern: Name | None = None
    only_waiting: bool = Field(default=False, description="Of these, those not replayed.")
    everything: bool = False
    max_letters: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    dry_run: bool = Field(default=False, description="Change nothing, and tell what would be done.")

    def has_part(self) -> bool:
        """Whether anything but everything is selected."""
        given = (
            self.ids,
            self.job_name,
            self.queue,
            self.since,
            self.before,
            self.error_type,
            self.error_pattern,
        )
        return any(each is not None for each in given)

    def selection(self, now: datetime) -> Selection:
        """As the SQL functions are asked."""
        return Selection(
            before=self.before or now,
            ids=None if self.ids is None else tuple(self.ids),
            name=self.job_name,
            queue=self.queue,
            since=self.since,
            error_type=self.error_type,
            error_pattern=self.error_pattern,
            only_waiting=self.only_waiting,
        )


class CountOfJob(Model):
    """How many of one job name and queue."""

    job_name: str
    queue: str
    count: int


class TakenLetter(Model):
    """A dead letter, and the job that it became, if it was replayed."""

    dead_letter_id: Id
    job_id: Id | None = None


class TakenLetters(Model):
    """What was done, or would be: to how many, of which jobs and queues (with dry_run only), and the first twenty."""

    action: Literal["replay", "delete"]
    dry_run: bool
    count: int
    by_job: list[CountOfJob]
    first: list[TakenLetter]
