"""The same as a normal user: builds of every kind without root, and the same bytes as root's.

His home is closed to others, as Debian 13 makes it, and all that he has is in it: the code, the venv, the cache.

Run as root, the tests make an account for it and take it away again; run as anybody else, that is who builds.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import roost
from roost.host import checksum, paths
from roost.store import manifest
from tests.apt_repository import Key, package, publish
from tests.images.calls import PROJECT, Ran, build
from tests.images.test_customize_systemd import HASH

pytestmark = [pytest.mark.images, pytest.mark.slow, pytest.mark.timeout(900)]

#: Of the venv, what only tests and checks of the code need: half of its 840 MB, which a disk takes long to write.
DEVELOPERS = (
    *("playwright", "sympy", "material", "moto", "cfnlint", "networkx", "babel", "hypothesis", "mkdocs", "grimp"),
    *("mypy", "mypyc", "*__mypyc*.so", "pip", "setuptools"),
)

#: Each process of a test run makes an account of its own.
NAME = f"roost-test-{os.getpid()}"


@dataclass(frozen=True)
class User:
    """Somebody without privileges: his project, and a function that runs roost there as he would."""

    project: Path
    run: Callable[..., Ran]


@pytest.fixture(scope="session")
def user() -> Iterator[User]:
    """Return a normal user with a project and a cache of his own; each process of a test run makes one at most."""
    top = Path("/var/tmp") / f"roost-user-{os.getpid()}"
    top.mkdir(mode=0o755)
    home = top / "home"
    made = os.geteuid() == 0
    try:
        if made:
            # With subordinate ids, which useradd gives to all but system accounts (useradd(8), SUB_UID_COUNT).
            subprocess.run(["useradd", "--create-home", "--home-dir", str(home), NAME], check=True)
        else:
            home.mkdir()
        for name in ("recipes", "kernels"):
            shutil.copytree(PROJECT / name, home / name)
        # The code and the libraries, too: root's home is nobody else's to read.
        shutil.copytree(Path(roost.__file__).parent, home / "lib" / "roost")
        shutil.copytree(Path(sys.prefix), home / "venv", symlinks=True, ignore=shutil.ignore_patterns(*DEVELOPERS))
        cache = home / "cache"
        # What was downloaded from Debian already (others' packages are in directories of their own); everything else is
        # made as this user.
        for name in ("packages/amd64", "inrelease", "sources"):
            if (paths.cache_root() / name).is_dir():
                shutil.copytree(paths.cache_root() / name, cache / name)
        home.chmod(0o700)
        if made:
            subprocess.run(["chown", "-R", f"{NAME}:", str(home)], check=True)
        entry = pwd.getpwnam(NAME) if made else pwd.getpwuid(os.getuid())
        drop = ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--init-groups", "--"] if made else []

        def run(*argv: str, **more: str) -> Ran:
            done = subprocess.run(
                [*drop, str(home / "venv/bin/python"), "-P", "-m", "roost", *argv],
                cwd=home,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(home),
                    "USER": entry.pw_name,
                    "PYTHONPATH": str(home / "lib"),
                    "ROOST_CACHE": str(cache),
                    "ROOST_ROOT": str(home),
                    "TMPDIR": "/var/tmp",
                    **more,
                },
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=800,
                check=False,
            )
            return Ran(done.returncode, done.stdout, done.stderr)

        yield User(home, run)
    finally:
        if made:
            # Files of his subordinate ids are nobody's that userdel knows.
            subprocess.run(["userdel", NAME], check=False, capture_output=True)
        shutil.rmtree(top, ignore_errors=True)


def _sums(directory: Path) -> dict[str, str]:
    return {path.name: checksum.sha256(path) for path in directory.iterdir() if path.suffix in {".raw", ".qcow2"}}


@pytest.mark.parametrize("name", ["smoke", "debian-12"])
def test_the_same_bytes_as_anybody_elses(name: str, user: User) -> None:
    ran = user.run("build", name, "--json")
    assert ran.code == 0, ran.err
    assert _sums(Path(ran.answer["folder"])) == _sums(build(name))
    _boots(user, name)


def _boots(user: User, name: str) -> None:
    ran = user.run("boot", name, "--accel", "tcg", "--json")
    assert ran.code == 0, ran.out + ran.err
    assert ran.answer["passed"] is True


MATRIX = """\
extends: smoke.yaml
name: disks
hypervisors: !replace [kvm]
files:
  - {path: /data/hello, content: "hello\\n", mode: "0640", owner: 7, group: 8}
  - {path: /opt/job/run, mode: "0755", content: "#!/bin/sh\\nstat -c '%u %g' /data/hello >$ROOST_OUTPUT/owner\\n"}
