"""One cell of a judged table: its runs, its difference from the baseline, its verdict, the paper's number."""

from dataclasses import dataclass

from attnlab.tables.grid import Cell
from attnlab.tables.overview import Row
from attnlab.tables.statistics import ALPHA, Difference


@dataclass(frozen=True)
class Paper:
    """A number that a source prints, as an error in percent. runs: how many it is the mean of, where it says so."""

    error: float
    sd: float | None
    runs: int | None
    source: str
    chosen_on_test: bool


@dataclass(frozen=True)
class Entry:
    """One cell: its runs, its difference from the baseline, what the paper says.

    judged: whether a difference may be called one: of the table's first metric alone, once the table is whole, and of
    runs that were trained as the baseline's were;  p_holm, p_equivalent: of the difference, and of its equivalence
    within ±margin, adjusted over the table;  comparisons: of the whole table, once it is finished;  paper: None where
    there is none to show.
    """

    metric: str
    judged: bool
    cell: Cell
    runs: Row
    wanted: int
    difference: Difference | None = None
    p_holm: float | None = None
    comparisons: int = 1
    paper: Paper | None = None
    margin: float | None = None
    p_equivalent: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Row and column."""
        return self.cell.row, self.cell.column

    @property
    def detectable(self) -> float | None:
        """The difference that so many seeds find with 80 % power, corrected for the whole table."""
        return self.difference.detectable(self.comparisons) if self.difference else None

    @property
    def detectable_range(self) -> tuple[float, float] | None:
        """The 90 % interval of `detectable`."""
        return self.difference.detectable_range(self.comparisons) if self.difference else None

    @property
    def bold(self) -> bool:
        """Whether the difference is more than chance would make of a whole table without any."""
        return self.judged and self.p_holm is not None and self.p_holm <= ALPHA

    @property
    def verdict(self) -> str | None:
        """better, worse, equivalent within ±margin, or undecided; None where nothing is judged or could be tested.

        All metrics that are judged are errors or losses: lower is better. A difference that is significant and shown to
        lie within the margin is both: `better, within ±0.5`.
        """
        if not self.judged or self.difference is None or self.p_holm is None:
            return None
        within = f"within ±{self.margin:g}" if self.p_equivalent is not None and self.p_equivalent <= ALPHA else ""
        if self.bold:
            return ", ".join(filter(None, ("better" if self.difference.mean < 0 else "worse", within)))
        return f"equivalent {within}" if within else "undecided"
