"""The lines of a page, and the files that they need."""

from __future__ import annotations

import pytest

from roost.catalogue.submit_lines import SubmitLines

XEN = SubmitLines(
    "xen", "files", "", True, ("vm_disk = root.raw:xvda:w:raw\n", "", "transfer_input_files = root.raw\n")
)
FILES = SubmitLines("xen", "files", "", True, ("xen_kernel = /k/vmlinuz\nxen_initrd = /k/initrd.img\n",))


@pytest.mark.parametrize("name", ["root.qcow2", "oot.raw", "root", "root.ra", "vmlinuz", "root-raw"])
def test_what_the_lines_do_not_name_is_not_needed(name: str) -> None:
    assert not XEN.needs(name)


def test_what_they_name_is() -> None:
    assert XEN.needs("root.raw")
    assert FILES.needs("vmlinuz")
    assert FILES.needs("initrd.img")
