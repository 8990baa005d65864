"""The result as JUnit XML, which CI services display: a test case for each step of each image.

The format is the subset that all of them accept: testsuites, testsuite, testcase, with failure, error or skipped. A
faulty image is a failure; a wrong recipe, a problem of the host, or a step that an interruption prevented, is an error.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

from roost.factory.graph import STEPS
from roost.factory.outcome import FAULTS, HOST, IMAGE, Failure, Image, Outcome, Result
from roost.host.safetext import xml


def render(result: Result) -> bytes:
    """Return the result as a JUnit document in UTF-8."""
    root = ET.Element("testsuites", name="roost factory", time=f"{result.seconds:.1f}")
    for image in result.images:
        root.append(_suite(image, result.title(image)))
    for word in ("tests", "failures", "errors", "skipped"):
        root.set(word, str(sum(int(suite.get(word, "0")) for suite in root)))
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _suite(image: Image, title: str) -> ET.Element:
    suite = ET.Element("testsuite", name=xml(title), time=f"{image.seconds:.1f}")
    if image.broken is not None:
        _case(suite, title, "recipe", Outcome("failed", failure=image.broken))
    for kind, step in image.steps.items():
        _case(suite, title, STEPS[kind], step)
    suite.set("tests", str(len(suite)))
    for word, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(word, str(len(suite.findall(f"testcase/{tag}"))))
    return suite


def _case(suite: ET.Element, title: str, name: str, step: Outcome) -> None:
    case = ET.SubElement(suite, "testcase", classname=xml(title), name=xml(name), time=f"{step.seconds:.1f}")
    failure = step.failure
    if step.state == "failed":
        failure = failure or Failure("failed")
        tag = "failure" if failure.code == IMAGE else "error"
        fault = FAULTS.get(failure.code, FAULTS[HOST])
        element = ET.SubElement(case, tag, message=xml(failure.brief), type=fault)
        element.text = xml(
            "\n".join([failure.text, failure.tail, f"log: {failure.log}" if failure.log else ""]).strip()
        )
    elif step.state == "skipped":
        ET.SubElement(case, "skipped", message=xml(failure.brief if failure else "not reached"))
    elif step.state == "stopped":
        # Not skipped: a CI service that reads only this file would take the run for a success.
        ET.SubElement(case, "error", message="not run: the factory was interrupted", type="interrupted")
    details = [str(one["detail"]) for one in step.facts.get("verdicts", ())]
    if step.facts.get("url"):
        details.append(f"{step.facts['url']}")
    if details or step.notes:
        ET.SubElement(case, "system-out").text = xml("\n".join([*details, *step.notes]))
