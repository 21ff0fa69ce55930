"""A stand-in for CuPy: arrays of its own that refuse to become NumPy arrays unasked.

Functions and methods do what NumPy's do. What real CuPy would refuse, mixing with arrays in main
memory above all, is refused here too. Kernels are compiled by the C compiler of this machine, from
the text that a device would get, and run over the elements one after the other.
"""

import ctypes
import shutil
import subprocess
import tempfile
import types
from pathlib import Path

import numpy as np

COMPILER = next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)

# Functions that CuPy has as NumPy has them.
_FUNCTIONS = ["empty", "full", "maximum", "take", "unique", "where", "zeros"]
_C_TYPES = {
    "bool": "_Bool",
    "int8": "signed char",
    "uint8": "unsigned char",
    "int16": "short",
    "uint16": "unsigned short",
    "int32": "int",
    "uint32": "unsigned int",
    "int64": "long long",
    "uint64": "unsigned long long",
}
_PRELUDE = """
static unsigned long long atomicAdd(unsigned long long *where, unsigned long long more) {
    unsigned long long before = *where;
    *where = before + more;
    return before;
}
"""


class ndarray:  # noqa: N801  # the name that CuPy gives it
    """An array that only this module's functions take."""

    __array_priority__ = 100
    __array_ufunc__ = None

    def __init__(self, host):
        self.host = host

    def __array__(self, *args, **kwargs):
        raise TypeError("implicit conversion to a NumPy array is not allowed")

    def __getattr__(self, name):
        if name.startswith("__"):
            # `__array_interface__` would be a way round `__array__`.
            raise AttributeError(name)
        value = getattr(self.host, name)
        return _function(value) if callable(value) else _wrapped(value)

    @property
    def data(self):
        return types.SimpleNamespace(ptr=self.host.ctypes.data)

    @property
    def device(self):
        return types.SimpleNamespace(id=0)

    def __getitem__(self, key):
        return _wrapped(self.host[_unwrapped(key)])

    def __setitem__(self, key, value):
        self.host[_unwrapped(key)] = _unwrapped(value)

    def __len__(self):
        return len(self.host)


def _operator(name):
    def call(self, *others):
        result = getattr(self.host, name)(*map(_unwrapped, others))
        return result if name in ("__int__", "__float__", "__bool__") else _wrapped(result)

    return call


for _name in ["add", "sub", "mul", "and", "or", "xor"]:
    for _kind in ("__{}__", "__r{}__", "__i{}__"):
        setattr(ndarray, _kind.format(_name), _operator(_kind.format(_name)))
for _name in ["eq", "ne", "lt", "le", "gt", "ge", "invert", "int", "bool"]:
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
ndarray.__hash__ = None


def _wrapped(value):
    # As in CuPy, a single number is an array too.
    if isinstance(value, np.ndarray | np.generic):
        return ndarray(np.asarray(value))
    return tuple(map(_wrapped, value)) if isinstance(value, tuple) else value


def _unwrapped(value):
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, list | tuple):
        return type(value)(map(_unwrapped, value))
    return value.host if isinstance(value, ndarray) else value


def _function(function):
    def call(*args, **kwargs):
        args, kwargs = map(_unwrapped, args), {k: _unwrapped(v) for k, v in kwargs.items()}
        return _wrapped(function(*args, **kwargs))

    return call


class ElementwiseKernel:
    """A kernel of the kind of `cupy.ElementwiseKernel`, run by the processor."""

    def __init__(self, inputs, outputs, body, name):
        self._inputs, self._outputs = _parameters(inputs), _parameters(outputs)
        self._run = _compiled(self._inputs, self._outputs, body, name)

    def __call__(self, *arrays):
        parameters = [*self._inputs, *self._outputs]
        hosts = [_unwrapped(array) for array in arrays]
        shapes = set()
        for (raw, kind, name), host in zip(parameters, hosts, strict=True):
            assert host.dtype == np.dtype(kind), (name, host.dtype, kind)
            if not raw:
                shapes.add(host.shape)
        (shape,) = shapes
        # The processor's loop takes elements that lie behind each other.
        dense = [np.array(host, order="C") for host in hosts]
        self._run(
            ctypes.c_longlong(int(np.prod(shape))),
            *(ctypes.c_void_p(each.ctypes.data) for each in dense),
        )
        for host, each in list(zip(hosts, dense, strict=True))[len(self._inputs) :]:
            host[...] = each


def _parameters(text):
    """Return (whole, type, name) of each."""
    found = []
    for part in text.split(","):
        *raw, kind, name = part.split()
        assert raw in ([], ["raw"]) and kind in _C_TYPES
        found.append((bool(raw), kind, name))
    return found


def _compiled(inputs, outputs, body, name):
    text = kernel_source(inputs, outputs, body, name)
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "kernel.c", Path(folder) / "kernel.so"
        source.write_text(text, encoding="ascii")
        subprocess.run(
            [COMPILER, "-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused",
             "-Wno-type-limits", "-shared", "-fPIC", "-o", library, source],
            check=True,
        )  # fmt: skip
        return getattr(ctypes.CDLL(str(library)), name)


def kernel_source(inputs, outputs, body, name):
    """Return a C file with a loop over the elements around the body."""
    arguments, before, after = ["long long _size"], [], []
    for written, parameters in ((False, inputs), (True, outputs)):
        const = "" if written else "const "
        for raw, kind, each in parameters:
            kind = _C_TYPES[kind]
            if raw:
                arguments.append(f"{const}{kind} *{each}")
                continue
            arguments.append(f"{const}{kind} *_{each}")
            before.append(f"{kind} {each};" if written else f"{const}{kind} {each} = _{each}[_k];")
            if written:
                after.append(f"_{each}[_k] = {each};")
    return "\n".join(
        [_PRELUDE, f"void {name}({', '.join(arguments)}) {{",
         "for (long long _k = 0; _k < _size; ++_k) {",
         *before, "{", body, "}", *after, "}}", ""]
    )  # fmt: skip


def same(here, there, asnumpy):
    """Assert that two results, one of a device, are equal."""
    assert (asnumpy(there.label_map) == here.label_map).all()
    assert there.label_map.shape == here.label_map.shape
    assert there.label_map.dtype == here.label_map.dtype
    assert (there.provenance is None) == (here.provenance is None)
    if here.provenance is not None:
        assert (asnumpy(there.provenance) == here.provenance).all()
        assert there.provenance.dtype == np.uint8
    assert (there.agreement is None) == (here.agreement is None)
    if here.agreement is not None:
        assert (there.agreement.labels == here.agreement.labels).all()
        assert (there.agreement.voxels == here.agreement.voxels).all()
        assert there.agreement.sources == here.agreement.sources


def stand_in():
    """Return a module that can take the place of ``cupy`` in `sys.modules`."""
    module = types.ModuleType("cupy")
    module.ndarray = ndarray
    module.ElementwiseKernel = ElementwiseKernel
    for name in _FUNCTIONS:
        setattr(module, name, _function(getattr(np, name)))
    module.asarray = lambda value, *rest: ndarray(
        np.array(value.host if isinstance(value, ndarray) else value, *rest)
    )
    module.asnumpy = lambda array: array.host.copy()
    return module


ndarray.__module__ = "cupy"
