"""The paper's figures: Tables 1 to 3 of the supplementary material of Yang et al., CVPR 2018."""

from collections.abc import Mapping, Sequence

_COLUMNS: Mapping[int | str, Sequence[str]] = {
    1: ("hidden1", "hidden2", "hidden3", "hidden4", "hidden5", "matched", "pre-fc6-fc7"),
    2: ("pre-fc6", "pre-fc7", "pre-fc6-fc7", "pre-fc6-fc7-extra1"),
    3: ("pre", "pre-random", "sih", "sih-random", "matched"),
}
_FIGURES: Mapping[int | str, Mapping[str, Sequence[float | None]]] = {
    1: {
        "vrnn": (0.1414, 0.1509, 0.1462, 0.1398, 0.1216, 0.1255, 0.0819),
        "lstm": (0.2039, 0.1806, 0.1669, 0.1648, 0.1508, 0.1523, 0.0951),
        "gru": (0.1471, 0.1409, 0.1295, 0.1292, 0.1286, 0.1291, 0.0866),
    },
    2: {
        "vrnn": (0.0898, 0.0958, 0.0819, 0.1122),
        "lstm": (0.0822, 0.0882, 0.0951, 0.1454),
        "gru": (0.0783, 0.0891, 0.0866, 0.1077),
    },
    3: {
        "vrnn": (0.927, 0.920, None, None, 0.916),
        "lstm": (0.932, 0.928, 0.935, 0.927, 0.925),
        "gru": (0.937, 0.928, 0.933, 0.918, 0.922),
    },
}
_SAME = {"3-joint": 3}


def paper_value(table: int | str, row: str, column: str) -> float | None:
    """The paper's figure in a place of a table.

    Args:
        table: 1, 2, 3 or 3-joint; the paper has no figures for another.
        row: The cell, a key of `train.tables.grid.ROWS`. The paper has one GRU row; it is `gru`.
        column: Key of the column.

    Returns:
        The Euclidean loss (tables 1 and 2) or the accuracy as a share of 1 (table 3); None where
        the paper has no figure.
    """
    table = _SAME.get(str(table), table)
    figures = _FIGURES.get(table, {}).get(row)
    if figures is None or column not in _COLUMNS[table]:
        return None
    return figures[_COLUMNS[table].index(column)]
