"""Every statement of HTCondor's vm-universe chapter and of what was learnt beside it: what the lint makes of each.

The names say the statement. Each row is the change to a description that works, what HTCondor then does, and the
rule that says so; `None` stands for a command left out, an empty rule for nothing to find.
"""

from __future__ import annotations

import pytest

from roost.condor.lint import lint_text
from roost.condor.rules import Effect

Change = dict[str, str | None]
OK, REJECTED, HASVM = Effect.OK, Effect.REJECTED, Effect.HASVM_FALSE
HELD, IDLE, ENDLESS, WRONG = Effect.HELD, Effect.IDLE, Effect.RUNS_FOREVER, Effect.WRONG_DATA

KVM: Change = {
    "universe": "vm",
    "executable": "label",
    "vm_type": "kvm",
    "vm_memory": "512",
    "request_memory": "512",
    "vm_disk": "root.qcow2:vda:w:qcow2",
    "transfer_input_files": "root.qcow2",
}
XEN: Change = {
    **KVM,
    "vm_type": "xen",
    "vm_disk": "root.img:xvda:w:raw",
    "transfer_input_files": "root.img",
    "xen_kernel": "included",
}
XEN_FILE: Change = {
    **XEN,
    "xen_kernel": "/boot/vmlinuz",
    "xen_initrd": "/boot/initrd.img",
    "xen_root": "/dev/xvda1",
    "xen_kernel_params": "root=/dev/xvda1 ro console=hvc0",
}


def disks(*items: str, **more: str | None) -> Change:
    names = ",".join(dict.fromkeys(item.partition(":")[0] for item in items))
    return {"vm_disk": ",".join(items), "transfer_input_files": names, **more}


