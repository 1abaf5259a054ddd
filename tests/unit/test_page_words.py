"""The page's words: complete in every language that ships, and a clinic's own file checked."""

import pytest
import yaml

from chatbot.page.words import SHIPPED, fill, shipped_words, words_for
from chatbot.reply import Outcome

pytestmark = pytest.mark.unit


def own_file(root, **changes):
    words = yaml.safe_load((SHIPPED / "en.yaml").read_text(encoding="utf-8")) | changes
    (root / "languages").mkdir(exist_ok=True)
    (root / "languages" / "xx.yaml").write_text(yaml.safe_dump(words), encoding="utf-8")


def test_every_shipped_language_has_every_phrase_with_its_placeholders(tmp_path):
    for code in shipped_words():
        (tmp_path / "languages").mkdir(exist_ok=True)
        (tmp_path / "languages" / f"{code}.yaml").write_bytes((SHIPPED / f"{code}.yaml").read_bytes())
    problems = []
    assert list(words_for(["en", "es"], tmp_path, problems)) == ["en", "es"]
    assert problems == []


def test_spanish_repeats_no_english_phrase():
    english, spanish = (shipped_words()[code].model_dump() for code in ("en", "es"))
    same = [key for key in english if english[key] == spanish[key]]
    assert same == ["direction", "helpful_no"]


def test_every_outcome_has_a_heading():
    words = shipped_words()["es"]
    assert len({words.heading(outcome) for outcome in Outcome}) == len(Outcome)


def test_a_clinics_own_language_is_offered(tmp_path):
    own_file(tmp_path, name="Own", direction="rtl")
    found = words_for(["xx", "en"], tmp_path, [])
    assert [words.name for words in found.values()] == ["Own", "English"]
    assert found["xx"].direction == "rtl"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"waiting_many": "many before you"}, "languages/xx.yaml: waiting_many: must hold {n}"),
        ({"ask": 5}, "languages/xx.yaml: ask: must be text"),
        ({"aks": "x"}, "languages/xx.yaml: aks: is not a known key"),
        ({"direction": "up"}, "languages/xx.yaml: direction: must be one of"),
    ],
)
def test_a_broken_own_language_is_told_and_not_offered(tmp_path, changes, told):
    own_file(tmp_path, **changes)
    problems = []
    assert list(words_for(["xx"], tmp_path, problems)) == ["en"]
    assert any(str(problem).startswith(told) for problem in problems)


def test_a_language_without_words_is_told(tmp_path):
    problems = []
    assert list(words_for(["English"], tmp_path, problems)) == ["en"]
    assert "names 'English', which has no words" in str(problems[0])


def test_what_is_no_placeholder_stays():
    assert fill("{n} of {", n=3) == "3 of {"
