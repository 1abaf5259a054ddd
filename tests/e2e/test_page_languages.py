"""The page in Spanish, in a language from right to left, and questions in other languages."""

import re
import shutil

import pytest
import yaml
from page_steps import FEVER, ask, newest, open_page, vetted
from playwright.sync_api import expect

from chatbot.page.words import SHIPPED

pytestmark = pytest.mark.e2e
PROJECT = SHIPPED.parents[2]
FIEBRE = "¿Cuándo debo ir al médico por una fiebre?"


def pregunta(page, question):
    page.get_by_label("Su pregunta").fill(question)
    page.get_by_role("button", name="Preguntar", exact=True).click()


def test_the_whole_page_turns_spanish_and_back(page, verbatim):
    open_page(page, verbatim.url)
    ask(page, FEVER)
    expect(vetted(page)).to_be_visible()
    page.get_by_role("button", name="Español").click()
    expect(page.locator("html")).to_have_attribute("lang", "es")
    expect(page.get_by_text("Esto es un programa (una IA)")).to_be_visible()
    expect(page.get_by_role("link", name="Emergencia: llame al 911")).to_be_visible()
    for name in ("Preguntar", "Detener", "Imprimir o guardar", "Borrar y terminar"):
        expect(page.get_by_role("button", name=name)).to_be_visible()
    expect(page.locator("#newest")).to_contain_text("Fever in adults")
    pregunta(page, FIEBRE)
    expect(vetted(page).get_by_role("heading", level=2)).to_have_text("Fiebre en adultos")
    expect(vetted(page).get_by_role("heading", name="Cuándo buscar ayuda")).to_be_visible()
    expect(newest(page).get_by_role("group", name="¿Le sirvió esta respuesta?")).to_be_visible()
    page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(vetted(page).get_by_role("heading", level=2)).to_have_text("Fiebre en adultos")


def test_a_spanish_question_on_the_english_page_is_answered_in_spanish(page, verbatim):
    open_page(page, verbatim.url)
    ask(page, FIEBRE)
    expect(newest(page).locator("article")).to_have_attribute("lang", "es")
    expect(vetted(page)).to_contain_text("De las respuestas de la clínica")
    page.get_by_role("navigation", name="Preguntas relacionadas").get_by_role("button", name="Fiebre en niños").click()
    expect(vetted(page).get_by_role("heading", level=2)).to_have_text("Fiebre en niños")


def test_a_spanish_red_flag_fires_on_the_english_page(page, verbatim):
    open_page(page, verbatim.url)
    ask(page, "me duele mucho el pecho y el brazo izquierdo")
    expect(newest(page).get_by_role("alert")).to_contain_text("Llame al 911 ahora.")


def test_a_language_without_answers_is_told_so_in_that_language(page, verbatim):
    open_page(page, verbatim.url)
    ask(page, "Quand dois-je voir un médecin pour une fièvre ?")
    expect(newest(page)).to_contain_text("Pour parler à une personne, appelez le 202-555-0142.")
    expect(newest(page).locator("article")).to_have_attribute("lang", "fr")


def test_the_spanish_sheet_is_spanish(page, verbatim):
    open_page(page, verbatim.url)
    page.get_by_role("button", name="Español").click()
    pregunta(page, FIEBRE)
    expect(vetted(page)).to_be_visible()
    page.get_by_role("button", name="Imprimir o guardar").click()
    expect(page.get_by_role("heading", name="Su hoja para llevar")).to_be_visible()
    expect(page.locator("#sheet")).to_contain_text("¿Qué puedo hacer en casa?")


@pytest.fixture(scope="module")
def mirrored(serve, tmp_path_factory):
    """Return a server that offers a made-up language: English letters turned into Hebrew ones, right to left."""
    folder = tmp_path_factory.mktemp("mirrored") / "knowledge"
    shutil.copytree(PROJECT / "knowledge", folder)
    for topic in (folder / "answers").iterdir():
        if topic.name not in ("fever", "colds", "our-clinic"):
            shutil.rmtree(topic)  # a small index is made soon
    words = yaml.safe_load((SHIPPED / "en.yaml").read_text(encoding="utf-8"))
    pseudo = {key: words[key] if key in ("direction", "little_words") else turned(str(words[key])) for key in words}
    (folder / "languages").mkdir()
    own = yaml.safe_dump(pseudo | {"direction": "rtl"}, allow_unicode=True)
    (folder / "languages" / "qps.yaml").write_text(own, encoding="utf-8")
    clinic = yaml.safe_load((folder / "clinic.yaml").read_text(encoding="utf-8"))
    clinic["languages"] = ["en", "qps"]
    clinic["translations"] = {"qps": clinic["translations"]["es"]}
    (folder / "clinic.yaml").write_text(yaml.safe_dump(clinic, allow_unicode=True), encoding="utf-8")
    shutil.move(folder / "texts.es.yaml", folder / "texts.qps.yaml")
    shutil.move(folder / "safety" / "es", folder / "safety" / "qps")
    return serve(mode="verbatim", knowledge=str(folder))


def turned(phrase: str) -> str:
    """Return the phrase in Hebrew letters, what stands in braces kept."""
    parts = re.split(r"(\{[a-z_]+\})", phrase)
    hebrew = "אבגדהוזחטיכלמנסעפצקרשת"
    return "".join(
        part
        if part.startswith("{")
        else "".join(hebrew[(ord(c.lower()) - 97) % 22] if c.isascii() and c.isalpha() else c for c in part)
        for part in parts
    )


def test_a_language_from_right_to_left_mirrors_the_page(page, mirrored):
    page.set_viewport_size({"width": 360, "height": 740})
    open_page(page, mirrored.url)
    expect(page.locator("#announce [role=status]")).to_be_attached()
    page.locator(".languages button").last.click()
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    field = page.locator("#question textarea")
    field.fill(FEVER)
    field.press("Enter")
    expect(vetted(page)).to_be_visible()
    expect(newest(page).locator("article")).to_have_attribute("dir", "ltr")  # an English answer to an English question
    ask_button, box = page.locator("#send").bounding_box(), field.bounding_box()
    assert ask_button["x"] < box["x"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # Every word of the page itself comes from the words file: no English letter is left in its own labels.
    labels = page.evaluate(
        """() => ['#send', '#stop', '#clear', '#keep', '#question label span', '#examples', '#start .topics > summary']
        .map((place) => document.querySelector(place)?.innerText ?? place).join(' ')"""
    )
    assert re.findall(r"[A-Za-z]+", labels) == []
