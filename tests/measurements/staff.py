"""Measures what staff feel: how soon a change is live, what imports and indexing cost.

    python tests/measurements/staff.py live [--answers 150]
    python tests/measurements/staff.py live --medquad ../shared/data/MedQuAD.zip
    python tests/measurements/staff.py steps [--medquad ../shared/data/MedQuAD.zip]
    python tests/measurements/staff.py gaps
    python tests/measurements/staff.py index --medquad ../shared/data/MedQuAD.zip [--sample 300]

``live --medquad`` embeds with word vectors in place of the model: what is measured there is everything but embedding.
"""

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from itertools import combinations, islice
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parents[1]), str(HERE.parents[1] / "unit")]

import yaml  # noqa: E402
from staff_folder import FEVER_FILE, WordVectors, make_folder, write_answer  # noqa: E402

from chatbot.bootstrap import Service, index_folder, open_service, recalibrate, reload  # noqa: E402
from chatbot.embedder import MiniLM, weights_folder  # noqa: E402
from chatbot.knowledge import load_knowledge  # noqa: E402
from chatbot.retrieval.index import open_index  # noqa: E402
from chatbot.retrieval.words import Synonyms  # noqa: E402
from chatbot.settings import Settings  # noqa: E402
from chatbot.staff.gap_groups import grouped  # noqa: E402
from chatbot.staff.gaps import Gap  # noqa: E402
from chatbot.staff.import_medquad import medquad_rows, medquad_size  # noqa: E402
from chatbot.staff.importers import ImportReport, write_answers  # noqa: E402
from chatbot.staff.live import LiveService  # noqa: E402

SHIPPED = HERE.parents[2] / "knowledge"
ASKING = 4  # patients who ask without a pause while files change
QUESTION = "What does the word quixotic zebrafish mean for my knee?"
NEW_ANSWER = (
    FEVER_FILE.replace("Fever in adults", "Quixotic zebrafish")
    .replace("When should I see a doctor about a fever?", QUESTION)
    .replace("What temperature is a fever?", "Is a quixotic zebrafish good for knees?")
)


def opened(temporary: str, medquad: Path | None) -> tuple[Path, Service]:
    """Return a knowledge folder and a service over it: the shipped answers, or MedQuAD's with word vectors."""
    root = Path(temporary) / "knowledge"
    shutil.copytree(SHIPPED, root)
    if medquad is not None:
        shutil.rmtree(root / "answers")
        write_answers(medquad_rows(medquad, ImportReport()), root / "answers", ImportReport(), update=True)
    settings = Settings(knowledge=root, state=Path(temporary) / "state", mode="verbatim")
    embedder = MiniLM() if medquad is None else WordVectors()
    return root, open_service(settings, with_model=False, embedder=embedder)


def steps(medquad: Path | None, rounds: int) -> None:
    """Print the processor time of each step that makes a change live, nobody asking."""
    with tempfile.TemporaryDirectory() as temporary:
        root, service = opened(temporary, medquad)
        took: dict[str, list[float]] = {}

        def timed(name: str, work: Callable[..., Any], *arguments: object) -> Any:
            began = time.process_time()
            done = work(*arguments)
            took.setdefault(name, []).append(time.process_time() - began)
            return done

        for number in range(rounds):
            path = write_answer(root, f"new/zebra-{number}", NEW_ANSWER)
            moved = path.with_name(f"moved-{path.name}")
            changes: dict[str, Callable[[], object]] = {
                "add": path.stat,  # it has just been written
                "edit": partial(path.write_text, NEW_ANSWER.replace("Rest", "Sleep"), encoding="utf-8"),
                "rename": partial(path.rename, moved),
                "delete": moved.unlink,
            }
            for name, change in changes.items():
                change()
                time.sleep(0.2)
                service = timed(f"{name}: shown", reload, service, "now")
                if not service.is_settled:
                    service = timed(f"{name}: found", reload, service, "whole")
                timed(f"{name}: first question after", service.pipeline.reply, QUESTION)
        timed("thresholds, beside", recalibrate, service)
        began = time.process_time()
        open_index(
            index_folder(service.settings), service.knowledge.answers, service.parts.synonyms, service.parts.embedder
        )
        print(f"{len(service.knowledge.answers)} answers; index reopened in {time.process_time() - began:.2f} s")
        for name, seconds in took.items():
            print(f"{name:32} median {median(seconds):5.2f} s  worst {max(seconds):5.2f} s of processor time")


