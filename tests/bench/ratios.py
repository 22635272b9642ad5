"""Ratios that are kept, so that a change which costs speed is noticed: `make bench-check`.

Only ratios within one run are compared, never rates: those of another machine, or of a busy hour, say nothing.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

KEPT: Final = Path(__file__).with_name("ratios.json")
TOLERATED: Final = 0.2
"""The share of a kept ratio that may be lost to chance."""
CHECKED: Final = ("accept", "drain", "pinned", "peers")
"""The measurements that `make bench-check` makes unless others are named: their ratios are such that more is better."""


def find_ratios(measured: Mapping[str, Mapping[str, object]]) -> dict[str, float]:
    """The ratios in the figures of some measurements, by `<measurement>` or `<measurement> <peer>`."""
    found: dict[str, float] = {}
    for name, figures in measured.items():
        ratio, ratios = figures.get("ratio"), figures.get("ratios")
        if isinstance(ratio, float):
            found[name] = ratio
        if isinstance(ratios, Mapping):
            found |= {f"{name} {peer}": float(value) for peer, value in ratios.items()}
    return found


def keep_ratios(ratios: Mapping[str, float], path: Path = KEPT) -> None:
    """Compare with these from now on; what was not measured this time stays as it is."""
    path.write_text(json.dumps({**_read(path), **ratios}, indent=2, sort_keys=True) + "\n")


def find_losses(
    ratios: Mapping[str, float], path: Path = KEPT, *, measures: Collection[str] | None = None
) -> Iterable[str]:
    """A line for each ratio that fell by more than TOLERATED, or that was kept and is missing now. With `measures`,
    only what these give was measured.
    """
    for name, kept in sorted(_read(path).items()):
        if measures is not None and name.partition(" ")[0] not in measures:
            continue
        now = ratios.get(name)
        if now is None:
            yield f"{name}: {kept} was kept, and nothing was measured"
        elif now < (1 - TOLERATED) * kept:
            yield f"{name}: {now}, and {kept} was kept: {100 * (1 - now / kept):.0f} % less"


def _read(path: Path) -> dict[str, float]:
    return dict(json.loads(path.read_text())) if path.exists() else {}
