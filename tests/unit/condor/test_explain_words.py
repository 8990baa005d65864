"""Explanations where the words and the numbers differ, and of texts that name several jobs."""

from __future__ import annotations

import pytest

from roost.condor.explain import Explanation, explain


def codes(text: str) -> list[str]:
    return [explanation.code for explanation in explain(text)]


def first(text: str) -> Explanation:
    return explain(text)[0]


def event(number: str, job: str, words: str, numbers: str = "") -> str:
    head = f"{number} ({job}.000) 2026-11-26 09:00:12 Job was held.\n\t{words}\n"
    return f"{head}\t{numbers}\n...\n" if numbers else f"{head}...\n"


OLD_OUT = "Error from slot2@ep04: STARTER at 10.0.0.5 failed to send file(s) to <10.0.0.1:9618>"
OLD_IN = "Error from slot2@ep04: SHADOW at 10.0.0.1 failed to send file(s) to <10.0.0.5:9618>"
NO_FILE = "(errno 2) No such file or directory"
DIR = "/var/lib/condor/execute/dir_99"


@pytest.mark.parametrize(
    ("text", "code", "cause"),
    [
        (
            f"{OLD_OUT}: error reading from {DIR}/io.raw: {NO_FILE}; SHADOW failed to receive file(s)",
            "hold-12",
            "was not in the sandbox when the job ended",
        ),
        (
            f"{OLD_OUT}; SHADOW at 10.0.0.1 failed to write to file /home/a/out.raw: (errno 122) Disk quota exceeded",
            "hold-12",
            "quota is exceeded",
        ),
        (f"{OLD_OUT}; remaps resulted in a cycle: <0: io.raw><1: /home/alice/out.raw>", "hold-12", "circle"),
        (
            "Transfer output files failure at access point ap01 while receiving files from the execution point. "
            "Details: writing to file /home/alice/out-12.raw: (errno 28) No space left on device",
            "hold-12",
            "no space left",
        ),
        (
            "Transfer output files failure at execution point slot1@ep while sending files to access point ap. "
            f"Details: reading from file {DIR}/io.raw: {NO_FILE}",
            "hold-12",
            "was not in the sandbox",
        ),
        (
            "Transfer output files failure at access point ap while receiving files from execution point slot1@ep. "
            "Details: writing to file /home/alice/x/io.raw: (errno 13) Permission denied",
            "hold-12",
            "may not be written to",
        ),
        (
            f"{OLD_OUT}; SHADOW at 10.0.0.1 failed to write to file /home/alice/gone/out.raw: {NO_FILE}",
            "hold-12",
            "directory at the access point that the output returns to does not exist",
        ),
        (
            f"{OLD_IN}: error reading from /home/alice/root.qcow2: {NO_FILE}; STARTER failed to receive file(s)",
            "hold-13",
            "it is not there",
        ),
        (
            f"{OLD_IN}: error reading from /home/alice/root.qcow2: (errno 13) Permission denied; STARTER failed to "
            "receive file(s) from <10.0.0.1:9618>",
            "hold-13",
            "may not be read by the job's owner",
        ),
        (
            f"{OLD_IN}; STARTER at 10.0.0.5 failed to write to file {DIR}/root.raw: (errno 28) No space left on device",
            "hold-13",
            "no space left where the input is written to",
        ),
        (
            "Transfer input files failure at execution point slot1@ep while receiving files from access point ap. "
            f"Details: writing to file {DIR}/root.raw: (errno 28) No space left on device",
            "hold-13",
            "no space left where the input is written to",
        ),
        (
            "Transfer input files failure at execution point slot1@ep using protocol https. Details: Error: Could not "
            "resolve host: images.example.org (https://images.example.org/root.qcow2)",
            "hold-13",
            "plugin",
        ),
        (
            "Error from slot3@ep: FILETRANSFER:1:non-zero exit (1) from /usr/libexec/condor/curl_plugin. Error: Could "
            "not resolve host: images.example.org",
            "hold-13",
            "plugin",
        ),
    ],
)
def test_a_failed_transfer_is_told_the_right_way_round(text: str, code: str, cause: str) -> None:
    for shape in (
        text,
        f'HoldReason = "{text}"\nHoldReasonCode = 13\nHoldReasonSubCode = 2\nJobStatus = 5\n',
        event("012", "043.000", text, "Code 12 Subcode 2"),
        event("012", "043.000", text, "Code 13 Subcode 2"),
    ):
        (found,) = explain(shape)
        assert found.code == code
        assert cause in found.cause


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Cannot access storage file '{}' (as uid:107, gid:107): Permission denied", "disk-permission"),
        ("internal error: process exited while connecting to monitor: Could not open '{}': Permission denied", ""),
        ("Failed to open file '{}': Permission denied", "disk-permission"),
        ("unable to set user and group to '107:107' on '{}': Operation not permitted", "disk-permission"),
        ("xen disk image file('{}') cannot be modified", "disk-permission"),
        ("Could not open backing file: Could not open '{}': Permission denied", "disk-permission"),
        ("Cannot access storage file '{}' (as uid:107, gid:107): No such file or directory", "disk-absent"),
        ("Cannot access backing file '{}' of storage file '/y' (as uid:107, gid:107): No such file", "backing-file"),
        ("Failed to open file '{}': No such file or directory", "disk-absent"),
    ],
)
def test_permission_denied_is_not_absence(text: str, code: str) -> None:
    found = codes(f"Failed to create libvirt domain: {text.format(DIR + '/root.qcow2')}")
    assert found[0] == (code or "disk-permission")
    assert not {"disk-permission", "disk-absent", "backing-file"} - {found[0]} & set(found)


