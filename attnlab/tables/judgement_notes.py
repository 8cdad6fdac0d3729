"""Lines of a page about the scores of attnlab.judge: which versions, images, masks and precisions a column mixes."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from attnlab.records.judgement_code import code_of
from attnlab.records.source_code import differences
from attnlab.tables.number_text import number_of_runs
from attnlab.tables.provenance_notes import some_of

Records = Sequence[Mapping[str, Any]]
#: what all scores of one part should share, and its name
SHARED = {"precision": "precisions", "masks": "objects' masks", "transfer": "transfer sets"}


def judge_warnings(records: Records, metrics: Collection[str]) -> Iterator[str]:
    """Where one column mixes scores that were made in different ways, or by code that has changed since."""
    for name, found in _parts(records, metrics).items():
        where = f"Mixed judges of {name}:"
        if len(counted := Counter(one["asked"] for one in found)) > 1:
            shares = ", ".join(f"{images} ({number_of_runs(n)})" for images, n in counted.most_common())
            yield f"{where} numbers of images, {shares}."
        known = [one["of"] for one in found if one["of"] is not None]
        if known and len(known) < len(found):
            unknown = number_of_runs(len(found) - len(known))
            yield f"{where} known code ({number_of_runs(len(known))}), unknown code ({unknown})."
        for file in sorted({file for of in known for file in of["code"]}):
            if len(counted := Counter(str(of["code"].get(file)) for of in known)) > 1:
                yield f"{where} {file} in {len(counted)} versions ({_shares(counted)})."
        for key, words in SHARED.items():
            if len(counted := Counter(str(of.get(key)) for of in known)) > 1:
                yield f"{where} {len(counted)} {words} ({_shares(counted)})."
        changed = [files for of in known if (files := differences({"": of["code"]}, {"": code_of(name)}))]
        if changed:
            yield (
                f"{name} of {number_of_runs(len(changed))} judged by other code than today's: {some_of(changed)} "
                "changed. Run attnlab.judge again to update the scores."
            )


def judge_notes(records: Records, metrics: Collection[str]) -> Iterator[str]:
    """Which scores do not record the code that made them."""
    for name, found in _parts(records, metrics).items():
        if unknown := sum(one["of"] is None for one in found):
            yield (
                f"{name}: judged by unknown code for {unknown} of {number_of_runs(len(found))}, before attnlab kept "
                "digests of the judges' code. attnlab.judge force=true judges again."
            )


def _parts(records: Records, metrics: Collection[str]) -> dict[str, list[Mapping[str, Any]]]:
    """{part: one of its scores for each run}, for the parts whose scores are among the metrics."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        scores = {one["part"]: one for metric, one in record.get("judged", {}).items() if metric in metrics}
        for name, one in scores.items():
            found.setdefault(name, []).append(one)
    return found


def _shares(counted: Counter[str]) -> str:
    return ", ".join(number_of_runs(n) for _, n in counted.most_common())
