"""Real weights of torchvision over a video: python real_weights.py resnet50.pth video.mp4.

The weights come from download.pytorch.org/models (resnet50-0676ba61.pth); nothing is downloaded
here. The extras `torch` and `video` read both files.
"""

import sys
from pathlib import Path

import numpy as np

import prernn_jax as pj
from prernn_jax.command import dispatch
from prernn_jax.data.media.video import read_frames

weights, video = sys.argv[1:3]
converted = Path("resnet50.safetensors")
if not converted.exists():
    dispatch(["port", "convert", weights, "--arch=resnet50", f"--out={converted}"])

cnn = pj.load(converted)
cnn.eval()
frames = np.stack(list(read_frames(Path(video), short_side=256)))[:16]  # (T, H, W, 3) uint8
pictures = cnn.preprocess(frames)  # resized, cut and normalised as these weights want it
logits = np.asarray(cnn(pictures))  # (T, 1000): what the CNN says of each frame alone
for step in (0, len(frames) - 1):
    print(f"frame {step}: classes", np.argsort(-logits[step])[:3].tolist())

# Its last convolution becomes a GRU: the pre-trained weights stay, only U is new.
model = pj.make_recurrent(cnn, cell="gru")
outputs, carry = model(pictures[None])  # (1, T, 1000)

stream = pj.Stream(model, prepare=cnn.preprocess)  # the same, frame by frame, as from a camera
for frame in frames:
    last = stream(frame[None])
print("difference to the whole sequence:", float(np.abs(outputs[0, -1] - last[0]).max()))
pj.save("recurrent.safetensors", model, overwrite=True)
