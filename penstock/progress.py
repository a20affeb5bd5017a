"""How far a long command has come, on a terminal; nothing where nobody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


@contextmanager
def progress(words: str, *, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """Show `words` with `{}` for a number; call what comes out of this with each new number. It goes to stderr."""
    console = Console(stderr=True)
    shown = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )
    with shown:
        bar = shown.add_task(words.format("0"), total=None)
        yield lambda number: shown.update(bar, description=words.format(f"{number:,}"))
