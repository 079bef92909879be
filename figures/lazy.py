# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The lazy strategy: the score term at every k-th step, k times as strong
#
# With SGD this equals the term at every step, to first order in the step size (claim L1). With Adam it does not: where
# the rare score gradient A is well above the adversarial gradient g, its mean step is $1/\sqrt{k}$ whatever $\lambda$
# is, and the adversarial step shrinks (L2). Outside Adam's moments the step is linear again, and its noise grows with k
# (L3). Below, training over k: the ring in R^16 with R1, 16 seeds (sweep `frequency`). The cell of that sweep under SGD
# is among the data and not drawn: the plain GAN does not train there, so it says nothing about L1.

# %%
import math

import pandas as pd
import torch
from matplotlib.ticker import NullFormatter, NullLocator

from figures.tools import results, style
from theory.claims.lazy import A, G, decoupled_law, descend, mean_steps, noisy_moments, summed_law
from theory.common.statistics import interval

torch.set_num_threads(1)
style.use()

# %% [markdown]
# ## The numbers
#
# The predictions, and what torch's optimisers do. $\beta_1 = 0$; steps are in units of the learning rate.

# %%
EVERY = (1, 2, 4, 8, 16)
K = 8  # the paper's


def measure(rates: list[float], beta2: float, weight: float, noise: float) -> pd.DataFrame:
    """L1: lazy SGD's distance from weight / k at every step; L2, L3: mean steps; L3: the variance of a step."""
    rows = []
    for k in (2, 4, 8):
        for rate in rates:
            gap = (descend(rate, weight, k) - descend(rate, weight / k, 1)).norm()
            rows.append(("L1", "sgd", f"gap, k={k}", rate, float(gap), math.nan))
    order = [place for place in A.argsort().tolist() if G[place] == 1]
    for kind, law in (("summed", summed_law), ("decoupled", decoupled_law)):
        for what, steps, said in zip(
            ("adversarial step", "score step"), mean_steps(K, beta2, kind), law(K), strict=True
        ):
            for place in order:
                rows.append(("L2", kind, what, float(A[place]), float(steps[place]), float(said[place])))
    for k in EVERY:
        _, variance = noisy_moments(k, lam=weight, noise=noise, cycles=8, beta2=beta2)
        law_of_variance = k * (weight * noise / 0.5) ** 2
        rows.append(("L3", "decoupled", "variance a step", k, float(variance) / (8 * k), law_of_variance))
    return pd.DataFrame(rows, columns=["panel", "arm", "metric", "x", "mean", "law"])


laws, whence = results.computed("lazy", measure, rates=[0.04, 0.02, 0.01, 0.005], beta2=0.99, weight=0.3, noise=2.0)

# %% [markdown]
# Training. Where `scaled` is False the score term at every eighth step lacks the factor k.

# %%
runs, source = results.sweep("frequency")
rows = []
chosen = runs[runs.metric.isin(("off_manifold", "coverage", "total_variation"))]
settings = ["cell", "arm", "scale_by_every", "metric", "every"]
for (cell, arm, scaled, metric, k), part in chosen.groupby(settings, sort=False):
    found = interval(part.sort_values("seed").value.to_numpy())
    rows.append((cell, arm, scaled, metric, math.nan if arm == "gan" else k, *found))
trained = pd.DataFrame(rows, columns=["panel", "arm", "scaled", "metric", "x", "mean", "low", "high"])

# %% [markdown]
# ## The picture

# %%
figure, axes = style.panels(3, 2, 4.9)
gap_panel, noise_panel, score_panel, adversarial_panel, off_panel, cost_panel = axes
for k, marker, line in zip((2, 4, 8), "os^", (":", "--", "-"), strict=True):
    rows = laws[(laws.panel == "L1") & (laws.metric == f"gap, k={k}")]
    first_order = rows["mean"].iloc[-1] * rows.x / rows.x.iloc[-1]
    gap_panel.loglog(rows.x, first_order, line, color=style.NOTE, lw=0.9)
    gap_panel.loglog(rows.x, rows["mean"], marker, color=style.NOTE, label=f"k = {k}")
gap_panel.set(xlabel="step size", ylabel="distance of parameters", ylim=(1e-4, 1e-2))
gap_panel.set_yticks([2e-4, 5e-4, 1e-3, 2e-3, 4e-3], ["0.0002", "0.0005", "0.001", "0.002", "0.004"])
gap_panel.set_title("SGD: nearly the same")
gap_panel.legend(loc="upper left", handlelength=1, borderpad=0)

rows = laws[laws.panel == "L3"]
noise_panel.loglog(rows.x, rows["law"], "-", color=style.DETACHED, label="predicted")
noise_panel.loglog(rows.x, rows["mean"], "^", color=style.DETACHED, label="measured")
noise_panel.set(xlabel="every k-th step", ylabel="variance of a step")
noise_panel.set_yticks([2, 5, 10, 20], ["2", "5", "10", "20"])
noise_panel.set_title("decoupled: noisier")
noise_panel.legend(loc="upper left", borderpad=0)

KINDS = {"summed": ("s", "-"), "decoupled": ("^", "--")}


