"""Random calls in random order, as time goes by, against a model of what becomes of jobs.

hypothesis makes up the calls: `Machine` makes each of them on a database and on `Model`, which tells
what the call has to answer or with which SQLSTATE it is refused, and then compares every job,
runner and pause. Besides, it checks what has to hold whatever the model says. A failure is shrunk
to the fewest calls; to see it again, put the @reproduce_failure(...) that it prints on `Machine`.

The model leaves open

- how much of a jittered retry delay is waited: between half and all of it;
- the ids of new jobs and runners, which only have to be new;
- what a call says of a lease that it names twice (nor does the machine name one twice);
- whose turn it is among queues of one priority;
- defaults of job types and queues, most bad input, texts of errors, wake-ups, scan hints, retention,
  cron, and several sessions at once, all of which have tests of their own.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, LiteralString, NamedTuple, TypeVar

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from invariants import broken_invariants

T = TypeVar("T")
Method = TypeVar("Method", bound=Callable[..., None])

START = datetime(2030, 1, 1, 12, tzinfo=UTC)
GRACE = timedelta(seconds=30)  # soniq.settings.lease_grace
TOLERANCE = timedelta(minutes=1)  # soniq.settings.schedule_tolerance
SCHEDULES = ("first", "second")
QUEUES = ("north", "south")
STEADY, JITTERY, CAPPED = JOB_NAMES = ("steady", "jittery", "capped")
STEADY_DELAYS = (timedelta(0), timedelta(minutes=1), timedelta(minutes=5))
# The first delay, and the cap.
EXPONENTIAL = {
    JITTERY: (timedelta(seconds=10), timedelta(hours=1)),
    CAPPED: (timedelta(seconds=20), timedelta(seconds=10)),
}
EXAMPLES, STEPS = 120, 50
NEVER_ISSUED = 2**40  # no job and no runner has this id


# The model


class Refusal(Exception):
    """The call is refused with this SQLSTATE and changes nothing."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


class Lease(NamedTuple):
    job_id: int
    attempt: int


class Failure(NamedTuple):
    attempt: int
    reason: str | None


class Options(NamedTuple):
    """What a job is enqueued with."""

    job_name: str
    queue: str
    priority: int
    delay: timedelta
    max_attempts: int
    timeout: timedelta


class Selection(NamedTuple):
    """Which dead letters a call is about."""

    ids: list[int] | None = None
    job_name: str | None = None
    queue: str | None = None
    everything: bool = False
    since: datetime | None = None
    before: datetime | None = None
    max_letters: int | None = None
    after_id: int | None = None


@dataclass
class Runner:
    runner_id: int
    heartbeat_timeout: timedelta
    last_heartbeat_at: datetime
    lost_at: datetime | None = None
    resumes: int | None = None


@dataclass
class Job:
    """A job, live, finished or dead: the columns of soniq.all_jobs, as JOBS names them."""

    id: int
    job_name: str
    queue: str
    priority: int
    args: dict[str, int]
    scheduled_at: datetime
    max_attempts: int
    timeout: timedelta
    dedup_key: str | None = None
    replay_of: int | None = None
    status: str = "queued"
    attempt: int = 0
    errors: list[Failure] = field(default_factory=list)
    runner_id: int | None = None
    claimed_at: datetime | None = None
    deadline: datetime | None = None
    result: int | None = None
    ended_at: datetime | None = None
    reason: str | None = None
    replay_count: int | None = None
    schedule: str | None = None
    due_at: datetime | None = None

    # What the model leaves open until the database is looked at.
    latest: datetime | None = field(default=None, compare=False)

    @property
    def lease(self) -> Lease:
        return Lease(self.id, self.attempt)

    def settle(self, seen: "Job") -> None:
        """Takes over what was left open, if it is within bounds."""
        if self.latest is not None and self.scheduled_at <= seen.scheduled_at <= self.latest:
            self.scheduled_at = seen.scheduled_at
        self.latest = None


class Timing(NamedTuple):
    """A schedule's definition, as schedule() is told it."""

    every: timedelta
    missed_runs: str
    max_missed_runs: int
    allow_overlap: bool
    queue: str
    source: str | None


@dataclass
class Schedule:
    """A row of soniq.schedules, as SCHEDULES names its columns."""

    name: str
    timing: Timing
    created_at: datetime
    next_run_at: datetime
    paused: bool = False
    last_due_at: datetime | None = None
    last_job_id: int | None = None

    def run_after(self, after: datetime) -> datetime:
        """Runs lie on a grid that begins with the first registration."""
        passed = (after - self.created_at) // self.timing.every
        return self.created_at + (passed + 1) * self.timing.every


class Run(NamedTuple):
    """A run for which there is to be a job."""

    schedule: str
    due_at: datetime
    queue: str


