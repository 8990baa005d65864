"""What the code has no words for: causes of a failed boot, keys of manifest.json, environment variables.

tests/unit/docs compares each table with the code: nothing is missing, nothing is there that the code does not have.
"""

from __future__ import annotations

#: Cause of a test boot → what was seen, and what to do about it.
CAUSES = {
    "no-boot-loader": (
        "The firmware found nothing to start, or the boot loader started no kernel.",
        "Is the root disk the first of its bus, and declared in the format that it has? For xen: can pygrub read the "
        "file system, and Xen the kernel's compression? [Xen](../guides/xen.md)",
    ),
    "no-root-driver": (
        "The kernel never found the disk that its root is on.",
        "The kernel or its initrd lacks the driver: `inv kernels NAME` lists the drivers by bus. Put the disk on vdX "
        "(xvdX for xen), or take another kernel.",
    ),
    "no-root": (
        "The kernel found the disk, but no root file system on it, or no init in it.",
        "Does `root=` name a UUID or a label that the disk has? Is the file system's module in the initrd?",
    ),
    "panic": ("The kernel panicked.", "The console's last lines say why. More memory (`machine.memory`)?"),
    "job-timeout": (
        "The job never began, or took longer than `job.timeout` or `boot_test.timeout`.",
        "The report says what the start waited for. Under emulation times are scaled; a job that computes for long "
        "needs a smaller input in `boot_test.inputs`.",
    ),
    "job-failed": (
        "The job ended with another exit status than expected, was not run, was killed, or left no result.",
        "`job.log` on the io disk, shown in the report, has its output. `inv boot NAME --interactive` lets you try it.",
    ),
    "halted": (
        "The guest halted, but its machine stays on: HTCondor would let it run for ever.",
        "`job: {then: poweroff}` powers it off; in a guest of your own it is `poweroff`, not `halt`, with ACPI on.",
    ),
    "rebooted": (
        "The guest reset the machine; HTCondor would boot it again and again.",
        "Look for `panic=` on the kernel's command line, for a watchdog, and for `reboot` in the job.",
    ),
    "expectation": (
        "Something of `boot_test.expect` was not seen, or there was neither a job's result nor a login prompt.",
        "The verdict lists each expectation with what was seen instead.",
    ),
    "dirty-filesystem": (
        "A file system on a writable disk was not unmounted, is damaged, or is gone.",
        "Let the job end before the machine powers off; on sysvinit or in a guest of your own, unmount first.",
    ),
    "hypervisor": (
        "The machine was not started, or ended without any output of the guest.",
        "The message is QEMU's, libvirt's or Xen's own. Memory of this host? `inv doctor` says what it can do.",
    ),
}

#: Phase of a boot → what belongs to it.
PHASES = {
    "start": "QEMU, or Xen's first domain, is started",
    "firmware": "the BIOS looks for a disk to boot",
    "boot-loader": "GRUB, or pygrub for xen, loads kernel and initrd",
    "kernel": "the kernel starts, up to its first process",
    "initrd": "the initrd looks for the root file system",
    "init": "the guest's init starts its services",
    "job": "the job runs",
    "power-off": "the guest stops its services and turns the machine off",
    "disks": "the disks are read, from outside",
}

#: Key of manifest.json → what it is. `files[]` is an element of a list.
MANIFEST = {
    "name": "the image's name",
    "key": "the digest of all inputs: the same key is the same image",
    "keys": "the digest of each stage's inputs, by stage",
    "inputs": "what the root tree was made from: source, packages as apt selected them, local files with their digests",
    "files": "the files that the build left",
    "files[].name": "the file's name",
    "files[].format": "`raw`, `qcow2`, `kernel`, `initrd` …",
    "files[].sha256": "its sha256",
    "files[].virtual": "bytes that the guest sees",
    "files[].allocated": "bytes that it takes on the disk of the host",
    "files[].size": "bytes of the file: what HTCondor transfers",
    "files[].mtime_ns": "its time, in ns since 1970: a file that was touched is not fresh",
    "files[].ctime_ns": "when anything about it changed last, in ns since 1970; `null` if unknown",
    "files[].backing": "of an overlay: the name of its base",
    "files[].root": "of a kernel out of an existing image: the parameter `root=` that fits",
    "facts": "what was read back from the finished disks: packages, kernels, file systems, /etc/os-release (`os`), the "
    "kernel's drivers (`kernel`), what pygrub starts (`pygrub`), the digest of the SBOM, notes",
    "seconds": "how long each stage took",
    "roost": "the version of roost",
    "parts": "all that each stage's key was made of, for `inv build --explain`",
    "recipe": "the final value of every key of the recipe",
    "host": "the host that it was built on: system and versions of tools; it explains, and is no part of any key",
}

