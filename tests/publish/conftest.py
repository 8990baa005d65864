"""Places to publish to, real servers on loopback: an S3 server, an OpenSSH sftp server, and a directory."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.publish import lab


@dataclass(frozen=True)
class Place:
    """A catalogue's URL, and the environment that opens it."""

    url: str
    env: dict[str, str]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project of its own, with an account of its own."""
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.setenv("ROOST_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("ROOST_ROOT", str(root))
    monkeypatch.chdir(root)
    return lab.project(root)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Run moto's S3 server in a process of its own; yield the environment of its clients."""
    lab.read_models_once()
    port = _free_port()
    directory = tmp_path_factory.mktemp("s3")
    log = (directory / "s3.log").open("wb")
    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    env = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "hunter2-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        _await(port, server, directory / "s3.log")
        yield env
    finally:
        server.terminate()
        server.wait(30)
        log.close()


@pytest.fixture
def s3(s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Place:
    """Return an empty bucket."""
    import boto3

    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{abs(hash(request.node.nodeid)) % 10**8}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return Place(f"s3://{bucket}/images", s3_server)


@pytest.fixture(scope="session")
def sftp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, dict[str, str]]]:
    """Run OpenSSH's sshd with a configuration, a host key and a user key of its own."""
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.fail("there is no sshd to test against: apt-get install openssh-server")
    directory = tmp_path_factory.mktemp("sshd")
    for name in ("host_key", "user_key"):
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(argv, check=True)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    port = _free_port()
    (directory / "sshd_config").write_text(
        "\n".join(
            [
                f"Port {port}",
                "ListenAddress 127.0.0.1",
                f"HostKey {directory}/host_key",
                f"PidFile {directory}/sshd.pid",
                f"AuthorizedKeysFile {directory}/user_key.pub",
                "PermitRootLogin yes",
                "PasswordAuthentication no",
                "KbdInteractiveAuthentication no",
                "StrictModes no",
                "UsePAM no",
                "MaxStartups 100",
                "Subsystem sftp internal-sftp",
                "",
            ]
        )
    )
    key = (directory / "host_key.pub").read_text().split()
    (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {key[0]} {key[1]}\n")
    log = (directory / "sshd.log").open("wb")
    server = subprocess.Popen([program, "-D", "-e", "-f", str(directory / "sshd_config")], stderr=log, stdout=log)
    try:
        _await(port, server, directory / "sshd.log")
        yield (
            port,
            {"ROOST_SFTP_KEY": str(directory / "user_key"), "ROOST_SFTP_KNOWN_HOSTS": str(directory / "known_hosts")},
        )
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def _await(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"the server does not listen: {log.read_text()}")


@pytest.fixture
def sftp(sftp_server: tuple[int, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Return a directory of the sftp server that does not exist yet."""
    port, env = sftp_server
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return Place(f"sftp://{getpass.getuser()}@127.0.0.1:{port}{tmp_path}/served/images", env)


@pytest.fixture
def directory(tmp_path: Path) -> Place:
    """Return a directory that does not exist yet."""
    return Place(str(tmp_path / "catalogue"), {})


@pytest.fixture(params=["directory", "s3", "sftp"])
def place(request: pytest.FixtureRequest) -> Place:
    """Return each kind of place in turn."""
    found: Place = request.getfixturevalue(request.param)
    return found
