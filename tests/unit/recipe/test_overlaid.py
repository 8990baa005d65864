"""`--set` over a recipe that is no file, and which keys leave the image as it is."""

from __future__ import annotations

import pytest

from roost.errors import RecipeError
from roost.recipe.overlaid import image_of, of_the_image, overlaid
from tests.unit.submitting import recipe


def test_a_published_recipe_stays_itself_with_nothing_laid_over_it() -> None:
    assert overlaid(recipe(), []) == recipe()


def test_values_are_laid_over_a_recipe() -> None:
    made = overlaid(recipe(), ["submit.avoid=[a.b.org]", "machine.memory=2GiB", "submit.margin=1h"])
    assert made.submit.avoid == ("a.b.org",)
    assert made.submit.returns == ("io",)
    assert (made.machine.memory, made.submit.margin) == (2 << 30, 3600)
    assert image_of(made) == image_of(recipe())


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("submit.avoid=[a b]", "not a host's name"),
        ("submit.nope=1", "unknown key"),
        ("submit.return=[nope]", "nope"),
        ("nonsense", "needs key=value"),
        ("disks.7.size=1GiB", "the list has no '7'"),
    ],
)
def test_mistakes_name_the_setting(setting: str, reason: str) -> None:
    with pytest.raises(RecipeError) as caught:
        overlaid(recipe(), [setting])
    assert any(reason in str(problem) and "--set" in str(problem) for problem in caught.value.problems)


def test_which_keys_are_of_the_image() -> None:
    sets = ["submit.avoid=[a]", "machine.memory=1GiB", "machine.network=nat", "submit=x", "submitted=1", "name=x"]
    assert of_the_image(sets) == ["machine.network=nat", "submitted=1", "name=x"]
    assert image_of(recipe(machine={"network": "nat"})) != image_of(recipe())
    assert image_of(recipe(description="other", submit={})) == image_of(recipe())
