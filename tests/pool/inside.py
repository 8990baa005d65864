"""The first process of a pool's name spaces: mounts, daemons, condor_submit, waiting. When it ends, all of it is gone.

Called as `python -m tests.pool.inside SPEC.json` by `tests.pool.harness`. It runs on the host's Python and reaches into
the pool's root file system by pivot_root(8), not by chroot(8): in a chroot the kernel refuses the user namespaces in
which roost makes io disks. It leaves `result.json` and the logs in the run's directory of results.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from tests.pool import watch
from tests.pool.calls import CALL, ENVIRONMENT, Pool, PoolError
from tests.pool.job import JobResult

HOSTNAME = "pool"
#: The pool's configuration: what is here lies at the same path in its root file system.
FILES = Path(__file__).parent / "files"
#: roost on the access point: the checkout, with the dependencies that the root file system has.
ROOST = """\
#!/bin/sh
PYTHONPATH={project}:{libraries} ROOST_ROOT="${{ROOST_ROOT:-{project}}}" exec python3 -P -m roost "$@"
"""
#: Character devices of the pool's own /dev: name, major, minor.
DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
#: The guests, which are libvirtd's children, and HTCondor go before all else, such as builds of images: it is for them
#: that most of the time is waited.
FIRST = ("nice", "-n", "-5")
#: Seconds: until libvirtd's socket is there, until a slot advertises HasVM.
LIBVIRT, SLOT = 20, 90


def main() -> int:
    """Be the name space's init: reap what daemons leave behind, until the driver has ended."""
    spec = json.loads(Path(sys.argv[1]).read_text())
    driver = os.fork()
    if driver == 0:
        code = 1
        try:
            code = _drive(spec)
        except BaseException:  # os._exit below: nobody else would show it
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    while True:
        pid, status = os.wait()
        if pid == driver:
            return os.waitstatus_to_exitcode(status)


def _drive(spec: dict[str, Any]) -> int:
    scratch, results = Path(spec["scratch"]), Path(spec["results"])
    root = scratch / "root"
    answer: dict[str, Any]
    try:
        _mount(scratch, root, Path(spec["rootfs"]))
        _share(root, results / "jobs", f"/home/{spec['user']}/jobs")
        for job in spec["jobs"]:
            if job["at"]:
                _share(root, results / "jobs" / job["name"], job["at"])
        for directory, at in spec["shared"].items():
            _share(root, Path(directory), at)
        if spec["late"]:
            (root / "run/late").touch()
        _have_roost(root, spec)
        pool = Pool(root, spec["user"], spec["uid"])
        _start(pool)
        up = time.monotonic() - pool.start
        done = _jobs(pool, spec["jobs"], results / "jobs", spec["deadline"])
        answer = {"up": round(up, 1), "jobs": [result.to_json() for result in done]}
    except (PoolError, OSError, subprocess.SubprocessError) as error:
        answer = {"error": f"{error}"}
    _keep(root, results)
    (results / "result.json").write_text(json.dumps(answer))
    return 0 if "error" not in answer else 1


