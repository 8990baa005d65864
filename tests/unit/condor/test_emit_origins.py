"""A description that lies elsewhere than the image: names become paths, or it says what they start from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from roost.condor import submission
from roost.condor.jobs_file import parse_jobs
from roost.errors import RecipeError
from roost.publish import describe
from roost.publish.describe import ReleasedImage
from roost.publish.layout import ReleaseFile
from tests.unit.submitting import BUILT, MiB, jobs_of, recipe, submit_description

ELSEWHERE = Path("/home/me/runs")


def test_names_beside_the_image_and_paths_elsewhere() -> None:
    made = recipe(submit={"return": ["io"], "inputs": ["run.cfg", "/abs/x", "https://h.example/y"]})
    for at in (None, BUILT.directory):
        (ad,) = jobs_of(submit_description(made, "kvm", files=BUILT, at=at))
        assert ad["TransferInput"] == "root.qcow2,io.raw,run.cfg,/abs/x,https://h.example/y"
    (ad,) = jobs_of(submit_description(made, "kvm", files=BUILT, at=ELSEWHERE))
    directory = "/images/debian-12"
    assert ad["TransferInput"] == (
        f"{directory}/root.qcow2,{directory}/io.raw,{directory}/run.cfg,/abs/x,https://h.example/y"
    )
    assert ad["VMPARAM_vm_Disk"] == "root.qcow2:vda:w:qcow2,io.raw:vdb:w:raw"
    assert ad["TransferOutputRemaps"] == "io.raw = io-7.0.raw"


@pytest.mark.parametrize("transfer", ["files", "osdf:///pool/i"])
def test_the_disks_of_jobs_are_where_their_file_is(transfer: str) -> None:
    jobs = parse_jobs("io\none.raw\n/abs/two.raw\nsub/three.raw\n", "jobs.csv", Path("/data/jobs"))
    text = submit_description(recipe(), "kvm", files=BUILT, jobs=jobs, at=ELSEWHERE, transfer=transfer)
    given = [ad["TransferInput"].split(",")[1] for ad in jobs_of(text)]
    assert given == ["/data/jobs/one.raw", "/abs/two.raw", "/data/jobs/sub/three.raw"]
    assert [ad["TransferOutputRemaps"] for ad in jobs_of(text)][2] == "three.raw = three-7.2.raw"
    beside = submit_description(recipe(), "kvm", files=BUILT, jobs=jobs, at=Path("/data/jobs"), transfer=transfer)
    assert next(ad["TransferInput"].split(",")[1] for ad in jobs_of(beside)) == "one.raw"


def test_the_disks_of_jobs_of_a_published_image() -> None:
    released = [
        ReleaseFile(name, f"i/1/{name}", "disk", "raw", MiB, MiB, "0" * 64) for name in ("root.qcow2", "io.raw")
    ]
    jobs = parse_jobs("io\none.raw\n", "jobs.csv", Path("/data/jobs"))
    assert jobs.directory == Path("/data/jobs")
    text = describe.descriptions(ReleasedImage(recipe(), released, "/srv/images"), "kvm", at=ELSEWHERE).description
    assert jobs_of(text)[0]["TransferInput"] == "/srv/images/i/1/root.qcow2,/srv/images/i/1/io.raw"


def test_a_path_that_no_list_carries_is_refused() -> None:
    odd = type(BUILT)(Path("/my images/x"), BUILT.sizes)
    with pytest.raises(RecipeError, match="characters that HTCondor's list of files cannot carry"):
        submit_description(recipe(), "kvm", files=odd, at=ELSEWHERE)
    submit_description(recipe(), "kvm", files=odd, at=odd.directory)
    submit_description(recipe(), "kvm", files=odd, at=ELSEWHERE, transfer="osdf:///pool/i")


def test_a_pipe_gets_names_and_what_they_start_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "universe = vm\n"
    assert submission.told(text, tmp_path, None, "files") == text
    assert submission.told(text, tmp_path, tmp_path / "jobs.csv", "files") == text
    assert submission.told(text, Path("/images"), None, "shared") == text
    assert submission.told(text, Path("/images"), None, "osdf:///p") == text
    said = submission.told(text, Path("/images/a\nb"), Path("/data/jobs.csv"), "files")
    assert said.splitlines()[0].startswith("# The names of files start from /data and /images/a?b: submit there")
    assert said.endswith(text) and said.count("\n") == 2


def test_where_a_redirected_description_lies(tmp_path: Path) -> None:
    assert submission.place_of(tmp_path / "x/../job.sub") == tmp_path
    ask = "from roost.condor import submission; import sys; print(submission.place_of(None), file=sys.stderr)"
    with (tmp_path / "job.sub").open("w") as out:
        ran = subprocess.run([sys.executable, "-c", ask], stdout=out, stderr=subprocess.PIPE, text=True, check=True)
    assert ran.stderr.strip() == str(tmp_path)
    piped = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert piped.stderr.strip() == "None"
