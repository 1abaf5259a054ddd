"""Rows that share their passages are trained in one sequence: that must change nothing but the time it takes."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from finetune.encoding import IGNORED, Collator, Encoded, pack  # noqa: E402

pytestmark = pytest.mark.component

ROWS = [
    Encoded((5, 6, 7, 8, 9, 20, 21), (30, 31, 2)),
    Encoded((5, 6, 7, 8, 9, 22), (32, 2)),
    Encoded((5, 6, 7, 8, 9, 22, 23, 24), (33, 34, 35, 2)),
]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, attn_implementation="sdpa",
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


def reply_losses(model, ids, labels, **more):
    with torch.no_grad():
        scores = torch.log_softmax(model(input_ids=torch.tensor([ids]), **more).logits[0], dim=-1)
    return [-float(scores[at - 1, label]) for at, label in enumerate(labels) if label != IGNORED]


def test_a_packed_group_has_the_losses_of_its_rows(model):
    (packed,) = pack(ROWS, max_tokens=100)
    batch = Collator(pad_id=0)([packed.as_dict()])
    together = reply_losses(
        model,
        packed.input_ids,
        packed.labels,
        attention_mask=batch["attention_mask"],
        position_ids=batch["position_ids"],
    )
    alone = [
        loss
        for row in ROWS
        for loss in reply_losses(model, [*row.prompt, *row.reply], [IGNORED] * len(row.prompt) + list(row.reply))
    ]
    assert together == pytest.approx(alone, abs=1e-4)


def test_a_group_that_is_too_long_is_split_and_no_row_is_cut():
    packs = pack(ROWS, max_tokens=12)
    replies = [label for packed in packs for label in packed.labels if label != IGNORED]
    assert len(packs) == 3
    assert replies == [label for row in ROWS for label in row.reply]
    with pytest.raises(ValueError, match="raise it"):
        pack(ROWS, max_tokens=8)


def test_padding_changes_nothing(model):
    first, second = pack(ROWS[:1], max_tokens=100)[0], pack(ROWS, max_tokens=100)[0]
    batch = Collator(pad_id=0)([first.as_dict(), second.as_dict()])
    with torch.no_grad():
        padded = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], position_ids=batch["position_ids"]
        ).logits[0]
    alone = reply_losses(model, first.input_ids, first.labels)
    scores = torch.log_softmax(padded, dim=-1)
    found = [-float(scores[at - 1, label]) for at, label in enumerate(first.labels) if label != IGNORED]
    assert found == pytest.approx(alone, abs=1e-4)


def test_the_trainers_loss_is_the_mean_over_the_reply_tokens_alone(model):
    trl = pytest.importorskip("trl")
    from finetune.reply_trainer import ReplyTrainer

    (packed,) = pack(ROWS, max_tokens=100)
    batch = Collator(pad_id=0)([packed.as_dict()])
    losses = reply_losses(
        model,
        packed.input_ids,
        packed.labels,
        attention_mask=batch["attention_mask"],
        position_ids=batch["position_ids"],
    )
    trainer = ReplyTrainer.__new__(ReplyTrainer)  # the loss needs nothing of a trainer that is set up
    assert isinstance(trainer, trl.SFTTrainer)
    with torch.no_grad():
        loss = trainer.compute_loss(model, batch)
    assert float(loss) == pytest.approx(sum(losses) / len(losses), abs=1e-4)
