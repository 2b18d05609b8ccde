"""Settings: what is taken, from where, and what is told when it cannot be."""

import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from gateway.settings import Fault, Route, Settings, SettingsInvalid, load_settings

EXAMPLE = Path(__file__).parents[2] / "config" / "gateway.yaml"
BROKEN = sorted((Path(__file__).parent / "broken").glob("*.yaml"))
SMALLEST = "store: {url: 'memory:'}\nregions: {eu: {upstreams: ['http://127.0.0.1:9'], user_scoping: upstream}}\n"


def written(folder: Path, text: str = "") -> Path:
    """The smallest valid settings file, with some lines more."""
    file = folder / "gateway.yaml"
    file.write_text(SMALLEST + text, "utf-8")
    return file


def faults(path: Path | None, environ: Mapping[str, str] | None = None, **overrides: object) -> tuple[Fault, ...]:
    """Everything that is told about settings that are invalid."""
    with pytest.raises(SettingsInvalid) as invalid:
        load_settings(path, environ=environ or {}, overrides=overrides)
    return invalid.value.faults


def at(settings: object, name: str) -> Any:
    """The value under a dotted name."""
    value: Any = settings
    for part in name.split("."):
        value = value[part] if isinstance(value, Mapping) else getattr(value, part)
    return value


def dotted_names(model: type[BaseModel], prefix: str = "") -> list[str]:
    """The names of all single settings, but for what stands below a region or a route."""
    found = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += dotted_names(field.annotation, f"{prefix}{name}.")
        else:
            found.append(prefix + name)
    return found


@pytest.mark.parametrize("file", BROKEN, ids=lambda file: file.stem)
def test_every_fault_of_a_broken_file_is_told_with_its_line(file: Path) -> None:
    """An operator would start a broken file again and again to find one fault after the other."""
    text = file.read_text("utf-8")
    expected = re.findall(r"^# ((?:\d+|-): .+)$", text, re.MULTILINE)

    told = [f"{fault.line or '-'}: {f'{fault.name} {fault.sentence}'.strip()}" for fault in faults(file)]

    assert told == expected


UNREADABLE: dict[str, tuple[bytes | None, str, int | None]] = {
    "a directory": (None, "cannot be read: Is a directory.", None),
    "Latin-1": (b"listen:\n  host: f\xfcr\n", "is not UTF-8", 2),
    "a NUL": (b"listen:\n  host: a\x00b\n", "holds a character that YAML forbids", 2),
    "1 MiB of comments": (b"#" * 1_048_577, "is too long for a settings file", None),
    "1,000 nested lists": (b"[\n" * 1_000, "is nested too deeply", None),
    "30 nested lists": (b"a:\n  " + b"[" * 30 + b"]" * 30, "is nested too deeply", 2),
}


