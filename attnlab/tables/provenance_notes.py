"""What a table says about what made its runs: code, and what they ran under before and after an interruption."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from attnlab.records.provenance import mixed
from attnlab.records.source_code import changed_since

MOST_FILES = 4  # that one line names


def provenance_warnings(
    records: Sequence[Mapping[str, Any]], known: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> Iterator[str]:
    """What a reader must know of how the runs of one table were made, a line each.

    Several versions of a file; other code than today's; a file edited while a run read it; another machine, precision
    or version after an interruption; a start from weights that their run has no more (known: records by id); test
    images that are copies of training images.
    """
    versions: dict[str, Counter[str]] = {}
    for record in records:
        for file, digest in {file: d for part in record.get("code", {}).values() for file, d in part.items()}.items():
            versions.setdefault(file, Counter())[digest] += 1
    for file, counted in sorted(versions.items()):
        if len(counted) > 1:
            shares = ", ".join(_runs(n) for _, n in counted.most_common())
            yield f"Mixed code: {file} in {len(counted)} versions ({shares})."
    changed = [files for record in records if (files := changed_since(record))]
    if changed:
        yield f"{len(changed)} of {_runs(len(records))} trained by other code than today's: {_names(changed)} changed."
    starts = [record["started_from"] for record in records if record.get("started_from")]
    gone = [s["id"] for s in starts if known.get(s["id"], {}).get("weights", s["weights"]) != s["weights"]]
    if gone:
        yield f"{len(gone)} of {_runs(len(records))} began with weights of {_names([gone])}, which has others now."
    copies = {record["data_hash"]: n for record in records if (n := (record.get("duplicates") or {}).get("test"))}
    if copies:
        yield f"Of the test images {max(copies.values())} are exact copies of training or validation images."
    stretches = [names for record in records if (names := mixed(record.get("stretches") or [{}]))]
    if stretches:
        yield f"{len(stretches)} of {_runs(len(records))} resumed under another {_names(stretches)}."
    edited = [record["code_edited"] for record in records if record.get("code_edited")]
    if edited:
        yield f"{len(edited)} of {_runs(len(records))} made while code was edited: {_names(edited)}."


def provenance_notes(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """How many runs do not say which code made them."""
    if unknown := sum("code" not in record for record in records):
        yield f"Code unknown: {unknown} of {_runs(len(records))} recorded before digests of the code were kept."


def _names(lists: Sequence[Sequence[str]]) -> str:
    files = sorted({file for files in lists for file in files})
    rest = f" and {len(files) - MOST_FILES} more" if len(files) > MOST_FILES else ""
    return ", ".join(files[:MOST_FILES]) + rest


def _runs(n: int) -> str:
    return f"{n} run{'s' * (n != 1)}"
