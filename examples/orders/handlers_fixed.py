"""The same handlers, mended after a look at the dead letters.

Their jobs keep their names, so that a replay runs the mended code.
"""

import asyncio

import shop
from soniq import Job, Soniq

app = Soniq(pool_max_size=12)

LONGEST_NOTE = 10_000


@app.job(name="orders_demo.write_invoice", max_attempts=5, retry_delay=0.1)
async def write_invoice(order_id: int) -> dict[str, str]:
    """An order without an address gets its invoice by post."""
    async with app.connection() as connection:
        order = await shop.find_order(connection, order_id)
    return {"invoice": await asyncio.to_thread(shop.write_invoice, order, order.email or "post")}


@app.job(name="orders_demo.post_to_ledger", max_attempts=5, retry_delay=0.1)
async def post_to_ledger(order_id: int, job: Job) -> None:
    """A negative total is a refund."""
    async with app.connection() as connection:
        order = await shop.find_order(connection, order_id)
        await shop.post(connection, order, "refund" if order.total < 0 else "sale", job.id)


@app.job(
    name="orders_demo.tell_warehouse",
    priority=50,  # before the others, at 100: what the warehouse puts off is due before they are through
    max_attempts=5,
    retry_delay=[0.05, 0.1, 0.2],
)
def tell_warehouse(order_id: int, customer: str, note: str) -> dict[str, str]:
    """The name goes where any script fits, and a note too long to read is cut."""
    body = {"customer": customer, "note": note[:LONGEST_NOTE]}
    return {"receipt": shop.tell_warehouse(order_id, body, {})}
