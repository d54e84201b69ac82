"""Writes the generated pages of docs/: `python -m infra.docs [--check]`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy.schema import UniqueConstraint

from infra.docs_indicators import indicator_page
from infra.docs_lifecycle import lifecycle
from infra.docs_metrics import metrics
from infra.docs_permissions import permissions_page
from libs.common.contracts.channels import CHANNELS, Kind
from libs.common.contracts.messages import OrderSpec, Payload
from libs.common.runtime.schema import WRITERS, metadata

ROOT = Path(__file__).resolve().parents[1]
CONTRACTS = ROOT / "docs" / "contracts.md"
LIFECYCLE = ROOT / "docs" / "order-lifecycle.md"
METRICS = ROOT / "docs" / "metrics.md"
INDICATORS = ROOT / "docs" / "indicators.md"
PERMISSIONS = ROOT / "docs" / "permissions.md"
BEGIN = "<!-- generated: make docs -->"
END = "<!-- end of generated part -->"


def generated() -> str:
    """Return the tables of channels, messages and database tables as Markdown."""
    return "\n\n".join((_channels(), _messages(), _tables()))


def _channels() -> str:
    lines = [
        "## Channels",
        "",
        "| channel | kind | producer | message | groups that must acknowledge | meaning |",
        "|---|---|---|---|---|---|",
    ]
    for channel in CHANNELS:
        name = f"{channel.topic}.<{channel.key}>" if channel.key else channel.topic
        kind = f"log (`{channel.stream}`)" if channel.kind is Kind.LOG else "broadcast"
        groups = ", ".join(channel.acting) or "–"
        lines.append(
            f"| `{name}` | {kind} | {channel.producer} | {channel.payload.__name__} "
            f"| {groups} | {channel.meaning} |"
        )
    return "\n".join(lines)


def _messages() -> str:
    payloads: list[type[Payload]] = [channel.payload for channel in CHANNELS]
    payloads.insert(payloads.index(CHANNELS[3].payload), OrderSpec)
    parts = ["## Messages"]
    for payload in payloads:
        lines = [f"### {payload.__name__}", "", _sentence(payload), ""]
        lines += ["| field | type | required |", "|---|---|---|"]
        for field in msgspec.structs.fields(payload):
            lines.append(
                f"| `{field.encode_name}` | {_type_name(field.type)} "
                f"| {'yes' if field.required else 'no'} |"
            )
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _sentence(payload: type[Payload]) -> str:
    return " ".join((payload.__doc__ or "").split())


def _type_name(kind: object) -> str:
    text = kind.__name__ if isinstance(kind, type) else str(kind)
    for prefix in ("libs.common.contracts.messages.", "libs.common.domain.vocabulary."):
        text = text.replace(prefix, "")
    for old, new in (
        ("decimal.Decimal", "Decimal"),
        ("uuid.UUID", "UUID"),
        ("datetime.datetime", "datetime"),
        ("typing.", ""),
        ("|", "or"),
    ):
        text = text.replace(old, new)
    return f"`{text}`"


def _tables() -> str:
    lines = [
        "## Tables",
        "",
        "| table | written by | columns | unique |",
        "|---|---|---|---|",
    ]
    for table in sorted(metadata.tables.values(), key=lambda item: item.name):
        columns = ", ".join(column.name for column in table.columns)
        keys = [", ".join(column.name for column in table.primary_key.columns)]
        keys += sorted(
            ", ".join(column.name for column in constraint.columns)
            for constraint in table.constraints
            if isinstance(constraint, UniqueConstraint)
        )
        keys += [column.name for column in table.columns if column.unique]
        writers = WRITERS[table.name]
        who = "every service (its own rows)" if table.name == "outbox" else ", ".join(writers)
        unique = " · ".join(f"({key})" for key in keys)
        lines.append(f"| `{table.name}` | {who} | {columns} | {unique} |")
    return "\n".join(lines)


def page_with(generated_part: str, page: str) -> str:
    """Return `page` with what stands between the two marks replaced."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{generated_part}\n\n{END}{tail}"


PAGES: Final[dict[Path, Callable[[], str]]] = {
    CONTRACTS: generated,
    LIFECYCLE: lifecycle,
    METRICS: metrics,
    INDICATORS: indicator_page,
    PERMISSIONS: permissions_page,
}


def main() -> None:
    """Write the generated parts of the pages, or with --check tell whether they are up to date."""
    for path, part in PAGES.items():
        page = path.read_text(encoding="utf-8")
        fresh = page_with(part(), page)
        if "--check" not in sys.argv[1:]:
            path.write_text(fresh, encoding="utf-8")
        elif fresh != page:
            sys.exit(f"{path.relative_to(ROOT)} is out of date: run `make docs`")


if __name__ == "__main__":
    main()
