"""Lines of a page about what made its runs: code, and what they ran under before and after an interruption."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from attnlab.records.provenance import changed_settings
from attnlab.records.source_code import changed_since, counted
from attnlab.tables.number_text import number_of_runs

#: files that one line names
MOST_FILES = 4


def provenance_warnings(
    records: Sequence[Mapping[str, Any]], known: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> Iterator[str]:
    """What a reader must know about how the runs of one table were made, a line each.

    Several versions of a file; code that has changed since; a file edited while a run read it; another machine,
    precision or version after an interruption; start weights that the parent run no longer has (known: records by id);
    test images that are copies of training images.
    """
    versions: dict[str, Counter[str]] = {}
    for record in records:
        parts = map(counted, record.get("code", {}).values())
        for file, digest in {file: d for part in parts for file, d in part.items()}.items():
            versions.setdefault(file, Counter())[digest] += 1
    for file, found in sorted(versions.items()):
        if len(found) > 1:
            shares = ", ".join(number_of_runs(n) for _, n in found.most_common())
            yield f"Mixed code: {file} in {len(found)} versions ({shares})."
    total = number_of_runs(len(records))
    changed = [files for record in records if (files := changed_since(record))]
    if changed:
        yield f"{len(changed)} of {total} trained by other code than today's: {some_of(changed)} changed."
    starts = [record["started_from"] for record in records if record.get("started_from")]
    gone = [s["id"] for s in starts if known.get(s["id"], {}).get("weights", s["weights"]) != s["weights"]]
    if gone:
        yield f"{len(gone)} of {total} began with weights of {some_of([gone])}, which has other weights now."
    copies = {record["data_hash"]: n for record in records if (n := (record.get("duplicates") or {}).get("test"))}
    if copies:
        yield f"{max(copies.values())} test images are exact copies of training or validation images."
    stretches = [names for record in records if (names := changed_settings(record.get("stretches") or [{}]))]
    if stretches:
        yield f"{len(stretches)} of {total} resumed after an interruption under another {some_of(stretches)}."
    edited = [record["code_edited"] for record in records if record.get("code_edited")]
    if edited:
        yield f"{len(edited)} of {total} made while code was being edited: {some_of(edited)}."


def provenance_notes(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """How many runs do not record the code that made them."""
    if unknown := sum("code" not in record for record in records):
        total = number_of_runs(len(records))
        yield f"Code unknown: {unknown} of {total} recorded before attnlab kept digests of the code."


def some_of(lists: Sequence[Sequence[str]]) -> str:
    """The names in some lists, sorted, each once: the first MOST_FILES, and how many more there are."""
    names = sorted({name for one in lists for name in one})
    rest = f" and {len(names) - MOST_FILES} more" if len(names) > MOST_FILES else ""
    return ", ".join(names[:MOST_FILES]) + rest


def made_on(records: Sequence[Mapping[str, Any]]) -> str:
    """What the runs were trained on, by which code, and the top-1 error of guessing where all have as many classes."""
    on = sorted({f"{run['device']}, {run['precision']}, {_processes(run['world_size'])}" for run in records})
    versions = ", ".join(sorted({run["versions"]["torch"] for run in records}))
    commits = sorted({run["commit"][:7] + "+changes" * bool(run["dirty"]) for run in records if run["commit"]})
    code = f", commit {', '.join(commits)}" if commits else ""
    classes = {run["config"]["dataset"]["classes"] for run in records}
    guess = f" Guessing gives {100 * (1 - 1 / classes.pop()):.2f} % top-1 error." if len(classes) == 1 else ""
    return f"Trained on {'; '.join(on)}; torch {versions}{code}.{guess}"


def _processes(n: int) -> str:
    return f"{n} process{'es' * (n != 1)}"
