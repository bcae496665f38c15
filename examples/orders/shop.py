"""The shop's own code, which the handlers call. Whatever runs twice for an order does no harm."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from soniq import PermanentFailure, Snooze

CLIENT_TIMEOUT = 0.5
THREAD = threading.local()


@dataclass(frozen=True, slots=True)
class Order:
    """A row of orders_demo.orders."""

    order_id: int
    customer: str
    email: str | None
    total: Decimal
    note: str


async def find_order(connection: asyncpg.Connection, order_id: int) -> Order:
    row = await connection.fetchrow(
        "select order_id, customer, email, total, note from orders_demo.orders where order_id = $1",
        order_id,
    )
    if row is None:
        raise PermanentFailure(f"order {order_id} is not in orders_demo.orders: was it deleted?")
    return Order(**row)


async def post(connection: asyncpg.Connection, order: Order, kind: str, job_id: int) -> None:
    await connection.execute(
        """
        insert into orders_demo.ledger as entry (order_id, kind, amount, posted_by_job)
        values ($1, $2, $3, $4)
        on conflict (order_id) do update
        set kind = excluded.kind,
          amount = excluded.amount,
          posted_by_job = excluded.posted_by_job
        """,
        order.order_id,
        kind,
        order.total,
        job_id,
    )


def write_invoice(order: Order, send_to: str) -> str:
    """Writes beside the invoice, then renames: nobody ever sees half an invoice, or two."""
    folder = Path(os.environ["ORDERS_INVOICES"])
    invoice = folder / f"{order.order_id}.txt"
    draft = folder / f"{order.order_id}.{os.getpid()}.draft"
    draft.write_text(
        f"Invoice {order.order_id}\n"
        f"For:   {order.customer}\n"
        f"Via:   {send_to}\n"
        f"Total: {order.total}\n\n"
        f"{order.note}\n",
        encoding="utf-8",
    )
    draft.rename(invoice)
    return invoice.name


@contextmanager
def warehouse_line() -> Iterator[HTTPConnection]:
    """This thread's open line to the warehouse. After any trouble the next call opens a new one."""
    address = urlsplit(os.environ["ORDERS_WAREHOUSE"]).netloc
    lines: dict[str, HTTPConnection] = THREAD.__dict__
    line = lines.setdefault(address, HTTPConnection(address, timeout=CLIENT_TIMEOUT))
    try:
        yield line
    except BaseException:
        del lines[address]
        line.close()
        raise


def tell_warehouse(order_id: int, body: dict[str, str], headers: dict[str, str]) -> str:
    """Announces an order. The idempotency key lets the warehouse see that a repeat is a repeat."""
    with warehouse_line() as line:
        line.request(
            "POST",
            f"/orders/{order_id}",
            json.dumps(body),
            {"Content-Type": "application/json", "Idempotency-Key": f"order-{order_id}", **headers},
        )
        response = line.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
    if response.status == 429:
        raise Snooze(float(response.headers["Retry-After"]))
    if response.status == 413:
        raise PermanentFailure(
            f"the warehouse refuses order {order_id}: {answer['error']}; shorten the note"
        )
    if response.status != 201:
        raise WarehouseError(f"the warehouse answered {response.status}: {answer['error']}")
    return str(answer["receipt"])


class WarehouseError(Exception):
    """The warehouse failed in a way that may pass."""
