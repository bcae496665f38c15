"""What a person sees. On a terminal with colours and bars; into a pipe, plain lines."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from .books import Books, DeadLetters, Tally

LABEL_WIDTH = 12
# What handlers_fixed.py does about each error.
REMEDIES: Mapping[tuple[str, str], str] = {
    ("orders_demo.write_invoice", "PermanentFailure"): "sends the invoice by post",
    ("orders_demo.post_to_ledger", "PermanentFailure"): "posts a negative total as a refund",
    ("orders_demo.tell_warehouse", "PermanentFailure"): "cuts long notes",
    ("orders_demo.tell_warehouse", "UnicodeEncodeError"): "sends the name in the body, as UTF-8",
}


class Screen:
    """The demo's output."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._console = Console(
            force_terminal=self._is_terminal,
            color_system="auto" if self._is_terminal else None,
            highlight=False,
            soft_wrap=True,
        )
        self._started = time.monotonic()

    def title(self, text: str) -> None:
        """A heading."""
        self._console.print(f"[bold]{escape(text)}[/bold]")

    def line(self, text: str) -> None:
        """An indented line."""
        self._console.print(f"  {escape(text)}")

    @contextmanager
    def step(self, label: str) -> Iterator[Callable[[str], None]]:
        """Names a step while it runs; the caller gives the outcome, and the time it took follows."""
        outcome: list[str] = []
        started = time.monotonic()
        self._console.print(f"  [cyan]{label:<{LABEL_WIDTH}}[/cyan]", end="")
        yield outcome.append
        took = time.monotonic() - started
        self._console.print(f"{escape(' '.join(outcome))} [dim]({took:.1f} s)[/dim]")

    @contextmanager
    def progress(self, totals: Mapping[str, int]) -> Iterator[Callable[[Mapping[str, int]], None]]:
        """Bars for jobs by name; the caller gives how many of each are unfinished."""
        if not self._is_terminal or self._console.is_dumb_terminal:
            yield lambda unfinished: None
            return
        columns: Iterable[Any] = (
            TextColumn("  {task.description:<16}", style="cyan"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
        )
        # Refreshed by the caller: a thread beside a program that forks asks for trouble.
        with Progress(*columns, console=self._console, auto_refresh=False) as bars:
            tasks: dict[str, TaskID] = {
                name: bars.add_task(short(name), total=total) for name, total in totals.items()
            }

            def show(unfinished: Mapping[str, int]) -> None:
                for name, task in tasks.items():
                    bars.update(task, completed=totals[name] - unfinished.get(name, 0))
                bars.refresh()

            yield show

    def note(self, text: str) -> None:
        """Something that happened while bars are shown."""
        self._console.print(f"  [yellow]{escape(text)}[/yellow]")

    def tally(self, jobs: Tally, seconds: float) -> None:
        """What became of the jobs."""
        ended = jobs.done + jobs.dead
        parts = [
            f"{jobs.done:,} done",
            f"{jobs.dead:,} dead letters",
            f"{jobs.retries:,} retries",
            f"{jobs.snoozes:,} snoozes",
        ]
        if jobs.taken_back:
            parts.append(f"{jobs.taken_back:,} taken back from a dead runner")
        self.line(f"{ended:,} jobs in {seconds:.1f} s, {ended / seconds:,.0f} a second")
        self.line(", ".join(parts))

    def dead_letters(self, letters: Iterable[DeadLetters]) -> None:
        """The dead letters by cause, each with what is done about it."""
        for group in letters:
            self._console.print(
                f"  [red]{group.jobs:>4,}[/red]  [cyan]{short(group.job_name)}[/cyan]"
                f"  {group.reason}"
            )
            self.line(f"      {group.error}: {group.example}")
            if remedy := REMEDIES.get((group.job_name, group.error)):
                self._console.print(f"        [green]handlers_fixed.py {escape(remedy)}[/green]")

    def books(self, books: Books, invoices: int, warehouse: Mapping[str, Any]) -> None:
        """The orders against what the handlers made of them."""
        answers = warehouse["answers"]
        self.line(f"orders          {books.orders:>6,}  {books.orders_total:>14,}")
        self.line(
            f"ledger entries  {books.entries:>6,}  {books.ledger_total:>14,}"
            f"  {books.wrong_or_missing} wrong or missing"
        )
        self.line(f"invoices        {invoices:>6,}")
        self.line(
            f"at the warehouse{warehouse['accepted']:>6,}  each once, in {warehouse['calls']:,} calls:"
            f" {answers.get('busy', 0)} answered 429, {answers.get('broken', 0)} 500,"
            f" {answers.get('too large', 0)} 413, {answers.get('late', 0)} too late"
        )

    def trouble(self, message: str) -> None:
        """Why the demo cannot go on; to standard error."""
        print(f"\nscript/demo: {message}", file=sys.stderr)

    def interrupted(self, signal_name: str) -> None:
        """The demo was asked to stop, and has."""
        print(f"\nscript/demo: {signal_name}: everything is stopped", file=sys.stderr)

    def verdict(self, good: bool) -> None:
        """The last word."""
        took = f"{time.monotonic() - self._started:.1f} s"
        if good:
            self._console.print(f"[bold green]The books balance.[/bold green] ({took})")
        else:
            self._console.print(f"[bold red]The books do not balance.[/bold red] ({took})")


def short(job_name: str) -> str:
    """A job name without the example's prefix."""
    return job_name.removeprefix("orders_demo.")
