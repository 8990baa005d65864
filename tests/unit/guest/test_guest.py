"""The job runner and the first boot's commands, run by the host's shell over a tree of their own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from roost.customize import overlay
from roost.recipe import loader

GUEST = resources.files("roost.guest")
EMPTY = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


class Guest:
    """A tree in which the scripts of the guest find all that they name."""

    def __init__(self, top: Path) -> None:
        self.top = top
        for name in ("dev", "run", "etc/roost/job", "var/lib/roost", "usr/lib/roost", "sys", "root"):
            (top / name).mkdir(parents=True)
        (top / "etc/passwd").write_text(f"root:x:0:0:root:{top}/root:/bin/bash\n")
        (top / "dev/console").touch()
        self.active("ttyS0")
        for name, text in {"timeout": "60", "then": "stay", "version": "1"}.items():
            (top / "etc/roost/job" / name).write_text(f"{text}\n")
        for name in ("common", "job", "first-boot"):
            text = (GUEST / name).read_text().replace("/sys/class/tty/console/active", f"{top}/sys/active")
            for place in ("/dev/console", "/dev/$", "/run/", "/etc/", "/var/lib/", "/usr/lib/roost", "/sys/block/"):
                text = text.replace(place, f"{top}{place}")
            for program in ("cloud-init status", "findfs ", "mount -o rw", "umount "):
                text = text.replace(f" {program}", f" {top}/{program}").replace(f"({program}", f"({top}/{program}")
                text = text.replace(f"\t{program}", f"\t{top}/{program}")
            if name == "job":
                text = text.replace("sleep 0.5", "sleep 0")
            (top / "usr/lib/roost" / name).write_text(text)

    def active(self, text: str) -> None:
        """Set the kernel's consoles; the last is /dev/console."""
        (self.top / "sys/active").write_text(f"{text}\n")

    def has_io_disk(self, label: str, *, mounts: bool = True) -> Path:
        """Let the recipe have an io disk `io`, and the machine a disk with a label; return where it is mounted."""
        (self.top / "etc/roost/job/label").write_text("io\n")
        for disk in ("vda", "vdb", "sr0", "loop0"):
            (self.top / "sys/block" / disk).mkdir(parents=True)
        for name, text in {
            "findfs": f'[ "$1" = "LABEL={label}" ] && echo /dev/vdb',
            "mount": "exit 0" if mounts else "exit 32",
            "umount": "exit 0",
        }.items():
            (self.top / name).write_text(f"#!/bin/sh\n{text}\n")
            (self.top / name).chmod(0o755)
        return self.top / "run/roost/io"

    def run(self, script: str, env: Mapping[str, str] = EMPTY) -> None:
        """Run a script of the guest to its end."""
        path = self.top / "usr/lib/roost" / script
        subprocess.run(["sh", str(path)], env=dict(env), cwd="/", timeout=60, check=False, stdin=subprocess.DEVNULL)

    def job(self, command: str, env: Mapping[str, str] = EMPTY) -> tuple[str, Mapping[str, Any]]:
        """Run a job; return its log and its status."""
        (self.top / "etc/roost/job/command").write_text(f"{command}\n")
        self.run("job", env)
        io = self.top / "var/lib/roost/io"
        return (io / "job.log").read_text(), json.loads((io / "status.json").read_text())


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    """Return a guest without an io disk."""
    return Guest(tmp_path)


