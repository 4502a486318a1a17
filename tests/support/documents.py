"""Small Word and PDF files, written by hand: what real programs write, without the programs."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

_W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_DOCX = {
    "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" ContentType='
    '"application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r" '
    f'Type="{_OFFICE}/officeDocument" Target="word/document.xml"/></Relationships>',
    "word/_rels/document.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r" '
    f'Type="{_OFFICE}/styles" Target="styles.xml"/></Relationships>',
    "word/styles.xml": f"<w:styles {_W}>"
    + "".join(
        f'<w:style w:type="paragraph" w:styleId="H{level}"><w:name w:val="heading {level}"/></w:style>'
        for level in (1, 2)
    )
    + "</w:styles>",
}


def write_docx(path: Path, paragraphs: Sequence[tuple[str, int]], rows: Sequence[Sequence[str]] = ()) -> None:
    """Paragraphs (text, heading level; 0 = body) and, after them, a table."""

    def paragraph(text: str, level: int = 0) -> str:
        style = f'<w:pPr><w:pStyle w:val="H{level}"/></w:pPr>' if level else ""
        return f"<w:p>{style}<w:r><w:t>{text}</w:t></w:r></w:p>"

    table = "".join(f"<w:tr>{''.join(f'<w:tc>{paragraph(cell)}</w:tc>' for cell in row)}</w:tr>" for row in rows)
    body = "".join(paragraph(*each) for each in paragraphs) + (f"<w:tbl>{table}</w:tbl>" if rows else "")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in _DOCX.items():
            archive.writestr(name, text)
        archive.writestr("word/document.xml", f"<w:document {_W}><w:body>{body}</w:body></w:document>")


def write_pdf(path: Path, pages: Sequence[Sequence[tuple[str, int, int]]], table: Sequence[Sequence[str]] = ()) -> None:
    """Pages of lines (text, size in points, height on the page); a table with drawn cells on the first."""
    objects: list[bytes] = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    kids = []
    for number, lines in enumerate(pages):
        drawn = [f"BT /F {size} Tf 50 {height} Td ({text}) Tj ET" for text, size, height in lines]
        if not number:
            for row, cells in enumerate(table):
                for column, text in enumerate(cells):
                    drawn.append(f"{50 + 120 * column} {600 - 20 * row} 120 20 re S")
                    drawn.append(f"BT /F 10 Tf {55 + 120 * column} {605 - 20 * row} Td ({text}) Tj ET")
        stream = "\n".join(drawn).encode()
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R "
            b"/Resources << /Font << /F 3 0 R >> >> >>" % len(objects)
        )
        kids.append(len(objects))
    objects[1] = f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(f'{kid} 0 R' for kid in kids)}] >>".encode()
    path.write_bytes(pdf_bytes(objects))


def pdf_bytes(objects: Sequence[bytes]) -> bytes:
    """A PDF file of numbered objects, the first being its catalogue."""
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, each in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start)
    return bytes(out)
