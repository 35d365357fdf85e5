"""Named, frozen recipes: all hyperparameters of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise

from training.augment import Augmentation


@dataclass(frozen=True)
class Recipe:
    """All hyperparameters of a training run. Data, seed and device come from the command line."""

    about: str
    arch: str = "efficientnet_lite0"
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    phases: tuple[tuple[int, int], ...] = ((20, 64),)  # (epochs, resolution), one after the other
    batch_size: int = 64
    optimizer: str = "adamw"  # adamw, adam or sgd (Nesterov, momentum 0.9)
    learning_rate: float = 1e-3
    weight_decay: float = 0.05  # adamw and sgd; none on norms and biases
    schedule: str = "cosine"  # cosine to 0 after warm-up, onecycle, or constant
    warmup_steps: int = 400
    clip_norm: float = 1.0  # maximum norm of all gradients; 0: no clipping
    clip_value: float = 0.0  # maximum of each gradient element; 0: no clipping
    ema: float = 0.998  # decay of the averaged weights per step; 0: no averaging
    label_smoothing: float = 0.1
    votes_weight: float = 1.0  # weight of the FER+ head's loss; the FER2013 head's is 1
    dropout: float = 0.0
    drop_path: float = 0.0
    adjust: float = 0.0  # tau of the logit-adjusted loss (arXiv:2007.07314); see objective.ClassPrior
    balance: float = 0.0  # class weight: share ** -balance; see objective.ClassPrior
    distill: float = 0.0  # weight of the distillation loss with --teacher (arXiv:1503.02531)
    bf16: bool | None = None  # torch.autocast to bfloat16; None: on CUDA only
    use_votes: bool = True  # False: a single head on FER2013's labels, even if votes are given
    choose_on: tuple[str, ...] = ()  # splits that select the best epoch; empty: validation, or PublicTest
    augmentation: Augmentation = field(default_factory=Augmentation)

    @property
    def epochs(self) -> int:
        return sum(epochs for epochs, _ in self.phases)

    def resolution(self, epoch: int) -> int:
        """Return the resolution, in pixels, at which epoch number `epoch` (from 0) trains."""
        for epochs, resolution in self.phases:
            if epoch < epochs:
                return resolution
            epoch -= epochs
        return self.phases[-1][1]


NO_CHANGE = Augmentation(0, 0, 0, 0, 0, 0, 0, 0, 0)
FLIP_ROTATE = replace(NO_CHANGE, flip=0.5, rotation_degrees=20)
STANDARD = Augmentation(flip=0.5, rotation_degrees=15, scale=0.15, shift=0.08, brightness=0.25, contrast=0.35,
                        blur=0.15, noise=0.03, erase=0.4)
# Indoor cameras: more geometric and lighting variation, and some of a webcam's noise and compression
LIVE = replace(STANDARD, rotation_degrees=20, scale=0.25, shift=0.12, gamma=0.6, low_light=0.04, jpeg=0.05, noise=0.06, blur=0.2)
GEOMETRY = replace(STANDARD, rotation_degrees=20, scale=0.25, shift=0.15, gamma=0.6, blur=0.0, noise=0.0, erase=0.0)
MILD = replace(STANDARD, scale=0.2, shift=0.1, gamma=0.4, blur=0.1, noise=0.02, erase=0.25)
WIDE = replace(GEOMETRY, blur=0.1, noise=0.03, erase=0.25, low_light=0.04, jpeg=0.05)


def as_webcam(augmentation: Augmentation, detector_box: float) -> Augmentation:
    """Add a webcam's low light, compression, noise and loss of detail (ablated in RESULTS.md).

    detector_box: probability of cropping to the live detector's box. FER2013's images are already cropped to a detector's boxes.
    """
    return replace(augmentation, detector_box=detector_box, low_light=0.1, jpeg=0.15, noise=0.1, detail=0.35)


# Fine-tunes trained weights with a teacher
AGAIN = Recipe(
    about="trains best_cpu's weights further (--pretrained best_model.pt), distilled from themselves or others (--teacher)",
    phases=((1, 64), (4, 80)), learning_rate=4e-4, warmup_steps=100, dropout=0.1, distill=0.5, augmentation=STANDARD,
)
# The published notebooks: no warm-up, clipping, averaging or smoothing
PLAIN = Recipe(
    about="a constant learning rate and nothing else", learning_rate=1e-3, optimizer="adam", weight_decay=0.0,
    schedule="constant", clip_norm=0.0, ema=0.0, label_smoothing=0.0,
)
NOTEBOOK = replace(
    PLAIN, about="ImageNet's normalization, flips and rotations", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
    augmentation=FLIP_ROTATE,
)

RECIPES = {
    "best": Recipe(
        about="full-length training on a CUDA GPU; a second head where votes are given",
        phases=((20, 80), (60, 112)), batch_size=512, learning_rate=2e-3, warmup_steps=300, ema=0.999,
        dropout=0.2, drop_path=0.1, augmentation=STANDARD,
    ),
    "best_cpu": Recipe(
        about="the same in two hours on two CPU cores; resolution grows from 48 to 80 px",
        phases=((8, 48), (18, 64), (13, 80)), batch_size=64, learning_rate=1e-3, warmup_steps=400, ema=0.998,
        dropout=0.1, augmentation=STANDARD,
    ),
    "again_cpu": AGAIN,
    "webcam_cpu": replace(
        AGAIN, about="the same with a webcam's light, noise and blur; average the result with its start (training.soup)",
        augmentation=as_webcam(STANDARD, detector_box=0.0),
    ),
    "webcam": replace(
        AGAIN, about="the same from best's weights on a CUDA GPU; takes several seeds of best as teachers",
        phases=((20, 112),), batch_size=512, drop_path=0.1, augmentation=as_webcam(STANDARD, detector_box=0.0),
    ),
    "live_cpu": Recipe(
        about="trains weights further (--pretrained best_model.pt) with a camera's light and angles; measured: no gain",
        phases=((6, 80),), batch_size=64, learning_rate=6e-4, warmup_steps=100, ema=0.998, dropout=0.1, distill=0.5,
        adjust=1.0, balance=0.5, augmentation=LIVE,
    ),
    "balanced_cpu": Recipe(
        about="trains weights further without a teacher: wider geometry and gamma only, rare classes weigh more",
        phases=((4, 80),), batch_size=64, learning_rate=6e-4, warmup_steps=100, ema=0.998, dropout=0.1, balance=0.5,
        augmentation=GEOMETRY,
    ),
    "large_cpu": Recipe(
        about="a larger network, two hours on one CPU core: wider geometry and light, distilled from the released weights",
        arch="efficientnet_lite2", phases=((8, 48), (12, 64), (8, 80)), batch_size=64, learning_rate=1e-3, warmup_steps=400,
        ema=0.998, dropout=0.15, drop_path=0.05, adjust=1.0, label_smoothing=0.05, distill=0.3, augmentation=WIDE,
    ),
    "again_large_cpu": Recipe(
        about="trains large_cpu's weights further (--pretrained best_model.pt), distilled from them and the released ones",
        arch="efficientnet_lite2", phases=((7, 80),), batch_size=64, learning_rate=6e-4, warmup_steps=150, ema=0.998, dropout=0.1,
        drop_path=0.05, label_smoothing=0.05, distill=0.4, augmentation=WIDE,
    ),
    "pair_large_cpu": Recipe(
        about="trains again_large_cpu's weights further (--pretrained), distilled from the mean of them and the released ones",
        arch="efficientnet_lite2", phases=((10, 64), (14, 80)), batch_size=64, learning_rate=8e-4, warmup_steps=200, ema=0.999,
        dropout=0.1, drop_path=0.05, label_smoothing=0.05, distill=0.6, augmentation=MILD,
    ),
    "pair_cpu": Recipe(
        about="the same for the released weights: a small network that copies the mean of a small and a large one",
        phases=((10, 80),), batch_size=64, learning_rate=6e-4, warmup_steps=100, ema=0.999, dropout=0.1, label_smoothing=0.05,
        distill=0.6, augmentation=MILD,
    ),
    "ablation": Recipe(
        about="a short best_cpu: the base of the ablations (python -m training.ablate)",
        phases=((5, 48),), dropout=0.1, distill=0.5, augmentation=STANDARD,
    ),
    "quick_cpu": Recipe(
        about="half an hour on two CPU cores",
        phases=((4, 48), (8, 64), (4, 80)), augmentation=STANDARD,
    ),
    "notebook_b1": replace(
        NOTEBOOK, about="rerun of a notebook: EfficientNet-B1 on Kaggle's folders, Adam, 15 epochs; claims 69.2% validation",
        arch="efficientnet_b1", phases=((15, 48),), batch_size=32,
    ),
    "notebook_b0": replace(
        NOTEBOOK, about="rerun of a notebook: EfficientNet-B0, otherwise as notebook_b1; claims about 64% validation",
        arch="efficientnet_b0", phases=((15, 48),), batch_size=32,
    ),
    "notebook_b0_long": replace(
        NOTEBOOK, about="rerun of a notebook: EfficientNet-B0, 70 epochs; claims 93%, which was its training accuracy",
        arch="efficientnet_b0", phases=((70, 48),), batch_size=32,
    ),
    "resnet9_onecycle": replace(
        PLAIN, about="rerun of a published project: ResNet9 on fer2013.csv, one-cycle, selected on the test splits; claims 70%",
        arch="resnet9", phases=((30, 48),), batch_size=128, choose_on=("PublicTest", "PrivateTest"), schedule="onecycle",
        weight_decay=1e-4, clip_value=0.1, augmentation=replace(NO_CHANGE, flip=0.5, pixel_shift=4),
    ),
    "timm_cnn": replace(
        NOTEBOOK, about="any timm network, with --arch; Adam, or SGD with --optimizer",
        arch="resnet18", phases=((20, 48),), augmentation=replace(FLIP_ROTATE, brightness=0.2),
    ),
    "smoke": Recipe(
        about="overfits a handful of images in seconds: for tests and for trying the program",
        phases=((16, 48),), batch_size=14, learning_rate=3e-3, weight_decay=0.0, warmup_steps=8, ema=0.8, label_smoothing=0.0,
        augmentation=Augmentation(rotation_degrees=3, scale=0.02, shift=0.02, erase=0),
    ),
}


def stretched(recipe: Recipe, epochs: int) -> Recipe:
    """Return the recipe with another number of epochs, scaling its phases in proportion."""
    sums = accumulate(length for length, _ in recipe.phases)
    ends = [round(end * epochs / recipe.epochs) for end in sums]
    lengths = [b - a for a, b in pairwise([0, *ends])]
    return replace(recipe, phases=tuple((n, r) for n, (_, r) in zip(lengths, recipe.phases, strict=True) if n))


def varied(recipe: Recipe, plan: dict) -> Recipe:
    """Return the recipe with the network, optimizer, precision and number of epochs set by the plan."""
    recipe = replace(recipe, **{name: plan[name] for name in ("arch", "optimizer") if plan.get(name)})
    if plan.get("bf16") is not None:
        recipe = replace(recipe, bf16=plan["bf16"])
    return stretched(recipe, plan["epochs"]) if plan.get("epochs") else recipe
