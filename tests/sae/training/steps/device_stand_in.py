"""A stand-in for a CUDA device on a CPU: tensors that claim to be on `cuda:0`, and refuse what CUDA refuses.

It imitates only the placement of tensors, not how or when a device computes. For PyTorch's own code the tensors are on
`meta`, the only device beside the CPU that every build of PyTorch supports fully.
"""

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE, META, CPU = torch.device("cuda", 0), torch.device("meta"), torch.device("cpu")
aten = torch.ops.aten
COPIES = (aten._to_copy, aten.copy_)
INDEXING = (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_)  # indices may be on the CPU
TAKE_NUMBERS = (*INDEXING[1:], aten.masked_fill, aten.masked_fill_, aten.fill_, aten.fill)


class OnDevice(torch.Tensor):
    """A tensor on the device. `held`, a CPU tensor, has its numbers; a view of it holds a view of `held`."""

    device, is_cuda, is_cpu, is_meta = DEVICE, True, False, False
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "OnDevice":
        """A tensor of the shape and strides of `held`."""
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        return torch.Tensor._make_wrapper_subclass(cls, held.size(), **layout, device=META)

    def __init__(self, held: torch.Tensor) -> None:
        self.held = held
        self.streams: list = []

    def record_stream(self, stream) -> None:
        """Record a stream that its memory is kept for."""
        self.streams.append(stream)

    def numpy(self, *, force: bool = False):
        """An array, only with `force`, as on CUDA."""
        if not force:
            raise TypeError(f"can't convert {DEVICE} device type tensor to numpy. Use Tensor.cpu() to copy it first")
        return self.held.clone().numpy()

    def __array__(self, dtype=None):
        return self.numpy()

    def data_ptr(self) -> int:
        """Refused: code on the CPU cannot use an address on a device."""
        raise RuntimeError("code on the CPU asked for the address of a tensor on a device")

    def tolist(self):
        """The numbers as nested lists."""
        return self.held.tolist()

    def __repr__(self) -> str:
        return f"OnDevice({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _computed(function, args, kwargs or {})


class _Dispatch(TorchDispatchMode):
    """Handles functions that create tensors, and copies to the device."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _computed(function, args, kwargs or {})


class _Names(TorchFunctionMode):
    """Replaces the device `cuda` by `meta` in arguments, before PyTorch's own code sees them."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.device:
            return function(*args, **kwargs or {})
        args, kwargs = map(_as_meta, args), {name: _as_meta(value) for name, value in (kwargs or {}).items()}
        if function in (torch.tensor, torch.as_tensor) and kwargs.get("device") == META:
            # On `meta` these functions would create tensors without numbers.
            return function(*args, **kwargs | {"device": CPU}).to(META)
        return function(*args, **kwargs)


@contextlib.contextmanager
def device_stand_in() -> Iterator[torch.device]:
    """A context in which this thread has a device `cuda`. Other threads can only use tensors that exist already."""
    with _Dispatch(), _Names():
        yield torch.device("cuda")


def _as_meta(value):
    named = isinstance(value, str) and value.split(":")[0] == "cuda"
    return META if named or (isinstance(value, torch.device) and value.type == "cuda") else value


def _computed(function, args: tuple, kwargs: dict):
    """The result of a function, on the device if an argument is there or the `device` argument says so."""
    tensors = list(_tensors((args, tuple(kwargs.values()))))
    there = {id(tensor.held): tensor for tensor in tensors if isinstance(tensor, OnDevice)}
    if any(tensor.is_meta for tensor in tensors):
        raise NotImplementedError(f"{function}: got a `meta` tensor, which has no numbers")
    target = kwargs.get("device")
    target = META if target is None and there else torch.device(target or CPU)
    if there and function.overloadpacket not in COPIES:
        _refuse_mixtures(function, args, kwargs)
    if target == META and "device" in kwargs:
        kwargs = kwargs | {"device": CPU}
    result = function(*_changed(_held, args), **{name: _changed(_held, value) for name, value in kwargs.items()})
    if function.overloadpacket is aten.copy_:
        return args[0]
    if target != META:
        return result
    return _changed(lambda tensor: there[id(tensor)] if id(tensor) in there else OnDevice(tensor), result)


def _refuse_mixtures(function, args: tuple, kwargs: dict) -> None:
    """Raise if CPU and device tensors are mixed where CUDA does not allow it."""
    packet = function.overloadpacket
    for place, (argument, value) in enumerate(zip(function._schema.arguments, args, strict=False)):
        if packet in INDEXING and place == 1 and isinstance(args[0], OnDevice):
            continue
        numbers = torch.Tag.pointwise in function.tags or (packet in TAKE_NUMBERS and place)
        written = argument.alias_info is not None and argument.alias_info.is_write
        _refuse(function, value, numbers=numbers and not written)
    _refuse(function, tuple(kwargs.values()), numbers=False)


def _refuse(function, values, *, numbers: bool) -> None:
    for tensor in _tensors(values):
        if not isinstance(tensor, OnDevice) and not (numbers and tensor.dim() == 0):
            raise RuntimeError(
                f"{function}: Expected all tensors to be on the same device, but found at least two devices, "
                f"{DEVICE} and cpu!"
            )


def _held(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.held if isinstance(tensor, OnDevice) else tensor


def _tensors(values) -> Iterator[torch.Tensor]:
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)


def _changed(change: Callable[[torch.Tensor], torch.Tensor], values):
    """`values` with `change` applied to every tensor."""
    if isinstance(values, (list, tuple)):
        return type(values)(_changed(change, value) for value in values)
    return change(values) if isinstance(values, torch.Tensor) else values
