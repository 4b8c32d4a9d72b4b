"""A loopback stand-in for a Weights & Biases server, for tests that drive the real client.

The commands and the library of wandb 0.31 work against it unchanged once `WandbServer.env` is in
their environment: `wandb sweep`, `wandb agent`, `wandb.init` (new, resumed, in a sweep), files,
artifacts, `wandb sync`, and reading all of it back through `wandb.Api`; so does wandb-workspaces
0.4.13, saving a workspace and reading it by its address.

There is no GraphQL interpreter. The operations that the client is known to send are told apart by
name, and every object of an answer has null for all further names in the query. Any other
operation is refused and noted in `WandbServer.unknown`, as are failures in here.

Not here: users and keys (any key is welcome), methods other than grid, early termination, stopping
a run, filters other than equality and $in, order other than by age, paging (one page has all),
scanning or sampling a history, reports, links between artifacts, deleting, and runs that count as
crashed because they fell silent.
"""

import contextlib
import functools
import json
import re
import secrets
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

import yaml
from wandb_records import Artifact, Json, Run, Sweep, View

ENTITY = "tester"
USER = {"id": ENTITY, "name": ENTITY, "username": ENTITY, "entity": ENTITY, "flags": "{}"}
MANIFEST = "wandb_manifest.json"
TIME = "2026-01-01T00:00:00Z"
EVERYWHERE: Json = {
    **{"createdAt": TIME, "updatedAt": TIME, "heartbeatAt": TIME, "user": USER, "tags": []},
    **{"readOnly": False, "ttlDurationSeconds": -2, "ttlIsInherited": True, "size": 0, "md5": ""},
    **{"features": [], "configValidationWarnings": [], "uploadHeaders": [], "systemMetrics": "{}"},
}
"""Fields that must not be null and that nobody asks about here."""
LINES = {"history": "wandb-history.jsonl", "events": "wandb-events.jsonl", "log": "output.log"}
LOOK_UPS = re.compile(
    "GetSweep|SweepWithRuns|Run(ResumeStatus|State|Files|FullHistory|OutputArtifacts)?|"
    "ArtifactType|ArtifactMembershipByName|GetArtifactMembershipFileUrls"
)
"""Queries for one thing in a project."""