@pytest.mark.parametrize(("content", "sentence", "line"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_that_cannot_be_read_is_one_fault(
    tmp_path: Path, content: bytes | None, sentence: str, line: int | None
) -> None:
    """A wrong or damaged file would end in a stack trace, or in a list of everything that is not in it."""
    file = tmp_path / "gateway.yaml"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)

    assert faults(file) == (Fault("", sentence, file, line),)


@given(st.binary(max_size=100) | st.text(max_size=100).map(str.encode))
@example(b"<<: *nobody")
@example(b"? [1]\n: 2\n")
@example(b"? {}\n")
@example(b"0x" + b"f" * 5000 + b": 1")
@example(b"realm: " + b"9" * 5000)
@example(b"realm: !!float x")
@example(b"!!set {a}")
@example(b"- &a [*a]")
@example(b"a: &a {<<: *a}")
def test_no_file_raises_anything_but_faults(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Some file would end in a stack trace."""
    file = tmp_path_factory.getbasetemp() / "anything.yaml"
    file.write_bytes(content)

    assert all(fault.sentence for fault in faults(file))


def test_a_fault_is_one_line_with_its_place(tmp_path: Path) -> None:
    """Editors and people could not jump to the line that is wrong."""
    file = written(tmp_path, "listen: {port: x}\n")

    with pytest.raises(SettingsInvalid) as invalid:
        load_settings(file, environ={"GATEWAY__ADMIN__PORT": "x"}, overrides={"log.level": "loud"})

    assert str(invalid.value).splitlines() == [
        f"{file}:3: listen.port must be a whole number, not text",
        "GATEWAY__ADMIN__PORT: admin.port must be a whole number, not text",
        "log.level must be 'debug', 'info', 'warning' or 'error'",
    ]


def test_a_value_is_never_told(tmp_path: Path) -> None:
    """A password in a store's URL would get into logs and terminals by way of a fault."""
    file = written(
        tmp_path, "listen: {port: hunter2, host: 'hunter2!'}\nrealm: '\"hunter2'\ngraphql: {path: hunter2}\n"
    )

    assert len(faults(file)) == 4
    assert "hunter2" not in "".join(map(str, faults(file)))


@pytest.mark.parametrize(
    "name", [name for name in dotted_names(Settings) if name not in ("store.url", "regions", "default_region")]
)
def test_the_example_says_every_default(tmp_path: Path, name: str) -> None:
    """Who starts from the example would run with other values than who starts from nothing."""
    said = at(yaml.safe_load(EXAMPLE.read_text("utf-8")), name)  # a setting that is missing there has no value

    expected = at(load_settings(written(tmp_path), environ={}), name)

    assert said == expected or at(load_settings(EXAMPLE, environ={}), name) == (
        EXAMPLE.parent / "schema.graphql" if name == "policy.schema_file" else expected
    )


def test_the_example_names_what_a_region_and_a_route_may_have() -> None:
    """An operator could not learn from the example what else there is to choose."""
    text = EXAMPLE.read_text("utf-8")
    region = yaml.safe_load(text)["regions"]["eu"]

    assert set(region) == set(type(load_settings(EXAMPLE, environ={}).regions["eu"]).model_fields)
    assert {name for name in Route.model_fields if not re.search(rf"\b{name}\b", text)} == set()


def test_the_later_source_wins(tmp_path: Path) -> None:
    """A deployment could not override what its file says."""
    file = written(tmp_path, "listen: {host: 127.0.0.1, port: 1}\nadmin: {port: 1}\n")

    settings = load_settings(
        file,
        environ={"GATEWAY__LISTEN__PORT": "2", "GATEWAY__ADMIN__PORT": "2"},
        overrides={"listen.port": 3, "admin.port": None},
    )

    assert (settings.listen.host, settings.listen.port, settings.admin.port) == ("127.0.0.1", 3, 2)


def test_all_settings_can_come_without_a_file() -> None:
    """A container would need a file mounted to say what fits into its environment."""
    environ = {
        "GATEWAY__STORE__URL": "memory:",
        "GATEWAY__REGIONS__EU__UPSTREAMS": "[http://127.0.0.1:9]",
        "GATEWAY__REGIONS__EU__USER_SCOPING": "upstream",
        "GATEWAY_PORT_8080_TCP": "tcp://10.0.0.1:8080",  # what Kubernetes sets for a service named gateway
        "PATH": "/bin",
    }

    assert load_settings(None, environ=environ).regions["eu"].upstreams == ("http://127.0.0.1:9",)


ENVIRONMENT: list[tuple[str, str, str, object]] = [
    ("LISTEN__PORT", "0", "listen.port", 0),
    ("TIMEOUTS__BODY", "2.5", "timeouts.body", 2.5),
    ("TIMEOUTS__IDLE", "60", "timeouts.idle", 60.0),
    ("REGIONS__EU__FORWARD_AUTHORIZATION", "true", "regions.eu.forward_authorization", True),
    ("REALM", "123", "realm", "123"),
    ("REALM", "yes", "realm", "yes"),
    ("REALM", "{api}", "realm", "{api}"),
    ("REALM", "", "realm", "gateway"),
    ("POLICY__MODE", "report", "policy.mode", "report"),
    ("HEADERS__FORWARD", "[Cookie, X-Client]", "headers.forward", ("cookie", "x-client")),
    ("HEADERS__TRUSTED_PROXIES", "[10.0.0.0/8]", "headers.trusted_proxies", (ip_network("10.0.0.0/8"),)),
    ("LIMITS", "{json_depth: 3}", "limits.json_depth", 3),
    ("ROUTES", "[]", "routes", ()),
    ("ROUTES", "[{method: GET, path: /x, open: true}]", "routes", (Route(method="GET", path="/x", open=True),)),
]


@pytest.mark.parametrize(("variable", "text", "name", "expected"), ENVIRONMENT)
def test_a_variable_is_read_as_its_setting_is(
    tmp_path: Path, variable: str, text: str, name: str, expected: object
) -> None:
    """What can be said in a file could not be said in the environment, or would mean something else there."""
    settings = load_settings(written(tmp_path), environ={f"GATEWAY__{variable}": text})

    assert at(settings, name) == expected


ENVIRONMENT_FAULTS = [
    ("LISTEN__PROT", "1", "listen.prot", "is not a setting; did you mean port?"),
    ("LISTNE__PORT", "1", "listne", "is not a setting; did you mean listen?"),
    ("LISTEN", "5", "listen", "must be a section, not a number"),
    ("LISTEN__PORT__X", "1", "listen.port", "must be a whole number, not a section"),
    ("LISTEN__PORT", "eighty", "listen.port", "must be a whole number, not text"),
    ("ROUTES", "[", "routes", "is not YAML: expected the node content, but found '<stream end>'"),
    ("ROUTES__0__METHOD", "GET", "routes", "must be a list, not a section"),
    ("LIMITS", "{json_depth: 1, json_depth: 2}", "limits.json_depth", "is set twice, first in line 1"),
    ("", "x", "", "is not a setting; known here: "),
]


@pytest.mark.parametrize(("variable", "text", "name", "sentence"), ENVIRONMENT_FAULTS)
def test_a_wrong_variable_is_named(tmp_path: Path, variable: str, text: str, name: str, sentence: str) -> None:
    """An operator would search the file for what the environment says."""
    (fault,) = faults(written(tmp_path), {f"GATEWAY__{variable}": text})

    assert (fault.variable, fault.file, fault.line, fault.name) == (f"GATEWAY__{variable}", None, None, name)
    assert fault.sentence.startswith(sentence)


def test_a_value_where_a_section_belongs_is_told_of(tmp_path: Path) -> None:
    """A variable could hide that the file says something senseless."""
    (fault,) = faults(written(tmp_path, "listen: 8080\n"), {"GATEWAY__LISTEN__PORT": "1"})

    assert (fault.name, fault.sentence, fault.line) == ("listen", "must be a section, not a number", 3)


RELATIVE = [
    ("policy: {schema_file: a.graphql}", {}, {}, "policy.schema_file", "{file}/a.graphql"),
    ("policy: {schema_file: /a.graphql}", {}, {}, "policy.schema_file", "/a.graphql"),
    ("", {}, {}, "policy.schema_file", "{file}/schema.graphql"),
    ("", {"GATEWAY__POLICY__SCHEMA_FILE": "a.graphql"}, {}, "policy.schema_file", "{here}/a.graphql"),
    ("", {}, {"policy.schema_file": Path("a.graphql")}, "policy.schema_file", "{here}/a.graphql"),
    ("log: {file: a.log}", {}, {}, "log.file", "{file}/a.log"),
    ("", {"GATEWAY__LOG__FILE": "a.log"}, {}, "log.file", "{here}/a.log"),
    ("", {"GATEWAY__REGIONS__EU__CA_FILE": "/ca.pem"}, {}, "regions.eu.ca_file", "/ca.pem"),
    ("", {"GATEWAY__STORE__URL": "sqlite:///a.db"}, {}, "store.url", "sqlite:///{here}/a.db"),
    ("", {}, {"store.url": "sqlite:///a/b.db"}, "store.url", "sqlite:///{here}/a/b.db"),
    ("", {}, {"store.url": "sqlite:////a.db"}, "store.url", "sqlite:////a.db"),
]


@pytest.mark.parametrize(("text", "environ", "overrides", "name", "expected"), RELATIVE)
def test_a_relative_path_starts_where_it_was_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    environ: dict[str, str],
    overrides: dict[str, object],
    name: str,
    expected: str,
) -> None:
    """The gateway would read another schema, or open another store, depending on where it was started from."""
    beside, here = tmp_path / "etc", tmp_path / "work"
    beside.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)

    settings = load_settings(written(beside, text), environ=environ, overrides=overrides)

    assert str(at(settings, name)) == expected.format(file=beside, here=here)


