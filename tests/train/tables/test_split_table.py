"""The table over three official splits: its runs, and whole tiny ones on videos made here."""

import json
from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from small_videos import write_video

from prernn_jax.backbones.resnet import ResNet
from prernn_jax.errors import InputError
from prernn_jax.files.models import save
from prernn_jax.preprocess import TORCHVISION
from train.run.config import check_run
from train.tables.__main__ import main
from train.tables.jobs import Done
from train.tables.split_table import FUSED, SPLITS, STREAMS, SplitTable, accuracies, page, plan


def test_each_split_and_stream_is_a_run_of_its_own():
    config = SplitTable(Path("videos"), Path("resnet.safetensors"), crops=10, epochs=2)
    planned = plan(config, "hmdb51")
    assert len(planned) == len(config.models) * len(SPLITS) * len(STREAMS)
    assert len({job.folder for job in planned.values()}) == len(planned)
    for (model, split, stream), job in planned.items():
        check_run(job.config)
        found = (job.config.model, job.config.split, job.config.stream, job.config.data)
        assert found == (model, split, stream, "hmdb51")
        assert (job.config.crops, job.config.epochs, job.config.crop) == (10, 2, 224)


def test_a_failed_run_is_named():
    planned = plan(SplitTable(Path("videos"), Path("net"), models=("pre",)), "ucf101")
    with pytest.raises(InputError, match=r"pre-gru-split1-spatial.* failed: no loss"):
        accuracies(planned, dict.fromkeys(planned.values(), Done(None, "no loss")))


def test_the_page_has_the_mean_of_the_splits():
    found = {"pre": {FUSED: [0.9, 0.92, 0.94]}}
    assert "| pre | both | 90.0 | 92.0 | 94.0 | **92.0** ± 2.0 |" in page("ucf101", found, "x")


@pytest.mark.nightly
def test_tiny_videos(tmp_path):
    rng = np.random.default_rng(0)
    lists = tmp_path / "ucf101" / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text("1 Jump\n2 Walk\n")
    names = [f"{c}/v_{c}_g{g:02d}_c01.avi" for c in ("Jump", "Walk") for g in range(1, 4)]
    for name in names:
        path = tmp_path / "ucf101" / "UCF-101" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, rng.integers(0, 255, (5, 48, 64, 3), dtype=np.uint8))
    for split in SPLITS:
        test = [name for name in names if f"_g{split:02d}_" in name]
        train = [f"{name} {1 + name.startswith('W')}" for name in names if name not in test]
        (lists / f"testlist{split:02d}.txt").write_text("\n".join(test))
        (lists / f"trainlist{split:02d}.txt").write_text("\n".join(train))
    net = ResNet(stage_sizes=(1, 1, 1), width=4, in_channels=3, rngs=nnx.Rngs(0))
    weights = tmp_path / "net.safetensors"
    net.preprocess = TORCHVISION
    save(weights, net)
    main(
        [
            "--table=ucf101", f"--source={tmp_path / 'ucf101'}", f"--weights={weights}",
            "--models", "feedforward", "--flow=dis", "--crops=10", "--steps=2", "--crop=32",
            "--epochs=1", "--batch_size=2", "--workers=0", f"--cache_dir={tmp_path / 'data'}",
            f"--workdir={tmp_path / 'runs'}", f"--out={tmp_path / 'out'}",
        ]
    )  # fmt: skip
    result = json.loads((tmp_path / "out" / "splits-ucf101.json").read_text(encoding="utf-8"))
    found = result["video_top1"]["feedforward"]
    assert set(found) == {*STREAMS, FUSED}
    assert all(len(values) == 3 for values in found.values())
    assert "| feedforward | both |" in (tmp_path / "out" / "splits-ucf101.md").read_text()
