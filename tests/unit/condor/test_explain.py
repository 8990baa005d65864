"""The explanations: each hold reason, event logs and analyses as HTCondor writes them, and that nothing raises."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.condor.explain import REASONS, explain, of_rule, to_json
from roost.condor.reasons import HOLDING, SUBMIT
from roost.condor.rules import ALL

LOGS = Path(__file__).parents[2] / "data" / "event-logs"


def codes(text: str | bytes) -> list[str]:
    return [explanation.code for explanation in explain(text)]


@pytest.mark.parametrize("number", range(13))
def test_each_holding_error_is_explained_by_name_and_by_subcode(number: int) -> None:
    reason = HOLDING[number]
    for text in (
        reason.code,
        f"Error from slot1_4@host: {reason.code}",
        f"\tCode 6 Subcode {number}\n",
        f"HoldReasonCode = 6\nHoldReasonSubCode = {number}\n",
    ):
        assert codes(text) == [reason.code]
    (found,) = explain(reason.code)
    assert found.meaning
    assert found.cause
    assert found.fix
    assert found.lint_codes


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("VMGAHP_ERR_INTERNAL", "VMGAHP_ERR_INTERNAL"),
        ("An internal error prevented HTCondor from starting the VM.", "hold-1020"),
        (
            "An internal error prevented HTCondor from starting the VM.  This job will be rescheduled.  "
            "(VMGAHP_ERR_INTERNAL).",
            "VMGAHP_ERR_INTERNAL",
        ),
        ("Input File transfer stalled for 3600 seconds", "hold-13"),
        ("Output File transfer stalled for 3600 seconds", "hold-12"),
        ("ERROR: Can't find address of local schedd", "no-schedd"),
        ("ERROR: Failed to connect to local queue manager\nAUTHENTICATE:1003:Failed to authenticate", "no-schedd"),
        ("condor_vm-gahp: error while loading shared libraries: libvirt.so.0: cannot open", "starter-failed"),
        ("internal error: early end of file from monitor, possible problem: x", "qemu-ended"),
        ("Emulator '/usr/bin/qemu-system-x86_64' does not support machine type 'pc-i440fx-9.9'", "no-emulator"),
        ("libvirt: error : cannot execute binary /usr/bin/qemu-kvm: Permission denied", "no-emulator"),
        ("Could not open 'a.vmdk': Image not in VMDK format", "not-qcow2"),
        ("\t(0) Abnormal termination (signal 9)", "no-exit-code"),
        ("Failed to create directory /execute/dir_1: No space left on device", "disk-full-there"),
        ("Failed to create libvirt domain: unsupported configuration: no such video model", "libvirt-refused"),
        ("unsupported configuration: unknown driver format value 'img'", "unknown-driver-format"),
        ("internal error: Failed to apply firewall rules /usr/sbin/iptables -w", "no-network"),
        ("VMGAHP_ERR_CRITICAL", "VMGAHP_ERR_CRITICAL"),
        ("VMGAHP_ERR_JOBCLASSAD_TOO_MUCH_MEMORY_REQUEST", "VMGAHP_ERR_JOBCLASSAD_TOO_MUCH_MEMORY_REQUEST"),
        ("VMGAHP_ERR_JOBCLASSAD_MISMATCHED_NETWORKING", "VMGAHP_ERR_JOBCLASSAD_MISMATCHED_NETWORKING"),
        ("VMGAHP_ERR_JOBCLASSAD_MISMATCHED_NETWORKING_TYPE", "VMGAHP_ERR_JOBCLASSAD_MISMATCHED_NETWORKING_TYPE"),
        ("VMGAHP_ERR_CANNOT_READ_CDROM_FILE", "VMGAHP_ERR"),
        ("HasVM = False", "HasVM"),
        ("HoldReasonCode = 12", "hold-12"),
        ("held with code 13", "hold-13"),
        ("Code 3 Subcode 0", "hold-3"),
        ("The job attribute PeriodicHold expression 'true' evaluated to TRUE", "hold-3"),
        ("The job attribute OnExitHold expression 'x' evaluated to TRUE", "hold-3"),
        ("The job attribute PeriodicRemove expression 'NumJobStarts > 3' evaluated to TRUE", "periodic-remove"),
        ("The job attribute PeriodicRemove expression '...' evaluated to TRUE", "periodic-remove"),
        ("PERIODIC_REMOVE expression 'true' evaluated to TRUE", "periodic-remove"),
        ("The job attribute OnExitRemove expression 'false' evaluated to FALSE", "on-exit-remove"),
        ("The job attribute PeriodicRelease expression 'true' evaluated to TRUE", "periodic-release"),
        ("Hold reason: the job ran for more than 16200 s", "on-timeout"),
        ("Hold reason: the job started 3 times and never ended", "max-starts"),
        ("The system macro SYSTEM_PERIODIC_RELEASE expression 'true' evaluated to TRUE", "periodic-release"),
        ("The system macro SYSTEM_PERIODIC_REMOVE expression 'true' evaluated to TRUE", "system-periodic-remove"),
        ("The system macro SYSTEM_PERIODIC_HOLD expression 'true' evaluated to TRUE", "hold-26"),
        ("unsupported configuration: CPU mode 'host-passthrough'", "no-kvm"),
        ("unsupported configuration: CPU mode 'host-model' for x86_64 qemu domain", "no-kvm"),
        ("out of memory", "VMGAHP_ERR_VM_NOT_ENOUGH_MEMORY"),
        ("cannot set up guest memory 'pc.ram': Cannot allocate memory", "VMGAHP_ERR_VM_NOT_ENOUGH_MEMORY"),
        ("Out of memory: Killed process 91 (python3)", "guest-out-of-memory"),
        ("disk quota exceeded", "disk-quota"),
        ("Code 26 Subcode 0", "hold-26"),
        ("HoldReasonCode = 34", "hold-34"),
        ("unsupported configuration: unknown driver format value 'QCOW2'", "unknown-driver-format"),
        ("XML error: target 'vda' duplicated for disk sources '/a' and '/b'", "duplicate-target"),
        ("unsupported configuration: partitions can't appear in disk targets", "partition-target"),
        ("XML error: Unknown disk name '' and no address specified", "unknown-disk-name"),
        ("unsupported configuration: readonly ide disks are not supported", "ide-readonly"),
        ("IDE controllers are unsupported for this QEMU binary or machine type", "ide-q35"),
        ("unsupported configuration: disk type of 'vda' does not support ejectable media", "ejectable-media"),
        ("(domain_definition):1: EntityRef: expecting ';'", "xml"),
        ("XML error: unable to parse mac address 'zz'", "mac"),
        ("Image is not in qcow2 format", "not-qcow2"),
        ("Could not open '/x/root.raw': Permission denied", "disk-permission"),
        ("Could not open backing file: Could not open 'base.qcow2': No such file or directory", "backing-file"),
        ("Cannot access storage file '/x/img/root.qcow2': No such file or directory", "disk-absent"),
        ('Failed to get "write" lock', "image-locked"),
        ("Invalid or unsupported virtual disk identifier", "xen-disk"),
        ("Kernel panic - not syncing: VFS: Unable to mount root fs", "runs-forever"),
        ("[    3.1] reboot: System halted", "runs-forever"),
        ("\x1b[0mroost: job finished: exit 0\r\n[    3.1] reboot: System halted\r\n", "runs-forever"),
        ("[    9.8] reboot: Restarting system\r\n[    9.8] reboot: machine restart\r\n", "guest-reboots"),
        ("[    9.8] reboot: machine restart", "guest-reboots"),
        ("Boot failed: not a bootable disk", "runs-forever"),
        ("Requirements expression matches no slots: HasVM", "no-HasVM"),
        ("Requirements expression matches no slots: TARGET.VM_Memory >= 4096", "no-VM_Memory"),
        ("Requirements expression matches no slots", "never-matches"),
        ("No machines matched the jobs's constraints", "never-matches"),
        ("[3]           0  TARGET.VM_Type == MY.JobVMType", "no-VM_Type"),
        ("[1]           0  TARGET.HasVM is true", "no-HasVM"),
        ('[0]           0  TARGET.Arch == "X86_64"', "no-Arch"),
        ("[5]           0  TARGET.VM_Memory >= MY.JobVMMemory", "no-VM_Memory"),
        ("[4]           0  TARGET.Disk >= RequestDisk", "no-Disk"),
    ],
)
def test_a_message_is_recognized(text: str, code: str) -> None:
    assert code in codes(text)


def test_a_condition_that_machines_meet_is_not_a_reason() -> None:
    assert codes("[1]          12  TARGET.HasVM is true") == []


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("vm_memory is incorrectly specified", "memory"),
        ("'vm_disk' has incorrect format.", "disk-fields"),
        ("'<vm>_disk' cannot be found.", "disk-missing"),
        ("'xen_kernel' cannot be found.", "xen-kernel"),
        ("'xen_root' cannot be found.", "xen-root"),
        ("To use xen_initrd, xen_kernel should be a real kernel file.", "xen-initrd"),
        ("vm_vnc=on is invalid, must eval to a boolean.", "bool"),
        ("You cannot use input, ouput, and error parameters in the submit description file for vm universe", "stdio"),
        ("No 'executable' parameter was provided", "executable"),
        ("I don't know about the 'kvm' universe.", "universe"),
        ("A vm_type of 'vmware' is no longer supported", "type-vmware"),
        ("You explicitly requested both VM checkpoint and VM networking", "ckpt-net"),
        ("[s3|gs]:// URLS require [s3|aws|gs]_secret_access_key_file to be set.", "tif-s3-keys"),
    ],
)
def test_a_refusal_of_condor_submit_leads_to_its_rule(message: str, code: str) -> None:
    assert code in codes(message)


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("completed", {"no-exit-code"}),
        ("held-disk", {"VMGAHP_ERR_JOBCLASSAD_KVM_INVALID_DISK_PARAM", "evicted"}),
        ("held-input", {"hold-13", "evicted"}),
        ("removed", {"removed", "runs-forever"}),
        ("requeued", {"VMGAHP_ERR_INTERNAL", "evicted"}),  # the held one, with the error that requeues
        ("running", {"runs-forever"}),
        ("idle", {"never-matches"}),
    ],
)
def test_a_job_event_log_tells_what_became_of_the_job(log: str, expected: set[str]) -> None:
    assert set(codes((LOGS / f"{log}.log").read_bytes())) == expected


def test_the_output_of_condor_q_hold() -> None:
    text = (
        "-- Schedd: ap.example.org : <192.0.2.1:9618?... @ 11/23/26 16:30:00\n"
        " ID      OWNER          HELD_SINCE  HOLD_REASON\n"
        "   4.0   alice          11/23 16:27 Error from slot1_5@ep: VMGAHP_ERR_JOBCLASSAD_KVM_INVALID_DISK_PARAM\n"
        "   3.0   alice          11/23 16:27 Transfer input files failure at access point ap while sending files\n"
    )
    assert codes(text) == ["VMGAHP_ERR_JOBCLASSAD_KVM_INVALID_DISK_PARAM", "hold-13"]


def test_a_lint_code_is_explained() -> None:
    (found,) = explain(" fmt-case\n")
    assert found == of_rule("fmt-case")
    assert of_rule("no such rule") is None


def test_reasons_and_rules_cannot_disagree() -> None:
    names = [reason.code for reason in REASONS]
    assert len(names) == len(set(names))
    for reason in REASONS:
        assert set(reason.lint) <= set(ALL)
        assert reason.meaning
        assert reason.cause
        assert reason.fix or reason.lint
    assert {code for _, code in SUBMIT} <= set(ALL)


def test_json_has_the_contract_s_keys() -> None:
    data = json.loads(json.dumps(to_json(explain("VMGAHP_ERR_INTERNAL"))))
    assert {"code", "meaning", "cause", "fix", "source"} <= set(data["matches"][0])


def test_nothing_to_explain_gives_nothing() -> None:
    assert explain("all is well") == ()
    assert explain(b"") == ()


@given(st.one_of(st.binary(max_size=300), st.text(max_size=200)))
def test_explain_never_raises(text: bytes | str) -> None:
    explain(text)


@pytest.mark.parametrize(
    "piece", ["target '", "[1] 0 ", "[1]\n", "code 6 ", "could not open '", "000 (1.1.1) ", "\n", "HasVM "]
)
def test_long_texts_take_seconds_at_most(piece: str) -> None:
    begin = time.process_time()
    explain(piece * (1_000_000 // len(piece)))
    assert time.process_time() - begin < 10
