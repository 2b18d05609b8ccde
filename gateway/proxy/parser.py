"""Which aiohttp may parse requests: others take what they must not."""

import re
from typing import Final

import aiohttp
from aiohttp import http_parser

_LEAST: Final = (3, 14, 4)  # the first without the request smuggling of its published advisories


def check_parser(version: str = aiohttp.__version__, module: str = http_parser.HttpRequestParser.__module__) -> None:
    """Raise `RuntimeError` unless aiohttp is new enough, and parses in C: most of its advisories concern the other."""
    if tuple(int(number) for number in re.findall(r"\d+", version)[:3]) < _LEAST:
        raise RuntimeError(f"aiohttp {version} has known holes; install {'.'.join(map(str, _LEAST))} or newer.")
    if module != "aiohttp._http_parser":
        raise RuntimeError(
            "aiohttp's C parser is missing; install a wheel of aiohttp, and unset AIOHTTP_NO_EXTENSIONS."
        )
