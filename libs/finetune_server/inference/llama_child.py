"""The child that runs llama.cpp: its own HTTP server, made safe, every adapter loaded but switched off."""

import sys
import threading
from collections.abc import Callable

import xllamacpp

from finetune_server.inference.engine_config import EngineConfig

_ERRORS_ONLY = 1
"""llama.cpp's verbosity that says what goes wrong, and never what is asked or answered."""
_PROMPT_CACHE_MIB = 256
"""For prompts that have lost their slot; llama.cpp itself would take up to 8 GiB.

Not with adapters: this cache finds a prompt by its tokens, whichever adapter has read it, so that one model
would answer with what another has in mind (https://github.com/ggml-org/llama.cpp/issues/26207). A slot's own
cache is emptied when its adapter changes.
"""
_OFF = 0.0


def serve(config: EngineConfig, announce: Callable[[str], None]) -> None:
    """Load the model and its adapters, say where they answer, and do so until the process ends."""
    try:
        server = xllamacpp.Server(_parameters(config))
    except RuntimeError as error:
        sys.exit(f"llama.cpp cannot load {config.model_path} with {len(config.adapters)} adapters: {error}")
    announce(server.listening_address)
    threading.Event().wait()


def _parameters(config: EngineConfig) -> xllamacpp.CommonParams:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(config.model_path)
    # Without a scale of 0 here an adapter would be on for every request that does not name it.
    parameters.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(path), _OFF) for path in config.adapters]
    parameters.n_ctx = config.context_length
    parameters.n_parallel = config.num_slots
    # One context for all slots: otherwise each has its share only, and a long prompt does not fit.
    parameters.kv_unified = True
    parameters.cache_ram_mib = 0 if config.adapters else _PROMPT_CACHE_MIB
    parameters.cpuparams.n_threads = config.num_threads
    parameters.cpuparams_batch.n_threads = config.num_threads
    # Trying out how much fits on which device takes a second load; there is the CPU, and it must fit.
    parameters.fit_params = False
    _make_safe(parameters, config.key)
    return parameters


def _make_safe(parameters: xllamacpp.CommonParams, key: str) -> None:
    """Leave open what the server needs, for the server alone."""
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [key]
    parameters.cors_origins = ""
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.endpoint_props = False
    parameters.verbosity = _ERRORS_ONLY
