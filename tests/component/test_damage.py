"""Damage of every kind while the program runs: broken files one after another, and a process killed at any moment."""

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fakes import PROJECT, SHIPPED_KNOWLEDGE
from staff_folder import FEVER_FILE, WordVectors, corrupted, make_folder, write_answer

from chatbot.bootstrap import open_service, recalibrate, reload
from chatbot.knowledge import load_knowledge
from chatbot.retrieval.index import open_index
from chatbot.retrieval.words import Synonyms
from chatbot.settings import Settings
from chatbot.staff.live import LiveService

pytestmark = pytest.mark.component
CORRUPTIONS = 100
KILLS = 30
MOMENTS_S = 2.5  # after a start, within which it is killed; a round of indexing takes a fraction of that


@pytest.mark.timeout(900)
def test_a_hundred_corruptions_in_a_running_service_are_told_and_lose_no_answer(tmp_path: Path):
    rng = random.Random(11)
    root = make_folder(tmp_path / "knowledge", safety=True)
    for number in range(20):
        text = FEVER_FILE.replace("Fever in adults", f"Illness {number}").replace("a fever?", f"illness {number}?")
        write_answer(root, f"many/illness-{number}", text)
    settings = Settings(knowledge=root, state=tmp_path / "state", mode="verbatim")
    live = LiveService(
        open_service(settings, with_model=False, embedder=WordVectors()), reload, recalibrate, say=lambda line: None
    )
    paths = sorted((root / "answers").rglob("*.md"))
    good = {path: path.read_text(encoding="utf-8") for path in paths}
    in_service = set(live.knowledge.answers)
    in_order = 0
    for number in range(CORRUPTIONS):
        path = paths[number % len(paths)]
        shown = path.relative_to(root).as_posix()
        path.write_bytes(corrupted(good[path], rng))
        live.refresh()
        is_told = any(problem.path == shown for problem in live.problems)
        is_in_order = not any(problem.path == shown for problem in load_knowledge(root).problems)
        assert is_told != is_in_order, (number, shown)
        in_order += is_in_order
        assert set(live.knowledge.answers) == in_service
        assert live.pipeline.reply("What temperature is illness 3?", mode="verbatim").text
    assert in_order < CORRUPTIONS / 3, "the corruptions must corrupt"
    for path, text in good.items():
        path.write_text(text, encoding="utf-8")
    live.refresh()
    assert [
        problem for problem in live.problems if problem.severity == "error" and "stands in" not in problem.message
    ] == []


CHILD = """
import random, sys
from pathlib import Path
from staff_folder import WordVectors
from chatbot.knowledge import load_knowledge
from chatbot.retrieval.index import open_index, recalibrated
from chatbot.retrieval.words import Synonyms
from chatbot.shelf import AnswerShelf
root, folder, shelf = Path(sys.argv[1]), Path(sys.argv[2]), AnswerShelf()
print("starts", flush=True)
index = open_index(folder, load_knowledge(root, read=shelf).answers, Synonyms(), WordVectors())
path = sorted((root / "answers").rglob("*.md"))[0]
text = path.read_text(encoding="utf-8")
while True:
    path.write_text(text + f"\\nNote {random.random()}.\\n", encoding="utf-8")
    answers = load_knowledge(root, read=shelf).answers
    index = open_index(None, answers, Synonyms(), WordVectors(), previous=index, recalibrate=False)
    index = recalibrated(folder, index, lambda: None)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_thirty_kills_at_any_moment_leave_a_whole_index(tmp_path: Path):
    rng = random.Random(5)
    root, folder = tmp_path / "knowledge", tmp_path / "index"
    shutil.copytree(SHIPPED_KNOWLEDGE, root)
    places = [str(PROJECT), str(PROJECT / "tests")]
    from_disk = 0
    for number in range(KILLS):
        if number % 3 == 0:
            shutil.rmtree(folder, ignore_errors=True)  # the very first indexing is killed too
        program = f"import sys; sys.path[:0] = {places!r}\n{CHILD}"
        child = subprocess.Popen(
            [sys.executable, "-c", program, str(root), str(folder)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(rng.uniform(0, MOMENTS_S))
        child.kill()
        child.wait()
        embedder = WordVectors()
        answers = load_knowledge(root).answers
        index = open_index(folder, answers, Synonyms(), embedder)
        from_disk += len(embedder.seen) < len(index.entries) / 2
        vectors = WordVectors().encode([entry.embedded for entry in index.entries])
        assert np.allclose(index.vectors, vectors, atol=1e-6), "vectors do not fit their texts"
        assert index.answers == dict(answers)
    assert from_disk >= KILLS / 3, "it was killed too early to show anything"
