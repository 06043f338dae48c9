"""The page of a label queue: pictures, guesses and why each was chosen; it works from a folder, with no server."""

from pathlib import Path

from vision.data.labels.sheet import COLUMNS, SKIP, QueueItem
from vision.settings import Section

TEMPLATE = "queue_page.html.j2"


class QueuePage(Section):
    title: str
    no: int
    labels: tuple[str, ...]
    items: tuple[QueueItem, ...]


def write_page(path: Path, page: QueuePage) -> None:
    """`path`: in the queue's folder, whose `images/` it shows."""
    import jinja2

    text = Path(__file__).with_name(TEMPLATE).read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    html = environment.from_string(text).render(page=page, columns=COLUMNS, skip=SKIP)
    path.write_text(html, encoding="utf-8")
