"""Recipes, stages, teachers, filters, scores and gates."""

import io
import json
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from chatbot.errors import HealthFaqError, SettingsError
from chatbot.grounding.checker import SentenceVerdict
from chatbot.prompting import ABSTENTION, Message, Passage
from finetune import converter, filters
from finetune.cli import app
from finetune.curves import plot_curve
from finetune.distill import Asking, distilled_rows
from finetune.evaluate import read_drafts
from finetune.parity import divergence, divergence_check, logit_check
from finetune.promote import failed_gates, place_copy
from finetune.recipe import RECIPES, TeacherRecipe, load_recipe
from finetune.rows import Row
from finetune.scoring import Score, intervals, is_abstention, measured, score
from finetune.split import Split
from finetune.stage import Stage, run_stage
from finetune.teacher import HttpTeacher, TeacherError, UnfinishedText
from finetune.train import last_whole_checkpoint

pytestmark = pytest.mark.unit

PASSAGES = (Passage("a/fever", "Fever", "Rest helps. Drink water."), Passage("a/rash", "Rash", "Use cream."))
ROW = Row("r1", "answerable", Split.TRAIN, "g", PASSAGES, "What helps?", "Rest helps. [1]", ("a/fever",), "a/fever")
UNANSWERABLE = Row("r2", "near miss", Split.TRAIN, "g", PASSAGES, "Flu shots?", ABSTENTION, (), "a/flu")
TEACHER = TeacherRecipe(path="http://teacher", licence="Apache-2.0", threads=1, timeout_s=1)


class WordForWord:
    """A checker that lets pass what stands in the cited passage."""

    def check(self, sentence: str, passages: Sequence[Passage]) -> SentenceVerdict:
        text, _, number = sentence.rpartition(" [")
        place = int(number.rstrip("]") or 0) if number.rstrip("]").isdigit() else 0
        if not 1 <= place <= len(passages):
            return SentenceVerdict(False, sentence, None, ("citation",))
        passage = passages[place - 1]
        return SentenceVerdict(text in passage.text, text, passage.answer_id, ())


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_complete(path: Path):
    assert load_recipe(path.stem).name == path.stem


def changed_recipe(tmp_path: Path, change: Mapping[str, Any]) -> str:
    content = yaml.safe_load((RECIPES / "tiny.yaml").read_text(encoding="utf-8"))
    content["train"] |= change
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("change", "told"),
    [({"lerning_rate": 1}, "train.lerning_rate"), ({"steps": 0}, "train.steps"), ({"rank": None}, "train.rank")],
)
def test_a_recipe_with_a_wrong_key_or_value_is_refused_by_name(tmp_path: Path, change: dict[str, Any], told: str):
    with pytest.raises(SettingsError, match=told):
        load_recipe(changed_recipe(tmp_path, change))


def test_a_recipe_that_is_not_there_names_those_that_are():
    with pytest.raises(SettingsError, match="known are clinic-3b, embedded, tiny"):
        load_recipe("tinny")


def test_an_empty_knowledge_folder_is_one_clear_line(tmp_path: Path):
    result = CliRunner().invoke(
        app, ["dataset", "--recipe", "tiny", "--knowledge", str(tmp_path), "--runs", str(tmp_path / "runs")]
    )
    assert isinstance(result.exception, HealthFaqError)
    assert "holds no answers to learn from" in str(result.exception)


class Work:
    """Counts how often it is done; writes one output."""

    def __init__(self, folder: Path, *, breaks: bool = False) -> None:
        self.folder, self.breaks, self.done = folder, breaks, 0

    def __call__(self) -> Mapping[str, Any]:
        self.done += 1
        (self.folder / "half").write_text("kept", encoding="utf-8")
        if self.breaks:
            raise KeyboardInterrupt
        (self.folder / "rows").write_text("rows", encoding="utf-8")
        return {"rows": 1}


def test_a_stage_is_done_once_and_then_up_to_date(tmp_path: Path):
    stage, said = Stage("dataset", tmp_path / "s", {"answers": "1"}, ("rows",)), []
    work = Work(stage.folder)
    assert run_stage(stage, work, say=said.append)
    assert not run_stage(stage, work, say=said.append)
    assert work.done == 1
    assert said[0].startswith("dataset: rows 1; 0 s; ")
    assert said[1].startswith("dataset: up to date")


