"""The model around a training: check that it can be trained on, freeze it meanwhile, and restore it afterwards."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.checkpoint import checkpoint

from models.inversion.loss import is_size_conditioned
from models.sdxl.single_file import first_sentence
from models.system.errors import UserError

if TYPE_CHECKING:
    from models.inversion.config import Config
    from models.sdxl.renderer import Renderer


def check_trainable(model: Renderer, config: Config) -> None:
    """Refuse models that would train without an error and learn nonsense."""
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
    if is_size_conditioned(pipe.unet) and _count_time_ids(pipe.unet, model.encoders) != 6:
        raise UserError(f"model {name} reads aesthetic scores, as SDXL's refiner does: train on the base model")
    if config.compile and not model.device.startswith("cuda"):
        raise UserError(f"compile is for CUDA, and this model runs on {model.device}: leave compile off")


def _count_time_ids(unet: Any, encoders: Any) -> float:
    """Return how many numbers the UNet takes besides the pooled vector."""
    pooled = next((encoder.model.config.projection_dim for encoder in encoders if encoder.projected), 0)
    return (unet.config.projection_class_embeddings_input_dim - pooled) / unet.config.addition_time_embed_dim


class FrozenModel:
    """Freezes a model while an embedding is trained on it. `restore_model` restores it to the bit."""

    def __init__(self, model: Renderer, config: Config) -> None:
        self.model, self.config = model, config
        self._modes: list[tuple[torch.nn.Module, bool]] | None = None
        self._flags: list[tuple[torch.nn.Parameter, bool]] = []
        self._saved_twice: list[tuple[Any, bool, Any]] = []
        self._compiled: dict[Any, Any] = {}

    def freeze_model(self) -> None:
        pipe = self.model.pipe
        parts = [pipe.unet, pipe.vae, *(encoder.model for encoder in self.model.encoders)]
        self.model._apply_loras(())  # a LoRA from the last render would be trained around
        self._modes = [(module, module.training) for part in parts for module in part.modules()]
        self._flags = [(weight, weight.requires_grad) for part in parts for weight in part.parameters()]
        for part in parts:
            part.eval().requires_grad_(False)
        if self.model.device.startswith("cuda"):
            pipe.vae.to("cpu")  # the latents are there already; the room is better used
        if self.config.checkpointing:
            self._enable_checkpointing(pipe.unet)
        if self.config.compile:
            self._compile_unet(pipe.unet)

    def restore_model(self) -> None:
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
    def while_frozen(self) -> Iterator[None]:
        try:
            self.freeze_model()
            yield
        finally:
            self.restore_model()

    @contextmanager
    def while_restored(self) -> Iterator[None]:
        """Restore the model for a while, if it was frozen."""
        was_frozen = self._modes is not None
        self.restore_model()
        try:
            yield
        finally:
            if was_frozen:
                self.freeze_model()

    def _enable_checkpointing(self, unet: Any) -> None:
        self._saved_twice = [
            (module, module.gradient_checkpointing, getattr(module, "_gradient_checkpointing_func", None))
            for module in unet.modules()
            if hasattr(module, "gradient_checkpointing")
        ]
        unet.enable_gradient_checkpointing(_call_checkpointed)

    def _compile_unet(self, unet: Any) -> None:
        """Compile the UNet's blocks. It must be undone: compiled blocks render other last bits than recorded."""
        if self.model.options.compile != "off":
            return
        if not self._compiled:
            unet.compile_repeated_blocks(fullgraph=True)
            self._compiled = {block: block._compiled_call_impl for block in unet.modules() if block._compiled_call_impl}
        for module, call in self._compiled.items():
            module._compiled_call_impl = call


def _call_checkpointed(module: Any, *args: Any) -> Any:
    # Nothing in there is random, so the random state need not be kept (which would wait for the GPU).
    return checkpoint(module.__call__, *args, use_reentrant=False, preserve_rng_state=False)


@contextmanager
def training_context(model: Renderer, config: Config, side: int) -> Iterator[None]:
    """Surround each step with repeatable kernels and plain error messages."""
    torch.set_num_threads(model.threads)  # of the whole process, so another model may have changed it
    try:
        # Out of the caller's inference_mode or no_grad: this ends both.
        with torch.inference_mode(False), _deterministic_kernels(model.device, config.exact):
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
            f"the model cannot be compiled here ({first_sentence(error)}): install a C++ compiler or leave compile off"
        ) from error


@contextmanager
def _deterministic_kernels(device: str, exact: bool) -> Iterator[None]:
    """Use deterministic kernels: on CUDA, attention's backward pass otherwise adds up in any order."""
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
