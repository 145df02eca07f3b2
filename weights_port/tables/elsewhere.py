"""Rows for what stands beside a backbone in a file: other heads, other networks, training state.

They apply to whole keys that no row of a network's own table matches.
"""

from weights_port.mapping import Rows

_HEADS = (
    "new_fc", r"cls_head\.fc_cls", "fc_cls", r"head\.fc", r"head\.linear", "head", "last_linear",
    "linear", "classifier", "fc", "logits", "output",
)  # fmt: skip
_AT = r"(?:.*\.)?"
_ELSEWHERE: Rows = {
    rf"{_AT}num_batches_tracked": (None, "a counter of PyTorch's training"),
    rf"{_AT}total_(?:ops|params)": (None, "a counter of a profiler"),
    rf"{_AT}(?:optimi[sz]er\w*|lr_scheduler\w*|scaler|grad_scaler)\..*": (
        None,
        "state of the training, not of the network",
    ),
    rf"{_AT}queue\w*": (None, "the queue of a contrastive training"),
    rf"{_AT}(?:encoder_k|key_encoder|momentum_\w+|target_(?:encoder|network|net)|teacher)\..*": (
        None,
        "the second network of a self-supervised training",
    ),
    rf"{_AT}(?:predictor|projector|projection\w*|prototypes|(?:fc|head|mlp)\.\d+)\..*": (
        None,
        "the projection head of a self-supervised training",
    ),
    rf"{_AT}(?:rpn\w*|roi_heads?|bbox_head|mask_head|neck|fpn\w*|top_block|proposal_generator|"
    r"decode_head|auxiliary_head|aux_classifier|aux_head|sem_seg_head|keypoint_head|"
    r"classifier\.\d+|anchor_generator\w*)\..*": (None, "the head of another task"),
    rf"{_AT}(?:pixel_mean|pixel_std|data_preprocessor\..*)": (None, "preprocessing of images"),
    rf"{_AT}(?:criterion|loss\w*)\..*": (None, "part of the loss"),
}


def elsewhere(classifier: str) -> Rows:
    """The rows for a network whose output layer has this name."""
    head = rf"{_AT}(?:{'|'.join(_HEADS)})"
    return {
        **_ELSEWHERE,  # first, as another network has a head too
        rf"{head}\.weight": (f"{classifier}.kernel", "dense"),
        rf"{head}\.bias": (f"{classifier}.bias", "same"),
    }
