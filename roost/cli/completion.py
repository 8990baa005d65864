"""Tab completion in bash, zsh and fish: tasks, flags, the values that flags take, recipes.

The shells' scripts pass the words before the cursor and add file names themselves. Only the list of tasks is loaded:
recipes are completed by their file names, versions by their directories.
"""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

from invoke.collection import Collection

from roost.cli import manual, values
from roost.errors import UsageError
from roost.host import paths

#: Tasks whose first word is the name of a recipe.
NAMED = frozenset(word for word, page in manual.PAGES.items() if page.words.strip("[]").startswith("NAME")) | {"diff"}
#: Those that accept several recipes.
SEVERAL = frozenset({"check", "diff", "factory"})
#: The name of an image, in a word NAME@VERSION.
_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]{0,200}")
#: Longer command lines are not completed.
MOST = 1000

_BASH = """\
_roost() {
  # bash splits --flag=value and NAME@VERSION, not always alike: the words are those between blanks. $2 is the end of
  # the last one that readline replaces.
  local line="${COMP_LINE:0:COMP_POINT}" found
  local -a words all
  read -r -a words <<<"$line"
  [[ $line != *[[:space:]] ]] || words+=("")
  COMPREPLY=()
  found=$("${words[0]}" --complete -- "${words[@]:1}" 2>/dev/null) || return 0
  local IFS=$'\\n'
  all=($found)
  all=("${all[@]#"${words[${#words[@]}-1]%"$2"}"}")
  COMPREPLY=($(compgen -W "${all[*]}" -- "$2"))
}
complete -o default -F _roost inv roost
"""
_ZSH = """\
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -D }
_roost() {
  local -a found
  found=(${(f)"$("${words[1]}" --complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
  (( $#found )) && compadd -a found || _files
}
compdef _roost inv roost
"""
_FISH = """\
function __roost
  set -l words (commandline -opc) (commandline -ct)
  $words[1] --complete -- $words[2..-1] 2>/dev/null
end
complete -c inv -a '(__roost)'
complete -c roost -a '(__roost)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def script(shell: str) -> str:
    """Return the script that a shell reads once. Raises `UsageError` for an unsupported shell."""
    if shell not in SCRIPTS:
        raise UsageError(f"there is no completion for the shell {shell!r}", hint=f"one of {', '.join(SCRIPTS)}")
    return SCRIPTS[shell]


def candidates(collection: Collection, remainder: str) -> list[str]:
    """Return all candidates for the last word; the shell filters them by prefix."""
    try:
        words = shlex.split(remainder)
    except ValueError:
        return []
    words = words[1:] if words[:1] == ["--"] else words
    if len(words) > MOST:
        return []
    *before, last = words or [""]
    task = next((word for word in before if word in collection.task_names), None)
    if task is None:
        return ["help", *sorted(collection.task_names)] if before in ([], ["help"]) else []
    arguments = collection[task].get_arguments()
    flags = {f"--{name.replace('_', '-').strip('-')}": one for one in arguments for name in one.names if len(name) > 1}
    flag, equals, _ = last.partition("=")
    if not equals or flag not in flags:
        flag, equals = before[-1], ""
    wanted = flags.get(flag)
    if wanted is not None and wanted.takes_value and not wanted.positional:
        found = values.CHOICES.get(flag.removeprefix("--"), ())
        start = f"{flag}=" if equals else ""
        return [f"{start}{one}" for one in (*found, *_versions(task, before, last.removeprefix(start)))]
    if last.startswith("-"):
        return sorted(name for name, one in flags.items() if not one.positional)
    names = "@" not in last and task in NAMED and (before[-1] == task or task in SEVERAL)
    return _recipes() if names else _versions(task, before, last)


def _versions(task: str, before: list[str], word: str) -> list[str]:
    """Return candidates for a word NAME@: the versions of an image in a catalogue that is a local directory."""
    name, at, _ = word.partition("@")
    if not at or not _NAME.fullmatch(name):
        return []
    place = _catalogue(task, before, name)
    if not place or "://" in place:
        return []
    try:
        entries = itertools.islice((Path(place) / name).iterdir(), MOST)
        return sorted(f"{name}@{one.name}" for one in entries if (one / "release.json").is_file())
    except (OSError, ValueError):
        return []


def _catalogue(task: str, before: list[str], name: str) -> str:
    """Return the catalogue named by a call, else the one where the image was published from here."""
    for number, word in enumerate(before):
        if word == "--from":
            return before[number + 1] if number + 1 < len(before) else ""
        if word.startswith("--from="):
            return word.removeprefix("--from=")
    after = before[before.index(task) + 1 :]
    if task == "gc":
        return after[0] if after and not after[0].startswith("-") else ""
    from roost.host import jsontext

    try:
        return str(jsontext.read(paths.project_root() / "build" / name / "published.json")["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _recipes() -> list[str]:
    """Return the names of the recipes, by their files."""
    directory = paths.project_root() / "recipes"
    try:
        return sorted(one.stem for one in directory.iterdir() if one.suffix == ".yaml" and one.is_file())
    except OSError:
        return []
