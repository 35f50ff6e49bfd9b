"""The hyperparameters of a training, as config.json of its run has them; light, for --help."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """Test accuracy and loss the paper reports; its test split shares families with training."""

    accuracy: float
    loss: float


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters of a training; data, initial weights and seed are given separately."""

    name: str
    images: int  # that the recipe is meant for, over all splits and both classes
    epochs: int
    batch_size: int
    backbone: str = "EfficientNetB4"
    learning_rate: float = 0.01
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    patience: int = 0  # epochs without a lower validation loss before training stops; 0: never
    augmentation: str = "none"  # see `training.data.augmentation`
    head_epochs: int = 0  # that train the sigmoid unit only, with the backbone frozen
    head_learning_rate: float = 0.01
    unfreeze_from: str = ""  # the first block trained afterwards ("block4"); "" trains all
    freeze_batchnorm: bool = False  # keep BatchNormalization's ImageNet statistics and scales
    schedule: str = "constant"  # after `head_epochs`; or "cosine": decay to zero
    label_smoothing: float = 0.0
    published: Published | None = None