@pytest.mark.parametrize(
    "text",
    [
        event("012", "042.000", "Error from slot1@ep07.example.org: VMGAHP_ERR_INTERNAL", "Code 6 Subcode 0"),
        'HoldReason = "Error from s1@ep: VMGAHP_ERR_INTERNAL"\nHoldReasonCode = 6\nHoldReasonSubCode = 0\n',
    ],
)
def test_a_held_internal_error_is_not_missing_memory_and_is_not_requeued(text: str) -> None:
    (found,) = explain(text)
    assert found.code == "VMGAHP_ERR_INTERNAL"
    assert "is held" in found.meaning
    assert "back to the queue" not in found.meaning


def test_a_job_that_was_requeued_and_then_held_is_held() -> None:
    error = "Error from slot1@ep: VMGAHP_ERR_INTERNAL"
    (found,) = explain(event("021", "1.0", error) + event("012", "1.0", error, "Code 6 Subcode 0"))
    assert "is held" in found.meaning
    assert found.jobs == ("1.0",)


@pytest.mark.parametrize("subcode", range(13))
def test_an_errno_is_not_a_subcode_of_the_vm_gahp(subcode: int) -> None:
    words = f"Error from slot1@ep: Failed to execute '/usr/bin/x': (errno={subcode}: 'whatever it is')"
    assert codes(event("012", "43.0", words, f"Code 6 Subcode {subcode}")) == ["hold-6"]


