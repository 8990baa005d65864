"""The only process that loads libguestfs: it opens disks and answers calls, one JSON object a line.

`roost.host.guestfs` starts it by its path and kills it when the deadline passes. It uses only the standard library and
libguestfs' own module, since it may run under another Python than roost (the one that has the module).

Standard input: first {"disks": [{"path", "format", "readonly"}], "memory", "verbose", "clock", "network"}, then
{"call", "args", "options"} each; `clock` is null, or the initial time of the appliance's clock in seconds since 1970.
Standard output: one {"result"} or {"error"} for each; bytes are encoded as {"base64"}. Standard error: the log.
"""

import base64
import contextlib
import datetime
import json
import os
import sys
import tempfile
import threading
from typing import Any


def _encoded(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, dict):
        return {key: _encoded(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encoded(entry) for entry in value]
    if isinstance(value, str):
        # Names in an image are bytes; libguestfs returns invalid UTF-8 as lone surrogates.
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return value


def _answer(message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


_line_open = False


def _log(event: int, _handle: int, buffer: Any, _array: Any) -> None:
    """Write a message to the log; pieces of the appliance's console as they come, which may be parts of a line."""
    import guestfs

    global _line_open  # noqa: PLW0603 - what standard error ends with belongs to the process
    text = buffer if isinstance(buffer, str) else bytes(buffer).decode("utf-8", "replace")
    if event != guestfs.EVENT_APPLIANCE:
        text = ("\n" if _line_open else "") + (text if text.endswith("\n") else text + "\n")
    if text:
        _line_open = not text.endswith("\n")
    sys.stderr.write(text)
    sys.stderr.flush()


def _open(request: Any) -> Any:
    import guestfs

    handle = guestfs.GuestFS(python_return_dict=True)
    handle.set_event_callback(
        _log, guestfs.EVENT_APPLIANCE | guestfs.EVENT_LIBRARY | guestfs.EVENT_TRACE | guestfs.EVENT_WARNING
    )
    handle.set_trace(True)
    handle.set_verbose(bool(request["verbose"]))
    handle.set_memsize(int(request["memory"]))
    handle.set_network(bool(request.get("network")))
    # The kernel probes SCSI disks in parallel and names them in the order in which the probes finish. Without
    # preemption this is the order of their addresses, so that few starts fail (appliance.py).
    handle.set_append("preempt=none")
    for disk in request["disks"]:
        options = {} if disk["readonly"] else {"discard": "besteffort"}
        handle.add_drive_opts(disk["path"], format=disk["format"], readonly=bool(disk["readonly"]), **options)
    if request.get("clock") is not None:
        base = datetime.datetime.fromtimestamp(int(request["clock"]), datetime.timezone.utc)  # noqa: UP017 - another Python
        handle.config("-rtc", base.strftime("base=%Y-%m-%dT%H:%M:%S"))
    launched = threading.Event()
    threading.Thread(target=_remember, args=(launched,), daemon=True).start()
    try:
        handle.launch()
    finally:
        launched.set()
    return handle


def _sockets() -> "set[str]":
    """Return the directories of the sockets that this process listens on (proc(5), net/unix: inode, path)."""
    mine = set()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
            if target.startswith("socket:["):
                mine.add(target[8:-1])
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as table:  # noqa: PTH123
        fields = [line.split() for line in table]
    return {os.path.dirname(one[7]) for one in fields if len(one) == 8 and one[6] in mine}  # noqa: PTH120


def _remember(launched: threading.Event) -> None:
    """Record where libguestfs' sockets are, for the cleanup after a kill (roost.host.temporary).

    Root's are in /tmp, whatever the configuration, and libguestfs has no call that returns the path.
    """
    directory = os.environ.get("LIBGUESTFS_TMPDIR")
    while directory is not None and not launched.wait(0.01):
        with contextlib.suppress(OSError):
            found = sorted(_sockets())
            if found:
                with open(os.path.join(directory, "elsewhere"), "w", encoding="utf-8") as file:  # noqa: PTH118, PTH123
                    file.write("".join(f"{one}\n" for one in found))
                return


def _names(handle: Any, directory: str) -> Any:
    """Return the names in a directory; the bindings' own `ls` crashes on names that are not UTF-8."""
    with tempfile.NamedTemporaryFile(dir=os.environ.get("LIBGUESTFS_TMPDIR")) as listing:
        handle.ls0(directory, listing.name)
        names = listing.read().split(b"\0")
    return [name.decode("utf-8", "replace") for name in names if name]


def _call(handle: Any, name: str, arguments: Any, options: Any) -> Any:
    if name == "names":
        return _names(handle, *arguments)
    given = [base64.b64decode(one["base64"]) if isinstance(one, dict) else one for one in arguments]
    return getattr(handle, name)(*given, **options)


def main() -> None:
    """Answer calls until standard input ends."""
    handle = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if handle is None:
                handle = _open(request)
                _answer({"result": None})
            else:
                _answer(
                    {"result": _encoded(_call(handle, request["call"], request["args"], request.get("options", {})))}
                )
        except Exception as error:  # any exception of the bindings is an answer
            _answer({"error": _encoded(str(error))})
    if handle is not None:
        # Closing shuts down what is still running.
        handle.close()


if __name__ == "__main__":
    main()
