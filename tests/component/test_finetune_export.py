"""A small random model, its adapter and its pruned self through the real converter, quantiser and comparisons."""

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
tokenizers = pytest.importorskip("tokenizers")
pytest.importorskip("llama_cpp")

from chatbot.errors import ModelLoadError, SettingsError  # noqa: E402
from chatbot.prompting import Passage  # noqa: E402
from finetune.base_model import load_tokenizer, load_weights  # noqa: E402
from finetune.converter import convert_model, converter_folder  # noqa: E402
from finetune.export import export_model  # noqa: E402
from finetune.prune import pruned  # noqa: E402
from finetune.recipe import load_recipe  # noqa: E402
from finetune.rows import Row  # noqa: E402
from finetune.split import Split  # noqa: E402

pytestmark = [pytest.mark.component, pytest.mark.timeout(900)]

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
PASSAGE = Passage("a/fever", "Fever", "Rest helps. Drink water often. Call the clinic after 3 days.")
ROW = Row(
    "r", "alone", Split.VALIDATION, "g", (PASSAGE,), "What helps?", "Rest helps. [1]", ("a/fever",), "a/fever"
)  # fmt: skip
ROWS = [
    replace(ROW, question=question) for question in ("What helps?", "When do I call?", "Is water good?", "Why 3 days?")
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        converter_folder()
    except ModelLoadError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("base")
    words = tokenizers.Tokenizer(tokenizers.models.BPE())
    words.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=384, special_tokens=["<|im_start|>", "<|im_end|>"], show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    words.train_from_iterator([row.messages[0]["content"] + PASSAGE.text for row in ROWS], trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<|im_start|>", eos_token="<|im_end|>", chat_template=TEMPLATE
    )
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True, max_position_embeddings=4096, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    convert_model(folder / "model", folder / "base.gguf", pre_tokenizer="gpt-2")
    return folder


@pytest.fixture(scope="module")
def adapter(base: Path) -> Path:
    config = peft.LoraConfig(r=2, lora_alpha=4, target_modules="all-linear", task_type="CAUSAL_LM")
    torch.manual_seed(2)
    adapted = peft.get_peft_model(load_weights(str(base / "model")), config)
    with torch.no_grad():
        for name, weights in adapted.named_parameters():
            if "lora_B" in name:
                weights.normal_(std=0.05)
    adapted.save_pretrained(base / "adapter")
    return base / "adapter"


def test_what_is_exported_is_what_was_trained(base: Path, adapter: Path, tmp_path: Path):
    recipe = load_recipe("tiny").export
    counts = export_model(base / "model", base / "base.gguf", adapter, ROWS, tmp_path, recipe, threads=1)
    assert counts["checks"] == 6
    assert counts["red"] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "adapter.gguf", "model.gguf", "parity.json", "parity.md",
    ]  # fmt: skip
    assert "adapter over the base file" in (tmp_path / "parity.md").read_text()


def test_an_adapter_over_another_base_file_than_it_was_trained_on_is_red(base: Path, adapter: Path, tmp_path: Path):
    torch.manual_seed(3)
    other = load_weights(str(base / "model"))
    for weights in other.parameters():
        torch.nn.init.normal_(weights, std=0.2)
    other.save_pretrained(tmp_path / "other")
    load_tokenizer(base / "model").save_pretrained(tmp_path / "other")
    convert_model(tmp_path / "other", tmp_path / "other.gguf", pre_tokenizer="gpt-2")
    (tmp_path / "out").mkdir()
    recipe = load_recipe("tiny").export.model_copy(update={"merged": False})
    with pytest.raises(SettingsError, match=r"export: adapter over the base file, and torch: .*must not be served"):
        export_model(base / "model", tmp_path / "other.gguf", adapter, ROWS, tmp_path / "out", recipe, threads=1)


def test_a_pruned_model_goes_the_same_way(base: Path, tmp_path: Path):
    model, tokenizer = load_weights(str(base / "model")), load_tokenizer(base / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    prompts = [tokenizer(row.reply).input_ids for row in ROWS]
    pruned(model, tmp_path / "model" / "tokenizer.json", prompts, layers=1, feed_forward=96, vocabulary=320)
    model.save_pretrained(tmp_path / "model")
    recipe = load_recipe("tiny").export.model_copy(update={"adapter": False})
    (tmp_path / "out").mkdir()
    counts = export_model(tmp_path / "model", base / "base.gguf", None, ROWS, tmp_path / "out", recipe, threads=1)
    assert counts["checks"] == 5
    assert counts["red"] == 0
