"""A CNN made recurrent, saved, read again, and asked about frames."""

import numpy as np

import prernn_jax as pj

# A small network with random weights stands in for pj.load("vgg16.safetensors").
vgg = pj.vgg16(num_outputs=10, width=4, hidden=32, image_size=32)
vgg.preprocess = pj.Preprocessing(scale=1 / 255, mean=(0.5,))

model = pj.make_recurrent(vgg, "fc7", cell="gru", outputs=3)
model.inference = pj.Inference("action", steps=4, size=32, classes=("run", "jump", "rest"))
pj.save("model.safetensors", model, overwrite=True)

frames = np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), np.uint8)
found = pj.load("model.safetensors").predict(frames)  # or a path to a video
print(found.brief)
print("steps begin at frames", found.places[0].tolist())
