"""What a recipe lays over a whole Debian, seen from inside, in its test boot and by ssh: two boots, two machines."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apt_repository import Key, package, publish, served
from tests.images.calls import PROJECT, Ran, roost

pytestmark = [pytest.mark.images, pytest.mark.slow, pytest.mark.timeout(1800)]

#: yescrypt of "roost", as Debian 12's crypt(3) makes it.
HASH = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$XBNCL/2GM.f6tC2iwAcyxMsow9/nxWFNdPCLMqacwz8"
SHOW = """\
#!/bin/sh
cd "$ROOST_OUTPUT" || exit 1
cat /etc/machine-id >machine-id
for key in /etc/ssh/ssh_host_*_key.pub; do cut -d ' ' -f 2 "$key" | sha256sum | cut -c 1-20; done >host-keys
hostname >hostname
date +%Z >zone
echo "$LANG" >lang
locale -a | grep de_DE >locales
LC_ALL=$LANG printf '%s\\n' "$(LC_ALL=$LANG date -d 2026-03-01 +%B)" >month
systemctl is-enabled ssh fstrim.timer >enabled 2>&1
getent shadow job locked | cut -d : -f 2 | while read -r one; do printf %s "$one" | sha256sum; done >shadow
cat /opt/greeting >greeting
grep -h ^Signed-By: /etc/apt/sources.list.d/* >signed-by
ls -A /etc/apt/keyrings >keyrings
cp /etc/seeded /var/lib/counter .
cloud-init query v1.instance_id >instance 2>&1
systemctl list-units --state=failed --plain --no-legend >failed
blkid -s LABEL -s TYPE /dev/vdc >seed
if dd if=/dev/zero of=/dev/vdc bs=512 count=1 conv=fsync 2>/dev/null; then echo yes; else echo no; fi >seed-written
echo 42 >result.txt
"""
RECIPE = """\
extends: debian-12.yaml
name: whole
hypervisors: !replace [kvm]
hostname: whole-vm
timezone: Europe/Berlin
locale: de_DE.UTF-8
os:
  debian:
    packages: [openssh-server, locales, tzdata, cloud-init, roost-greeting]
    repositories: [{{uri: "{uri}", suite: ./, key: files/key.asc}}]
files:
  - {{path: /opt/job/run, source: files/show, mode: "0755"}}
users:
  - {{name: job, password: {{file: files/secret}}, ssh_keys: [files/job.pub]}}
  - {{name: locked}}
services: {{enable: [fstrim.timer], disable: [apt-daily.timer]}}
run: ["echo secret >/root/.bash_history", "mkdir -p /var/lib/dhcp && touch /var/lib/dhcp/x.leases"]
first_boot: ["date +%s >>/var/lib/counter"]
cloud_init:
  user_data: {{write_files: [{{path: /etc/seeded, content: "yes: 0755 \\u00e4\\n", permissions: "0600"}}]}}
  network_config: {{version: 2, ethernets: {{}}}}
boot_test:
  timeout: 5min
  expect: [{{failed_units: none}}, {{exit: 0}}, {{file: /output/failed, on: io, size: 0}}, {expect}]
"""
#: What the job leaves: each is an expectation, which tells the begin of what it found.
LEFT = (
    *("machine-id", "host-keys", "hostname", "zone", "lang", "locales", "month", "enabled", "shadow", "greeting"),
    *("signed-by", "keyrings", "seeded", "counter", "instance", "seed", "seed-written"),
)
EXPECT = ", ".join(f"{{file: /output/{name}, on: io, matches: .}}" for name in LEFT)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("whole")
    for name in ("recipes", "kernels"):
        subprocess.run(["cp", "-r", PROJECT / name, directory / name], check=True)
    shelf = directory / "shelf"
    shelf.mkdir()
    package(shelf, "roost-greeting", {"/opt/greeting": "hello\n"})
    key = Key()
    publish(shelf, key)
    files = directory / "recipes/files"
    (files / "key.asc").write_text(key.armored)
    (files / "show").write_text(SHOW)
    (files / "secret").write_text(f"{HASH}\n")
    (files / "job.pub").write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHd3 job@example.org\n")
    with served(shelf) as address:
        (directory / "recipes/whole.yaml").write_text(RECIPE.format(uri=address, expect=EXPECT))
        ran = roost("build", "whole", "--json", cwd=directory, timeout=1500)
        assert ran.code == 0, ran.err
        built = directory / "build/whole"
        assert HASH not in ran.out + ran.err
        yield built


def _boot(image: Path) -> dict[str, str]:
    """Test boot the image, whose job looks around; return what that left, in one line each."""
    ran = roost("boot", "whole", "--accel", "tcg", "--json", cwd=image.parents[1])
    assert ran.code == 0, ran.out
    seen = {one["what"]: one["seen"] for one in ran.answer["expectations"]}
    return {name: seen[f"/output/{name} on io matches ."].strip() for name in LEFT}


#: What a person sees who logs in by ssh, and whether it is another machine than the one before. The login may come
#: while the host keys are made: it has a server of its own.
LOOK = """\
id -un
systemctl is-active roost-job
cat /etc/machine-id
for second in $(seq 300); do
    [ "$(ls /etc/ssh/ssh_host_*_key.pub 2>/dev/null | wc -l)" -lt 2 ] || break
    sleep 1
done
for key in /etc/ssh/ssh_host_*_key.pub; do cut -d ' ' -f 2 "$key" | sha256sum | cut -c 1-20; done | tr '\n' ' '
echo
cloud-init query v1.instance_id 2>/dev/null
touch /tmp/x
printf '%s\n' "$1" >&2
exit 5
"""


def _log_in(image: Path) -> Ran:
    """Log in to a second machine of the image, whose system starts, and whose job does not."""
    words = ("--accel", "tcg", "--user", "job", "--json", "--", "sh", "-c", LOOK, "sh", "a  'b' $c")
    return roost("ssh", "whole", *words, cwd=image.parents[1], timeout=1500)


def _bytes(image: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(image.glob("*.*"))}


def test_two_boots_are_two_machines_and_all_is_effective(image: Path) -> None:
    """One is the test boot, which passes and does its job, the other by `inv ssh`; both leave the image as it is."""
    before = _bytes(image)
    one = _boot(image)
    assert re.fullmatch(r"[0-9a-f]{32}", one["machine-id"])
    keys = set(one["host-keys"].split())
    assert len(keys) >= 2

    ran = _log_in(image)
    assert ran.code == 5, ran.err
    assert ran.answer["exit_code"] == 5 and ran.answer["stderr"] == "a  'b' $c\n"
    user, job, machine_id, others, instance = ran.answer["stdout"].splitlines()
    assert (user, job) == ("job", "inactive")
    assert ran.answer["host_key"].startswith("ssh-ed25519 AAAA")
    assert _bytes(image) == before
    assert re.fullmatch(r"[0-9a-f]{32}", machine_id) and machine_id != one["machine-id"]
    assert len(others.split()) >= 2 and not keys & set(others.split())

    assert one["hostname"] == "whole-vm"
    assert one["zone"] in {"CET", "CEST"}
    assert one["lang"] == "de_DE.UTF-8" and "de_DE.utf8" in one["locales"].split() and one["month"] == "März"
    assert one["enabled"].split() == ["enabled", "enabled"]
    passwords = [hashlib.sha256(text.encode()).hexdigest() for text in (HASH, "*")]
    assert one["shadow"].replace(" -", "").split() == passwords
    assert one["greeting"] == "hello"
    keyring = re.fullmatch(r"Signed-By: /etc/apt/keyrings/(127-0-0-1-\d+\.asc)", one["signed-by"])
    assert keyring and keyring[1] in one["keyrings"].split()
    # cloud-init did what its seed says, once: the same instance for the same content.
    assert one["seeded"] == "yes: 0755 ä"
    assert one["instance"].startswith("iid-") and one["instance"] == instance
    assert 'LABEL="CIDATA"' in one["seed"] and 'TYPE="vfat"' in one["seed"] and one["seed-written"] == "no"
    assert len(one["counter"].split()) == 1


def test_the_seed_is_a_disk_of_the_machine_and_no_secret_is_anywhere(image: Path) -> None:
    description = (image / "kvm.sub").read_text()
    assert "seed.raw:vdc:r:raw" in description and "iso" not in description
    transferred = re.search(r"^transfer_input_files *= *(.*)$", description, re.MULTILINE)
    assert transferred and "seed.raw" in transferred[1].split(",")
    for path in image.rglob("*"):
        if path.is_file() and path.suffix not in {".qcow2", ".raw"}:
            assert HASH.encode() not in path.read_bytes(), path
    record = json.loads((image / "manifest.json").read_text())
    assert "files/secret" not in json.dumps(record["inputs"]["files"])
    # Another hash is another image; the same one is not.
    project = image.parents[1]
    assert roost("build", "whole", "--json", cwd=project).answer["cached"] is True


def test_the_same_recipe_gives_the_same_bytes(image: Path) -> None:
    def sums() -> dict[str, str]:
        return {file["name"]: file["sha256"] for file in json.loads((image / "manifest.json").read_text())["files"]}

    before = sums()
    ran = roost("build", "whole", "--force", "--json", cwd=image.parents[1])
    assert ran.code == 0, ran.err
    assert sums() == before
