"""The opponent of circuits_speed.py: the measures of Zhong et al. 2023 (arXiv 2306.17844) in PyTorch, straight down.

The network with every position of every layer computed, a forward and a backward pass for each triple, and for each circle
a pass for each pair, or one over all of them, and the four formulas over the whole cube. Parameters
are toylab's, a layer axis first.
"""

from collections.abc import Mapping

import numpy as np
import torch


class PizzaTransformer:
    """tokens int64 [B, P] → logits [B, C] at the last position; bidirectional attention with a rate, ReLU."""

    def __init__(self, params: Mapping[str, np.ndarray], attention_rate: float) -> None:
        self.params = {name: torch.tensor(np.array(value)) for name, value in params.items()}
        self.attention_rate = attention_rate

    def logits(self, embedded: torch.Tensor) -> torch.Tensor:
        w, alpha = self.params, self.attention_rate
        resid = embedded + w["W_pos"][: embedded.shape[1]]  # [B, P, d_model]
        for layer in range(len(w["W_Q"])):
            q, k, v = (torch.einsum("bpd,hde->bhpe", resid, w[f"W_{name}"][layer]) for name in "QKV")
            scores = torch.einsum("bhqe,bhke->bhqk", q, k) / q.shape[-1] ** 0.5
            pattern = torch.softmax(scores, dim=-1) * alpha + (1 - alpha)
            z = torch.einsum("bhqk,bhke->bhqe", pattern, v)
            resid = resid + torch.einsum("bhqe,hed->bqd", z, w["W_O"][layer])
            post = torch.relu(torch.einsum("bpd,dm->bpm", resid, w["W_in"][layer]) + w["b_in"][layer])
            resid = resid + torch.einsum("bpm,md->bpd", post, w["W_out"][layer]) + w["b_out"][layer]
        return resid[:, -1] @ w["W_U"]


def gradient_symmetricity(net: PizzaTransformer, triples: np.ndarray) -> float:
    cosines = []
    for a, b, c in triples.tolist():
        embedded = net.params["W_E"][torch.tensor([[a, b]])].requires_grad_(True)
        net.logits(embedded)[0, c].backward()
        of_a, of_b = embedded.grad[0]
        cosines.append(torch.nn.functional.cosine_similarity(of_a, of_b, dim=0).item())
    return float(np.mean(cosines))


@torch.no_grad()
def circle_fve(net: PizzaTransformer, frequencies: list[int], batched: bool) -> list[dict[str, float]]:
    """Of the first circles, whose frequencies are given: a loop over circles, formulas and, unless batched, pairs."""
    W_E = net.params["W_E"]
    p, mean = len(W_E), W_E.mean(0)
    left, sizes, directions = torch.linalg.svd(W_E - mean, full_matrices=False)
    found = []
    for u, k in enumerate(frequencies):
        pair = slice(2 * u, 2 * u + 2)
        alone = mean + (left[:, pair] * sizes[pair]) @ directions[pair]
        n = torch.arange(p)
        pairs = torch.cartesian_prod(n, n)
        passes = [pairs] if batched else pairs.split(1)
        logits = torch.cat([net.logits(alone[some]) for some in passes]).reshape(p, p, p)
        z = (logits - logits.mean()) / logits.std()
        shares = {}
        for name, formula in formulas(p, k).items():
            q = (formula - formula.mean()) / formula.std()
            shares[name] = float(1 - (z - q).var() / z.var())
        found.append(shares)
    return found


def formulas(p: int, k: int) -> dict[str, torch.Tensor]:
    a, b, c = torch.meshgrid(*3 * [torch.arange(p, dtype=torch.float32)], indexing="ij")
    w, v = 2 * np.pi * k / p, 2 * np.pi * (k * (p + 1) // 2 % p) / p
    S_c, S_s = torch.cos(w * a) + torch.cos(w * b), torch.sin(w * a) + torch.sin(w * b)
    cos, sin = torch.cos(w * c / 2), torch.sin(w * c / 2)
    both = torch.cos(2 * v * a) + torch.cos(2 * v * b), torch.sin(2 * v * a) + torch.sin(2 * v * b)
    edges = (S_c - S_s).abs() - (S_c + S_s).abs()
    return {
        "clock": torch.cos(w * (a + b - c)),
        "pizza": (cos * S_c + sin * S_s).abs() - (-sin * S_c + cos * S_s).abs(),
        "pizza_appendix": (S_c.abs() - S_s.abs()) * torch.cos(w * c) - edges * torch.sin(w * c) / 2**0.5,
        "accompanying": -(torch.cos(v * c) * both[0] + torch.sin(v * c) * both[1]),
    }
