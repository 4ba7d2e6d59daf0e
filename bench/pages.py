"""Tables of measured figures in Markdown pages, between marks that name the command which writes them."""
import pathlib
import sys


def table(header, rows):
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [header, ["---"] * len(header), *rows])


def number(x):
    """Three digits that count."""
    return f"{x:.3g}" if x < 100 else f"{x:.0f}"


def write_block(path, name, text):
    """Replaces what is between the marks of that name in a page."""
    path = pathlib.Path(path)
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    page = path.read_text(encoding="utf-8")
    if begin not in page or end not in page:
        sys.exit(f"error: {path} has no lines '{begin.strip()}' and '{end}'")
    head, _, rest = page.partition(begin)
    path.write_text(f"{head}{begin}\n{text.strip()}\n\n{end}{rest.partition(end)[2]}", encoding="utf-8")
