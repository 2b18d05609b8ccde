"""YAML to plain values with the line of each, and without what YAML lets an author hide."""

from dataclasses import dataclass, field
from typing import Final

import yaml

Location = tuple[str | int, ...]

# Settings are some hundred values a few levels deep; this bounds what aliases may unfold a small file to.
_MAX_VALUES: Final = 20_000
_MAX_DEPTH: Final = 20
_STRUCTURE_TAGS: Final = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_MERGE_TAG: Final = "tag:yaml.org,2002:merge"
_UNUSABLE: Final = object()  # stands for a value that a slip has been told about already


@dataclass(frozen=True, slots=True)
class Slip:
    """One thing wrong with a text, at a location in it (if it is about one value) and a line."""

    sentence: str
    line: int | None = None
    location: Location = ()


@dataclass(slots=True)
class Parsed:
    """What a text says: its value, the line of each location in it, and everything that is wrong with it."""

    value: object = None
    lines: dict[Location, int] = field(default_factory=dict)
    slips: list[Slip] = field(default_factory=list)


class Unreadable(Exception):
    """The text cannot be read at all; `slip` says why."""

    def __init__(self, sentence: str, line: int | None = None) -> None:
        super().__init__(sentence)
        self.slip = Slip(sentence, line)


def parse_yaml(text: str) -> Parsed:
    """What the text says. Raises `Unreadable`, and nothing else, when it is not YAML or unfolds without bound.

    A name given twice is a slip, because YAML parsers disagree on which counts. Only plain values exist: no tags, no
    names that are not text. Aliases and merge keys work, and what they unfold to is bounded.
    """
    parsed = Parsed()
    try:
        loader = yaml.SafeLoader(text)
    except yaml.reader.ReaderError as error:
        raise Unreadable("holds a character that YAML forbids", text.count("\n", 0, error.position) + 1) from error
    try:
        node = loader.get_single_node()
        value = None if node is None else _Reading(loader, parsed).value(node, ())
        parsed.value = None if value is _UNUSABLE else value
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise Unreadable(f"is not YAML: {error.problem}", line) from error
    except RecursionError:
        raise Unreadable("is nested too deeply") from None
    finally:
        loader.dispose()
    return parsed


class _Reading:
    """One walk over the nodes of a text. Aliased nodes are visited anew each time, which is what gets counted."""

    def __init__(self, loader: yaml.SafeLoader, parsed: Parsed) -> None:
        self._loader = loader
        self._parsed = parsed
        self._visited = 0

    def value(self, node: yaml.Node, at: Location) -> object:
        self._visited += 1
        line = node.start_mark.line + 1
        if self._visited > _MAX_VALUES:
            raise Unreadable("unfolds to too many values", line)
        if len(at) > _MAX_DEPTH:
            raise Unreadable("is nested too deeply", line)
        self._parsed.lines.setdefault(at, line)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, at)
        if node.tag not in _STRUCTURE_TAGS:
            return self._slip(f"must not carry the tag {node.tag}", node, at)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, at)
        values = [self.value(item, (*at, index)) for index, item in enumerate(node.value)]
        return [value for value in values if value is not _UNUSABLE]

    def _scalar(self, node: yaml.ScalarNode, at: Location) -> object:
        try:
            value: object = self._loader.construct_object(node)
            str(value).encode()  # an escape can write half a surrogate pair, which no file or header can hold
        except (yaml.YAMLError, ValueError):
            return self._slip("is not a value that can be read", node, at)
        return value

    def _mapping(self, node: yaml.MappingNode, at: Location) -> dict[str, object]:
        merged: dict[str, object] = {}
        own: dict[str, object] = {}
        for key, item in node.value:
            if key.tag == _MERGE_TAG:
                merged = {**self._merged(item, at), **merged}
                continue
            name = self._name(key, at)
            if name is None:
                continue
            if name in own:
                first = self._parsed.lines[*at, name]
                self._slip(f"is set twice, first in line {first}", key, (*at, name))
            self._parsed.lines[*at, name] = key.start_mark.line + 1
            own[name] = self.value(item, (*at, name))
        return {name: value for name, value in {**merged, **own}.items() if value is not _UNUSABLE}

    def _merged(self, node: yaml.Node, at: Location) -> dict[str, object]:
        value = self.value(node, (*at, "<<"))
        merged: dict[str, object] = {}
        for section in reversed(value if isinstance(value, list) else [value]):  # the merge key: earlier ones win
            if isinstance(section, dict):
                merged.update(section)
            else:
                self._slip("can merge nothing but sections", node, at)
        return merged

    def _name(self, key: yaml.Node, at: Location) -> str | None:
        name = self._scalar(key, at) if isinstance(key, yaml.ScalarNode) else None
        if isinstance(name, str):
            return name
        self._slip("holds a name that is not text; put it in quotes", key, at)
        return None

    def _slip(self, sentence: str, node: yaml.Node, at: Location) -> object:
        line = node.start_mark.line + 1
        if not any((slip.sentence, slip.line) == (sentence, line) for slip in self._parsed.slips):  # seen by an alias
            self._parsed.slips.append(Slip(sentence, line, at))
        return _UNUSABLE
