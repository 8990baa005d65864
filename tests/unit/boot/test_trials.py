"""What is tried beside the boot of a domain of Xen."""

from __future__ import annotations

import asyncio
from typing import Any

from roost.boot import trials, xen_session
from roost.boot.console import SERIAL, Console
from roost.recipe import loader
from tests.publish import lab


def test_the_eviction_of_a_domain_is_tried_where_it_is_asked_for() -> None:
    recipe = loader.load("debian-12", lab.PROJECT).recipe
    assert trials.wanted(recipe, None).evict
    assert not trials.wanted(recipe, None, domain=True).evict
    asked = trials.wanted(recipe, evict=True, domain=True)
    assert (asked.evict, asked.must_obey) == (True, True)


def test_a_saved_domain_is_not_a_checkpoint_of_htcondors() -> None:
    recipe = loader.load("debian-12", lab.PROJECT).recipe
    submit = recipe.submit.model_copy(update={"checkpoint": True})
    checkpointed = recipe.model_copy(update={"submit": submit})
    assert trials.wanted(checkpointed, None).checkpoint
    assert not trials.wanted(checkpointed, None, domain=True).checkpoint


def test_a_domain_that_is_resumed_is_not_started_again() -> None:
    session = xen_session.Resumed(None, Console(SERIAL), Console(xen_session.TOOLS))
    told: list[Any] = []

    async def tell(message: Any) -> None:
        told.append(message)

    session.tell = tell  # type: ignore[method-assign]
    asyncio.run(session.resume())
    assert session.running
    assert told == []
    asyncio.run(session.power_button())
    assert told == [{"do": "shutdown"}]