def test_the_name_in_the_words_outranks_another_number() -> None:
    words = "Error from slot1@ep: VMGAHP_ERR_JOBCLASSAD_KVM_INVALID_DISK_PARAM"
    assert codes(event("012", "43.0", words, "Code 6 Subcode 2")) == ["VMGAHP_ERR_JOBCLASSAD_KVM_INVALID_DISK_PARAM"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Code 1020 Subcode 0", "hold-1020"),
        ("VacateReasonCode = 1020", "hold-1020"),
        ("Internal error occurred while managing the VM", "hold-1020"),
        ("HoldReasonCode = 21", "hold-21"),
        ("HoldReasonCode = 14", "hold-14"),
        ("Cannot access initial working directory /home/alice/gone: No such file or directory", "hold-14"),
        ("Error from slot1@ep: memory usage exceeded request_memory", "hold-34"),
        (
            "Error from slot1@ep: Job has gone over memory limit of 1024 megabytes.",
            "hold-34",
        ),
        ("The job exceeded allowed job duration of 20:00:00", "hold-46"),
        ("The job exceeded allowed execute duration of 3+00:00:00", "hold-47"),
        ("Job in status 2 put on hold by SYSTEM_PERIODIC_HOLD due to memory usage 10572684.", "hold-26"),
        ("via condor_hold (by user alice)", "hold-1"),
        ("Spooling input data files", "hold-16"),
        ("The job attribute PeriodicRelease expression 'x' evaluated to UNDEFINED", "hold-5"),
        ("Code 1008 Subcode 0", "vacate-1008"),
        ("Error from slot1@ep: Failed to execute '/x' (errno=13: 'Permission denied')", "hold-6"),
        ("HoldReasonCode = 32", "hold-32"),
        ("HoldReasonCode = 33", "hold-33"),
        ("022 (1.0.000) 2026-11-26 09:00:12 Job disconnected, attempting to reconnect\n", "disconnected"),
        ("Job disconnected too long: JobLeaseDuration (2400 seconds) expired", "reconnect-failed"),
        ("Failed to connect socket to '/var/run/libvirt/libvirt-sock': Permission denied", "no-libvirt"),
        ("Failed to create libvirt domain: monitor socket did not show up.: No such file or directory", "qemu-ended"),
        ("Requested operation is not valid: network 'default' is not active", "no-network"),
        ("internal error: qemu unexpectedly closed the monitor", "qemu-ended"),
        ("cannot set up guest memory 'pc.ram': Cannot allocate memory", "VMGAHP_ERR_VM_NOT_ENOUGH_MEMORY"),
        ("internal error: Failed to lock byte 100", "image-locked"),
        ("Could not open '/x/root.qcow2': Could not read L1 table: Input/output error", "image-corrupt"),
    ],
)
def test_what_schedulers_starters_and_libvirt_say_is_known(text: str, code: str) -> None:
    assert codes(text)[0] == code


@pytest.mark.parametrize("text", ["The job ended with exit code 12", "return code 3", "exit-code 1", "error code 26"])
def test_an_exit_code_is_not_a_hold_code(text: str) -> None:
    assert codes(text) == []


def analysis(job: str, rejected: int, refusing: int, willing: int, more: str = "", total: int = 9252) -> str:
    return (
        f"{job}:  Run analysis summary ignoring user priority.  Of {total} slots on 3328 machines,\n"
        f"   {rejected} slots are rejected by your job's requirements\n"
        f"   {refusing} slots reject your job because of their own requirements\n"
        f"   {willing} slots match and are willing to run your job\n{more}\n"
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (analysis("12.000", 9252, 0, 0), "never-matches"),
        (analysis("12.000", 0, 9252, 0), "machines-refuse"),
        (analysis("12.000", 9000, 252, 0), "machines-refuse"),
        (analysis("12.000", 9000, 0, 252), "waiting"),
        (analysis("12.000", 9000, 1, 0, "      1 slots would match if drained"), "would-match-drained"),
        (analysis("12.000", 0, 0, 0, total=0), "no-machines"),
        (
            "27.000:  Run analysis summary.  Of 34 machines,\n     24 are rejected by your job's requirements\n"
            "      0 reject your job because of their own requirements\n"
            "     10 match but are serving other users\n      0 are available to run your job\n",
            "waiting",
        ),
        (
            "27.000:  Run analysis summary.  Of 5257 machines,\n   5257 are rejected by your job's requirements\n"
            "      0 are available to run your job\n\tReason for last match failure: no match found\n\n"
            "WARNING:  Be advised:\n   No resources matched request's constraints\n",
            "never-matches",
        ),
        ("all slots are rejected by your job's requirements", "never-matches"),
        ("No machines matched the jobs's constraints", "never-matches"),
        ("Job has not yet been considered by the matchmaker.", "not-considered"),
        (
            "[0]   7425  TARGET.HasVM\n[1]   9251  TARGET.Disk >= 10\n[2]      0  [0] && [1]\n",
            "no-combination",
        ),
        ("1   ( TARGET.Memory >= 8388608 )     0                   MODIFY TO 2048\n", "no-VM_Memory"),
    ],
)
def test_an_idle_job(text: str, code: str) -> None:
    assert codes(text) == [code]


