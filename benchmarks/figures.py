"""What a benchmark finds: figures, each with what is to be reached beside it, and notes."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Figure:
    """One number of one table."""

    table: str
    row: str
    column: str
    value: float
    unit: str
    at_most: float | None = None
    """What the figure, or its distance from 0, is to be."""
    at_least: float | None = None

    @property
    def reached(self) -> bool | None:
        """Tell whether the target is reached; None where there is none."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return None if self.at_most is None else abs(self.value) <= self.at_most


@dataclass
class Report:
    """All figures in the order in which they are shown."""

    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(
        self,
        table: str,
        row: str,
        column: str,
        value: float,
        *,
        unit: str = "%",
        at_most: float | None = None,
        at_least: float | None = None,
    ) -> None:
        """Add a figure."""
        self.figures.append(Figure(table, row, column, value, unit, at_most, at_least))
