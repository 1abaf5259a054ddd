"""``healthfaq eval``: what is measured, and that its gate turns red for each kind of damage."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import CLINIC, SHIPPED_KNOWLEDGE, TEXTS, ScriptedWriter
from retrieval_fakes import FEVER, HOURS, PINK_EYE, PRESSURE, SYNONYMS, TYLENOL, CountingEmbedder

from chatbot.commands.evaluation import evaluation as evaluation_command
from chatbot.energy import Energy, EnergyMeter, rapl_counters
from chatbot.errors import KnowledgeError, SettingsError
from chatbot.evaluation.compare import compare, kept_form, read_report
from chatbot.evaluation.limits import Limit, limits_of
from chatbot.evaluation.measure import Evaluation, Subject, evaluate
from chatbot.evaluation.page import report_page
from chatbot.evaluation.rates import Rate
from chatbot.evaluation.safety import read_set_aside
from chatbot.evaluation.steadiness import rewordings
from chatbot.evaluation.texts import is_supported, swapped_pairs
from chatbot.grounding.checker import SentenceVerdict
from chatbot.knowledge import AcceptanceQuestion, Answer, Knowledge
from chatbot.pipeline import Pipeline
from chatbot.prompting import Passage
from chatbot.retrieval.decision import Thresholds
from chatbot.retrieval.index import open_index
from chatbot.retrieval.retriever import Retriever
from chatbot.safety.gate import SafetyGate
from chatbot.safety.rules import RuleBook, load_rules
from chatbot.settings import CheckSettings, EvalSettings

pytestmark = pytest.mark.unit
ANSWERS = (FEVER, PRESSURE, TYLENOL, PINK_EYE, HOURS)
CHECKS = (
    *(AcceptanceQuestion(question=question, expect=one.id) for one in ANSWERS for question in one.questions),
    AcceptanceQuestion(question="How do I change a bicycle tyre?", expect="no_answer"),
    AcceptanceQuestion(question="Which bank has the best rate?", expect="no_answer"),
)
NO_LIMITS = EvalSettings(max_first_text_ms=1e6, min_own_red_flags=0.5)  # a few groups alone find less than all
ADDED = "Drink a glass of vinegar at 9 every morning."


class TrustingChecker:
    """Lets every sentence pass: what a broken grounding check would do."""

    def check(self, sentence: str, passages: Sequence[Passage]) -> SentenceVerdict:
        return SentenceVerdict(True, sentence, passages[0].answer_id)


class WordChecker:
    """Lets pass what stands in a passage word for word."""

    def check(self, sentence: str, passages: Sequence[Passage]) -> SentenceVerdict:
        return SentenceVerdict(any(sentence in p.text for p in passages), sentence, passages[0].answer_id, ("word",))


@pytest.fixture(scope="module")
def safety_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("knowledge") / "safety"
    folder.mkdir()
    for name in ("language", "words", "harmless", "heart", "crisis-suicide", "declined-dose"):
        shutil.copy(SHIPPED_KNOWLEDGE / "safety" / f"{name}.yaml", folder)
    return folder


@pytest.fixture(scope="module")
def rules(safety_folder: Path) -> RuleBook:
    problems: list = []
    loaded = load_rules(safety_folder.parent, CLINIC, problems)
    assert problems == []
    return loaded


@contextmanager
def no_bar(_label: str) -> Iterator:
    yield lambda done, total: None


def evaluation(
    rules: RuleBook, answers: Sequence[Answer] = ANSWERS, thresholds: Thresholds | None = None, **pipeline
) -> Evaluation:
    embedder = CountingEmbedder()
    known = {one.id: one for one in answers}
    retriever = Retriever(open_index(None, known, SYNONYMS, embedder))
    retriever._thresholds = thresholds or Thresholds(answer=0.0, suggest=-2.0)
    knowledge = Knowledge(Path("knowledge"), CLINIC, TEXTS, known, CHECKS)
    parts = {"checker": WordChecker(), "writer": None} | pipeline
    bot = Pipeline(knowledge, SafetyGate(rules, None), retriever, parts["checker"], parts["writer"])

    @contextmanager
    def reopened() -> Iterator[Pipeline]:
        yield bot

    return evaluate(Subject(bot, rules, embedder, reopened), no_bar, worded=5, core_watts=10)


def broken(now: Evaluation, before: Evaluation | None = None, limits: EvalSettings = NO_LIMITS) -> list[str]:
    changes = compare(kept_form(before.as_json()), now.as_json()) if before is not None else None
    check = CheckSettings(min_found=0.5, max_grade=20)
    return [limit.name for limit in limits_of(now, check, limits, changes) if not limit.is_kept]


@pytest.fixture(scope="module")
def good(rules: RuleBook) -> Evaluation:
    return evaluation(rules)


def test_an_undamaged_bot_breaks_no_limit(good: Evaluation):
    assert broken(good, good) == []
    assert good.rates()["answered right"].share == 1.0
    assert good.matrix()["no_answer"]["wrong"] == 0


def test_a_swapped_pair_of_texts_is_red(rules: RuleBook):
    answers = (FEVER.model_copy(update={"text": PINK_EYE.text}), PINK_EYE.model_copy(update={"text": FEVER.text}))
    assert "answers that look swapped" in broken(evaluation(rules, [*answers, PRESSURE, TYLENOL, HOURS]))


def test_a_pair_of_answers_under_each_others_names_is_red(rules: RuleBook, good: Evaluation):
    swapped = (FEVER.model_copy(update={"id": PINK_EYE.id}), PINK_EYE.model_copy(update={"id": FEVER.id}))
    told = broken(evaluation(rules, [*swapped, PRESSURE, TYLENOL, HOURS]), good)
    assert "given a wrong answer" in told
    assert "questions newly given a wrong answer" in told


def test_a_removed_red_flag_phrase_is_red(rules: RuleBook, good: Evaluation, safety_folder: Path, tmp_path: Path):
    shutil.copytree(safety_folder, tmp_path / "safety")
    heart = tmp_path / "safety" / "heart.yaml"
    text = heart.read_text(encoding="utf-8")
    heart.write_text(text.replace('"=crushing pain", ', ""), encoding="utf-8")
    changed = load_rules(tmp_path, CLINIC, [])
    assert "red-flag phrases taken out" in broken(evaluation(changed), good)


def test_rules_that_find_less_are_red(good: Evaluation, safety_folder: Path, tmp_path: Path):
    shutil.copytree(safety_folder, tmp_path / "safety")
    heart = tmp_path / "safety" / "heart.yaml"
    heart.write_text(heart.read_text(encoding="utf-8").replace("within: 5", "within: 1"), encoding="utf-8")
    assert "red flags no longer found" in broken(evaluation(load_rules(tmp_path, CLINIC, [])), good)


def test_a_lowered_threshold_is_red(rules: RuleBook, good: Evaluation):
    lowered = evaluation(rules, thresholds=Thresholds(answer=-50, suggest=-60))
    assert "answered although out of scope" in broken(lowered, good)


@pytest.mark.parametrize(
    ("checker", "told"),
    [(WordChecker(), "generated sentences refused"), (TrustingChecker(), "shown sentences without support")],
)
def test_a_model_that_adds_a_sentence_is_red(rules: RuleBook, checker, told: str):
    adding = evaluation(rules, checker=checker, writer=ScriptedWriter([f"{ADDED} "]))
    assert told in broken(adding)


def test_a_model_that_keeps_to_the_text_breaks_no_limit(rules: RuleBook):
    faithful = evaluation(rules, writer=ScriptedWriter(["Drink water and rest. "]))
    answered_from_fever = [one for one in faithful.worded if one.shown]
    assert answered_from_fever
    assert faithful.unsupported == ()


def test_the_interval_is_wilsons():
    low, high = Rate(8, 10).interval or (0, 0)
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)  # Wilson 1927; the same as statsmodels' "wilson"
    assert Rate(0, 0).interval is None


def test_a_limit_without_a_figure_is_kept():
    assert Limit("x", None, 0.5, True, "eval.x").is_kept
    assert not Limit("x", 0.4, 0.5, True, "eval.x").is_kept


def test_rewordings_differ_from_the_question_and_keep_its_numbers():
    made = rewordings("Is 38 °C a fever, doctor?")
    assert len(set(made)) == 4
    assert all("38" in text for text in made)


def test_what_got_better_and_worse_is_told_question_by_question(rules: RuleBook, good: Evaluation):
    report = good.as_json()
    fewer = json.loads(json.dumps(report))
    fewer["questions"][0] |= {"verdict": "wrong", "answers": [HOURS.id]}
    worse, better = compare(report, fewer), compare(fewer, report)
    assert [change.question for change in worse.worse] == [report["questions"][0]["question"]]
    assert worse.newly_wrong == (report["questions"][0]["question"],)
    assert len(better.better) == 1
    assert (better.worse, better.newly_wrong) == ((), ())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 99}', '{"version": 1, "questions": []}'])
def test_a_report_that_is_none_is_one_clear_line(tmp_path: Path, text: str):
    path = tmp_path / "old.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"old\.json: is"):
        read_report(path)
    with pytest.raises(SettingsError, match="there is no such report"):
        read_report(tmp_path / "none.json")


def test_examples_set_aside_that_cannot_be_read_are_told(rules: RuleBook, tmp_path: Path):
    (tmp_path / "held-back.yaml").write_text("heart: {must_fire: [x]}", encoding="utf-8")
    with pytest.raises(KnowledgeError, match=r"held-back\.yaml"):
        read_set_aside(replace(rules, folder=tmp_path))


def test_the_page_is_one_file_that_asks_for_nothing(good: Evaluation):
    page = report_page(good, None, ())
    assert page.count("<svg") == 4
    assert "src=" not in page
    assert "<script" not in page
    addresses = [part.split(chr(34))[0] for part in page.split("://")[1:]]
    assert all("w3.org" in address for address in addresses)  # names of SVG, never fetched


def test_a_sentence_with_a_number_or_words_of_its_own_has_no_support():
    assert is_supported("Drink water and rest.", FEVER)
    assert not is_supported("Drink water for 9 days.", FEVER)
    assert not is_supported(ADDED, FEVER)


def test_texts_in_their_places_are_no_swapped_pair():
    assert swapped_pairs({one.id: one for one in ANSWERS}, CountingEmbedder()) == []


def test_energy_without_a_counter_is_processor_time_at_a_stated_power(tmp_path: Path):
    meter = EnergyMeter(core_watts=36, rapl=tmp_path)
    assert sum(range(3_000_000)) > 0
    spent = meter.spent()
    assert "36 W" in spent.method
    assert spent.watt_hours == pytest.approx(spent.cpu_s * 0.01)
    assert spent.cpu_s > 0
    assert Energy(1.0, "x", 1.0).per(4) == 0.25


def test_energy_comes_from_the_counter_where_it_can_be_read(tmp_path: Path):
    package = tmp_path / "intel-rapl:0"
    (tmp_path / "intel-rapl:0:1").mkdir()  # a part of the package; counting it as well would count it twice
    package.mkdir()
    (package / "energy_uj").write_text("7200000000", encoding="ascii")
    (package / "max_energy_range_uj").write_text("10800000000", encoding="ascii")
    assert len(rapl_counters(tmp_path)) == 1
    meter = EnergyMeter(rapl=tmp_path)
    (package / "energy_uj").write_text("3600000000", encoding="ascii")  # it came to its end and began again
    spent = meter.spent()
    assert spent.watt_hours == pytest.approx(2.0)
    assert "RAPL" in spent.method


def test_a_folder_that_cannot_be_written_to_is_told_before_anything_is_measured(tmp_path: Path):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(SettingsError, match="name another with --out"):
        evaluation_command(out_folder=tmp_path / "file" / "report", knowledge=tmp_path)


def test_an_earlier_report_that_is_missing_is_told_before_anything_is_measured(tmp_path: Path):
    with pytest.raises(SettingsError, match="check the name after --compare"):
        evaluation_command(out_folder=tmp_path, compare_with=tmp_path / "none.json", knowledge=tmp_path)
    assert list(tmp_path.iterdir()) == []
