"""`--data=ucf101` on the two real clips: the path from AVI files to a tested network."""

import json
import os

from train.action import main

NAMES = ("ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01", "BaseballPitch/v_BaseballPitch_g01_c01")
STAGE_ONE = ["train=16", "validation=4", "test=4", "static_train=64", "static_validation=16"]


def test_two_real_clips_are_learned(shared_data, tmp_path):
    source = tmp_path / "ucf101"
    source.mkdir()
    os.symlink(shared_data / "ucf101" / "UCF-101", source / "UCF-101")
    lists = source / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 ApplyEyeMakeup\n2 BaseballPitch\n")
    listed = [(f"{name}.avi", number) for number, name in enumerate(NAMES, start=1)]
    (lists / "trainlist01.txt").write_text("".join(f"{n} {k}\n" for n, k in listed))
    # The same clips in training and test: this shows that the path works, not how well.
    (lists / "testlist01.txt").write_text("".join(f"{n}\n" for n, _ in listed))

    main([
        "--data=ucf101", f"--data_dir={source}", "--preset=embedded", "--stream=temporal",
        f"--cache_dir={tmp_path / 'cache'}", f"--workdir={tmp_path / 'runs'}", "--name=two",
        *(f"--embedded.{size}" for size in STAGE_ONE),
        "--pretraining.rgb_epochs=1", "--pretraining.flow_epochs=1", "--crop=32",
        "--steps=4", "--epochs=40", "--batch_size=2", "--checkpoint_every=40",
    ])  # fmt: skip
    run = tmp_path / "runs" / "two"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert losses[0] > 0.3
    assert losses[-1] < 0.05
    summary = json.loads((run / "summary.json").read_text())
    assert summary["video_top1"] == 1.0
    assert summary["loss"] < 0.05
