"""Strategy files that loop, eat memory or crash: told with file, line and bar, from outside."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from libs.common.runtime.trial import Limits, OverrunError, try_file
from libs.common.runtime.vetting import Vetting
from libs.common.strategy.errors import StrategyFileError
from libs.common.strategy.trial import Tried

BASES = "import numpy as np\nfrom libs.common.strategy import PythonStrategy, Strategy\n"
COMPILED = BASES + (
    "class Mine(Strategy):\n    class State:\n        seen = np.int64\n"
    "        ring = np.dtype(('f8', (20,)))\n    @staticmethod\n"
    "    def step(state, bar, params, out):\n        {0}\n"
)
PYTHON = BASES + (
    "class Mine(PythonStrategy):\n    class State:\n        kept = []\n"
    "    def step(self, bar, out):\n        {0}\n"
)
# Name of the case: source, line that is to be named, what is to be said, limit of loading.
BROKEN = {
    "loops in machine code": (
        COMPILED.format("while bar.close > 0:\n            state.seen += 1"), 7,
        "mine: bar 2020-01-02 00:00:00 UTC: took too much processor time; an endless loop?", 20,
    ),
    "writes beyond its array": (
        COMPILED.format("state.ring[state.seen] = 1.0\n        state.seen += 1"), 7,
        "of A: IndexError", 20,
    ),
    "eats memory": (
        PYTHON.format("self.state.kept.append(' ' * 10**8)"), 7, "of A: MemoryError", 20,
    ),
    "kills itself": (
        PYTHON.format("import os; os.abort()"), 7, "00:00:00 UTC: ended by SIGABRT", 20,
    ),
}  # fmt: skip
# Files that would take along whoever imports them: line that is to be named, what is to be said.
UNLOADABLE = {
    "x = 1\nwhile True: pass\n": (2, "took too much processor time"),
    "import time\ntime.sleep(1000)\n": (2, "does it wait for something?"),
    "x = []\nwhile True:\n    x.append(' ' * 10**8)\n": (3, "MemoryError"),
    "import os\n\nos.abort()\n": (3, "ended by SIGABRT"),
    "import os\nos._exit(0)\n": (0, "ended its process"),
}  # fmt: skip
GOOD = PYTHON.format("out.target = 1.0 if bar.close > bar.open else 0.0; print('noise')")


def tried(path: Path, load_s: float = 20) -> tuple[Tried, ...] | StrategyFileError:
    limits = Limits(load_s=load_s, step_s=1, memory_mb=512)
    try:
        return try_file(path, limits, path.parent / "cache")
    except StrategyFileError as error:
        return error


@pytest.mark.timeout(300)
def test_broken_files_are_told_with_line_and_bar_and_good_ones_pass(tmp_path: Path) -> None:
    paths = {}
    for i, (name, (source, *_)) in enumerate(BROKEN.items()):
        paths[name] = tmp_path / f"case{i}.py"
        paths[name].write_text(source)
    good = tmp_path / "good.py"
    good.write_text(GOOD)
    with ThreadPoolExecutor(2) as pool:
        limits = [case[3] for case in BROKEN.values()]
        *found, fine = pool.map(tried, [*paths.values(), good], [*limits, 20])
        answers = dict(zip(paths, found, strict=True))
    for name, (_, line, said, _) in BROKEN.items():
        answer = answers[name]
        assert isinstance(answer, StrategyFileError), (name, answer)
        assert (answer.path, answer.line) == (paths[name], line), (name, answer)
        assert said in answer.reason, (name, answer)
    assert isinstance(fine, tuple), fine
    (one,) = fine
    assert (one.name, one.kind) == ("mine", "python")
    assert one.bars > 500
    assert one.signals > 100


@pytest.mark.timeout(300)
def test_files_that_take_their_process_along_are_not_loaded_here(tmp_path: Path) -> None:
    vet = Vetting(limits=Limits(load_s=1.5, wall_s=60, memory_mb=512))

    def refusal(path: Path) -> StrategyFileError | None:
        try:
            vet(path)
        except StrategyFileError as error:
            return error
        return None

    paths = []
    for i, source in enumerate(UNLOADABLE):
        # Not the same from run to run: what is once known to load is not tried again.
        paths.append(tmp_path / f"case{i}.py")
        paths[-1].write_text(f"{source}# {tmp_path}\n")
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(refusal, paths))
    for path, answer, (line, said) in zip(paths, answers, UNLOADABLE.values(), strict=True):
        assert answer is not None, path.read_text()
        assert (answer.path, answer.line) == (path, line), answer
        assert said in answer.reason, answer
    again = tmp_path / "copy.py"
    again.write_bytes(paths[0].read_bytes())
    with pytest.raises(OverrunError, match=r"copy\.py:2: took too much"):
        vet(again)


def test_a_file_that_has_loaded_once_is_not_tried_again_and_trusted_ones_never(
    tmp_path: Path,
) -> None:
    ours, trusted = tmp_path / "ours", tmp_path / "trusted"
    for folder in (ours, trusted):
        folder.mkdir()
    # Whoever loads it leaves a mark.
    source = f"{GOOD}open({str(tmp_path / 'seen')!r}, 'a').write('x')\n"
    for folder in (ours, trusted):
        (folder / "mine.py").write_text(source)
    vet = Vetting([trusted])
    vet(trusted / "mine.py")
    assert not (tmp_path / "seen").exists()
    vet(ours / "mine.py")
    vet(ours / "mine.py")
    Vetting()(ours / "mine.py")
    assert (tmp_path / "seen").read_text() == "x"
    (ours / "mine.py").write_text(source + "1 / 0\n")
    with pytest.raises(StrategyFileError, match="ZeroDivisionError"):
        vet(ours / "mine.py")
