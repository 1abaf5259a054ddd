from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models_samples import LORA, MODEL, TENSORS, gguf, write

from chatbot.engine.gguf_file import check_lora, check_model
from chatbot.errors import ModelLoadError

pytestmark = pytest.mark.unit

PAIR = {"blk.0.attn_q.weight.lora_a": (8, 2), "blk.0.attn_q.weight.lora_b": (2, 4)}


def test_a_whole_chat_model_passes(tmp_path):
    model = check_model(write(tmp_path / "m.gguf", gguf()))
    assert model.architecture == "llama"
    assert model.tensors["token_embd.weight"].shape == (8, 16)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is not a GGUF file"),
        (b"<html>404</html>", "is not a GGUF file"),
        (b"GGUF", "damaged or cut short"),
        (gguf()[:200], "damaged or cut short"),
        (gguf()[:-1], "ends at byte"),
        (gguf(tensors={}), "no tensors"),
        (gguf(LORA, PAIR), "is an adapter"),
        (gguf({"general.architecture": "llama"}), "no chat template"),
        (gguf({**MODEL, "general.alignment": 0}), "alignment 0"),
        (gguf(tensors={"a": (1, 1)}), "not a language model"),
        (b"GGUF" + b"\x07" + gguf()[5:], "version 7"),
        (gguf()[:8] + b"\xff" * 8 + gguf()[16:], "damaged or cut short"),
    ],
)
def test_a_file_that_would_crash_the_library_is_one_clear_line(tmp_path, content: bytes, complaint: str):
    path = write(tmp_path / "m.gguf", content)
    with pytest.raises(ModelLoadError) as error:
        check_model(path)
    assert complaint in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_folder_are_one_clear_line(tmp_path):
    for path in (tmp_path / "none.gguf", tmp_path):
        with pytest.raises(ModelLoadError, match=str(path)):
            check_model(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 330), byte=st.integers(0, 255), cut=st.integers(0, 400))
def test_whatever_is_broken_it_is_found_or_harmless(tmp_path: Path, place: int, byte: int, cut: int):
    content = bytearray(gguf())
    content[min(place, len(content) - 1)] = byte
    path = write(tmp_path / "m.gguf", bytes(content[: len(content) - cut]))
    try:
        check_model(path)
    except ModelLoadError as error:
        assert str(path) in str(error)


def test_control_tokens_are_those_the_tokenizer_would_take_for_more_than_text(tmp_path):
    tokens = ["a", "<|im_start|>", "  ", "<think>", "<0x0A>"]
    metadata = {**MODEL, "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": [1, 3, 4, 4, 6]}
    assert check_model(write(tmp_path / "m.gguf", gguf(metadata))).control_tokens == ("<|im_start|>", "<think>")


def test_an_adapter_made_for_this_model_fits(tmp_path):
    base = check_model(write(tmp_path / "m.gguf", gguf()))
    table = {"token_embd.weight.lora_a": (16, 2), "token_embd.weight.lora_b": (2, 8)}
    check_lora(write(tmp_path / "l.gguf", gguf(LORA, {**PAIR, **table})), base)


@pytest.mark.parametrize(
    ("metadata", "tensors", "complaint"),
    [
        (MODEL, TENSORS, "is not a LoRA adapter"),
        ({**LORA, "adapter.type": "control_vector"}, PAIR, "is not a LoRA adapter"),
        ({**LORA, "general.architecture": "qwen3"}, PAIR, "made for a qwen3 model"),
        (LORA, {"x": (1, 1)}, "holds no LoRA tensors"),
        (LORA, {"blk.9.attn_q.weight.lora_a": (8, 2), "blk.9.attn_q.weight.lora_b": (2, 4)}, "does not fit"),
        (LORA, {"blk.0.attn_q.weight.lora_a": (8, 2)}, "does not fit"),
        (LORA, {**PAIR, "blk.0.attn_q.weight.lora_a": (16, 2)}, r"is \(16, 4\), not \(8, 4\)"),
        (LORA, {**PAIR, "blk.0.attn_q.weight.lora_b": (3, 4)}, "does not fit"),
    ],
)
def test_an_adapter_that_does_not_fit_is_found_first(tmp_path, metadata, tensors, complaint: str):
    base = check_model(write(tmp_path / "m.gguf", gguf()))
    with pytest.raises(ModelLoadError, match=complaint):
        check_lora(write(tmp_path / "l.gguf", gguf(metadata, tensors)), base)
