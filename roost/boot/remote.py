"""A login by ssh into a throw-away machine: what is planted in it, when it is ready, and the client's command line.

The image's own sshd runs with a configuration and a host key made for this boot, next to the system as the image starts
it: the image's accounts, keys and ssh configuration are neither needed nor changed. The public half of the host key
arrives over the serial port, which nobody else can write to, and is the only one that the client accepts.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from roost.boot import plant
from roost.boot.plant import Planted
from roost.boot.session import Session
from roost.boot.watch import counted
from roost.errors import ImageError, UsageError
from roost.host.safetext import clean

#: Its path in Debian and most other distributions, and in Nix, Gentoo or local builds.
SSHD = ("/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd")
#: The guest's port: not 22, where the image's own server may listen.
PORT = 22022
#: The network card's address, unless the recipe sets one.
MAC = "52:54:00:12:34:56"
#: Files of the client, in its working directory.
KEY, KNOWN = "key", "known_hosts"
#: Seconds (scaled) to wait for the system to be up before logging in anyway, and for the login to be possible.
SETTLED, READY = 45.0, 120.0
#: A valid account name (useradd(8)).
USER = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
#: A public key: its type, and the 51 bytes of an Ed25519 key in base64 (RFC 8709).
_HOST_KEY = re.compile(r"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43}")
#: Bytes of the console that are searched for the machine's messages.
_RECENT = 4096
#: Signs of a system that fails to come up.
_LOST = ("panic", "no-root", "no-init", "initrd-shell", "halted")

_SCRIPT = """\
#!/bin/sh
# inv ssh: an sshd of its own beside the system, in a machine that is thrown away. {kept} is the image's own start.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
work={work}
mount -t tmpfs -o mode=0755 tmpfs "$work" || mount -o remount,rw /
umask 077
tell() {{ printf '\\n%s %s\\n' {mark} "$1" >/dev/ttyS0; }}
fail() {{
	while :; do
		tell "failed: $1"
		sleep 3
	done
}}
card() {{
	for one in /sys/class/net/*; do
		[ "$(cat "$one/address" 2>/dev/null)" = {mac} ] && echo "${{one##*/}}" && return
	done
	return 1
}}
# The address that QEMU's network gives to its first machine, with whatever this system has for it.
connect() {{
	for ip in ip "busybox ip"; do
		$ip link set "$name" up 2>/dev/null || continue
		$ip addr show dev "$name" | grep -q 'inet 10[.]0[.]2[.]15/' || $ip addr add 10.0.2.15/24 dev "$name"
		$ip route show | grep -q '^default' || $ip route add default via 10.0.2.2
		return 0
	done
	ifconfig "$name" 10.0.2.15 netmask 255.255.255.0 up 2>/dev/null && return 0
	[ ! -e "$work/networkd" ] || return 0
	[ -n "$systemd" ] || return 1
	mkdir -p /run/systemd/network
	network=/run/systemd/network/00-roost-ssh.network
	printf '[Match]\\nMACAddress=%s\\n' {mac} >$network
	printf '[Network]\\nAddress=10.0.2.15/24\\nGateway=10.0.2.2\\n' >>$network
	chmod -R a+rX /run/systemd/network
	: >"$work/networkd"
	systemctl restart systemd-networkd
}}
serve() {{
	seconds=0
	until [ -e /dev/pts/ptmx ] && [ -r /proc/mounts ] || [ "$seconds" -ge 60 ]; do
		sleep 1
		seconds=$((seconds + 1))
	done
	exec </dev/null >/dev/null 2>&1
	# A system that is not up after a while is one that somebody wants to look at.
	systemd=
	case $(readlink -f {kept}) in */systemd) systemd=yes ;; *) sleep 3 ;; esac
	seconds=0
	while [ -n "$systemd" ] && [ "$seconds" -lt {settled} ]; do
		case $(systemctl is-system-running) in running | degraded | maintenance | stopping) break ;; esac
		sleep 1
		seconds=$((seconds + 1))
	done
	if ! name=$(card); then
		modprobe virtio_net
		sleep 2
		name=$(card) || fail 'the image has no driver for the network card (virtio_net)'
	fi
	connect || fail 'nothing in the image can give the network card an address (ip, ifconfig, systemd-networkd)'
	# Where sshd wants to be shut up in (its build says which), and where the keys are.
	mkdir -p /run/sshd /var/empty && chmod 0755 /run/sshd /var/empty
	sshd=
	for one in {programs}; do
		[ ! -x "$one" ] || [ -n "$sshd" ] || sshd=$one
	done
	[ -n "$sshd" ] || fail 'the image has no sshd that can be run'
	printf '%s\\n' {key} >"$work/authorized"
	chmod 0644 "$work/authorized"
	ssh-keygen -q -t ed25519 -N '' -C '' -f "$work/host" || fail 'ssh-keygen makes no host key'
	pam=no
	[ ! -e /etc/pam.d/sshd ] || pam=yes
	cat >"$work/config" <<-END
		Port {port}
		HostKey $work/host
		AuthorizedKeysFile $work/authorized
		PidFile none
		StrictModes no
		PermitRootLogin yes
		PasswordAuthentication no
		KbdInteractiveAuthentication no
		UsePAM $pam
		UseDNS no
		PrintMotd no
		AcceptEnv LANG LC_*
		Subsystem sftp internal-sftp
	END
	"$sshd" -D -e -f "$work/config" 2>"$work/log" &
	sleep 1
	kill -0 $! || fail "sshd: $(tail -n 1 "$work/log" | cut -c -200)"
	while :; do
		tell "$(cut -d ' ' -f 1,2 "$work/host.pub")"
		sleep 3
		# What the system does with its network and its /run meanwhile must not shut the login.
		mkdir -p /run/sshd
		connect
	done
}}
serve &
exec {kept} "$@"
"""


@dataclass(frozen=True, slots=True)
class Login:
    """The user that logs in, and the command; by default a shell. One word is a line for the guest's shell."""

    user: str = "root"
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not USER.fullmatch(self.user):
            raise UsageError(f"--user {self.user}: not the name of an account", hint="--user root")


