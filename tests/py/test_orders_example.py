"""The orders example in its parts: the file, the flaky endpoint, and the shop's code that meets both."""

import csv
import json
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import flaky_endpoint
import make_orders
import pytest
import shop
from soniq import PermanentFailure, Snooze

EXAMPLE = Path(make_orders.__file__).parent
SEED = 1


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    csv.field_size_limit(10_000_000)
    with (EXAMPLE / "orders.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def warehouse(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, EXAMPLE / "flaky_endpoint.py", "--seed", str(SEED)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process, process.stdout:
        address = process.stdout.readline().strip()
        monkeypatch.setenv("ORDERS_WAREHOUSE", address)
        yield urlsplit(address).netloc
        process.terminate()


def request(
    netloc: str, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[HTTPResponse, dict[str, object]]:
    connection = HTTPConnection(netloc, timeout=10)
    try:
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        return response, json.loads(response.read())
    finally:
        connection.close()


def order_that_meets(mood: str) -> int:
    """An order whose first announcement meets this mood, and whose second is taken well."""
    return next(
        order_id
        for order_id in range(1, 100_000)
        if flaky_endpoint.mood(SEED, str(order_id), 1) == mood
        and flaky_endpoint.mood(SEED, str(order_id), 2) == "well"
    )


def test_the_committed_file_is_what_its_maker_writes() -> None:
    assert (EXAMPLE / "orders.csv").read_bytes() == make_orders.as_csv().encode()


def test_another_seed_makes_another_file() -> None:
    assert make_orders.as_csv(seed=1, count=50) != make_orders.as_csv(seed=2, count=50)
    assert make_orders.as_csv(seed=1, count=50) == make_orders.as_csv(seed=1, count=50)


def test_the_file_has_the_dirt_of_real_files(rows: list[dict[str, str]]) -> None:
    names = "".join(row["customer"] for row in rows)
    notes = [row["note"] for row in rows]
    assert (EXAMPLE / "orders.csv").stat().st_size < 1_000_000
    assert len({row["order_id"] for row in rows}) == 2000 < len(rows)
    assert {"", "n/a", "-"} < {row["email"].strip() for row in rows}
    assert any(Decimal(row["total"]) < 0 for row in rows)
    assert any(row["total"] != row["total"].strip() for row in rows)
    assert {"R", "AL"} < {unicodedata.bidirectional(letter) for letter in names}
    assert any(unicodedata.combining(letter) for letter in names)
    assert "\N{WOMAN}\N{ZERO WIDTH JOINER}\N{ROCKET}" in names
    assert any('"' in note for note in notes)
    assert any("\n" in note for note in notes)
    assert max(len(note.encode()) for note in notes) >= 300_000


def test_the_endpoint_accepts_each_key_once(warehouse: str) -> None:
    order_id = order_that_meets("well")
    for _ in range(3):
        response, answer = request(
            warehouse, "POST", f"/orders/{order_id}", b"{}", Idempotency_Key="one"
        )
        assert (response.status, answer) == (201, {"receipt": f"W{order_id}"})
    _, stats = request(warehouse, "GET", "/stats")
    assert stats == {"calls": 3, "answers": {"well": 3}, "accepted": 1, "repeats": 2}


def test_the_endpoint_counts_right_under_concurrent_calls(warehouse: str) -> None:
    def announce(order_id: int) -> None:
        request(warehouse, "POST", f"/orders/{order_id}", b"{}", Idempotency_Key=f"{order_id}")

    calm = [n for n in range(1, 200) if flaky_endpoint.mood(SEED, str(n), 1) == "well"]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(announce, calm))
    _, stats = request(warehouse, "GET", "/stats")
    assert stats["calls"] == stats["accepted"] == len(calm)


@pytest.mark.parametrize(
    ("method", "path", "status", "remedy"),
    [
        ("POST", "/orders/1", 400, "with an Idempotency-Key"),
        ("GET", "/orders/1", 404, "GET /stats"),
    ],
)
def test_the_endpoint_tells_how_to_use_it(
    warehouse: str, method: str, path: str, status: int, remedy: str
) -> None:
    response, answer = request(warehouse, method, path)
    assert response.status == status
    assert remedy in str(answer["error"])


def test_every_mood_passes() -> None:
    orders = [str(order_id) for order_id in range(1, 3000)]
    first = {flaky_endpoint.mood(SEED, order_id, 1) for order_id in orders}
    third = {flaky_endpoint.mood(SEED, order_id, 3) for order_id in orders}
    assert first == {"well", "busy", "broken", "late"}
    assert third == {"well"}


def test_429_snoozes_for_as_long_as_the_warehouse_asks(warehouse: str) -> None:
    order_id = order_that_meets("busy")
    with pytest.raises(Snooze) as snooze:
        shop.tell_warehouse(order_id, {"note": ""}, {})
    assert snooze.value.delay.total_seconds() == flaky_endpoint.RETRY_AFTER
    assert shop.tell_warehouse(order_id, {"note": ""}, {}) == f"W{order_id}"


def test_500_is_an_error_to_retry(warehouse: str) -> None:
    order_id = order_that_meets("broken")
    with pytest.raises(shop.WarehouseError, match="answered 500: the conveyor belt is stuck"):
        shop.tell_warehouse(order_id, {"note": ""}, {})
    assert shop.tell_warehouse(order_id, {"note": ""}, {}) == f"W{order_id}"


def test_a_late_answer_times_out_and_the_repeat_counts_once(warehouse: str) -> None:
    order_id = order_that_meets("late")
    with pytest.raises(TimeoutError):
        shop.tell_warehouse(order_id, {"note": ""}, {})
    assert shop.tell_warehouse(order_id, {"note": ""}, {}) == f"W{order_id}"
    _, stats = request(warehouse, "GET", "/stats")
    assert (stats["accepted"], stats["repeats"]) == (1, 1)


def test_413_is_permanent_and_says_what_to_do(warehouse: str) -> None:
    with pytest.raises(PermanentFailure, match=r"order 7: \d+ bytes, 100000 .*shorten the note"):
        shop.tell_warehouse(7, {"note": "x" * 100_000}, {})


def test_an_invoice_written_twice_is_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORDERS_INVOICES", str(tmp_path))
    for name in ("Ada", *make_orders.ODD_NAMES):
        order = shop.Order(
            order_id=1, customer=name, email=None, total=Decimal("9.90"), note="tab\tnew\nline"
        )
        shop.write_invoice(order, "post")
        assert [path.name for path in tmp_path.iterdir()] == ["1.txt"]
        text = (tmp_path / "1.txt").read_text(encoding="utf-8")
        assert f"For:   {name}\n" in text
        assert text.endswith("tab\tnew\nline\n")
