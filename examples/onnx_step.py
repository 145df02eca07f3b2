"""A model in onnxruntime, step by step (pip install onnxruntime 'prernn-jax[onnx]')."""

import numpy as np
import onnxruntime

import prernn_jax as pj
from prernn_jax.export.onnx_model import to_onnx

vgg = pj.vgg16(num_outputs=10, width=4, hidden=32, image_size=32)
vgg.preprocess = pj.Preprocessing(scale=1 / 255, mean=(0.5,))
model = pj.make_recurrent(vgg, ["fc6", "fc7"], cell="lstm", shared=True)
proto, names = to_onnx(model, (32, 32, 3), "step")  # `prernn export RUN` does this for a run

frames = np.random.default_rng(0).integers(0, 256, (1, 6, 32, 32, 3), np.uint8)
session = onnxruntime.InferenceSession(proto.SerializeToString())
carry = {name: np.zeros((1, 32), np.float32) for name in names.carry}
for step in range(6):
    frame = frames[:, step].astype(np.float32)  # 0 to 255; the graph normalises
    outputs, *after = session.run(None, {names.frames: frame, **carry})
    carry = dict(zip(carry, after, strict=True))

expected, _ = model(model.preprocess.normalise(frames))
print("difference to JAX:", float(np.abs(outputs - expected[:, -1]).max()))
