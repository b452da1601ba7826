"""Every setting: field, kind and range, default, and its description as the docstring below it.

`config.example.toml`, the Settings screen, `paddock config show` and the table of the README are made from here.
Durations are seconds, sizes bytes, after validation. Import this module late: pydantic costs 100 ms.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from tui.config.kinds import (
    AUTO,
    BINDINGS,
    DENSITY,
    LINE,
    MOTION,
    SWITCH,
    THEME,
    WIRE,
    Address,
    Arguments,
    Bytes,
    Certificates,
    Choice,
    KeepAlive,
    KeyReference,
    Names,
    Number,
    Pairs,
    Seconds,
    Secret,
    Stops,
    Whole,
    Words,
)
from tui.core.hours import PATTERN
from tui.core.names import same

Flag = Annotated[bool, SWITCH]
HOURS: Final = Words(f"(?:{PATTERN})?", "empty, or HH:MM-HH:MM", "23:00-07:00")
EXPORTER: Final = Words(r"(?:https?://[^\s]{1,200})?", "empty, or an address with http:// or https://", "http://gpu-box:9345/metrics")
CATALOGUE: Final = Words(r"(?:https?://[^\s]{1,400})?", "empty, or an address with http:// or https://", "https://example.org/models.json")
PROVIDER_NAME: Final = Words("[A-Za-z0-9][A-Za-z0-9_.-]{0,39}", "letters, digits, - _ . (at most 40)", "gpu-box")
COMMAND_NAME: Final = Words("[A-Za-z_][A-Za-z0-9_-]{0,39}", "letters, digits, - _ (at most 40), not beginning with a digit", "weather")
MODEL_NAME: Final = Words(r"\S(?:[^\x00-\x1f]{0,398}\S)?", "the name of a model", "qwen3:8b")


class Section(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True)


class General(Section):
    """What Paddock opens with, and how it behaves everywhere."""

    default_provider: Annotated[str, Words(example_text="ollama")] = ""
    """The provider that is used unless another is chosen. Empty: the first that answers."""
    default_model: Annotated[str, Words(example_text="qwen3:8b")] = ""
    """The model a new chat starts with. Empty: the last one used."""
    start_screen: Annotated[str, Choice(("last", "providers", "library", "pulls", "chat", "monitor"))] = "last"
    """The screen that Paddock opens on."""
    discover: Flag = True
    """Look for servers at the known ports of this machine when starting, and on r."""
    watch_models: Annotated[float, Seconds(5, 3600, zero=True)] = 30.0
    """How often to look for new or vanished models; 0: only on r."""
    network: Annotated[str, Choice(("normal", "metered", "offline"))] = "normal"
    """metered: no update checks, and pulls ask first. offline: nothing leaves this machine."""
    confirm: Annotated[str, Choice(("destructive", "always"))] = "destructive"
    """Ask before what cannot be undone, or before every change on a server."""
    log_level: Annotated[str, Choice(("debug", "info", "warning", "error"))] = "info"
    """How much goes into the log file."""


class ProviderSettings(Section):
    """One server; the table's name is yours."""

    kind: Annotated[str, Words("[a-z0-9][a-z0-9_-]{0,39}", "the id of a kind", "ollama")] = "ollama"
    """Any kind of the catalogue, or "openai" for anything that speaks /v1."""
    url: Annotated[str, Address()]
    """Scheme, host and port, and a path where the server is behind one."""
    enabled: Flag = True
    """Off: it is listed, and nothing is asked of it."""
    api_key: Annotated[Secret, KeyReference()] = Secret()
    """Where the key comes from: "env:NAME" or "file:PATH". A literal key is accepted with a warning."""
    headers: Annotated[Mapping[str, str], Pairs('{ "X-Team" = "value" }')] = Field(default_factory=dict)
    """Further headers of every request."""
    verify_tls: Annotated[bool | str, Certificates()] = True
    """Check the server's certificate; or the path of a CA file to check it with."""
    timeout: Annotated[float, Seconds(5, 300)] = 30.0
    """For connecting and plain answers; not for streams, loads, creates or copies."""
    retries: Annotated[int, Whole(0, 10)] = 3
    """Of requests that are safe to repeat."""
    retry_delay: Annotated[float, Seconds(0.1, 10)] = 1.0
    """The pause before the first retry, doubled each time."""
    keep_alive: Annotated[str, KeepAlive()] = ""
    """How long a model stays loaded after use. Empty: the server's own choice."""
    location: Annotated[str, Choice(("auto", "here", "elsewhere"))] = "auto"
    """Whether the server runs on this machine; auto asks once where ssh holds the port."""
    vram: Annotated[int | None, Bytes(10**8, empty=True)] = None
    """GPU memory of another machine, to tell what fits there."""
    models_folder: Annotated[str, Words(example_text="/var/lib/ollama/models")] = ""
    """Where the server keeps its models, for disk checks. Empty: guessed and shown."""
    health_interval: Annotated[float, Seconds(5, 3600)] = 30.0
    """How often the server is asked whether it is well."""
    exporter: Annotated[str, EXPORTER] = ""
    """Where `paddock monitor --prometheus` of that machine answers: the Monitor shows its figures under the provider's name."""
    fallback: Annotated[tuple[str, ...], Names()] = ()
    """Providers that are asked instead, in this order, where this one fails before the first token of an answer."""


