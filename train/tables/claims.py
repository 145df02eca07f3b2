"""What a table's cells say about the paper's claims, beside what the paper's own figures say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .grid import CONTROL, PLAIN
from .paper import paper_value
from .statistics import CONFIDENCE, Paired, detectable, holm, mean_sd, paired, seeds_needed

# The largest differences that count as none, fixed before the grids ran. Those that the paper's
# Table 3 claims are 0.3 to 1.6 points, those of the miniature's Tables 1 and 2 are 7% and more.
EQUAL_POINTS = 1.0  # of accuracy
EQUAL_SHARE = 0.03  # of the other structure's mean loss

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
_SIZES = ("hidden1", "hidden2", "hidden3", "hidden4", "hidden5")
_TRADITIONAL = (*_SIZES, "matched", "matched-fc6")


@dataclass(frozen=True)
class Claim:
    """One claim of the paper in the columns of a table.

    Attributes:
        number: As in the list of claims; a claim of two parts has two lines.
        text: What is claimed.
        pairs: Columns, of which the first is claimed to be better, or about equal.
        equal: Whether equality is claimed.
    """

    number: str
    text: str
    pairs: Sequence[tuple[str, str]]
    equal: bool = False


_STRUCTURE = "structure alone (random input weights) is better than the traditional net"
_PRETRAINING = "pre-trained input weights add to that"
_SIH = "SIH is about equal to per-gate"
_OF_THE_PAPER: dict[int | str, Sequence[Claim]] = {
    1: [
        Claim(
            "1",
            "PreRNN is better than the traditional net of equal parameters and of every hidden "
            "size tried",
            [("pre-fc6-fc7", other) for other in ("matched", *_SIZES)],
        ),
    ],
    2: [
        Claim(
            "2",
            "one or two transformed layers are better than two and a random one",
            [(few, "pre-fc6-fc7-extra1") for few in ("pre-fc6", "pre-fc7", "pre-fc6-fc7")],
        ),
        Claim(
            "2",
            "two transformed layers and a random one are still better than the traditional net",
            [("pre-fc6-fc7-extra1", "matched")],
        ),
        Claim("3", _STRUCTURE, [("pre-fc6-fc7-random", "matched")]),
        Claim("3", _PRETRAINING, [("pre-fc6-fc7", "pre-fc6-fc7-random")]),
        Claim("4", _SIH, [("sih-fc6-fc7", "pre-fc6-fc7")], equal=True),
    ],
    3: [
        Claim(
            "1", "PreRNN is better than the traditional net of equal parameters",
            [("pre", "matched")],
        ),
        Claim("3", _STRUCTURE, [("pre-random", "matched")]),
        Claim("3", _PRETRAINING, [("pre", "pre-random")]),
        Claim("4", _SIH, [("sih", "pre"), ("sih-random", "pre-random")], equal=True),
    ],
}  # fmt: skip
_LIKE_3 = ("3-joint", "features", "features-videos", "features-same")
"""Other tables with the structures of Table 3."""
CLAIMS: Mapping[int | str, Sequence[Claim]] = {
    **_OF_THE_PAPER,
    **dict.fromkeys(_LIKE_3, _OF_THE_PAPER[3]),
}
_CONTROLS: Mapping[int | str, Sequence[tuple[str, str]]] = {
    1: [("pre-fc6-fc7", "matched-fc6"), ("pre-fc6-fc7", "feedforward"), ("matched", "feedforward")],
    2: [("pre-fc6-fc7", "feedforward"), ("matched", "feedforward")],
    **{table: [("pre", "feedforward"), ("matched", "feedforward")] for table in (3, *_LIKE_3)},
}  # fmt: skip

Cell = Mapping[str, Any]
Places = Mapping[tuple[str, str], Cell]


@dataclass(frozen=True)
class Comparison:
    """Two structures of a row compared.

    Attributes:
        row: The first one's row.
        first: Column of the first.
        second_row: The second one's row.
        second: Column of the second.
        found: The first's advantage.
        small: The largest difference that counts as none.
        equal: Whether equality is claimed.
    """

    row: str
    first: str
    second_row: str
    second: str
    found: Paired
    small: float
    equal: bool

    @property
    def margin(self) -> float | None:
        """The largest difference that counts as none; None where equality is not claimed."""
        return self.small if self.equal else None

    @property
    def outcome(self) -> str:
        """What it says of what is claimed."""
        if self.margin is None:
            return self.found.verdict
        within = self.found.within(self.margin)
        return "undecided" if within is None else ("equal" if within else "different")

    def line(self, number: str) -> dict[str, Any]:
        """As JSON values, `number` that of the claim.

        `seeds_needed` give an interval of plus or minus the smallest difference that counts.
        """
        _, sd = mean_sd(list(self.found.values.values()))
        return {
            "claim": number,
            "row": self.row,
            "first": self.first,
            "second_row": self.second_row,
            "second": self.second,
            "values": dict(self.found.values),
            "mean": self.found.mean,
            "low": self.found.low,
            "high": self.found.high,
            "p": self.found.p,
            "verdict": self.found.verdict,
            "margin": self.margin,
            "detectable": None if sd is None else detectable(sd, len(self.found.values)),
            "seeds_needed": None if sd is None else seeds_needed(sd, self.small),
            "outcome": self.outcome,
        }


def judge(table: int | str, metric: Mapping[str, Any], cells: Sequence[Cell]) -> dict[str, Any]:
    """Compares the structures of each row and says which claims hold.

    Args:
        table: 1, 2, 3, or the name of another table with the structures of Table 3.
        metric: `better` (`lower` or `higher`) and `scale` (100 where the values are shares that are
            shown in %).
        cells: The table's places: `row`, `column` and `values` by seed. A structure that is not
            among them takes part in no claim; one whose runs have all failed leaves its claims
            undecided.

    Returns:
        `differences`, `claims` and the `confidence` of the differences' intervals, as JSON values.
    """
    places = {(cell["row"], cell["column"]): cell for cell in cells}
    rows = [row for row in dict.fromkeys(row for row, _ in places) if row != CONTROL]
    differences: list[dict[str, Any]] = []
    claims: list[dict[str, Any]] = []
    for claim in CLAIMS[table]:
        for row in rows:
            found = _compare(row, claim.pairs, claim.equal, places, metric)
            differences += [comparison.line(claim.number) for comparison in found]
            if found:
                claims.append(_claim_line(table, metric, claim, row, found))
    for row in rows:
        found = _compare(row, _CONTROLS[table], False, places, metric)
        differences += [comparison.line("control") for comparison in found]
    _correct(differences)
    return {"confidence": CONFIDENCE, "differences": differences, "claims": claims}


def _correct(differences: Sequence[dict[str, Any]]) -> None:
    """Adds `corrected`: Holm's p over the claims' comparisons; None where no difference is claimed.

    Controls are not part of the family: nothing is claimed of them.
    """
    family = [
        line
        for line in differences
        if line["claim"] != "control" and line["margin"] is None and line["p"] is not None
    ]
    for line in differences:
        line["corrected"] = None
    for line, p in zip(family, holm([line["p"] for line in family]), strict=True):
        line["corrected"] = p


def _compare(
    row: str,
    pairs: Sequence[tuple[str, str]],
    equal: bool,
    places: Places,
    metric: Mapping[str, Any],
) -> list[Comparison]:
    """The comparisons of a row for which there are both structures."""
    found = []
    for first, second in pairs:
        second_row = _row_of(row, second)
        one, other = places.get((row, first)), places.get((second_row, second))
        if one is None or other is None:
            continue
        advantage = paired(one["values"], other["values"], metric["better"])
        mean, _ = mean_sd([other["values"][seed] for seed in advantage.values])
        small = _margin(metric, mean)
        found.append(Comparison(row, first, second_row, second, advantage, small, equal))
    return found


def _row_of(row: str, column: str) -> str:
    """Where a structure that a row is compared with stands.

    Traditional layers have no readout, so both GRU rows have the same traditional nets; nets
    without recurrence have no cell.
    """
    if column == "feedforward":
        return CONTROL
    return "gru" if row == PLAIN and column in _TRADITIONAL else row


def _margin(metric: Mapping[str, Any], mean: float | None) -> float:
    if metric["better"] == "higher":
        return EQUAL_POINTS / float(metric["scale"])
    return EQUAL_SHARE * (mean or 0.0)


def _claim_line(
    table: int | str,
    metric: Mapping[str, Any],
    claim: Claim,
    row: str,
    found: Sequence[Comparison],
) -> dict[str, Any]:
    good, bad = ("equal", "different") if claim.equal else ("better", "worse")
    outcomes = [comparison.outcome for comparison in found]
    return {
        "claim": claim.number,
        "text": claim.text,
        "row": row,
        "verdict": FAILS if bad in outcomes else UNDECIDED if "undecided" in outcomes else HOLDS,
        "because": f"{good} in {outcomes.count(good)} of {len(found)}",
        "exceptions": [
            {"first": c.first, "second": c.second, "outcome": c.outcome}
            for c in found
            if c.outcome != good
        ],
        "paper": _paper_says(table, metric, row, found),
    }


def _paper_says(
    table: int | str, metric: Mapping[str, Any], row: str, found: Sequence[Comparison]
) -> str | None:
    """What the paper's figures say; None where it lacks one of them."""
    for comparison in found:
        first, second = (
            _paper_figure(table, row, column) for column in (comparison.first, comparison.second)
        )
        if first is None or second is None:
            return None
        advantage = first - second if metric["better"] == "higher" else second - first
        if comparison.margin is None:
            holds = advantage > 0
        else:
            holds = abs(advantage) <= _margin(metric, second) + 1e-9  # the paper's are rounded
        if not holds:
            return FAILS
    return HOLDS


def _paper_figure(table: int | str, row: str, column: str) -> float | None:
    # Table 2's traditional net, two layers of similar size, is printed in the paper's Table 1.
    return paper_value(1 if table == 2 and column == "matched" else table, row, column)
