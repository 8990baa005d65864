"""Files of the recipe that the image runs: a mode without x, lines that end in CR, a missing interpreter.

They are run by the job, first_boot and run commands, and by systemd units, cron and init scripts among the files. Only
what the recipe itself determines is checked here: what a command may change first, or a package may bring, is checked
when the finished image is read back (`disk.readback_programs`). For what the kernel does with each file see execve(2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from roost.errors import Problem
from roost.host import executable, rooted
from roost.preflight.placed import Placed, at, content_key, head, placed, text
from roost.recipe.command_words import FIRST_LINE, programs
from roost.recipe.loader import Loaded
from roost.recipe.words import shown

#: Commands that can change files without naming them.
_CHANGES = re.compile(r"\b(?:chmod|install|dos2unix|find|xargs|sed|rsync|tar|make|ansible\w*|setfacl|python\d?|perl)\b")
#: Interpreters that busybox does not replace.
_NAMED = re.compile(r"(?:python|perl|ruby|node|lua|php|tclsh|Rscript|bash|zsh|ksh|fish)[\d.]*")
_UNITS = re.compile(r"/(?:etc|usr/lib|lib|usr/local/lib)/systemd/system/[^/]+\.service(?:\.d/[^/]+\.conf)?")
_UNIT_LINE = re.compile(r"^Exec\w+[ \t]*=[ \t]*[-@:+!|]*[ \t]*(/[^\s\"';]+)", re.MULTILINE)
_CRONTABS = re.compile(r"/etc/crontab|/etc/cron\.d/[\w-]+")
_CRON_LINE = re.compile(r"^(?:@\w+|(?:[\w*/,-]+[ \t]+){5})[ \t]*[a-z_][\w-]*[ \t]+(/[^\s\"';&|<>]+)", re.MULTILINE)
#: Scripts that are run because of their directory; run-parts(8) accepts only letters, digits, _ and - in names.
_RUN_BY_PLACE = re.compile(r"/etc/(?:cron\.(?:hourly|daily|weekly|monthly)|init\.d|rc\.local$)(?:/[A-Za-z0-9_-]+)?")


@dataclass(frozen=True, slots=True)
class Use:
    """A program that is run: `who` describes by what; `script` means that a shell reads it, so that it needs no x."""

    path: str
    who: str
    before: tuple[str, ...] = ()
    script: bool = False


def problems(loaded: Loaded) -> list[Problem]:
    """Return what keeps files of the recipe from being run, each once."""
    everything = placed(loaded)
    found: dict[tuple[int, str], Problem] = {}
    for use in _uses(loaded, everything):
        one = at(everything, use.path)
        if one is None or _may_change(loaded, everything, use, one):
            continue
        for kind, problem in _wrong(loaded, everything, one, use):
            found.setdefault((one.number, kind), problem)
    return list(found.values())


def _uses(loaded: Loaded, everything: Sequence[Placed]) -> Iterator[Use]:
    recipe = loaded.recipe
    run = tuple(one.command for one in recipe.commands)
    for number, command in enumerate(run):
        for path, script in programs(command):
            yield Use(path, f"run command {number + 1}", run[:number], script)
    for number, command in enumerate(recipe.first_boot):
        for path, script in programs(command):
            yield Use(path, f"first_boot command {number + 1}", (*run, *recipe.first_boot[:number]), script)
    if recipe.job is not None:
        for path, script in programs(recipe.job.command):
            yield Use(path, "the job", (*run, *recipe.first_boot), script)
    for one in everything:
        if one.kind != "file":
            continue
        pattern = _UNIT_LINE if _UNITS.fullmatch(one.path) else _CRON_LINE if _CRONTABS.fullmatch(one.path) else None
        if pattern is not None:
            for path in pattern.findall(text(loaded, one)):
                yield Use(path, one.path, run)
        elif _RUN_BY_PLACE.fullmatch(one.path) and (head(loaded, one, 2) or b"") == b"#!":
            yield Use(one.path, "the system, because of its place,", run)


def _may_change(loaded: Loaded, everything: Sequence[Placed], use: Use, one: Placed) -> bool:
    """Return whether an earlier command, or cloud-init, may change the file."""
    if loaded.recipe.cloud_init is not None and "run command" not in use.who:
        return True
    parents = [one.path.rpartition("/")[0]]
    while parents[-1]:
        parents.append(parents[-1].rpartition("/")[0])
    names = {one.path, use.path, one.path.rpartition("/")[2], *(parent for parent in parents if parent)}
    own = {other.path for other in everything if other.kind == "file"}
    for command in use.before:
        if _CHANGES.search(command) or any(name in command for name in names):
            return True
        if any(path in command for path in own):
            return True
    return False


def _wrong(loaded: Loaded, everything: Sequence[Placed], one: Placed, use: Use) -> Iterator[tuple[str, Problem]]:
    path, who = shown(one.path), shown(use.who)
    entry = loaded.recipe.files[one.number]
    if one.kind == "directory":
        if not use.script:
            yield "kind", loaded.problem(("files", one.number, "path"), f"{path} is a directory, and {who} runs it")
        return
    if not use.script and not one.executable:
        copied = one.source is not None and entry.mode is None
        what = f"{path} is not executable (mode {one.mode:04o}), and {who} runs it"
        place = "mode" if entry.mode is not None else "path"
        hint = f'write mode: "0755"{f", or chmod +x {shown(str(one.source))}" if copied else ""}'
        yield "mode", loaded.problem(("files", one.number, place), what, hint)
    begin = head(loaded, one)
    where = content_key(loaded, one)
    other = executable.foreign(begin or b"")
    if other is not None and (not use.script or "UTF-16" in other):
        hint = "save it as UTF-8 without a byte order mark" if "UTF-16" in other else "build it for linux/amd64"
        yield "format", loaded.problem(where, f"{path} {other}, and {who} runs it", hint)
        return
    if begin is None or b"\0" in begin:
        return
    line = begin.partition(b"\n")[0]
    if begin.startswith(b"\xef\xbb\xbf"):
        what = f"{path} begins with a byte order mark: the kernel sees no #! in it, and {who} runs it"
        yield "mark", loaded.problem(where, what, "save it as UTF-8 without a byte order mark")
    elif line.endswith(b"\r"):
        what = f"the first line of {path} ends in CR, which becomes part of a name there, and {who} runs it"
        yield "cr", loaded.problem(where, what, "convert it to Unix line endings: sed -i 's/\\r$//'")
    elif line.startswith(b"#!") and not use.script:
        if len(line) > FIRST_LINE:
            yield "length", loaded.problem(where, f"the first line of {path} is longer than {FIRST_LINE} bytes")
        elif (words := line[2:].split()) and not words[0].startswith(b"/"):
            what = f"the interpreter of {path} has no absolute path, and {who} runs it"
            yield "relative", loaded.problem(where, what, "write #!/bin/sh, or #!/usr/bin/env NAME")
        elif apart := executable.one_word(line.decode("utf-8", "replace")):
            yield "words", loaded.problem(where, f"the first line of {path} {shown(apart, 200)}, and {who} runs it")
        elif absent := _absent(loaded, everything, line[2:].decode("utf-8", "replace").split()):
            what = f"{path} needs {shown(absent)}, which is not in the tree, and {who} runs it"
            yield "interpreter", loaded.problem(where, what, "add it to the tree, or write another first line")


def _absent(loaded: Loaded, everything: Sequence[Placed], words: Sequence[str]) -> str | None:
    """Return the interpreter of a `#!` line if the image certainly lacks it; None if it exists or this is unknown."""
    if not words:
        return None
    provided = at(everything, words[0])
    if provided is not None:
        return words[0] if provided.kind == "directory" or not provided.executable else None
    tree = loaded.recipe.os.source.directory
    if tree is None or loaded.recipe.run or not _NAMED.fullmatch(words[0].rpartition("/")[2]):
        return None
    try:
        present = rooted.resolve(loaded.directory / tree, words[0].lstrip("/")).exists()
    except (OSError, ValueError):
        return None
    return None if present else words[0]
