"""Boot loaders' configurations: words that kernels lack are added, and nothing else changes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.existing import bootconfig

WORDS = ["console=tty0", "console=ttyS0,115200", "net.ifnames=0"]

GRUB = """\
set default="0"
menuentry 'Debian' --class debian {
\tsearch --no-floppy --fs-uuid --set=root 1234
\tlinux\t/boot/vmlinuz-6.1 root=UUID=1234 ro  quiet
\tinitrd\t/boot/initrd.img-6.1
}
submenu 'more' {
  menuentry 'old' { linux /boot/vmlinuz-5.10 root=UUID=1234 ro
  }
  menuentry 'rescue' {
    linux16 /boot/rescue root=UUID=1234 \\
       single
  }
}
"""


def test_grub() -> None:
    text = bootconfig.grub(GRUB, WORDS)
    assert (
        "\tlinux\t/boot/vmlinuz-6.1 root=UUID=1234 ro  quiet console=tty0 console=ttyS0,115200 net.ifnames=0\n" in text
    )
    assert "single console=tty0 console=ttyS0,115200 net.ifnames=0\n" in text
    assert [line for line in text.splitlines() if "linux" not in line and "single" not in line] == [
        line for line in GRUB.splitlines() if "linux" not in line and "single" not in line
    ]
    assert bootconfig.grub(text, WORDS) == text


@pytest.mark.parametrize(
    ("line", "lacking"),
    [
        ("root=/dev/sda1 console=ttyS0", ["console=tty0", "net.ifnames=0"]),
        ("console=ttyS0,9600n8 console=tty0", ["net.ifnames=0"]),
        ("console=ttyS01", WORDS),
        ("net.ifnames=1", WORDS[:2]),
        ("", WORDS),
    ],
)
def test_what_a_line_lacks(line: str, lacking: list[str]) -> None:
    assert bootconfig.missing(line, WORDS) == lacking


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('GRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX="quiet"\n', 'GRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX="quiet a b"\n'),
        ("GRUB_CMDLINE_LINUX=''\n", "GRUB_CMDLINE_LINUX='a b'\n"),
        ("GRUB_CMDLINE_LINUX=quiet", 'GRUB_CMDLINE_LINUX="quiet a b"'),
        ("GRUB_CMDLINE_LINUX_DEFAULT=quiet", 'GRUB_CMDLINE_LINUX_DEFAULT=quiet\nGRUB_CMDLINE_LINUX="a b"\n'),
        ("#GRUB_CMDLINE_LINUX=x\n", '#GRUB_CMDLINE_LINUX=x\nGRUB_CMDLINE_LINUX="a b"\n'),
        ('GRUB_CMDLINE_LINUX="b a"\n', 'GRUB_CMDLINE_LINUX="b a"\n'),
        ('GRUB_CMDLINE_LINUX="quiet"  \n', 'GRUB_CMDLINE_LINUX="quiet a b"\n'),
        ("GRUB_CMDLINE_LINUX=\n", 'GRUB_CMDLINE_LINUX="a b"\n'),
    ],
)
def test_grub_defaults(before: str, after: str) -> None:
    assert bootconfig.grub_defaults(before, ["a", "b"]) == after


def test_the_root_by_its_uuid() -> None:
    text = (
        "linux /vmlinuz root=/dev/sdb1 ro\nAPPEND root=/dev/vda\noptions root=/dev/mapper/a-b x root=/dev/nvme0n1p1\n"
    )
    assert bootconfig.rooted(text, "12-34") == (
        "linux /vmlinuz root=UUID=12-34 ro\nAPPEND root=UUID=12-34\n"
        "options root=/dev/mapper/a-b x root=/dev/nvme0n1p1\n"
    )


def test_grub_of_a_machine_without_a_screen() -> None:
    text = """\
function load_video {
  if [ x$feature_all_video_module = xy ]; then
    insmod all_video
  else
    insmod vbe
  fi
}
if loadfont unicode ; then
  set gfxmode=auto
  load_video
  insmod gfxterm
