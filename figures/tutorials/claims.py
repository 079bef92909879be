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
# # Reading and adding a claim
#
# A claim of the ledger is a statement with a check: a function that yields comparisons of a measured number with a
# predicted one. Its near-misses are given to the same check, which must reject them. A check that cannot fail shows
# nothing.

# %%
import matplotlib.pyplot as plt
import torch

from theory.claims.claim import Claim, Control, Source, compare, judge
from theory.claims.ledger import ledger
from theory.manifolds import make

torch.set_num_threads(1)
claims = {claim.id: claim for claim in ledger()}
for claim in list(claims.values())[:5]:
    print(f"{claim.id:4} {claim.title}")
print(f"... {len(claims)} in all")

# %% [markdown]
# ## One claim
#
# I2 is about the noise above which the term no longer points to the manifold. On the command line it is `python -m
# theory --explain I2 --proof --plot I2.png`.

# %%
claim = claims["I2"]
print(claim.statement, "", *claim.assumptions, f"\ntolerance {claim.tolerance}: {claim.why}", sep="\n")

# %%
verdict = judge(claim)
for found in verdict.comparisons[:4]:
    print(f"{found.error:8.1e}  {found.measured:.6f} for {found.predicted:.6f}  {found.what}")
print()
for judged in verdict.controls:
    print(f"{judged.worst_error:8.1e}  {'rejected' if judged.rejected else 'PASSES'}  {judged.control.title}")
print(f"\n{claim.id} {verdict.outcome}, worst error {verdict.worst_error:.1e}")

# %%
figure, axes = plt.subplots(figsize=(5, 3), dpi=80, layout="constrained")
assert claim.picture is not None
claim.picture(axes)
axes.legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# ## One of yours
#
# At small noise the score points to the nearest point of the manifold, and its length is distance / sigma^2. The check
# computes both sides by different ways: the exact score, and the projection. `share` is what the near-miss changes.


# %%
def check(share: float = 1.0):
    y = torch.tensor([[1.5, 0.0], [0.2, 0.1]], dtype=torch.float64)
    ring, sigma = make("ring"), 0.01
    yield compare("score", ring.score(y, 1.0, sigma), share * (ring.project(y) - y) / sigma**2, scale=1e4)


mine = Claim(
    id="X1",
    title="At small noise the score points to the manifold",
    statement="score(y) = (Proj(y) - y) / sigma^2 + O(1) as sigma -> 0.",
    assumptions=("y has one nearest point.",),
    source=Source("ours", "an example"),
    tolerance=1e-3,
    why="The next term is O(1), of a score of 1e4.",
    check=check,
    controls=(Control("half as long", {"share": 0.5}),),
    proven=False,
)
judged = judge(mine)
print(judged.outcome, f"worst error {judged.worst_error:.1e},", judged.rejected, "near-miss rejected")

# %% [markdown]
# A check that lets a near-miss pass is a *defect*, even if its own numbers agree:

# %%
careless = Claim(**{**vars(mine), "tolerance": 1.0, "why": "Chosen so that it holds."})
print(judge(careless).outcome)

# %% [markdown]
# To stand in the ledger, a claim goes into the tuple CLAIMS of a file in `theory/claims/`, its proof into
# `theory/claims/proofs/ID.md`, and `python -m theory.claims.snapshot` records it. `CONTRIBUTING.md` lists what a claim
# needs.
