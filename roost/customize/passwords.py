"""Passwords of accounts: crypt(3) hashes that are read when an image is built, and are stored nowhere else.

No log, plan, manifest or key contains a hash. Changes are detected by a keyed digest whose key stays in the user's
state directory: passwords cannot be guessed from published files.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from roost.errors import Problem, RecipeError
from roost.host import files, paths, secretfile
from roost.recipe.customize import Secret
from roost.recipe.loader import Loaded
from roost.recipe.model import Recipe

#: Hashes that libxcrypt in Debian 12, Ubuntu 22.04 and EL 9 supports: yescrypt, scrypt, bcrypt, SHA-512, SHA-256.
HASH = re.compile(
    r"\$(?:y|gy|7)\$[./A-Za-z0-9$]{20,380}|\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}"
    r"|\$6\$(?:rounds=\d{1,9}\$)?[^:$\s]{1,16}\$[./A-Za-z0-9]{86}"
    r"|\$5\$(?:rounds=\d{1,9}\$)?[^:$\s]{1,16}\$[./A-Za-z0-9]{43}"
)
HOW = "`mkpasswd` or `openssl passwd -6` makes one"
LIMIT = 4096


class NoPasswordError(ValueError):
    """The secret is not a hash; the message does not show its value."""


def read(secret: Secret, directory: Path) -> str:
    """Return the hash of a secret; `directory` is the recipe's. Raises `NoPasswordError`."""
    if secret.env is not None:
        text = os.environ.get(secret.env)
        if text is None:
            raise NoPasswordError(f"the environment has no {secret.env}")
        place = f"what {secret.env} holds"
    else:
        place = f"what '{secret.file}' holds"
        try:
            with files.open_regular(directory / str(secret.file)) as file:
                text = file.read(LIMIT).decode("ascii", "replace")
        except OSError as error:
            raise NoPasswordError(files.unreadable(str(secret.file), error)) from error
    text = text.strip()
    if not HASH.fullmatch(text):
        raise NoPasswordError(f"{place} is not a crypt(3) hash of a password ({HOW})")
    return text


def problems(loaded: Loaded) -> Iterator[Problem]:
    """Yield a problem for each secret that is set and is not a hash; a variable may be set only for builds."""
    for number, user in enumerate(loaded.recipe.users):
        secret = user.password
        if secret is None or (secret.env is not None and secret.env not in os.environ):
            continue
        if secret.file is not None and not (loaded.directory / secret.file).is_file():
            continue  # the loader reports it
        try:
            read(secret, loaded.directory)
        except NoPasswordError as error:
            yield loaded.problem(_key(number, secret), str(error))


def _key(number: int, secret: Secret) -> tuple[str | int, ...]:
    return ("users", number, "password", "file" if secret.env is None else "env")


def hashes(loaded: Loaded) -> dict[str, str]:
    """Return the hash by the account's name, for those that have one; raise `RecipeError` for all that lack one."""
    found, wrong = {}, []
    for number, user in enumerate(loaded.recipe.users):
        if user.password is not None:
            try:
                found[user.name] = read(user.password, loaded.directory)
            except NoPasswordError as error:
                wrong.append(loaded.problem(_key(number, user.password), str(error)))
    if wrong:
        raise RecipeError(wrong)
    return found


def digests(recipe: Recipe, directory: Path) -> dict[str, str]:
    """Return, by account, a value that changes with its hash but does not reveal it."""
    found = {}
    for user in recipe.users:
        if user.password is not None:
            try:
                value = read(user.password, directory)
            except NoPasswordError:
                found[user.name] = "absent"
            else:
                found[user.name] = hmac.new(_state_key(), value.encode(), hashlib.sha256).hexdigest()
    return found


def _state_key() -> bytes:
    """Return the key of this user's digests, made at its first use."""
    path = paths.state_root() / "digest-key"
    secretfile.create_once(path, lambda: secrets.token_bytes(32))
    return files.read_bytes(path)
