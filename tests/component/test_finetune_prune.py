"""What pruning takes out is what matters least, and what is left still computes the same."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

from chatbot.errors import SettingsError  # noqa: E402
from finetune.importance import mean_squares  # noqa: E402
from finetune.prune import (  # noqa: E402
    block_influence,
    drop_layers,
    narrow_feed_forward,
    pruned,
    trim_vocabulary,
)

pytestmark = pytest.mark.component

PROMPTS = [[3, 1, 4, 1, 5, 9, 2, 6], [2, 7, 1, 8, 2, 8]]
WORDS = "rest and drink water call the clinic if the fever lasts more than three days " * 20


@pytest.fixture
def model():
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=320, hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


@pytest.fixture
def tokenizer_file(tmp_path):
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<end>"], initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator([WORDS], trainer)
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def logits(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0].numpy()


def test_a_layer_that_changes_nothing_goes_first_and_is_not_missed(model):
    with torch.no_grad():  # layer 1 adds nothing to what passes through it
        model.model.layers[1].self_attn.o_proj.weight.zero_()
        model.model.layers[1].mlp.down_proj.weight.zero_()
    before = logits(model, PROMPTS[0])
    influence = block_influence(model, PROMPTS)
    assert influence[1] == pytest.approx(0, abs=1e-6)
    assert influence[3] == np.inf  # the last layer cannot be judged, so it stays
    assert drop_layers(model, influence, 1) == [1]
    assert model.config.num_hidden_layers == 3
    assert np.allclose(before, logits(model, PROMPTS[0]), atol=1e-5)


def test_units_that_are_never_used_go_first_and_are_not_missed(model):
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.up_proj.weight[1::2] = 0  # every second unit is always silent
    before = logits(model, PROMPTS[0])
    narrow_feed_forward(model, mean_squares(model, PROMPTS), 32)
    assert model.model.layers[0].mlp.down_proj.weight.shape == (32, 32)
    assert model.config.intermediate_size == 32
    assert np.allclose(before, logits(model, PROMPTS[0]), atol=1e-5)


def test_a_smaller_vocabulary_still_writes_every_text_and_scores_its_tokens_the_same(model, tokenizer_file):
    before = logits(model, PROMPTS[0])
    trim_vocabulary(model, tokenizer_file, 280)
    small = tokenizers.Tokenizer.from_file(str(tokenizer_file))
    ids = small.encode("call the clinic, ½ day").ids
    assert max(ids) < 280
    assert small.decode(ids) == "call the clinic, ½ day"
    assert np.allclose(before[:, :280], logits(model, PROMPTS[0]), atol=1e-6)
    assert model.config.vocab_size == 280


def test_all_three_together_leave_a_model_that_loads_again(model, tokenizer_file, tmp_path):
    found = pruned(model, tokenizer_file, PROMPTS, layers=1, feed_forward=32, vocabulary=280)
    assert found["smaller"] > 0.2
    model.save_pretrained(tmp_path / "small")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "small")
    assert np.allclose(logits(model, PROMPTS[1]), logits(again, PROMPTS[1]), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"layers": 4}, "prune.layers: 4 of 4"),
        ({"feed_forward": 65}, "prune.feed_forward: 65 is not between 1 and 64"),
        ({"vocabulary": 100}, "prune.vocabulary: with 100 of "),
    ],
)
def test_pruning_that_cannot_be_is_one_clear_line(model, tokenizer_file, change, told):
    before = tokenizer_file.read_text()
    with pytest.raises(SettingsError, match=told):
        pruned(model, tokenizer_file, PROMPTS, **{"layers": 0, "feed_forward": 0, "vocabulary": 0, **change})
    assert json.loads(tokenizer_file.read_text()) == json.loads(before)
