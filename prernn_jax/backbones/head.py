"""What a backbone says about its last layers, so that they can be made recurrent."""

from dataclasses import dataclass

from prernn_jax.recurrent import Activation


@dataclass(frozen=True)
class HeadLayer:
    """One of the last layers of a backbone.

    A backbone lists them in order in its attribute `head`; the last entry is the output layer.

    Attributes:
      name: Path of the layer in the network, such as `fc6` or `layer4.2.conv3`.
      activation: What the network applies to the layer's output; None for the output layer.
    """

    name: str
    activation: Activation | None = None