def test_a_changed_input_or_a_changed_output_does_it_again(tmp_path: Path):
    said: list[str] = []
    work = Work(tmp_path / "s")
    for inputs in ({"answers": "1"}, {"answers": "2"}):
        run_stage(Stage("dataset", tmp_path / "s", inputs, ("rows",)), work, say=said.append)
    (tmp_path / "s" / "rows").write_text("touched", encoding="utf-8")
    run_stage(Stage("dataset", tmp_path / "s", {"answers": "2"}, ("rows",)), work, say=said.append)
    assert work.done == 3


def test_an_interrupted_stage_keeps_its_half_done_work_but_no_manifest(tmp_path: Path):
    stage = Stage("dataset", tmp_path / "s", {"answers": "1"}, ("rows",))
    with pytest.raises(KeyboardInterrupt):
        run_stage(stage, Work(stage.folder, breaks=True), say=lambda _: None)
    assert (stage.folder / "half").exists()
    assert stage.manifest is None
    other = Stage("dataset", tmp_path / "s", {"answers": "2"}, ("rows",))
    with pytest.raises(KeyboardInterrupt):
        run_stage(other, Work(tmp_path / "s", breaks=True), say=lambda _: None)


def test_a_full_disk_is_one_clear_line(tmp_path: Path):
    stage = Stage("export", tmp_path / "s", {}, ("rows",))
    with pytest.raises(SettingsError, match="MiB free and needs"):
        run_stage(stage, Work(stage.folder), say=lambda _: None, needs_mib=10**9)

    def full() -> Mapping[str, Any]:
        raise OSError(28, "No space left on device")

    with pytest.raises(SettingsError, match="No space left on device; nothing was registered"):
        run_stage(stage, full, say=lambda _: None)
    assert stage.manifest is None


def test_a_stage_that_leaves_an_output_out_is_not_finished(tmp_path: Path):
    stage = Stage("train", tmp_path / "s", {}, ("adapter",))
    with pytest.raises(SettingsError, match="adapter was not written"):
        run_stage(stage, lambda: {}, say=lambda _: None)


def http_teacher(reply: httpx.Response | Exception) -> HttpTeacher:
    def respond(request: httpx.Request) -> httpx.Response:
        if isinstance(reply, Exception):
            raise reply
        return reply

    return HttpTeacher("http://teacher", TEACHER, httpx.Client(transport=httpx.MockTransport(respond)))


def completion(text: str, reason: str = "stop") -> httpx.Response:
    return httpx.Response(200, json={"choices": [{"message": {"content": text}, "finish_reason": reason}]})


def test_a_teacher_behind_a_url_writes():
    assert http_teacher(completion(" Rest helps. [1] ")).write([], most_tokens=9) == "Rest helps. [1]"


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (httpx.ReadTimeout("slow"), "no answer within"),
        (httpx.ConnectError("refused"), "refused"),
        (httpx.Response(500), "500"),
        (httpx.Response(200, text="<html>"), "not a chat completion"),
        (httpx.Response(200, json={"choices": []}), "not a chat completion"),
        (completion("and so on and", "length"), "did not end"),
    ],
)
def test_a_teacher_that_fails_says_how(reply: httpx.Response | Exception, told: str):
    with pytest.raises(TeacherError, match=told):
        http_teacher(reply).write([], most_tokens=9)


class ScriptedTeacher:
    """Writes what it is told to, one text after another; an exception is raised."""

    name = "scripted"

    def __init__(self, *texts: str | Exception) -> None:
        self.texts, self.asked = list(texts), 0

    def write(self, messages: list[Message], *, most_tokens: int) -> str:
        self.asked += 1
        text = self.texts.pop(0)
        if isinstance(text, Exception):
            raise text
        return text

    def close(self) -> None:
        pass


def test_what_a_teacher_wrote_is_never_asked_for_again(tmp_path: Path):
    teacher = ScriptedTeacher("one", "two")
    assert Asking(teacher, tmp_path / "t.jsonl").text("a", [], most_tokens=9) == "one"
    (tmp_path / "t.jsonl").write_text((tmp_path / "t.jsonl").read_text() + '{"key": "b", "pro', encoding="utf-8")
    again = Asking(teacher, tmp_path / "t.jsonl")
    assert again.text("a", [], most_tokens=9) == "one"
    assert again.text("b", [], most_tokens=9) == "two"
    assert Asking(teacher, tmp_path / "t.jsonl").text("b", [], most_tokens=9) == "two"
    assert teacher.asked == 2


def test_texts_that_do_not_end_are_no_sign_of_a_dead_teacher_and_are_not_asked_for_again(tmp_path: Path):
    asking = Asking(ScriptedTeacher(*[UnfinishedText("too long")] * 4, "fine"), tmp_path / "t.jsonl")
    assert [asking.text(key, [], most_tokens=9) for key in "abcdea"] == ["", "", "", "", "fine", ""]
    assert asking.failed == 4


