"""A page put into a document of Bokeh: its roots by name, its title, the template that they stand in."""

from pathlib import Path

from bokeh.core.templates import get_env
from bokeh.document import Document

from toylab.explore.page import Page


def place(page: Page, doc: Document) -> None:
    """Adds the roots of the page to the document, named as the template has them."""
    for name, root in page.roots.items():
        root.name = name
        doc.add_root(root)
    doc.title = page.title
    doc.template = get_env().from_string((Path(__file__).parent / "template.html").read_text("utf-8"))
