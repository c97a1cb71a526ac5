"""The model file of the stock handler's archive: TorchServe takes its only class, and no arguments."""

from torchvision.models.resnet import Bottleneck, ResNet


class ResNet50(ResNet):
    """Torchvision's, with a thousand classes."""

    def __init__(self) -> None:
        super().__init__(Bottleneck, [3, 4, 6, 3])
