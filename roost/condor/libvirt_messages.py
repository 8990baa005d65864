"""What libvirt and QEMU write when they refuse HTCondor's machine, and the rule that each of it breaks.

These words stand in VMGahpLog on the execute machine, in libvirt's log, or on the screen of a test boot; the
job itself only gets VMGAHP_ERR_INTERNAL. An empty fix means that the lint rules' hints say all there is to do.
"""

from __future__ import annotations

from roost.condor.reasons import requeued

_REFERENCE = "docs/vm-universe.md, section 4"
_LIBVIRT = "libvirt 9.0, seen; docs/vm-universe.md, section 2"

LIBVIRT = (
    requeued("unknown-driver-format", r"unknown driver format value",
              "the fourth field of vm_disk is no format that libvirt knows",
              "", _LIBVIRT, "fmt-unknown", "fmt-case", "disk-inline-comment"),
    requeued("duplicate-target", r"duplicated for disk sources|\btarget\b[^\n]{0,300}\bduplicated\b",
              "two disks of vm_disk have the same device", "", _LIBVIRT, "dev-duplicate"),
    requeued("partition-target", r"partitions can't appear in disk targets",
              "a device of vm_disk is a partition, such as sda2", "", _LIBVIRT, "dev-partition"),
    requeued("unknown-disk-name", r"Unknown disk name '[^'\n]{0,300}'|no address specified",
              "a device of vm_disk is empty or unknown, or vm_disk has an extra comma",
              "use vda, vdb ... under kvm and remove extra commas", _LIBVIRT, "dev-unknown", "dev-case",
              "disk-empty-item"),
    requeued("ide-readonly", r"readonly ide disks are not supported",
              "a disk on hdX is declared r", "", _LIBVIRT, "dev-ide-readonly"),
    requeued("ide-q35", r"IDE controllers are unsupported",
              "the machine's default is q35, which has no IDE, and vm_disk has an hdX", "", _LIBVIRT, "dev-ide"),
    requeued("ejectable-media", r"does not support ejectable media|does not support[^\n]{0,300}cdrom",
              "a path in vm_disk contains 'iso', so HTCondor makes a CD of it, which vdX cannot be",
              "rename the file, or put the CD on hdc", _LIBVIRT, "iso-bus", "iso-substring"),
    requeued("xml", r"EntityRef|\(domain_definition\)|xmlParse|StartTag: invalid|AttValue",
              "a file name in vm_disk has a character that breaks libvirt's XML: & < or a quote",
              "", _LIBVIRT, "disk-name-chars"),
    requeued("mac", r"unable to parse mac address|expected unicast mac",
              "vm_macaddr is no address, or a multicast one", "", _LIBVIRT, "mac"),
    requeued("not-qcow2", r"[Ii]mage is not in qcow2 format",
              "a disk is declared qcow2 and is not", "declare the format that `qemu-img info` shows",
              f"{_REFERENCE}, error 12: current QEMU writes it in another case, so it falls to INTERNAL",
              "fmt-mismatch"),
    requeued("disk-permission", r"(?:could not|failed to) open '[^'\n]{0,300}'[^\n]{0,300}permission denied",
              "QEMU may not open a disk: it is not writable and declared w, or its folder is closed",
              "publish disks with mode 0644, or declare them r", _LIBVIRT, "file-readonly", "perm-case"),
    requeued("backing-file", r"could not open backing file|backing file [^\n]{0,300}(?:no such file|not found)",
              "the overlay's backing file is not beside it", "list the backing file in transfer_input_files, with a "
              "relative name in the overlay", "docs/vm-universe.md, section 3", "backing-missing", "backing-absolute"),
    requeued("disk-absent", r"cannot access storage file|could not open '[^'\n]{0,300}':? no such file",
              "libvirt looks for a disk that is not there: a folder in vm_disk, blanks in a name, or a path that "
              "this machine does not have", "write plain file names and transfer them",
              "docs/vm-universe.md, section 3", "path-basename", "disk-name-chars", "tif-missing"),
    requeued("image-locked", r"failed to get [^\n]{0,300}lock|is another process using the image",
              "another machine has the same disk open for writing", "",
              "docs/vm-universe.md, section 3: a disk on a shared file system changes in place", "path-shared"),
    requeued("image-corrupt", r"image is corrupt|qcow2: Marking image as corrupt|preventing invalid",
              "the qcow2 image is damaged", "qemu-img check -r all, or build it again", _LIBVIRT, "image-corrupt"),
    requeued("no-network", r"network [^\n]{0,100} is not active|network not found|no network with matching name",
              "the execute machine's libvirt network is not running",
              "tell the pool's administrator; or drop vm_networking",
              _LIBVIRT),
    requeued("no-kvm", r"could not access KVM kernel module|could not find capabilities for [^\n]{0,300}kvm|"
              r"failed to initialize kvm",
              "the execute machine has no working KVM", "tell the pool's administrator", _LIBVIRT),
    requeued("xen-disk", r"invalid or unsupported virtual disk identifier",
              "a device that Xen does not know, such as vda", "",
              "docs/xen-in-qemu.md: devices a PV guest sees", "dev-unknown"),
)  # fmt: skip
