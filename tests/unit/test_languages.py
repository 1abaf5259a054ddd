"""More languages than one: files, red flags, answers, and what is said where there are none."""

import shutil
from dataclasses import replace

import pytest
import yaml
from fakes import CLINIC, SHIPPED_KNOWLEDGE, FixedRetriever, WordGate, answer

from chatbot.errors import KnowledgeError, Problem
from chatbot.knowledge import Knowledge, load_knowledge
from chatbot.knowledge_forms import ClinicWords
from chatbot.pipeline import Finished, Pipeline
from chatbot.reply import Outcome
from chatbot.retrieval.language import language_of
from chatbot.retrieval.retriever import Decision
from chatbot.retrieval.translated import WordRetriever
from chatbot.safety.gate import SafetyGate
from chatbot.safety.languages import GateOfLanguages
from chatbot.safety.rules import load_rules
from chatbot.staff.check_safety import example_problems

pytestmark = pytest.mark.unit

SPANISH = ClinicWords(hours="siempre", reach_a_person="Llame al 202-555-0100.", welcome="Pregunte.")
FIEBRE = answer(
    "fever/adults", "La fiebre es de 38 °C o más. Descanse.\n\n## Cuándo buscar ayuda\n\n- Llame.", title="Fiebre"
).model_copy(update={"questions": ("¿Qué es la fiebre?",)})


@pytest.fixture
def folder(tmp_path):
    """Return a knowledge folder with one English answer and its Spanish translation."""
    for name in ("clinic.yaml", "texts.yaml", "texts.es.yaml", "answers/fever/adults.md", "answers/fever/adults.es.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SHIPPED_KNOWLEDGE / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def pipeline(small_knowledge):
    clinic = CLINIC.model_copy(update={"languages": ("en", "es"), "translations": {"es": SPANISH}})
    texts = small_knowledge.texts.model_copy(update={"other_languages": {"fr": "Pas de réponses. 202-555-0100."}})
    own = clinic.in_language("es").model_copy(update={"languages": ("es",)})
    spanish_texts = texts.model_copy(update={"no_answer": "No hay respuesta.", "greetings": ()})
    spanish = Knowledge(small_knowledge.root, own, spanish_texts, {FIEBRE.id: FIEBRE})
    knowledge = replace(small_knowledge, clinic=clinic, texts=texts, translations={"es": spanish})
    gate = WordGate()
    sub = Pipeline(spanish, gate, WordRetriever(spanish.answers, "es"), None, None)
    english = FixedRetriever(Decision("answered", ("fever/adults",), ("fever/adults",)))
    told = {"¿Qué es la fiebre?": "es", "Qu'est-ce que la fièvre ?": "fr", "发烧怎么办": "zh", "What is a fever?": "en"}
    return Pipeline(knowledge, gate, english, None, None, translated={"es": sub}, language_of=told.get)


def reply_to(pipeline, question, **options):
    events = list(pipeline.ask(question, mode="verbatim", **options))
    return next(event.reply for event in events if isinstance(event, Finished))


def test_a_translation_is_read_beside_its_answer_with_the_clinics_words_filled_in(folder):
    knowledge = load_knowledge(folder)
    assert list(knowledge.answers) == ["fever/adults"]
    spanish = knowledge.in_language("es")
    assert spanish.answers["fever/adults"].title == "Fiebre en adultos"
    assert "202-555-0142" in spanish.answers["fever/adults"].text
    assert "lunes a viernes" in spanish.texts.safety_failure
    assert spanish.clinic.phone == knowledge.clinic.phone
    assert knowledge.in_language("xx") is knowledge


def test_a_broken_translation_is_told_and_hides_nothing_else(folder):
    (folder / "answers/fever/adults.es.md").write_text("no head")
    knowledge = load_knowledge(folder)
    assert "answers/fever/adults.es.md" in [problem.path for problem in knowledge.problems]
    assert list(knowledge.answers) == ["fever/adults"] and not knowledge.in_language("es").answers


def test_a_language_without_its_fixed_texts_is_told_and_left_out_or_as_it_was(folder):
    before = load_knowledge(folder)
    (folder / "texts.es.yaml").unlink()
    assert "texts.es.yaml" in [problem.path for problem in load_knowledge(folder).problems]
    assert load_knowledge(folder).translations == {}
    assert load_knowledge(folder, previous=before).translations == before.translations


def test_a_language_that_the_clinic_names_needs_its_words(folder):
    clinic = yaml.safe_load((folder / "clinic.yaml").read_text(encoding="utf-8"))
    (folder / "clinic.yaml").write_text(yaml.safe_dump(clinic | {"translations": {}}))
    with pytest.raises(KnowledgeError, match="translations has no es"):
        load_knowledge(folder)


def test_reviewed_only_holds_for_translations_too(folder):
    assert load_knowledge(folder, reviewed_only=True).in_language("es").answers == {}


def test_a_question_is_answered_in_its_own_language_whatever_the_page_is_in(pipeline):
    reply = reply_to(pipeline, "¿Qué es la fiebre?")
    assert (reply.outcome, reply.language) == (Outcome.ANSWERED, "es")
    assert "Descanse." in reply.text
    assert reply_to(pipeline, "What is a fever?", language="es").text.startswith("A fever is")


def test_where_the_language_cannot_be_told_the_pages_own_counts(pipeline):
    assert reply_to(pipeline, "fiebre", language="es").language == "es"
    assert reply_to(pipeline, "fiebre").language == "en"


def test_a_language_without_answers_is_told_so_in_that_language_with_the_phone(pipeline):
    reply = reply_to(pipeline, "Qu'est-ce que la fièvre ?")
    assert (reply.outcome, reply.text, reply.language) == (
        Outcome.NO_ANSWER, "Pas de réponses. 202-555-0100.", "fr",
    )  # fmt: skip
    assert reply_to(pipeline, "发烧怎么办").text == "The answers do not cover this.\nCall 202-555-0100."
    assert reply_to(pipeline, "发烧怎么办", language="es").text == "No hay respuesta."


def test_the_languages_of_a_reply_and_its_support_stay_out_of_the_contract(pipeline):
    assert "language" not in reply_to(pipeline, "¿Qué es la fiebre?").as_json()


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("¿Cuándo debo ir al médico por una fiebre?", "es"),
        ("When should I see a doctor about a fever?", "en"),
        ("Quand dois-je voir un médecin pour une fièvre ?", "fr"),
        ("发烧了应该什么时候看医生？", "zh"),
        ("fiebre", None),
        ("ok", None),
        ("", None),
        ("12345", None),
    ],
)
def test_a_language_is_named_only_when_it_is_clear(message, code):
    assert language_of(message) == code


