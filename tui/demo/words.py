"""What the demo's models say."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from tui.core.fim import FAMILIES
from tui.demo.prompts import Given, images_of, looks_like, text_of

THOUGHTS: Final = (
    "The user asks the demo server. I should answer with something that shows how Markdown is drawn: a heading, a list, "
    "a table, some code and a quote. I must say clearly that this is a simulation, and that nothing left this machine."
)
_MORE_THOUGHTS: Final = (
    " Let me go through it once more, as much thinking was asked for. First the levels: Q8_0 loses nothing one would notice, Q4_K_M is "
    "what most people take, Q2_K is noticed. Then the context: what does not fit is dropped without a word, so the figures must be "
    "compared with what was sent. Last, stopping: what came is kept. That is all there is to say, so I can answer now."
)
_OPENINGS: Final = (
    "This is the **demo server**: the words are prepared, nothing was computed, and nothing left this machine.",
    "You are talking to the **demo server**. Its words are prepared; no model ran, and nothing left this machine.",
    "A word first: this is the **demo server**, so what follows was written beforehand and nothing left this machine.",
)
_ANSWER: Final = """\
## About: {topic}

{opening} I play **{model}**. What you see is how Paddock draws an answer while it streams.

1. **Pick the quantization** by the memory you have, not by the largest number.
2. **Watch the context.** What does not fit is dropped, and Paddock says so.
3. **Stop early.** `esc` keeps what came; `/continue` goes on from there.

| level  | bits | size of 8B | loss          |
|--------|-----:|-----------:|---------------|
| Q8_0   |  8.5 |     8.5 GB | none to speak of |
| Q6_K   |  6.6 |     6.6 GB | very small    |
| Q4_K_M |  4.8 |     4.9 GB | small         |
| Q2_K   |  2.6 |     3.2 GB | you notice    |

A first guess whether a model fits:

```python
def fits(free: int, weights: int, context: int, per_token: int = 131_072) -> bool:
    \"\"\"Weights, KV cache and a gigabyte for buffers.\"\"\"
    return weights + context * per_token + 10**9 < free
```

> The best model is the one that is loaded when you need it.