class ChatOptions(Section):
    """Options of the model; only what is set is sent, the model's own values stand otherwise."""

    temperature: Annotated[float | None, Number(0, 2)] = None
    """How much chance there is in the choice of the next token; 0: none."""
    top_p: Annotated[float | None, Number(0, 1)] = None
    """Choose among the likeliest tokens that together have this probability."""
    top_k: Annotated[int | None, Whole(0, 100_000)] = None
    """Choose among this many of the likeliest tokens; 0: all."""
    min_p: Annotated[float | None, Number(0, 1)] = None
    """Leave out tokens less likely than this share of the likeliest one."""
    repeat_penalty: Annotated[float | None, Number(0, 10)] = None
    """Makes repetition less likely; 1: not at all."""
    repeat_last_n: Annotated[int | None, Whole(-1, 1_000_000)] = None
    """How many tokens back repetition counts; 0: none, -1: the whole context."""
    presence_penalty: Annotated[float | None, Number(-2, 2)] = None
    """Makes every token that was there before less likely, once."""
    frequency_penalty: Annotated[float | None, Number(-2, 2)] = None
    """Makes tokens less likely the more often they were there before."""
    seed: Annotated[int | None, Whole(-1, 2**63 - 1)] = None
    """The same seed and the same question give the same answer."""
    stop: Annotated[tuple[str, ...] | None, Stops()] = None
    """Texts that end the answer where they appear."""
    num_predict: Annotated[int | None, Whole(-2, 10_000_000)] = None
    """Longest answer in tokens; -1: no limit, -2: until the context is full."""
    num_ctx: Annotated[int | None, Whole(1, 100_000_000)] = None
    """Context length in tokens; a change loads the model again."""
    mirostat: Annotated[int | None, Whole(0, 2)] = None
    """Keep the answer equally surprising; 0: off, 1 or 2: version."""
    mirostat_eta: Annotated[float | None, Number(0, 1)] = None
    """How fast Mirostat adapts."""
    mirostat_tau: Annotated[float | None, Number(0, 100)] = None
    """How surprising Mirostat keeps the answer."""
    num_gpu: Annotated[int | None, Whole(-1, 10_000)] = None
    """Layers on the GPU; -1: the server's choice. A change loads the model again."""
    num_thread: Annotated[int | None, Whole(0, 4096)] = None
    """Processor threads; 0: the server's choice. A change loads the model again."""
    num_batch: Annotated[int | None, Whole(1, 1_000_000)] = None
    """Tokens of a prompt that are read at once. A change loads the model again."""
    num_keep: Annotated[int | None, Whole(-1, 10_000_000)] = None
    """Tokens kept from the start when the context overflows; -1: all."""

    def sent(self) -> dict[str, Any]:
        """Return only what is set, by the names of the Ollama API."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items() if value is not None}


class ModelOptions(ChatOptions):
    """Options of one model; they win over the preset, and those of [chat.options] over them."""

    main_gpu: Annotated[int | None, Whole(0, 64)] = None
    """The GPU that a model is loaded on where it fits on one, counted from 0. A change loads the model again."""
    keep_alive: Annotated[str, KeepAlive()] = ""
    """How long this model stays loaded after use. Empty: what the provider's keep_alive says."""

    def sent(self) -> dict[str, Any]:
        """Return only the options that are set; `keep_alive` is none of them."""
        found = super().sent()
        del found["keep_alive"]
        return found


