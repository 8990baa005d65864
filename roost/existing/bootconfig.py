"""Boot loader configurations of an existing image, with kernel parameters added. Pure: text in, text out.

Supported are grub.cfg and the files from which grub-mkconfig makes it, entries of the Boot Loader Specification,
extlinux and syslinux. Existing parameters are kept; the same parameter with another value is the image's own choice,
except for console=, of which there can be several; the last one is /dev/console.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Paths of boot loader configurations, by the function that edits them; `*` is any name in a directory.
GRUB = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")
GRUB_DEFAULTS = "/etc/default/grub"
BLS = "/boot/loader/entries"
SYSLINUX = (
    "/boot/extlinux/extlinux.conf",
    "/boot/extlinux.conf",
    "/extlinux.conf",
    "/boot/syslinux/syslinux.cfg",
    "/syslinux.cfg",
)
_KERNEL = re.compile(r"^(\s*(?:linux|linux16|linuxefi)\s+\S+)(.*)$")
_SCREEN = re.compile(r"^(\s*)(insmod\s+(?:all_video|gfxterm\w*|vbe|vga|video_\w+|efi_\w+|ieee1275_fb)\s*)$")
_OUTPUT = re.compile(r"^(\s*)terminal_output\s+(?:gfxterm|console)\s*$")
_ROOT = re.compile(r"(?<=[\s\"'])root=/dev/(?:sd|vd|xvd|hd)[a-z]+\d*(?=[\s\"']|$)", re.MULTILINE)
_SERIAL = "serial --unit=0 --speed=115200"
_DEFAULT = re.compile(r"^(\s*GRUB_CMDLINE_LINUX=)(.*)$")
_OPTIONS = re.compile(r"^(options\s)(.*)$")
_APPEND = re.compile(r"^(\s*append\s)(.*)$", re.IGNORECASE)
_KERNEL_LABEL = re.compile(r"^\s*(kernel|linux)\s+\S+", re.IGNORECASE)


def missing(line: str, words: Sequence[str]) -> list[str]:
    """Return the words that a command line lacks."""
    present = line.split()
    names = {word.partition("=")[0] for word in present}
    lacking = []
    for word in words:
        name, equals, value = word.partition("=")
        if name == "console":
            # console=ttyS0 and console=ttyS0,115200n8 are the same line.
            device = value.partition(",")[0]
            known = any(re.match(rf"console={re.escape(device)}(,|$)", one) for one in present)
        else:
            known = word in present or (bool(equals) and name in names)
        if not known:
            lacking.append(word)
    return lacking


def _added(line: str, words: Sequence[str]) -> str:
    return " ".join([line.rstrip(), *missing(line, words)]).lstrip() if missing(line, words) else line


def grub(text: str, words: Sequence[str]) -> str:
    """Return a grub.cfg with the words added to its kernels. Lines continued with a backslash are one line."""
    lines: list[str] = []
    for line in _logical(text):
        found = _KERNEL.match(line.replace("\\\n", " "))
        lacking = missing(found[2], words) if found else []
        lines.append(f"{line.rstrip()} {' '.join(lacking)}" if lacking else line)
    return "\n".join(lines)


def rooted(text: str, uuid: str) -> str:
    """Return a configuration whose kernels find their root by UUID: disk names differ between machines."""
    return _ROOT.sub(f"root=UUID={uuid}", text)


def grub_on_serial(text: str) -> str:
    """Return a grub.cfg for a machine without a graphics card, as HTCondor's.

    GRUB uses the serial line and does not look for a graphics card; with none present, it would hang.
    """
    lines = [_SCREEN.sub(r"\1true # no screen: \2", line) for line in text.split("\n")]
    lines = [re.sub(r"\bgfxpayload=keep\b", "gfxpayload=text", line) for line in lines]
    found = [number for number, line in enumerate(lines) if _OUTPUT.match(line)]
    for number in found:
        lines[number] = _OUTPUT.sub(r"\1terminal_output console serial", lines[number])
    if _SERIAL not in text:
        lines.insert(
            0, f"{_SERIAL}\nterminal_input console serial" + ("" if found else "\nterminal_output console serial")
        )
    return "\n".join(lines)


def grub_defaults_on_serial(text: str) -> str:
    """Return an /etc/default/grub from which a grub.cfg like that of `grub_on_serial` is made."""
    wanted = {
        "GRUB_TERMINAL": '"console serial"',
        "GRUB_SERIAL_COMMAND": f'"{_SERIAL}"',
        "GRUB_GFXPAYLOAD_LINUX": "text",
    }
    lines = [line for line in text.split("\n") if line.partition("=")[0].strip() not in wanted]
    while lines and not lines[-1]:
        lines.pop()
    return "\n".join([*lines, *(f"{key}={value}" for key, value in wanted.items())]) + "\n"


def _logical(text: str) -> list[str]:
    """Return the lines of a script, each with its continuation lines."""
    joined: list[list[str]] = []
    goes_on = False
    for line in text.split("\n"):
        if goes_on:
            joined[-1].append(line)
        else:
            joined.append([line])
        goes_on = (len(line) - len(line.rstrip("\\"))) % 2 == 1
    return ["\n".join(lines) for lines in joined]


def grub_defaults(text: str, words: Sequence[str]) -> str:
    """Return an /etc/default/grub that adds the words to every kernel when grub.cfg is generated again."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        found = _DEFAULT.match(line)
        if found is None:
            continue
        quote, value = _unquoted(found[2])
        if not missing(value, words):
            return text
        lines[number] = f"{found[1]}{quote}{_added(value, words)}{quote}"
        return "\n".join(lines)
    if text and not text.endswith("\n"):
        text += "\n"
    return f'{text}GRUB_CMDLINE_LINUX="{" ".join(words)}"\n'


def _unquoted(text: str) -> tuple[str, str]:
    """Return the quotes of a value (default: double ones), and the text between them."""
    text = text.rstrip()
    if len(text) > 1 and text[0] in "\"'" and text[-1] == text[0]:
        return text[0], text[1:-1]
    return '"', text


def bls(text: str, words: Sequence[str]) -> str:
    """Return an entry of the Boot Loader Specification with the words in its options; GRUB adds its own to them."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        found = _OPTIONS.match(line)
        if found:
            lines[number] = found[1] + _added(found[2], words)
            return "\n".join(lines)
    return f"{text.rstrip(chr(10))}\noptions {' '.join(words)}\n"


def syslinux(text: str, words: Sequence[str]) -> str:
    """Return an extlinux.conf or syslinux.cfg with the words in its APPEND lines."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        found = _APPEND.match(line)
        if found:
            lines[number] = found[1] + _added(found[2], words)
    if not any(_APPEND.match(line) for line in lines):
        append = f"\n  APPEND {' '.join(words)}"
        lines = [f"{line}{append}" if _KERNEL_LABEL.match(line) else line for line in lines]
    return "\n".join(lines)


def has_serial(text: str) -> bool:
    """Return whether a configuration makes the first serial line a console of its kernels."""
    return any(
        re.search(r"(^|\s|\"|')console=ttyS0(,|\s|\"|'|$)", line)
        for line in text.split("\n")
        if not line.lstrip().startswith("#")
    )
