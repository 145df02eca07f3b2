"""HMDB51 from its official layout: folders of AVI files and 153 split files.

Layout: SOURCE/hmdb51_org/<action>/<name>.avi and
SOURCE/testTrainMulti_7030_splits/<action>_test_split<N>.txt with lines `<name>.avi <id>`: 1 is
train, 2 is test, 0 is unused in this split. The classes are the actions in alphabetical order.
Names hold characters such as ! ( ) # [ ] & ; ~ @ and are never used as patterns. Some actions begin
with the name of another (climb, climb_stairs), so the exact ending of a list's name is cut off.
"""

from pathlib import Path

from prernn_jax.data.media.listing import videos_by_class, visible, why_absent, without_ending
from prernn_jax.data.prepared.lists import (
    Listed,
    Listing,
    existing_folder,
    numbered_lines,
    refuse_repeats,
    shortened,
)
from prernn_jax.errors import InputError

LAYOUT = (
    "SOURCE/hmdb51_org/<action>/*.avi and "
    "SOURCE/testTrainMulti_7030_splits/<action>_test_split{1,2,3}.txt"
)
COUNTS = dict.fromkeys((1, 2, 3), (3570, 1530))
"""Number of videos to train and to test on in each official split."""
_PARTS = {"1": "train", "2": "test", "0": None}


def read_classes(source: Path) -> tuple[str, ...]:
    """Returns the actions that have a list for split 1, in alphabetical order.

    Raises:
        InputError: There is no folder of lists, or no list in it.
    """
    folder = _lists(source)
    ending = "_test_split1.txt"
    files = [path.name for path in visible(folder) if path.name.endswith(ending)]
    if not files:
        raise InputError(f"there is no list in {folder}; expected {LAYOUT}")
    return tuple(sorted(name.removesuffix(ending) for name in files))


def read_listing(source: Path, split: int) -> Listing:
    """Reads the official lists of one split.

    Args:
        source: The folder that holds hmdb51_org and testTrainMulti_7030_splits.
        split: 1, 2 or 3.

    Returns:
        The parts "train" and "test", action by action, in the order of the lists. Absent videos
        have a `fault`.

    Raises:
        InputError: A folder or list is missing, or a line is not `<name>.avi <0, 1 or 2>`. The
            message names list and line.
    """
    if split not in COUNTS:
        raise InputError(f"HMDB51 has the splits 1, 2 and 3, got {split}")
    folder = existing_folder(source / "hmdb51_org", LAYOUT, archive=True)
    videos = videos_by_class(folder)
    classes = read_classes(source)
    parts: dict[str, list[Listed]] = {"train": [], "test": []}
    for label, action in enumerate(classes):
        path = _lists(source) / f"{action}_test_split{split}.txt"
        for line, text in numbered_lines(path, LAYOUT):
            file, *more = text.rsplit(maxsplit=1)
            number = more[0] if more else ""
            if number not in _PARTS or "/" in file or file in (".", ".."):
                raise InputError(
                    f"{path} line {line} is {shortened(text)!r}; expected a video and 0, 1 or 2"
                )
            part = _PARTS[number]
            if part is None:
                continue
            name = without_ending(f"{action}/{file}")
            video, fault, hint = videos.get(name.lower()), None, ""
            if video is None:
                video = folder / action / file
                hint = why_absent(folder, action, file) or f"unpack all of {action}.rar"
                place = folder / action
                fault = f"{path} line {line} names {file}, which is not in {place}; {hint}"
            parts[part].append(Listed(video, label, name, fault=fault, hint=hint))
    refuse_repeats(parts, {part: f"the {part} list of split {split}" for part in parts})
    return Listing(classes, parts, dict(zip(parts, COUNTS[split], strict=True)))


def _lists(source: Path) -> Path:
    lists = existing_folder(source, LAYOUT) / "testTrainMulti_7030_splits"
    return existing_folder(lists, LAYOUT, archive=True)
