"""The explorer's page in a document without a server, and its widgets by title."""

from bokeh.document import Document
from swept_recording import VIEWS, Swept

from toylab.explore.page.page import Page


def opened(recording=None, *, live=True, views=VIEWS, parts=None) -> Page:
    page = Page(parts or {"": recording or Swept()}, views, live=live)
    page.add_to(Document())
    return page


def widget(page: Page, kind: type, title: str):
    """The one widget with this title."""
    (found,) = {one for root in page.roots.values() for one in root.select({"type": kind}) if one.title == title}
    return found
