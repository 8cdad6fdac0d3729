"""What a table says about the judges of its runs: which versions, images, masks and precisions its columns mix."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from attnlab.records.judgement_code import code_of
from attnlab.records.source_code import differences
from attnlab.tables.provenance_notes import MOST_FILES

Records = Sequence[Mapping[str, Any]]
#: what must be one thing for all scores of a part, and its name
ONE_THING = {"precision": "precisions", "masks": "objects' masks", "transfer": "transfer sets"}


def judge_warnings(records: Records, metrics: Collection[str]) -> Iterator[str]:
    """Where one column holds scores of several judges, or of judges that are not today's."""
    for name, found in _parts(records, metrics).items():
        where = f"Mixed judges of {name}:"
        if len(counted := Counter(one["asked"] for one in found)) > 1:
            shares = ", ".join(f"{asked} ({_runs(n)})" for asked, n in counted.most_common())
            yield f"{where} images asked for, {shares}."
        known = [one["of"] for one in found if one["of"] is not None]
        if known and len(known) < len(found):
            yield f"{where} known code ({_runs(len(known))}), unknown code ({_runs(len(found) - len(known))})."
        for file in sorted({file for of in known for file in of["code"]}):
            if len(counted := Counter(str(of["code"].get(file)) for of in known)) > 1:
                shares = ", ".join(_runs(n) for _, n in counted.most_common())
                yield f"{where} {file} in {len(counted)} versions ({shares})."
        for key, words in ONE_THING.items():
            if len(counted := Counter(str(of.get(key)) for of in known)) > 1:
                shares = ", ".join(_runs(n) for _, n in counted.most_common())
                yield f"{where} {len(counted)} {words} ({shares})."
        changed = [files for of in known if (files := differences({"": of["code"]}, {"": code_of(name)}))]
        if changed:
            files = sorted({file for files in changed for file in files})
            rest = f" and {len(files) - MOST_FILES} more" if len(files) > MOST_FILES else ""
            yield (
                f"{name} of {_runs(len(changed))} judged by other code than today's: {', '.join(files[:MOST_FILES])}"
                f"{rest} changed; attnlab.judge judges again."
            )


def judge_notes(records: Records, metrics: Collection[str]) -> Iterator[str]:
    """Which scores do not say which code made them."""
    for name, found in _parts(records, metrics).items():
        if unknown := sum(one["of"] is None for one in found):
            yield (
                f"{name}: judged by unknown code, {unknown} of {_runs(len(found))}, before digests of the judge's code "
                "were kept; attnlab.judge force=true judges anew."
            )


def _parts(records: Records, metrics: Collection[str]) -> dict[str, list[Mapping[str, Any]]]:
    """{part: what one of its scores says of it, of each run} of the parts whose scores are among the metrics."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        scores = {one["part"]: one for metric, one in record.get("judged", {}).items() if metric in metrics}
        for name, one in scores.items():
            found.setdefault(name, []).append(one)
    return found


def _runs(n: int) -> str:
    return f"{n} run{'s' * (n != 1)}"
