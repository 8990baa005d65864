"""Tab completion in bash, zsh and fish: tasks, flags, the values that flags take, recipes.

The shells' scripts hand the words before the cursor over and add file names of their own. Nothing is loaded but the
list of tasks: recipes are completed by the names of their files.
"""

from __future__ import annotations

import shlex

from invoke.collection import Collection

from roost.cli import manual, values
from roost.errors import UsageError
from roost.host import paths

#: Tasks whose first word is the name of a recipe.
NAMED = frozenset(word for word, page in manual.PAGES.items() if page.words.strip("[]").startswith("NAME"))
#: More words than these complete nothing.
MOST = 1000

_BASH = """\
_roost() {
  local IFS=$'\\n'
  COMPREPLY=()
  local found
  found=$("${COMP_WORDS[0]}" --complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null) || return 0
  COMPREPLY=($(compgen -W "$found" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _roost inv roost
"""
_ZSH = """\
_roost() {
  local -a found
  found=("${(@f)$("${words[1]}" --complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  compadd -a found
  _files
}
compdef _roost inv ./inv roost
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
    """Return the script that a shell reads once. Raises `UsageError` for another shell."""
    if shell not in SCRIPTS:
        raise UsageError(f"there is no completion for the shell {shell!r}", hint=f"one of {', '.join(SCRIPTS)}")
    return SCRIPTS[shell]


def candidates(collection: Collection, remainder: str) -> list[str]:
    """Return what the last of the words may become, all of it: the shell keeps what begins as that word does."""
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
    flags = {f"--{name.replace('_', '-')}": one for one in arguments for name in one.names if len(name) > 1}
    wanted = flags.get(before[-1])
    if wanted is not None and wanted.takes_value and not wanted.positional:
        return list(values.CHOICES.get(before[-1].removeprefix("--"), ()))
    if last.startswith("-"):
        return sorted(name for name, one in flags.items() if not one.positional)
    return _recipes() if task in NAMED and (before[-1] == task or task == "check") else []


def _recipes() -> list[str]:
    """Return the names of the recipes, by their files."""
    directory = paths.project_root() / "recipes"
    try:
        return sorted(one.stem for one in directory.iterdir() if one.suffix == ".yaml" and one.is_file())
    except OSError:
        return []