class Model:
    """What each call does and answers. Where a call makes something new, its id is passed in."""

    def __init__(self) -> None:
        self.now = START
        self.jobs: dict[int, Job] = {}
        self.runners: dict[int, Runner] = {}
        self.paused: set[str] = set()
        self.granted: list[Lease] = []
        self.deleted: set[int] = set()
        self.schedules: dict[str, Schedule] = {}

    # What there is.

    def of_status(self, status: str) -> list[Job]:
        return [job for job in self.jobs.values() if job.status == status]

    def held(self, lease: Lease) -> Job | None:
        job = self.jobs.get(lease.job_id)
        return job if job and job.status == "processing" and job.attempt == lease.attempt else None

    def held_by(self, runner_id: int) -> list[Job]:
        return [job for job in self.of_status("processing") if job.runner_id == runner_id]

    # Producing.

    def enqueue(self, new_id: int, options: Options, dedup_key: str | None) -> int:
        for holder in self.of_status("queued"):
            if dedup_key is not None and holder.dedup_key == dedup_key:
                return holder.id
        self._add(new_id, options, {}, dedup_key)
        return new_id

    def enqueue_many(self, new_ids: Sequence[int], options: Options) -> None:
        for position, new_id in enumerate(new_ids):
            self._add(new_id, options, {"position": position}, None)

    def _add(
        self, new_id: int, options: Options, args: dict[str, int], dedup_key: str | None
    ) -> None:
        self.jobs[new_id] = Job(
            id=new_id,
            job_name=options.job_name,
            queue=options.queue,
            priority=options.priority,
            args=args,
            scheduled_at=self.now + options.delay,
            max_attempts=options.max_attempts,
            timeout=options.timeout,
            dedup_key=dedup_key,
        )

    # Running.

    def register_runner(self, new_id: int, heartbeat_timeout: timedelta) -> None:
        self.runners[new_id] = Runner(new_id, heartbeat_timeout, self.now)

    def claim(
        self,
        runner_id: int,
        queues: Collection[str] | None,
        max_jobs: int,
        skip_jobs: Collection[str] | None,
    ) -> list[Job]:
        if max_jobs < 1:
            raise Refusal("SQ012")
        if runner_id not in self.runners:
            raise Refusal("SQ011")
        ready = [
            job
            for job in self.of_status("queued")
            if job.scheduled_at <= self.now
            and job.queue not in self.paused
            and (queues is None or job.queue in queues)
            and (skip_jobs is None or job.job_name not in skip_jobs)
        ]
        ready.sort(key=lambda job: (job.scheduled_at, job.id))
        # Of each queue the oldest, then of each the second, and so on.
        places = Counter[tuple[int, str]]()
        turns: dict[int, tuple[int, int, str]] = {}
        for job in ready:
            places[job.priority, job.queue] += 1
            turns[job.id] = (job.priority, places[job.priority, job.queue], job.queue)
        claimed = sorted(ready, key=lambda job: turns[job.id])[:max_jobs]
        claimed.sort(key=lambda job: (job.priority, job.scheduled_at, job.id))
        for job in claimed:
            job.status = "processing"
            job.attempt += 1
            job.runner_id = runner_id
            job.claimed_at = self.now
            job.deadline = self.now + job.timeout if job.timeout else None
            self.granted.append(job.lease)
        return claimed

    def complete(self, leases: Sequence[Lease], results: Sequence[int | None]) -> list[bool]:
        return [
            self._complete(lease, result) for lease, result in zip(leases, results, strict=True)
        ]

    def _complete(self, lease: Lease, result: int | None) -> bool:
        if job := self.held(lease):
            job.status = "done"
            job.result = result
            job.ended_at = self.now
            job.deadline = None
        return job is not None

    def fail(self, leases: Sequence[Lease], reasons: Sequence[str | None]) -> list[str | None]:
        failed = [self.held(lease) for lease in leases]
        self._fail([(job, why) for job, why in zip(failed, reasons, strict=True) if job])
        return [job.status if job else None for job in failed]

    def _fail(self, failed: Iterable[tuple[Job, str | None]]) -> None:
        to_retry: list[tuple[Job, datetime | None]] = []
        for job, reason in failed:
            job.errors.append(Failure(job.attempt, reason))
            if reason in ("permanent_failure", "unknown_job", "invalid_arguments"):
                self._bury(job, reason)
            elif job.attempt >= job.max_attempts:
                self._bury(job, reason or "max_attempts_exceeded")
            elif reason == "runner_lost":
                to_retry.append((job, self.now))
            elif job.job_name == STEADY:
                failures = min(len(job.errors), len(STEADY_DELAYS))
                to_retry.append((job, self.now + STEADY_DELAYS[failures - 1]))
            else:
                first_delay, cap = EXPONENTIAL[job.job_name]
                delay = min(first_delay * 2 ** (len(job.errors) - 1), cap)
                job.latest = self.now + delay
                to_retry.append((job, self.now + delay / 2))
        self._put_back(to_retry)

    def _bury(self, job: Job, reason: str) -> None:
        job.status = "dead_letter"
        job.reason = reason
        job.replay_count = 0
        job.ended_at = self.now
        job.deadline = None

    def _put_back(self, jobs: Sequence[tuple[Job, datetime | None]]) -> None:
        """Without a time, a job keeps its own. The oldest that comes back gets its key, if that is free."""
        taken = {job.dedup_key for job in self.of_status("queued")}
        for job, run_at in sorted(jobs, key=lambda back: back[0].id):
            job.status = "queued"
            job.scheduled_at = run_at or job.scheduled_at
            job.runner_id = job.claimed_at = job.deadline = None
            if job.dedup_key in taken:
                job.dedup_key = None
            taken.add(job.dedup_key)

    def _hand_back(self, jobs: Sequence[Job], run_at: datetime | None = None) -> None:
        for job in jobs:
            job.max_attempts += 1
        self._put_back([(job, run_at) for job in jobs])

    def snooze(self, lease: Lease, delay: timedelta) -> bool:
        job = self.held(lease)
        self._hand_back([job] if job else [], self.now + delay)
        return job is not None

    def release(self, lease: Lease) -> bool:
        job = self.held(lease)
        self._hand_back([job] if job else [])
        return job is not None

    def heartbeat(self, runner_id: int, leases: Collection[Lease]) -> tuple[bool, list[int]]:
        runner = self.runners.get(runner_id)
        if runner:
            runner.last_heartbeat_at = self.now
        own = {job.lease for job in self.held_by(runner_id)}
        return runner is not None, sorted(lease.job_id for lease in leases if lease not in own)

    def former(self, runner_id: int) -> Runner | None:
        """The runner that may resume by this id: its own, or the one with which it did so last."""
        known = self.runners.values()
        return next((each for each in known if runner_id in (each.runner_id, each.resumes)), None)

    def resume_runner(self, runner_id: int, leases: Collection[Lease], new_id: int) -> None:
        former = self.former(runner_id)
        assert former is not None
        self.register_runner(new_id, former.heartbeat_timeout)
        self.runners[new_id].resumes = runner_id
        for job in self.held_by(former.runner_id):
            if job.lease in leases:
                job.runner_id = new_id
        self.deregister_runner(former.runner_id)

    def deregister_runner(self, runner_id: int) -> bool:
        self._hand_back(self.held_by(runner_id))
        return self.runners.pop(runner_id, None) is not None

    # Operating.

    def cancel(self, job_id: int) -> str | None:
        job = self.jobs.get(job_id)
        if job and job.status == "queued":
            job.status = "cancelled"
            job.ended_at = self.now
        return job.status if job else None

    def retry(self, job_id: int) -> str | None:
        job = self.jobs.get(job_id)
        if job and job.status == "queued":
            job.scheduled_at = min(job.scheduled_at, self.now)
        return job.status if job else None

    def pause_queue(self, queue: str) -> bool:
        paused_before = queue in self.paused
        self.paused.add(queue)
        return not paused_before

    def resume_queue(self, queue: str) -> bool:
        paused_before = queue in self.paused
        self.paused.discard(queue)
        return paused_before

    def next_due_in(self, queues: Collection[str] | None) -> timedelta | None:
        return min(
            (
                job.scheduled_at - self.now
                for job in self.of_status("queued")
                if job.scheduled_at > self.now and (queues is None or job.queue in queues)
            ),
            default=None,
        )

    # Dead letters.

    def _selected(self, selection: Selection, *, only_waiting: bool = False) -> list[Job]:
        filters = (
            *(selection.ids, selection.job_name, selection.queue),
            *(selection.since, selection.before),
        )
        if selection.everything == any(given is not None for given in filters):
            raise Refusal("SQ014")
        if selection.since and selection.before and selection.since > selection.before:
            raise Refusal("SQ014")
        if selection.max_letters is not None and selection.max_letters < 1:
            raise Refusal("SQ012")
        return [
            letter
            for letter in sorted(self.of_status("dead_letter"), key=lambda letter: letter.id)
            if (selection.ids is None or letter.id in selection.ids)
            and (selection.job_name is None or letter.job_name == selection.job_name)
            and (selection.queue is None or letter.queue == selection.queue)
            and letter.ended_at is not None
            and (selection.since is None or letter.ended_at >= selection.since)
            and (selection.before is None or letter.ended_at < selection.before)
            and (selection.after_id is None or letter.id > selection.after_id)
            and (not only_waiting or letter.replay_count == 0)
        ][: selection.max_letters]

    def to_replay(self, selection: Selection) -> list[Job]:
        return self._selected(selection, only_waiting=selection.ids is None)

    def replay(self, letter_id: int, new_id: int) -> None:
        letter = self.jobs[letter_id]
        assert letter.replay_count is not None
        letter.replay_count += 1
        self.jobs[new_id] = Job(
            id=new_id,
            job_name=letter.job_name,
            queue=letter.queue,
            priority=letter.priority,
            args=letter.args,
            scheduled_at=self.now,
            # Attempts that were not spent had raised it.
            max_attempts=letter.max_attempts - (letter.attempt - len(letter.errors)),
            timeout=letter.timeout,
            replay_of=letter.id,
            schedule=letter.schedule,
            due_at=letter.due_at,
        )

    def delete(self, selection: Selection, dry_run: bool) -> list[int]:
        ids = [letter.id for letter in self._selected(selection)]
        for letter_id in ids if not dry_run else ():
            del self.jobs[letter_id]
            self.deleted.add(letter_id)
        return ids

    def prune(self, older_than: timedelta, max_letters: int | None, dry_run: bool) -> int:
        old = Selection(before=self.now - older_than, max_letters=max_letters)
        return len(self.delete(old, dry_run))

    # Schedules. What they enqueue gets its ids by add_run(), once the database has given them.

    def schedule(self, name: str, timing: Timing) -> list[Run]:
        """The runs that were due under the former definition come first."""
        former = self.schedules.get(name)
        if former is None:
            self.schedules[name] = Schedule(name, timing, self.now, self.now + timing.every)
            return []
        if former.timing == timing:
            return []
        due = not former.paused and former.next_run_at <= self.now
        runs = self._run(former) if due else []
        same_grid = former.timing.every == timing.every
        former.timing = timing
        if not same_grid:
            former.next_run_at = former.run_after(max(self.now, former.last_due_at or self.now))
        return runs

    def unschedule(self, name: str) -> bool:
        return self.schedules.pop(name, None) is not None

    def prune_schedules(self, source: str, keep: Collection[str], dry_run: bool) -> list[str]:
        chosen = sorted(
            name
            for name, schedule in self.schedules.items()
            if schedule.timing.source == source and name not in keep
        )
        for name in [] if dry_run else chosen:
            del self.schedules[name]
        return chosen

    def pause_schedule(self, name: str) -> bool:
        schedule = self._schedule(name)
        was_paused, schedule.paused = schedule.paused, True
        return not was_paused

    def resume_schedule(self, name: str) -> bool:
        schedule = self._schedule(name)
        was_paused, schedule.paused = schedule.paused, False
        if was_paused:
            schedule.next_run_at = schedule.run_after(
                max(self.now, schedule.last_due_at or self.now)
            )
        return was_paused

    def run_schedule_now(self, name: str) -> list[Run]:
        schedule = self._schedule(name)
        if not self._may_start(schedule):
            return []
        return [Run(name, self.now, schedule.timing.queue)]

    def add_run(self, run: Run, new_id: int) -> None:
        self.jobs[new_id] = Job(
            id=new_id,
            job_name=STEADY,
            queue=run.queue,
            priority=2,
            args={},
            scheduled_at=self.now,
            max_attempts=2,
            timeout=timedelta(seconds=30),
            schedule=run.schedule,
            due_at=run.due_at,
        )
        self.schedules[run.schedule].last_job_id = new_id

    def _schedule(self, name: str) -> Schedule:
        if name not in self.schedules:
            raise Refusal("SQ020")
        return self.schedules[name]

    def _may_start(self, schedule: Schedule) -> bool:
        last = self.jobs.get(schedule.last_job_id or 0)
        alive = last is not None and last.status in ("queued", "processing")
        return schedule.timing.allow_overlap or not alive

    def _run(self, schedule: Schedule) -> list[Run]:
        missed: list[datetime] = []
        late: list[datetime] = []
        run_at = schedule.next_run_at
        while run_at <= self.now:
            (missed if run_at < self.now - TOLERANCE else late).append(run_at)
            run_at = schedule.run_after(run_at)
        schedule.next_run_at = run_at
        match schedule.timing.missed_runs:
            case "run_all":
                runs = missed[: schedule.timing.max_missed_runs] + late
            case "run_once":
                runs = late or missed[:1]
            case _:
                runs = late
        if not schedule.timing.allow_overlap:
            runs = runs[-1:] if self._may_start(schedule) else []
        if runs:
            schedule.last_due_at = runs[-1]
        return [Run(schedule.name, due_at, schedule.timing.queue) for due_at in runs]

    # Time.

    def tick(self) -> tuple[int, int, int, list[Run]]:
        """How many runners were lost, how many jobs with them, how many jobs were overdue, and what runs."""
        lost = [
            runner.runner_id
            for runner in self.runners.values()
            if runner.last_heartbeat_at + runner.heartbeat_timeout < self.now
        ]
        stranded = [job for job in self.of_status("processing") if job.runner_id in lost]
        self._fail([(job, "runner_lost") for job in stranded])
        for runner_id in lost:
            del self.runners[runner_id]
        overdue = [
            job
            for job in self.of_status("processing")
            if job.deadline and job.deadline + GRACE < self.now
        ]
        self._fail([(job, "timeout") for job in overdue])
        runs = [
            run
            for schedule in self.schedules.values()
            if not schedule.paused and schedule.next_run_at <= self.now
            for run in self._run(schedule)
        ]
        return len(lost), len(stranded), len(overdue), runs


