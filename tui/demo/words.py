"""What the demo's models say."""

from __future__ import annotations

import re
from typing import Final

THOUGHTS: Final = (
    "The user asks the demo server. I should answer with something that shows how Markdown is drawn: a heading, a list, "
    "a table, some code and a quote. I must say clearly that this is a simulation, and that nothing left this machine."
)
_ANSWER: Final = """\
## About: {topic}

This is the **demo server**: the words are prepared, nothing was computed, and nothing left this machine. What you see is how
Paddock draws an answer while it streams.

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


def answer_to(prompt: str) -> str:
    """The prepared answer, naming the first words of the prompt."""
    words = re.sub(r"[^\w ,.?!'-]", "", prompt.strip().splitlines()[0] if prompt.strip() else "")[:60].strip()
    return _ANSWER.format(topic=words or "this demo")


def pieces_of(text: str) -> list[str]:
    """Split as a tokenizer would, about: words with the space before them, and single signs."""
    return re.findall(r"\n+| ?[A-Za-z0-9]{1,6}|[A-Za-z0-9]{1,6}| ?[^\sA-Za-z0-9]|[ \t]+", text)
