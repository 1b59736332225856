"""Supervised fine-tuning, from a job to its adapter."""

import errno
import hashlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson
from peft import LoraConfig, get_peft_model
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, TrainingArguments, set_seed

from finetune_server.bases import Base, resolve_base
from finetune_server.training.adapter_gguf import write_adapter_gguf
from finetune_server.training.adapter_trainer import AdapterTrainer, load_adapter, measure
from finetune_server.training.base_model import hugging_face_dir
from finetune_server.training.checkpoints import Checkpoint, Checkpoints
from finetune_server.training.collator import Layout, collate
from finetune_server.training.device import Device, choose_device
from finetune_server.training.epochs import ADAPTER_GGUF, EpochAdapters
from finetune_server.training.errors import TrainingStopped, UnsupportedBaseError
from finetune_server.training.events import EventLog, write_step_metrics
from finetune_server.training.examples import Example, RowSource, load_tokenizer, read_examples
from finetune_server.training.job import TrainingJob
from finetune_server.training.plan import Plan, make_plan
from finetune_server.training.progress import Progress
from finetune_server.training.shared_prefix import can_share, collate_shared, shared_length
from finetune_server.training.stop_request import StopRequest

LORA: Final = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}

_NOT_THE_BASES_FAULT: Final = frozenset({errno.ENOMEM, errno.ENOSPC, errno.EDQUOT})
_ADAPTER_DIR: Final = "adapter"
_STEP_METRICS: Final = "step_metrics.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setup:
    """Everything a training needs but the model."""

    job: TrainingJob
    base: Base
    base_dir: Path
    rows: list[Example]
    held_out: list[Example]
    layout: Layout
    plan: Plan
    device: Device


def train_supervised(job: TrainingJob, log: EventLog, stop: StopRequest) -> dict[str, Any]:
    """Trains a job from where it stands to its end, and returns what `result.json` says of it.

    Raises:
        TrainingError: The job cannot succeed.
        TrainingStopped: The server wants it to go on later.
        UnknownBase: The base is not (any more) to be had.
    """
    setup = _set_up(job)
    checkpoints = Checkpoints(job.directory / "checkpoints", _identity(setup))
    checkpoint, skipped = checkpoints.newest()
    for step in skipped:
        message = f"The checkpoint at step {step} is damaged or of another training, and is skipped"
        log.message(message, {"step": step}, level="warn")
    _announce(setup, log, checkpoint)
    model = _load_model(setup)
    start = time.monotonic()
    progress = _progress(setup, model, log, checkpoints, stop)
    _train(setup, model, progress, checkpoint, stop)
    train_seconds = time.monotonic() - start
    return {
        "status": "succeeded",
        "trained_tokens": setup.plan.trained_tokens,
        "steps": setup.plan.total_steps,
        **_write_outputs(setup, model),
        "base_sha256": setup.base.sha256,
        "train_seconds": train_seconds,
    }


def _set_up(job: TrainingJob) -> _Setup:
    base = resolve_base(job.base)
    base_dir = hugging_face_dir(base, job.bases_dir)
    tokenizer = load_tokenizer(base_dir)
    read = partial(read_examples, tokenizer=tokenizer, context_length=base.context_length)
    rows = read(RowSource(job.training_file, "training_file"))
    held_out = read(RowSource(job.validation_file, "validation_file")) if job.validation_file else []
    device = choose_device()
    is_shared = can_share(
        AutoConfig.from_pretrained(base_dir, local_files_only=True, trust_remote_code=False)
    )
    plan = make_plan(
        job.hyperparameters,
        [len(row.tokens) for row in rows],
        tokens_at_once=device.tokens_at_once,
        shared_length=shared_length(rows) if is_shared else 0,
    )
    return _Setup(
        job=job,
        base=base,
        base_dir=base_dir,
        rows=rows,
        held_out=held_out,
        layout=collate_shared if is_shared else collate,
        plan=plan,
        device=device,
    )


def _identity(setup: _Setup) -> str:
    """What is trained on what and how: a checkpoint of anything else is not gone on from."""
    with setup.job.training_file.open("rb") as file:
        rows_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    plan = setup.plan
    what = [setup.base.sha256, rows_sha256, plan.resolved(), plan.learning_rate, LORA, setup.job.seed]
    return hashlib.sha256(orjson.dumps(what)).hexdigest()


