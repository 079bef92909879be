"""Sources of a recipe's numbers: the paper, the code of its generator's authors, or this project.

Fields that are not listed are not used by the recipe's networks, or decide only when files are written.
"""

from __future__ import annotations

from images.recipes import Recipe

PAPER = "the paper's table of settings"
DATA = "the data set"
OURS = "ours, not the paper's"
SMALL = f"{OURS}: chosen to be small"
GENERATOR = f"{OURS}: the paper trained StyleGAN2, BigGAN and Aurora, with settings that it does not state here"
DECOUPLED = f"{OURS}: so is the coupling; its lambda is the paper's number, which is not comparable there"
R3GAN = "R3GAN's code (brownvc/R3GAN), train.py, preset {}, and the command of its README"
ADA = (
    "StyleGAN2-ADA's code (NVlabs/stylegan2-ada-pytorch), train.py, --cfg {} (there a lazy "
    "regulariser takes a step of its own"
)

SHARED = {
    "resolution channels classes": DATA,
    "weight every": PAPER,
    "decoupled_weight momentum clip": DECOUPLED,
}
EDM_READING = f"{PAPER}, t 40-60 read as EDM's index, as its configuration has it; --reading ddpm is the other reading"
DDPM_READING = (
    f"{PAPER}, t 25-35 read as the index of the ADM network's DDPM schedule; --reading edm is the other reading"
)
OF_R3GAN = "width latent batch loss penalty penalty_every gamma lr beta1 beta2 burn_in ema mirror augmentation augment"
LENGTH = f"{OURS}: R3GAN's code trains until it is stopped"
STYLEGAN2 = "width latent loss penalty penalty_every batch gamma lr beta1 beta2 images ema mirror group"

SOURCES: dict[str, dict[str, str]] = {
    "cifar10": {
        **SHARED,
        "generator": GENERATOR,
        OF_R3GAN: R3GAN.format("CIFAR10")
        + " (there colours are changed half as often, a square is cut out as well, and ema grows along a cosine)",
        "images": LENGTH,
        "low high": EDM_READING,
    },
    "cifar10-stylegan2": {
        **SHARED,
        "generator": "the paper, whose settings of it were not seen",
        STYLEGAN2: ADA.format("cifar") + "; no style mixing, no path lengths)",
        "augmentation target": "the same: --aug ada, its default",
        "burn_in": f"{OURS}: without effect, as nothing changes along it",
        "low high": EDM_READING,
    },
    "imagenet64": {
        **SHARED,
        "generator": GENERATOR,
        OF_R3GAN: R3GAN.format("ImageNet-64")
        + " (there colours are changed half as often, a square is cut out as well, and ema grows along a cosine)",
        "images": LENGTH,
        "low high": DDPM_READING,
    },
    "imagenet128": {
        **SHARED,
        "generator": GENERATOR,
        OF_R3GAN: f"{OURS}: R3GAN's of ImageNet-64 with one stage more, at a quarter of its batch; never tried",
        "images": LENGTH,
        "low high": DDPM_READING,
    },
    "lsun-bedroom": {
        **SHARED,
        "generator": "the paper, whose settings of it were not seen",
        STYLEGAN2: ADA.format("paper256") + "; ema does not start shorter)",
        "mixing path_weight path_every": "StyleGAN2-ADA's code, training/loss.py (mixing, path_weight) and "
        "training/training_loop.py (path_every); path lengths are measured on the whole batch, there on half of it",
        "augment": f"{OURS}: none, as for data as many as these (--aug noaug)",
        "burn_in": f"{OURS}: without effect, as nothing changes along it",
        "low high": DDPM_READING,
    },
}


def provenance(recipe: Recipe) -> dict[str, str]:
    """Names of fields, separated by spaces -> the source of their values."""
    return SOURCES.get(recipe.recipe, {"all": SMALL})
