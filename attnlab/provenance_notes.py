"""What a table says about what made its runs: code, and what they ran under before and after an interruption."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attnlab.provenance import mixed
from attnlab.source_code import changed_since

MOST_FILES = 4  # that one line names


def provenance_warnings(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Where the runs of one table were made by several versions of a file, by other code than today's, by a file that
    was edited while a run read it, or under another machine, precision or version after an interruption."""
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