def _announce(setup: _Setup, log: EventLog, checkpoint: Checkpoint | None) -> None:
    plan = setup.plan
    text = (
        f"Training {setup.base.name} on {plan.num_rows} rows: {plan.n_epochs} epochs,"
        f" {plan.total_steps} steps, on {setup.device.describe()}"
    )
    data = {
        "phase": "started",
        **plan.resolved(),
        "total_steps": plan.total_steps,
        "trained_tokens_total": plan.trained_tokens,
        "resumed_from_step": checkpoint.step if checkpoint else None,
    }
    log.message(text, data)


def _load_model(setup: _Setup) -> Any:
    # The adapter starts at random numbers.
    set_seed(setup.job.seed)
    name = setup.base.name
    try:
        model = AutoModelForCausalLM.from_pretrained(
            setup.base_dir,
            dtype=setup.device.dtype,
            attn_implementation="sdpa" if setup.device.is_cuda else setup.plan.attention,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
        model.config.use_cache = False
        lora = LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **LORA)
        model = get_peft_model(model, lora, autocast_adapter_dtype=False)
    except (ValueError, OSError, ImportError, SafetensorError) as error:
        if isinstance(error, OSError) and error.errno in _NOT_THE_BASES_FAULT:
            raise
        msg = (
            f"The base model {name} cannot be loaded ({type(error).__name__}); trainer.log in the job's "
            "directory says more. Another base may do."
        )
        raise UnsupportedBaseError(msg) from error
    # The adapter goes where the directory of the converted base does not.
    model.active_peft_config.base_model_name_or_path = name
    return model


def _progress(
    setup: _Setup, model: Any, log: EventLog, checkpoints: Checkpoints, stop: StopRequest
) -> Progress:
    has_gguf = setup.base.gguf_path is not None
    look = partial(measure, model, setup.held_out, setup.plan.rows_at_once, setup.layout)
    return Progress(
        setup.plan,
        log,
        checkpoints=checkpoints,
        epochs=EpochAdapters(setup.job.directory / "epochs", setup.base_dir, has_gguf),
        stop=stop,
        validate=look if setup.held_out else None,
    )


def _train(
    setup: _Setup, model: Any, progress: Progress, checkpoint: Checkpoint | None, stop: StopRequest
) -> None:
    if checkpoint is not None and checkpoint.step >= setup.plan.total_steps:
        load_adapter(model, checkpoint.path)
        return
    trainer = AdapterTrainer(model, _arguments(setup), setup.rows, progress, setup.layout)
    stop.hear()
    trainer.train(resume_from_checkpoint=str(checkpoint.path) if checkpoint else None)
    if trainer.state.global_step < setup.plan.total_steps:
        raise TrainingStopped


def _arguments(setup: _Setup) -> TrainingArguments:
    plan, is_cuda = setup.plan, setup.device.is_cuda
    return TrainingArguments(
        output_dir=str(_scratch_dir(setup)),
        num_train_epochs=plan.n_epochs,
        per_device_train_batch_size=plan.rows_at_once,
        gradient_accumulation_steps=plan.batch_size // plan.rows_at_once,
        gradient_checkpointing=plan.recomputes_activations,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        learning_rate=plan.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=plan.warm_up_steps,
        max_grad_norm=1.0,
        weight_decay=0.0,
        optim="adamw_torch",
        seed=setup.job.seed,
        use_cpu=not is_cuda,
        dataloader_pin_memory=is_cuda,
        remove_unused_columns=False,
        logging_strategy="no",
        save_strategy="no",  # `Progress` says when
        report_to="none",
        disable_tqdm=True,
    )


def _scratch_dir(setup: _Setup) -> Path:
    return setup.job.directory / "trainer"


def _write_outputs(setup: _Setup, model: Any) -> dict[str, str | None]:
    directory = setup.job.directory
    adapter_dir = directory / _ADAPTER_DIR
    _replace_dir(adapter_dir, partial(model.save_pretrained, save_embedding_layers=False))
    has_gguf = setup.base.gguf_path is not None
    if has_gguf:
        write_adapter_gguf(adapter_dir, setup.base_dir, directory / ADAPTER_GGUF)
    write_step_metrics(directory / "events.jsonl", directory / _STEP_METRICS)
    shutil.rmtree(_scratch_dir(setup), ignore_errors=True)
    return {
        "adapter_dir": _ADAPTER_DIR,
        "adapter_gguf": ADAPTER_GGUF if has_gguf else None,
        "result_csv": _STEP_METRICS,
    }


def _replace_dir(target: Path, write: Callable[[Path], None]) -> None:
    temporary = target.with_name(f"{target.name}.new")
    for leftover in (temporary, target):
        shutil.rmtree(leftover, ignore_errors=True)
    write(temporary)
    temporary.rename(target)
