"""The result of one cell of a table: its runs, its difference from the baseline, its verdict, the paper's number."""

from dataclasses import dataclass

from attnlab.tables.cell_runs import CellRuns
from attnlab.tables.grid import Cell
from attnlab.tables.statistics import ALPHA, Difference


@dataclass(frozen=True)
class PaperNumber:
    """A number that a paper prints, as an error in percent. runs: how many it is the mean of, None if not printed."""

    error: float
    sd: float | None
    runs: int | None
    source: str
    chosen_on_test: bool


@dataclass(frozen=True)
class CellResult:
    """One metric of one cell.

    judged: whether the difference gets a verdict: only for the table's first metric, only once the table is complete,
    and only if the runs were trained under the same setup as the baseline's;  runs: the recorded ones;  wanted: how
    many the table declares;  p_holm, p_equivalent: p of the difference, and of its equivalence within ±margin, both
    adjusted by Holm over the table;  comparisons: how many differences the whole table declares;  paper: None where
    the paper prints no number.
    """

    metric: str
    judged: bool
    cell: Cell
    runs: CellRuns
    wanted: int
    difference: Difference | None = None
    p_holm: float | None = None
    comparisons: int = 1
    paper: PaperNumber | None = None
    margin: float | None = None
    p_equivalent: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Row and column."""
        return self.cell.row, self.cell.column

    @property
    def detectable(self) -> float | None:
        """The difference that this many seeds find with 80 % power, corrected for the whole table."""
        return self.difference.detectable(self.comparisons) if self.difference else None

    @property
    def detectable_range(self) -> tuple[float, float] | None:
        """The 90 % interval of `detectable`."""
        return self.difference.detectable_range(self.comparisons) if self.difference else None

    @property
    def bold(self) -> bool:
        """Whether the difference is significant at 5 % after Holm's correction over the whole table."""
        return self.judged and self.p_holm is not None and self.p_holm <= ALPHA

    @property
    def verdict(self) -> str | None:
        """`better`, `worse`, `equivalent within ±margin` or `undecided`; None where nothing could be tested.

        Every metric that gets a verdict is an error or a loss, so lower is better. A difference that is significant and
        also shown to lie within the margin gets both: `better, within ±0.5`.
        """
        if not self.judged or self.difference is None or self.p_holm is None:
            return None
        within = f"within ±{self.margin:g}" if self.p_equivalent is not None and self.p_equivalent <= ALPHA else ""
        if self.bold:
            return ", ".join(filter(None, ("better" if self.difference.mean < 0 else "worse", within)))
        return f"equivalent {within}" if within else "undecided"