def test_a_store_beside_the_file_is_found_from_anywhere(tmp_path: Path) -> None:
    """A gateway started from another directory would begin with an empty store."""
    file = tmp_path / "gateway.yaml"
    file.write_text(SMALLEST.replace("memory:", "sqlite:///data/gateway.db"), "utf-8")

    assert load_settings(file, environ={}).store.url == f"sqlite:///{tmp_path}/data/gateway.db"


NORMALISED = [
    ("hosts: [API.Example.COM, '[::1]', 127.0.0.1]", "hosts", ("api.example.com", "[::1]", "127.0.0.1")),
    ("upstreams: ['HTTPS://EU.internal:8443/']", "upstreams", ("https://eu.internal:8443",)),
    ("upstreams: ['http://[::1]', 'http://127.0.0.1:1']", "upstreams", ("http://[::1]", "http://127.0.0.1:1")),
]


@pytest.mark.parametrize(("line", "name", "expected"), NORMALISED)
def test_hosts_and_upstreams_have_one_spelling(tmp_path: Path, line: str, name: str, expected: tuple[str, ...]) -> None:
    """A Host header in other letters than the file's would be taken for another region's."""
    variable, _, text = line.partition(": ")

    settings = load_settings(written(tmp_path), environ={f"GATEWAY__REGIONS__EU__{variable.upper()}": text})

    assert at(settings.regions["eu"], name) == expected


