"""`inv check` refuses what the recipe's own files show (programs, paths, file systems, devices, suites), no more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from roost.errors import RecipeError
from roost.pipeline import planning
from roost.recipe import loader
from roost.recipe.command_words import programs
from roost.sources import suites
from tests.unit.program_lab import elf

PROJECT = Path(__file__).resolve().parents[3]
OS = "{debian: {suite: bookworm, variant: unpacked, packages: [busybox-static]}}"
ROOT = "{name: root, partitions: [{mount: /, filesystem: ext4, free: 16MiB}]}"


def refusals(directory: Path, keys: str, *, os_: str = OS, disks: str = "") -> list[str]:
    """Return `LINE: what` of each problem of a recipe: name, os and disks are lines 1 to 3, `keys` from 4 on."""
    path = directory / "r.yaml"
    path.write_text(f"name: r\nos: {os_}\ndisks: [{ROOT}{disks and ', '}{disks}]\n{keys}\n", newline="")
    try:
        loader.load(path, PROJECT, (), planning.problems)
    except RecipeError as error:
        assert all(problem.where and problem.where.line and problem.where.column for problem in error.problems)
        return [f"{problem.where.line}: {problem.what}" for problem in error.problems if problem.where]
    return []


def files(*entries: str, job: str = "/opt/job.sh") -> str:
    listed = "".join(f"\n  - {entry}" for entry in entries)
    return f"job: {{command: {job!r}}}\nfiles:{listed}"


SCRIPT = 'content: "#!/bin/sh\\necho hi\\n"'
CRLF = 'content: "#!/bin/sh\\r\\necho hi\\r\\n"'
X = 'mode: "0755"'


@pytest.mark.parametrize(
    "job",
    [
        "/opt/job.sh",
        "/opt/job.sh --input 1 > /dev/null",
        "cd /tmp && /opt/job.sh",
        "exec /opt/job.sh",
        "A=1 /opt/job.sh; true",
        "cat x | /opt/job.sh",
    ],
)
def test_a_job_program_that_is_not_executable(job: str, tmp_path: Path) -> None:
    (found,) = refusals(tmp_path, files(f"{{path: /opt/job.sh, {SCRIPT}}}", job=job))
    assert found == "6: /opt/job.sh is not executable (mode 0644), and the job runs it"


@pytest.mark.parametrize(
    "entry",
    [
        f"{{path: /opt/job.sh, {X}, {CRLF}}}",
        "{path: /opt/job.sh, source: crlf}",
        f'{{path: /opt/job.sh, {X}, content: "echo hi\\r\\n"}}',
    ],
)
def test_a_first_line_that_ends_in_cr(entry: str, tmp_path: Path) -> None:
    (tmp_path / "crlf").write_bytes(b"#!/bin/sh\r\necho hi\r\n")
    (tmp_path / "crlf").chmod(0o755)
    (found,) = refusals(tmp_path, files(entry))
    assert found.startswith("6: the first line of /opt/job.sh ends in CR")


def test_both_are_reported_at_once_and_one_thing_once(tmp_path: Path) -> None:
    keys = files(f"{{path: /opt/job.sh, {CRLF}}}") + "\nfirst_boot: [/opt/job.sh]"
    assert len(refusals(tmp_path, keys)) == 2


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (f"files: [{{path: /x, {SCRIPT}}}]\nfirst_boot: [/x]", "first_boot command 1 runs it"),
        (f"files: [{{path: /x, {SCRIPT}}}]\nrun: [/bin/true, {{command: /x}}]", "run command 2 runs it"),
        (
            f'files: [{{path: /x, {SCRIPT}}}, {{path: /etc/systemd/system/a.service, content: "[Service]\\n'
            'ExecStart=-/x --now\\n"}]',
            "/etc/systemd/system/a.service runs it",
        ),
        (
            f'files: [{{path: /x, {SCRIPT}}}, {{path: /etc/cron.d/a, content: "*/5 * * * * root /x\\n"}}]',
            "/etc/cron.d/a runs it",
        ),
        (f"files: [{{path: /etc/cron.daily/a, {SCRIPT}}}]", "because of its place"),
        (files(f"{{path: /opt/real, {SCRIPT}}}", "{path: /opt/job.sh, link: real}"), "the job runs it"),
        (files("{path: /opt/job.sh, directory: true}"), "is a directory"),
        (files(f'{{path: /opt/job.sh, {X}, content: "\\uFEFF#!/bin/sh\\n"}}'), "byte order mark"),
        (files(f'{{path: /opt/job.sh, {X}, content: "#!bin/sh\\n"}}'), "has no absolute path"),
        (files(f'{{path: /opt/job.sh, {X}, content: "#! python3 -u\\n"}}'), "has no absolute path"),
        (files(f"{{path: /opt/j, {CRLF}}}", job="sh /opt/j"), "ends in CR"),
        (files("{path: /opt, source: directory}"), "/opt/job.sh is not executable"),
        (files("{path: /opt/job.sh, source: arm}"), "is a program for aarch64, not for x86-64, and the job runs it"),
        (files("{path: /opt/job.sh, source: wide}"), "is UTF-16 text"),
        (files("{path: /opt/job.sh, source: wide}", job="sh /opt/job.sh"), "is UTF-16 text"),
        (files(f'{{path: /opt/job.sh, {X}, content: "#!/usr/bin/env python3 -u\\n"}}'), "env -S python3 -u"),
        (files(f'{{path: /opt/job.sh, {X}, content: "#!/bin/sh -e -u\\n"}}'), "the single word '-e -u'"),
    ],
)
def test_others_that_run_files(keys: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory/job.sh").write_text("#!/bin/sh\n")
    for name, content in (("arm", elf(183)), ("wide", "\ufeff#!/bin/sh\n".encode("utf-16-le"))):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o755)
    (found,) = refusals(tmp_path, keys)
    assert said in found


@pytest.mark.parametrize(
    "keys",
    [
        files(f"{{path: /opt/job.sh, {X}, {SCRIPT}}}"),
        files(f"{{path: /opt/job.sh, {SCRIPT}}}", job="sh /opt/job.sh"),
        files(f"{{path: /opt/job.sh, {SCRIPT}}}", job="python3 /opt/job.sh"),
        files(f"{{path: /opt/job.sh, {SCRIPT}}}", job="/opt/job.sh || sh /opt/job.sh"),
        files(f"{{path: /opt/job.sh, {SCRIPT}}}", job="[ -x /opt/job.sh ] && /opt/job.sh"),
        files(f"{{path: /opt/job.sh, {SCRIPT}}}", job="$(which x) /opt/job.sh"),
        files(f"{{path: /opt/job.sh, {SCRIPT}}}", job="echo 'unclosed"),
        files(f"{{path: /opt/job.sh, {SCRIPT}}}") + '\nrun: ["chmod 755 /opt/job.sh"]',
        files(f"{{path: /opt/job.sh, {SCRIPT}}}") + '\nrun: ["chmod -R a+x /opt"]',
        files(f"{{path: /opt/job.sh, {CRLF}, {X}}}") + "\nrun: [\"sed -i 's/x//' /opt/*.sh\"]",
        files(f"{{path: /opt/job.sh, {SCRIPT}}}", f"{{path: /s, {SCRIPT}, {X}}}") + "\nrun: [/s]",
        files(f"{{path: /opt/job.sh, {X}, content: 'binary\\0'}}").replace("'binary\\0'", '"\\x7fELF\\0\\r\\n"'),
        files(f'{{path: /opt/job.sh, {X}, content: "#!/usr/bin/python3\\n"}}'),
        files(job="/usr/bin/true") + " []",
    ],
)
def test_what_may_well_run_is_not_refused(keys: str, tmp_path: Path) -> None:
    assert refusals(tmp_path, keys) == []


def test_cloud_init_may_change_a_program_first(tmp_path: Path) -> None:
    keys = files(f"{{path: /opt/job.sh, {SCRIPT}}}") + "\ncloud_init: {user_data: {runcmd: [x]}}"
    assert refusals(tmp_path, keys, os_="{debian: {suite: bookworm, packages: [cloud-init]}}") == []


def test_an_interpreter_that_a_given_tree_lacks(tmp_path: Path) -> None:
    (tmp_path / "tree/usr/bin").mkdir(parents=True)
    (tmp_path / "tree/bin").symlink_to("usr/bin")
    (tmp_path / "tree/usr/bin/perl").write_text("")
    os_ = "{tree: {path: tree}}"
    for line, wrong in (("#!/usr/bin/python3", True), ("#!/bin/perl -w", False), ("#!/bin/sh", False)):
        entry = f'{{path: /opt/job.sh, {X}, content: "{line}\\n"}}'
        assert bool(refusals(tmp_path, files(entry), os_=os_)) is wrong


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/opt/z/", "ends with a slash"),
        ("/", "is the root itself"),
        ("//", "is the root itself"),
        ("/opt/../etc/x", "not a plain path"),
        ("/opt//x", "not a plain path"),
        ("/opt/./x", "not a plain path"),
        ("/opt/..", "not a plain path"),
        (f"/opt/{'n' * 256}", "has 256 bytes"),
        (f"/opt/{'ä' * 128}", "has 256 bytes"),
        ("/" + "/".join(["n" * 200] * 20) + "/" + "n" * 75, "more than 4095 bytes"),
        ("/proc/x", "would not be visible in the guest"),
        ("/sys", "would not be visible in the guest"),
        ("/dev/mine", "would not be visible in the guest"),
        ("/run/x", "would not be visible in the guest"),
    ],
)
def test_a_path_that_cannot_be(path: str, said: str, tmp_path: Path) -> None:
    (found,) = refusals(tmp_path, f'files: [{{path: "{path}", content: x}}]')
    assert said in found


@pytest.mark.parametrize(
    ("entries", "line", "said"),
    [
        (("{path: /a, content: x}", "{path: /a/b, content: x}"), 6, "lies below /a, which is a file"),
        (("{path: /a/b, content: x}", "{path: /a, content: x}"), 6, "/a/b lies below it"),
        (("{path: /a, directory: true}", "{path: /a, content: x}"), 6, "a file here, and a directory in"),
        (("{path: /a, content: x}", "{path: /a, directory: true}"), 6, "a directory here, and a file in"),
        (("{path: /a, link: /b}", "{path: /a, directory: true}"), 6, "a directory here, and a link in"),
        (("{path: /a, content: x}", "{path: /a, content: y}"), 6, "a second file at /a (the first:"),
        (("{path: /a, source: directory}", "{path: /a/f/g, content: y}"), 6, "lies below /a/f, which is a file"),
        (("{path: /data, content: x}", "{path: /b, content: y}"), 5, "a file system is mounted on /data"),
        (("{path: /data, link: /b}", "{path: /b, content: y}"), 5, "a file system is mounted on /data"),
    ],
)
def test_paths_that_cannot_be_together(entries: tuple[str, str], line: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory/f").write_text("")
    data = "{name: data, filesystem: ext4, mount: /data, size: 8MiB}"
    keys = f"files:\n  - {entries[0]}\n  - {entries[1]}"
    (found,) = refusals(tmp_path, keys, disks=data)
    assert found.startswith(f"{line}: ")
    assert said in found


@pytest.mark.parametrize(
    "entries",
    [
        ("{path: /a, directory: true}", "{path: /a/b, content: x}"),
        ("{path: /a, directory: true}", '{path: /a, directory: true, mode: "0700"}'),
        ("{path: /a, source: directory}", "{path: /a/f, content: mine}"),
        ("{path: /a, link: /b}", "{path: /a/c, content: x}"),
        ("{path: /data, directory: true}", "{path: /data/x, content: x}"),
        ("{path: /process, content: x}", "{path: /developer/x, content: x}"),
        (f"{{path: /opt/{'n' * 255}, content: x}}", "{path: /a, link: b}"),
    ],
)
def test_paths_that_can_be_together(entries: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory/g").write_text("")
    data = "{name: data, filesystem: ext4, mount: /data, size: 8MiB}"
    assert refusals(tmp_path, f"files:\n  - {entries[0]}\n  - {entries[1]}", disks=data) == []


def test_a_base_s_file_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("files: [{path: /a, content: x}]\n")
    assert refusals(tmp_path, "extends: [base.yaml]\nfiles: [{path: /a, content: y}]") == []


VFAT = "{name: data, filesystem: vfat, size: 8MiB, mount: /data}"


@pytest.mark.parametrize(
    ("name", "most", "disk"),
    [
        ("file{:04}.txt", 512, VFAT),
        ("A long name {:04}", 170, VFAT),
        ("file{:04}.txt", 511, VFAT.replace("vfat,", "vfat, label: DATA,")),
        ("file{:04}.txt", 600, VFAT.replace("8MiB", "600MiB")),
        ("below/file{:04}.txt", 600, VFAT),
    ],
)
def test_the_root_directory_of_fat16_has_512_entries(name: str, most: int, disk: str, tmp_path: Path) -> None:
    def told(count: int) -> list[str]:
        listed = ", ".join(f'{{path: "/data/{name.format(number)}", content: x}}' for number in range(count))
        return [one for one in refusals(tmp_path, f"files: [{listed}]", disks=disk) if "512 entries" in one]

    assert told(most) == []
    if most < 600:
        (one,) = told(most + 1)
        assert name.format(most) in one and one[0].isdigit()


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ("[{path: /data/big, source: big}]", "vfat files must be smaller than 4 GiB"),
        ("[{path: /data, source: names}]", "differ only in case"),
        ("[{path: /data/a/x, content: x}, {path: /data/A/y, content: x}]", "/data/a and /data/A differ only in case"),
        ("[{path: /data/Ärger, content: x}, {path: /data/ärger, content: x}]", "differ only in case"),
        ('[{path: "/data/a:b", content: x}]', "vfat has no : in names"),
        ('[{path: "/data/a?/b", content: x}]', "vfat has no ? in names"),
        ('[{path: "/data/a\\tb", content: x}]', "vfat has no 0x09 in names"),
        ('[{path: "/data/a.", content: x}]', "drops the dot"),
        ('[{path: "/data/a /b", content: x}]', "drops the blank"),
        ("[{path: /data/l, link: x}]", "is a link"),
        ("[{path: /data/x, source: nine}]", "take 9 MiB, more than 8 MiB"),
    ],
)
def test_what_vfat_cannot_hold(entries: str, said: str, tmp_path: Path) -> None:
    for name, size in (("big", 1 << 32), ("nine", 9 << 20)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    (tmp_path / "names").mkdir()
    (tmp_path / "names/a.txt").write_text("")
    (tmp_path / "names/A.TXT").write_text("")
    found = refusals(tmp_path, f"files: {entries}", disks=VFAT)
    (matching,) = [one for one in found if said in one]
    assert matching.startswith("3: " if "more than" in said else "4: ")


@pytest.mark.parametrize(
    "entries",
    [
        "[{path: /data/a.txt, content: x}, {path: /data/b/a.txt, content: x}]",
        "[{path: /data/.hidden, content: x}, {path: /data/ä b, content: x}]",
        '[{path: "/other/a:b", content: x}, {path: "/other/A:b", content: x}]',
        "[{path: /other/holes, source: holes}]",
    ],
)
def test_what_fits_is_not_refused(entries: str, tmp_path: Path) -> None:
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(1 << 33)
    other = "{name: other, filesystem: ext4, size: 8MiB, mount: /other}"
    assert refusals(tmp_path, f"files: {entries}", disks=f"{VFAT}, {other}") == []


def test_more_than_a_fixed_size(tmp_path: Path) -> None:
    (tmp_path / "nine").write_bytes(os.urandom(9 << 20))
    disk = "{name: data, filesystem: ext4, size: 8MiB, mount: /data}"
    (found,) = refusals(tmp_path, "files: [{path: /data/x, source: nine}]", disks=disk)
    assert found.startswith("3: the files of the recipe on /data take 9 MiB, more than 8 MiB")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("kernel: {parameters: [root=/dev/vda1]}\nhypervisors: [xen]", "under xen the guest has no /dev/vda1"),
        ("kernel: {parameters: [root=/dev/sda1]}\nhypervisors: [kvm, xen]", "under kvm the guest has no /dev/sda1"),
        ("kernel: {parameters: [quiet, resume=/dev/xvda2]}", "under kvm the guest has no /dev/xvda2"),
        ("kernel: {parameters: [root=/dev/hda1]}", "under kvm the guest has no /dev/hda1"),
        (
            'files: [{path: /etc/fstab, content: "/dev/disk/by-id/virtio-io /io ext4\\n"}]\nhypervisors: [kvm, xen]',
            "under xen there is no such name",
        ),
        (
            'files: [{path: /boot/grub/grub.cfg, content: "menuentry x {\\n linux /vmlinuz root=/dev/vda1\\n}\\n"}]'
            "\nhypervisors: [xen]",
            "line 2 of /boot/grub/grub.cfg has root=/dev/vda1: under xen",
        ),
        (
            'files: [{path: /etc/fstab, content: "/dev/vda1 / ext4 defaults 0 1\\n"}]\nhypervisors: [xen]',
            "line 1 of /etc/fstab mounts /dev/vda1: under xen",
        ),
    ],
)
def test_a_device_that_the_guest_does_not_have(keys: str, said: str, tmp_path: Path) -> None:
    assert any(said in found for found in refusals(tmp_path, keys))


@pytest.mark.parametrize(
    "keys",
    ["kernel: {parameters: [root=/dev/vda1]}", "kernel: {parameters: [root=LABEL=x]}\nhypervisors: [xen]"],
)
def test_a_device_that_the_guest_has(keys: str, tmp_path: Path) -> None:
    assert not [found for found in refusals(tmp_path, keys) if "the guest has no" in found]


@pytest.mark.skipif(suites.code_names() is None, reason="distro-info-data is not installed")
@pytest.mark.parametrize(
    ("debian", "wrong"),
    [
        ("suite: bookwrom", True),
        ("suite: forkyy", True),
        ("suite: bookworm", False),
        ("suite: noble", False),
        ("suite: unstable", False),
        ("suite: bookworm-backports", False),
        ('suite: mine, mirror: "https://archive.example.org/x"', False),
        ("suite: mine, snapshot: 20261101T000000Z", False),
    ],
)
def test_a_suite_that_the_archive_does_not_have(debian: str, wrong: bool, tmp_path: Path) -> None:
    found = refusals(tmp_path, "", os_=f"{{debian: {{{debian}}}}}")
    assert bool([one for one in found if "there is no suite" in one]) is wrong


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("/a", [("/a", False)]),
        ("/a x && /b; /c | /d &", [("/a", False), ("/b", False), ("/c", False), ("/d", False)]),
        ("'/a' x", [("/a", False)]),
        ("sh /a", [("/a", True)]),
        ("/bin/bash /a", [("/bin/bash", False), ("/a", True)]),
        ("sh -c /a", []),
        ("echo '/a' # /b", []),
        ("if true; then /a; fi", []),
        ("for x in 1; do /a; done", []),
        ("/opt/*/run", []),
        ("", []),
    ],
)
def test_the_programs_of_a_command(command: str, expected: list[tuple[str, bool]]) -> None:
    assert programs(command) == expected


@pytest.mark.parametrize(
    "keys",
    [
        'files: [{path: /a, source: "a\\0b"}]',
        'files: [{path: /a, template: "a\\0b"}]',
        'users: [{name: a, ssh_keys: ["a\\0b"]}]',
        'users: [{name: a, password: {file: "a\\0b"}}]',
        'cloud_init: {user_data: "a\\0b"}',
        'boot_test: {inputs: ["a\\0b"]}',
    ],
)
def test_a_local_name_with_a_zero_byte(keys: str, tmp_path: Path) -> None:
    found = refusals(tmp_path, keys)
    assert found and any(line.startswith("4:") and "zero byte" in line for line in found), found


@pytest.mark.parametrize("source", ["tree", "tarball", "image"])
def test_a_source_with_a_zero_byte(source: str, tmp_path: Path) -> None:
    assert any(line.startswith("2:") for line in refusals(tmp_path, "", os_=f'{{{source}: {{path: "a\\0b"}}}}'))


@pytest.mark.parametrize("url", ["http://[::1/x", "http://host:99999999/x", "https://user:secret@host:port/x"])
def test_what_is_not_a_url_is_reported_before_anything_is_asked(url: str, tmp_path: Path) -> None:
    (said,) = refusals(tmp_path, "", os_=f'{{debian: {{suite: bookworm, mirror: "{url}"}}}}')
    assert said.startswith("2: ") and "is not a URL" in said and "secret" not in said
    repository = f'{{uri: "{url}", suite: stable, key: k.asc}}'
    found = refusals(tmp_path, "", os_=f"{{debian: {{suite: bookworm, repositories: [{repository}]}}}}")
    assert found and all("secret" not in one for one in found)


def test_an_archive_larger_than_any_source_is_not_summed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROOST_MAX_SOURCE", raising=False)
    (tmp_path / "big.tar").touch()
    os.truncate(tmp_path / "big.tar", 8 << 40)
    (said,) = refusals(tmp_path, "", os_="{tarball: {path: big.tar}}")
    assert said.startswith("2: big.tar: it has 8 TiB; the limit for a source")
    monkeypatch.setenv("ROOST_MAX_SOURCE", "9TiB")
    assert refusals(tmp_path, "", os_="{tarball: {path: big.tar}}") == []
