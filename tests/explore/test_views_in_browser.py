"""The lab's own views in a real browser: a sequence that is typed, and the tab of another family."""

import numpy as np
import pytest

pytest.importorskip("bokeh", reason="the extra explore has bokeh")

from browser import chromium, tab

from toylab import sweep
from toylab.base import Config
from toylab.explore import open_folder
from toylab.explore.serving.server import Server
from toylab.explore.views import built_in
from toylab.models import Net, Transformer
from toylab.optim import Adam
from toylab.sweep import Spec
from toylab.tasks import RepeatedBlocks

pytestmark = pytest.mark.slow
assert chromium and tab  # fixtures
NET = Net.of(Transformer, d_vocab=9, d_vocab_out=9, n_ctx=12, n_layers=2, d_model=8, n_heads=2, d_mlp=0, readout="all")
CONFIG = Config(RepeatedBlocks(d_vocab=9, n_ctx=12, min_period=4, max_period=6, bos=False), NET, Adam(lr=0.1))
SHOWN = """(() => {
  const plots = all('Figure').filter((m) => m.title?.text !== undefined)
  const map = plots.find((m) => m.title.text === TITLE)
  const source = map?.renderers.map((one) => one.data_source).find((one) => one?.data.image !== undefined)
  return source === undefined ? [] : Array.from(source.data.image[0])
})()"""


def shown(title: str) -> str:
    """The expression of the numbers of the heat map with this title."""
    return SHOWN.replace("TITLE", repr(title))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("blocks")
    sweep.run([CONFIG], Spec(saves=(0, 2, 4)), found)
    return found


@pytest.fixture
def url(folder):
    server = Server(open_folder(folder), built_in())
    server.start()
    yield server.url
    server.stop()


@pytest.fixture
def params(folder):
    (group,) = sweep.load(folder)
    return {name: value[0] for name, value in group.params.items()}


def opened(url, tab) -> None:
    tab.open(url, timeout=60_000)
    tab.until(f"{shown('Layer 1, head 0')}.length > 0", timeout=60_000)


def test_a_sequence_that_is_typed_has_its_pattern_and_loss_drawn(url, tab, params):
    opened(url, tab)
    line = tab.page.get_by_label("2 to 12 tokens of 0 to 8 (empty: drawn)")
    for text, tokens in (("3 1 4 1 5", [3, 1, 4, 1, 5]), ("8,8,2", [8, 8, 2])):
        line.fill(text)
        line.press("Enter")
        tab.until(f"{shown('Layer 1, head 0')}.length === {len(tokens) ** 2}", timeout=30_000)
        last = {name: value[-1] for name, value in params.items()}
        logits, cache = NET.apply(last, np.asarray([tokens], np.int32))
        for head in (0, 1):
            drawn = np.reshape(tab.ask(shown(f"Layer 1, head {head}")), (len(tokens), len(tokens)))
            # the page runs the sequence filled up to 12 positions: float32 in another order of sums
            np.testing.assert_allclose(drawn, cache["pattern"][1, 0, head], atol=1e-5)
        log_p = logits[0, :-1] - np.logaddexp.reduce(np.asarray(logits[0, :-1]), axis=1, keepdims=True)
        loss = -float(np.mean([log_p[i, token] for i, token in enumerate(tokens[1:])]))
        titles = "all('Figure').map((m) => m.title?.text ?? '')"
        tab.until(f"{titles}.includes('Loss of each token, mean {loss:.2f} nats')")
    line.fill("1 2 nine")
    line.press("Enter")
    tab.page.get_by_text("'nine' is no token: they are 0 to 8.").wait_for()
    assert len(tab.ask(shown("Layer 1, head 0"))) == 9  # the pictures that were there stay


def test_the_tab_of_weights_shows_the_params_at_the_step(url, tab, params):
    opened(url, tab)
    tab.page.locator(".bk-tab").get_by_text("weights", exact=True).click()
    for name in ("W_E", "W_U"):
        tab.page.get_by_label("param").select_option(name)
        title = f"{name}: {params[name].shape[1]} × {params[name].shape[2]}"
        for key, at in (("End", 2), ("ArrowLeft", 1), ("Home", 0)):
            value = params[name][at]
            tab.handle().focus()
            tab.page.keyboard.press(key)
            tab.until(f"{shown(title)}[0] === {float(value[0, 0])!r}", timeout=30_000)
            np.testing.assert_array_equal(tab.ask(shown(title)), value.ravel())
            norm = f"Singular values; Frobenius norm {np.linalg.norm(value):.3g}"
            tab.until(f"all('Figure').some((m) => m.title?.text === {norm!r})")
