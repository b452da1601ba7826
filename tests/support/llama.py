"""The shape of Llama 3.1 8B, as a server tells it: the worked example of the Ollama reference (section 6.5)."""

from typing import Any

INFO: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.block_count": 32,
    "llama.embedding_length": 4096,
    "llama.attention.head_count": 32,
    "llama.attention.head_count_kv": 8,
    "llama.context_length": 131_072,
    "llama.vocab_size": 128_256,
}
