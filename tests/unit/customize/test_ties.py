"""What ties an image to the machine that it comes from: found in the files of every tool that sets up a network."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest

from roost.customize import ties
from roost.customize.ties import Machine, Places

ALONE, CONNECTED = Machine(network=False), Machine(network=True)


def places(files: Mapping[str, str]) -> Places:
    def names(directory: str) -> list[str]:
        return [path.removeprefix(f"{directory}/") for path in files if path.rpartition("/")[0] == directory]

    return Places(names, files.get)


def notes(files: Mapping[str, str], machine: Machine = ALONE, kept: tuple[str, ...] = ()) -> list[str]:
    return list(ties.look(places(files), machine, kept))


IFCFG = "/etc/sysconfig/network-scripts/ifcfg-eth0"
NETPLAN = "/etc/netplan/50-cloud-init.yaml"
BLOCK = """\
network:
  version: 2
  ethernets:
    ens3:
      match:
        macaddress: 52:54:00:aa:bb:cc
      set-name: ens3
      dhcp4: true
"""
FLOW = 'network:\n  ethernets:\n    ens3:\n      match: {macaddress: "52:54:00:aa:bb:cc"}\n'


@pytest.mark.parametrize(
    ("path", "text", "line"),
    [
        (IFCFG, "DEVICE=eth0\nHWADDR=52:54:00:AA:BB:CC\nBOOTPROTO=dhcp\n", 2),
        (IFCFG, 'DEVICE=eth0\n  HWADDR="52-54-00-AA-BB-CC"\n', 2),
        (IFCFG, "MACADDR=52:54:00:AA:BB:CC\n", 1),
        ("/etc/sysconfig/network/ifcfg-eth0", "LLADDR='52:54:00:aa:bb:cc'\n", 1),
        (NETPLAN, BLOCK, 6),
        (NETPLAN, FLOW, 4),
        (NETPLAN, '{"network": {"ethernets": {"a": {"match": {"macaddress": "52:54:00:aa:bb:cc"}}}}}', 1),
        ("/etc/systemd/network/10-eth0.network", "[Match]\nMACAddress=52:54:00:aa:bb:cc\n", 2),
        ("/etc/systemd/network/10-eth0.link", "[Match]\nPermanentMACAddress = 52:54:00:aa:bb:cc\n", 2),
        ("/etc/systemd/network/10-eth0.link", "[Match]\nPath=pci-0000:00:03.0\n", 2),
        ("/etc/systemd/network/10.network", "[Match]\nMACAddress=00:00:00:00:00:01 52:54:00:aa:bb:cc\n", 2),
        ("/etc/NetworkManager/system-connections/a.nmconnection", "[ethernet]\nmac-address=52:54:00:AA:BB:CC\n", 2),
        ("/etc/NetworkManager/system-connections/a", "[802-3-ethernet]\ncloned-mac-address=52:54:00:AA:BB:CC\n", 2),
        ("/etc/network/interfaces", "iface eth0 inet dhcp\n  hwaddress ether 52:54:00:aa:bb:cc\n", 2),
        ("/etc/network/interfaces.d/eth0", "iface eth0 inet dhcp\n  hwaddress 52:54:00:aa:bb:cc\n", 2),
        (
            "/etc/udev/rules.d/99-net.rules",
            '# x\nSUBSYSTEM=="net", ATTR{address}=="52:54:00:aa:bb:cc", NAME="eth0"\n',
            2,
        ),
    ],
)
def test_the_address_of_a_card(path: str, text: str, line: int) -> None:
    for machine in (ALONE, CONNECTED):
        (note,) = notes({path: text}, machine)
        assert note.startswith(f"{path}:{line}: ")
        assert "of another machine" in note
    assert notes({path: text}, kept=(path,)) == []
    if "Path" not in text:
        assert notes({path: text}, Machine(network=True, mac="52:54:00:aa:bb:cc")) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (IFCFG, "DEVICE=eth0\n#HWADDR=52:54:00:AA:BB:CC\nBOOTPROTO=dhcp\n"),
        (NETPLAN, "network: {ethernets: {all: {match: {name: 'e*'}, dhcp4: true}}}\n# macaddress: 52:54:00:aa:bb:cc\n"),
        ("/etc/systemd/network/10.network", "[Match]\nName=en*\n#MACAddress=52:54:00:aa:bb:cc\n"),
        ("/etc/NetworkManager/system-connections/a", "[ethernet]\ncloned-mac-address=random\n"),
        ("/etc/udev/rules.d/99.rules", '#SUBSYSTEM=="net", ATTR{address}=="52:54:00:aa:bb:cc"\n'),
        ("/etc/network/interfaces", "iface lo inet loopback\n"),
    ],
)
def test_what_ties_to_nothing(path: str, text: str) -> None:
    assert notes({path: text}, CONNECTED) == []


@pytest.mark.parametrize(
    ("path", "text", "line"),
    [
        (IFCFG, "BOOTPROTO=static\nIPADDR=10.0.0.5\n", 2),
        ("/etc/NetworkManager/system-connections/a", "[ipv4]\naddress1=10.0.0.5/24,10.0.0.1\n", 2),
        ("/etc/systemd/network/a.network", "[Network]\nAddress=10.0.0.5/24\n", 2),
        ("/etc/network/interfaces", "iface eth0 inet static\n address 10.0.0.5\n", 2),
        (NETPLAN, "network:\n  ethernets:\n    a:\n      addresses: [10.0.0.5/24]\n", 4),
    ],
)
def test_a_fixed_address_where_there_is_a_network(path: str, text: str, line: int) -> None:
    (note,) = notes({path: text}, CONNECTED)
    assert note.startswith(f"{path}:{line}: ")
    assert "two jobs would have it" in note
    assert notes({path: text}, ALONE) == []


def test_the_address_of_a_card_is_taken_out_where_its_name_is_left() -> None:
    text = "DEVICE=eth0\nHWADDR=52:54:00:AA:BB:CC\nONBOOT=yes\n"
    ((path, changed, note),) = ties.untie(places({IFCFG: text}), ALONE)
    assert (path, changed) == (IFCFG, "DEVICE=eth0\n#HWADDR=52:54:00:AA:BB:CC\nONBOOT=yes\n")
    assert note.startswith(f"{IFCFG}:2: ") and note.endswith("commented out")
    assert ties.untied(changed) is None
    assert notes({IFCFG: changed}) == []
    assert list(ties.untie(places({IFCFG: "HWADDR=52:54:00:AA:BB:CC\n"}), ALONE)) == []
    assert list(ties.untie(places({IFCFG: text}), ALONE, (IFCFG,))) == []
    assert list(ties.untie(places({IFCFG: text}), Machine(network=True, mac="52:54:00:aa:bb:cc"))) == []


CFG = "/etc/cloud/cloud.cfg.d/90_dpkg.cfg"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("datasource_list: [ Ec2 ]\n", 1),
        ("# x\ndatasource_list: ['OpenStack', \"GCE\"]\n", 2),
        ("datasource_list:\n  - Ec2\n  - Azure\nother: [None]\n", 1),
        ("datasource_list:\n- Ec2\n", 1),
        ("datasource_list: [\n  Ec2,\n  GCE ]\nusers: [NoCloud]\n", 1),
    ],
)
def test_cloud_init_that_asks_a_cloud(text: str, line: int) -> None:
    for machine in (ALONE, CONNECTED):
        (note,) = notes({CFG: text}, machine)
        assert note.startswith(f"{CFG}:{line}: cloud-init asks ")


def test_cloud_init_that_asks_nobody() -> None:
    assert notes({CFG: "datasource_list: [ NoCloud, None ]\n"}) == []
    assert notes({CFG: "datasource_list: [ NoCloud, Ec2, None ]\n"}, CONNECTED) == []
    assert len(notes({CFG: "datasource_list: [ NoCloud, Ec2, None ]\n"}, ALONE)) == 1
    assert notes({CFG: "#datasource_list: [ Ec2 ]\n"}) == []
    # The last file decides.
    later = "/etc/cloud/cloud.cfg.d/99.cfg"
    both = {CFG: "datasource_list: [ Ec2 ]\n", later: "datasource_list: [ None ]\n"}
    assert notes(both) == []
    assert notes({**both, "/etc/cloud/ds-identify.cfg": "datasource: Ec2\n"})[0].startswith("/etc/cloud/ds-identify")


def test_a_seed_that_nothing_looks_for() -> None:
    (note,) = notes({CFG: "datasource_list: [ Ec2, None ]\n"}, Machine(network=True, seeded=True))
    assert note.startswith(f"{CFG}:1: ") and "seed" in note


FSTAB = """\
# a comment
UUID=1 / ext4 defaults 0 1
nfs.example.org:/export/home /home nfs defaults 0 0
//files.example.org/share /mnt/share cifs credentials=/root/.cred 0 0
mon1,mon2:6789:/ /ceph ceph name=x 0 0
[fe80::1]:/x /six nfs4 defaults 0 0
user@host:/data /data fuse.sshfs defaults 0 0
UUID=2 /iscsi xfs _netdev 0 0
host:/x /later nfs noauto 0 0
tmpfs /tmp tmpfs defaults 0 0
"""


def test_file_systems_of_a_network_without_one() -> None:
    found = notes({"/etc/fstab": FSTAB}, ALONE)
    assert [note.partition(": ")[0] for note in found] == [f"/etc/fstab:{number}" for number in (3, 4, 5, 6, 7, 8)]
    assert all("machine.network is none" in note for note in found)
    assert notes({"/etc/fstab": FSTAB}, CONNECTED) == []
    unit = {"/etc/systemd/system/home.mount": "[Mount]\nWhat=h:/x\nType=nfs\n"}
    assert notes(unit)[0].startswith("/etc/systemd/system/home.mount:3: ")


def test_a_swap_area_to_wake_up_from() -> None:
    path = "/etc/initramfs-tools/conf.d/resume"
    (note,) = notes({path: "# x\nRESUME=UUID=1-2\n"})
    assert note.startswith(f"{path}:2: 'RESUME=UUID=1-2' is a swap area") and "each boot waits for it" in note
    assert notes({path: "RESUME=none\n"}) == notes({path: "#RESUME=UUID=1\n"}) == notes({path: "RESUME=auto\n"}) == []


def test_disks_that_would_be_unlocked() -> None:
    text = "# x\ncrypt UUID=1 none luks\nswap /dev/sdb1 /dev/urandom swap,nofail\n"
    (note,) = notes({"/etc/crypttab": text}, CONNECTED)
    assert note.startswith("/etc/crypttab:2: UUID=1")


def test_a_note_is_one_harmless_line_and_files_are_bounded() -> None:
    (note,) = notes({"/etc/fstab": "h\x1b[31m:/x /m nfs\n"}, ALONE) or [""]
    assert "\x1b" not in note
    (note,) = notes({"/etc/netplan/\x1b[2J.yaml": FLOW})
    assert "\x1b" not in note
    assert notes({IFCFG: "HWADDR=52:54:00:AA:BB:CC\n" + "x" * (ties.MOST_BYTES + 1)}) == []
    many = {f"/etc/netplan/{number:04}.yaml": FLOW for number in range(1000)}
    assert len(notes(many)) == ties.MOST_FILES


MEGABYTE = 1_000_000
MAC = "52:54:00:aa:bb:cc "
HOSTILE = {
    "digits": ("/etc/netplan/a.yaml", "1" * MEGABYTE),
    "dots": ("/etc/netplan/a.yaml", "1." * (MEGABYTE // 2)),
    "cards without an end": ("/etc/udev/rules.d/a.rules", 'ATTR{address}=="' + MAC * (MEGABYTE // len(MAC))),
    "empty lines": (IFCFG, "\n" * MEGABYTE),
    "blanks": (IFCFG, " " * MEGABYTE + "x"),
    "blanks before a device": (IFCFG, "DEVICE=" + " " * MEGABYTE),
    "blanks in a list": ("/etc/cloud/cloud.cfg", "datasource_list:\n" + " " * MEGABYTE + "!"),
    "names in a list": ("/etc/cloud/cloud.cfg", "datasource_list:\n" + "x" * MEGABYTE + "!"),
    "lists": ("/etc/cloud/cloud.cfg", "datasource_list:\n- x\n" * (MEGABYTE // 22)),
    "colons": ("/etc/fstab", ":" * MEGABYTE + " /m ext4\n"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_time_is_in_proportion_to_the_text(name: str) -> None:
    path, text = HOSTILE[name]
    begin = time.process_time()
    notes({path: text}, CONNECTED)
    notes({path: text}, ALONE)
    list(ties.untie(places({path: text}), ALONE))
    assert time.process_time() - begin < 10


def test_an_address_rule_is_shown_to_its_end() -> None:
    (note,) = notes({"/etc/udev/rules.d/70.rules": f'ATTR{{address}}=="{MAC.strip()}", NAME="eth0"\n'})
    assert f"'ATTR{{address}}==\"{MAC.strip()}\"'" in note
