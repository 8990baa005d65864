"""What README and docs show: blocks of code, calls of roost, recipes; and a place where such recipes can be checked."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docs.generate import recipe
from roost.cli.main import ns
from roost.cli.program import Roost
from roost.pipeline import check

PROJECT = Path(__file__).resolve().parents[1]
PAGES = sorted(path for path in [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *(PROJECT / "docs").rglob("*.md")])
#: Words in the place of a task that stand for any.
ANY = {"TASK", ""}
_SEPARATORS = {"&&", "||", "|", ";", "&"}


@dataclass(frozen=True)
class Block:
    """A block of code of a page: where it begins, its language and title as the fence says, its text."""

    page: str
    line: int
    language: str
    title: str
    text: str

    def __str__(self) -> str:
        """Name it, for the list of tests."""
        return f"{self.page}:{self.line}"


def blocks(path: Path) -> Iterator[Block]:
    """Yield a page's blocks, fenced and indented."""
    name = str(path.relative_to(PROJECT))
    lines = path.read_text().splitlines()
    number = 0
    while number < len(lines):
        start = number
        if fence := re.fullmatch(r"```(\w*)(?: title=\"(.*)\")?", lines[number]):
            number = lines.index("```", number + 1)
            yield Block(name, start + 1, fence[1], fence[2] or "", "\n".join(lines[start + 1 : number]) + "\n")
        elif lines[number].startswith("    ") and not lines[number - 1].strip():
            while number < len(lines) and (lines[number].startswith("    ") or not lines[number].strip()):
                number += 1
            text = "\n".join(line[4:] for line in lines[start:number]).rstrip() + "\n"
            yield Block(name, start + 1, "", "", text)
            continue
        number += 1


def calls(block: Block) -> Iterator[list[str]]:
    """Yield the words of each call of roost in a block of commands, without what the shell takes."""
    for line in re.sub(r"\\\n\s*", "", block.text).splitlines():
        if (
            re.match(r"\s*(?:\$ )?(?:\S+=\S+ )*(?:cd \S+ && )?(?:\./inv|inv|roost) ", line)
            and "[--FLAG...]" not in line
        ):
            yield from _calls(line.removeprefix("$ "))


def mentions(path: Path) -> Iterator[list[str]]:
    """Yield the calls in the running text of a page: code that begins with `inv`. They need not be whole."""
    prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for text in re.findall(r"`(?:\./)?inv ([^`\n]+)`", prose):
        yield from _calls(f"inv {text}")


def _calls(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    skip = False
    for word in [*lexer, ";"]:
        if word in _SEPARATORS:
            if words and Path(words[0]).name in {"inv", "roost"}:
                yield words[1:]
            words = []
        elif word in {"<", ">", ">>"}:
            skip = True
        elif skip:
            skip = False
        elif words or not re.fullmatch(r"\w+=.*", word):
            words.append(word)


def parse(words: list[str]) -> list[str]:
    """Return the tasks that a call names, as roost's own parser reads it; raise `UsageError` for a wrong call."""
    words = words[: words.index("--")] if "--" in words else words
    program = Roost(name="roost", version="0", namespace=ns, binary="roost")
    program.create_config()
    program.parse_core(["roost", *words])
    program.parse_collection()
    program.parse_tasks()
    if words[:1] == ["help"]:
        assert set(words[1:]) <= {*ns.task_names, *ANY}, words
        return ["help"]
    return [str(one.name) for one in program.tasks]


def unknown(words: list[str]) -> list[str]:
    """Return the words of a mention that roost does not know: a task, or a flag of it."""
    task, *rest = words
    if task in {*ANY, "help"} or task.startswith("-"):
        return []
    if task not in ns.task_names:
        return [task]
    contexts = {str(one.name): one for one in ns.to_contexts()}
    flags = {name.replace("_", "-").rstrip("-") for name in contexts[task].flags}
    return [word for word in rest if word.startswith("-") and word.strip("-") and word.partition("=")[0] not in flags]


class Bench:
    """A directory in which recipes that are shown can be checked: the files that they name are made."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("head", "sim", "sim-base", "base-image"):
            text = recipe.HEAD.replace("name: sim", f"name: {name}")
            (directory / f"{name}.yaml").write_text(text)
        (directory / "site.yaml").write_text("machine: {memory: 2GiB}\n")
        (directory / "files").mkdir()
        (directory / "secrets").mkdir()
        for name in ("example.asc", "site.asc"):
            shutil.copy("/usr/share/keyrings/debian-archive-keyring.gpg", directory / "files" / name)
        (directory / "secrets/job").write_text(f"$6$saltsalt${'a' * 86}\n")

    def problems(self, text: str) -> list[str]:
        """Return what `inv check` finds in a recipe; one without a name is laid over the head."""
        if not re.search(r"^name:", text, re.MULTILINE):
            text = text.replace("extends: [base/debian.yaml, ", "extends: [head.yaml, ", 1)
            if re.search(r"^os: \{(tree|tarball|image)|^os:\n  (tree|tarball|image):", text, re.MULTILINE):
                # Another source than the head's: a recipe of its own, of which name, job and disks may be left out.
                disks = "" if "disks:" in text else "disks: [{name: root, partitions: [{mount: /, free: 64MiB}]}]\n"
                job = 'job: {command: "true"}\n' if "role: io" in text and "job:" not in text else ""
                text = f"name: shown\n{disks}{job}{text}"
            elif not re.search(r"^extends:", text, re.MULTILINE):
                text = f"extends: [head.yaml]\n{text}"
        path = self.directory / "shown.yaml"
        path.write_text(text)
        for _ in range(8):
            found: list[str] = check.check([str(path)])["recipes"][0]["problems"]
            missing = [one for one in found if self._made(one)]
            if not missing:
                return found
        return found

    def _made(self, problem: str) -> bool:
        """Make what a problem says is missing; return whether it was."""
        wanted = re.search(r"no such ([\w ]+): '.*' \(looked for (/[^)]+)\)", problem)
        if not wanted or not Path(wanted[2]).is_relative_to(self.directory):
            return False
        path = Path(wanted[2])
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".qcow2" or "packer" in path.name:
            raw = path.with_name(f"{path.name}.raw")
            with raw.open("wb") as file:
                file.write(bytes(510) + b"\x55\xaa")  # a boot sector's last bytes
                file.truncate(1 << 30)
            subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(path)], check=True)
            raw.unlink()
        elif wanted[1] == "directory" or (not path.suffix and path.parent.name != "files" and path.name != "run"):
            path.mkdir()
            (path / "etc").mkdir()
        elif ".tar" in path.name:
            path.write_bytes(bytes(10 << 10))  # a tar without members
        else:
            path.write_text("#cloud-config\n{}\n" if path.name == "user-data.yaml" else "x\n")
        return True
