"""The provider catalogue: one TOML file a kind of server under `tui/catalogue/`, read into frozen models.

A kind is data plus one of three protocol families in code; adding a server that speaks a known family needs
a file here and nothing else. pydantic validates the files: an unknown key, a wrong type or a missing key is an error
of the release, found by the tests, never of the user.
"""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

_ID: Final = re.compile(r"[a-z][a-z0-9_]*\Z")

Family = Literal["ollama", "llamacpp", "openai"]


class Part(BaseModel):
    """One table of a file. Annotations are no strings here, and `Kind` is built when it is first needed: 20 ms of every start."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Expect(Part):
    """One thing to see in a reply.

    Attributes:
        where: The status, a header, a JSON body (dotted key), `first` entry of its model list, the body as text, or the port asked.
        key: Header name or dotted JSON key; empty: the whole.
        op: `is`, `starts`, `contains`, `present`, `absent`, `same` (as the key named in value), `only` (the object has just that key).
        value: What to compare with.
    """

    where: Literal["status", "header", "json", "first", "text", "port"]
    key: str = ""
    op: Literal["is", "starts", "contains", "present", "absent", "same", "only"] = "is"
    value: bool | int | str = ""


Expected = Annotated[tuple[Expect, ...], Field(min_length=1)]


class Rule(Part):
    """A row of a decision table: all of `expect` must hold; the lowest `row` of all kinds that matches wins.

    Attributes:
        sure: False where the row only makes this kind likely, so that the further probes decide.
    """

    row: int
    expect: Expected
    sure: bool = True


class Probe(Part):
    """One harmless GET that proves a kind.

    Attributes:
        rank: Order among all probes; equal paths are asked once.
        port: Another port of the same host, 0 for the one in question.
        version: Dotted JSON key of the version in the answer, or empty.
    """

    rank: int
    path: str
    expect: Expected
    port: int = 0
    version: str = ""


class VersionSource(Part):
    """Where a server tells its version, once it is known: a path and a dotted JSON key."""

    path: str
    key: str


class Fingerprint(Part):
    """How a kind is told from the others.

    Attributes:
        models: Rows judged on `GET /v1/models`.
        refusals: Rows judged on its 400, 401 or 403.
        anywhere: Rows judged on every answer.
        probes: Further questions, where the rows leave it open.
        needs: Probes that must all hold (a kind that others imitate).
        unless: Kinds whose probes must not answer.
        imitates: Version this kind claims when it plays Ollama.
        version: Where the version is.
    """

    models: tuple[Rule, ...] = ()
    refusals: tuple[Rule, ...] = ()
    anywhere: tuple[Rule, ...] = ()
    probes: tuple[Probe, ...] = ()
    needs: tuple[Probe, ...] = ()
    unless: tuple[str, ...] = ()
    imitates: str = ""
    version: VersionSource | None = None


class Health(Part):
    """How to ask whether it is well; `loading` and `failed` are judged before `ok`.

    Attributes:
        path: What to GET.
        refused_while_loading: A living process that refuses connections is loading, not dead.
    """

    path: str
    ok: Expected
    loading: tuple[Expect, ...] = ()
    failed: tuple[Expect, ...] = ()
    refused_while_loading: bool = False


class Models(Part):
    """How the model list looks; the fields are dotted keys of one entry, empty where the server does not say.

    Attributes:
        path: What to GET.
        list: Key of the array.
        context: Served context length in tokens.
        trained_context: Context length the model was trained for.
        size_unit: Bytes per unit of `size`.
        loaded: Values of `state` that mean loaded; none: any value does. Without `state`, `lists` tells.
        lists: What the list holds.
        name_required: The exact name must be sent.
        downloads: Asking for an unknown name downloads it.
        abilities: Where an entry says what the model can, by our words (`vision`, `tools`, `thinking`); what is there and neither
            false nor empty counts. Without any of these keys in an entry nothing is known of it.
    """

    path: str = "/v1/models"
    list: str = "data"
    id: str = "id"
    context: str = ""
    trained_context: str = ""
    size: str = ""
    size_unit: int = 1
    quant: str = ""
    parameters: str = ""
    family: str = ""
    format: str = ""
    state: str = ""
    loaded: tuple[str, ...] = ()
    lists: Literal["loaded", "configured", "downloaded", "all"] = "all"
    name_required: bool = True
    downloads: bool = False
    abilities: Mapping[str, str] = Field(default_factory=dict)


_SAME: Final = {name: name for name in ("top_k", "min_p", "typical_p", "repeat_penalty", "repeat_last_n")}


class Chat(Part):
    """Traps of the chat dialect.

    Attributes:
        stream: False: `stream: true` is refused, so ask for the whole answer.
        forbidden_fields: Never send these.
        allowed_fields: If any: send only these.
        reasoning: Fields of a delta that hold thoughts, in order; empty: tags stay in the text.
        usage: Where token counts come: an extra last chunk on request, the last chunk unasked, never, or the request is refused.
        max_tokens: Field for the limit of output tokens.
        default_max_tokens: What the server takes where none is sent; None: no limit of its own.
        speeds: Dotted key of the server's own speed figures in a chunk, or empty.
        options: Options beyond the six that all know, by their Ollama names, and what this kind calls them.
        think: How thinking is switched: an argument of the template, a field `enable_thinking`, or not at all.
        levels: Takes `reasoning_effort`; else a level only means on.
        formats: How JSON is asked for: `openai` (`json_object` and `json_schema`), only by `schema`, as `object` with the schema in
            it, by a `field` named json_schema, or not at all.
        images: Takes images.
        tools: Takes tools.
        prefill: How an answer is gone on with: `always` (the last message is the assistant's), a field to set true, or empty: it cannot.
        suffix: Its completions fill a gap themselves.
    """

    path: str = "/v1/chat/completions"
    stream: bool = True
    forbidden_fields: tuple[str, ...] = ()
    allowed_fields: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ("reasoning_content", "reasoning")
    usage: Literal["on_request", "unasked", "never", "refused"] = "on_request"
    max_tokens: str = "max_tokens"
    default_max_tokens: int | None = None
    speeds: str = ""
    options: Mapping[str, str] = Field(default_factory=lambda: dict(_SAME))
    think: Literal["template", "field", "none"] = "template"
    levels: bool = True
    formats: Literal["openai", "schema", "object", "field", "none"] = "openai"
    images: bool = True
    tools: bool = True
    prefill: str = ""
    suffix: bool = False


class Metrics(Part):
    """Where figures about the server come from; `map` gives our names their names.

    Attributes:
        flag: What the server must be started with to have them; empty: always there.
        map: running, waiting, kv_used, kv_total, prompt_tokens, output_tokens, rate, memory; of JSON dotted keys, `!key` for its contrary.
        counts: When output_tokens grow: while an answer is written, or after it.
        scale: What to multiply their values with, where their unit is another.
    """

    kind: Literal["none", "prometheus", "json"] = "none"
    path: str = ""
    flag: str = ""
    map: Mapping[str, str] = Field(default_factory=dict)
    counts: Literal["while", "after"] = "while"
    scale: Mapping[str, float] = Field(default_factory=dict)


class KeyHeader(Part):
    """One way to send a key."""

    header: str = "Authorization"
    prefix: str = "Bearer "


class Auth(Part):
    """Whether a key is wanted, and how it is sent (the first of `headers`).

    Attributes:
        key_file: Name of the file in the server's folder that holds the key, or empty.
        open_paths: Answered without a key.
    """

    required: Literal["never", "optional", "default_on"] = "optional"
    headers: tuple[KeyHeader, ...] = (KeyHeader(),)
    key_file: str = ""
    open_paths: tuple[str, ...] = ()


class Kind(Part):
    """One kind of server.

    Attributes:
        name: As people call it.
        rank: Order in which bare hosts and lists try the kinds.
        ports: Default port first, then others it is met on.
        host: Where it listens unless told otherwise.
        all_interfaces_by_default: It is reachable from outside unless told otherwise.
        children: Runs model servers of another kind as child processes on other ports.
        traps: What people should know, in our words.
        process: Regular expressions over the command line, to attribute a port to a kind.
    """

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    name: str
    family: Family
    rank: int
    ports: tuple[int, ...] = ()
    host: str = "127.0.0.1"
    all_interfaces_by_default: bool = False
    children: bool = False
    fingerprint: Fingerprint = Field(default_factory=Fingerprint)
    health: Health | None = None
    models: Models = Field(default_factory=Models)
    chat: Chat = Field(default_factory=Chat)
    metrics: Metrics = Field(default_factory=Metrics)
    auth: Auth = Field(default_factory=Auth)
    traps: tuple[str, ...] = ()
    process: tuple[str, ...] = ()


@cache
def kind_named(name: str) -> Kind | None:
    """The kind with this id, None where there is none; only its own file is read.

    Raises:
        ValueError: The file is not what this module says; only a broken release has one.
    """
    file = files("tui") / "catalogue" / f"{name}.toml"
    if not _ID.match(name) or not file.is_file():
        return None
    kind = Kind.model_validate(tomllib.loads(file.read_text("utf-8")))
    if kind.id != name:
        raise ValueError(f"{file.name} holds the kind {kind.id}")
    return kind


@cache
def kinds() -> Mapping[str, Kind]:
    """Every kind by id, in order of rank. 20 ms: where one is asked for, `kind_named` is enough.

    Raises:
        ValueError: As `kind_named`.
    """
    names = (file.name.removesuffix(".toml") for file in (files("tui") / "catalogue").iterdir() if file.name.endswith(".toml"))
    read = [kind for name in names if (kind := kind_named(name)) is not None]
    return MappingProxyType({kind.id: kind for kind in sorted(read, key=lambda kind: kind.rank)})


def default_ports(catalogue: Mapping[str, Kind]) -> tuple[int, ...]:
    """The ports worth looking at: every kind's first port in order of rank, then the others."""
    first = [kind.ports[0] for kind in catalogue.values() if kind.ports]
    rest = [port for kind in catalogue.values() for port in kind.ports[1:]]
    return tuple(dict.fromkeys((*first, *rest)))