def gap_lines() -> None:
    """Print how well wordings of one question that nobody answers are put on one line."""
    content = yaml.safe_load((HERE.parent / "gap_wordings.yaml").read_text(encoding="utf-8"))
    for part, topics in content.items():
        day = date(2026, 11, 23)
        topic_of = {wording: topic for topic, wordings in topics.items() for wording in wordings}
        groups = grouped([Gap(wording, 1, day, day, 1, ()) for wording in topic_of], MiniLM())
        line_of = {wording: number for number, group in enumerate(groups) for wording in group.wordings}
        pairs = list(combinations(topic_of, 2))
        same = sum(topic_of[a] == topic_of[b] for a, b in pairs)
        joined = [(a, b) for a, b in pairs if line_of[a] == line_of[b]]
        right = sum(topic_of[a] == topic_of[b] for a, b in joined)
        print(
            f"{part}: {len(topic_of)} wordings of {len(topics)} questions on {len(groups)} lines; of joined pairs "
            f"{right / len(joined):.2f} belong together, of pairs that belong together {right / same:.2f} are joined"
        )


def live(medquad: Path | None, rounds: int) -> None:
    """Print how long each kind of change takes to reach a reply while others ask, and how many replies failed."""
    with tempfile.TemporaryDirectory() as temporary:
        root, service = opened(temporary, medquad)
        live = LiveService(service, reload, recalibrate, say=lambda line: None)
        questions = [answer.questions[0] for answer in islice(service.knowledge.answers.values(), 0, None, 7)][:100]
        print(f"{len(service.knowledge.answers)} answers, {ASKING} patients asking without a pause")
        patients = _Patients(live, questions)
        live.start()
        time.sleep(3)
        patients.start()
        took: dict[str, list[float]] = {}
        for number in range(rounds):
            for name, seconds in _round(root, live, number):
                took.setdefault(name, []).append(seconds)
        patients.stop()
        live.stop()
        for name, seconds in took.items():
            print(f"{name:24} median {median(seconds):5.2f} s  worst {max(seconds):5.2f} s  ({len(seconds)} times)")
        waits = sorted(patients.waits)
        print(
            f"replies {len(waits)}, failed {len(patients.failures)}; median {median(waits) * 1000:.0f} ms, "
            f"99 % within {waits[int(len(waits) * 0.99)] * 1000:.0f} ms, slowest {waits[-1] * 1000:.0f} ms"
        )
        for failure in patients.failures[:5]:
            print("  ", failure)


def _round(root: Path, live: LiveService[Service], number: int) -> list[tuple[str, float]]:
    """Add, edit, rename, break, mend, retire and delete one answer; return how long each took to reach the reply."""

    def text() -> str:
        reply = live.pipeline.reply(QUESTION, mode="verbatim")
        return reply.text if reply.outcome in ("answered", "did_you_mean") else ""

    def named(name: str) -> bool:
        reply = live.pipeline.reply(QUESTION, mode="verbatim")
        return name in [citation.id for citation in reply.citations]

    def chosen(id_: str) -> str:
        events = live.pipeline.ask("x", mode="verbatim", chosen=id_)
        return list(events)[-1].reply.text

    first, second = f"new/zebra-{number}", f"new/zebra-moved-{number}"
    times = []
    path = write_answer(root, first, NEW_ANSWER)
    times.append(("add", _until(lambda: named(first))))
    beside = path.with_suffix(".tmp")
    beside.write_text(NEW_ANSWER.replace("Rest and drink water.", f"Edition {number} says rest."), encoding="utf-8")
    beside.replace(path)
    times.append(("edit (save by renaming)", _until(lambda: f"Edition {number}" in chosen(first))))
    path.rename(root / "answers" / f"{second}.md")
    times.append(("rename", _until(lambda: named(second) and not named(first))))
    moved = root / "answers" / f"{second}.md"
    good = moved.read_text(encoding="utf-8")
    moved.write_text("---\ntitle: [\n", encoding="utf-8")
    times.append(("break (staff are told)", _until(lambda: any(second in str(one) for one in live.problems))))
    assert f"Edition {number}" in chosen(second), "the last good version is gone"
    moved.write_text(good.replace("status: draft", "status: retired"), encoding="utf-8")
    times.append(("retire", _until(lambda: not named(second))))
    moved.write_text(good, encoding="utf-8")
    _until(lambda: named(second))
    moved.unlink()
    times.append(("delete", _until(lambda: not named(second) and "Edition" not in text())))
    return times