def test_a_teacher_that_dies_half_way_stops_the_stage_and_keeps_its_texts(tmp_path: Path):
    asking = Asking(ScriptedTeacher("one", *[TeacherError("gone")] * 3), tmp_path / "t.jsonl")
    assert asking.text("a", [], most_tokens=9) == "one"
    assert [asking.text(key, [], most_tokens=9) for key in "bc"] == ["", ""]
    with pytest.raises(SettingsError, match="3 times in a row"):
        asking.text("d", [], most_tokens=9)
    assert json.loads((tmp_path / "t.jsonl").read_text())["text"] == "one"


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("", "form"),
        ("```\nRest helps. [1]\n```", "form"),
        (ABSTENTION, "form"),
        ("Rest. [1]", "length"),
        ("Rest helps you get well soon.", "citations"),
        ("Use cream on the skin. [2]", "citations"),
        ("Rest helps you a lot. [1]", "grounding"),
        ("Rest helps. [1] Drink water. [1]", ""),
    ],
)
def test_a_reply_is_refused_by_the_first_filter_it_fails(text: str, refused: str):
    verdict = filters.reply_verdict(ROW, text, checker=WordForWord(), max_words=90, held_back=frozenset())
    assert verdict.refused == refused


def test_a_text_that_repeats_a_held_back_answer_is_a_leak():
    held = " ".join(f"word{n}" for n in range(20))
    assert filters.leak(f"So: {held}.", filters.grams([held])).refused == "leak"
    assert filters.leak("Quite another thing.", filters.grams([held])).kept


def test_a_reply_that_needs_no_passage_is_refused():
    assert filters.needless("Rest helps. [1]", "Rest helps.").refused == "needless"
    assert filters.needless("Rest helps. [1]", "Ask somebody who knows about it.").kept


def test_questions_come_out_of_lists():
    assert filters.questions_in('1. "Is it bad?"\n\n- What helps\n') == ["Is it bad?", "What helps"]
    assert filters.question_form("What does the passage say?").refused == "form"
    assert filters.question_form("is it bad").kept


def test_a_teachers_reply_replaces_the_rows_own_only_if_it_passes(tmp_path: Path):
    recipe = load_recipe("tiny").distill.model_copy(update={"replies_per_answer": 2})
    other = Row("r3", "alone", Split.TRAIN, "g", PASSAGES, "Water?", "Rest helps. [1]", ("a/fever",), "a/fever")
    asking = Asking(ScriptedTeacher("Rest helps. [1] Drink water. [1]", "It is nothing. [1]"), tmp_path / "t.jsonl")
    rows, counts = distilled_rows(
        [ROW, UNANSWERABLE, other], asking, "scripted", recipe, checker=WordForWord(), held_back=frozenset()
    )
    assert [row.reply for row in rows] == ["Rest helps. [1] Drink water. [1]", ABSTENTION, "Rest helps. [1]"]
    assert [row.origin for row in rows] == ["teacher", "answers", "answers"]
    assert rows[2].notes["refused"] == "length"
    assert counts == {"kept": 1, "length": 1}


def test_a_reply_is_scored_by_what_a_patient_would_see():
    found = score(ROW, "Rest helps. [1] Use cream. [2] Pray. [7]", stopped=True, checker=WordForWord())
    assert found == Score(False, 3, 2, 1, 2, 1, 1.0, True, True, 8)
    assert score(UNANSWERABLE, ABSTENTION, stopped=True, checker=WordForWord()).abstained
    assert not is_abstention(f"{ABSTENTION} But rest helps you, and so does water. [1]")


def test_an_interrupted_evaluation_keeps_every_whole_draft(tmp_path: Path):
    whole = {"id": "r1", "text": "One.\u2028Two.", "stopped": True, "prompt_tokens": 3, "reply_tokens": 2}
    whole |= {"prompt_seconds": 0.1, "reply_seconds": 0.2}
    line = json.dumps(whole, ensure_ascii=False)
    path = tmp_path / "drafts.jsonl"
    path.write_text(f"{line}\n{line.replace('r1', 'r2')}\n{line[:30]}", encoding="utf-8")
    assert sorted(read_drafts(path)) == ["r1", "r2"]
    assert sorted(read_drafts(path)) == ["r1", "r2"]
    assert read_drafts(path)["r1"].text == "One.\u2028Two."


