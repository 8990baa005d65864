"""The pools that the tests ask, all started at once: a job takes HTCondor a minute or two, of which it sleeps most."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from roost.condor.policy import policy
from roost.events import Silent
from roost.host import capacity
from roost.pipeline import probe as story
from tests.images.calls import build
from tests.pool import five, harness, left_out, modes, nightly, rootfs, ten, tiny
from tests.pool.harness import PoolResult
from tests.pool.job import Job
from tests.unit.submitting import recipe

SESSIONS = Path(__file__).parent / "sessions"
GiB = 1 << 30
#: What a pool's daemons and guests may need, and how many pools run at once at most. Their guests wait for each other
#: (`harness.places`). `TINY_MOST` more run beside them whose guests have no operating system and do next to nothing.
POOL_MEMORY, MOST, TINY_MOST = 3 * GiB, 6, 2
#: The pools that take minutes, and start first: that which needs no image, then those whose guests are to be the first
#: in the queue for the processors. The guests of the workflow's jobs, of which three follow each other, go before those
#: of all others, which are called late.
LONGEST = ("pool_nightly", "pool_workflow", "pool_ten", "pool_probe")


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Collect these tests only when asked for them by path: they need root and minutes."""
    return None if left_out.asked(config.args, config.invocation_params.dir) else True


class Pools:
    """Runs pools side by side, as many as memory allows; each leaves its files in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.cancelled = threading.Event()
        # Not SC_AVPHYS_PAGES: after a build most of the memory is page cache, which that leaves out.
        self.executor = ThreadPoolExecutor(max_workers=max(1, min(MOST, capacity.memory_free() // POOL_MEMORY - 1)))
        self.tiny = ThreadPoolExecutor(max_workers=TINY_MOST)

    def start(
        self, name: str, jobs: list[Job], *, deadline: float = 300, tiny: bool = False, late: bool = False
    ) -> Future[PoolResult]:
        """Start a pool for these jobs, whose guests may all be `tiny`; `deadline` and `late` are `harness.run`'s."""
        executor = self.tiny if tiny else self.executor
        results = self.directory / name
        return executor.submit(harness.run, jobs, results, deadline=deadline, late=late, cancelled=self.cancelled)

    def inputs(self, pool: str, job: str) -> Path:
        """Return an empty directory for a job's submit description and disks."""
        directory = self.directory / "in" / pool / job
        directory.mkdir(parents=True)
        return directory


@pytest.fixture(scope="session")
def pools(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pools]:
    """Make the root file system if there is none yet, and run pools until the session ends."""
    rootfs.make()
    made = Pools(tmp_path_factory.mktemp("pools"))
    yield made
    made.cancelled.set()
    made.executor.shutdown(cancel_futures=True)
    made.tiny.shutdown(cancel_futures=True)
    # A gigabyte of disks, which nobody needs unless something went wrong.
    if not request.session.testsfailed:
        shutil.rmtree(made.directory)


@pytest.fixture(scope="session", autouse=True)
def all_pools_at_once(request: pytest.FixtureRequest, pools: Pools) -> None:
    """Start the pools of all tests to come: a fixture of this file called `pool_…` starts one and returns its future.

    One of another file is not known to the test that asks for this first, and would start when its tests begin.
    """
    wanted = {name: None for item in request.session.items for name in getattr(item, "fixturenames", ())}
    for name in [*(name for name in LONGEST if name in wanted), *wanted]:
        if name.startswith("pool_"):
            assert name in globals(), f"{name} is to be in {__file__}"
            # The error is raised again where a test asks for it.
            with contextlib.suppress(Exception):
                request.getfixturevalue(name)


#: A submit description but for disks, transfers and `queue`.
TINY = """\
universe = vm
executable = tiny
vm_type = kvm
vm_memory = 64
request_memory = 64
vm_vcpus = 1
request_cpus = 1
request_disk = 10MB
should_transfer_files = YES
when_to_transfer_output = ON_EXIT
log = job.log
"""


def tiny_job(
    pools: Pools, pool: str, name: str, lines: str, *, disk: str = "tiny.raw", end: str = tiny.POWER_OFF
) -> Job:
    """Return a job of the guest without an operating system: its directory, its disk, its submit description."""
    directory = pools.inputs(pool, name)
    tiny.make(directory / disk, format=disk.rpartition(".")[2], end=end)
    (directory / "job.sub").write_text(f"{TINY}{lines}" + ("" if "queue" in lines else "queue\n"))
    return Job(name, directory / "job.sub")


DISK = "vm_disk = tiny.raw:vda:w:raw\n"
TRANSFER = "transfer_input_files = tiny.raw\n"


@pytest.fixture(scope="session")
def pool_outcomes(pools: Pools) -> Future[PoolResult]:
    """One job for each way in which a job can end that leaves the execution point in service."""
    jobs = {
        "plain": DISK + TRANSFER,
        "remapped": DISK
        + TRANSFER
        + "transfer_output_files = tiny.raw\n"
        + 'transfer_output_remaps = "tiny.raw = tiny-$(Cluster).$(Process).raw"\n'
        + "queue 2\n",
        "not-transferred": DISK,
        "missing": DISK + "transfer_input_files = tiny.raw, nothing.raw\n",
        "refused": "vm_disk = tiny.raw:vda\n" + TRANSFER,
    }
    never = DISK + TRANSFER + "periodic_remove = JobStatus == 2 && time() - EnteredCurrentStatus > 20\n"
    return pools.start(
        "outcomes",
        [
            *(tiny_job(pools, "outcomes", name, lines) for name, lines in jobs.items()),
            tiny_job(pools, "outcomes", "never", never, end=tiny.HANG),
        ],
        deadline=240,
        tiny=True,
    )


