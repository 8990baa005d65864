"""Ties of an image to the machine that it comes from: card addresses, services of its cloud, its servers.

Text in, notes out: each names file and line. Lines are matched, not parsed: they are untrusted, and each of the tools
that read them has its own syntax. The expressions take time linear in the text, whatever it is.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from roost.customize import fstab_reader
from roost.recipe.words import listed, shown

#: Files examined in one directory, and bytes of each.
MOST_FILES, MOST_BYTES = 200, 1 << 20

_MAC = r"(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}"
_CARD = "the address of a network card of another machine"
_CLOUD_CONFIGS = ("/etc/cloud/cloud.cfg", "/etc/cloud/cloud.cfg.d/*.cfg")
#: Datasources of cloud-init without a network (cloud-init's documentation, "Datasources"), in lower case.
_LOCAL_SOURCES = frozenset({"nocloud", "configdrive", "none", "ovf", "opennebula", "ibmcloud", "lxd", "wsl", "vmware"})
#: File systems that need a network (mount(8), fstab(5)).
_NETWORK_TYPES = frozenset(
    {"nfs", "nfs4", "cifs", "smb", "smb3", "smbfs", "ceph", "glusterfs", "lustre", "beegfs", "afs", "davfs", "sshfs",
     "ncpfs", "gfs2", "ocfs2", "pvfs2", "orangefs", "curlftpfs", "s3fs", "moosefs", "gpfs", "nbd"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that an image will run in: whether it has a network, its card's address if the recipe sets one.

    `seeded` means that the recipe gives cloud-init a NoCloud seed.
    """

    network: bool
    mac: str | None = None
    seeded: bool = False


@dataclass(frozen=True, slots=True)
class Places:
    """Access to an image: the names in a directory, and a regular file's text, None if it does not exist."""

    names: Callable[[str], Sequence[str]]
    read: Callable[[str], str | None]

    def files(self, pattern: str) -> Iterator[tuple[str, str]]:
        """Yield path and text of the matching files; only the last component of a pattern has wildcards."""
        directory, _, last = pattern.rpartition("/")
        found = [name for name in sorted(self.names(directory)) if fnmatch.fnmatchcase(name, last)]
        for name in found[:MOST_FILES]:
            text = self.read(f"{directory}/{name}")
            if text is not None and len(text) <= MOST_BYTES:
                yield f"{directory}/{name}", text


@dataclass(frozen=True, slots=True)
class _Rule:
    """A tie in lines of some files: the expression, whose first group is shown, and a description."""

    pattern: str
    line: re.Pattern[str]
    what: str


def _rules(patterns: Sequence[str], line: str, what: str) -> list[_Rule]:
    return [_Rule(pattern, re.compile(line, re.IGNORECASE), what) for pattern in patterns]


