"""A simulated Ollama server on a loopback socket."""
