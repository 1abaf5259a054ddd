"""The clinic's own look: contrast, logo, and nothing unreadable or foreign on the page."""

import re
from dataclasses import replace

import pytest
from pydantic import ValidationError

from chatbot.look import DARK, LIGHT, Colours, Look, contrast, logo_address, look_problems, look_style
from chatbot.page.frame import top_html
from chatbot.page.ui import CSS
from chatbot.page.words import shipped_words

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [
        ("#000000", "#ffffff", 21.0),
        ("#ffffff", "#ffffff", 1.0),
        ("#777777", "#ffffff", 4.48),
        ("#767676", "#ffffff", 4.54),
    ],
)
def test_contrast_is_that_of_the_web_content_accessibility_guidelines(one, other, ratio):
    assert contrast(one, other) == pytest.approx(ratio, abs=0.01)
    assert contrast(other, one) == contrast(one, other)


def test_the_colours_that_are_checked_are_those_of_the_page():
    for place, colours in ((r":root", LIGHT), (r"\.dark", DARK)):
        block = re.search(rf"^{place} \{{(.*?)\}}", CSS, re.DOTALL | re.MULTILINE).group(1)
        for name, colour in colours.items():
            assert f"--{name}: {colour};" in block


def test_the_pages_own_colours_are_easy_to_read(tmp_path):
    shipped = [Colours(accent=page["accent"], background=page["paper"]) for page in (LIGHT, DARK)]
    assert list(look_problems(Look(light=shipped[0], dark=shipped[1]), tmp_path)) == []


def test_colours_that_are_hard_to_read_are_told_and_not_used(tmp_path):
    look = Look(light=Colours(accent="#ffcc00"), dark=Colours(accent="#ffcc00"))
    told = [str(problem) for problem in look_problems(look, tmp_path)]
    assert told and all(line.startswith("clinic.yaml: look.light: ") for line in told)
    assert "the accent on the background has a contrast of only 1.4" in told[0]
    assert look_style(look) == ".dark{--accent:#ffcc00;}"


@pytest.mark.parametrize("colour", ["red", "#fff", "#12345g", "#000000;}body{display:none", "url(//evil)"])
def test_a_colour_is_six_digits_and_nothing_else(colour):
    with pytest.raises(ValidationError):
        Colours(accent=colour)


@pytest.mark.parametrize("logo", ["../secret.png", "/etc/passwd", "a/b.png", ".hidden.png"])
def test_a_logo_lies_beside_the_clinic_file(logo):
    with pytest.raises(ValidationError):
        Look(logo=logo)


def test_a_logo_is_part_of_the_page_itself(tmp_path, small_knowledge):
    (tmp_path / "logo.png").write_bytes(b"\x89PNG")
    clinic = small_knowledge.clinic.model_copy(update={"look": Look(logo="logo.png", light=Colours(accent="#7a0b5c"))})
    html = top_html(replace(small_knowledge, root=tmp_path, clinic=clinic), shipped_words(), "en", idle_s=0)
    assert '<img class="logo" src="data:image/png;base64,iVBORw==" alt="">' in html
    assert "<style>:root{--accent:#7a0b5c;}</style>" in html


@pytest.mark.parametrize(
    ("name", "size", "told"),
    [
        ("logo.exe", 4, "must be one of"),
        ("none.png", 0, "there is no file"),
        ("logo.png", 200_001, "is larger than 200 kB"),
    ],
)
def test_a_logo_that_cannot_be_shown_is_told_and_left_out(tmp_path, name, size, told):
    if size:
        (tmp_path / name).write_bytes(b"x" * size)
    look = Look(logo=name)
    assert told in str(next(look_problems(look, tmp_path)))
    assert logo_address(look, tmp_path) == ""
