"""The attention-only transformer of Singh et al. 2024 (arXiv 2404.07129): exemplars and labels in, a label out."""

import jax
from flax import nnx

from toylab.models.transformer import Transformer


class ExemplarTransformer(Transformer):
    """x [B, P, d_features + n_labels], an exemplar's features or a label's one-hot vector at each position → logits
    [B, n_labels] at the last one, the query.

    The released code's network and init: two layers, rotary positions (base 10,000), LayerNorm, no MLP, each matrix
    normal with variance 1 / (its number of inputs), labels truncated normal of scale 0.02. W_E holds the embedding of
    features, then that of labels. Deviation: embedding and unembedding have no bias, 0 at the start there.

    Args:
        d_features: Dimensions of an exemplar (default: ResNet18 features of omniglot).
        n_labels: Labels.
        label_scale: Scale of the embeddings of labels at the start.
    """

    def __init__(
        self,
        *,
        d_features: int = 512,
        n_labels: int = 5,
        n_ctx: int = 5,
        n_layers: int = 2,
        d_model: int = 64,
        n_heads: int = 8,
        label_scale: float = 0.02,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(
            d_vocab=d_features + n_labels,
            d_vocab_out=n_labels,
            n_ctx=n_ctx,
            n_layers=n_layers,
            d_model=d_model,
            n_heads=n_heads,
            d_mlp=0,
            layer_norm=True,
            positions="rotary",
            inputs="vectors",
            readout="last",
            rngs=rngs,
        )
        features = jax.random.normal(rngs.params(), (d_features, d_model)) / d_features**0.5
        labels = label_scale * jax.random.truncated_normal(rngs.params(), -2, 2, (n_labels, d_model))
        self.W_E = nnx.Param(jax.numpy.concatenate([features, labels]))
        self.W_U = nnx.Param(jax.random.normal(rngs.params(), (d_model, n_labels)) / d_model**0.5)

    @staticmethod
    def check(*, d_model: int, n_heads: int, **sizes: object) -> None:
        if d_model % n_heads or d_model // n_heads % 2:
            raise ValueError(
                f"net.d_model is {d_model}: it must be a multiple of 2 · net.n_heads = {2 * n_heads}, because rotary"
                " positions turn pairs of dimensions."
            )