def _until(holds: Callable[[], bool], limit_s: float = 120) -> float:
    began = time.perf_counter()
    while not holds():
        if time.perf_counter() - began > limit_s:
            raise TimeoutError(f"not within {limit_s} s")
        time.sleep(0.02)
    return time.perf_counter() - began


class _Patients:
    """Threads that ask without a pause and note every failure."""

    def __init__(self, live: LiveService[Service], questions: list[str]) -> None:
        self.waits: list[float] = []
        self.failures: list[str] = []
        self._live, self._questions = live, questions
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(ASKING)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, seed: int) -> None:
        rng = random.Random(seed)
        while not self._over.is_set():
            began = time.perf_counter()
            try:
                reply = self._live.pipeline.reply(rng.choice(self._questions), mode="verbatim")
                if not reply.text or reply.red_flag == "safety-gate-failed":
                    self.failures.append(f"{reply.outcome}: {reply.red_flag}")
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            self.waits.append(time.perf_counter() - began)


def index_cost(medquad: Path, sample: int, rounds: int) -> None:
    """Print indexing against the embedder alone on the same texts, in turns; reopening; and one edited file."""
    from sentence_transformers import SentenceTransformer

    with tempfile.TemporaryDirectory() as temporary:
        root = make_folder(Path(temporary) / "knowledge")
        shutil.rmtree(root / "answers")
        rows = list(medquad_rows(medquad, ImportReport()))
        write_answers(random.Random(3).sample(rows, sample), root / "answers", ImportReport(), update=True)
        answers = load_knowledge(root).answers
        model = SentenceTransformer(str(weights_folder()), device="cpu", local_files_only=True)
        index = open_index(None, answers, Synonyms(), WordVectors())
        texts = [entry.embedded for entry in index.entries]
        alone, whole = [], []
        for _ in range(rounds):
            began = time.process_time()
            model.encode(texts, batch_size=64, normalize_embeddings=True, show_progress_bar=False)
            alone.append(time.process_time() - began)
            folder = Path(temporary) / f"index-{len(whole)}"
            began = time.process_time()
            kept = open_index(folder, answers, Synonyms(), MiniLM())
            whole.append(time.process_time() - began)
        ratio = median(w / a for w, a in zip(whole, alone, strict=True))
        print(
            f"{sample} answers, {len(texts)} texts: encode alone {median(alone):.1f} s of processor time, index ",
            end="",
        )
        print(f"{median(whole):.1f} s; ratio {ratio:.2f} (median of {rounds} turns)")
        began = time.perf_counter()
        open_index(folder, answers, Synonyms(), MiniLM())
        print(f"reopened in {time.perf_counter() - began:.2f} s")
        id_, answer = next(iter(answers.items()))
        edited = dict(answers) | {id_: answer.model_copy(update={"text": f"{answer.text}\n\nA new last paragraph."})}
        began = time.perf_counter()
        open_index(folder, edited, Synonyms(), MiniLM(), previous=kept, recalibrate=False)
        print(f"one edited file indexed in {time.perf_counter() - began:.2f} s")


def import_cost(medquad: Path) -> None:
    """Print how long MedQuAD takes to come in."""
    with tempfile.TemporaryDirectory() as temporary:
        began, used, report = time.perf_counter(), time.process_time(), ImportReport()
        write_answers(
            medquad_rows(medquad, report),
            Path(temporary) / "answers",
            report,
            update=False,
            total=medquad_size(medquad),
        )
        print(
            f"{report.created} answers in {time.perf_counter() - began:.1f} s ({time.process_time() - used:.1f} s of "
            f"processor time), {len(report.problems)} problems, left out: {report.left_out}"
        )
        began = time.perf_counter()
        root = make_folder(Path(temporary))
        knowledge = load_knowledge(root)
        print(f"read again in {time.perf_counter() - began:.1f} s: {len(knowledge.answers)} answers")


def main() -> None:
    """Run one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["live", "steps", "gaps", "index", "import"])
    parser.add_argument("--medquad", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sample", type=int, default=300)
    chosen = parser.parse_args()
    match chosen.what:
        case "live":
            live(chosen.medquad, chosen.rounds)
        case "steps":
            steps(chosen.medquad, chosen.rounds)
        case "gaps":
            gap_lines()
        case "index":
            index_cost(chosen.medquad, chosen.sample, chosen.rounds)
        case "import":
            import_cost(chosen.medquad)


if __name__ == "__main__":
    main()
