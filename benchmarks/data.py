"""Reading prepared clips: rate against plain readers, opening of 10,000, memory over 50 epochs.

`python -m benchmarks.data [--quick]` prints JSON lines. The clips are the real ones of the folder
$PRERNN_SHARED_DATA, repeated. A plain OpenCV reader opens the video of each sample, seeks each of
its frames and reads it. A plain PyAV reader decodes the same videos from beginning to end and
throws the pictures away. Rates are pictures per second, after a start that is not counted; the
sides take turns.
"""

import argparse
import functools
import itertools
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path

import av
import cv2
import numpy as np

from benchmarks.timing import ratio, report
from prernn_jax.data.action.datasets import ucf101
from prernn_jax.data.action.loader import step_starts, train_loader
from prernn_jax.data.batches import TrainLoader
from prernn_jax.data.media.augment import TSN_AUGMENTATION, apply_view, draw_view
from prernn_jax.data.prepared.clip_files import ClipFiles, Recipe
from prernn_jax.data.prepared.folder import prepare_files, prepared_path
from prernn_jax.data.prepared.lists import Listed
from prernn_jax.data.prepared.sources import INDEX, fingerprint
from prernn_jax.data.records import RandomAccessSource, Record
from prernn_jax.processes import keep_freed_memory

BATCH, STEPS, CROP = 8, 16, 224
CLIPS = {
    "UCF101, mpeg4 320x240": "ucf101/UCF-101/*/*.avi",
    "web video, h264 340x256": "videos/arm_wrestling.mp4",
    "NVGesture depth, h264 320x240": "nvgesture/Video_data/class_0[1-4]/*/sk_depth.avi",
}


class Repeated:
    """A source of records, over and over."""

    def __init__(self, source: RandomAccessSource, count: int) -> None:
        self.source, self.count = source, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Record:
        return self.source[index % len(self.source)]


def prepare(folder: Path, videos: Sequence[Path], recipe: Recipe) -> ClipFiles:
    listed = [Listed(video, 0, f"a/{number}") for number, video in enumerate(videos)]
    prepare_files(folder, listed, recipe.write, recipe.facts, 1)
    return ClipFiles(folder, listed, recipe)


def open_loader(source: RandomAccessSource, workers: int, batch: int = BATCH) -> TrainLoader:
    return train_loader(
        source,
        stream="spatial",
        batch_size=batch,
        steps=STEPS,
        stack=1,
        crop=CROP,
        augment=TSN_AUGMENTATION,
        seed=0,
        workers=workers,
    )


def ours(source: ClipFiles, workers: int) -> Iterator[int]:
    """Pictures of each batch of the training loader."""
    loader = open_loader(Repeated(source, 4096), workers)
    try:
        for batch in loader:
            yield batch["clips"].shape[0] * batch["clips"].shape[1]
    finally:
        loader.close()


def opencv(videos: Sequence[Path]) -> Iterator[int]:
    """Pictures of each batch that is read by seeking in the original videos."""
    rng = np.random.default_rng(0)
    while True:
        clips = np.empty((BATCH, STEPS, CROP, CROP, 3), np.uint8)
        for row in range(BATCH):
            video = cv2.VideoCapture(str(videos[rng.integers(len(videos))]))
            starts = step_starts(int(video.get(cv2.CAP_PROP_FRAME_COUNT)), STEPS, rng)
            view = None
            for step, number in enumerate(starts):
                video.set(cv2.CAP_PROP_POS_FRAMES, int(number))
                _, picture = video.read()
                view = view or draw_view(rng, *picture.shape[:2], TSN_AUGMENTATION)
                clips[row, step] = apply_view(picture, view, CROP)
            video.release()
        yield BATCH * STEPS


def pyav(videos: Sequence[Path]) -> Iterator[int]:
    """Pictures of each batch that is decoded in order and thrown away."""
    count = 0
    for path in itertools.cycle(videos):
        with av.open(str(path)) as container:
            for _ in container.decode(video=0):
                count += 1
                if count == BATCH * STEPS:
                    yield count
                    count = 0


def seconds_of(batches: Iterator[int], count: int, uncounted: int) -> float:
    """Seconds per thousand pictures; the first batches fill the side's buffers and do not count."""
    for _ in range(uncounted):
        next(batches)
    start = time.perf_counter()
    pictures = sum(next(batches) for _ in range(count))
    seconds = time.perf_counter() - start
    batches.close()  # type: ignore[attr-defined]
    return 1000 * seconds / pictures