def lines(ratio: torch.Tensor) -> dict[tuple[str, str], torch.Tensor]:
    """summed_law and decoupled_law at k = K, over the ratio A/g."""
    root = torch.sqrt((K - 1 + (1 + ratio) ** 2) / K)
    return {
        ("summed", "score step"): ratio / K / root,
        ("summed", "adversarial step"): 1 / root,
        ("decoupled", "score step"): ratio / K,
        ("decoupled", "adversarial step"): torch.ones_like(ratio),
    }


sizes = torch.logspace(-1, 3, 81, dtype=torch.float64)
for panel, what in ((score_panel, "score step"), (adversarial_panel, "adversarial step")):
    for arm, (marker, line) in KINDS.items():
        rows = laws[(laws.arm == arm) & (laws.metric == what)]
        ratio, law = (torch.tensor(rows[column].tolist(), dtype=torch.float64) for column in ("x", "law"))
        torch.testing.assert_close(lines(ratio)[arm, what], law)
        panel.loglog(sizes, lines(sizes)[arm, what], line, color=style.ARM_COLOURS[arm])
        panel.loglog(rows.x, rows["mean"], marker, color=style.ARM_COLOURS[arm], label=arm, ls="")
    panel.set(xlabel="ratio A/g, k = 8", ylabel=f"mean {what}")
    panel.set_xticks([0.1, 10, 1000])
score_panel.set_title("summed: capped")
adversarial_panel.set_title("and the game slows")
score_panel.legend(loc="upper left", borderpad=0)

# %% [markdown]
# Markers: torch's Adam; lines: predicted. Then training.

# %%
under_adam = trained[trained.panel == "Adam"]
baseline = under_adam[under_adam.arm == "gan"].set_index("metric")
ARMS = {"summed": ("s", "-"), "bounded": ("D", "--")}
for panel, metric in ((off_panel, "off_manifold"), (cost_panel, "total_variation")):
    plain = baseline.loc[metric]
    panel.axhspan(plain.low, plain.high, color=style.ARM_COLOURS["gan"], alpha=0.3, lw=0)
    panel.axhline(plain["mean"], color=style.ARM_COLOURS["gan"], lw=0.8, ls=":", label="GAN")
    for arm, (marker, line) in ARMS.items():
        rows = under_adam[(under_adam.arm == arm) & under_adam.scaled & (under_adam.metric == metric)]
        errors = [rows["mean"] - rows.low, rows.high - rows["mean"]]
        panel.errorbar(rows.x, rows["mean"], yerr=errors, fmt=line + marker, color=style.ARM_COLOURS[arm], label=arm)
    once = under_adam[(under_adam.arm == "summed") & ~under_adam.scaled & (under_adam.metric == metric)]
    panel.errorbar(
        once.x,
        once["mean"],
        yerr=[once["mean"] - once.low, once.high - once["mean"]],
        fmt="s",
        mfc="white",
        color=style.ARM_COLOURS["summed"],
        label="summed, not k times",
    )
    panel.set_xscale("log", base=2)
    panel.set_xticks(EVERY, [str(k) for k in EVERY])
    panel.set(xlabel="every k-th step, Adam")
off_panel.set(ylim=(0, 1), ylabel="share off the manifold")
off_panel.set_title("rarer: more stay off")
cost_panel.set(ylim=(0, 0.8), ylabel="total variation")
cost_panel.set_title("summed: density lost")
figure.legend(*off_panel.get_legend_handles_labels(), loc="outside lower center", ncols=2)
for panel in axes:
    panel.xaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_minor_formatter(NullFormatter())
gap_panel.set_xticks([0.005, 0.01, 0.02, 0.04], ["0.005", "0.01", "0.02", "0.04"])
noise_panel.set_xticks(EVERY, [str(k) for k in EVERY])

# %% [markdown]
# ## What is seen

# %%
checked = laws[laws.panel.isin(("L2", "L3"))]
worst = ((checked["mean"] - checked.law) / checked.law).abs().max()
assert worst < 0.05
steps = laws[(laws.panel == "L2") & (laws.arm == "summed")].pivot(index="x", columns="metric", values="mean").iloc[-1]
adam = under_adam[under_adam.scaled].set_index(["arm", "metric", "x"])["mean"]
plain, density = baseline["mean"], adam.xs("total_variation", level="metric")
off = adam.xs("off_manifold", level="metric")
assert (off["bounded"].sort_index().diff().dropna() > 0).all()
assert (off["summed"].sort_index().iloc[1:] > off["summed"][1]).all()
assert density["summed"][K] > 3 * density["bounded"][K]

style.save(
    figure,
    "lazy",
    "Summed under Adam, the lazy score term costs the density; bounded, it does not.",
    f"""The score term acts at every k-th step, k times as strong. *Top left:* under SGD the distance to the term at
    every step falls with the step size. *Top right:* decoupled, the noise of a step grows with k. *Middle:* in Adam's
    moments a large score gradient A is capped, at k = {K} to a mean step of {steps["score step"]:.2f}, and shrinks the
    step of the adversarial gradient g. Lines: predicted, to within {100 * math.ceil(100 * worst) / 100:.0f} %.
    *Bottom:* training. At k = {K} summed (the paper's coupling) ends at total variation {density["summed"][K]:.2f},
    bounded at {density["bounded"][K]:.2f}, the GAN at {plain["total_variation"]:.2f}. The larger k, the more samples
    bounded leaves off the manifold. Ring in R¹⁶, R1, 16 seeds, 95 % intervals.""",
    pd.concat([laws, trained], ignore_index=True),
    [whence, source],
)
