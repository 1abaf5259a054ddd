"""A stand-in for ``llama_worker.py``: speaks its protocol without a model. The model's file name says what goes wrong.

Each start appends a line to the model file, so that a test can count starts and make only the first one fail.
"""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

config = json.loads(sys.stdin.readline())
model = Path(config["model"])
wrong = model.stem
with model.open("a") as file:
    file.write("plain\n" if config["plain_kernels"] else "usual\n")
starts = len(model.read_text().splitlines())
first = starts == 1
busy_since = 0.0
ballast = []


def watch() -> None:
    while sys.stdin.read(1):
        pass
    os._exit(0)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if wrong == "deaf" and first:
            time.sleep(60)
        busy = 60.0 if wrong == "stuck" and first else 0.0
        self.answer({"status": "ok", "busy_s": busy})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Authorization"] != f"Bearer {config['key']}":
            self.send_response(401)
            self.end_headers()
            return
        if wrong == "crashes" and not config["plain_kernels"]:
            os.kill(os.getpid(), signal.SIGSEGV)
        if wrong == "always-crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.path == "/starve":
            print("Exception ignored in thread started by: <function>\nMemoryError:", file=sys.stderr, flush=True)
            time.sleep(60)
        if self.path == "/grow":
            ballast.append(bytearray(os.urandom(1024) * 1024 * 200))
        self.answer({"count": 3})

    def answer(self, content: dict) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


threading.Thread(target=watch, daemon=True).start()
if wrong == "dies":
    print("no such instruction", file=sys.stderr)
    sys.exit(3)
if wrong == "refuses":
    print(json.dumps({"error": "ValueError: unknown\narchitecture"}), flush=True)
    sys.exit(0)
if wrong == "hangs":
    time.sleep(60)
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(json.dumps({"port": server.server_address[1]}), flush=True)
server.serve_forever()
