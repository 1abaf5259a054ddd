"""The tiny recipe, every stage, with the embedded model: minutes on two cores, so it is marked slow."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from finetune.converter import FOLDER_VARIABLE

pytestmark = [pytest.mark.component, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]


def finetune(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chatbot", "finetune", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.timeout(1800)
@pytest.mark.skipif(
    not os.environ.get(FOLDER_VARIABLE), reason="the converter is fetched from the registry; name its folder"
)
def test_the_tiny_recipe_goes_from_answers_to_a_registered_model_and_is_then_up_to_date(tmp_path: Path):
    done = finetune("run", "--recipe", "tiny", "--runs", str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    run = tmp_path / "tiny"
    for stage in ("base", "dataset", "distill", "train", "export", "evaluate", "promote"):
        assert json.loads((run / stage / "manifest.json").read_text())["stage"] == stage
        assert f"{stage}: " in done.stdout
    assert all(check["passed"] for check in json.loads((run / "export" / "parity.json").read_text()))
    assert (run / "promote" / "tiny-model.gguf").stat().st_size > 100_000_000
    again = finetune("run", "--recipe", "tiny", "--runs", str(tmp_path))
    assert again.returncode == 0
    assert again.stdout.count("up to date") == 7
