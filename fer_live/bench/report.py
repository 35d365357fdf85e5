"""Formats the results as tables. The values are those of the JSON file."""

from __future__ import annotations

from fer_live.bench.targets import words


def table(head: str, rows: list[list[str]]) -> str:
    """Format a table with columns separated by two spaces. head: column names separated by |. The last column is not padded."""
    lines = [[cell.strip() for cell in head.split("|")], *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def machine(found: dict) -> str:
    """Format hardware and versions in a few lines."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    settings = "".join(f", {name}={value}" for name, value in found["settings"].items())
    torch = f"torch with {found['torch_threads']} threads, " if found["torch_threads"] else ""
    return "\n".join([
        f"{found['processor']}: {found['cores']} cores, {found['threads_allowed']} of {found['threads']} threads allowed, "
        f"{found['memory_gb']:g} GB; GPU: {', '.join(found['gpus']) or 'none'}",
        f"{found['system']}, Python {found['python']}, {versions}",
        f"{torch}OpenCV with {found['opencv_threads']} threads{settings}; "
        f"other programs kept {found['busy_before_percent']:.0f}% of the machine busy before the start"])


def live(rows: list[dict]) -> str:
    """Format the live results. Latency is measured from capture to annotated image; CPU is in percent of one thread."""
    head = ("live: size|detector|per s|faces|found|analyzed per s|dropped|p50|p95|p99 ms|CPU ms per frame|CPU|others' CPU|"
            "stages, ms per frame and share|targets")
    return table(head, [[
        _size(row), row["detector"], str(row["fps"]), str(row["faces"]), f"{row['faces_found']:.1f}",
        f"{row['analyzed_per_s']:.1f}",
        f"{row['dropped_share']:.1%}", f"{row['p50_ms']:.1f}", f"{row['p95_ms']:.1f}", f"{row['p99_ms']:.1f}",
        f"{row['cpu_ms']:.1f}", f"{row['cpu_share']:.0%}", f"{row['others_cpu_share']:.0%}",
        ", ".join(f"{name} {ms:.1f} {row['stages_share'][name]:.0%}" for name, ms in row["stages_ms"].items()), words(row)]
        for row in rows])


def file(rows: list[dict]) -> str:
    """Format the frames per second of all four runs; real time is the clip's own 30 frames per second."""
    head = ("file: size|detector|transcode per s|floor per s|annotated per s|of the floor|real time|log only per s|real time|"
            "true faces|targets")
    return table(head, [[
        _size(row), row["detector"], f"{row['transcode_per_s']:.0f}", f"{row['floor_per_s']:.0f}",
        f"{row['annotated_per_s']:.0f}", f"{row['ratio_to_floor']:.2f}",
        f"{row['times_real_time']:.1f}x", f"{row['log_only_per_s']:.0f}", f"{row['log_only_times_real_time']:.1f}x",
        f"{row['true_faces']} of {row['frames']}", words(row)] for row in rows])


def clip(rows: list[dict]) -> str:
    """Format the frames per second and CPU time per frame of log-only runs."""
    return table("clip, log only: file|size|frames|detector|per s|CPU ms per frame|faces per frame|targets", [[
        row["clip"], _size(row), f"{row['frames']:,}", row["detector"], f"{row['log_only_per_s']:.0f}", f"{row['cpu_ms']:.2f}",
        f"{row['faces_found']:.2f}", words(row)] for row in rows])


def classifier(rows: list[dict]) -> str:
    """Format the classifier results, from crops to probabilities in memory, relative to the fastest plain run on that device."""
    return table("classifier|batch|faces per s|p50|p95|p99 ms per batch|of plain's speed|targets", [[
        row["runtime"], str(row["batch"]), f"{row['faces_per_s']:.0f}", f"{row['p50_ms']:.2f}", f"{row['p95_ms']:.2f}",
        f"{row['p99_ms']:.2f}", f"{row['times_plain']:.2f}", words(row)] for row in rows])


def start(rows: list[dict]) -> str:
    """Format the startup times in seconds."""
    return table("start: first annotated frame|first start ever|import torch|ratio|targets", [[
        f"{row['first_frame_s']:.2f} s", f"{row['first_start_s']:.2f} s", f"{row['import_torch_s']:.2f} s", f"{row['ratio']:.2f}",
        words(row)] for row in rows])


def memory(rows: list[dict]) -> str:
    """Format the memory results. Growth is measured from the first mark to the last."""
    head = "memory: resident after|growth|targets"
    return table(head, [[
        ", ".join(f"{size['frames']:,} frames {size['resident_mb']:.0f} MB" for size in row["sizes"]), f"{row['growth']:+.1%}",
        words(row)] for row in rows])


def peer(rows: list[dict]) -> str:
    """Format the comparison on the same clip, decoding included, or the note why there is none."""
    if "note" in rows[0]:
        return rows[0]["note"]
    return table("peer|its frames per s|ours, log only|ratio|its true faces|ours|targets", [[
        row["peer"], f"{row['peer_per_s']:.1f}", f"{row['ours_per_s']:.1f}", f"{row['ratio']:.1f}",
        f"{row['peer_true']:.0f} of {row['frames']}", f"{row['ours_true']:.0f}", words(row)] for row in rows])


def _size(row: dict) -> str:
    return "x".join(map(str, row["size_wh"]))
