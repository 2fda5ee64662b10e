"""A GPU for machines that have none: what would raise on CUDA raises here, the rest is computed.

A `Pretended` wraps a CPU tensor and says that it lies on cuda:0; every operation unwraps, computes
on the CPU for real, and wraps. One that meets both kinds raises as CUDA does, and so do `.numpy()`
and a generator of the other device. To C++ the wrapper lies on "meta", as PyTorch's FakeTensor
does: autograd asks each device for its guard, and a CPU build has none for CUDA. `pretend_gpu()`
gives the machine one card, with random numbers and the autocast rules of CUDA.

What it cannot show: kernels that differ (fused attention, cuFFT, rounding, strides of results),
memory, several cards. And `Module.to` exchanges parameters, where CUDA keeps the objects.
"""

import functools
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten

DOUBLE = torch.float64
CARD = torch.device("cuda:0")
ELSEWHERE = ("cuda", "meta")
"""What C++ calls the card: cuda where Python named it, meta where it asks a wrapper."""

AUTOCAST = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCUDA)

# PyTorch's rules (aten/src/ATen/autocast_mode.h); what else has a rule there computes in float32.
IN_LOW_PRECISION = {
    *("_convolution", "conv1d", "conv2d", "conv3d", "conv_tbc", "convolution", "prelu", "linear"),
    *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "matmul", "einsum", "mm", "mv"),
    *("addmm", "addmv", "addr", "addbmm", "baddbmm", "bmm", "chain_matmul", "linalg_multi_dot"),
    *("linalg_vecdot", "scaled_dot_product_attention", "gru_cell", "lstm_cell"),
}
IN_THE_WIDEST = {
    *("addcdiv", "addcmul", "atan2", "bilinear", "cross", "dot", "vdot", "grid_sampler"),
    *("index_put", "tensordot", "scatter_add"),
}