# What calls are made with. Ids and leases are chosen from what the model knows, most of them good.


def from_model(choices: Callable[[Model], st.SearchStrategy[T]]) -> st.SearchStrategy[T]:
    return st.runner().flatmap(lambda machine: choices(machine.model))


def seconds(*choices: float) -> st.SearchStrategy[timedelta]:
    return st.sampled_from([timedelta(seconds=choice) for choice in choices])


def mostly(good: Sequence[T], other: Sequence[T]) -> st.SearchStrategy[T]:
    if not good:
        return st.sampled_from(other)
    return st.sampled_from([good, good, good, other]).flatmap(st.sampled_from)


def _leases(model: Model) -> st.SearchStrategy[Lease]:
    held = [job.lease for job in model.of_status("processing")]
    to_come = [Lease(job_id, attempt + 1) for job_id, attempt in held]
    return mostly(held, [*to_come, *model.granted, Lease(NEVER_ISSUED, 1)])


leases = from_model(_leases)
batches = st.lists(leases, max_size=4, unique=True)
runner_ids = from_model(lambda model: mostly(list(model.runners), [1, NEVER_ISSUED]))
job_ids = from_model(lambda model: st.sampled_from([*model.jobs, NEVER_ISSUED]))
letter_ids = from_model(
    lambda model: mostly([job.id for job in model.of_status("dead_letter")], [*model.jobs, 1])
)
queues = st.sampled_from(QUEUES)
queue_lists = st.none() | st.lists(queues, min_size=1, max_size=2)
reasons = st.sampled_from(
    [None, None, None, "timeout", "permanent_failure", "unknown_job", "invalid_arguments"]
)
options = st.builds(
    Options,
    job_name=st.sampled_from(JOB_NAMES),
    queue=queues,
    priority=st.integers(1, 2),
    delay=seconds(0, 30, 60),
    max_attempts=st.sampled_from([1, 2, 3, 5]),
    timeout=seconds(0, 30, 90),
)
moments = from_model(
    lambda model: st.sampled_from(
        [job.ended_at for job in model.of_status("dead_letter")] + [model.now]
    )
)
limits = st.sampled_from([None, None, 1, 2, 0])


