"""Why vm-universe jobs are held, requeued, idle or endless: each reason defined once, as data.

A reason is recognized by the messages of HTCondor, libvirt or QEMU, and names the lint rules that would have caught
it; its cause and fix are those of the rules if there are any, so that lint and explanation cannot disagree.
Sources: HTCondor manual, Virtual Machine Jobs, Failures to Launch; condor_starter/vm_proc.cpp (holdingErrors);
docs/vm-universe.md, section 4; messages of libvirt 9.0, seen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MANUAL = "HTCondor manual, Virtual Machine Jobs, Failures to Launch"
_REFERENCE = "docs/vm-universe.md, section 4"


@dataclass(frozen=True, slots=True)
class Reason:
    """A cause of failure. `pattern` finds it in text; `lint` are the codes of rules that prevent it."""

    code: str
    pattern: re.Pattern[str]
    meaning: str
    cause: str
    fix: str
    source: str
    lint: tuple[str, ...] = ()


def reason(code: str, pattern: str, meaning: str, cause: str, fix: str, source: str, *lint: str) -> Reason:
    """Return a reason; the pattern is searched in whole texts, case-insensitively, ^ and $ at each line."""
    return Reason(code, re.compile(pattern, re.IGNORECASE | re.MULTILINE), meaning, cause, fix, source, lint)


def _held(number: int, name: str, cause: str, fix: str, *lint: str) -> Reason:
    code = f"VMGAHP_ERR_{name}" if name == "BAD_IMAGE" else f"VMGAHP_ERR_JOBCLASSAD_{name}"
    meaning = f"the job is held before its machine starts (hold code 6, subcode {number})"
    return reason(code, rf"\b{code}\b", meaning, cause, fix, f"{_MANUAL}; {_REFERENCE}, error {number}", *lint)


def requeued(code: str, pattern: str, cause: str, fix: str, source: str, *lint: str) -> Reason:
    """Return a reason that requeues the job and takes the execute machine out of the vm universe."""
    meaning = "the job goes back to the queue, and the execute machine is offered to no vm job any more (HasVM = False)"
    return reason(code, pattern, meaning, cause, fix, source, *lint)


_DISK = (
    "a disk of vm_disk does not have 3 or 4 fields, is neither transferred nor an absolute path, or its mode forbids it"
)
_DISK_FIX = (
    "write file:device:permission:format; list each relative file in transfer_input_files, name the others by their "
    "absolute path, and publish disks with mode 0644"
)
_DISK_LINT = ("tif-missing", "disk-empty-field", "disk-quotes", "disk-name-chars", "file-unreadable")
_CHECKPOINT = "vm_checkpoint is on and a disk was transferred"
_CHECKPOINT_FIX = "put every disk on a shared file system and name it by its absolute path, or drop vm_checkpoint"
_NO_DISK = "the job has no VMPARAM_vm_Disk: vm_type was not exactly kvm or xen when it was submitted"

#: The thirteen errors that hold a job, in the order of their subcodes.
HOLDING = (
    _held(0, "NO_VM_MEMORY_PARAM", "neither JobVMMemory nor RequestMemory is a number",
          "write vm_memory as a plain number of MiB", "memory"),
    _held(1, "XEN_NO_KERNEL_PARAM", "the job has no xen_kernel", "write xen_kernel = included, or name a kernel file",
          "xen-kernel"),
    _held(2, "MISMATCHED_HARDWARE_VT", "xen_kernel is vmx, which asks for hardware virtualization",
          "write xen_kernel = included; name no kernel file vmx", "xen-vmx"),
    _held(3, "XEN_KERNEL_NOT_FOUND", "the kernel file cannot be read from the sandbox",
          "list it in transfer_input_files and name it without a directory; on a shared file system check its mode",
          "xen-kernel-transfer"),
    _held(4, "XEN_INITRD_NOT_FOUND", "the initrd file cannot be read from the sandbox",
          "list it in transfer_input_files and name it without a directory; on a shared file system check its mode",
          "xen-initrd-transfer"),
    _held(5, "XEN_NO_ROOT_DEVICE_PARAM", "xen_kernel names a file and there is no xen_root",
          "write xen_root = /dev/xvda1, and root= in xen_kernel_params", "xen-root"),
    _held(6, "XEN_NO_DISK_PARAM", _NO_DISK, "write vm_type = xen and vm_disk", "type-attribute", "disk-missing"),
    _held(7, "XEN_INVALID_DISK_PARAM", _DISK, _DISK_FIX, *_DISK_LINT),
    _held(8, "XEN_MISMATCHED_CHECKPOINT", _CHECKPOINT, _CHECKPOINT_FIX, "ckpt-transfer"),
    _held(9, "KVM_NO_DISK_PARAM", _NO_DISK, "write vm_type = kvm and vm_disk", "type-attribute", "disk-missing"),
    _held(10, "KVM_INVALID_DISK_PARAM", _DISK, _DISK_FIX, *_DISK_LINT),
    _held(11, "KVM_MISMATCHED_CHECKPOINT", _CHECKPOINT, _CHECKPOINT_FIX, "ckpt-transfer"),
    _held(12, "BAD_IMAGE", "libvirt says that a disk is not a qcow2 image, although it is declared as one",
          "declare the format that `qemu-img info` shows, or convert the image", "fmt-mismatch", "image-corrupt"),
)  # fmt: skip

_LOOK = (
    "look into VMGahpLog of the execute machine for libvirt's words and explain those; "
    "the machine takes vm jobs again after condor_restart -startd"
)

REQUEUING = (
    requeued("VMGAHP_ERR_INTERNAL", r"\bVMGAHP_ERR_INTERNAL\b",
              "libvirt refused the machine; it can be any error in vm_disk, the image or the network", _LOOK,
              _REFERENCE, "dev-unknown", "dev-duplicate", "fmt-unknown", "fmt-mismatch", "iso-substring",
              "disk-empty-item", "mac"),
    requeued("VMGAHP_ERR_CRITICAL", r"\bVMGAHP_ERR_CRITICAL\b",
              "the execute machine could not write the machine's definition, or has no XEN_BOOTLOADER",
              "tell the pool's administrator; " + _LOOK, _REFERENCE),
    requeued("VMGAHP_ERR_JOBCLASSAD_TOO_MUCH_MEMORY_REQUEST", r"TOO_MUCH_MEMORY_REQUEST",
              "vm_memory is more than the machine's VM_MEMORY",
              "ask for less vm_memory, or add requirements = (TARGET.VM_Memory >= ...)", _REFERENCE, "memory-request"),
    requeued("VMGAHP_ERR_JOBCLASSAD_MISMATCHED_NETWORKING", r"MISMATCHED_NETWORKING(?!_TYPE)\b",
              "the machine offers no networking to its virtual machines",
              "drop vm_networking, or tell the pool's administrator (VM_NETWORKING)", _REFERENCE, "net-type"),
    requeued("VMGAHP_ERR_JOBCLASSAD_MISMATCHED_NETWORKING_TYPE", r"MISMATCHED_NETWORKING_TYPE\b",
              "the machine does not offer this vm_networking_type", "write nat, or what the pool offers", _REFERENCE,
              "net-type", "net-user"),
    requeued("VMGAHP_ERR_VM_NOT_ENOUGH_MEMORY", r"\bVMGAHP_ERR_VM_NOT_ENOUGH_MEMORY\b|cannot allocate memory|"
             r"out of memory(?!: kill)|std::bad_alloc",
              "the execute machine had too little free memory for the virtual machine",
              "ask for less vm_memory, or tell the pool's administrator", "condor_vm-gahp/vmgahp_error_codes.h"),
    requeued("VMGAHP_ERR",
             r"\bVMGAHP_ERR_(?!JOBCLASSAD_|INTERNAL\b|CRITICAL\b|BAD_IMAGE\b|VM_NOT_ENOUGH_MEMORY\b)[A-Z_]+",
              "condor_vm-gahp failed on the execute machine", _LOOK, "condor_vm-gahp/vmgahp_error_codes.h"),
    requeued("HasVM", r"\bHasVM\s*=+\s*False\b|HasVM is (?:now )?false",
              "a virtual machine failed to start there, and the machine stopped offering the vm universe",
              "find the job that failed (event 021 in its log), fix it, then condor_restart -startd on the machine",
              _REFERENCE),
)  # fmt: skip


def _unmatched(code: str, attribute: str, cause: str, fix: str, *lint: str) -> Reason:
    # A line of condor_q -better-analyze: step, number of slots, condition; or of -analyze's older suggestions table;
    # or the words with which a person or a tool sums that up.
    pattern = (
        rf"^[ \t]*\[\d{{1,4}}\][ \t]+0[ \t][^\n]{{0,200}}\b{attribute}\b"
        rf"|^[ \t]*\d{{1,3}}[ \t]+\([^\n]{{0,200}}\b{attribute}\b[^\n]{{0,100}}\)[ \t]+0(?:[ \t]|$)"
        rf"|\bmatch(?:es)? (?:no|0) (?:slots?|machines?):[^\n]{{0,200}}\b{attribute}\b"
    )
    return reason(code, pattern, "no machine meets this requirement, so the job stays idle", cause, fix,
                  "docs/vm-universe.md, section 1: requirements that submit adds", *lint)  # fmt: skip


MATCHING = (
    _unmatched("no-HasVM", "HasVM", "no machine offers the vm universe: the pool has none, or jobs took them offline",
               "condor_status -constraint HasVM; ask the administrator for condor_restart -startd"),
    _unmatched("no-VM_Type", "VM_Type", "no machine runs this vm_type", "", "type"),
    _unmatched("no-VM_AvailNum", "VM_AvailNum", "every machine already runs as many virtual machines as it may",
               "wait, or ask the administrator for more (VM_MAX_NUMBER)"),
    _unmatched("no-VM_Memory", "(?:VM_Memory|TotalMemory|Memory)", "no machine gives a virtual machine so much memory",
               "ask for less vm_memory and request_memory", "memory-request"),
    _unmatched("no-Disk", "Disk", "no machine has so much free disk",
               "ask for less request_disk, or make the disks smaller"),
    _unmatched("no-Arch", "Arch", "no machine has the architecture of the access point",
               'write requirements = (TARGET.Arch == "...") for the image\'s architecture'),
    _unmatched("no-VM_Networking", "VM_Networking", "no machine offers networking to virtual machines",
               "drop vm_networking, or ask the administrator (VM_NETWORKING)", "net-type"),
    _unmatched("no-VM_Networking_Types", "VM_Networking_Types", "no machine offers this vm_networking_type", "",
               "net-type", "net-user"),
    _unmatched("no-VM_HardwareVT", "VM_HardwareVT", "xen_kernel = vmx asks for what no machine offers", "", "xen-vmx"),
    _unmatched("no-plugin", "HasFileTransferPluginMethods", "no machine fetches URLs of this scheme", "", "tif-scheme"),
)  # fmt: skip

#: Results of the analysis of an idle job: the patterns match words only, `match_analysis` reads the numbers.
IDLE = (
    reason("never-matches", r"no (?:machines?|slots?|resources?) match|matched? by 0\b|"
            r"match(?:ing|es)? (?:no|0) (?:slots?|machines?)|Reason for last match failure:\s*no match found|"
            r"^(?![^\n]{0,200}\b\d{1,9} )[^\n]{0,200}rejected by your job'?s requirements",
            "no machine ever matches the job, so it stays idle",
            "the requirements that condor_submit adds cannot be met: vm_type, memory, disk, networking, architecture "
            "or a URL scheme; or every machine lost HasVM",
            "condor_q -better-analyze shows the line with 0 slots; condor_status -af Machine HasVM VM_Type VM_Memory "
            "VM_AvailNum VM_Networking_Types what the machines offer", "docs/vm-universe.md, section 1", "type",
            "net-type", "tif-scheme"),
    reason("no-combination", r"(?!)", "no machine meets all requirements together, so the job stays idle",
            "each condition has machines that meet it, but no machine meets all of them at once",
            "condor_q -better-analyze: see which lines that join others ([0] && [1]) have 0 slots; relax one of them",
            "docs/vm-universe.md, section 1"),
    reason("machines-refuse", r"^(?![^\n]{0,200}\b\d{1,9} )[^\n]{0,200}reject(?:s|ed)? your job because of their own",
            "machines fit the job but refuse it, so it stays idle",
            "their own START expression or limits say no: other users, too few free CPUs, or a policy of the pool",
            "condor_q -better-analyze -reverse -machine NAME JOB shows a machine's own conditions; ask its "
            "administrator",
            "condor_q(1), -better-analyze"),
    reason("no-machines", r"(?!)", "there is no machine to run on: condor_q saw no machines",
            "the pool is empty or offline, the collector was not reached, or the analysis was limited to no machine",
            "condor_status shows what the collector knows; ask the administrator", "condor_q(1), -better-analyze"),
    reason("would-match-drained", r"(?!)", "machines would fit the job if they were empty",
            "the job wants more of one machine than is free beside the jobs that run there",
            "wait, ask for less, or ask the administrator to drain a machine (condor_defrag)",
            "condor_q(1), -better-analyze"),
    reason("waiting", r"insufficient (?:user )?priority|PREEMPTION_REQUIREMENTS == False|concurrency limit|"
            r"(?:submitter limit|group quota) (?:is )?exceeded|serving (?:other users|users with a better)",
            "machines match the job; it waits for its turn",
            "they run other jobs now, other users have a better priority, or a limit or quota is reached",
            "wait; condor_userprio shows the priorities", "condor_q(1), -better-analyze"),
    reason("not-considered", r"has not yet been considered by the matchmaker|has not been considered",
            "the negotiator has not looked at the job yet", "the job was just submitted",
            "wait for a negotiation cycle, some minutes at most, and ask again", "condor_q(1), -analyze"),
)  # fmt: skip

OTHERS = (
    reason("runs-forever", r"job[- ]timeout|(?:still|keeps?) running|runs? for ?ever|"
            r"never (?:ends|finishes|stops|powers? off)|PeriodicRemove expression [^\n]{0,80}JobStatus == 2\b|"
            r"reboot: System halted|Kernel panic|No bootable device|Boot failed: not a bootable disk|"
            r"Unable to mount root|VFS: Cannot open root|dropping to (?:an? )?(?:initramfs|shell)|\(initramfs\)|"
            r"grub rescue>",
            "HTCondor ends the job only when the guest is powered off, so it runs for ever",
            "the guest halts instead of powering off, panics, reboots in a loop, or never found its boot disk",
            "end the job with /sbin/poweroff; put the root disk on vda with its true format; add periodic_remove for "
            "jobs that take too long",
            "HTCondor manual, Job Completion in the vm Universe; docs/vm-universe.md, section 6",
            "boot-order", "fmt-missing", "fmt-mismatch", "xen-root-dropped"),
    reason("no-exit-code", r"normal termination \((?:return value|signal) \d",
            "the guest is gone; this says nothing about the work it did",
            "a vm job's return value is 0 whenever its machine ends; another one is HTCondor's",
            "read the result from the disk that came back (inv collect)", "docs/vm-universe.md, fact 3"),
    reason("evicted", r"^004 |job was evicted", "the job left its machine and starts again from the beginning",
            "the machine was wanted for something else, or the virtual machine failed to start",
            "see the event before it; vm_checkpoint would resume it where it was", "HTCondor manual, Job Event Log",
            "ckpt-transfer"),
    reason("reconnect-failed", r"^024 |Job reconnection failed|Job disconnected too long|"
            r"JobLeaseDuration[^\n]{0,40}expired",
            "the access point lost the execute machine for longer than the job's lease: the job starts again",
            "the machine, its HTCondor or the network was down; whatever the guest had done is gone with its sandbox",
            "nothing, if it is rare; else ask the machine's administrator, or make the jobs shorter",
            "HTCondor manual, Job Event Log, events 022 and 024"),
    reason("disconnected", r"^022 |Job disconnected, attempting to reconnect|"
            r"Socket between submit and execute hosts closed",
            "the access point lost the execute machine and tries to find it again; the guest may run on meanwhile",
            "the network, or a restart of the machine's or the access point's HTCondor",
            "wait: event 023 says that it was found, 024 that it was not", "HTCondor manual, Job Event Log"),
    reason("starter-failed",
            r"(?:can not|cannot|failed to|unable to) (?:start|execute|create) (?:the )?(?:condor_)?vm-?gahp|"
            r"vm-?gahp(?: server)?[^\n]{0,60} (?:exited|died|is dead|not responding)|VMGAHP_ERR_TIMEOUT|"
            r"vm-?gahp: error while loading shared libraries",
            "condor_vm-gahp, which speaks to libvirt, does not work on the execute machine",
            "it is not installed, may not be run, or died", "tell the machine's administrator (VMGahpLog, StarterLog)",
            "condor_starter/vm_gahp_server.cpp"),
    reason("no-schedd", r"can'?t find address of (?:local )?schedd|failed to connect to (?:local )?queue manager",
            "condor_submit or condor_q did not reach the queue, and nothing was submitted",
            "no schedd runs here, or it does not know who asks (AUTHENTICATE)",
            "submit where your pool's access point is; condor_status -schedd shows it", "condor_submit(1)"),
    reason("shadow-exception", r"^007 |shadow exception", "the job failed on HTCondor's side and starts again",
            "the next line of the event says what", "explain that line as well", "HTCondor manual, Job Event Log"),
    reason("periodic-remove",
            r"(?<!SYSTEM_)Periodic_?Remove\b(?! expression [^\n]{0,80}JobStatus == 2\b)[^\n]{0,4000}"
            r"evaluated to TRUE|job attribute PeriodicRemove\b(?! expression [^\n]{0,80}JobStatus == 2\b)",
            "the job was removed because its own periodic_remove became true",
            "the description removes jobs that run too long, are held or start too often; the guest's work is gone",
            "see which part of the expression was true; if the guest was still at work, raise the time it has, or use "
            "periodic_hold, which keeps the job", "HTCondor manual, condor_submit, periodic_remove"),
    reason("on-exit-remove", r"job attribute OnExitRemove\b[^\n]{0,4000}evaluated to (?:TRUE|FALSE)",
            "when the guest was gone, the job's own on_exit_remove decided whether the job leaves the queue",
            "TRUE (the default) ends the job; FALSE queues it again, from the beginning, as often as it is false",
            "a vm job has no exit code of its work: leave on_exit_remove alone, and read the result from the disk "
            "(inv collect)", "HTCondor manual, condor_submit, on_exit_remove"),
    reason("periodic-release", r"job attribute PeriodicRelease\b|SYSTEM_PERIODIC_RELEASE\b",
            "the job was held and goes back to the queue because periodic_release or the pool's own became true",
            "the description, or the pool, releases jobs that were held; what held it may hold it again",
            "see why it was held: the hold event before tells; bound the releases with NumJobStarts or NumHolds",
            "HTCondor manual, condor_submit, periodic_release"),
    reason("on-timeout", r"\bthe job ran for more than \d+ s\b",
            "the job ran for longer than job.timeout and submit.margin allow, and is held (submit.on_timeout)",
            "the guest hangs, halts without powering off, or needs more time",
            "see its console; raise job.timeout; condor_release starts it again from the beginning",
            "docs/recipes.md, Where jobs run, and what becomes of them"),
    reason("max-starts", r"\bthe job started (?:once|\d+ times) and never ended\b",
            "the job started as often as submit.max_starts allows, and is held before it asks the next machine",
            "no machine could start it, or it was evicted each time: event 021 or 004 of its log says which",
            "fix what that says, then condor_qedit ID NumJobStarts 0 and condor_release ID",
            "docs/recipes.md, Where jobs run, and what becomes of them"),
    reason("system-periodic-remove", r"SYSTEM_PERIODIC_REMOVE\b", "the pool's own policy removed the job",
            "SYSTEM_PERIODIC_REMOVE became true, often after too long a time, too many starts or too long a hold",
            "ask the pool's administrator which jobs it removes", "HTCondor manual, SYSTEM_PERIODIC_REMOVE"),
    reason("disk-quota", r"^(?![^\n]{0,400}(?:transfer|errno|hold))[^\n]{0,400}disk quota exceeded",
            "a file could not be written: its owner's quota is used up",
            "the quota of the job's owner on the access point, or of the execute directory on the machine",
            "quota -s shows it: remove what is not needed, or ask for more", "errno(3), EDQUOT"),
    reason("removed", r"^009 |job was aborted|via condor_rm", "the job was removed",
            "someone called condor_rm, or periodic_remove became true", "see the reason in the event's next line",
            "HTCondor manual, Job Event Log"),
)  # fmt: skip

#: Messages with which condor_submit refuses, and the rule that detects each beforehand.
_SUBMIT = (
    ("vm_memory is incorrectly specified|vm_memory cannot be found", "memory"),
    ("'vm_disk' has incorrect format", "disk-fields"),
    ("_disk' cannot be found", "disk-missing"),
    ("'xen_kernel' cannot be found", "xen-kernel"),
    ("'xen_root' cannot be found", "xen-root"),
    ("To use xen_initrd", "xen-initrd"),
    ("must eval to a boolean", "bool"),
    ("must eval to an integer", "integer"),
    ("You cannot use input, ou(?:t)?put, and error", "stdio"),
    ("No 'executable' parameter", "executable"),
    ("I don't know about the '[^']*' universe", "universe"),
    ("vm_type of 'vmware' is no longer supported", "type-vmware"),
    ("requested both VM checkpoint and VM networking", "ckpt-net"),
    (r"URLS? require .*access_key", "tif-s3-keys"),
    ("Parse error in expression", "expression"),
    ("Unterminated double-quote", "quotes"),
    ("Invalid Queue count expression|invalid queue statement|Queue count out of range", "queue"),
    (r"is not a valid (?:el)?if condition|endif without matching if|endif\(s\) not found", "if-condition"),
    ("Illegal Identifier", "identifier"),
)

SUBMIT = tuple((re.compile(pattern, re.IGNORECASE | re.MULTILINE), code) for pattern, code in _SUBMIT)
