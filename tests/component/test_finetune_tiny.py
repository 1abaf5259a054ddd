"""The tiny recipe: every stage, with the embedded model, on a machine without a network.

The converter's scripts are the one thing that comes from the registry; ``run.py test`` fetches them beforehand.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from chatbot.errors import ModelLoadError
from finetune.converter import FOLDER_VARIABLE, converter_folder
from finetune.stage import hash_of

pytest.importorskip("trl")
pytestmark = [pytest.mark.component, pytest.mark.slow, pytest.mark.timeout(1800)]
ROOT = Path(__file__).resolve().parents[2]
STAGES = ("base", "dataset", "distill", "train", "prune", "export", "evaluate", "promote")
OFFLINE = ["unshare", "--net", *([] if os.name == "nt" or os.geteuid() == 0 else ["--map-root-user"])]


@pytest.fixture(scope="module")
def command() -> list[str]:
    try:
        scripts = converter_folder()
    except ModelLoadError as error:
        pytest.skip(str(error))
    os.environ[FOLDER_VARIABLE] = str(scripts)
    cut_off = (
        OFFLINE if shutil.which("unshare") and not subprocess.run([*OFFLINE, "true"], check=False).returncode else []
    )
    return [*cut_off, sys.executable, "-m", "chatbot", "finetune", "run", "--recipe", "tiny"]


@pytest.fixture(scope="module")
def finished(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A whole run, and what it said."""
    runs = tmp_path_factory.mktemp("runs")
    done = subprocess.run([*command, "--runs", str(runs)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return runs, done.stdout


def results(runs: Path) -> dict[str, Any]:
    """What a run leaves behind that must not depend on how it came about; speeds and paths do."""
    run = runs / "tiny"
    files = (
        "dataset/train.jsonl",
        "distill/train.jsonl",
        "train/adapter/adapter_model.safetensors",
        "export/model.gguf",
    )
    summaries = json.loads((run / "evaluate" / "report.json").read_text())
    return {name: hash_of(run / name) for name in files} | {
        name: found["measures"] for name, found in summaries.items()
    }


def test_the_tiny_recipe_goes_from_answers_to_a_registered_model_and_is_then_up_to_date(command, finished):
    runs, said = finished
    for stage in STAGES:
        assert json.loads((runs / "tiny" / stage / "manifest.json").read_text())["stage"] == stage
        assert f"{stage}: " in said
    checks = json.loads((runs / "tiny" / "export" / "parity.json").read_text())
    assert len(checks) == 6
    assert all(check["passed"] for check in checks)
    assert (runs / "tiny" / "promote" / "tiny-model.gguf").stat().st_size > 100_000_000
    again = subprocess.run([*command, "--runs", str(runs)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 0
    assert again.stdout.count("up to date") == len(STAGES)


def test_a_run_that_is_killed_in_every_stage_ends_with_the_same_result(command, finished, tmp_path):
    runs, _ = finished
    rng = random.Random(os.environ.get("HEALTHFAQ_TEST_SEED", "1"))
    for stage in STAGES:
        manifest = json.loads((runs / "tiny" / stage / "manifest.json").read_text())
        process = subprocess.Popen(
            [*command, "--runs", str(tmp_path)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        while process.poll() is None and not (tmp_path / "tiny" / stage / "started.json").exists():
            time.sleep(0.05)
        time.sleep(rng.uniform(0, manifest["seconds"]))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = subprocess.run([*command, "--runs", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert results(tmp_path) == results(runs)