class Heard:
    """Reads the machine's messages about its server among all other console output: lines that begin with `mark`."""

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self._line = re.compile(re.escape(mark) + r" (?P<said>[^\r\n]{1,400})[\r\n]")
        self._recent = ""
        self.key: str | None = None
        self.failed: str | None = None

    def feed(self, data: bytes) -> None:
        """Process received data; an incomplete line, or one interrupted by the kernel, does not count."""
        self._recent = (self._recent + data.decode("ascii", "replace"))[-max(_RECENT, len(data)) :]
        for found in self._line.finditer(self._recent):
            report = found["said"].strip()
            if report.startswith("failed: "):
                self.failed = clean(report.removeprefix("failed: ").encode())
            elif _HOST_KEY.fullmatch(report):
                self.key = self.key or report
        self._recent = self._recent[-_RECENT:]


@dataclass(frozen=True, slots=True)
class Guest:
    """The parameters of a machine: the public key allowed to log in, the mark of its messages, its card's address.

    `factor` is how much slower it is than one with KVM.
    """

    key: str
    mark: str
    mac: str
    factor: float


def planted(guest: Guest, *, hint: str) -> Planted:
    """Return what is planted for a login; `hint` is for an image without a server."""
    words = {"mark": guest.mark, "mac": guest.mac.lower(), "key": guest.key}
    places = {"kept": plant.KEPT, "work": f"{plant.ASIDE}/run"}
    text = _SCRIPT.format(
        programs=" ".join(SSHD),
        port=PORT,
        settled=max(1, round(SETTLED * guest.factor)),
        **{name: shlex.quote(word) for name, word in (words | places).items()},
    )
    return Planted(text, SSHD, hint, system=True)


async def ready(session: Session, heard: Heard, factor: float) -> str:
    """Wait until the machine's server is ready; return its host key.

    Raises `ImageError` with the console's end when the system or the server does not come up.
    """
    while counted(session.now, session.starved) < READY * factor:
        await session.wait(1.0)
        if heard.key is not None:
            return heard.key
        lost = next((sign for sign in _LOST if session.serial.has(sign)), None)
        if heard.failed is not None or lost or session.over:
            break
    why = heard.failed or ("the machine powered off" if session.over else "it is not up")
    raise ImageError(
        f"no login by ssh after {session.now:.0f} s: {why}",
        hint="inv shell NAME starts a root shell without the system, inv boot NAME --interactive shows the console",
        tail=session.serial.tail(12),
    )


def known(port: int, key: str) -> str:
    """Return the line of the client's known_hosts file (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
    return f"[127.0.0.1]:{port} {key}\n"


def client(port: int, login: Login, *, terminal: bool) -> list[str]:
    """Return the client's argument list; its files are in its working directory. `terminal` requests one in the guest.

    None of the user's files are read: no keys, agent, known hosts or configuration.
    """
    options = {
        "IdentityFile": KEY,
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "UserKnownHostsFile": KNOWN,
        "GlobalKnownHostsFile": "none",
        "StrictHostKeyChecking": "yes",
        "HostKeyAlgorithms": "ssh-ed25519",
        "UpdateHostKeys": "no",
        "BatchMode": "yes",
        "LogLevel": "ERROR",
        "ConnectTimeout": "60",
    }
    argv = ["ssh", "-F", "none", "-t" if terminal else "-T", "-p", str(port)]
    for name, value in options.items():
        argv += ["-o", f"{name}={value}"]
    return [*argv, "-l", login.user, "127.0.0.1", *(["--", line(login.command)] if login.command else [])]


def line(command: Sequence[str]) -> str:
    """Return a command for the guest's shell: several words are quoted, a single word is a whole line."""
    return command[0] if len(command) == 1 else shlex.join(command)