def _selection(**given: st.SearchStrategy[Any]) -> st.SearchStrategy[Selection]:
    """What is not given keeps its default; st.builds() would make up something."""
    return st.fixed_dictionaries(given).map(lambda values: Selection(**values))


selections = st.one_of(
    _selection(since=moments, before=st.none() | moments, max_letters=limits),
    _selection(
        ids=st.none() | st.lists(letter_ids, max_size=3), before=moments, after_id=letter_ids
    ),
    _selection(everything=st.just(True), max_letters=limits),
    st.lists(letter_ids, max_size=3).map(lambda ids: Selection(ids=ids)),
    st.tuples(st.lists(letter_ids, max_size=3), st.none(), queues).map(
        lambda given: Selection(*given)
    ),
    st.sampled_from(JOB_NAMES).map(lambda job_name: Selection(job_name=job_name)),
    queues.map(lambda queue: Selection(queue=queue)),
    st.sampled_from([Selection(), Selection(everything=True, job_name=STEADY)]),
)
schedule_names = st.sampled_from(SCHEDULES)
timings = st.builds(
    Timing,
    every=seconds(30, 45, 600),
    missed_runs=st.sampled_from(["run_all", "run_once", "skip"]),
    max_missed_runs=st.integers(1, 3),
    allow_overlap=st.booleans(),
    queue=queues,
    source=st.sampled_from([None, "code"]),
)
bad_calls: st.SearchStrategy[tuple[LiteralString, str]] = st.sampled_from(
    [
        ("select soniq.enqueue('steady', priority => 1001)", "SQ005"),
        ("select soniq.enqueue('steady', delay => '-1 s', dedup_key => 'one')", "SQ006"),
        ("select soniq.enqueue_many('steady', array['{}', '[]']::jsonb[])", "SQ003"),
        ("select soniq.complete(%(job_id)s, null)", "SQ016"),
        ("select soniq.complete(array[%(job_id)s::bigint], '{}'::integer[])", "SQ012"),
        ("select soniq.fail(%(job_id)s, %(attempt)s, '{}', 'bad luck')", "SQ013"),
        ("select soniq.fail(%(job_id)s, %(attempt)s, '[]')", "SQ013"),
        ("select soniq.snooze(%(job_id)s, %(attempt)s, '-1 s')", "SQ006"),
        ("select soniq.heartbeat(%(runner_id)s, array[null::bigint], '{1}')", "SQ016"),
        ("select soniq.resume_runner(%(runner_id)s, array[%(job_id)s::bigint])", "SQ012"),
        ("select soniq.register_runner('model', heartbeat_timeout => '0')", "SQ015"),
        ("select soniq.schedule('first', every => '1 month')", "SQ019"),
        ("select soniq.schedule('first', cron => '60 * * * *')", "SQ017"),
        ("select soniq.pause_schedule('no such schedule')", "SQ020"),
    ]
)


