"""The handlers as the shop first shipped them: right for most orders.

The rest end in the dead letters, each with an error one can act on; handlers_fixed.py acts on them.
"""

import asyncio

import shop
from soniq import Job, PermanentFailure, Soniq

app = Soniq(pool_max_size=12)


@app.job(name="orders_demo.write_invoice", max_attempts=5, retry_delay=0.1)
async def write_invoice(order_id: int) -> dict[str, str]:
    """Async: it waits for the database. What it returns is kept with the finished job."""
    async with app.connection() as connection:
        order = await shop.find_order(connection, order_id)
    if order.email is None:
        raise PermanentFailure(
            f"order {order_id} has no e-mail address to send its invoice to; send it by post"
        )
    return {"invoice": await asyncio.to_thread(shop.write_invoice, order, order.email)}


@app.job(name="orders_demo.post_to_ledger", max_attempts=5, retry_delay=0.1)
async def post_to_ledger(order_id: int, job: Job) -> None:
    """A parameter annotated `Job` gets the job itself."""
    async with app.connection() as connection:
        order = await shop.find_order(connection, order_id)
        if order.total < 0:
            raise PermanentFailure(
                f"order {order_id} has a total of {order.total}: no sale; post it as a refund"
            )
        await shop.post(connection, order, "sale", job.id)


@app.job(
    name="orders_demo.tell_warehouse",
    priority=50,  # before the others, at 100: what the warehouse puts off is due before they are through
    max_attempts=5,
    retry_delay=[0.05, 0.1, 0.2],
)
def tell_warehouse(order_id: int, customer: str, note: str) -> dict[str, str]:
    """Not async: it runs on a thread, so a client that blocks is fine."""
    # A header holds Latin-1 only, which the author of this line did not know.
    return {"receipt": shop.tell_warehouse(order_id, {"note": note}, {"X-Customer": customer})}
