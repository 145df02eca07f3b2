"""A table's outcome made from given means, for tests of the sentences about it."""

import numpy as np

from train.tables.claims import judge
from train.tables.grid import grid
from train.tables.paper import paper_value

LOSS = {
    "name": "loss", "label": "test loss (made up)", "better": "lower", "scale": 1, "digits": 4,
    "unit": "",
}  # fmt: skip
TOP1 = {
    "name": "video_top1", "label": "accuracy (made up)", "better": "higher", "scale": 100,
    "digits": 1, "unit": "%",
}  # fmt: skip


def place(row, column, values, table=1, model="pre"):
    values = {str(seed): float(value) for seed, value in values.items()}
    numbers = list(values.values())
    return {
        "row": row,
        "column": column,
        "structure": {"model": model},
        "paper": paper_value(table, row, column),
        "values": values,
        "failed": [],
        "mean": float(np.mean(numbers)) if numbers else None,
        "sd": float(np.std(numbers, ddof=1)) if len(numbers) > 1 else None,
        "parameters": 1234567,
        "hidden": 60,
        "rate": 0.05,
    }


def result(table, mean_of, seeds=range(1, 6), noise=0.001, quick=False):
    """An outcome of the whole grid; `mean_of(row, column, paper)` is a structure's mean."""
    rng = np.random.default_rng(0)
    metric = TOP1 if table == 3 else LOSS
    whole = grid(table, 128, quick)
    shared = {seed: rng.normal(0, 10 * noise) for seed in seeds}  # the data: the same for all
    cells = [
        place(
            s.row,
            s.column,
            {
                seed: mean_of(s.row, s.column, paper_value(table, s.row, s.column))
                + shared[seed]
                + rng.normal(0, noise)
                for seed in seeds
            },
            table,
            s.changes["model"],
        )
        for s in whole.structures
    ]
    return {
        "table": table,
        "title": f"Table {table}: made up",
        "data": "embedded",
        "quick": quick,
        "metric": metric,
        "command": f"python -m train.tables --table={table}",
        "date": "2026-11-25",
        "device": "cpu; 2 cores",
        "seconds": 12.5,
        "seeds": {"training": list(seeds), "pretraining": [7]},
        "settings": {"epochs": 30, "schedule": "cosine"},
        "rates": {"tried": [], "how": "the same for all", "validation": {}},
        "columns": [{"key": key, "label": label} for key, label in whole.columns.items()],
        "rows": [{"key": key, "label": label} for key, label in whole.rows.items()],
        "cells": cells,
        **judge(table, metric, cells),
    }