class Call(NamedTuple):
    """A call of one of Machine's methods."""

    method: str
    arguments: dict[str, object]

    def __repr__(self) -> str:
        return f"{self.method}({', '.join(f'{k}={v!r}' for k, v in self.arguments.items())})"


class Calls:
    """The methods to choose from, and how often.

    hypothesis could do that itself, if each were a @rule. But then it leaves out a random half of
    them in each example, and hardly any gets from an enqueue to a dead letter.
    """

    def __init__(self) -> None:
        self._choices: list[tuple[Callable[[Model], object], int, st.SearchStrategy[Call]]] = []

    def add(
        self, when: Callable[[Model], object], weight: int, **arguments: st.SearchStrategy[Any]
    ) -> Callable[[Method], Method]:
        """Adds a method, to be called when the model fulfils a condition, `weight` times as often."""

        def add(method: Method) -> Method:
            call = st.builds(Call, st.just(method.__name__), st.fixed_dictionaries(arguments))
            self._choices.append((when, weight, call))
            return method

        return add

    def any(self) -> st.SearchStrategy[Call]:
        # hypothesis likes to take the first.
        choices = sorted(self._choices, key=lambda choice: choice[1], reverse=True)
        return from_model(
            lambda model: st.sampled_from(
                [call for when, weight, call in choices for _ in range(weight) if when(model)]
            )
        ).flatmap(lambda call: call)


def at_any_time(model: Model) -> bool:
    return True


def with_ready_jobs(model: Model) -> bool:
    return bool(model.runners) and any(
        job.scheduled_at <= model.now and job.queue not in model.paused
        for job in model.of_status("queued")
    )


def with_leases(model: Model) -> bool:
    return bool(model.of_status("processing"))


def with_schedules(model: Model) -> bool:
    return bool(model.schedules)


def with_pauses(model: Model) -> bool:
    return bool(model.paused)


def with_dead_letters(model: Model) -> bool:
    return bool(model.of_status("dead_letter"))


JOBS: LiteralString = """
    select id, job_name, queue, priority, args, scheduled_at, max_attempts, timeout, dedup_key,
      replay_of, status::text, attempt, errors, runner_id, claimed_at, deadline, result, ended_at,
      reason, replay_count, schedule, due_at
    from soniq.all_jobs
"""
SELECTION: LiteralString = """
    ids => %s::bigint[], job_name => %s, queue => %s, everything => %s, since => %s::timestamptz,
    before => %s::timestamptz, max_letters => %s::integer, after_id => %s::bigint, dry_run => %s
"""
SCHEDULE_ROWS: LiteralString = """
    select name, every, missed_runs, max_missed_runs, allow_overlap, queue, source, created_at, next_run_at, paused,
      last_due_at, last_job_id
    from soniq.schedules
"""
RUNNERS: LiteralString = """
    select runner_id, heartbeat_timeout, last_heartbeat_at, lost_at, resumes
    from soniq.runners
"""


class Seen(NamedTuple):
    """What is in the database."""

    jobs: dict[int, Job]
    runners: dict[int, Runner]
    paused: set[str]
    schedules: dict[str, Schedule]


