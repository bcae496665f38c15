"""Arguments that only the handler sees: not whoever looks at jobs, and not in what a handler's exception says."""

from conftest import StartRunner, WriteJobs, rows
from soniq_command import done

HANDLERS = r"""
    from soniq import PermanentFailure, Soniq
    app = Soniq()

    @app.job(secret_args=["card", "owner"])
    async def charge(card: str, owner: dict, amount: int):
        raise PermanentFailure(f"{card} of {owner!r}, pin {owner['pin']}, for {amount}; 1234 is not its pin")
"""
CARD = "4111-1111 \"gold\"\n'äß'"


def test_they_are_shown_and_told_to_nobody(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    [(job_id,)] = rows(
        database,
        "select soniq.enqueue('charge', jsonb_build_object('card', %s::text, 'amount', 12,"
        ' \'owner\', \'{"name": "Ada Lovelace", "pin": 123, "since": null, "ok": true}\'::jsonb))',
        CARD,
    )
    runner = start_runner(database, "--burst")
    assert runner.exit_code() == 0
    [(errors,)] = rows(database, "select errors from soniq.dead_letter_jobs")
    assert errors[0]["message"] == (
        "*** of {'ok': True, 'pin': ***, 'name': '***', 'since': None}, pin ***, for 12;"
        " 1234 is not its pin"
    )
    shown = [
        done(database, *command).out
        for command in (
            ("jobs", "show", job_id),
            ("jobs", "show", job_id, "--json"),
            ("dead-letter", "show", job_id),
            ("dead-letter", "export", "--all"),
            ("dead-letter", "export", "--all", "--format", "csv"),
        )
    ]
    for text in (*shown, runner.log, str(errors)):
        assert "***" in text
        assert "4111" not in text
        assert "Lovelace" not in text
        assert "123," not in text


def test_in_what_the_runner_finds_wrong_with_them(
    database: str, write_jobs: WriteJobs, start_runner: StartRunner
) -> None:
    write_jobs(HANDLERS)
    rows(
        database,
        """select soniq.enqueue('charge', '{"card": 41111111, "owner": {"pin": 1}, "amount": 1}')""",
    )
    runner = start_runner(database, "--burst")
    assert runner.exit_code() == 0
    [(errors,)] = rows(database, "select errors from soniq.dead_letter_jobs")
    assert errors[0]["type"] == "InvalidArguments"
    assert "41111111" not in str(errors) + runner.log
