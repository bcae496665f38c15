#!/usr/bin/env python3
"""Makes orders.csv: orders of an imaginary shop, with the dirt that real files have.

The same seed makes the same file, byte for byte. What is wrong with it, on purpose: addresses that
are missing or say nothing, refunds as negative totals, the same line twice, spaces around values,
names in every script, quotes, newlines and formulas inside fields, and one customer who pasted a
whole mail thread (300 kB) into the note.
"""

import argparse
import csv
import io
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

COLUMNS = ("order_id", "placed_at", "customer", "email", "total", "note")
SEED = 20260501
ORDERS = 2000
FIRST_ORDER = 10001
LONG_NOTE_BYTES = 300_000

FIRST_NAMES = (
    "Ada", "Alan", "Barbara", "Bjarne", "Donald", "Edsger", "Frances", "Grace", "Hedy", "John",
    "Joséphine", "Katherine", "Linus", "Margaret", "Niklaus", "Radia", "René", "Tony", "Zoë",
    "Øystein",
)  # fmt: skip
LAST_NAMES = (
    "Allen", "Ångström", "Borg", "Dijkstra", "Fernández", "Gödel", "Hamilton", "Hoare", "Hopper",
    "Knuth", "Lamarr", "Liskov", "Lovelace", "Müller", "O'Neil", "Perlman", "Ritchie", "Turing",
    "van Rossum", "Wirth",
)  # fmt: skip
ODD_NAMES = (
    "عمر الخيّام",  # right to left, with a combining shadda
    "דָּוִד בן־גוריון",  # right to left, with points
    "Zoe\u0308 A\u030angstro\u0308m",  # decomposed: letters, then combining marks
    "Z̷̢̛a̶̡l̵g̸o̷",  # more marks than letters
    "李小龍",
    "Nguyễn Thị Hoà",
    "Ελένη Παπαδοπούλου",
    "👩\u200d🚀 Valentina 🇺🇦",  # one glyph of three code points, a flag of two
    'Dwayne "The \U0001faa8" Johnson',
    "\u202egnirts desrever",  # a bidirectional override
)
NOTES = (
    "Please ring twice.",
    'Leave it with "Mrs B", not at the door; she\'s in, usually.',
    "First line\nsecond line\n\nfourth line",
    "Gift wrap 🎁, and a card:\n„Alles Gute!“",
    "=SUM(A1:A9)",
    "C:\\new\\table\tand a tab",
    "'; drop table orders; --",
    '{"not": "json", \'really\': }',
    "اترك الطرد عند الجيران",
    "\\N",
    "NULL",
    "zero\u200bwidth, no\u00a0break, line\u2028separator",
)
NO_ADDRESS = ("", "", "", "   ", "n/a", "-")
WORDS = (
    "Re:", "order", "parcel", "delivered", "yesterday", "neighbour", "again", "please", "invoice",
    "> > >", "wrote:", "café", "naïve", "—", "…", "€ 12,50", "🙂", "ß", "\n", "\n> ",
)  # fmt: skip


def orders(seed: int, count: int) -> Iterator[tuple[str, ...]]:
    """The lines of the file, some of them twice."""
    dice = random.Random(seed)
    opened = datetime(2026, 5, 1, 8, tzinfo=UTC)
    longest = dice.randrange(count)
    for position in range(count):
        opened += timedelta(seconds=dice.randint(1, 900))
        name = customer(dice)
        line = (
            str(FIRST_ORDER + position),
            opened.isoformat(),
            name,
            address(dice, FIRST_ORDER + position),
            total(dice),
            long_note(dice) if position == longest else note(dice),
        )
        yield line
        if dice.random() < 0.006:
            yield line


def customer(dice: random.Random) -> str:
    if dice.random() < 0.02:
        return dice.choice(ODD_NAMES)
    return f"{dice.choice(FIRST_NAMES)} {dice.choice(LAST_NAMES)}"


def address(dice: random.Random, order_id: int) -> str:
    if dice.random() < 0.03:
        return dice.choice(NO_ADDRESS)
    return f"customer{order_id}@shop.example"


def total(dice: random.Random) -> str:
    cents = dice.randint(199, 49_999)
    amount = f"{Decimal(cents) / 100:.2f}"
    if dice.random() < 0.015:
        return f"-{amount}"
    return f" {amount} " if dice.random() < 0.02 else amount


def note(dice: random.Random) -> str:
    return dice.choice(NOTES) if dice.random() < 0.15 else ""


def long_note(dice: random.Random) -> str:
    text = ""
    while len(text.encode()) < LONG_NOTE_BYTES:
        text += " ".join(dice.choices(WORDS, k=500))
    return text


def as_csv(seed: int = SEED, count: int = ORDERS) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(orders(seed, count))
    return text.getvalue()


def main() -> None:
    summary, _, dirt = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(description=summary, epilog=dirt)
    parser.add_argument(
        "--seed", type=int, default=SEED, help="another seed, another file (%(default)s)"
    )
    parser.add_argument("--orders", type=int, default=ORDERS, help="how many orders (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("orders.csv"))
    chosen = parser.parse_args()
    chosen.output.write_text(as_csv(chosen.seed, chosen.orders), encoding="utf-8", newline="")
    print(f"{chosen.output}: {chosen.orders} orders")


if __name__ == "__main__":
    main()
