"""The parts of a table's page that say how its runs were done."""

from typing import Any

from .cell_text import Result, labels, markdown_table, spread
from .statistics import mean_sd


def sizes(result: Result) -> str:
    """Parameters, hidden size and learning rate of each structure."""
    rows, columns = labels(result, "rows"), labels(result, "columns")
    tried = result["rates"].get("validation") or {}
    lines = [["row", "structure", "parameters", "hidden", "rate"]]
    if tried:
        lines[0].append("validation loss by rate")
    for cell in result["cells"]:
        line = [
            rows[cell["row"]], columns[cell["column"]],
            *("-" if cell[key] is None else f"{cell[key]:{form}}"
              for key, form in (("parameters", ","), ("hidden", ""), ("rate", "g"))),
        ]  # fmt: skip
        if tried:
            losses = tried.get(f"{cell['row']}-{cell['column']}", {})
            line.append(
                ", ".join(
                    f"{rate}: {'failed' if loss is None else f'{loss:.4g}'}"
                    for rate, loss in losses.items()
                )
            )
        lines.append(line)
    return f"Learning rates: {result['rates']['how']}.\n\n{markdown_table(lines)}"


def streams(result: Result) -> str:
    """What each stream alone gives; empty where there are no streams."""
    names = list(
        dict.fromkeys(name for cell in result["cells"] for name in cell.get("streams", {}))
    )
    if not names:
        return ""
    rows, columns = labels(result, "rows"), labels(result, "columns")
    lines = [["row", "structure", *names]]
    for cell in result["cells"]:
        found = [list(cell.get("streams", {}).get(name, {}).values()) for name in names]
        lines.append(
            [rows[cell["row"]], columns[cell["column"]]]
            + [spread(result, *mean_sd(values)) for values in found]
        )
    return f"Each stream alone:\n\n{markdown_table(lines)}"


def settings(result: Result) -> str:
    """Seeds, settings, device, date and the command."""

    def listed(value: Any) -> str:
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    lines = [["setting", "value"]]
    lines += [[f"seeds: {name}", listed(value)] for name, value in result["seeds"].items()]
    lines += [[name, listed(value)] for name, value in result["settings"].items()]
    lines += [["device", result["device"]], ["date", result["date"]]]
    lines += [["seconds of all runs together", f"{result['seconds']:.0f}"]]
    return f"{markdown_table(lines)}\n\n```\n{result['command']}\n```"
