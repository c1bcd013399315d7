"""SGD with L2 on minibatches, the last of an epoch smaller, against torch with the same numbers in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from toylab import train
from toylab.base import Config
from toylab.models import Dense, Net
from toylab.optim import SGD
from toylab.tasks import SparseParity

N, BATCH, STEPS = 72, 32, 100  # batches of 32, 32 and 8


def test_a_hundred_steps_are_those_of_torch():
    torch = pytest.importorskip("torch")
    task = SparseParity(n_train=N, n_test=8, batch_size=BATCH, n_bits=10, k=2)
    net = Net.of(Dense, d_in=10, d_out=1, widths=(64,), output_bias=False)
    config = Config(task, net, SGD(lr=0.1, weight_decay=0.01), seed=3, data_seed=5)
    state, data = train.init(config), train.data(config)
    ours, _ = train.advance(config, state, jnp.array([STEPS]))

    first, last = torch.nn.Linear(10, 64), torch.nn.Linear(64, 1, bias=False)
    with torch.no_grad():
        for theirs, name in ((first.weight, "W_0"), (first.bias, "b_0"), (last.weight, "W_out")):
            theirs.copy_(torch.tensor(np.asarray(state.params[name]).T.copy()))
    optimizer = torch.optim.SGD([*first.parameters(), *last.parameters()], lr=0.1, weight_decay=0.01)
    x, y = torch.tensor(np.array(data["x"])), torch.tensor(np.array(2.0 * data["y"] - 1))
    key, sizes = jax.random.key(5), []
    for step in range(STEPS):
        order = np.asarray(jax.random.permutation(jax.random.fold_in(key, step // 3), N))
        chosen = order[step % 3 * BATCH :][:BATCH]
        sizes.append(len(chosen))
        output = last(torch.relu(first(x[chosen.tolist()])))[:, 0]
        loss = torch.relu(1 - output * y[chosen.tolist()]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert sizes[:4] == [32, 32, 8, 32]
    for theirs, name in ((first.weight, "W_0"), (first.bias, "b_0"), (last.weight, "W_out")):
        np.testing.assert_allclose(ours.params[name], theirs.detach().numpy().T, atol=2e-5)