SUBMIT_COMMANDS: dict[str, tuple[Change, Effect, str]] = {
    "universe is vm": ({"universe": "vm"}, OK, ""),
    "universe is VM": ({"universe": "VM"}, OK, ""),
    "universe is 13": ({"universe": "13"}, OK, ""),
    "universe kvm is unknown": ({"universe": "kvm"}, REJECTED, "universe"),
    "without universe it is not a vm job": ({"universe": None}, HELD, "universe"),
    "executable is any string": ({"executable": "my job 42"}, OK, ""),
    "executable is required": ({"executable": None}, REJECTED, "executable"),
    "executable must not be a disk's name": ({"executable": "./root.qcow2"}, WRONG, "exe-collides"),
    "input is refused": ({"input": "a"}, REJECTED, "stdio"),
    "output is refused": ({"output": "a"}, REJECTED, "stdio"),
    "error is refused": ({"error": "a"}, REJECTED, "stdio"),
    "output may be dev null": ({"output": "/dev/null"}, OK, ""),
    "vm_type in any case": ({"vm_type": "KvM"}, OK, ""),
    "vm_type missing idles": ({"vm_type": None}, IDLE, "type"),
    "vm_type quoted idles": ({"vm_type": '"kvm"'}, IDLE, "type"),
    "vm_type qemu idles": ({"vm_type": "qemu"}, IDLE, "type"),
    "vm_type vmware is refused": ({"vm_type": "vmware"}, REJECTED, "type-vmware"),
    "JobVMType as attribute drops vm_disk": ({"vm_type": None, "+JobVMType": '"kvm"'}, HELD, "type-attribute"),
    "vm_memory 1G": ({"vm_memory": "1G", "request_memory": "1G"}, OK, ""),
    "vm_memory 1GB": ({"vm_memory": "1GB", "request_memory": "1GB"}, OK, ""),
    "vm_memory 1.5G": ({"vm_memory": "1.5G", "request_memory": "1536"}, OK, ""),
    "vm_memory 524288K": ({"vm_memory": "524288K"}, OK, ""),
    "vm_memory 512 MB": ({"vm_memory": "512 MB"}, OK, ""),
    "vm_memory defaults to request_memory": ({"vm_memory": None}, OK, ""),
    "vm_memory must be more than 0": ({"vm_memory": "0"}, REJECTED, "memory"),
    "vm_memory is not an expression": ({"vm_memory": "256*2"}, REJECTED, "memory"),
    "vm_memory is not quoted": ({"vm_memory": '"512"'}, REJECTED, "memory"),
    "vm_memory or request_memory is required": ({"vm_memory": None, "request_memory": None}, REJECTED, "memory"),
    "a vm_memory from an expression": ({"vm_memory": None, "request_memory": "2*9"}, REJECTED, "memory"),
    "request_memory smaller than vm_memory": ({"request_memory": "128"}, OK, "memory-request"),
    "vm_vcpus does not set request_cpus": ({"vm_vcpus": "4"}, OK, "vcpus-request"),
    "vm_vcpus with request_cpus": ({"vm_vcpus": "4", "request_cpus": "4"}, OK, ""),
    "vm_vcpus is at least 1": ({"vm_vcpus": "0"}, OK, "vcpus"),
    "vm_vcpus is never refused": ({"vm_vcpus": "two"}, OK, "vcpus"),
    "vm_disk is required": ({"vm_disk": None}, REJECTED, "disk-missing"),
    "vm_disk has 2 or 3 colons": ({"vm_disk": "root.qcow2:vda"}, REJECTED, "disk-fields"),
    "kvm_disk is no longer read": ({"vm_disk": None, "kvm_disk": "a:vda:w:raw"}, REJECTED, "obsolete-command"),
    "xen_disk is no longer read": ({"xen_disk": "a:vda:w:raw"}, OK, "obsolete-command"),
    "vm_cdrom_files is no longer read": ({"vm_cdrom_files": "a.iso"}, OK, "obsolete-command"),
    "vm_should_transfer_cdrom_files is no longer read": (
        {"vm_should_transfer_cdrom_files": "YES"}, OK, "obsolete-command"),
    "kvm_cdrom_device is no longer read": ({"kvm_cdrom_device": "hdc"}, OK, "obsolete-command"),
    "xen_cdrom_device is no longer read": ({"xen_cdrom_device": "hdc"}, OK, "obsolete-command"),
    "kvm_ begins no command": ({"kvm_memory": "512"}, OK, "unknown-command"),
    "vm_networking takes an expression": ({"vm_networking": "1 == 1"}, OK, ""),
    "vm_networking yes is refused": ({"vm_networking": "yes"}, REJECTED, "bool"),
    "vm_vnc on is refused": ({"vm_vnc": "on"}, REJECTED, "bool"),
    "vm_checkpoint no is refused": ({"vm_checkpoint": "no"}, REJECTED, "bool"),
    "vm_no_output_vm yes is refused": ({"vm_no_output_vm": "yes"}, REJECTED, "bool"),
    "vm_vnc true": ({"vm_vnc": "True"}, OK, ""),
    "vm_networking_type nat": ({"vm_networking": "true", "vm_networking_type": "nat"}, OK, ""),
    "vm_networking_type bridge": ({"vm_networking": "true", "vm_networking_type": "bridge"}, OK, ""),
    "vm_networking_type user is for kvm": (
        {**XEN, "vm_networking": "true", "vm_networking_type": "user"}, IDLE, "net-user-xen"),
    "the card is named by version": ({"vm_networking": "true"}, OK, "net-card"),
    "vm_networking_type user is rare": ({"vm_networking": "true", "vm_networking_type": "user"}, OK, "net-user"),
    "vm_networking_type other never matches": ({"vm_networking": "true", "vm_networking_type": "x"}, IDLE, "net-type"),
    "vm_networking_type quoted never matches": (
        {"vm_networking": "true", "vm_networking_type": '"nat"'}, IDLE, "net-type"),
    "vm_networking_type in lower case": ({"vm_networking": "true", "vm_networking_type": "NAT"}, OK, "net-type-case"),
    "vm_networking_type needs vm_networking": ({"vm_networking_type": "x"}, OK, "net-type-ignored"),
    "vm_macaddr": ({"vm_networking": "true", "vm_macaddr": "52:54:00:12:34:56"}, OK, ""),
    "vm_macaddr garbage is a libvirt error": ({"vm_networking": "true", "vm_macaddr": "zz"}, HASVM, "mac"),
    "vm_macaddr with dashes": ({"vm_networking": "true", "vm_macaddr": "52-54-00-12-34-56"}, HASVM, "mac"),
    "vm_macaddr multicast is a libvirt error": (
        {"vm_networking": "true", "vm_macaddr": "01:00:5e:00:00:01"}, HASVM, "mac"),
    "vm_macaddr needs vm_networking": ({"vm_macaddr": "zz"}, OK, "mac-ignored"),
    "vm_checkpoint with vm_networking is refused": (
        {"vm_checkpoint": "true", "vm_networking": "true"}, REJECTED, "ckpt-net"),
    "vm_checkpoint with vm_networking needs ON_EXIT_OR_EVICT": (
        {"vm_checkpoint": "true", "vm_networking": "true", "when_to_transfer_output": "ON_EXIT_OR_EVICT",
         "vm_disk": "/shared/root.qcow2:vda:w:qcow2", "transfer_input_files": None}, OK, "path-shared"),
    "should_transfer_files is forced": ({"should_transfer_files": "NO"}, OK, "stf-ignored"),
    "should_transfer_files YES": ({"should_transfer_files": "YES"}, OK, ""),
    "when_to_transfer_output is forced": ({"when_to_transfer_output": "ON_EXIT_OR_EVICT"}, OK, "wtto-ignored"),
    "when_to_transfer_output ON_EXIT": ({"when_to_transfer_output": "ON_EXIT"}, OK, ""),
    "request_disk counts no URL": ({"transfer_input_files": "https://h/root.qcow2"}, OK, "request-disk-url"),
    "a URL with request_disk": ({"transfer_input_files": "osdf:///h/root.qcow2", "request_disk": "16GB"}, OK, ""),
    "another architecture has its own requirements": ({"requirements": '(TARGET.Arch == "AARCH64")'}, OK, ""),
    "requirements must parse": ({"requirements": "(TARGET.Arch"}, REJECTED, "expression"),
    "an attribute is an expression": ({"+Project": "physics lab"}, REJECTED, "expression"),
    "a misspelt command": ({"vm_netwroking": "true"}, OK, "unknown-command"),
    "an undefined macro": ({"priority": "1$(nothing)"}, OK, "macro-undefined"),
    "xen commands mean nothing to kvm": ({"xen_root": "/dev/xvda1"}, OK, "xen-on-kvm"),
}  # fmt: skip

