"""Source `debian`: a root tree that mmdebstrap installs from a signed archive."""

from __future__ import annotations

from collections.abc import Iterator

from roost.customize.overlay import Item
from roost.errors import Problem
from roost.host import files
from roost.recipe.loader import Loaded
from roost.sources import openpgp, repositories
from roost.sources.openpgp import NoKeyError


def problems(loaded: Loaded) -> Iterator[Problem]:
    """Yield a problem for each key file that is no public key."""
    debian = loaded.recipe.os.debian
    for number, repository in enumerate(debian.repositories if debian else ()):
        try:
            openpgp.fingerprints(openpgp.dearmored(files.read_bytes(loaded.folder / repository.key)))
        except NoKeyError as error:
            where = ("os", "debian", "repositories", number, "key")
            yield loaded.problem(where, f"'{repository.key}' is no key of a repository: {error}")
        except OSError:
            # The loader says what is wrong with the file.
            continue


def items(loaded: Loaded) -> Iterator[Item]:
    """Yield the sources and keys that stay in the image; a tree that is only unpacked has no apt to read them."""
    debian = loaded.recipe.os.debian
    if debian is None or debian.variant == "unpacked":
        return
    for extra in repositories.read(debian, loaded.folder):
        if extra.repository.keep:
            yield Item(extra.keyring, 0o644, extra.key.encode())
            source = extra.inside(debian.architecture)
            yield Item(f"/etc/apt/sources.list.d/{extra.name}.sources", 0o644, source.encode())
