"""Mistakes of newcomers: each call ends with its code and says what is wrong, where, and what to do. No traceback.

The calls run as a person makes them, in a project with the shipped recipes and in an environment of their own.
"""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import roost
from tests.fake_tools import FakeTools
from tests.publish import lab

RECIPE = """\
name: {name}
os: {{debian: {{suite: bookworm}}}}
disks: [{{name: root, partitions: [{{mount: /, free: 64MiB}}]}}]
"""


#: Where nobody answers.
NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Mistake:
    """A call, its exit code, and the parts of what it says; `files` are laid into the project, `env` over it.

    `closed` are files and directories that nobody may read, and the call runs without root's right to read them all the
    same; neither does a `bare` one. `tools` come first on PATH. `before` is Python that is run in the process before
    roost: what no test can have otherwise, such as an older Python. {proxy} in `env` is a proxy that refuses all.
    """

    call: str
    code: int
    said: tuple[str, ...]
    files: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    under: str = ""
    closed: tuple[str, ...] = ()
    tools: dict[str, str] = field(default_factory=dict)
    before: str = ""
    bare: bool = False


#: What a QEMU says where /dev/kvm opens and the host's hypervisor keeps it from working.
REFUSES = "echo 'qemu-system-x86_64: error: failed to set MSR 0x10a to 0x0' >&2; exit 1"
LYING_KVM = """
from pathlib import Path
from roost.boot import host_kernels, probe
Path("dev-kvm").write_text("")
probe.DEVICE = Path("dev-kvm")
host_kernels.kernels = lambda: iter([Path("dev-kvm")])
"""
CHROOT = """
import os
os.geteuid = lambda: 1000
from roost.host import namespace
namespace.root_is_mounted = lambda: False
"""


def recipe(text: str) -> dict[str, str]:
    """Return a recipe my.yaml that says `text` beside its name and disks."""
    return {"recipes/my.yaml": RECIPE.format(name="my") + text}


