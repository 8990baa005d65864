"""The verdicts of a run as JUnit XML, which CI services display: one test case per job.

A job that failed is a failure; one that did not run, or whose disk did not come back, is an error.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

from roost.host.safetext import xml
from roost.iodisk.look import LOG
from roost.run.model import Verdict
from roost.run.report import tail
from roost.run.result import Result

_TAGS: dict[Verdict, str] = {
    "failed": "failure", "killed": "failure", "unreadable": "error", "never started": "error", "held": "error",
}  # fmt: skip


def render(result: Result) -> bytes:
    """Return the result as a JUnit document in UTF-8."""
    root = ET.Element("testsuites", name="roost run", time=f"{result.seconds:.1f}")
    for image in dict.fromkeys(one.image for one in result.outcomes):
        chosen = [one for one in result.outcomes if one.image == image]
        suite = ET.SubElement(root, "testsuite", name=xml(image), tests=str(len(chosen)))
        suite.set("time", f"{sum(one.seconds or 0.0 for one in chosen):.1f}")
        for one in chosen:
            taken = f"{one.seconds or 0.0:.1f}"
            case = ET.SubElement(suite, "testcase", classname=xml(image), name=xml(one.name), time=taken)
            tag = _TAGS.get(one.verdict)
            if tag is not None:
                element = ET.SubElement(case, tag, message=xml(f"{one.verdict}: {one.reason}"), type=one.verdict)
                element.text = xml("\n".join(one.notes))
                if log := tail(one.output / LOG) if one.output else "":
                    ET.SubElement(case, "system-out").text = xml(log)
        for word, tag in (("failures", "failure"), ("errors", "error")):
            suite.set(word, str(len(suite.findall(f"testcase/{tag}"))))
    for word in ("tests", "failures", "errors"):
        root.set(word, str(sum(int(suite.get(word, "0")) for suite in root)))
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"
