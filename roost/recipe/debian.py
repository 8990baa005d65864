"""Source `debian` of a recipe: the suite, archive and snapshot, and further repositories."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from roost.recipe.base import AbsolutePath, Model, Name
from roost.recipe.source import Source


def _parsed(value: str) -> str:
    try:
        _port = urlsplit(value).port
    except ValueError as error:
        # The message of the URL parser may contain part of a password.
        raise ValueError("this is not a URL, such as http://HOST:PORT/PATH") from error
    return value


Url = Annotated[str, StringConstraints(pattern=r"^(https?|file|copy)://?[^\s\"'<>]+$"), AfterValidator(_parsed)]
#: The placeholder for a time in a mirror's URI, as in apt (apt.conf(5), Acquire::Snapshots).
SNAPSHOT_ID = "@SNAPSHOTID@"


class Repository(Model):
    """A further apt repository, and the key that signs it."""

    #: The URI, without credentials.
    uri: Url
    #: A suite such as `stable`; for a repository without dists/, a directory with a trailing /, such as `./`.
    suite: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._+~/-]+$")]
    #: Default: main; no components for a suite that ends with /.
    components: tuple[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._+~/-]+$")], ...] | None = None
    #: A local file with the public key, armored or binary; relative to the recipe.
    key: str
    #: Leave the repository and its key configured in the image, for apt in the guest.
    keep: bool = True

    @field_validator("uri")
    @classmethod
    def _no_password(cls, value: str) -> str:
        if re.match(r"[a-z]+://[^/]*@", value):
            raise ValueError("credentials are not allowed in the URI: the image and its manifest would hold them")
        return value

    @model_validator(mode="after")
    def _flat_has_no_components(self) -> Self:
        if self.flat and self.components:
            raise ValueError(f"a suite that ends with / ({self.suite}) has no components: leave them out")
        if not self.flat and self.components == ():
            raise ValueError("components is empty; only a suite that ends with / has none")
        return self

    @property
    def flat(self) -> bool:
        """Whether the index is beside the packages, not in dists/."""
        return self.suite.endswith("/")

    @property
    def parts(self) -> tuple[str, ...]:
        """The components, including the default."""
        return () if self.flat else self.components or ("main",)


class Debian(Source):
    """Source `debian`: a tree installed by mmdebstrap from a signed archive, Debian's or Ubuntu's."""

    installs: ClassVar = True
    default_kernel: ClassVar = "debian"
    places: ClassVar = {("repositories", "*", "key"): "file"}

    #: bookworm, trixie, noble …
    suite: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9.+-]*$")]
    #: `full` installs and configures packages; `unpacked` only unpacks the named ones (no dpkg, no maintainer scripts).
    variant: Literal["full", "unpacked"] = "full"
    #: Packages in addition to the essential ones, the kernel and the initrd's tools.
    packages: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9+.:~=/-]*$")], ...] = ()
    #: Components of the archive: main, universe, non-free-firmware …
    components: tuple[Name, ...] = ("main",)
    #: The URI of the archive. Default: the suite's archive, its updates and its security archive.
    mirror: Url | None = None
    #: A time such as 20261101T000000Z: the archive as it was then.
    snapshot: Annotated[str, StringConstraints(pattern=r"^[0-9]{8}T[0-9]{6}Z$")] | None = None
    #: Further repositories, each with its key.
    repositories: tuple[Repository, ...] = ()
    #: Debian's name of the processor architecture.
    architecture: Literal["amd64"] = "amd64"
    #: Paths of packages to leave out of the tree (dpkg's path-exclude patterns).
    exclude: tuple[AbsolutePath, ...] = Field(default=())

    @field_validator("snapshot")
    @classmethod
    def _is_a_time(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                snapshot_time(value)
            except ValueError as error:
                raise ValueError(f"'{value}' is not a time: no calendar has it") from error
        return value

    @model_validator(mode="after")
    def _mirror_of_snapshot(self) -> Self:
        if self.mirror is not None and (SNAPSHOT_ID in self.mirror) != (self.snapshot is not None):
            raise ValueError(
                f"a mirror has only today's packages: with snapshot its URI needs {SNAPSHOT_ID} in place of the time"
                if self.snapshot
                else f"the mirror's URI has {SNAPSHOT_ID}: add snapshot, the time to put in its place"
            )
        return self

    @property
    def local_files(self) -> tuple[str, ...]:
        """The keys of the further repositories."""
        return tuple(repository.key for repository in self.repositories)

    @property
    def processor(self) -> str:
        """The processor architecture."""
        return self.architecture

    @property
    def busybox_mount(self) -> bool:
        """True for a tree that is only unpacked: it has no other mount(8)."""
        return self.variant == "unpacked"


def snapshot_time(snapshot: str) -> int:
    """Return the time of a snapshot in seconds since 1970; raise ValueError for a date that does not exist."""
    return int(datetime.strptime(snapshot, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp())
