"""A picture of what was found: tasks a second beside the bare limit, for each workload, one panel a database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from penstock.bench.found import Found
from penstock.failures import CannotStart

SUFFIXES: Final = (".svg", ".png", ".pdf")
_OURS: Final = "#2a6f97"
_BARE: Final = "#c9c9c9"


def draw(found: Sequence[Found], path: Path) -> None:
    """Write the chart; the suffix says in which format. What has no bare limit stands alone.
    Errors: CannotStart without matplotlib."""
    panels = {db: [item for item in found if item.db == db] for db in dict.fromkeys(item.db for item in found)}
    deepest = max(len(items) for items in panels.values())
    figure = _figure((4.2 * len(panels) + 1.2, 0.55 * deepest + 1.6))
    axes = figure.subplots(1, len(panels), sharex=True, squeeze=False)[0]
    for axis, (db, items) in zip(axes, panels.items(), strict=True):
        _panel(axis, db, items)
    axes[0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.08), ncols=2, frameon=False, fontsize=8)
    figure.savefig(path)


def check(path: Path) -> None:
    """Before hours of measuring. Errors: CannotStart."""
    if path.suffix.lower() not in SUFFIXES:
        raise CannotStart(f"a chart ends in {', '.join(SUFFIXES)}, not in {path.suffix or 'nothing'}: {path}")
    if not path.resolve().parent.is_dir():
        raise CannotStart(f"there is no folder {path.resolve().parent} for the chart")
    _figure((1, 1))


def _figure(inches: tuple[float, float]) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise CannotStart("charts need matplotlib: pip install 'penstock[bench]'") from error
    return Figure(figsize=inches, layout="constrained")


def _panel(axis: Any, db: str, items: Sequence[Found]) -> None:
    at = range(len(items))
    bare = [item.limit_tasks_per_s or 0 for item in items]
    axis.barh(at, bare, height=0.8, color=_BARE, label="the database, bare")
    bars = axis.barh(at, [item.tasks_per_s for item in items], height=0.45, color=_OURS, label="Penstock")
    axis.bar_label(bars, [f"{item.tasks_per_s:,.0f}" for item in items], padding=3, fontsize=7)
    axis.set_yticks(at, [item.workload for item in items], fontsize=8)
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.set_title(db, fontsize=10)
    axis.set_xlabel("tasks a second", fontsize=8)
    axis.tick_params(axis="x", labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