VM_DISK: dict[str, tuple[Change, Effect, str]] = {
    "no leading comma": (disks("root.qcow2:vda:w:qcow2", vm_disk=",root.qcow2:vda:w:qcow2"), HASVM, "disk-empty-item"),
    "no trailing comma": (disks("root.qcow2:vda:w:qcow2", vm_disk="root.qcow2:vda:w:qcow2,"), HASVM, "disk-empty-item"),
    "no double comma": (disks("a.raw:vda:w:raw", "", "b.raw:vdb:w:raw"), HASVM, "disk-empty-item"),
    "only commas name no disk": ({"vm_disk": ","}, REJECTED, "disk-fields"),
    "only a comma separates": ({"vm_disk": "root.qcow2:vda:w:qcow2;b.raw:vdb:w:raw"}, REJECTED, "disk-fields"),
    "blanks beside the comma": (
        {"vm_disk": "a.raw:vda:w:raw , b.raw:vdb:w:raw", "transfer_input_files": "a.raw,b.raw"}, OK, ""),
    "no blank beside a colon": ({"vm_disk": "root.qcow2 : vda : w : qcow2"}, HASVM, "disk-blank-field"),
    "an empty device": ({"vm_disk": "root.qcow2::w:qcow2"}, HASVM, "disk-empty-field"),
    "an empty device without format": ({"vm_disk": "root.qcow2::w"}, HELD, "disk-empty-field"),
    "an empty permission": ({"vm_disk": "root.qcow2:vda::qcow2"}, WRONG, "disk-empty-field"),
    "an empty format": ({"vm_disk": "root.qcow2:vda:w:"}, HASVM, "disk-empty-field"),
    "an empty file": ({"vm_disk": ":vda:w:qcow2"}, HELD, "disk-empty-field"),
    "file has one blank": (disks("my root.raw:vda:w:raw"), OK, "disk-name-chars"),
    "file has two blanks": (disks("my  root.raw:vda:w:raw"), HASVM, "disk-name-chars"),
    "file has a colon": (disks("my:root.raw:vda:w:raw"), REJECTED, "disk-name-chars"),
    "file has an ampersand": (disks("a&b.raw:vda:w:raw"), HASVM, "disk-name-chars"),
    "file has a less-than sign": (disks("a<b.raw:vda:w:raw"), HASVM, "disk-name-chars"),
    "file has an apostrophe": (disks("a'b.raw:vda:w:raw"), HASVM, "disk-name-chars"),
    "file in quotes": ({"vm_disk": '"root.qcow2:vda:w:qcow2"'}, HELD, "disk-quotes"),
    "file beyond ASCII": (disks("\u00e9.raw:vda:w:raw"), OK, "disk-name-chars"),
    "file contains iso": (disks("isolated.qcow2:vda:w:qcow2"), HASVM, "iso-substring"),
    "directory contains iso": (
        {"vm_disk": "/isolde/root.img:vda:w:raw", "transfer_input_files": None}, HASVM, "iso-substring"),
    "file contains iso on IDE": (disks("isolated.qcow2:hda:w:qcow2"), ENDLESS, "iso-substring"),
    "data file contains iso on IDE": (
        disks("root.qcow2:vda:w:qcow2", "isolated.raw:hda:w:raw"), WRONG, "iso-substring"),
    "ISO in upper case is a disk": (disks("root.qcow2:vda:w:qcow2", "seed.ISO:vdb:r:raw"), OK, "iso-case"),
    "a CD on virtio is refused": (disks("root.qcow2:vda:w:qcow2", "seed.iso:vdb:r:raw"), HASVM, "iso-bus"),
    "a CD on IDE works": (disks("root.qcow2:hda:w:qcow2", "seed.iso:hdc:r:raw"), OK, "dev-ide"),
    "a CD alone boots": (disks("boot.iso:hdc:r:raw"), OK, "dev-ide"),
    "a partition is refused": (disks("swap.img:sda2:w:raw"), HASVM, "dev-partition"),
    "a virtio partition is refused": (disks("root.img:vda1:w:raw"), HASVM, "dev-partition"),
    "duplicates are refused": (disks("a.raw:vda:w:raw", "b.raw:vda:w:raw"), HASVM, "dev-duplicate"),
    "upper case is refused": (disks("root.raw:VDA:w:raw"), HASVM, "dev-case"),
    "nvme0n1 is refused": (disks("root.raw:nvme0n1:w:raw"), HASVM, "dev-unknown"),
    "a device path is refused": (disks("root.raw:/dev/vda:w:raw"), HASVM, "dev-unknown"),
    "xvda under kvm is refused": (disks("root.raw:xvda:w:raw"), HASVM, "dev-unknown"),
    "hde is refused": (disks("root.raw:hde:w:raw"), HASVM, "dev-unknown"),
    "hda read-only is refused": (disks("root.raw:hda:r:raw"), HASVM, "dev-ide-readonly"),
    "hda is refused on q35": (disks("root.raw:hda:w:raw"), OK, "dev-ide"),
    "sda has a rare controller": (disks("root.raw:sda:w:raw"), OK, "dev-scsi"),
    "vda read-only": (disks("root.raw:vda:r:raw"), OK, ""),
    "permission rw is w": (disks("root.raw:vda:rw:raw"), OK, "perm-canonical"),
    "permission W is w": (disks("root.raw:vda:W:raw"), OK, "perm-canonical"),
    "permission R opens read-write": (disks("root.raw:vda:R:raw"), WRONG, "perm-case"),
    "permission ro opens read-write": (disks("root.raw:vda:ro:raw"), WRONG, "perm-unknown"),
    "format in lower case": (disks("root.raw:vda:w:RAW"), HASVM, "fmt-case"),
    "format unknown": (disks("root.img:vda:w:img"), HASVM, "fmt-unknown"),
    "format vmdk is known to libvirt": (disks("root.vmdk:vda:w:vmdk"), OK, "fmt-unusual"),
    "format omitted means raw": (disks("root.img:vda:w"), OK, "fmt-missing"),
    "qcow2 without format boots nothing": (disks("root.qcow2:vda:w"), ENDLESS, "fmt-missing"),
    "qcow2 declared raw boots nothing": (disks("root.qcow2:vda:w:raw"), ENDLESS, "fmt-mismatch"),
    "raw declared qcow2 is refused": (disks("root.raw:vda:w:qcow2"), HASVM, "fmt-mismatch"),
    "root on vdb never boots": (disks("root.qcow2:vdb:w:qcow2", "data.raw:vda:w:raw"), ENDLESS, "boot-order"),
    "root listed last still boots by letter": (disks("data.raw:vdb:w:raw", "root.qcow2:vda:w:qcow2"), OK, ""),
    "different buses keep the order": (disks("root.qcow2:vda:w:qcow2", "data.raw:hda:w:raw"), OK, "boot-order"),
    "a single disk on vdb boots": (disks("root.qcow2:vdb:w:qcow2"), OK, ""),
    "root, io and seed": (disks("root.qcow2:vda:w:qcow2", "io.raw:vdb:w:raw", "seed.img:vdc:r:raw"), OK, ""),
    "no comment in the line": ({"vm_disk": "root.qcow2:vda:w:qcow2 # root"}, HASVM, "disk-inline-comment"),
    "no comment after the permission": ({"vm_disk": "root.qcow2:vda:w # root"}, WRONG, "disk-inline-comment"),
}  # fmt: skip