def test_measures_say_nothing_where_there_was_nothing_to_measure():
    judged = [(ROW, score(ROW, "Rest helps. [1]", stopped=True, checker=WordForWord()))]
    found = measured(judged)
    assert found["right_passage"] == found["useful"] == found["grounded"] == found["stops"] == 1.0
    assert found["abstains"] is None
    assert intervals(judged, resamples=5, seed=1)["useful"] == (1.0, 1.0)


def test_a_gate_that_does_not_hold_is_named():
    gates = load_recipe("embedded").promote
    good = {"right_passage": 0.99, "grounded": 0.99, "abstains": 0.95, "wrong_abstentions": 0.01, "stops": 1.0}
    assert failed_gates(good, gates) == []
    assert failed_gates(good | {"grounded": 0.5}, gates) == ["grounded is 0.500, must be at least 0.97"]
    assert failed_gates(good | {"wrong_abstentions": 0.2}, gates) == [
        "wrong_abstentions is 0.200, must be at most 0.05"
    ]
    assert failed_gates(good | {"abstains": None}, gates) == ["abstains was not measured"]


def test_logits_that_differ_are_red():
    ours = [np.array([[1.0, 2.0, 3.0]], dtype=np.float32)]
    assert logit_check("same", ours, ours, most=0.1).passed
    assert not logit_check("other", ours, [ours[0] + np.array([0, 0, 0.5], dtype=np.float32)], most=0.1).passed
    assert divergence(ours, ours).mean_kl == pytest.approx(0)
    assert not divergence_check("other", divergence(ours, [-ours[0]]), most_kl=0.08).passed


def test_only_the_conversion_scripts_are_unpacked(tmp_path: Path):
    archive = tmp_path / "source.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        for name in ("convert_hf_to_gguf.py", "conversion/base.py", "src/llama.cpp", "../../evil.py"):
            member = tarfile.TarInfo(f"llama_cpp_python-0/vendor/llama.cpp/{name}")
            member.size = 2
            file.addfile(member, io.BytesIO(b"ok"))
    converter.unpack(archive, tmp_path / "scripts")
    unpacked = sorted(
        path.relative_to(tmp_path / "scripts").as_posix() for path in (tmp_path / "scripts").rglob("*.py")
    )
    assert unpacked == ["conversion/base.py", "convert_hf_to_gguf.py"]


def test_a_folder_without_the_scripts_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(converter.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(HealthFaqError, match=r"holds no convert_hf_to_gguf\.py"):
        converter.converter_folder()


def test_a_half_written_checkpoint_is_not_gone_on_from(tmp_path: Path):
    for step, state in ((20, "{}"), (40, "{}"), (60, '{"global_st'), (80, None)):
        checkpoint = tmp_path / f"checkpoint-{step}"
        checkpoint.mkdir()
        if state is not None:
            (checkpoint / "trainer_state.json").write_text(state, encoding="utf-8")
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-40")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-20", "checkpoint-40"]
    assert last_whole_checkpoint(tmp_path / "none yet") is None


def test_a_trainings_curve_is_drawn_and_kept_on_this_machine(tmp_path: Path):
    log = tmp_path / "log.json"
    log.write_text(json.dumps([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}, {"step": 2, "eval_loss": 1.5}]))
    plot_curve(log, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    pytest.importorskip("trackio")
    # In a process of its own: trackio reads where its store lies when it is imported.
    keep = "import sys; from pathlib import Path; from finetune.curves import keep_curve; "
    keep += "keep_curve(Path(sys.argv[1]), Path(sys.argv[2]), 'try')"
    command = [sys.executable, "-c", keep, str(log), str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    with sqlite3.connect(tmp_path / "store" / "health-faq.db") as store:
        kept = [json.loads(line) for (line,) in store.execute("select metrics from metrics order by id")]
    assert [entry.get("loss") for entry in kept] == [2.0, 1.0, None]


def test_a_disk_that_fills_up_while_registering_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = tmp_path / "model.gguf"
    source.write_bytes(b"new" * 100)
    target = tmp_path / "registered" / "model.gguf"
    target.parent.mkdir()
    target.write_bytes(b"old")

    def fills_up(_: Path, half: Path) -> None:
        half.write_bytes(b"new")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copy2", fills_up)
    with pytest.raises(OSError, match="No space left"):
        place_copy(source, target)
    assert [(path.name, path.read_bytes()) for path in target.parent.iterdir()] == [("model.gguf", b"old")]


def test_pruning_and_an_adapter_for_the_bases_own_file_exclude_each_other(tmp_path: Path):
    content = yaml.safe_load((RECIPES / "tiny.yaml").read_text(encoding="utf-8"))
    content["prune"]["enabled"] = True
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(SettingsError, match=r"prune.enabled needs export.adapter: false"):
        load_recipe(str(path))