class Models(Section):
    """Which models are offered."""

    auto_pull: Annotated[str, Choice(("ask", "always", "never"))] = "ask"
    """What to do when a chat wants a model that is not installed."""
    preferred: Annotated[tuple[str, ...], Names()] = ()
    """Models offered first, in this order."""
    excluded: Annotated[tuple[str, ...], Names()] = ()
    """Models that are hidden; * and ? stand for anything. Pulling one asks first."""
    pinned: Annotated[tuple[str, ...], Names()] = ()
    """Models that are never updated by `update --all`, and never unloaded for room or for idling."""
    max_size: Annotated[int | None, Bytes(empty=True)] = None
    """Larger models are not pulled without asking. Empty: no limit."""
    update_check: Annotated[str, Choice(("never", "start", "daily", "weekly"))] = "daily"
    """How often the registries are asked whether they have newer models; never while general.network is metered or offline."""
    versions: Annotated[int, Whole(0, 10)] = 1
    """Earlier versions kept after an update, to go back to; they take the space of what the update replaced."""
    trash: Annotated[float, Seconds(0, 365 * 86_400)] = 7 * 86_400.0
    """How long a deleted model can be brought back; its space is freed after that. 0: at once."""
    catalogue_url: Annotated[str, CATALOGUE] = ""
    """Where a newer list of models is fetched from, on request only. Empty: a refresh looks up what is installed."""
    hf_token: Annotated[Secret, KeyReference()] = Secret()
    """Key for Hugging Face, to search and to read what a pull will fetch: "env:NAME" or "file:PATH". The server needs its own."""
    options: Mapping[str, ModelOptions] = Field(default_factory=dict)
    """Options of single models, by name."""

    def options_of(self, model: str) -> dict[str, Any]:
        """Return the options that are set for a model, by the names of the Ollama API."""
        own = self._own(model)
        return own.sent() if own is not None else {}

    def keep_alive_of(self, model: str) -> str:
        """Return how long a model stays loaded, empty where that is not set."""
        own = self._own(model)
        return own.keep_alive if own is not None else ""

    def _own(self, model: str) -> ModelOptions | None:
        exact = self.options.get(model)
        return exact or next((options for name, options in self.options.items() if same(name, model)), None)


class Pulls(Section):
    """Downloads of models."""

    at_once: Annotated[int, Whole(1, 5)] = 2
    """How many pulls run at the same time."""
    bandwidth: Annotated[int | None, Bytes(10**6, empty=True)] = None
    """Bytes a second for all pulls together, from 1 MB; kept by pausing and resuming, so it comes in bursts. Empty: no limit."""
    retries: Annotated[int, Whole(0, 20)] = 5
    """Attempts after the first, with growing pauses; then the pull has failed."""
    keep_free: Annotated[int, Bytes()] = 10 * 10**9
    """A pull waits rather than leave less room than this on the disk."""
    margin: Annotated[float, Number(1.0, 10.0)] = 1.2
    """A pull also waits rather than fill the disk beyond its size times this; the larger counts."""
    only_between: Annotated[str, HOURS] = ""
    """Hours of the day in which pulls run, in this machine's time, like 23:00-07:00. Empty: any time."""
    verify: Flag = True
    """After the server's success, also compare the model's weights with the layers that the registry's manifest named."""
    notify: Flag = True
    """Bell and notice when the queue is empty or something failed."""


BUILT_IN_PRESETS: Final[Mapping[str, Mapping[str, float | int]]] = {
    "model": {},
    "balanced": {"temperature": 0.7, "top_p": 0.9, "top_k": 40, "repeat_penalty": 1.1},
    "precise": {"temperature": 0.2, "top_p": 0.5, "top_k": 20, "repeat_penalty": 1.1},
    "creative": {"temperature": 1.0, "top_p": 0.95, "top_k": 100, "repeat_penalty": 1.05},
    "deterministic": {"temperature": 0.0, "top_k": 1, "seed": 42},
}
"""What the presets send; a table of the same name under [chat.presets] replaces one."""


class ChatCommand(Section):
    """A program of yours that models may ask to run; each call asks you first. It is run without a shell."""

    description: Annotated[str, Words(lines=True, example_text="The weather in a city")] = ""
    """What it does, as the model is told."""
    command: Annotated[tuple[str, ...], Arguments()] = ()
    """The program and its arguments; {city} in an argument becomes what the model gave for city, and stays in that one argument."""
    parameters: Annotated[Mapping[str, str], Pairs('{ city = "The name of the city" }', "[A-Za-z_][A-Za-z0-9_]{0,39}")] = Field(
        default_factory=dict
    )
    """What the model must give, and what it is told about it."""
    timeout: Annotated[float, Seconds(1, 3600)] = 30.0
    """It is ended after this time."""