def rates(folder: Path, shared: Path, rounds: int, count: int) -> None:
    for name, pattern in CLIPS.items():
        videos = sorted(shared.glob(pattern))
        source = prepare(folder / name.split(",")[0], videos, Recipe("none", 256))
        sides: dict[str, Callable[[], Iterator[int]]] = {
            "ours, threads": functools.partial(ours, source, 0),
            "ours, 1 worker": functools.partial(ours, source, 1),
            "ours, 2 workers": functools.partial(ours, source, 2),
            "opencv, seek": functools.partial(opencv, videos),
            "pyav, in order": functools.partial(pyav, videos),
        }
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(rounds):
            for side, batches in sides.items():
                seeks = side == "opencv, seek"  # takes long and has no buffers
                seconds[side].append(seconds_of(batches(), *((2, 0) if seeks else (count, 8))))
        best = min((s for s in sides if s.startswith("ours")), key=lambda s: np.median(seconds[s]))
        report(
            f"read {name}: {STEPS} steps, crop {CROP}, batch {BATCH}",
            seconds,
            unit="seconds per thousand pictures",
            pictures_per_s={s: round(1000 / float(np.median(v))) for s, v in seconds.items()},
            best=best,
            against_opencv=ratio(seconds, "opencv, seek", best),
            against_pyav=ratio(seconds, "pyav, in order", best),
        )


def resident(process: int) -> float:
    """Memory of a process in MB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def workers_of(process: int) -> list[int]:
    """Processes that were spawned by this one and read data."""
    found = Path(f"/proc/{process}/task").glob("*/children")
    children = [int(child) for path in found for child in path.read_text().split()]
    return [c for c in children if "spawn_main" in Path(f"/proc/{c}/cmdline").read_text()]


def opening(folder: Path, shared: Path, videos: int) -> None:
    """Opens a set of many prepared videos: an official layout, prepared files linked to one."""
    video = sorted(shared.glob(CLIPS["UCF101, mpeg4 320x240"]))[0]
    recipe, data = Recipe("none", 256), folder / "many"
    prepared = prepare(folder / "one", [video], recipe)
    names = [f"Class{k % 100:02d}/v_Class{k % 100:02d}_g01_c{k:05d}" for k in range(videos)]
    source, lists = folder / "layout", folder / "layout" / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    target = data / "ucf101" / recipe.key
    for k in range(100):
        (source / "UCF-101" / f"Class{k:02d}").mkdir(parents=True)
        (target / f"Class{k:02d}").mkdir(parents=True)
    one = prepared_path(folder / "one", Listed(video, 0, "a/0"))
    for name in names:
        (source / "UCF-101" / f"{name}.avi").touch()
        os.link(one, target / f"{name}.array_record")
    known = {n: fingerprint([source / "UCF-101" / f"{n}.avi"]) for n in names}
    (target / INDEX).write_text(json.dumps(known))
    (target / "recipe.json").write_text(json.dumps(recipe.facts))
    classes = "\n".join(f"{k + 1} Class{k:02d}" for k in range(100))
    (lists / "classInd.txt").write_text(classes)
    for part, some in (("train", names[1:]), ("test", names[:1])):
        (lists / f"{part}list01.txt").write_text("\n".join(f"{name}.avi" for name in some))
    start = time.perf_counter()
    clips = ucf101(source, data, flow="none").splits["train"]
    clips[len(clips) - 1]
    seconds = time.perf_counter() - start
    loader = open_loader(clips, workers=1)
    for _ in range(8):
        next(loader)
    memory = max(resident(worker) for worker in workers_of(os.getpid()))
    loader.close()
    line = {"case": f"open {len(clips)} prepared videos", "seconds": round(seconds, 2)}
    print(json.dumps({**line, "worker_MB": round(memory), "main_MB": round(resident(os.getpid()))}))
    assert len(prepared) == 1


def memory_curve(folder: Path, shared: Path, epochs: int) -> None:
    """Memory of the process and its worker at the end of each epoch of a small set."""
    videos = sorted(shared.glob(CLIPS["UCF101, mpeg4 320x240"]))
    source = Repeated(prepare(folder / "small", videos, Recipe("none", 256)), 32)
    for workers in (0, 1):
        loader = open_loader(source, workers)
        curve: dict[str, list[int]] = {"main": [], "worker": []}
        for _ in range(epochs):
            for _ in range(loader.batches_per_epoch):
                next(loader)
            curve["main"].append(round(resident(os.getpid())))
            curve["worker"] += [round(resident(w)) for w in workers_of(os.getpid())]
        loader.close()
        line = {"case": f"memory over {epochs} epochs of 32 clips, {workers} workers"}
        print(json.dumps({**line, "MB": {side: mb for side, mb in curve.items() if mb}}))


def main() -> None:
    keep_freed_memory()  # as every program in train/ does
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, batches and epochs")
    quick = parser.parse_args().quick
    shared = Path(os.environ.get("PRERNN_SHARED_DATA") or Path("..") / "shared" / "data")
    machine = {"date": date.today().isoformat(), "cpu": platform.processor()}
    machine |= {"cores": len(os.sched_getaffinity(0)), "load": round(os.getloadavg()[0], 1)}
    print(json.dumps({"machine": {**machine, "opencv": cv2.__version__, "pyav": av.__version__}}))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rates(folder, shared, rounds=2 if quick else 3, count=8 if quick else 24)
        opening(folder, shared, 1000 if quick else 10_000)
        memory_curve(folder, shared, 5 if quick else 50)


if __name__ == "__main__":
    main()
