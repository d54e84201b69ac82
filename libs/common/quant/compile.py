"""The one door to Numba: compiled functions whose disk cache never outlives its sources.

Numba stamps a cached function with the hash of *its own* file. A strategy in `strategies/`
inlines indicators from this package, so after an upgrade of an indicator Numba would go on
running the old machine code. The locators below add the hash of the whole package to the stamp.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import inspect
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final, TypeVar, cast

import numba
from numba.core import caching, typeinfer

F = TypeVar("F", bound=Callable[..., Any])

_PACKAGE: Final = Path(__file__).parent

# What pickle raises for bytes that are cut short or name what is no longer there.
UNREADABLE: Final = (
    ImportError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    EOFError,
    pickle.UnpicklingError,
)


def _spare_scipy() -> None:
    """Import Numba's array functions without SciPy's linear algebra.

    They ask whether it is there by importing it, a fifth of the time that a short command takes. To
    ask whether SciPy is installed gives the same answer; whoever compiles `np.dot` imports it then.
    """
    name = "scipy.linalg.cython_blas"
    if name in sys.modules or importlib.util.find_spec("scipy") is None:
        return
    sys.modules[name] = ModuleType(name)
    try:
        importlib.import_module("numba.np.arraymath")
    finally:
        del sys.modules[name]


_spare_scipy()


@functools.cache
def package_stamp(package: Path = _PACKAGE) -> str:
    """Return the SHA-256 over names and contents of all Python files under `package`."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


class _Stamped:
    """Adds the package's stamp to that of the function's own file, and keeps modules apart.

    Cached code finds its globals through the name of its module, so a file that is loaded under
    two names (`strategies.sma_cross`, and by the strategy loader) has two caches.
    """

    def __init__(self, py_func: Callable[..., Any], py_file: str) -> None:
        super().__init__(py_func, py_file)  # type: ignore[call-arg]
        self._module = hashlib.sha256(py_func.__module__.encode()).hexdigest()[:8]

    def get_source_stamp(self) -> tuple[Any, str]:
        """Return what a cached function must match to be used."""
        return super().get_source_stamp(), package_stamp()  # type: ignore[misc]

    def get_disambiguator(self) -> str:
        """Return what tells apart functions of the same file and name."""
        return f"{super().get_disambiguator()}-{self._module}"  # type: ignore[misc]


class UserProvidedLocator(_Stamped, caching.UserProvidedCacheLocator):
    """`NUMBA_CACHE_DIR`, where it is set."""


class InTreeLocator(_Stamped, caching.InTreeCacheLocator):
    """`__pycache__` beside the file, where it can be written."""


class UserWideLocator(_Stamped, caching.UserWideCacheLocator):
    """The user's cache directory, else."""


_LOCATORS: Final = (UserProvidedLocator, InTreeLocator, UserWideLocator)
vars(numba.config)["CACHE_LOCATOR_CLASSES"] = ",".join(
    f"{__name__}.{locator.__name__}" for locator in _LOCATORS
)


def compiled(function: F) -> F:
    """Return `function` compiled in nopython mode on its first call, cached on disk.

    Division by zero gives inf or NaN as in NumPy. No fast-math: sums keep their order, products
    and sums are not fused, so the same inputs give the same bits wherever it is called from.
    On a file system where nothing can be written the function is compiled anew in each process.
    """
    return cast(F, _njit(function))


def compiled_loop(function: F) -> F:
    """Return `function` as `compiled` does; while it runs, other threads of Python may too.

    For what works on many bars at a time: a sweep runs it in threads. Not for a single step, which
    would pay for letting go of the interpreter and taking it back.
    """
    return cast(F, _njit(function, nogil=True))


def compiled_step(function: F) -> F:
    """Return `function` as `compiled` does; LLVM takes it into whatever calls it by name.

    Left to itself it calls all but the smallest, and what a step decides then goes through memory.
    """
    return cast(F, _njit(function, forceinline=True))


def compiled_as(signature: Any, function: Callable[..., Any]) -> Any:
    """Return `function` compiled now for `signature` (Numba's) alone; else as `compiled_loop`."""
    return _njit(function, signature, nogil=True)


def specialised(template: Callable[..., Any], inner: Any, signature: Any) -> Any:
    """Return `template`, whose first argument is a compiled function, compiled with `inner` in that
    place and taken in; `signature` is Numba's of the rest. It runs without the interpreter's lock.

    Numba would not keep such code on disk, for a function handed over as an argument or closed over
    has no name that outlives the process. Here it is a global of a copy of the template, whose name
    says which function of which module, in which version of its file, was taken in.
    """
    made = _with_global(template, template.__code__.co_varnames[0], inner)
    source = Path(inner.py_func.__code__.co_filename)
    if not source.is_file():
        return numba.njit(signature, error_model="numpy", nogil=True)(made)
    digest = hashlib.sha256(source.read_bytes())
    digest.update(f"{inner.py_func.__module__}.{inner.py_func.__qualname__}".encode())
    made.__qualname__ = f"{template.__qualname__}_{digest.hexdigest()[:16]}"
    return _njit(made, signature, nogil=True)


def _with_global(template: Callable[..., Any], name: str, value: Any) -> FunctionType:
    """Return `template` without its first argument, `name`, which is a global of it instead."""
    tree = ast.parse(inspect.getsource(template))
    definition = tree.body[0]
    assert isinstance(definition, ast.FunctionDef)
    assert definition.args.args.pop(0).arg == name
    ast.increment_lineno(tree, template.__code__.co_firstlineno - 1)
    scope = {**template.__globals__, name: value}
    # This module's own __future__ annotations hold for the copy too.
    code = compile(tree, template.__code__.co_filename, "exec")
    exec(code, scope)  # nosec B102 # a copy of one of our own functions
    made = scope[template.__name__]
    assert isinstance(made, FunctionType)
    return made


class _Index(caching.IndexDataCacheFile):
    """The files of one function's cache. What cannot be read counts as absent.

    Numba reads the types of an index before it compares the stamp, so an index that is older than
    the deletion of a module stopped every import with ModuleNotFoundError.
    """

    def _load_index(self) -> dict[Any, str]:
        try:
            return cast(dict[Any, str], super()._load_index())  # type: ignore[no-untyped-call]
        except UNREADABLE:
            return {}

    def load(self, key: Any) -> Any:
        """Return the entry, None if there is none that can be read."""
        try:
            return super().load(key)  # type: ignore[no-untyped-call]
        except UNREADABLE:
            return None


class _Cache(caching.FunctionCache):
    """Numba's cache of one function, on such files."""

    def __init__(self, py_func: Callable[..., Any]) -> None:
        super().__init__(py_func)  # type: ignore[no-untyped-call]
        stamp = self._impl.locator.get_source_stamp()
        place = self._cache_path, self._impl.filename_base
        self._cache_file = _Index(*place, stamp)  # type: ignore[no-untyped-call]


def _njit(
    function: Callable[..., Any],
    signature: Any = None,
    *,
    nogil: bool = False,
    forceinline: bool = False,
) -> Any:
    options: dict[str, Any] = {"nogil": nogil, "forceinline": forceinline}
    made: Any = numba.njit(error_model="numpy", **options)(function)
    try:
        made._cache = _Cache(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
    if signature is not None:
        # As Numba does where it is given a signature; but then it makes its own cache first.
        with typeinfer.register_dispatcher(made):
            made.compile(signature)
            made.disable_compile()
    return made