class WandbServer:
    """Serves on a free port of 127.0.0.1 from its construction until `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failing = False
        """While it is set, every request is answered with status 500."""
        self.closed = False
        self.sweeps: dict[str, Sweep] = {}
        self.runs: dict[str, Run] = {}
        self.views: dict[str, View] = {}
        self.unknown: list[str] = []
        """Operations and paths without an answer, and what failed in here."""
        self.requests: list[str] = []
        """GraphQL operations and other requests as they came, those answered with 500 included."""
        self._agents: dict[str, Sweep] = {}
        self._artifacts: dict[str, Artifact] = {}
        self._changed = threading.Condition()
        handler = functools.partial(_Handler, self)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        """Vanish: nothing is answered any more, the port is closed. What was received stays."""
        self.closed = True
        self._http.shutdown()
        self._http.server_close()

    @property
    def env(self) -> dict[str, str]:
        """For the client's process. WANDB_MODE and WANDB_DIR are the caller's to set."""
        kinds = ("CACHE", "CONFIG", "DATA")
        places = {f"WANDB_{kind}_DIR": str(self.folder / kind.lower()) for kind in kinds}
        client = {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": "0" * 40, "WANDB_ENTITY": ENTITY}
        quiet = {"WANDB_ERROR_REPORTING": "false", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        return {**client, **places, **quiet}

    @property
    def artifacts(self) -> list[Artifact]:
        """Committed versions, oldest first."""
        return [artifact for artifact in self._artifacts.values() if artifact.version is not None]

    def wait_for(self, ready: Callable[[], bool], timeout: float = 60.0) -> bool:
        """Block until ``ready()``, asked again after every request; False after ``timeout`` s."""
        with self._changed:
            return self._changed.wait_for(ready, timeout)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and content for one request."""
        parts = [unquote(part) for part in urlsplit(path).path.strip("/").split("/")]
        name, query = f"{method} {path}", ""
        with self._changed:
            try:
                if parts[-1] in ("graphql", "file_stream"):
                    sent: Json = json.loads(body)
                    query = sent.get("query", "")
                if operation := re.search(r"\b(?:query|mutation)\s+(\w+)", query):
                    name = operation[1]
                self.requests.append(name)
                if self.failing:
                    return 500, b"{}"
                if query:
                    data = _completed(self._graphql(name, sent.get("variables") or {}), query)
                    return 200, json.dumps({"data": data}).encode()
                if parts[-1] == "file_stream":
                    return 200, self._stream(self.runs[parts[3]], sent)
                if parts[0] == "storage":
                    return self._store(method, parts[1], "/".join(parts[2:]), body)
                if parts == [""]:
                    return 200, b""
                raise NotImplementedError
            except Exception as error:  # a failure in here must reach the test
                self.unknown.append(f"{name}: {error!r}")
                return 400, json.dumps({"errors": [{"message": repr(error)}]}).encode()
            finally:
                self._changed.notify_all()

    def _store(self, method: str, owner: str, name: str, body: bytes) -> tuple[int, bytes]:
        """A file of the run or the artifact ``owner``."""
        path = self.folder / "storage" / owner / name
        if method != "PUT":
            return (200, path.read_bytes()) if path.is_file() else (404, b"")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        if name != MANIFEST:
            (self.runs.get(owner) or self._artifacts[owner]).files[name] = path
        return 200, b""

    def _stream(self, run: Run, sent: Json) -> bytes:
        for name, chunk in (sent.get("files") or {}).items():
            start, lines = chunk.get("offset", 0), chunk["content"]
            run.stream.setdefault(name, [])[start : start + len(lines)] = lines
        if sent.get("complete"):
            run.exit_code = sent["exitcode"]
        return b'{"limits": {}}'

    def _graphql(self, operation: str, sent: Json) -> Json:
        if LOOK_UPS.fullmatch(operation):
            project = self._looked_up(sent)
            return {"project": project, "model": project}
        match operation:
            case "Viewer" | "ServerFeaturesQuery" | "OrganizationCoreWeaveOrganizationID":
                viewer = {**USER, "teams": _page([{"name": ENTITY}])}
                return {"viewer": viewer, "serverInfo": {}, "entity": {}}
            case "UpsertSweep":
                return {"upsertSweep": {"sweep": self._sweep_node(self._upsert_sweep(sent))}}
            case "CreateAgent":
                agent = secrets.token_hex(4)
                self._agents[agent] = self.sweeps[sent["sweep"]]
                return {"createAgent": {"agent": {"id": agent}}}
            case "Heartbeat":
                idle = not json.loads(sent["runState"])
                commands = self._commands(self._agents[sent["id"]]) if idle else []
                return {"agentHeartbeat": {"commands": json.dumps(commands)}}
            case "UpsertBucket":
                known = len(self.runs)
                bucket = self._run_node(self._upsert_run(sent))
                return {"upsertBucket": {"bucket": bucket, "inserted": len(self.runs) > known}}
            case "CreateRunFiles":
                files = [self._file_node(sent["run"], name) for name in sent["files"]]
                return {"createRunFiles": {"runID": sent["run"], "files": files}}
            case "Runs":
                runs = [self._run_node(run) for run in self._find_runs(sent)]
                project = _project_node(sent["project"]) | {"runs": _page(runs)}
                return {"project": project | {"runCount": len(runs)}}
            case "CreateArtifact":
                node = self._artifact_node(self._create_artifact(sent["input"]))
                return {"createArtifact": {"artifact": node}}
            case "CreateArtifactManifest":
                file = self._file_node(sent["artifactID"], MANIFEST)
                return {"createArtifactManifest": {"artifactManifest": {"file": file}}}
            case "CreateArtifactFiles":
                wanted = [
                    (one["artifactID"], one["name"]) for one in sent["input"]["artifactFiles"]
                ]
                files = [self._file_node(*one) | {"artifact": {"id": one[0]}} for one in wanted]
                return {"createArtifactFiles": {"files": _page(files)}}
            case "CommitArtifact":
                artifact = self._artifacts[sent["artifactID"]]
                self._move_aliases(artifact, ["latest", *artifact.aliases])
                artifact.version = len(self._versions(artifact.project, artifact.name))
                return {"commitArtifact": {"artifact": self._artifact_node(artifact)}}
            case "UpsertView2":
                known = sent.get("id") in self.views
                view = View(
                    sent.get("id") or secrets.token_hex(4),
                    sent["projectName"],
                    sent["name"],
                    sent["displayName"],
                    json.loads(sent["spec"]),
                )
                self.views[view.id] = view
                return {"upsertView": {"view": view.node, "inserted": not known}}
            case "View":
                views = [v for v in self.views.values() if v.name == sent["viewName"]]
                project = _project_node(sent["name"])
                return {"project": project | {"allViews": _page([view.node for view in views])}}
            case "FetchArtifactManifest" | "ArtifactCreatedBy":
                file = self._file_node(sent["id"], MANIFEST)
                creator = self._run_node(self.runs[self._artifacts[sent["id"]].run])
                return {"artifact": {"currentManifest": {"file": file}, "createdBy": creator}}
        raise NotImplementedError

    def _looked_up(self, sent: Json) -> Json:
        """The project, with its run, sweep or artifact of the name that was asked for."""
        project = sent["project"]
        keys = ("name", "run", "runName", "sweep", "collection")
        name = next(sent[key] for key in keys if sent.get(key))
        run, sweep = self.runs.get(name), self.sweeps.get(name)
        node = _project_node(project)
        if run and run.project == project:
            node |= dict.fromkeys(("run", "bucket"), self._run_node(run, sent.get("fileNames")))
        if sweep and sweep.project == project:
            node |= {"sweep": self._sweep_node(sweep)}
        base, _, alias = f"{name}:{sent.get('alias', '')}".strip(":").partition(":")
        for artifact in self._versions(project, base):
            if (alias or "latest") in [*artifact.aliases, f"v{artifact.version}"]:
                made = self._artifact_node(artifact)
                found = {"__typename": "ArtifactCollectionMembership", "artifact": made}
                found |= {key: made[key] for key in ("id", "versionIndex", "aliases", "files")}
                found |= {"artifactCollection": made["artifactSequence"]}
                node |= {"artifact": made, "artifactCollectionMembership": found}
                collection = made["artifactSequence"] | {"artifactMembership": found}
                node |= {"artifactCollection": collection}
        return node

    def _upsert_sweep(self, sent: Json) -> Sweep:
        if sent.get("id"):  # wandb sweep --stop and its like
            sweep = self.sweeps[sent["id"]]
        else:
            config = yaml.safe_load(sent["config"])
            sweep = Sweep(secrets.token_hex(4), sent["projectName"] or "uncategorized", config)
            if config["method"] != "grid" or not sweep.points:
                raise NotImplementedError(config["method"])
            self.sweeps[sweep.id] = sweep
        sweep.state = sent.get("state") or sweep.state
        return sweep

    def _commands(self, sweep: Sweep) -> list[Json]:
        """For an agent that has nothing to do."""
        handed_out, points = sweep.handed_out, sweep.points
        if sweep.state not in ("PENDING", "RUNNING") or len(handed_out) == len(points):
            sweep.state = "FINISHED" if sweep.state == "RUNNING" else sweep.state
            return [{"type": "exit"}]
        run, point = secrets.token_hex(4), points[len(handed_out)]
        sweep.state, handed_out[run] = "RUNNING", point
        args = {name: {"value": value} for name, value in point.items()}
        program = sweep.config.get("program")
        return [{"type": "run", "run_id": run, "program": program, "args": args}]

    def _sweep_node(self, sweep: Sweep) -> Json:
        node: Json = {"__typename": "Sweep", "id": sweep.id, "name": sweep.id, "state": sweep.state}
        node |= {"displayName": sweep.config.get("name"), "method": sweep.config["method"]}
        node |= {"config": yaml.safe_dump(sweep.config), "project": _project_node(sweep.project)}
        runs = [run for run in self.runs.values() if run.sweep == sweep.id]
        node |= {"runCount": len(runs), "runCountExpected": len(sweep.points)}
        return node | {"runs": _page([self._run_node(run) for run in runs])}

    def _upsert_run(self, sent: Json) -> Run:
        run_id = sent.get("name") or sent["id"]
        project, name = sent.get("project") or "uncategorized", f"run-{len(self.runs) + 1}"
        run = self.runs.setdefault(run_id, Run(run_id, project, name))
        run.display_name = sent.get("displayName") or run.display_name
        run.group = sent.get("groupName") or run.group
        run.job_type = sent.get("jobType") or run.job_type
        run.notes = sent.get("notes") or run.notes
        run.sweep = sent.get("sweep") or run.sweep
        config = json.loads(sent.get("config") or "{}")
        run.config |= {key: item["value"] for key, item in config.items() if key != "_wandb"}
        if sent.get("summaryMetrics"):
            run.stream["wandb-summary.json"] = [sent["summaryMetrics"]]
        if sent.get("host"):  # from the run itself, not an editor: it is at work, perhaps again
            run.exit_code = None
        return run

    def _find_runs(self, sent: Json) -> list[Run]:
        condition, order = json.loads(sent.get("filters") or "{}"), sent.get("order") or ""
        found = [run for run in self.runs.values() if run.project == sent["project"]]
        found = [run for run in found if run.matches(condition)]
        if order.lstrip("+-") not in ("", "created_at"):
            raise NotImplementedError(order)
        return found[::-1] if order.startswith("-") else found

    def _run_node(self, run: Run, named: list[str] | None = None) -> Json:
        node: Json = {"__typename": "Run", "id": run.id, "name": run.id, "projectId": "1"}
        node |= {"displayName": run.display_name, "project": _project_node(run.project)}
        node |= {"group": run.group, "sweepName": run.sweep, "jobType": run.job_type}
        node |= {"notes": run.notes}
        node |= {"state": run.state, "exitcode": run.exit_code}
        node |= {"config": json.dumps({key: {"value": value} for key, value in run.config.items()})}
        node |= {"summaryMetrics": json.dumps(run.summary), "wandbConfig": '{"t": 1}'}
        for kind, name in LINES.items():
            lines = run.stream.get(name, [])
            node |= {f"{kind}LineCount": len(lines), f"{kind}Tail": json.dumps(lines[-1:])}
        node |= {"history": run.stream.get(LINES["history"], [])}
        node |= {"fileCount": len(run.files)}
        node |= {"files": _page([self._file_node(run.id, name) for name in named or run.files])}
        made = [self._artifact_node(one) for one in self.artifacts if one.run == run.id]
        return node | {"artifacts": _page(made)}

    def _file_node(self, owner: str, name: str) -> Json:
        url = f"{self.url}/storage/{quote(owner)}/{quote(name)}"
        path = self.folder / "storage" / owner / name
        node: Json = {"__typename": "File", "id": url, "name": name, "storagePath": name}
        node |= {"sizeBytes": path.stat().st_size if path.is_file() else 0}
        return node | {"url": url, "directUrl": url, "uploadUrl": url}

    def _versions(self, project: str, name: str) -> list[Artifact]:
        return [one for one in self.artifacts if (one.project, one.name) == (project, name)]

    def _create_artifact(self, sent: Json) -> Artifact:
        project, name, digest = sent["projectName"], sent["artifactCollectionName"], sent["digest"]
        aliases = [item["alias"] for item in sent["aliases"] or []]
        for known in self._versions(project, name):
            if known.digest == digest:  # the same content again: nothing to upload
                self._move_aliases(known, aliases)
                return known
        metadata = json.loads(sent.get("metadata") or "{}")
        named = (name, sent["artifactTypeName"], project, sent["runName"])
        new = Artifact(secrets.token_hex(4), *named, digest, metadata, aliases)
        self._artifacts[new.id] = new
        return new

    def _move_aliases(self, artifact: Artifact, aliases: list[str]) -> None:
        for other in self._versions(artifact.project, artifact.name):
            other.aliases = [alias for alias in other.aliases if alias not in aliases]
        artifact.aliases = list(dict.fromkeys([*artifact.aliases, *aliases]))

    def _artifact_node(self, artifact: Artifact) -> Json:
        sequence: Json = {"__typename": "ArtifactSequence", "name": artifact.name}
        sequence |= {"project": _project_node(artifact.project)}
        alias = {"__typename": "ArtifactAlias", "artifactCollection": sequence}
        node: Json = {"__typename": "Artifact", "id": artifact.id, "artifactSequence": sequence}
        node |= {"state": "PENDING" if artifact.version is None else "COMMITTED"}
        node |= {"versionIndex": artifact.version, "artifactType": {"name": artifact.type}}
        node |= {"digest": artifact.digest, "metadata": json.dumps(artifact.metadata)}
        node |= {"aliases": [alias | {"id": name, "alias": name} for name in artifact.aliases]}
        files = [self._file_node(artifact.id, name) for name in artifact.files]
        return node | {"fileCount": len(files), "files": _page(files)}


def _project_node(name: str) -> Json:
    return {"id": name, "internalId": "1", "name": name, "entity": {"id": ENTITY, "name": ENTITY}}


def _page(nodes: list[Any]) -> Json:
    info = {"__typename": "PageInfo", "hasNextPage": False}
    return {"totalCount": len(nodes), "edges": [{"node": node} for node in nodes], "pageInfo": info}


def _completed(answer: Any, query: str) -> Any:
    """``answer`` with every name of the query in every object."""
    names = dict.fromkeys(re.findall(r"[a-z]\w*", query)) | EVERYWHERE

    def completed(value: Any) -> Any:
        if isinstance(value, list):
            return [completed(item) for item in value]
        if not isinstance(value, dict):
            return value
        return names | {key: completed(item) for key, item in value.items()}

    return completed(answer)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and content leave together

    def __init__(self, owner: WandbServer, *args: Any) -> None:
        self.owner = owner
        super().__init__(*args)

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # a client was killed
            super().handle()

    def log_message(self, *args: Any) -> None:
        """Tests keep their output to themselves."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.owner.closed:
            self.close_connection = True
            return
        status, content = self.owner.answer(self.command, self.path, body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST  # noqa: N815
