"""Run the benchmarks: `python -m benchmarks [NAME …] [--write]`.

NAME is a module without its prefix (`risk` for bench_risk). With --write the results replace those
of the same benchmarks in docs/benchmarks.md.
"""

from __future__ import annotations

import datetime as dt
import importlib
import sys
from pathlib import Path

from benchmarks.results import HEADINGS, Measurement, machine, rows, show

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "benchmarks.md"


def names() -> list[str]:
    """Return the names of all benchmarks."""
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def section(name: str, title: str, measurements: list[Measurement], day: dt.date) -> str:
    """Return the Markdown of one benchmark between its marks."""
    lines = [
        f"<!-- bench:{name} -->",
        f"### {title}",
        "",
        f"`python -m benchmarks {name}` · {day.isoformat()} · {machine()}",
        "",
        "| " + " | ".join(HEADINGS) + " |",
        "|" + "---|" * len(HEADINGS),
        *("| " + " | ".join(row) + " |" for row in rows(measurements)),
        f"<!-- /bench:{name} -->",
    ]
    return "\n".join(lines)


def replaced(page: str, name: str, text: str) -> str:
    """Return `page` with the section of benchmark `name` replaced by `text`, or added."""
    begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    if begin not in page:
        return page.rstrip() + "\n\n" + text + "\n"
    head, _, rest = page.partition(begin)
    return head + text + rest.partition(end)[2]


def main() -> None:
    """Run what was asked for, or everything."""
    arguments = sys.argv[1:]
    write = "--write" in arguments
    wanted = [name for name in arguments if not name.startswith("-")] or names()
    unknown = [name for name in wanted if name not in names()]
    if unknown:
        sys.exit(f"no benchmark is called {', '.join(unknown)}; there are: {', '.join(names())}")
    for name in wanted:
        module = importlib.import_module(f"benchmarks.bench_{name}")
        title = (module.__doc__ or name).splitlines()[0].rstrip(".")
        measurements = module.run()
        show(measurements, title)
        if write:
            text = section(name, title, measurements, dt.datetime.now(dt.UTC).date())
            page = replaced(PAGE.read_text(encoding="utf-8"), name, text)
            PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
