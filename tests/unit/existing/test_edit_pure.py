"""What an existing image's names, mounts and recipes mean: pure parts of editing it."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.condor import from_recipe
from roost.condor.submission import built_files
from roost.customize import fstab_reader, overlay, sealing
from roost.customize.inside import Inside
from roost.customize.overlay import Item
from roost.disk import check as disk_check
from roost.errors import ImageError, RecipeError
from roost.existing import fstab, settings
from roost.host.guestfs import Stat
from roost.pipeline import planning
from roost.recipe import loader
from roost.recipe.model import Recipe
from roost.store.manifest import BuiltFile
from roost.verify import existing
from roost.verify.booting import Mount

PROJECT = Path(__file__).resolve().parents[3]


@dataclass
class Fake:
    """An image whose names are in a mapping: None is a directory, bytes a file, text a link."""

    names: dict[str, str | bytes | None]

    def lstat(self, path: str) -> Stat | None:
        if path != "/" and path not in self.names:
            return None
        kind = self.names.get(path)
        mode = stat.S_IFDIR if kind is None else stat.S_IFLNK if isinstance(kind, str) else stat.S_IFREG
        return Stat(mode | 0o755, 0, 0, 0)

    def readlink(self, path: str) -> str:
        target = self.names[path]
        assert isinstance(target, str)
        return target


def _place(names: dict[str, str | bytes | None], *items: Item) -> list[str]:
    return [item.path for item in Inside(Fake(names)).place(items)]


def test_links_of_the_image_are_followed_inside_of_it() -> None:
    names: dict[str, str | bytes | None] = {
        "/etc": "/outside/etc",
        "/bin": "usr/bin",
        "/usr": None,
        "/usr/bin": None,
        "/srv": "../../../../var/../opt",
    }
    assert _place(names, Item("/bin/tool", 0o755, b"")) == ["/usr/bin/tool"]
    assert _place(names, Item("/srv/x", 0o644, b"")) == ["/opt", "/opt/x"]
    assert _place(names, Item("/etc/motd", 0o644, b"")) == ["/outside", "/outside/etc", "/outside/etc/motd"]


def test_a_link_is_replaced_and_a_directory_is_not() -> None:
    names: dict[str, str | bytes | None] = {
        "/etc": None,
        "/etc/localtime": "/usr/x",
        "/etc/ssh": None,
        "/etc/motd": b"",
    }
    assert _place(names, Item("/etc/localtime", 0o644, b"")) == ["/etc/localtime"]
    assert _place(names, Item("/etc/ssh", 0o700)) == ["/etc/ssh"]
    with pytest.raises(ImageError, match="/etc/ssh is a directory in the image"):
        _place(names, Item("/etc/ssh", 0o644, b""))
    with pytest.raises(ImageError, match="/etc/motd is a file in the image"):
        _place(names, Item("/etc/motd", 0o755))
    with pytest.raises(ImageError, match="/etc/motd is not a directory in the image"):
        _place(names, Item("/etc/motd/x", 0o644, b""))


def test_links_that_the_items_bring_are_followed_too() -> None:
    items = [Item("/a", 0o777, link="/b"), Item("/a/c", 0o644, b""), Item("/b/d", 0o644, b"")]
    assert _place({}, *items) == ["/a", "/b", "/b/c", "/b/d"]


def test_links_in_a_circle_end() -> None:
    with pytest.raises(ImageError, match="too many links"):
        _place({"/a": "/b", "/b": "a"}, Item("/a/x", 0o644, b""))


_PATHS = st.lists(st.sampled_from(["a", "b", "..", "."]), min_size=1, max_size=4).map("/".join)
_KINDS = st.one_of(st.none(), st.just(b""), _PATHS, _PATHS.map(lambda path: f"/{path}"))
_TREES = st.dictionaries(st.sampled_from(["/a", "/b", "/a/a", "/a/b", "/b/a", "/b/b"]), _KINDS)


@given(_TREES, st.lists(_PATHS, max_size=4))
def test_no_name_that_is_laid_leads_through_a_link(names: dict[str, str | bytes | None], paths: list[str]) -> None:
    image = Fake(names)
    try:
        placed = Inside(image).place([Item(f"/{path}/x", 0o644, b"") for path in paths])
    except ImageError:
        return
    for item in placed:
        assert ".." not in item.path.split("/")
        directories = [str(parent) for parent in Path(item.path).parents]
        assert not any(isinstance(names.get(directory), str | bytes) for directory in directories)


FSTAB = """\
# comment
UUID=AA-bb / ext4 defaults 0 1
/dev/sda2\t/home\text4 defaults 0 2
LABEL=gone /gone ext4 defaults 0 2
LABEL=usb /media ext4 nofail 0 2
proc /proc proc defaults 0 0
"""


def test_an_fstab_fits_its_new_machine() -> None:
    fitted = fstab.fit(
        FSTAB, ("LABEL=gone", "LABEL=usb"), {"/dev/sda2": "1234"}, "UUID=5678\t/data\text4\tdefaults\t0\t2\n"
    )
    assert fitted.text.splitlines() == [
        "# comment",
        "UUID=AA-bb / ext4 defaults 0 1",
        "UUID=1234\t/home\text4 defaults 0 2",
        "# not in this image: LABEL=gone /gone ext4 defaults 0 2",
        "LABEL=usb /media ext4 nofail 0 2",
        "proc /proc proc defaults 0 0",
        "UUID=5678\t/data\text4\tdefaults\t0\t2",
    ]
    assert len(fitted.notes) == 2
    with pytest.raises(ImageError, match="file system on /home"):
        fstab.fit(FSTAB, (), {}, "UUID=5678\t/home\text4\tdefaults\t0\t2\n")
    assert fstab.fit("", (), {}, "").text == ""


def test_lines_of_an_fstab() -> None:
    lines = fstab_reader.read('UUID="AA-BB" /a\\040b ext4 rw,noauto\nshort line\n#UUID=x / ext4\n')
    assert lines == [fstab_reader.Line("UUID=aa-bb", "/a b", "ext4", ("rw", "noauto"))]


def test_what_the_witness_misses() -> None:
    lines = [
        Mount("UUID=AA", "/", "ext4", ("defaults",)),
        Mount("LABEL=gone", "/gone", "ext4", ("defaults",)),
        Mount("LABEL=usb", "/usb", "ext4", ("nofail",)),
        Mount("/dev/sda2", "/home", "ext4", ("defaults",)),
        Mount("/dev/disk/by-uuid/BB", "/x", "ext4", ("defaults",)),
        Mount("tmpfs", "/tmp", "tmpfs", ()),
    ]
    assert list(existing.absent(lines, frozenset({"uuid=aa"}))) == [
        "/etc/fstab mounts LABEL=gone, which is not on any disk",
        "/etc/fstab names /dev/sda2, not a UUID: devices change their names",
        "/etc/fstab mounts /dev/disk/by-uuid/BB, which is not on any disk",
    ]


def test_passwords_are_locked() -> None:
    text = "root:$y$x:1::\nbin:*:1::\nsys:!:1::\nopen::1::\nkept:$y$z:1::\n"
    assert sealing.locked(text, ["kept"], shadowed=False) == (
        "root:*:1::\nbin:*:1::\nsys:!:1::\nopen:*:1::\nkept:$y$z:1::\n"
    )


def _recipe(**changes: Any) -> Recipe:
    value: dict[str, Any] = {
        "name": "edited",
        "os": {"image": {"path": "a.qcow2"}},
        "disks": [
            {"name": "root", "format": "qcow2"},
            {"name": "io", "filesystem": "ext4", "size": "16MiB", "role": "io"},
        ],
    }
    return Recipe.model_validate({**value, **changes})


def test_the_disk_without_areas_is_the_root() -> None:
    recipe = _recipe()
    assert recipe.edited
    assert recipe.root_disk.name == "root"
    assert recipe.root_disk.areas == ()
    assert disk_check.check(recipe) == ()
    assert from_recipe.refusals(recipe, "kvm") == ()
    assert overlay.mounted_elsewhere(recipe) == []


def test_an_overlay_takes_its_base_along() -> None:
    recipe = _recipe(disks=[{"name": "root", "format": "qcow2", "overlay": True}])
    files = [
        BuiltFile("root.qcow2", "qcow2", "0", 1 << 30, 1, 1, 1, "base-0123456789ab.qcow2"),
        BuiltFile("base-0123456789ab.qcow2", "qcow2", "1", 1 << 30, 1, 1, 1),
    ]
    built = built_files(files, None)
    assert built.backing == {"root.qcow2": "base-0123456789ab.qcow2"}
    machine = from_recipe.virtual_machine(recipe, "kvm", files=built)
    assert [disk.file for disk in machine.disks] == ["root.qcow2"]


def test_a_kernel_out_of_the_image_is_told_the_images_root() -> None:
    recipe = _recipe(kernel={"placement": "external"}, hypervisors=["xen"], disks=[{"name": "root", "format": "raw"}])
    files = [
        BuiltFile("root.raw", "raw", "0", 1 << 30, 1, 1, 1),
        BuiltFile("vmlinuz", "kernel", "1", 1, 1, 1, 1, root="root=UUID=12-34"),
        BuiltFile("initrd.img", "initrd", "1", 1, 1, 1, 1),
    ]
    machine = from_recipe.virtual_machine(recipe, "xen", files=built_files(files, None))
    assert machine.kernel is not None
    assert machine.kernel.parameters == "root=UUID=12-34 ro console=hvc0"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(bytes(510) + b"\x55\xaa" + bytes((1 << 20) - 512))
    return path


ROOT = "disks:\n  - {name: root, format: qcow2%s}\n"


def _problems(directory: Path, text: str) -> list[str]:
    path = directory / "x.yaml"
    path.write_text(f"name: x\n{text}")
    try:
        loader.load(path, PROJECT, (), planning.problems)
    except RecipeError as error:
        return [f"{problem.where.line if problem.where else 0}: {problem.what}" for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("os: {image: {path: disk.raw}}\n" + ROOT % "", []),
        ("os: {image: {path: disk.raw}}\n" + ROOT % ", size: 2MiB", []),
        ("os: {image: {path: disk.raw}}\n" + ROOT % ", size: 512KiB", ["4: the image's disk has 1048576 bytes"]),
        ("os: {image: {path: disk.raw, format: qcow2}}\n" + ROOT % "", ["2: disk.raw cannot be read as qcow2"]),
        ("os: {image: {path: disk.raw, url: 'https://a/b'}}\n" + ROOT % "", ["2: an image is exactly one of"]),
        ("os: {image: {url: 'https://a/b'}}\n" + ROOT % "", ["2: an image from a URL needs its sha256"]),
        ("os: {image: {url: 'ftp://a/b'}}\n" + ROOT % "", ["2: 'ftp://a/b' is not allowed here"]),
        ("os: {image: {recipe: nowhere}}\n" + ROOT % "", ["2: the recipe nowhere: no such recipe: 'nowhere'"]),
        ("os: {image: {recipe: smoke}}\n" + ROOT % "", []),
        ("os: {image: {recipe: smoke, format: raw}}\n" + ROOT % "", ["2: sha256 and format are those of a file"]),
        ("os: {debian: {suite: bookworm}}\n" + ROOT % "", ["4: a disk needs partitions, or a filesystem of its own"]),
        (
            "os: {image: {path: disk.raw}}\n" + ROOT % "" + "  - {name: two}\n",
            ["5: a second disk without partitions and filesystem"],
        ),
        (
            "os: {image: {path: disk.raw}}\n" + ROOT % "" + "  - {name: two, filesystem: ext4, size: 8MiB, mount: /}\n",
            ["5: a second root"],
        ),
        (
            "os: {image: {path: disk.raw}}\n"
            + ROOT % ""
            + "  - {name: two, filesystem: ext4, size: 8MiB, mount: /boot}\n",
            ["5: /boot belongs to the existing image"],
        ),
        ("os: {image: {path: disk.raw}}\nkernel: {use: debian}\n" + ROOT % "", ["3: an existing image starts its own"]),
        (
            "os: {image: {path: disk.raw}}\nkernel: {initrd: busybox}\n" + ROOT % "",
            ["3: an existing image has its own"],
        ),
        ("os: {image: {path: disk.raw}}\nhypervisors: [kvm, xen]\n" + ROOT % ", overlay: true", ["5: xen reads raw"]),
        ("os: {image: {path: disk.raw}}\ndisks: [{name: root, overlay: true}]\n", ["3: an overlay is qcow2"]),
        ("os: {image: {path: disk.raw}}\n" + ROOT % ", label: x", ["3: no file system", "4: a disk needs"]),
    ],
)
def test_mistakes_have_their_place(tmp_path: Path, image: Path, text: str, expected: list[str]) -> None:
    problems = _problems(tmp_path, text)
    assert len(problems) == len(expected), problems
    for problem, begin in zip(problems, expected, strict=True):
        assert problem.startswith(begin), problems


def test_recipes_that_stand_on_each_other(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text(f"name: one\nos: {{image: {{recipe: {two}}}}}\n" + ROOT % "")
    two.write_text(f"name: two\nos: {{image: {{recipe: {one}}}}}\n" + ROOT % "")
    with pytest.raises(RecipeError, match="circle: one → two → one"):
        loader.load(one, PROJECT, (), planning.problems)


@pytest.mark.parametrize("init", ["busybox", "sysv"])
def test_another_systems_init_keeps_its_own_start_and_end(init: str) -> None:
    recipe = loader.load("smoke", PROJECT).recipe
    editor: Any = SimpleNamespace(recipe=recipe, read=lambda _path: "::sysinit:/etc/init.d/rcS\n")
    items = {item.path: item for item in settings.job(editor, init)}
    programs = {path for path in items if path.startswith(("/usr/", "/etc/acpi/"))}
    assert programs == {"/usr/lib/roost/job", "/usr/lib/roost/common"}
    assert (items["/etc/inittab"].data or b"").startswith(b"::sysinit:/etc/init.d/rcS\n")
