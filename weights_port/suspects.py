"""What a file seems to hold, judged by its keys: for the hint in an error, nothing else."""

import re
from collections.abc import Iterable

# In order: the first whose patterns all occur among the keys.
_SUSPECTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("VGG19 with batch-norm", (r"features\.49\.weight", r"features\.1\.running_mean")),
    ("VGG16 with batch-norm", (r"features\.40\.weight", r"features\.1\.running_mean")),
    ("a VGG with batch-norm", (r"features\.1\.running_mean", r"classifier\.6\.weight")),
    ("VGG19", (r"features\.34\.weight",)),
    ("VGG19", (r"conv5_4\[0\]",)),
    ("VGG16", (r"features\.28\.weight", r"classifier\.0\.weight")),
    ("VGG16", (r"conv5_3\[0\]", r"fc6\[0\]")),
    ("VGG13", (r"features\.22\.weight", r"classifier\.6\.weight")),
    ("C3D (pytorch-video-recognition)", (r"features\.18\.weight", r"classifier\.0\.weight")),
    ("C3D (Caffe)", (r"conv5b\[0\]", r"fc6(-1)?\[0\]")),
    ("C3D (mmaction2)", (r"conv5b\.conv\.weight",)),
    ("C3D (c3d-pytorch)", (r"conv5b\.weight", r"fc6\.weight")),
    ("ResNet152", (r"layer3\.35\.conv3\.weight",)),
    ("ResNet152", (r"res4b35_branch2a\[0\]",)),
    ("ResNet101", (r"layer3\.22\.conv3\.weight",)),
    ("ResNet101", (r"res4b22_branch2a\[0\]",)),
    ("ResNet50", (r"layer4\.2\.conv3\.weight",)),
    ("ResNet50", (r"res5c_branch2c\[0\]",)),
    ("ResNet34", (r"layer3\.5\.conv2\.weight", r"layer1\.0\.conv1\.weight")),
    ("ResNet18", (r"layer4\.1\.conv2\.weight", r"layer1\.0\.conv1\.weight")),
    ("AlexNet or CaffeNet", (r"conv5\[0\]", r"fc6\[0\]")),
    ("AlexNet", (r"features\.10\.weight", r"classifier\.6\.weight")),
    ("LeNet", (r"ip1\[0\]", r"ip2\[0\]")),
    ("a file of prernn_jax itself", (r"(backbone\.)?conv1.*\.kernel",)),
)


def looks_like(keys: Iterable[str]) -> str | None:
    """The network that these keys look like, or None."""
    text = "\n".join(keys)
    for name, patterns in _SUSPECTS:
        if all(re.search(rf"^{pattern}$", text, re.MULTILINE) for pattern in patterns):
            return name
    return None