TRANSFERS: dict[str, tuple[Change, Effect, str]] = {
    "every disk is listed": ({"transfer_input_files": None}, HELD, "tif-missing"),
    "a path is shared": ({"vm_disk": "/s/root.qcow2:vda:w:qcow2", "transfer_input_files": None}, OK, "path-shared"),
    "a transferred file is named without its path": (
        {"vm_disk": "/s/root.qcow2:vda:w:qcow2", "transfer_input_files": "/s/root.qcow2"}, WRONG, "path-basename"),
    "the sandbox is flat": (
        {"vm_disk": "img/root.qcow2:vda:w:qcow2", "transfer_input_files": "img/root.qcow2"}, HASVM, "path-basename"),
    "a file from elsewhere has its basename": ({"transfer_input_files": "/s/root.qcow2"}, OK, ""),
    "a directory's contents may hold it": ({"transfer_input_files": "img/"}, OK, ""),
    "comma between": ({"transfer_input_files": "root.qcow2 data.raw"}, HELD, "tif-blank"),
    "never quoted": ({"transfer_input_files": '"root.qcow2"'}, OK, "tif-quoted"),
    "single quotes are part of the name": ({"transfer_input_files": "'root.qcow2'"}, HELD, "tif-quote"),
    "equal basenames overwrite each other": (
        {"transfer_input_files": "a/root.qcow2,b/root.qcow2"}, WRONG, "tif-collides"),
    "a URL's query is cut": (
        {"transfer_input_files": "https://h/root.qcow2?sig=1", "request_disk": "9GB"}, OK, ""),
    "a URL's comma splits": (
        {"transfer_input_files": "https://h/root.qcow2?x=1,2", "request_disk": "9GB"}, HELD, "tif-comma"),
    "an s3 URL needs keys": ({"transfer_input_files": "s3://b/root.qcow2"}, REJECTED, "tif-s3-keys"),
    "an s3 URL with keys": (
        {"transfer_input_files": "s3://b/root.qcow2", "s3_access_key_id_file": "/k", "s3_secret_access_key_file": "/s",
         "request_disk": "9GB"}, OK, ""),
    "a scheme that few fetch": ({"transfer_input_files": "x://h/root.qcow2", "request_disk": "9GB"}, OK, "tif-scheme"),
    "transfer_output_files with a remap": (
        {"transfer_output_files": "root.qcow2", "transfer_output_remaps": '"root.qcow2 = out.qcow2"'}, OK, ""),
    "without a remap the returned disk overwrites": ({"transfer_output_files": "root.qcow2"}, OK, "tof-overwrites"),
    "a failed output holds": ({"transfer_output_files": "result.txt"}, HELD, "tof-missing"),
    "transfer_output_files empty returns nothing": ({"transfer_output_files": '""'}, OK, "no-output"),
    "vm_no_output_vm returns nothing": ({"vm_no_output_vm": "true"}, OK, "no-output"),
    "vm_no_output_vm with transfer_output_files holds": (
        {"vm_no_output_vm": "true", "transfer_output_files": "root.qcow2"}, HELD, "no-output-conflict"),
    "a remap has two sides": ({"transfer_output_remaps": '"root.qcow2"'}, OK, "remap-syntax"),
    "a remap of what does not return": (
        {"transfer_output_files": "root.qcow2", "transfer_output_remaps": '"io.raw = x; root.qcow2 = y"'}, OK,
        "remap-unused"),
}  # fmt: skip