disks: !replace
  - name: root
    format: qcow2
    compress: zstd
    table: gpt
    partitions:
      - {mount: /, filesystem: FILESYSTEM, free: 16MiB}
      - {filesystem: swap, size: 16MiB}
  - {name: io, filesystem: ext4, size: 16MiB, role: io}
  - {name: data, filesystem: erofs, mount: /data, readonly: true}
boot_test: !replace
  timeout: 1min
  evict: false
  expect: [{file: /output/owner, on: io, matches: "^7 8$"}]
"""


@pytest.mark.parametrize("filesystem", ["xfs", "btrfs"])
def test_disks_of_every_kind(filesystem: str, user: User) -> None:
    (user.project / "recipes/disks.yaml").write_text(MATRIX.replace("FILESYSTEM", filesystem))
    ran = user.run("build", "disks", "--json")
    assert ran.code == 0, ran.err
    _boots(user, "disks")


def test_a_tree_of_his_own(user: User, tmp_path: Path) -> None:
    record = manifest.read(build("smoke"))
    assert record is not None
    tree = user.project / "tree"
    tar = paths.cache_root() / "rootfs" / record.keys["rootfs"] / "tree.tar"
    tree.mkdir()
    subprocess.run(["tar", "-x", "--exclude=./dev/*", "-C", str(tree), "-f", str(tar)], check=True)
    subprocess.run(["chown", "-R", "--reference", str(user.project), str(tree)], check=True)
    (user.project / "recipes/own.yaml").write_text(
        # The tree keeps its kernel and initrd, which has the drivers of smoke's file systems and no more.
        MATRIX.replace("FILESYSTEM", "ext4")
        .replace("filesystem: erofs", "filesystem: ext4")
        .replace("name: disks", "name: own\nos: !replace {tree: {path: ../tree}}")
    )
    ran = user.run("build", "own", "--set", "kernel.initrd=", "--set", "kernel.use=", "--json")
    assert ran.code == 0, ran.err
    _boots(user, "own")


CUSTOMIZED = """\
extends: smoke.yaml
name: customized
hypervisors: !replace [kvm]
os:
  debian:
    packages: [roost-greeting]
    repositories: [{{uri: "{uri}", suite: ./, key: key.asc}}]
files:
  - path: /opt/job/run
    mode: "0755"
    content: "#!/bin/sh\\ncat /opt/greeting /root/lone /var/lib/first >$ROOST_OUTPUT/all\\n"
users: [{{name: me, password: {{env: ROOST_TEST_HASH}}}}, {{name: you}}]
run:
  - "ip -o link show | wc -l >/root/lone && test $(id -u) = 0 && test ! -e /etc/resolv.conf"
  - network: true
    command: "test $(ip -o link show | wc -l) -gt 1 && test -e /etc/resolv.conf && chown 5:6 /root/lone"
first_boot: ["stat -c '%u %g' /root/lone >/var/lib/first; grep -c '^me:.y.j9T' /etc/shadow >>/var/lib/first"]
boot_test: {{evict: false, expect: !replace [{{file: /output/all, on: io, matches: "^hello\\n1\\n5 6\\n1\\n$"}}]}}
"""


def test_customizing(user: User) -> None:
    # A repository that only he can read.
    shelf = user.project / "shelf"
    shelf.mkdir()
    package(shelf, "roost-greeting", {"/opt/greeting": "hello\n"})
    key = Key()
    publish(shelf, key)
    (user.project / "recipes/key.asc").write_text(key.armored)
    (user.project / "recipes/customized.yaml").write_text(CUSTOMIZED.format(uri=f"file://{shelf}"))
    ran = user.run("build", "customized", "--json", ROOST_TEST_HASH=HASH)
    assert ran.code == 0, ran.err
    _boots(user, "customized")


EDITED = """\
name: edited
os: {image: {recipe: smoke}}
files: [{path: /opt/job/run, source: files/run, mode: "0755"}]
users: [{name: job}]
run: ["id -u >/etc/ran"]
job: {command: /opt/job/run, timeout: 10min}
disks: [{name: root, format: qcow2, overlay: true}, {name: io, filesystem: ext4, size: 16MiB, role: io}]
machine: {memory: 256MiB}
boot_test:
  timeout: 1min
  evict: false
  expect: [{file: /output/result.txt, on: io, matches: "^42$"}, {file: /etc/ran, matches: "^0$"}]