def test_several_jobs_of_a_log_each_have_their_reason() -> None:
    text = (
        event("012", "4.0", "Error from slot1@ep: VMGAHP_ERR_JOBCLASSAD_KVM_INVALID_DISK_PARAM", "Code 6 Subcode 10")
        + event("012", "004.001", f"{OLD_IN}: error reading from /home/a/x: {NO_FILE}", "Code 13 Subcode 2")
        + event("012", "4.2", "via condor_hold (by user alice)", "Code 1 Subcode 0")
        + event("012", "4.3", "via condor_hold (by user alice)", "Code 1 Subcode 0")
        + "001 (5.0.000) 2026-11-26 09:00:12 Job executing on host: <127.0.0.1:9618>\n...\n"
    )
    assert [(one.code, one.jobs) for one in explain(text)] == [
        ("VMGAHP_ERR_JOBCLASSAD_KVM_INVALID_DISK_PARAM", ("4.0",)),
        ("hold-13", ("4.1",)),
        ("hold-1", ("4.2", "4.3")),
        ("runs-forever", ("5.0",)),
    ]


def test_several_ads_and_hold_lines_each_have_their_reason() -> None:
    ads = (
        'ClusterId = 7\nProcId = 0\nHoldReason = "via condor_hold (by user a)"\nHoldReasonCode = 1\n'
        "PeriodicHold = false\nRequirements = (TARGET.HasVM) && (TARGET.Disk >= RequestDisk)\n\n"
        'ClusterId = 7\nProcId = 1\nHoldReason = "memory usage exceeded request_memory"\nHoldReasonCode = 34\n'
    )
    assert {one.code: one.jobs for one in explain(ads)} == {"hold-1": ("7.0",), "hold-34": ("7.1",)}
    lines = (
        "   4.0   alice   11/23 16:27 Error from slot1_5@ep: VMGAHP_ERR_INTERNAL\n"
        "   3.0   alice   11/23 16:27 Transfer input files failure at access point ap while sending files\n"
    )
    found = {one.code: one for one in explain(lines)}
    assert found["hold-13"].jobs == ("3.0",)
    assert found["VMGAHP_ERR_INTERNAL"].jobs == ("4.0",)


def test_two_analyses_are_two_jobs() -> None:
    text = analysis("12.000", 9252, 0, 0) + analysis("12.001", 0, 9252, 0)
    assert {one.code: one.jobs for one in explain(text)} == {"never-matches": ("12.0",), "machines-refuse": ("12.1",)}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("internal error: qemu unexpectedly closed the monitor: Could not access KVM kernel module: Permission denied",
         "no-kvm"),
        ("unsupported configuration: Domain requires KVM, but it is not available. Check that virtualization is enabled"
         " in the host BIOS, and host configuration is setup to load the kvm modules.", "no-kvm"),
        ("invalid argument: could not get preferred machine for /usr/bin/qemu-system-x86_64 type=kvm", "no-kvm"),
        ("internal error: Unable to add bridge virbr0 port vnet0: Operation not permitted", "no-network"),
        ("internal error: no supported architecture for os type 'hvm'", "no-emulator"),
        ("qemu: could not load PC BIOS 'bios-256k.bin'", "no-emulator"),
        ("internal error: libxenlight failed to create new domain 'vm1'", "xen-not-created"),
        ("xc: error: panic: xc_dom_boot.c:122: xc_dom_boot_mem_init: can't allocate low memory for domain",
         "xen-not-created"),
        ("block I/O error in device 'drive-virtio-disk0': No space left on device (28)", "host-disk-full"),
    ],
)  # fmt: skip
def test_what_libvirt_qemu_and_xen_write_has_its_cause_first(text: str, code: str) -> None:
    found = explain(text)
    assert found and found[0].code == code, [one.code for one in found]
    assert "disk-permission" not in {one.code for one in found}