ERRORS: dict[str, tuple[Change, Effect, str]] = {
    "0 NO_VM_MEMORY_PARAM: memory is a literal": ({"vm_memory": "lots"}, REJECTED, "memory"),
    "1 XEN_NO_KERNEL_PARAM: xen needs xen_kernel": ({**XEN, "xen_kernel": None}, REJECTED, "xen-kernel"),
    "2 MISMATCHED_HARDWARE_VT: no kernel named vmx": ({**XEN, "xen_kernel": "vmx"}, HASVM, "xen-vmx"),
    "3 XEN_KERNEL_NOT_FOUND: the kernel is in the list": ({**XEN_FILE, "xen_kernel": "k"}, HELD, "xen-kernel-transfer"),
    "4 XEN_INITRD_NOT_FOUND: the initrd is in the list": ({**XEN_FILE, "xen_initrd": "i"}, HELD, "xen-initrd-transfer"),
    "5 XEN_NO_ROOT_DEVICE_PARAM: a kernel file needs it": ({**XEN_FILE, "xen_root": None}, REJECTED, "xen-root"),
    "6 XEN_NO_DISK_PARAM: vm_type is exactly xen": (
        {**XEN, "vm_type": None, "+JobVMType": '"xen"'}, HELD, "type-attribute"),
    "7 XEN_INVALID_DISK_PARAM: in the transfer list": ({**XEN, "transfer_input_files": None}, HELD, "tif-missing"),
    "8 XEN_MISMATCHED_CHECKPOINT: all paths absolute": ({**XEN, "vm_checkpoint": "true"}, HELD, "ckpt-transfer"),
    "9 KVM_NO_DISK_PARAM: vm_type is exactly kvm": ({"vm_type": None, "+JobVMType": '"kvm"'}, HELD, "type-attribute"),
    "10 KVM_INVALID_DISK_PARAM: in the transfer list": ({"transfer_input_files": "x"}, HELD, "tif-missing"),
    "11 KVM_MISMATCHED_CHECKPOINT: all paths absolute": ({"vm_checkpoint": "true"}, HELD, "ckpt-transfer"),
    "12 BAD_IMAGE: the declared format": (disks("root.raw:vda:w:qcow2"), HASVM, "fmt-mismatch"),
}  # fmt: skip

