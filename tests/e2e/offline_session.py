"""One session of the program where there is no network at all; started by test_offline.py in a namespace of its own.

Brings loopback up, starts the server under strace, asks through the page's own HTTP as a browser does, asks once
more with the command, and writes what it saw as JSON to standard output.
"""

import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
QUESTION = "When should I see a doctor about a fever?"
STRACE = ["strace", "-f", "-qq", "--seccomp-bpf", "-s", "200", "-e", "trace=connect,sendto,sendmsg,sendmmsg,execve"]
START_S = 240


def main() -> None:
    """Run the session: arguments are the command that serves, then ``--``, then the command that asks."""
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    cut = sys.argv.index("--")
    serve, ask = sys.argv[3:cut], sys.argv[cut + 1 :]
    raise_loopback()
    seen: dict[str, Any] = {"interfaces": [name for _, name in socket.if_nameindex()]}
    with (folder / "serve.log").open("wb") as log:
        server = subprocess.Popen(
            [*STRACE, "-o", folder / "serve.trace", *serve],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        seen["page"] = wait_for(url, server)
        seen["reply"] = ask_the_page(url)
        asked = subprocess.run([*STRACE, "-o", folder / "ask.trace", *ask, QUESTION], capture_output=True, check=False)
        seen["ask"] = {"status": asked.returncode, "out": asked.stdout.decode(), "err": asked.stderr.decode()}
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)
    print(json.dumps(seen))


def raise_loopback() -> None:
    """Bring up ``lo``, as ``ip link set lo up`` would."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0))
        flags = struct.unpack("16sh14x", answer)[1]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def wait_for(url: str, server: "subprocess.Popen[bytes]") -> str:
    """Return the page, as soon as it is served."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=10) as page:
                return str(page.read().decode())
        except OSError:
            time.sleep(0.5)
    raise SystemExit(f"the page did not come up (status {server.poll()})")


def ask_the_page(url: str) -> str:
    """Return everything the page is told to show after the question was typed and sent."""
    with urllib.request.urlopen(f"{url}/config", timeout=30) as answer:
        config = json.load(answer)
    box = next(part["id"] for part in config["components"] if part["props"].get("elem_id") == "question")
    submit = next(call for call in config["dependencies"] if [box, "submit"] in [list(t) for t in call["targets"]])
    session = "offline"
    body = {"data": [QUESTION], "fn_index": submit["id"], "trigger_id": box, "session_hash": session}
    join = urllib.request.Request(
        f"{url}{config['api_prefix']}/queue/join", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(join, timeout=30):
        pass
    told: list[str] = []
    with urllib.request.urlopen(f"{url}{config['api_prefix']}/queue/data?session_hash={session}", timeout=60) as events:
        for line in events:
            told.append(line.decode())
            if '"process_completed"' in told[-1]:
                break
    return "".join(told)


if __name__ == "__main__":
    main()
