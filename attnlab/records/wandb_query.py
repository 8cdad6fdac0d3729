"""Query W&B's public API for a project's runs. Only wandb_import starts this module, as a process.

It reads a JSON query from stdin: path, filters, keys (of the summary), page (runs per answer), timeout (seconds per
answer), folder (for answer.json).

It is a separate process because after a timeout wandb 0.31's service may never end, and Python would wait for it at
exit. The caller's own login, settings and W&B runs also stay untouched.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from attnlab.records.record import write_json


def answer(path: str, filters: dict[str, Any], keys: list[str], page: int, timeout: int, folder: str) -> dict[str, Any]:
    """{runs: [{id, state, text}]}, or {login: false}, or {error: why}. Never prompts for a login.

    text: the first value of `keys` in the run's summary that is a text, or None.
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
            found = [run.summary_metrics.get(key) for key in keys]
            text = next((value for value in found if isinstance(value, str)), None)
            runs.append({"id": run.id, "state": run.state, "text": text})
        return {"runs": runs}
    except Exception as error:  # wandb raises many types, not all of them public
        return {"error": next(iter(str(error).splitlines()), type(error).__name__)}


if __name__ == "__main__":
    question = json.load(sys.stdin)
    write_json(Path(question["folder"]) / "answer.json", answer(**question))
    os._exit(0)
