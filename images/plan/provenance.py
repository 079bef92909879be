"""Sources of a recipe's numbers: the paper, the code of its generator's authors, or this project.

Fields that are not listed are not used by the recipe's networks, or decide only when files are written.
"""

from __future__ import annotations

from images.recipes import CLASSIFIED, Recipe

PAPER = "the paper's table of settings"
DATA = "the data set"
OURS = "ours, not the paper's"
SMALL = f"{OURS}: chosen to be small"
GENERATOR = f"{OURS}: the paper trained StyleGAN2, BigGAN and Aurora, with settings that it does not state here"
OWN_STEP = (
    "the framework on which the paper's code is built (bytedance/Hammer): a lazy term takes a step of its own after "
    "the adversarial one, of the same Adam, on latents of its own; the paper does not say it, nor whether lr and betas "
    "are corrected for it. Until 2026-11 this project took summed for the paper's"
)
DECOUPLED = f"{OURS}: so are the couplings; their lambda is the paper's number, which is not comparable there"
BIGGAN = "BigGAN's code (ajbrock/BigGAN-PyTorch), scripts/{}, and the defaults of utils.py"
R3GAN = "R3GAN's code (brownvc/R3GAN), train.py, preset {}, and the command of its README"
ADA = "StyleGAN2-ADA's code (NVlabs/stylegan2-ada-pytorch), train.py, --cfg {}"

PRECISION = (
    "the paper's public code (THU-LYJ-Lab/SMaRt): neither its ADM nor its EDM network is configured for half "
    "precision; how its training, which is not public, calls them is not known"
)

SHARED = {
    "resolution channels classes": DATA,
    "weight every": PAPER,
    "couplings corrected": OWN_STEP,
    "score_precision": PRECISION,
    "decoupled_weight momentum clip bound": DECOUPLED,
}
EDM_READING = f"{PAPER}, t 40-60 read as EDM's index, as its configuration has it; --reading ddpm is the other reading"
DDPM_READING = (
    f"{PAPER}, t 25-35 read as the index of the ADM network's DDPM schedule; --reading edm is the other reading"
)
LAZY = (
    "the same, training/training_loop.py: R1 and path lengths take a step of their own of the same Adam, corrected by "
    "c = k / (k + 1)"
)
OF_R3GAN = (
    "width latent batch loss penalty penalty_every lazy_steps gamma lr beta1 beta2 burn_in ema mirror augmentation "
    "augment"
)
OF_AURORA = (
    "batch loss penalty penalty_every gamma lr beta1 beta2 images ema mirror group lazy_steps burn_in augment "
    "augmentation target"
)
LENGTH = f"{OURS}: R3GAN's code trains until it is stopped"
OF_BIGGAN = (
    "width latent batch d_steps loss uniform_labels penalty lr d_rate beta1 beta2 adam_eps images ema_decay ema_start "
    "mirror"
)
IDLE = "gamma penalty_every lazy_steps ema burn_in"
NO_EFFECT = f"{OURS}: without effect, as there are no penalties, ema_decay averages, and nothing changes along burn_in"
STYLEGAN2 = "width latent loss penalty penalty_every batch gamma lr beta1 beta2 images ema mirror group"

OF_CIFAR10 = "weight decoupled_weight every low high"
LIKE_CIFAR10 = f"{PAPER}, for CIFAR10, with t 40-60 read as the DDPM schedule's; that they serve these images is ours"

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
        STYLEGAN2: ADA.format("cifar") + " (no style mixing, no path lengths)",
        "lazy_steps path_every": LAZY + ", also counted where path lengths have weight 0",
        "augmentation target": "the same: --aug ada, its default",
        "burn_in": f"{OURS}: without effect, as nothing changes along it",
        "low high": EDM_READING,
    },
    "cifar10-biggan": {
        **SHARED,
        "generator": "the paper, whose settings of it were not seen",
        OF_BIGGAN: BIGGAN.format("launch_cifar_ema.sh")
        + " (there the singular vectors of the average are averages; here a power iteration follows)",
        "group": "the same: statistics of the whole batch, there of G's images on one GPU",
        IDLE: NO_EFFECT,
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
    "imagenet64-aurora": {
        **SHARED,
        "generator": "the paper; its discriminator is not public, and StyleGAN2's stands for it",
        "width latent": "Aurora's released configuration for text (zhujiapeng/Aurora, run_synthesize.py); SMaRt's own "
        "number of experts, depths and gains are not public",
        OF_AURORA: f"{OURS}: Aurora's training is not public; never tried",
        "low high": DDPM_READING,
    },
    "imagenet128": {
        **SHARED,
        "generator": GENERATOR,
        OF_R3GAN: f"{OURS}: R3GAN's of ImageNet-64 with one stage more, at a quarter of its batch; never tried",
        "images": LENGTH,
        "low high": DDPM_READING,
    },
    "imagenet128-biggan": {
        **SHARED,
        "generator": "the paper, whose settings of it were not seen",
        OF_BIGGAN: BIGGAN.format("launch_BigGAN_bs256x8.sh")
        + " (BigGAN's paper has lr 5e-5 and 2e-4, two steps of D, and an orthogonal regularisation that the script has "
        "not; images: 150,000 steps of G, about where the authors stop before it collapses)",
        "group": f"{OURS}: there statistics are of what a GPU holds, in BigGAN's paper of the whole batch",
        IDLE: NO_EFFECT,
        "low high": DDPM_READING,
    },
    "lsun-bedroom": {
        **SHARED,
        "generator": "the paper, whose settings of it were not seen",
        STYLEGAN2: ADA.format("paper256") + " (ema does not start shorter)",
        "lazy_steps": LAZY,
        "mixing path_weight path_every": "StyleGAN2-ADA's code, training/loss.py (mixing, path_weight) and "
        "training/training_loop.py (path_every); path lengths are measured on the whole batch, there on half of it",
        "augment": f"{OURS}: none, as for data as many as these (--aug noaug)",
        "burn_in": f"{OURS}: without effect, as nothing changes along it",
        "low high": DDPM_READING,
    },
}


def provenance(recipe: Recipe) -> dict[str, str]:
    """Names of fields, separated by spaces -> the source of their values."""
    small = {OF_CIFAR10: LIKE_CIFAR10, "the others": SMALL} if recipe.source in CLASSIFIED else {"all": SMALL}
    return SOURCES.get(recipe.recipe, small)
