"""DAG files: the nodes of a workflow with their descriptions, directories and VARS, and what DAGMan would refuse.

They are read as DAGMan does (HTCondor manual, DAGMan; condor_utils/dag_parser.cpp), collecting all mistakes. SPLICE
and INCLUDE are followed; SUBDAG, a separate DAG, is not. Nothing is run, and no error is raised.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence

from roost.condor.submit import dag_commands, dag_graph
from roost.condor.submit.dag_lines import Line, Word, WordError, lines
from roost.condor.submit.dag_model import MAX_DEPTH, MAX_FILES, MAX_NODES, MAX_TEXT, Dag, Node, Scope, Text
from roost.condor.submit.source_text import BLANKS
from roost.errors import Location

#: Returns the text of a file, by its path relative to the directory of the DAG, or None when it cannot be read.
Reader = Callable[[str], str | None]


def read(text: str, file: str, read_file: Reader) -> Dag:
    """Return the workflow of a DAG file; splices and includes are read by `read_file`."""
    dag = Dag(root=posixpath.dirname(file))
    _Reader(dag, Scope("", ""), read_file, (posixpath.basename(file),)).scope(text, file)
    return dag


class _Reader:
    """Reads the files of one scope."""

    def __init__(self, dag: Dag, scope: Scope, read_file: Reader, within: tuple[str, ...]) -> None:
        self.dag, self.own, self.read_file = dag, scope, read_file
        #: The files being read, outermost first.
        self.within = within

    def scope(self, text: str, file: str) -> None:
        self.file(text, file)
        dag_graph.check(self.dag, self.own)

    def file(self, text: str, file: str) -> None:
        self.dag.files += 1
        if len(text) > MAX_TEXT:
            self.dag.mistake(Location(file, 1, 1), f"only the first {MAX_TEXT >> 20} MiB were read", refused=False)
            text = text[:MAX_TEXT]
        pending = iter(_without_bodies(list(lines(text, file)), text, file, self.dag))
        for line, body in pending:
            if line.continued:
                what = "a backslash continues a line before HTCondor 25 only"
                self.dag.mistake(line.where, what, "write it on one line", refused=False)
            try:
                self.line(line, line.words(), body)
            except WordError as error:
                self.dag.mistake(error.where, str(error))

    def line(self, line: Line, words: list[Word], body: Text | None) -> None:
        command = words[0].text.upper().replace("-", "_")
        if command in dag_commands.NODES:
            self.node(command, words, body)
        elif command == "SPLICE":
            self.splice(words)
        elif command == "INCLUDE":
            self.include(words)
        elif command == "SUBMIT_DESCRIPTION":
            self.description(words, body)
        elif command == "VARS":
            name, variables = dag_commands.variables(words, self.dag)
            if name is not None:
                self.own.references.append((name, True))
                self.own.settings.append((name, variables))
        else:
            dag_commands.other(command, line, words, self.dag, self.own)

    def node(self, command: str, words: list[Word], body: Text | None) -> None:
        at = words[0].where
        if command == "SUBDAG":
            if len(words) < 2 or not words[1].says("EXTERNAL"):
                self.dag.mistake(at, "SUBDAG lacks the word EXTERNAL", "SUBDAG EXTERNAL NODE FILE.dag")
                return
            words = words[1:]
        if len(words) < 3:
            lacking = "the name of a node" if len(words) < 2 else "a submit description"
            self.dag.mistake(at, f"{command} lacks {lacking}", f"{command} NODE FILE.sub")
            return
        name, description = words[1], words[2]
        if name.says(*dag_commands.RESERVED):
            self.dag.mistake(name.where, f"{name.text} is a word of the DAG language, not a name for a node")
            return
        if "+" in name.text:
            self.dag.mistake(name.where, f"the name {name.text} has a +, which DAGMan keeps for splices")
        made = Node(self.own.prefix + name.text, command, description.text, at, self.own.directory, body)
        dag_commands.options(made, words[3:], self.dag)
        if not self.add(name):
            return
        if command == "FINAL":
            if self.own.final is not None:
                self.dag.mistake(at, "there is a second FINAL node", "a DAG has one")
            self.own.final = name
        if command == "SUBDAG":
            self.dag.sub_dags.append((posixpath.join(made.directory, description.text), description.where))
        if len(self.dag.nodes) >= MAX_NODES:
            if len(self.dag.nodes) == MAX_NODES:
                self.dag.mistake(at, f"only the first {MAX_NODES} nodes are judged", refused=False)
            made.idle = True
        self.dag.nodes[made.name] = made

    def add(self, name: Word) -> bool:
        """Record a node or splice of this scope; return whether its name is new."""
        first = self.own.members.setdefault(name.text, name.where)
        if first is not name.where:
            self.dag.mistake(name.where, f"{name.text} is already defined: {first}", "name each node differently")
        return first is name.where

    def description(self, words: list[Word], body: Text | None) -> None:
        if len(words) < 3 or body is None:
            hint = "SUBMIT-DESCRIPTION NAME {, the description, and } on a line of its own"
            self.dag.mistake(words[0].where, "SUBMIT-DESCRIPTION lacks its name or its text", hint)
        elif words[1].text in self.dag.descriptions:
            what = f"the description {words[1].text} is already defined: DAGMan keeps the first"
            self.dag.mistake(words[1].where, what, refused=False)
        else:
            self.dag.descriptions[words[1].text] = body

    def splice(self, words: list[Word]) -> None:
        at = words[0].where
        if len(words) < 3 or len(words) not in {3, 5} or (len(words) == 5 and not words[3].says("DIR")):
            self.dag.mistake(
                at, "SPLICE takes a name, a DAG file, and optionally a directory", "SPLICE NAME FILE.dag [DIR D]"
            )
            return
        directory = posixpath.join(self.own.directory, words[4].text) if len(words) == 5 else self.own.directory
        if not self.add(words[1]):
            return
        path = posixpath.join(directory, words[2].text)
        text = self.text(path, words[2])
        if text is not None:
            scope = Scope(f"{self.own.prefix}{words[1].text}+", directory)
            below = _Reader(self.dag, scope, self.read_file, (*self.within, posixpath.normpath(path)))
            below.scope(text, posixpath.join(self.dag.root, path))

    def include(self, words: list[Word]) -> None:
        if len(words) != 2:
            self.dag.mistake(words[0].where, "INCLUDE takes the name of a file", "INCLUDE FILE.dag")
            return
        path = posixpath.join(self.own.directory, words[1].text)
        text = self.text(path, words[1])
        if text is not None:
            self.within = (*self.within, posixpath.normpath(path))
            self.file(text, posixpath.join(self.dag.root, path))
            self.within = self.within[:-1]

    def text(self, path: str, word: Word) -> str | None:
        if posixpath.normpath(path) in self.within:
            self.dag.mistake(word.where, f"{word.text} includes itself", "break the circle")
            return None
        if len(self.within) >= MAX_DEPTH or self.dag.files >= MAX_FILES:
            what = f"{word.text} is not read: more than {MAX_DEPTH} files in each other, or {MAX_FILES} in all"
            self.dag.mistake(word.where, what, refused=False)
            return None
        text = self.read_file(path)
        if text is None:
            self.dag.mistake(word.where, f"the file {path} is not here, so its nodes are not judged", refused=False)
        return text


def _without_bodies(found: Sequence[Line], text: str, file: str, dag: Dag) -> Sequence[tuple[Line, Text | None]]:
    """Return each line with the description that begins on it, if any: `{` to `}`, or `@=TAG` to `@TAG`."""
    result: list[tuple[Line, Text | None]] = []
    physical = text.split("\n")
    until = 0
    for line in found:
        if line.where.line <= until:
            continue
        parts = line.text.split()
        opener = next((part for part in parts[2:3] if part.startswith(("{", "@="))), None)
        command = parts[0].upper().replace("-", "_")
        if opener is None or command not in {*dag_commands.NODES, "SUBMIT_DESCRIPTION"} or command == "SUBDAG":
            result.append((line, None))
            continue
        end = "}" if opener.startswith("{") else f"@{opener[2:]}"
        number = line.where.line
        last = number
        while last < len(physical) and not _closes(physical[last].strip(BLANKS), end):
            last += 1
        if last == len(physical) or end == "@":
            dag.mistake(line.where, f"the description is never closed by a line {end}", "put it on a line of its own")
        body = "\n" * number + "\n".join(physical[number:last])
        # The rest of the line after the end mark belongs to the command: `} DIR x`.
        rest = physical[last].strip(BLANKS)[len(end) :] if last < len(physical) else ""
        until = last + 1
        result.append((Line(f"{line.text}{rest}", line.where, line.continued), Text(body, file)))
    return result


def _closes(line: str, end: str) -> bool:
    return line == end or line.startswith(f"{end} ")