fi
terminal_output gfxterm
set linux_gfx_mode=keep
menuentry x { load_video
  set gfxpayload=keep
  insmod gzio
  linux /vmlinuz
}
"""
    made = bootconfig.grub_on_serial(text)
    assert made.startswith("serial --unit=0 --speed=115200\nterminal_input console serial\nfunction load_video {\n")
    active = [line.partition("#")[0] for line in made.splitlines()]
    assert not any(word in line for line in active for word in ("insmod all_video", "insmod vbe", "insmod gfxterm"))
    assert "terminal_output console serial\n" in made
    assert "terminal_output gfxterm" not in made
    assert "gfxpayload=text" in made
    assert "  insmod gzio\n  linux /vmlinuz\n" in made
    assert bootconfig.grub_on_serial(made) == made
    assert bootconfig.grub_on_serial("linux /x\n").splitlines()[2:] == ["terminal_output console serial", "linux /x"]


def test_defaults_of_a_machine_without_a_screen() -> None:
    text = "GRUB_TERMINAL=gfxterm\nGRUB_TIMEOUT=1\n\n#GRUB_TERMINAL=x\n"
    made = bootconfig.grub_defaults_on_serial(text)
    assert made.splitlines()[:3] == ["GRUB_TIMEOUT=1", "", "#GRUB_TERMINAL=x"]
    assert 'GRUB_TERMINAL="console serial"\n' in made
    assert made.endswith("GRUB_GFXPAYLOAD_LINUX=text\n")
    assert bootconfig.grub_defaults_on_serial(made) == made


def test_bls() -> None:
    entry = "title Fedora\nlinux /vmlinuz-6\ninitrd /initramfs-6.img\noptions root=UUID=1 ro $tuned_params\n"
    assert bootconfig.bls(entry, ["console=ttyS0"]).endswith("options root=UUID=1 ro $tuned_params console=ttyS0\n")
    assert bootconfig.bls("title x\nlinux /vmlinuz\n", ["a"]) == "title x\nlinux /vmlinuz\noptions a\n"


def test_syslinux() -> None:
    text = "DEFAULT linux\nLABEL linux\n  KERNEL /vmlinuz\n  APPEND root=LABEL=root initrd=/initrd.img\n"
    assert bootconfig.syslinux(text, ["console=ttyS0"]).endswith("initrd=/initrd.img console=ttyS0\n")
    assert bootconfig.syslinux("LABEL l\n  LINUX /vmlinuz\n", ["a"]) == "LABEL l\n  LINUX /vmlinuz\n  APPEND a\n"


def test_whether_there_is_a_serial_console() -> None:
    assert bootconfig.has_serial('GRUB_CMDLINE_LINUX="console=ttyS0"')
    assert bootconfig.has_serial("linux /vmlinuz console=ttyS0,115200 ro")
    assert not bootconfig.has_serial("# console=ttyS0\nlinux /vmlinuz console=ttyS01")


@given(st.text(alphabet="linux /a='\"\\\n#{}\t", max_size=200))
def test_adding_twice_is_adding_once(text: str) -> None:
    for edit in (bootconfig.grub, bootconfig.syslinux):
        once = edit(text, ["a=b"])
        assert edit(once, ["a=b"]) == once


MEGABYTE = 1_000_000
HOSTILE = {
    "continuations": "\\\n" * (MEGABYTE // 2),
    "backslashes": "\\" * MEGABYTE,
    "blanks in defaults": "GRUB_CMDLINE_LINUX=" + " " * MEGABYTE + "x",
    "quotes in defaults": "GRUB_CMDLINE_LINUX=" + '"' * MEGABYTE,
    "kernels": "kernel x\n" * (MEGABYTE // 9),
    "kernels of GRUB": "linux x\n" * (MEGABYTE // 8),
    "one kernel": "linux x " + "y " * (MEGABYTE // 2),
    "a root": " root=/dev/sd" + "a" * MEGABYTE + "!",
    "roots": " root=/dev/sda!" * (MEGABYTE // 15),
    "blanks": " " * MEGABYTE + "x",
    "a screen": "insmod gfxterm" + "x" * MEGABYTE + "!",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_time_is_in_proportion_to_the_text(name: str) -> None:
    text, words = HOSTILE[name], ["console=ttyS0", "quiet"]
    begin = time.process_time()
    for change in (bootconfig.grub, bootconfig.grub_defaults, bootconfig.bls, bootconfig.syslinux):
        change(text, words)
    bootconfig.rooted(text, "1-2")
    bootconfig.grub_on_serial(text)
    bootconfig.has_serial(text)
    assert time.process_time() - begin < 10


def test_a_line_that_goes_on_is_one_line() -> None:
    assert bootconfig.grub("linux /k a \\\n b\\\\\nc", ["z"]) == "linux /k a \\\n b\\\\ z\nc"