@pytest.mark.parametrize("message", ["How do I walk a zebra?", "can Advair and Spiriva be taken together"])
def test_one_everyday_english_word_outweighs_rare_names(message):
    assert language_of(message) == "en"


def test_no_english_acceptance_question_is_taken_for_another_language():
    rows = yaml.safe_load((SHIPPED_KNOWLEDGE / "checks.yaml").read_text(encoding="utf-8"))
    assert [row["question"] for row in rows if language_of(row["question"]) not in ("en", None)] == []


def spanish_gate():
    problems: list[Problem] = []
    clinic = load_knowledge(SHIPPED_KNOWLEDGE).clinic.in_language("es")
    gate = SafetyGate(load_rules(SHIPPED_KNOWLEDGE, clinic, problems, language="es"), None)
    assert problems == []
    return gate


def test_every_spanish_example_comes_out_as_its_file_says():
    assert list(example_problems(spanish_gate())) == []


def test_spanish_red_flags_fire_with_the_spanish_card_on_a_page_in_any_language():
    spanish = spanish_gate()
    gate = GateOfLanguages(spanish, "en", {"es": spanish}, language_of)
    verdict = gate.check("me duele mucho el pecho y el brazo izquierdo")
    assert verdict.outcome is Outcome.EMERGENCY and verdict.text.startswith("**Llame al 911 ahora.**")
    assert gate.check("quiero morirme").outcome is Outcome.CRISIS
    assert gate.check("quiero morirme, what should I do?").outcome is Outcome.CRISIS


def test_spanish_rules_fire_on_no_english_acceptance_question():
    gate = spanish_gate()
    rows = yaml.safe_load((SHIPPED_KNOWLEDGE / "checks.yaml").read_text(encoding="utf-8"))
    assert [row["question"] for row in rows if gate.check(row["question"])] == []


def test_a_language_without_safety_rules_cannot_be_served(folder):
    problems: list[Problem] = []
    rules = load_rules(folder, load_knowledge(folder).clinic, problems, language="es")
    assert not rules.usable and problems[0].path == "safety/es/language.yaml"
