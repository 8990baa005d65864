"""The executor for HTCondor: the graph as a DAGMan workflow. Pure.

Layers, builds and test boots are vanilla-universe jobs, whose inputs and outputs HTCondor transfers. A publication is
a local-universe job on the access point, which has the catalogue and the signing key. The last node, which always
runs, writes the reports; its exit status is that of the workflow, and a rescue file records what has to
be redone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from roost.condor import dag_writer as dag
from roost.condor import policy
from roost.factory.graph import Graph, Kind, Node
from roost.factory.usage import Usage

MIB = 1 << 20
#: The number of retries of a node, and the exit status that disables them: an error in the recipe.
RETRIES, HOPELESS = 2, 2
#: The maximum number of running nodes by kind: apt's mirrors are shared, and a catalogue has one writer at a time.
THROTTLES: Mapping[Kind, int] = {"layer": 4, "publish": 1}
#: MiB of disk that a job requests when an earlier run has not measured it.
DISK: Mapping[Kind, int] = {"layer": 4096, "image": 8192, "boot": 4096, "publish": 1}
MEMORY: Mapping[Kind, int] = {"layer": 2048, "image": 2048, "boot": 512, "publish": 256}
#: The factor on measured usage, to allow for a small increase.
MARGIN = 1.25
#: The maximum number of seconds that a job may be held.
HELD = 900
REPORT = "report"


@dataclass(frozen=True, slots=True)
class Workflow:
    """The input of a workflow: `names` are the nodes' names by the keys of the graph.

    `inputs` are those of each node's job in addition to the common ones; `home` is the absolute directory; `python`
    runs roost on the access point; `container` is an image with roost's dependencies and tools for the jobs.
    """

    graph: Graph
    names: Mapping[str, str]
    inputs: Mapping[str, Sequence[str]]
    home: Path
    python: Sequence[str]
    path: str
    container: str | None = None
    jobs: int | None = None
    used: Mapping[str, Usage] = field(default_factory=dict)


def names(graph: Graph) -> dict[str, str]:
    """Return a node name for each key of a graph."""
    labels = [f"{node.kind}_{node.key.split('/')[-1].split(' ')[-1]}" for node in graph]
    return dict(zip((node.key for node in graph), dag.names_of(labels), strict=True))


def render(flow: Workflow) -> str:
    """Return the workflow's text."""
    kinds = {node.kind for node in flow.graph}
    throttles = {str(kind): most for kind, most in THROTTLES.items() if kind in kinds}
    if flow.jobs is not None:
        throttles |= {kind: flow.jobs for kind in ("image", "boot") if kind in kinds}
    nodes = [_node(flow, node, throttles) for node in flow.graph]
    nodes.append(dag.Node(REPORT, "report.sub", final=True))
    remarks = ("Written by inv factory --dag. condor_submit_dag factory.dag runs it, and resumes it after a failure.",)
    return dag.render(dag.Dag(nodes, str(flow.home), throttles, remarks))


def _node(flow: Workflow, node: Node, throttles: Mapping[str, int]) -> dag.Node:
    name = flow.names[node.key]
    variables = {"node": name}
    if node.kind != "publish":
        seen = flow.used.get(name)
        asked = node.needs.memory // MIB + MEMORY["boot"] if node.kind == "boot" else MEMORY[node.kind]
        variables |= {
            "inputs": ", ".join(flow.inputs[node.key]),
            "memory": str(max(asked, int(seen.memory * MARGIN)) if seen else asked),
            "disk": str(max(512, int(seen.disk * MARGIN)) if seen else DISK[node.kind]),
        }
    parents = [flow.names[key] for key in node.after]
    category = node.kind if node.kind in throttles else None
    return dag.Node(name, f"{node.kind}.sub", variables, parents, retries=RETRIES, unless=HOPELESS, category=category)


def descriptions(flow: Workflow) -> dict[str, str]:
    """Return the submit descriptions by file name."""
    kinds = {node.kind for node in flow.graph}
    found = {f"{kind}.sub": _remote(flow, kind) for kind in ("layer", "image", "boot") if kind in kinds}
    if "publish" in kinds:
        found["publish.sub"] = _local(flow, "publish", "$(node)")
    found["report.sub"] = _local(flow, "report", REPORT)
    return found


def _remote(flow: Workflow, kind: Kind) -> str:
    """Return the description of jobs that run on any machine and return one archive and one result."""
    key = ", verdict.key" if kind == "boot" else ""
    lines = [
        f"# {kind}: a job of inv factory; factory.dag gives node, inputs, memory and disk.",
        "universe = vanilla",
        "executable = node",
        'arguments = "$(node)"',
        *([f"container_image = {flow.container}"] if flow.container else []),
        f"transfer_input_files = wheels, index.tar, tasks/$(node).json, $(inputs){key}",
        *(["encrypt_input_files = verdict.key"] if key else []),
        "transfer_output_files = $(node).tar, $(node).result.json",
        'transfer_output_remaps = "$(node).tar = out/$(node).tar; $(node).result.json = results/$(node).result.json"',
        "should_transfer_files = YES",
        "when_to_transfer_output = ON_EXIT",
        "request_cpus = 1",
        "request_memory = $(memory)",
        "request_disk = $(disk)M",
        # A held job waits for a person, who is absent at night: the node fails and is retried.
        f"periodic_remove = {policy.stuck(HELD)}",
        'requirements = (TARGET.OpSys == "LINUX") && (TARGET.Arch == "X86_64")',
    ]
    return _with_logs(lines, "$(node)")


def _local(flow: Workflow, kind: str, node: str) -> str:
    """Return the description of a job on the access point."""
    words = [*flow.python[1:], "-m", "roost.cli.factory_job", "--at", str(flow.home)]
    lines = [
        f"# {kind}: a job of inv factory on the access point.",
        "universe = local",
        f"executable = {flow.python[0]}",
        f'arguments = "{_words(words)} {node}"',
        f'environment = "{_words([f"PYTHONPATH={flow.path}"])}"',
        "getenv = HOME, PATH, XDG_*, AWS_*, ROOST_*, SSH_AUTH_SOCK, HTTP_PROXY, HTTPS_PROXY, http_proxy, https_proxy",
    ]
    return _with_logs(lines, node)


def _with_logs(lines: Sequence[str], node: str) -> str:
    common = [f"output = log/{node}.out", f"error = log/{node}.err", "notification = never", "queue"]
    return "\n".join([*lines, *common]) + "\n"


def _words(words: Sequence[str]) -> str:
    """Return words in the new syntax of arguments and environment, with quotes doubled (condor_submit's manual)."""

    def one(word: str) -> str:
        word = dag.value(word).replace('"', '""')
        return "'" + word.replace("'", "''") + "'" if re.search(r"[\s']", word) or not word else word

    return " ".join(one(word) for word in words)