Ask something else, change the model with `ctrl+t`, or pull another one on the Library screen.
"""
_SENTENCE: Final = (
    "the quick model reads every word of the prompt and then writes one token after the other until it is done or stopped "
    "or its context is full and nobody knows beforehand how long that will take on this machine"
)
_FILLER: Final = tuple(_SENTENCE.split())
_LONG: Final = re.compile(r"\b(\d{2,6})\s+(words?|lines?|paragraphs?|tokens?)\b", re.IGNORECASE)
_SHORT: Final = re.compile(r"\b(brief\w*|short\w*|one (sentence|word|line)|concise\w*|in a word)\b", re.IGNORECASE)
_LONGEST: Final = 60_000


def _topic(prompt: str) -> str:
    return re.sub(r"[^\w ,.?!'-]", "", prompt.strip().splitlines()[0] if prompt.strip() else "")[:60].strip()


def answer_to(asked: Given, model: str, chance: random.Random, *, vision: bool = False) -> str:
    """The prepared answer, naming the first words of the prompt."""
    prompt, topic = asked.prompt, _topic(asked.prompt) or "this demo"
    if asked.last.get("role") == "tool":
        return _from_tools(asked)
    if re.match(r".{0,200}\btitle\b", prompt, re.DOTALL | re.IGNORECASE) and re.search(r"\bwords\b", prompt):
        return "A talk with the demo server"
    if re.search(r"\bsummar(y|ise|ize)", prompt, re.IGNORECASE):
        return "Summary by the demo: the user tried Paddock, and asked about quantization, context and stopping; nothing was computed."
    if found := _LONG.search(prompt):
        return _long(min(int(found[1]), _LONGEST), found[2].lower())
    images = [image for message in asked.messages for image in images_of(message) or ()] if vision else []
    seen = "".join(f"\n\nI see {looks_like(image)}; the demo sees no more of it than that." for image in images)
    if _SHORT.search(f"{asked.system}\n{prompt}"):
        return f"The demo's {model}, in short, about {topic}: take Q4_K_M.{seen}"
    return _ANSWER.format(topic=topic, opening=f"{chance.choice(_OPENINGS)}{seen}\n\n" if seen else chance.choice(_OPENINGS), model=model)


def _long(count: int, unit: str) -> str:
    per = 40 if unit.startswith("par") else 8 if unit.startswith("line") else 1
    words = (_FILLER[number % len(_FILLER)] for number in range(count * per))
    if unit.startswith("line"):
        return "".join(f"{number + 1}. {' '.join(islice(words, per))}\n" for number in range(count))
    if unit.startswith("par"):
        return "\n\n".join(" ".join(islice(words, per)) + "." for _ in range(count))
    rows = []
    while row := list(islice(words, 12)):
        rows.append(" ".join(row))
    return "\n".join(rows)


def _from_tools(asked: Given) -> str:
    results = []
    for message in reversed(asked.messages):
        if message.get("role") != "tool":
            break
        results.append(f"- **{message.get('tool_name') or 'the tool'}** said: {text_of(message)[:400]}")
    return "That is what came back:\n\n" + "\n".join(reversed(results)) + "\n\nThe demo takes its tools' word for it."


def thoughts_of(think: Any) -> str:
    """Thoughts, fewer or more of them by level."""
    if think == "low":
        return THOUGHTS.split(". ")[0] + "."
    return THOUGHTS + (_MORE_THOUGHTS * (3 if think == "max" else 1) if think in ("high", "max") else "")


def rest_of(answer: str, began: str) -> str:
    """What of an answer is still to be said after its beginning."""
    if answer.startswith(began):
        return answer[len(began) :]
    return "" if began.rstrip().endswith(".") else "\u2026 and so on, the demo goes on from where the answer ended."


# --- tools ------------------------------------------------------------------------------------------------------------

_SUM: Final = re.compile(r"[\d.(][\d\s.+\-*/^%()]*[+\-*/^%][\d\s.+\-*/^%()]*[\d)]")
_FILE: Final = re.compile(r"^([^\n:]{1,120}):\n`{3,}", re.MULTILINE)
_QUOTED: Final = re.compile(r"\b(?:in|of|for|at) ([A-Z][\w-]+(?: [A-Z][\w-]+)?)")


def calls_for(asked: Given, tools: Sequence[Any]) -> list[dict[str, Any]]:
    """The calls a model would make: by what the prompt holds, or of a tool of the user's own with words of the prompt."""
    prompt = asked.prompt
    calls: list[dict[str, Any]] = []
    for tool in tools:
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict):
            continue
        name = str(function.get("name", ""))
        arguments = _arguments(name, prompt, function.get("parameters"))
        if arguments is not None:
            calls.append({"id": f"call_demo{len(calls)}", "function": {"index": len(calls), "name": name, "arguments": arguments}})
    return calls[:3]


def _arguments(name: str, prompt: str, parameters: Any) -> dict[str, Any] | None:
    place = _QUOTED.search(prompt)
    if name == "time":
        return {} if re.search(r"\b(time|clock|date|day|today)\b", prompt, re.IGNORECASE) else None
    if name == "calculator":
        found = _SUM.search(prompt)
        return {"expression": found[0].strip()} if found else None
    if name == "read_file":
        file = _FILE.search(prompt)
        wanted = re.search(r"\bread\s+([\w.-]+\.\w+)", prompt)
        return {"name": file[1]} if file else {"name": wanted[1]} if wanted else None
    properties = parameters.get("properties") if isinstance(parameters, dict) else None
    return {str(key): place[1] if place else _topic(prompt)[:40] for key in properties or ()}


# --- formats ----------------------------------------------------------------------------------------------------------


def json_for(wanted: Any, topic: str) -> str:
    """A JSON answer: of a schema's shape, or about the topic."""
    value = _instance(wanted, topic, 0) if isinstance(wanted, dict) else {"demo": True, "topic": topic, "levels": ["Q8_0", "Q4_K_M"]}
    return json.dumps(value, indent=2, ensure_ascii=False)