MISTAKES = [
    # The words of a call.
    Mistake("bilud smoke", 2, ("no such task: 'bilud'", "Did you mean build?")),
    Mistake("frobnicate", 2, ("no such task: 'frobnicate'", "`inv --list` shows the tasks")),
    Mistake("help bulid", 2, ("no such task: 'bulid'", "Did you mean build?")),
    Mistake("build", 2, ("build needs NAME", "inv help build")),
    Mistake("build smoke --frce", 2, ("no such flag: '--frce'", "Did you mean --force?")),
    Mistake("build smoke --qqq", 2, ("no such flag: '--qqq'", "inv help build")),
    Mistake("build smok", 2, ("no such recipe: 'smok'", "did you mean smoke?")),
    Mistake("build smoke.yaml", 2, ("no such recipe: 'smoke.yaml'", "did you mean smoke?")),
    Mistake("build elsewhere/smoke", 2, ("no such recipe: 'elsewhere/smoke'", "did you mean smoke?")),
    Mistake("boot there/smoke", 2, ("is a directory, not a recipe", "did you mean smoke?"), {"there/smoke/x": ""}),
    Mistake("boot ./disk.vmdk", 2, ("disk.vmdk: a disk image (vmdk)", "name the recipe"), {"disk.vmdk": "KDMV"}),
    Mistake("check ./my.vmdk", 2, ("my.vmdk: a disk image (vmdk)", "name the recipe"), {"my.vmdk": "KDMV"}),
    Mistake("check ./my.sub", 2, ("my.sub: a submit description", "inv lint my.sub"), {"my.sub": "x = 1\nQueue 3\n"}),
    Mistake("lint recipes/smoke.yaml", 2, ("is a recipe", "inv check recipes/smoke.yaml")),
    Mistake("boot debian-12", 2, ("debian-12 is not built yet", "inv build debian-12")),
    Mistake("boot smoke --hypervisor vmware", 2, ("no such hypervisor: 'vmware'", "kvm or xen")),
    Mistake("boot smoke --machine i440", 2, ("no such machine: 'i440'", "pc or q35")),
    Mistake("boot smoke --keep", 2, ("--keep needs --interactive", "inv boot NAME --interactive --keep")),
    Mistake(
        "run smoke --jobs j.csv out --local 1 --retries 3", 2, ("--retries is for runs with --dag", "leave it out")
    ),
    Mistake("run smoke --jobs j.csv out --max-jobs 3", 2, ("--max-jobs is for runs with --dag", "leave it out")),
    Mistake("run --resume out --max-disks 3", 2, ("--max-disks is for runs with --dag", "leave it out")),
    Mistake("run smoke --jobs j.csv out --require-kvm", 2, ("--require-kvm is for runs with --local", "leave it out")),
    Mistake("run smoke --jobs j.csv --dag out --accel tcg", 2, ("--accel is for runs with --local", "leave it out")),
    Mistake("build smoke --set machine.memry=1GiB", 2, ("unknown key 'memry'", "did you mean memory?")),
    Mistake("build smoke --set machine.memory", 2, ("needs key=value", "--set machine.memory=2GiB")),
    Mistake("new Bad_Name", 2, ("'Bad_Name' is not a valid image name", "lower-case letters")),
    Mistake("new sim --distribution fedora", 2, ("--distribution fedora", "debian-12")),
    Mistake(
        "new ./shut/sim.yaml",
        3,
        ("Permission denied", "mode of shut: it belongs to you"),
        {"shut/x": ""},
        closed=("shut",),
    ),
    Mistake("new sim --memory much", 2, ("--memory: 'much' is not a size", "512MiB")),
    Mistake("new ./shut/a/b.yaml", 3, ("shut/a", "mode of shut: it belongs to you"), {"shut/x": ""}, closed=("shut",)),
    Mistake("new smoke", 2, ("smoke.yaml exists", "choose another name")),
    Mistake("gc --older-than yesterday", 2, ("--older-than: 'yesterday' is not a time", "30d")),
    Mistake("gc --cap 99999999999999TiB", 2, ("--cap: '99999999999999TiB' is too large", "1024 TiB")),
    Mistake("collect --max-size much a b", 2, ("--max-size: 'much' is not a size", "512MiB")),
    Mistake("run smoke --jobs j.csv out --timeout soon", 2, ("--timeout: 'soon' is not a time", "4h")),
    Mistake(f"gc /nowhere --keep {'9' * 5000}", 2, ("is neither a number nor NAME@VERSION", "sim@2026.11")),
    Mistake("diff smoke", 2, ("smoke is not built yet", "inv build smoke")),
    Mistake("packages smoke@1", 2, ("nothing was published from this project", "--from URL")),
    # Files and places.
    Mistake("lint nosuch.sub", 2, ("no such file: 'nosuch.sub'", "inv lint FILE.sub")),
    Mistake("lint", 2, ("which file?", "standard input")),
    Mistake("collect io-7.raw results", 2, ("no such file: 'io-7.raw'", "the directory for the results last")),
    Mistake("io smoke data.csv -o io.raw", 2, ("no such file or directory: 'data.csv'", "looked in")),
    Mistake("publish smoke", 2, ("no catalogue to publish to", "--to DIRECTORY")),
    Mistake("publish smoke --to ftp://host/x", 2, ("ftp://", "s3://BUCKET/PREFIX")),
    Mistake("catalogue --from nowhere", 2, ("no such directory: '", "nowhere'", "the directory of a catalogue")),
    Mistake("verify nowhere", 2, ("no such directory: '", "nowhere'")),
    Mistake("gc nowhere --keep 1", 2, ("no such directory: '", "nowhere'")),
    Mistake("submit smoke --from nowhere", 2, ("no such directory: '", "nowhere'")),
    Mistake("catalogue --from empty", 2, ("empty is not a catalogue", "inv publish NAME --to URL"), {"empty/x": ""}),
    Mistake("run smoke --jobs nosuch.csv out", 2, ("no such file: 'nosuch.csv'", "comma-separated")),
    Mistake("run smoke --jobs nosuch.yaml out", 2, ("no such file: 'nosuch.yaml'", "a sweep")),
    Mistake("boot nosuch.sub", 2, ("no such file: ", "'nosuch.sub'")),
    Mistake("explain nosuch.log", 2, ("no such file: 'nosuch.log'", "inv explain FILE")),
    Mistake("lint --dag nosuch.dag", 2, ("no such file: 'nosuch.dag'", "inv lint FILE")),
    Mistake("kernels --extract nosuch.raw out", 2, ("no such image: ", "'nosuch.raw'")),
    Mistake("io smoke inv.txt -o nowhere/io.raw", 2, ("no such directory: '", "mkdir -p"), {"inv.txt": ""}),
    # A recipe.
    Mistake("check my", 2, ("recipes/my.yaml:4:1", "unknown key 'pakages'"), recipe("pakages: [vim]\n")),
    Mistake("check my", 2, ("recipes/my.yaml:5:1: a tab", "indent with blanks"), recipe("machine:\n\tmemory: 1GiB\n")),
    Mistake(
        "check my", 2, ("recipes/my.yaml:4:", "'much' is not a size", "512MiB"), recipe("machine: {memory: much}\n")
    ),
    Mistake(
        "check my",
        2,
        ("recipes/my.yaml:4:", "files/nope"),
        recipe('files: [{path: /x, source: files/nope, mode: "0644"}]\n'),
    ),
    Mistake("check my", 2, ("recipes/my.yaml:4:", "vmware"), recipe("hypervisors: [vmware]\n")),
    # The host.
    Mistake("catalogue --from http://127.0.0.1:9/x", 3, ("127.0.0.1:9", "is it reachable")),
    Mistake("build smoke", 3, ("ROOST_CACHE", "a directory of yours"), {"cache": ""}, {"ROOST_CACHE": "cache"}),
    Mistake("build smoke", 3, ("/proc/roost", "set ROOST_CACHE"), {}, {"ROOST_CACHE": "/proc/roost"}),
    # Missing tools.
    Mistake("build smoke", 3, ("mmdebstrap is not installed", "apt-get install mmdebstrap"), {}, {"PATH": "/nowhere"}),
    Mistake(
        "ssh smoke -- true", 3, ("ssh is not installed", "apt-get install openssh-client"), {}, {"PATH": "/nowhere"}
    ),
    Mistake("ssh smoke", 2, ("smoke is not built yet", "inv build smoke")),
    Mistake("ssh smoke --user 'a b'", 2, ("--user a b: not the name of an account", "--user root")),
    Mistake("ssh smoke --json", 2, ("--json needs a command", "inv ssh smoke --json -- uname -a")),
    # No network, a proxy that is not there, another architecture, no space.
    Mistake(
        f"build smoke --set os.debian.mirror={NOWHERE}/debian",
        3,
        (f"the archive does not answer: {NOWHERE}/debian", "is the network up? check os.debian.mirror"),
    ),
    Mistake(
        "build smoke --set os.debian.mirror=http://deb.example.invalid/debian",
        3,
        ("the archive does not answer: http://deb.example.invalid/debian", f"does the proxy {NOWHERE} let this"),
        {},
        {"http_proxy": NOWHERE},
    ),
    Mistake(
        "build smoke --set os.debian.mirror=http://deb.example.invalid/debian",
        3,
        ("http://deb.example.invalid/debian", "status 403", "does the proxy {proxy} let this through?"),
        env={"http_proxy": "{proxy}"},
    ),
    Mistake(
        "build smoke --set os.debian.mirror=https://deb.example.invalid/debian",
        3,
        ("https://deb.example.invalid/debian", "403 Forbidden", "does the proxy {proxy} let this through?"),
        env={"https_proxy": "{proxy}"},
    ),
    Mistake("verify http://images.example.invalid/x", 3, ("cannot list it", "403"), env={"http_proxy": "{proxy}"}),
    # Who may not: a closed home, files of somebody else.
    Mistake(
        "build smoke",
        3,
        ("closed/.cache/roost", "permission denied", "set ROOST_CACHE to a directory of yours"),
        {"closed/x": ""},
        {"HOME": "{project}/closed"},
        closed=("closed",),
    ),
    Mistake(
        "check theirs",
        2,
        ("recipes/theirs.yaml:", "cannot be read: Permission denied"),
        {"recipes/theirs.yaml": "x"},
        closed=("recipes/theirs.yaml",),
    ),
    Mistake(
        "check my",
        2,
        ("recipes/my.yaml:4:28: 'files/theirs' cannot be read", "check the permissions of"),
        {**recipe('files: [{path: /x, source: files/theirs, mode: "0644"}]\n'), "recipes/files/theirs": "x"},
        closed=("recipes/files/theirs",),
    ),
    Mistake(
        "lint theirs.sub",
        2,
        ("theirs.sub cannot be read: Permission denied", "check the owner and mode of theirs.sub: it belongs to"),
        {"theirs.sub": "x"},
        closed=("theirs.sub",),
    ),
    # A host that cannot: a /dev/kvm that lies, a chroot, an old Python.
    Mistake(
        "boot ready --accel kvm",
        3,
        ("KVM does not work here: QEMU refuses KVM: failed to set MSR 0x10a", "nested virtualization"),
        before=LYING_KVM,
        tools={"qemu-system-x86_64": REFUSES},
    ),
    Mistake(
        "boot ready --accel kvm",
        3,
        ("KVM does not work here: nowhere/kvm does not exist", "kvm_intel"),
        before='from pathlib import Path\nfrom roost.boot import probe\nprobe.DEVICE = Path("nowhere/kvm")',
        tools={"qemu-system-x86_64": REFUSES},
    ),
    Mistake(
        "doctor",
        3,
        ("cannot make a user namespace: this is a chroot, where the kernel allows none", "with systemd-nspawn"),
        before=CHROOT,
        tools={"qemu-system-x86_64": REFUSES, "unshare": "exit 1", "newuidmap": "", "newgidmap": ""},
    ),
    Mistake(
        "doctor",
        3,
        ("cannot make a mount and a process namespace as root", "--cap-add=SYS_ADMIN", "apptainer exec --fakeroot"),
        before="import os\nos.geteuid = lambda: 0",
        tools={"qemu-system-x86_64": REFUSES},
        bare=True,
    ),
    Mistake(
        "build smoke",
        3,
        ("roost needs Python 3.11 or later", " is 3.9", "make the virtual environment with theirs"),
        before="import sys\nsys.version_info = (3, 9, 2)",
    ),
    Mistake("check smoke --set os.debian.architecture=arm64", 2, ("'arm64'", "did you mean amd64?")),
    Mistake("schema -o /dev/full", 3, ("/dev/full cannot be written: No space left", "name a file")),
    Mistake("build smoke", 2, ("SOURCE_DATE_EPOCH", "1767225600"), {}, {"SOURCE_DATE_EPOCH": "today"}),
    Mistake("recipes >/dev/full", 3, ("standard output cannot be written", "No space left")),
    Mistake("recipes", 3, ("the current directory does not exist any more", "cd to one"), under="gone"),
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = lab.project(tmp_path_factory.mktemp("project"))
    smoke = project / "recipes/smoke.yaml"
    smoke.with_name("ready.yaml").write_text(smoke.read_text().replace("name: smoke", "name: ready"))
    lab.built(project, name="ready")
    return project


class _Refuses(http.server.BaseHTTPRequestHandler):
    """A proxy that lets nothing through."""

    def do_GET(self) -> None:
        self.send_error(403, "Forbidden by the site's rules")

    do_HEAD = do_CONNECT = do_GET  # noqa: N815 - the names that the server looks for

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def proxy() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def closed(paths: Sequence[Path]) -> Iterator[None]:
    """Take away all rights to paths."""
    modes = {path: path.stat().st_mode for path in paths}
    try:
        for path in paths:
            path.chmod(0)
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


@pytest.mark.parametrize("one", MISTAKES, ids=lambda one: f"{one.call[:40]} {one.said[-1][:16]}")
def test_a_mistake_is_reported_with_what_to_do(one: Mistake, project: Path, proxy: str, tmp_path: Path) -> None:
    for name, text in one.files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    tools = FakeTools(tmp_path / "tools")
    for name, script in one.tools.items():
        tools.put(name, script)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROOST", "XDG", "SOURCE_DATE"))}
    env = {**kept, "PYTHONPATH": str(Path(roost.__file__).parents[1]), "HOME": str(project), **one.env}
    env = {name: value.replace("{proxy}", proxy).replace("{project}", str(project)) for name, value in env.items()}
    env |= {"PATH": f"{tools.directory}:{env['PATH']}"} if one.tools else {}
    program = f"{one.before}\nimport runpy\nrunpy.run_module('roost', run_name='__main__', alter_sys=True)"
    start = '-c "$1"' if one.before else "-m roost"
    # Root reads what is closed: without its capabilities it does not.
    bare = "setpriv --bounding-set=-all --inh-caps=-all " if (one.closed or one.bare) and os.geteuid() == 0 else ""
    gone = "mkdir gone && cd gone && rmdir ../gone && " if one.under == "gone" else ""
    with closed([project / name for name in one.closed]):
        done = subprocess.run(
            ["/bin/sh", "-c", f'{gone}{bare}"$0" -P {start} {one.call}', sys.executable, program],
            cwd=project,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
    text = done.stdout + done.stderr
    assert "Traceback" not in text and "a bug in roost" not in text, text
    assert done.returncode == one.code, text
    for part in one.said:
        assert part.replace("{proxy}", proxy) in text, text


def test_there_are_thirty_of_them() -> None:
    assert len(MISTAKES) >= 30
    assert all(len(one.said) >= 2 for one in MISTAKES)