#: Variable → whose it is (you, site, job, roost; `tables.environment` says what that means), default, what.
ENVIRONMENT = {
    "ROOST_ROOT": (
        "you",
        "the checkout of `./inv`",
        "the project (recipes/, kernels/) for calls outside of any project",
    ),
    "ROOST_CACHE": ("you", "`~/.cache/roost`, by XDG_CACHE_HOME", "what is kept between builds; `inv gc` cleans it"),
    "ROOST_STATE": ("you", "`~/.local/state/roost`, by XDG_STATE_HOME", "what must not be lost: the key of verdicts"),
    "ROOST_SNAPSHOT": ("you", "", "the service that `os.debian.snapshot` asks: its address, or one with @SNAPSHOTID@"),
    "ROOST_MAX_SOURCE": ("you", "64GiB", "the most that an archive or image given as a source may hold"),
    "ROOST_MAX_NAMES": ("you", "1000000", "the most files that it may hold"),
    "ROOST_RUN_TIME": ("you", "1h", "the longest that each `run` command may take"),
    "ROOST_RUN_PROCESSES": ("you", "2048", "processes and threads of `run` commands at once"),
    "ROOST_RUN_MEMORY": ("you", "half of the host's", "memory of `run` commands in all"),
    "ROOST_RUN_FILE_SIZE": ("you", "64GiB", "the largest file that a `run` command may write"),
    "ROOST_RUN_FREE": ("you", "1GiB", "what must stay free on the disk while `run` commands write"),
    "ROOST_PYGRUB": (
        "you",
        "the newest installed",
        "the directory of a pygrub: bin/pygrub in it, or a package",
    ),
    "ROOST_SIGNING_KEY": (
        "you",
        "`~/.config/roost/signing-key`",
        "the file of the Ed25519 key to sign with",
    ),
    "ROOST_SIGNING_PASSPHRASE": ("you", "", "the passphrase of that key"),
    "ROOST_SFTP_KEY": ("you", "ssh's agent and keys", "the file of the private key for sftp:// catalogues"),
    "ROOST_SFTP_KNOWN_HOSTS": ("you", "`~/.ssh/known_hosts`", "the file with the keys of sftp servers"),
    "ROOST_PYTHON": ("you", "", "on execution points: the Python that has roost's dependencies, for `factory --dag`"),
    "ROOST_SETTINGS": ("site", "`/etc/roost/domain-xml`", "a file with the lines NAME=VALUE of those below"),
    "ROOST_GENERATOR": ("site", "HTCondor's own", "the program that writes the domain, which domain-xml calls"),
    "ROOST_CONSOLES": ("site", "`/var/log/roost/consoles`", "the directory of consoles; empty: none is kept"),
    "ROOST_CONSOLE_DAYS": ("site", "14", "days after which a console is removed"),
    "ROOST_INPUT": ("job", "", "the directory of the job's inputs: `input/` of the io disk, where the job starts"),
    "ROOST_OUTPUT": ("job", "", "the directory for the job's results: `output/` of the io disk"),
    "ROOST_INITRD": ("roost", "", "for the hooks of mmdebstrap: how the initrd is made"),
    "ROOST_GIVEN": ("roost", "", "for the hooks of mmdebstrap: the directory of the lists and sources of a tree"),
    "ROOST_PACKAGES": ("roost", "", "for the hooks of mmdebstrap: the directory of the packages of a tree"),
    "ROOST_LAYER": ("roost", "", "for the hooks of mmdebstrap: the tar of the layer that a tree is made on"),
    "ROOST_LAYER_PACKAGES": ("roost", "", "for the hooks of mmdebstrap: how many packages are in that layer"),
    "ROOST_ARCHIVE": ("roost", "", "for the hook that selects packages: the state of the archive"),
    "ROOST_CURRENT": (
        "roost",
        "",
        "for the hook that selects packages: apt's lists are those that the archive has now",
    ),
    "ROOST_TOOLS": ("roost", "", "for the hook that selects packages: those that a build takes beside the tree"),
    "ROOST_CALLED": ("roost", "", "the program that was called, `./inv` or `roost`, for messages that name a task"),
    "ROOST_UNDECLARED": ("roost", "", "`refuse` in the tests: a stage may run no tool that is not in its key"),
}
#: Variables that others define and roost heeds.
OTHERS = {
    "http_proxy, https_proxy, no_proxy": "the proxy for archives, sources and pip; also in capitals",
    "NO_COLOR": "no colour on the terminal",
    "COLUMNS": "the width of help and tables, where there is no terminal to ask",
    "TMPDIR": "where temporary files are: overlays of test boots, disks that `collect` repairs",
    "SOURCE_DATE_EPOCH": "the time of files that have none of their own, in seconds since 1970",
    "XDG_CACHE_HOME, XDG_CONFIG_HOME, XDG_STATE_HOME": "where cache, signing key and state belong",
    "AWS_ACCESS_KEY_ID and the like": "credentials for s3:// catalogues, as boto3 reads them",
    "SSH_AUTH_SOCK": "the ssh agent, for sftp:// catalogues",
}
