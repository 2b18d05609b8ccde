"""Plausible values for the leaves of an answer, by seed, type and field name and by nothing else.

There is no clock and no random source in here: the same node and field give the same value in every process.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b, shake_128
from typing import Final, TypeVar
from uuid import UUID

from gateway.dev import words

T = TypeVar("T")

# The pretend world lives in the first quarter of this year, so that answers do not change with the day.
ORIGIN: Final = datetime(2026, 1, 1, 6, tzinfo=UTC)
DAYS: Final = 90


def key_of(*parts: object) -> int:
    """A 64-bit number that depends on the parts alone, whatever the process; parts are JSON-like values."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return int.from_bytes(blake2b(text.encode("ascii"), digest_size=8).digest())


@dataclass(frozen=True, slots=True)
class Node:
    """An object of the pretend data: its type, and the number that all its values come from.

    `family` is shared by the members of a list and `index` is the place in it, so that neighbours differ in a
    planned way (other names, later times). `depth` counts the lists above; `known` holds values that are given.
    """

    type_name: str
    family: int
    index: int = 0
    depth: int = 0
    known: dict[str, object] = field(default_factory=dict)

    @property
    def key(self) -> int:
        """The number that belongs to this node alone."""
        return key_of(self.family, self.index)


def choose(node: Node, name: str, options: Sequence[T]) -> T:
    """One of the options, another one for each neighbour in a list as long as there are enough."""
    return options[(key_of(node.family, name) + node.index) % len(options)]


def between(node: Node, name: str, low: int, high: int) -> int:
    """A whole number from low to high, both included."""
    return low + key_of(node.key, name) % (high - low + 1)


