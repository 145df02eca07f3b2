"""What is known of a data set's landmarks: how many, which mirror each other, what is measured."""

from dataclasses import dataclass
from pathlib import Path

from prernn_jax.data.face.landmarks import FLIP, POINTS
from prernn_jax.data.face.metrics import NORMALISERS, Normaliser, TwoPoints
from prernn_jax.data.prepared.lists import numbered_lines, shortened
from prernn_jax.errors import InputError


@dataclass(frozen=True)
class PointSet:
    """The landmarks of a data set.

    Attributes:
        count: Landmarks P of a face.
        mirrored: Landmark i of a mirrored face is where landmark mirrored[i] was; None where
            nothing says it, so that faces cannot be mirrored.
        normalise_by: Two landmarks whose distance divides the errors; None where none are given.
        ibug: Whether they are the 68 of iBUG, in their order.
    """

    count: int = POINTS
    mirrored: tuple[int, ...] | None = tuple(FLIP.tolist())
    normalise_by: TwoPoints | None = None
    ibug: bool = True

    @property
    def normalisers(self) -> dict[str, Normaliser | TwoPoints]:
        """By what the errors are divided; the first is the main one."""
        found: dict[str, Normaliser | TwoPoints] = {}
        if self.normalise_by is not None:
            found["two_points"] = self.normalise_by
        names = NORMALISERS if self.ibug else ("box_diagonal",)
        return found | {name: name for name in names}

    @property
    def main(self) -> str:
        """The name of the main normaliser."""
        return next(iter(self.normalisers))


IBUG = PointSet()


def point_set(
    count: int, mirror_pairs: Path | None = None, normalise_by: TwoPoints | None = None
) -> PointSet:
    """The landmarks of a person's own faces.

    Args:
        count: Landmarks P of a face. 68 are taken for iBUG's, unless `mirror_pairs` says otherwise.
        mirror_pairs: A file with two numbers a line, from 0: a landmark and its mirror image.
            Landmarks that it does not name lie on the middle line.
        normalise_by: Two landmarks whose distance divides the errors.

    Raises:
        InputError: A number is none of a landmark, or a line of the file cannot be used.
    """
    if normalise_by is not None and (
        not all(0 <= number < count for number in normalise_by) or len(set(normalise_by)) < 2
    ):
        raise InputError(
            f"--normalise_by {normalise_by[0]} {normalise_by[1]}: expected two different "
            f"landmarks, 0 to {count - 1}"
        )
    if mirror_pairs is None:
        ibug = count == POINTS
        return PointSet(count, IBUG.mirrored if ibug else None, normalise_by, ibug)
    return PointSet(count, _read_pairs(mirror_pairs, count), normalise_by, ibug=False)


def _read_pairs(path: Path, count: int) -> tuple[int, ...]:
    table = list(range(count))
    for line, text in numbered_lines(path, "two numbers of landmarks a line, such as `0 4`"):
        words = text.replace(",", " ").split()
        known = [w for w in words if w.isdecimal() and len(w) < 6 and int(w) < count]
        if len(words) != 2 or len(known) != 2:
            raise InputError(
                f"{path} line {line} is {shortened(text)!r}; expected two numbers of landmarks, 0 "
                f"to {count - 1}"
            )
        first, second = map(int, known)
        if first == second or table[first] != first or table[second] != second:
            raise InputError(
                f"{path} line {line}: landmark {first} or {second} has a mirror image already; "
                "name each landmark once"
            )
        table[first], table[second] = second, first
    if table == list(range(count)):
        raise InputError(f"{path} names no pair of landmarks; leave out --mirror_pairs")
    return tuple(table)