class Pretended(Tensor):
    """A tensor that claims to lie on cuda:0; `held` is the CPU tensor that it is."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "Pretended":
        # A view of a normal tensor is one within inference mode, too.
        with torch.inference_mode(held.is_inference()):
            wrapper = torch.Tensor._make_wrapper_subclass(
                cls,
                held.shape,
                strides=held.stride(),
                storage_offset=held.storage_offset(),
                dtype=held.dtype,
                device="meta",
                _extra_dispatch_keys=AUTOCAST,
            )
        wrapper.held = held
        return wrapper

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})

    device = property(lambda self: CARD)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)
    is_meta = property(lambda self: False)

    def get_device(self) -> int:
        return 0

    def tolist(self) -> Any:
        return self.held.tolist()

    def numpy(self, *_: object, **__: object) -> None:
        raise TypeError(
            "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor "
            "to host memory first."
        )

    __array__ = numpy

    def data_ptr(self) -> int:
        raise RuntimeError("there is no pointer into the memory of a card that is not there")

    def __deepcopy__(self, memo: dict[int, Any]) -> "Pretended":
        if id(self) not in memo:
            copied = Pretended(self.held.clone())
            if getattr(self, "_is_param", False):
                copied._is_param = True
            memo[id(self)] = copied.requires_grad_(self.requires_grad)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: int) -> Any:
        # A file does not remember the card: `torch.load` without `map_location` is not tested.
        return self.held.detach().__reduce_ex__(protocol)

    def __format__(self, specification: str) -> str:
        return format(self.held, specification)

    def __repr__(self, **_: object) -> str:
        return f"Pretended({self.held!r})"


def run(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """One operation, on the CPU tensors within; refuses what CUDA refuses."""
    there: list[Pretended] = []
    here: list[Tensor] = []

    def unwrapped(x: Tensor) -> Tensor:
        if isinstance(x, Pretended):
            there.append(x)
            return x.held
        here.append(x)
        return x

    inside = changed(args, unwrapped), {k: changed(x, unwrapped) for k, x in kwargs.items()}
    if there and here and not may_mix(func, args, here):
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"cuda:0 and cpu! (in {func})"
        )
    if there:
        _refuse_types(func, there)
    asked = kwargs.get("device")
    on_card = bool(there) if asked is None else asked.type in ELSEWHERE
    if asked is not None:
        inside[1]["device"] = torch.device("cpu")
    if func is aten.copy_.default:
        on_card = isinstance(args[0], Pretended)

    generator = kwargs.get("generator")
    if generator is not None:
        _refuse_generator(generator, on_card)
    elif on_card and torch.Tag.nondeterministic_seeded in func.tags:
        func = _drawn_there(func)
    result = func(*inside[0], **inside[1])
    if not on_card:
        return result
    same = {id(x.held): x for x in there}  # what is changed in place stays the tensor it is
    return changed(result, lambda x: same[id(x)] if id(x) in same else Pretended(x))


def changed(x: Any, change: Callable[[Tensor], Any]) -> Any:
    """An argument or a result with all of its tensors changed."""
    if isinstance(x, Tensor):
        return change(x)
    if isinstance(x, tuple | list) and not isinstance(x, torch.Size):
        return type(x)([changed(part, change) for part in x])
    return x


def may_mix(func: Any, args: tuple, here: list[Tensor]) -> bool:
    """Whether CUDA takes these CPU tensors beside its own."""
    if func in (aten._to_copy.default, aten.copy_.default):
        return True
    if func in (aten.index.Tensor, aten.index_put.default, aten.index_put_.default):
        # Indices may lie on the CPU, and so may a single value.
        elsewhere = [leaf for leaf in here if not any(leaf is index for index in args[1])]
        return isinstance(args[0], Pretended) and all(leaf.ndim == 0 for leaf in elsewhere)
    if isinstance(args[0], Tensor) and not isinstance(args[0], Pretended) and _in_place(func):
        return False  # what is changed is on the CPU
    scalars = (aten.masked_fill.Tensor, aten.masked_fill_.Tensor, aten.fill_.Tensor)
    takes_scalars = torch.Tag.pointwise in func.tags or func in scalars
    return takes_scalars and all(leaf.ndim == 0 for leaf in here)


PRODUCTS = [getattr(aten, name).default for name in ["mm", "bmm", "addmm", "baddbmm", "mv", "dot"]]
NORMS = [aten.native_layer_norm.default, aten.native_group_norm.default]


def _refuse_types(func: Any, tensors: list[Pretended]) -> None:
    """What the CPU computes and CUDA has no kernel for."""
    if func in PRODUCTS and not all(x.is_floating_point() or x.is_complex() for x in tensors):
        raise NotImplementedError(f'"{func.name()}_cuda" not implemented for {tensors[0].dtype}')
    if func in NORMS and len(types := {x.dtype for x in tensors}) > 1:
        raise RuntimeError(f"expected one scalar type but found {types} (in {func})")


def _in_place(func: Any) -> bool:
    return func._schema.name.endswith("_") and not func._schema.name.endswith("__")


# ---- random numbers ------------------------------------------------------------------------------

_generators: "weakref.WeakValueDictionary[int, PretendedGenerator]" = weakref.WeakValueDictionary()
"""Those of the card, by the address of what C++ hands on of them."""


class PretendedGenerator(torch.Generator):
    """`torch.Generator` that also takes "cuda"."""

    def __new__(cls, device: torch.device | str = "cpu") -> "PretendedGenerator":
        generator = super().__new__(cls)
        generator._device = torch.device(device)
        if generator._device.type == "cuda":
            generator._device = CARD
            _generators[generator._cdata] = generator
        return generator

    device = property(lambda self: self._device)


def _refuse_generator(generator: torch.Generator, on_card: bool) -> None:
    of_card = generator._cdata in _generators
    if of_card != on_card:
        wanted, found = ("cuda", "cpu") if on_card else ("cpu", "cuda")
        raise RuntimeError(f"Expected a '{wanted}' device type for generator but found '{found}'")


def _drawn_there(func: Any) -> Any:
    """The operation with the card's random numbers.

    Not every one takes a generator: the CPU's own lends its place to the card's.
    """

    def drawn(*args: Any, **kwargs: Any) -> Any:
        outside = torch.get_rng_state()
        torch.set_rng_state(_default_generator().get_state())
        try:
            return func(*args, **kwargs)
        finally:
            _default_generator().set_state(torch.get_rng_state())
            torch.set_rng_state(outside)

    return drawn


@functools.cache
def _default_generator() -> torch.Generator:
    return torch._C.Generator()


# ---- autocast ------------------------------------------------------------------------------------


@contextmanager
def _autocast_rules() -> Iterator[None]:
    """CUDA's rules, for wrappers: the C++ ones look for tensors of which C++ says "cuda"."""
    library = torch.library.Library("aten", "IMPL", "AutocastCUDA")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that rules are replaced
            for name in _with_autocast_rule():
                packet, _, overload = name.removeprefix("aten::").partition(".")
                op = getattr(getattr(aten, packet), overload or "default")
                library.impl(op, _autocast_rule(op, packet), allow_override=True)
        yield
    finally:
        library._destroy()


