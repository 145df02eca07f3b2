"""Two cameras at once, a frame at a time; one of them begins anew."""

import numpy as np

import prernn_jax as pj

resnet = pj.resnet50(num_outputs=4, width=4, stage_sizes=(1, 1))
resnet.preprocess = pj.Preprocessing(scale=1 / 255, mean=(0.5,), resize=32)
model = pj.make_recurrent(resnet, cell="gru")

frames = np.random.default_rng(0).integers(0, 256, (6, 2, 48, 48, 3), np.uint8)  # (T, B, ...)
stream = pj.Stream(model, streams=2, prepare=model.preprocess)
stream.warm_up(frames[0])  # compiles
for step, pair in enumerate(frames):
    begins = np.array([False, step == 3])  # the second camera shows another scene
    outputs = stream(pair, reset=begins)
print("last outputs:", np.round(outputs, 3).tolist())

whole, _ = model(model.preprocess(frames.swapaxes(0, 1)))
print("difference to the whole sequence:", float(np.abs(whole[0, -1] - outputs[0]).max()))
