"""A stand-in for W&B's server on loopback: as much of GraphQL and file_stream as an online run and wandb.Api ask for.

with StandIn() as server:
    ...  # a run whose environment has **server.environment
assert server.runs["0123456789ab"].exit_code == 0

What it heard lies in `runs`, by W&B's run id. How a server misbehaves is for `answer` to say.
"""

import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0123456789abcdef0123456789abcdef01234567"
ENTITY = "somebody"


@dataclass
class Run:
    """What the server was told about one run."""

    bucket: dict[str, Any] = field(default_factory=dict)  # groupName, jobType, tags, project, displayName
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    exit_code: int | None = None  # None: never finished

    def node(self, name: str) -> dict[str, Any]:
        """The run as the public API sees it."""
        state = "running" if self.exit_code is None else "failed" if self.exit_code else "finished"
        told = {"summaryMetrics": json.dumps(self.summary), "config": json.dumps(self.config), "systemMetrics": "{}"}
        return {"id": name, "name": name, "projectId": "1", "state": state, "user": {"username": ENTITY}} | told


class StandIn:
    """The server. Before each reply it calls `answer(question, run)`, which returns the status, and may take its time.

    question: Viewer (a login), RunResumeStatus and UpsertBucket (a run's start), file_stream, upload, otel, ...;
    SweepWithRuns, CreateAgent and Heartbeat (an agent of a sweep);
    GetDefaultEntity and Runs (the public API);
    run: W&B's run id where the request names it in its path, else "".
    """

    def __init__(self, answer: Callable[[str, str], int] = lambda question, run: 200) -> None:
        #: of a sweep: its yaml, and the commands for its agents, which get one at a time
        self.sweep, self.commands = "", list[dict[str, Any]]()
        self.answer = answer
        self.runs: dict[str, Run] = defaultdict(Run)
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"stand_in": self}))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY}

    def __enter__(self) -> "StandIn":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let nobody connect any more; a second time, nothing. Connections that are open stay so."""
        self._server.shutdown()
        self._server.server_close()

    def graphql(self, question: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The `data` of the reply; nothing, for a question that needs no answer."""
        if question == "Viewer":
            return {"viewer": {"id": "u", "entity": ENTITY, "username": ENTITY, "flags": "{}", "teams": {"edges": []}}}
        if question == "GetDefaultEntity":
            return {"viewer": {"id": "u", "entity": ENTITY}}
        if question == "SweepWithRuns":
            return {"project": {"sweep": {"id": "s", "name": "sweep", "config": self.sweep, "runs": {"edges": []}}}}
        if question == "CreateAgent":
            return {"createAgent": {"agent": {"id": "agent"}}}
        if question == "Heartbeat":
            commands = [self.commands.pop(0)] if self.commands and variables["runState"] == "{}" else []
            return {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(commands)}}
        if question == "Runs":
            return {"project": self.project(**variables)}
        if question == "RunResumeStatus":
            return {"model": {"id": "p", "name": variables["project"], "entity": _entity(), "bucket": None}}
        if question == "UpsertBucket":
            run = self.runs[variables["name"]]
            run.bucket |= {key: value for key, value in variables.items() if value is not None}
            if variables.get("config"):
                run.config = {key: item["value"] for key, item in json.loads(variables["config"]).items()}
            bucket = {"id": "b", "name": variables["name"], "displayName": variables["displayName"]}
            bucket["project"] = {"id": "p", "name": run.bucket["project"], "entity": _entity()}
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if question == "CreateRunFiles":
            urls = [{"name": f, "uploadUrl": f"{self.url}/upload/{variables['run']}/{f}"} for f in variables["files"]]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": urls}}
        return {}

    def project(self, entity: str, project: str, filters: str, perPage: int, **more: Any) -> dict[str, Any] | None:  # noqa: N803
        """A page of a project's runs, in the order of their start, from `cursor` on; None: there is no such project."""
        runs = {name: run for name, run in self.runs.items() if run.bucket.get("project") == project}
        if entity != ENTITY or not runs:
            return None
        clauses = json.loads(filters).get("$or") or [{"name": {"$in": list(runs)}}]
        wanted = {key: condition["$in"] for clause in clauses for key, condition in clause.items()}
        asked = [run.node(name) for name, run in runs.items() if _fits(name, run, wanted)]
        start = int(more.get("cursor") or 0)
        edges = [{"node": node, "cursor": str(at)} for at, node in enumerate(asked, 1)][start : start + perPage]
        end = {"endCursor": str(start + len(edges)), "hasNextPage": start + len(edges) < len(asked)}
        return {"internalId": "1", "runCount": len(asked), "readOnly": False, "runs": {"edges": edges, "pageInfo": end}}

    def file_stream(self, run: Run, told: dict[str, Any]) -> None:
        """Keep the rows of a post to a run's stream, and how the run ended."""
        for name, chunk in told.get("files", {}).items():
            rows = [json.loads(line) for line in chunk["content"]] if name.endswith((".jsonl", ".json")) else []
            if name == "wandb-history.jsonl":
                run.history[chunk["offset"] :] = rows
            elif name == "wandb-summary.json":
                run.summary = rows[-1]
        if told.get("complete"):
            run.exit_code = told["exitcode"]


def _fits(name: str, run: Run, wanted: dict[str, list[str]]) -> bool:
    """Whether a run fits one of the conditions, {name, or config.KEY: the values allowed}."""
    return any(
        (name if key == "name" else run.config.get(key.removeprefix("config."))) in values
        for key, values in wanted.items()
    )


def _entity() -> dict[str, str]:
    return {"id": "e", "name": ENTITY}


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, asks the stand-in, replies."""

    stand_in: StandIn
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.strip("/").split("/")
        asked, run = {}, ""
        if path == ["graphql"]:
            asked = json.loads(body)
            named = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])  # the public API sends no operationName
            question = asked.get("operationName") or (named[1] if named else "")
        elif path[0] == "files":  # /files/entity/project/run/file_stream
            question, run = path[4], path[3]
        elif path[0] == "upload":  # /upload/run/name
            question, run = path[0], path[1]
        else:
            question = "otel" if "otel" in path else self.path
        status = self.stand_in.answer(question, run)
        reply: dict[str, Any] = {}
        if status == 200:
            with self.stand_in.lock:
                if asked:
                    reply = {"data": self.stand_in.graphql(question, asked.get("variables") or {})}
                elif question == "file_stream":
                    self.stand_in.file_stream(self.stand_in.runs[run], json.loads(body))
                elif question == "upload":
                    self.stand_in.runs[run].files[path[2]] = body
        text = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = do_POST  # noqa: N815

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client hung up, as it does when it ends
            super().handle()

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""
