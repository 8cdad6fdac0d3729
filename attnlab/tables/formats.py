"""A sheet as Markdown, LaTeX (booktabs) and one self-contained HTML page."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from attnlab.tables.sheet import Bold, Section, Sheet

ABOUT = {"source": "Source", "protocol": "Protocol", "departures": "Departures", "cost": "Cost"}


def markdown(sheet: Sheet, figures: Sequence[str] = ()) -> str:
    """GitHub Markdown. figures: file names beside it."""
    parts = [f"# {_md(sheet.title)}", *(f"**{ABOUT[name]}.** {_md(text)}" for name, text in sheet.about)]
    parts += [f"> {_md(text)}" for text in sheet.warnings]
    for section in sheet.sections:
        head = [_md(text) for text in section.header]
        lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
        lines += ["| " + " | ".join(_md_cell(text) for text in row) + " |" for row in section.rows]
        parts += [*([f"## {_md(section.title)}"] if section.title else []), "\n".join(lines)]
    parts += [_md(text) for text in sheet.notes]
    parts += [f"![{name.rsplit('.', 1)[0]}]({name})" for name in figures]
    return "\n\n".join(parts) + "\n"


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
    "|": r"\textbar{}",
}  # fmt: skip


def latex(sheet: Sheet) -> str:
    """One table environment a section, for \\usepackage{booktabs}."""
    head = [f"% {sheet.title}", "% \\usepackage{booktabs,graphicx}"]
    head += [f"% {ABOUT[name]}: {text}" for name, text in sheet.about] + [f"% {text}" for text in sheet.warnings]
    parts = ["\n".join(" ".join(line.split()) for line in head)]
    parts += [_latex_table(sheet, section, number) for number, section in enumerate(sheet.sections, 1)]
    return "\n\n".join(parts) + "\n"


def _latex_table(sheet: Sheet, section: Section, number: int) -> str:
    title = f"{sheet.title}: {section.title}" if section.title else sheet.title
    warned = "".join(f" {text}" for text in sheet.warnings if text.startswith(("Not the protocol", "Unfinished")))
    under = [_tex(text) for text in (*sheet.warnings, *sheet.notes)] if number == len(sheet.sections) else []
    notes = (
        [r"\par\medskip\begin{minipage}{\linewidth}\footnotesize", "\n\n".join(under), r"\end{minipage}"]
        if under
        else []
    )
    rows = [" & ".join(_tex_cell(text) for text in row) + r" \\" for row in section.rows]
    return "\n".join([
        r"\begin{table}", r"\centering", f"\\caption{{{_tex(title + '.' + warned)}}}",
        f"\\label{{tab:{sheet.name}-{number}}}", r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        f"\\begin{{tabular}}{{l{'r' * (len(section.header) - 1)}}}", r"\toprule",
        " & ".join(_tex(text) for text in section.header) + r" \\", r"\midrule", *rows, r"\bottomrule",
        r"\end{tabular}}", *notes, r"\end{table}",
    ])  # fmt: skip


def _tex(text: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in text)


def _tex_cell(text: str) -> str:
    return f"\\textbf{{{_tex(text)}}}" if isinstance(text, Bold) else _tex(text)


STYLE = """
:root { --ink: #1a1a1a; --grey: #6b6b6b; --line: #dcdcdc; --blue: #2a6fb0; --amber: #fff6e0; }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1320px; padding: 2.2rem 1.6rem 4rem; color: var(--ink);
       font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.55rem; margin: 0 0 1rem; letter-spacing: -.01em } h2 { font-size: 1.08rem; margin: 2.2rem 0 .5rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 0 0 1rem; color: var(--grey) }
dt { font-weight: 600 } dd { margin: 0; overflow-wrap: anywhere }
.warn { background: var(--amber); border-left: 3px solid #e0a100; padding: .35rem .8rem; margin: .35rem 0;
        overflow-wrap: anywhere }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; white-space: nowrap }
th, td { text-align: right; padding: .32rem .48rem; border-bottom: 1px solid var(--line) }
th { color: var(--grey); font-weight: 600; border-bottom: 2px solid var(--ink) }
th:first-child, td:first-child { text-align: left; padding-left: 0; position: sticky; left: 0; background: #fff }
tbody tr:hover td { background: #f5f8fb }
td b { color: var(--blue) }
figure { margin: 1.6rem 0 } figure svg, figure img { max-width: 100%; height: auto }
ul.notes { padding-left: 1.1rem; color: var(--grey); max-width: 62rem } ul.notes li { margin: .4rem 0 }
footer { margin-top: 2rem; color: var(--grey); font-size: .85rem }
"""


def page(sheet: Sheet, figures: Sequence[str] = ()) -> str:
    """One HTML page that needs nothing else. figures: <svg> or <img> elements; all other text is escaped."""
    e = html.escape
    parts = [f"<h1>{e(sheet.title)}</h1>"]
    if sheet.about:
        parts.append("<dl>" + "".join(f"<dt>{ABOUT[n]}</dt><dd>{e(text)}</dd>" for n, text in sheet.about) + "</dl>")
    parts += [f'<p class="warn">{e(text)}</p>' for text in sheet.warnings]
    for section in sheet.sections:
        head = "".join(f"<th>{e(text)}</th>" for text in section.header)
        rows = "".join("<tr>" + "".join(f"<td>{_html(text)}</td>" for text in row) + "</tr>" for row in section.rows)
        parts.append(f"<h2>{e(section.title)}</h2>" if section.title else "")
        parts.append(f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>')
    parts.append('<ul class="notes">' + "".join(f"<li>{e(text)}</li>" for text in sheet.notes) + "</ul>")
    parts += [f"<figure>{svg}</figure>" for svg in figures]
    parts.append(f"<footer>attnlab, table {e(sheet.name)}</footer>")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{e(sheet.title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n<body>\n'
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def _html(text: str) -> str:
    return f"<b>{html.escape(text)}</b>" if isinstance(text, Bold) else html.escape(text)


def embedded(path: Path, alt: str) -> str:
    """A PNG as an <img> that needs no file beside the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(alt, quote=True)}" src="data:image/png;base64,{data}">'