def _mount(scratch: Path, root: Path, rootfs: Path) -> None:
    socket.sethostname(HOSTNAME)
    _loopback_up()
    for name in ("upper", "work", "root"):
        (scratch / name).mkdir()

    def mount(kind: str, target: Path, options: str = "") -> None:
        target.mkdir(exist_ok=True)
        argv = ["mount", "-t", kind, *(["-o", options] if options else []), kind, str(target)]
        done = subprocess.run(argv, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise PoolError(f"cannot mount {kind}: {done.stderr.strip()} (is $ROOST_CACHE on ext4, xfs or btrfs?)")

    mount("overlay", root, f"lowerdir={rootfs},upperdir={scratch / 'upper'},workdir={scratch / 'work'}")
    for file in sorted(path for path in FILES.rglob("*") if path.is_file()):
        target = root / file.relative_to(FILES)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_bytes(file.read_bytes())
        target.chmod(0o755 if os.access(file, os.X_OK) else 0o644)
    mount("proc", root / "proc")
    mount("sysfs", root / "sys", "ro")
    mount("tmpfs", root / "run", "mode=755")
    mount("tmpfs", root / "dev", "mode=755")
    mount("tmpfs", root / "dev/shm")
    mount("devpts", root / "dev/pts", "newinstance,ptmxmode=0666,mode=0620,gid=5")
    (root / "dev/ptmx").symlink_to("pts/ptmx")
    (root / "dev/fd").symlink_to("/proc/self/fd")
    os.umask(0)
    for name, major, minor in DEVICES:
        os.mknod(root / "dev" / name, 0o020666, os.makedev(major, minor))
    # condor_vm-gahp only asks access(2) whether it could open it. Were it QEMU's user who could, libvirt would ask
    # QEMU for KVM again at each start of a guest.
    os.close(os.open(root / "dev/kvm", os.O_CREAT, 0o600))
    os.umask(0o022)


def _share(root: Path, directory: Path, at: str) -> None:
    """Have `directory` at the absolute path `at` in the pool."""
    target = root / at.lstrip("/")
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", str(directory), str(target)], check=True)


def _have_roost(root: Path, spec: dict[str, Any]) -> None:
    """Have the checkout at its own path in the pool, and a command `roost`."""
    _share(root, Path(spec["project"]), spec["project"])
    program = root / "usr/local/bin/roost"
    program.write_text(ROOST.format(**spec))
    program.chmod(0o755)
    # Its users cannot keep what they compile: each call would compile roost again. One pool does it for all.
    with (Path(spec["rootfs"]).parent / ".compiled.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        argv = ["chroot", str(root), "python3", "-m", "compileall", "-q", f"{spec['project']}/roost"]
        subprocess.run(argv, env=ENVIRONMENT, check=True, timeout=CALL)


def _loopback_up() -> None:
    # SIOCGIFFLAGS, SIOCSIFFLAGS and IFF_UP (netdevice(7)): a new network name space has its loopback down.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        _name, flags = struct.unpack("16sh14x", fcntl.ioctl(control, 0x8913, request))
        fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", b"lo", flags | 1))


def _until(seconds: float, ready: Any) -> bool:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


def _start(pool: Pool) -> None:
    pool.call("mkdir", "-p", "/run/libvirt", "/run/condor", "/run/lock/condor")
    pool.call("chown", "condor:condor", "/run/condor", "/run/lock/condor")
    # Not by `call`: a daemon keeps its standard output open, and `call` would wait for its end.
    for daemon in ("virtlogd", "libvirtd"):
        subprocess.run(pool.argv(*FIRST, daemon, "-d"), env=ENVIRONMENT, check=True, timeout=CALL)
    if not _until(LIBVIRT, (pool.root / "run/libvirt/libvirt-sock").is_socket):
        raise PoolError("libvirtd made no socket")
    # The first answers take seconds (QEMU is asked for its capabilities), more than the startd gives its probe.
    pool.call("virsh", "-q", "-c", "qemu:///session", "list")
    pool.call("virsh", "-c", "qemu:///session", "domcapabilities", "--virttype", "qemu")
    subprocess.Popen(pool.argv(*FIRST, "condor_master", "-f"), env=ENVIRONMENT)
    if not _until(SLOT, pool.has_vm):
        raise PoolError(f"no slot advertises HasVM after {SLOT} s:\n{pool.log('StartLog')[-6000:]}")


def _jobs(pool: Pool, jobs: list[dict[str, Any]], directory: Path, deadline: float) -> list[JobResult]:
    results: list[JobResult] = []
    open_jobs: dict[str, str] = {}
    for job in jobs:
        if job["session"]:
            results.append(_session(pool, job, directory, deadline))
            continue
        done = pool.submit(job["name"], job["file"])
        if done.returncode == 0:
            open_jobs |= dict.fromkeys(watch.submitted(done.stdout), job["name"])
        else:
            text = done.stderr + done.stdout
            results.append(JobResult(job["name"], "", "refused", directory / job["name"], reason=text))
    turn = watch.Turn()
    while open_jobs:
        late = time.monotonic() - pool.start > deadline
        if not turn.due(time.monotonic(), pool.logged()) and not late:
            time.sleep(1)
            continue
        queue = pool.queue()
        for id_, name in list(open_jobs.items()):
            found = watch.settled(queue, id_, late=late)
            if found is None:
                continue
            has_vm = None
            if found["outcome"] == "requeued":
                # The startd tells the collector a moment later.
                _until(15, lambda: pool.has_vm() is False)
                has_vm = pool.has_vm()
                pool.ask("condor_rm", id_)
            del open_jobs[id_]
            results.append(
                JobResult(
                    name=name,
                    id=id_,
                    directory=directory / name,
                    has_vm=has_vm,
                    events=queue.events(id_),
                    xml=_domain(pool, id_, "xml"),
                    console=_domain(pool, id_, "console"),
                    ended_after=round(time.monotonic() - pool.start, 1),
                    **found,
                )
            )
        if open_jobs:
            time.sleep(2)
    order = [job["name"] for job in jobs]
    return sorted(results, key=lambda result: (order.index(result.name), [int(n) for n in result.id.split(".") if n]))


def _session(pool: Pool, job: dict[str, Any], directory: Path, deadline: float) -> JobResult:
    """Run a program on the access point; what it says is in session.log of its directory."""
    name, program = job["name"], job["file"]
    where = f"/home/{pool.user}/jobs/{name}"
    with (directory / name / "session.log").open("wb") as log:
        try:
            done = subprocess.run(
                pool.argv("env", "-C", where, f"./{program}"),
                env={**ENVIRONMENT, "SUBMITTER": pool.user},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=max(1.0, deadline - (time.monotonic() - pool.start)),
                check=False,
            )
        except subprocess.TimeoutExpired:
            return JobResult(name, "", "timeout", directory / name)
    ended = round(time.monotonic() - pool.start, 1)
    return JobResult(name, "", "completed", directory / name, exit_code=done.returncode, ended_after=ended)


def _domain(pool: Pool, id_: str, suffix: str) -> str:
    # HTCondor calls a domain USER_HOST_CLUSTER.PROCESS.
    for path in (pool.root / "var/log/domains").glob(f"*_{id_}.{suffix}"):
        return path.read_bytes().decode("utf-8", "replace")
    return ""


def _keep(root: Path, results: Path) -> None:
    """Leave the logs, and all that came back, where the caller can read and remove them."""
    for source in ("condor", "libvirt", "domains"):
        with contextlib.suppress(OSError, shutil.Error):
            shutil.copytree(root / "var/log" / source, results / "logs" / source, dirs_exist_ok=True, symlinks=True)
    subprocess.run(
        ["chown", "-R", f"{os.getuid()}:{os.getgid()}", str(results / "jobs"), str(results / "logs")], check=False
    )


if __name__ == "__main__":
    sys.exit(main())