"""


def test_an_image_that_exists(user: User) -> None:
    (user.project / "recipes/edited.yaml").write_text(EDITED)
    ran = user.run("build", "edited", "--json")
    assert ran.code == 0, ran.err
    _boots(user, "edited")


#: What a script of a stranger may try, as root of a chroot: each line is a command that reaches something of the host.
ATTEMPTS = r"""
perl /tmp/leave 'cat HOME/.ssh/id_ed25519'
perl /tmp/leave 'ls -A HOME | grep -v -x -e cache -e lib -e hostile-shelf'
perl /tmp/leave 'for one in HOME/cache/packages/*/*.deb; do echo x >>$one; done; cat HOME/cache/packages/*/*.deb'
perl /tmp/leave 'mount -o remount,rw,bind /usr && touch /usr/was-here'
perl /tmp/leave 'cat /proc/1/root/HOME/.ssh/id_ed25519'
perl /tmp/leave 'umount -l /etc; umount -l /usr; ls /home | grep .'
cat /proc/1/root/HOME/.ssh/id_ed25519
cat /proc/sys/kernel/core_pattern >/proc/sys/kernel/core_pattern
echo h >/proc/sysrq-trigger
mknod /tmp/disk b 8 0
head -c 1 /dev/kvm
perl /tmp/leave 'touch HOME/was-here && false'
"""
TRY = r"""#!/bin/sh
# As chroot(2) tells; what is run is the shell of the directory that is reached.
cat >/tmp/leave <<'EOF'
mkdir "/tmp/jail"; chroot "/tmp/jail" or die; chdir ".." for 1..64; chroot "."; exec "/bin/sh", "-c", $ARGV[0] or die;
EOF
while read -r line; do
    [ -n "$line" ] || continue
    if sh -c "$line" </dev/null >>/var/log/tried 2>&1; then echo "REACHED: $line"; else echo "kept: $line"; fi
done <<'EOF'
LINES
EOF
rm -rf /tmp/leave /tmp/jail
"""
HOSTILE = """\
extends: smoke.yaml
name: hostile
hypervisors: !replace [kvm]
os:
  debian:
    variant: full
    packages: [roost-hostile]
    exclude: !replace []
    repositories: [{{uri: "file://{shelf}", suite: ./, key: key.asc}}]
kernel: {{initrd: distribution}}
run:
  - "sh /usr/share/try >/etc/tried-by-command"
  - "cat /etc/tried-by-*; test $(cat /etc/tried-by-* | grep -c ^kept) = {count}"
"""


def test_packages_and_commands_reach_nothing_of_his(user: User) -> None:
    home = user.project
    (home / ".ssh").mkdir(mode=0o700)
    (home / ".ssh/id_ed25519").write_text("SECRET\n")
    shelf = home / "hostile-shelf"
    shelf.mkdir()
    lines = ATTEMPTS.strip().replace("HOME", str(home))
    script = TRY.replace("LINES", lines)
    files = {"/DEBIAN/postinst": "#!/bin/sh\nsh /usr/share/try >/etc/tried-by-package\n", "/usr/share/try": script}
    package(shelf, "roost-hostile", files)
    wild = "#!/bin/sh\nsh -c 'while :; do sleep 300 & done' 2>/dev/null\nsleep 300\n"
    package(shelf, "roost-wild", {"/DEBIAN/postinst": wild})
    key = Key()
    publish(shelf, key)
    (home / "recipes/key.asc").write_text(key.armored)
    recipe = home / "recipes/hostile.yaml"
    recipe.write_text(HOSTILE.format(shelf=shelf, count=2 * len(lines.splitlines())))
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "--reference", str(home), str(home / ".ssh"), str(shelf)], check=True)
    ran = user.run("build", "hostile", "--json")
    log = "".join(path.read_text(errors="replace") for path in home.glob("build/hostile*/log/*"))
    assert ran.code == 0, ran.err
    assert "REACHED" not in log and "SECRET" not in log
    assert not (home / "was-here").exists()
    recipe.write_text(recipe.read_text().replace("[roost-hostile]", "[roost-hostile, roost-wild]"))
    ran = user.run("build", "hostile", "--json", ROOST_RUN_PROCESSES="200")
    assert ran.code == 1
    assert "its packages take more than 200 processes at once (ROOST_RUN_PROCESSES)" in ran.err
