"""Runs llama.cpp's own server with four slots, from the package xllamacpp (not a dependency of this project).

``python engine_llama_cpp_server.py MODEL.gguf`` prints its address and serves until its input ends.
"""

import os
import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_parallel = 4
params.n_ctx = 4 * 2048
params.n_batch = params.n_ubatch = 256
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = os.cpu_count() or 1
params.hostnames = ["127.0.0.1"]
params.port = 0
params.warmup = True
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