WANTED = ("HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "LC_ALL")
SHOW = "env; echo CWD=$PWD; readlink /proc/self/fd/0 | sed s/^/STDIN=/"


def _read(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


@pytest.mark.parametrize(
    "env", [EMPTY, {"HOME": "/", "USER": "x", "SHELL": "", **EMPTY}, {"LANG": "C", "LC_ALL": "POSIX", "PATH": "/bin"}]
)
def test_a_job_has_what_a_login_has(guest: Guest, env: Mapping[str, str]) -> None:
    log, status = guest.job(SHOW, env)
    seen = _read(log)
    assert {name: seen.get(name) for name in WANTED} == {
        "HOME": f"{guest.top}/root",
        "USER": "root",
        "LOGNAME": "root",
        "SHELL": "/bin/bash",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
    }
    assert seen["CWD"] == f"{guest.top}/var/lib/roost/io/input"
    assert seen["STDIN"] == "/dev/null"
    assert status["exit_code"] == 0


def test_commands_of_the_first_boot_have_the_same(guest: Guest) -> None:
    log, _status = guest.job("env")
    (guest.top / "etc/roost/first-boot").mkdir()
    (guest.top / "etc/roost/first-boot/001").write_text(f"{SHOW}\n")
    guest.run("first-boot")
    seen = _read((guest.top / "var/lib/roost/first-boot.log").read_text())
    assert {name: seen.get(name) for name in WANTED} == {name: _read(log)[name] for name in WANTED}
    assert (seen["CWD"], seen["STDIN"]) == ("/", "/dev/null")
    assert (guest.top / "var/lib/roost/first-boot").read_text() == "ok\n"


@pytest.mark.parametrize(
    ("passwd", "home", "shell"),
    [
        ("root:x:0:0::/nowhere/at/all\0:/bin/sh\n", None, "/bin/sh"),
        ("bin:x:1:1:::\nroot:x:0:0:::/usr/sbin/nologin\n", "/root", "/bin/sh"),
        ("root:x:0:0::/tmp:/no/such/shell\n", "/tmp", "/bin/sh"),
        ("", "/root", "/bin/sh"),
    ],
)
def test_an_odd_account_of_root(guest: Guest, passwd: str, home: str | None, shell: str) -> None:
    (guest.top / "etc/passwd").write_text(passwd)
    seen = _read(guest.job("env")[0])
    assert seen["SHELL"] == shell
    assert Path(seen["HOME"]).is_dir()
    assert home in (None, seen["HOME"])


@pytest.mark.parametrize(
    ("file", "text", "locale"),
    [
        ("etc/default/locale", "LANG=C\n", "C.UTF-8"),
        ("etc/default/locale", 'LANG="C.UTF-8"\nLC_TIME=x\n', "C.UTF-8"),
        ("etc/default/locale", "LANG=xx_XX.UTF-8\n", "C.UTF-8"),
        ("etc/locale.conf", "LANG=POSIX\n", "C.UTF-8"),
        ("etc/default/locale", "LANG=$(touch /tmp/never)\n", "C.UTF-8"),
    ],
)
def test_the_locale_is_one_of_utf_8_that_is_there(guest: Guest, file: str, text: str, locale: str) -> None:
    (guest.top / file).parent.mkdir(exist_ok=True)
    (guest.top / file).write_text(text)
    seen = _read(guest.job("env")[0])
    assert (seen["LANG"], seen["LC_ALL"]) == (locale, locale)


def test_every_console_shows_the_job(guest: Guest) -> None:
    """Xen shows hvc0, and /dev/console is the last of the list."""
    guest.active("hvc0 tty0 hvc0 ttyS0")
    for name in ("hvc0", "tty0", "ttyS0"):
        (guest.top / "dev" / name).touch()
    log, _status = guest.job("echo said by the job")
    assert log == "said by the job\n"
    for name in ("hvc0", "tty0"):
        text = (guest.top / "dev" / name).read_text()
        for line in ("roost: job started", "said by the job", "roost: job finished: exit 0"):
            assert line in text, name
    # It is /dev/console: written once, through that name.
    assert (guest.top / "dev/ttyS0").read_text() == ""


@pytest.mark.parametrize("active", ["", "hvc0 ttyS0", "gone0 also1 ttyS0"])
def test_a_console_that_is_not_there_harms_nothing(guest: Guest, active: str) -> None:
    guest.active(active)
    (guest.top / "dev/hvc0").mkdir()
    log, status = guest.job("echo said; exit 3")
    assert (log, status["exit_code"]) == ("said\n", 3)


def test_a_console_that_takes_nothing_does_not_hold_up_the_job(guest: Guest) -> None:
    guest.active("stuck0 ttyS0")
    os.mkfifo(guest.top / "dev/stuck0")
    log, status = guest.job("head -c 300000 /dev/zero | tr '\\0' x; echo; echo end")
    assert log.endswith("end\n")
    assert (len(log), status["exit_code"]) == (300005, 0)


def test_the_last_words_of_a_job_are_in_its_log(guest: Guest) -> None:
    log, status = guest.job("seq 200000; echo last; sleep 100 & exit 4")
    assert log.endswith("last\n")
    assert status["exit_code"] == 4


@pytest.mark.parametrize(("code", "key"), [(1, "not_ready"), (2, "degraded")])
def test_what_cloud_init_could_not_do_is_in_the_status(code: int, key: str, guest: Guest) -> None:
    """As on a root of xfs without xfsprogs: 1 is an error, 2 one that it can do without (cloud-init(1))."""
    said = "status: error\ndetail:\n('resizefs', ProcessExecutionError(\"Unexpected \\e[31m xfs_growfs\"))\n"
    (guest.top / "cloud-init").write_text(f"#!/bin/sh\ncat <<'END'\n{said}END\nexit {code}\n")
    (guest.top / "cloud-init").chmod(0o755)
    (guest.top / "etc/roost/cloud-init").touch()
    log, status = guest.job("echo ran")
    assert "resizefs" in status[key]
    assert "xfs_growfs" in status[key]
    assert ("ran" in log) is (code == 2)
    assert status["exit_code"] == (1 if code == 1 else 0)
    if code == 1:
        assert "the job was not run: cloud-init failed: exit 1" in log


def test_an_image_that_is_tried_with_its_root_disk_alone_runs_its_job_there(guest: Guest) -> None:
    """A plain QEMU that was given no other disk has no input to miss, and is told where the results are."""
    guest.has_io_disk("other")
    (guest.top / "sys/block/vdb").rmdir()
    log, status = guest.job("echo ran")
    assert (log, status["exit_code"], status.get("not_ready")) == ("ran\n", 0, None)
    console = (guest.top / "dev/console").read_text()
    assert f"roost: there is no disk but the root's: using {guest.top}/var/lib/roost/io" in console


@pytest.mark.parametrize("label", ["io", "IO"])
def test_an_io_disk_has_its_label_as_given_or_in_upper_case(label: str, guest: Guest) -> None:
    """FAT has it in upper case (mkfs.fat(8)); findfs tells `io` from `IO`."""
    io = guest.has_io_disk(label)
    (guest.top / "etc/roost/job/command").write_text('pwd; echo 42 >"$ROOST_OUTPUT/result"\n')
    guest.run("job")
    assert (io / "job.log").read_text() == f"{io}/input\n"
    assert (io / "output/result").read_text() == "42\n"
    assert json.loads((io / "status.json").read_text())["exit_code"] == 0
    assert not (guest.top / "var/lib/roost/io").exists()


@pytest.mark.parametrize(
    ("label", "mounts", "why"),
    [
        ("other", True, "there is no disk with label io"),
        ("io", False, "the io disk /dev/vdb (label io) cannot be mounted"),
    ],
)
def test_a_job_without_its_io_disk_is_not_run(label: str, mounts: bool, why: str, guest: Guest) -> None:
    """On the root file system it would find no input, and what it leaves there is lost with the machine."""
    guest.has_io_disk(label, mounts=mounts)
    log, status = guest.job(f"touch {guest.top}/ran")
    assert not (guest.top / "ran").exists()
    assert log == f"roost: the job was not run: {why}\n"
    assert (status["state"], status["exit_code"], status["not_ready"]) == ("finished", 1, why)
    console = (guest.top / "dev/console").read_text()
    assert f"roost: the job was not run: {why}\n" in console
    assert "roost: job finished: exit 1" in console
    assert "job started" not in console


class Machine:
    """A PID namespace in which the guest's power-off may kill all processes, and tells what it did."""

    def __init__(self, top: Path) -> None:
        self.top = top
        for name in ("dev", "run", "etc", "bin"):
            (top / name).mkdir()
        (top / "dev/console").touch()
        (top / "etc/inittab").write_text(
            f"::sysinit:echo sysinit >>{top}/done\n"
            f"::shutdown:echo first >>{top}/done\n::shutdown:echo 'a:b' >>{top}/done\n"
        )
        for program in ("umount", "poweroff"):
            self.program(program, f'echo "{program} $*" >>{top}/done')
        (top / "usr/lib/roost").mkdir(parents=True)
        (top / "usr/lib/roost/common").write_text(f'say() {{ echo "$1" >>{top}/said; }}\n')
        for name in ("power-off", "watch"):
            text = (GUEST / name).read_text().replace("sleep 5", "sleep 0.1")
            for place in ("/dev/console", "/run/", "/etc/", "/usr/lib/roost/common"):
                text = text.replace(place, f"{top}{place}")
            self.program(name, text.replace("/usr/lib/roost/power-off", f"{top}/bin/power-off"))

    def program(self, name: str, text: str) -> None:
        """Write a program for PATH."""
        (self.top / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.top / "bin" / name).chmod(0o755)

    def run(self, script: str) -> list[str]:
        """Run a script as the first process, which like an init outlives SIGTERM; return what was done in order."""
        argv = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]
        env = EMPTY | {"PATH": f"{self.top}/bin:{EMPTY['PATH']}"}
        subprocess.run(
            [*argv, "sh", "-c", script], env=env, cwd=self.top, timeout=60, check=True, stdin=subprocess.DEVNULL
        )
        return (self.top / "done").read_text().splitlines()


ENDED = ["first", "a:b", "umount -a -r", "poweroff -f"]


def test_power_off_runs_the_shutdown_actions_and_gives_processes_time_to_end(tmp_path: Path) -> None:
    """One that saves its state on SIGTERM is waited for, and not killed."""
    saves = "trap 'sleep 0.3; echo saved >>done; exit 0' TERM; : >ready; while :; do sleep 0.1; done"
    machine = Machine(tmp_path)
    machine.program("saves", saves)
    done = machine.run("saves & until [ -e ready ]; do sleep 0.05; done; power-off")
    assert done == ["first", "a:b", "saved", "umount -a -r", "poweroff -f"]
    assert (tmp_path / "dev/console").read_text() == "roost: power off\n"


def test_power_off_does_not_wait_for_ever(tmp_path: Path) -> None:
    """A process that ignores SIGTERM is killed before the file systems are unmounted once more."""
    machine = Machine(tmp_path)
    machine.program("stays", "trap '' TERM; : >ready; while :; do sleep 0.1; done")
    machine.program("umount", 'pidof -x stays >>done; echo "umount $*" >>done')
    assert machine.run("stays & until [ -e ready ]; do sleep 0.05; done; power-off") == ENDED


def test_two_that_power_off_at_once_do_not_kill_each_other(tmp_path: Path) -> None:
    """The job's end and the power button can come together."""
    machine = Machine(tmp_path)
    assert machine.run("power-off & power-off & wait; wait") == ENDED


#: A runner that writes its process, and two processes of its: as busybox' init, the first process starts a watch again.
KILLED = "mkdir run/roost; sh -c 'echo $$ >run/roost/runner; sleep 60; :' & sleep 60 & watch & sleep 0.5; kill -9 -1; "
#: It looks for the power-off a few times at least, until it is `done`; else the machine is on.
AGAIN = """
watch & count=0
until grep -sq poweroff done || [ "$count" = {} ]; do sleep 0.1; count=$((count + 1)); done
[ -e done ] || echo on >done
"""


def _then(machine: Machine, text: str) -> None:
    (machine.top / "etc/roost/job").mkdir(parents=True)
    (machine.top / "etc/roost/job/then").write_text(f"{text}\n")


def test_a_machine_whose_runner_was_killed_goes_off(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    _then(machine, "poweroff")
    assert machine.run(KILLED + AGAIN.format(300)) == ENDED
    assert (tmp_path / "said").read_text() == "the job's runner is gone\n"


def test_one_that_stays_on_does_so_without_its_runner_too(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    _then(machine, "stay")
    assert machine.run(KILLED + AGAIN.format(10)) == ["on"]
    assert not (tmp_path / "said").exists()


@pytest.mark.parametrize("runner", ["", "mkdir run/roost; sh -c 'echo $$ >run/roost/runner; sleep 60; :' & "])
def test_a_runner_that_has_not_begun_or_is_there_is_left_alone(runner: str, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    _then(machine, "poweroff")
    assert machine.run(runner + AGAIN.format(10)) == ["on"]


def test_the_runner_names_its_process(guest: Guest) -> None:
    log, _status = guest.job(f"sed -n 's/^PPid:.//p' /proc/$$/status; cat {guest.top}/run/roost/runner")
    parent, runner = log.split()
    assert parent == runner


@pytest.mark.parametrize("first_boot", ["", "first_boot: ['true']\n"])
def test_busybox_init_waits_for_the_first_boot_and_watches_the_runner(first_boot: str, tmp_path: Path) -> None:
    disk = "{name: root, format: qcow2, partitions: [{mount: /, free: 64MiB}]}"
    text = f"name: g\nos: {{debian: {{suite: bookworm}}}}\njob: {{command: x}}\ndisks: [{disk}]\n"
    (tmp_path / "g.yaml").write_text(text + first_boot)
    recipe = loader.load(str(tmp_path / "g.yaml"), tmp_path).recipe
    items = {item.path: item for item in overlay.job_items(recipe, systemd=False)}
    lines = (items["/etc/inittab"].data or b"").decode().splitlines()
    starts = [line.split(":")[2:4] for line in lines if "/usr/lib/roost/" in line]
    wait = [["wait", "/usr/lib/roost/first-boot"]] if first_boot else []
    once, respawn = ["once", "/usr/lib/roost/job"], ["respawn", "/usr/lib/roost/watch"]
    assert starts == [["sysinit", "/usr/lib/roost/start"], *wait, once, respawn]
    assert all(items[path].mode == 0o755 for _, path in starts)