_NETWORKD = ("/etc/systemd/network/*.network", "/etc/systemd/network/*.link", "/etc/systemd/network/*.netdev")
_IFCFG = ("/etc/sysconfig/network-scripts/ifcfg-*", "/etc/sysconfig/network/ifcfg-*")
_INTERFACES = ("/etc/network/interfaces", "/etc/network/interfaces.d/*")
_KEYFILES = ("/etc/NetworkManager/system-connections/*",)
_UDEV, _NETPLAN = ("/etc/udev/rules.d/*.rules",), ("/etc/netplan/*.yaml", "/etc/netplan/*.yml")
_CARDS = [
    *_rules(_IFCFG, rf"^\s*((?:HWADDR|MACADDR|LLADDR)\s*=\s*[\"']?{_MAC})", _CARD),
    *_rules(_NETPLAN, rf"^[^#]*?(\bmacaddress[\"']?\s*:\s*[\"']?{_MAC})", _CARD),
    *_rules(_NETWORKD, rf"^\s*((?:Permanent)?MACAddress\s*=.*{_MAC})", _CARD),
    *_rules(_NETWORKD, r"^\s*(Path\s*=\s*\S*pci-\S+)", "the slot of a network card of another machine"),
    *_rules(_KEYFILES, rf"^\s*((?:cloned-)?mac-address\s*=\s*{_MAC})", _CARD),
    *_rules(_INTERFACES, rf"^\s*(hwaddress\s+(?:ether\s+)?{_MAC})", _CARD),
    *_rules(_UDEV, rf"^(?!\s*#).*(ATTRS?\{{address\}}\s*==\s*\"[^\"]*{_MAC}[^\"]*+\"?)", _CARD),
]
_RESUME = "a swap area to wake up from"
_SWAPS = _rules(
    ("/etc/initramfs-tools/conf.d/*",), r"^\s*(RESUME\s*=\s*[\"']?(?:(?:PART)?UUID=|LABEL=|/dev/)\S+)", _RESUME
)
_STATIC = "one fixed address for all jobs"
_ADDRESSES = [
    *_rules(_IFCFG, r"^\s*(IPADDR\d*\s*=\s*[\"']?[0-9.]+)", _STATIC),
    *_rules(_KEYFILES, r"^\s*(address\d*\s*=\s*[0-9.]+/\S+)", _STATIC),
    *_rules(_NETWORKD[:1], r"^\s*(Address\s*=\s*[0-9.]+/\S+)", _STATIC),
    *_rules(_INTERFACES, r"^\s*(address\s+(?!127\.)[0-9.]+\S*)", _STATIC),
    *_rules(_NETPLAN, r"^[^#]*?([0-9]{1,3}(?:\.[0-9]{1,3}){3}/[0-9]{1,2})", _STATIC),
]


def look(places: Places, machine: Machine, kept: Collection[str] = ()) -> Iterator[str]:
    """Yield a note for each tie: `path:line: what`. `kept` are paths of the recipe's own files."""
    rules = [*_CARDS, *_SWAPS, *(_ADDRESSES if machine.network else ())]
    for rule in rules:
        for path, text in places.files(rule.pattern):
            for number, line in enumerate(text.splitlines(), 1) if path not in kept else ():
                found = rule.line.search(line)
                if found is not None and not _own(found[1], machine):
                    yield f"{shown(path, 200)}:{number}: '{shown(found[1])}' is {rule.what}: {_consequence(rule.what)}"
    yield from _cloud(places, machine, kept)
    if not machine.network:
        yield from _mounts(places, kept)
    yield from _locked(places, kept)


def _own(words: str, machine: Machine) -> bool:
    return machine.mac is not None and machine.mac.lower() in words.lower().replace("-", ":")


def _consequence(what: str) -> str:
    others = {_STATIC: "two jobs would have it", _RESUME: "where no disk of the machine has it, each boot waits for it"}
    return others.get(what, "HTCondor's machine has another, and may get no network")


def untied(text: str) -> str | None:
    """Return an ifcfg file without its card's address, or None if it identifies its card by nothing else."""
    if not re.search(r"^[ \t]*DEVICE[ \t]*=[ \t]*\S", text, re.MULTILINE):
        return None
    changed = re.sub(rf"^([ \t]*HWADDR[ \t]*=[ \t]*[\"']?{_MAC})", r"#\1", text, flags=re.MULTILINE | re.IGNORECASE)
    return changed if changed != text else None


def untie(places: Places, machine: Machine, kept: Collection[str] = ()) -> Iterator[tuple[str, str, str]]:
    """Yield path, new text and note of each file whose tie can be removed, because its card has a name, too."""
    for pattern in _IFCFG:
        for path, text in places.files(pattern):
            changed = untied(text) if path not in kept else None
            if changed is None:
                continue
            number = next(
                at for at, (old, new) in enumerate(zip(text.splitlines(), changed.splitlines(), strict=True), 1)
                if old != new
            )  # fmt: skip
            line = text.splitlines()[number - 1]
            if not _own(line, machine):
                yield path, changed, f"{shown(path, 200)}:{number}: '{shown(line.strip())}' is {_CARD}: commented out"