class Chat(Section):
    """Conversations."""

    preset: Annotated[
        str, Words("[A-Za-z0-9][A-Za-z0-9_-]{0,39}", "model, balanced, precise, creative, deterministic, or a name of yours", "model")
    ] = "model"
    """Options to start with: the model's own, a built-in set, or a table under [chat.presets]."""
    system: Annotated[str, Words(lines=True, example_text="Answer briefly.")] = ""
    """The system prompt of new conversations."""
    think: Annotated[str, Choice(("auto", "on", "off", "low", "medium", "high"), true="on", false="off")] = "auto"
    """Whether models that can think before they answer do so."""
    save: Flag = True
    """Keep conversations; off: they end with the program."""
    reuse_answers: Flag = False
    """Answer a request that is the same as an earlier one, and leaves nothing to chance, from the history; it says so."""
    enter_sends: Flag = True
    """Enter sends, and alt+enter makes a new line; off: the other way round."""
    notify_after: Annotated[float, Seconds(1, 86_400, zero=True)] = 30.0
    """A notice when an answer that took longer is done and you look elsewhere; 0: never."""
    tools: Annotated[tuple[str, ...], Names(limit=100)] = ()
    """Tools that models may ask for: time, calculator, read_file, or names under [chat.commands]; each call asks you."""
    options: ChatOptions = ChatOptions()
    """Options of every chat; they win over the preset."""
    presets: Mapping[str, ChatOptions] = Field(default_factory=dict)
    """Presets of your own."""
    commands: Mapping[str, ChatCommand] = Field(default_factory=dict)
    """Tools of your own."""

    def preset_options(self, name: str = "") -> dict[str, Any]:
        """Return what a preset sends (of this name, or the one set); an unknown name sends nothing."""
        name = name or self.preset
        own = self.presets.get(name)
        return own.sent() if own is not None else dict(BUILT_IN_PRESETS.get(name, {}))

    def preset_names(self) -> tuple[str, ...]:
        """Return the built-in presets, then your own."""
        return (*BUILT_IN_PRESETS, *(name for name in self.presets if name not in BUILT_IN_PRESETS))


class Monitor(Section):
    """Measurements of this machine."""

    enabled: Flag = True
    """Measure processor, memory, disks, network and GPUs."""
    interval: Annotated[float, Seconds(0.5, 60)] = 1.0
    """How often."""
    gpu: Flag = True
    """Ask the GPU driver; off, where it misbehaves."""
    disks: Annotated[tuple[str, ...], Names(limit=16)] = ()
    """Folders whose disks are watched. Empty: the disks with models."""
    temperature_unit: Annotated[str, Choice(("C", "F"))] = "C"
    """Celsius or Fahrenheit."""


class Limits(Section):
    """When to think twice before a chat, a load or a pull: percent of this machine, over 10 s; only for servers that run on it."""

    count: Annotated[str, Choice(("others", "all"))] = "others"
    """others: what the models of your own servers use is not counted. all: everything is."""
    cpu: Annotated[int, Whole(0, 100)] = 80
    """Use of the processor in percent; 0: no limit."""
    memory: Annotated[int, Whole(0, 100)] = 80
    """Memory in use in percent; 0: no limit."""
    gpu: Annotated[int, Whole(0, 100)] = 90
    """Use of a GPU and of its memory in percent; 0: no limit."""
    disk: Annotated[int, Whole(0, 100)] = 90
    """How full a disk with models is in percent, where less than 50 GB is free; 0: no limit."""
    keep_free_vram: Annotated[int | None, Bytes(10**8, empty=True)] = None
    """GPU memory that must stay free. Empty: no limit."""
    action: Annotated[str, Choice(("warn", "ask", "refuse"))] = "warn"
    """What to do where a limit is passed: say so, ask, or not do it."""
    idle_unload: Annotated[float, Seconds(60, 604_800, zero=True)] = 0.0
    """Unload models of your servers here that nobody used for this long, while Paddock or its worker runs; 0: never. Pinned ones stay."""
    memory_pressure: Annotated[str, Choice(("warn", "unload", "off"))] = "warn"
    """When memory runs out while Paddock or its worker runs: say so, or unload the model not used for longest; others may use it, too."""