XEN_RULES: dict[str, tuple[Change, Effect, str]] = {
    "included with one raw disk": (XEN, OK, ""),
    "included in upper case is lost": ({**XEN, "xen_kernel": "Included"}, HASVM, "xen-kernel-case"),
    "included quoted is a file": ({**XEN, "xen_kernel": '"included"'}, REJECTED, "xen-root"),
    "included with xen_initrd is refused": ({**XEN, "xen_initrd": "i"}, REJECTED, "xen-initrd"),
    "included with xen_root": ({**XEN, "xen_root": "/dev/xvda1"}, OK, "xen-params-ignored"),
    "included with xen_kernel_params": ({**XEN, "xen_kernel_params": "quiet"}, OK, "xen-params-ignored"),
    "included with two disks": (
        {**XEN, **disks("root.img:xvda:w:raw", "data.img:xvdb:w:raw")}, OK, "xen-included-multi"),
    "a kernel file by its absolute path": (XEN_FILE, OK, ""),
    "a transferred kernel stays relative": (
        {**XEN_FILE, "xen_kernel": "k", "xen_initrd": "i", "transfer_input_files": "root.img,k,i"}, HASVM,
        "xen-kernel-relative"),
    "no xen_initrd gives a blank one": ({**XEN_FILE, "xen_initrd": None}, HASVM, "xen-initrd-blank"),
    "a kernel path that contains included": ({**XEN_FILE, "xen_kernel": "/included/k"}, HASVM, "xen-kernel-included"),
    "xen_root is not quoted": ({**XEN_FILE, "xen_root": '"/dev/xvda1"'}, ENDLESS, "xen-root-quoted"),
    "only the command line reaches the guest": ({**XEN_FILE, "xen_kernel_params": None}, OK, "xen-root-dropped"),
    "qcow2 is read as raw": ({**XEN, **disks("root.qcow2:xvda:w:qcow2")}, ENDLESS, "xen-format-raw"),
    "the format may be omitted": ({**XEN, **disks("root.img:xvda:w")}, OK, ""),
    "vda is refused": ({**XEN, **disks("root.img:vda:w:raw")}, HASVM, "dev-unknown"),
    "sda is seen as xvda": ({**XEN, **disks("root.img:sda:w:raw")}, OK, "xen-device"),
    "hda1 loses its number": ({**XEN, **disks("root.img:hda1:w:raw")}, OK, "xen-device"),
    "a bare file system is a partition": ({**XEN, **disks("root.img:xvda1:w:raw")}, OK, ""),
    "xvda with sda collide": ({**XEN, **disks("root.img:xvda:w:raw", "b.img:sda:w:raw")}, WRONG, "dev-alias"),
}  # fmt: skip

