"""Dead letters for tests."""

from conftest import rows


def bury(url: str, count: int, job: str = "mail", error: str = "order % is bad") -> list[int]:
    """Makes so many dead letters of a job, whose error has the job's id for %, and answers with their ids, in order."""
    found = rows(
        url,
        """
        with enqueued as materialized (
          select array(
            select soniq.enqueue_many(%s, array_fill('{"n": 1}'::jsonb, array[%s]), queue => %s)
          ) as ids
        )
        select unnest(ids) from enqueued
        """,
        job,
        count,
        f"{job}_queue",
    )
    rows(
        url,
        """
        with runner as materialized (select soniq.register_runner('test') as id),
        claimed as materialized (
          select job.job_id, job.attempt
          from runner
          cross join lateral soniq.claim(runner.id, queues => array[%s], max_jobs => %s) as job
        )
        select soniq.fail(
          job_ids => array_agg(job_id),
          attempts => array_agg(attempt),
          errors => array_agg(jsonb_build_object(
            'type', 'ValueError',
            'message', replace(%s, '%%', job_id::text),
            'traceback', E'Traceback:\\n  in ' || %s
          )),
          reasons => array_agg('permanent_failure'::text)
        )
        from claimed
        """,
        f"{job}_queue",
        count,
        error,
        job,
    )
    ids = [each[0] for each in found]
    assert rows(url, "select count(*) from soniq.dead_letter_jobs where id = any (%s)", ids) == [
        (count,)
    ]
    return ids
