"""The commands that README and docs show: which words stand for what, and who runs those that one small image cannot.

A block without a language, or of `sh`, is of commands, one a line. A command is typed by
tests/images/test_documented_commands.py unless it is in ELSEWHERE or IMPOSSIBLE.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.documented import PAGES, PROJECT, blocks

#: Pages that a test of their own types from top to bottom.
TYPED = {"docs/tutorial.md": "tests/images/test_tutorial.py"}

_CATALOGUE = r"(?:/srv/images|(?<!osdf://)/ospool/\S+/images|s3://\w+/images)(?=[\s/]|$)"
#: What a page calls by an example's name, and what it is in the test, in this order.
MEANT = (
    (r"\s+#.*$", ""),
    (r"^\./inv |^roost ", "inv "),
    # Names of images and recipes; one image may be called by several.
    (r"(?<![\w/.-])(?:recipes/)?(?:cloud|sim)\.yaml", "sim"),
    (r"(?<![\w/.-])(?:debian-12|sim-trixie-large|sim-fast)(?![\w.])", "sim"),
    (r" debian-13(?= --publish)", ""),
    (r"(?<=/)debian-12\b", "sim"),
    (r"\bsim@(?:[\d.]+(?:-\w+)?|VERSION)", "sim@VERSION"),
    (r"inv new sim", "inv new fresh && rm -r recipes/fresh.yaml recipes/files/fresh"),
    (r"inv build \./my/sim\.yaml", "inv build recipes/sim.yaml"),
    (r"tools/\*\.yaml", "recipes/*.yaml"),
    # What the image has already: nothing is built for it.
    (r"machine\.memory=2GiB", "machine.memory=256MiB"),
    # smoke, which the tests share, has a side for xen.
    (r"inv submit sim --hypervisor xen", "inv submit xen/smoke.yaml --hypervisor xen"),
    # Places.
    (rf"--to {_CATALOGUE} --public", "--to elsewhere --public"),
    (_CATALOGUE, "images"),
    (r"io-\*\.raw", "io-12*.raw"),
    (r"me\.pub", "images/allowed_signers"),
    (r"--resume (?:night|out)/", "--resume out/"),
    # The longer of two calls for the same: each takes a second, or ten.
    (r"inv boot sim$", "inv boot sim --console"),
    (
        r"inv factory(?: --junit junit\.xml --markdown summary\.md| sim)?$",
        "inv factory sim recipes/*.yaml --publish images --keep 3",
    ),
    (
        r"--changed-since origin/main$",
        r'--changed-since origin/main --junit junit.xml --markdown "$GITHUB_STEP_SUMMARY" --html report/',
    ),
    (r"--dag (?:night|out)/$", "--dag night/ --max-jobs 200 --retries 2"),
    (r'"(VMGAHP_\w+)"', r"\1"),
    # Their directory is that of a version; a tree of a user's is packed by root.
    (r"^(ssh-keygen -Y verify|sha256sum -c)", r"cd images/sim/VERSION && \1"),
    (r"^sudo tar", "tar"),
)

#: Commands that another test runs: a pattern, the test's file, and what that has of the command.
ELSEWHERE = (
    (r"condor_submit (?:kvm|xen|sums)\.sub", "tests/pool/inside.py", "condor_submit"),
    (r"condor_submit_dag night/", "tests/pool/sessions/workflow.py", '"condor_submit_dag"'),
    (r"condor_submit_dag nightly/", "tests/pool/sessions/nightly.py", '"condor_submit_dag"'),
    (r"inv run sim --jobs jobs\.csv \w+/$", "tests/pool/sessions/ten.py", '"run"'),
    (r"inv run sim --jobs jobs\.csv \w+/ --local", "tests/images/test_run.py", '"--local"'),
    (r"inv factory .*--dag nightly/", "tests/images/test_factory.py", '"--dag"'),
    (r"inv boot sim --hypervisor xen", "tests/images/test_boot_xen.py", '"xen"'),
    (r"inv boot \S+\.sub", "tests/images/test_boot_xen.py", 'roost("boot", str(directory / "xen.sub")'),
    (r"inv boot sim --interactive", "tests/images/test_boot_interactive.py", '"--interactive"'),
    (r"inv kernels --extract", "tests/images/test_kernels.py", '"--extract"'),
    (r"inv diff debian-12|inv diff sim debian-13", "tests/images/test_diff.py", '"diff"'),
    (r"inv build sim --locked", "tests/unit/pipeline/test_lock.py", "locked=held"),
    (r"inv shell\b", "tests/images/test_shell.py", '"shell"'),
    (r"inv ssh\b", "tests/images/test_customize_systemd.py", '"ssh"'),
    (r"inv repro ", "tests/images/test_repro.py", '"repro"'),
    (r"inv probe(?: --install .*)?$", "tests/pool/conftest.py", "story.install"),
    (r"virt-make-fs ", "tests/images/test_existing_debian.py", "virt-make-fs"),
    (r"inv (?:test|check-code)\b", ".ci/run", "./inv test"),
    (r"\.venv/bin/python -m docs\.generate", "tests/unit/docs/test_reference.py", "docs.generate"),
)

#: Commands that no test can run, and why.
IMPOSSIBLE = (
    (r"\.ci/(?:run|fresh)\b", "they are the run that this test is part of, and a fresh machine's"),
    (r"\.venv/bin/mkdocs serve", "serves until it is stopped; the tests build the same site"),
    (r"\.venv/bin/python docs/pictures/make\.py", "writes to the working copy; the tests read the picture"),
    (r"inv bench\b", "builds and boots in rounds, for minutes, beside mkosi"),
    (r"podman |apptainer ", "needs a container engine"),
    (r"pip download ", "downloads hundreds of MB"),
    (r"mkosi build", "roost does not install mkosi"),
    (r"B=ROOT|XEN_FSIMAGE_FSDIR=", "needs two packages of Xen that are unpacked by hand"),
    (r"condor_status ", "needs machines that advertise the probe"),
)

#: Commands that are to end with another status than 0.
STATUS = ((r"inv lint old\.sub|inv lint - ", 1),)


@dataclass(frozen=True)
class Command:
    """A command of a page, as it stands there, and as it is typed in the test."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        """Name it, for messages."""
        return f"{self.page}:{self.line}: {self.text}"

    @property
    def typed(self) -> str:
        """What is typed in the test for it."""
        text = self.text
        for pattern, meant in MEANT:
            text = re.sub(pattern, meant, text)
        return text.strip()

    @property
    def status(self) -> int:
        """The exit status that it is to have."""
        return next((status for pattern, status in STATUS if re.match(pattern, self.typed)), 0)

    def among(self, table: tuple[tuple[str, ...], ...]) -> tuple[str, ...] | None:
        """Return the line of ELSEWHERE or IMPOSSIBLE that it is in."""
        return next((one for one in table if re.search(rf"(?:^|&& ){one[0]}", self.typed)), None)


def commands() -> Iterator[Command]:
    """Yield the commands of all pages but TYPED, README's and those of the help first."""
    first = ("README.md", "tasks.md")
    for path in sorted(PAGES, key=lambda one: (one.name not in first, str(one))):
        if str(path.relative_to(PROJECT)) in TYPED:
            continue
        for block in blocks(path):
            if block.language in {"", "sh"}:
                for line in re.sub(r"\s*\\\n\s*", " ", block.text).splitlines():
                    if line.strip() and "[--FLAG...]" not in line:
                        yield Command(block.page, block.line, line)
