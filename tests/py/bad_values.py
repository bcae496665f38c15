"""Values that hurt, and values that do not, for every type that a public function of Soniq takes.

A value is the text of a literal, to be cast to its type. Some cannot be read as it; it is PostgreSQL
that refuses those, before the function is entered.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

LONG = 2**20
DEPTH = 3000


@dataclass(frozen=True)
class Value:
    """A literal's text; None is NULL."""

    text: str | None

    def __repr__(self) -> str:
        if self.text is None:
            return "NULL"
        if len(self.text) > 200:
            return f"{self.text[:60]!r}...({len(self.text)} characters)"
        return repr(self.text)


def array_of(values: Iterable[str | None]) -> str:
    """The literal of a one-dimensional array."""
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: str | None) -> str:
    if value is None:
        return "NULL"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _arrays_of(tame: str, bad: Iterable[str | None]) -> list[str | None]:
    element = _element(tame)
    return [
        None,
        "{}",
        f"{{{element}}}",
        f"{{{element},{element},{element}}}",
        f"{{{{{element},{element}}}}}",
        f"{{{{{element}}},{{{element}}}}}",
        f"[5:6]={{{element},{element}}}",
        f"[-1:0]={{{element},{element}}}",
        f"[0:0]={{{element}}}",
        array_of([tame] * 2000),
        "{NULL}",
        array_of([None, tame]),
        *(array_of([tame, value]) for value in bad),
    ]


TAME = {
    "bigint": "1",
    "integer": "1",
    "text": "some",
    "boolean": "true",
    "interval": "1 minute",
    "timestamp with time zone": "2030-01-01 12:00+00",
    "jsonb": '{"some": 1}',
}
_BAD: dict[str, list[str | None]] = {
    "bigint": [
        None,
        *map(str, (0, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**63)),
    ],
    "integer": [None, *map(str, (0, -1, 2, 1000, 1001, 32768, 2**31 - 1, -(2**31), 2**31))],
    "text": [
        None,
        "",
        " ",
        "\t",
        " some",
        "some\n",
        "'",
        '"',
        "'; drop table soniq.jobs; --",
        "$$",
        "%",
        "%s %I %L %n",
        "\\",
        "\\x00",
        "{NULL}",
        "null",
        "a\u0001b",
        "a\u007fb",
        "a\u009fb",
        "\u202eemos\u202c",
        "so\u200bme",
        "\ufeffsome",
        "\uffff",
        "\U0010ffff",
        "e\u0301",
        "\U0001f9a6" * 100,
        "n" * 100,
        "n" * 101,
        "n" * 8000,
        "n" * LONG,
        "".join(chr(0x4E00 + number % 20000) for number in range(LONG // 3)),
    ],
    "boolean": [None, "false"],
    "interval": [
        None,
        "0",
        "1 microsecond",
        "-1 microsecond",
        "-1 second",
        "1 month",
        "1 month -30 days",
        "-1 month 40 days",
        "-1 month 30 days 1 second",
        "1 year -364 days",
        "100 years",
        "99 years 11 months 30 days",
        "100 years 1 microsecond",
        "178000000 years",
        "-178000000 years",
        "178956970 years 7 months",
        "-178956970 years -8 months",
        "2147483647 days",
        "-2147483648 days",
        "178956970 years -2147483648 days",
        "-178956970 years 2147483647 days",
        "100 years -36000 days",
        "-1200 months 36000 days 1 second",
        "2562047788:00:54.775807",
        "-2562047788:00:54.775808",
        "2147483647 days -2562047788:00:54.775808",
        "178956970 years 7 months 2147483647 days 2562047788:00:54.775807",
        "infinity",
    ],
    "timestamp with time zone": [
        None,
        "infinity",
        "-infinity",
        "epoch",
        "4714-11-24 00:00+00 BC",
        "0001-12-31 00:00+00 BC",
        "0001-01-01 00:00+00",
        "9999-12-31 23:59:59.999999+00",
        "10000-01-01 00:00+00",
        "294276-12-31 23:59:59.999999+00",
        "294277-01-01 00:00+00",
        "2030-03-31 02:30 Europe/Berlin",
    ],
    "jsonb": [
        None,
        "null",
        "true",
        "1",
        '"some"',
        "[]",
        "{}",
        "[{}]",
        '{"": null}',
        '{"some": 1e400}',
        "1e400",
        '{"some": 1e-400, "other": -0.0}',
        '{"some": 1e131071}',
        '{"some": 1e131072}',
        '{"some": ' + "9" * 100_000 + "}",
        '{"some": NaN}',
        '{"some": "\\u0000"}',
        '{"some": "\\ud800"}',
        '{"some": "\\udc00\\ud800"}',
        '{"some": "\\ud83e\\udda6"}',
        '{"\\u202e": "\\u0001"}',
        '{"some": ' + "[" * DEPTH + "]" * DEPTH + "}",
        '{"some":' * DEPTH + "1" + "}" * DEPTH,
        '{"some": ' + "[" * 100_000 + "]" * 100_000 + "}",
        json.dumps({str(number): number for number in range(5000)}),
        json.dumps({"some": "n" * 8192}),
        json.dumps({"some": "n" * LONG}),
        json.dumps({"n" * LONG: 1}),
        '{"type": null, "message": null, "traceback": null}',
        '{"type": 1, "message": [], "traceback": {}}',
        json.dumps({"type": "n" * 10000, "message": "m" * LONG, "traceback": "t" * LONG}),
        json.dumps({"type": "a\u0001", "message": "\u202e%s", "traceback": "\n" * 40000}),
    ],
}
TAME |= {f"{type_}[]": array_of([value] * 2) for type_, value in TAME.items()}
_BAD |= {f"{type_}[]": _arrays_of(TAME[type_], values) for type_, values in _BAD.items()}
_BAD["text"] += [
    # For the arguments in which a text is read: cron expressions, time zones, choices.
    "* * * * *",
    "0 0 30 2 *",
    "0 0 29 2 1",
    "60 24 32 13 8",
    "*/0 * * * *",
    "5-1 * * * *",
    "-1 * * * *",
    "1-2-3 * * * *",
    "1, * * * *",
    "99999999999999999999 * * * *",
    "*/99999999999999999999 * * * *",
    "0-59/2147483648 * * * *",
    "\u0661 * * * *",
    "* * * * * *",
    "@reboot",
    "@DAILY",
    ",".join(["0"] * 5000) + " * * * *",
    "UTC",
    "Nowhere/Else",
    "+99",
    "XYZ-167:59:59",
    "XYZ+200",
    "<\u202e>5",
    "EST5EDT,M3.2.0,M11.1.0",
    "../../etc/passwd",
    "exponential",
    "fixed",
    "run_once",
    "run_all",
    "timeout",
    "permanent_failure",
]
BAD = {type_: [Value(text) for text in dict.fromkeys(values)] for type_, values in _BAD.items()}
