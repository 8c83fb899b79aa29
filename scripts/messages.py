"""Keep the message catalogues in step with the code.

    python scripts/messages.py update   extract, merge into the .po files, compile the .mo files
    python scripts/messages.py check    exit status 1 if `update` would change something, or a translation is missing

English text is the message id; functions named below take it as a literal.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

SOURCE = Path(__file__).resolve().parents[1] / "src" / "modelota"
LOCALES = SOURCE / "i18n" / "locales"
DOMAIN = "modelota"
KEYWORDS = {"mark": None, "say": None, "count": (1, 2)}
METHODS = [("**.py", "python"), ("**.html.jinja", "jinja2")]
OPTIONS = {"**.html.jinja": {"silent": "false"}}  # a template that can't be read is an error
LANGUAGES = ("zh_CN",)


def extract() -> Catalog:
    """All messages of the code, in the order of their files and lines."""
    catalog = Catalog(domain=DOMAIN, charset="utf-8")
    found = extract_from_dir(SOURCE, method_map=METHODS, options_map=OPTIONS, keywords=KEYWORDS)
    for file, line, message, _, _ in sorted(found, key=lambda each: (each[0], each[1])):
        if message and message[0]:
            catalog.add(message, locations=[(f"src/modelota/{file}", line)])
    return catalog


def updated(language: str) -> Catalog:
    """The catalogue of `language`, merged with what the code says now."""
    path = po_path(language)
    catalog = Catalog(locale=language, domain=DOMAIN)
    if path.exists():
        with path.open("rb") as file:
            catalog = read_po(file, locale=language, domain=DOMAIN)
    catalog.update(extract(), no_fuzzy_matching=True)
    catalog.obsolete.clear()
    return catalog


def po_path(language: str) -> Path:
    """Where the translations of `language` are written by people."""
    return LOCALES / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def po_bytes(catalog: Catalog, language: str) -> bytes:
    """The .po file: no dates, no line numbers, so that it changes only with its messages."""
    buffer = io.BytesIO()
    write_po(buffer, catalog, width=120, omit_header=True, include_lineno=False)
    head = (
        'msgid ""\nmsgstr ""\n'
        f'"Language: {language}\\n"\n'
        '"MIME-Version: 1.0\\n"\n'
        '"Content-Type: text/plain; charset=utf-8\\n"\n'
        '"Content-Transfer-Encoding: 8bit\\n"\n'
        f'"Plural-Forms: {catalog.plural_forms}\\n"\n\n'
    )
    return (head + buffer.getvalue().decode().strip() + "\n").encode()


def mo_bytes(po: bytes, language: str) -> bytes:
    """The compiled .mo file of a .po file; depends on nothing but its messages."""
    catalog = read_po(io.BytesIO(po), locale=language, domain=DOMAIN)
    lean = Catalog(locale=language, domain=DOMAIN, header_comment="", fuzzy=False)
    for message in catalog:
        if message.id:
            lean.add(message.id, message.string)
    buffer = io.BytesIO()
    write_mo(buffer, _Headless(lean))
    return buffer.getvalue()


class _Headless:
    """A catalogue whose header is constant: Babel would put the present time and its own version there."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def __iter__(self):  # noqa: ANN204  what Babel's writer iterates
        for message in self._catalog:
            if not message.id:
                plural = self._catalog.plural_forms
                message.string = f"Content-Type: text/plain; charset=utf-8\nPlural-Forms: {plural}\n"
            yield message

    def __getattr__(self, name: str) -> object:
        return getattr(self._catalog, name)


def missing(catalog: Catalog) -> list[str]:
    """Messages without a translation."""
    return [
        str(message.id)
        for message in catalog
        if message.id and not (all(message.string) if isinstance(message.string, tuple) else message.string)
    ]


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["update", "check"])
    action = parser.parse_args().action
    status = 0
    for language in LANGUAGES:
        catalog = updated(language)
        po = po_bytes(catalog, language)
        mo = mo_bytes(po, language)
        path = po_path(language)
        untranslated = missing(catalog)
        for text in untranslated:
            print(f"{language}: no translation: {text}", file=sys.stderr)
        if action == "update":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(po)
            path.with_suffix(".mo").write_bytes(mo)
        elif path.read_bytes() != po or path.with_suffix(".mo").read_bytes() != mo:
            print(f"{path}: not up to date; run scripts/messages.py update", file=sys.stderr)
            status = 1
        if untranslated and action == "check":
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
