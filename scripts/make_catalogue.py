"""Make tui/catalogue/models.csv from tables of facts about the Ollama library.

    python scripts/make_catalogue.py LIBRARY.csv TAGS.csv [MORE_TAGS.csv ...] > tui/catalogue/models.csv

One line a tag; what belongs to the model stands on its first line. Only facts that the program shows are kept.
`scripts/catalogue_tags.csv` has tags of single quantizations, which the library's own table leaves out.
"""

import argparse
import csv
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

COLUMNS = (
    "model",
    "tag",
    "bytes",
    "context",
    "digest12",
    "cloud",
    "tag_quant",
    "dated",
    "capabilities",
    "licence",
    "pulls",
    "family",
    "parameters",
    "quant",
    "snapshot",
)
CHIPS = ("vision", "tools", "thinking", "embedding", "audio")
QUANT = re.compile(r"(?:^|-)(i?q\d(?:_[0-9a-z]+)*|fp16|bf16|f16|mxfp4|nvfp4)\Z", re.IGNORECASE)


def quantization(tag: str) -> str:
    """What a tag's own name says: `7b-code-q4_K_M` is Q4_K_M."""
    match = QUANT.search(tag)
    return {"FP16": "F16"}.get(match[1].upper(), match[1].upper()) if match else ""


def quantizations(tags: Iterable[Mapping[str, str]], default: str, default_quant: str) -> dict[str, str]:
    """By digest: tags of one digest are one file, so the name of one says it for all."""
    found = {default: default_quant} if default and default_quant else {}
    for tag in tags:
        if said := quantization(tag["tag"]):
            found.setdefault(tag["digest12"], said)
    return found


def rows(library: Path, *tables: Path) -> list[dict[str, str]]:
    """The lines to write, in the order of the library; of a tag that is in two tables the first counts."""
    by_name: dict[str, dict[str, dict[str, str]]] = {}
    for table in tables:
        with table.open(encoding="utf-8", newline="") as file:
            for entry in csv.DictReader(file):
                by_name.setdefault(entry["name"], {}).setdefault(entry["tag"], entry)
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
            entries = list(by_name.get(model["name"], {}).values())
            quants = quantizations(entries, model["default_digest12"], model["default_quant"])
            for entry in entries or [nothing]:
                exact = model["default_bytes_exact"] if entry["digest12"] == model["default_digest12"] else ""
                dated = entry.get("snapshot") or ""
                tag = {
                    "model": model["name"],
                    "tag": entry["tag"],
                    "bytes": exact or entry["download_bytes_approx"],
                    "context": entry["context_tokens"],
                    "digest12": entry["digest12"],
                    "cloud": "yes" if entry["cloud"] == "yes" else "",
                    "tag_quant": quants.get(entry["digest12"], ""),
                    "dated": "" if dated == model["snapshot"] else dated,
                }
                found.append({**tag, **about})
                about = {}
    return found


def main() -> None:
    """Write the table to standard output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path)
    parser.add_argument("tags", type=Path, nargs="+")
    arguments = parser.parse_args()
    writer = csv.DictWriter(sys.stdout, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(arguments.library, *arguments.tags))


if __name__ == "__main__":
    main()
