"""Claims at the same moment: each gets what the others do not, and none waits."""

import psycopg
import pytest
from conftest import rows

CLAIM = (
    "select array_agg(claimed.job_id order by claimed.job_id)"
    " from soniq.claim(%s, max_jobs => %s) as claimed"
)


@pytest.mark.parametrize("queues", [1, 4])
def test_claims_skip_what_others_are_taking(database: str, queues: int) -> None:
    rows(
        database,
        "select soniq.enqueue('x', queue => 'queue ' || n %% %s) from generate_series(1, 12) as n",
        queues,
    )
    [(runner_id,)] = rows(database, "select soniq.register_runner('here')")
    with psycopg.connect(database) as one, psycopg.connect(database) as other:
        other.execute("set statement_timeout = '10 s'")
        first = one.execute(CLAIM, (runner_id, 4)).fetchone()
        second = other.execute(CLAIM, (runner_id, 4)).fetchone()
        one.commit()
        third = one.execute(CLAIM, (runner_id, 100)).fetchone()
    claims = [claim[0] for claim in (first, second, third) if claim]
    assert [len(job_ids) for job_ids in claims] == [4, 4, 4]
    assert len({job_id for job_ids in claims for job_id in job_ids}) == 12
