"""Bases and adapters that cannot be used are one clear line, and nothing is left behind."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
tokenizers = pytest.importorskip("tokenizers")

from chatbot.errors import ModelLoadError  # noqa: E402
from finetune.base_model import merged_model, unpack_base  # noqa: E402

pytestmark = pytest.mark.component


def small_model(*, layers: int = 2, hidden: int = 32):
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=300, hidden_size=hidden, intermediate_size=64, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)


@pytest.fixture
def base(tmp_path):
    small_model().save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def adapter_for(model, folder):
    config = peft.LoraConfig(r=2, lora_alpha=4, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(model, config)
    with torch.no_grad():
        for name, weights in adapted.named_parameters():
            if "lora_B" in name:
                weights.fill_(0.1)
    adapted.save_pretrained(folder)
    return folder


def test_an_adapter_changes_the_base_it_was_trained_on(base, tmp_path):
    merged = merged_model(base, adapter_for(small_model(), tmp_path / "adapter"))
    plain = merged_model(base, None)
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        assert not torch.allclose(merged(ids).logits, plain(ids).logits)


@pytest.mark.parametrize("other", [{"layers": 3}, {"layers": 1}, {"hidden": 48}], ids=str)
def test_an_adapter_of_another_base_is_one_clear_line(base, tmp_path, other):
    adapter = adapter_for(small_model(**other), tmp_path / "adapter")
    with pytest.raises(ModelLoadError, match=r"does not fit .*; train it on this base"):
        merged_model(base, adapter)


def test_an_adapter_that_is_not_there_is_one_clear_line(base, tmp_path):
    with pytest.raises(ModelLoadError, match="does not fit"):
        merged_model(base, tmp_path / "nothing")


def test_a_base_without_a_chat_template_is_refused_before_anything_is_written(base, tmp_path):
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<unk>": 0, "</s>": 1}, unk_token="<unk>"))
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>").save_pretrained(base)
    target = tmp_path / "unpacked"
    with pytest.raises(ModelLoadError, match=r"has no chat template; choose an instruct"):
        unpack_base(str(base), target)
    assert not target.exists()
