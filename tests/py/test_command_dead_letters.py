"""`soniq dead-letter`: looked at, replayed, deleted, exported, and asked about before."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from conftest import rows
from dead_letters import bury
from pgbouncer import throwaway_pgbouncer
from soniq_command import at_terminal, done, finish, refused, soniq, start
from testing.server import Server


def letters(url: str) -> list[tuple[int, int]]:
    return rows(url, "select id, replay_count from soniq.dead_letter_jobs order by id")


def jobs(url: str) -> list[int]:
    return [each[0] for each in rows(url, "select replay_of from soniq.jobs order by id")]


def test_listing_and_showing(database: str) -> None:
    assert done(database, "dead-letter", "list").out == "no dead letters\n"
    assert done(database, "dead-letter", "list", "--json").json == []
    [mail] = bury(database, 1)
    [fax] = bury(database, 1, job="fax")
    said = done(database, "dead-letter", "list").out
    assert said.index("fax") < said.index("mail_queue"), "the latest is first"
    assert f"ValueError: order {mail} is bad" in said

    def listed(*flags: str) -> list[int]:
        found = done(database, "dead-letter", "list", "--json", *flags).json
        return [each["id"] for each in found]

    assert listed() == [fax, mail]
    assert listed("--limit", "1") == [fax]
    assert listed("--job", "mail") == [mail]
    assert listed("--queue", "fax_queue") == [fax]
    assert listed("--since", "1 hour") == [fax, mail]
    assert listed("--before", "1 hour") == []
    done(database, "dead-letter", "replay", fax)
    assert listed("--not-replayed") == [mail]

    said = done(database, "dead-letter", "show", mail).out
    assert 'args           {"n": 1}' in said
    assert f"  ValueError: order {mail} is bad\n  | Traceback:\n  |   in mail\n" in said
    shown = done(database, "dead-letter", "show", mail, "--json").json
    assert shown["id"] == mail
    assert shown["errors"][0]["traceback"] == "Traceback:\n  in mail"
    assert f"there is no dead letter {fax + 1};" in refused(
        database, 17, "dead-letter", "show", fax + 1
    )


def test_since_takes_times_and_durations(database: str) -> None:
    [old, new] = bury(database, 2)
    rows(
        database,
        "update soniq.dead_letter_jobs set dead_at = '2026-01-02 03:00+00' where id = %s",
        old,
    )

    def since(text: str) -> list[int]:
        found = done(database, "dead-letter", "list", "--json", "--since", text).json
        return sorted(each["id"] for each in found)

    assert since("2026-01-02") == [old, new]
    assert since("2026-01-02T03:00Z") == [old, new]
    assert since("2026-01-02 03:00:01") == [new]
    assert since("2026-01-02T03:30:00+01:00") == [old, new]
    assert since("2 hours") == [new]
    assert since("2000 years") == [old, new]

    for bad in ("soon", "2026-13-01", "99999999 years", ""):
        said = refused(database, 2, "dead-letter", "list", "--since", bad)
        assert f"Invalid value for --since: {bad!r} is no time" in said
        assert "as in 2026-11-25T08:00:00+01:00, or how long ago it was, as in '2 hours'" in said
    for future in ("9999-01-01", "-2 hours"):
        said = refused(database, 2, "dead-letter", "list", f"--since={future}")
        assert f"{future!r} lies in the future" in said


def test_replaying(database: str) -> None:
    mail = bury(database, 3)
    fax = bury(database, 2, job="fax")
    assert done(database, "dead-letter", "replay", *mail[:2]).out == "2 dead letters replayed\n"
    assert jobs(database) == mail[:2]
    # Who chooses a crowd means those that wait; who names one means it.
    assert (
        done(database, "dead-letter", "replay", "--job", "mail").out == "1 dead letter replayed\n"
    )
    assert jobs(database) == mail
    assert (
        done(database, "dead-letter", "replay", mail[0], mail[0]).out == "1 dead letter replayed\n"
    )
    assert jobs(database) == [*mail, mail[0]]
    told = done(database, "dead-letter", "replay", "--queue", "fax_queue", "--json").json
    assert told["action"] == "replay"
    assert told["count"] == 2
    assert [each["dead_letter_id"] for each in told["dead_letters"]] == fax
    assert rows(
        database,
        "select array_agg(id order by id) from soniq.jobs where job_name = 'fax'",
    ) == [([each["job_id"] for each in told["dead_letters"]],)]
    assert done(database, "dead-letter", "replay", "--all").out == "0 dead letters replayed\n"


def test_choosing_by_time_and_number(database: str) -> None:
    ids = bury(database, 6)
    [oldest, old, *_] = ids
    for letter, age in ((oldest, "3 days"), (old, "2 days")):
        rows(
            database,
            "update soniq.dead_letter_jobs set dead_at = now() - %s::interval where id = %s",
            *(age, letter),
        )

    def would_be_replayed(*flags: str) -> list[int]:
        told = done(database, "dead-letter", "replay", "--dry-run", "--json", *flags).json
        assert told["count"] == len(told["sample"]) == sum(each["count"] for each in told["causes"])
        return sorted(each["id"] for each in told["sample"])

    assert would_be_replayed("--before", "1 day") == [oldest, old]
    assert would_be_replayed("--since", "60 hours", "--before", "1 day") == [old]
    assert would_be_replayed("--since", "60 hours", "--limit", "2") == ids[1:3]
    assert would_be_replayed("--all", "--limit", "3") == ids[:3]
    assert would_be_replayed("--all", "--limit", "100") == ids

    # Nobody has to confirm so few of so many, and one call after another comes to the next.
    for first in (0, 2, 4):
        said = done(database, "dead-letter", "replay", "--all", "--limit", "2").out
        assert said == "2 dead letters replayed\n"
        assert jobs(database) == ids[: first + 2]
    assert would_be_replayed("--all") == []
    # Those that are named are replayed again, also in number.
    done(database, "dead-letter", "replay", "--limit", "1", ids[5], ids[4])
    assert jobs(database) == [*ids, ids[4]]

    told = done(
        database, "dead-letter", "delete", "--before", "1 day", "--limit", "1", "--json"
    ).json
    assert told["dead_letters"] == [deleted(oldest)]
    said = done(database, "dead-letter", "prune", "--older-than", "0 s", "--limit", "1").out
    assert said == "1 dead letter deleted\n"
    assert [each[0] for each in letters(database)] == ids[2:]
    exported = done(database, "dead-letter", "export", "--before", "1 day").out
    assert exported == ""

    for verb in ("replay", "delete"):
        said = refused(
            database, 17, "dead-letter", verb, "--since", "1 hour", "--before", "2 hours"
        )
        assert "since is later than before: 20" in said
        assert "Give as since the beginning of a time" in said
        said = refused(database, 2, "dead-letter", verb, "--all", "--before", "1 hour")
        assert "--all is given, and a part of it: leave out either --all, or --before" in said
        said = refused(database, 2, "dead-letter", verb, "--before", "soon")
        assert "Invalid value for --before: 'soon' is no time" in said
        said = refused(database, 2, "dead-letter", verb, "--limit", "3")
        assert "no dead letters are selected" in said
        said = refused(database, 2, "dead-letter", verb, "--all", "--limit", "0")
        assert "0 is not in the range 1<=x<=2147483647" in said


def test_a_dry_run_changes_nothing(database: str) -> None:
    mail = bury(database, 12)
    fax = bury(database, 1, job="fax", error="no tone")
    for verb, past in (("replay", "replayed"), ("delete", "deleted")):
        said = done(database, "dead-letter", verb, "--all", "--dry-run").out
        assert said.startswith(f"13 dead letters would be {past}; nothing was changed\n")
        assert f"      12  mail  permanent_failure: ValueError: order {mail[0]} is bad\n" in said
        assert "       1  fax  permanent_failure: ValueError: no tone\n" in said
        assert said.endswith("... and 3 more\n")
    said = done(database, "dead-letter", "prune", "--older-than", "0 s", "--dry-run").out
    assert said.startswith("13 dead letters would be deleted")
    told = done(database, "dead-letter", "replay", "--all", "--dry-run", "--json").json
    assert (told["action"], told["dry_run"], told["count"]) == ("replay", True, 13)
    assert [each["count"] for each in told["causes"]] == [12, 1]
    assert len(told["sample"]) == 10
    assert letters(database) == [(each, 0) for each in sorted(mail + fax)]
    assert jobs(database) == []


def deleted(letter_id: int) -> dict[str, Any]:
    """What is told of a dead letter of the job mail that was deleted."""
    return {"dead_letter_id": letter_id, "job_name": "mail", "queue": "mail_queue"}


def test_deleting_and_pruning(database: str) -> None:
    [old, *mail] = bury(database, 4)
    rows(
        database,
        "update soniq.dead_letter_jobs set dead_at = now() - interval '31 days' where id = %s",
        old,
    )
    assert done(database, "dead-letter", "prune", "--older-than", "32 days").out.startswith("0 ")
    assert (
        done(database, "dead-letter", "prune", "--older-than", "30 days", "--job", "x").out[0]
        == "0"
    )
    said = done(database, "dead-letter", "prune", "--older-than", "30 days").out
    assert said == "1 dead letter deleted\n"
    assert [each[0] for each in letters(database)] == mail
    told = done(database, "dead-letter", "delete", mail[0], "--json").json
    assert told["dead_letters"] == [deleted(mail[0])]
    done(database, "dead-letter", "delete", "--all")
    assert letters(database) == []
    said = refused(database, 2, "dead-letter", "prune", "--older-than", "long")
    assert "Invalid value for --older-than: 'long' is no time" in said
    assert "Missing option '--older-than'" in refused(database, 2, "dead-letter", "prune")


# Of three letters: `old`, of mail, three days ago; `mail`; and `fax`. What is chosen of them is told in this order.
CHOICES = [
    (("--all",), ["old", "mail", "fax"]),
    (("--job", "mail"), ["old", "mail"]),
    (("--queue", "fax_queue"), ["fax"]),
    (("--since", "1 day"), ["mail", "fax"]),
    (("--since", "4 days", "--job", "mail"), ["old", "mail"]),
    (("--since", "1 day", "--queue", "mail_queue"), ["mail"]),
    (("--job", "letter"), []),
]


def bury_three(url: str) -> dict[str, int]:
    [old, mail] = bury(url, 2)
    [fax] = bury(url, 1, job="fax")
    rows(
        url,
        "update soniq.dead_letter_jobs set dead_at = now() - interval '3 days' where id = %s",
        old,
    )
    return {"old": old, "mail": mail, "fax": fax}


@pytest.mark.parametrize("command", [("delete",), ("prune", "--older-than", "0 s")])
@pytest.mark.parametrize(("options", "chosen"), CHOICES)
def test_deleting_what_is_chosen(
    database: str, command: tuple[str, ...], options: tuple[str, ...], chosen: list[str]
) -> None:
    ids = bury_three(database)
    told = done(database, "dead-letter", *command, *options, "--json").json
    gone = [ids[name] for name in chosen]
    assert [each["dead_letter_id"] for each in told["dead_letters"]] == gone
    assert letters(database) == [(each, 0) for each in ids.values() if each not in gone]


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        *CHOICES,
        ((), ["old", "mail", "fax"]),
        (("--before", "1 day"), ["old"]),
    ],
)
@pytest.mark.parametrize("how", ["csv", "jsonl"])
def test_exporting_what_is_chosen(
    database: str, options: tuple[str, ...], chosen: list[str], how: str
) -> None:
    ids = bury_three(database)
    told = done(database, "dead-letter", "export", "--format", how, *options).out
    exported = (
        [int(each["id"]) for each in csv.DictReader(io.StringIO(told))]
        if how == "csv"
        else [json.loads(line)["id"] for line in told.splitlines()]
    )
    assert exported == [ids[name] for name in chosen]


def test_exporting_by_id(database: str) -> None:
    ids = bury_three(database)
    lines = done(database, "dead-letter", "export", ids["fax"], ids["old"]).out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [ids["old"], ids["fax"]]
    said = refused(database, 17, "dead-letter", "export", ids["fax"] + 1)
    assert f"there is no dead letter {ids['fax'] + 1};" in said
    said = refused(database, 2, "dead-letter", "export", "--all", "--queue", "fax_queue")
    assert "leave out either --all, or --queue" in said


def test_pruning_all_or_a_part(database: str) -> None:
    ids = bury_three(database)
    prune = ("dead-letter", "prune", "--older-than", "1 day")
    said = refused(database, 2, *prune, "--all", "--job", "mail", "--since", "9 days")
    assert "--all is given, and a part of it: leave out either --all, or --job and --since" in said
    said = refused(database, 17, *prune, "--since", "1 hour")
    assert "since is later than before: 20" in said
    assert len(letters(database)) == 3
    told = done(database, *prune, "--all", "--json").json
    assert told["dead_letters"] == [deleted(ids["old"])]


def test_a_dry_run_of_an_export_writes_nothing(database: str, tmp_path: Path) -> None:
    mail = bury(database, 12)
    bury(database, 1, job="fax", error="no tone")
    file = tmp_path / "letters"
    file.write_text("kept")
    said = done(database, "dead-letter", "export", "--dry-run", "--output", file).out
    assert said.startswith("13 dead letters would be exported; nothing was changed\n")
    assert f"      12  mail  permanent_failure: ValueError: order {mail[0]} is bad\n" in said
    assert said.endswith("... and 3 more\n")
    assert file.read_text() == "kept"
    said = done(database, "dead-letter", "export", "--job", "fax", "--dry-run").out
    assert said.startswith("1 dead letter would be exported")


@pytest.mark.parametrize("verb", ["replay", "delete"])
def test_bad_selections(database: str, verb: str) -> None:
    [letter] = bury(database, 1)
    said = refused(database, 2, "dead-letter", verb)
    assert (
        "no dead letters are selected: give ids, --job, --queue, --since, --before, or --all"
        in said
    )
    said = refused(database, 2, "dead-letter", verb, "--all", letter)
    assert "leave out either --all, or the ids" in said
    said = refused(database, 17, "dead-letter", verb, letter, letter + 5, letter + 3)
    assert f"there is no dead letter {letter + 3}, {letter + 5};" in said
    assert "`soniq dead-letter list` tells which there are" in said
    assert "'seven' is not a valid integer" in refused(database, 2, "dead-letter", verb, "seven")
    said = refused(database, 2, "dead-letter", verb, 2**63)
    assert f"{2**63} is not in the range 1<=x<={2**63 - 1}" in said
    assert letters(database) == [(letter, 0)]


def test_five_or_more_are_not_taken_where_nobody_can_confirm(database: str) -> None:
    mail = bury(database, 5)
    said = refused(database, 18, "dead-letter", "replay", *mail)
    assert said == (
        "soniq: 5 dead letters would be replayed, and there is no terminal to ask at; nothing was"
        " changed: add --yes to replay them, or --dry-run to look at them first"
    )
    for arguments in (("delete", "--all"), ("prune", "--older-than", "0 s")):
        said = refused(database, 18, "dead-letter", *arguments)
        assert "5 dead letters would be deleted, and there is no terminal" in said
        assert "add --yes to delete them" in said
    assert letters(database) == [(each, 0) for each in mail]
    assert done(database, "dead-letter", "replay", *mail[:4]).out == "4 dead letters replayed\n"
    assert done(database, "dead-letter", "delete", "--all", "--yes").out.startswith("5 ")
    assert letters(database) == []


def test_the_prompt_names_the_errors_first(database: str) -> None:
    mail = bury(database, 5)
    bury(database, 1, job="fax", error="no tone")
    prompt = (
        f"6 dead letters in {database} would be replayed:\n"
        f"       5  mail  permanent_failure: ValueError: order {mail[0]} is bad\n"
        "       1  fax  permanent_failure: ValueError: no tone\n"
        "Replay 6 dead letters? [y/N]:"
    )
    for keys in ("n\n", "\n", "\x04", "\x03"):
        code, shown = at_terminal(database, keys, "dead-letter", "replay", "--all")
        assert prompt in shown
        assert code == 18
        assert "soniq: not confirmed: no dead letter was replayed" in shown
    assert jobs(database) == []
    code, shown = at_terminal(database, "y\n", "dead-letter", "replay", "--all")
    assert prompt in shown
    assert code == 0
    assert shown.endswith("6 dead letters replayed\n")
    assert len(jobs(database)) == 6


@pytest.mark.parametrize("command", [("delete", "--all"), ("prune", "--older-than", "0 s")])
def test_the_prompt_before_deleting(database: str, command: tuple[str, ...]) -> None:
    mail = bury(database, 5)
    prompt = (
        f"5 dead letters in {database} would be deleted:\n"
        f"       5  mail  permanent_failure: ValueError: order {mail[0]} is bad\n"
        "Delete 5 dead letters? [y/N]:"
    )
    code, shown = at_terminal(database, "n\n", "dead-letter", *command)
    assert prompt in shown
    assert code == 18
    assert "soniq: not confirmed: no dead letter was deleted" in shown
    assert letters(database) == [(each, 0) for each in mail]
    code, shown = at_terminal(database, "", "dead-letter", *command, "--dry-run")
    assert (code, "[y/N]" in shown) == (0, False)
    code, shown = at_terminal(database, "y\n", "dead-letter", *command)
    assert prompt in shown
    assert code == 0
    assert shown.endswith("5 dead letters deleted\n")
    assert letters(database) == []


def test_deleting_many_shows_a_progress_bar(database: str) -> None:
    bury(database, 1500)
    code, shown = at_terminal(database, "", "dead-letter", "delete", "--all", "--yes")
    assert code == 0
    assert "Delete dead letters" in shown
    assert "100%" in shown
    assert shown.endswith("1500 dead letters deleted\n")
    assert letters(database) == []


def test_exporting_many_to_a_file_shows_a_progress_bar(database: str, tmp_path: Path) -> None:
    bury(database, 1550)
    file = tmp_path / "letters"
    export = ("dead-letter", "export", "--output", file)
    code, shown = at_terminal(database, "", *export)
    assert code == 0
    assert "Export dead letters" in shown
    assert "100%" in shown
    assert shown.endswith(f"1550 dead letters written to {file}\n")
    assert file.read_text(encoding="utf-8").count("\n") == 1550
    assert done(database, *export).err == f"1550 dead letters written to {file}\n"
    # It would run into the letters, where they come to the terminal too.
    code, shown = at_terminal(database, "", "dead-letter", "export")
    assert (code, "Export dead letters" in shown) == (0, False)
    # What is soon done needs none.
    code, shown = at_terminal(database, "", *export, "--since", "0 s")
    assert (code, shown) == (0, f"0 dead letters written to {file}\n")


def test_many_are_taken_in_batches_under_a_progress_bar(database: str) -> None:
    ids = bury(database, 2500)
    code, shown = at_terminal(database, "", "dead-letter", "replay", "--all", "--yes")
    assert code == 0
    assert "Replay dead letters" in shown
    assert "100%" in shown
    assert shown.endswith("2500 dead letters replayed\n")
    assert letters(database) == [(each, 1) for each in ids]
    assert rows(database, "select count(distinct enqueued_at) from soniq.jobs") == [(3,)]
    silent = done(database, "dead-letter", "delete", "--all", "--yes")
    assert (silent.out, silent.err) == ("2500 dead letters deleted\n", "")


def test_a_limit_above_a_batch_is_kept(database: str) -> None:
    ids = bury(database, 1500)
    said = done(database, "dead-letter", "replay", *ids, "--limit", "1200", "--yes").out
    assert said == "1200 dead letters replayed\n"
    said = done(database, "dead-letter", "replay", "--all", "--limit", "1200", "--yes").out
    assert said == "300 dead letters replayed\n"
    assert letters(database) == [(each, 1) for each in ids]


def test_what_stops_midway_says_how_far_it_came(database: str) -> None:
    ids = bury(database, 1500)
    rows(
        database,
        "create function fail_late() returns trigger language plpgsql as"
        " $$ begin raise 'disk full' using hint = 'Make room.'; end $$",
    )
    rows(
        database,
        "create trigger fail_late before update on soniq.dead_letter_jobs for each row"
        " when (new.args ? 'bad') execute function fail_late()",
    )
    rows(
        database,
        "alter table soniq.dead_letter_jobs disable trigger fail_late",
    )
    rows(
        database,
        """update soniq.dead_letter_jobs set args = '{"bad": 1}' where id = %s""",
        ids[1200],
    )
    rows(database, "alter table soniq.dead_letter_jobs enable trigger fail_late")
    finished = soniq(database, "dead-letter", "replay", "--all", "--yes")
    assert finished.code == 17
    assert finished.err == (
        "soniq: stopped, with 1000 dead letters replayed\nsoniq: disk full; Make room.\n"
    )
    assert letters(database) == [(each, 1) for each in ids[:1000]] + [
        (each, 0) for each in ids[1000:]
    ]


def test_an_error_cannot_play_with_the_terminal(database: str) -> None:
    [letter] = bury(database, 1, error="\x1b[2Jgone")
    for command in (("list",), ("show", letter), ("replay", "--all", "--dry-run")):
        _, shown = at_terminal(database, "", "dead-letter", *command)
        assert "\\x1b[2Jgone" in shown
        assert "\x1b[2J" not in shown


def test_args_that_python_cannot_read_are_shown_as_text(database: str) -> None:
    [letter] = bury(database, 1)
    args = '{"n": ' + "9" * 5000 + "}"
    rows(database, "update soniq.dead_letter_jobs set args = %s where id = %s", args, letter)
    assert args in done(database, "dead-letter", "show", letter).out
    assert done(database, "dead-letter", "export").json["args"] == args


def test_two_at_once_replay_each_letter_once(database: str) -> None:
    ids = bury(database, 3000)
    started = [start(database, "dead-letter", "replay", "--all", "--yes") for _ in range(3)]
    counts = [int(finish(process).out.split()[0]) for process in started]
    assert sum(counts) == 3000
    assert letters(database) == [(each, 1) for each in ids]


def test_exporting(database: str, tmp_path: Path) -> None:
    mail = bury(database, 2, error='a "quoted", ☃ order %')
    bury(database, 1, job="fax")
    lines = done(database, "dead-letter", "export", "--job", "mail").out.splitlines()
    first, second = map(json.loads, lines)
    assert [first["id"], second["id"]] == mail
    assert first["args"] == {"n": 1}
    assert first["errors"][0]["message"] == f'a "quoted", ☃ order {mail[0]}'
    assert first["dead_at"].endswith("+00:00")

    file = tmp_path / "letters.csv"
    finished = done(database, "dead-letter", "export", "--format", "csv", "--output", file)
    assert finished.out == ""
    assert finished.err == f"3 dead letters written to {file}\n"
    table = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
    assert [int(each["id"]) for each in table][:2] == mail
    assert json.loads(table[0]["errors"]) == first["errors"]
    assert table[0]["schedule"] == ""

    said = refused(database, 1, "dead-letter", "export", "--output", tmp_path / "no" / "file")
    assert f"cannot write {tmp_path}/no/file: No such file or directory; give another" in said
    said = refused(database, 2, "dead-letter", "export", "--format", "xml")
    assert "'xml' is not one of 'csv', 'jsonl'" in said


def test_an_export_is_not_all_in_memory(database: str) -> None:
    bury(database, 1, error="x")
    rows(
        database,
        """
        insert into soniq.dead_letter_jobs (
          id, job_name, queue, priority, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout, errors,
          reason, dead_at
        )
        select
          1000 + n, job_name, queue, priority, args, scheduled_at, enqueued_at, attempt, max_attempts, timeout,
          jsonb_build_array(jsonb_build_object('message', repeat(md5(n::text), 500))), reason, dead_at
        from soniq.dead_letter_jobs
        cross join generate_series(1, 8000) as n
        """,
    )
    process = start(database, "dead-letter", "export")
    assert process.stdout is not None
    for _ in range(7000):
        assert process.stdout.readline()
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    [peak] = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
    out = finish(process).out
    assert out.count("\n") == 1001
    # 128 MB went through it.
    assert peak < 90_000, f"{peak} kB"


def test_an_export_that_nobody_reads_on_ends_quietly(database: str) -> None:
    bury(database, 3000)
    process = start(database, "dead-letter", "export")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(30) in (0, 1)


def test_through_a_pooler(server: Server, database: str) -> None:
    ids = bury(database, 1200)
    name = str(psycopg.conninfo.conninfo_to_dict(database)["dbname"])
    with throwaway_pgbouncer(server, pool_size=2) as bouncer:
        url = bouncer.url(name)
        assert done(url, "dead-letter", "show", ids[0], "--json").json["args"] == {"n": 1}
        assert done(url, "dead-letter", "export").out.count("\n") == 1200
        said = done(url, "dead-letter", "replay", "--since", "1 day", "--yes").out
        assert said == "1200 dead letters replayed\n"
        assert done(url, "status", "--json").json["dead_letters"] == 0
