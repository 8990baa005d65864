"""HTCondor's submit language: a description as statements, definitions and jobs, each with its location.

The reader follows condor_submit's own (condor_utils/config.cpp, Parse_macros): case-insensitive names, `+Attribute`,
`@=` values, if/else, include, queue statements between assignments. It runs nothing and never raises; what
condor_submit would refuse is collected as `Remark`s, and reading continues, so that all mistakes are reported at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from roost.condor.submit.conditions import ConditionError, Conditions
from roost.condor.submit.description import Description, Job, Remark, Variable
from roost.condor.submit.macros import Assignment, Expander
from roost.condor.submit.queue import arguments_of, parse_queue
from roost.condor.submit.queued import Matcher, Queued, Reader, nothing_to_match
from roost.condor.submit.source_text import Traced, logical_lines
from roost.errors import Location

MAX_BYTES = 1 << 20
MAX_INCLUDES = 16
MAX_VALUE = 1 << 16

_NAME = re.compile(r"[A-Za-z0-9_./]+")
_INCLUDE = re.compile(r"@?include(?=[\s:])", re.IGNORECASE)
_USE = re.compile(r"@?use(?=[\s:])", re.IGNORECASE)
_MESSAGE = re.compile(r"@?(error|warning)(?=[\s:])[^:=]*:", re.IGNORECASE)


def decode(data: bytes) -> str:
    """Return the text of a description; bytes that are not UTF-8 become replacement characters."""
    return data.decode("utf-8", "replace")


def read(
    text: str,
    file: str,
    read_file: Reader,
    environment: Mapping[str, str],
    match: Matcher = nothing_to_match,
    variables: Sequence[Variable] = (),
) -> Description:
    """Return the description in this text.

    `read_file` reads included files and queue items, `match` returns the names that match a pattern.
    `variables` are set from outside.
    """
    reader = _Reader(Description(file), read_file, environment, match)
    reader.preset(variables)
    if "\0" in text:
        before = text[: text.index("\0")]
        where = Location(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        reader.remark("nul-byte", where, "a NUL byte")
    reader.read(text, file, 0)
    return reader.finish()


class _Reader:
    def __init__(
        self, description: Description, read_file: Reader, environment: Mapping[str, str], match: Matcher
    ) -> None:
        self.description = description
        self.queued = Queued(description, read_file, match)
        self.read_file = read_file
        self.environment = environment
        self.table: dict[str, Assignment] = {}
        self.cut = False
        self.appended: list[Variable] = []

    def preset(self, variables: Sequence[Variable]) -> None:
        self.appended = [one for one in variables if one.append]
        self.set([one for one in variables if not one.append])

    def set(self, variables: Sequence[Variable]) -> None:
        for one in variables:
            name = f"MY.{one.name[1:]}" if one.name.startswith("+") else one.name
            self.table[name.lower()] = Assignment(name, one.value, one.value.at())
            self.description.used.add(name.lower())

    def remark(self, code: str, where: Location, what: str) -> None:
        self.description.remarks.append(Remark(code, where, what))

    def expand(self, value: Traced) -> Traced:
        expander = Expander(self.table, {}, self.environment)
        result = expander.expand(value)
        self.description.used |= expander.used
        for name, where in expander.endless.items():
            self.remark("macro-loop", where, f"$({name})")
        return result

    def read(self, text: str, file: str, depth: int) -> None:
        """Read a text; only the first lines of a very long one, and undefined names are then not reported."""
        if cut := len(text) > MAX_BYTES:
            text, self.cut = text[: text.rfind("\n", 0, MAX_BYTES) + 1 or MAX_BYTES], True
            self.remark("too-long", Location(file, 1, 1), f"only the first {MAX_BYTES >> 20} MiB were read")
        text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
        conditions = Conditions()
        heredoc: tuple[str, str, list[Traced], Traced] | None = None
        line = Traced.of("", Location(file, 1, 1))
        queues = len(self.description.queues)
        for line in logical_lines(text, file):
            if self.queued.open:
                self.queued.line(line, self.table)
            elif line.text.startswith("#"):
                continue
            elif heredoc:
                name, tag, body, head = heredoc
                if line.text == f"@{tag}":
                    self.assign(name, Traced.join(body[:-1]) if body else head.cut(0, 0), head.at())
                    heredoc = None
                else:
                    heredoc[2].extend([line, Traced.of("\n", line.at(len(line.text)), fixed=True)])
            elif not self.condition(conditions, line) and conditions.enabled:
                body_line = line.cut(1) if line.text.startswith(":") and conditions.stack else line
                heredoc = self.statement(body_line.strip(), depth)
                if len(self.description.queues) > queues:
                    # After a queue statement condor_submit starts over: an `if` around the statement is forgotten.
                    conditions.stack.clear()
                    queues = len(self.description.queues)
        self.description.end = line.at(len(line.text)) if depth == 0 else self.description.end
        if cut:
            # The rest of a list of items does not affect the lines above it.
            self.description.incomplete |= self.queued.open is None
            return
        if heredoc:
            self.remark("heredoc-open", heredoc[3].at(), f"@{heredoc[1]}")
        if conditions.stack:
            self.remark("if-open", line.at(), "endif(s) not found before end-of-file")

    def defined(self, name: str) -> bool:
        self.description.used.add(name.lower())
        return name.lower() in self.table and bool(self.table[name.lower()].value.text)

    def condition(self, conditions: Conditions, line: Traced) -> bool:
        try:
            return conditions.feed(
                line.text,
                lambda text: self.expand(Traced.of(text, line.at())).text,
                self.defined,
            )
        except ConditionError as error:
            self.remark("if-condition", line.at(), str(error))
            return True

    def statement(self, line: Traced, depth: int) -> tuple[str, str, list[Traced], Traced] | None:
        arguments = arguments_of(line)
        if arguments is not None and not re.match(r"\s*=", arguments.text):
            if depth:
                self.remark("queue", line.at(), "a queue statement is not allowed in an included file")
            self.queue(arguments)
        elif (
            _INCLUDE.match(line.text) and ":" in line.text and not re.match(r"@?include\s*=", line.text, re.IGNORECASE)
        ):
            self.include(line, depth)
        elif _USE.match(line.text) and ":" in line.text and "=" not in line.text.partition(":")[0]:
            self.description.incomplete = True
            self.remark("use-template", line.at(), line.text)
        elif match := _MESSAGE.match(line.text):
            code = "error-statement" if match[1].lower() == "error" else "warning-statement"
            self.remark(code, line.at(), self.expand(line.cut(match.end()).strip()).text)
        else:
            return self.assignment(line)
        return None

    def assignment(self, line: Traced) -> tuple[str, str, list[Traced], Traced] | None:
        match = re.match(r"([^\s=:]*)\s*(@=|\+[^\s=]{0,2}=|=)", line.text)
        if not match:
            self.remark("syntax", line.at(), line.text)
            return None
        operator = match[2]
        name = self.expand(line.cut(0, match.end(1))).text
        value = line.cut(match.end()).strip()
        if operator == "=" and name[:1] in ("+", "-"):
            self.store("MY." + name[1:], value if name[0] == "+" else value.cut(0, 0), line.at())
            return None
        if not _NAME.fullmatch(name):
            self.remark("identifier", line.at(), name)
            return None
        if operator == "@=":
            return name, value.text, [], value
        if operator != "=":
            self.remark("append-operator", line.at(match.start(2)), operator)
            old = self.table.get(name.lower())
            if old and old.value.text:
                separator = operator[1:-1]
                glue = f" {separator} " if len(separator) > 1 else separator or " "
                value = Traced.join([old.value, Traced.of(glue, line.at(match.start(2)), fixed=True), value])
        self.assign(name, value, line.at())
        return None

    def assign(self, name: str, value: Traced, where: Location) -> None:
        """Store a value; its references to itself are replaced by the old value (`path = $(path)/x`)."""
        reference = re.compile(rf"\$\({re.escape(name)}(?::([^()$]*))?\)", re.IGNORECASE)
        old = self.table.get(name.lower())
        parts: list[Traced] = []
        done = 0
        for match in reference.finditer(value.text):
            default = value.cut(match.start(1), match.end(1)) if match[1] is not None else value.cut(0, 0)
            parts += [value.cut(done, match.start()), old.value if old and old.value.text else default]
            done = match.end()
            if sum(len(part.text) for part in parts) > MAX_VALUE:
                self.remark("macro-loop", where, f"$({name})")
                return
        self.store(name, Traced.join([*parts, value.cut(done)]) if parts else value, where)

    def store(self, name: str, value: Traced, where: Location) -> None:
        entry = Assignment(name, value, where)
        self.table[name.lower()] = entry
        self.description.assignments.append(entry)

    def include(self, line: Traced, depth: int) -> None:
        head, _, _ = line.text.partition(":")
        target = self.expand(line.cut(len(head) + 1).strip()).strip()
        options = re.sub(r"(?i)^@?include", "", head).lower().split()
        if options and options[0] not in ("ifexist", "ifexists", "command", "output", "into"):
            self.remark("syntax", line.at(), line.text)
        elif {"command", "output", "into"} & set(options) or target.text.endswith("|"):
            self.description.incomplete = self.description.runs_commands = True
            self.remark("include-command", line.at(), target.text)
        elif depth >= MAX_INCLUDES:
            self.remark("include-depth", line.at(), target.text)
        else:
            self.description.opened.append(target.text)
            text = self.read_file(target.text)
            if text is not None:
                self.read(text, target.text, depth + 1)
            elif not options:
                self.description.incomplete = True
                self.remark("include-missing", target.at(), target.text)

    def queue(self, arguments: Traced) -> None:
        self.set(self.appended)
        queue = parse_queue(self.expand(arguments))
        queue.place = arguments.at()
        self.queued.begin(queue, self.table)

    def finish(self) -> Description:
        self.queued.finish(self.table, cut=self.cut)
        if not self.description.queues:
            self.set(self.appended)
            # `condor_submit -queue` and htcondor.Submit accept a description without the statement.
            self.description.jobs.append(Job(dict(self.table), {}, None, 1))
        return self.description
