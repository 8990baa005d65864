"""The program that libguestfs runs instead of QEMU for a saved machine (`roost.host.saved_appliance`); it becomes QEMU.

A script in the directory of the machine calls it, with its own path and the arguments of libguestfs. Queries of QEMU's
capabilities are passed on. A machine gets its own disk for the appliance, and either a monitor, through which QEMU is
asked to save itself, or the saved state, and a channel to libguestfs on which the daemon has already reported itself.
The state is valid only for the same arguments, file names aside: with any others this program fails, as it does when a
file of the machine has changed.

It uses only the standard library and starts without site-packages, since every opening of a disk waits for it.
"""

import json
import os
import re
import socket
import sys
import zlib

#: Next to the script: the state of the machine, the disk that it wrote to, the sizes and checksums of both when they
#: were saved, and the arguments (`comparable`).
STATE, DISK, RECORD, ARGUMENTS = "state", "disk.qcow2", "machine.json", "arguments.json"
#: In the worker's directory: the socket of QEMU's monitor while saving; the list of libguestfs' directories elsewhere;
#: a mark that a machine was restored.
MONITOR, ELSEWHERE, RESTORED = "monitor", "elsewhere", "restored"
#: The daemon's message that it is up (libguestfs, common/protocol: GUESTFS_LAUNCH_FLAG), encoded as XDR.
_LAUNCHED = (0xF5F55FF5).to_bytes(4, "big")
#: Has a restored kernel take new random numbers at once (Linux source: drivers/virt/vmgenid.c). Without it, what it is
#: given is used only some seconds later.
_GENERATION = ["-device", "vmgenid,guid=auto"]
_FILE = re.compile(r"(?<![^,])((?:file\.)*(?:file|filename))=(?:[^,]|,,)*")
_CHANNEL = re.compile(r"socket,path=((?:[^,]|,,)+),id=(\w+)")


def is_machine(arguments: "list[str]") -> bool:
    """Return whether QEMU is to run a machine for libguestfs, not to report its capabilities."""
    return any(_CHANNEL.fullmatch(one) for one in arguments)


def comparable(arguments: "list[str]") -> "list[str]":
    """Return the arguments without file names and without the value that libguestfs measured on this host (lpj=)."""
    found = []
    for one in arguments:
        channel = _CHANNEL.fullmatch(one)
        if channel:
            found.append(f"socket,path=,id={channel[2]}")
        else:
            found.append(re.sub(r"\blpj=\d+ ?", "", _FILE.sub(r"\1=", one)))
    return found


def channel_of(arguments: "list[str]") -> str:
    """Return the path of the socket on which libguestfs waits for the daemon."""
    (found,) = [one for one in map(_CHANNEL.fullmatch, arguments) if one]
    return found[1].replace(",,", ",")


def _own_disk(arguments: "list[str]", directory: str, more: str) -> "list[str]":
    """Return the arguments with the appliance's disk replaced by the one in `directory`."""
    (old,) = [one for one in arguments if "id=appliance" in one.split(",")]
    file = os.path.join(directory, DISK).replace(",", ",,")  # noqa: PTH118
    new = f"file={file},id=appliance,cache=unsafe,if=none,format=qcow2{more}"
    return [new if one == old else one for one in arguments]


def saving(arguments: "list[str]", directory: str, monitor: str) -> "list[str]":
    """Return the arguments of a machine that will be saved."""
    monitor = monitor.replace(",", ",,")
    return [*_own_disk(arguments, directory, ""), *_GENERATION, "-qmp", f"unix:{monitor},server=on,wait=off"]


def restoring(arguments: "list[str]", directory: str, channel: int, state: int) -> "list[str]":
    """Return the arguments of a machine that restores a state; `channel` and `state` are descriptors."""
    found = _own_disk(arguments, directory, ",snapshot=on")
    found = [_CHANNEL.sub(rf"socket,fd={channel},id=\2", one) if _CHANNEL.fullmatch(one) else one for one in found]
    return [*found, *_GENERATION, "-incoming", f"fd:{state}"]


def sums(directory: str) -> "dict[str, list[int]]":
    """Return size and CRC-32 of the files of a machine, to detect accidental damage; only roost writes there."""
    found = {}
    for name in (STATE, DISK):
        size = crc = 0
        with open(os.path.join(directory, name), "rb") as file:  # noqa: PTH118, PTH123
            while block := file.read(1 << 20):
                size, crc = size + len(block), zlib.crc32(block, crc)
        found[name] = [size, crc]
    return found


def _write(directory: str, name: str, text: str) -> None:
    with open(os.path.join(directory, name), "w", encoding="utf-8") as file:  # noqa: PTH118, PTH123
        file.write(text)


def _restored(arguments: "list[str]", directory: str, own: str) -> "list[str]":
    with open(os.path.join(directory, RECORD), encoding="utf-8") as file:  # noqa: PTH118, PTH123
        record = json.load(file)
    if record["arguments"] != comparable(arguments):
        sys.exit("roost: the saved machine is of other arguments")
    if record["files"] != sums(directory):
        sys.exit("roost: the saved machine is damaged")
    path = channel_of(arguments)
    # The path is no longer among QEMU's arguments, where the cleanup after a kill would find it.
    _write(own, ELSEWHERE, os.path.dirname(path) + "\n")  # noqa: PTH120
    # Both are written before libguestfs learns that the daemon is up.
    _write(own, RESTORED, "")
    state = os.open(os.path.join(directory, STATE), os.O_RDONLY)  # noqa: PTH118
    channel = socket.socket(socket.AF_UNIX)
    channel.connect(path)
    channel.sendall(_LAUNCHED)
    for descriptor in (state, channel.fileno()):
        os.set_inheritable(descriptor, True)
    return restoring(arguments, directory, channel.detach(), state)


def main() -> None:
    """Become QEMU: `sys.argv` has its path, that of the script, and the arguments."""
    qemu, script, *arguments = sys.argv[1:]
    directory, own = os.path.dirname(script), os.environ["LIBGUESTFS_TMPDIR"]  # noqa: PTH120
    if is_machine(arguments):
        if os.path.exists(os.path.join(directory, RECORD)):  # noqa: PTH110, PTH118
            arguments = _restored(arguments, directory, own)
        else:
            _write(directory, ARGUMENTS, json.dumps(comparable(arguments)))
            arguments = saving(arguments, directory, os.path.join(own, MONITOR))  # noqa: PTH118
    os.execv(qemu, [qemu, *arguments])


if __name__ == "__main__":
    main()