class Machine(RuleBasedStateMachine):
    """Makes every call on the database and on the model. Each example is one transaction, rolled back."""

    connection: ClassVar[psycopg.Connection[tuple[Any, ...]]]
    changes: ClassVar[Counter[tuple[str, str]]]  # of jobs' statuses, in all examples

    calls: ClassVar[Calls] = Calls()

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.answered: set[int] = set()
        self.seen: Seen | None = None
        self.before: dict[int, Job] = {}
        self.has_claimed = False
        # So that an example can be repeated: the same ids, and the same jitter.
        self.rows("select setseed(0.5)")
        self.rows(
            """
            select setval(pg_get_serial_sequence('soniq.jobs', 'id'), 1, false),
              setval(pg_get_serial_sequence('soniq.runners', 'runner_id'), 1, false)
            """
        )
        self.move_clock()

    def teardown(self) -> None:
        self.connection.rollback()

    # Calling.

    def rows(self, query: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
        self.seen = None
        return self.connection.execute(query, parameters).fetchall()

    def value(self, query: LiteralString, *parameters: object) -> Any:
        [(value,)] = self.rows(query, *parameters)
        return value

    def new_ids(self, answer: Sequence[int]) -> Sequence[int]:
        assert len(set(answer) - self.answered) == len(answer), "an id was given twice"
        self.answered.update(answer)
        return answer

    def expect_refusal(self, sqlstate: str, query: LiteralString, parameters: Any) -> None:
        self.seen = None
        with pytest.raises(psycopg.Error) as raised, self.connection.transaction():
            self.connection.execute(query, parameters)
        assert raised.value.sqlstate == sqlstate

    def move_clock(self) -> None:
        self.rows("select set_config('soniq_test.now', %s, true)", self.model.now.isoformat())

    @initialize(options=options, heartbeat_timeout=seconds(300, 3600))
    def begin(self, options: Options, heartbeat_timeout: timedelta) -> None:
        self.enqueue_many(options, 3)
        self.register_runner(heartbeat_timeout)

    # Producing.

    @calls.add(at_any_time, 6, options=options, dedup_key=st.sampled_from([None, "one", "two"]))
    def enqueue(self, options: Options, dedup_key: str | None) -> None:
        answer = self.value(
            """
            select soniq.enqueue(job_name => %s, queue => %s, priority => %s, delay => %s,
              max_attempts => %s, timeout => %s, dedup_key => %s)
            """,
            *options,
            dedup_key,
        )
        expected = self.model.enqueue(answer, options, dedup_key)
        assert answer == expected
        if answer not in self.answered or dedup_key is None:
            self.new_ids([answer])

    @calls.add(at_any_time, 1, options=options, size=st.integers(0, 4))
    def enqueue_many(self, options: Options, size: int) -> None:
        answer = self.rows(
            """
            select * from soniq.enqueue_many(job_name => %s, queue => %s, priority => %s,
              delay => %s, max_attempts => %s, timeout => %s, args => %s::jsonb[])
            """,
            *options,
            [f'{{"position": {position}}}' for position in range(size)],
        )
        assert len(answer) == size
        self.model.enqueue_many(self.new_ids([job_id for (job_id,) in answer]), options)

    # Running.

    @calls.add(at_any_time, 1, heartbeat_timeout=seconds(60, 300, 3600))
    def register_runner(self, heartbeat_timeout: timedelta) -> None:
        runner_id = self.value(
            "select soniq.register_runner('model', heartbeat_timeout => %s)", heartbeat_timeout
        )
        assert runner_id not in self.model.runners
        self.model.register_runner(runner_id, heartbeat_timeout)

    @calls.add(
        at_any_time,
        3,
        runner_id=runner_ids,
        queues=st.none() | queue_lists,
        max_jobs=st.integers(1, 5) | st.just(0),
        skip_jobs=st.none() | st.lists(st.sampled_from(JOB_NAMES), max_size=1),
    )
    def claim(
        self,
        runner_id: int,
        queues: list[str] | None,
        max_jobs: int,
        skip_jobs: list[str] | None,
    ) -> None:
        # A hint of this session may hide a job for a while.
        self.rows("select set_config('soniq.lane_' || lane_id, '', true) from soniq.lanes")
        # And the first turn is that of the first queue.
        self.rows("select set_config('soniq.turn_' || priority, '', true) from soniq.lanes")
        query: LiteralString = """
            select job_id, attempt, job_name, max_attempts, scheduled_at, claimed_at, deadline
            from soniq.claim(%s, queues => %s::text[], max_jobs => %s, skip_jobs => %s::text[])
        """
        call = (runner_id, queues, max_jobs, skip_jobs)
        try:
            claimed = self.model.claim(*call)
        except Refusal as refusal:
            self.expect_refusal(refusal.sqlstate, query, call)
            return
        assert self.rows(query, *call) == [
            (
                *(job.id, job.attempt, job.job_name, job.max_attempts),
                *(job.scheduled_at, job.claimed_at, job.deadline),
            )
            for job in claimed
        ]
        self.has_claimed = True

    @calls.add(with_ready_jobs, 8, runner_id=runner_ids, max_jobs=st.sampled_from([5, 2, 1]))
    def claim_anything(self, runner_id: int, max_jobs: int) -> None:
        self.claim(runner_id, None, max_jobs, None)

    @calls.add(with_leases, 2, lease=leases, result=st.none() | st.integers(1, 2))
    def complete(self, lease: Lease, result: int | None) -> None:
        answer = self.value(
            "select soniq.complete(job_id => %s, attempt => %s, result => %s::jsonb)",
            *lease,
            None if result is None else str(result),
        )
        assert [answer] == self.model.complete([lease], [result])

    @calls.add(with_leases, 2, leases=batches)
    def complete_many(self, leases: list[Lease]) -> None:
        results = list(range(len(leases)))
        answer = self.value(
            """
            select soniq.complete(job_ids => %s::bigint[], attempts => %s::integer[],
              results => %s::jsonb[])
            """,
            *columns(leases),
            [str(result) for result in results],
        )
        assert answer == self.model.complete(leases, results)

    @calls.add(with_leases, 4, lease=leases, reason=reasons)
    def fail(self, lease: Lease, reason: str | None) -> None:
        answer = self.value(
            "select soniq.fail(job_id => %s, attempt => %s, error => '{}', reason => %s)",
            *lease,
            reason,
        )
        assert [answer] == self.model.fail([lease], [reason])

    @calls.add(
        with_leases,
        3,
        failures=st.lists(st.tuples(leases, reasons), max_size=4, unique_by=lambda both: both[0]),
    )
    def fail_many(self, failures: list[tuple[Lease, str | None]]) -> None:
        leases = [lease for lease, _ in failures]
        why = [reason for _, reason in failures]
        answer = self.value(
            """
            select soniq.fail(job_ids => %s::bigint[], attempts => %s::integer[],
              errors => %s::jsonb[], reasons => %s::text[])
            """,
            *columns(leases),
            ["{}"] * len(leases),
            why,
        )
        assert answer == self.model.fail(leases, why)

    @calls.add(with_leases, 2, lease=leases, delay=seconds(0, 30, 60))
    def snooze(self, lease: Lease, delay: timedelta) -> None:
        answer = self.value("select soniq.snooze(%s, %s, %s)", *lease, delay)
        assert answer == self.model.snooze(lease, delay)

    @calls.add(with_leases, 2, lease=leases)
    def release(self, lease: Lease) -> None:
        assert self.value("select soniq.release(%s, %s)", *lease) == self.model.release(lease)

    @calls.add(at_any_time, 1, runner_id=runner_ids, leases=batches)
    def heartbeat(self, runner_id: int, leases: list[Lease]) -> None:
        [answer] = self.rows(
            """
            select registered, lost_jobs
            from soniq.heartbeat(%s, %s::bigint[], %s::integer[])
            """,
            runner_id,
            *columns(leases),
        )
        assert answer == self.model.heartbeat(runner_id, leases)

    @calls.add(with_leases, 3, runner_id=runner_ids, leases=batches)
    def resume_runner(self, runner_id: int, leases: list[Lease]) -> None:
        query: LiteralString = "select soniq.resume_runner(%s, %s::bigint[], %s::integer[])"
        call = (runner_id, *columns(leases))
        if self.model.former(runner_id) is None:
            self.expect_refusal("SQ011", query, call)
            return
        new_id = self.value(query, *call)
        assert new_id not in self.model.runners
        self.model.resume_runner(runner_id, leases, new_id)

    @calls.add(at_any_time, 1, runner_id=runner_ids)
    def deregister_runner(self, runner_id: int) -> None:
        answer = self.value("select soniq.deregister_runner(%s)", runner_id)
        assert answer == self.model.deregister_runner(runner_id)

    # Operating.

    @calls.add(at_any_time, 2, job_id=job_ids)
    def cancel(self, job_id: int) -> None:
        assert self.value("select soniq.cancel(%s)", job_id) == self.model.cancel(job_id)

    @calls.add(at_any_time, 2, job_id=job_ids)
    def retry(self, job_id: int) -> None:
        assert self.value("select soniq.retry(%s)", job_id) == self.model.retry(job_id)

    @calls.add(at_any_time, 1, job_id=job_ids)
    def get_job(self, job_id: int) -> None:
        job = self.model.jobs.get(job_id)
        assert self.rows(
            "select id, status::text, queue, attempt, reason from soniq.get_job(%s)", job_id
        ) == ([(job.id, job.status, job.queue, job.attempt, job.reason)] if job else [])

    @calls.add(at_any_time, 2, queue=queues)
    def pause_queue(self, queue: str) -> None:
        assert self.value("select soniq.pause_queue(%s)", queue) == self.model.pause_queue(queue)

    @calls.add(with_pauses, 3, queue=queues)
    def resume_queue(self, queue: str) -> None:
        assert self.value("select soniq.resume_queue(%s)", queue) == self.model.resume_queue(queue)

    @calls.add(at_any_time, 1, queues=queue_lists)
    def wait_for_jobs(self, queues: list[str] | None) -> None:
        answer = self.value("select soniq.wait_for_jobs(%s::text[])", queues)
        self.rows("select soniq.stop_waiting()")
        assert answer == self.model.next_due_in(queues)

    # Schedules.

    def add_runs(self, runs: Sequence[Run]) -> None:
        """Finds the ids of the jobs that a call has enqueued for these runs, which must be all the new jobs."""
        added = self.rows(
            "select schedule, due_at, queue, id from soniq.jobs where id <> all (%s::bigint[]) order by id",
            list(self.answered),
        )
        assert Counter(Run(*run) for *run, _ in added) == Counter(runs)
        self.new_ids([job_id for *_, job_id in added])
        for *run, job_id in added:
            self.model.add_run(Run(*run), job_id)

    @calls.add(at_any_time, 3, name=schedule_names, timing=timings)
    def schedule(self, name: str, timing: Timing) -> None:
        answer = self.value(
            """
            select soniq.schedule(name => %s, job_name => %s, every => %s, missed_runs => %s,
              max_missed_runs => %s, allow_overlap => %s, queue => %s, source => %s,
              priority => 2, max_attempts => 2, timeout => '30 s')
            """,
            *(name, STEADY, timing.every, timing.missed_runs, timing.max_missed_runs),
            *(timing.allow_overlap, timing.queue, timing.source),
        )
        self.add_runs(self.model.schedule(name, timing))
        assert answer == self.model.schedules[name].next_run_at

    @calls.add(with_schedules, 1, name=schedule_names)
    def unschedule(self, name: str) -> None:
        assert self.value("select soniq.unschedule(%s)", name) == self.model.unschedule(name)

    @calls.add(with_schedules, 1, keep=st.lists(schedule_names, max_size=1), dry_run=st.booleans())
    def prune_schedules(self, keep: list[str], dry_run: bool) -> None:
        answer = self.rows("select soniq.prune_schedules('code', %s::text[], %s)", keep, dry_run)
        assert [name for (name,) in answer] == self.model.prune_schedules("code", keep, dry_run)

    @calls.add(with_schedules, 2, name=schedule_names)
    def pause_schedule(self, name: str) -> None:
        self._ask_of_schedule("select soniq.pause_schedule(%s)", name, self.model.pause_schedule)

    @calls.add(with_schedules, 2, name=schedule_names)
    def resume_schedule(self, name: str) -> None:
        self._ask_of_schedule("select soniq.resume_schedule(%s)", name, self.model.resume_schedule)

    def _ask_of_schedule(
        self, query: LiteralString, name: str, expected: Callable[[str], bool]
    ) -> None:
        try:
            answer = expected(name)
        except Refusal as refusal:
            self.expect_refusal(refusal.sqlstate, query, [name])
            return
        assert self.value(query, name) == answer

    @calls.add(with_schedules, 2, name=schedule_names)
    def run_schedule_now(self, name: str) -> None:
        query: LiteralString = "select soniq.run_schedule_now(%s)"
        try:
            runs = self.model.run_schedule_now(name)
        except Refusal as refusal:
            self.expect_refusal(refusal.sqlstate, query, [name])
            return
        job_id = self.value(query, name)
        assert (job_id is not None) == bool(runs)
        self.add_runs(runs)

    @calls.add(with_schedules, 1, name=schedule_names)
    def preview_schedule(self, name: str) -> None:
        query: LiteralString = "select run_at from soniq.preview_schedule(%s, runs => 2)"
        schedule = self.model.schedules.get(name)
        if schedule is None:
            self.expect_refusal("SQ020", query, [name])
            return
        first = schedule.next_run_at
        assert self.rows(query, name) == [(first,), (schedule.run_after(first),)]

    # Dead letters.

    @calls.add(
        with_dead_letters, 3, selection=selections, dry_run=st.sampled_from([False, False, True])
    )
    def replay_dead_letters(self, selection: Selection, dry_run: bool) -> None:
        query: LiteralString = f"""
            select dead_letter_id, job_name, queue, job_id
            from soniq.replay_dead_letters({SELECTION})
        """
        call = (*selection, dry_run)
        try:
            chosen = self.model.to_replay(selection)
        except Refusal as refusal:
            self.expect_refusal(refusal.sqlstate, query, call)
            return
        answer = self.rows(query, *call)
        assert [row[:3] for row in answer] == [(job.id, job.job_name, job.queue) for job in chosen]
        if dry_run:
            assert all(new_id is None for *_, new_id in answer)
            return
        self.new_ids([new_id for *_, new_id in answer])
        for letter_id, _, _, new_id in answer:
            self.model.replay(letter_id, new_id)

    @calls.add(with_dead_letters, 1, selection=selections, dry_run=st.booleans())
    def delete_dead_letters(self, selection: Selection, dry_run: bool) -> None:
        query: LiteralString = f"select dead_letter_id from soniq.delete_dead_letters({SELECTION})"
        call = (*selection, dry_run)
        try:
            expected = self.model.delete(selection, dry_run)
        except Refusal as refusal:
            self.expect_refusal(refusal.sqlstate, query, call)
            return
        assert [letter_id for (letter_id,) in self.rows(query, *call)] == expected

    @calls.add(
        with_dead_letters,
        1,
        older_than=seconds(0, 600),
        max_letters=st.sampled_from([None, 1]),
        dry_run=st.booleans(),
    )
    def prune_dead_letters(
        self, older_than: timedelta, max_letters: int | None, dry_run: bool
    ) -> None:
        answer = self.value(
            "select soniq.prune_dead_letters(%s, max_letters => %s, dry_run => %s)",
            *(older_than, max_letters, dry_run),
        )
        assert answer == self.model.prune(older_than, max_letters, dry_run)

    # Time, and bad input.

    @calls.add(at_any_time, 3, step=seconds(0.001, 30, 60, 300))
    def wait(self, step: timedelta) -> None:
        self.model.now += step
        self.move_clock()

    @calls.add(with_leases, 4, step=seconds(60, 61, 121, 301, 3601))
    def wait_and_tick(self, step: timedelta) -> None:
        self.wait(step)
        self.tick()

    @calls.add(at_any_time, 3)
    def tick(self) -> None:
        [answer] = self.rows(
            "select lost_runners, jobs_of_lost_runners, overdue_jobs, scheduled_jobs from soniq.tick()"
        )
        *expected, runs = self.model.tick()
        assert answer == (*expected, len(runs))
        self.add_runs(runs)

    @calls.add(at_any_time, 1, call=bad_calls, lease=leases, runner_id=runner_ids)
    def call_badly(self, call: tuple[LiteralString, str], lease: Lease, runner_id: int) -> None:
        query, sqlstate = call
        self.expect_refusal(sqlstate, query, {**lease._asdict(), "runner_id": runner_id})

    @rule(call=calls.any())
    def make(self, call: Call) -> None:
        getattr(self, call.method)(**call.arguments)

    # What holds after every call.

    def look(self) -> Seen:
        """What there is now, read once after a call."""
        if self.seen is None:
            jobs = [Job(*row) for row in self.rows(JOBS)]
            for job in jobs:
                errors: list[Any] = job.errors
                job.errors = [Failure(error["attempt"], error["reason"]) for error in errors]
            runners = [Runner(*row) for row in self.rows(RUNNERS)]
            self.seen = Seen(
                {job.id: job for job in jobs},
                {runner.runner_id: runner for runner in runners},
                {queue for (queue,) in self.rows("select queue from soniq.queues where paused")},
                {
                    name: Schedule(name, Timing(*timing), *rest)
                    for name, timing, rest in (
                        (row[0], row[1:7], row[7:]) for row in self.rows(SCHEDULE_ROWS)
                    )
                },
            )
            assert len(self.seen.jobs) == len(jobs), "a job is in two tables"
        return self.seen

    @invariant()
    def all_is_as_the_model_says(self) -> None:
        seen = self.look()
        for job_id in self.model.jobs.keys() & seen.jobs.keys():
            self.model.jobs[job_id].settle(seen.jobs[job_id])
        assert differences(seen.jobs, self.model.jobs) == []
        assert differences(seen.runners, self.model.runners) == []
        assert seen.paused == self.model.paused
        assert seen.schedules == self.model.schedules

    @invariant()
    def no_job_is_lost(self) -> None:
        assert self.look().jobs.keys() == self.answered - self.model.deleted

    @invariant()
    def what_always_holds_does(self) -> None:
        seen = self.look()
        living = {runner.runner_id for runner in seen.runners.values() if runner.lost_at is None}
        assert [*broken_invariants(seen.jobs.values(), living)] == []

    @invariant()
    def only_a_claim_raises_a_fence(self) -> None:
        jobs = self.look().jobs
        for job_id, job in jobs.items():
            former = self.before.get(job_id)
            attempt, status = (former.attempt, former.status) if former else (0, "nothing")
            assert job.attempt == attempt or (self.has_claimed and job.attempt == attempt + 1)
            if job.status != status:
                self.changes[status, job.status] += 1
        self.before, self.has_claimed = jobs, False


def differences(seen: Mapping[int, Job | Runner], model: Mapping[int, Job | Runner]) -> list[str]:
    """What is otherwise than the model says, field by field."""
    found = [f"{key} is in one of them only" for key in sorted(seen.keys() ^ model.keys())]
    for key in sorted(seen.keys() & model.keys()):
        for each in fields(seen[key]):
            is_so, should_be = getattr(seen[key], each.name), getattr(model[key], each.name)
            if each.compare and is_so != should_be:
                found.append(f"{key}: {each.name} is {is_so}, not {should_be}")
    return found


def columns(leases: Iterable[Lease]) -> tuple[list[int], list[int]]:
    leases = list(leases)
    return [lease.job_id for lease in leases], [lease.attempt for lease in leases]


def test_random_calls_do_what_the_model_says(database: str) -> None:
    with psycopg.connect(database, prepare_threshold=0) as its_connection:
        its_connection.execute(
            """
            create or replace function soniq.clock()
            returns timestamptz
            language sql
            volatile
            parallel safe
            as $$
              select pg_catalog.current_setting('soniq_test.now')::timestamptz;
            $$
            """
        )
        its_connection.execute(
            "select set_config('soniq_test.now', %s, false)", [START.isoformat()]
        )
        its_connection.execute(
            "select soniq.register_job_type(%s, retry_delays => %s)", [STEADY, [*STEADY_DELAYS]]
        )
        for job_name, (first_delay, cap) in EXPONENTIAL.items():
            its_connection.execute(
                """
                select soniq.register_job_type(%s, backoff => 'exponential', retry_delays => %s,
                  max_retry_delay => %s)
                """,
                [job_name, [first_delay], cap],
            )
        its_connection.execute("update soniq.chores set due_at = 'infinity'")
        # Whatever a first tick sets up is not to be set up in each example.
        its_connection.execute("select from soniq.tick()")
        its_connection.commit()

        class MachineHere(Machine):
            connection = its_connection
            changes: ClassVar = Counter()

        run_state_machine_as_test(
            MachineHere,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                print_blob=True,
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
    # The calls have been everywhere: else the test would have shown little.
    assert set(MachineHere.changes) == {
        ("nothing", "queued"),
        ("queued", "processing"),
        ("processing", "queued"),
        ("processing", "done"),
        ("processing", "dead_letter"),
        ("queued", "cancelled"),
    }
