"""The structures of the paper's three tables, and the controls beside them.

A structure stands in a row (the cell) and a column (what is recurrent) and says what it changes in
the configuration that all runs of a table share. Tables 1 and 2 have some structures in common;
those have the same row, column and changes in both, so their runs are done once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from prernn_jax.errors import InputError

Cell = Literal["vrnn", "lstm", "gru"]
CELLS: tuple[Cell, ...] = ("vrnn", "lstm", "gru")
PLAIN = "gru-plain"
CONTROL = "control"
ROWS = {
    "vrnn": "VRNN",
    "lstm": "LSTM",
    "gru": "GRU",
    PLAIN: "GRU, readout none",
    CONTROL: "no recurrence",
}
PAPER_SIZES = (256, 512, 1024, 2048, 4096)  # hidden sizes of Table 1, for layers of 4096
BOTH = ("fc6", "fc7")


@dataclass(frozen=True)
class Structure:
    """One place of a table.

    Attributes:
        row: A key of ROWS.
        column: Key of the column.
        changes: Fields of `train.run.config.RunConfig`.
    """

    row: str
    column: str
    changes: Mapping[str, Any] = field(hash=False)

    @property
    def key(self) -> str:
        """Row and column in one word, for folders."""
        return f"{self.row}-{self.column}"


@dataclass(frozen=True)
class Grid:
    """A table without its numbers.

    Attributes:
        columns: Key -> heading, in order.
        structures: The places that are filled.
    """

    columns: Mapping[str, str]
    structures: Sequence[Structure]

    @property
    def rows(self) -> dict[str, str]:
        """Key -> heading of the rows in which there is something."""
        filled = {structure.row for structure in self.structures}
        return {key: label for key, label in ROWS.items() if key in filled}


def grid(table: int, width: int, quick: bool = False, small: bool = False) -> Grid:
    """The grid of a table.

    Args:
        table: 1, 2 or 3.
        width: Features of the layers that become recurrent; Table 1's hidden sizes are to them as
            the paper's are to 4096.
        quick: A few structures only, to see the program work.
        small: Table 3 without plain GRU cells and without SIH with random weights.
    """
    whole = {1: lambda: _table1(width), 2: _table2, 3: _table3}[table]()
    if table == 3 and small:
        whole = Grid(
            {key: label for key, label in whole.columns.items() if key != "sih-random"},
            [s for s in whole.structures if s.row != PLAIN and s.column != "sih-random"],
        )
    if not quick:
        return whole
    rows, columns = {
        1: (("lstm", "gru", CONTROL), ("hidden3", "matched", "pre-fc6-fc7", "feedforward")),
        2: (("lstm",), ("pre-fc6", "pre-fc6-fc7", "pre-fc6-fc7-extra1", "matched")),
        3: (("gru",), ("pre", "pre-random", "matched")),
    }[table]
    return Grid(
        {key: label for key, label in whole.columns.items() if key in columns},
        [s for s in whole.structures if s.row in rows and s.column in columns],
    )


def only(whole: Grid, cells: Sequence[Cell], columns: Sequence[str] = ()) -> Grid:
    """A part of a grid.

    Args:
        whole: The grid.
        cells: The rows of these cells, and the control.
        columns: Keys of columns; all without any.

    Raises:
        InputError: There is no such column.
    """
    for column in columns:
        if column not in whole.columns:
            raise InputError(f"--columns {column}: expected some of {', '.join(whole.columns)}")
    rows = {CONTROL, *cells, *([PLAIN] if "gru" in cells else [])}
    kept = {k: label for k, label in whole.columns.items() if not columns or k in columns}
    return Grid(kept, [s for s in whole.structures if s.row in rows and s.column in kept])


def _table1(width: int) -> Grid:
    sizes = [max(width * size // 4096, 1) for size in PAPER_SIZES]
    columns = {f"hidden{n}": f"trad. {size}" for n, size in enumerate(sizes, start=1)}
    columns |= {
        "matched": "trad. similar size",
        "pre-fc6-fc7": "PreRNN",
        "matched-fc6": "one trad. layer, fc6's size",
        "feedforward": "CNN alone",
    }
    structures = [_feedforward()]
    for cell in CELLS:
        structures += [
            _traditional(cell, f"hidden{n}", BOTH, hidden=size)
            for n, size in enumerate(sizes, start=1)
        ]
        structures += [
            _traditional(cell, "matched", BOTH),
            _traditional(cell, "matched-fc6", ("fc6",)),
            _converted(cell, BOTH),
        ]
    return Grid(columns, [*structures, _converted(PLAIN, BOTH)])


def _table2() -> Grid:
    columns = {
        "pre-fc6": "fc6",
        "pre-fc7": "fc7",
        "pre-fc6-fc7": "fc6/7",
        "pre-fc6-fc7-extra1": "fc6/7 + random",
        "matched": "trad. similar size",
        "pre-fc6-fc7-random": "fc6/7, random W",
        "sih-fc6-fc7": "SIH fc6/7",
        "feedforward": "CNN alone",
    }
    structures = [_feedforward()]
    for row in (*CELLS, PLAIN):
        for layers in (("fc6",), ("fc7",), BOTH):
            structures.append(_converted(row, layers))
        if row != PLAIN:
            structures.append(_converted(row, BOTH, "-random", init="random"))
        structures.append(_converted(row, BOTH, "-extra1", extra=1))
        if row in ("lstm", "gru"):
            structures.append(_converted(row, BOTH, kind="sih", model="pre_sih"))
        if row != PLAIN:
            structures.append(_traditional(row, "matched", BOTH))
    return Grid(columns, structures)


def _table3() -> Grid:
    columns = {
        "pre": "PreRNN pre-trained",
        "pre-random": "PreRNN random",
        "sih": "SIH pre-trained",
        "sih-random": "SIH random",
        "matched": "traditional",
        "feedforward": "CNN alone",
    }
    structures = [_feedforward()]
    for row in (*CELLS, PLAIN):
        structures += [_converted(row, ()), _converted(row, (), "-random", init="random")]
        if row in ("lstm", "gru"):  # one gate has nothing to share
            sih = {"kind": "sih", "model": "pre_sih"}
            structures += [
                _converted(row, (), **sih),
                _converted(row, (), "-random", init="random", **sih),
            ]
        if row != PLAIN:
            structures.append(_traditional(row, "matched", ()))
    return Grid(columns, structures)


def _feedforward() -> Structure:
    return Structure(CONTROL, "feedforward", {"model": "feedforward"})


def _traditional(cell: str, column: str, layers: tuple[str, ...], **changes: Any) -> Structure:
    """As many new layers as PreRNN transforms, `layers`, and as many weights if not `hidden`."""
    settings = {"model": "traditional", "cell": cell, "layers": layers}
    return Structure(cell, column, settings | {"stacked": len(layers) or 1} | changes)


def _converted(
    row: str, layers: tuple[str, ...], suffix: str = "", kind: str = "pre", **changes: Any
) -> Structure:
    settings = {"model": "pre", "cell": "gru" if row == PLAIN else row, "layers": layers}
    if row == PLAIN:
        settings["readout"] = "none"
    return Structure(row, "-".join([kind, *layers]) + suffix, settings | changes)