ROWS = [
    pytest.param(*row, id=f"{section}: {name}")
    for section, table in (
        ("submit commands", SUBMIT_COMMANDS),
        ("vm_disk", VM_DISK),
        ("transfers", TRANSFERS),
        ("errors", ERRORS),
        ("xen", XEN_RULES),
    )
    for name, row in table.items()
]


@pytest.mark.parametrize(("change", "effect", "code"), ROWS)
def test_statement(change: Change, effect: Effect, code: str) -> None:
    commands = {**KVM, **change}
    lines = [f"{name} = {value}" for name, value in commands.items() if value is not None]
    report = lint_text("\n".join([*lines, "queue", ""]), environment={})
    assert report.effect is effect, report.render()
    found = [finding.rule.code for finding in report.findings]
    # Which card a guest finds is said of every machine with a network.
    assert code in found if code else set(found) <= {"net-card"}, report.render()


def test_one_vm_macaddr_for_many_jobs_collides() -> None:
    commands = {**KVM, "vm_networking": "true", "vm_macaddr": "52:54:00:12:34:56", "vm_disk": "root.qcow2:vda:r:qcow2"}
    text = "\n".join(f"{name} = {value}" for name, value in commands.items())
    assert "mac-shared" in {finding.rule.code for finding in lint_text(text + "\nqueue 3\n").findings}
    each = text.replace("52:54:00:12:34:56", "52:54:00:12:34:0$(Process)")
    for quiet in (text + "\nqueue 1\n", each + "\nqueue 3\n"):
        assert {finding.rule.code for finding in lint_text(quiet).findings} == {"net-card"}


def test_one_remap_for_many_jobs_overwrites() -> None:
    commands = {**KVM, "transfer_output_files": "root.qcow2", "transfer_output_remaps": '"root.qcow2 = out.qcow2"'}
    text = "\n".join(f"{name} = {value}" for name, value in commands.items())
    report = lint_text(text + "\nqueue 3\n")
    assert [(f.rule.code, f.message) for f in report.findings] == [
        ("remap-collides", "3 jobs bring back 'root.qcow2' as 'out.qcow2'")
    ]
    assert not lint_text(text + "\nqueue\n").findings
    each = text.replace("out.qcow2", "out-$(Process).qcow2")
    assert not lint_text(each + "\nqueue 3\n").findings