def _instance(schema: Any, topic: str, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > 8:
        return topic
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    kinds = schema.get("type")
    kind = kinds[0] if isinstance(kinds, list) and kinds else kinds
    if kind == "object" or (kind is None and "properties" in schema):
        properties = schema.get("properties")
        return {name: _instance(inner, topic, depth + 1) for name, inner in (properties if isinstance(properties, dict) else {}).items()}
    if kind == "array":
        return [_instance(schema.get("items"), topic, depth + 1)]
    return {"integer": 7, "number": 7.5, "boolean": True, "null": None}.get(str(kind), topic)


# --- code -------------------------------------------------------------------------------------------------------------

_DEF: Final = re.compile(r"^([ \t]*)def\s+(\w+)\s*\(([^)]*)\)[^:]*:\s*$", re.MULTILINE)


def gap_of(raw: str) -> tuple[str, str] | None:
    """Prefix and suffix out of a raw prompt with some family's tokens; None where it holds none."""
    for family in FAMILIES:
        parts = [part for part in re.split(r"\{prefix\}|\{suffix\}", family.shape) if part.strip()]
        places = [raw.find(part) for part in parts]
        if min(places) >= 0 and places == sorted(places):
            shape = re.escape(family.shape).replace(r"\{prefix\}", "(?P<prefix>.*)").replace(r"\{suffix\}", "(?P<suffix>.*)")
            if found := re.fullmatch(shape, raw, re.DOTALL):
                return found["prefix"], found["suffix"]
    return None


def begins_code(text: str) -> bool:
    """Whether a text ends with a function that was just begun."""
    found = list(_DEF.finditer(text))
    return bool(found) and not text[found[-1].end() :].strip()


def code_for(prefix: str, suffix: str, chance: random.Random) -> str:
    """Code for a gap: the body of a function that was just begun, else the rest of the line."""
    before = prefix.rsplit("\n", 1)[-1]
    found = list(_DEF.finditer(prefix))
    if begins_code(prefix):
        indent, name, parameters = found[-1].groups()
        names = [part.split(":")[0].split("=")[0].strip(" *") for part in parameters.split(",")]
        names = [part for part in names if part and part != "self"] or ["None"]
        sign = chance.choice((" + ", " * ", " or "))
        inner = f"{indent}    "
        lead = inner if before.strip() == "" and not before.startswith(inner) else "" if before.strip() == "" else f"\n{inner}"
        words = f'"""{name.replace("_", " ").capitalize()} of {", ".join(names)}."""\n{inner}'
        text = f"{lead}{words if chance.random() < 0.5 else ''}return {sign.join(names)}"
        return text + ("" if suffix.startswith("\n") else "\n")
    if before.rstrip().endswith(("(", ",", "=")):
        return chance.choice(("1", "value", "None"))
    return chance.choice(("\n# and so on", "\npass\n", " # the demo adds nothing here"))


def prose_after(prefix: str) -> Iterator[str]:
    """Words that go on from a text without end, as base models do."""
    if prefix and not prefix[-1].isspace():
        yield " "
    while True:
        yield from (f"{word} " for word in _FILLER)


def pieces_of(text: str) -> list[str]:
    """Split as a tokenizer would, about: words with the space before them, and single signs."""
    return re.findall(r"\n+| ?[A-Za-z0-9]{1,6}|[A-Za-z0-9]{1,6}| ?[^\sA-Za-z0-9]|[ \t]+", text)


def first_words(asked: Given) -> str:
    """What an answer is about."""
    return _topic(asked.prompt)[:40] or "this demo"


def seeded(options: Mapping[str, Any]) -> random.Random:
    """Chance as the options want it: a seed or a temperature of 0 leaves none."""
    seed = options.get("seed")
    if isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0:
        return random.Random(seed)
    return random.Random(0) if options.get("temperature") == 0 else random.Random()
