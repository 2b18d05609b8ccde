"""Settings from a file, the environment and the command line: layers of single values, the later one winning."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pydantic import ValidationError

from gateway.settings.explain import sentence
from gateway.settings.faults import Fault, SettingsInvalid, dotted
from gateway.settings.models import Policy, Settings
from gateway.settings.names import is_section, is_text, kind_at
from gateway.settings.yaml_text import Location, Slip, Unreadable, parse_yaml

_PREFIX: Final = "GATEWAY__"
# A hundred times the commented example; what is longer is some other file.
_MAX_FILE_BYTES: Final = 1_048_576
_SQLITE: Final = "sqlite:///"
_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class _Layer:
    """Values of one origin. `base` is what its relative paths are relative to."""

    tree: object
    base: Path
    file: Path | None = None
    lines: Mapping[Location, int] = field(default_factory=dict)
    variable: str | None = None
    slips: tuple[Slip, ...] = ()

    def fault(self, location: Location, text: str, line: int | None = None) -> Fault:
        """A fault at the place where this layer says the nearest thing to the location."""
        near = (self.lines.get(location[:length]) for length in range(len(location), 0, -1))
        found = line or next((number for number in near if number), None)
        return Fault(dotted(location), text, self.file, found, self.variable)


@dataclass(frozen=True, slots=True)
class _Leaf:
    value: object
    layer: _Layer


def load_settings(
    path: Path | None, *, environ: Mapping[str, str], overrides: Mapping[str, object] = _NOTHING
) -> Settings:
    """Valid settings from the YAML file, then `GATEWAY__SECTION__NAME` variables, then overrides by dotted name.

    Raises `SettingsInvalid` with everything that is wrong. Relative paths in the file, and the default of
    `policy.schema_file`, are relative to the file; those of the environment and the command line to the working
    directory. An empty variable and an override that is None count as not given.
    """
    here = Path.cwd()
    layers = [_file(path, here), *_environment(environ, here), *_command_line(overrides, here)]
    defaults = _Layer({"policy": {"schema_file": str(Policy.model_fields["schema_file"].default)}}, layers[0].base)
    leaves = {
        name: _Leaf(_anchored(name, value, layer.base), layer)
        for layer in (defaults, *layers)
        for name, value in _leaves(layer.tree)
    }
    faults = [layer.fault(slip.location, slip.sentence, slip.line) for layer in layers for slip in layer.slips]
    try:
        settings = Settings.model_validate(_tree(leaves))
    except ValidationError as error:
        raise SettingsInvalid([*faults, *_faults(error, leaves, layers[0])]) from None
    if faults:
        raise SettingsInvalid(faults)
    return settings


def _file(path: Path | None, here: Path) -> _Layer:
    if path is None:
        return _Layer({}, here)
    try:
        parsed = parse_yaml(_text(path))
        if not isinstance(parsed.value or {}, dict):
            raise Unreadable("must hold settings, as `name: value`", 1)
    except Unreadable as error:
        raise SettingsInvalid([Fault("", error.slip.sentence, path, error.slip.line)]) from error
    return _Layer(parsed.value, path.absolute().parent, path, parsed.lines, slips=tuple(parsed.slips))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}.") from error
    if len(raw) > _MAX_FILE_BYTES:
        raise Unreadable("is too long for a settings file")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Unreadable("is not UTF-8", raw.count(b"\n", 0, error.start) + 1) from error


def _environment(environ: Mapping[str, str], here: Path) -> Iterator[_Layer]:
    for variable, text in environ.items():
        if not variable.startswith(_PREFIX) or not text:
            continue
        name = tuple(variable.removeprefix(_PREFIX).lower().split("__"))
        if is_text(name) or kind_at(name) is None:
            yield _Layer(_nested(name, text), here, variable=variable)
            continue
        try:
            parsed = parse_yaml(text)
        except Unreadable as error:
            yield _Layer({}, here, variable=variable, slips=(Slip(error.slip.sentence, None, name),))
        else:
            slips = tuple(Slip(slip.sentence, None, (*name, *slip.location)) for slip in parsed.slips)
            yield _Layer(_nested(name, parsed.value), here, variable=variable, slips=slips)


def _command_line(overrides: Mapping[str, object], here: Path) -> Iterator[_Layer]:
    for name, value in overrides.items():
        if value is not None:
            yield _Layer(_nested(tuple(name.split(".")), value), here)


def _nested(name: Location, value: object) -> object:
    for part in reversed(name):
        value = {part: value}
    return value


def _leaves(tree: object, name: Location = ()) -> Iterator[tuple[Location, object]]:
    """Every value with its name. A section with nothing in it, as when all its lines are comments, is empty."""
    if isinstance(tree, Mapping) and tree:
        for part, value in tree.items():
            yield from _leaves(value, (*name, part))
    elif name:
        yield name, {} if tree is None and is_section(name) else tree


def _tree(leaves: Mapping[Location, _Leaf]) -> dict[str | int, object]:
    """The values put together again. Every section is there, so that what is missing is missed by its full name."""
    tree: dict[str | int, object] = {name: {} for name in Settings.model_fields if is_section((name,))}
    for (*sections, last), leaf in leaves.items():
        section = tree
        for part in sections:
            inner = section.setdefault(part, {})
            if not isinstance(inner, dict):
                break  # a value stands where a section should: that is what will be complained about
            section = inner
        else:
            if leaf.value == {}:
                section.setdefault(last, {})
            else:
                section[last] = leaf.value
    return tree


def _anchored(name: Location, value: object, base: Path) -> object:
    if kind_at(name) is Path and isinstance(value, str | Path):
        return base / value
    if name == ("store", "url") and isinstance(value, str) and value.startswith(_SQLITE):
        return _SQLITE + str(base / value.removeprefix(_SQLITE)) if value != _SQLITE else value
    return value


def _faults(error: ValidationError, leaves: Mapping[Location, _Leaf], file: _Layer) -> Iterator[Fault]:
    for detail in error.errors(include_url=False):
        location = tuple(part for part in detail["loc"] if part != "[key]")
        near = (leaf for name, leaf in reversed(list(leaves.items())) if _meet(name, location))
        leaf = leaves.get(location) or next(near, None)
        yield (leaf.layer if leaf else file).fault(location, sentence(detail, location))


def _meet(name: Location, location: Location) -> bool:
    shorter = min(len(name), len(location))
    return name[:shorter] == location[:shorter]
