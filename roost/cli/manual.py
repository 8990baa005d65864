"""Help texts of each task besides its flags: its group, its words, and examples that run.

The groups are in the order in which a user meets them. docs and `roost help` are generated from this table.
"""

from __future__ import annotations

from dataclasses import dataclass

BUILD = "Make an image"
RUN = "Run jobs on it"
PUBLISH = "Publish it"
HOST = "Look after the host and the project"
GROUPS = (BUILD, RUN, PUBLISH, HOST)


@dataclass(frozen=True, slots=True)
class Page:
    """A task's page: its group, the words that follow it, a line, and examples as (words of the call, what it does)."""

    group: str
    words: str
    summary: str
    examples: tuple[tuple[str, str], ...]


PAGES: dict[str, Page] = {
    "new": Page(
        BUILD,
        "NAME",
        "write a commented recipe to start from",
        (
            ("new sim", "recipes/sim.yaml and the program of its job"),
            ("new ./my/sim.yaml --distribution debian-13 --io 1GiB", "anywhere, with choices of your own"),
        ),
    ),
    "recipes": Page(
        BUILD,
        "[PATH...]",
        "list the recipes and the state of each image",
        (
            ("recipes", "all recipes of this project, and the state of each image"),
            ("recipes ./my", "those of a directory"),
        ),
    ),
    "check": Page(
        BUILD,
        "[NAME...]",
        "check recipes, kernels and submit descriptions; builds nothing",
        (
            ("check", "all recipes, in a second or two"),
            ("check debian-12 --resolved", "each value of the final recipe, with the line it comes from"),
            ("check debian-12 --set machine.memory=2GiB", "with another value"),
        ),
    ),
    "schema": Page(
        BUILD,
        "",
        "print the JSON schema of recipes, for editors",
        (("schema -o recipes/schema.json", "the schema for an editor's YAML support"),),
    ),
    "kernels": Page(
        BUILD,
        "[NAME] | --extract IMAGE DIR",
        "list the kernels, or extract one from an image",
        (
            ("kernels", "the kernels that recipes can use"),
            ("kernels --extract disk.qcow2 out/", "the kernel and initrd of an existing image"),
        ),
    ),
    "build": Page(
        BUILD,
        "NAME",
        "build the image and its submit files",
        (
            ("build debian-12", "the image, in build/debian-12/"),
            ("build ./my/sim.yaml", "a recipe anywhere: the image is in my/build/sim/"),
            ("build debian-12 --set machine.memory=2GiB", "with another value"),
        ),
    ),
    "boot": Page(
        BUILD,
        "NAME|FILE.sub",
        "test boot an image as HTCondor would run it",
        (
            ("boot debian-12", "test boot, as HTCondor would run it"),
            ("boot debian-12 --hypervisor xen", "on a real Xen, on a machine without one"),
            ("boot debian-12 --interactive", "a console on this terminal; changes are thrown away"),
            ("boot job.sub", "the disks of any submit description"),
        ),
    ),
    "shell": Page(
        BUILD,
        "NAME",
        "a root shell in a throw-away guest of the image",
        (
            ("shell debian-12", "what is changed there is thrown away"),
            ("shell debian-12 --in data/ --out results", "data/ is in $ROOST_INPUT; $ROOST_OUTPUT becomes results/"),
            ("shell debian-12 --out /etc/fstab:results", "a path of the guest comes out too"),
        ),
    ),
    "ssh": Page(
        BUILD,
        "NAME [-- COMMAND...]",
        "log in by ssh to a throw-away guest of the image, whose system starts",
        (
            ("ssh debian-12", "what is changed there is thrown away; the image needs openssh-server"),
            ("ssh debian-12 --user job -- ls -l /opt/job", "a command, and its exit status"),
            ("ssh debian-12 -- 'systemctl --failed | cat'", "one word is a line for the guest's shell"),
        ),
    ),
    "packages": Page(
        BUILD,
        "NAME[@VERSION]",
        "list the packages in an image",
        (
            ("packages debian-12", "name, version and architecture, from the image's own database"),
            ("packages debian-12@VERSION --from /srv/images", "those of a published version"),
        ),
    ),
    "diff": Page(
        BUILD,
        "A [B]",
        "show what differs between two images: packages, files, sizes, submit lines",
        (
            ("diff debian-12 debian-13", "two builds; exits 1 where something differs"),
            ("diff debian-12", "the build, and what the recipe would build now"),
            ("diff debian-12 --from /srv/images", "what is published, and the build here"),
        ),
    ),
    "lock": Page(
        BUILD,
        "NAME",
        "write NAME.lock: exact packages and sources, to build the same again",
        (
            ("lock debian-12", "recipes/debian-12.lock"),
            ("lock debian-12 --update", "what changed since: package, old, new"),
            ("build debian-12 --locked", "exactly that, or an error that says what is gone"),
        ),
    ),
    "repro": Page(
        BUILD,
        "NAME",
        "build twice in different surroundings and compare each file",
        (("repro smoke", "the same bytes, or where they differ"),),
    ),
    "run": Page(
        RUN,
        "NAME --jobs FILE DIR",
        "run many jobs, here, in a pool or as a DAG, and collect the results",
        (
            ("run debian-12 --jobs jobs.csv out/ --local 2", "here, two guests at a time"),
            ("run debian-12 --jobs jobs.csv out/", "in the pool of this access point"),
            ("run --jobs sweep.yaml out/ --local 2", "a sweep that names the images itself"),
            ("run --resume out/", "resume it where it was stopped"),
            ("run debian-12 --jobs jobs.csv --dag out/", "write a DAG, for condor_submit_dag out/run.dag"),
        ),
    ),
    "submit": Page(
        RUN,
        "NAME",
        "print the submit description that fits the image",
        (
            ("submit debian-12 --snippet", "only the lines for your own submit description"),
            ("submit debian-12 --jobs jobs.csv -o jobs.sub", "one job for each row"),
            ("submit debian-12 --from /srv/images", "the lines for a published image"),
            ("submit debian-12 --set submit.avoid=[node17]", "with other keys, as far as the image stays the same"),
        ),
    ),
    "io": Page(
        RUN,
        "NAME [INPUT...]",
        "make a job's io disk",
        (
            ("io debian-12 run.cfg data/ -o io.raw", "a disk with the file and what is in data/"),
            ("io debian-12 --jobs jobs.csv", "a disk for each row"),
        ),
    ),
    "collect": Page(
        RUN,
        "DISK... DIR",
        "extract status, log and output from io disks that came back",
        (("collect io-*.raw results/", "a verdict for each disk; status, log and output in results/"),),
    ),
    "lint": Page(
        RUN,
        "FILE|-",
        "show what HTCondor would do with a submit description",
        (
            ("lint old.sub", "what HTCondor would do with it, and why"),
            ("lint - < old.sub", "the same, from standard input"),
            ("lint node.sub --set serial=001 --set io=a.raw", "with what DAGMan's VARS would set"),
            ("lint --dag work.dag", "the description of each node of a workflow, and the DAG file itself"),
        ),
    ),
    "explain": Page(
        RUN,
        "TEXT...|FILE|-",
        "explain a hold reason or a job log, with the fix",
        (
            ("explain VMGAHP_ERR_INTERNAL", "a hold reason or an error, in plain words, with the fix"),
            ("explain job.log", "each job of an event log"),
        ),
    ),
    "publish": Page(
        PUBLISH,
        "NAME",
        "build and boot what is stale, then publish what passed",
        (
            ("publish debian-12 --to /srv/images", "build and boot what is stale, then publish"),
            ("publish debian-12 --to s3://bucket/images", "to S3; also sftp:// and other URLs of fsspec"),
        ),
    ),
    "verify": Page(
        PUBLISH,
        "URL",
        "verify sums, signatures and verdicts of what is published",
        (
            ("verify /srv/images", "sums, signatures and verdicts of all that is published"),
            ("verify /srv/images/debian-12 --key me.pub", "with a key that you trust"),
        ),
    ),
    "catalogue": Page(
        PUBLISH,
        "",
        "list what is published; write its web page",
        (
            ("catalogue --from /srv/images", "images, versions, verdicts"),
            ("catalogue --from /srv/images --html site/", "the web page"),
        ),
    ),
    "factory": Page(
        PUBLISH,
        "[NAME...]",
        "build, boot and publish many images",
        (
            ("factory --junit junit.xml --markdown summary.md", "all recipes, for a CI job"),
            ("factory debian-12 debian-13 --publish /srv/images --keep 3", "publish what passed"),
            ("factory --changed-since origin/main", "only images of which an input changed"),
            ("factory --publish /srv/images --dag nightly/", "the same work as an HTCondor workflow"),
        ),
    ),
    "gc": Page(
        PUBLISH,
        "[URL]",
        "remove what nothing needs from the cache or a catalogue",
        (
            ("gc", "what would be removed from the cache: a dry run"),
            ("gc /srv/images --keep 3 --delete", "all but three versions of each image"),
        ),
    ),
    "doctor": Page(
        HOST,
        "",
        "show what this host can do, and how to fix what it lacks",
        (("doctor", "what this host can do, and how to fix what is missing"),),
    ),
    "probe": Page(
        HOST,
        "",
        "check whether this execution point really starts VMs",
        (
            ("probe", "whether a guest starts through this machine's libvirt, and why not"),
            ("probe --advertise", "as ClassAd attributes for STARTD_CRON"),
            ("probe --install /srv/roost-probe", "the script and its guest, for machines without roost"),
        ),
    ),
    "test": Page(
        HOST,
        "[-- WORD...]",
        "run the project's tests",
        (
            ("test", "the checks of the code, the unit tests, real builds and boots"),
            ("test --unit", "without builds and boots: two to three minutes"),
            ("test -- tests/unit/cli -k help", "arguments for pytest"),
        ),
    ),
    "check-code": Page(
        HOST, "", "run the checks of the code", (("check-code", "ruff, mypy, imports, shellcheck, codespell, docs"),)
    ),
    "bench": Page(
        HOST,
        "",
        "measure what a build costs",
        (("bench --rounds 5 --chart bench.svg", "what a build costs, beside mmdebstrap and mkosi"),),
    ),
}
