"""Names of the flags' values in help, and the values offered by completion."""

from __future__ import annotations

#: Name of a flag's value, where the flag's own name does not explain it.
VALUES = {
    "distribution": "debian-12|debian-13|ubuntu-24.04",
    "io": "SIZE",
    "memory": "SIZE",
    "package": "NAME",
    "timeout": "TIME",
    "cpus": "N",
    "accel": "auto|kvm|tcg",
    "cap": "SIZE",
    "deadline": "SECONDS",
    "extract": "IMAGE",
    "install": "DIR",
    "from": "CATALOGUE",
    "html": "DIR",
    "hypervisor": "kvm|xen",
    "jobs": "FILE",
    "factory jobs": "N",
    "junit": "FILE",
    "keep": "N",
    "repro keep": "DIR",
    "in": "PATH",
    "key": "FILE",
    "log": "FILE",
    "machine": "pc|q35",
    "markdown": "FILE",
    "max-files": "N",
    "max-size": "SIZE",
    "older-than": "AGE",
    "out": "[PATH:]DIR",
    "output": "FILE",
    "public": "URL",
    "resume": "DIR",
    "dag": "DIR",
    "lint dag": "FILE",
    "changed-since": "REV",
    "container": "IMAGE",
    "publish": "URL",
    "set": "KEY=VALUE",
    "to": "URL",
    "transfer": "files|shared|URL",
    "version": "VERSION",
}
#: Values offered by completion: those of `VALUES` in lower case.
CHOICES = {flag: tuple(one for one in words.split("|") if one.islower()) for flag, words in VALUES.items()}
