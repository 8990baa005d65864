"""What a recipe lays over its tree: files, accounts, services, commands, the job, a seed for cloud-init."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, StringConstraints, Tag, model_validator

from roost.recipe.base import AbsolutePath, Line, Mode, Model, Name, Scalars
from roost.recipe.quantities import Duration


class File(Model):
    """A file, directory or link put into the image."""

    #: Where it is in the image.
    path: AbsolutePath
    #: The text of the file.
    content: str | None = None
    #: A local file or directory that is copied; relative to the recipe.
    source: str | None = None
    #: A local jinja2 template; it sees `recipe`, `name`, `kernel` and `variables`.
    template: str | None = None
    #: What a symbolic link points at.
    link: Line | None = None
    #: Make an empty directory.
    directory: bool = False
    #: Octal digits in quotes; default: that of the source, 0644 for text, 0755 for a directory.
    mode: Mode | None = None
    #: The number of the user that it belongs to.
    owner: int = Field(default=0, ge=0, le=65535)
    #: The number of the group that it belongs to.
    group: int = Field(default=0, ge=0, le=65535)

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        named = [key for key in ("content", "source", "template", "link") if getattr(self, key) is not None]
        if self.directory:
            named.append("directory")
        if len(named) != 1:
            listed = ", ".join(named) or "none"
            raise ValueError(f"a file has exactly one of content, source, template, link, directory; here: {listed}")
        return self


class Secret(Model):
    """Where a secret is read when the image is built: a local file or an environment variable; never the recipe."""

    #: A local file with the secret on one line; relative to the recipe.
    file: str | None = None
    #: The name of an environment variable that holds it.
    env: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.file is None) == (self.env is None):
            raise ValueError("a secret is in a file or in an environment variable: exactly one of file, env")
        return self


class User(Model):
    """An account; no password opens it unless one is named."""

    #: The login name.
    name: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]*$", max_length=32)]
    #: Local files with public keys that may log in by ssh; relative to the recipe.
    ssh_keys: tuple[str, ...] = ()
    #: Where the account's crypt(3) hash is read (`mkpasswd` makes one).
    password: Secret | None = None
    #: The login shell.
    shell: AbsolutePath = "/bin/sh"
    #: Groups of the tree that the account belongs to as well.
    groups: tuple[Name, ...] = ()


class Services(Model):
    """systemd units to enable and to disable."""

    #: Units that start at boot, such as ssh.service.
    enable: tuple[Name, ...] = ()
    #: Units that do not start at boot, such as apt-daily.timer.
    disable: tuple[Name, ...] = ()


class Job(Model):
    """What the guest runs once, and what it does then."""

    #: A line for the guest's shell, run in the io disk's input/.
    command: Line
    #: The longest it may take; then it is killed, and the machine goes off.
    timeout: Duration = Field(default=4 * 3600.0, gt=0)
    #: Whether the machine powers itself off afterwards: HTCondor ends the job only then.
    then: Literal["poweroff", "stay"] = "poweroff"


class Command(Model):
    """A command that is run in the image's tree while it is built."""

    #: A text for /bin/sh, run as root in the tree.
    command: str
    #: Whether it reaches the network; without it, there is none.
    network: bool = False


def _text_or(value: Any) -> str | None:
    return "text" if isinstance(value, str) else "mapping" if isinstance(value, dict | Model) else None


#: A command as a text, or with what it may do.
Run = Annotated[
    Annotated[str, Tag("text")] | Annotated[Command, Tag("mapping")],
    Discriminator(
        _text_or,
        custom_error_type="text_or_mapping",
        custom_error_message="expected a command: text, or {command: TEXT, network: true}",
    ),
]

#: A local file, or what would be in it.
FileOrMapping = Annotated[
    Annotated[str, Tag("text")] | Annotated[Scalars, Tag("mapping")],
    Discriminator(
        _text_or,
        custom_error_type="text_or_mapping",
        custom_error_message="expected the name of a local file, or a mapping: what would be in the file",
    ),
]


class CloudInit(Model):
    """A NoCloud seed: what cloud-init does at the first boot, on a small disk of its own named `seed`."""

    #: A local file (cloud-config, script, MIME), or cloud-config as a mapping.
    user_data: FileOrMapping
    #: Added to instance-id and local-hostname, which follow from the recipe.
    meta_data: Scalars = Field(default_factory=dict)
    #: Network configuration, version 1 or 2: a local file, or a mapping.
    network_config: FileOrMapping | None = None