class Alerts(Section):
    """Raised while Paddock or its worker runs: percent and °C, 0 is never; each must last for `after`; counted as [limits] count says."""

    cpu: Annotated[int, Whole(0, 100)] = 70
    """Use of the processor."""
    memory: Annotated[int, Whole(0, 100)] = 70
    """Memory in use."""
    gpu: Annotated[int, Whole(0, 100)] = 80
    """Use of a GPU."""
    gpu_temperature: Annotated[int, Whole(0, 120)] = 85
    """Temperature of a GPU in °C."""
    vram: Annotated[int, Whole(0, 100)] = 95
    """Memory of a GPU in use."""
    disk: Annotated[int, Whole(0, 100)] = 90
    """How full a disk with models is."""
    provider_down: Annotated[float, Seconds(5, 86_400, zero=True)] = 30.0
    """A provider that has not answered for this long; 0: never."""
    after: Annotated[float, Seconds(1, 3600)] = 60.0
    """How long a figure must stay over its limit."""
    notify: Flag = True
    """A desktop notice, where the terminal can."""
    bell: Flag = False
    """Ring the terminal's bell."""
    command: Annotated[tuple[str, ...], Arguments()] = ()
    """A program that gets each alert as JSON on its standard input, when it begins and when it ends. It is run without a shell."""


class Security(Section):
    """What this Paddock may do."""

    access: Annotated[str, Choice(("full", "use", "look"))] = "full"
    """use: no pull, delete or stop. look: change nothing (as --readonly)."""
    audit: Flag = True
    """Write down who did what and when, in audit.jsonl of the state folder."""


class Optimise(Section):
    """Proposals for this machine: threads, layers on the GPU, batch, context and KV cache; applied only on request."""

    enabled: Flag = True
    """Offer to optimise a model."""
    quantize: Flag = False
    """Offer a smaller quantization where a model does not fit."""
    kv_cache: Annotated[str, Choice(("auto", "f16", "q8_0", "q4_0"))] = "auto"
    """Type of the KV cache that what fits is reckoned with; auto: what the server says, else f16."""
    flash_attention: Annotated[str, Choice(("auto", "on", "off"))] = "auto"
    """Whether the server uses flash attention, for what fits; auto: as its version does."""
    parallel: Annotated[int, Whole(0, 64)] = 0
    """Requests a server works at once, for what fits; 0: its own choice."""


class Appearance(Section):
    """How it looks, and what the terminal is spared."""

    theme: Annotated[str, THEME] = "paddock"
    """Colours."""
    density: Annotated[str, DENSITY] = "auto"
    """How close rows and panels stand; auto goes by the size of the terminal."""
    ascii: Annotated[str, AUTO] = "auto"
    """Draw with plain characters only; auto goes by the locale and the terminal."""
    motion: Annotated[str, MOTION] = "auto"
    """Moving signs; auto: none over SSH."""
    wire: Annotated[str, WIRE] = "auto"
    """auto: send only the cells that changed. full: Textual's own frames."""
    link: Annotated[int | None, LINE] = None
    """Bytes a second that the line to your terminal carries. Empty: no limit."""
    mouse: Flag = True
    """Take the mouse; off: the terminal's own selection works."""
    units: Annotated[str, Choice(("decimal", "binary"))] = "decimal"
    """Sizes in GB (a thousand million) or GiB (1024 three times)."""
    columns: Annotated[Mapping[str, str], Pairs('{ library = "name on size fits" }', names="[a-z]+")] = Field(default_factory=dict)
    """Columns of the tables, in order; o on the Library screen chooses them."""
    filters: Annotated[Mapping[str, str], Pairs('{ "big vision" = "vision >20g" }')] = Field(default_factory=dict)
    """Saved filters of the Library, by name."""


class Settings(BaseSettings):
    """All settings, valid and immutable; made by `ConfigStore` of its checked layers, the first of which wins."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True)

    general: General = General()
    providers: Mapping[str, ProviderSettings] = Field(default_factory=dict)
    models: Models = Models()
    pulls: Pulls = Pulls()
    chat: Chat = Chat()
    monitor: Monitor = Monitor()
    limits: Limits = Limits()
    alerts: Alerts = Alerts()
    appearance: Appearance = Appearance()
    keys: Annotated[Mapping[str, str], BINDINGS] = Field(default_factory=dict)
    security: Security = Security()
    optimise: Optimise = Optimise()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take the checked layers instead of raw sources: a bad key must cost only itself, and these refuse a source as a whole."""
        layers = getattr(init_settings, "init_kwargs", {}).get("layers", ())
        return tuple(InitSettingsSource(settings_cls, init_kwargs=dict(layer)) for layer in layers)


def build(*layers: Mapping[str, Any]) -> Settings:
    """Make the settings of layers, the last of which wins; tables are merged."""
    given: dict[str, Any] = {"layers": tuple(reversed(layers))}
    return Settings(**given)