def _cloud(places: Places, machine: Machine, kept: Collection[str]) -> Iterator[str]:
    """Yield a note on the configured datasources of cloud-init: the last file that sets them decides."""
    last: tuple[str, int, list[str]] | None = None
    for pattern in _CLOUD_CONFIGS:
        for path, text in places.files(pattern):
            for number, names in _sources(text):
                last = path, number, names
    for path, text in places.files("/etc/cloud/ds-identify.cfg"):
        for number, line in enumerate(text.splitlines(), 1):
            named = re.match(r"^\s*datasource\s*:\s*([\w, \[\]]+)", line)
            if named:
                last = path, number, re.findall(r"\w+", named[1])
    if last is None or last[0] in kept or not last[2]:
        return
    path, number, names = last
    place = f"{shown(path, 200)}:{number}"
    local = [name for name in names if name.lower() in _LOCAL_SOURCES]
    if machine.seeded and "nocloud" not in [name.lower() for name in names]:
        yield f"{place}: cloud-init looks for {shown(listed(names))} only, not for the seed of `cloud_init`"
    elif not local or (not machine.network and len(local) < len(names)):
        yield (
            f"{place}: cloud-init asks {shown(listed(names))} over the network, where HTCondor's machine has none"
            " of them: a boot may wait for minutes. Write `datasource_list: [NoCloud, None]`, or disable cloud-init"
        )


def _sources(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line and names of each datasource_list, in flow or block style."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        found = re.match(r"^datasource_list\s*:\s*([^#]*)", line)
        if found is None:
            continue
        rest = [found[1]]
        for at in range(number + 1, len(lines)):
            more = lines[at]
            if not re.match(r"^\s*+(-\s|[\w\"', \]]++$|#|$)", more) or re.match(r"^\w+\s*:", more):
                break
            rest.append(more.partition("#")[0])
            if "]" in more:
                break
        words = " ".join(rest[:1] if "]" in rest[0] else rest)
        yield number + 1, re.findall(r"\w+", words)


def _mounts(places: Places, kept: Collection[str]) -> Iterator[str]:
    """Yield a note for each network mount, in a machine without a network."""
    text = places.read("/etc/fstab") if "/etc/fstab" not in kept else None
    for entry in fstab_reader.read(text or ""):
        if "noauto" not in entry.options and (_remote(entry.source, entry.type) or "_netdev" in entry.options):
            yield (
                f"/etc/fstab:{entry.number}: {shown(entry.source)} ({shown(entry.mount)}, {shown(entry.type)}) needs a"
                " network, and machine.network is none: the boot waits for it. Set `network`, or take the line out"
            )
    for path, unit in places.files("/etc/systemd/system/*.mount"):
        for number, line in enumerate(unit.splitlines() if path not in kept else (), 1):
            kind = re.match(r"^\s*Type\s*=\s*(\S+)", line)
            if kind and _remote("", kind[1]):
                yield f"{shown(path, 200)}:{number}: {shown(kind[1])} needs a network, and machine.network is none"


def _remote(source: str, kind: str) -> bool:
    name = kind.lower().removeprefix("fuse.")
    return name in _NETWORK_TYPES or source.startswith("//") or re.match(r"^[\w.\[\]:-]+:/", source) is not None


def _locked(places: Places, kept: Collection[str]) -> Iterator[str]:
    """Yield a note for each device of crypttab(5), whose passphrase cannot be entered."""
    text = places.read("/etc/crypttab") if "/etc/crypttab" not in kept else None
    for number, line in enumerate((text or "").splitlines(), 1):
        fields = line.split()
        options = fields[3].split(",") if len(fields) > 3 else []
        if len(fields) >= 2 and not fields[0].startswith("#") and not {"noauto", "nofail"} & {*options}:
            yield f"/etc/crypttab:{number}: {shown(fields[1])} is to be unlocked at boot: a job's machine waits for it"
