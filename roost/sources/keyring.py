"""The archive keys that apt trusts on this host: its own distribution's, and others whose keyring is installed."""

from __future__ import annotations

from pathlib import Path

from roost.errors import HostError

TRUSTED = Path("/etc/apt/trusted.gpg.d")
KEYRINGS = Path("/usr/share/keyrings")
#: By the origin of an archive: the keyring, and the packages that provide it.
VENDORS = {
    "Debian": ("debian-archive-keyring.gpg", "apt-get install debian-archive-keyring"),
    "Ubuntu": (
        "ubuntu-archive-keyring.gpg",
        "apt-get install ubuntu-keyring, which Debian 13 calls ubuntu-archive-keyring; where neither exists,"
        f" put Ubuntu's own file into {KEYRINGS}",
    ),
}


def arguments(origin: str) -> list[str]:
    """Return mmdebstrap's arguments for the keys of an archive; raise `HostError` as `foreign` does.

    mmdebstrap finds a foreign keyring by itself only with gpg, which may not be installed.
    """
    path = foreign(origin)
    return [f"--keyring={path}"] if path is not None else []


def foreign(origin: str) -> Path | None:
    """Return the keyring of an archive, None if this host trusts it anyway or its origin is unknown.

    Raises `HostError` when the keyring is not installed.
    """
    if origin not in VENDORS or any(TRUSTED.glob(f"{origin.lower()}-*")):
        return None
    path = KEYRINGS / VENDORS[origin][0]
    if not path.is_file():
        raise HostError(f"no keys of {origin}'s archive on this host ({path})", hint=hint(origin))
    return path


def hint(origin: str) -> str:
    """Return how to get the keys of an archive."""
    return VENDORS[origin][1] if origin in VENDORS else "install the archive's keyring in /etc/apt/trusted.gpg.d"
