"""Make tui/catalogue/models.csv from two tables of facts about the Ollama library.

    python scripts/make_catalogue.py LIBRARY.csv TAGS.csv > tui/catalogue/models.csv

One line a tag; what belongs to the model stands on its first line. Only facts that the program shows are kept.
"""

import argparse
import csv
import sys
from pathlib import Path

COLUMNS = (
    "model",
    "tag",
    "bytes",
    "context",
    "digest12",
    "cloud",
    "capabilities",
    "licence",
    "pulls",
    "family",
    "parameters",
    "quant",
    "snapshot",
)
CHIPS = ("vision", "tools", "thinking", "embedding", "audio")


def rows(library: Path, tags: Path) -> list[dict[str, str]]:
    """The lines to write, in the order of the library."""
    by_name: dict[str, list[dict[str, str]]] = {}
    with tags.open(encoding="utf-8", newline="") as file:
        for entry in csv.DictReader(file):
            by_name.setdefault(entry["name"], []).append(entry)
    found = []
    with library.open(encoding="utf-8", newline="") as file:
        for model in csv.DictReader(file):
            about = {
                "capabilities": " ".join(chip for chip in CHIPS if model[chip] == "yes"),
                "licence": model["licence"],
                "pulls": model["pulls_approx"],
                "family": model["default_family"],
                "parameters": model["default_params"],
                "quant": model["default_quant"],
                "snapshot": model["snapshot"],
            }
            nothing = {"tag": "", "download_bytes_approx": "", "context_tokens": "", "digest12": "", "cloud": ""}
            for entry in by_name.get(model["name"]) or [nothing]:
                exact = model["default_bytes_exact"] if entry["digest12"] == model["default_digest12"] else ""
                tag = {
                    "model": model["name"],
                    "tag": entry["tag"],
                    "bytes": exact or entry["download_bytes_approx"],
                    "context": entry["context_tokens"],
                    "digest12": entry["digest12"],
                    "cloud": "yes" if entry["cloud"] == "yes" else "",
                }
                found.append({**tag, **about})
                about = {}
    return found


def main() -> None:
    """Write the table to standard output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path)
    parser.add_argument("tags", type=Path)
    arguments = parser.parse_args()
    writer = csv.DictWriter(sys.stdout, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(arguments.library, arguments.tags))


if __name__ == "__main__":
    main()