@pytest.fixture(scope="session")
def pool_requeued(pools: Pools) -> Future[PoolResult]:
    """A raw disk that is declared as qcow2: QEMU refuses, and the execution point takes no more virtual machines."""
    lines = "vm_disk = tiny.raw:vda:w:qcow2\n" + TRANSFER
    return pools.start("requeued", [tiny_job(pools, "requeued", "declared-qcow2", lines)], deadline=120, tiny=True)


@pytest.fixture(scope="session")
def pool_runs_forever(pools: Pools) -> Future[PoolResult]:
    """A qcow2 disk whose format is left out: libvirt takes it as raw, and the BIOS finds nothing to boot."""
    lines = "vm_disk = tiny.qcow2:vda:w\ntransfer_input_files = tiny.qcow2\n"
    return pools.start(
        "runs-forever", [tiny_job(pools, "runs-forever", "no-format", lines, disk="tiny.qcow2")], deadline=75, tiny=True
    )


@pytest.fixture(scope="session")
def pool_wrong_bus(pools: Pools) -> Future[PoolResult]:
    """Xen's device name under kvm: libvirt refuses the domain."""
    lines = "vm_disk = tiny.raw:xvda:w:raw\n" + TRANSFER
    return pools.start("wrong-bus", [tiny_job(pools, "wrong-bus", "xvda", lines)], deadline=120, tiny=True)


@pytest.fixture(scope="session")
def pool_no_base(pools: Pools) -> Future[PoolResult]:
    """An overlay that travels without its base: QEMU cannot open it."""
    lines = "vm_disk = overlay.qcow2:vda:w:qcow2\ntransfer_input_files = overlay.qcow2\n"
    job = tiny_job(pools, "no-base", "overlay", lines, disk="base.qcow2")
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "overlay.qcow2"]
    subprocess.run(argv, cwd=job.submit.parent, check=True, timeout=60)
    return pools.start("no-base", [job], deadline=120, tiny=True)


@pytest.fixture(scope="session")
def smoke() -> Path:
    """Return the directory of the image `smoke`, built as a user would."""
    return build("smoke")


@pytest.fixture(scope="session")
def pool_shipped(pools: Pools, smoke: Path) -> Future[PoolResult]:
    """The images `smoke` and `debian-12` with the submit descriptions that their builds left."""
    built = {"smoke": smoke, "debian-12": build("debian-12")}
    return pools.start(
        "shipped", [Job(name, path / "kvm.sub") for name, path in built.items()], deadline=600, late=True
    )


@pytest.fixture(scope="session")
def pool_modes(pools: Pools, smoke: Path) -> Future[PoolResult]:
    """The image `smoke`, submitted in every way that roost knows."""
    jobs = [make(smoke, pools.inputs("modes", name)) for name, make in modes.ALL.items()]
    return pools.start("modes", jobs, deadline=600, late=True)


@pytest.fixture(scope="session")
def ten_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the image whose jobs bring their own program."""
    return ten.image(tmp_path_factory.mktemp("ten"))


@pytest.fixture(scope="session")
def pool_ten(pools: Pools, ten_image: Path) -> Future[PoolResult]:
    """Ten jobs by `inv run`; one fails, one never ends and is removed by what its description says."""
    return pools.start("ten", [ten.make(pools.inputs("ten", "ten"), ten_image)], deadline=900, late=True)


@pytest.fixture(scope="session")
def pool_workflow(pools: Pools, ten_image: Path) -> Future[PoolResult]:
    """Five jobs and three of a sweep by `inv run --dag` and DAGMan."""
    return pools.start("workflow", [five.make(pools.inputs("workflow", "workflow"), ten_image)], deadline=900)


@pytest.fixture(scope="session")
def pool_nightly(pools: Pools) -> Future[PoolResult]:
    """A family of images by `inv factory --dag` and DAGMan; one job is killed, one sent away."""
    return pools.start("nightly", [nightly.make(pools.inputs("nightly", "nightly"))], deadline=1200)


@pytest.fixture(scope="session")
def pool_probe(pools: Pools) -> Future[PoolResult]:
    """The probe under STARTD_CRON, libvirt broken on purpose in between; and the wrapper of LIBVIRT_XML_SCRIPT."""
    directory = pools.inputs("probe", "probe")
    story.install(directory / "probe", Silent())
    shutil.copy(SESSIONS / "probe", directory / "session")
    tiny.make(directory / "tiny.raw")
    wanted = policy(recipe(submit={"require_working_vm": True})).requirements
    (directory / "job.sub").write_text(f"{TINY}{DISK}{TRANSFER}requirements = {wanted}\nqueue\n")
    bad = DISK.replace("w:raw", "w:qcow2")
    (directory / "bad.sub").write_text(f"{TINY}{bad}{TRANSFER}queue\n")
    # All that the session waits for, each to its end: on a busy machine a probe alone takes minutes.
    return pools.start("probe", [Job("probe", directory / "session", session=True)], deadline=600)
