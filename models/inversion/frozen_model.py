"""The model around a training: is it one to train on, held still meanwhile, and given back as it was."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.checkpoint import checkpoint

from models.inversion.loss import sized
from models.sdxl.single_file import why
from models.system.errors import UserError

if TYPE_CHECKING:
    from models.inversion.config import Config
    from models.sdxl.renderer import Model


def check(model: Model, config: Config) -> None:
    """Refuse what would train without an error and learn nonsense."""
    name, pipe, scheduler = repr(model.source.ref.name), model.pipe, model._own_scheduler
    if model.options.memory in ("offload", "sequential"):
        raise UserError("training needs the whole model on the device: set models.memory to none or vae")
    if not hasattr(scheduler, "alphas_cumprod"):
        raise UserError(f"model {name} was not trained on SD's noise: train on a model of SDXL or SD 1.x")
    kind = scheduler.config.get("prediction_type", "epsilon")
    if kind not in ("epsilon", "v_prediction"):
        raise UserError(f"model {name} predicts {kind!r}: training knows epsilon and v_prediction")
    if pipe.unet.config.in_channels != pipe.vae.config.latent_channels:
        raise UserError(f"model {name} reads more than noisy latents (is it for inpainting?): train on its base model")
    if sized(pipe.unet) and _time_ids(pipe.unet, model.encoders) != 6:
        raise UserError(f"model {name} reads aesthetic scores, as SDXL's refiner does: train on the base model")
    if config.compile and not model.device.startswith("cuda"):
        raise UserError(f"compile is for CUDA, and this model runs on {model.device}: leave compile off")


def _time_ids(unet: Any, encoders: Any) -> float:
    """How many numbers besides the pooled vector the UNet is told."""
    pooled = next((each.model.config.projection_dim for each in encoders if each.projected), 0)
    return (unet.config.projection_class_embeddings_input_dim - pooled) / unet.config.addition_time_embed_dim


class Still:
    """Holds a model still while a word is trained on it. `release` gives it back to the bit."""

    def __init__(self, model: Model, config: Config) -> None:
        self.model, self.config = model, config
        self._modes: list[tuple[torch.nn.Module, bool]] | None = None
        self._flags: list[tuple[torch.nn.Parameter, bool]] = []
        self._saved_twice: list[tuple[Any, bool, Any]] = []
        self._compiled: dict[Any, Any] = {}

    def hold(self) -> None:
        pipe = self.model.pipe
        parts = [pipe.unet, pipe.vae, *(encoder.model for encoder in self.model.encoders)]
        self.model._wear(())  # a LoRA from the last render would be trained around
        self._modes = [(module, module.training) for part in parts for module in part.modules()]
        self._flags = [(weight, weight.requires_grad) for part in parts for weight in part.parameters()]
        for part in parts:
            part.eval().requires_grad_(False)
        if self.model.device.startswith("cuda"):
            pipe.vae.to("cpu")  # the latents are there already; the room is better used
        if self.config.checkpointing:
            self._check_point(pipe.unet)
        if self.config.compile:
            self._compile(pipe.unet)

    def release(self) -> None:
        if self._modes is None:
            return
        self.model.pipe.vae.to(self.model.device)
        for module, mode in self._modes:
            module.training = mode
        for weight, flag in self._flags:
            weight.requires_grad_(flag)
        for module, flag, function in self._saved_twice:
            module.gradient_checkpointing, module._gradient_checkpointing_func = flag, function
        for module in self._compiled:
            module._compiled_call_impl = None
        self._modes, self._saved_twice = None, []

    @contextmanager
    def held(self) -> Iterator[None]:
        try:
            self.hold()
            yield
        finally:
            self.release()

    @contextmanager
    def released(self) -> Iterator[None]:
        """For a while given back, if it was held."""
        held = self._modes is not None
        self.release()
        try:
            yield
        finally:
            if held:
                self.hold()

    def _check_point(self, unet: Any) -> None:
        self._saved_twice = [
            (module, module.gradient_checkpointing, getattr(module, "_gradient_checkpointing_func", None))
            for module in unet.modules()
            if hasattr(module, "gradient_checkpointing")
        ]
        unet.enable_gradient_checkpointing(_twice)

    def _compile(self, unet: Any) -> None:
        """Also to be undone: compiled blocks render other last bits than the environment on record says."""
        if self.model.options.compile != "off":
            return
        if not self._compiled:
            unet.compile_repeated_blocks(fullgraph=True)
            self._compiled = {each: each._compiled_call_impl for each in unet.modules() if each._compiled_call_impl}
        for module, call in self._compiled.items():
            module._compiled_call_impl = call


def _twice(module: Any, *args: Any) -> Any:
    # Nothing in there is random, so the random state need not be kept (which would wait for the GPU).
    return checkpoint(module.__call__, *args, use_reentrant=False, preserve_rng_state=False)


@contextmanager
def computing(model: Model, config: Config, side: int) -> Iterator[None]:
    """Around each step: repeatable kernels, and plain words for what goes wrong."""
    torch.set_num_threads(model.threads)  # of the whole process, so another model may have changed it
    try:
        # Out of the caller's inference_mode or no_grad: this ends both.
        with torch.inference_mode(False), _repeatable(model.device, config.exact):
            yield
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"the GPU has too little memory to train at {side}x{side} with batches of {config.batch}: "
            "switch checkpointing on, or lower batch and raise accumulation"
        ) from error
    except Exception as error:
        if not config.compile or not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        raise UserError(
            f"the model cannot be compiled here ({why(error)}): install a C++ compiler or leave compile off"
        ) from error


@contextmanager
def _repeatable(device: str, exact: bool) -> Iterator[None]:
    """Attention's backward pass adds up in any order on CUDA, unless it is told not to."""
    if not exact or not device.startswith("cuda"):
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # of kernels that have no other form
        try:
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.utils.deterministic.fill_uninitialized_memory = False  # a safety net for debugging, at a price
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
            torch.utils.deterministic.fill_uninitialized_memory = fill
