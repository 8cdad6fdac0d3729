"""A page as Markdown, LaTeX (booktabs; of a whole report) and one self-contained HTML file.

The HTML tables come from great_tables, the rest of the HTML page and the LaTeX from jinja2 templates beside this file.
great_tables' own LaTeX has no bold cells, so it is not used.
"""

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attnlab.tables.html_table import html_table
from attnlab.tables.page import Bold, Page, Section

if TYPE_CHECKING:
    import jinja2

FOLDER = Path(__file__).parent
#: the style sheet of every HTML page
STYLE = (FOLDER / "page.css").read_text()
#: what sorts its tables
SCRIPT = (FOLDER / "page.js").read_text()
#: of LaTeX's article, in pt: the width of its text, of a letter in \small, and between two columns
PAGE, LETTER, GAP = 345.0, 4.5, 12.0
ABOUT = {"source": "Source", "protocol": "Protocol", "departures": "Departures", "cost": "Cost"}


def markdown(page: Page, figures: Sequence[str] = ()) -> str:
    """GitHub Markdown. figures: names of files in the page's folder."""
    parts = [f"# {_md(page.title)}", *(f"**{ABOUT[name]}.** {_md(text)}" for name, text in page.about)]
    parts += [f"> {_md(text)}" for text in page.warnings]
    parts += [_md(text) for text in page.answer]
    for section in page.sections:
        rows = [[_md_cell(text) for text in row] for row in section.rows]
        parts += [f"## {_md(section.title)}"] if section.title else []
        parts += [markdown_table([_md(text) for text in section.header], rows)]
    parts += [_md(text) for text in page.notes]
    parts += [f"![{name.rsplit('.', 1)[0]}]({name})" for name in figures]
    return "\n\n".join(parts) + "\n"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table of texts that are Markdown already; the first column is aligned left, the others right."""
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _md(text: str) -> str:
    for sign in ("\\", "|", "*", "_", "<", "`", "[", "]"):
        text = text.replace(sign, "\\" + sign)
    return " ".join(text.split())


def _md_cell(text: str) -> str:
    return f"**{_md(text)}**" if isinstance(text, Bold) and text.strip() else _md(text)


LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "–": "--", "−": "$-$", "×": r"$\times$", "α": r"$\alpha$", "θ": r"$\theta$", "≤": r"$\le$",
    "|": r"\textbar{}", "†": r"\dag{}", "‡": r"\ddag{}",
}  # fmt: skip


def latex(page: Page) -> str:
    """A table environment for each section, its columns in parts that fit the width of an article's page.

    It needs \\usepackage{booktabs,graphicx}.
    """
    caption_warnings = [text for text in page.warnings if text.startswith(("Not the protocol", "Unfinished"))]
    return template("table.tex.jinja").render(
        page=page, parts=list(map(_parts, page.sections)), about_names=ABOUT, caption_warnings=caption_warnings
    )


def _parts(section: Section) -> list[list[list[str]]]:
    """The heading and the rows of a section, in parts as wide as a page; each part begins with the first column."""
    lines = [section.header, *section.rows]
    widths = [LETTER * max(len(line[i]) for line in lines) + GAP for i in range(len(section.header))]
    parts: list[list[int]] = []
    used = PAGE
    for i in range(1, len(widths)):
        if parts and used + widths[i] <= PAGE:
            parts[-1].append(i)
            used += widths[i]
        else:
            parts.append([i])
            used = widths[0] + widths[i]
    return [[[line[i] for i in (0, *part)] for line in lines] for part in parts or [[]]]


def _tex(text: str) -> str:
    escaped = "".join(LATEX.get(sign, sign) for sign in text)
    return f"\\textbf{{{escaped}}}" if isinstance(text, Bold) else escaped


def html_page(page: Page, figures: Sequence[str] = (), links: Mapping[str, str] = MappingProxyType({})) -> str:
    """One HTML file that needs no other file, but links to the pages of its runs.

    figures: <svg> or <img> elements; all other text is escaped;  links: run id -> address of its page.
    """
    return html_pages([(page, figures)], links)


def html_pages(pages: Sequence[tuple[Page, Sequence[str]]], links: Mapping[str, str] = MappingProxyType({})) -> str:
    """Several pages with their figures, one under another in one HTML file."""
    parts = []
    for number, (page, figures) in enumerate(pages, 1):
        tables = [html_table(section, f"table{number}_{i}", links) for i, section in enumerate(page.sections, 1)]
        parts.append({"page": page, "tables": tables, "figures": figures})
    return template("page.html.jinja").render(parts=parts, style=STYLE, script=SCRIPT, about_names=ABOUT)


def embedded(path: Path, alt: str) -> str:
    """A PNG as an element that needs no file beside the page; one of maps has other colours on a dark page."""
    from attnlab.tables.dark_picture import dark_picture

    image = f'<img alt="{html.escape(alt, quote=True)}" src="{_data(path.read_bytes())}">'
    if (dark := dark_picture(path)) is None:
        return image
    source = f'<source media="(prefers-color-scheme: dark)" srcset="{_data(dark)}">'
    return f'<picture class="maps">{source}{image}</picture>'


def _data(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def template(name: str) -> "jinja2.Template":
    """A template beside this file. jinja2 escapes the texts of HTML; LaTeX has the filter `tex`, and delimiters that
    LaTeX itself does not use."""
    import jinja2

    latex_delimiters: dict[str, Any] = {
        "block_start_string": "<%", "block_end_string": "%>", "variable_start_string": "<<",
        "variable_end_string": ">>", "comment_start_string": "<#", "comment_end_string": "#>",
    }  # fmt: skip
    is_html = ".html" in name
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), autoescape=is_html, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, **({} if is_html else latex_delimiters),
    )  # fmt: skip
    environment.filters |= {"tex": _tex, "oneline": lambda text: " ".join(text.split())}
    return environment.get_template(name)
