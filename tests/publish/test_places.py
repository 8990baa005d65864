"""Publishing to real servers: whole or not listed whenever the publisher is killed, one of two at once, read back."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import pytest

from roost.errors import HostError, ImageError
from roost.publish import claim, layout, verify
from roost.publish.targets.kinds import open_target
from roost.publish.upload import current, walk
from tests.publish import lab
from tests.publish.conftest import Place

#: In five parts, which different processes take: fifty moments in each kind of place.
PARTS, KILLS = 5, 10
#: So many kills hit one catalogue: all that it lists is verified whole after each.
ROUND = 5


def _sound(url: str) -> set[str]:
    """Assert that all that is listed is whole and signed; return the versions."""
    result = verify.verify(url)
    assert not result["problems"], result["problems"]
    return {image["version"] for image in result["images"]}


def test_publish_verify_and_describe(root: Path, place: Place) -> None:
    lab.ready(root)
    heard = lab.Heard()
    done = lab.publish(root, place.url, events=heard)
    assert done.new
    # What is sent and what is read back is told in bytes, whatever the kind of place.
    assert heard.bytes["publish"][-1] == (2 * done.sent, 2 * done.sent)
    assert _sound(place.url) == {done.release.version}
    again = lab.publish(root, place.url)
    assert (again.new, again.sent) == (False, 0)
    for part in ("smoke", f"smoke/{done.release.version}"):
        assert verify.verify(f"{place.url}/{part}")["ok"]
    target = open_target(place.url)
    path = f"{done.release.directory}/io.raw"
    data = bytearray(target.read(path) or b"")
    data[-1] ^= 1
    target.write(path, bytes(data))
    assert [problem["file"] for problem in verify.verify(place.url)["problems"]] == [path]
    with pytest.raises(ImageError, match="other bytes"):
        lab.ready(root, 1)
        lab.publish(root, place.url, version=done.release.version)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_fifty_random_moments(root: Path, place: Place, part: int) -> None:
    """After each kill all that is listed is sound; the next run ends it, and keeps what was sent already."""
    rng = random.Random(f"{place.url.partition(':')[0] if '://' in place.url else 'directory'} {part}")
    kept = killed = listed = 0
    with lab.nursery(place.env) as nursery:
        span = 0.0
        for number in range(KILLS):
            url = f"{place.url}/{number // ROUND}"
            if number % ROUND == 0:
                target = open_target(url)
                lab.ready(root)
                (first,) = nursery.start(root, url)
                versions = {first["version"]}
                span = span or first["seconds"]
            lab.ready(root, number + 1)
            (left,) = nursery.start(root, url, [rng.uniform(0, 1.1 * span)])
            killed += left is None
            # It ended before its time: the machine is not as busy as it was.
            span = min(span, left["seconds"]) if left else span
            found = _sound(url)
            assert versions <= found
            listed += found > versions
            latest = current(target, "smoke")
            assert latest is not None
            assert latest.version in found
            (done,) = nursery.start(root, url)
            assert "error" not in done, done
            kept += bool(done["kept"]) and done["new"]
            versions.add(done["version"])
            if number % ROUND == ROUND - 1:
                assert _sound(url) == versions
                files = [path for one in versions for path in walk(target, f"smoke/{one}")]
                assert not [path for path in files if layout.PARTIAL in path]
            latest = current(target, "smoke")
            assert latest is not None
            assert latest.version == done["version"]
            span = done["seconds"] if done["new"] and not done["kept"] else span
    # Most kills hit something; how many of them in the middle of the files is the clock's affair.
    assert killed > KILLS // 3
    print(f"{killed} killed, {listed} of them listed already, {kept} went on with what was there")


def test_two_publishers_of_one_version_with_other_bytes(root: Path, tmp_path: Path, place: Place) -> None:
    """Started together, each with its own build: one is listed, the other is told, and nothing is mixed.

    Every second time both find the claim of a publisher that was killed, and want to take it over.
    """
    other = tmp_path / "other"
    other.mkdir()
    lab.project(other)
    with lab.nursery(place.env) as one, lab.nursery(place.env) as two:
        for number in range(5):
            lab.ready(root, 2 * number)
            lab.ready(other, 2 * number + 1)
            version = f"v{number}"
            if number % 2:
                dead = {**claim._own("", []), "pid": 2**22 + 1}
                open_target(place.url).create(claim.path_of("smoke", version), layout.json_bytes(dead))
            one.ask(root, place.url, version=version)
            two.ask(other, place.url, version=version)
            answers = [*one.answers(), *two.answers()]
            won = [answer for answer in answers if answer and "error" not in answer]
            lost = [answer["error"] for answer in answers if answer and "error" in answer]
            assert (len(won), len(lost)) == (1, 1), answers
            assert "other bytes" in lost[0]
            assert version in _sound(place.url)


def test_two_publishers_of_the_same_build(root: Path, place: Place) -> None:
    with lab.nursery(place.env) as nursery:
        for number in range(3):
            lab.ready(root, number)
            answers = nursery.start(root, place.url, [None, None, None])
            assert sorted(answer["new"] for answer in answers) == [False, False, True]
            assert len(_sound(place.url)) == number + 1


def test_a_publisher_on_another_host_is_waited_for_or_taken_over(
    root: Path, directory: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.ready(root)
    target = open_target(directory.url)
    claim = {"host": "elsewhere", "pid": 1, "started": "1", "nonce": "", "release_sha256": ""}
    path = f"smoke/{layout.CLAIMS}/v1.json"
    target.create(path, layout.json_bytes(claim))
    monkeypatch.setattr("roost.publish.claim.PATIENCE", 0.5)
    with pytest.raises(ImageError, match="still being published or removed by another process") as refused:
        lab.publish(root, directory.url, version="v1")
    assert "--take-over" in str(refused.value)
    assert lab.publish(root, directory.url, version="v1", take_over=True).new
    assert target.read(path) is None
    assert _sound(directory.url) == {"v1"}


def test_a_server_whose_key_is_not_known_is_not_believed(
    root: Path, sftp: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").write_text("")
    monkeypatch.setenv("ROOST_SFTP_KNOWN_HOSTS", str(tmp_path / "empty"))
    with pytest.raises(HostError, match="known_hosts"):
        open_target(sftp.url)


def test_a_server_that_is_not_there_is_one_error(sftp: Place, s3: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(HostError, match="cannot be reached"):
            open_target(f"sftp://127.0.0.1:{port}/x")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        with pytest.raises(HostError):
            open_target(s3.url).read("x")


def test_a_bucket_that_does_not_exist_is_one_error(root: Path, s3: Place) -> None:
    lab.ready(root)
    with pytest.raises(HostError):
        lab.publish(root, "s3://no-such-bucket-here/x")


def test_no_secret_reaches_the_catalogue(root: Path, s3: Place) -> None:
    lab.ready(root)
    lab.publish(root, s3.url)
    target = open_target(s3.url)
    for path in walk(target, ""):
        assert b"hunter2" not in (target.read(path) or b""), path
