import importlib.util
import json
import sys

import pytest
from models_samples import LORA, gguf, write

from chatbot.engine import models
from chatbot.engine.models import chosen_model, list_models, load_registry, model_path, read_choice, use_model
from chatbot.errors import ModelLoadError, SettingsError

pytestmark = pytest.mark.unit

HAS_LIBRARY = importlib.util.find_spec("llama_cpp") is not None
needs_library = pytest.mark.skipif(not HAS_LIBRARY, reason="llama-cpp-python is not installed")


def test_the_registry_pins_every_file_and_recommends_an_open_one():
    registry = load_registry()
    assert registry.entry(registry.recommended).licence == "Apache-2.0"
    for name, entry in registry.models.items():
        assert entry.sha256, name
        assert entry.size, name
        assert len(entry.revision) == 40, name  # a commit, so the file behind the name never changes


def test_models_with_terms_of_their_own_show_them():
    for name, entry in load_registry().models.items():
        assert (entry.licence == "Apache-2.0") == (entry.terms is None), name


def test_a_damaged_registry_is_one_clear_line(tmp_path):
    with pytest.raises(SettingsError, match="cannot be used"):
        load_registry(write(tmp_path / "models.yaml", b"models: ["))


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(SettingsError, match=r"granite-4\.1-3b"):
        use_model("gpt-9", tmp_path)


def test_a_known_model_that_is_not_here_says_how_to_get_it(tmp_path):
    with pytest.raises(ModelLoadError, match=r"healthfaq model pull qwen3-1\.7b"):
        model_path("qwen3-1.7b", tmp_path)


@needs_library
def test_a_file_is_chosen_named_and_remembered(tmp_path):
    path = write(tmp_path / "ours.gguf", gguf())
    chosen = use_model(str(path), tmp_path / "state")
    assert chosen.path == path
    assert chosen.name.startswith("ours ")
    assert read_choice(tmp_path / "state").name == str(path)
    assert chosen_model("", None, tmp_path / "state") == chosen


@needs_library
def test_a_choice_that_cannot_run_leaves_the_earlier_one(tmp_path):
    good = write(tmp_path / "good.gguf", gguf())
    use_model(str(good), tmp_path)
    with pytest.raises(ModelLoadError, match="cut short"):
        use_model(str(write(tmp_path / "bad.gguf", gguf()[:-1])), tmp_path)
    assert read_choice(tmp_path).name == str(good)
    assert not list(tmp_path.glob("*.tmp"))


@needs_library
def test_the_hash_of_a_changed_file_is_computed_again(tmp_path):
    path = write(tmp_path / "ours.gguf", gguf())
    first = chosen_model(str(path), None, tmp_path)
    write(path, gguf({**models_metadata(), "general.name": "another"}))
    assert chosen_model(str(path), None, tmp_path).name != first.name


def models_metadata() -> dict[str, str]:
    return {"general.architecture": "llama", "tokenizer.chat_template": "x"}


@needs_library
def test_an_adapter_is_checked_and_named(tmp_path):
    path = write(tmp_path / "ours.gguf", gguf())
    pair = {"blk.0.attn_q.weight.lora_a": (8, 2), "blk.0.attn_q.weight.lora_b": (2, 4)}
    lora = write(tmp_path / "lora.gguf", gguf(LORA, pair))
    assert " + LoRA " in chosen_model(str(path), lora, tmp_path).name
    with pytest.raises(ModelLoadError, match="no such model file"):
        chosen_model(str(path), tmp_path / "none.gguf", tmp_path)


@needs_library
def test_a_damaged_record_is_one_clear_line(tmp_path):
    write(tmp_path / models.CHOICE, b"{")
    with pytest.raises(ModelLoadError, match="choose again"):
        chosen_model("", None, tmp_path)


def test_without_the_library_one_line_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelLoadError, match=r"run.py") as error:
        chosen_model("", None, tmp_path)
    assert "\n" not in str(error.value)


def test_the_list_shows_what_is_here_and_what_is_used(tmp_path):
    rows = {row.name: row for row in list_models(tmp_path)}
    assert rows["embedded"].in_use
    assert not rows["granite-4.1-3b"].here
    assert rows["granite-4.1-3b"].recommended
    write(tmp_path / models.CHOICE, json.dumps({"name": "qwen3-1.7b"}).encode())
    folder = models.models_folder(tmp_path)
    folder.mkdir()
    write(folder / load_registry().entry("qwen3-1.7b").file, b"")
    row = next(row for row in list_models(tmp_path) if row.name == "qwen3-1.7b")
    assert row.here
    assert row.in_use


def test_a_file_of_ones_own_in_use_is_listed_too(tmp_path):
    (row,) = [row for row in list_models(tmp_path, "/somewhere/ours.gguf") if row.in_use]
    assert (row.name, row.here) == ("/somewhere/ours.gguf", False)
