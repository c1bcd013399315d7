"""An induction machine built by hand for the relabelled-exemplar task."""

import jax
import numpy as np

from toylab.models import Net, Transformer
from toylab.tasks import RelabelledExemplars

KEY = jax.random.key(5)
C, N = 6, 5  # classes and labels of the machine
D_HEAD, D = 11, C + N + 5 + C + N + N  # its residual: token, position, token before, output
SURE = 60.0  # scores by which attention is all or nothing
SMALL = RelabelledExemplars(n_classes=C, d_features=C, n_eval=256, features=np.eye(C, dtype=np.float32))


def machine() -> tuple[Net, dict[str, np.ndarray]]:
    """An induction machine: head 1 of layer 1 moves each token to the position after it, head 2 of layer 2 attends from the
    query to where its own token was moved, and puts out the label there. All other heads are 0."""
    sizes = {"d_vocab": C + N, "d_vocab_out": N, "n_ctx": 5, "n_layers": 2, "d_model": D, "n_heads": 3}
    net = Net.of(Transformer, **sizes, d_head=D_HEAD, d_mlp=0, inputs="vectors")
    params = {name: np.zeros(value.shape, np.float32) for name, value in jax.eval_shape(net.init, KEY).items()}
    token, position, before, output = np.split(np.eye(D, dtype=np.float32), np.cumsum([C + N, 5, C + N]))
    params["W_E"], params["W_pos"] = token, position
    later = np.roll(np.eye(5), -1, axis=0)  # row t is position t + 1
    params["W_Q"][0, 1, :, :5] = position.T * SURE
    params["W_K"][0, 1, :, :5] = position.T @ later
    params["W_V"][0, 1], params["W_O"][0, 1] = token.T, before
    params["W_Q"][1, 2], params["W_K"][1, 2] = token.T * SURE, before.T
    params["W_V"][1, 2, :, :N], params["W_O"][1, 2, :N] = token[C:].T, 30 * output
    params["W_U"] = output.T
    return net, params


NET, MACHINE = machine()
