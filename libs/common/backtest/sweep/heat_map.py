"""A metric over two parameters: as figures for the terminal, and as a page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from libs.common.backtest.report.page import Plot, page, plotted
from libs.common.backtest.report.words import escaped
from libs.common.backtest.sweep.plan import Plan
from libs.common.backtest.sweep.workshop import Trial
from libs.common.strategy.parameters import Value


@dataclass(frozen=True)
class HeatMap:
    """`values` (rows, columns): the metric at each pair, the best over all other parameters; NaN
    where nothing was tried or nothing came of it."""

    metric: str
    row_name: str
    rows: tuple[Value, ...]
    column_name: str
    columns: tuple[Value, ...]
    values: np.ndarray


def heat_map(plan: Plan, trials: Iterable[Trial]) -> HeatMap | None:
    """Return the metric over the first two axes with several values, None if there are not two."""
    axes = [axis for axis in plan.axes if len(axis.values) > 1][:2]
    if len(axes) < 2:
        return None
    down, across = axes
    places = [{value: i for i, value in enumerate(axis.values)} for axis in axes]
    values = np.full((len(down.values), len(across.values)), np.nan)
    for trial in trials:
        figure = trial.figure(plan.metric)
        if math.isfinite(figure):
            at = places[0][trial.params[down.name]], places[1][trial.params[across.name]]
            values[at] = np.fmax(values[at], figure)
    return HeatMap(plan.metric, down.name, down.values, across.name, across.values, values)


def heat_map_page(found: HeatMap, title: str, facts: Mapping[str, object]) -> str:
    """Return the heat map as an HTML page that opens offline."""
    figure: dict[str, Any] = {
        "data": [
            {
                "type": "heatmap",
                "x": [str(value) for value in found.columns],
                "y": [str(value) for value in found.rows],
                "z": [
                    [None if math.isnan(v) else round(v, 6) for v in row]
                    for row in found.values.tolist()
                ],
                "colorscale": "RdBu",
                "reversescale": False,
                "zmid": 0,
                "hoverongaps": False,
                "hovertemplate": f"{found.column_name} %{{x}}<br>{found.row_name} %{{y}}"
                f"<br>{found.metric} %{{z}}<extra></extra>",
            }
        ],
        "layout": {
            "height": 560,
            "xaxis": {"title": {"text": found.column_name}, "type": "category"},
            "yaxis": {"title": {"text": found.row_name}, "type": "category"},
        },
    }
    note = "A good place has good neighbours: a single bright cell is luck."
    plot = Plot("heat", f"{found.metric} over two parameters", figure, note, wide=True)
    told = " · ".join(f"{escaped(name)}: {escaped(value)}" for name, value in facts.items())
    header = f"<h1>{escaped(title)}</h1><p>{told}</p>"
    return page(title, header, plotted(plot).html, {"heat": figure})
