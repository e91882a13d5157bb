"""Fill the template of a page: one HTML file that needs nothing else, whatever texts go into it."""

from __future__ import annotations

import base64
import os
from importlib import resources
from urllib.parse import quote

import jinja2

from annotator.text import printable


def filled(package: str, name: str, **values: object) -> str:
    """The HTML of a template. Texts are escaped and made `printable`.

    Beside those of Jinja it has the filters ``base64``, from bytes to text, and ``address``, from a file's path to what
    stands for it in an address.

    Args:
        package: that the template lies in.
        name: of its file.
        values: what it shows.
    """
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_shown)
    environment.filters |= {"base64": _base64, "address": _address}
    return environment.from_string(resources.files(package).joinpath(name).read_text("utf-8")).render(**values)


def _shown(value: object) -> object:
    return printable(value) if type(value) is str else value  # what a macro made is no str, and escaped already


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _address(path: str) -> str:
    return quote(os.fsencode(path))
