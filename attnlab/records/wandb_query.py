"""Ask W&B's public API for a project's runs: `python -m attnlab.records.wandb_query`, for wandb_import only.

It reads a question, JSON, from stdin: path, filters, key (of the summary), page (runs an answer), timeout (seconds an
answer), folder (for answer.json).

In a process of its own, which ends at once: after an answer that did not come, wandb 0.31's service may never end,
and Python waits at its exit for it. So the caller's own login, settings and W&B runs stay as they are, too.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from attnlab.records.record import write_json


def answer(path: str, filters: dict[str, Any], key: str, page: int, timeout: int, folder: str) -> dict[str, Any]:
    """{runs: [{id, state, text}]}, or {login: false}, or {error: why}. Never asks for a login: nobody may sit here.

    text: what the run's summary has under `key`, None when that is no text.
    """
    import wandb

    wandb.setup(wandb.Settings(silent=True))
    try:
        if not wandb.login(prompt=False, verify=False):
            return {"login": False}
        api = wandb.Api(timeout=timeout)
        tempfile.tempdir = folder  # W&B makes an empty folder for each run that it lists
        runs = []
        for run in api.runs(path, filters=filters, per_page=page, lazy=False):
            told = run.summary_metrics.get(key)
            runs.append({"id": run.id, "state": run.state, "text": told if isinstance(told, str) else None})
        return {"runs": runs}
    except Exception as error:  # of many types, not all of them public
        return {"error": next(iter(str(error).splitlines()), type(error).__name__)}


if __name__ == "__main__":
    question = json.load(sys.stdin)
    write_json(Path(question["folder"]) / "answer.json", answer(**question))
    os._exit(0)
