"""Writes small GGUF files, right and wrong, and serves files like the model hub."""

import re
import struct
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from loopback import Loopback, QuietHandler

Shape = tuple[int, ...]
MODEL = {"general.architecture": "llama", "tokenizer.chat_template": "{{ messages }}"}
LORA = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora"}
TENSORS: dict[str, Shape] = {"token_embd.weight": (8, 16), "blk.0.attn_q.weight": (8, 4)}


def gguf(metadata: dict[str, Any] | None = None, tensors: dict[str, Shape] | None = None) -> bytes:
    """Return a GGUF file of float32 zeros; lists of strings and of integers are the arrays it knows."""
    metadata = MODEL if metadata is None else metadata
    tensors = TENSORS if tensors is None else tensors
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata))
    head += b"".join(_string(key) + _value(value) for key, value in metadata.items())
    data = b""
    for name, shape in tensors.items():
        head += _string(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        head += struct.pack("<IQ", 0, len(data))
        size = 4
        for length in shape:
            size *= length
        data += bytes(-(-size // 32) * 32)
    return head + bytes(-len(head) % 32) + data


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + _string(value)
    if isinstance(value, int):
        return struct.pack("<Ii", 5, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value[0], str):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(_string(text) for text in value)
    return struct.pack("<IIQ", 9, 5, len(value)) + struct.pack(f"<{len(value)}i", *value)


class Hub(Loopback):
    """A stand-in for the model hub: one file at any path, with ranges, that can be made to fail."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.break_off_after: list[int] = []  # bytes that the next answers send before they hang up
        self.statuses: list[int] = []  # what the next answers are, before any file
        self.ranges = True
        self.pause_s = 0.0
        self.asked: list[tuple[str, str | None]] = []  # path and range
        hub = self

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                hub.answer(self)

        super().__init__(Handler)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.asked.append((handler.path, asked))
        if self.statuses:
            handler.send_response(self.statuses.pop(0))
            handler.end_headers()
            return
        start = int(re.findall(r"\d+", asked)[0]) if asked and self.ranges else 0
        if start > len(self.content):
            handler.send_response(416)
            handler.end_headers()
            return
        rest = self.content[start:]
        handler.send_response(206 if asked and self.ranges else 200)
        handler.send_header("Content-Length", str(len(rest)))
        handler.end_headers()
        limit = self.break_off_after.pop(0) if self.break_off_after else len(rest)
        for at in range(0, limit, 256):
            handler.wfile.write(rest[at : min(at + 256, limit)])
            time.sleep(self.pause_s)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