@functools.cache
def _with_autocast_rule() -> list[str]:
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    names = torch._C._dispatch_get_all_op_names()
    return [n for n in names if n.startswith("aten::") and has_kernel(n, "AutocastCUDA")]


def _autocast_rule(op: Any, name: str) -> Callable[..., Any]:
    def rule(*args: Any, **kwargs: Any) -> Any:
        target: torch.dtype | None = torch.float32
        if name in IN_LOW_PRECISION:
            target = torch.get_autocast_dtype("cuda")
        elif name in IN_THE_WIDEST:
            target = None
        elif kwargs.get("dtype") is not None:
            return redispatched(*args, **kwargs)
        kinds: list[torch.dtype] = []

        def cast(x: Tensor) -> Tensor:
            if not isinstance(x, Pretended) or not x.is_floating_point() or x.dtype == DOUBLE:
                return x
            kinds.append(x.dtype)
            return x if target is None else x.to(target)

        inside = changed(args, cast), {key: changed(x, cast) for key, x in kwargs.items()}
        if target is None and kinds:
            target = functools.reduce(torch.promote_types, kinds)
            inside = changed(args, cast), {key: changed(x, cast) for key, x in kwargs.items()}
        return redispatched(*inside[0], **inside[1])

    def redispatched(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(AUTOCAST):
            return op(*args, **kwargs)

    return rule


# ---- the card ------------------------------------------------------------------------------------


class _Card(TorchDispatchMode):
    """Sees what is made on the card and what is moved there, which no wrapper is in yet."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


def _in_thread(work: Callable[[threading.Thread], None], self: threading.Thread) -> None:
    """A thread's work: what sees to the card is known to the thread that asked for it alone."""
    with _Card():
        work(self)


def _to(move: Callable[..., Tensor], self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """`Tensor.to`, which in C++ asks "cuda" for its index, and copies from "meta" to "cuda"."""
    if args and isinstance(args[0], Tensor):
        args = (args[0].device, args[0].dtype, *args[1:])
    copy = kwargs.pop("copy", False)
    device, dtype, _, memory_format = torch._C._nn._parse_to(*args, **kwargs)
    wanted = self.device if device is None else device
    if "cuda" not in (wanted.type, self.device.type):
        return move(self, *args, copy=copy, **kwargs)
    if wanted.type == self.device.type and dtype in (None, self.dtype) and not copy:
        return self
    if wanted.type == "cuda":
        wanted = CARD
    return aten._to_copy(self, dtype=dtype, device=wanted, memory_format=memory_format)


def _tensor(make: Callable[..., Tensor], data: Any, **settings: Any) -> Tensor:
    """`torch.tensor`, which in C++ moves what it made without asking anybody."""
    device = torch.device(settings.pop("device", None) or "cpu")
    return make(data, **settings).to(device)


def _manual_seed(seed: int) -> None:
    _default_generator().manual_seed(seed)


TORCH_CUDA: dict[str, Any] = {
    "_lazy_init": lambda: None,
    "is_available": lambda: True,
    "is_initialized": lambda: True,
    "is_bf16_supported": lambda *_: True,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "set_device": lambda device: None,
    "device": lambda device: nullcontext(),
    "synchronize": lambda device=None: None,
    "get_device_name": lambda device=None: "pretended",
    "max_memory_allocated": lambda device=None: 0,
    "mem_get_info": lambda device=None: (10**9, 10**9),
    "manual_seed": _manual_seed,
    "manual_seed_all": _manual_seed,
    "get_rng_state": lambda device="cuda": _default_generator().get_state(),
    "set_rng_state": lambda state, device="cuda": _default_generator().set_state(state),
}


@contextmanager
def pretend_gpu() -> Iterator[None]:
    """Within this, the machine has one card."""
    with ExitStack() as stack:
        for name, value in TORCH_CUDA.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        to, tensor, work = torch.Tensor.to, torch.tensor, threading.Thread.run
        for where, name, value in (
            (torch.Tensor, "to", lambda self, *args, **kwargs: _to(to, self, *args, **kwargs)),
            (torch.Tensor, "cuda", lambda self, *_, **__: _to(to, self, CARD)),
            (torch, "tensor", lambda data, **settings: _tensor(tensor, data, **settings)),
            (torch, "Generator", PretendedGenerator),
            (threading.Thread, "run", lambda self: _in_thread(work, self)),
        ):
            stack.enter_context(mock.patch.object(where, name, value))
        stack.enter_context(_autocast_rules())
        stack.enter_context(_Card())
        yield
