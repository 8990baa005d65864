"""Messages of libvirt and QEMU when they refuse HTCondor's machine, and the rule behind each.

They appear in VMGahpLog on the execute machine, in libvirt's log, or on the console of a test boot; the job
itself only gets VMGAHP_ERR_INTERNAL. An empty fix means that the hints of the lint rules are the fix.
"""

from __future__ import annotations

from roost.condor.reasons import reason, requeued

_REFERENCE = "docs/vm-universe.md, section 4"
_LIBVIRT = "libvirt 9.0, seen; docs/vm-universe.md, section 2"

#: The generic reason, dropped when a more specific one is found.
GENERAL = "libvirt-refused"

LIBVIRT = (
    requeued("unknown-driver-format", r"unknown driver format value",
              "the fourth field of vm_disk is not a format that libvirt knows",
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
              "vm_macaddr is not an address, or a multicast one", "", _LIBVIRT, "mac"),
    requeued("not-qcow2", r"[Ii]mage is not in qcow2 format|"
              r"unsupported image type|[Ii]mage not in (?:VMDK|VDI|VPC|VHDX|qcow) format",
              "a disk is declared in a format that it does not have", "declare the format that `qemu-img info` shows",
              f"{_REFERENCE}, error 12: current QEMU writes it in another case, so it falls to INTERNAL",
              "fmt-mismatch"),
    requeued("disk-permission",
              r"(?:could not|cannot|failed to|unable to) (?:open|access|read)(?! KVM kernel)[^\n]{0,700}"
              r"permission denied|unable to (?:set user and group|set security context|stat)[^\n]{0,700}"
              r"(?:not permitted|invalid argument|not supported|permission denied)|"
              r"disk image file\('[^'\n]{0,300}'\) cannot be (?:modified|read)",
              "a disk is there, and QEMU's user may not open it: its mode or owner forbids it, a directory on the way "
              "is closed to others, or it is declared w and may only be read",
              "publish disks with mode 0644, in directories that others may enter (mode 0755); declare r what is only "
              "read; on NFS with root_squash ask the file system's administrator", _LIBVIRT,
              "file-readonly", "file-unreadable", "perm-case"),
    requeued("backing-file",
              r"could not open backing (?:file|image)(?![^\n]{0,700}permission denied)|"
              r"backing file [^\n]{0,700}(?:no such file|not found)",
              "the overlay's backing file is not beside it", "list the backing file in transfer_input_files, with a "
              "relative name in the overlay", "docs/vm-universe.md, section 3", "backing-missing", "backing-absolute"),
    requeued("disk-absent",
              r"cannot access storage file '[^'\n]{0,300}'(?![^\n]{0,300}permission denied)|"
              r"(?:could not|failed to|cannot|unable to) (?:open|stat)(?! backing)[^'\n]{0,40}'[^'\n]{0,300}'"
              r"[^'\n]{0,40}no such file",
              "libvirt looks for a disk that is not there: a directory in vm_disk, blanks in a name, or a path that "
              "this machine does not have", "write plain file names and transfer them",
              "docs/vm-universe.md, section 3", "path-basename", "disk-name-chars", "tif-missing"),
    requeued("image-locked", r"failed to (?:get|lock) [^\n]{0,300}(?:lock|byte \d)|is another process using the image",
              "another machine has the same disk open for writing", "",
              "docs/vm-universe.md, section 3: a disk on a shared file system changes in place", "path-shared"),
    requeued("image-corrupt", r"image is corrupt|qcow2: Marking image as corrupt|preventing invalid|"
              r"could not read (?:qcow2 header|L1 table|refcount|snapshots)|(?:L1|refcount) table offset invalid",
              "the qcow2 image is damaged or cut short", "qemu-img check -r all, or build it again", _LIBVIRT,
              "image-corrupt"),
    requeued("qcow2-feature", r"unsupported qcow2 (?:feature|version)|unsupported IMGFMT feature|"
              r"qcow2[^\n]{0,60}(?:unknown|unsupported) compression",
              "the execute machine's QEMU is older than a feature of the qcow2 image, such as zstd compression",
              "build with `compress: zlib` or none, or ask for a newer machine", "QEMU, docs/interop/qcow2.txt"),
    requeued("no-network", r"network [^\n]{0,100} is not active|network not found|no network with matching name|"
              r"cannot get interface MTU|failed to add [^\n]{0,40}interface[^\n]{0,40} to bridge|"
              r"unable to (?:create (?:tap|bridge) device|add bridge [^\n]{0,40}port)|no such bridge|"
              r"passt[^\n]{0,80}(?:not found|failed)|failed to apply firewall rules",
              "the execute machine's libvirt network or bridge is not running",
              "tell the pool's administrator; or drop vm_networking",
              _LIBVIRT),
    requeued("no-kvm", r"could not access KVM kernel module|could not find capabilities for [^\n]{0,300}kvm|"
              r"failed to initialize kvm|does not support virt(?:ualization)? type 'kvm'|KVM (?:is )?not available|"
              r"domain requires KVM, but it is not available|could not get preferred machine for [^\n]{0,200}type=kvm|"
              r"CPU mode '(?:host-\w+|custom|maximum)'|"
              r"host-passthrough'[^\n]{0,100} not supported|ioctl\(KVM_|/dev/kvm[^\n]{0,80}(?:denied|no such)",
              "the execute machine has no working KVM", "tell the pool's administrator", _LIBVIRT),
    requeued("xen-not-created", r"libxenlight failed to (?:create new|restore) domain|xc_dom_[a-z_]+|"
              r"libxl: error: libxl_create",
              "Xen's tools did not start the machine: a kernel, initrd or disk that is not at its path (HTCondor hands "
              "over the bare name of a transferred kernel), a kernel that Xen cannot load, or too little memory",
              "write xen_kernel = included, or absolute paths on the execute machine; the reason is in its "
              "/var/log/libvirt/libxl/ and /var/log/xen/",
              "docs/vm-universe.md, section 5", "xen-kernel-relative"),
    reason("host-disk-full", r"block I/O error in device [^\n]{0,100}no space left on device",
              "the guest is stopped, and its job does not end",
              "the execute machine's disk filled up while the guest wrote, and QEMU stopped it",
              "give request_disk from the disks' virtual sizes, or tell the pool's administrator", _LIBVIRT),
    requeued("no-libvirt", r"failed to connect (?:socket )?to [^\n]{0,80}(?:libvirt|hypervisor|virtqemud|/run/)|"
              r"(?:unable|failed) to (?:create|open|get) [^\n]{0,40}libvirt connection|libvirt-sock|"
              r"authentication (?:unavailable|failed)|no polkit agent",
              "the execute machine's libvirt does not run, or does not let condor_vm-gahp in",
              "tell the pool's administrator: libvirtd or virtqemud, its socket and polkit", _LIBVIRT),
    requeued("no-emulator", r"cannot find [^\n]{0,60}(?:emulator|qemu)|"
              r"emulator '[^'\n]{0,200}'[^\n]{0,40}(?:not found|no such)|"
              r"cannot check QEMU binary|unable to find (?:an )?emulator|no supported architecture for os type|"
              r"could not load PC BIOS|cannot execute binary|does not support machine type",
              "the execute machine has no QEMU that libvirt can use: it is not where libvirt looks, or does not fit it",
              "tell the pool's administrator", _LIBVIRT),
    requeued("security-driver", r"cannot (?:load|update) AppArmor profile|AppArmor[^\n]{0,60}(?:denied|failed)|"
              r"avc:\s+denied|SELinux[^\n]{0,80}(?:denied|prevent)",
              "the execute machine's AppArmor or SELinux does not let QEMU open the disks",
              "tell the pool's administrator: EXECUTE has to be a place that libvirt's profile allows", _LIBVIRT),
    requeued("too-many-cpus", r"maximum (?:vcpus|cpus)|invalid SMP CPUs|max CPUs supported|"
              r"number of CPUs[^\n]{0,60}exceed|vCPUs? count[^\n]{0,60}exceed",
              "vm_vcpus is more than the machine's QEMU or KVM gives one guest", "ask for fewer vm_vcpus", _LIBVIRT,
              "vcpus"),
    requeued("domain-exists", r"domain [^\n]{0,200} (?:already exists|is already (?:defined|active|running))",
              "a virtual machine of this name is still there from an earlier run",
              "tell the pool's administrator: virsh list --all, virsh destroy", _LIBVIRT),
    requeued("scsi-controller", r"(?:lsi(?:logic|53c895a)?|scsi controller)[^\n]{0,100}not support|"
              r"not support[^\n]{0,100}(?:lsi|53c895a)",
              "a disk is on sdX, and the machine's QEMU has no such controller", "use vda, vdb ...", _LIBVIRT,
              "dev-scsi"),
    requeued("disk-full-there",
              r"(?:could not write|write error|failed to (?:write|create (?:directory|file))|cannot extend)"
              r"[^\n]{0,200}no space left on device",
              "the execute machine's disk is full: the guest's disk cannot grow", "ask for enough request_disk",
              _LIBVIRT, "request-disk-thin"),
    requeued("qemu-ended", r"qemu unexpectedly closed the monitor|process exited while connecting to monitor|"
              r"monitor socket did not show up|unable to read from monitor|"
              r"end of file (?:while reading|from qemu|from monitor)",
              "QEMU ended as soon as it was started: it could not open a disk (mode, owner, missing backing file), had "
              "not enough memory, or was killed",
              "the text after it, or libvirt's log of the machine (/var/log/libvirt/qemu/), say which: explain those",
              _LIBVIRT, "file-unreadable", "backing-missing"),
    requeued("libvirt-busy", r"cannot acquire state change lock|timed out during operation",
              "libvirt on the execute machine is stuck", "tell the pool's administrator", _LIBVIRT),
    requeued("xen-bootloader", r"bootloader(?: \(\d+\))?[^\n]{0,60} (?:failed|exited)|bootloader failed|"
              r"unable to find partition containing kernel|pygrub[^\n]{0,100}(?:error|failed)",
              "pygrub found no kernel in the image: no grub.cfg that it can read, a file system that it cannot read, "
              "or a qcow2", "use ext4 and a raw disk; `inv build` checks the image with pygrub where it is installed",
              "docs/xen-in-qemu.md: what pygrub reads"),
    requeued("xen-kernel-image", r"xc_dom_\w+[^\n]{0,200}(?:fail|error|not|no loader)|no loader found|"
              r"not a (?:valid )?(?:PV|paravirt\w*|Xen) kernel|unknown compression format",
              "this Xen cannot start the kernel as a PV guest, or cannot unpack it",
              "use a kernel with CONFIG_XEN_PV; zstd needs Xen 4.15", "docs/xen-in-qemu.md"),
    requeued(GENERAL, r"failed? to create (?:the )?(?:libvirt )?(?:domain|VM)\b|unsupported configuration:",
              "libvirt refused the machine for the reason that its words give",
              "see those words; `inv lint` judges the description that was submitted", _LIBVIRT),
    requeued("xen-disk", r"invalid or unsupported virtual disk identifier",
              "a device that Xen does not know, such as vda", "",
              "docs/xen-in-qemu.md: devices a PV guest sees", "dev-unknown"),
)  # fmt: skip
