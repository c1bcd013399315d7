"""The opponents in PyTorch: the one-layer transformer of Nanda et al. 2023 (arXiv 2301.05217), and attention-only ones.

The first is written from the set-up as published: parameters as plain tensors, attention by einsum under a causal mask,
every position of every layer computed, the logits of the last position read out, cross-entropy of the logits in
float64, AdamW on all parameters with a linear warm-up. Names and layouts are toylab's: both start from the same
numbers.
"""

from collections.abc import Mapping

import numpy as np
import torch
from account import n_cores
from torch import nn


class OneLayerTransformer(nn.Module):
    """tokens int64 [B, P] → logits [B, P, d_vocab_out]; `params` are toylab's, with a layer axis of 1."""

    def __init__(self, params: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        per_layer = {"W_Q", "W_K", "W_V", "W_O", "W_in", "b_in", "W_out", "b_out"}
        for name, value in params.items():
            own = value[0] if name in per_layer else value
            setattr(self, name, nn.Parameter(torch.tensor(np.array(own))))
        self.register_buffer(
            "visible", torch.tril(torch.ones(len(params["W_pos"]), len(params["W_pos"]), dtype=torch.bool))
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        n_positions = tokens.shape[1]
        resid = self.W_E[tokens] + self.W_pos[:n_positions]  # [B, P, d_model]
        q = torch.einsum("bpd,hde->bhpe", resid, self.W_Q)
        k = torch.einsum("bpd,hde->bhpe", resid, self.W_K)
        v = torch.einsum("bpd,hde->bhpe", resid, self.W_V)
        scores = torch.einsum("bhqe,bhke->bhqk", q, k) / q.shape[-1] ** 0.5
        scores = scores.masked_fill(~self.visible[:n_positions, :n_positions], -1e10)  # as published, in place of −inf
        z = torch.einsum("bhqk,bhke->bhqe", torch.softmax(scores, dim=-1), v)
        resid = resid + torch.einsum("bhqe,hed->bqd", z, self.W_O)
        post = torch.relu(torch.einsum("bpd,dm->bpm", resid, self.W_in) + self.b_in)
        resid = resid + torch.einsum("bpm,md->bpd", post, self.W_out) + self.b_out
        return resid @ self.W_U


class TorchTraining:
    """Full-batch training from given params; `through_compile`: network and loss go through torch.compile."""

    def __init__(
        self,
        params: Mapping[str, np.ndarray],
        tokens: np.ndarray,
        labels: np.ndarray,
        *,
        gpu: bool,
        through_compile: bool,
    ) -> None:
        torch.set_num_threads(n_cores())
        self.device = torch.device("cuda" if gpu else "cpu")
        self.net = OneLayerTransformer(params).to(self.device)
        self.tokens = torch.tensor(np.array(tokens), dtype=torch.int64, device=self.device)
        self.labels = torch.tensor(np.array(labels), dtype=torch.int64, device=self.device)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=1.0)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: min(step / 10, 1))
        self.objective = torch.compile(self._objective) if through_compile else self._objective

    def _objective(self, tokens: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        log_probabilities = torch.log_softmax(self.net(tokens)[:, -1].to(torch.float64), dim=-1)
        return -log_probabilities.gather(-1, labels[:, None]).mean()

    def advance(self, n_steps: int) -> None:
        for _ in range(n_steps):
            self.optimizer.zero_grad()
            self.objective(self.tokens, self.labels).backward()
            self.optimizer.step()
            self.schedule.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def loss(self) -> float:
        with torch.no_grad():
            return float(self._objective(self.tokens, self.labels))


class AttentionOnly(nn.Module):
    """tokens int64 [B, P] → logits [B, P, d_vocab_out], any number of layers; `fused`: scaled_dot_product_attention."""

    def __init__(self, params: Mapping[str, np.ndarray], fused: bool) -> None:
        super().__init__()
        self.fused = fused
        for name, value in params.items():
            setattr(self, name, nn.Parameter(torch.tensor(np.array(value))))
        n_ctx = len(params["W_pos"])
        self.register_buffer("hidden", torch.triu(torch.ones(n_ctx, n_ctx, dtype=torch.bool), diagonal=1))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        n_positions = tokens.shape[1]
        resid = self.W_E[tokens] + self.W_pos[:n_positions]  # [B, P, d_model]
        for W_Q, W_K, W_V, W_O in zip(self.W_Q, self.W_K, self.W_V, self.W_O, strict=True):
            q, k, v = (torch.einsum("bpd,hde->bhpe", resid, W) for W in (W_Q, W_K, W_V))
            if self.fused:
                z = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            else:
                scores = torch.einsum("bhqe,bhke->bhqk", q, k) / q.shape[-1] ** 0.5
                scores = scores.masked_fill(self.hidden[:n_positions, :n_positions], -torch.inf)
                z = torch.einsum("bhqk,bhke->bhqe", torch.softmax(scores, dim=-1), v)
            resid = resid + torch.einsum("bhqe,hed->bqd", z, W_O)
        return resid @ self.W_U


class TorchNextToken:
    """Trains on batches [n, B, T + 1] drawn beforehand, one after the other: nothing is spent on data."""

    def __init__(self, net: nn.Module, batches: np.ndarray, evaluation: np.ndarray, *, gpu: bool) -> None:
        torch.set_num_threads(n_cores())
        self.device = torch.device("cuda" if gpu else "cpu")
        self.net = net.to(self.device)
        self.batches, self.evaluation = (
            torch.tensor(np.array(x), dtype=torch.int64, device=self.device) for x in (batches, evaluation)
        )
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: min(step / 10, 1))
        self.n_done = 0

    def _objective(self, tokens: torch.Tensor) -> torch.Tensor:
        logits = self.net(tokens[:, :-1])
        return nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())

    def advance(self, n_steps: int) -> None:
        for _ in range(n_steps):
            self.optimizer.zero_grad()
            self._objective(self.batches[self.n_done % len(self.batches)]).backward()
            self.optimizer.step()
            self.schedule.step()
            self.n_done += 1
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def loss(self) -> float:
        with torch.no_grad():
            return float(self._objective(self.evaluation))


class TorchMatmul:
    """One float32 product a @ b for the machine's rate, [m, k] by [k, n]."""

    def __init__(self, m: int, k: int, n: int, *, gpu: bool) -> None:
        torch.set_num_threads(n_cores())
        device = "cuda" if gpu else "cpu"
        self.a, self.b = torch.randn(m, k, device=device), torch.randn(k, n, device=device)

    def __call__(self) -> None:
        torch.matmul(self.a, self.b)
        if self.a.is_cuda:
            torch.cuda.synchronize()