def test_the_only_region_is_the_default(tmp_path: Path) -> None:
    """Whoever has one region would have to name it twice."""
    assert load_settings(written(tmp_path), environ={}).default_region == "eu"


def test_regions_may_share_what_they_have_in_common(tmp_path: Path) -> None:
    """Twenty regions alike would have to be written out twenty times."""
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "store: {url: 'memory:'}\n"
        "regions:\n"
        "  eu: &eu {hosts: [eu.example.com], upstreams: ['http://127.0.0.1:1'], user_scoping: arguments}\n"
        "  us: {<<: *eu, hosts: [us.example.com]}\n"
        "  in: {hosts: [in.example.com], <<: [{upstreams: ['http://127.0.0.1:2']}, *eu]}\n"
        "default_region: us\n",
        "utf-8",
    )

    regions = load_settings(file, environ={}).regions

    assert [(name, region.hosts[0], region.upstreams[0], region.user_scoping) for name, region in regions.items()] == [
        ("eu", "eu.example.com", "http://127.0.0.1:1", "arguments"),
        ("us", "us.example.com", "http://127.0.0.1:1", "arguments"),
        ("in", "in.example.com", "http://127.0.0.1:2", "arguments"),
    ]


def test_sections_with_nothing_in_them_are_as_if_left_out(tmp_path: Path) -> None:
    """Commenting out the last line of a section would keep the gateway from starting."""
    assert load_settings(written(tmp_path, "limits:\nlog: {}\n"), environ={}) == load_settings(
        written(tmp_path), environ={}
    )


def test_settings_do_not_change(tmp_path: Path) -> None:
    """Two requests could be judged by different settings without a reload."""
    settings = load_settings(written(tmp_path), environ={})

    with pytest.raises(ValidationError):
        settings.policy.mode = "report"
