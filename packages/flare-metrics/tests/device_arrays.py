"""A stand-in for CuPy: arrays of its own that refuse to become NumPy arrays unasked.

Functions and methods do what NumPy's do. What real CuPy would refuse, mixing with arrays in main
memory above all, is refused here too, so that code can be tested without a device.
"""

import types

import numpy as np

# Functions that CuPy has as NumPy has them.
_FUNCTIONS = [
    "abs",
    "arange",
    "argsort",
    "bincount",
    "concatenate",
    "count_nonzero",
    "cumsum",
    "empty",
    "flatnonzero",
    "full",
    "full_like",
    "isinf",
    "isin",
    "maximum",
    "minimum",
    "nonzero",
    "not_equal",
    "ones",
    "pad",
    "stack",
    "unique",
    "where",
    "zeros",
]


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

    def __getitem__(self, key):
        return _wrapped(self.host[_key(key)])

    def __setitem__(self, key, value):
        self.host[_key(key)] = _unwrapped(value)

    def __iter__(self):
        return map(_wrapped, self.host)

    def __len__(self):
        return len(self.host)


def _operator(name):
    def call(self, *others):
        result = getattr(self.host, name)(*map(_unwrapped, others))
        return result if name in ("__int__", "__float__", "__bool__") else _wrapped(result)

    return call


for _name in [
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
]:
    for _kind in ("__{}__", "__r{}__", "__i{}__"):
        setattr(ndarray, _kind.format(_name), _operator(_kind.format(_name)))
for _name in ["eq", "ne", "lt", "le", "gt", "ge", "neg", "invert", "abs", "int", "float", "bool"]:
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


def _key(key):
    return tuple(map(_unwrapped, key)) if isinstance(key, tuple) else _unwrapped(key)


def _function(function):
    def call(*args, **kwargs):
        args, kwargs = map(_unwrapped, args), {k: _unwrapped(v) for k, v in kwargs.items()}
        return _wrapped(function(*args, **kwargs))

    return call


def stand_in():
    """Return a module that can take the place of ``cupy`` in `sys.modules`."""
    module = types.ModuleType("cupy")
    module.ndarray = ndarray
    for name in _FUNCTIONS:
        setattr(module, name, _function(getattr(np, name)))
    module.asarray = lambda value, *rest: ndarray(
        np.array(value.host if isinstance(value, ndarray) else value, *rest)
    )
    module.asnumpy = lambda array: array.host.copy()
    return module


ndarray.__module__ = "cupy"
