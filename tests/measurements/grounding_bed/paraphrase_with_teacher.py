"""Ask a larger model for other wordings of vetted sentences; the result is then read and labelled by hand.

python tests/measurements/grounding_bed/paraphrase_with_teacher.py MODEL.gguf OUT.jsonl --count 300
"""

import argparse
import hashlib
import json
from pathlib import Path

from llama_cpp import Llama

from chatbot.grounding.support import is_sentence, vetted
from chatbot.knowledge import load_knowledge

PROJECT = Path(__file__).resolve().parents[3]
STYLES = (
    "Rewrite the sentence in other words. Keep every fact, number and 'not'. Write one sentence.",
    "Say the same in plain, friendly words to a patient. Add nothing, leave nothing out. Write one sentence.",
    "Rephrase the sentence: change the order of its parts or some of its words, never its meaning. One sentence.",
)


def _place(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=300)
    args = parser.parse_args()
    rows = []
    for answer in load_knowledge(PROJECT / "knowledge").answers.values():
        for statement in vetted(answer.title, answer.text).statements:
            text = statement.text
            if 6 <= len(text.split()) <= 30 and ". " not in text and ":" not in text and is_sentence(text):
                rows.append((_place(answer.id + text), answer.id, text))
    chosen, taken = [], {}
    for _, answer_id, text in sorted(rows):  # at most three of one answer
        if taken.get(answer_id, 0) < 3:
            taken[answer_id] = taken.get(answer_id, 0) + 1
            chosen.append((answer_id, text))
    model = Llama(str(args.model), n_ctx=1024, n_threads=1, verbose=False, seed=1)
    with args.out.open("w", encoding="utf-8") as file:
        for number, (answer_id, text) in enumerate(chosen[: args.count]):
            style = STYLES[number % len(STYLES)]
            messages = [{"role": "system", "content": style}, {"role": "user", "content": text}]
            reply = model.create_chat_completion(messages, temperature=0, max_tokens=60, seed=1)
            said = " ".join(str(reply["choices"][0]["message"]["content"]).split())
            file.write(json.dumps({"answer": answer_id, "from": text, "text": said}, ensure_ascii=False) + "\n")
            file.flush()


if __name__ == "__main__":
    main()