def hexadecimal(node: Node, name: str, length: int) -> str:
    """That many lower-case hex digits; the length is even."""
    return shake_128(str(key_of(node.key, name)).encode()).hexdigest(length // 2)


def uuid(node: Node, name: str) -> str:
    """A well-formed version 4 UUID."""
    return str(UUID(hexadecimal(node, name, 32), version=4))


def snake(name: str) -> str:
    """The field name as lower-case words joined by underscores, whichever way it was spelt."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


# ---------------------------------------------------------------- times


def _span(node: Node) -> tuple[datetime, timedelta]:
    """When the node begins and how long it lasts; neighbours follow one another."""
    first = ORIGIN + timedelta(minutes=key_of(node.family, "begins") % (DAYS * 24 * 60))
    return first + timedelta(hours=4 * node.index), timedelta(seconds=between(node, "lasts", 180, 5400))


def moment(node: Node, name: str) -> datetime:
    """The moment that a field of this name means; start is before end, creation before both, expiry after them."""
    begin, length = _span(node)
    word = snake(name)
    if re.match(r"(end|expire|next)", word):
        return begin + length
    if re.match(r"(create|deprecated|register|join)", word):
        return begin - timedelta(hours=between(node, "age", 24, 24 * 60))
    return begin


def instant(node: Node, name: str) -> str:
    """An ISO 8601 date and time in UTC."""
    return moment(node, name).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def day(node: Node, name: str) -> str:
    """An ISO 8601 date; neighbours are a day apart."""
    first = moment(replace(node, index=0), name)
    return (first + timedelta(days=node.index)).date().isoformat()


# ---------------------------------------------------------------- texts

UUID_WORDS: Final = re.compile(r"transport|event|session|trip|request|export|offload|uuid|ref\b", re.IGNORECASE)


def identifier(node: Node, name: str) -> str:
    """What an id of this name looks like: a slug of a catalogue, a UUID, or 24 hex digits."""
    about = snake(name) if snake(name) != "id" else node.type_name
    if "definition" in about.lower():
        return _definition(node)
    if "external" in about.lower():
        return f"customer-{between(node, name, 1000, 9999)}"
    return uuid(node, name) if UUID_WORDS.search(about) else hexadecimal(node, name, 24)


def _definition(node: Node) -> str:
    """The slug of a catalogue entry, of which its name is made too."""
    return str(node.known.get("id") or choose(node, "definition", words.DEFINITIONS))


def _name(node: Node, name: str) -> str:
    """A name that fits what is named."""
    about = node.type_name.lower()
    if "definition" in about:
        return _definition(node).replace("_", " ").capitalize()
    if "file" in about:
        return f"{choose(node, 'export', words.EXPORTS)}-{day(node, 'day')}.{choose(node, 'format', words.FORMATS)}"
    for word, names in (
        ("offload", words.EXPORTS),
        ("user", words.PEOPLE),
        ("person", words.PEOPLE),
        ("place", words.PLACES),
        ("poi", words.PLACES),
    ):
        if about.endswith(word):
            return choose(node, name, names)
    if about.endswith(("member", "owner", "author")):
        return choose(node, name, words.PEOPLE)
    return choose(node, name, words.GROUPS if "group" in about else words.THINGS)


def _person(node: Node, name: str) -> str:
    return choose(node, name, words.PEOPLE)


def _email(node: Node, name: str) -> str:
    return _person(node, name).lower().replace(" ", ".") + "@example.com"


def _url(node: Node, name: str) -> str:
    host, ending = ("images", ".png") if re.search(r"image|avatar|photo|icon", name.lower()) else ("files", "")
    return f"https://{host}.example.com/{hexadecimal(node, name, 16)}{ending}"


def _registration(node: Node, name: str) -> str:
    return hexadecimal(node, name, 6).upper()


def _opaque(node: Node, name: str) -> str:
    return hexadecimal(node, name, 40)


def _own_type(node: Node, _name: str) -> str:
    return node.type_name


Maker = Callable[[Node, str], str]


def _one_of(options: Sequence[str]) -> Maker:
    return lambda node, name: choose(node, name, options)


# The first pattern that matches the whole field name (as snake case) decides.
TEXTS: Final[tuple[tuple[re.Pattern[str], Maker], ...]] = tuple(
    (re.compile(pattern), maker)
    for pattern, maker in (
        (r"type", _own_type),
        (r"(.*_)?(ids?|uuid|ref)", identifier),
        (r".*_(at|time)|start|end|created|updated|timestamp|time|last_(visit|seen)", instant),
        (r"(.*_)?(day|date)", day),
        (r"(.*_)?email", _email),
        (r"(.*_)?(url|uri|link|href|avatar)", _url),
        (r"(first|last|full)_name|author|owner", _person),
        (r"name|display_name|title|label", _name),
        (r"(reg|project|invite)_code", _registration),
        (r"(.*_)?(token|secret)|before|after|cursor|encoded", _opaque),
        (r"message|text|body|comment", _one_of(words.MESSAGES)),
        (r"description|explanation.*", _one_of(words.DESCRIPTIONS)),
        (r"city(_name)?", _one_of(words.CITIES)),
        (r"city_type", _one_of(words.CITY_TYPES)),
        (r"country(_name)?", _one_of(words.COUNTRIES)),
        (r"district", _one_of(words.DISTRICTS)),
        (r"street|address", _one_of(words.STREETS)),
        (r"region", _one_of(words.REGIONS)),
        (r"road_type", _one_of(words.ROADS)),
        (r"place_category|categories|category_hierarchy|location_type", _one_of(words.VENUES)),
        (r"(sub)?category", _one_of(words.CATEGORIES)),
        (r"significance", _one_of(words.SIGNIFICANCES)),
        (r"summary", _one_of(words.SKIES)),
        (r"icon", _one_of(words.ICONS)),
        (r"mode", _one_of(words.MODES)),
        (r"status|state", _one_of(words.STATES)),
        (r"role", _one_of(words.ROLES)),
        (r"format", _one_of(words.FORMATS)),
        (r"(.*_)?version", _one_of(words.VERSIONS)),
    )
)


def text(node: Node, name: str) -> str:
    """A text that suits the field's name; two plain words when nothing is known about it."""
    word = snake(name)
    for pattern, maker in TEXTS:
        if pattern.fullmatch(word):
            return maker(node, name)
    return choose(node, name, words.PHRASES)


# ---------------------------------------------------------------- numbers


@dataclass(frozen=True, slots=True)
class Range:
    """Between which bounds a number lies and how many decimals it shows."""

    pattern: re.Pattern[str]
    low: float
    high: float
    digits: int = 0


# The first pattern found in the field name (as snake case) decides.
RANGES: Final = tuple(
    Range(re.compile(pattern), low, high, digits)
    for pattern, low, high, digits in (
        (r"latitude", 50.7, 51.3, 6),
        (r"longitude", 3.6, 5.2, 6),
        (r"altitude", 2, 120, 1),
        (r"accuracy|radius", 5, 80, 0),
        (r"_confidence$", 0, 1, 3),
        (r"speed_limit", 30, 120, 0),
        (r"wind_(speed|gust)", 0, 18, 1),
        (r"speed|delta_v", 1, 33, 1),
        (r"distance", 150, 24_000, 0),
        (r"duration", 30, 5400, 0),
        (r"temperature|dew_point", -4, 29, 1),
        (r"pressure", 985, 1035, 1),
        (r"bearing", 0, 359, 0),
        (r"uv_index", 0, 9, 0),
        (r"visibility", 2, 16, 1),
        (r"ozone", 260, 380, 1),
        (r"precip_intensity", 0, 4, 2),
        (r"magnitude|sigma", 1, 6, 2),
        (r"_days$", 1, 7, 0),
        (r"occurrences", 1, 12, 0),
        (r"count|total|steps", 20, 9_000, 0),
        (r"^hour$", 0, 23, 0),
        (r"size|bytes", 20_000, 4_000_000, 0),
        (r"^(current|longest|index|limit|version|level)$", 1, 14, 0),
    )
)
FRACTION: Final = Range(re.compile(""), 0, 1, 3)
PERCENT: Final = Range(re.compile(""), 0, 100)


def _number(node: Node, name: str, otherwise: Range) -> float:
    word = snake(name)
    chosen = next((bounds for bounds in RANGES if bounds.pattern.search(word)), otherwise)
    share = key_of(node.key, name) / 2**64
    return round(chosen.low + share * (chosen.high - chosen.low), chosen.digits)


def decimal(node: Node, name: str) -> float:
    """A number in the range that its name asks for; scores and shares lie between 0 and 1, overall scores reach 100."""
    if name == "value" and str(node.known.get("name", "")).startswith("OVERALL"):
        return round(_number(node, name, FRACTION) * 100, 1)
    if name == "score":
        return round((4 - node.index - _number(node, name, FRACTION)) / 4, 3)  # a board is read from the top
    if snake(name) == "duration":
        return _span(node)[1].total_seconds()
    return _number(node, name, FRACTION)


def whole(node: Node, name: str) -> int:
    """A whole number of 32 bits in the range that its name asks for; 0 to 100 when nothing is known about it."""
    if snake(name) == "rank":
        return node.index + 1
    if snake(name) == "duration":
        return int(_span(node)[1].total_seconds())
    if snake(name).endswith("_ts"):
        return int(moment(node, name).timestamp())
    return int(_number(node, name, PERCENT))


def big(node: Node, name: str) -> int:
    """As `whole`, and a time is in milliseconds since 1970."""
    return whole(node, name) * (1000 if snake(name).endswith("_ts") else 1)


def flag(node: Node, name: str) -> bool:
    """True or false; false for what would make the object useless, as `is_deactivated`."""
    return not re.search(r"deactivat|deprecat|delet|disabl", name.lower()) and key_of(node.key, name) % 2 == 0


def record(node: Node, name: str) -> dict[str, object]:
    """A small JSON object."""
    return {"source": "mock", "label": choose(node, name, words.PHRASES), "rank": between(node, name, 1, 9)}


SCALARS: Final[dict[str, Callable[[Node, str], object]]] = {
    "Int": whole,
    "Float": decimal,
    "Boolean": flag,
    "BigInt": big,
    "Long": big,
    "Decimal": decimal,
    "JSON": record,
    "JSONObject": record,
    "Date": day,
    "DateTime": instant,
    "Timestamp": instant,
    "UUID": uuid,
    "URL": _url,
    "Email": _email,
}


def scalar(node: Node, name: str, type_name: str) -> object:
    """A value of that scalar type for that field of the node; of a scalar nobody knows, a text."""
    return SCALARS.get(type_name, text)(node, name)
