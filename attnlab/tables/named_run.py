"""The run that the user names: by the start of its id, as the last one, by its printed name, or by its values."""

import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from attnlab.configuration.compose import compose_file
from attnlab.configuration.printed_name import named
from attnlab.configuration.run_name import MOST_LISTED, listed
from attnlab.errors import ConfigError
from attnlab.records.record import Record, find_run, finished_folders, read_valid_record
from attnlab.tables.selection import select

#: what run= may be, for messages
RUN = 'an id or its first characters, last, a printed name, or values in quotes, run="attention=se seed=0"'


def named_run(text: str, output_dir: str | Path, *, key: str = "run") -> str:
    """The id of the one finished run below output_dir that `text` names.

    text: an id or its first characters;  `last`: the run that finished last;  `attention=se seed=0`: names and values,
    by which attnlab.runs and attnlab.report select as well;  `se resnet20 cifar10 seed=0 (1c9fcfacf4c6)`: its name as
    lines and lists print it, with or without the id.  key: the config key by which the user named it.
    Raises ConfigError unless exactly one run fits; the message lists by name those that fit, else those there are.
    """
    if printed_id := re.search(r"\(([0-9a-f]{12})\)$", text.rstrip()):
        text = printed_id[1]
    if "=" not in text and " " not in text:
        return find_run(text, output_dir, key=key).name
    records, words = _finished(output_dir), _values(text, key)
    notes: list[str] = []
    reason = ""
    if all("=" in word for word in words):
        fitting, notes, reason = select(records, words)
    else:
        fitting = [records[n] for n in named(words, [record["config"] for record in records])]
    if len(fitting) == 1:
        return str(fitting[0]["id"])
    state = "fits several runs" if fitting else "no such finished run"
    shown = fitting or records
    lines = listed([(record["id"], record["config"]) for record in shown[:MOST_LISTED]], len(shown))
    there = f"there are\n{lines}" if shown else "there are none yet"
    why = notes or ([reason] if reason and records else [])
    raise ConfigError("; ".join([f"{key}={text}: {state} in output_dir={output_dir}", *why, there]))


def _values(text: str, key: str) -> Sequence[str]:
    try:
        return shlex.split(text)
    except ValueError as error:  # an unclosed quotation
        raise ConfigError(f"cannot parse {key}={text}: {error}; allowed is {RUN}") from error


def _finished(output_dir: str | Path) -> list[Record]:
    """The valid records of the runs in a folder."""
    found = []
    for folder in finished_folders(output_dir):
        with suppress(ConfigError):
            found.append(read_valid_record(folder))
    return found


def with_parents(arguments: Sequence[str]) -> list[str]:
    """The arguments of attnlab.run, each start_from=... with the whole id of the run that it names.

    The parent is part of the id of a run, so that it must have one spelling. A sweep may name several, with commas.
    Raises ConfigError unless each name fits one finished run below output_dir.
    """
    return [
        f"start_from={_ids(argument.partition('=')[2], arguments)}" if argument.startswith("start_from=") else argument
        for argument in arguments
    ]


def _ids(names: str, arguments: Sequence[str]) -> str:
    """The ids in quotes, since one may look like a number. A whole id is taken as it is: its run may be elsewhere."""
    if re.fullmatch(r"null|['\"].*['\"]|.*\$.*", names):
        return names
    several = [names] if "=" in names else names.split(",")
    if all(re.fullmatch("[0-9a-f]{12}", name) for name in several):
        return ",".join(f"'{name}'" for name in several)
    given = [argument for argument in arguments if argument.startswith("output_dir=")]
    output_dir = compose_file("run", given).output_dir
    return ",".join(
        name if name == "null" else f"'{named_run(name, output_dir, key='start_from')}'" for name in several
    )
