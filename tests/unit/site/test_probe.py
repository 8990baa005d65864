"""The probe of an execution point where something is missing, refuses or hangs; tests/pool has the one that works."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from roost.pipeline import probe as story
from roost.pipeline.probe import read

SCRIPT = Path(__file__).parents[3] / "roost/site/probe"

#: A libvirt as a script: what each command does is a file beside it, by the command's name.
VIRSH = """\
#!/bin/sh
while [ "${1#-}" != "$1" ]; do [ "$1" = -c ] && shift; shift; done
echo "$*" >>"$0.log"
[ ! -e "${0%/*}/do-$1" ] || . "${0%/*}/do-$1"
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a directory with the script, its files, and tools of its own on PATH."""
    site = tmp_path / "site"
    (site / "bin").mkdir(parents=True)
    (site / "probe").write_bytes(SCRIPT.read_bytes())
    for name in ("root.raw", "format.qcow2"):
        (site / name).write_bytes(b"x")
    (site / "bin/virsh").write_text(VIRSH)
    (site / "bin/virsh").chmod(0o755)
    (site / "work").mkdir()
    return site


def environment(site: Path) -> dict[str, str]:
    return {"PATH": f"{site / 'bin'}:{os.environ['PATH']}", "TMPDIR": str(site / "work")}


def probe(site: Path, *words: str, **more: str) -> story.Proof:
    done = subprocess.run(
        ["sh", str(site / "probe"), *words],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env={**environment(site), **more},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\n-\n") and list((site / "work").iterdir()) == []
    return read(done.stdout)


def does(site: Path, command: str, script: str) -> None:
    (site / "bin" / f"do-{command}").write_text(script)


def test_without_libvirt(site: Path) -> None:
    (site / "bin/virsh").unlink()
    found = probe(site, PATH="/usr/bin:/bin")
    assert (found.works, "virsh is not installed" in found.reason) == (False, True)


def test_without_its_files(site: Path) -> None:
    (site / "root.raw").unlink()
    assert "root.raw cannot be read" in probe(site).reason


def test_a_libvirt_that_does_not_answer(site: Path) -> None:
    does(site, "version", 'echo "error: failed to connect to the \\"hypervisor\\"" >&2; exit 1')
    found = probe(site)
    assert not found.works
    assert "does not answer: error: failed to connect to the hypervisor" in found.reason


def test_a_libvirt_that_hangs(site: Path) -> None:
    does(site, "version", "sleep 60")
    start = time.monotonic()
    found = probe(site, "--deadline", "2")
    assert "did not answer within 2 s" in found.reason and time.monotonic() - start < 30


def test_a_domain_that_is_refused(site: Path) -> None:
    does(site, "create", "echo 'error: internal error: process exited: KVM: permission denied' >&2; exit 1")
    found = probe(site)
    assert not found.works and "libvirt refuses the domain: error: internal error" in found.reason
    assert "KVM: permission denied" in found.reason
    assert "destroy roost-probe-" in (site / "bin/virsh.log").read_text()


def test_a_guest_that_says_nothing_and_ends(site: Path) -> None:
    does(site, "domstate", "exit 1")
    assert "ended without an answer" in probe(site).reason


def test_a_guest_that_says_nothing_and_stays(site: Path) -> None:
    found = probe(site, "--deadline", "3")
    assert "gave no answer within 3 s" in found.reason
    assert "destroy roost-probe-" in (site / "bin/virsh.log").read_text()


#: What the guest does, as a libvirt that starts it: recipes/base/probe/start, in words of the host's shell.
GUEST = """\
disk=$(ls -d {site}/work/roost-probe.*)/answer.raw
token=$(head -c 64 "$disk" | tr -d '\\000\\n')
printf 'roost-probe %s\\nkvm=yes\\nqcow2=yes\\ncard=none\\nlease=no\\nkernel=6.1\\nend\\n' "$token" >{site}/answer
dd if={site}/answer of="$disk" bs=512 seek=1 conv=sync,notrunc 2>/dev/null
"""


def test_the_answer_of_its_own_guest_counts(site: Path) -> None:
    does(site, "create", f"case $* in *--paused*) exit 1 ;; esac\n{GUEST.format(site=site)}")
    does(site, "domstate", "exit 1")
    found = probe(site)
    assert found.works, found
    told = found.attributes
    assert (told["RoostVMKVM"], told["RoostVMFormats"], told["RoostVMBuses"]) == (True, "raw,qcow2", "virtio")
    assert (told["RoostVMNetwork"], told["RoostVMKernel"]) == (False, "6.1")


@pytest.mark.parametrize(
    "silence", ["trap '' TERM\nsleep 60", "echo 'error: failed to connect to the hypervisor' >&2; exit 1"]
)
def test_a_libvirt_that_is_gone_when_the_guest_has_answered(site: Path, silence: str) -> None:
    does(site, "create", GUEST.format(site=site))
    does(site, "domstate", silence)
    does(site, "list", f"[ ! -e {site}/answer ] || {{ {silence}\n}}")
    found = probe(site, "--deadline", "3")
    assert not found.works and "it is not known whether the guest powered itself off" in found.reason


def test_a_domain_that_libvirt_lists_has_not_ended(site: Path) -> None:
    does(site, "create", GUEST.format(site=site))
    does(site, "domstate", "exit 1")
    does(site, "list", f"[ ! -e {site}/answer ] || ls {site}/work | tr . -")
    assert not probe(site, "--deadline", "3").works


def test_a_libvirt_that_hangs_when_it_starts_the_domain(site: Path) -> None:
    does(site, "create", "sleep 60")
    assert "did not start the domain within 3 s" in probe(site, "--deadline", "3").reason


def test_a_condor_config_val_that_hangs_takes_no_longer_than_the_deadline(site: Path) -> None:
    (site / "bin/condor_config_val").write_text("#!/bin/sh\nsleep 60\n")
    (site / "bin/condor_config_val").chmod(0o755)
    begin = time.monotonic()
    assert "condor_config_val did not answer within 3 s" in probe(site, "--deadline", "3").reason
    assert time.monotonic() - begin < 30


def test_an_answer_to_another_probe_does_not_count(site: Path) -> None:
    answer = "roost-probe 1-2\\nkvm=yes\\nend\\n"
    disk = f'"$(ls -d {site}/work/roost-probe.*)/answer.raw"'
    does(site, "create", f"printf '{answer}' | dd of={disk} bs=512 seek=1 conv=notrunc 2>/dev/null")
    does(site, "domstate", "exit 1")
    assert "ended without an answer" in probe(site).reason


def test_what_killed_probes_left_is_destroyed(site: Path) -> None:
    does(site, "list", "printf 'roost-probe-999999999\\nroost-probe-1\\nother-999999999\\nroost-probe-x9\\n'")
    does(site, "create", "exit 1")
    probe(site)
    log = (site / "bin/virsh.log").read_text()
    assert "destroy roost-probe-999999999\n" in log
    assert not any(f"destroy {name}\n" in log for name in ("roost-probe-1", "other-999999999", "roost-probe-x9"))


def test_a_signal_ends_it_with_an_advertisement_and_nothing_left(site: Path) -> None:
    with subprocess.Popen(
        ["sh", str(site / "probe")], stdout=subprocess.PIPE, text=True, env=environment(site)
    ) as running:
        for _ in range(200):
            if (site / "bin/virsh.log").exists() and "domstate" in (site / "bin/virsh.log").read_text():
                break
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        output = running.communicate(timeout=30)[0]
    assert "the probe was interrupted" in read(output).reason and output.endswith("\n-\n")
    assert list((site / "work").iterdir()) == []


def test_htcondors_script_makes_the_domain(site: Path) -> None:
    cases = f"LIBVIRT_XML_SCRIPT) echo {site}/xml ;;\nEXECUTE) echo {site}/work ;;\n*) exit 1 ;;"
    (site / "bin/condor_config_val").write_text(f"#!/bin/sh\ncase $1 in\n{cases}\nesac\n")
    (site / "bin/condor_config_val").chmod(0o755)
    (site / "xml").write_text(f"#!/bin/sh\ncat >{site}/ad\necho '<domain/>'\n")
    (site / "xml").chmod(0o755)
    does(site, "create", f"cp \"$2\" {site}/domain; echo 'error: no' >&2; exit 1")
    probe(site)
    ad = (site / "ad").read_text()
    assert 'JobVMType = "kvm"\n' in ad and "answer.raw:vdb:w:raw" in ad and ad.endswith("\n\n")
    assert (site / "domain").read_text() == "<domain/>\n"
    (site / "xml").write_text("#!/bin/sh\necho 'no ad' >&2\nexit 3\n")
    assert "LIBVIRT_XML_SCRIPT" in probe(site).reason


def test_a_path_that_htcondor_misreads_is_reported(site: Path) -> None:
    (site / "isolated").mkdir()
    found = probe(site, TMPDIR=str(site / "isolated"))
    assert "'iso'" in found.reason


@pytest.mark.parametrize("words", [["--deadline", "x"], ["--deadline"], ["--help"], ["--deadline", "99999999"]])
def test_a_wrong_call(site: Path, words: list[str]) -> None:
    done = subprocess.run(["sh", str(site / "probe"), *words], capture_output=True, timeout=30, check=False)
    assert done.returncode == 2 and done.stdout == b""


def test_only_attributes_of_the_probe_are_read() -> None:
    text = 'RoostVMWorks = true\nRoostVMReason = "x"\nEvil = 1\nRoostVMSeconds = 3\nRoostVMX = "a" || true\n-\n'
    found = read(text)
    assert found.attributes == {"RoostVMWorks": True, "RoostVMReason": "x", "RoostVMSeconds": 3}
    assert found.advertised() == 'RoostVMWorks = true\nRoostVMReason = "x"\nRoostVMSeconds = 3\n-\n'
    assert not read("RoostVMWorks = true\n").works and not read("").works
